"""A catalog whose file is torn: the rows that can still be read are copied into a new one.

The new file gets its name when it is complete and synced. The old one is kept beside it: a copy,
which gets its name after that. What is derived of rows is not copied, and seals are: rows that are
not what they were are found by them.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from retriever.files.private import open_private
from retriever.storage.catalog import fulltext, indexed_keys, schema, seals

SUFFIX = ".salvaged"
"""The ending of a new file until it is complete. While it is there, the catalog is the old one."""

OLD = ".salvaged-old"
"""The ending of the copy of the old file, until the new one is in its place."""

_LOGS = ("-wal", "-shm", "-journal")

_HEAD = (
    *((0, b"SQLite format 3\0"), (16, b"\x80\x00\x02\x02\x00\x40\x20\x20"), (44, b"\0\0\0\x04")),
    *((56, b"\0\0\0\x01"), (68, schema.APPLICATION_ID.to_bytes(4, "big"))),
)
"""What the head of every catalog holds, by its place."""

_NOT_COPIED = {"fulltext", "vocabulary", "lengths"}
_ALWAYS = {"meta", "documents", "metadata", "pages", "chunks", "vectors", "unread", "calibration"}
_MOST = 2**62


@dataclass(frozen=True, slots=True)
class Salvaged:
    """The file that holds the old catalog, and the tables of which a part could not be read."""

    aside: Path
    incomplete: tuple[str, ...] = ()


def salvage(catalog: Path) -> Salvaged:
    """Copy what can be read of a catalog into a new one, and put it in its place.

    Only the holder of the writer lock may call it.
    Raises sqlite3.Error if nothing can be read; then nothing is changed.
    """
    finish(catalog)
    new, aside = _named(catalog, SUFFIX), _named(catalog, OLD)
    open_private(new).close()
    _synced(catalog.parent)
    try:
        _copy_file(catalog, aside)
        if _named(catalog, "-wal").exists():
            _copy_file(_named(catalog, "-wal"), _named(aside, "-wal"))
        _mend_head(aside)
        with closing(_connect(aside)) as old, closing(_connect(new)) as made:
            incomplete = _copy(old, made)
    except BaseException:
        finish(catalog)
        raise
    _synced(new)
    _synced(aside)
    # The old log would be applied to the new file. Its changes are in the old one before it goes.
    _mend_head(catalog)
    with suppress(sqlite3.Error), closing(_connect(catalog)) as old:
        old.execute("PRAGMA wal_checkpoint (TRUNCATE)")
    for ending in ("-wal", "-shm"):
        _named(catalog, ending).unlink(missing_ok=True)
    new.replace(catalog)
    _synced(catalog.parent)
    return Salvaged(_keep(catalog), tuple(incomplete))


def finish(catalog: Path) -> None:
    """Complete or undo a salvage that was killed; only the holder of the writer lock calls it."""
    new, aside = _named(catalog, SUFFIX), _named(catalog, OLD)
    if new.exists():
        for path in (aside, new):
            for ending in (*_LOGS, ""):
                _named(path, ending).unlink(missing_ok=True)
    elif aside.exists():
        _keep(catalog)


def old_files(catalog: Path) -> list[Path]:
    """The files that hold what salvages have found, and what a killed one has left."""
    return sorted(
        path
        for ending in (".damaged-*", f"{SUFFIX}*")
        for path in catalog.parent.glob(f"{catalog.name}{ending}")
    )


def _keep(catalog: Path) -> Path:
    """Give the copy of the old file its name, which is returned."""
    aside, number = _named(catalog, OLD), 1
    while (path := _named(catalog, f".damaged-{number}")).exists():
        number += 1
    _named(aside, "-shm").unlink(missing_ok=True)
    if _named(aside, "-wal").exists():
        _named(aside, "-wal").replace(_named(path, "-wal"))
    aside.replace(path)
    _synced(catalog.parent)
    return path


def _named(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}{ending}")


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb") as file, open_private(target) as copy:
        shutil.copyfileobj(file, copy, 1 << 20)


def _synced(path: Path) -> None:
    with suppress(OSError):  # Windows opens no folder
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _mend_head(path: Path) -> None:
    """Write what the head of every catalog holds, and fill up the last page of one cut off."""
    with path.open("r+b") as file:
        for place, data in _HEAD:
            file.seek(place)
            file.write(data)
        size = file.seek(0, os.SEEK_END)
        file.truncate(-(-size // schema.PAGE_SIZE) * schema.PAGE_SIZE)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
    return connection


def _copy(old: sqlite3.Connection, new: sqlite3.Connection) -> list[str]:
    """Copy all tables; returns those of which a part, or all, could not be read."""
    old.execute("PRAGMA cell_size_check = ON")
    old.execute("PRAGMA writable_schema = ON")  # else a file that was cut off is not opened
    new.execute(f"PRAGMA page_size = {schema.PAGE_SIZE}")
    new.execute("PRAGMA journal_mode = DELETE")
    new.execute("BEGIN")
    schema.create(new, "")
    new.execute("DELETE FROM meta")
    for statement in seals.TABLE:
        new.execute(statement)
    known = [row[0] for row in old.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if "indexed_keys" in known:
        indexed_keys.add_table(new)
    tables = [row[0] for row in new.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    wanted = [
        table
        for table in tables
        if table.split("_")[0] not in _NOT_COPIED and table not in ("sqlite_sequence", "seals")
    ]
    there = [table for table in wanted if table in known]
    incomplete = [table for table in wanted if table in _ALWAYS.difference(known)]
    incomplete += [table for table in there if not _copy_table(old, new, table)]
    if "seals" in known:
        _copy_table(old, new, "seals")
    _keep_numbers(old, new)
    fulltext.rebuild(new)
    seals.install(new)
    schema.number_format(new)
    new.execute("COMMIT")
    new.execute("PRAGMA journal_mode = WAL")
    return incomplete


def _keep_numbers(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Let no key be used a second time."""
    with suppress(sqlite3.Error):
        for name, number in old.execute("SELECT name, seq FROM sqlite_sequence").fetchall():
            if isinstance(number, int):
                new.execute(
                    "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (number, name)
                )


