"""`MilvusBackend`: an index in Milvus. See the package for its collections.

One process writes at a time, under a lease; any number read. A change is visible when its last
record is written. What a run left that was killed, or that lost the server, is completed or removed
when the next writer begins: see `session`, `writing` and `sweeping`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn, Self, cast

import numpy as np

from retriever.arrays import Vectors
from retriever.settings import ChunkSettings, EmbedderSettings
from retriever.storage.adapter import Adapter, same_adapter
from retriever.storage.addresses import Address
from retriever.storage.backends.milvus import schema, sweeping, wishes
from retriever.storage.backends.milvus.client import Connection
from retriever.storage.backends.milvus.collections import Collections
from retriever.storage.backends.milvus.describing import described, sizes
from retriever.storage.backends.milvus.keys import Keys
from retriever.storage.backends.milvus.moving import Mover
from retriever.storage.backends.milvus.passages import MilvusPassages
from retriever.storage.backends.milvus.reading import means_to_json
from retriever.storage.backends.milvus.session import ANALYSER, Session
from retriever.storage.backends.milvus.state import Generation, Settings
from retriever.storage.backends.protocols import CatalogReader
from retriever.storage.backends.snapshot import Snapshot
from retriever.storage.binding import (
    checked_adapter,
    checked_means,
    other_dimension,
    other_model,
    same_means,
    wrong_dimension,
)
from retriever.storage.catalog import fulltext
from retriever.storage.catalog.indexed_keys import IndexedKey
from retriever.storage.catalog.lock import PATIENCE
from retriever.storage.records import NewChunk, NewDocument, UnreadFile
from retriever.storage.upkeep.compact import Compaction
from retriever.types import Account, DocumentRow, IndexStateError, LeftOut, Page, UsageError
from retriever.version import __version__

FORMAT = "format"
"""The setting with the number of the schema."""


class MilvusBackend:
    """The implementation of `retriever.storage.backends.Documents`. Threads may share an object."""

    def __init__(self, connection: Connection, *, worker: str = "") -> None:
        self._connection = connection
        self._collections = Collections(connection, connection.address.collection)
        self._records = self._collections.records
        self._settings = Settings(self._records)
        self._session = Session(self._collections, worker)
        self._keys = Keys(self._records)

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

        `worker` is the token of the run that this process works for, see `for_workers`: it writes
        documents and vectors under the lease of that run. `kind` is the kind of the index of
        vectors that a new index has. Raises IndexStateError if there is no index, or no server.
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
        self._collections.load()
        format_ = self._settings.value(FORMAT)
        if format_ is None and create and self._records.is_empty():
            format_ = schema.FORMAT
            facts = {FORMAT: format_, "program": __version__, "kind": kind}
            self._settings.put({**facts, ANALYSER: fulltext.VERSION}, Generation(1, 1))
        if format_ is None:
            raise IndexStateError(f"the collections of {self.name} are no index of this program")
        if format_ > schema.ADAPTED:
            raise IndexStateError(
                f"the index at {self.name} was written by a newer version of this program; "
                "upgrade it to read the index"
            )

    @property
    def name(self) -> str:
        """The address for display."""
        return self._connection.name

    @property
    def collections(self) -> Collections:
        """The collections of the index, for what is derived of them."""
        return self._collections

    def for_workers(self) -> tuple[str, str] | None:
        """The address and the token with which workers write, until `finish` or `release`.

        Meanwhile `set_progress` tells readers of their changes. None for Milvus Lite, which one
        process has at a time.
        """
        if self._connection.address.is_lite or self._session.is_worker:
            return None
        return self.name, self._session.lend()

    def close(self) -> None:
        """See `Documents.close`."""
        self._session.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Reading

    @contextmanager
    def reading(self) -> Iterator[CatalogReader]:
        """See `Documents.reading`; what is read is of the moment, see `MilvusReader`."""
        yield cast(CatalogReader, self._session.reader())

    @contextmanager
    def snapshot(self, *, dense: bool = True) -> Iterator[Snapshot]:
        """See `Documents.snapshot`."""
        self._session.settle_terms()
        reader = self._session.reader(searches=True)
        yield Snapshot(cast(CatalogReader, reader), MilvusPassages(reader))

    # Identity

    @property
    def preferred_model(self) -> str:
        """The model chosen when the index was created; empty for the default model."""
        return str(self._settings.value("wished_model") or "")

    def prefer_model(self, model: str) -> None:
        """Choose the model for an empty index; only `bind_embedder` binds it."""
        self._session.put({"wished_model": model or None}, visible=False)

    @property
    def ocr_languages(self) -> str:
        """See `Documents.ocr_languages`."""
        return str(self._settings.value("ocr") or "")

    def set_ocr_languages(self, languages: str) -> None:
        """See `Documents.set_ocr_languages`."""
        self._session.put({"ocr": languages or None}, visible=False)

    @property
    def password_salt(self) -> bytes:
        """See `Documents.password_salt`."""
        return bytes.fromhex(str(self._settings.value("password_salt") or ""))

    def set_password_salt(self, salt: bytes) -> None:
        """See `Documents.set_password_salt`."""
        self._session.put({"password_salt": salt.hex()}, visible=False)

    @property
    def mounts(self) -> Sequence[str]:
        """See `Documents.mounts`."""
        return [str(one) for one in self._settings.value("mounts") or []]

    def set_mounts(self, mounts: Sequence[str]) -> None:
        """See `Documents.set_mounts`."""
        self._session.put({"mounts": list(mounts) or None}, visible=False)

    def bind_embedder(self, embedder: EmbedderSettings, chunks: ChunkSettings) -> None:
        """See `Documents.bind_embedder`. Chunk settings may differ; the last ones are stored."""
        if self._is_bound(embedder) and self._chunking() == asdict(chunks):
            return
        with self._session.lock:
            self._session.begin()
            values: dict[str, Any] = {"chunking": asdict(chunks)}
            # Meanwhile another process may have bound the index, and written to it.
            if not self._is_bound(embedder):
                values |= self._bind(embedder)
            self._session.put(values)

    def _chunking(self) -> Any:
        return self._session.reader().setting("chunking")

    def _is_bound(self, embedder: EmbedderSettings) -> bool:
        """Whether the index is bound to an embedder; IndexStateError if it is to another one."""
        reader = self._session.reader()
        known = reader.embedder_settings()
        if known is not None and known.fingerprint == embedder.fingerprint:
            return True
        if known is not None and reader.count_chunks():
            raise other_model(self.name, known, embedder)
        return False

    def _bind(self, embedder: EmbedderSettings) -> dict[str, Any]:
        """Make the collections of an index without passages, without vectors of another model."""
        reader = self._session.reader()
        dimension = reader.dimension()
        values: dict[str, Any] = {"embedder": embedder.to_json(), "dimension": embedder.dimension}
        if reader.setting("embedder") is not None:
            self._collections.drop_vectors()
            values |= dict.fromkeys(("background", "means", "calibration"))
        elif dimension is not None and dimension != embedder.dimension:
            raise other_dimension(dimension, embedder)
        self._make_collections(embedder.dimension)
        return values

    def _make_collections(self, dimension: int) -> None:
        kind = str(self._session.reader().setting("kind") or schema.FLAT)
        self._collections.create_vectors(dimension, kind)

    # Writing

    def save_vectors(self, keys: Sequence[str], vectors: Vectors) -> None:
        """See `Documents.save_vectors`; an existing key keeps its vector."""
        self._fit_dimension(vectors)
        with self._session.change() as writer:
            writer.save_vectors(keys, vectors)

    def _fit_dimension(self, vectors: Vectors) -> None:
        """Make the collections where the dimension is not known; UsageError for another one."""
        array = np.asarray(vectors)
        reader = self._session.reader()
        known = reader.dimension()
        if array.ndim != 2 or not len(array) or known == array.shape[1]:
            return
        if known is not None:
            raise wrong_dimension(known, reader.embedder_settings(), array.shape[1])
        with self._session.lock:
            self._session.begin()
            self._make_collections(array.shape[1])
            self._session.put({"dimension": array.shape[1]})

    def attach_vectors(
        self, keys: Sequence[str], vectors: Vectors, chunks: Mapping[int, str]
    ) -> int:
        """See `Documents.attach_vectors`."""
        self._fit_dimension(vectors)
        with self._session.change() as writer:
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
        keys: Sequence[IndexedKey] = (),
    ) -> None:
        """See `Documents.upsert_many`.

        Raw `vectors` (dim,) by key are stored before the documents, and `keys` noted after them.
        """
        raw = np.stack(list(vectors.values())) if vectors else None
        if raw is not None:
            self._fit_dimension(raw)
        with self._session.change() as writer:
            if not writer.reader.has_passages() and any(one.chunks for one in documents):
                raise UsageError(
                    f"the index at {self.name} has no model yet: bind_embedder comes before "
                    "documents with passages"
                )
            if vectors and raw is not None:
                writer.save_vectors(list(vectors), raw)
            writer.upsert(documents)
        if keys:
            self.put_keys(keys)

    def note_wanted(self, chunk_ids: Sequence[str]) -> None:
        """See `Documents.note_wanted`."""
        wishes.note(self._records, chunk_ids)

    def take_wanted(self) -> list[str]:
        """See `Documents.take_wanted`."""
        return wishes.take(self._records)

    def touch(self, row: DocumentRow) -> None:
        """See `Documents.touch`."""
        with self._session.change() as writer:
            writer.touch(row)

    def rename(self, document_id: str, row: DocumentRow) -> None:
        """See `Documents.rename`; what stood under `row.id` is replaced."""
        self.rename_many([(document_id, row)])

    def rename_many(self, moves: Sequence[tuple[str, DocumentRow]]) -> None:
        """See `Documents.rename_many`; a search may see some of the moves before the others."""
        with self._session.change() as writer:
            Mover(writer).move(moves)

    def delete(self, document_ids: Sequence[str]) -> int:
        """See `Documents.delete`; the documents' indexed keys go with them."""
        with self._session.change() as writer:
            count = writer.delete(document_ids)
            if writer.reader.setting("has_keys"):
                self._keys.remove(document_ids)
            return count

    def calibrate(
        self, passage_mean: Vectors, query_mean: Vectors, facts: Mapping[str, Any]
    ) -> None:
        """See `Documents.calibrate`; new means rewrite all vectors, from the raw ones."""
        with self._session.lock:
            self._session.begin()
            reader = self._session.reader()
            means = checked_means(passage_mean, query_mean, reader.dimension())
            before = reader.calibration()
            if before is not None and same_means(before, means):
                self._session.put({"calibration": dict(facts)})
            else:
                self._session.refit(replace(means, adapter=reader.adapter()), facts)

    def set_adapter(self, adapter: Adapter | None) -> None:
        """See `Documents.set_adapter`; one of passages rewrites all vectors, from the raw ones."""
        with self._session.lock:
            self._session.begin()
            reader = self._session.reader()
            before = checked_adapter(adapter, reader.calibration(), reader.dimension())
            if same_adapter(before.adapter, adapter):
                return
            # Before the adapter comes and after it is gone: no older program sees one.
            if adapter is not None:
                self._session.put({FORMAT: schema.ADAPTED})
            means = replace(before, adapter=adapter)
            if any(one is not None and one.of_passages for one in (before.adapter, adapter)):
                self._session.refit(means, reader.calibration_facts() or {})
            else:
                self._session.put({"means": means_to_json(means)})
            if adapter is None:
                self._session.put({FORMAT: schema.FORMAT})

    def set_match_scale(self, scale: Mapping[str, Any] | None) -> None:
        """See `Documents.set_match_scale`."""
        self._session.put({"background": None if scale is None else dict(scale)})

    def set_unread(self, files: Sequence[UnreadFile]) -> None:
        """See `Documents.set_unread`."""
        found = [
            [one.root, one.path, one.status.value, one.reason, one.size, one.mtime_ns, one.settings]
            for one in files
        ]
        self._session.put({"unread": found or None}, visible=False)

    def set_progress(self, progress: Mapping[str, Any] | None) -> None:
        """See `Documents.set_progress`; the generation stays the same."""
        self._session.put({"progress": None if progress is None else dict(progress)}, visible=False)

    def finish(self, report: Mapping[str, Any]) -> None:
        """See `Documents.finish`; terms and weights are brought up to date."""
        with self._session.lock:
            self._session.begin()
            self._session.drop_unused_vectors()
            self._session.settle()
            self._session.summarise()
            self._session.put({"last_run": dict(report), "progress": None})
            self._session.end()

    def acquire(self, seconds: float = PATIENCE) -> None:
        """See `Documents.acquire`."""
        self._session.begin(seconds)

    def release(self, *, checkpoint: bool = True) -> None:
        """See `Documents.release`."""
        self._session.end()

    def back_up(self, to: Path) -> NoReturn:
        """See `Documents.back_up`: a server has backups of its own."""
        raise UsageError(
            f"the index at {self.name} is in Milvus, which has backups of its own; wva copy makes "
            f"a folder of it, such as {to}"
        )

    def compact(self, *, dry_run: bool = False) -> Compaction:
        """See `Documents.compact`: vectors that no passage has go; Milvus tidies its files."""
        before = sizes(self._connection.address)["total"]
        if not dry_run:
            with self._session.lock:
                self._session.begin()
                if self._session.reader().has_passages():
                    sweeping.drop_unused_vectors(self._collections, None)
                self._collections.compact()
                self._session.end()
        return Compaction(before, sizes(self._connection.address)["total"])

    # Indexed keys: see `retriever.storage.catalog.indexed_keys`

    def indexed_keys(self) -> list[IndexedKey]:
        """See `Documents.indexed_keys`."""
        return self._keys.every()

    def put_keys(self, keys: Sequence[IndexedKey], *, keep_groups: bool = False) -> None:
        """Note when keys were seen, and their groups unless those are kept."""
        with self._session.lock:
            self._session.begin()
            if not self._session.reader().setting("has_keys"):
                self._session.put({"has_keys": True})
            self._keys.put(keys, keep_groups=keep_groups)

    def remove_keys(self, namespace: str, keys: Sequence[str]) -> None:
        """Forget keys of one namespace; the documents stay."""
        with self._session.lock:
            self._session.begin()
            self._keys.remove(keys, namespace)

    def known_keys(self, namespace: str, keys: Sequence[str]) -> set[str]:
        """Those of the keys that are noted in a namespace."""
        return self._keys.known(namespace, keys)

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
        return self._keys.listed(namespace, before=before, after=after, groups=groups, limit=limit)

    def last_seen(self) -> float:
        """The newest time at which any key was seen; 0 without keys."""
        return self._keys.last_seen()

    def info(self) -> dict[str, Any]:
        """See `Documents.info`."""
        others = self._settings.get(("wished_model", "progress"))
        written = "progress" in others and self._session.lease.held_by_anyone()
        reader = self._session.reader()
        return described(self._connection.address, reader, others, written=written)


__all__ = ["FORMAT", "MilvusBackend"]
