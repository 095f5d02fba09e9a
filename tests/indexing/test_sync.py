"""Folders change between two runs; the index follows, and reads only what is new."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retriever.index import Index
from retriever.indexing import plan as plan_module
from retriever.indexing import sync as sync_module
from retriever.indexing.coverage import CoverageReport, CoverageStatus, coverage_report
from retriever.indexing.ingest import Ingest
from retriever.indexing.sync import FileReport, SyncReport
from retriever.interface.terminal.reports import report_lines
from retriever.reading.formats import FORMATS
from retriever.reading.subprocess_reader import FileReader
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.catalog import Writer
from retriever.types import (
    Document,
    FileStatus,
    IndexStateError,
    ModelError,
    Page,
    PageState,
    Progress,
    ReadError,
    UsageError,
)
from tests.fakes import FakeEmbedder
from tests.live import live
from tests.older import without_seals
from tests.pdfs import pdf_file, text_page

ROOT = Path(__file__).parents[2]
ANIMALS = ["zebra", "ibex", "heron", "walrus", "gecko", "lynx", "otter", "bison", "raven", "moth"]
MODES = ("hybrid", "dense", "keyword")


def body(animal: str) -> str:
    return f"The {animal} was seen near the river early this morning by the warden."


def write(folder: Path, path: str, text: str | bytes) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """Ten files in two folders, one animal each."""
    folder = tmp_path / "docs"
    for number, animal in enumerate(ANIMALS):
        write(folder, f"{'north' if number % 2 else 'south'}/{animal}.txt", body(animal))
    return folder


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def index(tmp_path: Path, embedder: FakeEmbedder):
    with Index.open_or_create(tmp_path / "index", embedder) as opened:
        yield opened


def statuses(report: SyncReport, *, unchanged: bool = False) -> dict[str, str]:
    return {
        file.path: file.status.value
        for file in report.files
        if unchanged or file.status is not FileStatus.UNCHANGED
    }


def passages(embedder: FakeEmbedder) -> list[str]:
    return [text for text in embedder.embedded if text.startswith("passage: ")]


def state(index: Index) -> dict:
    """Everything an index says about its documents, and which calibration it has."""
    backend = index.backend
    return {
        "documents": index.documents(),
        "chunks": [index.chunks(row.id) for row in index.documents()],
        "pages": [index.pages(row.id) for row in index.documents()],
        "generation": index.generation,
        "model": live(backend).embedder_settings(),
        "chunking": live(backend).chunk_settings(),
        "info": {k: v for k, v in index.info().items() if k != "bytes"},
    }


def found(index: Index, animal: str) -> dict[str, list[str]]:
    """Paths of the documents that speak of the animal, in each mode."""
    return {
        mode: [
            hit.chunk.path
            for hit in index.search(animal, 50, mode=mode)
            if animal in hit.chunk.text
        ]
        for mode in MODES
    }


def in_all_modes(paths: list[str]) -> dict[str, list[str]]:
    return dict.fromkeys(MODES, paths)


def check_is_fresh(index: Index, tmp_path: Path, *paths: Path) -> None:
    """The index is the one that a single run over the same files makes."""
    folder = tmp_path / f"fresh-{time.monotonic_ns()}"
    with Index.open_or_create(folder, FakeEmbedder()) as fresh:
        fresh.sync(list(paths))
        assert [c for r in fresh.documents() for c in fresh.chunks(r.id)] == [
            c for r in index.documents() for c in index.chunks(r.id)
        ]
        for query in ("river warden", "zebra"):
            for mode in MODES:
                one, other = (i.search(query, 20, mode=mode) for i in (fresh, index))
                assert [(h.chunk.id, h.score) for h in one] == [
                    (h.chunk.id, pytest.approx(h.score, abs=1e-6)) for h in other
                ]


# What changed is read, and nothing else


def test_the_first_run_indexes_everything(index, docs, embedder) -> None:
    report = index.sync(docs)
    assert set(statuses(report).values()) == {"indexed"}
    assert len(report.files) == len(passages(embedder)) == 10
    assert report.complete
    for animal in ANIMALS:
        for mode in MODES:
            assert index.search(animal, 1, mode=mode)[0].chunk.path.endswith(f"{animal}.txt")


def test_the_second_run_changes_and_embeds_nothing(index, docs, embedder) -> None:
    index.sync(docs)
    embedder.embedded.clear()
    report = index.sync(docs)
    assert set(statuses(report, unchanged=True).values()) == {"unchanged"}
    assert embedder.embedded == []
    assert report.totals["unchanged"] == report.totals["files"] == 10
    assert report.totals["chunks"] == 10
    assert report.totals["tokens"] == 0


def test_an_edited_file_alone_is_embedded(index, docs, embedder, tmp_path) -> None:
    index.sync(docs)
    embedder.embedded.clear()
    write(docs, "south/zebra.txt", body("unicorn"))
    assert statuses(index.sync(docs)) == {"south/zebra.txt": "updated"}
    assert passages(embedder) == [f"passage: {body('unicorn')}"]
    assert not any(found(index, "zebra").values())
    assert set(map(tuple, found(index, "unicorn").values())) == {("south/zebra.txt",)}
    check_is_fresh(index, tmp_path, docs)


def test_a_touched_file_is_unchanged(index, docs, embedder) -> None:
    index.sync(docs)
    embedder.embedded.clear()
    os.utime(docs / "south/zebra.txt", (1, 1))
    assert statuses(index.sync(docs)) == {}
    assert embedder.embedded == []


@pytest.mark.parametrize("settled", [False, True])
def test_a_change_of_same_size_and_time_is_seen(index, docs, settled, monkeypatch) -> None:
    file = docs / "south/zebra.txt"
    if settled:  # as if the first run had been long after the file was written
        monkeypatch.setattr(plan_module, "RACY_SECONDS", -1.0)
    index.sync(docs)
    times = file.stat()
    time.sleep(0.02)  # the file system's clock ticks every few milliseconds
    write(docs, "south/zebra.txt", body("ZEBRU"))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)
    assert statuses(index.sync(docs)) == {"south/zebra.txt": "updated"}


def test_unchanged_files_are_not_read_again(index, docs, monkeypatch) -> None:
    monkeypatch.setattr(plan_module, "RACY_SECONDS", -1.0)
    index.sync(docs)
    monkeypatch.setattr(plan_module, "_hash", lambda file: pytest.fail(f"{file.path} was hashed"))
    assert statuses(index.sync(docs)) == {}


def test_added_and_deleted_files(index, docs, embedder, tmp_path) -> None:
    index.sync(docs)
    embedder.embedded.clear()
    (docs / "north/ibex.txt").unlink()
    write(docs, "new.txt", body("stork"))
    report = index.sync(docs)
    assert statuses(report) == {"north/ibex.txt": "removed", "new.txt": "indexed"}
    assert len(passages(embedder)) == 1
    assert found(index, "ibex") == in_all_modes([])
    check_is_fresh(index, tmp_path, docs)


def test_after_a_removal_the_means_are_those_of_what_is_left(index, docs, tmp_path) -> None:
    index.sync(docs)
    (docs / "north/ibex.txt").unlink()
    index.sync(docs)
    check_is_fresh(index, tmp_path, docs)


def test_a_removal_needs_no_model(index, docs, tmp_path) -> None:
    index.sync(docs)
    (docs / "north/ibex.txt").unlink()

    def none():
        raise ModelError("there is no model here")

    report = sync_module.sync(index.backend, none, [docs])
    assert statuses(report) == {"north/ibex.txt": "removed"}
    assert found(index, "ibex") == in_all_modes([])
    index.sync(docs)  # the means are fitted as soon as there is one
    check_is_fresh(index, tmp_path, docs)


# Names


def moved(docs: Path, *pairs: tuple[str, str]) -> None:
    for old, new in pairs:
        (docs / new).parent.mkdir(parents=True, exist_ok=True)
        (docs / old).rename(docs / new)


@pytest.mark.parametrize(
    ("pairs", "renamed"),
    [
        ([("south/zebra.txt", "south/horse.txt")], {"south/horse.txt"}),
        ([("south/zebra.txt", "deep/er/zebra.txt")], {"deep/er/zebra.txt"}),
        ([("south", "east")], {f"east/{animal}.txt" for animal in ANIMALS[::2]}),
        (
            [("south/zebra.txt", "t"), ("north/ibex.txt", "south/zebra.txt"),
             ("t", "north/ibex.txt")],
            {"south/zebra.txt", "north/ibex.txt"},
        ),
        (
            [("south/heron.txt", "new.txt"), ("north/ibex.txt", "south/heron.txt"),
             ("south/zebra.txt", "north/ibex.txt")],
            {"new.txt", "south/heron.txt", "north/ibex.txt"},
        ),
        (
            [("south/heron.txt", "t"), ("north/ibex.txt", "south/heron.txt"),
             ("south/zebra.txt", "north/ibex.txt"), ("t", "south/zebra.txt")],
            {"south/zebra.txt", "south/heron.txt", "north/ibex.txt"},
        ),
    ],
    ids=["file", "into another folder", "folder", "swap", "chain", "circle"],
)  # fmt: skip
def test_renames_embed_nothing(index, docs, embedder, tmp_path, pairs, renamed) -> None:
    index.sync(docs)
    embedder.embedded.clear()
    moved(docs, *pairs)
    assert statuses(index.sync(docs)) == dict.fromkeys(renamed, "renamed")
    assert embedder.embedded == []
    check_is_fresh(index, tmp_path, docs)
    assert statuses(index.sync(docs)) == {}


@pytest.mark.parametrize("at", range(1, 5))
def test_a_swap_that_is_broken_off_is_as_before_and_finished_later(
    index, docs, at, monkeypatch, tmp_path
) -> None:
    index.sync(docs)
    before = [found(index, name) for name in ("heron", "ibex", "zebra")]
    moved(
        docs,
        ("south/heron.txt", "t"),
        ("north/ibex.txt", "south/heron.txt"),
        ("south/zebra.txt", "north/ibex.txt"),
        ("t", "south/zebra.txt"),
    )
    calls = 0
    rename = Writer.rename

    def failing(self, *arguments):
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyboardInterrupt
        rename(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "rename", failing)
        with pytest.raises(KeyboardInterrupt):
            index.sync(docs)
    assert [found(index, name) for name in ("heron", "ibex", "zebra")] == before
    index.sync(docs)
    check_is_fresh(index, tmp_path, docs)


def test_a_file_moved_over_another_replaces_it(index, docs, embedder, tmp_path) -> None:
    index.sync(docs)
    embedder.embedded.clear()
    moved(docs, ("south/zebra.txt", "north/ibex.txt"))
    assert statuses(index.sync(docs)) == {"north/ibex.txt": "renamed"}
    assert found(index, "ibex") == in_all_modes([])
    assert passages(embedder) == []
    check_is_fresh(index, tmp_path, docs)


def test_a_new_file_at_the_place_of_a_moved_one(index, docs, embedder, tmp_path) -> None:
    index.sync(docs)
    embedder.embedded.clear()
    moved(docs, ("south/zebra.txt", "zebra.txt"))
    write(docs, "south/zebra.txt", body("stork"))
    report = statuses(index.sync(docs))
    assert report.pop("zebra.txt") == "renamed"
    assert set(report) == {"south/zebra.txt"}
    assert len(passages(embedder)) == 1
    check_is_fresh(index, tmp_path, docs)


def test_another_format_is_read_again(index, docs, tmp_path) -> None:
    write(docs, "note.txt", "# Heading\n\n" + body("stork"))
    index.sync(docs)
    moved(docs, ("note.txt", "note.md"))
    assert set(statuses(index.sync(docs))) == {"note.txt", "note.md"}
    assert {row.path: row.format for row in index.documents()}["note.md"] == "markdown"
    check_is_fresh(index, tmp_path, docs)


def test_the_same_content_twice(index, docs, embedder, tmp_path) -> None:
    shutil.copy(docs / "south/zebra.txt", docs / "copy.txt")
    assert index.sync(docs).totals["indexed"] == 11
    assert len(passages(embedder)) == 10
    (docs / "copy.txt").unlink()
    assert statuses(index.sync(docs)) == {"copy.txt": "removed"}
    assert found(index, "zebra")["keyword"] == ["south/zebra.txt"]
    shutil.copy(docs / "south/zebra.txt", docs / "north/ibex.txt")
    assert statuses(index.sync(docs)) == {"north/ibex.txt": "updated"}
    assert len(passages(embedder)) == 10
    check_is_fresh(index, tmp_path, docs)


# Roots


@pytest.mark.parametrize("name", ["docs", "other name"])
def test_a_root_that_was_moved_is_the_same_root(index, docs, embedder, tmp_path, name) -> None:
    index.sync(docs)
    ids = [row.id for row in index.documents()]
    embedder.embedded.clear()
    place = tmp_path / "elsewhere" / name
    place.parent.mkdir()
    docs.rename(place)
    (place / "north/ibex.txt").unlink()
    assert statuses(index.sync(place)) == {"north/ibex.txt": "removed"}
    assert passages(embedder) == []
    assert {row.root for row in index.documents()} == {str(place)}
    assert {row.id for row in index.documents()} < set(ids)
    assert statuses(index.sync(place)) == {}


def test_a_folder_of_the_same_name_is_not_the_one_that_is_gone(index, docs, tmp_path) -> None:
    index.sync(docs)
    docs.rename(tmp_path / "unplugged")
    other = tmp_path / "b" / "docs"
    write(other, "x.txt", body("stork"))
    report = index.sync(other)
    assert statuses(report) == {"x.txt": "indexed"}
    assert len(index.documents()) == 11, "documents of a root that was not named were touched"


def test_the_ways_to_name_a_root(index, docs, tmp_path, monkeypatch) -> None:
    index.sync(docs)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(docs)
    for name in ("docs", "docs/", "./docs/../docs", "link", f"{docs}/", Path("docs")):
        assert statuses(index.sync(name)) == {}, name
    assert len(index.documents()) == 10
    monkeypatch.chdir(docs)
    assert statuses(index.sync(".")) == {}


def test_a_file_alone(index, docs, embedder) -> None:
    report = index.sync(docs / "south/zebra.txt")
    assert statuses(report) == {"zebra.txt": "indexed"}
    assert [row.path for row in index.documents()] == ["zebra.txt"]
    write(docs, "south/zebra.txt", body("unicorn"))
    assert statuses(index.sync(docs / "south/zebra.txt")) == {"zebra.txt": "updated"}


def test_a_file_of_a_known_root_belongs_to_it(index, docs) -> None:
    index.sync(docs)
    write(docs, "south/zebra.txt", body("unicorn"))
    write(docs, "north/ibex.txt", body("faun"))
    assert statuses(index.sync(docs / "south/zebra.txt")) == {"south/zebra.txt": "updated"}
    assert len(index.documents()) == 10


def test_a_folder_inside_a_known_root(index, docs, tmp_path) -> None:
    index.sync(docs)
    (docs / "south/zebra.txt").unlink()
    (docs / "north/ibex.txt").unlink()
    assert statuses(index.sync(docs / "south")) == {"south/zebra.txt": "removed"}
    assert len(index.documents()) == 9
    index.sync(docs)
    check_is_fresh(index, tmp_path, docs)


@pytest.mark.parametrize("together", [False, True])
def test_a_parent_of_a_known_root_doubles_nothing(
    index, docs, embedder, tmp_path, together
) -> None:
    index.sync(docs / "south")
    embedder.embedded.clear()
    report = index.sync([docs / "south", docs] if together else docs)
    assert report.totals["renamed"] == report.totals["indexed"] == 5
    assert len(passages(embedder)) == 5
    check_is_fresh(index, tmp_path, docs)


def test_nested_folders_in_one_run(index, docs, tmp_path) -> None:
    report = index.sync([docs / "south", docs, docs / "south/zebra.txt", docs])
    assert report.totals["files"] == report.totals["indexed"] == 10
    check_is_fresh(index, tmp_path, docs)


def test_two_roots_with_the_same_name_and_paths(index, docs, tmp_path) -> None:
    other = tmp_path / "b" / "docs"
    write(other, "south/zebra.txt", body("quagga"))
    index.sync(docs)
    index.sync(other)
    assert len(index.documents()) == 11
    assert len({row.source for row in index.documents()}) == 2
    assert statuses(index.sync([docs, other])) == {}
    write(other, "south/zebra.txt", body("okapi"))
    report = index.sync([docs, other])
    assert statuses(report) == {"south/zebra.txt": "updated"}
    assert report.totals["files"] == 11
    assert found(index, "quagga") == in_all_modes([])
    assert found(index, "zebra")["keyword"] == ["south/zebra.txt"]


def test_a_file_moved_from_one_root_to_another(index, docs, embedder, tmp_path) -> None:
    other = tmp_path / "other"
    write(other, "x.txt", body("stork"))
    index.sync([docs, other])
    embedder.embedded.clear()
    (docs / "south/zebra.txt").rename(other / "zebra.txt")
    report = index.sync([docs, other])
    assert statuses(report) == {"zebra.txt": "renamed"}
    assert embedder.embedded == []
    assert {row.source for row in index.documents() if row.path == "zebra.txt"} == {"other"}


# What is removed, and what is not


def test_only_what_is_below_the_paths_is_removed(index, docs, tmp_path) -> None:
    other = tmp_path / "other"
    for animal in ("stork", "quagga"):
        write(other, f"{animal}.txt", body(animal))
    index.sync([docs, other])
    index.add([Document("upload", "txt", (Page(None, body("dodo")),))])
    (docs / "south/zebra.txt").unlink()
    (other / "stork.txt").unlink()
    assert statuses(index.sync(docs)) == {"south/zebra.txt": "removed"}
    assert found(index, "stork")["keyword"] == ["stork.txt"]
    assert found(index, "dodo") == in_all_modes(["upload"])
    index.sync(other)
    assert found(index, "stork") == in_all_modes([])


def test_more_than_half_gone_asks_for_force(index, docs) -> None:
    index.sync(docs)
    for animal in ANIMALS[:6]:
        next(docs.rglob(f"{animal}.txt")).unlink()
    before = state(index)["documents"]
    assert index.sync(docs, dry_run=True).totals["removed"] == 0
    report = index.sync(docs)
    assert re.search(r"6 of the 10 .*--force.*--no-delete", report.notice)
    assert (report.totals["removed"], report.complete) == (0, False)
    assert report.to_json()["notice"] == report.notice
    # Only the time differs, which marks them as held back.
    now = {row.path: row for row in state(index)["documents"]}
    assert [replace(now[row.path], mtime_ns=row.mtime_ns) for row in before] == before
    assert index.sync(docs, dry_run=True, force=True).totals["removed"] == 6
    assert index.sync(docs, force=True).totals["removed"] == 6
    assert index.sync(docs).notice == ""


def test_more_than_half_gone_holds_back_nothing_but_removals(index, docs) -> None:
    index.sync(docs)
    for animal in ANIMALS[:6]:
        next(docs.rglob(f"{animal}.txt")).unlink()
    kept = next(docs.rglob(f"{ANIMALS[7]}.txt"))
    kept.write_text(body("dodo"), "utf-8")
    (docs / "new.txt").write_text(body("quagga"), "utf-8")
    report = index.sync(docs)
    assert statuses(report) == {
        "new.txt": "indexed",
        kept.relative_to(docs).as_posix(): "updated",
    }
    assert found(index, "quagga")["keyword"] == ["new.txt"]
    assert found(index, "dodo")["keyword"] == [kept.relative_to(docs).as_posix()]
    assert "kept because most files are" in {file.reason[-27:] for file in report.files}


def test_a_generated_file_is_skipped_with_its_reason(index, docs) -> None:
    (docs / "package-lock.json").write_text("{}")
    (docs / "made.py").write_text("# generated by a tool, do not edit\nx = 1\n")
    (docs / "blank.txt").write_text(" \n")
    for _ in range(2):  # also where nothing has changed
        files = {file.path: file for file in index.sync(docs).files}
        lock, made = files["package-lock.json"], files["made.py"]
        assert (lock.status, made.status) == (FileStatus.SKIPPED, FileStatus.SKIPPED)
        assert lock.reason == "a lock file: versions chosen by a package manager"
        assert made.reason == "generated: it says so itself"
        assert files["blank.txt"].reason == "nothing but blanks in it"
    told = {file.path: file for file in coverage_of(index).files}
    assert (told["made.py"].status, told["made.py"].reason) == (
        CoverageStatus.SKIPPED,
        "generated: it says so itself",
    )


def coverage_of(index: Index) -> CoverageReport:
    with index.backend.reading() as catalog:
        return coverage_report(catalog)


def test_half_of_the_files_may_vanish(index, docs) -> None:
    index.sync(docs)
    shutil.rmtree(docs / "south")
    assert index.sync(docs).totals["removed"] == 5


def test_no_delete_keeps_what_has_vanished(index, docs) -> None:
    index.sync(docs)
    for file in docs.rglob("*.txt"):
        file.unlink()
    report = index.sync(docs, delete=False)
    assert set(statuses(report, unchanged=True).values()) == {"unchanged"}
    assert all("--no-delete" in file.reason for file in report.files)
    assert found(index, "zebra")["hybrid"] == ["south/zebra.txt"]
    assert index.sync(docs, force=True).totals["removed"] == 10
    assert index.search("zebra") == []


def test_patterns(index, docs) -> None:
    report = index.sync(docs, include=["*.txt"], exclude=["north/**"])
    assert report.totals["indexed"] == report.totals["skipped"] == 5
    assert {file.reason for file in report.files if file.status is FileStatus.SKIPPED} == {
        "left out by the patterns given"
    }
    index.sync(docs)
    report = index.sync(docs, exclude=["**/zebra.txt"])
    assert statuses(report) == {"south/zebra.txt": "removed"}
    assert report.files[-1].reason == "left out by the patterns given"
    assert report.idle_patterns == ()
    report = index.sync(docs, exclude=["zebra.txt", "drafts"], dry_run=True)
    assert report.to_json()["idle_patterns"] == ["drafts"]
    assert "the pattern 'drafts' matches no file" in report_lines(report)
    assert "left out" in index.sync(docs, include=["*.mdd"]).notice


def test_a_folder_that_cannot_be_entered_keeps_its_documents(index, docs, monkeypatch) -> None:
    index.sync(docs)
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "south":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    report = index.sync(docs, force=True)
    assert statuses(report) == {"south": "failed"}
    assert not report.complete
    assert report.totals["removed"] == 0
    assert len(index.documents()) == 10


# Dry runs


def test_a_dry_run_changes_nothing_and_needs_no_model(index, docs) -> None:
    index.sync(docs)
    moved(docs, ("south/zebra.txt", "horse.txt"))
    (docs / "north/ibex.txt").unlink()
    write(docs, "north/lynx.txt", body("puma"))
    write(docs, "new.txt", body("stork"))
    before = state(index)
    report = sync_module.sync(
        index.backend,
        lambda: pytest.fail("a model was asked for"),
        [docs],
        sync_module.SyncOptions(dry_run=True),
    )
    expected = {
        "horse.txt": "renamed",
        "north/ibex.txt": "removed",
        "north/lynx.txt": "updated",
        "new.txt": "indexed",
    }
    assert statuses(report) == expected
    assert report.dry_run
    assert state(index) == before
    assert not index.backend._catalog.being_written  # the lock shows itself nowhere else
    assert statuses(index.sync(docs)) == expected


# Files that give trouble


class Pages:
    """A reader that answers with prepared pages, or an error, for the files named."""

    def __init__(self, monkeypatch) -> None:
        self.by_name: dict[str, list[Page] | ReadError] = {}
        self.asked: list[str] = []
        real = FileReader.read
        monkeypatch.setattr(FileReader, "read", lambda *call: self.read(real, *call))

    def read(self, real, file_reader: FileReader, path: Path, name: str) -> Document:
        self.asked.append(name)
        prepared = self.by_name.get(name)
        if prepared is None:
            return real(file_reader, path, name)
        if isinstance(prepared, ReadError):
            raise prepared
        return Document(name, "pdf", tuple(prepared))


@pytest.fixture
def reader(monkeypatch) -> Pages:
    return Pages(monkeypatch)


SCANNED = Page(2, "", PageState.SCANNED, "an image without text")
LOCKED = Page(None, "", PageState.ENCRYPTED, "a password is needed")


def test_a_failed_file_keeps_what_was_indexed(index, docs, reader) -> None:
    index.sync(docs)
    write(docs, "south/zebra.txt", "damaged now")
    reader.by_name["south/zebra.txt"] = ReadError("broken: nonsense")
    for _ in range(2):
        report = index.sync(docs)
        assert statuses(report) == {"south/zebra.txt": "failed"}
        (file,) = [file for file in report.files if file.status is FileStatus.FAILED]
        assert file.reason == "broken: nonsense; what was indexed of it before is kept"
        assert (file.pages, file.chunks) == (1, 1)
        assert not report.complete
        assert found(index, "zebra")["hybrid"] == ["south/zebra.txt"]
    del reader.by_name["south/zebra.txt"]
    assert statuses(index.sync(docs)) == {"south/zebra.txt": "updated"}
    assert found(index, "zebra") == in_all_modes([])


def test_a_file_that_got_a_password_keeps_what_was_indexed(index, docs, reader) -> None:
    index.sync(docs)
    write(docs, "south/zebra.txt", "locked now")
    reader.by_name["south/zebra.txt"] = [LOCKED]
    assert statuses(index.sync(docs)) == {"south/zebra.txt": "failed"}
    assert found(index, "zebra")["dense"] == ["south/zebra.txt"]


def test_pages_that_cannot_be_read_are_told_every_time(index, docs, reader) -> None:
    reader.by_name = {
        "south/zebra.txt": [Page(1, body("zebra")), SCANNED],
        "north/ibex.txt": [LOCKED],
    }
    report = index.sync(docs)
    told = {file.path: file for file in report.files}
    assert told["south/zebra.txt"].status is FileStatus.PARTIAL
    assert (
        told["south/zebra.txt"].reason
        == "1 of 2 pages not readable: 1 scanned (an image without text)"
    )
    assert told["south/zebra.txt"].page_states == {"text": 1, "scanned": 1}
    assert told["north/ibex.txt"].status is FileStatus.FAILED
    assert (told["north/ibex.txt"].pages, told["north/ibex.txt"].chunks) == (1, 0)
    assert not report.complete
    report = index.sync(docs)
    assert statuses(report) == {}
    assert report.incomplete == 2
    assert "scanned" in next(f.reason for f in report.files if f.path == "south/zebra.txt")


def test_a_failed_file_is_read_again_only_when_something_has_changed(index, docs, reader) -> None:
    old = write(docs, "f.txt", "nonsense")
    os.utime(old, (1e9, 1e9))
    reader.by_name["f.txt"] = ReadError("it took longer than 60 seconds; split the file")

    def run(**options) -> tuple[FileReport, bool]:
        reader.asked.clear()
        report = index.sync(docs, **options)
        assert not report.complete
        (file,) = [file for file in report.files if file.status is FileStatus.FAILED]
        assert file.reason == "it took longer than 60 seconds; split the file"
        return file, "f.txt" in reader.asked

    assert run() == (FileReport("f.txt", FileStatus.FAILED, str(reader.by_name["f.txt"])), True)
    racy = run()[1]  # it was written just now: it may change again within one tick
    assert racy
    for file in live(index.backend).unread():  # as if the run had been later
        assert file.path == "f.txt"
        changed = replace(file, mtime_ns=max(old.stat().st_mtime_ns, old.stat().st_ctime_ns))
        index.backend.set_unread([changed])
    assert not run()[1]
    assert not run()[1]
    assert run(retry=True)[1]
    write(docs, "f.txt", "other nonsense")
    assert run()[1]
    del reader.by_name["f.txt"]
    assert statuses(index.sync(docs)) == {"f.txt": "indexed"}
    assert live(index.backend).unread() == []


def test_what_is_left_out_elsewhere_is_remembered(index, docs, tmp_path) -> None:
    write(docs, "picture.xyz", "?")
    other = write(tmp_path / "other", "song.xyz", "?").parent
    index.sync(docs)
    index.sync(other)
    assert {file.path for file in live(index.backend).unread()} == {"picture.xyz", "song.xyz"}
    (docs / "picture.xyz").unlink()
    index.sync(docs)
    assert {file.path for file in live(index.backend).unread()} == {"song.xyz"}


def test_pictures_are_read_with_an_ocr_alone(index, docs, reader) -> None:
    picture = write(docs, "scan.png", b"\x89PNG")
    reader.by_name["scan.png"] = [Page(None, body("crane"), PageState.OCR, "by OCR")]
    report = index.sync(docs)
    assert statuses(report)["scan.png"] == "skipped"
    assert report.complete
    assert "scan.png" not in reader.asked
    assert statuses(index.sync(docs, ocr="eng")) == {"scan.png": "indexed"}
    assert statuses(index.sync(docs)) == {}  # what was read stays
    write(docs, "other.png", b"\x89PNG other")
    assert statuses(index.sync(docs, ocr="")) == {"other.png": "skipped"}
    moved(docs, ("scan.png", "new/scan.png"))
    assert statuses(index.sync(docs, ocr="")) == {"new/scan.png": "renamed", "other.png": "skipped"}
    assert found(index, "crane")["dense"] == ["new/scan.png"]
    assert not picture.exists()


def test_a_password_or_an_ocr_reads_again_what_needs_it_alone(index, docs, reader) -> None:
    reader.by_name = {
        "south/zebra.txt": [Page(1, body("zebra")), SCANNED],
        "north/ibex.txt": [LOCKED],
    }
    index.sync(docs)
    for options, path, pages in (
        ({"passwords": ["secret"]}, "north/ibex.txt", [Page(1, body("stork"))]),
        ({"ocr": "eng"}, "south/zebra.txt", [Page(2, body("crane"), PageState.OCR, "by OCR")]),
    ):
        reader.asked.clear()
        reader.by_name[path] = pages
        assert statuses(index.sync(docs, **options)) == {path: "updated"}
        assert reader.asked == [path]
        assert statuses(index.sync(docs, **options)) == {}
    assert found(index, "stork")["dense"] == ["north/ibex.txt"]
    (hit, *_) = index.search("crane")
    assert (hit.chunk.path, hit.chunk.state) == ("south/zebra.txt", PageState.OCR)


def test_statuses_and_totals_count_each_other(index, docs, reader) -> None:
    index.sync(docs)
    reader.by_name = {
        "p.txt": [Page(1, body("stork")), SCANNED],
        "f.txt": ReadError("broken"),
        "north/ibex.txt": ReadError("broken"),
    }
    for name in ("p.txt", "f.txt", "north/ibex.txt", "n.txt"):
        write(docs, name, body(f"new{name}"))
    write(docs, "picture.png", b"\x89PNG")
    write(docs, ".hidden.txt", body("ghost"))
    moved(docs, ("south/zebra.txt", "z.txt"))
    (docs / "north/lynx.txt").unlink()
    write(docs, "south/heron.txt", body("egret"))
    report = index.sync(docs)
    totals = report.totals
    expected = {"indexed": 1, "updated": 1, "unchanged": 6, "renamed": 1, "removed": 1}
    expected |= {"partial": 1, "failed": 2, "skipped": 2}
    assert {name: totals[name] for name in expected} == expected
    assert totals["files"] == len(report.files) == sum(expected.values())
    for name in ("pages", "chunks"):
        assert totals[name] == sum(getattr(file, name) for file in report.files)
    for file in report.files:
        assert file.pages == sum(file.page_states.values())
    assert totals["chunks"] == index.info()["chunks"]
    assert totals["pages"] == index.info()["pages"]
    assert json.loads(json.dumps(report.to_json()))["totals"] == totals


def test_a_file_that_vanishes_before_it_is_read(index, docs, monkeypatch) -> None:
    real = FileReader.read

    def vanishing(file_reader, path, name):
        path.unlink()
        return real(file_reader, path, name)

    monkeypatch.setattr(FileReader, "read", vanishing)
    report = index.sync(docs)
    assert report.totals["failed"] == 10
    assert all("cannot be opened" in file.reason for file in report.files)


@pytest.mark.parametrize(
    "name",
    ["a\nb.txt", "quote'\".txt", "<script>alert(1)</script>.txt".replace("/", "∕"), " .txt",
     "ünï 中文 😀.txt", "a%20b&c=d#e?.txt", "-rf.txt", "'; DROP TABLE documents; --.txt"],
)  # fmt: skip
def test_odd_names_are_names(index, docs, name) -> None:
    write(docs, name, body("stork"))
    index.sync(docs)
    assert found(index, "stork") == in_all_modes([name])
    assert statuses(index.sync(docs)) == {}
    (docs / name).unlink()
    assert statuses(index.sync(docs)) == {name: "removed"}


def test_a_name_that_is_no_text_is_reported(index, docs) -> None:
    for name in (b"bad\xff.txt", b"bad\xfe.txt", b"bad\xfd.mp3"):
        Path(os.fsdecode(os.fsencode(docs) + b"/" + name)).write_text(body("stork"))
    report = index.sync(docs)
    assert report.totals["indexed"] == 10
    assert report.totals["failed"] == 2
    assert report.totals["skipped"] == 1
    assert not report.complete
    assert json.dumps(report.to_json(), ensure_ascii=False).encode()
    (reason, _) = [file.reason for file in report.files if file.status is FileStatus.FAILED]
    assert "UTF-8" in reason


def test_other_readers_read_everything_again_and_embed_nothing(
    index, docs, embedder, monkeypatch
) -> None:
    index.sync(docs)
    embedder.embedded.clear()
    newer = {"txt": replace(FORMATS["txt"], version=FORMATS["txt"].version + 1)}
    monkeypatch.setattr("retriever.reading.formats.FORMATS", {**FORMATS, **newer})
    report = index.sync(docs)
    assert report.totals["updated"] == 10
    assert embedder.embedded == []
    assert statuses(index.sync(docs)) == {}


def test_an_older_index_learns_printed_page_numbers_and_embeds_nothing(
    embedder, tmp_path, monkeypatch
) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    labels = b"/PageLabels << /Nums [0 << /S /r >>] >>"
    (folder / "book.pdf").write_bytes(pdf_file([text_page("The zebra sleeps")], catalog=labels))
    with monkeypatch.context() as before:
        elder = {"pdf": replace(FORMATS["pdf"], version=2)}
        before.setattr("retriever.reading.formats.FORMATS", {**FORMATS, **elder})
        with Index.open_or_create(tmp_path / "old", embedder) as index:
            index.sync(folder)
    with sqlite3.connect(tmp_path / "old" / "catalog.sqlite") as connection:
        without_seals(connection)
        connection.execute("ALTER TABLE pages DROP COLUMN printed")
    connection.close()
    embedder.embedded.clear()
    with Index.open(tmp_path / "old", embedder) as index:
        (hit,) = index.search("zebra", mode="keyword")
        assert (hit.chunk.page, hit.chunk.printed) == (1, "")
        assert index.sync(folder).totals["updated"] == 1
        assert embedder.embedded == []
        (again,) = index.search("zebra page:1", mode="keyword")
        assert (again.chunk.id, again.chunk.place) == (hit.chunk.id, "page i (PDF page 1)")
        assert [page.printed for page in index.pages(hit.chunk.document_id)] == ["i"]


# Runs that are broken off


class Killed(BaseException):
    """What no handler catches."""


def check_resumes(index: Index, embedder: FakeEmbedder, docs: Path, tmp_path: Path) -> None:
    """After a break: nothing half, nobody locked out, no vector embedded twice."""
    assert index.info()["progress"] is None
    with Index.open(tmp_path / "index") as other:
        other.backend.set_progress(None)  # the right to write is free
    for row in index.documents():
        assert len(index.chunks(row.id)) == row.chunks
    keys = [prefix + embedder.key(text) for text in embedder.embedded for prefix in ("", "q:")]
    stored = live(index.backend).known_vectors(keys)
    before = [
        text
        for text in embedder.embedded
        if {embedder.key(text), "q:" + embedder.key(text)} & stored
    ]
    embedder.embedded.clear()
    index.sync(docs)
    assert not set(before) & set(embedder.embedded), "something was embedded twice"
    assert len(embedder.embedded) == len(set(embedder.embedded))
    check_is_fresh(index, tmp_path, docs)


@pytest.mark.parametrize(
    ("method", "call"),
    [
        *[("save_vectors", 1), ("save_vectors", 2)],
        *[("attach_vectors", 1), ("attach_vectors", 2), ("attach_vectors", 3)],
        *[("upsert_many", 1), ("upsert_many", 2), ("upsert_many", 10)],
        *[("calibrate", 1), ("calibrate", 2)],
        *[("set_progress", 1), ("set_progress", 3), ("finish", 1)],
    ],
)
def test_a_break_anywhere_leaves_a_good_index(
    index, docs, embedder, tmp_path, monkeypatch, method, call
) -> None:
    for name in ("FIRST_BATCH_TOKENS", "BATCH_TOKENS"):
        monkeypatch.setattr(f"retriever.indexing.vectors.{name}", 40)
    monkeypatch.setattr("retriever.indexing.ingest.WRITE_SECONDS", 0.0)  # each one by itself
    real = getattr(EmbeddedBackend, method)
    calls = 0

    def failing(self, *arguments):
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedBackend, method, failing)
        with pytest.raises(Killed):
            index.sync(docs)
    check_resumes(index, embedder, docs, tmp_path)


@pytest.mark.parametrize("call", [1, 2, 4, 6])
def test_a_model_that_fails_leaves_a_good_index(
    index, docs, embedder, tmp_path, monkeypatch, call
) -> None:
    for name in ("FIRST_BATCH_TOKENS", "BATCH_TOKENS"):
        monkeypatch.setattr(f"retriever.indexing.vectors.{name}", 40)
    calls = 0
    real = embedder.embed_inputs

    def failing(inputs):
        nonlocal calls
        calls += 1
        if calls == call:
            raise ModelError("out of memory")
        return real(inputs)

    with monkeypatch.context() as patch:
        patch.setattr(embedder, "embed_inputs", failing)
        with pytest.raises(ModelError, match="out of memory"):
            index.sync(docs)
    check_resumes(index, embedder, docs, tmp_path)


@pytest.mark.parametrize("call", [1, 3, 8, 12])
def test_ctrl_c_while_progress_is_shown(index, docs, embedder, tmp_path, call) -> None:
    calls = 0

    def interrupting(progress):
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.sync(docs, progress=interrupting)
    check_resumes(index, embedder, docs, tmp_path)


RUN = """
    import signal, sys, time
    # A shell starts its background jobs with Ctrl-C ignored; the tests may be one of them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from retriever.index import Index
    from tests.fakes import FakeEmbedder
    import retriever.indexing.vectors
    retriever.indexing.vectors.FIRST_BATCH_TOKENS = retriever.indexing.vectors.BATCH_TOKENS = 40
    class Slow(FakeEmbedder):
        def embed_inputs(self, inputs):
            for text in inputs:
                print(text, flush=True)
            if len(seen) > 4:
                time.sleep(60)
            seen.extend(inputs)
            return super().embed_inputs(inputs)
    seen = []
    with Index.open_or_create(sys.argv[1], Slow()) as index:
        index.sync(sys.argv[2])