def _copy_table(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> bool:
    """Copy the rows that can be read; whether that is all of them."""
    names = [row[1] for row in new.execute(f"PRAGMA table_info ({table})")]
    theirs = {row[1] for row in old.execute(f"PRAGMA table_info ({table})")}
    columns = [name for name in names if name in theirs]
    insert = (
        f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) "
        f"VALUES ({', '.join('?' * len(columns))})"
    )
    has_numbers = _has_rowid(new, table)
    rows = _by_number if has_numbers else _from_both_ends
    unread: list[sqlite3.DatabaseError] = []
    damaged = 0
    for row in rows(old, table, columns, unread):
        try:
            copied = new.execute(insert, row).rowcount
        except (sqlite3.IntegrityError, sqlite3.InterfaceError):
            copied = 0
        damaged += copied != 1
    # Without numbers, the rows between two damages come from both ends, and are copied once.
    return not unread and not (has_numbers and damaged)


def _has_rowid(connection: sqlite3.Connection, table: str) -> bool:
    (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return "WITHOUT ROWID" not in sql


def _by_number(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    unread: list[sqlite3.DatabaseError],
) -> Iterator[tuple[Any, ...]]:
    """The rows of a table, past the parts of it that cannot be read: `unread` says why."""
    last = -1
    while True:
        try:
            select = f"SELECT rowid, {', '.join(columns)} FROM {table} NOT INDEXED"
            for number, *row in connection.execute(
                f"{select} WHERE rowid > ? ORDER BY rowid", (last,)
            ):
                last = number
                yield tuple(row)
            return
        except sqlite3.DatabaseError as error:
            unread.append(error)
            following = _past(connection, table, last)
            if following is None:
                return
            last = following


def _past(connection: sqlite3.Connection, table: str, last: int) -> int | None:
    """A number larger than `last`, behind which rows can be read again; None if none can."""

    def readable(number: int) -> bool:
        try:
            select = f"SELECT * FROM {table} NOT INDEXED WHERE rowid > ? ORDER BY rowid LIMIT 1"
            return connection.execute(select, (number,)).fetchone() is not None
        except sqlite3.DatabaseError:
            return False

    step = 1
    while not readable(last + step):
        step *= 2
        if last + step > _MOST:
            return None
    low, high = last + step // 2, last + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if readable(middle) else (middle, high)
    return high


def _from_both_ends(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    unread: list[sqlite3.DatabaseError],
) -> Iterator[tuple[Any, ...]]:
    """The rows of a table without numbers, up to the damage from either side: see `unread`."""
    keys = [
        row[1] for row in connection.execute(f"PRAGMA table_info ({table})").fetchall() if row[5]
    ]
    for direction in ("", " DESC"):
        order = ", ".join(f"{name}{direction}" for name in keys)
        try:
            rows = connection.execute(
                f"SELECT {', '.join(columns)} FROM {table} NOT INDEXED ORDER BY {order}"
            )
            for row in rows:  # noqa: UP028 - as in `Reader._among`
                yield row
        except sqlite3.DatabaseError as error:
            unread.append(error)
        else:
            return


__all__ = ["OLD", "SUFFIX", "Salvaged", "finish", "old_files", "salvage"]
