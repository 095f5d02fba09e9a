"""Plain text: one page without a number, in any encoding.

A form feed becomes a newline, not a page break: in text files it often falls inside a paragraph,
and nobody cites "page 3" of a text file. Codes for a terminal are removed, and so is progress that
a carriage return overwrites.
"""

from __future__ import annotations

import re

from retriever.reading.encodings import decode
from retriever.reading.pages import MAX_CHARACTERS, make_page, too_long_page
from retriever.reading.terminal_output import (
    drop_bare_colours,
    drop_overwritten,
    drop_terminal_codes,
)
from retriever.types import Document, LeftOut, ReadError

OVERWRITTEN = "overwritten progress"
"""The kind of what is left out because a carriage return overwrites it."""

_MAX_BYTES = 4 * MAX_CHARACTERS
"""A character takes at most four bytes in every supported encoding."""

_NULS = re.compile("\x00+")
_JOINT = re.compile(r"(?<=\S)\ufeff(?=\S)")  # the mark of a file that was appended to another


def read_text(data: bytes, name: str) -> Document:
    """Read a text file into one page."""
    if len(data) > _MAX_BYTES:
        return Document(name, "txt", (too_long_page(None, f"{len(data):,} bytes"),))
    text = _JOINT.sub("\n", decode_text(data))
    text, overwritten = drop_overwritten(drop_bare_colours(text))
    return Document(
        name,
        "txt",
        (make_page(None, text, "nothing but blanks in it"),),
        left_out=(LeftOut(OVERWRITTEN, overwritten),) if overwritten else (),
    )


def decode_text(data: bytes, declared: str = "") -> str:
    """Decode `data`, without NULs and codes for a terminal.

    Raises ReadError if it is not text in any encoding.
    """
    text = decode(data, declared)
    if text is None:
        raise ReadError("not text: its bytes are binary data")
    return drop_nuls(drop_terminal_codes(text))


def drop_nuls(text: str) -> str:
    r"""`text` without NULs; between two words they become a blank.

    >>> drop_nuls("one\x00two\x00\x00\n three\x00")
    'one two\n three'
    """
    return _NULS.sub(_blank, text) if "\x00" in text else text


def _blank(match: re.Match[str]) -> str:
    before = match.string[max(0, match.start() - 1) : match.start()]
    after = match.string[match.end() : match.end() + 1]
    return "" if not before or not after or before.isspace() or after.isspace() else " "


__all__ = ["OVERWRITTEN", "decode_text", "drop_nuls", "read_text"]
