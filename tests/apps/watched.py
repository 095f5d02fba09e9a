"""The page's server, every connection it tries to make noted in the file WVA_CONNECTIONS.

None succeeds. The first one noted is made here: it shows that noting works.
"""

import os
import socket
import sys
from pathlib import Path

from retriever.interface.page_server import main

CONTROL = ("127.0.0.1", 9)


def watch(notes: Path) -> None:
    """Note connections and look-ups of names from now on."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "socket.connect":
            to = arguments[1]
        elif event == "socket.getaddrinfo":
            to = arguments[:2]
        else:
            return
        with notes.open("a") as file:
            file.write(f"{to}\n")
        if to != CONTROL:
            raise ConnectionRefusedError(f"the tests allow no connection to {to}")

    sys.addaudithook(hook)
    with socket.socket() as control:
        control.connect_ex(CONTROL)


if __name__ == "__main__":
    watch(Path(os.environ["WVA_CONNECTIONS"]))
    main()
