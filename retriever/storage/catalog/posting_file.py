"""The posting file: the postings of common terms and the lengths of all chunks, as small arrays.

FTS5 gives a term's postings a row at a time, which takes hundreds of milliseconds for a term in a
hundred thousand chunks. The file holds those of the terms in at least `MIN_DOCUMENTS` chunks as
they were at one generation. Chunks added later are read from FTS5, and those removed are left out.

The file lies beside a vector file and is valid only with it. It is made of the catalog and can be
deleted at any time. Each entry has a checksum: a damaged or foreign file is not used.

    entry …  directory (JSON)  trailer: directory's offset, size and checksum, MAGIC
"""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from retriever.arrays import Keys
from retriever.files.durable import publish
from retriever.files.private import open_private
from retriever.text.words import STOP

MIN_DOCUMENTS = 1_000
"""A term in fewer chunks is quick to read from FTS5."""

MIN_COUNTED = 100
"""A term in fewer chunks is quick to count in FTS5; a search counts a hundred terms."""

LENGTHS = ""
"""The name of the entry that holds the number of terms of every chunk; no term is empty."""

DOCUMENTS = " "
"""The name of the entry that holds the key of every chunk's document."""

_MAGIC = b"wvaposts"
_TRAILER = struct.Struct("<QQI8s")
_BLOCK = 8192
_BLOATED = (MemoryError, RecursionError)  # in a file that somebody has prepared
_WIDTHS = (1, 2, 4, 8)  # bytes of an unsigned integer


@dataclass(frozen=True, slots=True)
class Facts:
    """What the postings are of.

    `index`: identity and analyser, `vector_file`: the SHA-256 of the vector file beside it.
    It covers chunks up to `last_key` except those of removals up to `last_removal`: `chunks` with
    `terms` in all.
    """

    index: tuple[str, ...]
    vector_file: str
    last_key: int
    last_removal: int
    chunks: int
    terms: int


@dataclass(frozen=True, slots=True)
class _Entry:
    offset: int
    size: int
    checksum: int
    count: int
    first: int
    gap_width: int
    value_width: int


@dataclass(frozen=True, slots=True)
class PostingFile:
    """A posting file that is readable and of the right index."""

    path: Path
    facts: Facts
    entries: dict[str, list[int]] = field(repr=False)
    counts: dict[str, int] = field(repr=False)

    @classmethod
    def open(cls, path: Path, index: tuple[str, ...], vector_file: str) -> PostingFile | None:
        """The file; None if it is missing, damaged or of another state."""
        try:
            with path.open("rb") as file:
                end = file.seek(-_TRAILER.size, os.SEEK_END)
                offset, size, checksum, magic = _TRAILER.unpack(file.read(_TRAILER.size))
                if magic != _MAGIC or offset + size != end:
                    return None
                file.seek(offset)
                directory = file.read(size)
            if zlib.crc32(directory) != checksum:
                return None
            found = json.loads(directory)
            facts = Facts(**{**found["facts"], "index": tuple(found["facts"]["index"])})
            _check(found, facts)
        except (OSError, ValueError, struct.error, KeyError, TypeError, *_BLOATED):
            return None
        if (facts.index, facts.vector_file) != (index, vector_file):
            return None
        return cls(path, facts, found["entries"], found["counts"])

    def count(self, term: str) -> int | None:
        """The number of chunks with the term then; None if the file does not say it."""
        return self.counts.get(term)

    def has_postings(self, term: str) -> bool:
        """Whether the file holds the term's postings."""
        return term in self.entries

    def postings(self, term: str) -> tuple[Keys, Keys] | None:
        """The keys (m,), ascending, and values (m,) of a term; None if they cannot be read."""
        known = self.entries.get(term)
        if known is None:
            return None
        entry = _Entry(*known)
        try:
            with self.path.open("rb") as file:
                file.seek(entry.offset)
                data = file.read(entry.size)
        except (OSError, ValueError, OverflowError, *_BLOATED):
            return None
        if len(data) != entry.size or zlib.crc32(data) != entry.checksum:
            return None
        border = entry.gap_width * entry.count
        keys = np.cumsum(np.frombuffer(data[:border], f"<u{entry.gap_width}"), dtype=np.int64)
        keys += entry.first
        values = np.frombuffer(data[border:], f"<u{entry.value_width}").astype(np.int64)
        if not len(keys) == len(values) == entry.count or np.any(np.diff(keys) <= 0):
            return None
        return keys, values


def _check(found: Mapping[str, Any], facts: Facts) -> None:
    """Raise TypeError or ValueError unless a directory has the form of one."""
    numbers = [facts.last_key, facts.last_removal, facts.chunks, facts.terms]
    numbers += found["counts"].values()
    for entry in found["entries"].values():
        known = _Entry(*entry)
        if known.gap_width not in _WIDTHS or known.value_width not in _WIDTHS:
            raise ValueError
        numbers += entry
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise TypeError


