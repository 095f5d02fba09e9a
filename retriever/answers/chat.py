"""Chat models that write answers: one of LangChain's, or an address with OpenAI's protocol.

A chat model here is a function from the two messages of a request, the system's and the user's, to
the text that it answers. It is given no tools.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from ipaddress import ip_address
from typing import Any, Protocol, runtime_checkable
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from retriever.types import RetrieverError, UsageError

SECONDS = 300.0
"""How long an answer may take: a model on a laptop reads 4,000 tokens in a minute or two."""

Chat = Callable[[str, str], str]
"""The text that a model answers to a system message and a user's message."""

_SHOWN = 300  # characters of what a server says


@runtime_checkable
class LangChainModel(Protocol):
    """What is used of LangChain's `BaseChatModel`, so that nothing of LangChain is imported."""

    def invoke(self, messages: list[tuple[str, str]]) -> Any:
        """The model's message."""


def as_chat(model: Chat | LangChainModel | str) -> Chat:
    """A chat model from LangChain's, from the address of a server, or from a function.

    Raises UsageError for anything else.
    """
    if isinstance(model, str):
        return OpenAIChat(model)
    if isinstance(model, LangChainModel) and not isinstance(model, type):
        asked = model
        return lambda system, user: _said(asked.invoke([("system", system), ("human", user)]))
    if callable(model) and not isinstance(model, type):
        function = model
        return lambda system, user: _said(function(system, user))
    raise UsageError(
        "the model that writes is a LangChain chat model, the address of a server such as "
        f"http://127.0.0.1:11434/v1, or a function; it is {model!r}"
    )


def _said(reply: Any) -> str:
    """The text of what a model gave: a message, or a text where it is no chat model."""
    try:
        return _text(getattr(reply, "content", reply))
    except (TypeError, AttributeError):
        raise UsageError(f"the model that writes must give a text; it gave {reply!r:.80}") from None


def _text(content: Any) -> str:
    """The text of a message, which may be a list of blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise TypeError("neither a text nor a list of blocks")
    parts = (part if isinstance(part, str) else part.get("text", "") for part in content)
    return "".join(map(str, parts))


class _NoRedirects(HTTPRedirectHandler):
    """Follows none: the key, and what is asked, are for the server that was named."""

    def redirect_request(self, *_: Any) -> None:
        """None: the answer is then an error."""


@dataclass
class OpenAIChat:
    """A model behind OpenAI's protocol at `url`, such as a local Ollama's, or llama.cpp's.

    `model` is its name there; "" for the first one that the server lists. `key` is sent as bearer
    token. Raises UsageError for an address that is none, and RetrieverError in a sentence where the
    server does not answer.
    """

    url: str
    model: str = ""
    key: str = field(default="", repr=False)
    seconds: float = SECONDS

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            known = False
        if not known:
            raise UsageError(
                f"the address of a chat model is written http://127.0.0.1:11434/v1; "
                f"this is not: {self.url!r}"
            )
        if "@" in parts.netloc:
            raise UsageError(
                "the address of a chat model holds no user and password; its key is WVA_LLM_KEY"
            )
        path = parts.path.rstrip("/").removesuffix("/chat/completions")
        self.url = parts._replace(path=path, fragment="").geturl()
        self.key = self.key.strip()
        if not (self.key.isascii() and self.key.isprintable()):
            raise UsageError("the key of the chat model holds characters that no key has")

    @property
    def is_local(self) -> bool:
        """Whether the server is this machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def __call__(self, system: str, user: str) -> str:
        """The model's answer to the two messages."""
        self.model = self.model or self._first_model()
        asked = {
            "model": self.model,
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": user},
            ],
            "temperature": 0,
            "stream": False,
        }
        answer = self._request("chat/completions", asked)
        try:
            return _text(answer["choices"][0]["message"]["content"] or "")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise self._strange() from None

    def _first_model(self) -> str:
        try:
            return str(self._request("models")["data"][0]["id"])
        except (KeyError, IndexError, TypeError):
            raise RetrieverError(f"{self.url} lists no model; name one with --llm-model") from None

    def _request(self, what: str, body: Any = None) -> Any:
        headers = {"Accept": "application/json"}
        headers |= {"Authorization": f"Bearer {self.key}"} if self.key else {}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        # The scheme is http or https: __post_init__ has seen to it.
        parts = urlsplit(self.url)  # an address may hold a query, such as ?api-version=1
        url = parts._replace(path=f"{parts.path}/{what}").geturl()
        request = Request(url, data, headers)  # noqa: S310 - http or https
        try:
            with self._opener().open(request, timeout=self.seconds) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                raise RetrieverError(self._refusal(error)) from None
        except TimeoutError:
            raise RetrieverError(
                f"the model at {self.url} did not answer within {self.seconds:g} seconds"
            ) from None
        except (URLError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise RetrieverError(
                f"no chat model answers at {self.url} ({reason}); is its server running?"
            ) from None
        except ValueError:
            raise self._strange() from None

    def _opener(self) -> OpenerDirector:
        """Follows no redirect, and asks no proxy for a server of this machine."""
        return build_opener(_NoRedirects, *([ProxyHandler({})] if self.is_local else []))

    def _refusal(self, error: HTTPError) -> str:
        """What a server says with an error, in a sentence."""
        if 300 <= error.code < 400:
            there = urljoin(error.url, error.headers.get("Location", ""))[:_SHOWN]
            return f"{self.url} sends its callers to {there}; name that address if you trust it"
        said = error.read(10_000).decode("utf-8", "replace")
        try:
            found = json.loads(said)["error"]
            said = found["message"] if isinstance(found, dict) else str(found)
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        said = " ".join(said.split())[:_SHOWN] or str(error.reason)
        about = f" for the model {self.model!r}" if self.model else ""
        advice = "; give its key in WVA_LLM_KEY" if error.code in (401, 403) else ""
        return f"{self.url} refuses{about} ({error.code}): {said}{advice}"

    def _strange(self) -> RetrieverError:
        return RetrieverError(f"{self.url} does not answer as OpenAI's protocol says")


__all__ = ["Chat", "LangChainModel", "OpenAIChat", "as_chat"]
