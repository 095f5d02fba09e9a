"""Collections: indexes side by side in a folder, their names, and the files uploaded to them.

A collection is an index. Its uploaded files lie in its folder `uploads` and are indexed from there
like any folder; deleting the collection deletes them. Removed ones are kept in its folder
`removed` for a day. Its description is in `collection.json`: not in the catalog, so that it can be
changed while a process writes.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import json
import os
import re
import shutil
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from retriever.embedding.models.trusted import trust
from retriever.files import durable
from retriever.files.layout import CATALOG_FILE, FACTS_FILE, LOCK_FILE, is_part, kind_of
from retriever.files.private import make_folder, open_private, write_private
from retriever.interface import upload_limits
from retriever.interface.zip_uploads import zip_members
from retriever.reading.formats import supported
from retriever.reading.scan import scan, targets
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.catalog import Catalog, foreign
from retriever.storage.catalog.lock import WriterLock
from retriever.storage.upkeep.uploads import move_uploads, uploads_folder
from retriever.types import IndexStateError, ReadError, UsageError

MAX_NAME = 60  # characters of a collection's name
MAX_DESCRIPTION = 300  # characters
_COMPLETE = ".complete"  # the mark in the folder of an archive that is unpacked completely
_MAX_FACTS = 65_536  # bytes
_MAX_DEPTH = 8  # nested folders of an archive
_MAX_REFUSALS = 5  # refused files of an archive with a sentence of their own
_MAX_NAME_BYTES = 180  # bytes of a file's name: file systems take 255, a number may be added

_DOOMED = re.compile(r"\.(.+)\.deleted-[0-9a-f]{8}", re.DOTALL)
"""The name of an index that is being deleted."""

_NAME = re.compile(r"\w[\w .()+-]*")
# Characters that some file system refuses, and those that reverse the writing direction.
_UNSAFE = re.compile(
    '[\x00-\x1f\x7f-\x9f<>:"|?*\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff\ufff9-\ufffb'
    "\U000e0000-\U000e007f]"
)
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
        foreign.check_entries(folder)
        with contextlib.closing(
            sqlite3.connect(f"{(folder / CATALOG_FILE).absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            foreign.harden(connection)
            foreign.check_schema(connection, folder)
            return int(connection.execute("SELECT count(*) FROM documents").fetchone()[0])
    except (sqlite3.Error, OSError, IndexStateError):
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

    The first run will use `model` unless it names another one; nothing is loaded now. It is the
    user who names it: from now on indexes may load it.
    """
    trust(model.strip())
    folder = home / validate_name(name, home)
    with EmbeddedBackend.open(folder, create=True) as backend:
        backend.prefer_model(model.strip())
    return folder


def rename_collection(folder: Path, name: str) -> Path:
    """Rename an index, which the caller has closed; returns its new folder.

    Nothing is indexed again. Raises UsageError for a name that no collection can have, and
    IndexStateError while a process writes to the index, or when the folder cannot be renamed.
    """
    if kind_of(folder / CATALOG_FILE) != "file":
        raise IndexStateError(f"there is no collection in {folder} any more")
    if " ".join(name.split()).casefold() == folder.name.casefold():
        name = " ".join(name.split())  # only capitals change
    else:
        name = validate_name(name, folder.parent)
    before, target = str(uploads_folder(folder)), folder.with_name(name)
    lock = WriterLock(folder / LOCK_FILE)
    lock.acquire()
    try:
        durable.rename(folder, target)
    except OSError as error:
        raise IndexStateError(
            f"the collection {folder.name!r} cannot be renamed ({error.strerror or error}); check "
            "the permissions of the folder around it, and that no program has its files open"
        ) from error
    finally:
        lock.release()
    # A process may write already: its run does the same.
    with suppress(IndexStateError), contextlib.closing(Catalog.open(target)) as catalog:
        move_uploads(catalog, before, str(uploads_folder(target)))
    return target


