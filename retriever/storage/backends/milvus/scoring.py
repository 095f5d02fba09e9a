"""Exact BM25 scores of some passages, by their terms: the same formula as of the embedded index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from retriever.arrays import DoubleScores, Keys, Vectors
from retriever.storage.backends.milvus.weights import split_terms
from retriever.storage.catalog.keywords import score_query
from retriever.storage.catalog.postings import frequency_factors, idf
from retriever.storage.records import TermQuery
from retriever.text.analyzer import count_term


@dataclass(eq=False)
class Passage:
    """What a search knows of a passage; `vector` is calibrated, None before it is read.

    One that is not `embedded` has none.
    """

    key: int
    stored_terms: str = field(repr=False)
    length: int = 0
    embedded: bool = False
    vector: Vectors | None = field(default=None, repr=False)

    @cached_property
    def terms(self) -> list[str]:
        """Its terms in order, with boundaries."""
        return split_terms(self.stored_terms)

    @cached_property
    def times(self) -> Counter[str]:
        """How often it has each term."""
        return Counter(self.terms)

    def has(self, term: str) -> int:
        """How often it has a term or phrase."""
        if " " not in term:
            return self.times[term]
        parts = term.split(" ")
        return count_term(self.terms, term) if all(map(self.times.__contains__, parts)) else 0


@dataclass(frozen=True, slots=True)
class Collection:
    """What the scores of single passages depend on: `counts` are document frequencies."""

    total: int
    average: float
    counts: Mapping[str, int]

    def idf(self, term: str) -> float:
        """The inverse document frequency of a term or phrase; 0 for one that is nowhere."""
        documents = self.counts.get(term, 0)
        return idf(self.total, documents) if documents else 0.0

    def scores(self, query: TermQuery, passages: Sequence[Passage]) -> DoubleScores:
        """The BM25 score of each passage, 0 without a term of the query: (n,)."""
        found = score_query(query, _Scored(self, passages), self.total)
        scores = np.zeros(len(passages))
        scores[found.keys] = found.scores
        return scores


class _Scored:
    """The terms of some passages, whose keys are their places."""

    def __init__(self, collection: Collection, passages: Sequence[Passage]) -> None:
        self._collection = collection
        self._passages = passages
        self._lengths = np.array([passage.length for passage in passages], np.int64)

    def bm25(self, term: str) -> tuple[Keys, DoubleScores]:
        """See `ScoredTerms.bm25`."""
        times = np.array([passage.has(term) for passage in self._passages], np.int64)
        keys = np.flatnonzero(times)
        weight = self._collection.idf(term)
        if not len(keys) or not weight:
            return np.empty(0, np.int64), np.empty(0)
        average = self._collection.average
        return keys, weight * frequency_factors(times[keys], self._lengths[keys], average)


__all__ = ["Collection", "Passage"]
