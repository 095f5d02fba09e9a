"""Mixed operations on the page, through its server: a part of `soak`.

Most operations are those of visitors that speak Streamlit's protocol: they open a session, ask for
addresses of the page, and close it. A share is done in a real browser: typing, clicking, uploading,
removing. Meanwhile the driver changes files, syncs, makes and deletes collections.
"""

from __future__ import annotations

import random
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from benchmarks.browser import open_chromium
from benchmarks.soak_index import QUESTIONS, SAMPLES, Forgetful, Soaker, ViolationError
from benchmarks.soak_measures import Sample, quiet, sample
from benchmarks.soak_outcome import Outcome, compare_with_files, left_behind
from retriever.index import Index
from retriever.interface.collections import (
    create_collection,
    delete_collection,
    store_upload,
    uploads_folder,
)
from retriever.interface.jobs import stop_process
from retriever.interface.page_server import server_command, server_environment
from retriever.types import RetrieverError
from tests.servers import free_port, is_healthy, wait_until

ROOT = Path(__file__).parents[1]
APP = ROOT / "tests" / "apps" / "soak.py"
VISITS = 6
"""Sessions that are open at once, at most."""

BROWSER_UPLOADS = 8
SECONDS = 60
_DONE = ForwardMsg.ScriptFinishedStatus.FINISHED_SUCCESSFULLY  # not: ended early to run again
DOCUMENTED = (
    "another process is writing to the index in",
    "there is no index",
    "there is no collection",
    "is not in the index any more",
    "is not there",
    "are not kept any more",
)


FIELD = ".st-key-uploads section[aria-disabled=false] input[type=file]"
"""The field for uploads, where no process writes."""


class Visit:
    """A session of the page, without a browser."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.pages: dict[str, str] = {}
        self._connect()

    def _connect(self) -> None:
        origin: Any = f"http://127.0.0.1:{self._port}"
        self._open = ExitStack()
        self._socket: ClientConnection = self._open.enter_context(
            connect(
                f"ws://127.0.0.1:{self._port}/_stcore/stream",
                subprotocols=["streamlit"],  # type: ignore[list-item]  # a new type of str
                origin=origin,
                max_size=None,
                max_queue=None,
                ping_interval=None,
            )
        )
        self._asked: tuple[str, Mapping[str, Any]] | None = None

    def ask(self, page: str = "", **query: Any) -> str:
        """Go to an address of the page; returns all that it sends as text.

        The address that it shows already is loaded again, as in a browser: by a new session. A run
        at the same address is one of a click, which would have the values of all widgets with it.
        """
        if self._asked == (page, query):
            self.close()
            self._connect()
        self._asked = page, query
        back = BackMsg()
        back.rerun_script.query_string = urlencode(query, doseq=True)
        back.rerun_script.page_script_hash = self.pages.get(page, "")
        self._socket.send(back.SerializeToString())
        said: list[str] = []
        while True:
            message = ForwardMsg()
            message.ParseFromString(bytes(self._socket.recv(SECONDS)))  # type: ignore[arg-type]  # never text
            kind = message.WhichOneof("type")
            if kind == "navigation":
                self.pages = {p.page_name: p.page_script_hash for p in message.navigation.app_pages}
            if kind == "delta" and message.delta.new_element.WhichOneof("type") == "exception":
                raise ViolationError(f"the page shows an exception: {message.delta}")
            if kind == "script_finished" and message.script_finished == _DONE:
                return "\n".join(said)
            said.append(str(message))

    def close(self) -> None:
        """Leave, as a tab that is closed."""
        self._open.close()


@dataclass
class Browser:
    """A real browser with a tab of the page Collections that stays open."""

    chromium: Any
    address: str
    tab: Any = None

    def collections(self) -> Any:
        """The tab of the page Collections."""
        if self.tab is None:
            self.tab = self.chromium.new_context(viewport={"width": 1200, "height": 900}).new_page()
            self.tab.set_default_timeout(SECONDS * 1000)
            self.tab.goto(f"{self.address}/collections?index=notes")
        self.tab.locator(FIELD).wait_for(state="attached")
        settle(self.tab)
        return self.tab


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def settle(tab: Any) -> None:
    """Wait until the page's script has run."""
    tab.locator('[data-test-script-state="notRunning"]').wait_for()


