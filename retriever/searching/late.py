"""Search while passages have no vectors yet: the best candidates by words are embedded on the spot.

Indexing makes passages findable by words first, and gives them vectors later. A search in between
asks for the vectors of its best keyword candidates, and embeds the first few itself within a time
budget. It lends these vectors to its snapshot, and remembers them for later searches. A passage
that still has none counts on the dense side like an average one: its z-score is 0.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from retriever.arrays import Vectors
from retriever.embedding.protocols import Embedder
from retriever.searching.query_syntax import is_searchable
from retriever.storage.backends import CatalogReader, Snapshot
from retriever.storage.calibration import Calibration
from retriever.storage.filters import Filter

CANDIDATES = 32
"""Keyword candidates among which passages without a vector are wanted."""

MAX_REMEMBERED = 4_096
"""Vectors remembered by one index; the oldest are forgotten."""

MAX_BATCH = 8
"""Largest number of passages embedded between two looks at the clock."""

FORGET = 0.9
"""The pace counts so much after a search for which it was too slow."""


class LateVectors:
    """Raw vectors of passages that the index has no vectors of, by vector key; for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Vectors] = OrderedDict()
        self.pace: float | None = None
        """Seconds for a character, measured last; None before the first."""

    def get(self, keys: Iterable[str]) -> dict[str, Vectors]:
        """The vectors that are remembered."""
        with self._lock:
            return {key: self._known[key] for key in keys if key in self._known}

    def keep(self, vectors: Mapping[str, Vectors]) -> None:
        """Remember vectors."""
        with self._lock:
            self._known |= vectors
            while len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)


def wanted_passages(
    snapshot: Snapshot, query: str, where: Filter | None = None, *, tolerant: bool = False
) -> list[str]:
    """The ids of the best keyword candidates that have no vector, best first."""
    if not snapshot.some_pending or not is_searchable(query):
        return []
    ids = snapshot.keyword(query, CANDIDATES, where, tolerant=tolerant).ids
    missing = snapshot.passages.without_vector(ids)
    return [id_ for id_ in ids if id_ in missing]


def lend_vectors(
    snapshot: Snapshot,
    chunk_ids: Sequence[str],
    embedder: Embedder,
    memory: LateVectors,
    milliseconds: float = 0.0,
) -> None:
    """Lend a snapshot the vectors of passages that have none.

    They are those in memory and, within the time, new ones: as many as it suffices for by the speed
    so far. Only the very first passage, which measures the speed, is embedded whatever it takes.
    """
    inputs = {
        chunk.id: embedder.passage_input(chunk.text, chunk.title)
        for chunk in snapshot.catalog.get(chunk_ids)
    }
    keys = {id_: embedder.key(model_input) for id_, model_input in inputs.items()}
    known = memory.get(keys.values())
    new = {keys[id_]: one for id_, one in inputs.items() if keys[id_] not in known}
    if new and milliseconds > 0:
        made = _embed_within(new, embedder, milliseconds / 1000, memory)
        memory.keep(made)
        known |= made
    lent = {id_: known[key] for id_, key in keys.items() if key in known}
    if lent:
        snapshot.lend(lent, general_calibration(snapshot.catalog, embedder))


def general_calibration(catalog: CatalogReader, embedder: Embedder) -> Calibration | None:
    """The means with which vectors are lent to an index without means; None if it has its own."""
    if catalog.calibration_facts() is not None:
        return None
    return Calibration(*embedder.general_means())


def _embed_within(
    inputs: Mapping[str, str], embedder: Embedder, seconds: float, memory: LateVectors
) -> dict[str, Vectors]:
    """The vectors of the first inputs, by key, as many as the time allows."""
    started = time.monotonic()
    made: dict[str, Vectors] = {}
    waiting = list(inputs)
    while waiting:
        left = seconds - (time.monotonic() - started)
        some = waiting[: _fitting([len(inputs[key]) for key in waiting], left, memory.pace)]
        if not some:
            if not made and memory.pace is not None:
                memory.pace *= FORGET  # one busy moment does not decide for all searches to come
            break
        waiting = waiting[len(some) :]
        texts = [inputs[key] for key in some]
        before = time.monotonic()
        made |= zip(some, embedder.embed_inputs(texts), strict=True)
        memory.pace = (time.monotonic() - before) / sum(map(len, texts))
    return made


def _fitting(lengths: Sequence[int], seconds: float, pace: float | None) -> int:
    """How many of the next texts, by their lengths, can be embedded in this time.

    >>> [_fitting([10, 10, 10], *given) for given in ((2.5, 0.1), (0.5, 0.1), (0.5, None))]
    [2, 0, 1]
    """
    if pace is None:
        return 1
    ends = accumulate(lengths[:MAX_BATCH])
    return sum(pace * end <= seconds for end in ends)


__all__ = ["LateVectors", "general_calibration", "lend_vectors", "wanted_passages"]
