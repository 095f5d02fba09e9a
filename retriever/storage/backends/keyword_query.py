"""Query analysis for keyword search: a text → a `TermQuery` of boosted terms, for any engine.

A word is searched for in every language of the index, joined where it has pieces, in compounds that
contain it, by its own parts if it is a compound, and by similar words if it is unknown. A word
counts once, whatever matches it: its terms share one idf (of the number of passages with any of
them), and substitutes have a lower boost than the word itself. A word that is written in pieces
(multi-factor, ISO 27001) is looked for by these and, as a word of its own, by the pieces side by
side, so that they count more than apart. A word that the query repeats counts more (see
`repeated_boost`). A pasted text is searched for by its `MAX_WORDS` most telling words: those with
the highest idf times boost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

from retriever.storage.backends import spelling
from retriever.storage.backends.compounds import MIN_PART_LETTERS, is_part, split_compound
from retriever.storage.backends.protocols import PassageSearch, Vocabulary
from retriever.storage.catalog.postings import idf
from retriever.storage.records import (
    ContentWord,
    Expansion,
    KeywordScore,
    KeywordWord,
    TermQuery,
    WeightedTerms,
)
from retriever.text.analyzer import (
    MARK,
    QueryWord,
    bare_stem,
    count_term,
    language_mark,
    query_words,
    words,
)
from retriever.text.detection import foreign_language
from retriever.text.folding import fold_accents
from retriever.text.languages import LINKING_ELEMENTS
from retriever.types import Chunk

COMPOUND_WEIGHT = 0.5
"""The boost of compounds that contain the word, and of all parts of a compound together."""

MAX_COMPOUNDS = 50
"""The maximum number of compounds that one word is expanded to."""

MAX_WORDS = 256
"""The maximum number of different words that are searched for."""

K3_PER_WORD = 0.1
"""Saturation of a word's frequency in the query, for each word of the query beyond a sentence."""

