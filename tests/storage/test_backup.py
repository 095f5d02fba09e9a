"""Backups: consistent beside a writer, complete, refused where something is, safe to unpack."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retriever import Document, Index, Page
from retriever.files import durable
from retriever.interface import collections
from retriever.storage.upkeep import archive, backup
from retriever.types import IndexStateError, UsageError
from tests.fakes import FakeEmbedder

QUERIES = ("lease of the roof", "cats", "walrus")


def document(path: str, text: str) -> Document:
    return Document(path, "text", (Page(None, text),))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection with two uploads, a description, and a document of the caller."""
    folder = collections.create_collection(tmp_path_factory.mktemp("indexes"), "notes")
    collections.describe_collection(folder, "what I noted")
    for name, text in {"a.txt": "A lease of the roof.", "b.md": "# Cats\n\nCats sleep."}.items():
        collections.store_upload(folder, name, text.encode())
    with Index.open(folder, FakeEmbedder()) as index:
        index.sync(collections.uploads_folder(folder))
        index.add([document("mine", "A walrus on the ice."), document("gone", "Kerfuffle.")])
        index.remove(["gone"])
    return folder


def answers(folder: Path) -> list[Any]:
    with Index.open(folder, FakeEmbedder()) as index:
        return [
            (hit.chunk.id, hit.text, hit.score, hit.chunk.path)
            for query in QUERIES
            for mode in ("hybrid", "dense", "keyword")
            for hit in index.search(query, mode=mode)
        ]


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[Any]:
    return answers(folder)


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy of the index that a test may change."""
    return Path(shutil.copytree(folder, tmp_path / "own"))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module", params=["folder", "archive", "copied folder"])
def copied(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, folder: Path
) -> Path:
    """A copy of the index by each way."""
    tmp_path = tmp_path_factory.mktemp("copied")
    name = "notes.zip" if request.param == "archive" else "copy"
    target, into = tmp_path / "backups" / name, tmp_path / "restored"
    with Index.open(folder) as index:
        made = index.backup(target)
    assert (made.documents, made.passages, made.uploads) == (3, 3, 2)
    assert left(target.parent) == [name]
    if request.param == "folder":
        assert made.bytes == sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
        return target
    if request.param == "copied folder":
        shutil.move(target, tmp_path / "elsewhere")
        target = tmp_path / "elsewhere"
    restored = Index.restore(target, into)
    assert (restored.documents, restored.passages, restored.uploads) == (3, 3, 2)
    return into


def test_a_backup_answers_as_the_index_did(
    expected: list[Any], copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert answers(copied) == expected
    assert not caplog.records  # its vector file is there and right
    assert collections.description(copied) == "what I noted"
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (copied, *copied.rglob("*"))}
    assert os.name != "posix" or modes == {0o700, 0o600}


def test_uploads_belong_to_the_copy(copied: Path) -> None:
    uploads, embedder = collections.uploads_folder(copied), FakeEmbedder()
    with Index.open(copied, embedder) as index:
        rows = {row.path: row.root for row in index.documents()}
        report = index.sync(uploads)
        assert sorted(file.status.value for file in report.files) == ["unchanged", "unchanged"]
    assert rows == {"a.txt": str(uploads), "b.md": str(uploads), "mine": ""}
    assert not embedder.embedded


def test_a_copy_has_no_text_of_deleted_documents(copied: Path) -> None:
    for path in copied.rglob("*"):
        assert path.is_dir() or b"erfuffle" not in path.read_bytes(), path


def test_a_backup_is_one_state_of_an_index_that_is_written_to(own: Path, tmp_path: Path) -> None:
    """Documents are added one after the other, so a state has the first ones."""
    stop = threading.Event()

    def write() -> None:
        with Index.open(own, FakeEmbedder()) as index:
            number = 0
            while not stop.is_set():
                index.add([document(f"{number} {side}", f"{number}{side}") for side in "lr"])
                number += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with Index.open(own) as index:
            made = [index.backup(tmp_path / f"copy {number}") for number in range(4)]
    finally:
        stop.set()
        thread.join()
    for one in made:
        with Index.open(one.path, FakeEmbedder()) as copy:
            paths = {row.path for row in copy.documents()}
            assert len(paths) == one.documents
            names = [f"{number} {side}" for number in range(len(paths)) for side in "lr"]
            known = names[: len(paths) - 3]
            assert paths == {"a.txt", "b.md", "mine", *known}
            for name in known[-1:]:
                text = name.replace(" ", "")
                assert text in {hit.text for hit in copy.search(text, mode="dense")}


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_a_vector_file_that_is_gone_is_made_anew(
    own: Path,
    tmp_path: Path,
    harm: str,
    expected: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for path in own.glob("vectors-*.faiss"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.unlink() if harm == "gone" else path.write_bytes(data)
    with Index.open(own) as index:
        index.backup(tmp_path / "copy")
    caplog.clear()
    assert answers(tmp_path / "copy") == expected
    assert not caplog.records


def test_an_index_from_elsewhere_takes_nothing_from_outside(
    own: Path, tmp_path: Path, expected: list[Any]
) -> None:
    """Its uploads may hold links, and its catalog may name any file as the vector file."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("mine")
    shutil.rmtree(own / "uploads")
    (own / "uploads").mkdir()
    (own / "uploads" / "secret.txt").symlink_to(outside / "secret.txt")
    with sqlite3.connect(own / "catalog.sqlite") as connection:
        connection.execute("UPDATE snapshots SET file = '../outside/secret.txt'")
    connection.close()
    with Index.open(own) as index:
        assert index.backup(tmp_path / "copy").uploads == 0
        index.compact()
    assert answers(tmp_path / "copy") == expected
    kinds = {path.name.split("-")[0] for path in (tmp_path / "copy").iterdir()}
    assert kinds <= {"catalog.sqlite", "vectors", "collection.json", "LOCK"}
    assert left(outside) == ["secret.txt"]


