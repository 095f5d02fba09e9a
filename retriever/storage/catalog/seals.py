"""Seals: a hash of every stored row, so that a row that has changed by itself is noticed.

SQLite has no checksums: a flipped bit in a text or a path is served as truth. A seal lies in a
table of its own, which version 0.1.0 ignores. Triggers clear the seal of a row that is written, so
that no writer of any version leaves a stale one, and a transaction of this version seals what is
clear before it commits. A flipped bit runs no trigger: the row then disagrees with its seal.

A row without a seal was written by version 0.1.0. Before it is sealed it is checked by what can be
derived: a passage's id from its text, the length of a vector.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from retriever.settings import FOREIGN_POOLING
from retriever.storage.catalog.schema import unblob
from retriever.types import Span, chunk_id

TABLE = (
    """CREATE TABLE IF NOT EXISTS seals (
        kind INTEGER NOT NULL, key NOT NULL, hash, PRIMARY KEY (kind, key)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS seals_clear ON seals (kind, key) WHERE hash IS NULL",
)
"""By kind and key of a row: its hash, NULL while the row is not sealed.

The first write adds the table to an index without it.
"""

BACKLOG = 20_000
"""Rows of an older index that one transaction seals; the next ones seal the others."""

BROKEN = "damaged"
"""In the place of a hash: the row was damaged already before it could be sealed."""

POSITION_BITS = 24  # of the key of a page: its document's key, and its position
_POSITIONS = (1 << POSITION_BITS) - 1

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """Sealed rows: the table, the SQL of a row's key (of `{row}`), and the sealed columns.

    A plus before a column takes its type affinity away: SQLite would not look a key with one up in
    `seals`, whose keys have none, but read all seals of the kind.

    `where` finds a row by its key, with the parameters `places(key)`.
    """

    number: int
    table: str
    key: str
    where: str
    columns: tuple[str, ...]

    def select(self, alias: str) -> str:
        """The sealed columns of a table's alias, for a query."""
        return ", ".join(f"{alias}.{column}" for column in self.columns)

    def join(self, alias: str, name: str) -> str:
        """SQL that joins the seals of a table's rows under a name."""
        key = self.key.format(row=alias)
        return f"LEFT JOIN seals {name} ON {name}.kind = {self.number} AND {name}.key = {key}"


_PAGE_KEY = "({row}.document << 24 | {row}.position)"
_PAGE_WHERE = "document = ? AND position = ?"

DOCUMENT = Kind(
    *(1, "documents", "+{row}.key", "key = ?"),
    (
        *("key", "id", "source", "root", "path", "format", "title", "author", "date", "sha256"),
        *("size", "mtime_ns", "settings", "metadata", "pages", "page_states", "chunks"),
    ),
)
PAGE = Kind(
    *(2, "pages", _PAGE_KEY, _PAGE_WHERE),
    (
        *("document", "position", "number", "label", "state", "reason", "scan"),
        *("body_start", "body_stop", "printed"),
    ),
)
TEXT = Kind(3, "pages", _PAGE_KEY, _PAGE_WHERE, ("document", "position", "text"))
# The id of a chunk is a hash of its text, which is therefore not sealed twice.
CHUNK = Kind(
    *(4, "chunks", "+{row}.key", "key = ?"),
    ("key", "id", "document", "position", "page", "start", "stop", "vector", "language"),
)
VECTOR = Kind(5, "vectors", "+{row}.number", "number = ?", ("number", "key", "value"))
ACCOUNT = Kind(
    6, "accounts", "+{row}.document", "document = ?", ("document", "account", "left_out")
)
META = Kind(7, "meta", "+{row}.name", "name = ?", ("name", "value"))
CALIBRATION = Kind(
    *(8, "calibration", "+{row}.number", "number = ?"),
    ("number", "passage_mean", "query_mean", "facts"),
)
SNAPSHOT = Kind(
    *(9, "snapshots", "+{row}.generation", "generation = ?"),
    ("generation", "file", "bytes", "sha256", "kind", "vectors", "last_key"),
)
UNREAD = Kind(
    *(10, "unread", "hex({row}.root) || ' ' || hex({row}.path)", "root = ? AND path = ?"),
    ("root", "path", "status", "reason", "size", "mtime_ns", "settings"),
)
INDEXED = Kind(
    *(11, "indexed_keys", "hex({row}.namespace) || ' ' || hex({row}.key)"),
    "namespace = ? AND key = ?",
    ("namespace", "key", "grouping", "seen"),
)
LONG_WORD = Kind(
    *(12, "long_words", "{row}.language || ' ' || hex({row}.reversed)"),
    "language = ? AND reversed = ?",
    ("language", "reversed"),
)
SCHEMA = 13
"""The number of the seals of the schema itself, by its version."""

