"""Jupyter notebooks (.ipynb): the cells in order, Markdown unchanged, code fenced.

Outputs are kept, because people search for them ("which run reached 0.93"), but for the middle of
long ones. Of an output in several forms the plain one is read, unless another says much more.
Pictures and widgets are left out, and so are tracebacks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from retriever.reading.alternatives import best_form, only_in
from retriever.reading.facts import clean_author, clean_title, scalars
from retriever.reading.markup.html import extract, parse
from retriever.reading.pages import MAX_CHARACTERS, make_page, too_long_page
from retriever.reading.plain.code import fence
from retriever.reading.plain.text import OVERWRITTEN, decode_text
from retriever.reading.terminal_output import drop_overwritten, drop_terminal_codes
from retriever.types import Document, LeftOut, ReadError

_MAX_BYTES = 100_000_000  # mostly pictures
_MAX_OUTPUT = 1_000  # characters at the beginning and at the end of what a cell prints
_MAX_LEFT_OUT = 10_000  # characters of a drawing or a script in an output
_MAX_METADATA = 10_000  # values
# The forms of an output that are text, the one to read first; and those that are none.
_FORMS = ("text/plain", "text/markdown", "text/html", "text/latex")
_NO_TEXT = ("image/svg+xml", "application/javascript", "text/javascript")
# Version 3 of the format has short names.
_OLD = {
    "text": "text/plain",
    "html": "text/html",
    "latex": "text/latex",
    "svg": "image/svg+xml",
    "javascript": "text/javascript",
}
_HEADING = re.compile(r"^# +(\S[^\n]*)", re.MULTILINE)


def read_notebook(data: bytes, name: str) -> Document:
    """Read a notebook into one page."""
    if len(data) > _MAX_BYTES:
        return Document(name, "notebook", (too_long_page(None, f"{len(data):,} bytes"),))
    book = _parse(data)
    facts = _dict(book.get("metadata"))
    language = _language(facts)
    left_out: list[LeftOut] = []
    blocks = _blocks(book, language, left_out)
    text = "\n\n".join(block.strip("\n") for block in blocks if block.strip())
    known = [facts, *(_dict(cell).get("metadata") for cell in _cells(book))]
    _leave_out(left_out, "metadata", "\n".join(_texts_in(known)))
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
        left_out=tuple(left_out),
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


def _blocks(book: dict[str, Any], language: str, left_out: list[LeftOut]) -> Iterator[str]:
    for entry in _cells(book):
        cell = _dict(entry)
        source = _join(cell.get("source", cell.get("input"))).strip("\n")
        kind = cell.get("cell_type")
        if kind == "heading":
            yield f"{'#' * min(6, _level(cell))} {source}"
        elif kind != "code":
            yield source
        else:
            if source.strip():
                yield fence(source, language)
            yield from _outputs(cell, left_out)


def _outputs(cell: dict[str, Any], left_out: list[LeftOut]) -> Iterator[str]:
    """The outputs of a cell: what was printed is fenced, Markdown and HTML are text."""
    printed = ""
    for output in map(_dict, _list(cell.get("outputs"))):
        text, is_printed = _output(output, left_out)
        if is_printed:
            printed += text
            continue
        yield from _printed(printed, left_out)
        printed = ""
        yield text
    yield from _printed(printed, left_out)


def _printed(text: str, left_out: list[LeftOut]) -> Iterator[str]:
    text, overwritten = drop_overwritten(drop_terminal_codes(text) + "\n")
    text = text.strip("\n")
    _leave_out(left_out, OVERWRITTEN, overwritten)
    if len(text) > 2 * _MAX_OUTPUT:
        _leave_out(left_out, "long outputs", text[_MAX_OUTPUT:-_MAX_OUTPUT])
        text = f"{text[:_MAX_OUTPUT]} … {text[-_MAX_OUTPUT:]}"
    if text.strip():
        yield fence(text, "")


def _output(output: dict[str, Any], left_out: list[LeftOut]) -> tuple[str, bool]:
    """The text of an output, and whether it is printed as it stands."""
    if output.get("output_type") in ("error", "pyerr"):
        traceback = drop_terminal_codes(_join_lines(output.get("traceback")))
        _leave_out(left_out, "tracebacks", traceback)
        return f"{output.get('ename', '')}: {output.get('evalue', '')}\n", True
    data = _dict(output.get("data")) or {_OLD.get(key, key): output[key] for key in output}
    forms = [_form(kind, _join(data.get(kind)), left_out) for kind in _FORMS]
    for kind in _NO_TEXT:
        _leave_out(left_out, "outputs that are no text", _join(data.get(kind))[:_MAX_LEFT_OUT])
    taken = best_form(forms)
    for at, form in enumerate(forms):
        if at != taken:
            _leave_out(left_out, "alternative text", only_in(form, forms[taken]))
    text = forms[taken]
    return (text.rstrip("\n") + "\n" if text else "", True) if not taken else (text, False)


def _form(kind: str, text: str, left_out: list[LeftOut]) -> str:
    if kind == "text/html" and text.strip():
        root = parse(text)
        if root is None:
            return ""
        found = extract(root)
        left_out += found.left_out
        return found.text
    # "<Figure size 640x480>" is a placeholder for a picture.
    if kind == "text/plain" and text.startswith("<") and text.rstrip().endswith(">"):
        _leave_out(left_out, "names of objects", text)
        return ""
    return text


def _leave_out(left_out: list[LeftOut], kind: str, text: str) -> None:
    if text.strip():
        left_out.append(LeftOut(kind, text))


def _texts_in(value: object) -> Iterator[str]:
    """All texts in the values of metadata, in order; bounded, and not recursive."""
    stack = [value]
    for _ in range(_MAX_METADATA):
        if not stack:
            return
        found = stack.pop()
        if isinstance(found, dict):
            stack += reversed(found.values())
        elif isinstance(found, list):
            stack += reversed(found)
        elif isinstance(found, str):
            yield found


def _join_lines(value: object) -> str:
    return "\n".join(line for line in _list(value) if isinstance(line, str))


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
