"""What dense search works on: the vectors of one generation, calibrated, ready to be searched.

A `SearchState` never changes. `StateKeeper` makes the one that fits a read transaction: from the
snapshot file and the rows after it, or from the state before and what was committed since. A
snapshot that is missing or damaged is left aside with a warning, and the catalog's vectors are
read instead.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from retriever.arrays import Keys, Scores, Vectors
from retriever.storage.backends.vector_cache import VectorCache
from retriever.storage.calibration import Calibration
from retriever.storage.catalog import Catalog, Reader, VectorFile
from retriever.storage.vectors.exact import inner_products
from retriever.storage.vectors.faiss import FaissStore, build, factory_for, read
from retriever.storage.vectors.layered import LayeredStore, Tail
from retriever.types import IndexStateError

log = logging.getLogger(__name__)

MAX_EXACT = 20_000
"""Up to so many chunks a query's score statistics are over all of them."""
SAMPLE = 4096
"""Beyond that they are over this many chunks, always the same ones."""

_TRAINING_BYTES = 64 * 2**20  # of vectors that a kind learns from


@dataclass(frozen=True, slots=True)
class SearchState:
    """The vectors of one generation. `sample` is None where the store itself knows all scores.

    `calibration` is the identity before means are fitted; `calibration_number` is its number.
    """

    identity: str
    generation: int
    calibration_number: int
    calibration: Calibration
    vector_file: VectorFile | None
    store: LayeredStore
    last_key: int
    last_removal: int
    sample: tuple[Keys, Vectors] | None
    damaged: bool = False
    recent: VectorCache = field(default_factory=VectorCache)

    def search(
        self, reader: Reader, query: Vectors, k: int, allowed: Keys | None
    ) -> tuple[Keys, Scores]:
        """The `k` chunks nearest to the calibrated query (dim,): keys (m,), cosines (m,)."""

        def fetch(keys: Keys) -> tuple[Keys, Vectors]:
            return self.vectors(reader, keys)

        return self.store.search(query, k, allowed, fetch=fetch)

    def vectors(self, reader: Reader, keys: Keys) -> tuple[Keys, Vectors]:
        """Calibrated vectors of chunks: keys (m,) as given, without those gone, and (m, dim).

        `reader` is of the same generation. Where the store is exact, or the key was looked up
        before, it is not asked again whether the chunk is still there.
        """
        if self.store.is_exact:
            return keys, self.store.vectors(keys)

        def fetch(keys: Keys) -> tuple[Keys, Vectors]:
            found, raw = reader.chunk_vectors(keys)
            return found, self.calibration.passage(raw)

        return self.recent.get(keys, fetch)

    def statistics(self, query: Vectors) -> tuple[float, float]:
        """Mean and standard deviation of the calibrated query's cosine with all chunks."""
        if self.sample is not None:
            scores: Scores | None = inner_products(self.sample[1], query)
        else:
            scores = self.store.all_scores(query)
        if scores is None or not len(scores):
            return 0.0, 0.0
        return float(scores.mean(dtype=np.float64)), float(scores.std(dtype=np.float64))


