"""What a writer left that was killed, or lost the server: it is completed, or removed.

A writer that begins looks for the mark that the former one did not remove. Then it completes moves,
documents that were being replaced, and a refit; and deletes passages and texts that no document's
record names.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping

from retriever.storage.backends.milvus import documents as docs
from retriever.storage.backends.milvus.client import MAX_ROWS, Row
from retriever.storage.backends.milvus.collections import Collections
from retriever.storage.backends.milvus.documents import StoredDocument
from retriever.storage.backends.milvus.moving import Mover
from retriever.storage.backends.milvus.records import Record
from retriever.storage.backends.milvus.rows import (
    CHUNK,
    PASSAGE,
    Weigh,
    lengthened,
    term_fields,
    weighed,
)
from retriever.storage.backends.milvus.values import listed, stored
from retriever.storage.backends.milvus.writing import INTENT, MilvusWriter, Prepared
from retriever.storage.catalog.analysis import analyse_chunks
from retriever.storage.catalog.writing import QUERY_PREFIX
from retriever.storage.records import NewChunk
from retriever.types import Span

log = logging.getLogger(__name__)

DIRTY = "dirty"
"""The id of the record that is there while a writer changes the index."""


def is_dirty(collections: Collections) -> bool:
    """Whether the former writer did not end as it should."""
    return collections.records.value(DIRTY) is not None


def mark(collections: Collections) -> None:
    """Note that a writer begins to change the index."""
    collections.records.put([Record(DIRTY)])


def unmark(collections: Collections) -> None:
    """Note that all changes are complete."""
    collections.records.delete([DIRTY])


def sweep(writer: MilvusWriter) -> None:
    """Complete or remove what a former writer left; the term dictionary must be made anew."""
    log.info("completing what a former writer left in %s", writer.collections.index)
    if Mover(writer).complete():
        log.info("moves of documents were completed")
    _complete_documents(writer)
    _remove_loose(writer.collections, has_passages=writer.reader.has_passages())


def _complete_documents(writer: MilvusWriter) -> None:
    """Complete the documents that were being replaced."""
    for intent in list(writer.records.beginning(INTENT)):
        prepared = Prepared.of_intent(intent, writer.reader.pages_of)
        known = writer.fresh_documents([prepared.document.row.id])
        before = known.get(prepared.document.name)
        if before is not None and before.edition != prepared.document.edition:
            writer.write([prepared], known)
        writer.records.delete([intent.id])


def _remove_loose(collections: Collections, *, has_passages: bool) -> None:
    """Delete the passages and texts that no document's record names."""
    editions = {}
    for record in collections.records.beginning(docs.DOCUMENT):
        document = StoredDocument.of(record)
        editions[document.name] = document.edition
    if has_passages:
        for rows in collections.scan("", ("key", "document", "edition"), 10_000):
            collections.delete_passages(
                [row["key"] for row in rows if editions.get(row["document"]) != row["edition"]]
            )
    for prefix in (docs.PART, PASSAGE):
        gone = [
            id_
            for id_ in collections.records.ids_beginning(prefix)
            if editions.get((parts := id_.split("/", 3))[1]) != parts[2]
        ]
        for start in range(0, len(gone), MAX_ROWS):
            collections.records.delete_stored(gone[start : start + MAX_ROWS])


def drop_unused_vectors(collections: Collections, keys: Collection[str] | None) -> None:
    """Delete those of the vectors with these keys, or of all, that no passage has.

    Vectors of queries stay.
    """
    if keys is None:
        stored_keys = [
            row["key"]
            for rows in collections.connection.scan(collections.vectors, "", ("key",), 10_000)
            for row in rows
        ]
        used = {
            row["vector"]
            for rows in collections.scan("embedded == true", ("key", "vector"), 10_000)
            for row in rows
        }
    else:
        wanted = sorted(keys)
        stored_keys = [stored(key) for key in wanted]
        used = set()
        for start in range(0, len(wanted), MAX_ROWS):
            where = f"vector in {listed(wanted[start : start + MAX_ROWS])}"
            used |= {row["vector"] for row in collections.all(where, ("key", "vector"))}
    gone = [key for key in stored_keys if key not in used and not key.startswith(QUERY_PREFIX)]
    collections.connection.delete_keys(collections.vectors, gone)


def analyse_again(writer: MilvusWriter, weigh: Weigh) -> None:
    """Make the terms of all passages anew, after a change of the analyzer."""
    waiting: dict[str, StoredDocument] = {}
    passages = 0
    for record in writer.records.beginning(docs.DOCUMENT):
        document = StoredDocument.of(record)
        waiting[document.name] = document
        passages += document.row.chunks
        if passages >= MAX_ROWS:
            _analyse_some(writer, waiting, weigh)
            waiting, passages = {}, 0
    _analyse_some(writer, waiting, weigh)


def _analyse_some(
    writer: MilvusWriter, documents: Mapping[str, StoredDocument], weigh: Weigh
) -> None:
    """The same for the passages of some documents by name, which are read together."""
    if not documents:
        return
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for some in writer.collections.scan(f"document in {listed(documents)}", CHUNK, MAX_ROWS):
        for row in some:
            if row["edition"] == documents[row["document"]].edition:
                found[row["document"]].append(row)
    for name, rows in found.items():
        rows.sort(key=lambda row: int(row["position"]))
        chunks = [NewChunk(row["page_at"], Span(row["start"], row["stop"]), "") for row in rows]
        pages = writer.reader.pages_of(documents[name])
        lengthened(writer.records, rows)
        terms = analyse_chunks(documents[name].row.title, pages, chunks)
        changed = [
            weighed({**row, **term_fields(row["text"], one)}, weigh)
            for row, one in zip(rows, terms, strict=True)
        ]
        writer.write_rows(changed, partial=True)


__all__ = [
    "DIRTY",
    "analyse_again",
    "drop_unused_vectors",
    "is_dirty",
    "mark",
    "sweep",
    "unmark",
]
