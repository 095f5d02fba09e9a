"""Python imports this at its start, in each process of a test: connections outward are refused.

Each is noted in the file WVA_CONNECTIONS, and so is the start of a process.
"""

import ipaddress
import os
import sys
from pathlib import Path


def _is_here(to: object) -> bool:
    """Whether an address is of this machine: a path of a socket, or a loopback address."""
    if isinstance(to, str | bytes):
        return True
    host = to[0] if isinstance(to, tuple) and to else ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", None)


def _watch(notes: Path) -> None:
    def note(line: str) -> None:
        with notes.open("a") as file:
            file.write(f"{line}\n")

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            to = arguments[1]
        elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
            to = (arguments[0],)
        else:
            return
        if to is not None and not _is_here(to):
            note(f"{event} {to}")
            raise ConnectionRefusedError(f"the tests allow no connection to {to}")

    note(f"started {' '.join(sys.orig_argv[1:4])}")
    sys.addaudithook(hook)


if os.environ.get("WVA_CONNECTIONS"):
    _watch(Path(os.environ["WVA_CONNECTIONS"]))
