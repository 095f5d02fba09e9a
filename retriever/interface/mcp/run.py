"""`wva mcp` from start to end: by standard input and output, or over HTTP."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

import anyio
from mcp.server.transport_security import TransportSecuritySettings

from retriever.interface.commands.output import INTERRUPTED
from retriever.interface.mcp.server import Ready, make_server
from retriever.interface.server.guard import Application, Guard, is_loopback
from retriever.interface.server.run import Address, answer, bound, check_token
from retriever.interface.server.served import Served
from retriever.interface.terminal.printing import tell

PATH = "/mcp"


def serve_stdio(served: Served) -> None:
    """Answer one client until it closes standard input.

    Nothing else is written to standard output: the SDK gives it to the protocol alone.
    """
    ready = Ready(served)
    server = make_server(ready)
    ready.start()
    signal.signal(signal.SIGINT, _end_now)
    try:
        anyio.run(server.run_stdio_async)
    except* BrokenPipeError:
        pass  # the client has gone
    finally:
        with contextlib.suppress(Exception):
            served.close()


def _end_now(*_: object) -> None:
    """End without waiting for standard input: nothing interrupts the thread that reads it."""
    tell("\nstopped")
    os._exit(INTERRUPTED)


def serve_http(
    served: Served,
    address: Address,
    token: str | None,
    *,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Answer clients of streamable HTTP at `/mcp` until the process is told to stop.

    `ready` is called with the address once it answers. Raises UsageError for a port that is taken,
    and for a server without a token beyond this machine.
    """
    check_token(address, token)
    with bound(address) as listener, served:
        app = http_application(served, address, token)
        answer(*(app, served, listener, address, lambda url: ready(f"{url}{PATH}")), lifespan="on")


def http_application(served: Served, address: Address, token: str | None) -> Application:
    """The application of open indexes behind the guard, which checks token, `Host` and `Origin`."""
    app = make_server(Ready(served, is_open=True)).streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        # The guard knows more: names of this machine, and addresses beyond it.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    numbers = not is_loopback(address.host)
    return Guard(app, token, hosts=address.hosts, numbers=numbers, open_paths=(), command="wva mcp")


__all__ = ["http_application", "serve_http", "serve_stdio"]
