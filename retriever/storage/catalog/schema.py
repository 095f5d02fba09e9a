"""The schema of the catalog, and the encoding of Python values in it.

Texts are BLOBs of UTF-8 with surrogates allowed: pages may contain NUL characters and file names
lone surrogates, and both are restored exactly. Byte order is code point order. Integer keys join
the tables. A chunk's key is never reused, so that it can identify a vector in vector files.

The format has a number. What an older program can ignore (a table, a column with a default) needs
no new one: see `ADDED`. What it would get wrong needs a `Migration`. A program opens all formats
before its own, and refuses newer ones.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from retriever.arrays import Vectors
from retriever.storage.catalog import forms
from retriever.storage.filters import comparable, kind_of
from retriever.types import Scalar, UsageError
from retriever.version import __version__

APPLICATION_ID = 0x57564131  # "WVA1": distinguishes an index from other SQLite databases
VERSION = 3
HALF_MADE = 4
"""The format's number while a chunk has no vector: version 0.1.0, which would fail amid a search,
then says that the index needs a newer one."""
ADAPTED = 5
"""The format's number while the index has an adapter: a program that does not know it would compare
other vectors, and answer wrongly without saying so. The next format is 6."""

ADAPTER = "adapter"
"""The name of the meta value with the adapter: see `retriever.storage.adapter`."""

PAGE_SIZE = 32768
"""Bytes. With SQLite's default of 4096 a vector of 576 floats takes 1.8 times its size."""

UNREAD = """CREATE TABLE unread (
    root BLOB NOT NULL, path BLOB NOT NULL, status TEXT NOT NULL, reason BLOB NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, settings BLOB NOT NULL,
    PRIMARY KEY (root, path)) WITHOUT ROWID"""
"""Files that gave no document, so that a report of all files needs no new scan."""

LONG_WORDS = """CREATE TABLE long_words (
    language TEXT NOT NULL, reversed TEXT NOT NULL, PRIMARY KEY (language, reversed))
    WITHOUT ROWID"""
"""Stems that may be compounds, reversed, so that a prefix search finds common endings."""

ACCOUNTS = (
    """CREATE TABLE IF NOT EXISTS accounts (
        document INTEGER PRIMARY KEY, account TEXT NOT NULL, left_out BLOB NOT NULL)""",
    # Version 0.1.0 does not know the table, and the keys of deleted documents are used again.
    """CREATE TRIGGER IF NOT EXISTS accounts_deleted AFTER DELETE ON documents
        BEGIN DELETE FROM accounts WHERE document = OLD.key; END""",
)
"""Where the words of each document are, and the text it leaves out.

The first write adds the table to an index without it, as it does `ADDED`.
"""

ATTACHED = """CREATE TABLE IF NOT EXISTS attached (
    number INTEGER PRIMARY KEY AUTOINCREMENT, chunk INTEGER NOT NULL)"""
"""The chunks that got their vector after their row was written, since the last vector file.

A chunk without a vector has the number 0 in `chunks.vector`. The first write adds the table to an
index without it.
"""

# Terms are analysed already; the ascii tokenizer only splits at the spaces between them.
FULLTEXT = "CREATE VIRTUAL TABLE fulltext USING fts5 (terms, tokenize = 'ascii')"
VOCABULARY = "CREATE VIRTUAL TABLE vocabulary USING fts5vocab (fulltext, 'row')"

LENGTHS = (
    "CREATE TABLE lengths (chunk INTEGER PRIMARY KEY, terms INTEGER NOT NULL)",
    """CREATE TRIGGER chunk_length AFTER DELETE ON chunks BEGIN
        DELETE FROM lengths WHERE chunk = OLD.key; END""",
)
"""The number of terms of each chunk without stop words, by which BM25 normalises.

FTS5 counts stop words, too. The trigger serves writers of version 0.1.0, who do not know the table.
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """What brings an index to the next format, in one transaction.

    `readable_before` tells whether programs of the format before still read the index afterwards;
    otherwise the user is told first.
    """

    what: str
    statements: tuple[str, ...]
    readable_before: bool = False


MIGRATIONS = {
    1: Migration(
        "labels of pages; files that gave no document",
        ("ALTER TABLE pages ADD COLUMN label BLOB NOT NULL DEFAULT x''", UNREAD),
    ),
    2: Migration(
        "languages of passages; words that may be compounds",
        (
            "ALTER TABLE chunks ADD COLUMN language TEXT NOT NULL DEFAULT ''",
            "CREATE INDEX chunks_language ON chunks (language)",
            LONG_WORDS,
        ),
    ),
}
"""Format → what brings it to the next one. Formats 1 and 2 are those of programs before 0.1.0."""

PROGRAM = "program"
"""The name of the meta value with the version of the program that numbered the format last."""

ADDED = {
    "scan": "TEXT NOT NULL DEFAULT ''",
    "body_start": "INTEGER",
    "body_stop": "INTEGER",
    "printed": "BLOB NOT NULL DEFAULT x''",
}
"""Columns of `pages`, with types, that the first write adds to an index without them.

