"""JSON Lines and JSON: each record with the names of its fields.

A record is a line of JSON Lines or an item of a JSON list of objects: "title: … | year: 2024", with
longer texts as paragraphs. Other JSON becomes lines "path: value". Numbers keep their notation.
Long lists of numbers (vectors, pixels, coordinates) and encoded data (base64 images) are replaced
by their size. A line that is not JSON is kept unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from retriever.reading.options import PAGE_SECONDS, ReadOptions
from retriever.reading.pages import make_page
from retriever.reading.plain.code import generated_reason
from retriever.reading.plain.text import decode_text
from retriever.reading.tables import rows
from retriever.reading.terminal_output import drop_terminal_codes
from retriever.types import Document, Page, PageState

PART_LINES = 200
MAX_BYTES = 200_000_000
MAX_JSON_BYTES = 50_000_000
"""Bytes of one JSON value; parsed, it takes ten times that in memory."""

_MAX_FIELDS = 100_000  # of one record
_MAX_NUMBERS = 16  # longest list of numbers that is kept
_DATA = re.compile(r"(?:data:[\w/+.;=-]*,)?[A-Za-z0-9+/=_-]{1000,}\s*")


def read_jsonl(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read a JSON Lines file into pages of lines."""
    if len(data) > MAX_BYTES:
        return Document(name, "jsonl", (rows.too_many_rows_page(None, "", f"{len(data):,} bytes"),))
    text = decode_text(data)
    return (
        Document(name, "jsonl", tuple(_line_pages(text, options)))
        if _has_json(text)
        else _plain(text, name, "no line of it is JSON")
    )


def read_json(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read a JSON file: records if it is a list of objects, else paths and values."""
    if len(data) > MAX_JSON_BYTES:
        return Document(name, "json", (rows.too_many_rows_page(None, "", f"{len(data):,} bytes"),))
    made = generated_reason(name, "")  # by its name only: data may be one long line
    if made:
        return Document(name, "json", (Page(None, "", PageState.SKIPPED, made),))
    text = decode_text(data)
    try:
        value = _parse(text)
    except (ValueError, RecursionError) as error:
        if _is_lines(text):
            return Document(name, "jsonl", tuple(_line_pages(text, options)))
        return _plain(text, name, f"not JSON ({_json_error_text(error)})")
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        numbered = ((number, _record(item)) for number, item in enumerate(value, 1))
        return Document(name, "json", tuple(_part_pages(numbered, "items", options)))
    lines = "\n".join(rows.record([field]).strip("\n") for field in _fields(value))
    options.extend_deadline(PAGE_SECONDS)
    return Document(name, "json", (rows.page_of(None, lines, "", ""),))


def _plain(text: str, name: str, why: str) -> Document:
    page = make_page(None, text, "nothing but blanks in it", f"{why}: read as plain text")
    return Document(name, "txt", (page,))


def _parse(text: str) -> Any:
    """Parse a value; numbers keep their notation.

    Raises ValueError, or RecursionError for deep nesting.
    """
    return json.loads(text, parse_int=str, parse_float=str)


def _json_error_text(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:100]


def _has_json(text: str) -> bool:
    """Whether one of the first lines is an object or a list."""
    lines = (line for line in text.split("\n") if line.strip())
    return any(_is_record(line) for line, _ in zip(lines, range(PART_LINES), strict=False))


def _is_lines(text: str) -> bool:
    """Whether each of the first two lines is a record."""
    first = [line for line in text.lstrip()[:1_000_000].split("\n", 3)[:2] if line.strip()]
    return len(first) == 2 and all(map(_is_record, first))


def _is_record(line: str) -> bool:
    if not line.lstrip().startswith(("{", "[")):
        return False
    try:
        return isinstance(_parse(line), dict | list)
    except (ValueError, RecursionError):
        return False


def _line_pages(text: str, options: ReadOptions) -> Iterator[Page]:
    broken: list[int] = []
    yield from _part_pages(_line_records(text, broken), "lines", options, broken)


def _line_records(text: str, broken: list[int]) -> Iterator[tuple[int, str]]:
    """The number and text of each line; numbers of invalid lines are added to `broken`."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = _parse(line)
        except (ValueError, RecursionError):
            broken.append(number)
            yield number, line.strip()
            continue
        yield number, _record(value)


def _part_pages(
    records: Iterable[tuple[int, str]],
    word: str,
    options: ReadOptions,
    broken: list[int] | None = None,
) -> Iterator[Page]:
    numbered = iter(records)
    found: list[rows.Part] = []
    for part in rows.parts(numbered, PART_LINES):
        found.append(part)
        options.extend_deadline(PAGE_SECONDS)
    for part in found:
        label = "" if len(found) == 1 else rows.range_label(word, part.first, part.last)
        bad = [at for at in broken or () if part.first <= at <= part.last]
        yield rows.page_of(None, part.text, label, _note(bad))
    if not found:
        yield rows.page_of(None, "", "", "no record with anything in it")
    elif next(numbered, None) is not None:
        after = f"{word} after {found[-1].last}"
        yield rows.too_many_rows_page(None, after, after)


def _note(broken: list[int]) -> str:
    """The reason that names lines that are not JSON; empty if there are none.

    >>> _note([17]), _note([])
    ('not JSON, kept as it stands: line 17', '')
    """
    if not broken:
        return ""
    shown = ", ".join(map(str, broken[:5])) + (", …" if len(broken) > 5 else "")
    if len(broken) == 1:
        return f"not JSON, kept as it stands: line {shown}"
    return f"not JSON, kept as they stand: {len(broken)} lines ({shown})"


def _record(value: Any) -> str:
    return rows.record(_fields(value))


def _fields(value: Any) -> Iterator[tuple[str, str]]:
    """Pairs (path, text) of a value, in order; bounded and not recursive.

    >>> list(_fields({"a": {"b": "1"}, "tags": ["x", "y"], "items": [{"n": True}], "no": None}))
    [('a.b', '1'), ('tags', 'x, y'), ('items[1].n', 'true')]
    """
    stack: list[tuple[str, Any]] = [("", value)]
    for _ in range(_MAX_FIELDS):
        if not stack:
            return
        path, found = stack.pop()
        if isinstance(found, dict):
            dot = "." if path else ""
            stack += [(f"{path}{dot}{key}", inner) for key, inner in reversed(found.items())]
        elif isinstance(found, list) and not all(_is_plain(item) for item in found):
            numbered = list(enumerate(found, 1))
            stack += [(f"{path}[{at}]", inner) for at, inner in reversed(numbered)]
        else:
            text = _list_text(found) if isinstance(found, list) else _scalar(found)
            if text:
                yield path, text
    yield "", f"[{len(stack):,} more fields]"


def _is_plain(item: Any) -> bool:
    return not isinstance(item, dict | list)


def _list_text(items: list[Any]) -> str:
    texts = [_scalar(item) for item in items]
    if len(items) > _MAX_NUMBERS and sum(map(_is_number, texts)) > 0.9 * len(texts):
        return f"[{len(items):,} numbers]"
    separator = "\n\n" if any(len(text) > 200 for text in texts) else ", "
    return separator.join(filter(None, texts))


def _is_number(text: str) -> bool:
    return text[:1] in tuple("-0123456789") and text.strip("-+0123456789.eE") == ""


def _scalar(value: Any) -> str:
    """A value as text; null is empty."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    text = drop_terminal_codes(str(value))
    if len(text) >= 1000 and _DATA.fullmatch(text):
        return f"[{len(text):,} characters of data]"
    return text
