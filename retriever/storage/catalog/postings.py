"""BM25 scores of terms as arrays: the scores of FTS5's `bm25()`, many times faster.

FTS5 computes one score per row, and each row is a step of Python. Here SQLite gives a term's
postings as one text, the chunks' lengths are read once, and the formula runs over whole arrays
(k1 1.2, b 0.75, FTS5's lower bound of the idf). Results are cached for one generation.

This is the only module that reads FTS5's shadow tables: `fulltext_docsize` (the lengths) and
`fulltext_data` (the totals). Should another version of SQLite write them differently, the first
search notices: it compares one rare term's scores with FTS5's own, and falls back to those.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import log

import numpy as np

from retriever.arrays import DoubleScores, Keys

logger = logging.getLogger(__name__)

OCCURRENCES = "CREATE VIRTUAL TABLE temp.occurrences USING fts5vocab (main, fulltext, instance)"
"""SQL that every connection runs: a virtual table with a row for each occurrence of a term."""

MAX_ROWS = 2_000_000
"""The size of the cache of scores, in postings: 32 MB."""

MAX_COUNTS = 200_000
"""The size of the cache of document frequencies, in terms."""

_FIRST_CHECKED = "x"  # where the vocabulary has few frequent terms, which take long to count
_MAX_CHECKED = 10  # chunks of the term whose scores are compared with FTS5's
_LOWEST_IDF = 1e-6  # FTS5's lower bound, for terms in more than half of the chunks
_VARINT = 0x7F  # seven bits of a byte belong to the number, the eighth means that more follow


def idf(total: int, documents: int) -> float:
    """FTS5's inverse document frequency of a term in `documents` of `total` chunks."""
    return max(_LOWEST_IDF, log((total - documents + 0.5) / (documents + 0.5)))


class Postings:
    """The cached postings of one index, shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lengths: dict[tuple[str, ...], _Lengths] = {}  # one: of this index and analyser
        self._state: _State | None = None
        self.matches_fts5: bool | None = None
        """Whether the arrays give FTS5's own scores; None before the first search."""

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
                "SELECT id, sz FROM fulltext_docsize WHERE id > ? ORDER BY id", (known.last,)
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

    def extended(self, rows: Iterable[tuple[int, bytes]]) -> _Lengths:
        keys, sizes = zip(*rows, strict=True)
        return _Lengths(
            np.append(self.keys, np.array(keys, np.int64)), np.append(self.values, varints(sizes))
        )

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
            found = self._scored(term)
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

    def _scored(self, term: str) -> tuple[Keys, DoubleScores]:
        if self._postings.matches_fts5 is None:
            self._postings.matches_fts5 = self._check()
        return (
            self._fts5_scores(term)
            if self._postings.matches_fts5 is False
            else self._computed(term)
        )

    def _check(self) -> bool | None:
        """Whether the scores of one rare term are FTS5's own; None if there is no such term."""
        row = self._connection.execute(
            "SELECT term FROM vocabulary WHERE term > ? AND doc <= ? LIMIT 1",
            (_FIRST_CHECKED, _MAX_CHECKED),
        ).fetchone()
        if row is None:
            return None
        expected_keys, expected = self._fts5_scores(row[0])
        try:
            keys, scores = self._computed(row[0])
            if np.array_equal(keys, expected_keys) and np.allclose(scores, expected, rtol=1e-9):
                return True
            reason = "other scores"
        except (sqlite3.Error, ArithmeticError, LookupError, TypeError, ValueError) as error:
            reason = str(error)
        logger.warning(
            "SQLite %s stores full text in a way that is not known here (%s); keyword search uses "
            "its own BM25, which is slower",
            *(sqlite3.sqlite_version, reason),
        )
        return False

    def _fts5_scores(self, term: str) -> tuple[Keys, DoubleScores]:
        """As `bm25`, by FTS5's own function."""
        rows = self._connection.execute(
            "SELECT rowid, -bm25(fulltext) FROM fulltext WHERE fulltext MATCH ? ORDER BY rowid",
            (f'"{term}"',),
        ).fetchall()
        return np.array([key for key, _ in rows], np.int64), np.array([s for _, s in rows], float)

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
        """The number of rows of the full-text index, and their mean number of terms.

        FTS5 stores both as varints in its first record (the averages record).
        """
        (record,) = self._connection.execute(
            "SELECT block FROM fulltext_data WHERE id = 1"
        ).fetchone()
        cuts = [at + 1 for at, byte in enumerate(record) if byte <= _VARINT]
        rows, tokens = varints([record[: cuts[0]], record[cuts[0] : cuts[1]]]).tolist()
        return rows, tokens / rows


def varints(written: Iterable[bytes]) -> Keys:
    r"""Decode SQLite's variable-length integers, up to eight bytes each.

    >>> varints([b"\x05", b"\x81\x00"]).tolist()
    [5, 128]
    """
    parts = list(written)
    sizes = np.array([len(part) for part in parts])
    ends = np.cumsum(sizes)
    bits = np.frombuffer(b"".join(parts), np.uint8).astype(np.int64) & _VARINT
    behind = np.repeat(ends, sizes) - np.arange(len(bits)) - 1
    return np.add.reduceat(bits << 7 * behind, ends - sizes)


__all__ = ["OCCURRENCES", "Postings", "Terms", "idf", "varints"]
