"""What a server answers instead of a result: a status, and a sentence in the caller's shape."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from retriever.interface.commands.output import finite
from retriever.types import (
    BusyError,
    IndexStateError,
    ModelError,
    RetrieverError,
    UsageError,
)

OPENAI_PATHS = ("/v1/", "/v2/", "/rerank")
"""The beginnings of the paths whose errors have OpenAI's shape."""

DIFY_PATH = "/retrieval"


class RequestError(UsageError):
    """A request that cannot be answered; `param` is the field that is wrong."""

    status = 400

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param, self.code = param, code


class NotFoundError(RequestError):
    """What the request names does not exist."""

    status = 404


class TooLargeError(RequestError):
    """The request is larger than the server takes."""

    status = 413


def status_of(error: RetrieverError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, BusyError):
        return 429
    if isinstance(error, IndexStateError | ModelError):
        return 503
    return 400 if isinstance(error, UsageError) else 500


def error_response(path: str, error: RetrieverError) -> Response:
    """The response to a request of this path."""
    headers = {}
    if isinstance(error, BusyError):
        headers["Retry-After"] = str(math.ceil(error.seconds))
    param, code = getattr(error, "param", None), getattr(error, "code", None)
    return refusal(path, status_of(error), str(error), param=param, code=code, headers=headers)


def refusal(
    path: str,
    status: int,
    sentence: str,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A response with a status and a sentence, in the shape of the path."""
    body: dict[str, Any] = {"error": sentence}
    if path.startswith(OPENAI_PATHS):
        kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
        body = {"error": {"message": sentence, "type": kind, "param": param, "code": code}}
    elif path == DIFY_PATH:
        body = {"error_code": _DIFY_CODES.get(status, status), "error_msg": sentence}
    return as_json(body, status, headers)


_KINDS = {401: "authentication_error", 429: "rate_limit_error"}
_DIFY_CODES = {401: 1002, 404: 2001}
"""Dify's own numbers: the key is wrong; the knowledge base does not exist."""


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response with a JSON document."""
    return Response(json_bytes(value), status, headers, media_type="application/json")


def json_bytes(value: Any) -> bytes:
    """A JSON document in UTF-8, or in ASCII where it holds lone surrogates; NaN becomes null."""
    shown = finite(value)
    try:
        return json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(shown, separators=(",", ":")).encode()


__all__ = [
    "NotFoundError",
    "RequestError",
    "TooLargeError",
    "as_json",
    "error_response",
    "json_bytes",
    "refusal",
    "status_of",
]
