"""Exact k-nearest-neighbour search by brute force over an array.

Scores are computed twice: all of them in float32, then those near the top again in float64, row by
row. A matrix product may give equal rows sums that differ in the last digit, depending on their
position. The second pass gives equal rows equal scores, so that ties are broken by id.
"""

from __future__ import annotations

import numpy as np

from retriever.arrays import Keys, Scores, Vectors
from retriever.types import UsageError

_BLOCK = 4096  # rows held in float64 at once

MARGIN = 2e-5
"""Times both norms: a bound on the error of a float32 product in thousands of dimensions."""


def nearest(
    ids: Keys,
    vectors: Vectors,
    query: Vectors,
    k: int,
    mask: np.ndarray | None = None,
    length: float = 1.0,
) -> tuple[Keys, Scores]:
    """The k best rows of `vectors` (n, dim) for `query` (dim,): ids (m,) and scores (m,).

    `ids` (n,) ascend; `mask` (n,) selects the allowed rows; no row has a norm above `length`.
    """
    if mask is not None:
        rows = np.flatnonzero(mask)
        if 4 * len(rows) < len(ids):
            return nearest(ids[rows], vectors[rows], query, k, None, length)
    rough = inner_products(vectors, query)
    if mask is not None:
        rough = np.where(mask, rough, -np.inf)
    count = len(ids) if mask is None else len(rows)
    k = min(k, count)
    if k <= 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    kth = np.partition(rough, len(rough) - k)[len(rough) - k]
    margin = MARGIN * length * float(np.linalg.norm(query))
    chosen = np.flatnonzero(rough >= kth - margin)
    return top_k(ids[chosen], exact_scores(vectors, query, chosen), k)


def exact_scores(vectors: Vectors, query: Vectors, rows: np.ndarray) -> Scores:
    """Inner products of chosen rows with `query` (dim,), equal for equal rows: (m,)."""
    scores = np.empty(len(rows), dtype=np.float32)
    query64 = query.astype(np.float64)
    for start in range(0, len(rows), _BLOCK):
        block = vectors[rows[start : start + _BLOCK]].astype(np.float64)
        scores[start : start + _BLOCK] = np.einsum("nd,d->n", block, query64)
    return scores


def inner_products(vectors: Vectors, query: Vectors) -> Scores:
    """Inner products of all rows (n, dim) with `query` (dim,) in float32, single-threaded: (n,).

    On a busy machine, waiting for a matrix product's other threads costs more than they save.
    """
    scores: Scores = np.einsum("nd,d->n", vectors, query)
    return scores


def top_k(ids: Keys, scores: Scores, k: int) -> tuple[Keys, Scores]:
    """The k largest scores with their ids, best first; ties are ordered by id.

    >>> ids, scores = top_k(np.array([7, 3, 5]), np.array([0.5, 0.5, 0.9], dtype=np.float32), 2)
    >>> ids.tolist()
    [5, 3]
    """
    order = np.lexsort((ids, -scores))[: max(k, 0)]
    return ids[order], scores[order]


def max_norm(vectors: Vectors) -> float:
    """The largest L2 norm of the rows (n, dim), at least 1."""
    if not len(vectors):
        return 1.0
    return max(1.0, float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors).max())))


def check_vectors(ids: Keys, vectors: Vectors) -> tuple[Keys, Vectors]:
    """Ids and vectors as contiguous arrays of the right types, or a UsageError."""
    ids = np.ascontiguousarray(ids, dtype=np.int64)
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or ids.shape != (len(vectors),):
        raise UsageError(
            f"a store needs one id for each vector; it got ids {ids.shape}, vectors {vectors.shape}"
        )
    if len(np.unique(ids)) != len(ids):
        raise UsageError("a store was given the same id twice; each vector needs its own")
    if not np.isfinite(vectors).all():
        raise UsageError("a vector holds NaN or infinity; it cannot be searched")
    return ids, vectors


def check_query(query: Vectors, dimension: int) -> Vectors:
    """The query as float32 (dim,), or a UsageError with both numbers."""
    query = np.ascontiguousarray(query, dtype=np.float32)
    if query.shape != (dimension,):
        raise UsageError(
            f"the vectors have {dimension} dimensions; the query's shape is {query.shape}"
        )
    if not np.isfinite(query).all():
        raise UsageError("the query vector holds NaN or infinity; it cannot be searched with")
    return query


__all__ = [
    "MARGIN",
    "check_query",
    "check_vectors",
    "exact_scores",
    "inner_products",
    "max_norm",
    "nearest",
    "top_k",
]
