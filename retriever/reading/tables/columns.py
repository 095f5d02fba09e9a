"""The names of columns: whether the first rows of a table hold them, and how many rows do.

A reader may know the answer (`TableRow.header`); otherwise the cells decide. Names are never
guessed across tables: values under wrong names are worse than values without names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

MAX_NAME = 80
"""Maximum length of a column's name, in characters."""

_MAX_HEADER_ROWS = 3
_ALIKE = 0.8  # of the cells of a column
_MAX_KNOWN = 1_000  # rows of a table whose values are remembered
_NUMBER = re.compile(
    r"[-+(]?[$€£¥]? ?\d[\d.,' \u00a0\u202f]*\)?(?:[eE][-+]?\d+)? ?(?:%|[^\W\d]{1,3}|€|$)"
)
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[ T].*)?|\d{1,2}:\d{2}(?::\d{2})?")
_YEAR = re.compile(r"(?:1[89]|20)\d\d")
_SIGNS = frozenset(["#", "№", "%", "€", "$", "£", "°", "±", "+/-"])  # names without a letter
_COMMENT = re.compile(r"(?:#+|//+|;+|%+)(?:\s|$|[^\W\d])")


class TableRow(NamedTuple):
    """A row: its spreadsheet number from 1, and its cells, "" if empty.

    - `repeated`: columns whose cell continues a merged cell of the row above, and repeats its text.
    - `joined`: columns that belong to a merged cell further left; their cells are empty.
    - `header`: whether the row holds names of columns, None if the reader does not know.
    """

    number: int
    cells: Sequence[str]
    repeated: frozenset[int] = frozenset()
    joined: frozenset[int] = frozenset()
    header: bool | None = None

    @property
    def own(self) -> list[int]:
        """The columns with text of their own, not repeated from the row above."""
        return [at for at, cell in enumerate(self.cells) if cell and at not in self.repeated]


class Columns:
    """The columns of a table: their names, and the values seen below them."""

    def __init__(self, names: Sequence[str] = (), *, seen: bool = False) -> None:
        self.names = names
        self.seen = seen or bool(names)
        """Whether this table or one above it has names."""
        self._values: list[set[str]] = [set() for _ in names]
        self._filled = [0] * len(names)
        self._numbers = [0] * len(names)
        self._left = _MAX_KNOWN

    def add(self, row: TableRow) -> None:
        """Remember the values of a row."""
        if not self._left or not self.names:
            return
        self._left -= 1
        for at, cell in enumerate(row.cells[: len(self.names)]):
            if cell:
                self._values[at].add(cell)
                self._filled[at] += 1
                self._numbers[at] += is_value(cell)

    def continued_by(self, rows: Sequence[TableRow]) -> bool:
        """Whether rows after an empty row belong to this table, by the kinds of their values."""
        if not self.names or not all(self._fits(row) for row in rows):
            return False
        numeric = [at for at, count in enumerate(self._numbers) if 2 * count > self._filled[at]]
        first = [is_value(cell) for cell in _at(rows[0], numeric)]
        if any(first):
            return True
        known = any(
            cell in values
            for row in rows
            for cell, values in zip(row.cells, self._values, strict=False)
            if cell
        )
        below = (is_value(cell) for row in rows[1:] for cell in _at(row, numeric))
        return known or (not first and any(below))

    def _fits(self, row: TableRow) -> bool:
        """Whether every filled cell is below a name."""
        width = len(self.names)
        return all(
            not cell or (at < width and bool(self.names[at])) for at, cell in enumerate(row.cells)
        )


def _at(row: TableRow, columns: Sequence[int]) -> list[str]:
    """The filled cells of some columns."""
    return [row.cells[at] for at in columns if at < len(row.cells) and row.cells[at]]


def split_titles(rows: list[TableRow]) -> tuple[list[TableRow], list[TableRow]]:
    """Split off the rows above a table: titles of one cell, remarks, and comment lines."""
    width = max((sum(map(bool, row.cells)) for row in rows), default=0)
    at = _count_comments(rows)
    if at and comment_names(_uncommented(rows[at - 1]), rows[at:]):
        rest = [_uncommented(rows[at - 1]), *rows[at:]]
        return rows[: at - 1], rest
    while width > 1 and at < len(rows) - 1 and _is_title(*rows[at : at + 3]):
        at += 1
    return rows[:at], rows[at:]


