"""A trial: an index is searched as if it had an adapter, and nothing of it changes.

A map of queries alone needs no more than another calibration. With a map M of both sides, passages
would be other vectors; the best ones are found among the stored vectors x by

    y · M x = (Mᵀ y) · x

and ranked by y · M x / |M x|, as an index with the adapter ranks them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from retriever.arrays import Integers, Scores, Vectors, normalise
from retriever.storage.adapter import Adapter
from retriever.storage.backends import Snapshot
from retriever.storage.backends.protocols import PassageSearch, ScoredIds
from retriever.storage.filters import Filter

CANDIDATES = 2_000
"""Nearest stored vectors among which the nearest mapped ones are sought."""

SAMPLE = 4_096
"""Passages from whose cosines the mean and the spread of a query's scores are taken."""


class MappedPassages:
    """`PassageSearch` of passages that an adapter maps; all else is that of the index."""

    def __init__(self, inner: PassageSearch, adapter: Adapter, sample: Vectors) -> None:
        """`sample` (m, dim) are mapped vectors of some passages."""
        self._inner, self._adapter, self._sample = inner, adapter, sample

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def begin_dense(self, query: Vectors, k: int, where: Filter | None = None) -> None:
        """See `PassageSearch.begin_dense`: nothing is begun."""

    def dense(self, query: Vectors, k: int, where: Filter | None = None) -> ScoredIds:
        """See `PassageSearch.dense`."""
        drawn = normalise(self._adapter.matrix.T @ query)
        ids = self._inner.dense(drawn, max(k, CANDIDATES), where).ids
        scores = self.vectors(ids) @ query
        order: Integers = np.lexsort((np.array(ids), -scores))[:k] if ids else np.empty(0, np.int64)
        every = (self._sample @ query).astype(np.float64)
        return ScoredIds(
            tuple(ids[at] for at in order),
            scores[order].astype(np.float32),
            float(every.mean()) if len(every) else 0.0,
            float(every.std()) if len(every) else 0.0,
        )

    def dense_scores(self, query: Vectors, chunk_ids: Sequence[str]) -> Scores:
        """See `PassageSearch.dense_scores`."""
        if not chunk_ids:
            return np.zeros(0, np.float32)
        scores: Scores = (self.vectors(chunk_ids) @ query).astype(np.float32)
        missing = self._inner.without_vector(chunk_ids)
        if missing:
            average = float((self._sample @ query).mean())
            scores[[at for at, id_ in enumerate(chunk_ids) if id_ in missing]] = average
        return scores

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        """See `PassageSearch.vectors`."""
        return self._adapter.passage(self._inner.vectors(chunk_ids))


def trial(now: Snapshot, adapter: Adapter) -> Snapshot:
    """A snapshot of the same generation that searches with this adapter; the index has none."""
    passages = now.passages
    if adapter.of_passages:
        sample = adapter.passage(now.calibration.passage(now.catalog.sample_vectors(SAMPLE)))
        passages = cast(PassageSearch, MappedPassages(passages, adapter, sample))
    made = Snapshot(now.catalog, passages)
    made.calibration = replace(now.calibration, adapter=adapter)
    return made


def weighted(now: Snapshot, facts: Mapping[str, Any]) -> Snapshot:
    """The same snapshot with a dense weight as `fit_dense_weight` found it."""
    now.dense_weight = float(facts.get("dense_weight", 1.0))
    return now


__all__ = ["MappedPassages", "trial", "weighted"]
