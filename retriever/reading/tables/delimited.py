"""Delimited tables in text files: CSV and its variants, with any delimiter.

The delimiter is the one that splits the first lines into equally many cells. The file's ending only
breaks ties, because many ".csv" files use semicolons or tabs. A file that no delimiter splits
evenly is prose with commas, and is read as text.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice, takewhile
from pathlib import PurePosixPath
from typing import NamedTuple

from retriever.reading.options import PAGE_SECONDS, ReadOptions
from retriever.reading.pages import make_page
from retriever.reading.plain.text import decode_text
from retriever.reading.tables import rows
from retriever.reading.tables.columns import TableRow, comment_names
from retriever.types import Document, Page

MAX_BYTES = 200_000_000
"""The largest file that is read; decoded, it takes up to four times its size in memory."""

_DELIMITERS = ",;\t|"
_SAMPLE = 100  # rows used to detect the delimiter
_MIN_EVENNESS = 0.8  # share of rows that must have equally many cells
_BACKSLASHES = re.compile(r'\\(["\\])')
_COMMENT = re.compile(r"#|//|%|;[^;]*$")  # a line above the table that is no row of it


class Shape(NamedTuple):
    r"""The format of a table; without `quoted`, quotation marks are ordinary characters.

    With `escaped`, a quotation mark inside a cell is written `\"`, otherwise `""`.
    """

    delimiter: str
    quoted: bool = True
    escaped: bool = False


def read_table(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read a CSV or TSV file into pages of rows; pages of text if it is not a table."""
    if len(data) > MAX_BYTES:
        page = rows.too_many_rows_page(None, "", f"{len(data):,} bytes")
        return Document(name, "csv", (page,))
    # A cell may hold a whole document. The limit is global, so it is restored afterwards.
    before = csv.field_size_limit(rows.MAX_TEXT)
    try:
        return _document(decode_text(data), name, options)
    finally:
        csv.field_size_limit(before)


def _document(text: str, name: str, options: ReadOptions) -> Document:
    text, given = _without_hint(text)
    tabs = PurePosixPath(name).suffix.lower() in (".tsv", ".tab")
    shape = Shape(given) if given else shape_of(text, "\t" if tabs else ",")
    if shape is None:
        note = "no columns in it: read as plain text"
        page = make_page(None, text, "nothing but blanks in it", note)
        return Document(name, "txt", (page,))
    return Document(name, "csv", tuple(_pages(text, shape, options)))


def _without_hint(text: str) -> tuple[str, str]:
    """Split off the "sep=" line that Excel writes, and return its delimiter."""
    first, _, rest = text.partition("\n")
    hint = first.strip().lower()
    if hint.startswith("sep=") and len(hint) == len("sep=;"):
        return rest, hint[-1]
    return text, ""


def shape_of(text: str, expected: str = ",") -> Shape | None:
    r"""The format of the table, or None if the text is not a table.

    `expected` wins between two delimiters that fit equally well.

    >>> shape_of("a;b\n1,5;2\n"), shape_of("Dear Sir, I\nwrite, as, you\nsee.\n")
    (Shape(delimiter=';', quoted=True, escaped=False), None)
    """
    text = text[_count_comments(text)[1] :]
    sample = text[:1_000_000]
    best: tuple[float, bool, int, int, bool] | None = None
    found: Shape | None = None
    for shape in _shapes(text):
        even, titles, cells = _evenness(sample, shape)
        score = (even, _is_strict(sample, shape), -titles, cells, shape.delimiter == expected)
        if cells > 1 and even >= _MIN_EVENNESS and (best is None or score > best):
            best, found = score, shape
    return found


def _shapes(text: str) -> Iterator[Shape]:
    for delimiter in _DELIMITERS:
        for escaped in _escapes(text, delimiter):
            shape = Shape(delimiter, quoted=True, escaped=escaped)
            yield shape._replace(quoted=False) if _never_closed(text, shape) else shape


def _escapes(text: str, delimiter: str) -> tuple[bool, ...]:
    r"""Whether `\"` may be a quotation mark inside a cell; the likelier answer first.

    Before the end of a cell it is likelier a backslash at its end ("C:\Logs\").
    """
    begin = text[:1_000_000]
    if '\\"' not in begin:
        return (False,)
    inside = re.search(rf'\\"(?!{re.escape(delimiter)}|\r?\n|$)', begin)
    return (True, False) if inside else (False, True)


