"""Vector search inside one process: ids and vectors in, ids and similarities out.

A store knows nothing of texts, files or models. Scores are inner products of the vectors it was
given (cosine similarity for unit vectors), larger is better; ties are broken by the smaller id.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]
Scores = NDArray[np.float32]


class VectorStore(Protocol):
    """An immutable set of vectors that can be searched by any number of threads."""

    @property
    def kind(self) -> str:
        """Either "exact" or the FAISS factory string."""

    def __len__(self) -> int: ...

    def search(self, query: Vectors, k: int, allowed: Ids | None = None) -> tuple[Ids, Scores]:
        """The `k` nearest of `allowed` (all, if None): ids (m,), scores (m,), m = min(k, found).

        `query` is (dim,) float32. Best first. `allowed` restricts *before* the search.
        """
