"""An ASGI middleware: the page answers its owner only, and only at its own address.

127.0.0.1 is no boundary by itself. A web site whose name is made to resolve to it (DNS rebinding),
a page of another local server, and every other user of the machine can connect. `Guard` is an ASGI
middleware that refuses them before the application sees the request:

- `Host` must be a loopback name with the port of this server; `Origin`, if there is one, the same.
- A token, which only the owner's terminal shows, is exchanged for a cookie, as in Jupyter.

Cookies ignore ports: another server on 127.0.0.1 that the owner visits receives this cookie too.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import unquote_to_bytes

HEALTH_PATH = "/_stcore/health"
"""The only path that needs no token: it says whether the server is up."""

TOKEN_PARAMETER = "token"  # noqa: S105 - the name of a parameter

_NAMES = ("127.0.0.1", "localhost", "[::1]")
_POLICIES = (
    # Other sites can neither frame the page, nor embed its files, nor learn its addresses.
    (b"content-security-policy", b"frame-ancestors 'self'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),
)

Message = Any
Scope = Any
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
_Headers = Sequence[tuple[bytes, bytes]]


def is_own_host(host: str, port: int) -> bool:
    """Whether a `Host` header names the server on `port` of this machine.

    >>> is_own_host("localhost:8501", 8501), is_own_host("evil.example:8501", 8501)
    (True, False)
    >>> is_own_host("127.0.0.1:8502", 8501), is_own_host("127.0.0.1", 80)
    (False, True)
    """
    own = {f"{name}:{port}" for name in _NAMES}
    if port == 80:  # browsers leave out the default port of http
        own.update(_NAMES)
    return host.lower() in own


def is_own_address(hosts: Sequence[str], origins: Sequence[str], port: int) -> bool:
    """Whether the values of `Host` and `Origin` name this server and a page of its own.

    >>> is_own_address(["localhost:80"], ["http://localhost:80"], 80)
    True
    >>> is_own_address(["localhost:80"], ["http://localhost:81"], 80)
    False
    """
    if len(hosts) != 1 or not is_own_host(hosts[0], port):
        return False
    return not origins or [one.lower() for one in origins] == [f"http://{hosts[0].lower()}"]


def cookie_name(port: int) -> str:
    """The cookie's name: two servers on one machine do not overwrite each other's.

    >>> cookie_name(8501)
    'wva-page-8501'
    """
    return f"wva-page-{port}"


def cookie_value(token: str, port: int) -> str:
    """The cookie's value: a digest of the token, which cannot be computed from it."""
    return hmac.digest(token.encode(), cookie_name(port).encode(), "sha256").hex()


@dataclass(frozen=True)
class _Response:
    """A response that replaces the application's."""

    status: int
    headers: _Headers
    body: bytes = b""


