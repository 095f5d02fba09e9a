"""Files inside a file: mail attachments and files embedded in a PDF.

The pages of an attachment are added to the pages of its parent. They have no page number, and their
label names the attachment. A file that is not a document (a picture, a signature, an archive)
becomes one page that says so. A file that cannot be read becomes one page with the reason.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, count
from pathlib import Path

from retriever.reading import signatures
from retriever.reading.encodings import decode
from retriever.reading.facts import clean_fact
from retriever.reading.options import PAGE_SECONDS, ReadOptions
from retriever.reading.recognised import digest
from retriever.types import Page, PageState, ReadError

MAX_PARTS = 20_000
"""A document with this many parts takes no more attachments."""

_MAX_BYTES = 100_000_000
_MAX_NAME = 120
_PGP = b"-----BEGIN PGP "  # else .asc is AsciiDoc
# Recognised by name, because their bytes are text: signatures, descriptions and drawings.
_NO_TEXT = {
    ".asc": "a signature or key",
    ".sig": "a signature",
    ".p7s": "a signature",
    ".p7m": "a signature",
    ".svg": "a picture",
}


def attached_pages(
    name: str, data: bytes, options: ReadOptions, taken: set[str], prefix: str = ""
) -> list[Page]:
    """Read the attachment `name` into pages; at least one, in any state.

    `taken` holds the labels used so far in this document. The new labels, each with `prefix`, are
    added to it. If a document has too many parts, one page says so, once.
    """
    if len(taken) >= MAX_PARTS:
        return _further_attachments(taken)
    base = f"{prefix}attachment {_one_line(name)}"
    options.extend_deadline(PAGE_SECONDS)
    try:
        pages = _pages(name, data, options)
    except ReadError as error:
        pages = [Page(None, "", PageState.FAILED, str(error))]
    return [
        replace(page, number=None, label=unique_label(_label(base, page), taken), printed="")
        for page in pages
    ]


def unique_label(label: str, taken: set[str]) -> str:
    """Make `label` unique by a number behind it, and add it to `taken`.

    >>> taken = set[str]()
    >>> [unique_label(label, taken) for label in ("part", "part", "other", "part")]
    ['part', 'part (2)', 'other', 'part (3)']
    """
    if label in taken:
        numbers = chain(range(2, 100), count(len(taken)))  # never a search through all labels
        label = next(name for n in numbers if (name := f"{label} ({n})") not in taken)
    taken.add(label)
    return label


def _further_attachments(taken: set[str]) -> list[Page]:
    label = "further attachments"
    if label in taken:
        return []
    taken.add(label)
    return [Page(None, "", PageState.FAILED, f"more than {MAX_PARTS:,} parts in one file", label)]


def _pages(name: str, data: bytes, options: ReadOptions) -> list[Page]:
    if not data:
        return [Page(None, "", PageState.EMPTY, "zero bytes")]
    reason = _skip_reason(name, data, options)
    if reason:
        return [Page(None, "", PageState.SKIPPED, reason)]
    if len(data) > _MAX_BYTES:
        raise ReadError(f"too large: {len(data):,} bytes, the limit is {_MAX_BYTES:,}")
    pages = options.inner(data, _with_ending(name, data)).pages
    return list(pages) or [Page(None, "", PageState.EMPTY, "no text in it")]


def _with_ending(name: str, data: bytes) -> str:
    """Add the file ending that fits the contents if the name has none that is known."""
    from retriever.reading.formats import FORMATS, supported

    kind = signatures.kind(data) or _vobject(data)
    if supported(Path(name)) or kind not in FORMATS:
        return name
    return name + next(iter(FORMATS[kind].endings), "")


def _vobject(data: bytes) -> str:
    """The format of a calendar or of address cards; empty for other data."""
    head = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip().upper()
    if head.startswith(b"BEGIN:VCALENDAR"):
        return "calendar"
    return "contacts" if head.startswith(b"BEGIN:VCARD") else ""


def _skip_reason(name: str, data: bytes, options: ReadOptions) -> str:
    """Why the file is not read; empty if it is."""
    # Imported here because `readers` imports the modules that import this one.
    from retriever.reading.formats import FORMATS, supported

    kind = signatures.kind(data)
    if (
        kind in FORMATS
        or kind == "ole"
        or (kind in signatures.PICTURES and _is_picture_read(data, options))
    ):
        return ""
    if kind:
        return f"not read: {kind}"
    ending = Path(name).suffix.lower()
    if _NO_TEXT.get(ending) and (ending != ".asc" or _PGP in data[:1_000]):
        return f"not read: {_NO_TEXT[ending]}"
    if not ending or ending in _NO_TEXT or supported(Path(name)):
        return ""
    if decode(data[:10_000]) is None:
        return f"format not supported ({_one_line(ending)})"
    return ""


def _is_picture_read(picture: bytes, options: ReadOptions) -> bool:
    """Whether a picture is opened: with an OCR, or when its text is known."""
    return bool(options.ocr) or (bool(options.known.pages) and options.known.holds(digest(picture)))


def _one_line(name: str) -> str:
    """The name on one line, without folders; never empty."""
    last = clean_fact(name).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].strip()
    if len(last) > _MAX_NAME:
        return f"{last[: _MAX_NAME - 20]}…{last[-19:]}"
    return last or "unnamed"


def _label(base: str, page: Page) -> str:
    inside = page.label or (f"page {page.number}" if page.number is not None else "")
    return f"{base}, {inside}" if inside else base


__all__ = ["MAX_PARTS", "attached_pages", "unique_label"]
