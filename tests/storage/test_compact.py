"""Giving back disk space: nothing of deleted documents stays, nothing else is lost."""

from __future__ import annotations

import os
import shutil
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from retriever import Document, Index, Page
from retriever.files import BIN
from retriever.storage.backends import vector_files
from retriever.storage.catalog import Catalog
from retriever.storage.upkeep import archive, compact
from retriever.types import IndexStateError
from tests.fakes import FakeEmbedder

GERMAN = (
    "Das Haus steht am Rand der Stadt und der Garten ist groß. Wir haben die Quittengeleeküche und "
    "den Keller gesehen, und sie waren nicht sehr sauber."
)
SECRETS = ("zyxomma", "Quittengelee", "quittengelee", "egnettiuq", "hush-hush")
QUERIES = ("number 7", "roof garden", "stadt")


def document(path: str, text: str, title: str = "") -> Document:
    return Document(path, "text", (Page(None, text),), title=title)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index from which a third of the documents is deleted, with all files beside it."""
    folder = tmp_path_factory.mktemp("compact") / "index"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_files, "MIN_LARGE", 1)
        with Index.open_or_create(folder, FakeEmbedder()) as index:
            index.add([document(f"{n}.txt", f"number {n} of the roof garden") for n in range(60)])
            secret = document("hush-hush.txt", f"zyxomma {GERMAN}", "Zyxomma")
            index.add([secret, document("de.txt", GERMAN.replace("Quittengelee", "Apfelmus"))])
            assert all(found(folder, secret) for secret in SECRETS)
            index.remove(["hush-hush.txt", *(f"{n}.txt" for n in range(20))])
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "index"))


def found(folder: Path, text: str) -> list[str]:
    """The files that hold a text as bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if text.encode() in path.read_bytes()]


def answers(folder: Path) -> list[Any]:
    with Index.open(folder, FakeEmbedder()) as index:
        return [
            (hit.chunk.id, hit.text, hit.score)
            for query in QUERIES
            for mode in ("hybrid", "dense", "keyword")
            for hit in index.search(query, mode=mode)
        ]


def size(folder: Path) -> int:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files if not path.name.endswith("-shm"))


def test_nothing_of_a_deleted_document_stays_in_any_file(folder: Path) -> None:
    before = answers(folder)
    bytes_before = size(folder)
    with Index.open(folder) as index:
        planned = index.compact(dry_run=True)
        assert (size(folder), planned.before) == (bytes_before, bytes_before)
        done = index.compact()
        again = index.compact()
        nothing = index.compact(dry_run=True)
    assert {secret: found(folder, secret) for secret in SECRETS} == {key: [] for key in SECRETS}
    assert found(folder, "Apfelmus")
    assert answers(folder) == before
    assert done.before == bytes_before > planned.after
    assert done.after == size(folder) < bytes_before
    assert again.after == again.before == done.after == nothing.before == nothing.after
    files = {path.name for path in folder.glob("*.faiss*")}
    assert len({name.split(".")[0] for name in files}) == 1


def test_deleted_text_is_overwritten_at_once_in_the_catalog(made: Path) -> None:
    """Its words in the full-text index, one by one, stay until that merges its parts."""
    text = "und den Keller gesehen, und sie"
    assert len(found(made, text)) == 1  # the other document has it, too
    data = (made / "catalog.sqlite").read_bytes()
    assert text.encode() in data
    assert b"zyxomma Das Haus" not in data


def test_removed_uploads_stay_for_a_day(folder: Path) -> None:
    now = int(time.time())
    for age in (3600, 90_000):
        bin_ = folder / BIN / f"{now - age}-{age:08x}"
        bin_.mkdir(parents=True)
        (bin_ / "a.txt").write_bytes(bytes(50_000))
    with Index.open(folder) as index:
        planned = index.compact(dry_run=True)
        assert planned.before - planned.after >= 50_000
        index.compact()
    assert [path.name for path in (folder / BIN).iterdir()] == [f"{now - 3600}-{3600:08x}"]


def test_a_reader_beside_it_keeps_its_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "_PATIENCE", 0.01)
    embedder = FakeEmbedder()
    with Index.open(folder, embedder) as reader, Index.open(folder) as writer:
        query = embedder.embed_queries(["number 30"])[0]
        with reader.backend.snapshot() as snapshot:
            before = snapshot.dense(query, 9).ids, snapshot.keyword("roof", 9).ids
            done = writer.compact()
            assert (snapshot.dense(query, 9).ids, snapshot.keyword("roof", 9).ids) == before
            assert done.waiting > 0
        with reader.backend.snapshot() as snapshot:
            assert snapshot.dense(query, 9).ids == before[0]
        assert writer.compact().waiting == 0
        assert reader.search("number 30", mode="keyword")[0].chunk.path == "30.txt"
    assert not found(folder, "zyxomma")


def test_without_room_only_what_needs_none_is_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = answers(folder)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda path: usage(5))
    with Index.open(folder) as index, pytest.raises(IndexStateError, match="free some space"):
        index.compact()
    assert answers(folder) == before


def test_it_waits_for_no_other_writer(folder: Path) -> None:
    with Index.open(folder) as one, Index.open(folder) as other:
        one.backend.acquire(1)
        with pytest.raises(IndexStateError, match="another process is writing"):
            other.compact()
        assert other.compact(dry_run=True).before == size(folder)


def test_an_empty_index_can_be_compacted(tmp_path: Path) -> None:
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        index.compact()
        index.add([document("a", "a text")])
        index.compact()
        assert [hit.text for hit in index.search("text")] == ["a text"]


@pytest.mark.skipif(os.name != "posix", reason="a process is killed by a fork that ends")
def test_killed_at_any_step_it_loses_nothing(made: Path, tmp_path: Path) -> None:
    expected = answers(made)
    killed = 0
    for number, steps in enumerate((50, 200, 500, 900, 1300, 10**9)):
        folder = Path(shutil.copytree(made, tmp_path / str(number)))
        child = os.fork()
        if not child:
            code = 1
            try:
                _compact_and_die_after(folder, steps)
                code = 0
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 9)
        killed += code == 9
        assert answers(folder) == expected
        with Index.open(folder) as index:
            index.compact()
        assert answers(folder) == expected
        assert not found(folder, "zyxomma")
        assert not [path for path in folder.iterdir() if path.name.startswith((".", "etilqs"))]
    assert killed >= 4


def _compact_and_die_after(folder: Path, steps: int) -> None:
    """Compact, and end as if killed after so many blocks of SQLite's instructions."""
    real, left = Catalog._connect, [steps]

    def counted() -> int:
        left[0] -= 1
        if left[0] <= 0:
            os._exit(9)
        return 0

    def connect(self: Catalog, *, writable: bool) -> Any:
        connection = real(self, writable=writable)
        connection.set_progress_handler(counted, 5)
        return connection

    Catalog._connect = connect  # type: ignore[method-assign]
    with Index.open(folder) as index:
        index.compact()
