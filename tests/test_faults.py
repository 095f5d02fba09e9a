"""A full disk, a lost permission, a broken disk, a clock that jumps: a sentence, and nothing lost.

Faults come from patched layers: each call of the system that a change makes fails once, one after
the other; SQLite is given a largest size, so that each of its pages may be the one too many.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from retriever.index import Index
from retriever.interface import collections, removal
from retriever.interface.remains import clear_collections
from retriever.reading import formats
from retriever.storage.catalog import connections
from retriever.types import Document, IndexStateError, Page, ReadError
from tests.fakes import FakeEmbedder

CALLS = ("fsync", "replace", "rename", "link", "mkdir")


def documents(*names: str) -> list[Document]:
    return [Document(name, "txt", (Page(None, f"a text of {name}"),)) for name in names]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one collection, which has an upload and a document."""
    folder = collections.create_collection(tmp_path_factory.mktemp("made") / "home", "notes")
    collections.store_upload(folder, "old.txt", b"old")
    with Index.open(folder, FakeEmbedder(16)) as index:
        index.add(documents("a"))
    return folder.parent


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in ("one.txt", "below/two.txt"):
            file.writestr(name, name)
    return buffer.getvalue()


def remove(folder: Path) -> None:
    own = collections.uploads_folder(folder)
    with Index.open(folder, FakeEmbedder(16)) as index:
        removal.remove_files(index, folder, [(str(own), "old.txt")])


def add(folder: Path) -> None:
    with Index.open(folder, FakeEmbedder(16)) as index:
        index.add(documents("b"))


CHANGES: dict[str, Callable[[Path], object]] = {
    "upload": lambda folder: collections.store_upload(folder, "new.txt", b"new"),
    "archive": lambda folder: collections.store_archive(folder, "box.zip", archive()),
    "description": lambda folder: collections.describe_collection(folder, "new"),
    "new name": lambda folder: collections.rename_collection(folder, "letters"),
    "deletion": collections.delete_collection,
    "removal": remove,
    "add": add,
}


def contents(home: Path) -> tuple[Any, ...]:
    """What a user has: names, descriptions, documents, uploads and the bin."""
    found: list[Any] = []
    for folder in collections.list_indexes(home):
        with Index.open(folder, FakeEmbedder(16)) as index:
            paths = sorted(row.path for row in index.documents())
            hits = sorted(hit.text for hit in index.search("a text", 9))
        files = sorted(
            (path.name, path.read_bytes())
            for path in folder.rglob("*.txt")
            if not any(part.startswith(".") for part in path.parts)
        )
        there = sorted(path.name for path in (folder / "uploads").glob("*.txt"))
        said = collections.description(folder)
        found.append((folder.name, said, paths, hits, files, there))
    return tuple(found)


