"""`Reader`: the queries of one read transaction, on a consistent state of the catalog."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from retriever.arrays import Keys, Mask, Vectors
from retriever.settings import ChunkSettings, EmbedderSettings
from retriever.storage.calibration import Calibration
from retriever.storage.catalog.filter_sql import chunk_condition, document_condition
from retriever.storage.catalog.id_cache import IdCaches, LookupCache
from retriever.storage.catalog.keywords import Matches, score_query
from retriever.storage.catalog.postings import Postings, Terms, write_posting_file
from retriever.storage.catalog.schema import (
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
    LeftOut,
    Page,
    PageState,
    Scan,
    Span,
)

BLOCK = 2048
"""Rows read at a time, which bounds memory where all chunks are read."""

_DAY = 86_400 * 10**9  # nanoseconds

_CHUNK = """SELECT c.id, d.id, d.path, d.format, d.title, c.page, c.start, c.stop, c.text,
    d.metadata, p.label, p.state, c.language, {printed} FROM chunks c
    JOIN documents d ON d.key = c.document
    JOIN pages p ON p.document = c.document AND p.position = c.position"""
_DOCUMENT = """SELECT id, source, root, path, format, title, author, date, sha256, size, mtime_ns,
    settings, metadata, pages, page_states, chunks FROM documents d"""


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
    ) -> None:
        self._connection = connection
        self._postings = postings or Postings()  # a writer's changes must not enter shared caches
        self._shared_ids = ids

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
        """A value by name, or None."""
        row = self._one("SELECT value FROM meta WHERE name = ?", (name,))
        return None if row is None else json.loads(row[0])

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
        row = self._one("SELECT number, passage_mean, query_mean FROM calibration")
        if row is None:
            return None
        passage, query = (np.frombuffer(mean, "<f4").astype(np.float32) for mean in row[1:])
        return int(row[0]), Calibration(passage, query)

    def calibration_facts(self) -> dict[str, Any] | None:
        """The facts stored with the calibration."""
        row = self._one("SELECT facts FROM calibration")
        return None if row is None else dict(json.loads(row[0]))

    def vector_file(self) -> VectorFile | None:
        """The current vector file; None without one."""
        row = self._one(
            "SELECT generation, file, bytes, sha256, kind, vectors, last_key FROM snapshots"
        )
        return None if row is None else VectorFile(*row)

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
        rows = self._rows(f"{_DOCUMENT}{sql} ORDER BY source, path, id", parameters)
        return [_document(row) for row in rows]

    def document_names(self, limit: int) -> list[tuple[str, str, int]]:
        """The paths, titles and numbers of chunks of the first `limit` documents."""
        rows = self._rows(
            "SELECT path, title, chunks FROM documents ORDER BY key LIMIT ?", (limit,)
        )
        return [(unblob(path), unblob(title), chunks) for path, title, chunks in rows]

    def document(self, document_id: str) -> DocumentRow | None:
        """One document, or None."""
        row = self._one(f"{_DOCUMENT} WHERE id = ?", (blob(document_id),))
        return None if row is None else _document(row)

    def pages(self, document_id: str) -> list[Page]:
        """A document's pages in order."""
        rows = self._rows(
            f"""SELECT {self._page_columns()} FROM pages p
            JOIN documents d ON d.key = p.document WHERE d.id = ? ORDER BY p.position""",
            (blob(document_id),),
        )
        return [_page(row) for row in rows]

    def page_statuses(self, document_id: str) -> list[PageStatus]:
        """The status of each of a document's pages, in order."""
        rows = self._rows(
            """WITH the AS (SELECT key FROM documents WHERE id = ?), counted AS
            (SELECT position, COUNT(*) AS chunks FROM chunks WHERE document IN the
            GROUP BY position)
            SELECT p.number, p.label, p.state, p.reason, IFNULL(counted.chunks, 0)
            FROM pages p LEFT JOIN counted USING (position)
            WHERE p.document IN the ORDER BY p.position""",
            (blob(document_id),),
        )
        return list(map(_page_status, rows))

    def all_page_statuses(self) -> dict[str, list[PageStatus]]:
        """`page_statuses` of all documents that have pages, by document id."""
        rows = self._rows(
            """WITH counted AS
            (SELECT document, position, COUNT(*) AS chunks FROM chunks GROUP BY 1, 2)
            SELECT d.id, p.number, p.label, p.state, p.reason, IFNULL(counted.chunks, 0)
            FROM pages p JOIN documents d ON d.key = p.document
            LEFT JOIN counted USING (document, position) ORDER BY p.document, p.position"""
        )
        found: dict[str, list[PageStatus]] = {}
        for id_, *page in rows:
            found.setdefault(unblob(id_), []).append(_page_status(page))
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
            f"{self._select_chunk()} WHERE d.id = ? ORDER BY c.position, c.start, c.stop, c.key",
            (blob(document_id),),
        )
        return [_chunk(row) for row in rows]

    def chunk_ids(self, document_id: str) -> list[str]:
        """The ids of `chunks`, in the same order."""
        rows = self._rows(
            """SELECT c.id FROM chunks c JOIN documents d ON d.key = c.document WHERE d.id = ?
            ORDER BY c.position, c.start, c.stop, c.key""",
            (blob(document_id),),
        )
        return [unblob(id_) for (id_,) in rows]

    def page_of(self, chunk_id: str) -> Page | None:
        """The page of a chunk; None for an unknown id."""
        row = self._one(
            f"""SELECT {self._page_columns()} FROM chunks c
            JOIN pages p ON p.document = c.document AND p.position = c.position WHERE c.id = ?""",
            (blob(chunk_id),),
        )
        return None if row is None else _page(row)

    def get(self, chunk_ids: Sequence[str]) -> list[Chunk]:
        """The chunks with these ids, in this order; unknown ids are left out."""
        rows = self._among(f"{self._select_chunk()} WHERE c.id", [blob(id_) for id_ in chunk_ids])
        found = {chunk.id: chunk for chunk in map(_chunk, rows)}
        return [found[id_] for id_ in chunk_ids if id_ in found]

    def sample_chunks(self, limit: int, *, embedded: bool = False) -> list[Chunk]:
        """The first chunks by id: a stable pseudo-random sample, since ids are hashes."""
        which = "WHERE c.vector > 0 " if embedded else ""
        rows = self._rows(f"{self._select_chunk()} {which}ORDER BY c.id LIMIT ?", (limit,))
        return [_chunk(row) for row in rows]

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
        rows = self._among(
            """SELECT c.key, c.text, d.title FROM chunks c JOIN documents d ON d.key = c.document
            WHERE c.vector = 0 AND c.key""",
            keys.tolist(),
        )
        found = {key: (key, unblob(text), unblob(title)) for key, text, title in rows}
        return [found[key] for key in keys.tolist() if key in found]

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

    def load_vectors(self, keys: Sequence[str]) -> Vectors:
        """Raw vectors (n, dim) by vector key; KeyError names a missing one."""
        rows = self._among("SELECT key, value FROM vectors WHERE key", [blob(key) for key in keys])
        found = {unblob(key): value for key, value in rows}
        return self._stacked([found[key] for key in keys])

    def chunk_vectors(self, keys: Keys) -> tuple[Keys, Vectors]:
        """Raw vectors of chunks: keys (m,) in the order given, without missing ones, (m, dim)."""
        rows = self._among(
            "SELECT c.key, v.value FROM chunks c JOIN vectors v ON v.number = c.vector WHERE c.key",
            keys.tolist(),
        )
        found = dict(rows)
        present = [key for key in keys.tolist() if key in found]
        return np.array(present, dtype=np.int64), self._stacked([found[key] for key in present])

    def vectors_after(self, key: int) -> Iterator[tuple[Keys, Vectors]]:
        """The chunks with larger keys: blocks of keys (b,) ascending and raw vectors (b, dim)."""
        cursor = self._connection.execute(
            """SELECT c.key, v.value FROM chunks c JOIN vectors v ON v.number = c.vector
            WHERE c.key > ? ORDER BY c.key""",
            (key,),
        )
        while block := cursor.fetchmany(BLOCK):
            keys = np.array([key for key, _ in block], dtype=np.int64)
            yield keys, self._stacked([value for _, value in block])

    def dimension(self) -> int | None:
        """The dimension of the vectors; None while it is unknown."""
        value = self.meta("dimension")
        return None if value is None else int(value)

    def _stacked(self, blobs: list[bytes]) -> Vectors:
        return stack(blobs, self.dimension() or 0)

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

    def first_with(self, term: str) -> Chunk | None:
        """The chunk with the term that was written first, or None."""
        found = self._one("SELECT rowid FROM fulltext WHERE terms MATCH ? LIMIT 1", (f'"{term}"',))
        row = found and self._one(f"{self._select_chunk()} WHERE c.key = ?", found)
        return _chunk(row) if row else None

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
        rows = self._rows(
            """SELECT d.title, c.text, c.language FROM
            (SELECT rowid FROM fulltext WHERE terms MATCH ? LIMIT ?) f
            CROSS JOIN chunks c ON c.key = f.rowid JOIN documents d ON d.key = c.document""",
            (f'"{term}"', limit),
        )
        return [(unblob(title), unblob(text), language) for title, text, language in rows]

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

    # SQL

    def _select_chunk(self) -> str:
        """The beginning of a query for chunks."""
        has_printed = "printed" in added_columns(self._connection)
        return _CHUNK.format(printed="p.printed" if has_printed else "x''")

    def _page_columns(self) -> str:
        known = added_columns(self._connection)
        added = (f"p.{name}" if name in known else "NULL" for name in ADDED)
        return f"p.number, p.text, p.state, p.reason, p.label, {', '.join(added)}"

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
            yield from self._rows(f"{select} IN ({', '.join('?' * len(batch))})", batch)


