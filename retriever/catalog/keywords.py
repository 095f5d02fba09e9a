"""Keyword search: a query's words → the BM25 score of every chunk in which one occurs.

A word is looked for in every language of the index, as part of compounds, by its own parts if it
is a compound, and, should it occur nowhere, by the nearest words there are. Whatever stands for a
word, the word counts once: its terms share one weight (by the number of chunks that have one of
them, not each its own), and what stands in for it is worth less than the word itself.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import log

import numpy as np
from numpy.typing import NDArray

from retriever.catalog import spelling
from retriever.catalog.compounds import FEWEST_OF_A_PART, is_part, parts
from retriever.catalog.postings import Terms, idf
from retriever.catalog.schema import unblob
from retriever.languages import LANGUAGES, LINKS
from retriever.terms import MARK, QueryWord, folded, language_mark, query_words, words
from retriever.types import Expansion, KeywordScore, KeywordWord

Keys = NDArray[np.int64]
Scores = NDArray[np.float64]

COMPOUND_WEIGHT = 0.5
"""What a compound counts that has the word in it, and what a compound's parts count together."""

MOST_COMPOUNDS = 50
"""So many compounds at most are looked for by one word of theirs."""

_MOST_TIMES = 2.2
"""BM25 gives a word at most so many times its weight, however often it occurs: k1 + 1."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Every chunk in which a word of the query occurs: keys (m,) ascending, BM25 scores (m,) > 0.

    `total` counts all chunks, matching or not. `corrections`: words that occur nowhere → those
    looked for instead, as the documents write them. `terms` are all that is looked for.
    """

    keys: Keys
    scores: Scores
    total: int
    corrections: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    terms: frozenset[str] = frozenset()

    @property
    def mean(self) -> float:
        """The mean score over all chunks; one without a query word counts as 0."""
        return float(self.scores.sum()) / self.total if self.total else 0.0

    @property
    def std(self) -> float:
        """The standard deviation over all chunks; one without a query word counts as 0."""
        if not self.total:
            return 0.0
        square = float(np.square(self.scores).sum()) / self.total
        return float(np.sqrt(max(0.0, square - self.mean**2)))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What one word of the query is looked for by: terms that are the word, and weaker ones.

    `compounds` have the word in them, `parts` are those of the word itself; `nearest` stand in for
    a word that occurs nowhere.
    """

    terms: tuple[str, ...]
    compounds: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()

    @property
    def own(self) -> tuple[str, ...]:
        """The terms that say in how many chunks the word is: its own, or those instead of them."""
        return self.terms or self.compounds or self.parts or self.nearest

    @property
    def all(self) -> tuple[str, ...]:
        """Everything it is looked for by."""
        return (*self.terms, *self.compounds, *self.parts, *self.nearest)

    @property
    def occurs(self) -> bool:
        return bool(self.own)

    @property
    def is_plain(self) -> bool:
        """Whether nothing but one term stands for it."""
        return len(self.terms) == 1 and not (self.compounds or self.parts)


class KeywordSearch:
    """One query, answered within the connection's transaction."""

    def __init__(self, connection: sqlite3.Connection, query: str, terms: Terms) -> None:
        self._connection = connection
        self._query = query
        self._terms = terms
        self._counts: dict[str, int] = {}
        self._total = int(connection.execute("SELECT COUNT(*) FROM chunks").fetchone()[0])
        present = "SELECT 1 FROM chunks WHERE language = ? LIMIT 1"
        self.languages = [
            language
            for language in LANGUAGES
            if connection.execute(present, (language,)).fetchone()
        ]

    def matches(self, *, tolerant: bool) -> Matches:
        """See `Reader.keyword`."""
        asked = query_words(self._query, self.languages)
        wanted = [self._wanted(word) for word in asked]
        instead = self._instead(asked, wanted) if tolerant else {}
        wanted += [_Wanted((), nearest=tuple(terms)) for terms in instead.values()]
        wanted = self._selective(wanted)
        plain = [one.terms[0] for one in wanted if one.is_plain]
        sides = [self._bm25(dict.fromkeys(plain))]
        sides += [self._scored(one) for one in wanted if not one.is_plain]
        corrections = {
            typed: tuple(dict.fromkeys(map(self._as_written, nearest)))
            for typed, nearest in instead.items()
        }
        terms = chain.from_iterable(one.all for one in wanted)
        return Matches(*_merged(sides, np.add), self._total, corrections, frozenset(terms))

    def most(self) -> float:
        """See `Backend.keyword_most`."""
        wanted = map(self._wanted, query_words(self._query, self.languages))
        counts = (self._documents(one.own) for one in wanted)
        return _MOST_TIMES * sum(
            max(0.0, log((self._total - count + 0.5) / (count + 0.5))) for count in counts
        )

    def breakdown(
        self, key: int, *, tolerant: bool, expansion: Expansion | None = None
    ) -> KeywordScore:
        """See `Backend.keyword_breakdown`; words that `matches` leaves aside score 0."""
        asked = query_words(self._query, self.languages)
        wanted = [self._wanted(word) for word in asked]
        instead = self._instead(asked, wanted) if tolerant else {}
        named = [*zip((word.typed for word in asked), wanted, strict=True)]
        named = [(typed, one) for typed, one in named if typed not in instead]
        named += [(typed, _Wanted((), nearest=tuple(t))) for typed, t in instead.items()]
        kept = self._selective([one for _, one in named])
        row = self._connection.execute("SELECT terms FROM fulltext WHERE rowid = ?", (key,))
        terms = Counter(next(row, ("",))[0].split())
        found: list[KeywordWord] = []
        plain: set[tuple[str, ...]] = set()
        for typed, one in named:
            counts = one in kept and one.terms not in plain
            if one.is_plain:
                plain.add(one.terms)
            keys, scores = self._of_word(one) if counts else self._bm25([])
            documents = self._documents(one.own)
            found.append(
                KeywordWord(
                    *(typed, one.own, documents, sum(terms[term] for term in one.own)),
                    idf=idf(self._total, documents),
                    score=float(scores[keys == key].sum()),
                )
            )
        tokens = self._connection.execute("SELECT SUM(cnt) FROM vocabulary").fetchone()[0] or 0
        average = tokens / max(1, self._total)
        added = () if expansion is None else self._added(key, expansion, terms)
        return KeywordScore(tuple(found), terms.total(), average, self._total, added)

    def _added(
        self, key: int, expansion: Expansion, terms: Mapping[str, int]
    ) -> tuple[KeywordWord, ...]:
        """The words of an expansion that are among a chunk's terms, as the chunk writes them."""
        found = []
        written = self._written(key) if terms else {}
        for term, weight in expansion.terms:
            if not terms.get(term):
                continue
            keys, scores = self._bm25([term])
            count = self._count(term)
            score = weight * float(scores[keys == key].sum())
            word = written.get(term, term)
            of_all = idf(self._total, count)
            found.append(KeywordWord(word, (term,), count, terms[term], of_all, score))
        return tuple(sorted(found, key=lambda word: (-word.score, word.word)))

    def _written(self, key: int) -> dict[str, str]:
        """A chunk's terms, each with the first word that gives it, in its text or its title."""
        row = self._connection.execute(
            """SELECT c.language, c.text, d.title FROM chunks c
            JOIN documents d ON d.key = c.document WHERE c.key = ?""",
            (key,),
        ).fetchone()
        found: dict[str, str] = {}
        for text in map(unblob, row[1:] if row else ()):
            for word in words(text, row[0]):
                found.setdefault(word.term, text[word.start : word.end])
        return found

    def _of_word(self, wanted: _Wanted) -> tuple[Keys, Scores]:
        return self._bm25(wanted.terms) if wanted.is_plain else self._scored(wanted)

    # What to look for

    def _wanted(self, word: QueryWord) -> _Wanted:
        """The word's terms that occur, and what else may stand for it."""
        known = tuple(term for term in word.terms if self._count(term))
        larger: list[str] = []
        smaller: tuple[str, ...] = ()
        for term in word.terms:
            language = language_mark(term)
            if language in LINKS:
                larger += self._compounds(term, language)
                smaller = smaller or parts(folded(word.typed), language, self._count)
        larger.sort(key=lambda term: (-self._count(term), term))
        return _Wanted(known, tuple(larger[:MOST_COMPOUNDS]), smaller)

    def _compounds(self, term: str, language: str) -> Iterator[str]:
        """The compounds that end with this word."""
        stem = term[: -len(MARK + language)]
        if len(stem) < FEWEST_OF_A_PART:
            return
        rows = self._connection.execute(
            "SELECT reversed FROM long_words WHERE language = ? AND reversed > ? AND reversed < ?",
            (language, stem[::-1], stem[::-1] + "\U0010ffff"),
        )
        for (backwards,) in rows.fetchall():
            compound = backwards[::-1]
            found = f"{compound}{MARK}{language}"
            if self._count(found) and is_part(stem, compound, language, self._count):
                yield found

    def _instead(
        self, asked: Sequence[QueryWord], wanted: Sequence[_Wanted]
    ) -> dict[str, list[str]]:
        """The words that occur nowhere, with the terms nearest to each."""
        pairs = zip(asked, wanted, strict=True)
        missing = [word for word, one in pairs if not one.occurs]
        unknown = list(filter(spelling.may_be_wrong, missing))
        found: dict[str, list[str]] = {}
        for word in unknown if len(unknown) <= spelling.MOST_UNKNOWN else []:
            first = word.terms[0][0]
            rows = self._connection.execute(
                "SELECT term, doc FROM vocabulary WHERE term >= ? AND term < ?",
                (first, chr(ord(first) + 1)),
            )
            if terms := spelling.nearest(word, rows):
                found[word.typed] = terms
        return found

    def _as_written(self, term: str) -> str:
        """A word of this term, in small letters, as the first chunk that has it writes it."""
        found = self._connection.execute(
            "SELECT rowid FROM fulltext WHERE terms MATCH ? LIMIT 1", (f'"{term}"',)
        ).fetchone()
        return self._written(found[0]).get(term, term).lower() if found else term

    def _selective(self, wanted: list[_Wanted]) -> list[_Wanted]:
        """The words that occur, without those in most chunks as long as others remain.

        A word in more than half of all chunks has no weight in BM25 but makes every one a match.
        """
        there = [one for one in wanted if one.occurs]
        rare = [one for one in there if 2 * self._documents(one.own) <= self._total]
        return rare or there

    # What it scores

    def _scored(self, wanted: _Wanted) -> tuple[Keys, Scores]:
        """The scores of one word for which several terms stand: the best of its ways to be there.

        What stands for the word weighs as much as the word; a word's own parts weigh as they do.
        """
        weight = idf(self._total, self._documents(wanted.own))
        own = _merged([self._share(term, weight) for term in wanted.terms], np.add)
        weak = [self._share(term, weight) for term in wanted.compounds]
        pieces = [self._bm25([part]) for part in wanted.parts]
        near = [self._bm25([term]) for term in wanted.nearest]
        return _merged(
            [
                own,
                _times(COMPOUND_WEIGHT, _merged(weak, np.add)),
                _times(COMPOUND_WEIGHT / max(1, len(pieces)), _merged(pieces, np.add)),
                _times(spelling.WEIGHT, _merged(near, np.maximum)),
            ],
            np.maximum,
        )

    def _share(self, term: str, weight: float) -> tuple[Keys, Scores]:
        """A term's scores, as if it were in as many chunks as the `weight` says."""
        return _times(weight / idf(self._total, self._count(term)), self._bm25([term]))

    def _bm25(self, terms: Iterable[str]) -> tuple[Keys, Scores]:
        """The chunks in which one of the terms occurs: keys (m,) ascending, scores (m,) > 0."""
        return _merged([self._terms.bm25(term) for term in terms], np.add)

    def _documents(self, terms: Sequence[str]) -> int:
        """In how many chunks one of the terms occurs, at most."""
        return min(self._total, sum(map(self._count, terms)))

    def _count(self, term: str) -> int:
        """In how many chunks the term occurs."""
        if term not in self._counts:
            self._counts |= self._terms.counts([term])
        return self._counts[term]


