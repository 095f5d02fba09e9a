"""Rich Text (.rtf): the text, and title, author and date if stated.

Headers, footers, footnotes, pictures and embedded objects are dropped. Table rows keep a bar
between cells.
"""

from __future__ import annotations

import re

from retriever.reading.extras import load
from retriever.reading.facts import clean_author, clean_title, iso_date
from retriever.reading.pages import MAX_CHARACTERS, make_page, too_long_page
from retriever.types import Document

_MAX_BYTES = 100_000_000
_HEAD = 20_000  # characters searched for the metadata
# Pictures are hexadecimal digits and often half of the file.
_PICTURE = re.compile(r"(?:[0-9A-Fa-f]{2}){32,}")
_FACT = re.compile(r"\{\\(title|author)\s([^{}]{1,2000})\}")
_DATE = re.compile(r"\{\\creatim\\yr(\d{4})\\mo(\d{1,2})\\dy(\d{1,2})")


def read_rtf(data: bytes, name: str) -> Document:
    """Read a Rich Text file into one page."""
    if len(data) > _MAX_BYTES:
        return Document(name, "rtf", (too_long_page(None, f"{len(data):,} bytes"),))
    # RTF escapes non-ASCII characters; raw bytes are Windows-1252.
    source = _PICTURE.sub("", data.decode("cp1252", "replace").replace("\x00", ""))
    if len(source) > 4 * MAX_CHARACTERS:
        return Document(name, "rtf", (too_long_page(None, f"{len(source):,} characters"),))
    facts = {
        key: _text(f"{{\\rtf1\\ansi {value}}}") for key, value in _FACT.findall(source[:_HEAD])
    }
    made = _DATE.search(source[:_HEAD])
    return Document(
        path=name,
        format="rtf",
        pages=(make_page(None, _rows(_text(source)), "no text in it"),),
        title=clean_title(facts.get("title"), name),
        author=clean_author(facts.get("author")),
        date=iso_date("{}-{:0>2}-{:0>2}".format(*made.groups())) if made else "",
    )


def _text(source: str) -> str:
    library = load("striprtf.striprtf", "markup", "Rich Text files")
    return str(library.rtf_to_text(source, errors="replace"))


def _rows(text: str) -> str:
    r"""Rewrite table rows "a|b|" as "a | b", and collapse blank lines.

    >>> _rows("x\nAda|1815|\nBob|1900|\n\n\n\ny")
    'x\nAda | 1815\nBob | 1900\n\ny'
    """
    lines = (
        " | ".join(cell.strip() for cell in line[:-1].split("|") if cell.strip())
        if line.endswith("|")
        else line.rstrip()
        for line in text.split("\n")
    )
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


__all__ = ["read_rtf"]
