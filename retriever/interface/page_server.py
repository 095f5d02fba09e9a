"""The server of the page: Streamlit behind `Guard`, bound to 127.0.0.1.

It runs as a process of its own, `python -m retriever.interface.page_server`; `server_command` and
`server_environment` say how it is started.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from retriever.interface.terminal.printing import PlainWriter
from retriever.storage.opening import Place, place_of
from retriever.types import UsageError

ADDRESS = "127.0.0.1"

TOKEN_VARIABLE = "WVA_TOKEN"  # noqa: S105 - the name of a variable
"""Passes the token to the server: other users can read the command lines of our processes."""

_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"

TERMINATED = 128 + signal.SIGTERM

# Streamlit follows the system's light or dark mode as long as only single colours are set.
_OPTIONS: Mapping[str, Any] = {
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.runOnSave": False,
    "server.maxUploadSize": 500,  # MB: the size limit of a file
    "browser.gatherUsageStats": False,
    "runner.magicEnabled": False,  # expressions of the script are not shown
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "logger.hideWelcomeMessage": True,  # it shows the address without its token
    "theme.light.primaryColor": "#2f5fb3",
    "theme.dark.primaryColor": "#8fb4f5",
    # Set here, so that a configuration file for other pages cannot open this one.
    "server.address": ADDRESS,
    "server.baseUrlPath": "",
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
    "server.enableStaticServing": False,
    "server.allowedHosts": ["127.0.0.1", "localhost", "::1"],
}


def server_command(
    index: Place,
    port: int,
    *,
    app: Path | None = None,
    no_token: bool = False,
    owned: bool = False,
) -> list[str]:
    """The argument vector that serves `index` on `http://127.0.0.1:port`.

    The process needs `server_environment`, or `no_token`. `app` is another script than the page.
    An `owned` server ends with the process that holds the other end of its standard input.

    >>> server_command(Path("my index"), 8501)[3:]
    ['retriever.interface.page_server', '--port=8501', '--index=my index']
    """
    # -P: no module is imported from the current folder, which may hold anything.
    run = [sys.executable, "-P", "-m", "retriever.interface.page_server", f"--port={port}"]
    script = [f"--app={app}"] if app is not None else []
    flags = {"--no-token": no_token, "--owned": owned}
    return [*run, *script, *(name for name, on in flags.items() if on), f"--index={index}"]


def server_environment(token: str | None) -> dict[str, str]:
    """The environment of the server's process, with the token."""
    # Bytecode that this process may write, the page may write as well: see retriever/__main__.py.
    left_out = {TOKEN_VARIABLE, *(() if sys.dont_write_bytecode else (_NO_BYTECODE,))}
    others = {name: value for name, value in os.environ.items() if name not in left_out}
    return others if token is None else {**others, TOKEN_VARIABLE: token}


def streamlit_options(port: int) -> dict[str, Any]:
    """Streamlit's configuration."""
    return {**_OPTIONS, "server.port": port}


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until the process is stopped."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--index", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--app", type=Path)
    parser.add_argument("--no-token", action="store_true")
    parser.add_argument("--owned", action="store_true")
    chosen = parser.parse_args(argv)
    token = os.environ.pop(TOKEN_VARIABLE, "")  # child processes do not need it
    if not token and not chosen.no_token:
        parser.error(f"needs a token in {TOKEN_VARIABLE}, or --no-token")
    script = chosen.app or _page()
    # Exit instead of dying by the signal: indexing jobs, our children, are stopped at exit.
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda number, _: sys.exit(128 + number))
    if chosen.owned:
        threading.Thread(target=_end_with_owner, name="owner", daemon=True).start()
    if chosen.app is None:
        _answer_command_line(place_of(chosen.index))
    _print_plainly()
    sys.argv = [str(script), "--index", chosen.index]
    _serve(script, chosen.port, None if chosen.no_token else token)


def _end_with_owner() -> None:
    """End this process, and its jobs, when the owner's end of standard input is closed.

    The system closes it whatever ends the owner. Not read by `sys.stdin`: its lock would be held
    when this process exits.
    """
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _print_plainly() -> None:
    """Let no text of a document act on the terminal: libraries print errors of the page there."""
    sys.stdout, sys.stderr = PlainWriter(sys.stdout), PlainWriter(sys.stderr)


def _answer_command_line(place: Place) -> None:
    """Answer the searches of `wva search` in this index with the page's open index and model."""
    from retriever.interface.answering import Answering

    def answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
        from retriever.index import Index
        from retriever.interface.commands.searching import answer_request

        # By its name: the page is above this module, which starts it by its name as well.
        shared = importlib.import_module("ui.resources").shared_index(place, Index.open)
        return answer_request(shared.index, request)

    Answering(place, answer).start()


def _serve(script: Path, port: int, token: str | None) -> None:
    import streamlit as st
    from starlette.middleware import Middleware

    from retriever.interface.page_guard import Guard

    guard = Middleware(Guard, port=port, token=token)
    st.App(script, middleware=[guard]).run(config=streamlit_options(port))


def _page() -> Path:
    """The script of the page, found without importing it."""
    found = importlib.util.find_spec("ui")
    if found is None or not found.submodule_search_locations:
        from retriever.version import install_command

        raise UsageError(f"the page is not installed: {install_command('ui')}")
    return Path(found.submodule_search_locations[0]) / "app.py"


if __name__ == "__main__":
    main()

__all__ = [
    "ADDRESS",
    "TERMINATED",
    "TOKEN_VARIABLE",
    "server_command",
    "server_environment",
    "streamlit_options",
]
