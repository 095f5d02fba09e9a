"""The arrays that stages hand to each other: one name for one precision.

Single precision is what is stored and searched, double what is computed with before it is rounded.
Shapes stand in the docstrings of the functions that give and take them.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Vectors: (dim,) or (n, dim)."""

Scores = NDArray[np.float32]
"""Similarities and BM25 scores as they are searched and shown: (n,), larger is better."""

DoubleVectors = NDArray[np.float64]
"""Vectors that are sums of parts: (n, dim)."""

DoubleScores = NDArray[np.float64]
"""Scores that are still computed with: (n,)."""

Keys = NDArray[np.int64]
"""The keys of chunks, or of vectors: (n,)."""

Integers = NDArray[np.int64]
"""Positions or counts: (n,)."""

Mask = NDArray[np.bool_]
"""Booleans, one for each row: (n,)."""


PRIOR_WEIGHT = 16.0
"""How many vectors of a corpus the prior of `shrunk_mean` counts for."""

Float = TypeVar("Float", np.float32, np.float64)


def normalise(vectors: NDArray[Float], least: float = 0.0) -> NDArray[Float]:
    """Rows scaled to length one, in their precision: (..., dim) → (..., dim).

    A row that is not longer than `least` has no direction and becomes zero.

    >>> normalise(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    units: NDArray[Float] = np.divide(
        vectors, lengths, out=np.zeros_like(vectors), where=lengths > least
    )
    return units


def centred(vectors: Vectors, mean: Vectors) -> Vectors:
    """`normalise(raw − mean)`: (..., dim) → (..., dim), float32; a zero row stays zero.

    >>> centred(np.array([[3.0, 5.0]], dtype=np.float32), np.array([0.0, 1.0], dtype=np.float32))
    array([[0.6, 0.8]], dtype=float32)
    """
    raw = np.asarray(vectors, dtype=np.float32)
    # An all-zero row is "no vector" (an empty text), not a text at the origin: it has no direction.
    present = np.any(raw != 0, axis=-1, keepdims=True)
    return normalise(np.where(present, raw - mean, raw))


def shrunk_mean(vectors: Vectors, prior: Vectors, weight: float = PRIOR_WEIGHT) -> Vectors:
    """The mean of `vectors` (n, dim), drawn towards `prior` (dim,) as if by `weight` more vectors.

    A small corpus says little about what is common to all texts; the prior is the mean of general
    texts.
    With no vectors it is the prior; with many, the vectors' own mean.
    """
    count = len(vectors)
    if count == 0:
        return np.asarray(prior, dtype=np.float32)
    total = np.asarray(vectors, dtype=np.float64).sum(axis=0) + weight * prior
    mean: Vectors = (total / (count + weight)).astype(np.float32)
    return mean


__all__ = [
    "PRIOR_WEIGHT",
    "DoubleScores",
    "DoubleVectors",
    "Integers",
    "Keys",
    "Mask",
    "Scores",
    "Vectors",
    "centred",
    "normalise",
    "shrunk_mean",
]
