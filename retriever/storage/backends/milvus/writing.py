"""`MilvusWriter`: the changes of documents and of vectors, made so that a kill loses nothing.

Milvus has no transactions. A document's texts and passages are written first, with its new edition;
then its record, which is the commit; then what carries an older edition is deleted. A passage that
stays the same has the same key in both editions, so that the new one overwrites the old: therefore
an *intent* is written before a document is replaced, from which `sweeping` completes the change.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from retriever.arrays import Vectors
from retriever.storage.backends.milvus import documents as docs
from retriever.storage.backends.milvus import rows as passages
from retriever.storage.backends.milvus.client import Row
from retriever.storage.backends.milvus.collections import Collections
from retriever.storage.backends.milvus.documents import StoredDocument
from retriever.storage.backends.milvus.reading import MilvusReader
from retriever.storage.backends.milvus.records import Record, beginning
from retriever.storage.backends.milvus.rows import TERMS, Weigh
from retriever.storage.backends.milvus.state import Generation
from retriever.storage.backends.milvus.values import document_name, listed, loaded, stored
from retriever.storage.binding import checked_vectors
from retriever.storage.catalog.analysis import analyse_chunks, check_chunks, distinct
from retriever.storage.catalog.schema import metadata_rows
from retriever.storage.records import NewChunk, NewDocument, PassageTerms
from retriever.types import DocumentRow, LeftOut, Page, Span, UsageError

INTENT = "intent/"
"""The beginning of the ids of records with documents that are about to be replaced."""

_ROWS = 500  # passages that are read at a time
_PARTS = beginning(docs.PART)
_LONG = beginning(passages.PASSAGE)


class TermCounts(Protocol):
    """The term dictionary, as the writer keeps it."""

    def expect(self, rows: Sequence[Row]) -> None:
        """Say that passages of these lengths are written next."""

    def plus(self, rows: Sequence[Row]) -> None:
        """Count passages that are written: the fields `rows.TERMS`."""

    def minus(self, rows: Sequence[Row]) -> None:
        """Count passages no longer that are deleted or replaced."""

    def flush(self) -> None:
        """Write what was counted."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that is about to be written: `chunks` by id, and the terms of each."""

    document: StoredDocument
    pages: Sequence[Page]
    chunks: Mapping[str, NewChunk]
    terms: Sequence[PassageTerms]
    left_out: Sequence[LeftOut] = ()

    def intent(self) -> Record:
        """From what the document can be written, once its texts are there."""
        chunks = [
            [chunk.page, chunk.span.start, chunk.span.end, chunk.vector]
            for chunk in self.chunks.values()
        ]
        record = self.document.record()
        value = json.dumps([record.value, record.number, chunks])
        return Record(f"{INTENT}{self.document.name}", value)

    @classmethod
    def of_intent(cls, record: Record, pages_of: _PagesOf) -> Prepared:
        """The inverse of `intent`; `pages_of` reads a document's pages."""
        value, number, places = json.loads(record.value)
        document = StoredDocument.of(Record("", value, number))
        pages = pages_of(document)
        chunks = [NewChunk(page, Span(start, stop), key) for page, start, stop, key in places]
        terms = analyse_chunks(document.row.title, pages, chunks)
        return cls(document, pages, distinct(document.row.id, pages, chunks), terms)


class _PagesOf(Protocol):
    def __call__(self, document: StoredDocument) -> list[Page]: ...


