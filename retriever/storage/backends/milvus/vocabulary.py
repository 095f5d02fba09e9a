"""The term dictionary of an index in Milvus: document frequencies, totals, long words.

It is made of records, which the one writer changes with the passages:

- `term/TERM`: the number of passages with the term; the key of the first of them, and the sum and
  the sum of squares of the term's factors in all of them (see `weights`), for score statistics;
- `long/LANGUAGE/WORD`: a long word, reversed, that may be a compound;
- `meta/totals`: the number of passages, of their terms, and of passages in each language.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from retriever.storage.backends.milvus import schema, weights
from retriever.storage.backends.milvus.client import Connection, Row
from retriever.storage.backends.milvus.records import Record, Records
from retriever.storage.backends.milvus.values import quoted, stored

TERM, LONG, TOTALS = "term/", "long/", "meta/totals"
_HASHED = "longterm/"

FLUSH_TERMS = 200_000
"""The dictionary is due to be written when so many terms have changed: they are in memory.

A term that is common changes with each batch of documents, so that a small number would have the
whole dictionary written again and again.
"""

MAX_KNOWN = 1_000_000
"""The terms whose stored values a writer keeps in memory."""

PASSAGE_TERMS = (
    *("key", "document", "edition", "terms", "long", "length", "language", "long_words"),
)
"""The fields of a passage's row that the dictionary is made of, and that tell whether it counts."""

Readable = Callable[[list[Row]], Sequence[Row]]
"""Of rows those that count, the long ones with their terms."""

_LONGEST = 400  # bytes of a term or a long word in a record's id


@dataclass(frozen=True, slots=True)
class TermFacts:
    """A term in all passages: `total` and `square` are of its factors; `first` may be unknown."""

    documents: int = 0
    total: float = 0.0
    square: float = 0.0
    first: int | None = None

    def plus(self, other: TermFacts) -> TermFacts:
        """Both together; the first passage is this one's if it is known."""
        return TermFacts(
            self.documents + other.documents,
            self.total + other.total,
            self.square + other.square,
            other.first if self.first is None else self.first,
        )

    def record(self, term: str) -> Record:
        """The record of a term with these facts."""
        value = json.dumps([self.first, round(self.total, 6), round(self.square, 6)])
        return Record(term_id(term), value, self.documents)

    @classmethod
    def of(cls, record: Record) -> TermFacts:
        """The facts in a record."""
        first, total, square = json.loads(record.value)
        return cls(record.number, float(total), float(square), first)


@dataclass(frozen=True, slots=True)
class Totals:
    """The number of passages, of their terms that count as length, and of passages by language."""

    passages: int = 0
    terms: int = 0
    languages: Mapping[str, int] = field(default_factory=dict)

    @property
    def average(self) -> float:
        """The mean length of passages."""
        return self.terms / self.passages if self.passages else 0.0

    def record(self) -> Record:
        """The record of these totals."""
        value = json.dumps({"terms": self.terms, "languages": dict(self.languages)})
        return Record(TOTALS, value, self.passages)

    @classmethod
    def read(cls, records: Records) -> Totals:
        """The stored totals; zeros without any."""
        return cls.of(records.get([TOTALS]).get(TOTALS))

    @classmethod
    def of(cls, record: Record | None) -> Totals:
        """The totals of a record; zeros without one."""
        if record is None:
            return cls()
        value = json.loads(record.value)
        return cls(record.number, int(value["terms"]), value["languages"])


