"""Files and folders for their owner alone, whatever the umask; a group's where that is wished."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from retriever import Index
from retriever.cache import write_atomically
from retriever.files import make_folder, open_private, tighten
from retriever.interface import collections, removal
from retriever.storage.backends import vector_files
from tests.fakes import FakeEmbedder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o000)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes(folder: Path) -> dict[str, int]:
    """Path → permissions of all that is in a folder, and of itself."""
    return {str(path): mode(path) & 0o777 for path in (folder, *folder.rglob("*"))}


def fill(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A collection with all files that this program writes into one."""
    monkeypatch.setattr(vector_files, "MIN_LARGE", 1)
    monkeypatch.setattr("retriever.storage.vectors.verified.MIN_BYTES", 1)
    folder = collections.create_collection(home, "notes")
    collections.describe_collection(folder, "what I noted")
    for name in ("a.txt", "b.txt"):
        collections.store_upload(folder, name, f"a text about {name}".encode())
    with Index.open(folder, FakeEmbedder()) as index:
        index.sync(collections.uploads_folder(folder))
        uploads = str(collections.uploads_folder(folder))
        index.backend.note_wanted(["0" * 16])
        removal.remove_files(index, folder, [(uploads, "b.txt")])
        index.search("text")
        seen = {path.name for path in folder.iterdir()}
        assert {"catalog.sqlite-wal", "catalog.sqlite-shm", "LOCK", "wanted", "removed"} <= seen
        assert {Path(name).suffix for name in seen} >= {".rows", ".words", ".checked", ".faiss"}
        assert_private(folder)
    return folder


def assert_private(folder: Path) -> None:
    for path, found in modes(folder).items():
        assert found == (0o700 if Path(path).is_dir() else 0o600), path


def test_all_that_an_index_writes_is_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "new" / "indexes"
    fill(home, monkeypatch)
    write_atomically(home / ".wva-searches.json", lambda file: file.write(b"{}"))
    assert_private(tmp_path / "new")


def test_an_index_that_others_can_read_is_closed_when_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As version 0.1.0 made it. What is not ours, and what a link leads to, stays as it is."""
    folder = fill(tmp_path, monkeypatch)
    outside = tmp_path / "outside.txt"
    outside.write_text("not in the index")
    (folder / "vectors-x.faiss").symlink_to(outside)
    (folder / "mine.txt").write_text("not of the index")
    for path in (outside, folder / "mine.txt", *folder.iterdir(), folder):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with Index.open(folder, FakeEmbedder()) as index:
        index.search("text")
        assert mode(folder) == 0o755  # a reader changes nothing
        index.sync(collections.uploads_folder(folder))
    assert mode(folder) == 0o700
    assert mode(folder / "catalog.sqlite") == mode(folder / "LOCK") == 0o600
    assert mode(outside) == mode(folder / "mine.txt") == 0o644


def test_a_group_shares_an_index_by_the_setgid_bit_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "team"
    home.mkdir()
    home.chmod(0o2770)
    monkeypatch.setattr("tests.test_files.assert_private", lambda folder: None)
    os.umask(0o077)  # the rights of the folder count
    folder = fill(home, monkeypatch)
    for path, found in modes(folder).items():
        assert found == (0o770 if Path(path).is_dir() else 0o660), path
    folder.chmod(0o2757)
    tighten(folder, lambda name: True)
    assert mode(folder) & 0o777 == 0o750


def test_a_group_that_only_reads_cannot_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o2750)
    make_folder(tmp_path / "below")
    open_private(tmp_path / "below" / "file").close()
    assert mode(tmp_path / "below") & 0o777 == 0o750
    assert mode(tmp_path / "below" / "file") == 0o640


def test_a_private_file_follows_no_link_and_may_have_to_be_new(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(OSError, match="link"):
        open_private(link)
    target.write_text("mine")
    target.chmod(0o644)
    with pytest.raises(FileExistsError):
        open_private(target, new=True)
    with open_private(target) as file:
        file.write(b"new")
    assert (target.read_bytes(), mode(target)) == (b"new", 0o600)


@pytest.mark.skipif(os.name != "posix", reason="a process is killed by a fork that ends")
def test_what_a_killed_process_wrote_is_removed_by_the_next_that_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "[a] file"
    child = os.fork()
    if not child:
        write_atomically(path, lambda file: os._exit(9))
    os.waitpid(child, 0)
    (left,) = tmp_path.iterdir()
    assert mode(left) == 0o600
    (tmp_path / ".other file.0.part").touch()

    def write(file: object) -> None:
        write_atomically(path, lambda other: other.write(b"other"))  # not taken for a remain

    write_atomically(path, write)
    assert {one.name for one in tmp_path.iterdir()} == {path.name, ".other file.0.part"}


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    def full(file: object) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_atomically(tmp_path / "file", full)
    assert list(tmp_path.iterdir()) == []


SCRIPT = """
import os, sys
from pathlib import Path
from retriever import Index, RetrieverError
from retriever.interface import collections as c
from retriever.interface.cli import main
folder = Path(sys.argv[1])
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
for name, act in {
    "open": lambda: Index.open(folder),
    "create": lambda: Index.open_or_create(folder),
    "create below": lambda: Index.open_or_create(folder / "below"),
    "delete": lambda: c.delete_collection(folder),
    "rename": lambda: c.rename_collection(folder, "other"),
    "describe": lambda: c.describe_collection(folder, "text"),
    "list": lambda: c.list_indexes(folder),
}.items():
    try:
        act()
        print(name, "done")
    except RetrieverError as error:
        print(name, error)
sys.stdout.flush()
main(["info", "--index", str(folder)])
main(["index", "/usr/share", "--dry-run", "--index", str(folder)])
"""


def test_a_folder_that_may_not_be_entered_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    fill(home, monkeypatch)
    home.chmod(0)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(home / "notes")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    home.chmod(0o700)
    assert "Traceback" not in run.stderr, run.stderr
    lines = run.stdout.splitlines() + run.stderr.splitlines()
    assert [line for line in lines if "Permission denied" not in line] == ["list done"]
    assert len(lines) == 9
