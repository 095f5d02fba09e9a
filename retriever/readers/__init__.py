"""Files in, pages of text out: the one door to all readers.

What a file is, is decided by its bytes; its name only says what to expect. `read_document` raises
ReadError when nothing of the file can be given, and nothing else whatever the bytes; otherwise each
page is in exactly one state, with a reason. It does not guess at languages and knows no models.

| format | files | pages |
|---|---|---|
| pdf | .pdf, and any file that begins as one | numbered from 1 |
| docx | .docx, and any file that is one | one, without a number |
| html | .html .htm .xhtml | one, without a number |
| markdown | .md .markdown | one, without a number |
| txt | .txt .text, README and the like without an ending | one, without a number |
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable
from pathlib import Path

from retriever.readers import (
    docx,
    encodings,
    facts,
    html,
    html_facts,
    html_parts,
    markdown,
    pages,
    pdf,
    pdf_fields,
    pdf_repair,
    pdf_text,
    signatures,
    text,
)
from retriever.types import Document, Page, PageState, ReadError

MAX_BYTES = 500_000_000
"""The largest file that is opened: readers hold a file in memory."""

_FORMATS = {
    ".pdf": "pdf",
    ".txt": "txt",
    ".text": "txt",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".docx": "docx",
}
# Texts that tradition leaves without an ending.
_BARE_NAMES = frozenset(
    [
        *["readme", "license", "licence", "copying", "notice", "authors", "contributors", "todo"],
        *["changelog", "changes", "news", "history", "install", "credits", "thanks", "copyright"],
    ]
)
_CALLED = {"pdf": "a PDF", "docx": "a Word document", "txt": "text", "markdown": "text"}
_MODULES = (
    *(docx, encodings, facts, html, html_facts, html_parts, markdown),
    *(pages, pdf, pdf_fields, pdf_repair, pdf_text, signatures, text),
)

READERS_VERSION = hashlib.sha256(
    ",".join(f"{module.__name__}={module.VERSION}" for module in _MODULES).encode()
).hexdigest()[:8]
"""Changes when any reader does: documents read by another version are read again."""


def format_of(path: Path) -> str | None:
    """The format a file's name promises, or None if it is not one that is read.

    >>> format_of(Path("a/Report.PDF")), format_of(Path("README")), format_of(Path("a.png"))
    ('pdf', 'txt', None)
    """
    if not path.suffix and path.name.lower() in _BARE_NAMES:
        return "txt"
    return _FORMATS.get(path.suffix.lower())


def supported(path: Path) -> bool:
    """Whether `read_document` is worth calling, told by the name alone."""
    return format_of(path) is not None


def read_document(path: Path, name: str) -> Document:
    """The document in the file at `path`; `name` (its path below the root) becomes its path."""
    data = _load(path)
    promised = format_of(path) or "txt"
    try:
        return _read(data, name, promised)
    except ReadError:
        raise
    # The libraries below parse what anybody may have written; no file may stop a run.
    except Exception as error:  # noqa: BLE001 - see the line above
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise ReadError(f"broken: {words}") from None


def _load(path: Path) -> bytes:
    try:
        facts_of_file = path.stat()
        if not stat.S_ISREG(facts_of_file.st_mode):
            raise ReadError("not a regular file")
        if facts_of_file.st_size > MAX_BYTES:
            raise ReadError(
                f"too large: {facts_of_file.st_size:,} bytes, the limit is {MAX_BYTES:,}; split it"
            )
        data = path.read_bytes()
    except OSError as error:
        raise ReadError(f"cannot be opened: {(error.strerror or str(error)).lower()}") from None
    if not data:
        raise ReadError("zero bytes")
    return data


def _read(data: bytes, name: str, promised: str) -> Document:
    kind = signatures.kind(data)
    if kind == "pdf" or (promised == "pdf" and signatures.holds_pdf(data)):
        return pdf.read_pdf(data, name)
    if kind == "docx":
        return docx.read_docx(data, name)
    if kind == "ole":
        return _old_office(data, name)
    if kind:
        raise ReadError(
            f"not {_CALLED.get(promised, 'HTML')} although its name says so; it begins like {kind}"
        )
    if promised in ("pdf", "docx"):
        raise ReadError(f"not {_CALLED[promised]} although its name says so; {_text_kind(data)}")
    return _TEXT_READERS[promised](data, name)


def _text_kind(data: bytes) -> str:
    if signatures.looks_like_html(data):
        return "it begins like an HTML page"
    if encodings.decode(data[:10_000]) is not None:
        return "it begins like plain text"
    return "it begins with unknown bytes"


def _old_office(data: bytes, name: str) -> Document:
    """A password wraps a DOCX into Microsoft's older container; without one it is an old file."""
    if signatures.is_encrypted_office(data):
        reason = "password needed: the document is encrypted"
        return Document(name, "docx", (Page(None, "", PageState.ENCRYPTED, reason),))
    raise ReadError("an older Office file (.doc, .xls, .ppt or .msg); save it as .docx or .pdf")


_TEXT_READERS: dict[str, Callable[[bytes, str], Document]] = {
    "txt": text.read_text,
    "markdown": markdown.read_markdown,
    "html": html.read_html,
}

__all__ = ["MAX_BYTES", "READERS_VERSION", "format_of", "read_document", "supported"]
