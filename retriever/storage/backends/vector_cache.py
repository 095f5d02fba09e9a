"""A cache of exact calibrated vectors, for stores whose FAISS index holds only codes.

A search rescores some hundred candidates by their exact vectors. The next search, with feedback or
with other weights of the same words, needs many of them again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from retriever.arrays import Keys, Vectors

MAX_BYTES = 32 * 2**20
"""The size of the cache; the oldest entries are overwritten (first in, first out)."""


class VectorCache:
    """Vectors by key, shared by threads. A key's vector must never change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._place: dict[int, int] = {}
        self._keys = np.empty(0, np.int64)  # the key at each place; -1: empty
        self._vectors: Vectors = np.empty((0, 0), np.float32)
        self._next = 0

    def get(
        self, keys: Keys, fetch: Callable[[Keys], tuple[Keys, Vectors]]
    ) -> tuple[Keys, Vectors]:
        """Keys (m,) in the order given, without those gone, and vectors (m, dim).

        `fetch` gives the same for keys that are not in the cache.
        """
        with self._lock:
            places = np.array([self._place.get(key, -1) for key in keys.tolist()], np.int64)
            known = places >= 0
            if known.all() and len(keys):
                return keys, self._vectors[places]
            ours = self._vectors[places[known]]
        found, theirs = fetch(keys[~known])
        with self._lock:
            self._keep(found, theirs)
        if not known.any():
            return found, theirs
        present = known | np.isin(keys, found)
        both = np.empty((int(present.sum()), theirs.shape[1]), np.float32)
        both[known[present]] = ours
        both[~known[present]] = theirs
        return keys[present], both

    def _keep(self, keys: Keys, vectors: Vectors) -> None:
        """Store the vectors over the oldest entries."""
        if not len(keys):
            return
        if not len(self._keys):
            room = MAX_BYTES // max(1, 4 * vectors.shape[1])
            self._vectors = np.empty((room, vectors.shape[1]), np.float32)
            self._keys = np.full(room, -1, np.int64)
        for key, vector in zip(keys.tolist(), vectors, strict=True):
            if key in self._place:  # another thread was first
                continue
            self._place.pop(int(self._keys[self._next]), None)
            self._keys[self._next] = key
            self._vectors[self._next] = vector
            self._place[key] = self._next
            self._next = (self._next + 1) % len(self._keys)


__all__ = ["MAX_BYTES", "VectorCache"]
