"""The page's server and a Chromium, for measurements and screenshots.

Needs the extra `dev` and a Chromium on the PATH.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from retriever.interface.jobs import stop_process
from retriever.interface.page_server import server_command

MODEL_SECONDS = 180


@contextmanager
def serve_page(index: Path) -> Iterator[str]:
    """Serve the page for an index, or a folder of indexes; yields the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = subprocess.Popen(server_command(index.absolute(), port, no_token=True))  # noqa: S603  (our own)
    try:
        _wait(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop_process(server)


@contextmanager
def open_chromium() -> Iterator[Any]:
    """A headless browser."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        sys.exit("there is no Chromium on the PATH; install one, e.g. apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def _wait(port: int) -> None:
    """Wait until the server answers, at most three minutes."""
    for _ in range(900):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    sys.exit("the page's server did not start")


__all__ = ["MODEL_SECONDS", "open_chromium", "serve_page"]