def description(folder: Path) -> str:
    """What the user says of the collection; empty without a description."""
    path = folder / FACTS_FILE
    try:
        # A link or a pipe in a folder from elsewhere would be read without an end.
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_FACTS:
            return ""
        told = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    said = told.get("description") if isinstance(told, dict) else ""
    return said[:MAX_DESCRIPTION] if isinstance(said, str) else ""


def describe_collection(folder: Path, text: str) -> None:
    """Store what the user says of the collection in one line; an empty text removes it.

    This is safe while a process writes to the index.
    """
    text = " ".join(text.split())
    if len(text) > MAX_DESCRIPTION:
        raise UsageError(f"the description is longer than {MAX_DESCRIPTION} characters; shorten it")
    if kind_of(folder / CATALOG_FILE) != "file":
        raise IndexStateError(f"there is no collection in {folder} any more")
    try:
        durable.sweep(folder)
        with durable.replacing(folder / FACTS_FILE) as file:
            file.write(json.dumps({"description": text}, ensure_ascii=False).encode())
    except OSError as error:
        raise IndexStateError(_write_error(FACTS_FILE, folder, error)) from error


def delete_collection(folder: Path) -> list[str]:
    """Delete an index, which the caller has closed, with the files uploaded to it.

    Returns the names of entries in its folder that are not part of it: they stay. Raises
    IndexStateError when there is no index, a process is writing to it, or it cannot be deleted.
    """
    if kind_of(folder / CATALOG_FILE) != "file":
        raise IndexStateError(f"there is no index in {folder} any more")
    finish_deletions(folder.parent)
    lock = WriterLock(folder / LOCK_FILE)
    lock.acquire()
    try:
        # Renamed first, in one step: a deletion that is killed leaves no half of an index.
        doomed = folder.with_name(f".{folder.name}.deleted-{uuid.uuid4().hex[:8]}")
        durable.rename(folder, doomed)
        foreign = _delete_doomed(doomed)
    except OSError as error:
        raise IndexStateError(
            f"the index in {folder} cannot be deleted ({error.strerror or error}); check the "
            "folder's permissions"
        ) from error
    finally:
        lock.release()
    return foreign


def finish_deletions(home: Path) -> int:
    """Finish the deletions of indexes in `home` that were killed; returns their number."""
    count = 0
    with suppress(OSError):
        for entry in sorted(home.iterdir()):
            if _DOOMED.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink():
                lock = WriterLock(entry / LOCK_FILE)
                with suppress(OSError, IndexStateError):  # another process is deleting it
                    lock.acquire(0)
                    try:
                        _delete_doomed(entry)
                    finally:
                        lock.release()
                    count += 1
    return count


def _delete_doomed(doomed: Path) -> list[str]:
    """Delete an index that was renamed for it; what is foreign goes back, and is named."""
    found = _DOOMED.fullmatch(doomed.name)
    home = doomed.with_name(found[1] if found else doomed.name)
    foreign = sorted(
        entry.name
        for entry in doomed.iterdir()
        if not (is_part(entry.name) or durable.is_temporary(entry.name))
    )
    if foreign:
        durable.make_folder(home)
        for name in foreign:
            durable.rename(doomed / name, free_path(home / name))
    shutil.rmtree(doomed, ignore_errors=True)
    durable.sync_folder(doomed.parent)
    return foreign


def free_path(target: Path) -> Path:
    """The path, or with a number if there is something under it."""
    number, free = 1, target
    while os.path.lexists(free):
        number += 1
        free = target.with_name(f"{target.stem} ({number}){target.suffix}")
    return free


# Uploads


