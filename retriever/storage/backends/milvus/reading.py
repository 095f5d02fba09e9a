"""`MilvusReader`: reads of an index in Milvus, as of the time of each call.

Milvus has no snapshots: a reader keeps its generation's settings, and of documents what it has read
once; passages are those of the moment. A passage counts only if its document's record names its
edition, so that nothing of a document is seen that is being written or deleted.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from retriever.arrays import Keys, Vectors
from retriever.settings import ChunkSettings, EmbedderSettings
from retriever.storage.adapter import Adapter
from retriever.storage.backends.milvus import documents as docs
from retriever.storage.backends.milvus.client import Row
from retriever.storage.backends.milvus.collections import Collections
from retriever.storage.backends.milvus.documents import DOCUMENT, StoredDocument
from retriever.storage.backends.milvus.rows import CHUNK, chunk_of, in_order, lengthened
from retriever.storage.backends.milvus.state import (
    DOCUMENTS,
    VISIBLE,
    Generation,
    Settings,
    Shared,
)
from retriever.storage.backends.milvus.terms import MilvusVocabulary
from retriever.storage.backends.milvus.values import (
    document_name,
    id_of,
    keys_of,
    listed,
    loaded,
    quoted,
    stored,
)
from retriever.storage.calibration import Calibration
from retriever.storage.filters import Filter, document_fields
from retriever.storage.records import LeftOutTexts, PageStatus, UnreadFile
from retriever.types import Account, Chunk, DocumentRow, FileStatus, Page

MAX_REMEMBERED = 50_000
"""The most documents that the readers of a generation keep in memory."""

_DAY = 86_400 * 10**9  # nanoseconds
_PLACE = ("key", "document", "edition")
_ORDER = (*_PLACE, "position")

T = TypeVar("T")


class MilvusReader(MilvusVocabulary):
    """The implementation of `retriever.storage.backends.CatalogReader`; terms are in `terms`.

    `at` is its generation; `shared` is what readers of one find out once, None where others write.
    """

    def __init__(
        self, collections: Collections, at: Generation, shared: Shared | None = None
    ) -> None:
        self.collections = collections
        self._records = collections.records
        self.at = at
        self._shared = shared or Shared()
        self._every: list[StoredDocument] | None = None
        # By their names in rows; None for one that is not there.
        self._documents: dict[str, StoredDocument | None] = self.remembered(
            f"{DOCUMENTS} by name", dict
        )

    def remembered(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, made once in a generation."""
        return self._shared.get(self.at, name, make)

    # Settings

    def setting(self, name: str) -> Any:
        """A setting that begins a generation when it changes, or None."""
        known: Mapping[str, Any] = self.remembered(
            "settings", lambda: Settings(self._records).get(VISIBLE)
        )
        return known.get(name)

    def generation(self) -> int:
        """See `CatalogReader.generation`."""
        return self.at.number

    def dimension(self) -> int | None:
        """See `CatalogReader.dimension`."""
        value = self.setting("dimension")
        return None if value is None else int(value)

    def embedder_settings(self) -> EmbedderSettings | None:
        """See `CatalogReader.embedder_settings`."""
        values = self.setting("embedder")
        return None if values is None else EmbedderSettings.from_json(values)

    def chunk_settings(self) -> ChunkSettings | None:
        """See `CatalogReader.chunk_settings`."""
        values = self.setting("chunking")
        return None if values is None else ChunkSettings(**values)

    def means(self) -> Calibration:
        """See `CatalogReader.means`."""
        return self.calibration() or Calibration.identity(self.dimension() or 1)

    def calibration(self) -> Calibration | None:
        """The means; None before they are fitted."""
        stored = self.setting("means")
        if stored is None:
            return None
        return self.remembered("calibration", lambda: means_from_json(stored))

    def adapter(self) -> Adapter | None:
        """See `CatalogReader.adapter`."""
        known = self.calibration()
        return None if known is None else known.adapter

    def calibration_facts(self) -> Mapping[str, Any] | None:
        """See `CatalogReader.calibration_facts`."""
        known: Mapping[str, Any] | None = self.setting("calibration")
        return known

    def last_run(self) -> Mapping[str, Any] | None:
        """See `CatalogReader.last_run`."""
        known: Mapping[str, Any] | None = self.setting("last_run")
        return known

    def match_scale(self) -> Mapping[str, Any] | None:
        """See `CatalogReader.match_scale`."""
        known: Mapping[str, Any] | None = self.setting("background")
        return known

    def damage(self) -> list[str]:
        """See `CatalogReader.damage`: a server keeps its data whole, or says that it cannot."""
        return []

    # Documents

    def every_document(self) -> list[StoredDocument]:
        """All documents, in the order in which they were written first."""
        if self._every is None:
            self._every = self._shared.get(
                self.at,
                f"{DOCUMENTS} in order",
                self._read_documents,
                lambda found: len(found) <= MAX_REMEMBERED,
            )
        return self._every

    def _read_documents(self) -> list[StoredDocument]:
        found = [StoredDocument.of(record) for record in self._records.beginning(DOCUMENT)]
        return sorted(found, key=lambda one: (one.added, one.row.id))

    def stored_documents(self, names: Iterable[str]) -> dict[str, StoredDocument]:
        """The documents with these names in rows; unknown ones are left out."""
        wanted = set(names)
        if len(self._documents) > MAX_REMEMBERED:
            self._documents = {}
        missing = [f"{DOCUMENT}{name}" for name in wanted if name not in self._documents]
        if missing:
            found = self._records.get(missing)
            for id_ in missing:
                record = found.get(id_)
                name = id_.removeprefix(DOCUMENT)
                self._documents[name] = None if record is None else StoredDocument.of(record)
        known = ((name, self._documents[name]) for name in wanted)
        return {name: one for name, one in known if one is not None}

    def stored_document(self, document_id: str) -> StoredDocument | None:
        """One document, or None."""
        name = document_name(document_id)
        return self.stored_documents([name]).get(name)

    def documents(self, where: Filter | None = None) -> list[DocumentRow]:
        """See `CatalogReader.documents`."""
        rows = [one.row for one in self.every_document()]
        if where is not None:
            rows = [row for row in rows if where.matches(document_fields(row))]
        return sorted(rows, key=lambda row: (*map(_in_bytes, (row.source, row.path)), row.id))

    def document_names(self, limit: int) -> list[tuple[str, str, int]]:
        """See `CatalogReader.document_names`."""
        rows = (one.row for one in self.every_document()[:limit])
        return [(row.path, row.title, row.chunks) for row in rows]

    def document(self, document_id: str) -> DocumentRow | None:
        """See `CatalogReader.document`."""
        found = self.stored_document(document_id)
        return None if found is None else found.row

    def pages(self, document_id: str) -> list[Page]:
        """See `CatalogReader.pages`."""
        found = self.stored_document(document_id)
        return [] if found is None else self.pages_of(found)

    def pages_of(self, document: StoredDocument) -> list[Page]:
        """The pages of a document in order, also of one whose record is not written yet."""
        return self._pages(document, range(len(document.pages)))

    def _pages(self, document: StoredDocument, places: Sequence[int]) -> list[Page]:
        ids = [docs.page_id(document, at) for at in places]
        found = self._records.get(ids)
        return [
            docs.page_of(document.pages[at], found[id_].value if id_ in found else None)
            for at, id_ in zip(places, ids, strict=True)
        ]

    def page_statuses(self, document_id: str) -> list[PageStatus]:
        """See `CatalogReader.page_statuses`."""
        found = self.stored_document(document_id)
        return [] if found is None else [page.status() for page in found.pages]

    def all_page_statuses(self) -> Mapping[str, list[PageStatus]]:
        """See `CatalogReader.all_page_statuses`."""
        return {
            one.row.id: [page.status() for page in one.pages]
            for one in self.every_document()
            if one.pages
        }

    def accounts(self, *, lost_only: bool = False) -> Mapping[str, Account]:
        """See `CatalogReader.accounts`."""
        return {
            one.row.id: one.account
            for one in self.every_document()
            if one.account is not None and (one.account.unexplained or not lost_only)
        }

    def left_out(self, document_id: str) -> LeftOutTexts:
        """See `CatalogReader.left_out`."""
        found = self.stored_document(document_id)
        if found is None or not found.left_out:
            return LeftOutTexts()
        value = self._records.value(docs.left_out_id(found))
        return LeftOutTexts() if value is None else docs.left_out_texts(value)

    def unread(self) -> list[UnreadFile]:
        """See `CatalogReader.unread`."""
        found = Settings(self._records).value("unread") or []
        files = [
            UnreadFile(root, path, FileStatus(status), *rest) for root, path, status, *rest in found
        ]
        return sorted(files, key=lambda one: (_in_bytes(one.root), _in_bytes(one.path)))

    # Passages

    def chunks(self, document_id: str) -> list[Chunk]:
        """See `CatalogReader.chunks`."""
        found = self.stored_document(document_id)
        if found is None:
            return []
        rows = in_order(self._rows_of(found, CHUNK))
        return [chunk_of(row, found) for row in lengthened(self._records, rows)]

    def chunks_of(self, document_ids: Sequence[str]) -> dict[str, list[Chunk]]:
        """See `CatalogReader.chunks_of`."""
        known = self.stored_documents(map(document_name, document_ids))
        rows: dict[str, list[Row]] = {name: [] for name in known}
        if known and self.has_passages():
            where = f"document in {listed(known)}"
            for some in self.collections.scan(where, CHUNK, 500):
                for row, _ in self.of_documents(some):
                    rows[row["document"]].append(row)
        lengthened(self._records, [row for some in rows.values() for row in some])
        found = {
            one.row.id: [chunk_of(row, one) for row in in_order(rows[name])]
            for name, one in known.items()
        }
        return {id_: found.get(id_, []) for id_ in document_ids}

    def chunk_ids(self, document_id: str) -> list[str]:
        """See `CatalogReader.chunk_ids`."""
        found = self.stored_document(document_id)
        if found is None:
            return []
        fields = ("key", "position", "page_at", "start", "stop")
        return [id_of(row["key"]) for row in in_order(self._rows_of(found, fields))]

    def _rows_of(self, document: StoredDocument, fields: Sequence[str]) -> list[Row]:
        if not self.has_passages():
            return []
        where = f"document == {quoted(document.name)} and edition == {quoted(document.edition)}"
        return self.collections.all(where, fields)

    def has_passages(self) -> bool:
        """Whether there is a collection of passages."""
        return self.dimension() is not None

    def page_of(self, chunk_id: str) -> Page | None:
        """See `CatalogReader.page_of`."""
        for row, document in self.rows([chunk_id], (*_PLACE, "page_at")).values():
            return self._pages(document, [row["page_at"]])[0]
        return None

    def get(self, chunk_ids: Sequence[str]) -> list[Chunk]:
        """See `CatalogReader.get`."""
        found = self.rows(chunk_ids, CHUNK)
        lengthened(self._records, [row for row, _ in found.values()])
        return [chunk_of(*found[id_]) for id_ in chunk_ids if id_ in found]

    def rows(
        self, chunk_ids: Sequence[str], fields: Sequence[str]
    ) -> dict[str, tuple[Row, StoredDocument]]:
        """The rows of passages, and their documents, by id; unknown ids are left out.

        `fields` have "key", "document" and "edition".
        """
        keys = keys_of(dict.fromkeys(chunk_ids)).tolist()
        if not keys or not self.has_passages():
            return {}
        return {
            id_of(row["key"]): (row, document)
            for row, document in self.of_documents(self.collections.get(keys, fields))
        }

    def of_documents(self, rows: Sequence[Row]) -> list[tuple[Row, StoredDocument]]:
        """The rows that count, each with its document."""
        known = self.stored_documents(row["document"] for row in rows)
        found = ((row, known.get(row["document"])) for row in rows)
        return [
            (row, document)
            for row, document in found
            if document is not None and document.edition == row["edition"]
        ]

    def count_chunks(self) -> int:
        """The number of passages."""
        return self.remembered(
            f"{DOCUMENTS} chunks", lambda: sum(one.row.chunks for one in self.every_document())
        )

    # Samples

    def sample_chunks(self, limit: int, *, embedded: bool = False) -> list[Chunk]:
        """See `CatalogReader.sample_chunks`."""
        return self.get([id_of(key) for key in self.sample_keys(limit, embedded=embedded).tolist()])

    def sample_keys(self, limit: int, *, embedded: bool = False) -> Keys:
        """The keys of `sample_chunks`, in the same order: (m,).

        Ids are hashes: the first n of N by id are below about n/N of the range of keys.
        """
        count = self.count_chunks()
        if not count or limit <= 0:
            return np.empty(0, np.int64)
        only = " and embedded == true" if embedded else ""
        share = 1.5 * (limit + 8) / count
        while True:
            end = min(2**63 - 1, int(-(2**63) + share * 2**64))
            whole = end == 2**63 - 1
            where = f"key {'<=' if whole else '<'} {end}{only}"
            rows = self.of_documents(self.collections.all(where, _PLACE))
            if whole or len(rows) >= limit:
                return np.array(sorted(row["key"] for row, _ in rows)[:limit], np.int64)
            share *= 4

    def sample_vectors(self, limit: int) -> Vectors:
        """See `CatalogReader.sample_vectors`."""
        keys = self.sample_keys(limit, embedded=True).tolist()
        rows = {row["key"]: row["vector"] for row in self.collections.get(keys, ("key", "vector"))}
        return self.load_vectors([loaded(rows[key]) for key in keys if key in rows])

    # Vectors

    def pending_keys(self) -> Keys:
        """See `CatalogReader.pending_keys`.

        A file without a time of change has just been changed. Files that changed on the same day,
        as after copying a folder, are ordered by the dates of their documents.
        """
        if not self.has_passages():
            return np.empty(0, np.int64)
        self._documents = {one.name: one for one in self.every_document()}
        pending = self.of_documents(self.collections.all("embedded == false", _ORDER))
        # Texts order one way only: the dates are descending, what follows them is ascending.
        pending.sort(key=lambda found: (found[1].added, found[1].row.id, found[0]["position"]))
        pending.sort(key=lambda found: _need(found[1].row), reverse=True)
        return np.array([row["key"] for row, _ in pending], dtype=np.int64)

    def pending_texts(self, keys: Keys) -> list[tuple[int, str, str]]:
        """See `CatalogReader.pending_texts`."""
        wanted = keys.tolist()
        if not wanted or not self.has_passages():
            return []
        rows = self.of_documents(self.collections.get(wanted, (*CHUNK, "embedded")))
        missing = [(row, document) for row, document in rows if not row["embedded"]]
        lengthened(self._records, [row for row, _ in missing])
        known = {
            row["key"]: (row["key"], loaded(row["text"]), document.row.title)
            for row, document in missing
        }
        return [known[key] for key in wanted if key in known]

    def without_vector(self, chunk_ids: Sequence[str]) -> set[str]:
        """Those of the passages that have no vector."""
        found = self.rows(chunk_ids, (*_PLACE, "embedded"))
        return {id_ for id_, (row, _) in found.items() if not row["embedded"]}

    def keys_of(self, chunk_ids: Sequence[str]) -> Mapping[str, int]:
        """See `CatalogReader.keys_of`."""
        found = self.rows(chunk_ids, _PLACE)
        return {id_: row["key"] for id_, (row, _) in found.items()}

    def vector_keys(self, chunk_ids: Sequence[str]) -> Mapping[str, str]:
        """See `CatalogReader.vector_keys`."""
        found = self.rows(chunk_ids, (*_PLACE, "embedded", "vector"))
        return {id_: loaded(row["vector"]) for id_, (row, _) in found.items() if row["embedded"]}

    def count_vectors(self) -> int:
        """See `CatalogReader.count_vectors`."""
        return self.count_chunks() - self.count_pending()

    def count_pending(self) -> int:
        """See `CatalogReader.count_pending`."""
        if not self.has_passages():
            return 0

        def count() -> int:
            return self.collections.connection.count(self.collections.passages, "embedded == false")

        return self.remembered("pending", count)

    def pending_by_document(self) -> Mapping[str, int]:
        """See `CatalogReader.pending_by_document`."""
        if not self.has_passages():
            return {}
        rows = self.of_documents(self.collections.all("embedded == false", _PLACE))
        return Counter(document.row.id for _, document in rows)

    def has_vectors(self) -> bool:
        """See `CatalogReader.has_vectors`."""
        return self.has_passages() and bool(
            self.collections.connection.query(self.collections.vectors, "", ("key",), 1)
        )

    def known_vectors(self, keys: Sequence[str]) -> set[str]:
        """See `CatalogReader.known_vectors`."""
        wanted = [stored(key) for key in dict.fromkeys(keys) if key]
        if not wanted or not self.has_passages():
            return set()
        rows = self.collections.connection.get(self.collections.vectors, wanted, ("key",))
        return {loaded(row["key"]) for row in rows}

    def load_vectors(self, keys: Sequence[str]) -> Vectors:
        """See `CatalogReader.load_vectors`."""
        wanted = [stored(key) for key in dict.fromkeys(keys)]
        rows: list[Row] = []
        if wanted and self.has_passages():
            rows = self.collections.connection.get(self.collections.vectors, wanted, ("key", "raw"))
        found = {loaded(row["key"]): row["raw"] for row in rows}
        loaded_vectors = np.empty((len(keys), self.dimension() or 0), np.float32)
        for at, key in enumerate(keys):
            loaded_vectors[at] = found[key]
        return loaded_vectors


def means_to_json(means: Calibration) -> dict[str, Any]:
    """Means as a setting, to the last bit, with their adapter if there is one."""
    values: dict[str, Any] = {
        name: base64.b64encode(np.asarray(mean, "<f4").tobytes()).decode()
        for name, mean in (("passage", means.passage_mean), ("query", means.query_mean))
    }
    if means.adapter is not None:
        values["adapter"] = means.adapter.to_json()
    return values


def means_from_json(value: Mapping[str, Any]) -> Calibration:
    """The inverse of `means_to_json`."""
    passage, query = (
        np.frombuffer(base64.b64decode(value[name]), "<f4").astype(np.float32)
        for name in ("passage", "query")
    )
    adapter = value.get("adapter")
    return Calibration(passage, query, adapter and Adapter.from_json(adapter))


def _need(row: DocumentRow) -> tuple[bool, int, bytes, int]:
    return row.mtime_ns == 0, row.mtime_ns // _DAY, _in_bytes(row.date), row.mtime_ns


def _in_bytes(text: str) -> bytes:
    """A text as the embedded backend orders it."""
    return text.encode("utf-8", "surrogatepass")


__all__ = ["MAX_REMEMBERED", "MilvusReader", "means_from_json", "means_to_json"]
