"""Pseudo-relevance feedback: what the passages found first say, asked again with the query.

No label and no other model is needed: the best passages of a first search are taken for right. The
words that tell them from the rest join the query (relevance model RM3: Abdul-Jaleel et al., "UMass
at TREC 2004", each word by its weight in the model times how rare it is), and their vectors draw
the query's vector towards them (Rocchio's method, for dense vectors: Li et al., "Pseudo Relevance
Feedback with Deep Language Models and Dense Retrievers", 2021). The constants are within those of
the literature: 20 to 50 words are alike, with ten a single wrong one tells.

The query keeps half of the say on both sides, so that a passage with its rare word stays above;
more where the dense side misleads (see `fusion`), for it chose the first passages, too.
This module knows chunks, scores and vectors; `search` asks for them.
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
"""So many passages say which words are added."""

WORDS = 30
"""So many words are added."""

NEAREST = 3
"""So many passages draw the query's vector."""

SHARE = 0.5
"""What is added has this share of both sides, the query itself the rest."""

MAX_SHARE = 0.1
"""No more than a tenth of all chunks are taken for right."""

_BLOCK = 32  # terms are counted together


@dataclass(frozen=True, slots=True)
class Feedback:
    """A query as it is asked the second time.

    `vector`: raw, (dim,). `centroid` (dim,) is what the query's calibrated vector was added to, so
    that a passage x's cosine with `vector` is its cosine with the query plus `towards · x`, both
    over `length`.
    """

    expansion: Expansion
    vector: Vectors
    centroid: Vectors
    length: float


def passage_count(count: int) -> int:
    """How many of the first passages to ask for in an index of `count` chunks; 0: no feedback."""
    return min(PASSAGES, int(MAX_SHARE * count))


def rm3_expansion(
    found: Sequence[tuple[float, Sequence[str]]],
    query_words: int,
    term_counts: Callable[[Sequence[str]], Mapping[str, int]],
    total: int,
    share: float = SHARE,
) -> Expansion:
    """The words to add, of passages' scores and terms, best first.

    `query_words` is how many words the query is looked for by (its BM25 score is their sum),
    `term_counts` tells in how many of the `total` chunks terms occur.
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
    return Expansion((1 - share) / max(1, query_words), added)


def _term_values(
    relevance: Mapping[str, float],
    term_counts: Callable[[Sequence[str]], Mapping[str, int]],
    total: int,
) -> dict[str, float]:
    """How well terms tell the passages from the rest, of all that may be among the best.

    A word says more the fewer passages have it; one that most have says nothing. Counting is dear,
    and a word says most if no other passage has it: those that could not be among the best even so
    are not counted.
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
    """A raw query (dim,) drawn towards calibrated vectors (n, dim): `Feedback`'s last three."""
    own = means.query(query)
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