def store_upload(folder: Path, name: str, data: bytes) -> str:
    """Store an uploaded file in the index's folder of uploads; returns its name there.

    A file is never overwritten: another one of the same name gets a number, and the same content
    under the same name is stored once. Raises UsageError for a format that is not read, and
    IndexStateError when the file cannot be written.
    """
    safe = safe_name(name)
    refused = upload_limits.refusal(name, len(data), data)
    if refused:
        raise UsageError(refused)
    try:
        own = uploads_folder(folder)
        durable.make_folder(own)
        with durable.temporary_file(own) as (file, part):  # hidden files are not indexed
            file.write(data)
            durable.sync_file(file)
            kept = _place(part, own, safe)
        durable.sync_folder(own)
    except OSError as error:
        raise IndexStateError(_write_error(name, folder, error)) from error
    return kept


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """The number of files stored from an archive, and sentences.

    There is a sentence for each file that was `refused`, and for each that is kept under another
    path than its own, because that leads out of the archive or is no name everywhere.
    """

    count: int
    refused: tuple[str, ...]
    renamed: tuple[str, ...] = ()


def store_archive(folder: Path, name: str, data: bytes) -> StoredArchive:
    """Unpack an uploaded archive; each of its files is stored like an upload.

    They go to a folder with the archive's name and its own subfolders; no path leads out of it.
    A few sentences say what was refused. All files are stored or, after a kill or an error, none.
    Raises UsageError for an archive that is damaged or too large (see `zip_uploads`), and
    IndexStateError when nothing can be written.
    """
    own = uploads_folder(folder)
    try:
        durable.make_folder(own)
        with durable.temporary_folder(own) as unpacked:
            stored = _unpack(unpacked, name, data)
            if stored.count:
                _mark_complete(unpacked)
                publish_unpacked(unpacked, own)
    except OSError as error:
        raise IndexStateError(_write_error(name, folder, error)) from error
    return stored


def _unpack(unpacked: Path, name: str, data: bytes) -> StoredArchive:
    """Write the files of an archive below the folder `unpacked`."""
    home = Path(safe_name(name)).stem
    count, foreign, refused, renamed = 0, 0, list[str](), list[str]()
    for file in zip_members(name, data):
        *folders, last = safe_path(file.path)
        folders = folders[folders[:1] == [home] :]  # "letters.zip" often has the one "letters"
        if not supported(Path(last)):
            foreign += 1
            continue
        try:
            most = upload_limits.max_bytes(last)
            if file.size > most:
                raise ReadError(f"is larger than {most // 1_000_000} MB: split it")
            _write_unpacked(unpacked.joinpath(home, *folders), last, file.read())
            count += 1
            if not _is_safe(file.path):
                kept = "/".join((home, *folders, last))
                renamed.append(f"{file.path!r} in {name!r} is kept as {kept!r}")
        except ReadError as error:
            refused.append(f"{file.path!r} in {name!r} {error}; it was not kept")
    _fold(refused, f"more files in {name!r} were not kept")
    _fold(renamed, f"more files in {name!r} are kept under other names")
    if foreign:
        files = "file" if foreign == 1 else "files"
        refused.append(f"{foreign:,} {files} in {name!r} not kept: of no format that is read")
    if not count and not refused:
        refused.append(f"there is no file in {name!r}")
    return StoredArchive(count, tuple(refused), tuple(renamed))


def _write_unpacked(folder: Path, name: str, data: bytes) -> None:
    """Write a file, unless the same one is there; another one of this name gets a number."""
    make_folder(folder)
    target = folder / name
    if not (target.is_file() and target.read_bytes() == data):
        write_private(free_path(target), data)


def _mark_complete(unpacked: Path) -> None:
    """From here on the files of an archive are stored, whatever happens to this process."""
    durable.sync_tree(unpacked)
    (unpacked / _COMPLETE).touch()
    durable.sync_folder(unpacked)


