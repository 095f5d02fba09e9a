"""The page's server as a process, and HTTP and WebSocket requests with headers of one's own."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from retriever.interface.page_server import server_command, server_environment

ROOT = Path(__file__).parents[1]
APP = ROOT / "tests" / "apps" / "search.py"

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: str

    def header(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key == name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def page_server(
    folder: Path, token: str | None = None, notes: Path | None = None, app: Path = APP
) -> Iterator[int]:
    """The port of the page's server for `folder`; `notes`: where its connections are noted."""
    port = free_port()
    argv = server_command(folder, port, app=app, no_token=token is None)
    others = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if notes is not None:
        argv = [argv[0], "-P", str(ROOT / "tests" / "apps" / "watched.py"), *argv[4:]]
        others["WVA_CONNECTIONS"] = str(notes)
    process = subprocess.Popen(
        argv, env={**server_environment(token), **others}, cwd=ROOT, stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: is_healthy(port))
        yield port
    finally:
        process.terminate()
        process.wait(10)


def is_healthy(port: int) -> bool:
    try:
        return request(port, "GET", "/_stcore/health", own_host(port)).status == 200
    except OSError:
        return False


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.05)


def own_host(port: int, *more: tuple[str, str]) -> Headers:
    return [("Host", f"127.0.0.1:{port}"), *more]


def request(port: int, method: str, target: str, headers: Headers) -> Answer:
    """Exactly this request, and its answer."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{key}: {value}" for key, value in headers)]
    lines += ["Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return _parsed(b"".join(iter(lambda: connection.recv(65536), b"")))


def handshake(port: int, headers: Headers) -> Answer:
    """A WebSocket handshake; 101 opens the connection, which is left at once."""
    with connected(port, headers) as answer:
        return answer


@contextmanager
def connected(port: int, headers: Headers) -> Iterator[Answer]:
    """A WebSocket handshake, and the connection if it was opened."""
    upgrade = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("Sec-WebSocket-Protocol", "streamlit"),
    ]
    lines = ["GET /_stcore/stream HTTP/1.1", *(f"{key}: {value}" for key, value in headers)]
    lines += [*(f"{key}: {value}" for key, value in upgrade), "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        got = b""
        while b"\r\n\r\n" not in got:
            part = connection.recv(65536)
            if not part:
                break
            got += part
        yield _parsed(got)


def _parsed(answer: bytes) -> Answer:
    head, _, body = answer.decode("utf-8", "replace").partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    pairs = [line.partition(":") for line in lines]
    headers = tuple((key.strip().lower(), value.strip()) for key, _, value in pairs)
    return Answer(int(status.split()[1]), headers, body)
