"""BM25 scores of terms as arrays: the scores of FTS5's `bm25()`, many times faster.

FTS5 computes one score per row, and each row is a step of Python. Here SQLite gives a term's
postings as one text, the chunks' lengths are read once, and the formula runs over whole arrays
(k1 1.2, b 0.75, FTS5's lower bound of the idf). Unlike FTS5's, lengths are without stop words.
Those of common terms come from the posting file, if there is one (see `posting_file`). Results are
cached for one generation.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import log
from pathlib import Path

import numpy as np

from retriever.arrays import DoubleScores, Keys, Mask
from retriever.storage.catalog import posting_file
from retriever.storage.catalog.document_columns import DocumentColumns
from retriever.storage.catalog.foreign import is_vector_file
from retriever.storage.catalog.posting_file import (
    DOCUMENTS,
    LENGTHS,
    Facts,
    PostingFile,
    read_documents,
    read_lengths,
    read_postings,
)

OCCURRENCES = "CREATE VIRTUAL TABLE temp.occurrences USING fts5vocab (main, fulltext, instance)"
"""SQL that every connection runs: a virtual table with a row for each occurrence of a term."""

MAX_ROWS = 4_000_000
"""The size of the cache of scores, in postings: 64 MB."""

MAX_COUNTS = 200_000
"""The size of the cache of document frequencies, in terms."""

MAX_CHANGES = 0.05
"""The posting file is used while the chunks added and removed since are at most this share."""

_LOWEST_IDF = 1e-6  # FTS5's lower bound, for terms in more than half of the chunks


def idf(total: int, documents: int) -> float:
    """FTS5's inverse document frequency of a term in `documents` of `total` chunks."""
    return max(_LOWEST_IDF, log(max(0.5, total - documents + 0.5) / (documents + 0.5)))


def frequency_factors(times: Keys, lengths: Keys, average: float) -> DoubleScores:
    """BM25's term frequency factors, below 2.2, of terms that occur so many times: (m,).

    `lengths` are of their passages, `average` is the mean length of all: k1 1.2, b 0.75.
    """
    within = times + 1.2 * (1 - 0.75 + 0.75 * lengths / average)
    found: DoubleScores = times * (1.2 + 1.0) / within
    return found


class Postings:
    """The cached postings of one index, shared by threads.

    `folder` is where posting files lie; None to read everything from the catalog.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._file: tuple[object, PostingFile | None] = None, None  # and what it was opened for
        self._lengths: dict[tuple[str, ...], _Lengths] = {}  # one: of this index and analyser
        self._state: _State | None = None

    def at(self, connection: sqlite3.Connection) -> Terms:
        """The terms in the generation of this connection's transaction."""
        *names, generation = _meta(connection, ("identity", "analyser", "generation"))
        index = tuple(names)
        with self._lock:
            known = self._state
            if known is None or (known.index, known.generation) != (index, generation):
                base = _Base.of(self._opened(connection, index), connection)
                self._state = known = _State(index, generation, base)
        return Terms(connection, self, known)

    def lengths(self, connection: sqlite3.Connection, index: tuple[str, ...]) -> _Lengths:
        """The lengths (numbers of terms) of at least all chunks that the connection sees.

        Keys are never reused and a chunk's terms do not change, so that only new chunks are read.
        """
        with self._lock:
            known = self._lengths.get(index) or self._stored_lengths(index)
            keys, lengths = read_lengths(connection, known.last)
            if len(keys) or index not in self._lengths:
                known = known.extended(keys, lengths)
                self._lengths = {index: known}
            return known

    def _stored_lengths(self, index: tuple[str, ...]) -> _Lengths:
        """The lengths in the posting file; none without one."""
        state = self._state
        base = None if state is None or state.index != index else state.base
        stored = None if base is None else base.file.postings(LENGTHS)
        return _Lengths() if stored is None else _Lengths().extended(*stored)

    def _opened(self, connection: sqlite3.Connection, index: tuple[str, ...]) -> PostingFile | None:
        """The posting file of the connection's generation; None without one."""
        if self._folder is None:
            return None
        row = connection.execute("SELECT file, sha256 FROM snapshots").fetchone()
        if row is None or not is_vector_file(row[0]):
            return None
        path = posting_path(self._folder / row[0])
        try:
            status = path.stat()
        except OSError:
            return None
        wanted = index, row, status.st_ino, status.st_mtime_ns, status.st_size
        if self._file[0] != wanted:
            self._file = wanted, PostingFile.open(path, index, row[1])
        return self._file[1]


def write_posting_file(vector_file: Path, sha256: str, connection: sqlite3.Connection) -> None:
    """Write the posting file beside a vector file with this hash."""
    index = _meta(connection, ("identity", "analyser"))
    posting_file.write(posting_path(vector_file), connection, index, sha256)


def _meta(connection: sqlite3.Connection, names: Sequence[str]) -> tuple[str, ...]:
    """Values of the catalog's `meta`, as they are stored."""
    sql = f"SELECT name, value FROM meta WHERE name IN ({', '.join('?' * len(names))})"
    known = dict(connection.execute(sql, names))
    return tuple(str(known.get(name)) for name in names)