def test_what_is_there_is_never_written_over(
    folder: Path, tmp_path: Path, expected: list[Any]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file.zip").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, said in {
        "full": "is not empty",
        "file.zip": "there is already a file",
        "link": "there is already a file",
        f"{folder}/copy": "lies inside",
        "notes.tar.xz": "the name of an archive ends in .zip",
    }.items():
        with Index.open(folder) as index, pytest.raises(UsageError, match=said):
            index.backup(tmp_path / name)
    with pytest.raises(UsageError, match="there is no backup"):
        Index.restore(tmp_path / "missing.zip", tmp_path / "new")
    with Index.open(folder) as index:
        index.backup(tmp_path / "good.zip")
    with pytest.raises(UsageError, match="is not empty"):
        Index.restore(tmp_path / "good.zip", folder)
    assert left(tmp_path) == ["file.zip", "full", "good.zip", "link"]
    assert left(tmp_path / "full") == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    Index.restore(tmp_path / "good.zip", tmp_path / "empty")
    assert answers(tmp_path / "empty") == expected


def fail(number: int) -> Callable[..., None]:
    def raise_(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return raise_


@pytest.mark.parametrize("at", ["_copy_catalog", "_copy_file", "_settle", "durable.publish_folder"])
def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    *module, name = at.split(".")
    monkeypatch.setattr(durable if module else backup, name, fail(errno.ENOSPC))
    said = r"the backup .*copy was not made: the disk with .* is full"
    with Index.open(folder) as index, pytest.raises(IndexStateError, match=said):
        index.backup(tmp_path / "copy")
    assert left(tmp_path) == []


def test_room_is_looked_for_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        archive.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 5)
    )
    for name in ("copy", "copy.zip"):
        with Index.open(folder) as index, pytest.raises(IndexStateError, match="free some space"):
            index.backup(tmp_path / name)
    assert left(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="a process is killed by a fork that ends")