def _is_title(row: TableRow, below: TableRow, third: TableRow | None = None) -> bool:
    if row.header or sum(map(bool, row.cells)) != 1:
        return False
    if not row.joined or row.cells[0] or third is None:
        return True
    # A merged cell right of an empty corner is the name of a group of columns.
    corner = not any(below.cells[:1]) and any(third.cells[:1])
    return not (corner and row.joined <= set(below.own))


def _count_comments(rows: Sequence[TableRow]) -> int:
    """The number of comment lines ("# exported by …") at the top; 0 if all rows are."""
    for count, row in enumerate(rows):
        if row.header is not None or not row.cells or not _COMMENT.match(row.cells[0]):
            return count
    return 0


def _uncommented(row: TableRow) -> TableRow:
    first, *rest = row.cells
    return row._replace(cells=[first.lstrip("#").strip() or first, *rest])


def comment_names(row: TableRow, below: Sequence[TableRow]) -> bool:
    """Whether a comment line holds the names of the columns ("#id,name"): no row below does."""
    cells = [one.cells for one in below]
    if len([cell for cell in row.cells if cell]) < max(len(row.cells) for row in below):
        return False
    return is_header(row.cells, cells) and not is_header(cells[0], cells[1:])


def header_depth(rows: Sequence[TableRow], min_columns: int, *, seen: bool = False) -> int:
    """The number of rows at the top that hold the names of the columns.

    `seen` says that a table above has names: then words above words are no proof of names.
    """
    if not rows or rows[0].header is False:
        return 0
    if rows[0].header:
        marked = next((at for at, row in enumerate(rows) if not row.header), len(rows))
        return marked if marked < len(rows) else 0
    for depth in range(min(_MAX_HEADER_ROWS, len(rows) - 1), 1, -1):
        if _has_levels(rows, depth):
            return depth
    if len(rows) < 2:
        return 0
    body = [row.cells for row in rows[1:]]
    return int(is_header(rows[0].cells, body, min_columns, ("",) if seen else ()))


def _has_levels(rows: Sequence[TableRow], depth: int) -> bool:
    """Whether the first rows are a header of several levels, proved by the values below it."""
    upper = rows[:depth]
    names = joined_names(upper)
    body = [row.cells for row in rows[depth:]]
    below = [[row[at] for row in body if at < len(row)] for at in range(len(names))]
    if any(
        cell and not _is_name(cell, ())
        for row in upper
        for cell in (row.cells[at] for at in row.own)
    ):
        return False
    if not all(_is_level(above, row) for above, row in pairwise(upper)):
        return False
    if not all(map(bool, names[_has_corner(names, body) : len(below)])):
        return False
    shape = depth == 2 and len(body) > 1 and len(set(names)) == len(names) > 2
    return is_header(names, body, proved=True) or (shape and _is_below_groups(*upper))


