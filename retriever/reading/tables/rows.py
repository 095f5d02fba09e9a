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
from retriever.types import Page, PageState

PART_ROWS = 500
PART_CHARACTERS = 200_000
"""A part ends after PART_ROWS rows, or with the row that reaches this length."""

MAX_TEXT = 100_000_000
"""Maximum number of characters of one file; a page notes what was cut off."""

_SAMPLE = 50  # rows used to decide whether the first row holds the column names
_MAX_VALUE = 200  # characters; a longer cell is a text
_MAX_NAME = 80  # characters of a column's name
_NUMBER = re.compile(
    r"[-+(]?[$€£¥]? ?\d[\d.,' \u00a0\u202f]*\)?(?:[eE][-+]?\d+)? ?(?:%|[^\W\d]{1,3}|€|$)"
)
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[ T].*)?|\d{1,2}:\d{2}(?::\d{2})?")
_YEAR = re.compile(r"(?:1[89]|20)\d\d")


class TableRow(NamedTuple):
    """A row: its spreadsheet number from 1, and its cells, "" if empty."""

    number: int
    cells: Sequence[str]


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
    names: Sequence[str] = ()
    begin: list[TableRow] = []
    inside = False
    for row in rows:
        filled = any(row.cells)
        if inside and filled:
            yield row.number, _text(names, row)
        elif filled:
            begin.append(row)
            if len(begin) == _SAMPLE:
                names, texts = _format_first_rows(begin, names, min_columns)
                yield from texts
                begin, inside = [], True
        elif begin or inside:
            names, texts = _format_first_rows(begin, names, min_columns) if begin else (names, [])
            yield from texts
            begin, inside = [], False
    yield from _format_first_rows(begin, names, min_columns)[1]


def _format_first_rows(
    rows: list[TableRow], before: Sequence[str], min_columns: int
) -> tuple[Sequence[str], list[tuple[int, str]]]:
    """The column names of a table, and the texts of its first rows.

    `before` holds the names of the previous table, because an empty row may be inside a table.
    """
    width = max((sum(map(bool, row.cells)) for row in rows), default=0)
    at = 0  # rows above the table: title, remarks
    while width > 1 and at < len(rows) - 1 and sum(map(bool, rows[at].cells)) == 1:
        at += 1
    texts = [(row.number, " ".join(filter(None, row.cells))) for row in rows[:at]]
    body = rows[at:]
    names = before
    if len(body) > 1 and is_header(
        body[0].cells, [row.cells for row in body[1:]], min_columns, before
    ):
        names = tuple(" ".join(name.split()).rstrip(":") for name in body[0].cells)
        body = body[1:]
    elif before and not _fits(before, body):
        names = ()
    return names, texts + [(row.number, _text(names, row)) for row in body]


def _fits(names: Sequence[str], rows: list[TableRow]) -> bool:
    """Whether every filled cell is below a name."""
    width = len(names)
    return all(
        not cell or (at < width and names[at]) for row in rows for at, cell in enumerate(row.cells)
    )


def is_header(
    cells: Sequence[str],
    body: Sequence[Sequence[str]],
    min_columns: int = 2,
    before: Sequence[str] = (),
) -> bool:
    """Whether a row holds the names of the columns below it.

    It does if numbers, dates or long texts follow below a word. If all cells are words, the first
    table of a file counts as having names if it has `min_columns` columns.

    >>> is_header(["Name", "Born"], [["Ada", "1815"]]), is_header(["Ada", "1815"], [["Mary", "9"]])
    (True, False)
    """
    columns = [[row[at] for row in body if at < len(row) and row[at]] for at in range(len(cells))]
    named = [(cell, column) for cell, column in zip(cells, columns, strict=True) if cell]
    used = sum(map(bool, columns))
    if len(named) < 2 or len(named) < 0.6 * used or len({cell for cell, _ in named}) < len(named):
        return False
    years = sum(bool(_YEAR.fullmatch(cell)) for cell, _ in named)
    if years == 1 or not all(_is_name(cell, column) for cell, column in named):
        return False
    if any(_is_above_values(cell, column) for cell, column in named):
        return True
    repeated = any(cell in column for cell, column in named)
    return not before and len(named) >= min_columns and not repeated


def _is_name(cell: str, column: Sequence[str]) -> bool:
    """Whether a cell can be a column name: not a number or date, except a year above no years."""
    if len(cell) > _MAX_NAME or "://" in cell:
        return False
    if _YEAR.fullmatch(cell):
        return not any(_YEAR.fullmatch(value) for value in column)
    return any(map(str.isalpha, cell)) and not _is_value(cell)


def _is_above_values(cell: str, column: Sequence[str]) -> bool:
    """Whether the cells below show that a cell is a column name."""
    values = sum(map(_is_value, column))
    if column and values > len(column) / 2:
        return True
    return bool(column) and sum(map(len, column)) > max(30, 3 * len(cell)) * len(column)


def _is_value(cell: str) -> bool:
    """Whether a cell is a number, an amount, a date or a time."""
    return len(cell) < 40 and bool(_NUMBER.fullmatch(cell) or _DATE.fullmatch(cell))


def _text(names: Sequence[str], row: TableRow) -> str:
    names = [*names, *[""] * (len(row.cells) - len(names))]
    return record((name, cell) for name, cell in zip(names, row.cells, strict=False) if cell)


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
        if len(value) > _MAX_VALUE or "\n" in value or "\r" in value:
            text = unify_lines(value).strip()
            whole = len(text) > _MAX_VALUE or "\n\n" in text
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