def appears(element: Any, seconds: float) -> bool:
    """Whether an element is there within so many seconds."""
    end = time.monotonic() + seconds
    while not element.count():
        if time.monotonic() > end:
            return False
        element.page.wait_for_timeout(200)
    return True


class PageSoaker:
    """The driver: visits, the browser, files and collections."""

    def __init__(self, port: int, pid: int, scratch: Path, seed: int, browser: Browser) -> None:
        self.choose = random.Random(seed)  # noqa: S311 - repeatable
        self.port, self.pid, self.scratch, self.browser = port, pid, scratch, browser
        self.folder, self.home = scratch / "indexes" / "notes", scratch / "indexes"
        self.visits: list[Visit] = []
        self.made = 0
        self.writer = Soaker(self.folder, scratch / "docs", 0, seed)
        self.ids: list[str] = []

    def visit(self) -> Visit:
        """One of the sessions that are open."""
        if not self.visits:
            self.visits.append(Visit(self.port))
        return self.choose.choice(self.visits)

    def ask(self, page: str = "", **query: Any) -> None:
        """One of the sessions goes to an address."""
        self.visit().ask(page, **{"index": "notes", **query})

    # Visitors

    def arrive(self) -> None:
        """A tab is opened."""
        if len(self.visits) >= VISITS:
            self.leave()
        self.visits.append(Visit(self.port))
        self.visits[-1].ask(index="notes")

    def arrive_all(self) -> None:
        """As many tabs as there may be, so that handles can be compared."""
        while len(self.visits) < VISITS:
            self.arrive()

    def leave(self) -> None:
        """A tab is closed."""
        if self.visits:
            self.visits.pop(self.choose.randrange(len(self.visits))).close()

    def search(self) -> None:
        """A search in one of the modes."""
        mode = self.choose.choice(("hybrid", "dense", "keyword"))
        self.ask(q=self.choose.choice(QUESTIONS), mode=mode, k=self.choose.choice((5, 10, 20)))

    def filtered(self) -> None:
        """A search with a filter."""
        self.ask(q=self.choose.choice(QUESTIONS), format=self.choose.choice(("markdown", "pdf")))

    def hit(self) -> tuple[str, str]:
        """A question and a passage that it finds."""
        query = self.choose.choice(QUESTIONS[:3])
        hits = self.writer.index.search(query)
        return query, self.choose.choice(hits).chunk.id if hits else "gone"

    def open_document(self) -> None:
        """A result is opened."""
        query, chunk = self.hit()
        self.ask(q=query, open=chunk)

    def explain(self) -> None:
        """Why a result was found."""
        query, chunk = self.hit()
        self.ask(q=query, open=chunk, view="why")

    def look(self) -> None:
        """A page without a search."""
        self.ask(self.choose.choice(("Search", "Collections", "Collections", "About")))

    # The browser

    def search_by_hand(self) -> None:
        """Type, press Enter, open the last result, and close the tab."""
        context = self.browser.chromium.new_context()
        try:
            tab = context.new_page()
            tab.set_default_timeout(SECONDS * 1000)
            tab.goto(f"{self.browser.address}/?index=notes")
            tab.locator(".st-key-q input").fill("who approved the budget")
            tab.keyboard.press("Enter")
            tab.locator(".wva-hit").first.wait_for()
            hit = tab.locator(".wva-hit").last
            hit.hover()
            hit.locator('[data-act="open"]').first.click()
            tab.locator(".wva-opened").first.wait_for(state="attached")
        finally:
            context.close()

    def upload_by_hand(self) -> None:
        """Upload a file, and wait until it is indexed."""
        if len(self.writer.uploads()) > BROWSER_UPLOADS:
            self.writer.remove_upload()
        tab = self.browser.collections()
        ending = self.choose.choice((".md", ".txt", ".pdf"))
        name = f"by-hand-{self.choose.randrange(20)}{ending}"
        data = self.writer.file(ending)
        field = {"name": name, "mimeType": "application/octet-stream", "buffer": data}
        tab.locator(FIELD).set_input_files(files=[field])
        stored = uploads_folder(self.folder)
        wait_until(lambda: any(p.read_bytes() == data for p in stored.glob("*.*")), SECONDS)
        self.wait_for_job()

    def remove_by_hand(self) -> None:
        """Remove the first file of the table."""
        tab = self.browser.collections()
        table = tab.locator('[data-testid="stDataFrame"]')
        if not table.count():
            return
        button = tab.get_by_role("button", name="Remove 1 file")
        for patience in (2, 5, 10, 20, 40):
            settle(tab)
            table.scroll_into_view_if_needed()
            box = table.bounding_box()
            tab.mouse.click(box["x"] + 15, box["y"] + 52)  # the table is a canvas
            if appears(button, patience):
                break  # else the table was drawn anew meanwhile, without the choice
        button.wait_for()
        button.click()
        dialog = tab.get_by_role("dialog")
        dialog.get_by_role("button", name="Remove").click()
        dialog.wait_for(state="detached")
        there = {row.path for row in self.writer.index.documents()}
        notes = self.writer.notes
        self.writer.notes = {path: note for path, note in notes.items() if path in there}

    def wait_for_job(self) -> None:
        """Wait until no process writes to the index."""
        wait_until(lambda: self.writer.index.info()["progress"] is None, SECONDS)
        wait_until(lambda: not self.jobs(), SECONDS)

    def jobs(self) -> list[int]:
        """The processes of `wva index` that the server has started; others draw pages of PDFs."""
        children = psutil.Process(self.pid).children()
        return [one.pid for one in children if "index" in _words(one)]

    # What happens beside the page

    def write_first(self) -> None:
        """A few files, so that there is something to find."""
        for _ in range(12):
            self.writer.write()
        self.writer.sync()

    def change_files(self) -> None:
        """Another process indexes what has changed."""
        for _ in range(3):
            self.choose.choice((self.writer.write, self.writer.rename, self.writer.unlink))()
        self.writer.sync()

    def add(self) -> None:
        """Another process adds documents."""
        self.writer.add()

    def collection(self) -> None:
        """A collection is made, visited, deleted by another process, and visited again."""
        self.made += 1
        folder = create_collection(self.home, f"brief {self.made}")
        store_upload(folder, "note.txt", b"A heron approved the budget. " * 20)
        with Index.open(folder, Forgetful()) as index:
            index.sync(uploads_folder(folder))
        visit = self.visit()
        said = visit.ask(index=folder.name, q="heron")
        if "note.txt" not in said:
            raise ViolationError(f"{folder.name} does not find its note: {said[-1500:]}")
        delete_collection(folder)
        page = self.choose.choice(("Search", "Collections", "About"))
        said = visit.ask(page, index=folder.name, q="heron")
        if not any(part in said for part in DOCUMENTED):
            raise ViolationError(f"{page} does not say that {folder.name} is gone: {said[-800:]}")


