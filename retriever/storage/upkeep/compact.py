"""Giving back disk space: what no passage uses any more, and what deletions have left in files.

SQLite keeps the pages of deleted rows for new ones, and its full-text index keeps deleted terms
until it merges its parts. Here all that is rewritten. Each step is a transaction or removes one
file, so it may be killed at any time; readers keep their state meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from retriever.files.layout import CATALOG_FILE
from retriever.storage.backends import vector_files
from retriever.storage.catalog import Catalog, Reader, salvage
from retriever.storage.catalog.writing import UNUSED
from retriever.storage.upkeep.archive import check_room
from retriever.storage.upkeep.uploads import empty_bin, old_removals
from retriever.text.analyzer import MARK

_PATIENCE = 5.0  # seconds for readers amid a search, before the log is emptied


@dataclass(frozen=True, slots=True)
class Compaction:
    """The bytes of an index's folder before and after; estimated where nothing is changed.

    `waiting` are bytes of the log that a reader still uses. They are given back when it has ended
    and something is written, or with the next compaction.
    """

    before: int
    after: int
    waiting: int = 0


def compact(catalog: Catalog, *, dry_run: bool = False) -> Compaction:
    """Give back disk space. With `dry_run`, only say about how much.

    No byte of a deleted document is in any file then, but for uploads that were removed less than
    a day ago. Raises IndexStateError while another process writes, and if the disk has no room to
    rewrite the catalog; what could be removed without is removed then.
    """
    before = _bytes(catalog.folder)
    if dry_run:
        return Compaction(before, before - _estimate(catalog))
    try:
        with catalog.exclusive():
            empty_bin(catalog.folder)
            for path in salvage.old_files(catalog.path):
                path.unlink(missing_ok=True)
            _remove_unused(catalog)
            _rewrite(catalog)
    finally:
        catalog.release()
    log = _size(catalog.path.with_name(f"{CATALOG_FILE}-wal"))
    return Compaction(before, _bytes(catalog.folder) - log, log)


def _remove_unused(catalog: Catalog) -> None:
    """Remove vectors and words of no passage, and vector files that are old or have such rows."""
    with catalog.writing(visible=False) as writer:
        writer.drop_unused_vectors()
        _drop_unused_words(writer.connection)
    with catalog.reading() as reader:
        row = reader.vector_file()
        covered = 0 if row is None else row.last_key
        changed = bool(
            reader.removed_after(0)[1] or reader.count_attached() or reader.count_outside(covered)
        )
    if changed:
        vector_files.write(catalog)
        with catalog.reading() as reader:
            row = reader.vector_file()
    for path in vector_files.old_files(catalog.folder, row):
        with suppress(OSError):  # Windows: still mapped by a reader
            path.unlink()


def _drop_unused_words(connection: sqlite3.Connection) -> None:
    """Remove long words that occur in no passage any more; their terms end in the language."""
    rows = connection.execute("SELECT language, reversed FROM long_words").fetchall()
    unused = [
        (language, word)
        for language, word in rows
        if not connection.execute(
            "SELECT 1 FROM vocabulary WHERE term = ?", (f"{word[::-1]}{MARK}{language}",)
        ).fetchone()
    ]
    connection.executemany("DELETE FROM long_words WHERE language = ? AND reversed = ?", unused)


def _rewrite(catalog: Catalog) -> None:
    """Rewrite the full-text index and then the whole catalog, and empty the log.

    The new rows are written to a temporary file and to the log before they replace the old ones.
    """
    with catalog.maintaining() as connection:
        _empty_log(connection)
        check_room(catalog.folder, 2 * _live_bytes(connection))
        connection.execute("INSERT INTO fulltext (fulltext) VALUES ('optimize')")
        _empty_log(connection)
        with _temporary_files_in(catalog.folder):
            connection.execute("PRAGMA temp_store = FILE")
            try:
                connection.execute("VACUUM")
            finally:
                connection.execute("PRAGMA temp_store = MEMORY")
        _empty_log(connection)


def _empty_log(connection: sqlite3.Connection) -> None:
    """Move the log into the catalog, and wait a little for readers; one amid a search may stay."""
    connection.execute(f"PRAGMA busy_timeout = {int(_PATIENCE * 1000)}")
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA wal_checkpoint (TRUNCATE)").fetchall()


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Let SQLite make its temporary files in a folder: the room in it is known.

    SQLite removes the name of such a file when it has opened it, so nothing can be left.
    """
    name = "SQLITE_TMPDIR"
    before = os.environ.get(name)
    os.environ[name] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _estimate(catalog: Catalog) -> int:
    """About how many bytes would be given back."""
    folder = catalog.folder
    with catalog.reading() as reader:
        row = reader.vector_file()
        free = _page_facts(reader.connection)[1] + _unused_vectors(reader)
    old = sum(_size(path) for path in vector_files.old_files(folder, row))
    old += sum(_size(path) for path in salvage.old_files(catalog.path))
    removed = sum(_bytes(entry) for entry in old_removals(folder))
    return free + old + removed + _size(catalog.path.with_name(f"{CATALOG_FILE}-wal"))


def _unused_vectors(reader: Reader) -> int:
    """The bytes of vectors that no passage uses, those of queries aside."""
    if reader.count_pending():
        return 0
    ((count,),) = reader.connection.execute(
        f"SELECT IFNULL(SUM(LENGTH(value)), 0) FROM vectors WHERE {UNUSED}"
    )
    return int(count)


def _live_bytes(connection: sqlite3.Connection) -> int:
    """The bytes of the pages that hold something."""
    total, free = _page_facts(connection)
    return total - free


def _page_facts(connection: sqlite3.Connection) -> tuple[int, int]:
    """The bytes of all pages, and of the free ones."""
    ((pages, free, size),) = connection.execute(
        """SELECT page_count, freelist_count, page_size
        FROM pragma_page_count, pragma_freelist_count, pragma_page_size"""
    )
    return int(pages) * int(size), int(free) * int(size)


def _bytes(folder: Path) -> int:
    """The bytes of all files in a folder and below, but for memory that processes share."""
    return sum(
        _size(Path(current, name))
        for current, _, names in os.walk(folder)
        for name in names
        if name != f"{CATALOG_FILE}-shm"
    )


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


__all__ = ["Compaction", "compact"]