class MilvusWriter:
    """Changes of one index, each call one change; `reader` is of the newest generation.

    `generation` is the newest one; None in a worker, which counts no generations.
    `loose` are keys of vectors that may have no passage any more.
    """

    def __init__(
        self,
        reader: MilvusReader,
        generation: Generation | None,
        terms: TermCounts,
        weigh: Weigh,
        loose: set[str],
    ) -> None:
        self.reader = reader
        self.collections: Collections = reader.collections
        self.records = reader.collections.records
        self.generation = generation
        self._terms = terms
        self._weigh = weigh
        self.loose = loose
        self._saved: dict[str, Vectors] = {}  # raw vectors that this change stored, by key

    # Vectors

    def save_vectors(self, keys: Sequence[str], vectors: Vectors) -> None:
        """Store raw vectors (n, dim) by key; an existing key keeps its vector."""
        array = checked_vectors(keys, vectors)
        known = self.reader.known_vectors(keys)
        new = {key: at for at, key in reversed(list(enumerate(keys))) if key not in known}
        rows = [{"key": stored(key), "raw": array[at]} for key, at in new.items()]
        self.collections.connection.upsert(self.collections.vectors, rows)
        self._saved |= {key: array[at] for key, at in new.items()}
        self.loose.update(new)

    def attach(self, chunks: Mapping[int, str]) -> int:
        """Give passages (by key) without a vector the stored vector with this key.

        Returns how many got one; passages that are gone, or have one, stay as they are.
        """
        fields = ("key", "document", "edition", "embedded")
        rows = self.collections.get(list(chunks), fields)
        missing = [row["key"] for row in rows if not row["embedded"]]
        raw = self._raw(set(chunks.values()))
        for key in chunks.values():
            if key not in raw:
                raise UsageError(f"the vector {key!r} was not saved; save it before it is attached")
        calibrated = self._calibrated([raw[chunks[key]] for key in missing])
        changed = [
            {"key": key, "vector": stored(chunks[key]), "embedded": True, "dense": vector}
            for key, vector in zip(missing, calibrated, strict=True)
        ]
        self.collections.connection.upsert(self.collections.passages, changed, partial=True)
        self.loose.difference_update(chunks.values())
        self.commit([], documents=False)
        return len(changed)

    def _raw(self, keys: Collection[str]) -> dict[str, Vectors]:
        """The raw vectors that are stored, by key; those that this change stored are not read."""
        found = {key: self._saved[key] for key in keys if key in self._saved}
        wanted = [stored(key) for key in keys if key and key not in found]
        if not wanted or not self.reader.has_passages():
            return found
        connection, name = self.collections.connection, self.collections.vectors
        return found | {
            loaded(row["key"]): np.asarray(row["raw"], np.float32)
            for row in connection.get(name, wanted, ("key", "raw"))
        }

    def _calibrated(self, raw: Sequence[Vectors]) -> Vectors:
        dimension = self.reader.dimension() or 0
        if not raw:
            return np.empty((0, dimension), np.float32)
        return self.reader.means().passage(np.stack(raw))

    # Documents

    def upsert(self, documents: Iterable[NewDocument]) -> None:
        """Write documents, replacing those with the same ids; UsageError for an invalid chunk."""
        last = {document.row.id: document for document in documents}
        wanted = {chunk.vector for document in last.values() for chunk in document.chunks}
        raw = self._raw(wanted)
        for document in last.values():
            check_chunks(document.row, document.pages, document.chunks, {"", *raw})
            metadata_rows(document.row.metadata)
        before = self.reader.stored_documents(document_name(id_) for id_ in last)
        now = time.time_ns()
        prepared = [_prepared(document, now + at) for at, document in enumerate(last.values())]
        self.records.put(
            [
                *(
                    part
                    for one in prepared
                    for part in docs.parts(one.document, one.pages, one.left_out)
                ),
                *(one.intent() for one in prepared if _replaces(one, before)),
            ]
        )
        self.write(prepared, before, raw)

    def write(
        self,
        prepared: Sequence[Prepared],
        before: Mapping[str, StoredDocument],
        raw: Mapping[str, Vectors] | None = None,
    ) -> None:
        """Write documents whose texts are stored; `before` are those that they replace, by name."""
        wanted = {chunk.vector for one in prepared for chunk in one.chunks.values()}
        raw = self._raw(wanted) if raw is None else raw
        old = self.rows_of(before)
        rows = [row for one in prepared for row in _rows(one)]
        vectors = self._vectors(rows, raw)
        self._terms.expect(rows)
        self._write_passages(rows, vectors)
        self.count(rows, old)
        self.commit([one.document.record() for one in prepared])
        self._clean([one.document for one in prepared], before)
        self.loose.update(loaded(row["vector"]) for row in old if row["vector"])
        self.loose.difference_update(loaded(row["vector"]) for row in rows)

    def _vectors(self, rows: Sequence[Row], raw: Mapping[str, Vectors]) -> dict[int, Vectors]:
        """The calibrated vectors of rows, by key; a row without its vector is a pending one."""
        for row in rows:
            if row["embedded"] and loaded(row["vector"]) not in raw:
                row["embedded"], row["vector"] = False, ""
        embedded = [row for row in rows if row["embedded"]]
        calibrated = self._calibrated([raw[loaded(row["vector"])] for row in embedded])
        return dict(zip((row["key"] for row in embedded), calibrated, strict=True))

    def _write_passages(self, rows: Sequence[Row], vectors: Mapping[int, Vectors]) -> None:
        nothing = passages.no_vector(self.reader.dimension() or 0)
        self.write_rows(
            [
                {**passages.weighed(row, self._weigh), "dense": vectors.get(row["key"], nothing)}
                for row in rows
            ]
        )

    def write_rows(self, rows: Sequence[Row], *, partial: bool = False) -> None:
        """Write passages with all their fields; with `partial`, change those that are there."""
        found = [passages.shortened(row) for row in rows]
        long = [record for _, record in found if record is not None]
        if long:
            self.records.put(long)
        if rows:
            short = [row for row, _ in found]
            self.collections.connection.upsert(self.collections.passages, short, partial=partial)

    def count(self, new: Sequence[Row], old: Sequence[Row]) -> None:
        """Count passages in the term dictionary that are written, and those that go."""
        self._terms.minus(old)
        self._terms.plus(new)
        self._terms.flush()

    def fresh_documents(self, document_ids: Iterable[str]) -> dict[str, StoredDocument]:
        """The documents as they are now, by their names, whatever the reader has read before."""
        ids = [docs.record_id(id_) for id_ in document_ids]
        found = (StoredDocument.of(record) for record in self.records.get(ids).values())
        return {one.name: one for one in found}

    def rows_of(self, documents: Mapping[str, StoredDocument]) -> list[Row]:
        """The passages of documents by name, with what the term dictionary is made of."""
        if not documents or not self.reader.has_passages():
            return []
        where = f"document in {listed(documents)}"
        found: list[Row] = []
        for rows in self.collections.scan(where, (*TERMS, "vector"), _ROWS):
            own = [row for row in rows if row["edition"] == documents[row["document"]].edition]
            found += passages.lengthened(self.records, own)
        return found

    def commit(self, records: Sequence[Record], *, documents: bool = True) -> None:
        """Write the records that make a change visible, and the generation that begins with it."""
        if self.generation is not None:
            self.generation = self.generation.next(documents=documents)
            records = [*records, self.generation.record()]
        self.records.put(records)

    def _clean(
        self, documents: Sequence[StoredDocument], before: Mapping[str, StoredDocument]
    ) -> None:
        """Delete what carries older editions of documents, and the intents to replace them."""
        changed = [
            one
            for one in documents
            if one.name in before and before[one.name].edition != one.edition
        ]
        if not changed:
            return
        self.delete_rows(
            [one.name for one in changed], [before[one.name].edition for one in changed]
        )
        self.records.delete([f"{INTENT}{one.name}" for one in changed])

    def delete_rows(self, names: Sequence[str], editions: Sequence[str]) -> None:
        """Delete passages and texts of documents in these editions."""
        for start in range(0, len(names), _ROWS):
            some, gone = names[start : start + _ROWS], editions[start : start + _ROWS]
            if self.reader.has_passages():
                self.collections.connection.delete(
                    self.collections.passages,
                    f"document in {listed(some)} and edition in {listed(gone)}",
                )
            numbers = ", ".join(str(docs.number_of(edition)) for edition in gone)
            self.records.delete_of(some, f"number in [{numbers}]")

    def delete(self, document_ids: Sequence[str]) -> int:
        """Remove documents with their pages and passages; returns how many existed."""
        names = dict.fromkeys(document_name(id_) for id_ in document_ids)
        before = self.reader.stored_documents(names)
        if not before:
            return 0
        old = self.rows_of(before)
        self.records.delete([docs.record_id(one.row.id) for one in before.values()])
        self.commit([])
        self.count([], old)
        self.delete_rows(list(before), [one.edition for one in before.values()])
        self.loose.update(loaded(row["vector"]) for row in old if row["vector"])
        return len(before)

    def touch(self, row: DocumentRow) -> None:
        """Update the file facts of an unchanged document."""
        known = self.reader.stored_document(row.id)
        if known is None:
            return
        facts = {name: getattr(row, name) for name in ("root", "sha256", "size", "mtime_ns")}
        self.commit([replace(known, row=replace(known.row, **facts)).record()])


def _prepared(document: NewDocument, now: int) -> Prepared:
    row, pages = document.row, document.pages
    chunks = distinct(row.id, pages, document.chunks)
    terms = document.terms
    if terms is None:
        terms = analyse_chunks(row.title, pages, document.chunks)
    made = StoredDocument(
        row,
        docs.edition_of(row, pages, list(chunks.values())),
        docs.page_facts(pages, chunks.values()),
        document.account,
        bool(document.left_out),
        now,
    )
    return Prepared(made, pages, chunks, terms, document.left_out)


def _replaces(one: Prepared, before: Mapping[str, StoredDocument]) -> bool:
    known = before.get(one.document.name)
    return known is not None and known.edition != one.document.edition


def _rows(one: Prepared) -> list[Row]:
    found = zip(one.chunks.items(), one.terms, strict=True)
    return [
        passages.passage_row(one.document, one.pages, id_, chunk, terms, position)
        for position, ((id_, chunk), terms) in enumerate(found)
    ]


__all__ = ["INTENT", "MilvusWriter", "Prepared", "TermCounts"]