def _count_comments(text: str) -> tuple[int, int]:
    r"""The number of comment lines above a table, and where they end; 0 if all lines are such.

    >>> _count_comments("# made by hand\n\ntime,height\n1,2\n"), _count_comments("a,b\n1,2\n")
    ((1, 15), (0, 0))
    """
    count = at = 0
    while _COMMENT.match(text, at, text.find("\n", at)):
        at = text.find("\n", at) + 1
        count += 1
    return (count, at) if text[at:].strip() else (0, 0)


def _is_strict(text: str, shape: Shape) -> bool:
    """Whether every quoted cell ends where its quotation mark closes."""
    try:
        deque(islice(_cells(text, shape, strict=True), 10 * _SAMPLE), maxlen=0)
    except csv.Error as error:
        return "unexpected end" in str(error)  # the sample ends within a cell
    return True


def _evenness(text: str, shape: Shape) -> tuple[float, int, int]:
    """The share of rows with the most frequent number of cells, and that number.

    Single-cell rows at the top may be titles above the table and do not count. They may also be
    column names split by the wrong delimiter ("Size;Price" above "1,5;2,5"), so fewer of them are
    better.
    """
    widths = [len(row) for row in islice(_cells(text, shape), _SAMPLE) if row]
    titles = next((at for at, width in enumerate(widths[:-1]) if width > 1), 0)
    widths = widths[titles:]
    if len(widths) < 2:
        return 0.0, 0, 0
    width, count = Counter(widths).most_common(1)[0]
    return count / len(widths), titles, width


def _never_closed(text: str, shape: Shape) -> bool:
    """Whether a quotation mark is never closed, so one cell takes all rows after it."""
    if '"' not in text:
        return False
    try:
        deque(_cells(text, shape, strict=True), maxlen=0)
    except csv.Error as error:
        if "unexpected end" in str(error):
            return True
        # Other faults end the strict reading too early to tell: an odd mark and a last cell of
        # several lines do instead.
        tail = deque(_cells(text, shape), maxlen=1)
        return text.count('"') % 2 == 1 and any(
            "\n" in cell.strip() for row in tail for cell in row
        )
    return False


def _cells(text: str, shape: Shape, *, strict: bool = False) -> Iterator[list[str]]:
    """The rows of a table as lists of cells, by the csv module."""
    reader = csv.reader(
        io.StringIO(_BACKSLASHES.sub(_unescaped, text) if shape.escaped else text, newline=""),
        delimiter=shape.delimiter,
        quoting=csv.QUOTE_MINIMAL if shape.quoted else csv.QUOTE_NONE,
        skipinitialspace=shape.delimiter != "\t",
        strict=strict,
    )
    return iter(reader)


def _unescaped(match: re.Match[str]) -> str:
    """An escaped mark as the csv module expects it; other backslashes are text."""
    return '""' if match[1] == '"' else "\\"


def _rows(text: str, shape: Shape) -> Iterator[TableRow]:
    """The rows of a table; comment lines above it are rows of one cell."""
    count, end = _count_comments(text)
    lines = text[:end].split("\n")[:count]
    if count and _names_columns(lines[-1], text[end:], shape):
        count, end = count - 1, end - len(lines[-1]) - 1
    for number, line in enumerate(lines[:count], 1):
        yield TableRow(number, [line.strip()])
    for number, row in enumerate(_cells(text[end:], shape), count + 1):
        yield TableRow(number, [cell.strip() for cell in row])


def _names_columns(line: str, text: str, shape: Shape) -> bool:
    """Whether a comment line holds the names of the columns below it ("#id,name")."""
    cells = islice(_cells(text[:1_000_000], shape), _SAMPLE)
    below = list(takewhile(any, cells))
    names = next(_cells(line, shape), [])
    return bool(below) and comment_names(TableRow(0, names), [TableRow(0, row) for row in below])


def _pages(text: str, shape: Shape, options: ReadOptions) -> Iterator[Page]:
    table = _rows(text, shape)
    note = "" if shape.quoted else "a quotation mark is never closed: all of them are kept as text"
    found: list[rows.Part] = []
    for part in rows.parts(rows.format_rows(table)):
        found.append(part)
        options.extend_deadline(PAGE_SECONDS)
    whole = len(found) == 1
    for part in found:
        label = "" if whole else rows.range_label("rows", part.first, part.last)
        yield rows.page_of(None, part.text, label, note)
    if not found:
        yield rows.page_of(None, "", "", "no row with anything in it")
    elif next(table, None) is not None:
        after = f"rows after {found[-1].last}"
        yield rows.too_many_rows_page(None, after, after)
