"""A backup of an index: a consistent copy, made while another process may write to it.

A backup is a folder that opens as an index, or one file (`.zip`). It holds the catalog as of one
transaction, the vector file that belongs to it, the uploads and the description; not what was
deleted, nor locks. It is written beside its target, checked, and then gets its name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from retriever.files import durable
from retriever.files.layout import (
    CATALOG_FILE,
    FACTS_FILE,
    LOCK_FILE,
    UPLOADS,
    kind_of,
)
from retriever.files.private import make_folder, open_private
from retriever.storage.backends import vector_files
from retriever.storage.backends.search_state import row_path
from retriever.storage.catalog import Catalog, Reader
from retriever.storage.catalog.postings import posting_path
from retriever.storage.upkeep import archive
from retriever.storage.upkeep.uploads import move_uploads, uploads_folder
from retriever.types import IndexStateError, UsageError

_OTHER_ARCHIVES = re.compile(r"\.(tar|tgz|gz|bz2|xz|zst|7z|rar|sqlite)$", re.IGNORECASE)
_UPLOADS_ROOT = "uploads_root"  # the meta value with the root that the rows of uploads have
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds, or what was restored from it: its place, its bytes, and counts."""

    path: str
    bytes: int
    documents: int
    passages: int
    uploads: int


def back_up(catalog: Catalog, to: Path) -> Backup:
    """Write a backup of an index to `to`, a new folder, or a new file if it ends in `.zip`.

    Raises UsageError if there is something already, and IndexStateError if it cannot be written;
    then nothing is left.
    """
    target = to.absolute()
    _check_target(target, catalog.folder)
    is_file = _is_archive(target)
    with _told("the backup", target), durable.scratch_folder(target.parent) as scratch:
        _check_room(catalog, target.parent, is_file)
        made = scratch / "index"
        make_folder(made)
        counts = _copy_catalog(catalog, scratch, made)
        _copy_vector_files(catalog.folder, made)
        uploads = _copy_uploads(catalog.folder, made)
        own = uploads_folder(catalog.folder)
        _settle(made, str(own), str(own if is_file else uploads_folder(target)), counts)
        size = _bytes(made)
        if is_file:
            archive.pack(made, scratch / "archive")
            size = (scratch / "archive").stat().st_size
            durable.publish_new(scratch / "archive", target)
        else:
            durable.publish_folder(made, target)
    return Backup(str(to), size, *counts, uploads)


def restore(source: Path, folder: Path) -> Backup:
    """Make an index in the new folder `folder` from a backup, a file or a folder.

    Raises UsageError if there is something already, and IndexStateError if it is no backup or
    cannot be written; then nothing is left.
    """
    kind, target = kind_of(source), folder.absolute()
    if not kind:
        raise UsageError(f"there is no backup {str(source)!r}")
    if kind == "folder":
        with closing(Catalog.open(source)) as catalog:
            _check_target(target, catalog.folder, archives=False)
            return back_up(catalog, folder)
    _check_target(target, source.absolute(), archives=False)
    with _told("the index", target), durable.scratch_folder(target.parent) as scratch:
        made = scratch / "index"
        make_folder(made)
        archive.unpack(source, made)
        with _named(source, made), closing(Catalog.open(made)) as copy, copy.reading() as reader:
            counts = _counts(reader)
        _settle(made, "", str(uploads_folder(target)), counts)
        uploads, size = _count_files(made / UPLOADS), _bytes(made)
        durable.publish_folder(made, target)
    return Backup(str(folder), size, *counts, uploads)


def _is_archive(target: Path) -> bool:
    return target.suffix.lower() == archive.ENDING


def _check_target(target: Path, source: Path, *, archives: bool = True) -> None:
    """Raise UsageError unless `target` is free, and not inside of what is copied."""
    if _OTHER_ARCHIVES.search(target.name) or (not archives and _is_archive(target)):
        known = f"; the name of an archive ends in {archive.ENDING}" if archives else ""
        raise UsageError(f"{target.name!r} cannot be the name of a folder for it{known}")
    if target.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{target} lies inside {source}; name a place outside")
    kind = kind_of(target)
    if kind == "file" or target.is_symlink():
        raise UsageError(f"there is already a file {target}; name a new one")
    if kind and (_is_archive(target) or any(target.iterdir())):
        raise UsageError(f"the folder {target} is not empty; name a new one")


def _check_room(catalog: Catalog, parent: Path, is_file: bool) -> None:
    """Raise IndexStateError if the disk cannot take the copies that exist at one time."""
    with catalog.reading() as reader:
        row = reader.vector_file()
        ((pages, size),) = reader.connection.execute(
            "SELECT page_count, page_size FROM pragma_page_count, pragma_page_size"
        )
    rest = _bytes(catalog.folder / UPLOADS)
    if row is not None:
        rest += sum(_size(catalog.folder / name) for name in vector_files.names_of(row))
    archive.check_room(parent, 2 * (pages * size + rest) if is_file else 2 * pages * size + rest)


