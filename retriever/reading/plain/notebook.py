"""Jupyter notebooks (.ipynb): the cells in order, Markdown unchanged, code fenced.

The first lines of printed output are kept, because people search for them ("which run reached
0.93"). Pictures, HTML and widgets are dropped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from retriever.reading.facts import clean_author, clean_title, scalars
from retriever.reading.pages import MAX_CHARACTERS, make_page, too_long_page
from retriever.reading.plain.code import fence
from retriever.reading.plain.text import decode_text
from retriever.types import Document, ReadError

_MAX_BYTES = 100_000_000  # mostly pictures
_MAX_OUTPUT = 1_000  # characters of a cell's output
_COLOURS = re.compile(r"\x1b\[[\d;]*[A-Za-z]")
_HEADING = re.compile(r"^# +(\S[^\n]*)", re.MULTILINE)


def read_notebook(data: bytes, name: str) -> Document:
    """Read a notebook into one page."""
    if len(data) > _MAX_BYTES:
        return Document(name, "notebook", (too_long_page(None, f"{len(data):,} bytes"),))
    book = _parse(data)
    facts = _dict(book.get("metadata"))
    language = _language(facts)
    text = "\n\n".join(block for block in _blocks(book, language) if block.strip())
    heading = _HEADING.search(text[:MAX_CHARACTERS])
    authors = facts.get("authors")
    people = [_dict(each).get("name") for each in authors] if isinstance(authors, list) else []
    return Document(
        path=name,
        format="notebook",
        pages=(make_page(None, text, "no text in its cells"),),
        title=clean_title(facts.get("title") or (heading[1] if heading else ""), name),
        author=clean_author(", ".join(each for each in people if isinstance(each, str))),
        metadata=scalars({"language": language}),
    )


def _parse(data: bytes) -> dict[str, Any]:
    try:
        book = json.loads(decode_text(data))
    except (ValueError, RecursionError) as error:
        raise ReadError(f"broken: not the JSON of a notebook ({str(error)[:200]})") from None
    if not isinstance(book, dict) or not isinstance(_cells(book), list):
        raise ReadError("not a notebook: there are no cells in it")
    return book


def _cells(book: dict[str, Any]) -> Any:
    """The cells; version 3 of the format stores them in worksheets."""
    sheets = book.get("worksheets")
    if "cells" in book or not isinstance(sheets, list):
        return book.get("cells")
    return [cell for sheet in sheets for cell in _list(_dict(sheet).get("cells"))]


def _language(facts: dict[str, Any]) -> str:
    stated = [_dict(facts.get("language_info")).get("name")]
    stated.append(_dict(facts.get("kernelspec")).get("language"))
    return next((name for name in stated if isinstance(name, str)), "")


def _blocks(book: dict[str, Any], language: str) -> Iterator[str]:
    for entry in _cells(book):
        cell = _dict(entry)
        source = _join(cell.get("source", cell.get("input"))).strip("\n")
        kind = cell.get("cell_type")
        if kind == "heading":
            yield f"{'#' * min(6, _level(cell))} {source}"
        elif kind != "code":
            yield source
        elif source.strip():
            yield fence(source, language)
            yield from _outputs(cell)


def _outputs(cell: dict[str, Any]) -> Iterator[str]:
    printed = "".join(_output_text(_dict(output)) for output in _list(cell.get("outputs")))
    text = _COLOURS.sub("", printed[: 4 * _MAX_OUTPUT]).strip("\n")
    if text.strip():
        yield fence(text if len(text) <= _MAX_OUTPUT else text[:_MAX_OUTPUT] + " …", "")


def _output_text(output: dict[str, Any]) -> str:
    if output.get("output_type") in ("error", "pyerr"):
        return f"{output.get('ename', '')}: {output.get('evalue', '')}\n"
    data = _dict(output.get("data"))
    text = _join(output.get("text", data.get("text/plain")))
    # "<Figure size 640x480>" is a placeholder for a picture.
    return "" if text.startswith("<") and text.rstrip().endswith(">") else text.rstrip("\n") + "\n"


def _join(value: object) -> str:
    """Join a value that is a string or a list of lines."""
    if isinstance(value, list):
        return "".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def _level(cell: dict[str, Any]) -> int:
    level = cell.get("level")
    return level if isinstance(level, int) and level > 0 else 1


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


__all__ = ["read_notebook"]