"""


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_leaves_a_good_index(docs, tmp_path, signal_) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RUN), str(tmp_path / "index"), str(docs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    embedder = FakeEmbedder()
    with process, Index.open_or_create(tmp_path / "index", embedder) as index:
        lines: list[str] = []
        while len(lines) < 6:
            lines.append(process.stdout.readline().strip())
        with pytest.raises(IndexStateError, match="another process is writing"):
            index.sync(docs)
        assert index.info()["progress"]["files_total"] == 10
        assert index.search("warden", mode="hybrid"), "what is there already cannot be found"
        process.send_signal(signal_)
        process.wait(20)
        hits = index.search("warden", 20, fold=False, embed_ms=0)
        assert len(hits) == 10, "every file is found by its words"
        done = {hit.chunk.text for hit in hits if hit.embedded}
        embedder.embedded.clear()
        index.sync(docs)
        again = {text.removeprefix("passage: ") for text in passages(embedder)}
        assert not again & done
        assert len(index.documents()) == 10
        check_is_fresh(index, tmp_path, docs)


# Progress


def test_progress_adds_up(index, docs, monkeypatch) -> None:
    for name in ("FIRST_BATCH_TOKENS", "BATCH_TOKENS"):
        monkeypatch.setattr(f"retriever.indexing.vectors.{name}", 40)
    write(docs, "long.txt", "\n\n".join(body(f"animal{n}") for n in range(300)))
    seen: list[Progress] = []
    index.sync(docs, progress=seen.append)
    assert seen[0].files_done == 0
    assert (seen[-1].files_done, seen[-1].files_total) == (11, 11)
    assert seen[-1].seconds_left == 0
    assert seen[-1].chunks == index.info()["chunks"]
    for name in ("files_done", "chunks", "tokens", "seconds"):
        values = [getattr(progress, name) for progress in seen]
        assert values == sorted(values)
    assert all(p.seconds_left is None or p.seconds_left >= 0 for p in seen)
    # The long file is most of the work: while its vectors are made there is time left.
    amid = [p for p in seen if p.files_done == 11 and 0 < p.vectors_done < p.vectors_total]
    assert len(amid) > 20
    assert all(p.seconds_left for p in amid if p.phase == "embedding")


def test_progress_without_anything_to_do(index, docs) -> None:
    index.sync(docs)
    seen: list[Progress] = []
    index.sync(docs, progress=seen.append)
    assert {(p.files_done, p.files_total, p.seconds_left) for p in seen} == {(0, 0, 0.0)}


def test_the_time_left_is_a_share_of_the_work(index, tmp_path, monkeypatch) -> None:
    """Four equal files, one batch each, a second each: after one three seconds are left.

    The last fit is expected to take as long as the files, where these are few.
    """
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for name in ("FIRST_BATCH_TOKENS", "BATCH_TOKENS"):
        monkeypatch.setattr(f"retriever.indexing.vectors.{name}", 1)
    folder = tmp_path / "four"
    for animal in ("bear", "deer", "crow", "swan"):
        write(folder, f"{animal}.txt", body(animal))
    real = index.embedder.embed_inputs

    def second(inputs):
        nonlocal now
        now += 1.0 if inputs[0].startswith("passage: ") else 0.0
        return real(inputs)

    monkeypatch.setattr(index.embedder, "embed_inputs", second)
    seen: list[Progress] = []
    index.sync(folder, progress=seen.append)
    left = {p.seconds: p.seconds_left for p in seen if p.tokens and p.phase == "embedding"}
    assert left == pytest.approx({1.0: 3.0 + 4, 2.0: 2.0 + 4, 3.0: 1.0 + 4, 4.0: 4.0})
    assert seen[-1].seconds_left == 0


def test_the_last_fit_of_many_files_takes_so_many_characters(index, tmp_path, monkeypatch) -> None:
    """A batch takes a second for each thousand tokens; there is more text than the fit reads."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr("retriever.indexing.progress.FIT_CHARACTERS", 400.0)
    folder = tmp_path / "many"
    for number in range(20):
        write(folder, f"{number}.txt", body(f"animal{number}"))
    real = index.embedder.embed_inputs

    def slow(inputs):
        nonlocal now
        if inputs[0].startswith("passage: "):
            now += index.embedder.count_tokens(inputs) / 1000
        return real(inputs)

    monkeypatch.setattr(index.embedder, "embed_inputs", slow)
    seen: list[Progress] = []
    index.sync(folder, progress=seen.append)
    done = [p for p in seen if p.phase == "embedding" and p.vectors_done == p.vectors_total]
    assert done[-1].seconds_left == pytest.approx(400 / 4 / 1000)


