"""Rows of passages: what is written of a document's chunks, and what is read back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from retriever.arrays import Vectors
from retriever.storage.backends.milvus.client import Row
from retriever.storage.backends.milvus.documents import StoredDocument, number_of
from retriever.storage.backends.milvus.fields import format_field, metadata_field, text_field
from retriever.storage.backends.milvus.records import Record, Records
from retriever.storage.backends.milvus.values import (
    MAX_BYTES,
    id_of,
    key_of,
    loaded,
    segments,
    stored,
)
from retriever.storage.catalog.analysis import text_of
from retriever.storage.comparing import period_of
from retriever.storage.records import NewChunk, PassageTerms
from retriever.types import Chunk, Page

PASSAGE = "passage/"
"""The beginning of the ids of records with texts and terms that are too long for a row."""

TERMS = ("key", "document", "edition", "terms", "long", "length", "language", "long_words")
"""The fields that the term dictionary is made of."""

CHUNK = (
    *("key", "document", "edition", "position", "page_at", "page", "start", "stop"),
    *("text", "long", "language"),
)
"""The fields of `chunk_of`."""

Weigh = Callable[[Sequence[str], int], Mapping[int, float]]
"""The sparse vector of a passage, of its terms and its length."""

_BETWEEN = "\n\n"  # between text and terms of a long passage: terms have no line ends


def passage_row(
    document: StoredDocument,
    pages: Sequence[Page],
    chunk_id: str,
    chunk: NewChunk,
    terms: PassageTerms,
    position: int,
) -> Row:
    """A passage's row without its vectors; `long` texts and terms stay in it until `shortened`."""
    text = stored(text_of(pages, chunk))
    return {
        "key": key_of(chunk_id),
        "document": document.name,
        "edition": document.edition,
        "position": position,
        "page_at": chunk.page,
        "page": pages[chunk.page].number,
        "start": chunk.span.start,
        "stop": chunk.span.end,
        "text": text,
        **term_fields(text, terms),
        "vector": stored(chunk.vector),
        "embedded": bool(chunk.vector),
        "added": document.added,
        **filter_fields(document),
    }


def term_fields(text: str, terms: PassageTerms) -> Row:
    """The fields of a passage's terms; `text` is as it is stored."""
    found = stored(terms.terms)
    return {
        "terms": found,
        "long": _is_long(text) or _is_long(found),
        "length": terms.length,
        "language": terms.language,
        "long_words": segments(stored(" ".join(terms.long_words)))[0],
    }


def filter_fields(document: StoredDocument) -> Row:
    """The fields of a document that filters compare: see `fields`."""
    row = document.row
    when = period_of(row.date)
    return {
        **{name: text_field(getattr(row, name)) for name in ("source", "path", "title", "author")},
        "format": format_field(row.format, row.path),
        "date_from": None if when is None else when.first,
        "date_to": None if when is None else when.last,
        "metadata": metadata_field(row.metadata),
    }


def shortened(row: Row) -> tuple[Row, Record | None]:
    """The row as it is stored, and the record of its text and terms if they are long."""
    if not row["long"]:
        return row, None
    value = f"{loaded(row['text'])}{_BETWEEN}{loaded(row['terms'])}"
    record = Record(long_id(row), value, number_of(row["edition"]), row["document"])
    return {**row, "text": "", "terms": ""}, record


def lengthened(records: Records, rows: Sequence[Row]) -> Sequence[Row]:
    """The rows with the texts and terms of long passages, all read in one call."""
    ids = [long_id(row) for row in rows if row["long"]]
    if not ids:
        return rows
    found = records.get(ids)
    for row in rows:
        if row["long"] and long_id(row) in found:
            text, _, terms = found[long_id(row)].value.rpartition(_BETWEEN)
            row["text"], row["terms"] = stored(text), stored(terms)
    return rows


def long_id(row: Row) -> str:
    """The id of the record of a long passage."""
    return f"{PASSAGE}{row['document']}/{row['edition']}/{id_of(row['key'])}"


def chunk_of(row: Row, document: StoredDocument) -> Chunk:
    """A passage of its row and its document."""
    page = document.pages[row["page_at"]]
    facts = document.row
    return Chunk(
        id=id_of(row["key"]),
        document_id=facts.id,
        path=facts.path,
        format=facts.format,
        title=facts.title,
        page=page.number,
        start=row["start"],
        end=row["stop"],
        text=loaded(row["text"]),
        metadata=facts.metadata,
        label=page.label,
        state=page.state,
        language=row["language"],
        printed=page.printed,
    )


def in_order(rows: Iterable[Row]) -> list[Row]:
    """A document's passages in order."""
    return sorted(
        rows, key=lambda row: (row["page_at"], row["start"], row["stop"], row["position"])
    )


def weighed(row: Row, weigh: Weigh) -> Row:
    """The row with its sparse vector."""
    return {**row, "sparse": dict(weigh(loaded(row["terms"]).split(), row["length"]))}


def no_vector(dimension: int) -> Vectors:
    """What stands for a vector that is missing: (dim,)."""
    return np.zeros(dimension, dtype=np.float32)


def _is_long(text: str) -> bool:
    return len(text) * 4 > MAX_BYTES and len(text.encode()) > MAX_BYTES


__all__ = [
    "CHUNK",
    "PASSAGE",
    "TERMS",
    "Weigh",
    "chunk_of",
    "filter_fields",
    "in_order",
    "lengthened",
    "long_id",
    "no_vector",
    "passage_row",
    "shortened",
    "term_fields",
    "weighed",
]
