"""Calibration of sentences that are compared with each other: mean and soft whitening.

Directions in which all sentences vary strongly say little about any two of them and are damped:

    x = normalise((raw − mean) · M),   M = (I + C/ρ)^(−½)

with their covariance C. The map is linear: it maps the terms of a sum to the terms of the mapped
sum. Search does not use it, because whitening was found to hurt retrieval. This module works on
arrays only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retriever.arrays import DoubleVectors, Vectors, centred, normalise, shrunk_mean

ZCA_POWER = 0.5
"""The power of ZCA whitening, which keeps the axes; 0 leaves all directions unchanged."""

_NO_VARIANCE = 1e-12  # relative to the largest one: below it, a direction is a rounding error


@dataclass(frozen=True, slots=True)
class SentenceMap:
    """The calibration of sentences: a mean (dim,) and a symmetric matrix (dim, dim), float32."""

    mean: Vectors
    matrix: Vectors

    def apply(self, vectors: Vectors) -> Vectors:
        """`normalise((raw − mean) · matrix)`: (..., dim) → (..., dim); a zero row stays zero."""
        return normalise(centred(vectors, self.mean) @ self.matrix)


def sentence_map(vectors: Vectors, prior: Vectors, power: float = ZCA_POWER) -> SentenceMap:
    """The map for sentences with these raw unit vectors (n, dim), fitted without labels.

    `prior` is the mean of general texts (dim,), see `shrunk_mean`. Rows of zeros (empty texts) do
    not count. With at most one sentence, or with power 0, only the mean is subtracted.
    """
    rows = np.asarray(vectors, dtype=np.float32)
    rows = rows[np.any(rows != 0, axis=-1)]
    mean = shrunk_mean(rows, prior)
    if len(rows) < rows.shape[1]:
        return SentenceMap(mean, _whitening_of_few(rows, mean, power))
    return SentenceMap(mean, soft_whitening(shrunk_covariance(rows, mean), power))


def shrunk_covariance(vectors: Vectors, mean: Vectors) -> DoubleVectors:
    """The covariance of `vectors` (n, dim) about `mean`, shrunk towards a multiple of the identity.

    (n·S + dim·v·I) / (n + dim), where v is the mean variance of a direction. The prior counts for
    as many vectors as there are dimensions, because fewer do not determine a covariance. The
    covariance of the general texts would not be a better prior: a few dozen texts span only a few
    dozen directions.
    """
    moved = np.asarray(vectors, dtype=np.float64) - mean
    count, dim = moved.shape
    total = moved.T @ moved
    variance = np.trace(total) / (max(count, 1) * dim)
    shrunk: DoubleVectors = (total + dim * variance * np.eye(dim)) / (count + dim)
    return shrunk


def soft_whitening(covariance: DoubleVectors, power: float = ZCA_POWER) -> Vectors:
    """`(I + C/ρ)^(−power)`, (dim, dim), symmetric, float32: strong directions are damped.

    ρ = tr(C²)/tr(C) is the mean variance of a direction, weighted by that variance. Directions with
    less variance are nearly unchanged, where whitening (ρ → 0) would amplify their noise. The scale
    of C does not matter. Without variance, or with power 0, the result is the identity.

    >>> soft_whitening(np.diag([2.0, 2.0])).round(3)
    array([[0.707, 0.   ],
           [0.   , 0.707]], dtype=float32)
    """
    variances, axes = np.linalg.eigh(covariance)
    variances = np.maximum(variances, 0)  # rounding leaves some a little below zero
    total = variances.sum()
    if total > 0:
        # Divided first, so that the square of a tiny variance is not lost.
        shares = variances / total
        variances = shares / np.square(shares).sum()
    damped = (axes * (1 + variances) ** -power) @ axes.T
    matrix: Vectors = ((damped + damped.T) / 2).astype(np.float32)
    return matrix


def _whitening_of_few(vectors: Vectors, mean: Vectors, power: float) -> Vectors:
    """`soft_whitening` of `shrunk_covariance`, for fewer vectors (n, dim) than dimensions.

    They vary in at most n directions; in all others the covariance is the prior's. The directions
    come from the n × n Gram matrix: n³ steps instead of dim³.
    """
    moved = np.asarray(vectors, dtype=np.float64) - mean
    count, dim = moved.shape
    squares, axes = np.linalg.eigh(moved @ moved.T)
    squares = np.maximum(squares, 0)
    level = squares.sum() / max(count, 1)
    variances = np.append(squares + level, level)  # times n + dim; the scale does not matter
    times = np.append(np.ones(count), dim - count)
    total = times @ variances
    if total > 0:
        shares = variances / total
        variances = shares / (times @ np.square(shares))
    *damped, rest = (1 + variances) ** -power
    there = squares > _NO_VARIANCE * squares.max(initial=0)
    directions = axes[:, there].T @ moved / np.sqrt(squares[there])[:, None]
    matrix = (directions.T * (np.array(damped)[there] - rest)) @ directions
    matrix[np.diag_indices(dim)] += rest
    symmetric: Vectors = ((matrix + matrix.T) / 2).astype(np.float32)
    return symmetric