def test_while_files_are_read_the_time_is_that_of_the_reading(index, tmp_path, monkeypatch) -> None:
    """Four files of equal size, a second each: after one three seconds until all are found."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    folder = tmp_path / "four"
    for animal in ("bear", "deer", "crow", "swan"):
        write(folder, f"{animal}.txt", body(animal))
    real = Ingest.add

    def second(self, *given):
        nonlocal now
        now += 1.0
        return real(self, *given)

    monkeypatch.setattr(Ingest, "add", second)
    seen: list[Progress] = []
    index.sync(folder, keywords_only=True, progress=seen.append)
    left = {p.files_done: p.seconds_left for p in seen if p.phase == "reading" and p.files_done}
    assert left == pytest.approx({1: 3.0, 2: 2.0, 3: 1.0})


def test_a_tiny_first_file_says_nothing_about_the_time(index, tmp_path) -> None:
    folder = tmp_path / "uneven"
    write(folder, "tiny.txt", "Bear.")
    for number in range(3):
        write(folder, f"{number}.txt", body("bear") * 40)
    seen: list[Progress] = []
    index.sync(folder, keywords_only=True, progress=seen.append)
    reading = [p for p in seen if p.phase == "reading" and p.files_done == 1]
    assert reading
    assert all(p.seconds_left is None for p in reading)


def test_a_run_tells_its_phases_and_its_share_only_grows(index, docs, monkeypatch) -> None:
    for name in ("FIRST_BATCH_TOKENS", "BATCH_TOKENS"):
        monkeypatch.setattr(f"retriever.indexing.vectors.{name}", 40)
    stored: list[dict] = []
    real = EmbeddedBackend.set_progress
    monkeypatch.setattr(
        EmbeddedBackend,
        "set_progress",
        lambda self, told: (stored.append(told), real(self, told)),
    )
    seen: list[Progress] = []
    started = datetime.now(UTC).isoformat(timespec="seconds")
    index.sync(docs, progress=seen.append)
    shares = [progress.share for progress in seen]
    assert shares == sorted(shares)
    assert 0 == shares[0] < shares[len(shares) // 2] < shares[-1] == 1
    phases = list(dict.fromkeys(progress.phase for progress in seen))
    assert phases == ["scanning", "reading", "loading", "embedding", "fitting", ""]
    assert any(p.waiting > 0 for p in seen if p.phase == "embedding")
    assert index.info()["last_run"]["at"] >= started
    # What other processes see ends with the last phase, not with the first one.
    last = Progress.from_json(json.loads(json.dumps(stored[-1])))
    assert (last.phase, last.files_done, last.files_total) == ("fitting", 10, 10)
    assert 0.5 <= last.share < 1
    assert last.seconds_left is None


def test_progress_of_other_versions_is_read() -> None:
    old = {
        "files_done": 1, "files_total": 4, "chunks": 9, "tokens": 8, "seconds": 2.0,
        "tokens_per_second": 4.0, "seconds_left": 6.0, "current": "a.txt", "part": 2,
    }  # fmt: skip
    assert Progress.from_json(old) == Progress(1, 4, 9, 8, 2.0, 4.0, 6.0, "a.txt", 2, share=0.25)
    later = Progress.from_json({**old, "phase": "dreaming", "share": 0.5, "dreams": 3})
    assert (later.phase, later.share) == ("", 0.5)


# What cannot be meant


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere", "there is no"), ("", "empty path"), ("  ", "empty path"), ("a\0b", "there is no")],
)
def test_paths_that_cannot_be_meant(index, path, message, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        index.sync(path)
    with pytest.raises(UsageError, match="no path"):
        index.sync([])


def test_an_empty_folder_is_nothing_wrong(index, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    report = index.sync(tmp_path / "empty")
    assert report.totals["files"] == 0
    assert report.complete
    assert index.search("anything") == []


def test_the_index_is_not_indexed(docs, embedder) -> None:
    with Index.open_or_create(docs / "search" / "index", embedder) as index:
        write(docs / "search" / "index", "note.txt", body("stork"))
        assert index.sync(docs).totals["files"] == 10
        assert index.sync(docs).totals["files"] == 10
        for path in (docs / "search/index", docs / "search/index/note.txt"):
            with pytest.raises(UsageError, match="the index itself"):
                index.sync(path)
