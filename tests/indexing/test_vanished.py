"""A folder that is away, unmounted or empty never takes its documents with it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from retriever.index import Index
from retriever.indexing import sync as sync_module
from retriever.indexing.coverage import CoverageStatus, coverage_report
from retriever.indexing.sync import SyncReport
from retriever.types import UsageError
from tests.fakes import FakeEmbedder


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes read the same, and take seconds to start."""
    monkeypatch.setattr(sync_module, "is_worth_processes", lambda files: False)


@pytest.fixture
def index(tmp_path: Path):
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as opened:
        yield opened


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """Four files in `disk`, eight beside it."""
    folder = tmp_path / "docs"
    for number in range(12):
        write(folder, f"{'disk/deep' if number < 4 else 'here'}/{number}.txt")
    return folder


def write(folder: Path, name: str, text: str = "") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text or f"The gecko of {path.name} sleeps.", "utf-8")
    return path


def names(index: Index) -> set[str]:
    return {row.path for row in index.documents()}


class Mounts:
    """Says which folders are disks of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
        self.there = set(map(str, folders))
        monkeypatch.setattr(os.path, "ismount", lambda path: str(path) in self.there | {"/"})


def kept_all(index: Index, report: SyncReport, count: int, sentence: str) -> None:
    assert len(names(index)) == count
    assert sentence in report.notice
    assert "--force" in report.notice
    assert not report.complete
    assert report.totals["removed"] == 0


def test_a_disk_that_is_not_mounted_takes_nothing_with_it(index, docs, monkeypatch) -> None:
    mounts = Mounts(monkeypatch, docs / "disk")
    index.sync(docs)
    mounts.there.clear()
    shutil.move(docs / "disk", docs.parent / "away")  # even the mount point is gone
    write(docs, "here/new.txt")
    report = index.sync(docs)
    kept_all(index, report, 13, "is not mounted now")
    for number in range(20):  # what is new does not outweigh what is away
        write(docs, f"more/new{number}.txt")
    kept_all(index, index.sync(docs), 33, "4 vanished files were not removed")
    mounts.there.add(str(docs / "disk"))
    shutil.move(docs.parent / "away", docs / "disk")
    tokens = index.sync(docs)
    assert (tokens.notice, tokens.tokens, len(names(index))) == ("", 0, 33)
    (docs / "disk/deep/0.txt").unlink()  # a deletion on a disk that is there
    assert index.sync(docs).totals["removed"] == 1


def test_a_root_on_a_disk_that_is_not_mounted(index, docs, tmp_path, monkeypatch) -> None:
    mounts = Mounts(monkeypatch, docs)
    index.sync(docs)
    for number in range(7):
        (docs / f"here/{number + 4}.txt").unlink()  # as after a mount of another state
    mounts.there.clear()
    report = index.sync(docs)
    kept_all(index, report, 12, "--force")


def test_one_empty_folder_of_several(index, docs, tmp_path) -> None:
    small = tmp_path / "small"
    for name in "abc":
        write(small, f"{name}.txt")
    index.sync([docs, small])
    shutil.rmtree(small)
    small.mkdir()
    kept_all(index, index.sync([docs, small]), 15, "most files of")
    assert index.sync([docs, small], dry_run=True).totals["removed"] == 0
    assert index.sync([docs, small], force=True).totals["removed"] == 3


def test_a_folder_that_was_emptied(index, docs) -> None:
    index.sync(docs)
    shutil.rmtree(docs / "disk/deep")
    kept_all(index, index.sync(docs), 12, f"the folder '{docs}/disk' is empty now")
    (docs / "disk").rmdir()
    kept_all(index, index.sync(docs), 12, "held back before")
    assert index.sync(docs, force=True).totals["removed"] == 4


def test_a_deletion_is_a_deletion(index, docs) -> None:
    write(docs, "one/alone.txt")
    index.sync(docs)
    (docs / "one/alone.txt").unlink()
    (docs / "disk/deep/1.txt").unlink()
    shutil.rmtree(docs / "disk/deep")
    write(docs, "disk/left.txt")
    report = index.sync(docs)
    assert (report.totals["removed"], report.notice, report.complete) == (5, "", True)


def test_a_run_over_a_part_holds_nothing_back_for_later_ones(index, docs) -> None:
    index.sync(docs)
    for number in range(3):
        (docs / f"disk/deep/{number}.txt").unlink()
    kept_all(index, index.sync(docs / "disk"), 12, "3 of the 4 files known here")
    assert index.sync(docs).totals["removed"] == 3


def test_what_was_held_back_stays_so_until_it_is_back_or_given_up(index, docs) -> None:
    index.sync(docs)
    shutil.move(docs / "here", docs.parent / "away")
    kept_all(index, index.sync(docs), 12, "8 of the 12 files known here")
    for number in range(20):
        write(docs, f"more/new{number}.txt")
    index.sync(docs)
    kept_all(index, index.sync(docs), 32, "held back before")
    shutil.move(docs.parent / "away/4.txt", docs / "4.txt")
    report = index.sync(docs)
    assert (report.totals["renamed"], len(names(index))) == (1, 32)
    assert index.sync(docs, force=True).totals["removed"] == 7


def test_the_report_tells_what_was_held_back_and_how_many_passages_lack_vectors(
    index, docs
) -> None:
    index.sync(docs, keywords_only=True)
    with index.backend.reading() as catalog:
        files = coverage_report(catalog).files
    assert [(file.chunks, file.pending) for file in files] == [(1, 1)] * 12
    shutil.rmtree(docs / "disk/deep")
    index.sync(docs)
    with index.backend.reading() as catalog:
        told = coverage_report(catalog)
    assert {file.pending for file in told.files} == {0}
    held = [file for file in told.files if file.status is CoverageStatus.OUTDATED]
    assert [file.path for file in held] == [f"disk/deep/{number}.txt" for number in range(4)]
    assert "--force" in held[0].advice
    assert not told.complete
    index.sync(docs, force=True)
    with index.backend.reading() as catalog:
        assert coverage_report(catalog).complete


def test_a_known_folder_that_is_away_does_not_hinder_the_others(index, docs, tmp_path) -> None:
    other = tmp_path / "other"
    write(other, "a.txt")
    index.sync([docs, other])
    shutil.rmtree(other)
    write(docs, "new.txt")
    report = index.sync([docs, other])
    assert {"a.txt", "new.txt"} <= names(index)
    assert "cannot be reached now" in report.notice
    assert not report.complete
    other.symlink_to(tmp_path / "nowhere")
    assert "cannot be reached now" in index.sync([other, docs]).notice
    with pytest.raises(UsageError, match="there is no file or folder"):
        index.sync([docs, tmp_path / "typo"])
    with pytest.raises(UsageError, match="there is no file or folder"):
        index.sync(other)
    assert len(names(index)) == 14


def test_a_root_that_became_a_file(index, docs) -> None:
    index.sync(docs)
    shutil.rmtree(docs)
    docs.write_text("The heron sleeps.", "utf-8")
    index.sync(docs)
    assert len(names(index) - {"docs"}) == 12


@pytest.mark.parametrize("leads", ["nowhere", "elsewhere"])
def test_a_folder_that_became_a_link(index, docs, leads) -> None:
    index.sync(docs)
    shutil.move(docs / "disk", docs.parent / "elsewhere")
    (docs / "disk").symlink_to(docs.parent / leads)
    kept_all(index, index.sync(docs), 12, "is a link now")


def test_a_listing_that_breaks_off_keeps_the_folder(index, docs, monkeypatch) -> None:
    index.sync(docs)
    scandir = os.scandir

    class Broken:
        def __init__(self, listing) -> None:
            self.listing = listing

        def __enter__(self):
            return self

        def __exit__(self, *error) -> None:
            self.listing.close()

        def __iter__(self):
            yield next(self.listing)
            raise OSError(116, "Stale file handle")

    def breaking(path):
        return Broken(scandir(path)) if Path(path).name == "deep" else scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", breaking)
        report = index.sync(docs, force=True)
    assert len(names(index)) == 12
    assert [file.path for file in report.files if file.status == "failed"] == ["disk/deep"]
    assert not report.complete


def test_a_folder_that_vanishes_while_it_is_listed(index, docs, monkeypatch) -> None:
    index.sync(docs)
    scandir = os.scandir

    def vanishing(path):
        if Path(path).name == "disk":
            shutil.move(docs, docs.parent / "away")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    report = index.sync(docs, force=True)
    assert len(names(index)) == 12
    assert "vanished while it was looked at" in str(report.files)


def test_a_copy_of_a_disk_that_is_away_removes_nothing(index, docs, tmp_path, monkeypatch) -> None:
    mounts = Mounts(monkeypatch, docs)
    index.sync(docs)
    mounts.there.clear()
    shutil.move(docs, tmp_path / "copy")
    (tmp_path / "copy/here/5.txt").unlink()
    kept_all(index, index.sync(tmp_path / "copy"), 12, "is not mounted now")


def test_capitals_of_a_root_where_they_do_not_count(index, docs, monkeypatch) -> None:
    index.sync(docs)
    loud = docs.with_name("DOCS")
    docs.rename(loud)  # as a file system that does not tell them apart would show it
    docs.symlink_to(loud)
    report = index.sync(loud)
    assert report.totals["unchanged"] == 12
    assert {row.root for row in index.documents()} == {str(docs)}
