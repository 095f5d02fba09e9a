"""An ASGI middleware: a server answers who knows its token, and only under its own names.

A web site whose name is made to resolve to this machine (DNS rebinding) sends that name as `Host`;
a page of any other server sends `Origin`. Both are refused, whatever they know. An address written
as a number cannot be rebound: it is accepted where the server listens beyond this machine.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from starlette.datastructures import Headers

from retriever.interface.server.errors import refusal

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = ("/healthz", "/docs", "/openapi.json")
"""What needs no token: it says whether the server is up, and what can be asked of it."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Guard:
    """Passes on requests to this server's own names that have its token, and refuses all others."""

    def __init__(
        self,
        app: Application,
        token: str | None,
        *,
        hosts: Collection[str] = (),
        numbers: bool = False,
        open_paths: Collection[str] = OPEN_PATHS,
        command: str = "wva serve",
    ) -> None:
        """`hosts` are further names of this server; `numbers`: any numeric address is one.

        `open_paths` need no token. `command` is what started the server.

        The token None lets everybody in who reaches the server.
        """
        self._app, self._token = app, token
        self._hosts = {*_LOOPBACK, *(name.lower() for name in hosts)}
        self._numbers, self._open, self._command = numbers, open_paths, command

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        path = scope["path"]
        if not self._is_own(headers):
            response = refusal(
                path,
                403,
                "this server answers under its own address only, and to no other web site; "
                f"{self._command} --allow-host NAME adds a name",
            )
        elif not (path in self._open or self._is_known(headers)):
            response = refusal(
                path,
                401,
                "the token is missing or wrong: send the header Authorization: Bearer TOKEN, with "
                f"the token that {self._command} printed when it started",
                headers={"WWW-Authenticate": "Bearer"},
            )
        else:
            await self._app(scope, receive, send)
            return
        await response(scope, receive, send)

    def _is_own(self, headers: Headers) -> bool:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._is_own_name(host_name(hosts[0])):
            return False
        own = {f"{scheme}://{hosts[0].lower()}" for scheme in ("http", "https")}
        return {origin.lower() for origin in origins} <= own

    def _is_own_name(self, name: str) -> bool:
        return name in self._hosts or (self._numbers and is_number(name))

    def _is_known(self, headers: Headers) -> bool:
        if self._token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        own, given = self._token.encode(), given.strip()
        return scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), own)


def host_name(host: str) -> str:
    """The name in a `Host` header, without the port, in small letters.

    >>> host_name("LocalHost:8600"), host_name("[::1]:80"), host_name("10.0.0.7")
    ('localhost', '::1', '10.0.0.7')
    """
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        name = host
    return name.strip("[]").lower()


def is_number(name: str) -> bool:
    """Whether a name is an address written as a number.

    >>> is_number("10.0.0.7"), is_number("::1"), is_number("intranet")
    (True, True, False)
    """
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a server that listens at this address is reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    name = host_name(host) if host.startswith("[") else host.lower()
    return name == "localhost" or (is_number(name) and ipaddress.ip_address(name).is_loopback)


__all__ = ["OPEN_PATHS", "Application", "Guard", "host_name", "is_loopback", "is_number"]