Operation = Callable[[PageSoaker], None]
OPERATIONS: Mapping[str, tuple[float, Operation]] = {
    "search": (26, PageSoaker.search),
    "search with a filter": (10, PageSoaker.filtered),
    "document opened": (14, PageSoaker.open_document),
    "why": (10, PageSoaker.explain),
    "home, collections, about": (12, PageSoaker.look),
    "tab opened": (8, PageSoaker.arrive),
    "tab closed": (6, PageSoaker.leave),
    "search in a browser": (2, PageSoaker.search_by_hand),
    "upload in a browser": (2, PageSoaker.upload_by_hand),
    "removal in a browser": (1, PageSoaker.remove_by_hand),
    "files changed, synced beside": (4, PageSoaker.change_files),
    "add beside": (1.5, PageSoaker.add),
    "collection made and deleted": (2, PageSoaker.collection),
}


def soak_page(operations: int, seed: int, scratch: Path, minutes: float = inf) -> Outcome:
    """Start the page's server, run the operations, and compare the index with its files."""
    outcome = Outcome(f"the page, seed {seed}")
    docs, temporary, folder = scratch / "docs", scratch / "tmp", scratch / "indexes" / "notes"
    for made in (docs, temporary):
        made.mkdir()
    Index.open_or_create(folder, Forgetful()).close()
    started = time.monotonic()
    log = scratch / "server.log"
    with _served(folder, temporary, log) as (port, pid), open_chromium() as chromium:
        soaker = PageSoaker(port, pid, scratch, seed, Browser(chromium, f"http://127.0.0.1:{port}"))
        try:
            soaker.write_first()
            samples = _run(soaker, operations, outcome, temporary, minutes)
            soaker.wait_for_job()
        finally:
            for visit in soaker.visits:
                visit.close()
            soaker.writer.index.close()
    outcome.add_samples("the page's server", samples)
    outcome.seconds = time.monotonic() - started
    said = log.read_text("utf-8", "replace")
    if "Traceback" in said:
        outcome.violations.append(f"the server's log has a traceback: {said[-1500:]}")
    outcome.violations += left_behind(folder, temporary)
    notes = {path: note.pages[0].text for path, note in soaker.writer.notes.items()}
    outcome.violations += compare_with_files(folder, docs, notes, scratch / "fresh")
    return outcome


