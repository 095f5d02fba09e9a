"""`wva ui`: the page in a process of its own, while this process indexes folders.

The page reads the index while this process writes to it: new documents appear in searches at once.
"""

from __future__ import annotations

import importlib.util
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from retriever.files.layout import CATALOG_FILE, kind_of
from retriever.interface.jobs import stop_process
from retriever.interface.page_guard import HEALTH_PATH, TOKEN_PARAMETER
from retriever.interface.page_server import ADDRESS, TERMINATED, server_command, server_environment
from retriever.interface.remains import clear_collections
from retriever.interface.terminal.characters import one_line
from retriever.interface.terminal.printing import tell
from retriever.storage.opening import Place
from retriever.types import IndexStateError, Progress, RetrieverError, UsageError

START_SECONDS = 60
MIN_TOKEN_CHARACTERS = 8


def serve_page(
    index: Place,
    port: int,
    paths: Sequence[Path] = (),
    progress: Callable[[Progress], None] = lambda progress: None,
    *,
    token: str = "",
    no_token: bool = False,
    **reading: Any,
) -> int:
    """Serve the page for `index` on 127.0.0.1 until it is stopped; returns the exit code.

    The page opens for whoever knows `token`, by default a random one, and with `no_token` for
    every user of this machine. `paths` are indexed once the page is up; `reading` holds the
    keywords of `Index.sync` for passwords and OCR. Raises UsageError when streamlit
    is not installed, the port is taken, or the token is easily guessed.
    """
    if importlib.util.find_spec("streamlit") is None:
        from retriever.version import install_command

        raise UsageError(
            f"the page needs streamlit, which is not installed: {install_command('ui')}"
        )
    chosen = None if no_token else _validate_token(token) if token else secrets.token_urlsafe(24)
    _check_port(port)
    clear_collections(index)
    # The page ends with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    page = subprocess.Popen(  # noqa: S603  (our own interpreter and script)
        server_command(index, port, no_token=no_token, owned=True),
        env=server_environment(chosen),
        stdin=subprocess.PIPE,  # its end tells the page that this process was killed
    )
    try:
        _wait_until_healthy(page, port)
        new = isinstance(index, Path) and not kind_of(index / CATALOG_FILE)
        if not paths and new:
            hint = f"wva index PATH --index {one_line(str(index))}"
            where = one_line(str(index))
            tell(f"there is no index in {where} yet: make one on the page, or with {hint}")
        tell(f"search at {address(port, chosen)}")
        if paths:
            _index_paths(index, paths, progress, reading)
        return page.wait()
    finally:
        stop_process(page)
        if page.stdin is not None:
            page.stdin.close()


def address(port: int, token: str | None) -> str:
    """The page's address, with its token.

    >>> address(8501, None), address(8501, "a secret")
    ('http://127.0.0.1:8501', 'http://127.0.0.1:8501/?token=a%20secret')
    """
    page = f"http://{ADDRESS}:{port}"
    return page if token is None else f"{page}/?{TOKEN_PARAMETER}={quote(token, safe='')}"


def _validate_token(token: str) -> str:
    if len(token) < MIN_TOKEN_CHARACTERS or not token.isprintable():
        raise UsageError(
            f"the page's token needs at least {MIN_TOKEN_CHARACTERS} characters, none of them "
            "invisible; choose a longer one, or leave it out to get a random one"
        )
    return token


def _index_paths(
    index: Place,
    paths: Sequence[Path],
    progress: Callable[[Progress], None],
    reading: Mapping[str, Any],
) -> None:
    """Index `paths`; an error is printed, and the page stays up."""
    from retriever.index import Index
    from retriever.interface.terminal.reports import report_lines

    try:
        with Index.open_or_create(index) as opened:
            report = opened.sync(list(paths), progress=progress, **reading)
        notice = [f"wva: {one_line(report.notice)}"] if report.notice else []
        tell("\n".join([*report_lines(report), *notice]))
    except RetrieverError as error:
        tell(f"wva: {one_line(str(error))}")


def _check_port(port: int) -> None:
    if not 0 < port < 65536:
        raise UsageError(f"--port needs a number between 1 and 65535, not {port}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            raise UsageError(
                f"port {port} is taken; choose another one, e.g. --port {port + 1}"
            ) from None


def _wait_until_healthy(page: subprocess.Popen[bytes], port: int) -> None:
    url = f"http://{ADDRESS}:{port}{HEALTH_PATH}"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is this machine
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if page.poll() is not None:
            raise IndexStateError(f"the page could not be started (exit code {page.returncode})")
        try:
            with direct.open(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise IndexStateError(f"the page did not answer on port {port} in {START_SECONDS} seconds")
