"""The embedded backend: catalog, vectors and calibration in one folder, without a server.

    index-folder/
      catalog.sqlite (+ -wal, -shm)   all data
      vectors-<generation>.faiss      the calibrated vectors for FAISS; can be rebuilt
      wanted                          passages that searches would like to have a vector
      LOCK                            held while a process writes

The writer lock is acquired at the first change and released by `finish`, `release` or `close`.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from retriever.arrays import DoubleScores, Keys, Scores, Vectors
from retriever.settings import ChunkSettings, EmbedderSettings
from retriever.storage.adapter import Adapter, adapter_facts, same_adapter
from retriever.storage.backends import vector_files, wanted
from retriever.storage.backends.protocols import ScoredIds
from retriever.storage.backends.search_state import MAX_EXACT, SearchState, StateKeeper
from retriever.storage.backends.snapshot import Snapshot
from retriever.storage.backends.ties import top_k_ids, top_scores
from retriever.storage.binding import (
    checked_adapter,
    checked_means,
    other_dimension,
    other_model,
    same_means,
)
from retriever.storage.catalog import Catalog, Matches, Reader, Writer, indexed_keys
from retriever.storage.catalog.indexed_keys import IndexedKey
from retriever.storage.catalog.lock import PATIENCE
from retriever.storage.filters import Filter
from retriever.storage.records import NewChunk, NewDocument, TermQuery, UnreadFile
from retriever.storage.upkeep.backup import Backup, back_up
from retriever.storage.upkeep.compact import Compaction, compact
from retriever.storage.vectors.exact import check_query, exact_scores, top_k
from retriever.storage.vectors.faiss import factory_for, make_index, strip_id_map
from retriever.storage.vectors.layered import within
from retriever.types import Account, DocumentRow, LeftOut, Page

_CACHED_QUERIES = 8
_CACHED_FILTERS = 4  # of 8 MB at most with a million chunks

_MatchKey = tuple[str, int, TermQuery]
_Begun = tuple[tuple[bytes, int, str], Future[tuple[Keys, Scores] | None]]


class EmbeddedBackend:
    """The implementation of `retriever.storage.backends.Documents`. Threads may share an object."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._states = StateKeeper(catalog)
        self._matches = MatchCache()
        self._filters = FilterCache()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        create: bool = False,
        factory: str | None = None,
        read_only: bool = False,
        durable: bool = True,
    ) -> Self:
        """Open the index in the folder `path`; `create` makes one if there is none.

        `factory` is the FAISS factory string to use from now on, whatever the index's size;
        "auto" chooses by size again. What is written survives a power failure if it is `durable`,
        and the end of the process in any case. Raises IndexStateError if the folder is not an
        index.
        """
        backend = cls(Catalog.open(Path(path), create=create, read_only=read_only, durable=durable))
        if factory is not None:
            try:
                backend._set_factory(factory)
            except BaseException:
                backend.close()
                raise
        return backend

    def close(self) -> None:
        """See `Documents.close`."""
        self._catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Reading

    @property
    def catalog(self) -> Catalog:
        """The catalog of the folder, for checks and repairs of the whole."""
        return self._catalog

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """See `Documents.reading`."""
        with self._catalog.reading() as reader:
            yield reader

    @contextmanager
    def snapshot(self, *, dense: bool = True) -> Iterator[Snapshot]:
        """See `Documents.snapshot`. With `dense`, it is of the newest generation."""
        with self._catalog.reading() as reader:
            state = self._states.newest(reader) if dense else None
            passages = EmbeddedPassages(reader, self._states, self._matches, state, self._filters)
            yield Snapshot(reader, passages)

    # Identity

    @property
    def preferred_model(self) -> str:
        """The model chosen when the index was created; empty for the default model."""
        with self._catalog.reading() as reader:
            return str(reader.meta("wished_model") or "")

    def prefer_model(self, model: str) -> None:
        """Choose the model for an empty index; only `bind_embedder` binds it."""
        with self._catalog.writing(visible=False) as writer:
            writer.set_meta("wished_model", model or None)

    @property
    def ocr_languages(self) -> str:
        """See `Documents.ocr_languages`."""
        with self._catalog.reading() as reader:
            return str(reader.meta("ocr") or "")

    def set_ocr_languages(self, languages: str) -> None:
        """See `Documents.set_ocr_languages`."""
        with self._catalog.writing(visible=False) as writer:
            writer.set_meta("ocr", languages or None)

    @property
    def password_salt(self) -> bytes:
        """See `Documents.password_salt`."""
        with self._catalog.reading() as reader:
            return bytes.fromhex(str(reader.meta("password_salt") or ""))

    def set_password_salt(self, salt: bytes) -> None:
        """See `Documents.set_password_salt`."""
        with self._catalog.writing(visible=False) as writer:
            writer.set_meta("password_salt", salt.hex())

    @property
    def mounts(self) -> Sequence[str]:
        """See `Documents.mounts`."""
        with self._catalog.reading() as reader:
            stored = reader.meta("mounts")
        return [str(one) for one in stored] if isinstance(stored, list) else []

    def set_mounts(self, mounts: Sequence[str]) -> None:
        """See `Documents.set_mounts`."""
        with self._catalog.writing(visible=False) as writer:
            writer.set_meta("mounts", list(mounts) or None)

    def bind_embedder(self, embedder: EmbedderSettings, chunks: ChunkSettings) -> None:
        """See `Documents.bind_embedder`. Chunk settings may differ; the last ones are stored."""
        with self._catalog.reading() as reader:
            same_model = self._is_bound(reader, embedder)
            same_chunks = reader.meta("chunking") == asdict(chunks)
        if same_model and (same_chunks or self._catalog.read_only):
            return
        with self._catalog.writing() as writer:
            # Meanwhile another process may have bound the index, and written to it.
            if not self._is_bound(writer, embedder):
                _bind(writer, embedder)
            writer.set_meta("chunking", asdict(chunks))

    def _is_bound(self, reader: Reader, embedder: EmbedderSettings) -> bool:
        """Whether the index is the embedder's. Raises IndexStateError if it is another one's."""
        known = reader.embedder_settings()
        if known is not None and known.fingerprint == embedder.fingerprint:
            return True
        if known is not None and reader.count_chunks():
            raise other_model(self._catalog.folder, known, embedder)
        return False

    # Writing

    def save_vectors(self, keys: Sequence[str], vectors: Vectors) -> None:
        """See `Documents.save_vectors`; an existing key keeps its vector."""
        with self._catalog.writing(visible=False) as writer:
            writer.save_vectors(keys, vectors)

    def attach_vectors(
        self, keys: Sequence[str], vectors: Vectors, chunks: Mapping[int, str]
    ) -> int:
        """See `Documents.attach_vectors`."""
        with self._catalog.writing() as writer:
            writer.save_vectors(keys, vectors)
            count = writer.attach(chunks)
            tail_is_long = vector_files.tail_is_long(writer)
        if tail_is_long:
            vector_files.write(self._catalog)
        return count

    def upsert(
        self,
        row: DocumentRow,
        pages: Sequence[Page],
        new_chunks: Sequence[NewChunk],
        account: Account | None = None,
        left_out: Sequence[LeftOut] = (),
    ) -> None:
        """See `Documents.upsert`."""
        self.upsert_many([NewDocument(row, pages, new_chunks, account, left_out)])

    def upsert_many(
        self,
        documents: Sequence[NewDocument],
        *,
        vectors: Mapping[str, Vectors] | None = None,
        keys: Sequence[IndexedKey] = (),
    ) -> None:
        """See `Documents.upsert_many`.

        Raw `vectors` (dim,) by key are stored, and `keys` noted, in the same transaction.
        """
        with self._catalog.writing() as writer:
            if vectors:
                writer.save_vectors(list(vectors), np.stack(list(vectors.values())))
            if keys:
                indexed_keys.put(writer.connection, keys)
            for document in documents:
                writer.upsert(
                    *(document.row, document.pages, document.chunks),
                    *(document.account, document.left_out, document.terms),
                )
            some = any(chunk.vector for document in documents for chunk in document.chunks)
            tail_is_long = some and vector_files.tail_is_long(writer)
        if tail_is_long:
            vector_files.write(self._catalog)

    def note_wanted(self, chunk_ids: Sequence[str]) -> None:
        """See `Documents.note_wanted`."""
        wanted.note(self._catalog.folder, chunk_ids)

    def take_wanted(self) -> list[str]:
        """See `Documents.take_wanted`."""
        return wanted.take(self._catalog.folder)

    def touch(self, row: DocumentRow) -> None:
        """See `Documents.touch`."""
        with self._catalog.writing() as writer:
            writer.touch(row)

    def rename(self, document_id: str, row: DocumentRow) -> None:
        """See `Documents.rename`; what stood under `row.id` is replaced."""
        self.rename_many([(document_id, row)])

    def rename_many(self, moves: Sequence[tuple[str, DocumentRow]]) -> None:
        """See `Documents.rename_many`."""
        with self._catalog.writing() as writer:
            for document_id, row in moves:
                writer.rename(document_id, row)

    def delete(self, document_ids: Sequence[str]) -> int:
        """See `Documents.delete`; the documents' indexed keys go in the same transaction."""
        with self._catalog.writing() as writer:
            indexed_keys.remove(writer.connection, document_ids)
            return writer.delete(document_ids)

    def calibrate(
        self, passage_mean: Vectors, query_mean: Vectors, facts: Mapping[str, Any]
    ) -> None:
        """See `Documents.calibrate`; new means rebuild the vector file from the raw vectors."""
        with self._catalog.exclusive():
            with self._catalog.reading() as reader:
                dimension = reader.dimension()
                before = reader.calibration()
                adapter = reader.adapter()
            means = replace(checked_means(passage_mean, query_mean, dimension), adapter=adapter)
            if before is not None and same_means(before[1], means):
                with self._catalog.writing() as writer:
                    writer.set_calibration(means, facts)
            else:
                vector_files.write(self._catalog, means, facts)

    def set_adapter(self, adapter: Adapter | None) -> None:
        """See `Documents.set_adapter`; one of passages rebuilds the vector file."""
        with self._catalog.exclusive():
            with self._catalog.reading() as reader:
                known, dimension = reader.calibration(), reader.dimension()
                facts = reader.calibration_facts()
            before = checked_adapter(adapter, None if known is None else known[1], dimension)
            if same_adapter(before.adapter, adapter):
                return
            means = replace(before, adapter=adapter)
            if any(one is not None and one.of_passages for one in (before.adapter, adapter)):
                vector_files.write(self._catalog, means, facts, adapted=True)
                return
            with self._catalog.writing() as writer:
                writer.set_adapter(adapter)

    def set_match_scale(self, scale: Mapping[str, Any] | None) -> None:
        """See `Documents.set_match_scale`."""
        with self._catalog.writing() as writer:
            writer.set_meta("background", None if scale is None else dict(scale))

    def set_progress(self, progress: Mapping[str, Any] | None) -> None:
        """See `Documents.set_progress`; the generation stays the same."""
        with self._catalog.writing(visible=False) as writer:
            writer.set_meta("progress", None if progress is None else dict(progress))

    def finish(self, report: Mapping[str, Any]) -> None:
        """See `Documents.finish`; writes a new vector file if one is due."""
        with self._catalog.writing() as writer:
            writer.set_meta("last_run", dict(report))
            writer.set_meta("progress", None)
            writer.drop_unused_vectors()
        while self._catalog.seal():
            pass
        try:
            with self._catalog.reading() as reader:
                state = self._states.newest(reader)
                due = vector_files.is_due(reader, state)
            if due:
                vector_files.write(self._catalog)
            else:
                vector_files.complete(self._catalog, state)
        finally:
            self._catalog.release()

    def release(self, *, checkpoint: bool = True) -> None:
        """See `Documents.release`; without a checkpoint of the log it is faster."""
        self._catalog.release(checkpoint=checkpoint)

    def acquire(self, seconds: float = PATIENCE) -> None:
        """See `Documents.acquire`."""
        self._catalog.acquire(seconds)

    def back_up(self, to: Path) -> Backup:
        """See `retriever.storage.upkeep.backup.back_up`."""
        return back_up(self._catalog, to)

    def compact(self, *, dry_run: bool = False) -> Compaction:
        """See `retriever.storage.upkeep.compact.compact`."""
        return compact(self._catalog, dry_run=dry_run)

    # Indexed keys: see `retriever.storage.catalog.indexed_keys`

    def indexed_keys(self) -> list[IndexedKey]:
        """See `Documents.indexed_keys`."""
        with self._catalog.reading() as reader:
            return indexed_keys.every(reader.connection)

    def put_keys(self, keys: Sequence[IndexedKey], *, keep_groups: bool = False) -> None:
        """Note when keys were seen, and their groups unless those are kept."""
        with self._catalog.writing(visible=False) as writer:
            indexed_keys.put(writer.connection, keys, keep_groups=keep_groups)

    def remove_keys(self, namespace: str, keys: Sequence[str]) -> None:
        """Forget keys of one namespace; the documents stay."""
        with self._catalog.writing(visible=False) as writer:
            indexed_keys.remove(writer.connection, keys, namespace)

    def known_keys(self, namespace: str, keys: Sequence[str]) -> set[str]:
        """Those of the keys that are noted in a namespace."""
        with self._catalog.reading() as reader:
            return indexed_keys.known(reader.connection, namespace, keys)

    def list_keys(
        self,
        namespace: str,
        *,
        before: float | None = None,
        after: float | None = None,
        groups: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """The keys of a namespace seen before and after these times, of these groups."""
        with self._catalog.reading() as reader:
            return indexed_keys.listed(
                *(reader.connection, namespace),
                before=before,
                after=after,
                groups=groups,
                limit=limit,
            )

    def last_seen(self) -> float:
        """The newest time at which any key was seen; 0 without keys."""
        with self._catalog.reading() as reader:
            return indexed_keys.last_seen(reader.connection)

    def set_unread(self, files: Sequence[UnreadFile]) -> None:
        """See `Documents.set_unread`."""
        with self._catalog.writing(visible=False) as writer:
            writer.set_unread(files)

    def info(self) -> dict[str, Any]:
        """See `Documents.info`."""
        with self._catalog.reading() as reader:
            file, count = reader.vector_file(), reader.count_vectors()
            kind = file.kind if file else reader.meta("factory") or factory_for(count)
            progress = reader.meta("progress")
            return {
                "path": str(self._catalog.folder),
                **reader.totals(),
                "model": reader.meta("embedder"),
                "wished_model": reader.meta("wished_model"),
                "chunking": reader.meta("chunking"),
                "calibration": reader.calibration_facts(),
                "adapter": adapter_facts(reader.adapter()),
                "background": _background_facts(reader.meta("background")),
                "store": {
                    "kind": kind,
                    "vectors": count,
                    "snapshot_generation": file.generation if file else None,
                },
                "bytes": vector_files.sizes(self._catalog.folder, file),
                "generation": reader.generation(),
                "last_run": reader.meta("last_run"),
                # Progress without a writer is left over from a killed process.
                "progress": progress if progress and self._catalog.being_written else None,
            }

    def _set_factory(self, factory: str) -> None:
        wanted = None if factory == "auto" else strip_id_map(factory)
        with self._catalog.reading() as reader:
            known, dimension = reader.meta("factory"), reader.dimension()
        if wanted == known:
            return
        if wanted is not None:
            make_index(dimension or _TRIAL_DIMENSION, wanted)
        with self._catalog.writing() as writer:
            writer.set_meta("factory", wanted)


_TRIAL_DIMENSION = 64


class MatchCache:
    """The matches of the last few keyword queries, which one search needs several times."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[_MatchKey, Matches] = OrderedDict()

    def get(self, reader: Reader, query: TermQuery) -> Matches:
        """The query's matches in the reader's generation."""
        key = str(reader.meta("identity")), reader.generation(), query
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        found = reader.keyword(query)
        with self._lock:
            self._known[key] = found
            while len(self._known) > _CACHED_QUERIES:
                self._known.popitem(last=False)
        return found


class FilterCache:
    """The allowed chunks of the last few filters, which each side of a search needs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, int, str], Keys] = OrderedDict()

    def get(self, reader: Reader, where: Filter) -> Keys:
        """The keys of the chunks that match in the reader's generation, ascending: (m,)."""
        # Not the filter itself: 1 and True are equal, but not the same condition.
        key = str(reader.meta("identity")), reader.generation(), repr(where)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        found = reader.matching_keys(where)
        found.flags.writeable = False
        with self._lock:
            self._known[key] = found
            while len(self._known) > _CACHED_FILTERS:
                self._known.popitem(last=False)
        return found


