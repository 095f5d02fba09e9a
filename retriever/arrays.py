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


__all__ = [
    "DoubleScores",
    "DoubleVectors",
    "Integers",
    "Keys",
    "Mask",
    "Scores",
    "Vectors",
    "normalise",
]
