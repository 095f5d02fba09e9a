"""Collections: indexes side by side in a folder, their names, and the files uploaded to them.

A collection is an index. Its uploaded files lie in its folder `uploads` and are indexed from there
like any folder; deleting the collection deletes them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sqlite3
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from retriever.index import Index
from retriever.interface.zip_uploads import zip_members
from retriever.reading.formats import MAX_BYTES, supported
from retriever.reading.scan import UPLOADS, scan, targets
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.catalog import CATALOG_FILE, LOCK_FILE
from retriever.storage.catalog.lock import WriterLock
from retriever.types import IndexStateError, ReadError, UsageError

MAX_NAME = 60  # characters of a collection's name
_MAX_DEPTH = 8  # nested folders of an archive
_MAX_REFUSALS = 5  # refused files of an archive with a sentence of their own
_MAX_NAME_BYTES = 180  # bytes of a file's name: file systems take 255, a number may be added

_NAME = re.compile(r"\w[\w .()+-]*")
# Characters that some file system refuses, and those that reverse the writing direction.
_UNSAFE = re.compile('[\x00-\x1f\x7f-\x9f<>:"|?*\u202a-\u202e\u2066-\u2069\ud800-\udfff]')
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))]
)


def list_indexes(folder: Path) -> list[Path]:
    """The folder itself if it is an index, else the indexes directly in it, by name."""
    if is_index(folder):
        return [folder]
    try:
        return sorted(
            entry
            for entry in folder.iterdir()
            if not entry.name.startswith(".") and is_index(entry)
        )
    except OSError:
        return []


def is_index(folder: Path) -> bool:
    """Whether the folder has a catalog; opening it shows whether it is valid."""
    try:
        return (folder / CATALOG_FILE).is_file()
    except OSError:
        return False


def count_documents(folder: Path) -> int | None:
    """The number of documents of an index that need not be open; None if it cannot be told."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{(folder / CATALOG_FILE).absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            return int(connection.execute("SELECT count(*) FROM documents").fetchone()[0])
    except (sqlite3.Error, OSError):
        return None


def validate_name(name: str, home: Path) -> str:
    """`name` without extra spaces; raises UsageError if no collection in `home` can have it.

    >>> validate_name("  Annual reports ", Path("no such folder"))
    'Annual reports'
    """
    name = " ".join(name.split())
    if not name:
        raise UsageError("the collection needs a name")
    if len(name) > MAX_NAME:
        raise UsageError(f"the name is longer than {MAX_NAME} characters; take a shorter one")
    if not _NAME.fullmatch(name) or name.endswith(".") or name.lower() in _RESERVED:
        raise UsageError(
            f"{name!r} cannot be a collection's name: begin with a letter or digit, and use "
            "letters, digits, spaces and . ( ) + - _ only"
        )
    taken = {entry.name.casefold() for entry in home.iterdir()} if home.is_dir() else set()
    if name.casefold() in taken:
        raise UsageError(f"there is already something called {name!r}; take another name")
    return name


def create_collection(home: Path, name: str, model: str = "") -> Path:
    """Make an empty collection in the folder `home`; returns its folder.

    The first run will use `model` unless it names another one; nothing is loaded now.
    """
    folder = home / validate_name(name, home)
    with EmbeddedBackend.open(folder, create=True) as backend:
        backend.prefer_model(model.strip())
    return folder


def delete_collection(folder: Path) -> list[str]:
    """Delete an index, which the caller has closed, with the files uploaded to it.

    Returns the names of entries in its folder that are not part of it: they stay. Raises
    IndexStateError when there is no index, a process is writing to it, or it cannot be deleted.
    """
    if not is_index(folder):
        raise IndexStateError(f"there is no index in {folder} any more")
    lock = WriterLock(folder / LOCK_FILE)
    lock.acquire()
    try:
        foreign = sorted(entry.name for entry in folder.iterdir() if not _is_index_file(entry.name))
        if foreign:
            _delete_index_files(folder)
        else:
            # Renamed first, in one step: a deletion that is killed leaves no half of an index.
            doomed = folder.with_name(f".{folder.name}.deleted-{uuid.uuid4().hex[:8]}")
            folder.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
    except OSError as error:
        raise IndexStateError(
            f"the index in {folder} cannot be deleted ({error.strerror or error}); check the "
            "folder's permissions"
        ) from error
    finally:
        lock.release()
    return foreign