class Guard:
    """An ASGI middleware: passes the owner's requests on, and refuses all others."""

    def __init__(self, app: Application, port: int, token: str | None) -> None:
        """Guard `app`, which is served on `port`; with the token `None` for all local users."""
        self._app = app
        self._port = port
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        answer = self._answer(scope)
        if answer is not None:
            await _send(answer, scope, send)
            return
        # `Origin` is checked here, and exactly. Streamlit would ask servers outside for the
        # addresses of this machine, to compare them with an origin that it does not know.
        headers = [header for header in scope["headers"] if header[0] != b"origin"]
        await self._app({**scope, "headers": headers}, receive, _with_policies(send))

    def _answer(self, scope: Scope) -> _Response | None:
        """The response that replaces the application's; None for a request that it may answer."""
        headers: _Headers = scope["headers"]
        if not is_own_address(
            _header_values(headers, b"host"), _header_values(headers, b"origin"), self._port
        ):
            return _refusal(
                "This is not the page’s address",
                f"The search page answers at <code>http://127.0.0.1:{self._port}</code> only, "
                "and to no other web site. If you forward its port from another machine, use the "
                "same number on both sides.",
            )
        asked = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if asked and scope["path"] == HEALTH_PATH:
            return None
        tokens, query = _split_query(scope["query_string"])
        fresh = self._token is not None and any(map(self._is_token, tokens))
        if fresh or self._is_known(headers):
            return self._redirect(scope, query, fresh=fresh) if asked and tokens else None
        return self._unknown(scope, query)

    def _is_known(self, headers: _Headers) -> bool:
        if self._token is None:
            return True
        own = cookie_value(self._token, self._port).encode()
        given = _cookies(headers, cookie_name(self._port).encode("latin-1"))
        return any(hmac.compare_digest(own, one) for one in given)

    def _is_token(self, given: bytes) -> bool:
        return self._token is not None and hmac.compare_digest(self._token.encode(), given)

    def _redirect(self, scope: Scope, query: bytes, *, fresh: bool) -> _Response:
        """A redirect to the same address without the token, which so stays out of bookmarks."""
        headers = [(b"location", _address(scope, query)), (b"cache-control", b"no-store")]
        if fresh and self._token is not None:
            cookie = f"{cookie_name(self._port)}={cookie_value(self._token, self._port)}"
            cookie += "; Path=/; HttpOnly; SameSite=Strict"
            headers.append((b"set-cookie", cookie.encode("latin-1")))
        return _Response(303, headers)

    def _unknown(self, scope: Scope, query: bytes) -> _Response:
        # A browser sends no SameSite=Strict cookie when a link of another site is followed, but
        # it does when a link of this page is.
        again = escape(_address(scope, query).decode("latin-1"))
        return _refusal(
            "This page opens only for its owner",
            "Open the address that is shown in the terminal where the page was started: it begins "
            f"with <code>http://127.0.0.1:{self._port}/?{TOKEN_PARAMETER}=</code>",
            f'You have opened it in this browser before, and now came by a link? <a href="{again}">'
            "Open it again</a>.",
        )


def _header_values(headers: _Headers, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in headers if key == name]


def _cookies(headers: _Headers, name: bytes) -> list[bytes]:
    """The values of all cookies of this name; browsers may send several.

    >>> _cookies([(b"cookie", b"a=1; b=2;a=3")], b"a")
    [b'1', b'3']
    """
    pairs = [pair for key, value in headers if key == b"cookie" for pair in value.split(b";")]
    split = [pair.strip().partition(b"=") for pair in pairs]
    return [value for key, _, value in split if key == name]


def _split_query(query: bytes) -> tuple[list[bytes], bytes]:
    """The tokens in a query string, and the rest of it, byte for byte.

    >>> _split_query(b"q=red%20apples&token=a%2Bb&k=5")
    ([b'a+b'], b'q=red%20apples&k=5')
    """
    tokens: list[bytes] = []
    rest: list[bytes] = []
    for piece in query.split(b"&"):
        key, _, value = piece.partition(b"=")
        if unquote_to_bytes(key) == TOKEN_PARAMETER.encode():
            tokens.append(unquote_to_bytes(value.replace(b"+", b" ")))
        else:
            rest.append(piece)
    return tokens, b"&".join(rest)


def _address(scope: Scope, query: bytes) -> bytes:
    """Path and query of a request; never `//host`, which would name another server."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    path = b"/" + path.partition(b"?")[0].lstrip(b"/\\")
    return path + (b"?" + query if query else b"")


async def _send(answer: _Response, scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":  # closed before it is accepted: the handshake gets a 403
        await send({"type": "websocket.close", "code": 1008})
        return
    length = (b"content-length", str(len(answer.body)).encode())
    headers = [*answer.headers, length, *_POLICIES]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _with_policies(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_POLICIES]}
        await send(message)

    return sending


def _refusal(title: str, *paragraphs: str) -> _Response:
    """A 403 with a short page that says why; the paragraphs are HTML."""
    body = "".join(f"<p>{one}</p>" for one in paragraphs)
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    return _Response(403, headers, _HTML.format(title=title, body=body).encode())


_HTML = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1.05rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto 0;
  padding: 0 1.5rem; }}
h1 {{ font-size: 1.5rem; }}
code {{ overflow-wrap: anywhere; }}
</style>
<h1>{title}</h1>
{body}
</html>
"""

__all__ = [
    "HEALTH_PATH",
    "TOKEN_PARAMETER",
    "Guard",
    "cookie_name",
    "cookie_value",
    "is_own_address",
    "is_own_host",
]
