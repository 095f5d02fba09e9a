"""Reads of the term dictionary of an index in Milvus, kept for one generation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from retriever.arrays import Keys
from retriever.storage.backends.compounds import may_be_compound, terms_within
from retriever.storage.backends.milvus import schema, weights
from retriever.storage.backends.milvus.client import Row
from retriever.storage.backends.milvus.collections import Collections
from retriever.storage.backends.milvus.documents import StoredDocument
from retriever.storage.backends.milvus.rows import lengthened
from retriever.storage.backends.milvus.state import Generation
from retriever.storage.backends.milvus.values import id_of, keys_of, loaded, quoted
from retriever.storage.backends.milvus.vocabulary import (
    LONG,
    TERM,
    TOTALS,
    TermFacts,
    Totals,
    beginning,
    term_id,
)
from retriever.storage.filters import Filter
from retriever.text.analyzer import MARK, count_term
from retriever.text.languages import LANGUAGES
from retriever.types import Chunk, DocumentRow

MAX_KNOWN = 200_000
"""The terms whose facts are kept in memory."""

PLACE = ("key", "document", "edition")
"""The fields that tell whether a passage counts."""

_MAX_EXPECTED = 2_000  # terms that are read with others since they may be asked for next
_MAX_FEW = 1_000  # passages with a phrase's rarest word, up to which these are read to count it
_MANY = 100_000  # passages of an index in which not all are compared with a phrase
_MAX_LISTS = 8
_LONGEST_WORD = 60
_MAX_COMPOUNDS = 100  # whose parts are counted with the words of a query
_UNSAFE = frozenset("%_\\")  # they mean something in LIKE, and not the same in each engine

POOL = ThreadPoolExecutor(max_workers=8, thread_name_prefix="milvus")
"""Threads for calls that are made at once; none is begun before the first search."""

T = TypeVar("T")


class Reads(Protocol):
    """What the term part and the search need of a reader of one generation."""

    collections: Collections
    at: Generation

    def remembered(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, made once in a generation."""

    def of_documents(self, rows: Sequence[Row]) -> list[tuple[Row, StoredDocument]]:
        """The rows that count, each with its document; they have the fields of `PLACE`."""

    def documents(self, where: Filter | None = None) -> list[DocumentRow]:
        """All documents that match."""

    def dimension(self) -> int | None:
        """The dimension of the vectors; None while it is unknown."""

    def count_pending(self) -> int:
        """The number of passages without a vector."""

    def get(self, chunk_ids: Sequence[str]) -> list[Chunk]:
        """The chunks with these ids, in this order; unknown ids are left out."""

    def sample_keys(self, limit: int, *, embedded: bool = False) -> Keys:
        """The keys of a stable sample: (m,)."""


@dataclass(eq=False, slots=True)
class _Known:
    """What is known of one generation."""

    facts: dict[str, TermFacts] = field(default_factory=dict)
    phrases: dict[str, int] = field(default_factory=dict)
    longer: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    lists: dict[tuple[str, ...], Any] = field(default_factory=dict)