def _is_index_file(name: str) -> bool:
    return name.startswith(CATALOG_FILE) or name in (LOCK_FILE, UPLOADS) or ".faiss" in name


def _delete_index_files(folder: Path) -> None:
    (folder / CATALOG_FILE).unlink()  # first: without it there is no index
    for entry in list(folder.iterdir()):
        if entry.name == UPLOADS:
            shutil.rmtree(entry)
        elif _is_index_file(entry.name):
            entry.unlink()


# Uploads


def uploads_folder(folder: Path) -> Path:
    """The folder of the files uploaded to the index in `folder`, with all links resolved."""
    return folder.resolve() / UPLOADS


def store_upload(folder: Path, name: str, data: bytes) -> str:
    """Store an uploaded file in the index's folder of uploads; returns its name there.

    A file is never overwritten: another one of the same name gets a number, and the same content
    under the same name is stored once. Raises UsageError for a format that is not read, and
    IndexStateError when the file cannot be written.
    """
    safe = safe_name(name)
    if not supported(Path(safe)):
        raise UsageError(f"{name!r} is of no format that is read{_advice(safe)}; it was not kept")
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{name!r} is larger than {MAX_BYTES // 1_000_000} MB; split it. It was not kept"
        )
    return _store(folder, Path(), safe, data)


def _store(folder: Path, below: Path, name: str, data: bytes) -> str:
    """Write `data` as the file `name`, a safe name, in the folder `below` the uploads."""
    own = uploads_folder(folder)
    target = own / below
    try:
        target.mkdir(parents=True, exist_ok=True)
        if not target.resolve().is_relative_to(own):
            raise IndexStateError(f"{target} leads out of {own}: {name!r} was not kept")
        return _write_under_free_name(target, name, data)
    except OSError as error:
        raise IndexStateError(_write_error(name, folder, error)) from error


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """The number of files stored from an archive, and a sentence for each that was refused."""

    count: int
    refused: tuple[str, ...]


def store_archive(folder: Path, name: str, data: bytes) -> StoredArchive:
    """Unpack an uploaded archive; each of its files is stored like an upload.

    They go to a folder with the archive's name and its own subfolders; no path leads out of it.
    A few sentences say what was refused. Raises UsageError for an archive that is damaged or too
    large (see `zip_uploads`), and IndexStateError when nothing can be written.
    """
    home = Path(safe_name(name)).stem
    count, foreign, refused = 0, 0, list[str]()
    for file in zip_members(name, data):
        *folders, last = safe_path(file.path)
        folders = folders[folders[:1] == [home] :]  # "letters.zip" often has the one "letters"
        if not supported(Path(last)):
            foreign += 1
            continue
        try:
            if file.size > MAX_BYTES:
                raise ReadError(f"is larger than {MAX_BYTES // 1_000_000} MB")
            _store(folder, Path(home, *folders), last, file.read())
            count += 1
        except ReadError as error:
            refused.append(f"{file.path!r} in {name!r} {error}; it was not kept")
    if len(refused) > _MAX_REFUSALS:
        more = len(refused) - _MAX_REFUSALS
        refused[_MAX_REFUSALS:] = [f"{more:,} more files in {name!r} were not kept"]
    if foreign:
        files = "file" if foreign == 1 else "files"
        refused.append(f"{foreign:,} {files} in {name!r} not kept: of no format that is read")
    if not count and not refused:
        refused.append(f"there is no file in {name!r}")
    return StoredArchive(count, tuple(refused))