class EmbeddedPassages:
    """The implementation of `PassageSearch`: one read transaction and its `SearchState`."""

    def __init__(
        self,
        reader: Reader,
        states: StateKeeper,
        matches: MatchCache,
        state: SearchState | None = None,
        filters: FilterCache | None = None,
    ) -> None:
        self._reader = reader
        self._states = states
        self._matches = matches
        self._filters = filters or FilterCache()
        self._loaded = state
        self._lent: dict[int, Vectors] = {}  # key → calibrated vector
        self._statistics_of: dict[bytes, tuple[float, float]] = {}
        self._pending: int | None = None
        self._count: int | None = None
        self._begun: _Begun | None = None

    @property
    def _state(self) -> SearchState:
        if self._loaded is None:
            self._loaded = self._states.at(self._reader)
        return self._loaded

    def begin_dense(self, query: Vectors, k: int, where: Filter | None = None) -> None:
        """See `PassageSearch.begin_dense`; only where there is much to do."""
        if len(self._state.store) <= MAX_EXACT:
            return
        allowed = None if where is None else self._filters.get(self._reader, where)
        vector = check_query(query, self._state.store.tail.dimension)
        begun = self._state.begin(vector, k + 1, allowed)
        self._begun = None if begun is None else ((vector.tobytes(), k + 1, repr(where)), begun)

    def dense(self, query: Vectors, k: int, where: Filter | None = None) -> ScoredIds:
        """See `PassageSearch.dense`."""
        reader, state = self._reader, self._state
        if not len(state.store) and not self._lent:
            return ScoredIds((), np.empty(0, np.float32), 0.0, 0.0)
        vector = check_query(query, state.store.tail.dimension)
        allowed = None if where is None else self._filters.get(reader, where)
        lent, lent_scores = self._lent_scores(vector, allowed)

        def nearest(count: int) -> tuple[Keys, Scores]:
            found = self._take_begun((vector.tobytes(), count, repr(where)))
            keys, scores = found or state.search(reader, vector, count, allowed)
            if not len(lent):
                return keys, scores
            return top_k(np.append(keys, lent), np.append(scores, lent_scores), count)

        return ScoredIds(*top_k_ids(nearest, k, reader.ids_of), *self._statistics(vector))

    def _take_begun(self, asked: tuple[bytes, int, str]) -> tuple[Keys, Scores] | None:
        """The result of what was begun with these arguments; None without one."""
        begun, self._begun = self._begun, None
        return begun[1].result() if begun is not None and begun[0] == asked else None

    def _statistics(self, vector: Vectors) -> tuple[float, float]:
        """The statistics of stored vectors, or of lent ones if none is stored."""
        name = vector.tobytes()
        if name not in self._statistics_of:
            if len(self._state.store) or not self._lent:
                self._statistics_of[name] = self._state.statistics(vector)
            else:
                scores = self._lent_scores(vector, None)[1].astype(np.float64)
                self._statistics_of[name] = float(scores.mean()), float(scores.std())
        return self._statistics_of[name]

    def _lent_scores(self, vector: Vectors, allowed: Keys | None) -> tuple[Keys, Scores]:
        """The keys (m,) of lent vectors that are allowed, and their cosines (m,)."""
        keys = np.array(list(self._lent), dtype=np.int64)
        if allowed is not None and len(keys):
            keys = keys[np.isin(keys, allowed)]
        if not len(keys):
            return keys, np.empty(0, np.float32)
        vectors = np.array([self._lent[key] for key in keys.tolist()])
        return keys, exact_scores(vectors, vector, np.arange(len(keys)))

    def _vectors_of(self, keys: Keys) -> tuple[Keys, Vectors]:
        """Calibrated vectors, stored and lent: keys (m,) of those that have one, and (m, dim)."""
        found, vectors = self._state.vectors(self._reader, keys)
        lent = [key for key in keys.tolist() if key in self._lent] if self._lent else []
        if not lent:
            return found, vectors
        own = np.array([self._lent[key] for key in lent])
        return np.append(found, lent), np.concatenate([vectors, own])

    def dense_scores(self, query: Vectors, chunk_ids: Sequence[str]) -> Scores:
        """See `PassageSearch.dense_scores`."""
        by_id = self._reader.keys_of(chunk_ids)
        scores = np.zeros(len(chunk_ids), dtype=np.float32)
        if not by_id:
            return scores
        vector = check_query(query, self._state.store.tail.dimension)
        keys, vectors = self._vectors_of(_sorted_keys(by_id))
        found = exact_scores(vectors, vector, np.arange(len(keys)))
        by_key = dict(zip(keys.tolist(), found, strict=True))
        average = self._statistics(vector)[0] if len(keys) < len(by_id) else 0.0
        for at, id_ in enumerate(chunk_ids):
            if id_ in by_id:
                scores[at] = by_key.get(by_id[id_], average)
        return scores

    def keyword(self, query: TermQuery, k: int, where: Filter | None = None) -> ScoredIds:
        """See `PassageSearch.keyword`."""
        found = self._matches.get(self._reader, query)
        keys, scores = found.keys, found.scores.astype(np.float32)
        if where is not None:
            allowed = within(keys, self._filters.get(self._reader, where))
            keys, scores = keys[allowed], scores[allowed]

        def top(count: int) -> tuple[Keys, Scores]:
            return top_scores(keys, scores, count)

        return ScoredIds(*top_k_ids(top, k, self._reader.ids_of), found.mean, found.std)

    def keyword_scores(self, query: TermQuery, chunk_ids: Sequence[str]) -> DoubleScores:
        """See `PassageSearch.keyword_scores`."""
        found = self._matches.get(self._reader, query)
        by_id = self._reader.keys_of(chunk_ids)
        keys = np.array([by_id.get(id_, -1) for id_ in chunk_ids], dtype=np.int64)
        places = np.searchsorted(found.keys, keys)
        present = places < len(found.keys)
        present[present] = found.keys[places[present]] == keys[present]
        scores = np.zeros(len(keys))
        scores[present] = found.scores[places[present]]
        return scores

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        """See `PassageSearch.vectors`."""
        by_id = self._reader.keys_of(chunk_ids)
        found = np.zeros((len(chunk_ids), self._reader.dimension() or 0), dtype=np.float32)
        keys, calibrated = self._vectors_of(_sorted_keys(by_id))
        rows = dict(zip(keys.tolist(), range(len(keys)), strict=True))
        for at, id_ in enumerate(chunk_ids):
            row = rows.get(by_id.get(id_, -1))
            if row is not None:
                found[at] = calibrated[row]
        return found

    def terms(self, chunk_ids: Sequence[str]) -> list[list[str]]:
        """See `PassageSearch.terms`."""
        return self._reader.terms_of(chunk_ids)

    def document_frequencies(self, terms: Iterable[str]) -> Mapping[str, int]:
        """See `PassageSearch.document_frequencies`."""
        return self._reader.document_frequencies(terms)

    def count(self) -> int:
        """See `PassageSearch.count`."""
        if self._count is None:
            self._count = self._reader.count_chunks()
        return self._count

    def count_vectors(self) -> int:
        """See `PassageSearch.count_vectors`."""
        if self._pending is None:
            self._pending = self._reader.count_pending()
        return self.count() - self._pending + len(self._lent)

    def without_vector(self, chunk_ids: Sequence[str]) -> set[str]:
        """See `PassageSearch.without_vector`."""
        found = self._reader.without_vector(chunk_ids)
        lent = self._reader.ids_of(np.array(list(self._lent), dtype=np.int64))
        return found - set(lent.values())

    def lend(self, vectors: Mapping[str, Vectors]) -> None:
        """See `PassageSearch.lend`."""
        missing = self._reader.without_vector(list(vectors))
        keys = self._reader.keys_of(list(missing))
        self._lent |= {key: vectors[id_].astype(np.float32) for id_, key in keys.items()}
        self._statistics_of.clear()


def _sorted_keys(by_id: Mapping[str, int]) -> Keys:
    return np.array(sorted(by_id.values()), dtype=np.int64)


def _bind(writer: Writer, embedder: EmbedderSettings) -> None:
    """Bind an index without chunks, and remove the vectors of another model."""
    known = writer.dimension()
    if writer.meta("embedder") is not None:
        writer.forget_vectors()
        writer.set_meta("background", None)
    elif known is not None and known != embedder.dimension:
        raise other_dimension(known, embedder)
    writer.set_meta("embedder", embedder.to_json())
    writer.set_meta("dimension", embedder.dimension)


def _background_facts(known: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The facts of the match scale for `info`, without its scores."""
    facts = None if known is None else known.get("facts")
    return facts and dict(facts)


__all__ = ["EmbeddedBackend", "EmbeddedPassages", "FilterCache", "MatchCache"]
