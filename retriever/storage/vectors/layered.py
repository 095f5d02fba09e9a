"""A vector store with updates: an immutable base, a tail of newer vectors, and removed ids.

Every change gives a new `LayeredStore`; running searches keep theirs. (Lucene: segments and deleted
documents.) An id is in the base or in the tail.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from retriever.arrays import Keys, Mask, Scores, Vectors
from retriever.storage.vectors.exact import (
    check_query,
    check_vectors,
    inner_products,
    nearest,
    top_k,
)
from retriever.storage.vectors.faiss import FaissStore, Fetch


class Tail:
    """Vectors in the order of their ids, in buffers that later tails share and append to.

    A tail sees only the first `len(self)` rows, which are never overwritten.
    """

    def __init__(self, ids: Keys, vectors: Vectors, used: list[int], length: int) -> None:
        self._id_buffer = ids
        self._vector_buffer = vectors
        self._used = used  # shared: how many rows of the buffers some tail uses
        self._length = length

    @classmethod
    def empty(cls, dimension: int) -> Self:
        """A tail of no vectors."""
        return cls(np.empty(0, np.int64), np.empty((0, dimension), np.float32), [0], 0)

    def __len__(self) -> int:
        return self._length

    @property
    def dimension(self) -> int:
        """The dimension of the vectors."""
        return int(self._vector_buffer.shape[1])

    @property
    def ids(self) -> Keys:
        """The ids (n,), ascending."""
        return self._id_buffer[: self._length]

    @property
    def vectors(self) -> Vectors:
        """The vectors (n, dim)."""
        return self._vector_buffer[: self._length]

    def extended(self, ids: Keys, vectors: Vectors) -> Tail:
        """A tail with more vectors (m, dim); call it from one thread at a time."""
        ids, vectors = check_vectors(ids, vectors)
        if len(self) and len(ids) and ids[0] < self.ids[-1]:
            return self._merged(ids, vectors)
        length = self._length + len(ids)
        tail = self
        if length > len(self._id_buffer) or self._used[0] != self._length:
            tail = self._copied(max(length, 2 * self._length, 256))
        tail._id_buffer[self._length : length] = ids
        tail._vector_buffer[self._length : length] = vectors
        tail._used[0] = length
        return Tail(tail._id_buffer, tail._vector_buffer, tail._used, length)

    def _merged(self, ids: Keys, vectors: Vectors) -> Tail:
        """A tail in buffers of its own, with ids before the last one."""
        ids = np.append(self.ids, ids)
        order = np.argsort(ids)
        return Tail(
            ids[order], np.concatenate([self.vectors, vectors])[order], [len(ids)], len(ids)
        )

    def _copied(self, capacity: int) -> Tail:
        ids = np.empty(capacity, np.int64)
        vectors = np.empty((capacity, self._vector_buffer.shape[1]), np.float32)
        ids[: self._length] = self.ids
        vectors[: self._length] = self.vectors
        return Tail(ids, vectors, [self._length], self._length)


class LayeredStore:
    """Base + tail − removed. Norms are at most 1."""

    def __init__(
        self, base: FaissStore | None, tail: Tail, removed: Keys, kind: str = "exact"
    ) -> None:
        self.base = base
        self.tail = tail
        self.removed = removed
        self.kind = base.kind if base is not None else kind
        self._base_mask = None if base is None else _without(base.ids, removed)
        self._tail_mask = _without(tail.ids, removed)

    def __len__(self) -> int:
        masks = (self._base_mask, self._tail_mask)
        gone = sum(int(np.count_nonzero(~mask)) for mask in masks if mask is not None)
        return (0 if self.base is None else len(self.base)) + len(self.tail) - gone

    @property
    def is_exact(self) -> bool:
        """Whether all vectors are in memory, so that `all_scores` and `vectors` can be called."""
        return self.base is None or not len(self.base) or self.base.exact_vectors is not None

    def extended(self, ids: Keys, vectors: Vectors) -> LayeredStore:
        """The store with more vectors (m, dim), whose ids ascend and are new."""
        return LayeredStore(self.base, self.tail.extended(ids, vectors), self.removed, self.kind)

    def has(self, ids: Keys) -> Mask:
        """Which of the ids have a vector, removed ones included: (m,)."""
        found = _contains(self.tail.ids, ids)
        return found if self.base is None else found | _contains(self.base.ids, ids)

    def without(self, ids: Keys) -> LayeredStore:
        """The store without these ids; unknown ids are ignored."""
        if not len(ids):
            return self
        return LayeredStore(self.base, self.tail, np.union1d(self.removed, ids), self.kind)

    def search(
        self, query: Vectors, k: int, allowed: Keys | None = None, *, fetch: Fetch | None = None
    ) -> tuple[Keys, Scores]:
        """See `FaissStore.search`; `fetch` gives exact vectors if the base has none."""
        query = check_query(query, self.tail.dimension)
        mask = _and(self._tail_mask, within(self.tail.ids, allowed))
        ids, scores = nearest(self.tail.ids, self.tail.vectors, query, k, mask)
        if self.base is None:
            return ids, scores
        mask = _and(self._base_mask, within(self.base.ids, allowed))
        more, their = self.base.search_masked(query, k, mask, fetch)
        return top_k(np.append(more, ids), np.append(their, scores), k)

    def all_scores(self, query: Vectors) -> Scores:
        """The scores of all vectors (n,), in no order; only if `is_exact`."""
        parts = [_masked(inner_products(self.tail.vectors, query), self._tail_mask)]
        base = None if self.base is None else self.base.exact_vectors
        if base is not None:
            parts.append(_masked(inner_products(base, query), self._base_mask))
        return np.concatenate(parts)

    def vectors(self, ids: Keys) -> Vectors:
        """The vectors (n, dim) of existing ids, in this order; only if `is_exact`."""
        in_tail = np.isin(ids, self.tail.ids)
        found = np.empty((len(ids), self.tail.dimension), np.float32)
        found[in_tail] = self.tail.vectors[np.searchsorted(self.tail.ids, ids[in_tail])]
        base = None if self.base is None else self.base.exact_vectors
        if self.base is not None and base is not None:
            found[~in_tail] = base[np.searchsorted(self.base.ids, ids[~in_tail])]
        return found


def _without(ids: Keys, removed: Keys) -> Mask | None:
    mask = np.isin(ids, removed, invert=True) if len(removed) else None
    return None if mask is None or mask.all() else mask


def _contains(ascending: Keys, ids: Keys) -> Mask:
    places = np.searchsorted(ascending, ids)
    found = places < len(ascending)
    found[found] = ascending[places[found]] == ids[found]
    return found


def within(ids: Keys, allowed: Keys | None) -> Mask | None:
    """Which of the ascending `ids` (n,) are allowed: (n,), None for all.

    The time depends on the number of allowed ids, which is often far below that of all.
    """
    if allowed is None:
        return None
    mask = np.zeros(len(ids), dtype=bool)
    places = np.searchsorted(ids, allowed)
    inside = places < len(ids)
    places = places[inside]
    mask[places[ids[places] == allowed[inside]]] = True
    return mask


def _and(one: Mask | None, other: Mask | None) -> Mask | None:
    if one is None or other is None:
        return other if one is None else one
    return np.logical_and(one, other)


def _masked(scores: Scores, mask: Mask | None) -> Scores:
    return scores if mask is None else scores[mask]


__all__ = ["LayeredStore", "Tail", "within"]
