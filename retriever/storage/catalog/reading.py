"""`Reader`: the queries of one read transaction, on a consistent state of the catalog."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from retriever.arrays import Keys, Mask, Vectors
from retriever.settings import ChunkSettings, EmbedderSettings
from retriever.storage.adapter import Adapter
from retriever.storage.calibration import Calibration
from retriever.storage.catalog import checked, forms, seals
from retriever.storage.catalog.adapter_cache import AdapterCache
from retriever.storage.catalog.checked import REMEDY, Checks, Damage, DamagedRowError
from retriever.storage.catalog.filter_sql import chunk_condition, document_condition
from retriever.storage.catalog.foreign import is_vector_file
from retriever.storage.catalog.id_cache import IdCaches, LookupCache
from retriever.storage.catalog.keywords import Matches, score_query
from retriever.storage.catalog.postings import Postings, Terms, write_posting_file
from retriever.storage.catalog.schema import (
    ADAPTER,
    ADDED,
    added_columns,
    blob,
    has_accounts,
    has_attached,
    stack,
    unblob,
)
from retriever.storage.filters import Filter, mentions_passages
from retriever.storage.records import LeftOutTexts, PageStatus, TermQuery, UnreadFile
from retriever.text.languages import LANGUAGES
from retriever.types import (
    Account,
    Chunk,
    DocumentRow,
    FileStatus,
    IndexStateError,
    LeftOut,
    Page,
    UsageError,
)

BLOCK = 2048
"""Rows read at a time, which bounds memory where all chunks are read."""

T = TypeVar("T")

_DAY = 86_400 * 10**9  # nanoseconds

# An outer join, since a passage without its page or document is damaged, and not unknown.
_CHUNK = f"""SELECT {seals.CHUNK.select("c")}, c.text, {{chunk_seal}}, {{page}}, {{page_seal}},
    {seals.DOCUMENT.select("d")}, {{document_seal}} FROM chunks c
    LEFT JOIN documents d ON d.key = c.document
    LEFT JOIN pages p ON p.document = c.document AND p.position = c.position {{joins}}"""
_KEPT_GOING = ("identity", "generation", "last_run", "progress", "background")
"""Values of `meta` that are not needed for an answer: a damaged one is as if it were missing, or
used as a mere name of a state."""


@dataclass(frozen=True, slots=True)
class VectorFile:
    """The catalog's record of the vector file, which the file must agree with."""

    generation: int
    file: str
    bytes: int
    sha256: str
    kind: str
    vectors: int
    last_key: int


