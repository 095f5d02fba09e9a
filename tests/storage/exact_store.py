"""The reference for vector stores: brute force over one array."""

from __future__ import annotations

import numpy as np

from retriever.arrays import Keys, Scores, Vectors
from retriever.storage.vectors.exact import check_query, check_vectors, max_norm, nearest


class ExactStore:
    """All vectors in one array (n, dim); ids (n,) are int64 and unique."""

    kind = "exact"

    def __init__(self, ids: Keys, vectors: Vectors) -> None:
        ids, vectors = check_vectors(ids, vectors)
        order = np.argsort(ids)
        self._ids = ids[order]
        self._vectors = vectors[order]
        self._max_norm = max_norm(vectors)

    def __len__(self) -> int:
        return len(self._ids)

    def search(self, query: Vectors, k: int, allowed: Keys | None = None) -> tuple[Keys, Scores]:
        """See `FaissStore.search`."""
        query = check_query(query, self._vectors.shape[1])
        mask = None if allowed is None else np.isin(self._ids, allowed)
        return nearest(self._ids, self._vectors, query, k, mask, self._max_norm)