KINDS = (
    *(DOCUMENT, PAGE, TEXT, CHUNK, VECTOR, ACCOUNT, META, CALIBRATION, SNAPSHOT, UNREAD),
    *(INDEXED, LONG_WORD),
)


def has_seals(connection: sqlite3.Connection) -> bool:
    """Whether this index has the table of seals."""
    return bool(connection.execute("PRAGMA table_info (seals)").fetchone())


def install(connection: sqlite3.Connection) -> None:
    """Add the table and the triggers that are missing; call it in a transaction.

    The rows of a table that gets its triggers now are noted as not sealed.
    """
    for statement in TABLE:
        connection.execute(statement)
    rows = connection.execute("SELECT type, name FROM sqlite_master").fetchall()
    for kind in KINDS:
        if ("table", kind.table) in rows and ("trigger", f"seal_{kind.number}_added") not in rows:
            _install(connection, kind)


def triggers(kind: Kind) -> tuple[str, ...]:
    """The statements that create the triggers of a kind."""
    new, old = kind.key.format(row="NEW"), kind.key.format(row="OLD")
    clear = f"DELETE FROM seals WHERE kind = {kind.number} AND key = "
    note = f"INSERT INTO seals VALUES ({kind.number}, {new}, NULL)"
    name = f"CREATE TRIGGER IF NOT EXISTS seal_{kind.number}"
    return (
        f"{name}_added AFTER INSERT ON {kind.table} BEGIN {clear}{new}; {note}; END",
        f"""{name}_changed AFTER UPDATE OF {", ".join(kind.columns)} ON {kind.table}
            BEGIN {clear}{old}; {clear}{new}; {note}; END""",
        f"{name}_deleted AFTER DELETE ON {kind.table} BEGIN {clear}{old}; END",
    )


def _install(connection: sqlite3.Connection, kind: Kind) -> None:
    for statement in triggers(kind):
        connection.execute(statement)
    connection.execute(
        f"INSERT OR IGNORE INTO seals SELECT {kind.number}, {kind.key.format(row='r')}, NULL "
        f"FROM {kind.table} r"
    )


def seal(connection: sqlite3.Connection, most: int = BACKLOG) -> int:
    """Seal rows that are not, at most so many; returns their number. Call it in a transaction."""
    clear = connection.execute(
        "SELECT kind, key FROM seals WHERE hash IS NULL ORDER BY kind, key LIMIT ?", (most,)
    ).fetchall()
    by_number = {kind.number: kind for kind in KINDS}
    for number, rows in groupby(clear, lambda row: row[0]):
        kind = by_number[number]
        connection.executemany(
            f"UPDATE seals SET hash = ? WHERE kind = {number} AND key = ?",
            [(_sealed(connection, kind, key), key) for _, key in rows],
        )
    version, stored, current = schema_seal(connection)
    if stored is None:
        connection.execute("DELETE FROM seals WHERE kind = ?", (SCHEMA,))
        connection.execute("INSERT INTO seals VALUES (?, ?, ?)", (SCHEMA, version, current))
    return len(clear)


def schema_seal(connection: sqlite3.Connection) -> tuple[int, object, int]:
    """The schema's version, its seal (None without one of this version), and its hash."""
    (version,) = connection.execute("PRAGMA schema_version").fetchone()
    row = connection.execute(
        "SELECT hash FROM seals WHERE kind = ? AND key = ?", (SCHEMA, version)
    ).fetchone()
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2")
    current = digest([value for one in rows for value in one])
    return version, row[0] if row else None, current