class Terms:
    """The terms of one generation."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._connection = reads.collections.connection
        self._passages = reads.collections.passages
        self._records = reads.collections.records
        self._record_names = schema.records(reads.collections.index)
        self._known = reads.remembered("terms", _Known)
        self._expected: set[str] = set()

    @property
    def totals(self) -> Totals:
        """The numbers of passages and terms."""
        return self._settings[0]

    @property
    def averages(self) -> list[float]:
        """The mean lengths that stored weights are made with."""
        return self._settings[1]

    @property
    def _settings(self) -> tuple[Totals, list[float]]:
        def read() -> tuple[Totals, list[float]]:
            found = self._records.get([TOTALS, weights.AVERAGE])
            return Totals.of(found.get(TOTALS)), weights.averages_of(found.get(weights.AVERAGE))

        return self._reads.remembered("totals of terms", read)

    def expect(self, terms: Iterable[str]) -> None:
        """Say that these terms may be asked for soon: they are then read with the next ones."""
        unknown = {term for term in terms if term not in self._known.facts and " " not in term}
        if len(self._expected) + len(unknown) <= _MAX_EXPECTED:
            self._expected |= unknown

    def facts(self, terms: Iterable[str]) -> Mapping[str, TermFacts]:
        """The facts of single terms; zeros for a term that is nowhere."""
        wanted = list(dict.fromkeys(terms))
        known = self._known.facts
        unknown = [term for term in wanted if term not in known]
        if unknown:
            if len(known) > MAX_KNOWN:
                known.clear()
                unknown = wanted
            asked = list(dict.fromkeys([*unknown, *self._expected]))
            self._expected.clear()
            found = self._records.get([term_id(term) for term in asked])
            for term in asked:
                record = found.get(term_id(term))
                known[term] = TermFacts() if record is None else TermFacts.of(record)
        return {term: known[term] for term in wanted}

    def document_frequencies(self, terms: Iterable[str]) -> dict[str, int]:
        """The document frequency of each term, and of phrases, which are terms with spaces."""
        wanted = list(dict.fromkeys(terms))
        parts = {term: term.split(" ") for term in wanted}
        facts = self.facts([part for several in parts.values() for part in several])
        known = self._known.phrases
        new = [term for term in wanted if len(parts[term]) > 1 and term not in known]
        if new:
            self._long_passages()
        # Each is a call; they are made at once.
        counts = POOL.map(lambda phrase: self._phrase(parts[phrase], facts), new)
        known |= dict(zip(new, counts, strict=True))
        return {
            term: facts[term].documents if len(several) == 1 else known[term]
            for term, several in parts.items()
        }

    def _phrase(self, parts: Sequence[str], facts: Mapping[str, TermFacts]) -> int:
        rarest = min(parts, key=lambda part: facts[part].documents)
        few = facts[rarest].documents
        return self._counted(" ".join(parts), rarest, few) if few else 0

    def _counted(self, phrase: str, rarest: str, few: int) -> int:
        """The number of passages with a phrase, whose rarest word `few` passages have."""
        many = self.totals.passages > _MANY
        if few <= _MAX_FEW and (many or not is_plain(phrase)):
            return len(self.passages_having(phrase, rarest, 2 * few + 10))
        if is_plain(phrase):
            short = self._connection.count(self._passages, phrase_expression(phrase))
            return short + len(self.long_with(phrase))
        return len(self.with_phrase(phrase))

    def passages_having(self, term: str, word: str, limit: int) -> list[Row]:
        """The passages with a term or phrase, among the best `limit` with one of its words."""
        rows = self._connection.search(
            *(self._passages, "sparse", {weights.term_hash(word): 1.0}, limit),
            fields=(*PLACE, "terms", "long", "added", "position"),
        )
        return [row for row in self.countable(rows) if count_term(_terms(row), term)]

    def with_phrase(self, phrase: str) -> list[int]:
        """The keys of all passages with a term or phrase."""
        where = f"{coarse_expression(phrase)} and long == false"
        rows = self._connection.all(self._passages, where, ("key", "terms"))
        there = [row["key"] for row in rows if count_term(_terms(row), phrase)]
        return there + self.long_with(phrase)

    def long_with(self, phrase: str) -> list[int]:
        """The keys of the long passages, whose terms are elsewhere, with a term or phrase."""
        return [row["key"] for row in self._long_passages() if count_term(_terms(row), phrase)]

    def _long_passages(self) -> list[Row]:
        def read() -> list[Row]:
            fields = (*PLACE, "long")
            rows = self._connection.all(self._passages, "long == true", fields)
            return self.countable([{**row, "terms": ""} for row in rows])

        return self._reads.remembered("long passages", read)

    def countable(self, rows: Sequence[Row]) -> list[Row]:
        """Of rows with the fields of `PLACE` and `long` those that count, with their terms."""
        found = [row for row, _ in self._reads.of_documents(rows)]
        return list(lengthened(self._records, found))

    def listed(self, prefix: str, most: int | None = None) -> tuple[dict[str, int], bool]:
        """The terms with a beginning and their document frequencies, and whether these are all.

        It stops when the sum of these is above `most`.
        """
        known = self._known.lists
        if (prefix,) in known:
            return known[prefix,], True
        found: dict[str, int] = {}
        where = beginning(TERM + prefix)
        postings = 0
        for rows in self._connection.scan(self._record_names, where, ("id", "number")):
            for row in rows:
                found[loaded(row["id"]).removeprefix(TERM)] = int(row["number"])
                postings += int(row["number"])
            if most is not None and postings > most:
                return found, False
        if len(known) >= _MAX_LISTS:
            known.clear()
        known[prefix,] = found
        return found, True

    def longer_words(self, stem: str, language: str) -> list[str]:
        """The long words of a language that end with `stem`, without itself, in reversed order."""
        self._read_longer([(stem, language)])
        return self._known.longer[stem, language]

    def _read_longer(self, stems: Sequence[tuple[str, str]]) -> None:
        """Read the long words that end with some stems, all in one call."""
        known = self._known.longer
        if len(known) > MAX_KNOWN:
            known.clear()
        unknown = [one for one in dict.fromkeys(stems) if one not in known]
        if not unknown:
            return
        known |= {one: [] for one in unknown}
        prefixes = {one: f"{LONG}{one[1]}/{one[0][::-1]}" for one in unknown}
        where = " or ".join(f"({beginning(prefix)})" for prefix in prefixes.values())
        rows = self._connection.all(self._record_names, where, ("id",))
        ids = sorted(loaded(row["id"]) for row in rows)
        for one, prefix in prefixes.items():
            start = len(LONG) + len(one[1]) + 1
            known[one] = [
                id_[start:][::-1] for id_ in ids if id_.startswith(prefix) and id_ != prefix
            ]

    def expect_compounds(
        self, stems: Sequence[tuple[str, str]], words: Sequence[tuple[str, str]]
    ) -> None:
        """Read what `longer_words` and the splits of words and compounds ask for."""
        self._read_longer(stems)
        wanted: set[str] = set()
        for word, language in words:
            if may_be_compound(word, language) and len(word) <= _LONGEST_WORD:
                wanted |= terms_within(word, language)
        compounds = [
            (compound, stem, language)
            for stem, language in stems
            for compound in self._known.longer[stem, language]
        ]
        wanted.update(f"{compound}{MARK}{language}" for compound, _, language in compounds)
        for compound, stem, language in compounds[:_MAX_COMPOUNDS]:
            wanted |= terms_within(compound[: -len(stem)], language)
        self.facts(wanted)

    def length(self, chunk_id: str) -> int:
        """The number of terms of a passage; 0 for an unknown id."""
        keys = keys_of([chunk_id]).tolist()
        rows = self._reads.collections.get(keys, (*PLACE, "length")) if keys else []
        return next((int(row["length"]) for row, _ in self._reads.of_documents(rows)), 0)

    def of_chunks(self, chunk_ids: Sequence[str]) -> list[Row]:
        """The rows of passages with their terms; unknown ids are left out."""
        keys = keys_of(chunk_ids).tolist()
        return self.countable(self._reads.collections.get(keys, (*PLACE, "terms", "long")))


def _terms(row: Row) -> list[str]:
    return weights.split_terms(row["terms"])


def is_plain(phrase: str) -> bool:
    """Whether an expression can say the phrase exactly."""
    return _UNSAFE.isdisjoint(phrase)


def phrase_expression(phrase: str) -> str:
    """The expression for passages with a term or a plain phrase, without the long passages."""
    likes = (phrase, f"{phrase} %", f"% {phrase}", f"% {phrase} %")
    return "(" + " or ".join(f"terms like {quoted(like)}" for like in likes) + ")"


def coarse_expression(phrase: str) -> str:
    """The expression for passages that may have a phrase; those that have it are among them."""
    like = "".join("_" if c in _UNSAFE else c for c in phrase)
    return f"terms like {quoted(f'%{like}%')}"


class _Reader(Reads, Protocol):
    """What `MilvusVocabulary` is a part of."""

    @property
    def terms(self) -> Terms: ...


class MilvusVocabulary:
    """The implementation of `Vocabulary`: a part of the reader."""

    @property
    def terms(self: Reads) -> Terms:
        """The terms of the reader's generation."""
        return Terms(self)

    def languages(self: _Reader) -> list[str]:
        """See `Vocabulary.languages`."""
        counts = self.terms.totals.languages
        return [language for language in LANGUAGES if counts.get(language)]

    def language_counts(self: _Reader) -> Mapping[str, int]:
        """See `Vocabulary.language_counts`."""
        return dict(self.terms.totals.languages)

    def terms_beginning(self: _Reader, letter: str) -> Iterable[tuple[str, int]]:
        """See `Vocabulary.terms_beginning`."""
        return self.terms.listed(letter)[0].items()

    def longer_words(self: _Reader, stem: str, language: str) -> list[str]:
        """See `Vocabulary.longer_words`."""
        return self.terms.longer_words(stem, language)

    def expect_compounds(
        self: _Reader, stems: Sequence[tuple[str, str]], words: Sequence[tuple[str, str]]
    ) -> None:
        """See `Vocabulary.expect_compounds`."""
        self.terms.expect_compounds(stems, words)

    def first_with(self: _Reader, term: str) -> Chunk | None:
        """See `Vocabulary.first_with`."""
        facts = self.terms.facts([term])[term]
        if facts.first is not None:
            for chunk in self.get([id_of(facts.first)]):
                return chunk
        if not facts.documents:
            return None
        rows = self.terms.passages_having(term, term, _MAX_FEW)
        rows.sort(key=lambda row: (row["added"], row["document"], row["position"]))
        return next(iter(self.get([id_of(row["key"]) for row in rows[:1]])), None)

    def terms_from(self: _Reader, beginning: str, postings: int) -> tuple[dict[str, int], bool]:
        """See `Vocabulary.terms_from`."""
        found, complete = self.terms.listed(beginning, postings)
        kept: dict[str, int] = {}
        for term in sorted(found):
            kept[term] = found[term]
            postings -= found[term]
            if postings < 0:
                return kept, False
        return kept, complete

    def passages_with(self: _Reader, term: str, limit: int) -> list[tuple[str, str, str]]:
        """See `Vocabulary.passages_with`."""
        rows = self.terms.passages_having(term, term, limit + 10)
        rows.sort(key=lambda row: (row["added"], row["document"], row["position"]))
        chunks = self.get([id_of(row["key"]) for row in rows[:limit]])
        return [(chunk.title, chunk.text, chunk.language) for chunk in chunks]

    def frequent_terms(self: _Reader, passages: int) -> Mapping[str, int]:
        """See `Vocabulary.frequent_terms`."""
        terms = self.terms
        rows = terms.of_chunks([id_of(key) for key in self.sample_keys(passages).tolist()])
        counts: Counter[str] = Counter()
        for row in rows:
            counts.update(set(_terms(row)))
        share = terms.totals.passages / max(1, len(rows))
        return {term: round(count * share) for term, count in counts.items()}

    def lengths(self: _Reader, chunk_id: str) -> tuple[int, float]:
        """See `Vocabulary.lengths`."""
        return self.terms.length(chunk_id), self.terms.totals.average


__all__ = [
    "PLACE",
    "POOL",
    "MilvusVocabulary",
    "Reads",
    "Terms",
    "coarse_expression",
    "is_plain",
    "phrase_expression",
]
