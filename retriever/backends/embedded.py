"""The backend in one folder: catalog + vector store + calibration, without a server.

    index-folder/
      catalog.sqlite (+ -wal, -shm)   the truth
      vectors-<generation>.faiss      a rebuildable snapshot for fast search
      LOCK                            held while a process writes

The right to write is taken at the first change and given back by `finish` or `close`.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from retriever.backends import ScoredIds, Vectors, snapshots
from retriever.backends.ranking import best_of, ranked
from retriever.backends.state import SearchState, StateKeeper
from retriever.calibration import Calibration
from retriever.catalog import Catalog, Matches, Reader, Writer
from retriever.filters import Filter
from retriever.settings import ChunkSettings, EmbedderSettings
from retriever.stores.exact import checked_query, scores_of
from retriever.stores.faiss import factory_for, make_index, plain
from retriever.types import (
    Chunk,
    DocumentRow,
    Expansion,
    IndexStateError,
    KeywordScore,
    Page,
    PageAccount,
    Piece,
    UnreadFile,
    UsageError,
)

_REMEMBERED_QUERIES = 8

_Asked = tuple[str, int, str, bool, Expansion | None]


class EmbeddedBackend:
    """See `retriever.backends.Backend`. Any number of threads may share one object."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._states = StateKeeper(catalog.folder)
        self._matches: OrderedDict[_Asked, Matches] = OrderedDict()
        self._matches_lock = threading.Lock()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        create: bool = False,
        factory: str | None = None,
        read_only: bool = False,
    ) -> Self:
        """Open the index in the folder `path`; `create` makes one where there is none.

        `factory` is the FAISS factory string to use from now on, whatever the index's size;
        "auto" goes back to choosing by size. Raises IndexStateError for what is no index.
        """
        backend = cls(Catalog.open(Path(path), create=create, read_only=read_only))
        if factory is not None:
            try:
                backend._set_factory(factory)
            except BaseException:
                backend.close()
                raise
        return backend

    def close(self) -> None:
        """See `Backend.close`."""
        self._catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Identity

    @property
    def embedder_settings(self) -> EmbedderSettings | None:
        """See `Backend.embedder_settings`."""
        with self._catalog.reading() as reader:
            return _embedder_settings(reader)

    @property
    def chunk_settings(self) -> ChunkSettings | None:
        """See `Backend.chunk_settings`."""
        with self._catalog.reading() as reader:
            values = reader.meta("chunking")
        return None if values is None else ChunkSettings(**values)

    @property
    def wished_model(self) -> str:
        """The model that was named for an index when it was made; empty for the default one."""
        with self._catalog.reading() as reader:
            return str(reader.meta("wished_model") or "")

    def wish(self, model: str) -> None:
        """Name the model to build an empty index with; `claim` alone binds it."""
        with self._catalog.writing(visible=False) as writer:
            writer.set_meta("wished_model", model or None)

    @property
    def ocr_languages(self) -> str:
        """See `Backend.ocr_languages`."""
        with self._catalog.reading() as reader:
            return str(reader.meta("ocr") or "")

    def set_ocr_languages(self, languages: str) -> None:
        """See `Backend.set_ocr_languages`."""
        with self._catalog.writing(visible=False) as writer:
            writer.set_meta("ocr", languages or None)

    @property
    def generation(self) -> int:
        """See `Backend.generation`."""
        with self._catalog.reading() as reader:
            return reader.generation()

    @property
    def calibration(self) -> Calibration | None:
        """See `Backend.calibration`."""
        with self._searching() as (_, state):
            return state.means

    @property
    def dense_weight(self) -> float:
        """See `Backend.dense_weight`; 1 as long as nothing was measured."""
        with self._catalog.reading() as reader:
            return float((reader.calibration_facts() or {}).get("dense_weight", 1.0))

    def claim(self, embedder: EmbedderSettings, chunks: ChunkSettings) -> None:
        """See `Backend.claim`. Other chunk settings are noted: documents are chunked one by one."""
        with self._catalog.reading() as reader:
            known = _embedder_settings(reader)
            chunking = reader.meta("chunking")
            empty = not reader.count_chunks()
        same_model = known is not None and known.fingerprint == embedder.fingerprint
        if same_model and (chunking == asdict(chunks) or self._catalog.read_only):
            return
        if known is not None and not same_model and not empty:
            raise IndexStateError(_other_model(self._catalog.folder, known, embedder))
        with self._catalog.writing() as writer:
            if not same_model:
                _bind(writer, embedder)
            writer.set_meta("chunking", asdict(chunks))

    # Writing

    def known_vectors(self, keys: Sequence[str]) -> set[str]:
        """See `Backend.known_vectors`."""
        with self._catalog.reading() as reader:
            return reader.known_vectors(keys)

    def save_vectors(self, keys: Sequence[str], vectors: Vectors) -> None:
        """See `Backend.save_vectors`; a key that is there keeps its vector."""
        with self._catalog.writing(visible=False) as writer:
            writer.save_vectors(keys, vectors)

    def load_vectors(self, keys: Sequence[str]) -> Vectors:
        """See `Backend.load_vectors`."""
        with self._catalog.reading() as reader:
            return reader.load_vectors(keys)

    def upsert(self, row: DocumentRow, pages: Sequence[Page], pieces: Sequence[Piece]) -> None:
        """See `Backend.upsert`."""
        with self._catalog.writing() as writer:
            writer.upsert(row, pages, pieces)
            tail_is_long = snapshots.tail_is_long(writer)
        if tail_is_long:
            snapshots.write(self._catalog)

    def touch(self, row: DocumentRow) -> None:
        """See `Backend.touch`."""
        with self._catalog.writing() as writer:
            writer.touch(row)

    def rename(self, document_id: str, row: DocumentRow) -> None:
        """See `Backend.rename`; what stood under `row.id` is replaced."""
        with self._catalog.writing() as writer:
            writer.rename(document_id, row)

    def delete(self, document_ids: Sequence[str]) -> int:
        """See `Backend.delete`."""
        with self._catalog.writing() as writer:
            return writer.delete(document_ids)

    def sample_vectors(self, limit: int) -> Vectors:
        """See `Backend.sample_vectors`."""
        with self._catalog.reading() as reader:
            return reader.chunk_vectors(reader.sample_keys(limit))[1]

    def sample_chunks(self, limit: int) -> list[Chunk]:
        """See `Backend.sample_chunks`."""
        with self._catalog.reading() as reader:
            return reader.sample_chunks(limit)

    def calibrate(
        self, passage_mean: Vectors, query_mean: Vectors, facts: Mapping[str, Any]
    ) -> None:
        """See `Backend.calibrate`; the store is built again from the raw vectors."""
        with self._catalog.exclusive():
            with self._catalog.reading() as reader:
                dimension = reader.dimension()
                before = reader.calibration()
            means = _checked_means(passage_mean, query_mean, dimension)
            if before is not None and _same(before[1], means):
                with self._catalog.writing() as writer:
                    writer.set_calibration(means, facts)
            else:
                snapshots.write(self._catalog, means, facts)

    def set_background(self, background: Mapping[str, Any] | None) -> None:
        """See `Backend.set_background`."""
        with self._catalog.writing() as writer:
            writer.set_meta("background", None if background is None else dict(background))

    def background(self) -> Mapping[str, Any] | None:
        """See `Backend.background`."""
        with self._catalog.reading() as reader:
            known: dict[str, Any] | None = reader.meta("background")
            return known

    def set_progress(self, progress: Mapping[str, Any] | None) -> None:
        """See `Backend.set_progress`; it is no change of the index, the generation stays."""
        with self._catalog.writing(visible=False) as writer:
            writer.set_meta("progress", None if progress is None else dict(progress))

    def finish(self, report: Mapping[str, Any]) -> None:
        """See `Backend.finish`; afterwards other processes may write."""
        with self._catalog.writing() as writer:
            writer.set_meta("last_run", dict(report))
            writer.set_meta("progress", None)
            writer.drop_unused_vectors()
        try:
            with self._searching() as (reader, state):
                due = snapshots.is_due(reader, state)
            if due:
                snapshots.write(self._catalog)
        finally:
            self._catalog.release()

    def release(self) -> None:
        """See `Backend.release`."""
        self._catalog.release()

    # Reading

    def documents(self, where: Filter | None = None) -> list[DocumentRow]:
        """See `Backend.documents`; to a filter, a document has no page and no chunk id."""
        with self._catalog.reading() as reader:
            return reader.documents(where)

    def document(self, document_id: str) -> DocumentRow | None:
        """See `Backend.document`."""
        with self._catalog.reading() as reader:
            return reader.document(document_id)

    def pages(self, document_id: str) -> list[Page]:
        """See `Backend.pages`."""
        with self._catalog.reading() as reader:
            return reader.pages(document_id)

    def account(self, document_id: str) -> list[PageAccount]:
        """See `Backend.account`."""
        with self._catalog.reading() as reader:
            return reader.account(document_id)

    def unread(self) -> list[UnreadFile]:
        """See `Backend.unread`."""
        with self._catalog.reading() as reader:
            return reader.unread()

    def set_unread(self, files: Sequence[UnreadFile]) -> None:
        """See `Backend.set_unread`."""
        with self._catalog.writing(visible=False) as writer:
            writer.set_unread(files)

    def chunks(self, document_id: str) -> list[Chunk]:
        """See `Backend.chunks`."""
        with self._catalog.reading() as reader:
            return reader.chunks(document_id)

    def order(self, document_id: str) -> list[str]:
        """See `Backend.order`."""
        with self._catalog.reading() as reader:
            return reader.order(document_id)

    def page_of(self, chunk_id: str) -> Page | None:
        """See `Backend.page_of`."""
        with self._catalog.reading() as reader:
            return reader.page_of(chunk_id)

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        """See `Backend.vectors`."""
        with self._searching() as (reader, state):
            by_id = reader.keys_of(chunk_ids)
            found = np.zeros((len(chunk_ids), reader.dimension() or 0), dtype=np.float32)
            keys, calibrated = state.vectors(reader, _keys(by_id))
            rows = dict(zip(keys.tolist(), range(len(keys)), strict=True))
            for at, id_ in enumerate(chunk_ids):
                if id_ in by_id:
                    found[at] = calibrated[rows[by_id[id_]]]
            return found

    def get(self, chunk_ids: Sequence[str]) -> list[Chunk]:
        """See `Backend.get`."""
        with self._catalog.reading() as reader:
            return reader.get(chunk_ids)

    def dense(self, query: Vectors, k: int, where: Filter | None = None) -> ScoredIds:
        """See `Backend.dense`. Equal scores are ordered by chunk id."""
        with self._searching() as (reader, state):
            if not len(state.store):
                return ScoredIds((), np.empty(0, np.float32), 0.0, 0.0)
            vector = state.query(checked_query(query, state.store.tail.dimension))
            allowed = None if where is None else reader.matching_keys(where)

            def nearest(count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
                return state.search(reader, vector, count, allowed)

            return ScoredIds(*ranked(nearest, k, reader.ids_of), *state.statistics(vector))

    def dense_scores(self, query: Vectors, chunk_ids: Sequence[str]) -> NDArray[np.float32]:
        """See `Backend.dense_scores`; a chunk that is gone has 0."""
        with self._searching() as (reader, state):
            by_id = reader.keys_of(chunk_ids)
            scores = np.zeros(len(chunk_ids), dtype=np.float32)
            if not by_id:
                return scores
            vector = state.query(checked_query(query, state.store.tail.dimension))
            keys, vectors = state.vectors(reader, _keys(by_id))
            found = scores_of(vectors, vector, np.arange(len(keys)))
            by_key = dict(zip(keys.tolist(), found, strict=True))
            for at, id_ in enumerate(chunk_ids):
                if id_ in by_id:
                    scores[at] = by_key[by_id[id_]]
            return scores

    def keyword(
        self,
        query: str,
        k: int,
        where: Filter | None = None,
        *,
        tolerant: bool = False,
        expansion: Expansion | None = None,
    ) -> ScoredIds:
        """See `Backend.keyword`. Equal scores are ordered by chunk id."""
        with self._catalog.reading() as reader:
            found = self._found(reader, query, tolerant, expansion)
            keys, scores = found.keys, found.scores.astype(np.float32)
            if where is not None:
                allowed = np.isin(keys, reader.matching_keys(where))
                keys, scores = keys[allowed], scores[allowed]

            def top(count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
                return best_of(keys, scores, count)

            return ScoredIds(*ranked(top, k, reader.ids_of), found.mean, found.std)

    def keyword_scores(
        self,
        query: str,
        chunk_ids: Sequence[str],
        *,
        tolerant: bool = False,
        expansion: Expansion | None = None,
    ) -> NDArray[np.float32]:
        """See `Backend.keyword_scores`; a chunk that is gone has 0."""
        with self._catalog.reading() as reader:
            found = self._found(reader, query, tolerant, expansion)
            by_id = reader.keys_of(chunk_ids)
        keys = np.array([by_id.get(id_, -1) for id_ in chunk_ids], dtype=np.int64)
        places = np.searchsorted(found.keys, keys)
        present = places < len(found.keys)
        present[present] = found.keys[places[present]] == keys[present]
        scores = np.zeros(len(keys), dtype=np.float32)
        scores[present] = found.scores[places[present]]
        return scores

    def keyword_most(self, query: str) -> float:
        """See `Backend.keyword_most`."""
        with self._catalog.reading() as reader:
            return reader.keyword_most(query)

    def count_chunks(self) -> int:
        """See `Backend.count_chunks`."""
        with self._catalog.reading() as reader:
            return reader.count_chunks()

    def term_counts(self, terms: Sequence[str]) -> Mapping[str, int]:
        """See `Backend.term_counts`."""
        with self._catalog.reading() as reader:
            return reader.term_counts(terms)

    def terms_of(self, chunk_ids: Sequence[str]) -> list[list[str]]:
        """See `Backend.terms_of`."""
        with self._catalog.reading() as reader:
            return reader.terms_of(chunk_ids)

    def keyword_breakdown(
        self,
        query: str,
        chunk_id: str,
        *,
        tolerant: bool = False,
        expansion: Expansion | None = None,
    ) -> KeywordScore:
        """See `Backend.keyword_breakdown`."""
        with self._catalog.reading() as reader:
            key = reader.keys_of([chunk_id]).get(chunk_id, -1)
            return reader.keyword_breakdown(query, key, tolerant=tolerant, expansion=expansion)

    def corrections(self, query: str) -> Mapping[str, Sequence[str]]:
        """See `Backend.corrections`."""
        with self._catalog.reading() as reader:
            return self._found(reader, query, tolerant=True).corrections

    def looked_for(self, query: str) -> frozenset[str]:
        """See `Backend.looked_for`."""
        with self._catalog.reading() as reader:
            return self._found(reader, query, tolerant=True).terms

    def info(self) -> dict[str, Any]:
        """See `Backend.info`."""
        with self._catalog.reading() as reader:
            snapshot, count = reader.snapshot(), reader.count_chunks()
            kind = snapshot.kind if snapshot else reader.meta("factory") or factory_for(count)
            progress = reader.meta("progress")
            return {
                "path": str(self._catalog.folder),
                **reader.totals(),
                "model": reader.meta("embedder"),
                "wished_model": reader.meta("wished_model"),
                "chunking": reader.meta("chunking"),
                "calibration": reader.calibration_facts(),
                "background": _background_facts(reader.meta("background")),
                "store": {
                    "kind": kind,
                    "vectors": count,
                    "snapshot_generation": snapshot.generation if snapshot else None,
                },
                "bytes": snapshots.sizes(self._catalog.folder, snapshot),
                "generation": reader.generation(),
                "last_run": reader.meta("last_run"),
                # What a killed process left is no progress.
                "progress": progress if progress and self._catalog.being_written else None,
            }

    # Inside

    @contextmanager
    def _searching(self) -> Iterator[tuple[Reader, SearchState]]:
        with self._catalog.reading() as reader:
            state = self._states.at(reader)
            yield reader, state

    def _found(
        self, reader: Reader, query: str, tolerant: bool, expansion: Expansion | None = None
    ) -> Matches:
        """The query's matches; the last few are remembered, since two methods ask for them."""
        key = str(reader.meta("identity")), reader.generation(), query, tolerant, expansion
        with self._matches_lock:
            if key in self._matches:
                self._matches.move_to_end(key)
                return self._matches[key]
        if expansion is None:
            found = reader.keyword(query, tolerant=tolerant)
        else:
            found = reader.expanded(self._found(reader, query, tolerant), expansion)
        with self._matches_lock:
            self._matches[key] = found
            while len(self._matches) > _REMEMBERED_QUERIES:
                self._matches.popitem(last=False)
        return found

    def _set_factory(self, factory: str) -> None:
        wanted = None if factory == "auto" else plain(factory)
        with self._catalog.reading() as reader:
            known, dimension = reader.meta("factory"), reader.dimension()
        if wanted == known:
            return
        if wanted is not None:
            make_index(dimension or _TRIAL_DIMENSION, wanted)
        with self._catalog.writing() as writer:
            writer.set_meta("factory", wanted)


_TRIAL_DIMENSION = 64


def _keys(by_id: Mapping[str, int]) -> NDArray[np.int64]:
    return np.array(sorted(by_id.values()), dtype=np.int64)


def _embedder_settings(reader: Reader) -> EmbedderSettings | None:
    values = reader.meta("embedder")
    return None if values is None else EmbedderSettings.from_json(values)


def _bind(writer: Writer, embedder: EmbedderSettings) -> None:
    """Bind an index without chunks: what another model left behind is of no use."""
    known = writer.dimension()
    if writer.meta("embedder") is not None:
        writer.forget_vectors()
        writer.set_meta("background", None)
    elif known is not None and known != embedder.dimension:
        raise UsageError(
            f"the index holds {known}-dimensional vectors; {embedder.model} gives "
            f"{embedder.dimension} dimensions"
        )
    writer.set_meta("embedder", embedder.to_json())
    writer.set_meta("dimension", embedder.dimension)


def _background_facts(known: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What `info` shows of it: all but the scores."""
    facts = None if known is None else known.get("facts")
    return facts and dict(facts)


def _other_model(folder: Path, known: EmbedderSettings, given: EmbedderSettings) -> str:
    return (
        f"the index in {folder} holds {known.dimension}-dimensional vectors of "
        f"{_named(known)}; the embedder gives {given.dimension} dimensions of {_named(given)}; "
        f"use the first, or build a new index"
    )


def _named(settings: EmbedderSettings) -> str:
    return (
        f"{settings.model} (layers {settings.layers[0]}-{settings.layers[-1]}, "
        f"weights {settings.weights[:8]}, prompts {settings.fingerprint})"
    )


def _checked_means(passage: Vectors, query: Vectors, dimension: int | None) -> Calibration:
    means = Calibration(np.asarray(passage, dtype=np.float32), np.asarray(query, dtype=np.float32))
    for mean in (means.passage_mean, means.query_mean):
        if mean.ndim != 1 or (dimension is not None and len(mean) != dimension):
            raise UsageError(
                f"a mean of shape {mean.shape} does not fit the index's {dimension} dimensions"
            )
        if not np.isfinite(mean).all():
            raise UsageError("a mean holds NaN or infinity; the calibration was not changed")
    return means


def _same(one: Calibration, other: Calibration) -> bool:
    return np.array_equal(one.passage_mean, other.passage_mean) and np.array_equal(
        one.query_mean, other.query_mean
    )


__all__ = ["EmbeddedBackend"]