class StateKeeper:
    """The newest SearchState of an index; threads share it."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._folder = catalog.folder
        self._lock = threading.Lock()
        self._state: SearchState | None = None

    def newest(self, reader: Reader) -> SearchState:
        """The newest state; an older reader is moved to it, so nothing must have been read yet."""
        state = self._state
        if state is not None and _is_current(state, reader):
            return state
        with self._lock:
            reader.restart()  # nobody else makes states now: what is read is the newest
            state = self._state
            if state is None or not _is_current(state, reader):
                state = self._next(state, reader, movable=True)
                self._state = state
            return state

    def at(self, reader: Reader) -> SearchState:
        """The state of the reader's own generation, whatever others are at."""
        state = self._state
        if state is not None and _is_current(state, reader):
            return state
        with self._lock:
            state = self._state
            if state is not None and _is_current(state, reader):
                return state
            found = self._next(state, reader, movable=False)
            if state is None or _continues(state, reader):
                self._state = found
            return found

    def _next(self, state: SearchState | None, reader: Reader, *, movable: bool) -> SearchState:
        if state is not None and _continues(state, reader):
            following = _catch_up(state, reader)
        else:
            following = self._loaded(reader, movable=movable)
        return replace(following, sample=_sample(following, state, reader), recent=VectorCache())

    def _loaded(self, reader: Reader, *, movable: bool) -> SearchState:
        """The state from the snapshot and the rows after it."""
        means = reader.means()
        dimension = reader.dimension() or 0
        row = reader.vector_file()
        base, damaged = None, False
        if row is not None:
            try:
                base = read(self._folder / row.file, row.sha256, row.kind)
            except IndexStateError as error:
                if self._replaced(row):  # by a change since the reader's, which took the file away
                    if movable:
                        reader.restart()
                        return self._loaded(reader, movable=movable)
                else:
                    log.warning("%s; it is rebuilt from the catalog, nothing is lost", error)
                base, damaged = _rebuilt(reader, row, means), True
        last_key = 0 if base is None or not len(base) else int(base.ids[-1])
        store = LayeredStore(base, Tail.empty(dimension), np.empty(0, np.int64), "Flat")
        # A rebuilt base has no removed rows; a snapshot's are listed since it was written.
        start = SearchState(
            identity=str(reader.meta("identity")),
            generation=reader.generation(),
            calibration_number=_calibration_number(reader),
            calibration=means,
            vector_file=row,
            store=store,
            last_key=max(last_key, 0 if row is None or damaged else row.last_key),
            last_removal=0,
            sample=None,
            damaged=damaged,
        )
        return _catch_up(start, reader)

    def _replaced(self, row: VectorFile) -> bool:
        """Whether the newest generation names another file."""
        with self._catalog.reading() as newest:
            return newest.vector_file() != row


def build_store(reader: Reader, means: Calibration, factory: str | None, count: int) -> FaissStore:
    """All chunks' vectors of the reader's state in a FAISS index; memory is bounded by its size."""
    dimension = reader.dimension() or 0
    kind = factory or factory_for(count)
    training = None
    if kind != "Flat":
        keys = reader.sample_keys(max(1, _TRAINING_BYTES // (4 * dimension)))
        training = means.passage(reader.chunk_vectors(np.sort(keys))[1])
    return build(_calibrated(reader, 0, means), dimension, kind, training=training)


def _calibrated(reader: Reader, key: int, means: Calibration) -> Iterator[tuple[Keys, Vectors]]:
    for keys, raw in reader.vectors_after(key):
        yield keys, means.passage(raw)


def _rebuilt(reader: Reader, row: VectorFile, means: Calibration) -> FaissStore | None:
    count = reader.count_chunks()
    return build_store(reader, means, row.kind, count) if count else None


def _is_current(state: SearchState, reader: Reader) -> bool:
    return state.generation == reader.generation() and state.identity == reader.meta("identity")


def _continues(state: SearchState, reader: Reader) -> bool:
    """Whether the reader's state is the given one plus later rows."""
    return (
        state.identity == reader.meta("identity")
        and state.generation < reader.generation()
        and state.calibration_number == _calibration_number(reader)
        and state.vector_file == reader.vector_file()
        and state.store.tail.dimension == (reader.dimension() or 0)
    )


def _calibration_number(reader: Reader) -> int:
    """The number of the reader's calibration, 0 for none."""
    return (reader.calibration() or (0, None))[0]


def _catch_up(state: SearchState, reader: Reader) -> SearchState:
    """The state with the rows added and removed since."""
    store, last_key = state.store, state.last_key
    for keys, vectors in _calibrated(reader, last_key, state.calibration):
        store = store.extended(keys, vectors)
        last_key = int(keys[-1])
    removed, last_removal = reader.removed_after(state.last_removal)
    return replace(
        state,
        generation=reader.generation(),
        store=store.without(removed),
        last_key=last_key,
        last_removal=last_removal,
    )


def _sample(
    state: SearchState, before: SearchState | None, reader: Reader
) -> tuple[Keys, Vectors] | None:
    """What the statistics are over, when the store does not give all scores cheaply."""
    count = len(state.store)
    if count <= MAX_EXACT and state.store.is_exact:
        return None
    keys = np.sort(reader.sample_keys(count if count <= MAX_EXACT else SAMPLE))
    if (
        before is not None
        and before.sample is not None
        and (before.identity, before.calibration_number)
        == (state.identity, state.calibration_number)
        and np.array_equal(before.sample[0], keys)
    ):
        return before.sample
    return keys, state.calibration.passage(reader.chunk_vectors(keys)[1])


__all__ = ["MAX_EXACT", "SAMPLE", "SearchState", "StateKeeper", "build_store"]
