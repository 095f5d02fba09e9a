"""Collections: names, uploads, removing and deleting, against the file system itself."""

from __future__ import annotations

import errno
import io
import zipfile
from pathlib import Path

import pytest

from retriever.files import durable
from retriever.index import Index
from retriever.interface import collections as collection
from retriever.interface.removal import (
    BIN_SECONDS,
    Removed,
    empty_bin,
    remove_files,
    restore_files,
)
from retriever.interface.upload_limits import endings, refusal
from retriever.types import Document, FileStatus, IndexStateError, Page, UsageError
from tests.fakes import FakeEmbedder
from tests.live import live


def text_of(index: Index) -> list[str]:
    return [row.path for row in index.documents()]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("", "needs a name"),
        ("  ", "needs a name"),
        ("../x", "cannot be"),
        ("a/b", "cannot be"),
        (".hidden", "cannot be"),
        ("nul", "cannot be"),
        ("dot.", "cannot be"),
        ("x" * 61, "longer than 60"),
        ("NOTES", "already"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str, part: str) -> None:
    (tmp_path / "notes").mkdir()
    with pytest.raises(UsageError, match=part):
        collection.create_collection(tmp_path, name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes"]


def test_a_new_collection_is_an_empty_index_that_knows_its_model(tmp_path: Path) -> None:
    made = collection.create_collection(tmp_path / "indexes", "Größe (2)", "gemma3-270m")
    assert collection.list_indexes(tmp_path / "indexes") == [made]
    with Index.open(made) as index:
        assert index.documents() == []
        assert index.info()["wished_model"] == "gemma3-270m"


def test_documents_are_counted_without_opening_the_index(tmp_path: Path) -> None:
    with Index.open_or_create(tmp_path / "ix", FakeEmbedder()) as index:
        assert collection.count_documents(tmp_path / "ix") == 0
        index.add([Document(f"{n}.txt", "txt", (Page(None, "pears"),)) for n in range(3)])
        assert collection.count_documents(tmp_path / "ix") == 3
    assert collection.count_documents(tmp_path / "ix") == 3
    assert collection.count_documents(tmp_path / "none") is None
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "catalog.sqlite").write_bytes(b"not a database" * 500)
    assert collection.count_documents(tmp_path / "bad") is None


def test_the_wished_model_is_loaded_when_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(model: str, **_: object) -> FakeEmbedder:
        asked.append(model)
        return FakeEmbedder()

    monkeypatch.setattr("retriever.embedding.aligned_wva.AlignedWVA", load)
    (tmp_path / "a.txt").write_text("apples")
    for name, model in (("one", "mine"), ("two", "")):
        with Index.open_or_create(
            collection.create_collection(tmp_path / "ix", name, model)
        ) as index:
            index.sync(tmp_path / "a.txt")
    assert asked == ["mine", "smollm2-135m"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd.txt", "passwd.txt"),
        ("C:\\docs\\a.txt", "a.txt"),
        (".env.txt", "env.txt"),
        ("<script>alert(1)<!script>.md", "_script_alert(1)_!script_.md"),
        ("con.txt", "_con.txt"),
        ("a\u202etxt.txt", "a_txt.txt"),
        ("ä" * 200 + ".txt", "ä" * 88 + ".txt"),
        ("\udcff.txt", "_.txt"),
        ("...", "_"),
    ],
)
def test_a_name_from_outside_stays_in_the_folder(given: str, kept: str) -> None:
    assert collection.safe_name(given) == kept
    assert len(kept.encode()) <= 180
    assert Path("x", kept).parent == Path("x")


def test_an_upload_never_replaces_another(tmp_path: Path) -> None:
    folder = collection.create_collection(tmp_path, "notes")
    names = [
        collection.store_upload(folder, "a.txt", data)
        for data in (b"one", b"two", b"one", b"three", b"two")
    ]
    assert names == ["a.txt", "a (2).txt", "a.txt", "a (3).txt", "a (2).txt"]
    kept = {path.name: path.read_bytes() for path in (folder / "uploads").iterdir()}
    assert kept == {"a.txt": b"one", "a (2).txt": b"two", "a (3).txt": b"three"}


