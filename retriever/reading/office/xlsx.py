"""Excel workbooks: each sheet a part, its rows with the names of their columns.

New workbooks (.xlsx, .xlsm) are read with openpyxl, row by row. It gives number formats (0.125 is
"12.5%" if the sheet shows that) and allocates nothing for empty cells. python-calamine is ten times
as fast, but allocates every cell between the first and the last: one cell in the last corner
exhausts the memory. Old workbooks (.xls), whose sheets are small, are read with calamine.

Formulas give their stored results. Hidden sheets are read and marked. The comments of a sheet, its
text boxes, its headers and footers, and embedded files are parts of their own (`xlsx_parts`).
Errors such as #N/A are left out, and the data of charts, which are in the cells.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from retriever.reading import archives, extras
from retriever.reading.facts import package_facts
from retriever.reading.office import package, passwords
from retriever.reading.office.number_formats import shown_moment, shown_number
from retriever.reading.office.package import Package
from retriever.reading.office.xlsx_parts import Parts, read_layout
from retriever.reading.options import PAGE_SECONDS, ReadOptions
from retriever.reading.pages import error_text
from retriever.reading.tables import rows
from retriever.reading.tables.columns import TableRow
from retriever.types import Document, LeftOut, Page, PageState, ReadError

MAX_CELLS = 20_000_000
"""Maximum number of cells of a workbook, with empty cells between filled ones."""

MAX_CHARACTERS = rows.MAX_TEXT // 2

_DESCRIPTION = "an Excel workbook"
_MAX_SHEETS = 2_000
_MAX_ROW = 1_048_576  # Excel's own limit
_MAX_ERRORS = 1_000  # that are told
_SHEETS = "xl/worksheets/"
_ERRORS = frozenset(
    ["#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!", "#SPILL!", "#CALC!"]
)
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")  # a character that XML cannot hold


@dataclass(slots=True)
class _Budget:
    """What may still be read, shared by all sheets, and the errors that were seen in cells."""

    cells: int
    characters: int = MAX_CHARACTERS
    spent: bool = False
    errors: list[str] = field(default_factory=list)

    def walk(self, cells: int) -> bool:
        """Take a row of `cells` cells from the budget; False if it is used up."""
        self.cells -= cells + 1
        self.spent = self.spent or self.cells < 0
        return not self.spent


def read_xlsx(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read an XLSX or XLSM file."""
    large = archives.too_large_reason(data, _DESCRIPTION, streamed=_SHEETS)
    if large:
        return Document(name, "xlsx", (rows.too_many_rows_page(None, "", large),))
    data = package.usual(data)
    openpyxl: Any = extras.load("openpyxl", "office", "Excel workbooks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl warns about every unknown extension
        try:
            book = openpyxl.load_workbook(
                io.BytesIO(data), read_only=True, data_only=True, keep_links=False
            )
        except Exception as error:  # noqa: BLE001 - damage shows in many ways, all mean the same
            raise ReadError(archives.broken_reason(error, _DESCRIPTION)) from None
        try:
            budget = _Budget(MAX_CELLS)
            parts = Parts(Package(data))
            pages = [
                *_sheet_pages(data, book, parts, budget, options),
                *parts.pages(),
                *parts.embedded(options),
            ]
            left = [*parts.left_out, *_errors(budget)]
            pages = pages or [_no_sheets()]
            return Document(name, "xlsx", tuple(pages), left_out=tuple(left), **_facts(book, name))
        finally:
            book.close()


def read_xls(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read an XLS file (Excel until 2003)."""
    calamine: Any = extras.load("python_calamine", "office", "old Excel workbooks")
    try:
        data = passwords.decrypt(data, options.passwords)
    except passwords.LockedError as reason:
        return passwords.encrypted_document(name, "xls", reason)
    budget = _Budget(MAX_CELLS)
    pages: list[Page] = []
    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        for position, sheet in enumerate(book.sheets_metadata[:_MAX_SHEETS], 1):
            hidden = "hidden" in str(sheet.visible).lower()
            table = _old_rows(book.get_sheet_by_index(position - 1), budget)
            pages += _pages(position, sheet.name, table, _note(hidden, 0), options, budget)
    # A panic of the library is a BaseException; other ones are raised again.
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise ReadError(archives.broken_reason(error, "an old Excel workbook")) from None
    return Document(name, "xls", tuple(pages) or (_no_sheets(),), left_out=tuple(_errors(budget)))


def _errors(budget: _Budget) -> Iterator[LeftOut]:
    if budget.errors:
        yield LeftOut("errors in cells", " ".join(budget.errors))


def _no_sheets() -> Page:
    return Page(None, "", PageState.EMPTY, "no sheet with cells in it")


def _facts(book: Any, name: str) -> dict[str, Any]:
    """Title, author, date and metadata."""
    core = book.properties
    return package_facts(core, core.creator if core.creator != "openpyxl" else "", name)


def _sheet_pages(
    data: bytes, book: Any, parts: Parts, budget: _Budget, options: ReadOptions
) -> Iterator[Page]:
    for position, sheet in enumerate(book.worksheets, 1):
        label = f"sheet {sheet.title}"
        if position > _MAX_SHEETS:
            yield rows.too_many_rows_page(
                position, "further sheets", f"{len(book.worksheets):,} sheets"
            )
            return
        try:
            hidden = sheet.sheet_state != "visible"
            path = str(getattr(sheet, "_worksheet_path", "")).lstrip("/")
            layout = read_layout(data, path)
            note = _note(hidden, layout.uncalculated)
            table = layout.rows(_new_rows(sheet, budget), parts.header_rows(path))
            yield from _pages(position, sheet.title, table, note, options, budget)
            parts.add_sheet(position, sheet.title, path, layout.headers)
        # A damaged sheet does not affect the others.
        except Exception as error:  # noqa: BLE001 - see the line above
            yield Page(position, "", PageState.FAILED, f"broken: {error_text(error)}", label)


def _pages(
    position: int,
    title: str,
    table: Iterable[TableRow],
    note: str,
    options: ReadOptions,
    budget: _Budget,
) -> list[Page]:
    """The pages of one sheet: one for each part of some hundred rows."""
    found: list[rows.Part] = []
    for part in rows.parts(rows.format_rows(table, min_columns=3)):
        found.append(part)
        options.extend_deadline(PAGE_SECONDS)
        budget.characters -= len(part.text)
        if budget.characters < 0:
            budget.spent = True
            break
    cut = budget.spent
    label = f"sheet {title}"
    pages = [
        rows.page_of(
            position,
            part.text,
            label
            if len(found) == 1 and not cut
            else f"{label}, {rows.range_label('rows', part.first, part.last)}",
            note,
        )
        for part in found
    ]
    if cut:
        after = f"rows after {found[-1].last}" if found else "rows"
        pages.append(rows.too_many_rows_page(position, f"{label}, {after}", after))
    elif not found:
        reason = "no cells with text in it" + (f"; {note}" if note else "")
        pages.append(rows.page_of(position, "", label, reason))
    return pages


def _note(hidden: bool, uncalculated: int) -> str:
    """The reason shown with a sheet; empty if there is none."""
    notes = ["a hidden sheet"] if hidden else []
    if uncalculated:
        formulas = f"{uncalculated:,} formulas have" if uncalculated > 1 else "1 formula has"
        notes.append(f"{formulas} no stored result: open and save it in a spreadsheet program")
    return "; ".join(notes)


def _new_rows(sheet: Any, budget: _Budget) -> Iterator[TableRow]:
    """The rows of an openpyxl sheet; its stated dimensions are ignored."""
    sheet.reset_dimensions()
    blank = True
    for number, cells in enumerate(sheet.iter_rows(), 1):
        if not budget.walk(len(cells) if number <= _MAX_ROW else MAX_CELLS):
            return
        texts = [_cell(cell, budget) for cell in cells]
        before, blank = blank, not any(texts)
        if not (before and blank):  # a series of empty rows counts as one
            yield TableRow(number, texts)


def _cell(cell: Any, budget: _Budget) -> str:
    """An openpyxl cell as text; the number format is read for numbers and dates only."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, str):
        return _ESCAPED.sub(_unescaped, _words(value, budget)).strip()
    return _cell_text(value, budget, cell.number_format or "")


def _unescaped(match: re.Match[str]) -> str:
    r"""The character of an escape; a carriage return belongs to the line feed behind it."""
    character = chr(int(match[1], 16))
    return "" if character == "\r" else character


def _words(value: str, budget: _Budget) -> str:
    if value not in _ERRORS:
        return value.strip()
    if len(budget.errors) < _MAX_ERRORS:
        budget.errors.append(value)
    return ""


def _old_rows(sheet: Any, budget: _Budget) -> Iterator[TableRow]:
    """The rows of a calamine sheet, which begins with the first filled row."""
    top = sheet.start[0] if sheet.start else 0
    for number, cells in enumerate(sheet.iter_rows(), 1 + top):
        if not budget.walk(len(cells)):
            return
        yield TableRow(number, [_cell_text(cell, budget) for cell in cells])


def _cell_text(value: Any, budget: _Budget, number_format: str = "") -> str:
    """A cell as it shows; empty for errors.

    >>> budget = _Budget(9)
    >>> _cell_text(0.125, budget, "0.0%"), _cell_text(0.1 + 0.2, budget), _cell_text(3.0, budget)
    ('12.5%', '0.3', '3')
    >>> _cell_text(datetime(2024, 3, 7), budget), _cell_text(timedelta(hours=30), budget)
    ('2024-03-07', '30:00')
    >>> _cell_text(True, budget), _cell_text("#N/A", budget)
    ('TRUE', '')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return _words(value, budget)
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        shown = shown_number(value, number_format)
        # Excel has 15 digits.
        plain = str(value) if isinstance(value, int) else f"{value:.15g}"
        return plain if shown is None else shown
    if isinstance(value, datetime | date | time):
        return shown_moment(value, number_format, _moment(value))
    return _moment(value)


def _moment(value: Any) -> str:
    """Dates, times and durations as ISO 8601, without redundant zeros."""
    if isinstance(value, datetime):
        if value.time() == time():
            return value.date().isoformat()
        return value.isoformat(" ", "seconds" if value.second else "minutes")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return value.isoformat("seconds" if value.second else "minutes")
    if isinstance(value, timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        clock = f"{minutes // 60}:{minutes % 60:02}"
        return f"{clock}:{seconds:02}" if seconds else clock
    return str(value)
