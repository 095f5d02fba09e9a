"""Pseudo-relevance feedback: a query is expanded by the best passages of a first search.

No labels and no other model are needed: the best passages of a first search are assumed to be
relevant.

- Keywords: words that distinguish these passages from the rest join the query. This is the
  relevance model RM3 (Abdul-Jaleel et al., "UMass at TREC 2004"), each word weighted by its
  probability in the model times its inverse document frequency.
- Vectors: the query's vector moves towards the passages' vectors. This is Rocchio's method for
  dense vectors (Li et al., "Pseudo Relevance Feedback with Deep Language Models and Dense
  Retrievers", 2021).

The constants are within the range of the literature: 20 to 50 words give similar results; with ten,
a single wrong word is noticeable.

The query keeps half of the weight on both sides, so that a passage with a rare word of the query
stays above. It keeps more where the dense side misleads (see `dense_weight`), since that side
selected the first passages, too. This module works on chunks, scores and vectors; `hybrid` asks for
them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from retriever.arrays import Vectors, normalise
from retriever.storage.calibration import Calibration
from retriever.storage.records import Expansion

PASSAGES = 10
"""Number of passages that words are taken from."""

WORDS = 30
"""Number of words added."""

NEAREST = 3
"""Number of passages that the query's vector moves towards."""

SHARE = 0.5
"""Share of the added words and vectors on both sides; the query has the rest."""

MAX_SHARE = 0.1
"""At most this share of all chunks is assumed to be relevant."""

_BLOCK = 32  # terms per count


@dataclass(frozen=True, slots=True)
class Feedback:
    """An expanded query: the words added, and the moved vector.

    `vector`: raw, (dim,). `centroid` (dim,) was added to the query's calibrated vector. So a
    passage x's cosine with `vector` is (cosine with the query + `centroid` · x) / `length`.
    """

    expansion: Expansion
    vector: Vectors
    centroid: Vectors
    length: float


def passage_count(count: int) -> int:
    """Number of passages assumed relevant in an index of `count` chunks; 0: no feedback."""
    return min(PASSAGES, int(MAX_SHARE * count))


def rm3_expansion(
    found: Sequence[tuple[float, Sequence[str]]],
    query_words: float,
    term_counts: Callable[[Sequence[str]], Mapping[str, int]],
    total: int,
    share: float = SHARE,
) -> Expansion:
    """The words to add, from passages' (score, terms), best first.

    `query_words` is the number of words of the query, repeated ones by their boosts: its BM25 score
    is a sum over them.
    `term_counts` gives the document frequencies of terms among the `total` chunks.
    """
    scores = np.array([score for score, _ in found])
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    relevance: dict[str, float] = defaultdict(float)
    for weight, (_, terms) in zip(weights.tolist(), found, strict=True):
        for term in terms:
            relevance[term] += weight / len(terms)
    value = _term_values(relevance, term_counts, total)
    best = sorted(value, key=lambda term: (-value[term], term))[:WORDS]
    whole = sum(value[term] for term in best) or 1.0
    added = tuple((term, share * value[term] / whole) for term in best)
    return Expansion((1 - share) / max(1.0, query_words), added)


def _term_values(
    relevance: Mapping[str, float],
    term_counts: Callable[[Sequence[str]], Mapping[str, int]],
    total: int,
) -> dict[str, float]:
    """Weights of all terms that may be among the best `WORDS`: probability × inverse frequency.

    A term counts more the fewer passages contain it; one that most passages contain counts nothing.
    Counting is slow. So terms are counted in order of probability, and counting stops once the
    remaining terms could not be among the best even if no other passage contained them.
    """
    most = log((total - 0.5) / 1.5)
    terms = sorted(relevance, key=lambda term: (-relevance[term], term))
    value: dict[str, float] = {}
    for start in range(0, len(terms), _BLOCK):
        if len(value) >= WORDS and sorted(value.values())[-WORDS] > relevance[terms[start]] * most:
            break
        for term, count in term_counts(terms[start : start + _BLOCK]).items():
            if 2 * count < total:
                value[term] = relevance[term] * log((total - count + 0.5) / (count + 0.5))
    return value


def rocchio(
    query: Vectors, nearest: Vectors, means: Calibration, share: float = SHARE
) -> tuple[Vectors, Vectors, float]:
    """A raw query (dim,) moved towards calibrated vectors (n, dim): vector, centroid, length."""
    own = means.query(query)
    if not len(nearest):
        return query, np.zeros_like(own), 1.0
    centroid = normalise(nearest.mean(axis=0)) * np.float32(share / (1 - share))
    both = own + centroid
    length = float(np.linalg.norm(both))
    if length == 0:
        return query, np.zeros_like(own), 1.0
    return means.raw_query(both / np.float32(length)), centroid, length


__all__ = [
    "NEAREST",
    "PASSAGES",
    "SHARE",
    "WORDS",
    "Feedback",
    "passage_count",
    "rm3_expansion",
    "rocchio",
]