def _has_corner(names: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether the first column has no name, but names the rows."""
    return len(names) > 2 and not names[0] and bool(body) and all(row and row[0] for row in body)


def _is_level(above: TableRow, row: TableRow) -> bool:
    """Whether the names of `above` are those of groups of columns of `row`."""
    if not row.own:
        return False
    if above.joined or row.repeated:
        return not above.joined or any(at in above.joined for at in row.own)
    own = [above.cells[at] for at in above.own]
    if len(set(own)) < len(own) == len(row.own):
        return True  # each group's name stands above all of its columns
    # Without merged cells: each group's name stands above its first column, the others are empty.
    gaps = [at for at in row.own if at >= len(above.cells) or not above.cells[at]]
    return bool(above.own) and any(at > above.own[0] for at in gaps) and len(row.own) > 2


def _is_below_groups(above: TableRow, row: TableRow) -> bool:
    """Whether a row has cells below the merged cells of the row above it, and only there."""
    groups = {at + shift for at in above.joined for shift in (-1, 0)}
    return bool(groups) and set(row.own) == groups and set(above.own) != groups


def joined_names(rows: Sequence[TableRow]) -> list[str]:
    """The name of each column by all rows of a header, the outer one first.

    >>> upper = TableRow(1, ["Town", "Q1", ""], joined=frozenset([2]))
    >>> joined_names([upper, TableRow(2, ["", "plan", "actual"])])
    ['Town', 'Q1 plan', 'Q1 actual']
    """
    width = max((len(row.cells) for row in rows), default=0)
    levels = [_spread(row, width, last=row is rows[-1]) for row in rows]
    return [_joined([level[at] for level in levels]) for at in range(width)]


def _spread(row: TableRow, width: int, *, last: bool) -> list[str]:
    """The cells of a header row, with merged cells (above the last row: any gap) filled."""
    found: list[str] = []
    for at in range(width):
        cell = " ".join(row.cells[at].split()).rstrip(":") if at < len(row.cells) else ""
        gap = at in row.joined or (not last and not row.joined)
        found.append(cell or (found[-1] if found and gap else ""))
    return found


def _joined(names: Sequence[str]) -> str:
    return " ".join(dict.fromkeys(filter(None, names)))


def is_header(
    cells: Sequence[str],
    body: Sequence[Sequence[str]],
    min_columns: int = 2,
    before: Sequence[str] = (),
    *,
    proved: bool = False,
) -> bool:
    """Whether a row holds the names of the columns below it.

    It does if numbers, dates or long texts follow below a word. If all cells are words, the first
    table of a file counts as having names if it has `min_columns` columns, unless it must be
    `proved`.

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
    if len(named) == 2 and cells[0].endswith(":") and all(v.endswith(":") for v in columns[0]):
        return False  # "Name:", "Town:" … label the rows
    alike = len(named) > 2 or all(_are_alike(column) for _, column in named)
    if alike and any(_is_above_values(cell, column) for cell, column in named):
        return True
    repeated = any(cell in column for cell, column in named)
    if not cells[0] and len(named) == len(cells) - 1 and len(columns[0]) == len(body) > 1:
        return not repeated  # an empty corner: the first column names the rows
    return not proved and not before and len(named) >= min_columns and not repeated


def _is_name(cell: str, column: Sequence[str]) -> bool:
    """Whether a cell can be a column name: not a number or date, except a year above no years."""
    if len(cell) > MAX_NAME or "://" in cell:
        return False
    if _YEAR.fullmatch(cell):
        return not any(_YEAR.fullmatch(value) for value in column)
    return cell in _SIGNS or (any(map(str.isalpha, cell)) and not is_value(cell))


def _is_above_values(cell: str, column: Sequence[str]) -> bool:
    """Whether the cells below show that a cell is a column name."""
    values = sum(map(is_value, column))
    if column and values > len(column) / 2:
        return True
    return bool(column) and sum(map(len, column)) > max(30, 3 * len(cell)) * len(column)


def _are_alike(column: Sequence[str]) -> bool:
    """Whether most cells are of one kind; below the first value of a data sheet they differ.

    >>> _are_alike(["5 kg", "7 kg"]), _are_alike(["5 kg", "2024-03-07", "Rome"])
    (True, False)
    """
    kinds = Counter(_kind(cell) for cell in column if any(map(str.isalnum, cell)))
    return max(kinds.values(), default=0) >= _ALIKE * kinds.total()


def _kind(cell: str) -> str:
    """The kind of a cell: text, date, time, or number with its unit."""
    if not is_value(cell):
        return "text"
    if _DATE.fullmatch(cell):
        return "time" if cell[:3].find(":") > 0 else "date"
    return "number " + "".join(sign for sign in cell if sign.isalpha() or sign in "%€$£¥")


def is_value(cell: str) -> bool:
    """Whether a cell is a number, an amount, a date or a time."""
    return len(cell) < 40 and bool(_NUMBER.fullmatch(cell) or _DATE.fullmatch(cell))