def posting_path(vector_file: Path) -> Path:
    """The posting file that lies beside a vector file."""
    return vector_file.with_name(f"{vector_file.name}.words")


@dataclass(frozen=True, slots=True)
class _Lengths:
    """`table` has the length of chunk `first` + n at place n, if the keys are dense enough."""

    keys: Keys = field(default_factory=lambda: np.empty(0, np.int64))
    values: Keys = field(default_factory=lambda: np.empty(0, np.int64))
    table: Keys | None = None

    @property
    def last(self) -> int:
        return int(self.keys[-1]) if len(self.keys) else 0

    def extended(self, keys: Keys, lengths: Keys) -> _Lengths:
        keys = np.append(self.keys, keys)
        values = np.append(self.values, lengths)
        table = None
        if len(keys) and keys[-1] - keys[0] < 2 * len(keys):
            table = np.zeros(int(keys[-1] - keys[0]) + 1, np.int64)
            table[keys - keys[0]] = values
        return _Lengths(keys, values, table)

    def of(self, keys: Keys) -> Keys:
        if self.table is None:
            found: Keys = self.values[np.searchsorted(self.keys, keys)]
        else:
            found = self.table[keys - self.keys[0]]
        return found


@dataclass(frozen=True, slots=True)
class _Base:
    """A posting file, and what has changed since: removed keys, and chunks that came after it."""

    file: PostingFile
    removed: Keys
    added: int

    @classmethod
    def of(cls, file: PostingFile | None, connection: sqlite3.Connection) -> _Base | None:
        """None without a file, or if too much has changed."""
        if file is None:
            return None
        facts = file.facts
        rows = connection.execute(
            "SELECT chunk FROM removed WHERE number > ? AND chunk <= ? ORDER BY chunk",
            (facts.last_removal, facts.last_key),
        ).fetchall()
        row = connection.execute("SELECT COUNT(*) FROM lengths WHERE chunk > ?", (facts.last_key,))
        added = int(row.fetchone()[0])
        if len(rows) + added > MAX_CHANGES * facts.chunks:
            return None
        return cls(file, np.array([key for (key,) in rows], np.int64), added)

    @property
    def facts(self) -> Facts:
        return self.file.facts

    @property
    def changes(self) -> float:
        """The share of chunks added and removed since."""
        return (self.added + len(self.removed)) / max(1, self.facts.chunks)

    @property
    def is_current(self) -> bool:
        """Whether nothing has changed since."""
        return not self.added and not len(self.removed)

    def remaining(self, keys: Keys) -> Mask:
        """Which of the keys (m,) are not removed: (m,)."""
        kept = np.ones(len(keys), dtype=bool)
        places = np.searchsorted(keys, self.removed)
        inside = places < len(keys)
        places, removed = places[inside], self.removed[inside]
        kept[places[keys[places] == removed]] = False
        return kept


@dataclass(eq=False, slots=True)
class _State:
    """The caches of one generation."""

    index: tuple[str, ...]
    generation: str
    base: _Base | None = None
    scores: OrderedDict[str, tuple[Keys, DoubleScores]] = field(default_factory=OrderedDict)
    counts: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    totals: tuple[int, float] | None = None
    documents: tuple[Keys, Keys] | None = None
    columns: DocumentColumns | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, term: str, found: tuple[Keys, DoubleScores]) -> None:
        with self.lock:
            if term not in self.scores:
                self.scores[term] = found
                self.rows += len(found[0])
            while self.rows > MAX_ROWS and len(self.scores) > 1:
                self.rows -= len(self.scores.popitem(last=False)[1][0])

    def known(self, term: str) -> tuple[Keys, DoubleScores] | None:
        with self.lock:
            if term in self.scores:
                self.scores.move_to_end(term)
            return self.scores.get(term)

    def keep_counts(self, counts: dict[str, int]) -> None:
        with self.lock:
            if len(self.counts) > MAX_COUNTS:
                self.counts.clear()
            self.counts.update(counts)


