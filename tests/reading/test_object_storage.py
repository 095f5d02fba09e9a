"""Documents in object storage, in fsspec's file system in memory: copied, kept in step, indexed."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from retriever.index import Index
from retriever.reading import object_storage
from retriever.reading.object_storage import fetch, is_address
from retriever.types import FileStatus, UsageError
from tests.fakes import FakeEmbedder

ADDRESS = "memory://bucket/notes"


@pytest.fixture
def store(monkeypatch, tmp_path):
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    system = fsspec.filesystem("memory")
    for name in ("a.txt", "deep/b.md", "deep/c.bin", "../outside.txt"):
        system.pipe(f"/bucket/notes/{name}", f"The heron of {name}.".encode())
    yield system
    system.rm("/bucket", recursive=True)


def names(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_only_what_changed_is_fetched_again(store, tmp_path, monkeypatch) -> None:
    folder = fetch(ADDRESS).folder
    assert names(folder) == {"a.txt", "deep/b.md"}
    assert (folder / "a.txt").read_text() == "The heron of a.txt."
    assert folder.stat().st_mode & 0o077 == 0
    fetched: list[str] = []
    real = object_storage._copy

    def counted(system, one, target) -> None:
        fetched.append(one.name)
        real(system, one, target)

    monkeypatch.setattr(object_storage, "_copy", counted)
    assert fetch(ADDRESS).folder == folder
    assert fetched == []
    store.pipe("/bucket/notes/a.txt", b"An otter.")
    store.rm("/bucket/notes/deep/b.md")
    fetch(ADDRESS)
    assert fetched == ["a.txt"]
    assert names(folder) == {"a.txt"}
    assert (folder / "a.txt").read_text() == "An otter."


def test_a_run_takes_addresses_beside_paths_and_notes_what_cannot_be_fetched(
    store, tmp_path, monkeypatch
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "d.txt").write_text("An otter.")
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        report = index.sync([ADDRESS, tmp_path / "docs"])
        assert report.totals["indexed"] == 3
        assert index.search("heron")[0].chunk.path in ("a.txt", "deep/b.md")
        assert index.sync([ADDRESS]).totals["unchanged"] == 2
        store.pipe("/bucket/notes/a.txt", b"Changed.")

        def refused(*_: object) -> None:
            raise PermissionError("access denied")

        monkeypatch.setattr(object_storage, "_copy", refused)
        (failed,) = [one for one in index.sync([ADDRESS]).files if one.status is FileStatus.FAILED]
        assert (failed.path, failed.reason) == (
            "a.txt",
            "it could not be fetched: access denied",
        )
        assert index.info()["documents"] == 3, "the document of before stays"


def test_an_address_that_cannot_be_listed_is_a_sentence(store) -> None:
    with pytest.raises(UsageError, match="no file of a supported format at 'memory://nowhere'"):
        fetch("memory://nowhere")
    with pytest.raises(UsageError, match="nonsense"):
        fetch("nonsense://bucket")


def test_files_may_be_named_by_their_address_too(tmp_path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("A heron.")
    found = fetch(f"file://{tmp_path}/docs", tmp_path / "copies")
    assert names(found.folder) == {"a.txt"}
    assert not is_address(Path("s3://bucket"))
