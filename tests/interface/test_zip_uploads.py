"""Uploaded archives: what is in them is kept, and nothing an archive can try gets anywhere."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from retriever.files.zip_directory import directory_bytes
from retriever.index import Index
from retriever.interface import collections as collection
from retriever.interface import upload_limits
from retriever.interface import zip_uploads as unpacking
from retriever.interface.collections import StoredArchive, store_archive
from retriever.interface.removal import remove_files
from retriever.interface.zip_uploads import zip_members
from retriever.types import ReadError, UsageError
from tests.fakes import FakeEmbedder

Files = dict[str, bytes]


def packed(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return made.getvalue()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return collection.create_collection(tmp_path / "indexes", "notes")


def kept(home: Path) -> Files:
    own = home / "uploads"
    files = [path for path in own.rglob("*") if path.is_file()] if own.exists() else []
    return {path.relative_to(own).as_posix(): path.read_bytes() for path in files}


def test_files_keep_their_folders_and_are_found(home: Path) -> None:
    data = packed(
        {"a/one.txt": b"An apple.", "a/b/two.md": b"A pear.", "My letters/three.txt": b"A fig."}
    )
    assert store_archive(home, "My letters.zip", data) == StoredArchive(3, ())
    assert kept(home) == {
        "My letters/a/one.txt": b"An apple.",
        "My letters/a/b/two.md": b"A pear.",
        "My letters/three.txt": b"A fig.",
    }
    assert store_archive(home, "My letters.zip", data).count == 3
    assert len(kept(home)) == 3, "the same again is kept once"
    with Index.open_or_create(home, FakeEmbedder()) as index:
        index.sync(home / "uploads")
        found = {hit.chunk.path for hit in index.search("pear", mode="keyword")}
        assert found == {"My letters/a/b/two.md"}
        own = str(collection.uploads_folder(home))
        remove_files(index, home, [(own, "My letters/a/b/two.md")])
    assert not (home / "uploads" / "My letters" / "a" / "b").exists()
    assert (home / "uploads" / "My letters" / "a" / "one.txt").exists()


def test_no_path_leads_out(home: Path) -> None:
    names = [
        "../../../out.txt", "/etc/abs.txt", "..\\..\\win.txt", "C:\\x\\con.txt", "a/../../b.txt",
        "./../uploads/../up.txt", "a\x1fb.txt", "x/" * 300 + "deep.txt", "n" * 400 + ".txt",
        "\u202etxt.exe.txt", "LOCK.txt", "catalog.sqlite/x.txt",
    ]  # fmt: skip
    before = {path for path in home.parent.parent.rglob("*") if path.parent != home / "uploads"}
    found = store_archive(home, "../../evil.zip", packed(dict.fromkeys(names, b"x")))
    assert found.count == len(names), found.refused
    after = set(home.parent.parent.rglob("*"))
    own = home / "uploads"
    assert all(path == own or own in path.parents for path in after - before)
    assert all(not path.is_symlink() for path in after)
    assert "evil/out.txt" in kept(home)


def test_links_and_what_is_hidden_are_passed_over(home: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        link = zipfile.ZipInfo("link.txt")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("__MACOSX/._a.txt", b"x")
        archive.writestr(".git/config.txt", b"x")
        archive.writestr("folder/", b"")
    found = store_archive(home, "a.zip", made.getvalue())
    assert found == StoredArchive(0, ("there is no file in 'a.zip'",))
    assert kept(home) == {}


def test_an_archive_does_not_write_through_a_link(home: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (home / "uploads").mkdir()
    (home / "uploads" / "a").symlink_to(outside)
    with pytest.raises(collection.IndexStateError, match="leads out"):
        store_archive(home, "a.zip", packed({"x.txt": b"x"}))
    assert list(outside.iterdir()) == []


def test_files_nobody_reads_are_counted_and_not_unpacked(home: Path) -> None:
    data = packed({"a.mp4": b"x", "b.exe": b"x", "inner.zip": packed({"c.txt": b"x"})})
    found = store_archive(home, "a.zip", data)
    assert found == StoredArchive(0, ("3 files in 'a.zip' not kept: of no format that is read",))


def test_what_would_be_too_much_is_refused_before_it_is_unpacked(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "MAX_BYTES", 5_000_000)
    bomb = packed({f"{n}.txt": bytes(1_000_000) for n in range(6)})
    assert len(bomb) < 10_000
    with pytest.raises(UsageError, match="more than 5 MB when it is unpacked"):
        store_archive(home, "bomb.zip", bomb)
    monkeypatch.setitem(upload_limits._BYTES, "txt", 900_000)
    found = store_archive(home, "large.zip", packed({"a.txt": bytes(1_000_000), "b.txt": b"b"}))
    assert found.count == 1
    assert "'a.txt' in 'large.zip' is larger than 0 MB" in found.refused[0]


def test_a_size_that_lies_is_not_believed(home: Path) -> None:
    """A bomb that says it is small is unpacked as far as it says, and is damaged then."""
    data = bytearray(packed({"a.txt": bytes(1_000_000)}))
    for at, signature in ((22, b"PK\x03\x04"), (24, b"PK\x01\x02")):
        start = data.rindex(signature)
        assert struct.unpack_from("<L", data, start + at)[0] == 1_000_000
        struct.pack_into("<L", data, start + at, 10)
    found = store_archive(home, "a.zip", bytes(data))
    assert found.count == 0
    assert "is damaged" in found.refused[0]


@pytest.mark.parametrize("count", [51, 2_000])
def test_an_endless_list_is_not_read(
    home: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(unpacking, "MAX_FILES", 50)
    data = packed({f"{n}.txt": b"" for n in range(count)})
    if count > 1_000:
        monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("the list was read"))
    with pytest.raises(UsageError, match="more than 50 files"):
        store_archive(home, "many.zip", data)


def test_the_length_of_the_list_is_the_one_zipfile_reads() -> None:
    plain = packed({f"{n}.txt": b"x" for n in range(9)})
    with zipfile.ZipFile(io.BytesIO(plain)) as archive:
        listed = len(plain) - 22 - archive.start_dir
    comment = b"PK\x05\x06 a comment with the signature in it" + b"." * 30
    commented = plain[:-2] + struct.pack("<H", len(comment)) + comment
    assert directory_bytes(plain) == listed
    assert directory_bytes(b"") == directory_bytes(b"PK\x05\x06") == 0
    with zipfile.ZipFile(io.BytesIO(commented[: -len(comment)] + b"c" * len(comment))) as archive:
        assert len(archive.infolist()) == 9
    huge = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 9, 9, 10**9, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    assert directory_bytes(huge + locator + plain[-22:]) == 10**9


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda data: b"",
        lambda data: b"not an archive",
        lambda data: data[:40],
        lambda data: data[-22:],
        lambda data: data[:-30],
        lambda data: data[:-22] + b"PK\x05\x06" + b"\xff" * 16 + b"\0\0",
    ],
)
def test_a_damaged_archive_is_a_sentence(home: Path, spoilt: Callable[[bytes], bytes]) -> None:
    data = spoilt(packed({"a.txt": b"some words"}))
    with pytest.raises(UsageError, match=r"'a\.zip' (is not a ZIP|lists more)"):
        store_archive(home, "a.zip", data)
    assert kept(home) == {}


def test_no_flipped_byte_is_more_than_a_sentence(home: Path) -> None:
    data = packed({"a/b.txt": b"some words " * 9, "c.txt": b"more"})
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 0xFF
        try:
            for file in zip_members("a.zip", bytes(flipped)):
                try:
                    file.read()
                except ReadError as error:
                    assert str(error).startswith("is ")  # noqa: PT017 - some are right still
        except UsageError as error:
            assert "a.zip" in str(error)  # noqa: PT017


def test_encrypted_and_odd_files_are_named(home: Path) -> None:
    locked = bytearray(packed({"a.txt": b"x"}))
    for at, signature in ((6, b"PK\x03\x04"), (8, b"PK\x01\x02")):
        locked[locked.rindex(signature) + at] |= 1
    found = store_archive(home, "a.zip", bytes(locked))
    assert found.refused[0].startswith("'a.txt' in 'a.zip' is encrypted")
    odd = packed({f"{n}.txt": b"x" * 99 for n in range(9)}, zipfile.ZIP_LZMA)
    found = store_archive(home, "a.zip", odd)
    assert len(found.refused) == 6
    assert "packed in a way that is not read" in found.refused[0]
    assert found.refused[-1] == "4 more files in 'a.zip' were not kept"
