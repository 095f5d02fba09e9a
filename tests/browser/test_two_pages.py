"""Two pages of one index in a real Chromium, and a server that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from retriever.index import Index
from retriever.interface.collections import create_collection, store_upload, uploads_folder
from retriever.interface.page_server import server_command, server_environment
from tests.browser.pages import results
from tests.fakes import FakeEmbedder
from tests.servers import APP, ROOT, free_port, is_healthy, wait_until

pytestmark = pytest.mark.browser

FIELD = ".st-key-uploads section[aria-disabled=false] input[type=file]"


@dataclass(frozen=True)
class Server:
    """A server of the page as a process; what it prints goes to `log`."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@contextmanager
def served(home: Path, log: Path) -> Iterator[Server]:
    port = free_port()
    others = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            server_command(home, port, app=APP, no_token=True),
            env={**server_environment(None), **others},
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: is_healthy(port), 60)
        yield Server(process, f"http://127.0.0.1:{port}", log)
    finally:
        process.terminate()
        process.wait(10)


def upload(tab: Any, name: str, text: str) -> None:
    """Give a file to the page."""
    one = {"name": name, "mimeType": "text/plain", "buffer": text.encode()}
    tab.locator(FIELD).set_input_files([one])


def indexed(folder: Path) -> list[str]:
    with Index.open(folder, FakeEmbedder()) as index:
        return sorted(row.path for row in index.documents())


@pytest.mark.timeout(300)
def test_two_pages_of_one_index_and_a_server_that_is_killed_while_it_indexes(
    chromium: Any, tmp_path: Path
) -> None:
    home = tmp_path / "indexes"
    folder = create_collection(home, "shared")
    store_upload(folder, "pears.txt", b"Pears are green.")
    with Index.open(folder, FakeEmbedder()) as index:
        index.sync(uploads_folder(folder))
    with ExitStack() as opened:
        one = opened.enter_context(served(home, tmp_path / "one.log"))
        two = opened.enter_context(served(home, tmp_path / "two.log"))
        context = opened.enter_context(chromium.new_context())
        context.set_default_timeout(60_000)
        first, second, reader = (context.new_page() for _ in range(3))
        first.goto(f"{one.address}/collections?index=shared")
        second.goto(f"{two.address}/collections?index=shared")
        reader.goto(f"{two.address}/?index=shared&q=green&mode=keyword")
        wait_until(lambda: results(reader) == ["pears.txt"], 60)

        # Both index at once: what the second one may not write now is kept, and nothing is lost.
        upload(first, "figs.txt", "Figs are green, too.")
        upload(second, "plums.txt", "Plums are green in June.")
        files = ["figs.txt", "pears.txt", "plums.txt"]
        stored = uploads_folder(folder)
        wait_until(lambda: sorted(path.name for path in stored.iterdir()) == files, 60)

        # The server is killed while its run goes on: that ends by itself, or the next one ends it.
        one.kill()
        wait_until(lambda: "figs.txt" in indexed(folder), 60)
        with Index.open(folder, FakeEmbedder()) as index:
            wait_until(lambda: index.info()["progress"] is None, 60)
        second.get_by_role("button", name="Sync").first.click()
        wait_until(lambda: indexed(folder) == files, 60)
        assert [path.name for path in stored.rglob("*")] == [path.name for path in stored.iterdir()]
        reader.reload()
        wait_until(lambda: sorted(results(reader)) == files, 60)
        for log in (one.log, two.log):
            assert "Traceback" not in log.read_text("utf-8")
