"""Tables of documents: cells that may span rows and columns, as lines of text.

A reader passes the rows as the format states them: each row lists its own cells from the left, and
leaves out the places that a cell of an earlier row reaches into, as HTML does.

>>> table = [[Cell("Town", is_header=True), Cell("Desk", is_header=True)]]
>>> table += [[Cell("Narvik", rows=2), Cell("Visas")], [Cell("Customs")], [Cell(""), Cell("All")]]
>>> grid_lines(table)
['Town: Narvik | Desk: Visas', 'Town: Narvik | Desk: Customs', 'Desk: All']
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from retriever.reading.tables.columns import TableRow
from retriever.reading.tables.rows import MAX_VALUE, format_rows

_MAX_COLUMNS = 1_000  # of one cell: HTML's own limit
_MAX_PLACES = 500_000  # of one table; further spans are ignored
_MAX_REPEATED = 1_000_000  # characters of one table that are repeated in rows below


class Cell(NamedTuple):
    """A cell: its text, how many rows and columns it spans, and whether it names a column."""

    text: str
    rows: int = 1
    columns: int = 1
    is_header: bool = False


class Span(NamedTuple):
    """A merged cell of a sheet: its column from 0, its columns, and its last row."""

    column: int
    columns: int
    last_row: int


class MergedCells:
    """Marks the merged cells of a sheet's rows, and repeats their texts downwards, row by row."""

    def __init__(self) -> None:
        self._below: list[tuple[Span, str]] = []
        self._left = _MAX_REPEATED

    def row(self, row: TableRow, begins: Sequence[Span]) -> TableRow:
        """The next row, in which the spans `begins` begin."""
        self._below = [one for one in self._below if one[0].last_row >= row.number]
        if not self._below and not begins:
            return row
        cells = list(row.cells)
        repeated: set[int] = set()
        joined: set[int] = set()
        for (at, columns, _), text in [*self._below, *((one, "") for one in begins)]:
            joined.update(range(at + 1, at + min(columns, _MAX_COLUMNS)))
            if text and len(text) <= self._left and not (at < len(cells) and cells[at]):
                cells += [""] * (at + 1 - len(cells))
                cells[at] = text
                repeated.add(at)
                self._left -= len(text)
        for one in begins:
            if one.last_row > row.number and one.column < len(cells):
                self._below.append((one, _repeated_text(cells[one.column])))
        return row._replace(cells=cells, repeated=frozenset(repeated), joined=frozenset(joined))


def _repeated_text(text: str) -> str:
    """The text of a merged cell in the rows below; a long one is found by its own row."""
    return text if len(text) <= MAX_VALUE else ""


class _Merged(NamedTuple):
    """A cell that reaches into further rows."""

    column: int
    columns: int
    left: int  # rows below that it reaches into
    text: str


def grid_lines(
    table: Sequence[Sequence[Cell]], header_rows: int | None = None, min_columns: int = 3
) -> list[str]:
    """The lines of a table: "Name: Ada | Born: 1815", rows without text left out.

    `header_rows` is the number of rows at the top with names of columns, None if it is not known:
    then rows of cells that are headers name the columns, or else the cells decide (in a table of
    words only, those of `min_columns` columns). A text that spans rows is repeated in each of them,
    the name of a group of columns is put before the name of each ("Q1 plan: 10"). A row with long
    texts is a block of several paragraphs, with blank lines around it.
    """
    rows = grid_rows(table, header_rows)
    return [text for _, text in format_rows(rows, min_columns) if text]


def grid_rows(table: Sequence[Sequence[Cell]], header_rows: int | None = None) -> list[TableRow]:
    """The rows of a table, each cell at its column, merged cells marked."""
    return list(_rows(table, header_rows))


def _rows(table: Sequence[Sequence[Cell]], header_rows: int | None) -> Iterator[TableRow]:
    merged: list[_Merged] = []
    places = repeated = 0
    for at, row in enumerate(table):
        if places > _MAX_PLACES or repeated > _MAX_REPEATED:
            merged = []
        line = _Line(merged)
        for cell in row:
            line.put(cell, len(table) - at - 1 if places <= _MAX_PLACES else 0)
        places += len(line.cells)
        repeated += sum(len(line.cells[column]) for column in line.repeated)
        merged = sorted(line.merged)
        header = at < header_rows if header_rows is not None else line.is_header()
        yield TableRow(at + 1, line.cells, frozenset(line.repeated), frozenset(line.joined), header)


class _Line:
    """One row while its cells are put to their columns."""

    def __init__(self, above: Sequence[_Merged]) -> None:
        self.cells: list[str] = []
        self.repeated: set[int] = set()
        self.joined: set[int] = set()
        self.merged: list[_Merged] = []
        self._headers: list[bool] = []  # of the filled cells
        self._first = -1  # the column of the first filled cell
        self._taken: set[int] = set()
        self._at = 0
        for one in above:
            self._write(one.column, one.columns, one.text)
            if one.text:
                self.repeated.add(one.column)
            if one.left > 1:
                self.merged.append(one._replace(left=one.left - 1))

    def put(self, cell: Cell, rows_below: int) -> None:
        """Put a cell to the next free column."""
        while self._at in self._taken:
            self._at += 1
        column, columns = self._at, min(max(cell.columns, 1), _MAX_COLUMNS)
        if cell.text:
            self._first = column if self._first < 0 else self._first
            self._headers.append(cell.is_header)
        self._write(column, columns, cell.text)
        below = min(cell.rows - 1, rows_below)
        if below > 0:
            self.merged.append(_Merged(column, columns, below, _repeated_text(cell.text)))

    def is_header(self) -> bool | None:
        """Whether its cells name columns; None if the cells do not say so."""
        alone = len(self._headers) == 1 and self._first == 0
        return True if self._headers and all(self._headers) and not alone else None

    def _write(self, column: int, columns: int, text: str) -> None:
        missing = column + columns - len(self.cells)
        self.cells += [""] * missing
        self.cells[column] = text
        self._taken.update(range(column, column + columns))
        self.joined.update(range(column + 1, column + columns))
