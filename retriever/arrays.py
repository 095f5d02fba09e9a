"""The arrays that stages hand to each other: one name for one precision.

Single precision is stored and searched; double precision is for intermediate results. The
docstrings of the functions give the shapes.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Vectors: (dim,) or (n, dim)."""

MAX_DIMENSION = 65_536
"""No model has more numbers in a vector."""

Scores = NDArray[np.float32]
"""Similarities and BM25 scores as they are searched and shown: (n,), larger is better."""

DoubleVectors = NDArray[np.float64]
"""Vectors that are summed, before rounding: (n, dim)."""

DoubleScores = NDArray[np.float64]
"""Scores before rounding: (n,)."""

Keys = NDArray[np.int64]
"""The keys of chunks, or of vectors: (n,)."""

Integers = NDArray[np.int64]
"""Positions or counts: (n,)."""

Mask = NDArray[np.bool_]
"""Booleans, one for each row: (n,)."""


PRIOR_WEIGHT = 16.0
"""The prior of `shrunk_mean` counts for this many vectors of a corpus."""

Float = TypeVar("Float", np.float32, np.float64)


def normalise(vectors: NDArray[Float], least: float = 0.0) -> NDArray[Float]:
    """Rows scaled to length one, in their precision: (..., dim) → (..., dim).

    A row whose length is at most `least` has no direction and becomes zero.

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
    # An all-zero row means "no vector" (an empty text), not a text at the origin: it stays zero.
    present = np.any(raw != 0, axis=-1, keepdims=True)
    return normalise(np.where(present, raw - mean, raw))


def shrunk_mean(vectors: Vectors, prior: Vectors, weight: float = PRIOR_WEIGHT) -> Vectors:
    """The mean of `vectors` (n, dim), shrunk towards `prior` (dim,).

    The prior counts for `weight` more vectors. It is the mean of general texts, since a small
    corpus says little about what all texts have in common. Without vectors the result is the
    prior; with many it is nearly their own mean.
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
