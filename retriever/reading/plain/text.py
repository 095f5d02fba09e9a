"""Plain text: one page without a number, in any encoding.

A form feed becomes a newline, not a page break: in text files it often falls inside a paragraph,
and nobody cites "page 3" of a text file.
"""

from __future__ import annotations

from retriever.reading.encodings import decode
from retriever.reading.pages import MAX_CHARACTERS, make_page, too_long_page
from retriever.types import Document, ReadError

_MAX_BYTES = 4 * MAX_CHARACTERS
"""A character takes at most four bytes in every supported encoding."""


def read_text(data: bytes, name: str) -> Document:
    """Read a text file into one page."""
    if len(data) > _MAX_BYTES:
        return Document(name, "txt", (too_long_page(None, f"{len(data):,} bytes"),))
    return Document(name, "txt", (make_page(None, decode_text(data), "nothing but blanks in it"),))


def decode_text(data: bytes, declared: str = "") -> str:
    """Decode `data`; raises ReadError if it is not text in any encoding."""
    text = decode(data, declared)
    if text is None:
        raise ReadError("not text: its bytes are binary data")
    return text.replace("\x00", "")  # NUL is damage in a text
