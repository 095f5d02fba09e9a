"""Plain text: one page without a number, whatever the encoding.

A form feed becomes a line end, not a page: in text files it stands inside paragraphs, where a
printer once needed it, and nobody cites "page 3" of a text file.
"""

from __future__ import annotations

from retriever.readers.encodings import decode
from retriever.readers.pages import MAX_CHARACTERS, make_page, too_long
from retriever.types import Document, ReadError

VERSION = 1

_MAX_BYTES = 4 * MAX_CHARACTERS
"""No text of legal length needs more bytes: four hold a character in every encoding read here."""


def read_text(data: bytes, name: str) -> Document:
    """The document of a text file."""
    if len(data) > _MAX_BYTES:
        return Document(name, "txt", (too_long(None, f"{len(data):,} bytes"),))
    return Document(name, "txt", (make_page(None, decoded(data), "nothing but blanks in it"),))


def decoded(data: bytes, declared: str = "") -> str:
    """The text of `data`; ReadError if the bytes are no text in any encoding."""
    text = decode(data, declared)
    if text is None:
        raise ReadError("not text: its bytes are binary data")
    return text.replace("\x00", "")  # damage: no text has a use for NUL
