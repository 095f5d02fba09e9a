"""Documents and passages as JSON, for programs that ask for them by id.

Nothing but what is in the index can be asked for: no path is ever opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retriever.index import Index
from retriever.types import Chunk, DocumentRow, Hit, Page, UsageError

PAGE_BREAK = "\n\n"
"""What stands between the pages of a document's text."""

LENGTH = 100_000
"""Characters of a document's text that are given at once."""

MAX_CONTEXT = 20
"""Passages on each side of one."""

_PASSAGE_FIELDS = (
    *("chunk_id", "document_id", "path", "format", "title", "page", "printed", "label", "state"),
    *("start", "end", "metadata", "text"),
)


def document_json(
    index: Index,
    document_id: str,
    *,
    page: int | None = None,
    offset: int = 0,
    length: int = LENGTH,
) -> dict[str, Any] | None:
    """A document's facts and its text from `offset` on; None for an unknown id.

    With `page` the text is that of the pages with this number, else of all pages, with
    `PAGE_BREAK` between them. `pages` has each page's state, and where its text stands in the text
    of the whole document. `next_offset` is where the rest begins, None at the end.
    """
    if offset < 0 or length < 1:
        raise UsageError(f"offset counts from 0 and length from 1; they are {offset} and {length}")
    with index.snapshot(dense=False) as now:
        row = now.catalog.document(document_id)
        pages = [] if row is None else now.catalog.pages(document_id)
    if row is None:
        return None
    chosen = pages if page is None else [one for one in pages if one.number == page]
    if page is not None and not chosen:
        raise UsageError(f"{row.path} has no page {page}: it has {len(pages)} pages")
    text = PAGE_BREAK.join(one.text for one in chosen)
    part = text[offset : offset + min(length, LENGTH)]
    end = offset + len(part)
    return {
        **_facts(row),
        "pages": _places(pages),
        "characters": len(text),
        "page": page,
        "offset": offset,
        "next_offset": end if end < len(text) else None,
        "text": part,
    }


def passage_json(index: Index, chunk_id: str, *, context: int = 0) -> dict[str, Any] | None:
    """A passage, with `context` passages of its document before and after it.

    None for an unknown id.
    """
    if not 0 <= context <= MAX_CONTEXT:
        raise UsageError(
            f"context is a number of passages from 0 to {MAX_CONTEXT}; it is {context}"
        )
    with index.snapshot(dense=False) as now:
        found = now.catalog.get([chunk_id])
        if not found:
            return None
        before = index.neighbours(found[0], context, 0)
        after = index.neighbours(found[0], 0, context)
    return {
        **_passage(found[0]),
        "before": [_passage(chunk) for chunk in before],
        "after": [_passage(chunk) for chunk in after],
    }


def _facts(row: DocumentRow) -> dict[str, Any]:
    return {
        "document_id": row.id,
        "source": row.source,
        "path": row.path,
        "format": row.format,
        "title": row.title,
        "author": row.author,
        "date": row.date,
        "metadata": dict(row.metadata),
    }


def _places(pages: Sequence[Page]) -> list[dict[str, Any]]:
    places, start = [], 0
    for page in pages:
        places.append(
            {
                "page": page.number,
                "printed": page.printed,
                "label": page.label,
                "state": page.state.value,
                "reason": page.reason,
                "start": start,
                "end": start + len(page.text),
            }
        )
        start += len(page.text) + len(PAGE_BREAK)
    return places


def _passage(chunk: Chunk) -> dict[str, Any]:
    values = Hit(rank=1, score=0.0, chunk=chunk).to_json()
    return {name: values[name] for name in _PASSAGE_FIELDS}


__all__ = ["LENGTH", "document_json", "passage_json"]
