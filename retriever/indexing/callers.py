"""The documents that a caller gives to an index: checked, with dates that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from retriever.text.dates import period, read_date
from retriever.types import Document, Page, UsageError, check_text


def checked_document(document: object) -> Document:
    """A caller's document, its dates in ISO 8601 if they can be read.

    Raises UsageError for values of a wrong type.
    """
    if not isinstance(document, Document):
        raise UsageError(f"a document must be a Document; it is {document!r:.80}")
    for name in ("path", "format", "title", "author"):
        check_text(getattr(document, name), f"a document's {name}")
    pages = document.pages
    if not isinstance(pages, Sequence) or not all(isinstance(page, Page) for page in pages):
        raise UsageError(f"the pages of {document.path!r} must be a list of Page")
    for page in pages:
        check_text(page.text, f"the text of a page of {document.path!r}")
    metadata = {
        name: read_date(value) if isinstance(value, date) else value
        for name, value in document.metadata.items()
    }
    return replace(document, date=_iso_date(document.date), metadata=metadata)


def _iso_date(value: object) -> str:
    """A document's date in ISO 8601; a text that cannot be read stays, and is found by no date."""
    if isinstance(value, date):
        return read_date(value)
    check_text(value, "a document's date")
    text = str(value)
    if not text or period(text):
        return text
    try:
        return read_date(text)
    except UsageError:
        return text


__all__ = ["checked_document"]