def _among_keys(keys: Keys, wanted: Keys) -> Mask:
    """Which keys (n,) of documents, small numbers, are among those wanted (m,): (n,)."""
    found = np.zeros(int(keys.max(initial=0)) + 1, dtype=bool)
    found[wanted[wanted < len(found)]] = True
    return found[keys]


def _document(row: Sequence[Any]) -> DocumentRow:
    id_, source, root, path, format_, title, author, date, sha256, *numbers = row
    size, mtime_ns, settings, metadata, pages, states, chunks = numbers
    return DocumentRow(
        id=unblob(id_),
        source=unblob(source),
        root=unblob(root),
        path=unblob(path),
        format=unblob(format_),
        title=unblob(title),
        author=unblob(author),
        date=unblob(date),
        sha256=unblob(sha256),
        size=size,
        mtime_ns=mtime_ns,
        settings=unblob(settings),
        metadata=json.loads(metadata) if metadata != "{}" else {},
        pages=pages,
        page_states=dict(_page_states(states)),
        chunks=chunks,
    )


@lru_cache(maxsize=1024)  # most documents have one of a few
def _page_states(stored: str) -> tuple[tuple[PageState, int], ...]:
    return tuple((PageState(state), count) for state, count in json.loads(stored).items())


def _page(row: Sequence[Any]) -> Page:
    number, text, state, reason, label, scan, start, stop, printed = row
    return Page(
        *(number, unblob(text), PageState(state), unblob(reason), unblob(label)),
        body=None if start is None else Span(start, stop),
        scan=Scan(**json.loads(scan)) if scan else None,
        printed=unblob(printed or b""),
    )


def _account(values: dict[str, Any]) -> Account:
    return Account(**{**values, "missing": tuple(values["missing"])})


def _page_status(row: Sequence[Any]) -> PageStatus:
    number, label, state, reason, chunks = row
    return PageStatus(number, unblob(label), PageState(state), unblob(reason), chunks)


def _chunk(row: Sequence[Any]) -> Chunk:
    id_, document, path, format_, title, page, start, stop, text, metadata, *rest = row
    label, state, language, printed = rest
    return Chunk(
        id=unblob(id_),
        document_id=unblob(document),
        path=unblob(path),
        format=unblob(format_),
        title=unblob(title),
        page=page,
        start=start,
        end=stop,
        text=unblob(text),
        metadata=json.loads(metadata),
        label=unblob(label),
        state=PageState(state),
        language=language,
        printed=unblob(printed),
    )


__all__ = ["BLOCK", "Matches", "Reader", "VectorFile"]