def _sealed(connection: sqlite3.Connection, kind: Kind, key: Any) -> int | str | None:
    """What is stored as a row's hash."""
    row = row_of(connection, kind, key)
    if row is None:  # it is gone: only a damaged table has such a seal
        return BROKEN
    return digest(row) if is_plausible(connection, kind, row) else BROKEN


def row_of(connection: sqlite3.Connection, kind: Kind, key: Any) -> Row | None:
    """The sealed columns of the row with this key; None without one."""
    row: Row | None = connection.execute(
        f"SELECT {', '.join(kind.columns)} FROM {kind.table} WHERE {kind.where}",
        places(kind, key),
    ).fetchone()
    return row


def places(kind: Kind, key: Any) -> tuple[Any, ...]:
    """The parameters of `kind.where` for the key of a seal."""
    if kind.table == "pages":
        return key >> POSITION_BITS, key & _POSITIONS
    if kind is LONG_WORD:
        language, _, word = str(key).partition(" ")
        return language, bytes.fromhex(word).decode("utf-8", "surrogatepass")
    if kind in (UNREAD, INDEXED):
        return tuple(bytes.fromhex(part) for part in str(key).split(" "))
    return (key,)


def digest(values: Row) -> int:
    """The hash of a row, which differs for values of different types: 64 bits of SHA-256."""
    return int.from_bytes(hashlib.sha256(packed(values)).digest()[:8], "big", signed=True)


def packed(values: Row) -> bytes:
    """The values of a row as bytes, different for different values."""
    parts: list[bytes] = []
    for value in values:
        if type(value) is bytes:
            parts.append(b"b%d:" % len(value))
            parts.append(value)
        elif type(value) is int:
            parts.append(b"i%d;" % value)
        elif value is None:
            parts.append(b"n;")
        elif type(value) is str:
            encoded = value.encode("utf-8", "surrogatepass")
            parts.append(b"s%d:" % len(encoded))
            parts.append(encoded)
        else:
            parts.append(b"f" + struct.pack("<d", value))
    return b"".join(parts)


def is_whole(values: Row, stored: object) -> bool:
    """Whether a row agrees with its seal; a row without one does."""
    return stored is None or digest(values) == stored


def is_plausible(connection: sqlite3.Connection, kind: Kind, row: Row) -> bool:
    """Whether a row that is not sealed agrees with what can be derived of it."""
    try:
        if kind is CHUNK:
            return _is_chunk(connection, row)
        if kind is VECTOR:
            return is_unit(row[2], is_foreign(connection))
    except (AttributeError, TypeError, ValueError):
        return False
    return True


def _is_chunk(connection: sqlite3.Connection, row: Row) -> bool:
    key, id_, _, _, page, start, stop, *_ = row
    found = connection.execute(
        """SELECT c.text, d.id, p.label FROM chunks c JOIN documents d ON d.key = c.document
        JOIN pages p ON p.document = c.document AND p.position = c.position WHERE c.key = ?""",
        (key,),
    ).fetchone()
    if found is None:
        return False
    text, owner, label = map(unblob, found)
    return unblob(id_) == chunk_id(owner, page, Span(start, stop), text, label)


def is_foreign(connection: sqlite3.Connection) -> bool:
    """Whether the vectors are a caller's, of any length, or of a model that is not known yet."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'embedder'").fetchone()
    return row is None or json.loads(row[0])["pooling"] == FOREIGN_POOLING


def is_unit(stored: bytes, foreign: bool) -> bool:
    """Whether a stored vector has finite numbers, and the length 1, or 0 for a text without words.

    A caller's vectors (`foreign`) may have any length.
    """
    vector = np.frombuffer(stored, "<f4").astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        length = float(np.linalg.norm(vector))
    if not np.isfinite(length):
        return False
    return foreign or length == 0 or abs(length - 1) < 0.02


__all__ = [
    "BACKLOG",
    "BROKEN",
    "KINDS",
    "Kind",
    "digest",
    "has_seals",
    "install",
    "is_foreign",
    "is_plausible",
    "is_unit",
    "is_whole",
    "packed",
    "places",
    "row_of",
    "seal",
    "triggers",
]
