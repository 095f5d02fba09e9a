"""Tables as text: each row carries the names of its columns.

A row is written "Name: Ada | Born: 1815", because a passage holds a few rows and not the header
above them. Empty cells are omitted. A table without recognisable column names is written "Ada |
1815". A row with long texts becomes a block: its short cells in one line, each text in a paragraph.

Readers pass rows of text and get parts of some hundred rows. Tables are not tested for garbled
text, because they may hold codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from retriever.reading.pages import MAX_CHARACTERS, drop_controls, too_long_page, unify_lines
from retriever.reading.tables.columns import (
    MAX_NAME,
    Columns,
    TableRow,
    header_depth,
    joined_names,
    split_titles,
)
from retriever.types import Page, PageState

PART_ROWS = 500
PART_CHARACTERS = 200_000
"""A part ends after PART_ROWS rows, or with the row that reaches this length."""

MAX_TEXT = 100_000_000
"""Maximum number of characters of one file; a page notes what was cut off."""

_SAMPLE = 50  # rows used to decide whether the first row holds the column names
MAX_VALUE = 200  # characters; a longer cell is a text


class Part(NamedTuple):
    """Some rows as text, from row `first` to row `last`."""

    first: int
    last: int
    text: str


def format_rows(rows: Iterable[TableRow], min_columns: int = 2) -> Iterator[tuple[int, str]]:
    """Format rows: the number and text of each, in order. Empty rows separate tables.

    In a table of words only, the first row counts as column names if the table has at least
    `min_columns` columns: a form of two columns holds questions and answers.

    >>> rows = [TableRow(1, ["Name", "Born"]), TableRow(2, ["Ada", "1815"])]
    >>> [text for _, text in format_rows([*rows, TableRow(3, ["Mary", ""])])]
    ['Name: Ada | Born: 1815', 'Name: Mary']
    """
    columns = Columns()
    begin: list[TableRow] = []
    inside = False
    for row in rows:
        filled = any(row.cells)
        ends = not filled or bool(row.header and not all(one.header for one in begin))
        if (begin and ends) or len(begin) == _SAMPLE:
            columns, texts = _format_first_rows(begin, columns, min_columns)
            yield from texts
            begin, inside = [], not ends
        elif not filled or row.header:
            inside = False
        if inside:
            columns.add(row)
            yield row.number, _text(columns.names, row)
        elif filled:
            begin.append(row)
    yield from _format_first_rows(begin, columns, min_columns)[1]


def _format_first_rows(
    rows: list[TableRow], before: Columns, min_columns: int
) -> tuple[Columns, list[tuple[int, str]]]:
    """The columns of a table, and the texts of its first rows.

    `before` holds the columns of the previous table, because an empty row may be inside a table.
    """
    titles, body = split_titles(rows)
    texts = [(row.number, " ".join(filter(None, row.cells))) for row in titles]
    depth = header_depth(body, min_columns, seen=before.seen)
    if not depth and len(body) > 1 and before.names and joined_names(body[:1]) == before.names:
        depth = 1  # the next table has the same columns
    if depth:
        header, body = body[:depth], body[depth:]
        names, unused = _split_names(joined_names(header), body)
        columns = Columns(names)
        texts += [(header[0].number, " | ".join(unused))] if unused else []
    elif body and before.continued_by(body):
        columns = before
    else:
        columns = Columns(seen=before.seen)
    for row in body:
        columns.add(row)
    return columns, texts + [(row.number, _text(columns.names, row)) for row in body]


def _split_names(names: list[str], body: list[TableRow]) -> tuple[list[str], list[str]]:
    """The names to write before values, and those to write once: too long, or above no value."""
    filled = {at for row in body if not _is_across(row) for at in row.own}
    short = [name if len(name) <= 2 * MAX_NAME else "" for name in names]
    once = [name for at, name in enumerate(names) if name and not (short[at] and at in filled)]
    return short, [name for name in dict.fromkeys(once) if name not in _used(short, filled)]


def _used(names: list[str], filled: set[int]) -> set[str]:
    return {name for at, name in enumerate(names) if at in filled}


def _text(names: Sequence[str], row: TableRow) -> str:
    """A row with the names of its columns; empty if all its text is repeated from above."""
    own = row.own
    if not own:
        return ""
    if _is_across(row):
        return record([("", row.cells[own[0]])])
    names = [*names, *[""] * (len(row.cells) - len(names))]
    return record((name, cell) for name, cell in zip(names, row.cells, strict=False) if cell)


def _is_across(row: TableRow) -> bool:
    """Whether the only text of a row is that of a cell over several columns."""
    filled = [at for at, cell in enumerate(row.cells) if cell]
    return len(filled) == 1 and filled[0] + 1 in row.joined and filled == row.own


def record(fields: Iterable[tuple[str, str]]) -> str:
    r"""Format names and values: one line, or a block of paragraphs if values are long texts.

    >>> record([("Name", "Ada"), ("Born", "1815"), ("", "x")])
    'Name: Ada | Born: 1815 | x'
    >>> record([("id", "7"), ("text", "One line.\n\nTwo.")])
    '\nid: 7\n\ntext: One line.\n\nTwo.\n'
    """
    short: list[str] = []
    long: list[str] = []
    for name, value in fields:
        if len(value) > MAX_VALUE or "\n" in value or "\r" in value:
            text = unify_lines(value).strip()
            whole = len(text) > MAX_VALUE or "\n\n" in text
            text = text if whole else " ".join(text.split())
        else:
            text, whole = value, False
        if text:
            (long if whole else short).append(f"{name}: {text}" if name else text)
    line = " | ".join(short)
    if not long:
        return line
    return "\n" + "\n\n".join([line, *long] if line else long) + "\n"


def parts(texts: Iterable[tuple[int, str]], rows: int = PART_ROWS) -> Iterator[Part]:
    """Group rows into parts; stops after MAX_TEXT characters."""
    held: list[str] = []
    first = last = size = total = 0
    for number, text in texts:
        if not text:
            continue
        first = first if held else number
        held.append(text)
        last, size = number, size + len(text) + 1
        if len(held) >= rows or size >= PART_CHARACTERS:
            yield Part(first, last, "\n".join(held))
            total += size
            held, size = [], 0
            if total >= MAX_TEXT:
                return
    if held:
        yield Part(first, last, "\n".join(held))


def page_of(number: int | None, text: str, label: str, reason: str = "") -> Page:
    """The page for a part of a table: TEXT, EMPTY or TOO_LONG."""
    if len(text) > MAX_CHARACTERS:
        return replace(too_long_page(number, f"{len(text):,} characters"), label=label)
    clean = re.sub("\n{3,}", "\n\n", drop_controls(unify_lines(text)).strip("\n"))
    if not clean.strip():
        return Page(number, "", PageState.EMPTY, reason or "no text in it", label)
    return Page(number, clean, PageState.TEXT, reason, label)


def too_many_rows_page(number: int | None, label: str, what: str) -> Page:
    """A page for rows beyond the limit."""
    reason = f"{what}: more than is read of one file; split it"
    return Page(number, "", PageState.TOO_LONG, reason, label)


def range_label(word: str, first: int, last: int) -> str:
    """The label of a part.

    >>> range_label("rows", 1, 500), range_label("lines", 7, 7)
    ('rows 1–500', 'line 7')
    """
    return f"{word} {first}–{last}" if last > first else f"{word.removesuffix('s')} {first}"
