"""Maximal marginal relevance: diverse results (Carbonell & Goldstein 1998).

Results are chosen one by one, each time the one with the largest

    λ · relevance − (1 − λ) · the largest cosine with a result chosen before

The first is the most relevant one. Ties keep their order. A result without a vector, which has not
been made yet, counts as like the others as these are like each other on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from retriever.arrays import Vectors, normalise
from retriever.searching.options import check_diversity
from retriever.types import Hit

CANDIDATES_PER_RESULT = 5
"""Number of candidates for each result."""


def mmr(
    relevance: Sequence[float] | NDArray[np.floating],
    vectors: Vectors,
    k: int,
    weight: float,
    known: Sequence[bool] | None = None,
) -> list[int]:
    """The positions of the `k` chosen candidates, in the order of choice.

    `relevance`: (n,), larger is better; `vectors`: (n, dim), any length; `weight`: λ in [0, 1];
    `known`: which candidates have a vector, all if None.

    >>> vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> mmr([0.9, 0.8, 0.5], vectors, 3, 0.5)
    [0, 2, 1]
    """
    wanted = np.asarray(relevance, dtype=np.float64)
    if not len(wanted) or k < 1:
        return []
    given = np.asarray(vectors, dtype=np.float64)
    units = normalise(given)
    has = np.ones(len(wanted), bool) if known is None else np.asarray(known, bool)
    average = _average_cosine(units[has])
    chosen = [int(np.argmax(wanted))]
    nearest = np.full(len(wanted), -np.inf)  # cosine with the nearest chosen one
    while len(chosen) < min(k, len(wanted)):
        last = chosen[-1]
        cosines = np.where(has & has[last], units @ units[last], average)
        nearest = np.maximum(nearest, cosines)
        gain = weight * wanted - (1 - weight) * nearest
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
    return chosen


def _average_cosine(units: NDArray[np.float64]) -> float:
    """The mean cosine of two different unit vectors of these (n, dim); 0 for fewer than two."""
    count = len(units)
    if count < 2:
        return 0.0
    whole = units.sum(axis=0)
    return float((whole @ whole - count) / (count * (count - 1)))


def diversify(
    hits: Sequence[Hit],
    vectors: Vectors,
    k: int,
    diversity: float,
    known: Sequence[bool] | None = None,
) -> list[Hit]:
    """`k` of the hits, best first, chosen with λ = 1 - `diversity`; `vectors` (n, dim) are theirs.

    Relevance is the score scaled to [0, 1], 0 for the worst hit and 1 for the best, so that it is
    comparable with a cosine in every mode. Hits keep their scores, so scores need not fall from hit
    to hit; ranks are new. Raises UsageError for a diversity outside of [0, 1].
    """
    check_diversity(diversity)
    scores = np.array([hit.score for hit in hits], dtype=np.float64)
    relevance = scores - scores.min() if len(scores) else scores
    if relevance.any():
        relevance /= relevance.max()
    chosen = mmr(relevance, vectors, k, 1 - diversity, known)
    return [replace(hits[at], rank=rank) for rank, at in enumerate(chosen, 1)]


__all__ = ["CANDIDATES_PER_RESULT", "diversify", "mmr"]
