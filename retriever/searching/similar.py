"""The passages that are nearest to a passage: by its stored vector, without a model."""

from __future__ import annotations

from retriever.storage.backends import Snapshot
from retriever.storage.filters import Filter
from retriever.types import Hit, UsageError


def similar(snapshot: Snapshot, chunk_id: str, k: int, where: Filter | None = None) -> list[Hit]:
    """The `k` passages nearest to the passage `chunk_id`, without itself, nearest first.

    Scores are cosines of calibrated vectors. Raises UsageError for an id that the index does not
    have, and for a passage without a vector.
    """
    if not snapshot.catalog.get([chunk_id]):
        raise UsageError(f"there is no passage {chunk_id!r} here; it may have changed")
    vector = snapshot.passages.vectors([chunk_id])[0]
    if not vector.any():
        raise UsageError(
            "this passage has no vector yet, so nothing can be compared with it; "
            "it gets one when the index is completed"
        )
    found = snapshot.passages.dense(vector, k + 1, where)
    scores = dict(zip(found.ids, map(float, found.scores), strict=True))
    scores.pop(chunk_id, None)
    ids = list(scores)[:k]
    chunks = {chunk.id: chunk for chunk in snapshot.catalog.get(ids)}
    return [
        Hit(rank, scores[each], chunks[each], dense=scores[each])
        for rank, each in enumerate(ids, 1)
    ]


__all__ = ["similar"]