class Terms:
    """The terms of one transaction's generation.

    A term with spaces is a phrase: terms that stand side by side.
    """

    def __init__(self, connection: sqlite3.Connection, postings: Postings, state: _State) -> None:
        self._connection = connection
        self._postings = postings
        self._state = state

    @property
    def posting_file_due(self) -> bool:
        """Whether there is no usable posting file, or much has changed since it was written."""
        return self._state.base is None or self._state.base.changes > MAX_CHANGES / 2

    def documents(self) -> tuple[Keys, Keys] | None:
        """The keys of all chunks, ascending, and of their documents: both (n,).

        None without a posting file: reading them takes as long as many queries.
        """
        state = self._state
        stored = None if state.base is None else state.documents or self._stored_documents()
        state.documents = stored
        return stored

    def columns(self) -> DocumentColumns:
        """The columns of documents in this generation."""
        if self._state.columns is None:
            self._state.columns = DocumentColumns(self._connection)
        return self._state.columns

    def _stored_documents(self) -> tuple[Keys, Keys] | None:
        base = self._state.base
        stored = None if base is None else base.file.postings(DOCUMENTS)
        if base is None or stored is None:
            return None
        kept = base.remaining(stored[0])
        more = read_documents(self._connection, base.facts.last_key)
        return np.append(stored[0][kept], more[0]), np.append(stored[1][kept], more[1])

    def bm25(self, term: str) -> tuple[Keys, DoubleScores]:
        """The term's chunks: keys (m,) ascending, and BM25 scores (m,) > 0."""
        found = self._state.known(term)
        if found is None:
            found = self._computed(term)
            self._state.keep(term, found)
        return found

    def document_frequencies(self, terms: Iterable[str]) -> dict[str, int]:
        """The document frequency of each term."""
        known = self._state.counts
        counts = {term: known.get(term, -1) for term in terms}
        new = {
            term: len(self.bm25(term)[0]) if " " in term else self._count(term)
            for term, count in counts.items()
            if count < 0
        }
        self._state.keep_counts(new)
        return counts | new

    def _count(self, term: str) -> int:
        base = self._state.base
        if base is not None and base.is_current:
            stored = base.file.count(term)
            if stored is not None:
                return stored
        elif base is not None and base.file.has_postings(term):
            return len(self.bm25(term)[0])
        row = self._connection.execute("SELECT doc FROM vocabulary WHERE term = ?", (term,))
        return int(next(row, (0,))[0])

    def _computed(self, term: str) -> tuple[Keys, DoubleScores]:
        """As `bm25`, by arrays."""
        if " " in term:
            keys, times = self._phrase(term)
            return self._bm25(keys, times) if len(keys) else (keys, np.empty(0))
        keys, times = self._stored(term) or read_postings(self._connection, term)
        return self._bm25(keys, times) if len(keys) else (keys, np.empty(0))

    def _stored(self, term: str) -> tuple[Keys, Keys] | None:
        """The chunks with a term as in `read_postings`, if the posting file holds it."""
        base = self._state.base
        stored = None if base is None else base.file.postings(term)
        if base is None or stored is None:
            return None
        keys, times = stored
        if len(base.removed):
            kept = base.remaining(keys)
            keys, times = keys[kept], times[kept]
        if base.added:
            rows = self._connection.execute(
                "SELECT rowid, terms FROM fulltext WHERE fulltext MATCH ? AND rowid > ? "
                "ORDER BY rowid",
                (f'"{term}"', base.facts.last_key),
            ).fetchall()
            keys = np.append(keys, np.array([key for key, _ in rows], np.int64))
            more = [terms.split().count(term) for _, terms in rows]
            times = np.append(times, np.array(more, np.int64))
        return keys, times

    def _phrase(self, phrase: str) -> tuple[Keys, Keys]:
        """The chunks with a phrase: keys (m,) ascending, and how often each has it (m,)."""
        rows = self._connection.execute(
            "SELECT rowid, terms FROM fulltext WHERE fulltext MATCH ? ORDER BY rowid",
            (f'"{phrase}"',),
        ).fetchall()
        # Terms are separated by one space each; two occurrences may share one.
        within = re.compile(f"(?=(?<![^ ]){re.escape(phrase)}(?![^ ]))")
        times = [sum(1 for _ in within.finditer(terms)) for _, terms in rows]
        return np.array([key for key, _ in rows], np.int64), np.array(times, np.int64)

    def _bm25(self, keys: Keys, times: Keys) -> tuple[Keys, DoubleScores]:
        """The scores of chunks with a term that occurs so many times: both (m,)."""
        total, average = self._totals()
        lengths = self._postings.lengths(self._connection, self._state.index).of(keys)
        return keys, idf(total, len(keys)) * frequency_factors(times, lengths, average)

    def _totals(self) -> tuple[int, float]:
        """The number of chunks, and their mean number of terms."""
        if self._state.totals is None:
            self._state.totals = self._counted()
        return self._state.totals

    def _counted(self) -> tuple[int, float]:
        base = self._state.base
        lengths = base.file.postings(LENGTHS) if base is not None and len(base.removed) else None
        if base is None or (lengths is None and len(base.removed)):
            sql = "SELECT COUNT(*), AVG(terms) FROM lengths"
            count, mean = self._connection.execute(sql).fetchone()
            return int(count), mean
        sql = "SELECT COUNT(*), IFNULL(SUM(terms), 0) FROM lengths WHERE chunk > ?"
        count, terms = self._connection.execute(sql, (base.facts.last_key,)).fetchone()
        count, terms = base.facts.chunks + count, base.facts.terms + terms
        if lengths is not None:
            kept = base.remaining(lengths[0])
            count -= int(np.count_nonzero(~kept))
            terms -= int(lengths[1][~kept].sum())
        return count, terms / count if count else 0.0


__all__ = [
    "OCCURRENCES",
    "Postings",
    "Terms",
    "frequency_factors",
    "idf",
    "posting_path",
    "write_posting_file",
]
