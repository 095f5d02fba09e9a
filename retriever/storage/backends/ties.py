"""Top-k by score, then chunk id. Ids, unlike keys, are the same in every rebuilt index."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from retriever.arrays import Keys, Scores
from retriever.storage.vectors.exact import top_k

_MAX_TIES = 10_000
"""With more chunks of equal score than this, ties are broken by key."""


def top_k_ids(
    search: Callable[[int], tuple[Keys, Scores]],
    k: int,
    ids_of: Callable[[Keys], Mapping[int, str]],
) -> tuple[tuple[str, ...], Scores]:
    """The ids of the `k` best chunks with scores (m,); ties are ordered by id.

    `search(n)` gives the n best keys with scores. It is called again with a larger n as long as
    its last result ties with the k-th.
    """
    if k <= 0:
        return (), np.empty(0, np.float32)
    wanted = k + 1
    keys, scores = search(wanted)
    while len(keys) == wanted and scores[-1] == scores[k - 1] and wanted < k + _MAX_TIES:
        wanted *= 4
        keys, scores = search(wanted)
    if len(keys) > k:
        tied = scores >= scores[k - 1]
        keys, scores = keys[tied], scores[tied]
    names = ids_of(keys)
    found = [(-score, names[key], score) for key, score in _pairs(keys, scores) if key in names]
    found = sorted(found)[:k]
    return tuple(name for _, name, _ in found), np.array([s for *_, s in found], dtype=np.float32)


def top_scores(keys: Keys, scores: Scores, count: int) -> tuple[Keys, Scores]:
    """The `count` best of scores (n,), best first, by partition instead of a full sort."""
    if 0 < count < len(keys):
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        keys, scores = keys[scores >= least], scores[scores >= least]
    return top_k(keys, scores, count)


def _pairs(keys: Keys, scores: Scores) -> list[tuple[int, float]]:
    return list(zip(keys.tolist(), scores.tolist(), strict=True))


__all__ = ["top_k_ids", "top_scores"]
