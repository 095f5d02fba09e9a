"""The state of dense search: the calibrated vectors of one generation.

A `SearchState` is immutable. `StateKeeper` gives the one of a read transaction. It makes it from
the vector file and the rows after it, or from the previous state and the changes since. A vector
file that is missing or damaged is ignored with a warning; the vectors then come from the catalog.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from retriever.arrays import Keys, Scores, Vectors
from retriever.storage.backends.vector_cache import VectorCache
from retriever.storage.calibration import Calibration
from retriever.storage.catalog import Catalog, Reader, VectorFile
from retriever.storage.catalog.reading import BLOCK
from retriever.storage.vectors.exact import inner_products
from retriever.storage.vectors.faiss import FaissStore, build, factory_for, read
from retriever.storage.vectors.layered import LayeredStore, Tail
from retriever.storage.vectors.rows import Moments, MomentsSoFar, RowFile, RowWriter
from retriever.types import IndexStateError

log = logging.getLogger(__name__)

MAX_EXACT = 20_000
"""Up to this many chunks, a query's score statistics are over all of them."""
SAMPLE = 4096
"""Beyond `MAX_EXACT`, they follow from the moments of all vectors; where these are not known, they
are over a fixed sample of this many chunks."""

_POOL = ThreadPoolExecutor(thread_name_prefix="dense")  # no thread before the first search
_TRAINING_BYTES = 64 * 2**20  # of vectors to train a FAISS index with


@dataclass(frozen=True, slots=True)
class SearchState:
    """The vectors of one generation. `sample` is None if it is not needed for the statistics.

    `calibration` is the identity before means are fitted; `calibration_number` is its row's number.
    """

    identity: str
    generation: int
    calibration_number: int
    calibration: Calibration
    vector_file: VectorFile | None
    store: LayeredStore
    last_key: int
    last_removal: int
    last_attachment: int
    sample: tuple[Keys, Vectors] | None
    damaged: bool = False
    rows: RowFile | None = None
    moments: Moments | None = None
    recent: VectorCache = field(default_factory=VectorCache)

    @property
    def is_spoilt(self) -> bool:
        """Whether its vector file turned out to be damaged."""
        return self.store.base is not None and self.store.base.is_damaged

    def search(
        self, reader: Reader, query: Vectors, k: int, allowed: Keys | None
    ) -> tuple[Keys, Scores]:
        """The `k` chunks nearest to the calibrated query (dim,): keys (m,) and cosines (m,)."""

        def fetch(keys: Keys) -> tuple[Keys, Vectors]:
            return self.vectors(reader, keys)

        return self.store.search(query, k, allowed, fetch=fetch)

    def begin(
        self, query: Vectors, k: int, allowed: Keys | None
    ) -> Future[tuple[Keys, Scores] | None] | None:
        """`search` in another thread, without the catalog; None where that does not pay.

        The result is None if it cannot do without the catalog.
        """
        if len(self.store) <= MAX_EXACT or (self.rows is None and not self.store.is_exact):
            return None
        return _POOL.submit(self._search_alone, query, k, allowed)

    def _search_alone(
        self, query: Vectors, k: int, allowed: Keys | None
    ) -> tuple[Keys, Scores] | None:
        def fetch(keys: Keys) -> tuple[Keys, Vectors]:
            stored = self._stored(keys)
            if stored is None:
                raise LookupError
            return keys, stored

        try:
            return self.store.search(query, k, allowed, fetch=fetch)
        except LookupError:
            return None

    def vectors(self, reader: Reader, keys: Keys) -> tuple[Keys, Vectors]:
        """Calibrated vectors of chunks: keys (m,) as given, without those that have none, (m, dim).

        `reader` must be of the same generation. Chunks are assumed to exist if the store is exact
        or the key is cached.
        """
        if self.store.is_exact:
            keys = keys[self.store.has(keys)]
            return keys, self.store.vectors(keys)

        stored = self._stored(keys)
        if stored is not None:
            return keys, stored

        def fetch(keys: Keys) -> tuple[Keys, Vectors]:
            found, raw = reader.chunk_vectors(keys)
            return found, self.calibration.passage(raw)

        return self.recent.get(keys, fetch)

    def _stored(self, keys: Keys) -> Vectors | None:
        """The vectors (m, dim) of the row file and the tail; None if some are in neither."""
        base, rows = self.store.base, self.rows
        if base is None or rows is None or rows.damaged or not self.store.has(keys).all():
            return None
        in_tail = np.isin(keys, self.store.tail.ids)
        some = in_tail.any()
        stored = rows.read(np.searchsorted(base.ids, keys[~in_tail] if some else keys))
        if stored is None:
            log.warning("%s is damaged; the catalog is read in its place", rows.path)
            return None
        if not some:
            return stored
        found = np.empty((len(keys), self.store.tail.dimension), np.float32)
        found[~in_tail] = stored
        tail = self.store.tail
        found[in_tail] = tail.vectors[np.searchsorted(tail.ids, keys[in_tail])]
        return found

    def statistics(self, query: Vectors) -> tuple[float, float]:
        """The mean and standard deviation of the calibrated query's cosines with all vectors."""
        if self.moments is not None and len(self.store) > MAX_EXACT:
            return self.moments.statistics(query)
        if self.sample is not None:
            scores: Scores | None = inner_products(self.sample[1], query)
        else:
            scores = self.store.all_scores(query)
        if scores is None or not len(scores):
            return 0.0, 0.0
        return float(scores.mean(dtype=np.float64)), float(scores.std(dtype=np.float64))


