"""The calibrated vector: what is common to all texts is taken away before two are compared.

An LLM's raw vectors share a large common part: every cosine is high, whatever the texts. Two means
are removed, one for passages and one for queries, because the two prompts leave different common
parts:

    x = normalise(raw − mean)

The means are fitted on unlabelled vectors handed in: passages of the corpus, and sentences of the
corpus read through the query prompt (no user's query is ever needed). A small corpus says little
about what is common to *all* texts, so its mean shrinks towards a prior: the mean of a fixed set
of general texts read by the same model. This module knows arrays only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

PRIOR_WEIGHT = 16.0
"""How many vectors of the corpus the prior counts for: with 16 chunks each has half the say."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The two means, each (dim,), float32, of raw unit vectors."""

    passage_mean: Vectors
    query_mean: Vectors


def apply(vectors: Vectors, mean: Vectors | None) -> Vectors:
    """`normalise(raw − mean)`: (..., dim) → (..., dim), float32; a zero row stays zero.

    >>> apply(np.array([[3.0, 5.0]], dtype=np.float32), np.array([0.0, 1.0], dtype=np.float32))
    array([[0.6, 0.8]], dtype=float32)
    """
    raw = np.asarray(vectors, dtype=np.float32)
    if mean is None:
        return normalise(raw)
    # An all-zero row is "no vector" (an empty text), not a text at the origin: it has no direction.
    present = np.any(raw != 0, axis=-1, keepdims=True)
    return normalise(np.where(present, raw - mean, raw))


def normalise(vectors: Vectors) -> Vectors:
    """Rows scaled to length one: (..., dim) → (..., dim); a zero row stays zero."""
    vectors = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    units: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return units


def shrunk_mean(vectors: Vectors, prior: Vectors, weight: float = PRIOR_WEIGHT) -> Vectors:
    """The mean of `vectors` (n, dim), drawn towards `prior` (dim,) as if by `weight` more vectors.

    With no vectors it is the prior; with many, the vectors' own mean.
    """
    count = len(vectors)
    if count == 0:
        return np.asarray(prior, dtype=np.float32)
    total = np.asarray(vectors, dtype=np.float64).sum(axis=0) + weight * prior
    mean: Vectors = (total / (count + weight)).astype(np.float32)
    return mean