SENTENCE_WORDS = 20
"""The words of a sentence; what repeats within one is grammar and says nothing."""

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
    contain the word, `parts` are those of the word, and `nearest` replace an unknown word. `boost`
    is the word's in the query: its weight, more if the query repeats it.
    """

    terms: tuple[str, ...]
    compounds: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()
    others: tuple[tuple[str, float], ...] = ()
    boost: float = 1.0

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
        """Whether the word has a single term, and nothing else."""
        extra = self.compounds or self.parts or self.others
        return len(self.terms) == 1 and not extra


class KeywordQuery:
    """One query's text, analysed with the vocabulary of one generation."""

    def __init__(self, text: str, passages: PassageSearch, vocabulary: Vocabulary) -> None:
        self._text = text
        self._passages = passages
        self._vocabulary = vocabulary
        self._counts: dict[str, int] = {}
        self._total = passages.count()
        said = self._without_tentative(query_words(text, vocabulary.languages()))
        self._length = sum(word.times for word in said if word.terms)
        asked = self._most_telling(said) if len(said) > MAX_WORDS else said
        self._left_out = sum(map(self._weight, set(said).difference(asked)))
        self._words = self._expanded(asked)

    def analyse(self, *, tolerant: bool) -> AnalysedQuery:
        """The query for an engine; `tolerant` replaces unknown words by the nearest ones."""
        instead = self._corrections() if tolerant else {}
        near = [self._substitutes(word, nearest) for word, nearest in instead.items()]
        wanted = self._without_common([*self._words.values(), *near])
        corrections = {
            word.typed: tuple(dict.fromkeys(map(self._as_written, nearest)))
            for word, nearest in instead.items()
        }
        terms = frozenset(chain.from_iterable(one.all for one in wanted))
        return AnalysedQuery(TermQuery(tuple(map(self._clause, wanted))), corrections, terms)

    def content_words(self, *, tolerant: bool) -> tuple[ContentWord, ...]:
        """The words that a passage must have to have all of the query, in order.

        A code (AC-2) is one word. Ordinary words with a hyphen (multi-factor) are one for each
        piece, and joined they are the word of each.
        """
        instead = self._corrections() if tolerant else {}
        chains = [word for word in self._words if _is_chain(word)]
        codes = {word for word in chains if word.weight >= 1}
        found: list[ContentWord] = []
        for word in self._words:
            around = [each for each in chains if word.terms and word.typed in each.typed]
            if word in codes or (word.terms and codes.isdisjoint(around)):
                ways = [word, *around]
                terms = (*word.terms, *(term for way in ways for term, _ in way.others))
                documents = max(self._occurrences(self._words[way]) for way in ways)
                others = tuple(instead.get(word, ()))
                found.append(
                    ContentWord(word.typed, tuple(dict.fromkeys(terms)), documents, others)
                )
        return tuple(found)

    @cached_property
    def foreign(self) -> str:
        """The query's language if hardly any passage has it, else ""."""
        return foreign_language(self._text, self._vocabulary.language_counts())

    def weight(self) -> float:
        """The sum of the boosts of the words searched for: their number if none is repeated."""
        return sum(map(self._boost, self._words))

    def max_bm25(self) -> float:
        """The supremum of a passage's BM25 score: all words, at saturated term frequency.

        An unknown word has the highest idf, so that the score is then out of reach. So do the words
        of a pasted text that are not searched for.
        """
        weights = (
            one.boost * idf(self._total, self._occurrences(one)) for one in self._words.values()
        )
        return _MAX_TF_FACTOR * (sum(weights) + self._left_out)

    def explain_bm25(
        self, chunk: Chunk | None, *, tolerant: bool, expansion: Expansion | None = None
    ) -> KeywordScore:
        """A passage's score word by word; words that `analyse` leaves out score 0."""
        instead = self._corrections() if tolerant else {}
        named = {
            word: self._substitutes(word, instead[word]) if word in instead else one
            for word, one in self._words.items()
        }
        kept = self._without_common(list(named.values()))
        terms = _Counts([] if chunk is None else self._passages.terms([chunk.id])[0])
        written = {} if chunk is None else surface_forms(chunk)
        found: list[KeywordWord] = []
        for word, one in named.items():
            documents = self._occurrences(one)
            found.append(
                KeywordWord(
                    *(word.typed, one.own, documents, terms.of_any(one)),
                    idf=idf(self._total, documents),
                    score=self._score(chunk, TermQuery((self._clause(one),))) if one in kept else 0,
                    count=word.times,
                    boost=one.boost,
                    corrected=word in instead,
                    written=_first_written(one.nearest, written),
                )
            )
        length, average = self._vocabulary.lengths("" if chunk is None else chunk.id)
        added = () if expansion is None else self._added(chunk, expansion, terms, written)
        return KeywordScore(tuple(found), length, average, self._total, added)

    def _added(
        self,
        chunk: Chunk | None,
        expansion: Expansion,
        terms: _Counts,
        written: Mapping[str, str],
    ) -> tuple[KeywordWord, ...]:
        """The expansion's words that the passage contains, as the passage writes them.

        Terms of one written word, such as the joined forms of 800-63B, are one word.
        """
        found: dict[str, KeywordWord] = {}
        for term, weight in expansion.terms:
            if not terms[term]:
                continue
            count = self._count(term)
            score = weight * self._score(chunk, TermQuery(((((term, 1.0),),),)))
            word = written.get(term, bare_stem(term))
            of_all = idf(self._total, count)
            one = KeywordWord(word, (term,), count, terms[term], of_all, score)
            found[word] = _merged(found[word], one) if word in found else one
        return tuple(sorted(found.values(), key=lambda word: (-word.score, word.word)))

    def _score(self, chunk: Chunk | None, query: TermQuery) -> float:
        if chunk is None or not query.words[0]:
            return 0.0
        return float(self._passages.keyword_scores(query, [chunk.id])[0])

    # Terms

    def _without_tentative(self, said: Sequence[QueryWord]) -> list[QueryWord]:
        """The words, and the tentative runs that this index has as one word."""
        terms = dict.fromkeys(chain.from_iterable(word.needs for word in said))
        self._counts |= self._passages.document_frequencies(terms)
        return [word for word in said if not word.needs or self._documents(word.needs)]

    def _most_telling(self, said: Sequence[QueryWord]) -> list[QueryWord]:
        """The words of a pasted text to search for, in its order: none that occurs nowhere."""
        self._counts |= self._passages.document_frequencies(
            list(dict.fromkeys(chain.from_iterable(map(_single_terms, said))))
        )
        known = [word for word in said if self._documents(_single_terms(word))]
        best = set(sorted(known, key=self._weight, reverse=True)[:MAX_WORDS])
        return [word for word in known if word in best]

    def _weight(self, word: QueryWord) -> float:
        """The word's boost times its idf."""
        return self._boost(word) * idf(self._total, self._documents(_single_terms(word)))

    def _expanded(self, said: Sequence[QueryWord]) -> dict[QueryWord, _WordTerms]:
        """The words with their terms; those with the same terms are one word, said more often.

        In an index of several languages "city" and "cities" have stems in each, and those of one
        language may differ.
        """
        self._look_up(said)
        found: dict[tuple[_WordTerms, QueryWord | None], QueryWord] = {}
        for word in said:
            terms = self._expand_word(word)
            key = terms, None if terms.occurs else word
            found[key] = found[key].again(word.times) if key in found else word
        return {word: replace(terms, boost=self._boost(word)) for (terms, _), word in found.items()}

    def _look_up(self, said: Sequence[QueryWord]) -> None:
        """Have the terms of all words counted at once: an engine may be far away."""
        own = [term for word in said for term in (*word.terms, *(term for term, _ in word.others))]
        unknown = [term for term in dict.fromkeys(own) if term not in self._counts]
        self._counts |= self._passages.document_frequencies(unknown)
        stems: dict[tuple[str, str], None] = {}
        wholes: dict[tuple[str, str], None] = {}
        for word in said:
            for term in word.terms:
                language = language_mark(term)
                if language in LINKING_ELEMENTS:
                    stems[term[: -len(MARK + language)], language] = None
                    wholes[fold_accents(word.typed), language] = None
        if stems:
            self._vocabulary.expect_compounds(
                [stem for stem in stems if len(stem[0]) >= MIN_PART_LETTERS], list(wholes)
            )

    def _boost(self, word: QueryWord) -> float:
        return word.weight * repeated_boost(word.times, self._length)

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
        return _WordTerms(known, compounds, smaller, others=others)

    def _compounds(self, term: str, language: str) -> Iterator[str]:
        """The compounds of the index that end with this word."""
        stem = term[: -len(MARK + language)]
        if len(stem) < MIN_PART_LETTERS:
            return
        for compound in self._vocabulary.longer_words(stem, language):
            found = f"{compound}{MARK}{language}"
            if self._count(found) and is_part(stem, compound, language, self._count):
                yield found

    def _substitutes(self, word: QueryWord, nearest: Sequence[str]) -> _WordTerms:
        """The terms that replace an unknown word."""
        return _WordTerms((), nearest=tuple(nearest), boost=self._boost(word))

    def _corrections(self) -> dict[QueryWord, list[str]]:
        """The unknown words with the nearest terms of each."""
        missing = [word for word, one in self._words.items() if not one.occurs]
        unknown = list(filter(spelling.may_be_misspelt, missing))
        if unknown and self.foreign:  # long words are cognates (Passwort), short ones look alike
            unknown = [word for word in unknown if len(word.typed) >= spelling.LONG_WORD]
        found: dict[QueryWord, list[str]] = {}
        for word in unknown if len(unknown) <= spelling.MAX_UNKNOWN_WORDS else []:
            beginning = self._vocabulary.terms_beginning(word.terms[0][0])
            if terms := spelling.nearest_terms(word, beginning):
                found[word] = terms
        return found

    def _as_written(self, term: str) -> str:
        """The word of a term, as the first passage with it writes it, in small letters."""
        first = self._vocabulary.first_with(term)
        forms = {} if first is None else surface_forms(first)
        return forms.get(term, bare_stem(term)).lower()

    def _without_common(self, wanted: list[_WordTerms]) -> list[_WordTerms]:
        """The words that occur, without those in most passages, unless no others remain.

        A word in more than half of the passages has hardly any BM25 weight, but matches them all.
        """
        there = [one for one in wanted if one.occurs]
        rare = [one for one in there if 2 * self._occurrences(one) <= self._total]
        return rare or there

    # Boosts

    def _clause(self, wanted: _WordTerms) -> tuple[WeightedTerms, ...]:
        """The alternatives that match one word, each as boosted terms.

        Terms and compounds have the word's idf; parts and corrections keep their own.
        """
        boost = wanted.boost
        if wanted.is_plain:
            return (((wanted.terms[0], boost),),)
        weight = boost * idf(self._total, self._occurrences(wanted))
        share = boost * COMPOUND_WEIGHT / max(1, len(wanted.parts))
        ways = (
            tuple((term, self._share(term, weight)) for term in wanted.terms),
            *(((term, own * self._share(term, weight)),) for term, own in wanted.others),
            tuple((term, COMPOUND_WEIGHT * self._share(term, weight)) for term in wanted.compounds),
            tuple((part, share) for part in wanted.parts),
            *(((term, boost * spelling.CORRECTION_WEIGHT),) for term in wanted.nearest),
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


def repeated_boost(times: int, length: int) -> float:
    """The boost of a word that a query of `length` words says `times` times: 1 to `times`.

    It is Okapi BM25's (k3 + 1) · times / (k3 + times), with a k3 in proportion to the length, as
    k1 is for passages. A word that a page repeats is its subject; in one sentence it is grammar.

    >>> [round(repeated_boost(times, 20), 2) for times in (1, 2, 4)]
    [1.0, 1.0, 1.0]
    >>> [round(repeated_boost(times, 220), 2) for times in (1, 2, 4)]
    [1.0, 1.91, 3.5]
    """
    k3 = K3_PER_WORD * max(0, length - SENTENCE_WORDS)
    return (k3 + 1) * times / (k3 + times)


def max_word_bm25(total: int) -> float:
    """The supremum of the BM25 score of a word that none of `total` passages contains."""
    return _MAX_TF_FACTOR * idf(total, 0)


def _single_terms(word: QueryWord) -> tuple[str, ...]:
    """The terms of a word without phrases, which are slow to count."""
    return (*word.terms, *(term for term, _ in word.others if " " not in term))


def _is_chain(word: QueryWord) -> bool:
    """Whether it is what stands in one, of several pieces, as one word."""
    return not (word.terms or word.needs or any(map(str.isspace, word.typed)))


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


def _first_written(terms: Sequence[str], written: Mapping[str, str]) -> str:
    """The first of these terms that a passage has, as it writes it; empty if it has none."""
    return next((written[term] for term in terms if term in written), "")


def _merged(one: KeywordWord, other: KeywordWord) -> KeywordWord:
    """Two terms of the same written word; the numbers are those of the more frequent term."""
    most = max(one, other, key=lambda word: (word.documents, word.times))
    return replace(most, terms=(*one.terms, *other.terms), score=one.score + other.score)


def surface_forms(chunk: Chunk) -> dict[str, str]:
    """The terms of a passage → the first word of its text or title with that term."""
    found: dict[str, str] = {}
    for text in (chunk.text, chunk.title):
        for word in words(text, chunk.language):
            found.setdefault(word.term, text[word.start : word.end])
    return found


__all__ = [
    "COMPOUND_WEIGHT",
    "K3_PER_WORD",
    "MAX_COMPOUNDS",
    "MAX_WORDS",
    "SENTENCE_WORDS",
    "AnalysedQuery",
    "KeywordQuery",
    "max_word_bm25",
    "repeated_boost",
    "surface_forms",
]
