"""Query analysis for keyword search: a text → a `TermQuery` of boosted terms, for any engine.

A word is searched for in every language of the index, joined where it has pieces, in compounds that
contain it, by its own parts if it is a compound, and by similar words if it is unknown. A word
counts once, whatever matches it: its terms share one idf (of the number of passages with any of
them), and substitutes have a lower boost than the word itself. A word that is written in pieces
(multi-factor, ISO 27001) is looked for by these and, as a word of its own, by the pieces side by
side, so that they count more than apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import log

from retriever.storage.backends import spelling
from retriever.storage.backends.compounds import MIN_PART_LETTERS, is_part, split_compound
from retriever.storage.backends.protocols import PassageSearch, Vocabulary
from retriever.storage.catalog.postings import idf
from retriever.storage.records import Expansion, KeywordScore, KeywordWord, TermQuery, WeightedTerms
from retriever.text.analyzer import (
    MARK,
    QueryWord,
    count_term,
    language_mark,
    query_words,
    words,
)
from retriever.text.folding import fold_accents
from retriever.text.languages import LINKING_ELEMENTS
from retriever.types import Chunk

COMPOUND_WEIGHT = 0.5
"""The boost of compounds that contain the word, and of all parts of a compound together."""

MAX_COMPOUNDS = 50
"""The maximum number of compounds that one word is expanded to."""

_MAX_TF_FACTOR = 2.2
"""The supremum of BM25's term frequency factor: k1 + 1."""


@dataclass(frozen=True, slots=True)
class AnalysedQuery:
    """An analysed query.

    `corrections` maps unknown words to their substitutes, as the documents write them. `terms` are
    all terms searched for.
    """

    query: TermQuery
    corrections: Mapping[str, tuple[str, ...]]
    terms: frozenset[str]


@dataclass(frozen=True, slots=True)
class _WordTerms:
    """The terms that one word of the query is expanded to.

    `terms` are the word itself, `others` what stands for it as well, with weights. `compounds`
    contain the word, `parts` are those of the word, and `nearest` replace an unknown word. `weight`
    is that of the word in the query.
    """

    terms: tuple[str, ...]
    compounds: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()
    others: tuple[tuple[str, float], ...] = ()
    weight: float = 1.0

    @property
    def own(self) -> tuple[str, ...]:
        """The terms that count for the word's document frequency: its own, else substitutes."""
        return self.terms or self.joined or self.compounds or self.parts or self.nearest

    @property
    def joined(self) -> tuple[str, ...]:
        """The terms of `others`."""
        return tuple(term for term, _ in self.others)

    @property
    def all(self) -> tuple[str, ...]:
        """All terms searched for."""
        return (*self.terms, *self.joined, *self.compounds, *self.parts, *self.nearest)

    @property
    def occurs(self) -> bool:
        return bool(self.own)

    @property
    def is_plain(self) -> bool:
        """Whether the word has a single term, which counts once, and nothing else."""
        extra = self.compounds or self.parts or self.others
        return len(self.terms) == 1 and not extra and self.weight == 1.0