def expanded(found: Matches, expansion: Expansion, terms: Terms) -> Matches:
    """What a query has found, with the terms that join it; see `Backend.keyword`."""
    sides = [(found.keys, expansion.own * found.scores)]
    sides += [_times(weight, terms.bm25(term)) for term, weight in expansion.terms]
    keys, scores = _merged(sides, np.add)
    return replace(found, keys=keys, scores=scores)


def _times(weight: float, side: tuple[Keys, Scores]) -> tuple[Keys, Scores]:
    return side[0], weight * side[1]


def _merged(sides: Sequence[tuple[Keys, Scores]], join: np.ufunc) -> tuple[Keys, Scores]:
    """Scores > 0 by key of several sides as one; `join` takes two of one key, 0 for none."""
    there = [(keys, values) for keys, values in sides if len(keys)]
    if len(there) < 2:
        return there[0] if there else (np.empty(0, np.int64), np.empty(0))
    first = min(int(keys[0]) for keys, _ in there)
    scores = np.zeros(max(int(keys[-1]) for keys, _ in there) - first + 1)
    for keys, values in there:
        scores[keys - first] = join(scores[keys - first], values)
    found = np.flatnonzero(scores)
    return found + first, scores[found]


__all__ = ["COMPOUND_WEIGHT", "KeywordSearch", "Matches", "expanded"]
