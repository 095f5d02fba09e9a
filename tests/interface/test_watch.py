"""Following folders: which batches of changes lead to which runs, and what the index holds then."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from retriever.index import Index
from retriever.indexing.sync import SyncReport
from retriever.interface import watch as watch_module
from retriever.interface.cli import main
from retriever.interface.watch import Follower, Watched, WatchLock
from retriever.reading import changes as changes_module
from retriever.reading.changes import TooManyFoldersError, changes, is_noise
from retriever.types import IndexStateError
from tests.fakes import FakeEmbedder

Step = Callable[[], Sequence[Path | str]]


def write(folder: Path, name: str, text: str = "") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text or f"The gecko of {path.name} sleeps.", "utf-8")
    os.utime(path, (1e9, 1e9))
    return path


class Scripted:
    """Follows `docs` over steps: each is a change of the disk, and the paths told of it."""

    def __init__(self, index: Index | None, *paths: Path) -> None:
        self.index = index
        self.runs: list[list[str]] = []
        self.told: list[str] = []
        self.reports: list[SyncReport] = []
        self.opened: list[list[str]] = []
        self.failing: list[Exception] = []
        self.steps: Iterator[Step] = iter(())
        self.now = 0.0
        self.paths = paths

    def run(self, paths: Sequence[Path]) -> SyncReport:
        self.runs.append(sorted(map(str, paths)))
        self.now += 0.01
        if self.failing:
            raise self.failing.pop(0)
        if self.index is None:
            return SyncReport("", 0.01, (), 0)
        return self.index.sync(list(paths))

    def changes(self, folders: Sequence[Path], *, poll: float) -> Iterator[frozenset[str]]:
        self.opened.append(sorted(map(str, folders)))
        yield frozenset()
        for step in self.steps:
            self.now += 1.0
            yield frozenset(map(str, step()))

    def follow(self, *steps: Step, hide: tuple[str, ...] = ()) -> Follower:
        self.steps = iter(steps)
        follower = Follower(
            Watched(
                self.paths,
                self.run,
                self.changes,
                self.told.append,
                self.reports.append,
                hide=hide,
                clock=lambda: self.now,
            )
        )
        follower.follow()
        return follower


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    for number in range(6):
        write(folder, f"{number}.txt")
    return folder


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def index(tmp_path: Path, embedder: FakeEmbedder):
    with Index.open_or_create(tmp_path / "index", embedder) as opened:
        yield opened


@pytest.fixture
def script(index, docs) -> Scripted:
    return Scripted(index, docs)


@pytest.fixture
def dry(docs) -> Scripted:
    """Without an index: only which runs there would be."""
    return Scripted(None, docs)


def names(index: Index) -> set[str]:
    return {row.path for row in index.documents()}


def nothing() -> Sequence[Path]:
    return []


def test_the_first_run_compares_everything_and_the_next_ones_read_what_changed(
    script, docs, index
) -> None:
    script.follow(lambda: [write(docs, "sub/new.txt")], nothing, nothing)
    assert script.runs == [[str(docs)], [str(docs / "sub/new.txt")]]
    assert "sub/new.txt" in names(index)


def test_a_new_folder_is_read_whole(script, docs, index) -> None:
    def arrive() -> list[Path]:
        write(docs.parent, "away/a.txt")
        shutil.move(docs.parent / "away", docs / "b.txt.d")
        return [docs / "b.txt.d"]

    script.follow(arrive, nothing)
    assert script.runs[1:] == [[str(docs / "b.txt.d")]]
    assert "b.txt.d/a.txt" in names(index)


def test_a_deletion_and_a_rename_are_followed_and_nothing_is_embedded_twice(
    script, docs, index, embedder
) -> None:
    def rename() -> list[Path]:
        (docs / "0.txt").rename(docs / "moved.txt")
        return [docs / "0.txt", docs / "moved.txt"]

    def delete() -> list[Path]:
        (docs / "1.txt").unlink()
        return [docs / "1.txt"]

    script.follow(rename, nothing, delete, nothing)
    assert names(index) == {"moved.txt", *(f"{number}.txt" for number in range(2, 6))}
    assert script.runs[1:] == [[str(docs)], [str(docs)]]
    assert [report.tokens for report in script.reports[1:]] == [0, 0]
    assert [report.totals["renamed"] for report in script.reports[1:]] == [1, 0]


def test_changes_of_one_batch_are_one_run(dry, docs) -> None:
    dry.follow(lambda: [write(docs, f"new{number}.txt") for number in range(30)])
    assert len(dry.runs) == 2
    assert len(dry.runs[1]) == 30


def test_a_storm_is_one_comparison_and_is_not_remembered(dry, docs, monkeypatch) -> None:
    monkeypatch.setattr(watch_module, "MAX_PLACES", 5)
    many = [write(docs, f"new{number}.txt") for number in range(6)]
    follower = dry.follow(lambda: many, nothing, lambda: [str(docs / "x.txt")] * 60)
    assert dry.runs == [[str(docs)], [str(docs)], [str(docs)]]
    assert not follower.places


@pytest.mark.parametrize(
    "name",
    ["~$report.docx", ".~lock.a.odt#", "a.txt.swp", "a.txt~", "4913", "b.tmp", "c.crdownload",
     ".git/x.txt", "node_modules/x.txt", "x.bin", "venv/x.txt", "link/a.txt", "ix/notes.txt"],
)  # fmt: skip
def test_what_concerns_no_document_leads_to_no_run(dry, docs, name) -> None:
    write(docs, "venv/pyvenv.cfg")
    (docs.parent / "real").mkdir()
    (docs / "link").symlink_to(docs.parent / "real")
    dry.follow(lambda: [write(docs, name)], nothing, hide=(str(docs / "ix"),))
    assert dry.runs == [[str(docs)]]


def test_what_is_deleted_of_such_names_leads_to_no_run_either(docs) -> None:
    for name in ("a.txt~", ".a.swp", "b.tmp"):
        assert is_noise(str(docs / name), [str(docs)], [])
    assert not is_noise(str(docs / "gone.d"), [str(docs)], [])
    assert not is_noise(str(docs), [str(docs)], [])
    assert is_noise("/elsewhere/a.txt", [str(docs)], [])


def test_an_error_is_told_once_and_the_same_is_tried_again(script, docs, index) -> None:
    busy = IndexStateError("another process is writing")
    script.failing = [busy, busy]
    script.follow(*[nothing] * 2, lambda: [write(docs, "new.txt")], *[nothing] * 4)
    assert script.runs == [[str(docs)]] * 3
    assert script.told == ["another process is writing; what changed is read after that"]
    assert "new.txt" in names(index)
    script.failing = [busy]
    script.follow(lambda: [write(docs, "more.txt")], *[nothing] * 3)
    assert "more.txt" in names(index)


def test_tries_are_ever_rarer(dry) -> None:
    dry.failing = [IndexStateError("no")] * 1000
    dry.follow(*[nothing] * 600)
    assert 10 < len(dry.runs) < 20


def test_a_folder_goes_away_and_comes_back(script, docs, index) -> None:
    away = docs.parent / "away"

    def leave() -> list[Path]:
        docs.rename(away)
        return [docs, docs / "1.txt"]

    def come() -> list[Path]:
        write(away, "new.txt")
        away.rename(docs)
        return []

    script.follow(leave, nothing, nothing, come, nothing, nothing)
    assert script.told == [f"'{docs}' is not there now; its documents stay",
                           f"'{docs}' is there again"]  # fmt: skip
    assert script.opened == [[str(docs)], [], [str(docs)]]
    assert names(index) == {"new.txt", *(f"{number}.txt" for number in range(6))}
    assert [report.tokens > 0 for report in script.reports] == [True, True]


def test_one_folder_of_two_is_away_from_the_start(index, docs, tmp_path) -> None:
    script = Scripted(index, docs, tmp_path / "nas")
    script.follow(lambda: [write(docs, "new.txt")], nothing)
    assert script.runs[0] == [str(docs)]
    assert "new.txt" in names(index)


def test_an_emptied_disk_takes_nothing_with_it_while_it_is_followed(script, docs, index) -> None:
    def unmount() -> list[Path]:
        gone = list(docs.iterdir())
        shutil.rmtree(docs)
        docs.mkdir()
        return gone

    script.follow(unmount, nothing, nothing, nothing)
    assert len(names(index)) == 6
    assert "none of them was removed" in script.reports[-1].notice


def test_where_the_system_watches_no_more_folders_they_are_looked_at(script, docs, index) -> None:
    polls: list[float] = []
    real = script.changes

    def limited(folders: Sequence[Path], *, poll: float) -> Iterator[frozenset[str]]:
        polls.append(poll)
        if not poll:
            raise TooManyFoldersError("there are more folders than the system watches")
        yield from real(folders, poll=poll)

    script.changes = limited
    script.follow(lambda: [write(docs, "new.txt")], nothing)
    assert polls == [0.0, 60.0]
    assert "every 60 seconds" in script.told[0]
    assert "new.txt" in names(index)


def test_the_systems_limit_is_a_sentence(docs, monkeypatch) -> None:
    import watchfiles

    def watch(*folders: Path, **options: object) -> Iterator[set]:
        raise OSError('OS file watch limit reached. about ["/docs"]')

    monkeypatch.setattr(watchfiles, "watch", watch)
    with pytest.raises(TooManyFoldersError, match=r"max_user_watches.*--poll"):
        next(changes([docs]))


def test_a_file_that_grows_is_left_until_it_is_quiet(index, docs) -> None:
    write(docs, "growing.txt")
    os.utime(docs / "growing.txt")  # now
    report = index.sync(docs, quiet=60)
    assert report.growing == (*(str(docs / f"{n}.txt") for n in range(6)),
                              str(docs / "growing.txt"))  # fmt: skip
    index.sync(docs)
    before = {row.path: row for row in index.documents()}
    (docs / "growing.txt").write_text("half a sent", "utf-8")
    report = index.sync(docs, quiet=60)
    assert report.totals["unchanged"] == 7
    assert {row.path: row for row in index.documents()} == before
    assert index.sync(docs).totals["updated"] == 1


def test_what_grows_is_read_in_a_later_run(dry, docs) -> None:
    grown = [(str(docs / "new.txt"),), ()]
    real = dry.run

    def run(paths: Sequence[Path]) -> SyncReport:
        from dataclasses import replace

        report = real(paths)
        return replace(report, growing=grown.pop(0)) if len(dry.runs) > 1 else report

    dry.run = run
    dry.follow(lambda: [write(docs, "new.txt")], nothing, nothing)
    assert dry.runs[1:] == [[str(docs / "new.txt")]] * 2


def test_only_one_process_follows_an_index(tmp_path) -> None:
    first, second = WatchLock(tmp_path), WatchLock(tmp_path)
    first.acquire()
    with pytest.raises(IndexStateError, match="follows the folders"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


# With the system's own changes


def test_the_system_tells_what_changed(docs, monkeypatch) -> None:
    monkeypatch.setattr(changes_module, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(changes_module, "TICK_SECONDS", 0.05)
    stop = threading.Event()
    found: set[str] = set()
    for number, batch in enumerate(changes([docs], stop=stop)):
        if number == 0:
            write(docs, "deep/new.txt")
            (docs / "0.txt").unlink()
        found |= batch
        if {str(docs / "0.txt"), str(docs / "deep")} <= found or number > 200:
            stop.set()
    assert {str(docs / "0.txt"), str(docs / "deep")} <= found


WATCH = """
import sys
from retriever.index import Index
from tests.fakes import FakeEmbedder
from retriever.interface.commands import watching
watching.requested_embedder = lambda options: FakeEmbedder()
from retriever.interface.cli import main
sys.exit(main(["watch", *sys.argv[1:]]))
"""


def test_the_command_follows_a_folder_until_it_is_told_to_end(docs, tmp_path) -> None:
    folder = tmp_path / "ix"
    with subprocess.Popen(
        [sys.executable, "-c", WATCH, str(docs), f"--index={folder}", "--json", "--jobs=1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        first = json.loads(process.stdout.readline())
        assert first["totals"]["indexed"] == 6
        write(docs, "new.txt", "The okapi sleeps.")
        second = json.loads(process.stdout.readline())
        assert [(file["path"], file["status"]) for file in second["files"]] == [
            ("new.txt", "indexed")
        ]
        process.terminate()
        assert process.wait(30) == 0
        assert "Traceback" not in process.stderr.read()
    with Index.open(folder, FakeEmbedder()) as index:
        assert "new.txt" in names(index)
    WatchLock(folder).acquire()


def test_an_interrupt_ends_it_as_it_ends_any_run(docs, tmp_path, monkeypatch, capsys) -> None:
    def interrupted(*folders: Path, **options: object) -> Iterator[set]:
        raise KeyboardInterrupt
        yield set()

    monkeypatch.setattr("watchfiles.watch", interrupted)
    monkeypatch.setattr(signal, "signal", lambda *handler: None)
    assert main(["watch", str(docs), "--index", str(tmp_path / "ix")]) == 130
    assert "run again to continue" in capsys.readouterr().err
    WatchLock(tmp_path / "ix").acquire()


def test_what_cannot_be_followed_is_a_sentence(docs, tmp_path, capsys) -> None:
    folder = str(tmp_path / "ix")
    for arguments, sentence in (
        (["watch", str(docs / "typo"), "--index", folder], "there is no file or folder"),
        (["watch", "--index", folder], "no index"),
        (["index", str(docs), "--watch", "--dry-run", "--index", folder], "--dry-run"),
        (["index", str(docs), "--poll", "5", "--index", folder], "--watch"),
        (["watch", str(docs), "--poll", "0", "--index", folder], "--poll takes seconds"),
    ):
        assert main(arguments) in (1, 2)
        assert sentence in capsys.readouterr().err
    assert not Path(folder).exists()
