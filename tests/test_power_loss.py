"""After a loss of power every index opens, with all that was acknowledged, and nothing half.

`tests.power` makes each state that the disk could be found in. Where it cannot look, in SQLite, its
log is cut and garbled behind the last commit that was acknowledged.
"""

from __future__ import annotations

import io
import itertools
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from retriever.embedding.models import gguf_conversion, locate
from retriever.files import durable
from retriever.index import Index
from retriever.interface import collections, removal
from retriever.interface.remains import clear_collections, clear_remains
from retriever.storage.backends import vector_files
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.catalog import CATALOG_FILE
from retriever.types import Document, Page
from tests.fakes import FakeEmbedder
from tests.power import Disk, write_state

FRAME = 32_768 + 24
"""Bytes of a page in SQLite's write-ahead log, with its header; the log begins with 32 bytes."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one collection, which has an upload and two documents."""
    folder = collections.create_collection(tmp_path_factory.mktemp("made") / "home", "notes")
    collections.store_upload(folder, "old.txt", b"old")
    with Index.open(folder, FakeEmbedder(16)) as index:
        index.add([Document(name, "txt", (Page(None, f"a text of {name}"),)) for name in "ab"])
    return folder.parent


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(made, tmp_path / "home"))


@pytest.fixture
def found_after(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Disk], object]], Iterator[tuple[Path, tuple[str, ...]]]]:
    """Folders as they may be found when the power fails during an action, and what was told."""
    numbers = itertools.count()

    def run(action: Callable[[Disk], object]) -> Iterator[tuple[Path, tuple[str, ...]]]:
        disk = Disk(home)
        with disk.recording(monkeypatch):
            action(disk)
        assert len(disk.states()) > 2
        for state, told in disk.states():
            folder = write_state(state, tmp_path / f"found-{next(numbers)}" / "home")
            yield folder, told
            shutil.rmtree(folder.parent)

    return run


def uploads(home: Path, name: str = "notes") -> dict[str, bytes]:
    own = home / name / "uploads"
    return {
        path.relative_to(own).as_posix(): path.read_bytes()
        for path in own.rglob("*")
        if path.is_file()
    }


def test_an_upload_that_was_told_is_there(home: Path, found_after) -> None:
    def upload(disk: Disk) -> None:
        collections.store_upload(home / "notes", "new.txt", b"new")
        disk.acknowledge("stored")

    for found, told in found_after(upload):
        clear_remains(found / "notes")
        kept = uploads(found)
        assert kept == {"old.txt": b"old", "new.txt": b"new"} or (
            kept == {"old.txt": b"old"} and not told
        )


def test_an_archive_is_there_as_a_whole(home: Path, found_after) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("one.txt", "below/two.txt"):
            archive.writestr(name, name)

    def upload(disk: Disk) -> None:
        collections.store_archive(home / "notes", "box.zip", buffer.getvalue())
        disk.acknowledge("stored")

    new = {"box/one.txt": b"one.txt", "box/below/two.txt": b"below/two.txt"}
    for found, told in found_after(upload):
        clear_remains(found / "notes")
        kept = uploads(found)
        assert kept == {"old.txt": b"old", **new} or (kept == {"old.txt": b"old"} and not told)


def test_a_description_is_the_old_one_or_the_new_one(home: Path, found_after) -> None:
    collections.describe_collection(home / "notes", "old")

    def describe(disk: Disk) -> None:
        collections.describe_collection(home / "notes", "new")
        disk.acknowledge("described")

    for found, told in found_after(describe):
        assert collections.description(found / "notes") in (("new",) if told else ("old", "new"))


def test_a_collection_has_one_name(home: Path, found_after) -> None:
    def rename(disk: Disk) -> None:
        collections.rename_collection(home / "notes", "letters")
        disk.acknowledge("renamed")

    for found, told in found_after(rename):
        (name,) = [one.name for one in collections.list_indexes(found)]
        assert name == "letters" or not told
        assert uploads(found, name) == {"old.txt": b"old"}
        with Index.open(found / name, FakeEmbedder(16)) as index:
            assert len(index.search("a text of a")) == 2


def test_a_deleted_collection_stays_deleted(home: Path, found_after) -> None:
    (home / "notes" / "thesis.txt").write_bytes(b"mine")

    def delete(disk: Disk) -> None:
        collections.delete_collection(home / "notes")
        disk.acknowledge("deleted")

    for found, told in found_after(delete):
        clear_collections(found)
        assert (found / "notes" / "thesis.txt").read_bytes() == b"mine"
        if collections.list_indexes(found):
            assert not told
            assert uploads(found) == {"old.txt": b"old"}
        else:
            assert [path.name for path in found.rglob("*")] == ["notes", "thesis.txt"]