def _run(
    soaker: PageSoaker, operations: int, outcome: Outcome, temporary: Path, minutes: float
) -> list[Sample]:
    names, weights = list(OPERATIONS), [weight for weight, _ in OPERATIONS.values()]
    every = max(1, operations // SAMPLES)
    samples: list[Sample] = []
    end = time.monotonic() + 60 * minutes
    for at in range(operations):
        if time.monotonic() > end:
            break
        if at % every == 0:
            soaker.arrive_all()
            samples.append(sample(at, soaker.pid, temporary))
        name = soaker.choose.choices(names, weights)[0]
        outcome.done[name] += 1
        try:
            OPERATIONS[name][1](soaker)
        except RetrieverError as error:
            known = next((part for part in DOCUMENTED if part in str(error)), "")
            outcome.said[known or "other"] += 1
            if not known:
                outcome.violations.append(f"{name}: {error}")
        except Exception:  # noqa: BLE001 - whatever it is: it is counted and shown
            outcome.violations.append(f"{name}: {traceback.format_exc()[-1500:]}")
    soaker.arrive_all()
    return [*samples, sample(sum(outcome.done.values()), soaker.pid, temporary)]


@contextmanager
def _served(folder: Path, temporary: Path, log: Path) -> Iterator[tuple[int, int]]:
    """The page's server, its port and process id; what it prints goes to `log`."""
    port = free_port()
    # A closed tab may come back for two minutes, and keeps its handles: here for a second.
    settings = log.parent / ".streamlit" / "config.toml"
    settings.parent.mkdir()
    settings.write_text("[server]\ndisconnectedSessionTTL = 1\n")
    more = {"PYTHONPATH": str(ROOT), **quiet(temporary)}
    with log.open("wb") as output:
        server = subprocess.Popen(  # noqa: S603 - our own command line
            server_command(folder, port, app=APP, no_token=True),
            env={**server_environment(None), **more},
            cwd=log.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(lambda: is_healthy(port), SECONDS)
            yield port, server.pid
        finally:
            stop_process(server)
