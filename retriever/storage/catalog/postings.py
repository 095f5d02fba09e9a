"""BM25 scores of terms as arrays: the scores of FTS5's `bm25()`, many times faster.

FTS5 computes one score per row, and each row is a step of Python. Here SQLite gives a term's
postings as one text, the chunks' lengths are read once, and the formula runs over whole arrays
(k1 1.2, b 0.75, FTS5's lower bound of the idf). Unlike FTS5's, lengths are without stop words.
Results are cached for one generation.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import log

import numpy as np

from retriever.arrays import DoubleScores, Keys

OCCURRENCES = "CREATE VIRTUAL TABLE temp.occurrences USING fts5vocab (main, fulltext, instance)"
"""SQL that every connection runs: a virtual table with a row for each occurrence of a term."""

MAX_ROWS = 2_000_000
"""The size of the cache of scores, in postings: 32 MB."""

MAX_COUNTS = 200_000
"""The size of the cache of document frequencies, in terms."""

_LOWEST_IDF = 1e-6  # FTS5's lower bound, for terms in more than half of the chunks


def idf(total: int, documents: int) -> float:
    """FTS5's inverse document frequency of a term in `documents` of `total` chunks."""
    return max(_LOWEST_IDF, log((total - documents + 0.5) / (documents + 0.5)))


class Postings:
    """The cached postings of one index, shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lengths: dict[tuple[str, ...], _Lengths] = {}  # one: of this index and analyser
        self._state: _State | None = None

    def at(self, connection: sqlite3.Connection) -> Terms:
        """The terms in the generation of this connection's transaction."""
        names = ("identity", "analyser", "generation")
        meta = dict(
            connection.execute("SELECT name, value FROM meta WHERE name IN (?, ?, ?)", names)
        )
        *index, generation = (str(meta.get(name)) for name in names)
        with self._lock:
            if self._state is None or (self._state.index, self._state.generation) != (
                tuple(index),
                generation,
            ):
                self._state = _State(tuple(index), generation)
            state = self._state
        return Terms(connection, self, state)

    def lengths(self, connection: sqlite3.Connection, index: tuple[str, ...]) -> _Lengths:
        """The lengths (numbers of terms) of at least all chunks that the connection sees.

        Keys are never reused and a chunk's terms do not change, so that only new chunks are read.
        """
        with self._lock:
            known = self._lengths.get(index) or _Lengths()
            rows = connection.execute(
                "SELECT chunk, terms FROM lengths WHERE chunk > ? ORDER BY chunk", (known.last,)
            ).fetchall()
            if rows:
                known = known.extended(rows)
                self._lengths = {index: known}
            return known


@dataclass(frozen=True, slots=True)
class _Lengths:
    keys: Keys = field(default_factory=lambda: np.empty(0, np.int64))
    values: Keys = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def last(self) -> int:
        return int(self.keys[-1]) if len(self.keys) else 0

    def extended(self, rows: Sequence[tuple[int, int]]) -> _Lengths:
        keys, lengths = np.array(rows, np.int64).T
        return _Lengths(np.append(self.keys, keys), np.append(self.values, lengths))

    def of(self, keys: Keys) -> Keys:
        return self.values[np.searchsorted(self.keys, keys)]


@dataclass(eq=False, slots=True)
class _State:
    """The caches of one generation."""

    index: tuple[str, ...]
    generation: str
    scores: OrderedDict[str, tuple[Keys, DoubleScores]] = field(default_factory=OrderedDict)
    counts: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    totals: tuple[int, float] | None = None
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
        row = self._connection.execute("SELECT doc FROM vocabulary WHERE term = ?", (term,))
        return int(next(row, (0,))[0])

    def _computed(self, term: str) -> tuple[Keys, DoubleScores]:
        """As `bm25`, by arrays."""
        if " " in term:
            keys, times = self._phrase(term)
            return self._bm25(keys, times) if len(keys) else (keys, np.empty(0))
        joined = self._connection.execute(
            "SELECT group_concat(doc, ' ') FROM temp.occurrences WHERE term = ?", (term,)
        ).fetchone()[0]
        if joined is None:
            return np.empty(0, np.int64), np.empty(0)
        return self._bm25(*np.unique(np.fromstring(joined, np.int64, sep=" "), return_counts=True))

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
        within = times + 1.2 * (1 - 0.75 + 0.75 * lengths / average)
        return keys, idf(total, len(keys)) * (times * (1.2 + 1.0) / within)

    def _totals(self) -> tuple[int, float]:
        """The number of chunks, and their mean number of terms."""
        if self._state.totals is None:
            self._state.totals = self._connection.execute(
                "SELECT COUNT(*), AVG(terms) FROM lengths"
            ).fetchone()
        return self._state.totals


__all__ = ["OCCURRENCES", "Postings", "Terms", "idf"]
