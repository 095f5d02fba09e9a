"""Files are read, cut and analysed in several processes: the index is the same as with none."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from retriever.index import Index
from retriever.indexing import plan
from retriever.indexing import sync as sync_module
from retriever.indexing.sync import SyncReport
from retriever.reading import reader_pool, subprocess_reader
from retriever.reading.options import ReadOptions
from retriever.reading.reader_pool import ReaderPool, ReadTask
from retriever.reading.subprocess_reader import FileReader, Limits
from retriever.types import FileStatus, ReadError, UsageError
from tests.fakes import FakeEmbedder

ROOT = Path(__file__).parents[2]
TABLES = ("documents", "metadata", "pages", "chunks", "accounts", "lengths", "long_words", "unread")
GERMAN = "Die Sicherheitsüberprüfung der Häuser ist nicht das Ende der Verwaltungsgerichtsbarkeit. "


class Sharing(FakeEmbedder):
    """An embedder whose tokenizer other processes can have."""

    def __init__(self) -> None:
        super().__init__()
        self.cuts = 0
        self._tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
        self._tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        self.cuts += 1
        return self._tokenizer.encode(text, add_special_tokens=False).offsets

    def tokenizer_json(self) -> str:
        return self._tokenizer.to_str()


def write_files(folder: Path, reports: int = 12) -> Path:
    """Documents of several formats and sizes, two that fail, and one with repeated text."""
    folder.mkdir()
    for number in range(reports):
        text = f"# Report {number}\n\n" + "".join(
            f"The heron {number} saw item-{n} of the ISO27001 list.\n\n" for n in range(9 * number)
        )
        (folder / f"{number}.md").write_text(text)
    (folder / "german.txt").write_text(GERMAN * 40)
    (folder / "table.csv").write_text("name,age\n" + "Ann,3\n" * 300)
    (folder / "page.html").write_text("<nav>Home</nav><p>An otter.</p><footer>Imprint</footer>")
    (folder / "bad.pdf").write_bytes(b"%PDF-1.4 nothing of a document")
    (folder / "bad.docx").write_bytes(b"PK\x03\x04 nothing of an archive")
    for path in folder.iterdir():  # what has just changed is noted in another way
        os.utime(path, (1e9, 1e9))
    return folder


def dump(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of the tables, and of the full-text index."""
    with sqlite3.connect(folder / "catalog.sqlite") as connection:
        found = {
            table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
            for table in TABLES
        }
        found["terms"] = connection.execute("SELECT rowid, terms FROM fulltext").fetchall()
    return found


def build(folder: Path, docs: Path, embedder: FakeEmbedder, jobs: int) -> SyncReport:
    with Index.open_or_create(folder, embedder) as index:
        return index.sync(docs, keywords_only=True, jobs=jobs)


def facts(report: SyncReport) -> list[tuple[object, ...]]:
    return [(file.path, file.status, file.reason, file.chunks) for file in report.files]