def write(
    path: Path, connection: sqlite3.Connection, index: tuple[str, ...], vector_file: str
) -> None:
    """Write the file of a transaction's state, under another name first."""
    entries: dict[str, list[int]] = {}
    counts = dict(
        connection.execute("SELECT term, doc FROM vocabulary WHERE doc >= ?", (MIN_COUNTED,))
    )
    temporary = path.with_name(path.name + ".tmp")
    with open_private(temporary) as file:
        offset = total = 0
        for name, keys, values in _all_postings(connection, counts):
            data, entry = _encoded(keys, values, offset)
            entries[name] = entry
            file.write(data)
            offset += len(data)
            if name == LENGTHS:
                total = int(values.sum())
        facts = Facts(
            *(index, vector_file),
            last_key=_value(connection, "SELECT IFNULL(MAX(key), 0) FROM chunks"),
            last_removal=_value(connection, "SELECT IFNULL(MAX(number), 0) FROM removed"),
            chunks=entries[LENGTHS][3],
            terms=total,
        )
        found = {"facts": asdict(facts), "entries": entries, "counts": counts}
        directory = json.dumps(found).encode()
        file.write(directory)
        file.write(_TRAILER.pack(offset, len(directory), zlib.crc32(directory), _MAGIC))
        publish(file, temporary, path)


def _all_postings(
    connection: sqlite3.Connection, counts: Mapping[str, int]
) -> Iterator[tuple[str, Keys, Keys]]:
    """Names, keys and values: what every chunk has, then the common terms but stop words."""
    yield LENGTHS, *read_lengths(connection, 0)
    yield DOCUMENTS, *read_documents(connection, 0)
    for term, count in counts.items():
        if count >= MIN_DOCUMENTS and not term.endswith(STOP):
            yield term, *read_postings(connection, term)


def read_lengths(connection: sqlite3.Connection, key: int) -> tuple[Keys, Keys]:
    """The keys (m,), ascending, and numbers of terms (m,) of the chunks after a key."""
    sql = "SELECT chunk, terms FROM lengths WHERE chunk > ? ORDER BY chunk"
    return _pairs(connection.execute(sql, (key,)))


def read_documents(connection: sqlite3.Connection, key: int) -> tuple[Keys, Keys]:
    """The keys (m,), ascending, and documents' keys (m,) of the chunks after a key."""
    sql = "SELECT key, document FROM chunks WHERE key > ? ORDER BY key"
    return _pairs(connection.execute(sql, (key,)))


def _pairs(cursor: sqlite3.Cursor) -> tuple[Keys, Keys]:
    """The rows of two integers, as two arrays."""
    ones, others = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    while rows := cursor.fetchmany(_BLOCK):
        one, other = np.array(rows, np.int64).T
        ones.append(one)
        others.append(other)
    return np.concatenate(ones), np.concatenate(others)


def read_postings(connection: sqlite3.Connection, term: str) -> tuple[Keys, Keys]:
    """The chunks with a term, from FTS5: keys (m,) ascending, and how often each has it (m,)."""
    joined = connection.execute(
        "SELECT group_concat(doc, ' ') FROM temp.occurrences WHERE term = ?", (term,)
    ).fetchone()[0]
    if joined is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    # FTS5 gives a term's occurrences in the order of the chunks.
    occurrences = np.fromstring(joined, np.int64, sep=" ")
    starts = np.flatnonzero(np.diff(occurrences, prepend=-1))
    return occurrences[starts], np.diff(starts, append=len(occurrences))


def _encoded(keys: Keys, values: Keys, offset: int) -> tuple[bytes, list[int]]:
    first = int(keys[0]) if len(keys) else 0
    gaps = np.diff(keys, prepend=first)
    gap_width, value_width = _width(gaps), _width(values)
    data = gaps.astype(f"<u{gap_width}").tobytes() + values.astype(f"<u{value_width}").tobytes()
    return data, [
        *(offset, len(data), zlib.crc32(data), len(keys)),
        *(first, gap_width, value_width),
    ]


def _width(values: Keys) -> int:
    """The bytes that the largest of the values needs."""
    largest = int(values.max(initial=0))
    return next(width for width in _WIDTHS if largest < 256**width)


def _value(connection: sqlite3.Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])


__all__ = [
    "DOCUMENTS",
    "LENGTHS",
    "MIN_COUNTED",
    "MIN_DOCUMENTS",
    "Facts",
    "PostingFile",
    "read_documents",
    "read_lengths",
    "read_postings",
    "write",
]
