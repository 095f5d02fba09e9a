"""The analysis of a document's chunks: which of them count, their languages, their terms.

It needs no database, so that any process can do it ahead of the one that writes.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from retriever.storage.catalog import fulltext
from retriever.storage.catalog.margins import margin_texts
from retriever.storage.records import NewChunk, PassageTerms
from retriever.types import DocumentRow, Page, UsageError, chunk_id


def distinct(
    document: str, pages: Sequence[Page], new_chunks: Sequence[NewChunk]
) -> dict[str, NewChunk]:
    """New chunks by id; the same text at the same place of the same page number counts once."""
    unique: dict[str, NewChunk] = {}
    for chunk in new_chunks:
        page = pages[chunk.page]
        text = text_of(pages, chunk)
        unique.setdefault(chunk_id(document, page.number, chunk.span, text, page.label), chunk)
    return unique


def check_chunks(
    row: DocumentRow,
    pages: Sequence[Page],
    new_chunks: Sequence[NewChunk],
    vectors: Container[str],
) -> None:
    """Raise UsageError for a chunk that is not on its page, or whose vector's key is not stored.

    `vectors` has the empty key, which is that of a chunk without a vector.
    """
    for chunk in new_chunks:
        if not 0 <= chunk.page < len(pages):
            raise UsageError(
                f"{row.path}: a chunk is on page position {chunk.page}, which "
                f"does not exist; the document has {len(pages)} pages"
            )
        if not 0 <= chunk.span.start <= chunk.span.end <= len(pages[chunk.page].text):
            raise UsageError(f"{row.path}: a chunk's span {chunk.span} lies outside its page")
        if chunk.vector not in vectors:
            raise UsageError(
                f"{row.path}: the vector {chunk.vector!r} of a chunk was not "
                "saved; save the vectors before the document"
            )


def text_of(pages: Sequence[Page], chunk: NewChunk) -> str:
    """The text of a chunk."""
    return pages[chunk.page].text[chunk.span.start : chunk.span.end]


def analyse_chunks(
    title: str, pages: Sequence[Page], new_chunks: Sequence[NewChunk]
) -> list[PassageTerms]:
    """The terms of each of a document's distinct chunks, in order."""
    unique = list(distinct("", pages, new_chunks).values())
    texts = [text_of(pages, chunk) for chunk in unique]
    languages = fulltext.detect_languages(texts)
    places = [(chunk.page, chunk.span.start) for chunk in unique]
    margins = margin_texts(dict(enumerate(pages)), places)
    return [
        fulltext.analyse(title, text, language, beside)
        for text, language, beside in zip(texts, languages, margins, strict=True)
    ]


__all__ = ["analyse_chunks", "check_chunks", "distinct", "text_of"]