@pytest.fixture(scope="module", autouse=True)
def settled():
    """All files count as unchanged for a while, so that their times are the same in every index."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "RACY_SECONDS", -1.0)
        yield


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory):
    """Documents, and what an index has of them that one process cuts, one file after another."""
    return cut_alone(write_files(tmp_path_factory.mktemp("alone") / "docs"))


def cut_alone(docs: Path):
    """Documents, and what an index beside them has that one process cuts."""
    folder = docs.with_name("index-alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sync_module, "is_worth_processes", lambda files: False)
        report = build(folder, docs, Sharing(), 1)
    return docs, dump(folder), facts(report)


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_the_index_is_the_same_for_any_number_of_processes(tmp_path, alone, jobs) -> None:
    docs, rows, expected = alone
    embedder = Sharing()
    report = build(tmp_path / "index", docs, embedder, jobs)
    found = dump(tmp_path / "index")
    for table in rows:
        assert found[table] == rows[table], table
    assert facts(report) == expected
    assert rows["long_words"], "there are compounds"
    assert embedder.cuts < 9, "the other processes have cut nearly all documents"


def test_an_embedder_without_a_tokenizer_for_others_cuts_itself(tmp_path: Path) -> None:
    docs = write_files(tmp_path / "docs")
    one, two = (build(tmp_path / str(n), docs, FakeEmbedder(), n) for n in (1, 2))
    assert facts(one) == facts(two)
    assert dump(tmp_path / "1") == dump(tmp_path / "2")


def test_what_no_process_has_cut_is_cut_here(tmp_path, monkeypatch) -> None:
    """Each file costs the start of a process, so there are fewer."""
    docs, rows, expected = cut_alone(write_files(tmp_path / "docs", reports=4))
    lost = []

    def lose(reader: FileReader, size: int) -> None:
        lost.append(size)
        reader.close()

    monkeypatch.setattr(FileReader, "_receive_prepared", lose)
    assert facts(build(tmp_path / "index", docs, Sharing(), 2)) == expected
    assert len(lost) > 4, "the other processes have cut nearly all documents"
    assert dump(tmp_path / "index") == rows


def task(path: Path) -> ReadTask:
    return ReadTask(path, path.name, path.stat().st_size, ReadOptions())


def test_a_file_that_hangs_costs_itself_and_the_order_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0.txt")  # nobody writes to it
    for number in range(1, 6):
        (tmp_path / f"{number}.txt").write_text(f"text {number}")
    tasks = [task(tmp_path / f"{number}.txt") for number in range(6)]
    with ReaderPool(2, Limits(seconds=1.5)) as pool:
        found = list(pool.read(tasks))
    assert [one.name for one in found] == [f"{number}.txt" for number in range(6)]
    with pytest.raises(ReadError):
        found[0].result()
    assert [one.result().pages[0].text for one in found[1:]] == [f"text {n}" for n in range(1, 6)]


def test_a_process_that_is_killed_is_replaced(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text(f"text {number}")
    with ReaderPool(2) as pool:
        texts = []
        for one in pool.read(task(tmp_path / f"{number}.txt") for number in range(8)):
            texts.append(one.result().pages[0].text)
            for reader in pool._readers if len(texts) == 1 else ():
                if reader._process is not None:
                    os.kill(reader._process.pid, signal.SIGKILL)
    assert texts == [f"text {number}" for number in range(8)]


def test_leaving_early_ends_all_processes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1.txt")
    (tmp_path / "0.txt").write_text("text")
    with ReaderPool(2) as pool:
        next(pool.read([task(tmp_path / "0.txt"), task(tmp_path / "1.txt")]))
        processes = [one._process for one in pool._readers if one._process is not None]
    assert processes
    assert all(process.returncode is not None for process in processes)
    assert not any(thread.is_alive() for thread in pool._threads)


def test_files_are_read_ahead_within_a_bound(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(reader_pool, "MAX_BYTES_AHEAD", 30)
    started = []

    def tasks():
        for number in range(9):
            path = tmp_path / f"{number}.txt"
            path.write_text("ten bytes.")
            started.append(number)
            yield task(path)

    with ReaderPool(2) as pool:
        for done, one in enumerate(pool.read(tasks()), 1):
            one.result()
            assert len(started) <= done + 3


RUN = """
    import signal, sys
    import psutil
    from retriever.index import Index
    from tests.indexing.test_processes import Sharing
    # A shell starts its background jobs with Ctrl-C ignored; the tests may be one of them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seen = set()
    def wait(progress):
        seen.add(progress.current)
        if len(seen) == 9:
            print(*[one.pid for one in psutil.Process().children()], flush=True)
            sys.stdin.read()
    try:
        with Index.open_or_create(sys.argv[1], Sharing()) as index:
            index.sync(sys.argv[2], keywords_only=True, jobs=2, progress=wait)
    except KeyboardInterrupt:
        print("stopped", flush=True)
"""


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_no_process_and_goes_on_later(tmp_path, alone, signal_) -> None:
    docs, rows, expected = alone
    folder = tmp_path / "index"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RUN), str(folder), str(docs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        readers = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
        process.send_signal(signal_)
        told, errors = process.communicate(timeout=20)
    assert readers
    assert not psutil.wait_procs(readers, timeout=20)[1], "they end with the process they serve"
    assert (told.strip(), errors) == ("stopped" if signal_ == signal.SIGINT else "", "")
    with sqlite3.connect(folder / "catalog.sqlite") as connection:
        kept = connection.execute("SELECT count(*) FROM documents").fetchone()[0]
    assert 0 < kept < len(expected)
    report = build(folder, docs, Sharing(), 2)
    assert report.totals["unchanged"] == kept
    found = dump(folder)
    for table in rows.keys() - {"documents", "unread"}:  # times of change may not be certain yet
        assert found[table] == rows[table], table


@pytest.mark.parametrize("jobs", [-1, 257, True, 1.5, "2"])
def test_jobs_is_a_number_of_processes(tmp_path: Path, jobs) -> None:
    with (
        Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index,
        pytest.raises(UsageError, match="number of jobs"),
    ):
        index.sync(tmp_path, jobs=jobs)


def test_two_failures_are_reported(alone) -> None:
    _, _, expected = alone
    failed = [path for path, status, *_ in expected if status is FileStatus.FAILED]
    assert failed == ["bad.docx", "bad.pdf"]


def test_processes_killed_while_they_start_cost_their_files_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("one.txt", "two.txt"):
        (docs / name).write_text(f"a text of {name}")
    starts = []
    with monkeypatch.context() as patched:
        patched.setattr(sync_module, "file_reader", subprocess_reader.file_reader)
        patched.setattr(FileReader, "_start_once", lambda self: starts.append(1))
        patched.setattr(FileReader, "_close_failed", lambda self: (-signal.SIGKILL, ""))
        with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
            report = index.sync(docs)
    assert len(starts) == 2 * subprocess_reader.MAX_STARTS
    reason = "the process that reads files was killed 3 times while it started, SIGKILL"
    assert [(one.status, one.reason) for one in report.files] == [("failed", reason)] * 2
    with Index.open(tmp_path / "index", FakeEmbedder()) as index:
        assert index.sync(docs).complete  # what passes is tried again
