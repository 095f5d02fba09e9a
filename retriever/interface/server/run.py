"""`wva serve` from start to end: the port, the models, the message, the requests, the stop."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Literal

import uvicorn

from retriever.interface.commands.output import INTERRUPTED
from retriever.interface.page_server import TERMINATED
from retriever.interface.server.app import application
from retriever.interface.server.guard import Application, is_loopback
from retriever.interface.server.served import Served
from retriever.interface.terminal.printing import tell
from retriever.types import UsageError

STOP_SECONDS = 5
"""How long requests that run may take to end after the server was told to stop."""

END_SECONDS = 5
"""How long after that the model may compute; a batch takes half a second, but for a long text."""

IDLE_SECONDS = 75
"""How long a connection may be idle: longer than clients keep one, who else meet a closed one."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens; `hosts` are further names that requests may have for it."""

    host: str = "127.0.0.1"
    port: int = 8600
    hosts: tuple[str, ...] = ()


def serve(
    served: Served,
    address: Address,
    token: str | None,
    *,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Open what is served, and answer until the process is told to stop.

    `ready` is called with the server's own address once it answers. Raises UsageError for a port
    that is taken, and for a server without a token beyond this machine.
    """
    check_token(address, token)
    with bound(address) as listener, served:
        numbers = not is_loopback(address.host)
        app = application(served, token, hosts=address.hosts, numbers=numbers)
        answer(app, served, listener, address, ready)


def check_token(address: Address, token: str | None) -> None:
    """Raise UsageError for a server without a token beyond this machine."""
    if token is None and not is_loopback(address.host):
        raise UsageError(
            f"--no-token is for this machine alone; for --host {address.host} leave it out"
        )


def answer(
    app: Application,
    served: Served,
    listener: socket.socket,
    address: Address,
    ready: Callable[[str], None],
    *,
    lifespan: Literal["on", "off"] = "off",
) -> None:
    """Let an application answer at a bound socket until the process is told to stop."""
    port = listener.getsockname()[1]
    host = f"[{address.host}]" if ":" in address.host else address.host
    server = _Server(app, served, lambda: ready(f"http://{host}:{port}"), lifespan)
    # Not by the signal itself: files are closed, and temporary ones removed, on the way.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says when it is ready, and lets go of what waits when it is told to stop."""

    def __init__(
        self,
        app: Application,
        served: Served,
        ready: Callable[[], None],
        lifespan: Literal["on", "off"] = "off",
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan=lifespan,
                log_config=None,
                log_level="warning",
                access_log=False,  # queries and addresses are nobody's business
                server_header=False,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self._served, self._ready = served, ready
        logging.getLogger("uvicorn.error").addFilter(_is_news)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._served.stop()
        _end_at_last(INTERRUPTED if sig == signal.SIGINT else TERMINATED)
        super().handle_exit(sig, frame)


def _end_at_last(code: int) -> None:
    """End the process in a while, whatever computes: a server only reads, so nothing is lost."""
    timer = threading.Timer(STOP_SECONDS + END_SECONDS, _end, (code,))
    timer.daemon = True
    timer.start()


def _end(code: int) -> None:
    tell("ended without waiting for what the model still computed")
    os._exit(code)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a message of the server is worth a line: not that requests end with it."""
    return not str(record.msg).startswith("Cancel ")


@contextlib.contextmanager
def bound(address: Address) -> Iterator[socket.socket]:
    """A socket bound to an address; closed after the block."""
    if not 0 <= address.port < 65536:
        raise UsageError(f"--port needs a number between 0 and 65535, not {address.port}")
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as listener:
        if os.name == "posix":  # elsewhere it would share the port with another program
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address.host, address.port))
            listener.listen()
        except OSError as error:
            raise _not_bound(address, error) from None
        yield listener


def _not_bound(address: Address, error: OSError) -> UsageError:
    import errno

    if error.errno == errno.EADDRINUSE:
        return UsageError(
            f"port {address.port} is taken; choose another one, e.g. --port {address.port + 1}"
        )
    return UsageError(
        f"the server cannot listen at {address.host}, port {address.port}: "
        f"{(error.strerror or str(error)).lower()}"
    )


__all__: Sequence[str] = ["Address", "answer", "bound", "check_token", "serve"]