def safe_path(path: str) -> list[str]:
    r"""A path in an archive as safe names of folders and a file.

    >>> safe_path("a/../../b/./c.txt"), safe_path("C:\\x\\con.txt"), safe_path("/etc/passwd")
    (['a', 'b', 'c.txt'], ['C_', 'x', '_con.txt'], ['etc', 'passwd'])
    """
    parts = [part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..")] or ["_"]
    return [safe_name(part) for part in (*parts[:-1][:_MAX_DEPTH], parts[-1])]


def _advice(name: str) -> str:
    packed = (".7z", ".rar", ".gz", ".tar", ".tgz")
    return ": unpack it, and upload what is in it" if name.lower().endswith(packed) else ""


def _write_error(name: str, folder: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk with {folder} is full: {name!r} was not kept; free some space"
    return (
        f"{name!r} cannot be kept in {folder} ({error.strerror or error}); check the folder's "
        "permissions"
    )


def _write_under_free_name(folder: Path, name: str, data: bytes) -> str:
    """Write `data` under the first free name, unless a file has this content already."""
    stem, dot, ending = name.rpartition(".") if "." in name else (name, "", "")
    number = 1
    while True:
        tried = name if number == 1 else f"{stem} ({number}){dot}{ending}"
        if _has_content(folder / tried, data):
            return tried
        if not os.path.lexists(folder / tried) and _write_new(folder, tried, data):
            return tried
        number += 1


def _has_content(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def _write_new(folder: Path, name: str, data: bytes) -> bool:
    """Write a new file atomically; False if another process has made it meanwhile."""
    part = folder / f".{uuid.uuid4().hex}.part"  # hidden files are not indexed
    try:
        part.write_bytes(data)
        try:
            os.link(part, folder / name)
        except FileExistsError:
            return False
        except OSError:  # a file system without links: still never over another file
            with (folder / name).open("xb") as file:
                file.write(data)
    finally:
        part.unlink(missing_ok=True)
    return True


def safe_name(name: str) -> str:
    r"""The last part of a path as a name that every file system accepts, with its ending.

    >>> safe_name("../../etc/passwd"), safe_name("C:\\docs\\a<b>.pdf"), safe_name(".profile")
    ('passwd', 'a_b_.pdf', 'profile')
    """
    last = re.split(r"[/\\]", name)[-1]
    clean = _UNSAFE.sub("_", last).strip(" .")
    stem, dot, ending = clean.rpartition(".")
    if not dot or len(ending) > 12:
        stem, dot, ending = clean, "", ""
    if stem.lower() in _RESERVED or not stem:
        stem = f"_{stem}"
    room = _MAX_NAME_BYTES - len((dot + ending).encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(" .") + dot + ending


def validate_folder(path: str, index: Path) -> Path:
    """The folder or file named `path`; raises UsageError if nothing in it can be read."""
    text = path.strip().strip("\"'")
    found = targets([text], [], [index.resolve()])[0]
    if all(file.reason for file in scan(found, (), (), [index.resolve()])):
        raise UsageError(f"there is no file in {text!r} that can be read")
    return found.path


# Removal


def remove_files(index: Index, folder: Path, files: Iterable[tuple[str, str]]) -> int:
    """Remove files, named by root and path, from the index in `folder`; returns their number.

    Uploaded files are deleted. A file in the user's own folder stays there, and the next sync of
    that folder indexes it again.
    """
    wanted = list(files)
    count = index.discard(wanted)
    own = uploads_folder(folder)
    for root, path in wanted:
        place = own / path
        if root == str(own) and place.resolve().is_relative_to(own):
            try:
                place.unlink(missing_ok=True)
                _remove_empty(place.parent, own)
            except OSError as error:
                raise IndexStateError(
                    f"{path!r} is out of the index, but its file {place} cannot be deleted "
                    f"({error.strerror or error}); the next sync would add it again"
                ) from error
    return count


def _remove_empty(folder: Path, own: Path) -> None:
    """Remove an archive's folder and the folders around it if they are empty."""
    while folder != own and own in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return  # there is something in it
        folder = folder.parent


__all__ = [
    "StoredArchive",
    "count_documents",
    "create_collection",
    "delete_collection",
    "is_index",
    "list_indexes",
    "remove_files",
    "safe_name",
    "safe_path",
    "store_archive",
    "store_upload",
    "uploads_folder",
    "validate_folder",
    "validate_name",
]