class TermDictionary:
    """The writer's side: changes are collected by `plus` and `minus`, and stored by `flush`.

    Rows are those of passages as they are stored, those of long passages with their terms.
    """

    def __init__(self, connection: Connection, index: str) -> None:
        self._connection = connection
        self._index = index
        self._records = Records(connection, index)
        self._average: float | None = None
        self._known: dict[str, TermFacts] = {}  # as stored
        self._changed: dict[str, TermFacts] = {}
        self._known_long: set[str] = set()
        self._new_long: set[str] = set()
        self._stored_totals: Totals | None = None
        self._passages = 0
        self._terms = 0
        self._languages: Counter[str] = Counter()

    @property
    def average(self) -> float:
        """The mean length with which new weights are made; 0 before `settle`."""
        if self._average is None:
            known = weights.averages(self._records)
            self._average = known[-1] if known else None
        return self._average or 0.0

    @property
    def is_due(self) -> bool:
        """Whether so much has changed that `flush` should store it."""
        return len(self._changed) >= FLUSH_TERMS

    def settle(self, lengths: Sequence[int]) -> None:
        """Choose the mean length of an index that has none, before the first weights are made."""
        if lengths and not self.average:
            self._average = weights.settle_average(self._records, lengths)

    def weigh(self, terms: Sequence[str], length: int) -> Mapping[int, float]:
        """The sparse vector of a passage with these terms."""
        self.settle([length])
        return weights.passage_vector(terms, length, self.average)

    def plus(self, rows: Sequence[Row]) -> None:
        """Count passages that were written."""
        self.settle([int(row["length"]) for row in rows])
        for row in rows:
            self._count(row, 1)

    def minus(self, rows: Sequence[Row]) -> None:
        """No longer count passages that were deleted; their rows as they were."""
        for row in rows:
            self._count(row, -1)

    def totals(self) -> tuple[int, int]:
        """The number of passages and of their terms, with what is not stored yet."""
        before = self._totals_before()
        return before.passages + self._passages, before.terms + self._terms

    def flush(self) -> None:
        """Store the changes."""
        if not self._changed and not self._passages:
            return
        self._load([term for term in self._changed if term not in self._known])
        put: list[Record] = []
        gone: list[str] = []
        for term, change in self._changed.items():
            facts = self._known.get(term, TermFacts()).plus(change)
            self._known[term] = facts
            if facts.documents > 0:
                put.append(facts.record(term))
            else:
                self._known[term] = TermFacts()
                gone.append(term_id(term))
        put += [Record(id_) for id_ in sorted(self._new_long)]
        self._records.put(put)
        self._records.delete(gone)
        self._store_totals(self._totals_before())
        self._known_long |= self._new_long
        self._new_long.clear()
        self._changed.clear()
        if len(self._known) > MAX_KNOWN:
            self._known.clear()

    def rebuild(self, readable: Readable = list) -> None:
        """Make the dictionary anew from all passages of the index.

        `readable` gives those rows that count, the long ones with their terms. Searches find the
        old dictionary until the new one is stored. It is made in memory: some 200 bytes for each
        different term.
        """
        self._forget()
        for rows in self._connection.scan(schema.passages(self._index), "", PASSAGE_TERMS):
            self.plus(readable(rows))
        keep = {stored(term_id(term)) for term in self._changed} | set(map(stored, self._new_long))
        # Rows come in any order, so that the first passage is not known.
        self._records.put(
            replace(facts, first=None).record(term) for term, facts in self._changed.items()
        )
        self._records.put(Record(id_) for id_ in sorted(self._new_long))
        self._store_totals(Totals())
        for prefix in (TERM, LONG, _HASHED):
            self._records.delete([id_ for id_ in self._ids(prefix) if id_ not in keep])
        self._forget()

    def _ids(self, prefix: str) -> Iterator[str]:
        where = beginning(prefix)
        for rows in self._connection.scan(schema.records(self._index), where, ("id",)):
            yield from (row["id"] for row in rows)

    def _forget(self) -> None:
        self._known.clear()
        self._changed.clear()
        self._known_long.clear()
        self._new_long.clear()
        self._stored_totals = None
        self._average = None
        self._passages = self._terms = 0
        self._languages.clear()

    def _count(self, row: Row, sign: int) -> None:
        terms = weights.split_terms(row["terms"])
        length, language = int(row["length"]), str(row["language"])
        first = int(row["key"]) if sign > 0 else None
        for term, factor in weights.term_factors(terms, length, self.average).items():
            one = TermFacts(sign, sign * factor, sign * factor * factor, first)
            known = self._changed.get(term)
            self._changed[term] = one if known is None else known.plus(one)
        self._passages += sign
        self._terms += sign * length
        self._languages[language] += sign
        if sign > 0:
            ids = (long_id(language, word) for word in row["long_words"].split())
            self._new_long.update(id_ for id_ in ids if id_ and id_ not in self._known_long)

    def _load(self, terms: Sequence[str]) -> None:
        """Read what is stored of terms."""
        found = self._records.get([term_id(term) for term in terms])
        for term in terms:
            record = found.get(term_id(term))
            self._known[term] = TermFacts() if record is None else TermFacts.of(record)

    def _totals_before(self) -> Totals:
        if self._stored_totals is None:
            self._stored_totals = Totals.read(self._records)
        return self._stored_totals

    def _store_totals(self, before: Totals) -> None:
        languages = Counter(before.languages)
        languages.update(self._languages)
        totals = Totals(
            before.passages + self._passages,
            before.terms + self._terms,
            {name: count for name, count in sorted(languages.items()) if count > 0},
        )
        self._records.put([totals.record()])
        self._stored_totals = totals
        self._passages = self._terms = 0
        self._languages.clear()


def term_id(term: str) -> str:
    """The id of a term's record; that of a very long term has its hash, after another prefix."""
    if len(stored(term).encode()) <= _LONGEST:
        return f"{TERM}{term}"
    return f"{_HASHED}{sha256(term.encode('utf-8', 'surrogatepass')).hexdigest()}"


def long_id(language: str, reversed_word: str) -> str:
    """The id of a long word's record; empty for one that is too long."""
    if len(stored(reversed_word).encode()) > _LONGEST:
        return ""
    return f"{LONG}{language}/{reversed_word}"


def beginning(prefix: str) -> str:
    """The expression for records whose ids begin so."""
    return f"id >= {quoted(prefix)} and id < {quoted(prefix + chr(0x10FFFF))}"


__all__ = [
    "FLUSH_TERMS",
    "LONG",
    "PASSAGE_TERMS",
    "TERM",
    "TOTALS",
    "TermDictionary",
    "TermFacts",
    "Totals",
    "beginning",
    "long_id",
    "term_id",
]