@pytest.mark.parametrize(
    ("name", "part"), [("x.7z", "unpack it"), ("film.mp4", "no format"), ("a.exe", "not kept")]
)
def test_what_nobody_reads_is_not_kept(tmp_path: Path, name: str, part: str) -> None:
    folder = collection.create_collection(tmp_path, "notes")
    with pytest.raises(UsageError, match=part):
        collection.store_upload(folder, name, b"x")
    assert not (folder / "uploads").exists()


@pytest.mark.parametrize(
    ("number", "part"), [(errno.ENOSPC, "is full"), (errno.EACCES, "permissions")]
)
def test_a_disk_that_does_not_take_it_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, part: str
) -> None:
    folder = collection.create_collection(tmp_path, "notes")

    def refuse(file: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(durable, "sync_file", refuse)
    with pytest.raises(IndexStateError, match=part):
        collection.store_upload(folder, "a.txt", b"x")
    assert list((folder / "uploads").iterdir()) == []


def test_uploads_are_indexed_though_the_index_itself_is_not(tmp_path: Path) -> None:
    """The index lies in a folder that is indexed too: neither run sees the other's files."""
    folder = collection.create_collection(tmp_path / "docs", "ix")
    collection.store_upload(folder, "up.txt", b"pears")
    (tmp_path / "docs" / "own.txt").write_text("apples")
    with Index.open_or_create(folder, FakeEmbedder()) as index:
        index.sync(tmp_path / "docs")
        assert text_of(index) == ["own.txt"]
        index.sync(folder / "uploads")
        assert sorted(text_of(index)) == ["own.txt", "up.txt"]
        assert {row.root for row in index.documents()} == {
            str(tmp_path / "docs"),
            str(folder / "uploads"),
        }
        report = index.sync(tmp_path / "docs")
        assert report.totals["removed"] == 0
        assert sorted(text_of(index)) == ["own.txt", "up.txt"]
        report = index.sync(folder / "uploads" / "up.txt")
        assert report.totals["unchanged"] == 1
        with pytest.raises(UsageError, match="the index itself"):
            index.sync(folder)


def test_reading_again_reads_everything_and_embeds_nothing(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("Red apples grow here.")
    embedder = FakeEmbedder()
    with Index.open_or_create(tmp_path / "ix", embedder) as index:
        index.sync(tmp_path / "docs")
        embedded = len(embedder.embedded)
        assert index.sync(tmp_path / "docs").totals["unchanged"] == 1
        assert index.sync(tmp_path / "docs", reread=True).totals["updated"] == 1
        assert len(embedder.embedded) == embedded


def test_removing_deletes_what_was_uploaded_and_nothing_else(tmp_path: Path) -> None:
    folder = collection.create_collection(tmp_path / "indexes", "notes")
    collection.store_upload(folder, "up.txt", b"pears")
    collection.store_upload(folder, "broken.pdf", b"%PDF-1.4 nothing")
    own = tmp_path / "docs"
    own.mkdir()
    (own / "own.txt").write_text("apples")
    with Index.open_or_create(folder, FakeEmbedder()) as index:
        uploads = str(collection.uploads_folder(folder))
        index.sync([own, uploads])
        assert [file.path for file in live(index.backend).unread()] == ["broken.pdf"]
        everything = [(uploads, "up.txt"), (uploads, "broken.pdf"), (str(own), "own.txt")]
        outside = [(uploads, "../../../docs/own.txt")]
        assert remove_files(index, folder, outside) == Removed(0)
        assert remove_files(index, folder, everything).count == 3
        assert index.documents() == live(index.backend).unread() == []
        assert index.search("pears", mode="keyword") == []
        assert index.sync(own).totals["indexed"] == 1
    assert list((folder / "uploads").iterdir()) == []
    assert (own / "own.txt").exists()


def test_what_was_left_out_can_be_removed_from_the_ledger_too(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "film.mp4").write_bytes(b"x")
    with Index.open_or_create(tmp_path / "ix", FakeEmbedder()) as index:
        index.sync(tmp_path / "docs")
        (file,) = live(index.backend).unread()
        assert file.status is FileStatus.SKIPPED
        assert index.discard([(file.root, file.path)]) == 1
        assert live(index.backend).unread() == []


def test_deleting_leaves_what_does_not_belong_to_it(tmp_path: Path) -> None:
    plain, shared = (collection.create_collection(tmp_path, name) for name in ("plain", "shared"))
    collection.store_upload(shared, "up.txt", b"pears")
    (shared / "thesis.txt").write_text("mine")
    assert collection.delete_collection(plain) == []
    assert collection.delete_collection(shared) == ["thesis.txt"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["shared", "thesis.txt"]
    with pytest.raises(IndexStateError, match="no index"):
        collection.delete_collection(plain)


def test_an_index_being_written_is_not_deleted(tmp_path: Path) -> None:
    folder = collection.create_collection(tmp_path, "notes")
    with Index.open(folder) as index:
        index.backend.set_progress({"files_done": 0})
        with pytest.raises(IndexStateError, match="another process is writing"):
            collection.delete_collection(folder)
        index.backend.release()
    assert collection.is_index(folder)


def test_a_folder_is_looked_at_before_it_is_added(tmp_path: Path) -> None:
    folder = collection.create_collection(tmp_path / "indexes", "notes")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "film.mp4").write_bytes(b"x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("x")
    for path, part in (
        ("", "empty path"),
        (f"{tmp_path}/none", "no file or folder"),
        (f"{tmp_path}/empty", "no file in"),
        (str(folder), "the index itself"),
    ):
        with pytest.raises(UsageError, match=part):
            collection.validate_folder(path, [folder])
    assert collection.validate_folder(f' "{tmp_path}/full" ', [folder]) == tmp_path / "full"


# Names and descriptions


def test_a_renamed_collection_has_its_uploads_and_embeds_nothing(tmp_path: Path) -> None:
    folder = collection.create_collection(tmp_path, "notes")
    collection.store_upload(folder, "up.txt", b"pears")
    collection.store_upload(folder, "broken.pdf", b"%PDF-1.4 nothing")
    embedder = FakeEmbedder()
    with Index.open(folder, embedder) as index:
        index.sync(collection.uploads_folder(folder))
    collection.describe_collection(folder, " My   fruit ")
    embedded = len(embedder.embedded)
    new = collection.rename_collection(folder, "  Fruit (2) ")
    assert new == tmp_path / "Fruit (2)"
    assert collection.list_indexes(tmp_path) == [new]
    assert collection.description(new) == "My fruit"
    with Index.open(new, embedder) as index:
        uploads = str(collection.uploads_folder(new))
        assert [row.root for row in index.documents()] == [uploads]
        assert [file.root for file in live(index.backend).unread()] == [uploads]
        report = index.sync(uploads)
        assert (report.totals["unchanged"], report.totals["removed"]) == (1, 0)
        assert len(index.documents()) == 1
        assert len(embedder.embedded) == embedded
        assert remove_files(index, new, [(uploads, "up.txt")]).uploads == 1
    assert collection.rename_collection(new, "FRUIT (2)").name == "FRUIT (2)"


@pytest.mark.parametrize("name", ["", "../x", "taken", "nul", "x" * 61])
def test_a_collection_is_renamed_to_what_it_can_be_called(tmp_path: Path, name: str) -> None:
    folder = collection.create_collection(tmp_path, "notes")
    collection.create_collection(tmp_path, "taken")
    with pytest.raises(UsageError):
        collection.rename_collection(folder, name)
    assert collection.is_index(folder)


def test_an_index_being_written_is_described_but_not_renamed(tmp_path: Path) -> None:
    folder = collection.create_collection(tmp_path, "notes")
    with Index.open(folder) as index:
        index.backend.set_progress({"files_done": 0})
        with pytest.raises(IndexStateError, match="another process is writing"):
            collection.rename_collection(folder, "other")
        collection.describe_collection(folder, "What I read")
        index.backend.release()
    assert collection.description(folder) == "What I read"
    assert collection.rename_collection(folder, "other").name == "other"
    with pytest.raises(IndexStateError, match="any more"):
        collection.rename_collection(folder, "third")


def test_a_description_has_a_limit_and_may_be_damaged(tmp_path: Path) -> None:
    folder = collection.create_collection(tmp_path, "notes")
    assert collection.description(folder) == ""
    with pytest.raises(UsageError, match="longer than 300"):
        collection.describe_collection(folder, "x" * 301)
    with pytest.raises(IndexStateError, match="any more"):
        collection.describe_collection(tmp_path / "none", "x")
    for damaged in ("", "[1]", '{"description": 3}', "\x00"):
        (folder / "collection.json").write_text(damaged)
        assert collection.description(folder) == ""
    collection.describe_collection(folder, "x")
    assert collection.delete_collection(folder) == [], "it belongs to the index"


# The bin


def test_a_removed_upload_comes_back_for_a_day(tmp_path: Path) -> None:
    folder = collection.create_collection(tmp_path, "notes")
    collection.store_upload(folder, "a.txt", b"pears")
    collection.store_archive(folder, "in.zip", zipped({"deep/b.txt": b"figs"}))
    embedder = FakeEmbedder()
    uploads = collection.uploads_folder(folder)
    with Index.open(folder, embedder) as index:
        index.sync(uploads)
        both = [(str(uploads), "a.txt"), (str(uploads), "in/deep/b.txt")]
        removed = remove_files(index, folder, both)
        assert (removed.count, removed.uploads) == (2, 2)
        assert list(uploads.iterdir()) == []
        assert index.sync(uploads).totals["files"] == 0, "the bin is not indexed"
        collection.store_upload(folder, "a.txt", b"another")
        assert restore_files(folder, removed.receipt) == 2
        found = {str(p.relative_to(uploads)) for p in uploads.rglob("*.txt")}
        assert found == {"a.txt", "a (2).txt", "in/deep/b.txt"}
        assert (uploads / "a.txt").read_bytes() == b"another"
        with pytest.raises(UsageError, match="not kept any more"):
            restore_files(folder, removed.receipt)
        for receipt in ("", "..", "../uploads", "1-xyz"):
            with pytest.raises(UsageError, match="not kept any more"):
                restore_files(folder, receipt)


def test_the_bin_is_emptied_after_a_day(tmp_path: Path) -> None:
    folder = collection.create_collection(tmp_path, "notes")
    empty_bin(folder)
    collection.store_upload(folder, "a.txt", b"pears")
    with Index.open(folder, FakeEmbedder()) as index:
        index.sync(collection.uploads_folder(folder))
        removed = remove_files(index, folder, [(str(collection.uploads_folder(folder)), "a.txt")])
    when = int(removed.receipt.split("-")[0])
    empty_bin(folder, when + BIN_SECONDS)
    assert (folder / "removed" / removed.receipt).exists()
    empty_bin(folder, when + BIN_SECONDS + 1)
    assert list((folder / "removed").iterdir()) == []
    assert collection.delete_collection(folder) == []


# What an upload may be


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def test_a_path_that_leads_out_of_an_archive_is_told(tmp_path: Path) -> None:
    folder = collection.create_collection(tmp_path, "notes")
    data = zipped({"../evil.txt": b"a", "good/b.txt": b"b", "./c.txt": b"c", "/etc/d.txt": b"d"})
    stored = collection.store_archive(folder, "pack.zip", data)
    assert stored.renamed == (
        "'../evil.txt' in 'pack.zip' is kept as 'pack/evil.txt'",
        "'/etc/d.txt' in 'pack.zip' is kept as 'pack/etc/d.txt'",
    )
    assert (stored.count, stored.refused) == (4, ())


def test_a_file_no_reader_takes_is_refused_before_it_is_kept(tmp_path: Path) -> None:
    folder = collection.create_collection(tmp_path, "notes")
    for data in (b"x" * 10_000_001, "ä".encode() * 10_000_001, b"x" * 40_000_001):
        with pytest.raises(UsageError, match="split it"):
            collection.store_upload(folder, "long.txt", data)
    assert not (folder / "uploads").exists()
    assert refusal("long.txt", 10_000_000, b"x" * 10_000_000) == ""
    assert refusal("many.txt", 20_000_000, "ä".encode() * 10_000_000) == "", "characters count"
    assert "has 151 MB, and 40 MB is the most" in refusal("long.txt", 151_000_000)
    assert refusal("long.pdf", 151_000_000) == ""
    assert "unpack it" in refusal("x.7z", 1)
    assert {endings()[one] for one in (".pdf", ".zip", ".md", ".csv")} == {
        500_000_000, 40_000_000, 200_000_000,
    }  # fmt: skip
