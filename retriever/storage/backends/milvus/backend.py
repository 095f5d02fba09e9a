"""`MilvusBackend`: an index in Milvus. See the package for its collections.

One process writes at a time, under a lease; any number read. Each change is visible when its last
record is written. A run that was killed or lost the server is completed, or what it left is swept,
when the next writer begins: see `writing` and `sweeping`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Self, cast

import numpy as np

from retriever.arrays import Vectors
from retriever.settings import ChunkSettings, EmbedderSettings
from retriever.storage.backends.milvus import schema
from retriever.storage.backends.milvus.address import Address
from retriever.storage.backends.milvus.client import Connection
from retriever.storage.backends.milvus.collections import Collections
from retriever.storage.backends.milvus.lease import PATIENCE, Lease, check_token
from retriever.storage.backends.milvus.reading import MilvusReader
from retriever.storage.backends.milvus.rows import Weigh
from retriever.storage.backends.milvus.state import Generation, Settings, Shared
from retriever.storage.backends.milvus.writing import MilvusWriter, TermCounts
from retriever.storage.backends.protocols import CatalogReader, PassageSearch
from retriever.storage.backends.snapshot import Snapshot
from retriever.storage.binding import other_dimension, other_model, wrong_dimension
from retriever.storage.records import NewChunk, NewDocument, UnreadFile
from retriever.types import Account, DocumentRow, IndexStateError, LeftOut, Page
from retriever.version import __version__

log = logging.getLogger(__name__)

FORMAT = "format"
"""The setting with the number of the schema."""


class MilvusBackend:
    """The implementation of `retriever.storage.backends.Documents`. Threads may share an object."""

    def __init__(self, connection: Connection, *, worker: str = "") -> None:
        self._connection = connection
        self._collections = Collections(connection, connection.address.collection)
        self._records = self._collections.records
        self._settings = Settings(self._records)
        self._shared = Shared()
        self._lease = Lease(connection, self._records)
        self._worker = worker
        self._changing = threading.RLock()
        self._generation: Generation | None = None  # known while the lease is held
        self._loose: set[str] = set()  # keys of vectors that may have no passage

    @classmethod
    def open(
        cls,
        address: str,
        *,
        create: bool = False,
        worker: str = "",
        kind: str = schema.FLAT,
    ) -> Self:
        """Open the index at an address; `create` makes one if there is none.

        `worker` is the token of the run that this process works for: it writes documents and
        vectors under the lease of that run. `kind` is the index of vectors of a new index. Raises
        IndexStateError if there is no index, or no server.
        """
        backend = cls(Connection(Address.parse(address)), worker=worker)
        try:
            backend._open(create=create, kind=kind)
        except BaseException:
            backend.close()
            raise
        return backend

    def _open(self, *, create: bool, kind: str) -> None:
        if not self._collections.exists():
            if not create:
                raise IndexStateError(f"there is no index at {self.name}; wva index makes one")
            self._collections.create()
            self._settings.put(
                {FORMAT: schema.FORMAT, "program": __version__, "kind": kind}, Generation(1, 1)
            )
        format_ = self._settings.value(FORMAT)
        if format_ is None or format_ > schema.FORMAT:
            raise IndexStateError(
                f"the index at {self.name} was written by a newer version of this program; "
                "upgrade it to read the index"
                if format_
                else f"the collections of {self.name} are no index of this program"
            )

    @property
    def name(self) -> str:
        """The address for display."""
        return self._connection.address.text

    def for_workers(self) -> tuple[str, str] | None:
        """The address and the token with which workers of this run write; None for Milvus Lite."""
        if self._connection.address.is_lite or self._worker:
            return None
        with self._changing:
            self._begin()
        return self._connection.address.text, self._lease.owner

    def close(self) -> None:
        """See `Documents.close`."""
        self._lease.abandon()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Reading

    @contextmanager
    def reading(self) -> Iterator[MilvusReader]:
        """See `Documents.reading`; what is read is of the moment, see `MilvusReader`."""
        yield self._reader()

    def _reader(self) -> MilvusReader:
        generation = self._generation or self._settings.generation()
        return MilvusReader(self._collections, generation, None if self._worker else self._shared)

    @contextmanager
    def snapshot(self, *, dense: bool = True) -> Iterator[Snapshot]:
        """See `Documents.snapshot`."""
        reader = self._reader()
        yield Snapshot(cast(CatalogReader, reader), self._passages(reader))

    def _passages(self, reader: MilvusReader) -> PassageSearch:
        raise NotImplementedError  # comes with `milvus.passages`

    # Writing

    @contextmanager
    def _writing(self, *, documents: bool = True) -> Iterator[MilvusWriter]:
        """One change, of documents or of other things."""
        with self._changing:
            self._begin()
            reader = self._reader()
            following = None
            if not self._worker:
                following = reader.at.next(documents=documents)
            yield MilvusWriter(reader, following, self._terms(), self._weigh(), self._loose)
            if following is not None:
                self._generation = following

    def _begin(self) -> None:
        """Take the lease, or as a worker check that its run still has it."""
        if self._worker:
            check_token(self._records, self._worker, self.name)
        elif self._lease.acquire():
            self._shared.clear()
            self._generation = self._settings.generation()

    def _terms(self) -> TermCounts:
        return _NoTerms()

    def _weigh(self) -> Weigh:
        return lambda terms, length: {0: 1e-6}

    def _put(self, values: Mapping[str, Any], *, visible: bool = True) -> None:
        """Store settings; those of `state.VISIBLE` begin a new generation."""
        with self._changing:
            self._begin()
            following = None
            if visible:
                following = (self._generation or self._settings.generation()).next(documents=False)
            self._settings.put(values, following)
            self._generation = following or self._generation

    def bind_embedder(self, embedder: EmbedderSettings, chunks: ChunkSettings) -> None:
        """See `Documents.bind_embedder`. Chunk settings may differ; the last ones are stored."""
        reader = self._reader()
        known = reader.embedder_settings()
        same_model = known is not None and known.fingerprint == embedder.fingerprint
        if same_model and reader.setting("chunking") == asdict(chunks):
            return
        if known is not None and not same_model and reader.count_chunks():
            raise other_model(self.name, known, embedder)
        with self._changing:
            self._begin()
            values: dict[str, Any] = {"chunking": asdict(chunks)}
            if not same_model:
                values |= self._bind(reader, embedder)
            self._put(values)

    def _bind(self, reader: MilvusReader, embedder: EmbedderSettings) -> dict[str, Any]:
        """Make the collections of an index without passages, without vectors of another model."""
        values: dict[str, Any] = {"embedder": embedder.to_json(), "dimension": embedder.dimension}
        dimension = reader.dimension()
        if reader.setting("embedder") is not None:
            self._collections.drop_vectors()
            values |= dict.fromkeys(("background", "means", "calibration"))
        elif dimension is not None and dimension != embedder.dimension:
            raise other_dimension(dimension, embedder)
        self._collections.create_vectors(embedder.dimension, self._kind(reader))
        return values

    def _kind(self, reader: MilvusReader) -> str:
        return str(reader.setting("kind") or schema.FLAT)

    def save_vectors(self, keys: Sequence[str], vectors: Vectors) -> None:
        """See `Documents.save_vectors`; an existing key keeps its vector."""
        if not len(keys):
            return
        self._fit_dimension(vectors)
        with self._writing() as writer:
            writer.save_vectors(keys, vectors)

    def _fit_dimension(self, vectors: Vectors) -> None:
        """Make the collections where the dimension is not known; UsageError for another one."""
        array = np.asarray(vectors)
        reader = self._reader()
        known = reader.dimension()
        if array.ndim != 2 or known == array.shape[1]:
            return
        if known is not None:
            raise wrong_dimension(known, reader.embedder_settings(), array.shape[1])
        with self._changing:
            self._begin()
            self._collections.create_vectors(array.shape[1], self._kind(reader))
            self._put({"dimension": array.shape[1]})

    def attach_vectors(
        self, keys: Sequence[str], vectors: Vectors, chunks: Mapping[int, str]
    ) -> int:
        """See `Documents.attach_vectors`."""
        with self._writing(documents=False) as writer:
            if len(keys):
                writer.save_vectors(keys, vectors)
            return writer.attach(chunks)

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
    ) -> None:
        """See `Documents.upsert_many`. Raw `vectors` (dim,) by key are stored before."""
        if vectors:
            self._fit_dimension(np.stack(list(vectors.values())))
        with self._writing() as writer:
            if vectors:
                writer.save_vectors(list(vectors), np.stack(list(vectors.values())))
            writer.upsert(documents)

    def touch(self, row: DocumentRow) -> None:
        """See `Documents.touch`."""
        with self._writing() as writer:
            writer.touch(row)

    def delete(self, document_ids: Sequence[str]) -> int:
        """See `Documents.delete`."""
        with self._writing() as writer:
            return writer.delete(document_ids)

    def set_match_scale(self, scale: Mapping[str, Any] | None) -> None:
        """See `Documents.set_match_scale`."""
        self._put({"background": None if scale is None else dict(scale)})

    def set_unread(self, files: Sequence[UnreadFile]) -> None:
        """See `Documents.set_unread`."""
        found = [
            [one.root, one.path, one.status.value, one.reason, one.size, one.mtime_ns, one.settings]
            for one in files
        ]
        self._put({"unread": found or None}, visible=False)

    def set_progress(self, progress: Mapping[str, Any] | None) -> None:
        """See `Documents.set_progress`; the generation stays the same."""
        self._put({"progress": None if progress is None else dict(progress)}, visible=False)

    def finish(self, report: Mapping[str, Any]) -> None:
        """See `Documents.finish`."""
        with self._changing:
            self._put({"last_run": dict(report), "progress": None})
            self.release()

    def acquire(self, seconds: float = PATIENCE) -> None:
        """Take the lease before a change, and wait for another process for so long.

        Raises IndexStateError if it still writes then.
        """
        with self._changing:
            if self._lease.acquire(seconds):
                self._shared.clear()
                self._generation = self._settings.generation()

    def release(self, *, checkpoint: bool = True) -> None:
        """See `Documents.release`."""
        with self._changing:
            self._generation = None
            self._lease.release()


class _NoTerms:
    """Stands for the term dictionary."""

    def plus(self, rows: object) -> None: ...

    def minus(self, rows: object) -> None: ...

    def flush(self) -> None: ...


__all__ = ["FORMAT", "MilvusBackend"]