The format stays the same: an older index opens without them, even read-only, and version 0.1.0
can read and write an index with them.
"""

STATEMENTS = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE documents (
        key INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, source BLOB NOT NULL,
        root BLOB NOT NULL, path BLOB NOT NULL, format BLOB NOT NULL, title BLOB NOT NULL,
        author BLOB NOT NULL, date BLOB NOT NULL, sha256 BLOB NOT NULL, size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL, settings BLOB NOT NULL, metadata TEXT NOT NULL,
        pages INTEGER NOT NULL, page_states TEXT NOT NULL, chunks INTEGER NOT NULL)""",
    "CREATE INDEX documents_place ON documents (source, path)",
    """CREATE TABLE metadata (
        document INTEGER NOT NULL, name BLOB NOT NULL, kind TEXT NOT NULL, value,
        PRIMARY KEY (document, name)) WITHOUT ROWID""",
    """CREATE TABLE pages (
        document INTEGER NOT NULL, position INTEGER NOT NULL, number INTEGER,
        label BLOB NOT NULL, state TEXT NOT NULL, reason BLOB NOT NULL, text BLOB NOT NULL,
        scan TEXT NOT NULL DEFAULT '', body_start INTEGER, body_stop INTEGER,
        printed BLOB NOT NULL DEFAULT x'', UNIQUE (document, position))""",
    """CREATE TABLE chunks (
        key INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE,
        document INTEGER NOT NULL, position INTEGER NOT NULL, page INTEGER,
        start INTEGER NOT NULL, stop INTEGER NOT NULL, text BLOB NOT NULL,
        vector INTEGER NOT NULL, language TEXT NOT NULL DEFAULT '')""",
    "CREATE INDEX chunks_document ON chunks (document)",
    "CREATE INDEX chunks_vector ON chunks (vector)",
    "CREATE INDEX chunks_language ON chunks (language)",
    """CREATE TABLE vectors (
        number INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE,
        value BLOB NOT NULL)""",
    FULLTEXT,
    VOCABULARY,
    *LENGTHS,
    LONG_WORDS,
    """CREATE TABLE removed (
        number INTEGER PRIMARY KEY AUTOINCREMENT, chunk INTEGER NOT NULL)""",
    """CREATE TABLE snapshots (
        generation INTEGER PRIMARY KEY, file TEXT NOT NULL, bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL, kind TEXT NOT NULL, vectors INTEGER NOT NULL,
        last_key INTEGER NOT NULL)""",
    UNREAD,
    *ACCOUNTS,
    ATTACHED,
    """CREATE TABLE calibration (
        number INTEGER PRIMARY KEY AUTOINCREMENT, passage_mean BLOB NOT NULL,
        query_mean BLOB NOT NULL, facts TEXT NOT NULL)""",
)


def create(connection: sqlite3.Connection, identity: str) -> None:
    """Create the tables; call it in a transaction."""
    for statement in STATEMENTS:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    meta = {"identity": identity, "generation": 0, PROGRAM: __version__}
    rows = [(name, json.dumps(value)) for name, value in meta.items()]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)


def upgrade(connection: sqlite3.Connection) -> None:
    """Upgrade tables of an older format; call it in a transaction."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for older in range(version, VERSION):
        for statement in MIGRATIONS[older].statements:
            connection.execute(statement)
    number_format(connection)


def told_before(version: int) -> str:
    """What a user is told before an index of an older format is migrated; empty for nothing."""
    steps = [MIGRATIONS[older] for older in range(version, VERSION)]
    if all(step.readable_before for step in steps):
        return ""
    return (
        f"is brought from format {version} to {VERSION}, which earlier versions of wva-retriever "
        "cannot read; a copy of its folder from before is the only way back"
    )


def refusal(connection: sqlite3.Connection, analyzer: int) -> str:
    """Why this program must not open an index of its own; empty if it may.

    A newer format is not understood. Terms of a newer `analyzer` would be made anew, by the older
    one, whenever this program and the newer one take turns.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > ADAPTED:
        return (
            f"has format {version}, this version ({__version__}) reads formats 1 to {ADAPTED}: "
            f"install {_newer(connection)}"
        )
    known = _meta(connection, "analyser")
    if isinstance(known, int) and known > analyzer:
        return (
            f"has terms of analyzer {known}, this version ({__version__}) makes those of "
            f"{analyzer}: install {_newer(connection)}"
        )
    return ""