class StateKeeper:
    """The newest SearchState of an index, shared by threads."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._folder = catalog.folder
        self._lock = threading.Lock()
        self._state: SearchState | None = None

    def newest(self, reader: Reader) -> SearchState:
        """The newest state. An older `reader` is restarted, so it must not have been used yet."""
        state = self._state
        if state is not None and _is_current(state, reader):
            return state
        with self._lock:
            reader.restart()  # under the lock no other thread makes a newer state
            state = self._state
            if state is None or not _is_current(state, reader):
                state = self._next(state, reader, movable=True)
                self._state = state
            return state

    def at(self, reader: Reader) -> SearchState:
        """The state of the reader's own generation."""
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
        """The state from the vector file and the rows after it."""
        means = reader.means()
        dimension = reader.dimension() or 0
        row = reader.vector_file()
        base, damaged, moments = None, False, None
        if row is not None:
            try:
                base = read(self._folder / row.file, row.sha256, row.kind)
            except IndexStateError as error:
                if self._replaced(row):  # a later change removed the file
                    if movable:
                        reader.restart()
                        return self._loaded(reader, movable=movable)
                else:
                    log.warning("%s; it is rebuilt from the catalog, nothing is lost", error)
                (base, moments), damaged = _rebuilt(reader, row, means), True
        last_key = 0 if base is None or not len(base) else int(base.ids[-1])
        store = LayeredStore(base, Tail.empty(dimension), np.empty(0, np.int64), "Flat")
        rows = None
        if row is not None and base is not None and not damaged:
            rows = RowFile.open(row_path(self._folder / row.file), row.sha256)
            if rows is not None and not rows.belongs_to(len(base), dimension):
                rows = None
            moments = None if rows is None else rows.moments
        # A rebuilt base has no removed rows; the rows removed since a file was written are listed.
        start = SearchState(
            identity=str(reader.meta("identity")),
            generation=reader.generation(),
            calibration_number=_calibration_number(reader),
            calibration=means,
            vector_file=row,
            store=store,
            last_key=max(last_key, 0 if row is None or damaged else row.last_key),
            last_removal=0,
            # A rebuilt base has the attached rows, too.
            last_attachment=reader.attached_after(0)[1] if damaged else 0,
            sample=None,
            damaged=damaged,
            rows=rows if rows is not None and rows.count else None,
            moments=moments,
        )
        return _catch_up(start, reader)

    def _replaced(self, row: VectorFile) -> bool:
        """Whether the newest generation has another vector file."""
        with self._catalog.reading() as newest:
            return newest.vector_file() != row


def row_path(vector_file: Path) -> Path:
    """The row file that lies beside a vector file."""
    return vector_file.with_name(f"{vector_file.name}.rows")