def test_a_removed_upload_is_in_one_place(home: Path, found_after) -> None:
    def remove(disk: Disk) -> None:
        own = collections.uploads_folder(home / "notes")
        with Index.open(home / "notes", FakeEmbedder(16)) as index:
            removal.remove_files(index, home / "notes", [(str(own), "old.txt")])
        disk.acknowledge("removed")

    for found, told in found_after(remove):
        kept = list((found / "notes").rglob("old.txt"))
        assert [path.read_bytes() for path in kept] == [b"old"]
        assert "removed" in str(kept[0]) or not told


def test_the_catalog_never_names_a_vector_file_that_is_not_whole(home: Path, found_after) -> None:
    for path in (home / "notes").glob("vectors-*"):
        path.unlink()

    def write(disk: Disk) -> None:
        with EmbeddedBackend.open(home / "notes") as backend:
            vector_files.write(backend._catalog)
            disk.acknowledge("written")
            backend._catalog.release(checkpoint=False)

    named = 0
    for found, told in found_after(write):
        with EmbeddedBackend.open(found / "notes") as backend, backend.reading() as reader:
            row = reader.vector_file()
            assert row is not None
            whole = (found / "notes" / row.file).exists()
            assert whole or not told
            if whole:
                named += 1
                assert not backend._states.newest(reader).damaged
    assert named


def test_a_file_that_is_replaced_is_the_old_one_or_the_new_one(home: Path, found_after) -> None:
    (home / "facts").write_bytes(b"old")

    def write(disk: Disk) -> None:
        with durable.replacing(home / "facts") as file:
            file.write(b"new")
        disk.acknowledge("written")

    for found, told in found_after(write):
        assert (found / "facts").read_bytes() in ((b"new",) if told else (b"old", b"new"))


def test_a_converted_model_is_whole(
    home: Path, found_after, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros in place of weights would load, and embed nonsense."""

    def write_model(gguf: Path, header: object, dtype: str, made: Path) -> None:
        made.mkdir()
        (made / "model.safetensors").write_bytes(b"weights")
        (made / "config.json").write_bytes(b"{}")

    for name in ("read_header", "_check_architecture", "_check_room", "quiet_transformers"):
        monkeypatch.setattr(gguf_conversion, name, lambda *a: type("H", (), {"elements": 1}))
    monkeypatch.setattr(gguf_conversion, "_write_model", write_model)
    (home / "models").mkdir()

    def convert(disk: Disk) -> None:
        gguf_conversion.convert(home / "x.gguf", home / "models" / "x", {})
        disk.acknowledge("converted")

    for found, told in found_after(convert):
        target = found / "models" / "x"
        complete = locate.is_complete(target)
        assert complete or not told
        if complete:
            assert (target / "model.safetensors").read_bytes() == b"weights"
            assert (target / "config.json").read_bytes() == b"{}"


def test_each_commit_is_synced_where_it_must_be_durable(tmp_path: Path) -> None:
    for durably, level in ((True, 2), (False, 0)):
        with EmbeddedBackend.open(tmp_path / str(level), create=True, durable=durably) as backend:
            backend.set_progress(None)
            connection = backend._catalog._writer_connection()
            assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_log_cut_or_garbled_behind_a_commit_loses_no_document(home: Path) -> None:
    """What SQLite had not synced when the power failed may be missing, cut, zero, or anything."""
    index = home / "notes"
    log = index / f"{CATALOG_FILE}-wal"
    # A reader that stays keeps the log: no checkpoint empties it.
    with EmbeddedBackend.open(index) as backend, backend.reading():
        synced = []
        for number in range(3):
            backend.set_ocr_languages(f"l{number}")
            synced.append(log.read_bytes())
        copies = itertools.count()
        for number, (known, later) in enumerate(itertools.pairwise(synced)):
            more = later.removeprefix(known)
            assert len(more) % FRAME == 0 < len(more)
            for end in {0, *range(0, len(more), FRAME), len(more) - 1, len(more)}:
                for rest in (b"", b"\0" * (len(more) - end), bytes(255 - b for b in more[end:])):
                    copy = home / f"copy-{next(copies)}"
                    copy.mkdir()
                    shutil.copy(index / CATALOG_FILE, copy)
                    (copy / log.name).write_bytes(known + more[:end] + rest)
                    with EmbeddedBackend.open(copy) as found, found.reading() as reader:
                        told = number + (more[:end] + rest == more)
                        assert reader.meta("ocr") == f"l{told}"
                        assert len(reader.documents()) == 2
        assert next(copies) > 12