def _copy_catalog(catalog: Catalog, scratch: Path, made: Path) -> tuple[int, int]:
    """Copy the catalog as of one transaction, without what was deleted; the counts in it.

    SQLite's backup copies pages, also free ones; its VACUUM copies rows, so that no text of a
    deleted document is in the copy.
    """
    raw, copy = scratch / "pages.sqlite", made / CATALOG_FILE
    for path in (raw, copy):
        open_private(path, new=True).close()
    with closing(sqlite3.connect(raw, isolation_level=None)) as connection:
        with catalog.reading() as reader:
            counts = _counts(reader)
            reader.connection.backup(connection)
        connection.execute("VACUUM INTO ?", (str(copy),))
    for path in scratch.glob(f"{raw.name}*"):
        path.unlink()
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        found = [row[0] for row in connection.execute("PRAGMA integrity_check (1)")]
    if found != ["ok"]:
        raise IndexStateError(f"the copy of the catalog is damaged ({found[0]}); check the disk")
    return counts


def _counts(reader: Reader) -> tuple[int, int]:
    """The numbers of documents and passages."""
    ((documents,),) = reader.connection.execute("SELECT COUNT(*) FROM documents")
    return int(documents), reader.count_chunks()


def _copy_vector_files(folder: Path, made: Path) -> None:
    """Copy the vector file of the copied catalog, with what lies beside it.

    Where it is gone already or damaged, it is made anew from the vectors in the catalog.
    """
    with closing(Catalog.open(made)) as catalog:
        with catalog.reading() as reader:
            row, has_vectors = reader.vector_file(), reader.has_vectors()
        if row is None:
            if has_vectors:
                vector_files.write(catalog)
            return
        try:
            if _copy_file(folder / row.file, made / row.file) == row.sha256:
                for path in (row_path(folder / row.file), posting_path(folder / row.file)):
                    with suppress(FileNotFoundError, _IsLinkError):
                        _copy_file(path, made / path.name)
                return
        except (FileNotFoundError, _IsLinkError):
            pass
        vector_files.write(catalog)


class _IsLinkError(Exception):
    """A part of an index is a link, which may lead anywhere."""


def _copy_file(source: Path, target: Path) -> str:
    """Copy a file's bytes and times; returns its SHA-256."""
    if source.is_symlink():
        raise _IsLinkError
    digest = hashlib.sha256()
    with source.open("rb") as file, open_private(target) as copy:
        status = os.fstat(file.fileno())
        while block := file.read(_BLOCK):
            digest.update(block)
            copy.write(block)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    return digest.hexdigest()


def _copy_uploads(folder: Path, made: Path) -> int:
    """Copy the uploads and the description; returns the number of uploads."""
    with suppress(FileNotFoundError, _IsLinkError):
        _copy_file(folder / FACTS_FILE, made / FACTS_FILE)
    own, count = folder / UPLOADS, 0
    for path in () if own.is_symlink() else _files(own):
        with suppress(FileNotFoundError):  # removed meanwhile
            target = made / UPLOADS / path.relative_to(own)
            make_folder(target.parent)
            _copy_file(path, target)
            count += 1
    return count


def _settle(made: Path, before: str, now: str, counts: tuple[int, int]) -> None:
    """Write into a copy where its uploads will lie, and open it once to compare the counts.

    They were at `before`, or where they were noted to be: a backup may have been moved since.
    """
    with closing(Catalog.open(made, durable=False)) as catalog:
        with catalog.reading() as reader:
            noted = str(reader.meta(_UPLOADS_ROOT) or "")
        for root in {before, noted} - {"", now}:
            move_uploads(catalog, root, now)
        with catalog.writing(visible=False) as writer:
            writer.set_meta(_UPLOADS_ROOT, now)
        with catalog.reading() as reader:
            found = _counts(reader)
    if found != counts:
        raise IndexStateError(
            f"the copy has {found[0]:,} documents and {found[1]:,} passages in place of "
            f"{counts[0]:,} and {counts[1]:,}; nothing was kept, try again"
        )
    (made / LOCK_FILE).unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[Path]:
    """The files in a folder and below, without links and half uploads."""
    for current, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(current, name)
            if not durable.is_temporary(name) and path.is_file() and not path.is_symlink():
                yield path


def _count_files(folder: Path) -> int:
    return sum(1 for _ in _files(folder))


def _bytes(folder: Path) -> int:
    return sum(_size(path) for path in _files(folder))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextmanager
def _named(source: Path, made: Path) -> Iterator[None]:
    """Let an error name the backup, and not the scratch folder."""
    try:
        yield
    except IndexStateError as error:
        reason = str(error).replace(str(made), str(source))
        raise IndexStateError(f"{source} cannot be restored: {reason}") from error


@contextmanager
def _told(what: str, target: Path) -> Iterator[None]:
    """Turn the errors of the system into sentences: nothing was written then."""
    try:
        make_folder(target.parent)
        yield
    except FileExistsError:
        raise UsageError(f"there is already something called {target}; name a new one") from None
    except (OSError, sqlite3.Error, IndexStateError) as error:
        full = getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, IndexStateError) and "is full" not in str(error):
            raise
        if full or "is full" in str(error):
            reason = f"the disk with {target.parent} is full; free some space"
        else:
            reason = f"{getattr(error, 'strerror', None) or error}; check the folder's permissions"
        raise IndexStateError(f"{what} {target} was not made: {reason}") from error


__all__ = ["Backup", "back_up", "restore"]
