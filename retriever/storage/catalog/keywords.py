"""Scoring of a `TermQuery`: the BM25 score of every chunk that contains one of its terms.

Terms are analysed and boosted already (see `retriever.storage.backends.keyword_query`). This module
knows nothing of words, languages and spelling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from retriever.arrays import DoubleScores, Keys
from retriever.storage.records import TermQuery, WeightedTerms


class ScoredTerms(Protocol):
    """Chunks with the BM25 scores of single terms. A term with spaces is a phrase."""

    def bm25(self, term: str) -> tuple[Keys, DoubleScores]:
        """The term's chunks: keys (m,) ascending, small numbers, and BM25 scores (m,) > 0."""


@dataclass(frozen=True, slots=True)
class Matches:
    """All chunks with a term of the query: keys (m,) ascending, BM25 scores (m,) > 0.

    `total` is the number of all chunks, matching or not.
    """

    keys: Keys
    scores: DoubleScores
    total: int

    @property
    def mean(self) -> float:
        """The mean score over all chunks; a chunk without a query word scores 0."""
        return float(self.scores.sum()) / self.total if self.total else 0.0

    @property
    def std(self) -> float:
        """The standard deviation over all chunks; a chunk without a query word scores 0."""
        if not self.total:
            return 0.0
        square = float(np.square(self.scores).sum()) / self.total
        return float(np.sqrt(max(0.0, square - self.mean**2)))


def score_query(query: TermQuery, terms: ScoredTerms, total: int) -> Matches:
    """The chunks that match the query; `total` is the number of all chunks."""
    words = [_best([_weighted(one, terms) for one in word]) for word in query.words]
    return Matches(*_merged(words, np.add), total)


def _best(alternatives: Sequence[tuple[Keys, DoubleScores]]) -> tuple[Keys, DoubleScores]:
    return _merged(alternatives, np.maximum)


def _weighted(terms: WeightedTerms, postings: ScoredTerms) -> tuple[Keys, DoubleScores]:
    """The boosted sum of the terms' BM25 scores."""
    return _merged([_times(weight, postings.bm25(term)) for term, weight in terms], np.add)


def _times(weight: float, side: tuple[Keys, DoubleScores]) -> tuple[Keys, DoubleScores]:
    return side if weight == 1 else (side[0], weight * side[1])


def _merged(
    sides: Sequence[tuple[Keys, DoubleScores]], join: np.ufunc
) -> tuple[Keys, DoubleScores]:
    """Several (keys, scores) merged by key; `join` combines two scores, 0 where there is none."""
    there = [(keys, values) for keys, values in sides if len(keys)]
    if len(there) < 2:
        return there[0] if there else (np.empty(0, np.int64), np.empty(0))
    first = min(int(keys[0]) for keys, _ in there)
    scores = np.zeros(max(int(keys[-1]) for keys, _ in there) - first + 1)
    for keys, values in there:
        places = keys - first
        scores[places] = join(scores[places], values)
    found = np.flatnonzero(scores != 0)  # of booleans: ten times faster than of numbers
    return found + first, scores[found]


__all__ = ["Matches", "ScoredTerms", "score_query"]
