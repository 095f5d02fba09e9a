"""Metrics of rankings, and the rank correlation of similarities.

nDCG, MRR and recall are those of BEIR (pytrec_eval): linear gains, a discount of log2(rank + 1).
Queries without any relevant document are excluded by `values_by_query`.

This module does not search and loads no model; `datasets` reads the relevance judgements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retriever.types import UsageError

Judgements = Mapping[str, float]
"""Document id → relevance to one query; documents at 0 or below, or missing, are not relevant."""

Measure = Callable[[Sequence[str], Judgements], float]
"""(a ranking of document ids, judgements) → 0 to 1."""


def ndcg_at(k: int, ranking: Sequence[str], judged: Judgements) -> float:
    """Normalised discounted cumulative gain of the first `k` documents: 0 to 1.

    >>> round(ndcg_at(10, ["b", "a"], {"a": 1}), 4)
    0.6309
    """
    ideal = _dcg(sorted((gain for gain in judged.values() if gain > 0), reverse=True)[:k])
    gains = [max(judged.get(document, 0.0), 0.0) for document in _first(k, ranking)]
    return _dcg(gains) / ideal if ideal else 0.0


def mrr_at(k: int, ranking: Sequence[str], judged: Judgements) -> float:
    """The reciprocal rank of the first relevant document among the first `k`; 0 without one.

    >>> mrr_at(10, ["b", "a"], {"a": 1})
    0.5
    """
    for rank, document in enumerate(_first(k, ranking), 1):
        if judged.get(document, 0) > 0:
            return 1 / rank
    return 0.0


def recall_at(k: int, ranking: Sequence[str], judged: Judgements) -> float:
    """The share of the relevant documents that are among the first `k`.

    >>> recall_at(1, ["a", "b"], {"a": 1, "b": 2})
    0.5
    """
    relevant = {document for document, gain in judged.items() if gain > 0}
    return len(relevant & set(_first(k, ranking))) / len(relevant) if relevant else 0.0


MEASURES: Mapping[str, Measure] = {
    "ndcg@10": partial(ndcg_at, 10),
    "mrr@10": partial(mrr_at, 10),
    "recall@10": partial(recall_at, 10),
    "recall@100": partial(recall_at, 100),
}


def values_by_query(
    measure: Measure, rankings: Mapping[str, Sequence[str]], qrels: Mapping[str, Judgements]
) -> dict[str, float]:
    """Query id → the measure's value, for all queries with a relevant document.

    A missing ranking counts as an empty one.

    >>> values_by_query(MEASURES["mrr@10"], {"q": ["a"]}, {"q": {"a": 1}, "p": {"a": 0}})
    {'q': 1.0}
    """
    return {
        query: measure(rankings.get(query, ()), judged)
        for query, judged in qrels.items()
        if any(gain > 0 for gain in judged.values())
    }


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation of two (n,) arrays, -1 to 1; ties have their mean rank.

    Nan if undefined: fewer than two values, only equal values, or a nan among them.

    >>> spearman([1, 2, 3], [10, 30, 20])
    0.5
    """
    left, right = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 1:
        raise UsageError(
            f"a rank correlation needs two lists of the same length; they have the shapes "
            f"{left.shape} and {right.shape}"
        )
    if np.isnan(left).any() or np.isnan(right).any():
        return math.nan
    x, y = _centred_ranks(left), _centred_ranks(right)
    length = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / length if length else math.nan


def _dcg(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def _first(k: int, ranking: Sequence[str]) -> list[str]:
    """The first `k` distinct documents, each at its first rank."""
    return list(dict.fromkeys(ranking))[:k]


def _centred_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks (n,), ties with their mean rank, minus the mean of all."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse] - (len(values) + 1) / 2


__all__ = [
    "MEASURES",
    "Judgements",
    "Measure",
    "mrr_at",
    "ndcg_at",
    "recall_at",
    "spearman",
    "values_by_query",
]