def build_store(
    reader: Reader,
    means: Calibration,
    factory: str | None,
    count: int,
    passed: RowWriter | MomentsSoFar | None = None,
) -> FaissStore:
    """A FAISS index of the `count` calibrated vectors, built with little memory beside its own.

    `passed` is shown the vectors as they pass by.
    """
    dimension = reader.dimension() or 0
    kind = factory or factory_for(count)
    training = None
    if kind != "Flat":
        keys = reader.sample_vector_keys(max(1, _TRAINING_BYTES // (4 * dimension)))
        training = means.passage(reader.chunk_vectors(np.sort(keys))[1])
    blocks = calibrated(reader, 0, means)
    if passed is not None:
        blocks = passed.passing(blocks)
    return build(blocks, dimension, kind, training=training)


def calibrated(reader: Reader, key: int, means: Calibration) -> Iterator[tuple[Keys, Vectors]]:
    """The chunks with larger keys: blocks of keys (b,), ascending, and calibrated vectors."""
    for keys, raw in reader.vectors_after(key):
        yield keys, means.passage(raw)


def _rebuilt(
    reader: Reader, row: VectorFile, means: Calibration
) -> tuple[FaissStore | None, Moments | None]:
    """The store, and the moments of its vectors, which pass by anyway; None without vectors."""
    count = reader.count_vectors()
    if not count:
        return None, None
    moments = MomentsSoFar(reader.dimension() or 0)
    return build_store(reader, means, row.kind, count, moments), moments.moments


def _is_current(state: SearchState, reader: Reader) -> bool:
    return (
        state.generation == reader.generation()
        and state.identity == reader.meta("identity")
        and not state.is_spoilt
    )


def _continues(state: SearchState, reader: Reader) -> bool:
    """Whether the reader's generation is the state plus later changes of rows."""
    return (
        state.identity == reader.meta("identity")
        and not state.is_spoilt
        and state.generation < reader.generation()
        and state.calibration_number == _calibration_number(reader)
        and state.vector_file == reader.vector_file()
        and state.store.tail.dimension == (reader.dimension() or 0)
    )


def _calibration_number(reader: Reader) -> int:
    """The row number of the reader's calibration, 0 for none."""
    return (reader.calibration() or (0, None))[0]


def _catch_up(state: SearchState, reader: Reader) -> SearchState:
    """The state with the vectors of rows that were added, attached and removed since."""
    store, last_key, moments = state.store, state.last_key, state.moments
    for keys, vectors in calibrated(reader, last_key, state.calibration):
        store = store.extended(keys, vectors)
        moments = None if moments is None else moments.plus(vectors)
        last_key = int(keys[-1])
    attached, last_attachment = reader.attached_after(state.last_attachment)
    for start in range(0, len(attached), BLOCK):
        some = np.unique(attached[start : start + BLOCK])
        keys, raw = reader.chunk_vectors(some[~store.has(some)])
        if len(keys):
            vectors = state.calibration.passage(raw)
            store = store.extended(keys, vectors)
            moments = None if moments is None else moments.plus(vectors)
    removed, last_removal = reader.removed_after(state.last_removal)
    if moments is not None:
        moments = _without(moments, replace(state, store=store), removed)
    return replace(
        state,
        generation=reader.generation(),
        moments=moments,
        store=store.without(removed),
        last_key=last_key,
        last_removal=last_removal,
        last_attachment=last_attachment,
    )


def _without(moments: Moments, state: SearchState, removed: Keys) -> Moments | None:
    """The moments without chunks that are removed from the state; None if they are not known."""
    gone = np.setdiff1d(removed, state.store.removed)
    gone = gone[state.store.has(gone)]
    if not len(gone):
        return moments
    vectors = state.store.vectors(gone) if state.store.is_exact else state._stored(gone)
    return None if vectors is None else moments.plus(vectors, -1)


def _sample(
    state: SearchState, before: SearchState | None, reader: Reader
) -> tuple[Keys, Vectors] | None:
    """The sample for the statistics; None if the store gives all scores cheaply."""
    count = len(state.store)
    if state.store.is_exact if count <= MAX_EXACT else state.moments is not None:
        return None
    keys = np.sort(reader.sample_vector_keys(count if count <= MAX_EXACT else SAMPLE))
    if (
        before is not None
        and before.sample is not None
        and (before.identity, before.calibration_number)
        == (state.identity, state.calibration_number)
        and np.array_equal(before.sample[0], keys)
    ):
        return before.sample
    return keys, state.calibration.passage(reader.chunk_vectors(keys)[1])


__all__ = [
    "MAX_EXACT",
    "SAMPLE",
    "SearchState",
    "StateKeeper",
    "build_store",
    "calibrated",
    "row_path",
]
