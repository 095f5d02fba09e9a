"""Uploads and deletions that were killed: completed or removed at the next start, and told."""

from __future__ import annotations

import io
import logging
import os
import zipfile
from pathlib import Path

import pytest

from retriever.files import durable
from retriever.index import Index
from retriever.interface import collections as collection
from retriever.interface.remains import clear_collections, clear_remains
from retriever.interface.removal import remove_files
from retriever.interface.zip_uploads import ZipMember
from retriever.storage.catalog import CATALOG_FILE
from retriever.storage.catalog.lock import WriterLock
from retriever.types import IndexStateError
from tests.fakes import FakeEmbedder


class Killed(BaseException):
    """A kill, as far as a test can: nothing is tidied up after it."""


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def archive(count: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for number in range(count):
            made.writestr(f"box/note {number}.txt", f"text {number}")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return collection.create_collection(tmp_path / "indexes", "notes")


@pytest.fixture
def no_tidying(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process removes nothing, and its locks are gone."""
    monkeypatch.setattr(durable.shutil, "rmtree", lambda *args, **more: None)
    monkeypatch.setattr(Path, "unlink", lambda *args, **more: None)


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int) -> None:
    """The process is killed when this function is called for this time."""
    real, calls = getattr(owner, name), [0]

    def counted(*args: object, **more: object) -> object:
        calls[0] += 1
        if calls[0] == call:
            raise Killed
        return real(*args, **more)

    monkeypatch.setattr(owner, name, counted)


@pytest.mark.usefixtures("no_tidying")
def test_half_an_upload_goes_at_the_next_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        kill_at(patched, durable, "sync_file", 1)
        with pytest.raises(Killed):
            collection.store_upload(folder, "a.txt", b"half")
    monkeypatch.undo()
    assert len(files(folder / "uploads")) == 1
    clear_remains(folder)
    assert files(folder / "uploads") == {}


@pytest.mark.parametrize("call", [1, 3])
@pytest.mark.usefixtures("no_tidying")
def test_half_an_archive_leaves_no_file(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    call: int,
) -> None:
    with monkeypatch.context() as patched:
        kill_at(patched, ZipMember, "read", call)
        with pytest.raises(Killed):
            collection.store_archive(folder, "box.zip", archive(4))
    monkeypatch.undo()
    visible = [name for name in files(folder / "uploads") if not name.startswith(".")]
    assert visible == []
    with caplog.at_level(logging.WARNING):
        clear_collections(folder.parent)
    assert files(folder / "uploads") == {}
    assert "nothing of it is kept, upload it again" in caplog.text


@pytest.mark.parametrize("call", [1, 2, 4])
@pytest.mark.usefixtures("no_tidying")
def test_an_archive_that_was_unpacked_is_completed(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    call: int,
) -> None:
    (folder / "uploads" / "box").mkdir(parents=True)
    (folder / "uploads" / "box" / "note 2.txt").write_bytes(b"other")
    with monkeypatch.context() as patched:
        kill_at(patched, os, "link", call)
        with pytest.raises(Killed):
            collection.store_archive(folder, "box.zip", archive(4))
    monkeypatch.undo()
    with caplog.at_level(logging.WARNING):
        clear_collections(folder)
    assert files(folder / "uploads") == {
        "box/note 0.txt": b"text 0",
        "box/note 1.txt": b"text 1",
        "box/note 2.txt": b"other",
        "box/note 2 (2).txt": b"text 2",
        "box/note 3.txt": b"text 3",
    }
    assert "its 4 files are kept now" in caplog.text
    before = files(folder)
    clear_remains(folder)
    assert files(folder) == before


def test_what_another_process_uploads_now_stays(folder: Path) -> None:
    (folder / "uploads").mkdir()
    with durable.temporary_folder(folder / "uploads") as unpacked:
        (unpacked / "box").mkdir()
        (unpacked / "box" / "note.txt").write_text("half")
        clear_remains(folder)
        assert (unpacked / "box" / "note.txt").exists()


@pytest.mark.parametrize("foreign", [False, True])
def test_a_killed_deletion_is_finished(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, foreign: bool
) -> None:
    collection.store_upload(folder, "private.txt", b"private")
    if foreign:
        (folder / "thesis.txt").write_bytes(b"mine")
    with monkeypatch.context() as patched:
        kill_at(patched, collection, "_delete_doomed", 1)
        with pytest.raises(Killed):
            collection.delete_collection(folder)
    assert collection.list_indexes(folder.parent) == []
    assert not folder.exists()
    clear_collections(folder.parent)
    assert files(tmp_path) == ({"indexes/notes/thesis.txt": b"mine"} if foreign else {})
    if not foreign:
        assert collection.create_collection(folder.parent, "notes") == folder


def test_a_deletion_goes_on_after_a_second_kill(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two foreign files one is back already, under a name that is taken meanwhile, too."""
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text(name)
    with monkeypatch.context() as patched:
        kill_at(patched, durable, "rename", 3)
        with pytest.raises(Killed):
            collection.delete_collection(folder)
    (folder / "b.txt").write_text("new")
    clear_collections(folder.parent)
    assert files(tmp_path) == {
        "indexes/notes/a.txt": b"a.txt",
        "indexes/notes/b.txt": b"new",
        "indexes/notes/b (2).txt": b"b.txt",
    }


def test_a_deletion_by_a_living_process_is_left_to_it(folder: Path) -> None:
    doomed = folder.with_name(".notes.deleted-0123abcd")
    folder.rename(doomed)
    lock = WriterLock(doomed / "LOCK")
    lock.acquire()
    assert collection.finish_deletions(folder.parent) == 0
    assert (doomed / CATALOG_FILE).exists()
    lock.release()
    assert collection.finish_deletions(folder.parent) == 1
    assert list(folder.parent.iterdir()) == []


def test_an_archive_is_stored_as_a_whole_or_not_at_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(durable, "sync_tree", full)
    with pytest.raises(IndexStateError, match=r"is full: 'box.zip' was not kept"):
        collection.store_archive(folder, "box.zip", archive(3))
    assert files(folder / "uploads") == {}


def test_a_killed_removal_is_not_undone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        collection.store_upload(folder, name, name.encode())
    own = collection.uploads_folder(folder)
    with Index.open(folder, FakeEmbedder(16)) as index:
        index.sync(own)
        with monkeypatch.context() as patched:
            kill_at(patched, durable, "rename", 2)
            with pytest.raises(Killed):
                remove_files(index, folder, [(str(own), "a.txt"), (str(own), "b.txt")])
        clear_remains(folder)
        index.sync(own)
        assert [row.path for row in index.documents()] == ["b.txt", "c.txt"]


def test_a_removal_that_cannot_be_written_moves_no_file(folder: Path) -> None:
    collection.store_upload(folder, "a.txt", b"a")
    own = collection.uploads_folder(folder)
    with Index.open(folder, FakeEmbedder(16)) as index:
        index.sync(own)
        before = files(own)
        lock = WriterLock(folder / "LOCK")
        lock.acquire()
        with pytest.raises(IndexStateError, match="another process is writing"):
            remove_files(index, folder, [(str(own), "a.txt")])
        lock.release()
        assert files(own) == before
        assert remove_files(index, folder, [(str(own), "a.txt")]).count == 1
        assert files(own) == {}