def _newer(connection: sqlite3.Connection) -> str:
    """The version to install: the one that the index names, if it does."""
    program = _meta(connection, PROGRAM)
    known = isinstance(program, str) and re.fullmatch(r"[\w.+-]{1,40}", program)
    named = known and program != __version__
    return f"wva-retriever {program} or newer" if named else "the newest wva-retriever"


def _meta(connection: sqlite3.Connection, name: str) -> Any:
    """A meta value; None where there is none, or no such table."""
    try:
        row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else forms.setting(name, row[0])
    except (sqlite3.Error, *forms.UNDECODED):
        return None


def format_number(connection: sqlite3.Connection) -> int:
    """The number that the format should have, by what the index holds."""
    (adapted,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM meta WHERE name = ?)", (ADAPTER,)
    ).fetchone()
    if adapted:
        return ADAPTED
    (waiting,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM chunks WHERE vector = 0)"
    ).fetchone()
    return HALF_MADE if waiting else VERSION


def number_format(connection: sqlite3.Connection) -> None:
    """Number the format by what the index holds; call it at the end of a transaction."""
    number = format_number(connection)
    if connection.execute("PRAGMA user_version").fetchone()[0] != number:
        connection.execute(f"PRAGMA user_version = {number}")
        row = (PROGRAM, json.dumps(__version__))
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", row)


def added_columns(connection: sqlite3.Connection) -> set[str]:
    """The subset of the columns `ADDED` that this index has."""
    return {row[1] for row in connection.execute("PRAGMA table_info (pages)")} & ADDED.keys()


def add_columns(connection: sqlite3.Connection) -> None:
    """Add the missing columns of `ADDED`; call it in a transaction."""
    known = added_columns(connection)
    for name, kind in ADDED.items():
        if name not in known:
            connection.execute(f"ALTER TABLE pages ADD COLUMN {name} {kind}")


def add_accounts(connection: sqlite3.Connection) -> None:
    """Add the missing tables of `ACCOUNTS`; call it in a transaction."""
    for statement in ACCOUNTS:
        connection.execute(statement)


def add_attached(connection: sqlite3.Connection) -> None:
    """Add the table `ATTACHED` if it is missing; call it in a transaction."""
    connection.execute(ATTACHED)


def has_attached(connection: sqlite3.Connection) -> bool:
    """Whether this index has the table `ATTACHED`."""
    return bool(connection.execute("PRAGMA table_info (attached)").fetchone())


def has_accounts(connection: sqlite3.Connection) -> bool:
    """Whether this index has the tables of `ACCOUNTS`."""
    return bool(connection.execute("PRAGMA table_info (accounts)").fetchone())


def blob(text: str) -> bytes:
    r"""The stored form of a text: UTF-8 bytes.

    >>> unblob(blob("a\0\ud800é")) == "a\0\ud800é"
    True
    """
    return text.encode("utf-8", "surrogatepass")


def unblob(stored: bytes) -> str:
    """The inverse of `blob`."""
    return stored.decode("utf-8", "surrogatepass")


def vector_blob(vector: Vectors) -> bytes:
    """A vector (dim,) as little-endian float32."""
    return vector.astype("<f4").tobytes()


def stack(blobs: list[bytes], dimension: int) -> Vectors:
    """Stored vectors as one array (n, dim)."""
    flat = np.frombuffer(b"".join(blobs), dtype="<f4").astype(np.float32)
    return flat.reshape(len(blobs), dimension)


def metadata_rows(metadata: Mapping[str, Scalar]) -> list[tuple[bytes, str, Any]]:
    """The rows (name, kind, value) of all metadata values that a filter can match."""
    rows: list[tuple[bytes, str, Any]] = []
    for name, value in metadata.items():
        kind = kind_of(value)
        if kind is None and not isinstance(value, float):
            raise UsageError(
                f"metadata {name!r} is {value!r}; a value is a text, a number, or true or false"
            )
        if kind is not None:
            rows.append((blob(name), kind, operand(value)))
    return rows


def operand(value: Scalar) -> bytes | int | float:
    """A value as it is stored in a column, and compared with one as a parameter."""
    reduced = comparable(value)
    return blob(reduced) if isinstance(reduced, str) else reduced


__all__ = [
    "ACCOUNTS",
    "ADAPTED",
    "ADAPTER",
    "ADDED",
    "APPLICATION_ID",
    "ATTACHED",
    "FULLTEXT",
    "LENGTHS",
    "MIGRATIONS",
    "PAGE_SIZE",
    "PROGRAM",
    "VERSION",
    "VOCABULARY",
    "Migration",
    "add_accounts",
    "add_attached",
    "add_columns",
    "added_columns",
    "blob",
    "create",
    "format_number",
    "has_accounts",
    "has_attached",
    "metadata_rows",
    "operand",
    "refusal",
    "stack",
    "told_before",
    "unblob",
    "upgrade",
    "vector_blob",
]