class Reader:
    """Queries within one transaction, for the thread that opened it."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        postings: Postings | None = None,
        ids: IdCaches | None = None,
        damage: Damage | None = None,
        adapters: AdapterCache | None = None,
    ) -> None:
        self._connection = connection
        self._damage = damage or Damage()
        self._checks = Checks()
        self._postings = postings or Postings()  # a writer's changes must not enter shared caches
        self._shared_ids = ids
        self._adapters = adapters or AdapterCache()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of the transaction, for modules with tables of their own."""
        return self._connection

    def restart(self) -> None:
        """Restart the transaction, on the newest committed state."""
        self._connection.execute("ROLLBACK")
        self._connection.execute("BEGIN")

    # What the index is

    def meta(self, name: str) -> Any:
        """A value by name, or None. IndexStateError if it is damaged and needed."""
        seal, join = self._seal(seals.META, "m")
        row = self._one(f"SELECT name, value, {seal} FROM meta m {join} WHERE name = ?", (name,))
        if row is None:
            return None
        if _is_whole_setting(*row) or name in _KEPT_GOING[:2]:
            with suppress(*forms.UNDECODED):
                return forms.setting(name, row[1])
        if name in _KEPT_GOING[2:]:
            return None
        raise IndexStateError(f"the setting {name!r} of the index is damaged: {REMEDY}")

    def generation(self) -> int:
        """The number of the last committed change."""
        return int(self.meta("generation"))

    def embedder_settings(self) -> EmbedderSettings | None:
        """The settings of the embedder; None until one is bound."""
        values = self.meta("embedder")
        return None if values is None else EmbedderSettings.from_json(values)

    def chunk_settings(self) -> ChunkSettings | None:
        """The settings of chunking; None until an embedder is bound."""
        values = self.meta("chunking")
        return None if values is None else ChunkSettings(**values)

    def last_run(self) -> dict[str, Any] | None:
        """The report that `finish` stored last."""
        known: dict[str, Any] | None = self.meta("last_run")
        return known

    def match_scale(self) -> dict[str, Any] | None:
        """The match scale, as `set_match_scale` stored it."""
        known: dict[str, Any] | None = self.meta("background")
        return known

    def means(self) -> Calibration:
        """The current calibration; zero means before it is fitted."""
        known = self.calibration()
        return Calibration.identity(self.dimension() or 1) if known is None else known[1]

    def calibration(self) -> tuple[int, Calibration] | None:
        """The row number of the current calibration, and the calibration."""
        row = self._calibration_row()
        if row is None:
            return None
        passage, query = (np.frombuffer(mean, "<f4").astype(np.float32) for mean in row[1:3])
        return int(row[0]), Calibration(passage, query, self._adapter(int(row[0])))

    def adapter(self) -> Adapter | None:
        """The adapter of dense search; None without one."""
        row = self._calibration_row()
        return self._stored_adapter() if row is None else self._adapter(int(row[0]))

    def _adapter(self, number: int) -> Adapter | None:
        """The adapter beside the calibration with this number, which is its own."""
        return self._adapters.get((str(self.meta("identity")), number), self._stored_adapter)

    def _stored_adapter(self) -> Adapter | None:
        value = self.meta(ADAPTER)
        if value is None:
            return None
        with suppress(UsageError):
            found = Adapter.from_json(value)
            if found.dimension == self.dimension():
                return found
        raise IndexStateError(
            f"the adapter of the index is damaged: {REMEDY}; until then search by words alone "
            "(mode keyword)"
        )

    def calibration_facts(self) -> dict[str, Any] | None:
        """The facts stored with the calibration."""
        row = self._calibration_row()
        return None if row is None else dict(json.loads(row[3]))

    def _calibration_row(self) -> Sequence[Any] | None:
        row = self._sealed_row(seals.CALIBRATION)
        if row is not None and not (seals.is_whole(row[:-1], row[-1]) and self._are_means(row)):
            raise IndexStateError(
                f"the means of the index's vectors are damaged: {REMEDY}; until then search by "
                "words alone (mode keyword)"
            )
        return row

    def _are_means(self, row: Sequence[Any]) -> bool:
        """Whether a row with means has the form of one."""
        number, *means, facts, _ = row
        size = 4 * (self.dimension() or 0)
        fit = all(type(mean) is bytes and len(mean) == size for mean in means)
        with suppress(*forms.UNDECODED):
            return fit and type(number) is int and isinstance(json.loads(facts), dict)
        return False

    def _sealed_row(self, kind: seals.Kind) -> Sequence[Any] | None:
        """The row of a table with one row at most, and its seal."""
        seal, join = self._seal(kind, "t")
        row: Sequence[Any] | None = self._one(
            f"SELECT {kind.select('t')}, {seal} FROM {kind.table} t {join}"
        )
        return row

    def vector_file(self) -> VectorFile | None:
        """The current vector file; None without one."""
        row = self._sealed_row(seals.SNAPSHOT)
        # A damaged row is as good as none: all vectors are in the catalog. A name that is no vector
        # file's would lead out of the folder.
        if row is None or not seals.is_whole(row[:-1], row[-1]) or not is_vector_file(row[1]):
            return None
        with suppress(TypeError):
            forms.check(row[:-1], int, str, int, str, str, int, int)
            return VectorFile(*row[:-1])
        return None

    def count_chunks(self) -> int:
        """The number of chunks."""
        return int(self._value("SELECT COUNT(*) FROM chunks"))

    def count_pending(self) -> int:
        """The number of chunks without a vector."""
        return int(self._value("SELECT COUNT(*) FROM chunks WHERE vector = 0"))

    def pending_by_document(self) -> dict[str, int]:
        """The number of chunks without a vector of each document that has some, by its id."""
        rows = self._rows(
            """SELECT d.id, COUNT(*) FROM chunks c JOIN documents d ON d.key = c.document
            WHERE c.vector = 0 GROUP BY d.key"""
        )
        return {unblob(id_): count for id_, count in rows}

    def count_vectors(self) -> int:
        """The number of chunks with a vector."""
        return self.count_chunks() - self.count_pending()

    def last_key(self) -> int:
        """The largest key of a chunk, 0 without chunks."""
        return int(self._value("SELECT IFNULL(MAX(key), 0) FROM chunks"))

    def totals(self) -> dict[str, Any]:
        """The counts of documents, pages, chunks, states, formats and sources for `info`."""
        states: dict[str, int] = {}
        for (counts,) in self._rows("SELECT page_states FROM documents"):
            for state, count in json.loads(counts).items():
                states[state] = states.get(state, 0) + count
        formats = self._rows("SELECT format, COUNT(*) FROM documents GROUP BY 1 ORDER BY 1")
        sources = self._rows(
            "SELECT source, MAX(root), COUNT(*) FROM documents GROUP BY source ORDER BY source"
        )
        return {
            "documents": self._value("SELECT COUNT(*) FROM documents"),
            "chunks": self.count_chunks(),
            "pending": self.count_pending(),
            "pages": sum(states.values()),
            "page_states": states,
            "unread": dict(self._rows("SELECT status, COUNT(*) FROM unread GROUP BY 1 ORDER BY 1")),
            "formats": {unblob(name): count for name, count in formats},
            "sources": [
                {"name": unblob(name), "root": unblob(root), "documents": count}
                for name, root, count in sources
            ],
        }

    # Documents, pages, chunks

    def documents(self, where: Filter | None = None) -> list[DocumentRow]:
        """The documents that match, ordered by source and path."""
        sql, parameters = "", ()
        if where is not None:
            condition = document_condition(where)
            sql, parameters = f" WHERE {condition.sql}", condition.parameters
        rows = self._rows(f"{self._select_document()}{sql} ORDER BY source, path, id", parameters)
        return self._whole(rows, checked.document)

    def document_names(self, limit: int) -> list[tuple[str, str, int]]:
        """The paths, titles and numbers of chunks of the first `limit` documents."""
        rows = self._rows(f"{self._select_document()} ORDER BY d.key LIMIT ?", (limit,))
        found = self._whole(rows, checked.document)
        return [(row.path, row.title, row.chunks) for row in found]

    def document(self, document_id: str) -> DocumentRow | None:
        """One document, or None. IndexStateError if its row is damaged."""
        row = self._one(f"{self._select_document()} WHERE id = ?", (blob(document_id),))
        if row is None:
            return None
        try:
            return checked.document(row)
        except DamagedRowError as found:
            self._note(found)
            raise IndexStateError(f"{found} in the index: {REMEDY}") from found

    def pages(self, document_id: str) -> list[Page]:
        """A document's pages in order."""
        name = self._name_of(document_id)
        rows = self._rows(
            f"""{self._select_page()} JOIN documents d ON d.key = p.document
            WHERE d.id = ? ORDER BY p.position""",
            (blob(document_id),),
        )
        return [self._page(row, name) or checked.lost_page(row[1]) for row in rows]

    def page_statuses(self, document_id: str) -> list[PageStatus]:
        """The status of each of a document's pages, in order."""
        name = self._name_of(document_id)
        seal, join = self._seal(seals.PAGE, "p")
        rows = self._rows(
            f"""WITH the AS (SELECT key FROM documents WHERE id = ?), counted AS
            (SELECT position, COUNT(*) AS chunks FROM chunks WHERE document IN the
            GROUP BY position)
            SELECT {self._page_facts()}, {seal}, IFNULL(counted.chunks, 0)
            FROM pages p LEFT JOIN counted ON counted.position = p.position {join}
            WHERE p.document IN the ORDER BY p.position""",
            (blob(document_id),),
        )
        return [self._page_status(row, name) for row in rows]

    def all_page_statuses(self) -> dict[str, list[PageStatus]]:
        """`page_statuses` of all documents that have pages, by document id."""
        seal, join = self._seal(seals.PAGE, "p")
        rows = self._rows(
            f"""WITH counted AS
            (SELECT document, position, COUNT(*) AS chunks FROM chunks GROUP BY 1, 2)
            SELECT d.id, {self._page_facts()}, {seal}, IFNULL(counted.chunks, 0)
            FROM pages p JOIN documents d ON d.key = p.document
            LEFT JOIN counted ON counted.document = p.document AND counted.position = p.position
            {join} ORDER BY p.document, p.position"""
        )
        found: dict[str, list[PageStatus]] = {}
        for id_, *page in rows:
            name = f"document {page[0]}"
            found.setdefault(unblob(id_), []).append(self._page_status(page, name))
        return found

    def accounts(self, *, lost_only: bool = False) -> dict[str, Account]:
        """The accounts of the words of documents, by document id; not every document has one.

        `lost_only` leaves out most of those without a lost word.
        """
        if not has_accounts(self._connection):
            return {}
        lost = """ WHERE a.account NOT LIKE '%"unexplained": 0,%'""" if lost_only else ""
        rows = self._rows(
            f"SELECT d.id, a.account FROM accounts a JOIN documents d ON d.key = a.document{lost}"
        )
        found = ((unblob(id_), json.loads(account)) for id_, account in rows)
        return {id_: _account(values) for id_, values in found if values is not None}

    def left_out(self, document_id: str) -> LeftOutTexts:
        """The text that a document leaves out on purpose, in order."""
        if not has_accounts(self._connection):
            return LeftOutTexts()
        row = self._one(
            """SELECT a.left_out FROM accounts a JOIN documents d ON d.key = a.document
            WHERE d.id = ?""",
            (blob(document_id),),
        )
        if row is None:
            return LeftOutTexts()
        found = json.loads(zlib.decompress(row[0]))
        return LeftOutTexts(tuple(LeftOut(*part) for part in found["parts"]), found["cut"])

    def unread(self) -> list[UnreadFile]:
        """The files that gave no document, ordered by root and path."""
        rows = self._rows(
            "SELECT root, path, status, reason, size, mtime_ns, settings FROM unread "
            "ORDER BY root, path"
        )
        return [
            UnreadFile(
                *(unblob(root), unblob(path), FileStatus(status), unblob(reason)),
                *(size, mtime_ns, unblob(settings)),
            )
            for root, path, status, reason, size, mtime_ns, settings in rows
        ]

    def chunks(self, document_id: str) -> list[Chunk]:
        """A document's chunks in order."""
        rows = self._rows(
            f"""{self._select_chunk()} WHERE c.document = (SELECT key FROM documents WHERE id = ?)
            ORDER BY c.position, c.start, c.stop, c.key""",
            (blob(document_id),),
        )
        return self._whole(rows, self._chunk)

    def chunks_of(self, document_ids: Sequence[str]) -> dict[str, list[Chunk]]:
        """The `chunks` of several documents, by document id; none of an unknown one."""
        return {id_: self.chunks(id_) for id_ in document_ids}

    def chunk_ids(self, document_id: str) -> list[str]:
        """The ids of `chunks`, in the same order."""
        rows = self._rows(
            """SELECT c.id FROM chunks c JOIN documents d ON d.key = c.document WHERE d.id = ?
            ORDER BY c.position, c.start, c.stop, c.key""",
            (blob(document_id),),
        )
        return [unblob(id_) for (id_,) in rows]

    def page_of(self, chunk_id: str) -> Page | None:
        """The page of a chunk; None for an unknown id, and for a page that is damaged."""
        row = self._one(
            f"""{self._select_page()}
            JOIN chunks c ON p.document = c.document AND p.position = c.position WHERE c.id = ?""",
            (blob(chunk_id),),
        )
        return None if row is None else self._page(row, f"document {row[0]}")

    def get(self, chunk_ids: Sequence[str]) -> list[Chunk]:
        """The chunks with these ids, in this order; unknown and damaged ones are left out."""
        wanted = [blob(id_) for id_ in chunk_ids]
        select = f"{self._select_chunk()} WHERE c.id"
        try:
            rows = list(self._among(select, wanted))
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:  # not that the file is malformed
                raise
            rows = list(self._readable(select, wanted))
        found = {chunk.id: chunk for chunk in self._whole(rows, self._chunk)}
        return [found[id_] for id_ in chunk_ids if id_ in found]

    def _readable(self, select: str, wanted: Sequence[bytes]) -> Iterator[Any]:
        """As `_among`, without the rows on database pages that cannot be read."""
        for one in wanted:
            try:
                yield from self._among(select, [one])
            except sqlite3.DatabaseError as error:
                if type(error) is not sqlite3.DatabaseError:
                    raise
                self._note(DamagedRowError("a passage", "a document that cannot be read"))

    def sample_chunks(self, limit: int, *, embedded: bool = False) -> list[Chunk]:
        """The first chunks by id: a stable pseudo-random sample, since ids are hashes."""
        which = "WHERE c.vector > 0 " if embedded else ""
        rows = self._rows(f"{self._select_chunk()} {which}ORDER BY c.id LIMIT ?", (limit,))
        return self._whole(rows, self._chunk)

    def sample_vectors(self, limit: int) -> Vectors:
        """The raw vectors (m, dim) of `sample_chunks` with `embedded`, in the same order."""
        return self.chunk_vectors(self.sample_vector_keys(limit))[1]

    # Keys: the integers that identify chunks in vector files

    def sample_keys(self, limit: int) -> Keys:
        """The keys of `sample_chunks`, in the same order: (m,)."""
        return self._keys("SELECT key FROM chunks ORDER BY id LIMIT ?", (limit,))

    def sample_vector_keys(self, limit: int) -> Keys:
        """As `sample_keys`, of the chunks with a vector."""
        if not self.count_pending():
            return self.sample_keys(limit)
        return self._keys("SELECT key FROM chunks WHERE vector > 0 ORDER BY id LIMIT ?", (limit,))

    def pending_keys(self) -> Keys:
        """The keys of the chunks without a vector: new documents first, in their order (m,).

        A file without a time of change has just been changed. Files that changed on the same day,
        as after copying a folder, are ordered by the dates of their documents.
        """
        return self._keys(
            f"""SELECT c.key FROM chunks c JOIN documents d ON d.key = c.document
            WHERE c.vector = 0
            ORDER BY d.mtime_ns = 0 DESC, d.mtime_ns / {_DAY} DESC, d.date DESC, d.mtime_ns DESC,
            c.document, c.key""",
            (),
        )

    def pending_texts(self, keys: Keys) -> list[tuple[int, str, str]]:
        """Key, text and document's title of those of the chunks that have no vector, in order."""
        rows = self._among(f"{self._select_chunk()} WHERE c.vector = 0 AND c.key", keys.tolist())
        found = self._whole(rows, lambda row: (row[0], self._chunk(row)))
        known = {key: (key, chunk.text, chunk.title) for key, chunk in found}
        return [known[key] for key in keys.tolist() if key in known]

    def without_vector(self, chunk_ids: Sequence[str]) -> set[str]:
        """Those of the chunks that have no vector."""
        rows = self._among(
            "SELECT c.id FROM chunks c WHERE c.vector = 0 AND c.id",
            [blob(id_) for id_ in chunk_ids],
        )
        return {unblob(id_) for (id_,) in rows}

    def matching_keys(self, where: Filter) -> Keys:
        """The keys of the chunks that match, ascending: (m,)."""
        chunks = None if mentions_passages(where) else self._terms().documents()
        if chunks is not None:
            documents = self._terms().columns().matching(self._connection, where)
            if documents is None:
                condition = document_condition(where)
                sql = f"SELECT d.key FROM documents d WHERE {condition.sql}"
                documents = self._keys(sql, condition.parameters)
            return chunks[0][_among_keys(chunks[1], documents)]
        condition = chunk_condition(where)
        # SQLite uses the second table only if the condition mentions it.
        tables = "chunks c JOIN documents d ON d.key = c.document"
        return self._keys(
            f"SELECT c.key FROM {tables} WHERE {condition.sql} ORDER BY c.key",
            condition.parameters,
        )

    def ids_of(self, keys: Keys) -> dict[int, str]:
        """Chunk ids by key; unknown keys are left out."""
        return self._id_caches()[0].get(keys.tolist(), self._ids_of)

    def keys_of(self, chunk_ids: Sequence[str]) -> dict[str, int]:
        """Keys by chunk id; unknown ids are left out."""
        return self._id_caches()[1].get(chunk_ids, self._keys_of)

    def _ids_of(self, keys: list[int]) -> dict[int, str]:
        rows = self._among("SELECT c.key, c.id FROM chunks c WHERE c.key", keys)
        return {key: unblob(id_) for key, id_ in rows}

    def _keys_of(self, chunk_ids: list[str]) -> dict[str, int]:
        wanted = [blob(id_) for id_ in chunk_ids]
        rows = self._among("SELECT c.id, c.key FROM chunks c WHERE c.id", wanted)
        return {unblob(id_): key for id_, key in rows}

    def _id_caches(self) -> tuple[LookupCache[int, str], LookupCache[str, int]]:
        if self._shared_ids is None:  # a writer's may change between two calls
            return LookupCache(), LookupCache()
        return self._shared_ids.at(self.meta("identity"), self.generation())

    def removed_after(self, number: int) -> tuple[Keys, int]:
        """The keys removed after the removal with this number, and the last removal's number."""
        rows = self._rows(
            "SELECT chunk, number FROM removed WHERE number > ? ORDER BY 2", (number,)
        )
        pairs = list(rows)
        keys = np.array([key for key, _ in pairs], dtype=np.int64)
        return keys, (pairs[-1][1] if pairs else number)

    def attached_after(self, number: int) -> tuple[Keys, int]:
        """The keys attached after the attachment with this number, and the last one's number."""
        if not has_attached(self._connection):
            return np.empty(0, dtype=np.int64), number
        pairs = list(
            self._rows("SELECT chunk, number FROM attached WHERE number > ? ORDER BY 2", (number,))
        )
        keys = np.array([key for key, _ in pairs], dtype=np.int64)
        return keys, (pairs[-1][1] if pairs else number)

    def count_outside(self, key: int) -> int:
        """The number of chunks with larger keys that have a vector, and of attached ones."""
        more = self._one("SELECT COUNT(*) FROM chunks WHERE key > ? AND vector > 0", (key,))[0]
        return int(more) + self.count_attached()

    def count_attached(self) -> int:
        """The number of vectors attached since the last vector file."""
        known = has_attached(self._connection)
        return int(self._value("SELECT COUNT(*) FROM attached")) if known else 0

    # Vectors

    def has_vectors(self) -> bool:
        """Whether any vector is stored."""
        return self._one("SELECT 1 FROM vectors LIMIT 1") is not None

    def known_vectors(self, keys: Sequence[str]) -> set[str]:
        """The subset of the vector keys that are stored."""
        rows = self._among("SELECT key FROM vectors WHERE key", [blob(key) for key in keys])
        return {unblob(key) for (key,) in rows}

    def vector_keys(self, chunk_ids: Sequence[str]) -> dict[str, str]:
        """Chunk ids → the keys of their raw vectors; chunks without a vector are left out."""
        rows = self._among(
            "SELECT c.id, v.key FROM chunks c JOIN vectors v ON v.number = c.vector WHERE c.id",
            [blob(id_) for id_ in chunk_ids],
        )
        return {unblob(id_): unblob(key) for id_, key in rows}

    def load_vectors(self, keys: Sequence[str]) -> Vectors:
        """Raw vectors (n, dim) by vector key; KeyError names a missing one."""
        select, join = self._seal(seals.VECTOR, "v")
        rows = self._among(
            f"SELECT {seals.VECTOR.select('v')}, {select} FROM vectors v {join} WHERE v.key",
            [blob(key) for key in keys],
        )
        found = {}
        for row in rows:
            if not self._is_vector(row[:-1], row[-1]):
                raise IndexStateError(f"a stored vector of the index is damaged: {REMEDY}")
            found[unblob(row[1])] = row[2]
        return self._stacked([found[key] for key in keys])

    def chunk_vectors(self, keys: Keys) -> tuple[Keys, Vectors]:
        """Raw vectors of chunks: keys (m,) in the order given, without missing ones, (m, dim)."""
        rows = self._among(f"{self._select_vector()} WHERE c.key", keys.tolist())
        found = dict(self._whole_vectors(rows))
        present = [key for key in keys.tolist() if key in found]
        return np.array(present, dtype=np.int64), self._stacked([found[key] for key in present])

    def vectors_after(self, key: int) -> Iterator[tuple[Keys, Vectors]]:
        """The chunks with larger keys: blocks of keys (b,) ascending and raw vectors (b, dim)."""
        cursor = self._connection.execute(
            f"{self._select_vector()} WHERE c.key > ? ORDER BY c.key", (key,)
        )
        while rows := cursor.fetchmany(BLOCK):
            block = self._whole_vectors(rows)
            keys = np.array([key for key, _ in block], dtype=np.int64)
            if block:
                yield keys, self._stacked([value for _, value in block])

    def dimension(self) -> int | None:
        """The dimension of the vectors; None while it is unknown."""
        value = self.meta("dimension")
        return None if value is None else int(value)

    def _stacked(self, blobs: list[bytes]) -> Vectors:
        return stack(blobs, self.dimension() or 0)

    def _select_vector(self) -> str:
        chunk_seal, chunk_join = self._seal(seals.CHUNK, "c")
        vector_seal, vector_join = self._seal(seals.VECTOR, "v")
        return f"""SELECT {seals.CHUNK.select("c")}, {chunk_seal}, {seals.VECTOR.select("v")},
            {vector_seal} FROM chunks c JOIN vectors v ON v.number = c.vector
            {chunk_join} {vector_join}"""

    def _whole_vectors(self, rows: Iterable[Sequence[Any]]) -> list[tuple[int, bytes]]:
        """The keys and vectors of chunks, without those of which either row is damaged."""
        found, size = [], 4 * (self.dimension() or 0)
        count = len(seals.CHUNK.columns)
        for row in rows:
            vector = row[count + 1 : -1]
            if (
                seals.is_whole(row[:count], row[count])
                and type(vector[2]) is bytes
                and len(vector[2]) == size
                and self._is_vector(vector, row[-1])
            ):
                found.append((row[0], vector[2]))
            else:
                self._note(DamagedRowError("a vector", f"document {row[2]}"))
        return found

    def _is_vector(self, row: Sequence[Any], seal: object) -> bool:
        if seal is None:
            return seals.is_unit(row[2], self._foreign)
        return seals.digest(row) == seal

    @cached_property
    def _foreign(self) -> bool:
        return seals.is_foreign(self._connection)

    # Full text

    def keyword(self, query: TermQuery) -> Matches:
        """The BM25 scores (k1 1.2, b 0.75) of all chunks with a term of the query."""
        return score_query(query, self._terms(), self.count_chunks())

    def document_frequencies(self, terms: Iterable[str]) -> dict[str, int]:
        """The document frequency of each term."""
        return self._terms().document_frequencies(terms)

    def write_posting_file(self, vector_file: Path, sha256: str) -> None:
        """Write the posting file beside a vector file with this hash."""
        write_posting_file(vector_file, sha256, self._connection)

    def posting_file_due(self) -> bool:
        """Whether the current vector file has no usable posting file, or one that is too old."""
        return self._terms().posting_file_due

    def terms_of(self, chunk_ids: Sequence[str]) -> list[list[str]]:
        """The indexed terms of each chunk, in order, with boundaries; empty for an unknown id."""
        select = "SELECT c.id, f.terms FROM chunks c JOIN fulltext f ON f.rowid = c.key WHERE c.id"
        found = dict(self._among(select, [blob(id_) for id_ in chunk_ids]))
        return [found.get(blob(id_), "").split() for id_ in chunk_ids]

    # The vocabulary

    def languages(self) -> list[str]:
        """The languages that some chunk is in."""
        present = "SELECT 1 FROM chunks WHERE language = ? LIMIT 1"
        return [language for language in LANGUAGES if self._one(present, (language,))]

    def language_counts(self) -> dict[str, int]:
        """The number of chunks in each language, "en" among them, and "" for unknown ones."""
        return dict(self._rows("SELECT language, count(*) FROM chunks GROUP BY language"))

    def terms_beginning(self, letter: str) -> Iterable[tuple[str, int]]:
        """The terms that begin with a letter, each with its document frequency."""
        return self._rows(
            "SELECT term, doc FROM vocabulary WHERE term >= ? AND term < ?",
            (letter, chr(ord(letter) + 1)),
        )

    def longer_words(self, stem: str, language: str) -> list[str]:
        """The longer stems (seven letters or more) of a language that end with `stem`."""
        end = stem[::-1]
        rows = self._rows(
            "SELECT reversed FROM long_words WHERE language = ? AND reversed > ? AND reversed < ?",
            (language, end, end + "\U0010ffff"),
        )
        return [backwards[::-1] for (backwards,) in rows]

    def expect_compounds(
        self, stems: Sequence[tuple[str, str]], words: Sequence[tuple[str, str]]
    ) -> None:
        """Nothing: the catalog is near."""

    def first_with(self, term: str) -> Chunk | None:
        """The chunk with the term that was written first, or None."""
        found = self._one("SELECT rowid FROM fulltext WHERE terms MATCH ? LIMIT 1", (f'"{term}"',))
        row = found and self._one(f"{self._select_chunk()} WHERE c.key = ?", found)
        return next(iter(self._whole([row], self._chunk)), None) if row else None

    def terms_from(self, beginning: str, postings: int) -> tuple[dict[str, int], bool]:
        """The terms with this beginning → their document frequencies, and whether these are all.

        It stops after so many postings, which is what FTS5 reads to count a term.
        """
        rows = self._rows(
            "SELECT term, doc FROM vocabulary WHERE term >= ? AND term < ?",
            (beginning, beginning + "\U0010ffff"),
        )
        found: dict[str, int] = {}
        for term, count in rows:
            found[term] = count
            postings -= count
            if postings < 0:
                return found, False
        return found, True

    def passages_with(self, term: str, limit: int) -> list[tuple[str, str, str]]:
        """The first chunks with the term: title, text and language."""
        keys = self._keys(
            "SELECT rowid FROM fulltext WHERE terms MATCH ? LIMIT ?", (f'"{term}"', limit)
        )
        rows = self._among(f"{self._select_chunk()} WHERE c.key", keys.tolist())
        found = dict(self._whole(rows, lambda row: (row[0], self._chunk(row))))
        chunks = [found[key] for key in keys.tolist() if key in found]
        return [(chunk.title, chunk.text, chunk.language) for chunk in chunks]

    def frequent_terms(self, passages: int) -> dict[str, int]:
        """The terms of a stable sample of so many chunks → estimated document frequencies."""
        keys = self.sample_keys(passages).tolist()
        counts: Counter[str] = Counter()
        for (terms,) in self._among("SELECT terms FROM fulltext WHERE rowid", keys):
            counts.update(set(terms.split()))
        share = self.count_chunks() / max(1, len(keys))
        return {term: round(count * share) for term, count in counts.items()}

    def lengths(self, chunk_id: str) -> tuple[int, float]:
        """A chunk's number of terms (0 for an unknown id), and the mean over all chunks.

        Stop words do not count.
        """
        row = self._one(
            "SELECT l.terms FROM chunks c JOIN lengths l ON l.chunk = c.key WHERE c.id = ?",
            (blob(chunk_id),),
        )
        mean = self._value("SELECT AVG(terms) FROM lengths") or 0.0
        return row[0] if row else 0, float(mean)

    def _terms(self) -> Terms:
        return self._postings.at(self._connection)

    @cached_property
    def _has_seals(self) -> bool:
        return seals.has_seals(self._connection)

    def _seal(self, kind: seals.Kind, alias: str) -> tuple[str, str]:
        """The column of the seal of a table's alias, and the join that it needs."""
        if not self._has_seals:
            return "NULL", ""
        return f"s_{alias}.hash", kind.join(alias, f"s_{alias}")

    @cached_property
    def _chunk_query(self) -> str:
        kinds = ((seals.CHUNK, "c"), (seals.PAGE, "p"), (seals.DOCUMENT, "d"))
        (chunk, *_), (page, *_), (document, *_) = found = [self._seal(*each) for each in kinds]
        return _CHUNK.format(
            chunk_seal=chunk,
            page_seal=page,
            document_seal=document,
            page=self._page_facts(),
            joins=" ".join(join for _, join in found),
        )

    def _select_chunk(self) -> str:
        """The beginning of a query for chunks, for `_chunk`."""
        return self._chunk_query

    def _select_document(self) -> str:
        """The beginning of a query for documents, for `checked.document`."""
        seal, join = self._seal(seals.DOCUMENT, "d")
        return f"SELECT {seals.DOCUMENT.select('d')}, {seal} FROM documents d {join}"

    def _select_page(self) -> str:
        """The beginning of a query for pages, for `_page`."""
        seal, join = self._seal(seals.PAGE, "p")
        text_seal = seal.replace("s_p", "s_t")
        text_join = seals.TEXT.join("p", "s_t") if join else ""
        facts = self._page_facts()
        return f"SELECT {facts}, p.text, {seal}, {text_seal} FROM pages p {join} {text_join}"

    def _page_facts(self) -> str:
        """The columns of `seals.PAGE`; NULL for those that an older index lacks."""
        known = added_columns(self._connection)
        return ", ".join(
            "NULL" if name in ADDED and name not in known else f"p.{name}"
            for name in seals.PAGE.columns
        )

    # Checked rows

    def _chunk(self, row: Sequence[Any]) -> Chunk:
        return checked.chunk(row, self._checks)

    def _page(self, row: Sequence[Any], name: str) -> Page | None:
        """A page; None if it is damaged."""
        try:
            return checked.page(row, name)
        except DamagedRowError as found:
            self._note(found)
            return None

    def _page_status(self, row: Sequence[Any], name: str) -> PageStatus:
        try:
            return checked.page_status(row, name)
        except DamagedRowError as found:
            self._note(found)
            return checked.lost_status(row)

    def _whole(self, rows: Iterable[Any], made: Callable[[Any], T]) -> list[T]:
        """What is made of the rows, without those that are damaged, which are noted."""
        found: list[T] = []
        for row in rows:
            try:
                found.append(made(row))
            except DamagedRowError as damaged:
                self._note(damaged)
        return found

    def _note(self, found: DamagedRowError) -> None:
        self._damage.note(self.meta("generation"), self._named(found))

    def _named(self, found: DamagedRowError) -> DamagedRowError:
        """With the document's path in the place of its number, if that is known."""
        number = found.document.removeprefix("document ")
        if number == found.document or not number.isdecimal():
            return found
        row = self._one(
            f"SELECT {seals.DOCUMENT.select('d')} FROM documents d WHERE d.key = ?", (int(number),)
        )
        return found if row is None else DamagedRowError(found.what, checked.name_of(row))

    def _name_of(self, document_id: str) -> str:
        row = self._one("SELECT key FROM documents WHERE id = ?", (blob(document_id),))
        return f"document {row[0]}" if row else document_id

    def damage(self) -> list[str]:
        """What the reads of this generation left out since it is damaged: a sentence, or none."""
        return self._damage.sentences(self.meta("generation"))

    # SQL

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._connection.execute(sql, parameters)

    def _one(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        return self._connection.execute(sql, parameters).fetchone()

    def _value(self, sql: str) -> Any:
        return self._one(sql)[0]

    def _keys(self, sql: str, parameters: Sequence[Any]) -> Keys:
        return np.array([key for (key,) in self._rows(sql, parameters)], dtype=np.int64)

    def _among(self, select: str, values: Iterable[Any]) -> Iterator[Any]:
        """The rows of `select … IN (values)`, queried in batches of `BLOCK` values."""
        remaining = iter(values)
        while batch := list(islice(remaining, BLOCK)):
            rows = self._rows(f"{select} IN ({', '.join('?' * len(batch))})", batch)
            # Not "yield from", which would close the cursor of a reading that ends early: by then
            # its connection may be closed, and Python would print a traceback.
            for row in rows:  # noqa: UP028
                yield row


@lru_cache(maxsize=64)  # a search reads some settings many times
def _is_whole_setting(name: str, value: str, seal: object) -> bool:
    return seals.is_whole((name, value), seal)


def _among_keys(keys: Keys, wanted: Keys) -> Mask:
    """Which keys (n,) of documents, small numbers, are among those wanted (m,): (n,)."""
    found = np.zeros(int(keys.max(initial=0)) + 1, dtype=bool)
    found[wanted[wanted < len(found)]] = True
    return found[keys]


def _account(values: dict[str, Any]) -> Account:
    return Account(**{**values, "missing": tuple(values["missing"])})


__all__ = ["BLOCK", "Matches", "Reader", "VectorFile"]