@pytest.mark.parametrize("what", CHANGES)
def test_each_call_of_the_system_may_fail(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A sentence; then everything as before or as afterwards; and then it works."""
    change = CHANGES[what]
    before = contents(made)
    wanted = Path(shutil.copytree(made, tmp_path / "wanted"))
    change(wanted / "notes")
    after = contents(wanted)
    faults = [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO]
    failed = at = 0
    finished = False
    while not finished:
        at += 1
        home = Path(shutil.copytree(made, tmp_path / f"home-{at}"))
        with monkeypatch.context() as patched:
            fail_at(patched, at, faults[at % len(faults)])
            try:
                change(home / "notes")
            except IndexStateError:
                failed += 1
            else:
                finished = not _hit
        clear_collections(home)
        assert contents(home) in (before, after)
        if contents(home) == before != after:
            change(home / "notes")
            assert contents(home) == after
        assert not [path for path in home.rglob(".*") if path.name != ".wva-searches.json"]
        shutil.rmtree(home)
    assert failed


_hit: list[bool] = []  # whether the call that should fail was made


def fail_at(patched: pytest.MonkeyPatch, at: int, number: int) -> None:
    """The call with this number, of all that are watched, fails."""
    count = 0
    _hit.clear()

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == at:
                _hit.append(True)
                raise OSError(number, os.strerror(number))
            return real(*arguments, **more)

        return call

    for name in CALLS:
        patched.setattr(os, name, failing(getattr(os, name)))


def test_the_catalog_may_be_full_at_any_page(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = Document("large", "txt", (Page(None, "a text of " + "large" * 24_000),))
    real = connections._connection
    room = 0

    def limited(path: Path, mode: str) -> sqlite3.Connection:
        connection = real(path, mode)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + room}")
        return connection

    said: set[str] = set()
    while True:
        home = Path(shutil.copytree(made, tmp_path / f"home-{room}"))
        before = contents(home)
        with monkeypatch.context() as patched:
            patched.setattr(connections, "_connection", limited)
            try:
                with Index.open(home / "notes", FakeEmbedder(16)) as index:
                    index.add([large])
                break
            except IndexStateError as error:
                said.add(str(error).replace(str(home), "HOME"))
        found = contents(home)
        assert found == before or ("large" in found[0][2] and "a" in found[0][2])
        with Index.open(home / "notes", FakeEmbedder(16)) as index:
            assert index.add([large]) == 1
        assert "large" in contents(home)[0][2]
        room += 3
    assert room > 3
    assert said == {
        "the disk with the index in HOME/notes is full; nothing was lost, free some space"
    }


@pytest.mark.parametrize("shift", [-3.2e8, 3.2e8], ids=["set back", "set forward"])
def test_a_clock_that_jumps_changes_nothing(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: float
) -> None:
    """Ten years. Changes are found, and generations only grow."""
    home = Path(shutil.copytree(made, tmp_path / "home"))
    folder, own = home / "notes", collections.uploads_folder(home / "notes")
    real = time.time
    with Index.open(folder, FakeEmbedder(16)) as index:
        index.sync(own)
        generations = [index.info()["generation"]]
        monkeypatch.setattr(time, "time", lambda: real() + shift)
        (own / "old.txt").write_text("another text")
        os.utime(own / "old.txt", (real() + shift, real() + shift))
        collections.store_upload(folder, "new.txt", b"a new text")
        index.sync(own)
        generations.append(index.info()["generation"])
        monkeypatch.setattr(time, "time", real)
        (own / "old.txt").write_text("a third text")
        index.sync(own)
        generations.append(index.info()["generation"])
        assert sorted(hit.text for hit in index.search("text", 9)) == [
            "a new text",
            "a text of a",
            "a third text",
        ]
    assert generations == sorted(set(generations))
    assert sorted(file.name for file in own.iterdir()) == ["new.txt", "old.txt"]


@pytest.mark.parametrize("times", [1, 9])
def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    path = tmp_path / "log.txt"
    path.write_text("line 0\n")
    calls, real = 0, formats.read_blocks

    def growing(stream: BinaryIO, *sizes: int) -> list[bytes]:
        nonlocal calls
        read = list(real(stream, *sizes))
        calls += 1
        if calls <= times:
            with path.open("a") as file:
                file.write(f"line {calls}\n")
        return read

    monkeypatch.setattr(formats, "read_blocks", growing)
    if times == 1:
        assert formats.read_document(path, "log.txt").pages[0].text == "line 0\nline 1"
    else:
        with pytest.raises(ReadError, match="written to while it was read; the next run reads it"):
            formats.read_document(path, "log.txt")


def test_a_second_ctrl_c_keeps_the_exit_code() -> None:
    """It comes while the first one is told, as with an impatient user."""
    script = (
        "import os, signal, sys\n"
        "from retriever.interface import cli\n"
        "class Impatient:\n"
        "    def write(self, text):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        return sys.__stderr__.write(text)\n"
        "    def __getattr__(self, name):\n"
        "        return getattr(sys.__stderr__, name)\n"
        "def stopped(options):\n"
        "    sys.stderr = Impatient()\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    signal.pause()\n"
        "cli.COMMANDS['index'] = stopped\n"
        "sys.argv = ['wva', 'index', '.']\n"
        "sys.exit(cli.main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stderr == "\nstopped; what is done is kept, run again to continue\n"
