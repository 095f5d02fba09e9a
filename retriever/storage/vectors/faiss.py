"""A FAISS index of any factory string, immutable, in a memory-mapped file.

FAISS finds candidates; their scores are then computed from exact vectors (refined), so that scores
are comparable for all kinds of index. Inside, vectors are numbered by position; a separate array
holds their ids, ascending. An index never changes after it is built: FAISS crashes if an index
changes during a search, or if it is mapped from a file.

Files are written under a new name and accepted only if their SHA-256 is the recorded one: a flipped
bit would otherwise load silently. For a large file that is checked in the background (`verified`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss as _faiss
import numpy as np

from retriever.arrays import MAX_DIMENSION, Keys, Scores, Vectors
from retriever.files.durable import publish
from retriever.files.private import open_private
from retriever.storage.vectors.exact import (
    MARGIN,
    check_query,
    check_vectors,
    exact_scores,
    max_norm,
    nearest,
    top_k,
)
from retriever.storage.vectors.plausible import is_plausible
from retriever.storage.vectors.verified import Recheck, hash_of, is_remembered, remember
from retriever.types import IndexStateError, UsageError

faiss: Any = _faiss  # its type stubs lack what its Python layer adds to the classes

Fetch = Callable[[Keys], tuple[Keys, Vectors]]
"""Exact vectors by id: ids (m,) in the order given, without those gone, and vectors (m, dim)."""

MAX_BRUTE_FORCE = 4096
"""Up to this many allowed vectors are searched by brute force, whatever the kind of index."""

_SLACK = 16
_RESCORED = 4  # candidates of an approximate index, times k
_MIN_CANDIDATES = 64
_MIN_ESTIMATED = 400  # codes of one or two bits: their scores are estimates
_BLOCK = 8192
_EF = 64  # HNSW: efSearch without a filter
_EF_FILTERED = 256
_MIN_LISTS = 8  # IVF: a quarter of the lists is searched, but no fewer than this
_SPARSE = 0.2  # below this share of allowed vectors all of them are scanned


class FaissStore:
    """A FAISS index with its ids. `fetch` gives exact vectors; kind "Flat" holds them itself."""

    def __init__(
        self, index: Any, kind: str, fetch: Fetch | None = None, max_norm: float = 1.0
    ) -> None:
        self._index = index  # the owner: FAISS frees everything below with it
        mapped = faiss.downcast_index(index)  # an IndexIDMap
        self._inner = faiss.downcast_index(mapped.index)
        self.ids: Keys = faiss.vector_to_array(mapped.id_map)
        self.kind = kind
        self._fetch = fetch
        self._max_norm = max_norm
        self.recheck: Recheck | None = None

    @property
    def is_damaged(self) -> bool:
        """Whether the file that it was read from turned out to be damaged."""
        return self.recheck is not None and self.recheck.failed

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def exact_vectors(self) -> Vectors | None:
        """All vectors (n, dim) without a copy, if the index holds them exactly; else None."""
        if not isinstance(self._inner, faiss.IndexFlat) or not len(self):
            return None
        size = len(self) * self._inner.d
        array: Vectors = faiss.rev_swig_ptr(self._inner.get_xb(), size)
        return array.reshape(len(self), self._inner.d)

    def measure(self) -> None:
        """Compute the largest norm, which bounds the rounding errors in the search for ties."""
        vectors = self.exact_vectors
        self._max_norm = 1.0 if vectors is None else max_norm(vectors)

    def search(
        self, query: Vectors, k: int, allowed: Keys | None = None, *, fetch: Fetch | None = None
    ) -> tuple[Keys, Scores]:
        """The `k` nearest of `allowed` (None: all): ids (m,), scores (m,), best first.

        `query` is (dim,); `fetch` replaces the store's own.
        """
        mask = None if allowed is None else np.isin(self.ids, allowed)
        return self.search_masked(query, k, mask, fetch)

    def search_masked(
        self, query: Vectors, k: int, mask: np.ndarray | None, fetch: Fetch | None = None
    ) -> tuple[Keys, Scores]:
        """Like `search`, with the allowed vectors as a boolean `mask` (n,)."""
        query = check_query(query, self._inner.d)
        count = len(self) if mask is None else int(np.count_nonzero(mask))
        k = min(k, count)
        if k <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        vectors = self.exact_vectors
        if vectors is not None:
            return self._search_flat(vectors, query, k, count, mask)
        fetch = fetch or self._fetch or self._reconstructed
        if count > MAX_BRUTE_FORCE:
            sparse = count < _SPARSE * len(self)
            found = self._search_coarse(query, k, count, mask, fetch, sparse)
            if len(found[0]) < k and not sparse:  # a graph walk ended among what is not allowed
                found = self._search_coarse(query, k, count, mask, fetch, sparse=True)
            if len(found[0]) == k:
                return found
        return self._scan(query, k, mask, fetch)

    def _search_flat(
        self, vectors: Vectors, query: Vectors, k: int, count: int, mask: np.ndarray | None
    ) -> tuple[Keys, Scores]:
        """Exact search; asks for more candidates as long as the next might tie with the k-th."""
        wanted = k + _SLACK
        margin = MARGIN * self._max_norm * float(np.linalg.norm(query))
        while True:
            wanted = min(wanted, count)
            rough, rows = self._candidates(self._inner, query, wanted, mask)
            if wanted == count or rough[wanted - 1] < rough[k - 1] - margin:
                return top_k(self.ids[rows], exact_scores(vectors, query, rows), k)
            wanted *= 4

    def _search_coarse(
        self,
        query: Vectors,
        k: int,
        count: int,
        mask: np.ndarray | None,
        fetch: Fetch,
        sparse: bool,
    ) -> tuple[Keys, Scores]:
        """Approximate search: candidates of the index, rescored with exact vectors.

        `sparse`: few vectors are allowed, and all of their codes are compared.
        """
        index, lists = self._inner, None
        fewest = _MIN_ESTIMATED if isinstance(index, faiss.IndexRaBitQ) else _MIN_CANDIDATES
        wanted = min(count, max(fewest, _RESCORED * k))
        if sparse:
            # A graph walk or the nearest lists would miss most of them.
            if isinstance(index, faiss.IndexHNSW):
                index = faiss.downcast_index(index.storage)
            elif isinstance(index, faiss.IndexIVF):
                lists = index.nlist
        rough, rows = self._candidates(index, query, wanted, mask, lists)
        return _rescore(self.ids[rows], rough, query, k, fetch)

    def _candidates(
        self,
        index: Any,
        query: Vectors,
        wanted: int,
        mask: np.ndarray | None,
        lists: int | None = None,
    ) -> tuple[Scores, np.ndarray]:
        """The candidates of FAISS within the mask: scores (m,) and positions (m,), best first."""
        with _one_thread():
            try:
                scores, rows = index.search(
                    query[None], wanted, params=_parameters(index, wanted, mask, lists)
                )
            except RuntimeError:  # some kinds of index do not support a selector
                if mask is None:
                    raise
                return np.empty(0, np.float32), np.empty(0, np.int64)
        # The lists of a file that somebody has prepared can name a position that is none.
        present = (rows[0] >= 0) & (rows[0] < len(self.ids))
        found, at = scores[0][present], rows[0][present]
        if mask is None:
            return found, at
        allowed = mask[at]  # some kinds ignore the selector
        return found[allowed], at[allowed]

    def _scan(
        self, query: Vectors, k: int, mask: np.ndarray | None, fetch: Fetch
    ) -> tuple[Keys, Scores]:
        """Brute force over the exact vectors, a block at a time."""
        allowed = self.ids if mask is None else self.ids[mask]
        ids, scores = np.empty(0, np.int64), np.empty(0, np.float32)
        for start in range(0, len(allowed), _BLOCK):
            some, vectors = fetch(allowed[start : start + _BLOCK])
            more, their = nearest(some, vectors, query, k, length=self._max_norm)
            ids, scores = top_k(np.append(ids, more), np.append(scores, their), k)
        return ids, scores

    def _reconstructed(self, ids: Keys) -> tuple[Keys, Vectors]:
        rows = np.searchsorted(self.ids, ids)
        return ids, self._inner.reconstruct_batch(rows)

    def write(self, path: Path) -> tuple[int, str]:
        """Write the file atomically; returns its size in bytes and its SHA-256."""
        digest = hashlib.sha256()
        size = 0
        temporary = path.with_name(path.name + ".tmp")
        with open_private(temporary) as file:

            def sink(data: bytes) -> None:
                nonlocal size
                size += len(data)
                digest.update(data)
                file.write(data)

            faiss.write_index(self._index, faiss.PyCallbackIOWriter(sink))
            publish(file, temporary, path)
        remember(path, digest.hexdigest())
        return size, digest.hexdigest()


def build(
    blocks: Iterable[tuple[Keys, Vectors]],
    dimension: int,
    factory: str = "Flat",
    *,
    training: Vectors | None = None,
    fetch: Fetch | None = None,
) -> FaissStore:
    """Build a store from blocks of ids (b,) and vectors (b, dim), ids ascending over all blocks.

    `training` (m, dim) is for kinds that need training (SQ8, IVF, PQ). With too few training
    vectors the index becomes "Flat".
    """
    index = make_index(dimension, factory)
    kind = strip_id_map(factory)
    if not index.is_trained and not _trained(index, training):
        index, kind = make_index(dimension, "Flat"), "Flat"
    mapped = faiss.IndexIDMap(index)
    length, last = 1.0, -1
    for block_ids, block_vectors in blocks:
        ids, vectors = check_vectors(block_ids, block_vectors)
        if len(ids) and (ids[0] <= last or np.any(np.diff(ids) <= 0)):
            raise UsageError("a store's ids must ascend from block to block, from 0 on, each once")
        last = int(ids[-1]) if len(ids) else last
        length = max(length, max_norm(vectors))
        mapped.add_with_ids(vectors, ids)
    return FaissStore(mapped, kind, fetch, length)


def read(path: Path, sha256: str, kind: str, fetch: Fetch | None = None) -> FaissStore:
    """Map a file written by `FaissStore.write`; IndexStateError if its hash differs."""
    is_known = is_remembered(path, sha256)
    try:
        digest = sha256 if is_known else hash_of(path)
    except OSError as error:
        raise IndexStateError(f"{path} cannot be read: {error.strerror}") from error
    if digest != sha256:
        raise IndexStateError(f"{path} is not what was written: it is damaged or incomplete")
    try:
        index = _loaded(path)
    except RuntimeError as error:
        raise IndexStateError(f"{path} cannot be read by this FAISS: {error}") from error
    if not 0 < index.d <= MAX_DIMENSION or not is_plausible(index, _empty(index.d, kind)):
        raise IndexStateError(f"{path} is not built as a vector file of the kind {kind!r} is")
    store = FaissStore(index, kind, fetch)
    if np.any(np.diff(store.ids, prepend=-1) <= 0):
        raise IndexStateError(f"{path} does not number its vectors as this program does")
    store.measure()
    if is_known:
        store.recheck = Recheck(path, sha256)
        store.recheck.start()
    else:
        remember(path, sha256)
    return store


def _empty(dimension: int, kind: str) -> Any:
    try:
        return make_index(dimension, kind)
    except UsageError as error:
        raise IndexStateError(f"the index has a vector file of an unknown kind: {error}") from None


def _rescore(
    candidates: Keys, rough: Scores, query: Vectors, k: int, fetch: Fetch
) -> tuple[Keys, Scores]:
    """The k best of candidates by exact scores; `rough` (m,) are the approximate ones, descending.

    Fetching vectors is expensive. The search ends when no remaining candidate can be among the
    best, assuming that no rough score is off by more than twice the largest error seen.
    """
    ids, scores = np.empty(0, np.int64), np.empty(0, np.float32)
    error, start, end = 0.0, 0, k + max(_SLACK, k // 8)
    while start < len(candidates):
        order = np.argsort(candidates[start:end])
        some, vectors = fetch(candidates[start:end][order])
        exact = exact_scores(vectors, query, np.arange(len(some)))
        seen = rough[start:end][order][np.isin(candidates[start:end][order], some)]
        error = max(error, float(np.abs(exact - seen).max(initial=0.0)))
        ids, scores = top_k(np.append(ids, some), np.append(scores, exact), k)
        if end < len(candidates) and len(ids) == k and scores[-1] > rough[end] + 2 * error:
            break
        start, end = end, end + max(_SLACK, k // 4)
    return ids, scores


def _loaded(path: Path) -> Any:
    """The index in a file, memory-mapped if possible."""
    try:
        return faiss.read_index(os.fspath(path), faiss.IO_FLAG_MMAP_IFC)
    except (RuntimeError, TypeError):  # not every file name can be passed to C++
        with path.open("rb") as file:
            return faiss.read_index(faiss.PyCallbackIOReader(file.read))


def make_index(dimension: int, factory: str) -> Any:
    """An empty index; UsageError if FAISS does not know the factory string.

    >>> make_index(8, "HNSW16,SQ8").ntotal
    0
    """
    try:
        return faiss.index_factory(dimension, strip_id_map(factory), faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].rsplit(": ", 1)[-1]
        raise UsageError(
            f"{factory!r} is not a FAISS index for {dimension}-dimensional vectors ({reason}); "
            "use for example Flat, SQ8 or RaBitQ2"
        ) from error


def factory_for(count: int) -> str:
    """The factory string for a number of vectors: exact, then codes of two bits a number.

    RaBitQ (Gao and Long, 2024) compares all codes, a million in some ten milliseconds. With exact
    scores of the candidates, recall@10 was 1.000 for a model's vectors and for a million synthetic
    ones. A graph (HNSW) misses queries that lie far from all passages.

    >>> factory_for(1_000), factory_for(100_000), factory_for(1_000_000)
    ('Flat', 'RaBitQ2', 'RaBitQ2')
    """
    return "Flat" if count < 50_000 else "RaBitQ2"


def strip_id_map(factory: str) -> str:
    """The factory string without an id map, which `build` adds itself."""
    for prefix in ("IDMap2,", "IDMap,"):
        factory = factory.removeprefix(prefix)
    return factory.strip()


def _trained(index: Any, training: Vectors | None) -> bool:
    if training is None or not len(training):
        return False
    try:
        index.train(np.ascontiguousarray(training, dtype=np.float32))
    except RuntimeError:  # fewer vectors than centroids
        return False
    return True


def _parameters(index: Any, wanted: int, mask: np.ndarray | None, lists: int | None) -> Any:
    """The search parameters: a selector of allowed positions, and efSearch or nprobe (`lists`)."""
    selector = {}
    if mask is not None:
        selector["sel"] = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
    if isinstance(index, faiss.IndexHNSW):
        reach = max(_EF if mask is None else _EF_FILTERED, 2 * wanted)
        return faiss.SearchParametersHNSW(efSearch=reach, **selector)
    if isinstance(index, faiss.IndexIVF):
        lists = lists or min(index.nlist, max(_MIN_LISTS, index.nlist // 4))
        return faiss.SearchParametersIVF(nprobe=lists, **selector)
    return faiss.SearchParameters(**selector) if selector else None


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit OpenMP to one thread: for one query, waking the others costs more than it saves."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


__all__ = [
    "MAX_BRUTE_FORCE",
    "FaissStore",
    "Fetch",
    "build",
    "factory_for",
    "make_index",
    "read",
    "strip_id_map",
]