@pytest.mark.parametrize("at", ["_copy_vector_files", "_settle", "durable.publish_new"])
def test_what_a_killed_backup_leaves_is_removed_by_the_next(
    folder: Path, tmp_path: Path, at: str, expected: list[Any]
) -> None:
    child = os.fork()
    if not child:  # as if killed there: nothing is cleaned up
        *module, name = at.split(".")
        setattr(durable if module else backup, name, lambda *_: os._exit(9))
        with Index.open(folder) as index:
            index.backup(tmp_path / "copy.zip")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(left(tmp_path)) == 1
    assert not (tmp_path / "copy.zip").exists()
    with Index.open(folder) as index:
        index.backup(tmp_path / "other.zip")
    assert left(tmp_path) == ["other.zip"]
    assert answers(folder) == expected


def test_the_scratch_folder_of_a_running_backup_stays(tmp_path: Path) -> None:
    one, two = (durable.scratch_folder(tmp_path) for _ in range(2))
    with one as first, two as second:
        assert first.exists()
        assert second.exists()
    assert left(tmp_path) == []


# Archives from elsewhere


def archived(path: Path, entries: dict[str, bytes], **facts: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for fact, value in facts.items():
                setattr(info, fact, value)
            made.writestr(info, data)
    return path


@pytest.mark.parametrize(
    "name",
    [
        *("../evil", "uploads/../../evil", "/etc/evil", "uploads//evil", "uploads/./evil", "LOCK"),
        *("uploads/..\\evil", "C:/evil", "uploads", "vectors-1.faiss.tmp", ".hidden", "a/b"),
        *("uploads/C:evil", "catalog.sqlite-wal", "removed/x/y.txt"),
    ],
)
def test_an_archive_with_other_files_is_refused(tmp_path: Path, name: str) -> None:
    path = archived(tmp_path / "b.zip", {"catalog.sqlite": b"x", name: b"x"})
    with pytest.raises(IndexStateError, match="is not part of an index; nothing was restored"):
        Index.restore(path, tmp_path / "new")
    assert left(tmp_path) == ["b.zip"]


def test_links_encrypted_parts_and_bombs_are_refused(tmp_path: Path) -> None:
    catalog = {"catalog.sqlite": b"\0" * 100_000}
    link = archived(
        tmp_path / "link.zip", {"uploads/a": b"/etc"}, external_attr=(stat.S_IFLNK | 0o777) << 16
    )
    data = bytearray(archived(tmp_path / "locked.zip", catalog).read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(data)
    bomb = archived(tmp_path / "bomb.zip", {"catalog.sqlite": b"\0" * 80_000_000})
    for path, said in {
        link: "is not part of an index",
        tmp_path / "locked.zip": "packed in a way",
        bomb: "more than a backup ever does",
        archived(tmp_path / "none.zip", {"uploads/a": b"x"}): "it holds no catalog",
    }.items():
        with pytest.raises(IndexStateError, match=said):
            Index.restore(path, tmp_path / "new")
    assert left(tmp_path) == ["bomb.zip", "link.zip", "locked.zip", "none.zip"]


def test_a_damaged_archive_is_a_sentence_and_leaves_nothing(
    folder: Path, tmp_path: Path, expected: list[Any]
) -> None:
    with Index.open(folder) as index:
        index.backup(tmp_path / "good.zip")
    data = (tmp_path / "good.zip").read_bytes()
    path = tmp_path / "bad.zip"
    flipped = [bytearray(data) for _ in range(40)]
    for number, one in enumerate(flipped):
        one[number * len(data) // len(flipped)] ^= 0x40
    refused = 0
    for one in (b"", b"no archive", data[:-1], data[: len(data) // 2], *flipped):
        path.write_bytes(one)
        try:
            Index.restore(path, tmp_path / "new")
        except IndexStateError:
            refused += 1
        else:  # a date, or other fields that are not looked at
            assert answers(tmp_path / "new") == expected
            shutil.rmtree(tmp_path / "new")
        assert left(tmp_path) == ["bad.zip", "good.zip"]
    assert refused > 30


def test_the_database_of_another_program_is_no_backup(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    path = archived(tmp_path / "b.zip", {"catalog.sqlite": (tmp_path / "other").read_bytes()})
    with pytest.raises(IndexStateError, match=r"b\.zip cannot be restored: .* of this program"):
        Index.restore(path, tmp_path / "new")
    assert left(tmp_path) == ["b.zip", "other"]