class KeywordQuery:
    """One query's text, analysed with the vocabulary of one generation."""

    def __init__(self, text: str, passages: PassageSearch, vocabulary: Vocabulary) -> None:
        self._passages = passages
        self._vocabulary = vocabulary
        self._counts: dict[str, int] = {}
        self._total = passages.count()
        self._query_words = query_words(text, vocabulary.languages())
        self._words = [self._expand_word(word) for word in self._query_words]

    def analyse(self, *, tolerant: bool) -> AnalysedQuery:
        """The query for an engine; `tolerant` replaces unknown words by the nearest ones."""
        instead = self._corrections() if tolerant else {}
        near = [_WordTerms((), nearest=tuple(terms)) for terms in instead.values()]
        wanted = self._without_common([*self._words, *near])
        plain = dict.fromkeys(one.terms[0] for one in wanted if one.is_plain)
        asked: list[tuple[WeightedTerms, ...]] = [(((term, 1.0),),) for term in plain]
        asked += [self._alternatives(one) for one in wanted if not one.is_plain]
        corrections = {
            typed: tuple(dict.fromkeys(map(self._as_written, nearest)))
            for typed, nearest in instead.items()
        }
        terms = frozenset(chain.from_iterable(one.all for one in wanted))
        return AnalysedQuery(TermQuery(tuple(asked)), corrections, terms)

    def max_bm25(self) -> float:
        """The supremum of a passage's BM25 score: all words, at saturated term frequency.

        An unknown word has the highest idf, so that the score is then out of reach.
        """
        counts = ((one.weight, self._occurrences(one)) for one in self._words)
        return _MAX_TF_FACTOR * sum(
            weight * max(0.0, log((self._total - count + 0.5) / (count + 0.5)))
            for weight, count in counts
        )

    def explain_bm25(
        self, chunk: Chunk | None, *, tolerant: bool, expansion: Expansion | None = None
    ) -> KeywordScore:
        """A passage's score word by word; words that `analyse` leaves out score 0."""
        instead = self._corrections() if tolerant else {}
        named = [
            (word.typed, one)
            for word, one in zip(self._query_words, self._words, strict=True)
            if word.typed not in instead
        ]
        named += [(typed, _WordTerms((), nearest=tuple(t))) for typed, t in instead.items()]
        kept = self._without_common([one for _, one in named])
        terms = _Counts([] if chunk is None else self._passages.terms([chunk.id])[0])
        found: list[KeywordWord] = []
        plain: set[tuple[str, ...]] = set()
        for typed, one in named:
            counts = one in kept and one.terms not in plain
            if one.is_plain:
                plain.add(one.terms)
            documents = self._occurrences(one)
            found.append(
                KeywordWord(
                    *(typed, one.own, documents, terms.of_any(one)),
                    idf=idf(self._total, documents),
                    score=self._score(chunk, TermQuery((self._clause(one),))) if counts else 0.0,
                )
            )
        length, average = self._vocabulary.lengths("" if chunk is None else chunk.id)
        added = () if expansion is None else self._added(chunk, expansion, terms)
        return KeywordScore(tuple(found), length, average, self._total, added)

    def _added(
        self, chunk: Chunk | None, expansion: Expansion, terms: _Counts
    ) -> tuple[KeywordWord, ...]:
        """The expansion's words that the passage contains, as the passage writes them."""
        found = []
        written = {} if chunk is None else surface_forms(chunk)
        for term, weight in expansion.terms:
            if not terms[term]:
                continue
            count = self._count(term)
            score = weight * self._score(chunk, TermQuery(((((term, 1.0),),),)))
            word = written.get(term, term)
            of_all = idf(self._total, count)
            found.append(KeywordWord(word, (term,), count, terms[term], of_all, score))
        return tuple(sorted(found, key=lambda word: (-word.score, word.word)))

    def _score(self, chunk: Chunk | None, query: TermQuery) -> float:
        if chunk is None or not query.words[0]:
            return 0.0
        return float(self._passages.keyword_scores(query, [chunk.id])[0])

    # Terms

    def _expand_word(self, word: QueryWord) -> _WordTerms:
        """The word's terms that occur in the index, its compounds and its parts."""
        known = tuple(term for term in word.terms if self._count(term))
        others = tuple((term, weight) for term, weight in word.others if self._count(term))
        larger: list[str] = []
        smaller: tuple[str, ...] = ()
        for term in word.terms:
            language = language_mark(term)
            if language in LINKING_ELEMENTS:
                larger += self._compounds(term, language)
                smaller = smaller or split_compound(fold_accents(word.typed), language, self._count)
        larger.sort(key=lambda term: (-self._count(term), term))
        compounds = tuple(larger[:MAX_COMPOUNDS])
        return _WordTerms(known, compounds, smaller, others=others, weight=word.weight)

    def _compounds(self, term: str, language: str) -> Iterator[str]:
        """The compounds of the index that end with this word."""
        stem = term[: -len(MARK + language)]
        if len(stem) < MIN_PART_LETTERS:
            return
        for compound in self._vocabulary.longer_words(stem, language):
            found = f"{compound}{MARK}{language}"
            if self._count(found) and is_part(stem, compound, language, self._count):
                yield found

    def _corrections(self) -> dict[str, list[str]]:
        """The unknown words with the nearest terms of each."""
        pairs = zip(self._query_words, self._words, strict=True)
        missing = [word for word, one in pairs if not one.occurs]
        unknown = list(filter(spelling.may_be_misspelt, missing))
        found: dict[str, list[str]] = {}
        for word in unknown if len(unknown) <= spelling.MAX_UNKNOWN_WORDS else []:
            beginning = self._vocabulary.terms_beginning(word.terms[0][0])
            if terms := spelling.nearest_terms(word, beginning):
                found[word.typed] = terms
        return found

    def _as_written(self, term: str) -> str:
        """The word of a term, as the first passage with it writes it, in small letters."""
        first = self._vocabulary.first_with(term)
        return term if first is None else surface_forms(first).get(term, term).lower()

    def _without_common(self, wanted: list[_WordTerms]) -> list[_WordTerms]:
        """The words that occur, without those in most passages, unless no others remain.

        A word in more than half of the passages has hardly any BM25 weight, but matches them all.
        """
        there = [one for one in wanted if one.occurs]
        rare = [one for one in there if 2 * self._occurrences(one) <= self._total]
        return rare or there

    # Boosts

    def _clause(self, wanted: _WordTerms) -> tuple[WeightedTerms, ...]:
        if wanted.is_plain:
            return (((wanted.terms[0], 1.0),),)
        return self._alternatives(wanted)

    def _alternatives(self, wanted: _WordTerms) -> tuple[WeightedTerms, ...]:
        """The alternatives that match one word, each as boosted terms.

        Terms and compounds have the word's idf; parts and corrections keep their own.
        """
        weight = wanted.weight * idf(self._total, self._occurrences(wanted))
        share = COMPOUND_WEIGHT / max(1, len(wanted.parts))
        ways = (
            tuple((term, self._share(term, weight)) for term in wanted.terms),
            *(((term, own * self._share(term, weight)),) for term, own in wanted.others),
            tuple((term, COMPOUND_WEIGHT * self._share(term, weight)) for term in wanted.compounds),
            tuple((part, share) for part in wanted.parts),
            *(((term, spelling.CORRECTION_WEIGHT),) for term in wanted.nearest),
        )
        return tuple(filter(None, ways))

    def _share(self, term: str, weight: float) -> float:
        """The boost that gives a term the idf `weight` in place of its own."""
        return weight / idf(self._total, self._count(term))

    def _occurrences(self, word: _WordTerms) -> int:
        """The document frequency of a word: an estimate, since its spellings may stand together."""
        alone = self._documents(word.terms) if word.terms else 0
        joined = max((self._count(term) for term in word.joined), default=0)
        return max(alone, joined) or self._documents(word.own)

    def _documents(self, terms: Sequence[str]) -> int:
        """An upper bound of the number of passages with any of the terms."""
        return min(self._total, sum(map(self._count, terms)))

    def _count(self, term: str) -> int:
        """The term's document frequency."""
        if term not in self._counts:
            self._counts |= self._passages.document_frequencies([term])
        return self._counts[term]


class _Counts:
    """How often terms, and phrases, occur in one passage."""

    def __init__(self, terms: Sequence[str]) -> None:
        self._terms = terms

    def __getitem__(self, term: str) -> int:
        return count_term(self._terms, term)

    def of_any(self, word: _WordTerms) -> int:
        """The occurrences of a word, which may be written in several ways at one place."""
        alone = sum(self[term] for term in word.terms)
        return max(alone, *(self[term] for term in word.joined), 0) or sum(
            self[term] for term in word.own
        )


def surface_forms(chunk: Chunk) -> dict[str, str]:
    """The terms of a passage → the first word of its text or title with that term."""
    found: dict[str, str] = {}
    for text in (chunk.text, chunk.title):
        for word in words(text, chunk.language):
            found.setdefault(word.term, text[word.start : word.end])
    return found


__all__ = ["COMPOUND_WEIGHT", "MAX_COMPOUNDS", "AnalysedQuery", "KeywordQuery", "surface_forms"]