def publish_unpacked(unpacked: Path, own: Path) -> int:
    """Move the files of an archive that is unpacked completely to the uploads.

    Returns the number of files. What was moved by a process that was killed stays where it is. An
    archive that is not unpacked completely has no files.
    """
    if not (unpacked / _COMPLETE).exists():
        return 0
    folders, count = {own}, 0
    for file in sorted(path for path in unpacked.rglob("*") if path.is_file()):
        below = file.relative_to(unpacked).parent
        if below == Path():
            continue  # the lock, and the mark
        target = own / below
        durable.make_folder(target)
        if not target.resolve().is_relative_to(own):
            raise IndexStateError(f"{target} leads out of {own}: {file.name!r} was not kept")
        _place(file, target, file.name)
        folders.add(target)
        count += 1
    for folder in folders:
        durable.sync_folder(folder)
    return count


def _fold(sentences: list[str], rest: str) -> None:
    """Keep the first few sentences, and count the rest."""
    more = len(sentences) - _MAX_REFUSALS
    if more > 0:
        sentences[_MAX_REFUSALS:] = [f"{more:,} {rest}"]


def _is_safe(path: str) -> bool:
    r"""Whether a file of an archive keeps its path.

    >>> _is_safe("./a/b.txt"), _is_safe("../b.txt"), _is_safe("/etc/b.txt"), _is_safe("con.txt")
    (True, False, False, False)
    """
    return safe_path(path) == [part for part in re.split(r"[/\\]", path) if part != "."]


def safe_path(path: str) -> list[str]:
    r"""A path in an archive as safe names of folders and a file.

    >>> safe_path("a/../../b/./c.txt"), safe_path("C:\\x\\con.txt"), safe_path("/etc/passwd")
    (['a', 'b', 'c.txt'], ['C_', 'x', '_con.txt'], ['etc', 'passwd'])
    """
    parts = [part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..")] or ["_"]
    return [safe_name(part) for part in (*parts[:-1][:_MAX_DEPTH], parts[-1])]


def _write_error(name: str, folder: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk with {folder} is full: {name!r} was not kept; free some space"
    return (
        f"{name!r} cannot be kept in {folder} ({error.strerror or error}); check the folder's "
        "permissions"
    )


def _place(file: Path, folder: Path, name: str) -> str:
    """Give a file the first free name in the folder; returns that.

    A file is never overwritten. If one of these names has the same content, that is enough.
    """
    stem, dot, ending = name.rpartition(".") if "." in name else (name, "", "")
    number = 1
    while True:
        tried = name if number == 1 else f"{stem} ({number}){dot}{ending}"
        if _same_content(folder / tried, file):
            return tried
        if not os.path.lexists(folder / tried) and _link(file, folder / tried):
            return tried
        number += 1


def _same_content(path: Path, other: Path) -> bool:
    return path.is_file() and filecmp.cmp(path, other, shallow=False)


def _link(file: Path, target: Path) -> bool:
    """Give a file a second name; False if another process has taken it meanwhile."""
    try:
        os.link(file, target)
    except FileExistsError:
        return False
    except OSError:  # a file system without links: still never over another file
        try:
            with open_private(target, new=True) as copy, file.open("rb") as source:
                shutil.copyfileobj(source, copy)
                durable.sync_file(copy)
        except FileExistsError:
            return False
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


def validate_folder(path: str, hidden: Sequence[Path]) -> Path:
    """The folder or file named `path`; raises UsageError if nothing in it can be read.

    The files of the index are `hidden`.
    """
    text = path.strip().strip("\"'")
    found = targets([text], [], hidden)[0]
    if all(file.reason for file in scan(found, (), (), hidden)):
        raise UsageError(f"there is no file in {text!r} that can be read")
    return found.path


__all__ = [
    "StoredArchive",
    "count_documents",
    "create_collection",
    "delete_collection",
    "describe_collection",
    "description",
    "finish_deletions",
    "free_path",
    "is_index",
    "list_indexes",
    "publish_unpacked",
    "rename_collection",
    "safe_name",
    "safe_path",
    "store_archive",
    "store_upload",
    "uploads_folder",
    "validate_folder",
    "validate_name",
]
