"""OpenDocument files (LibreOffice): texts, spreadsheets and presentations.

A text is one page with headings as `# …`, lists and table rows, and footnotes at its end. A sheet
is a page with its name, a slide a numbered page with its notes and comments. The comments of a text
or a sheet are a part of their own, and so are headers and footers. Repeated rows and cells are read
once. Deleted text and numbers of pages are left out.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from lxml import etree

from retriever.reading import archives
from retriever.reading.archives import attribute, local_name
from retriever.reading.facts import clean_author, clean_title, iso_date
from retriever.reading.office.odf_text import Text, count_of, rows_of
from retriever.reading.options import PAGE_SECONDS, ReadOptions
from retriever.reading.pages import make_page
from retriever.reading.tables import rows
from retriever.reading.tables.columns import TableRow
from retriever.reading.tables.grid import MergedCells, Span
from retriever.types import Document, LeftOut, Page, PageState, ReadError

_DESCRIPTION = "an OpenDocument file"
_FORMATS = {"text": "odt", "spreadsheet": "ods", "presentation": "odp"}
_MAX_COLUMNS = 16_384
_EDGES = ("header", "header-left", "header-first", "footer", "footer-left", "footer-first")
_RUNNING = frozenset(["header", "footer"])  # classes of shapes that are on every slide
_RANGE = re.compile(r"(.*?)\.\$?[A-Z]{1,3}\$?(\d{1,7})(?::|$)")
_NUMBERS = frozenset(["date-time", "page-number"])


def read_opendocument(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read an ODT, ODS or ODP file."""
    large = archives.too_large_reason(data, _DESCRIPTION)
    if large:
        return Document(name, "odt", (rows.too_many_rows_page(None, "", large),))
    if _is_encrypted(data):
        reason = "password needed: save it without, since these files are not decrypted here"
        return Document(name, "odt", (Page(None, "", PageState.ENCRYPTED, reason),))
    try:
        root = archives.tree(data, "content.xml")
    except (KeyError, zipfile.BadZipFile, etree.XMLSyntaxError, OSError, EOFError) as error:
        raise ReadError(archives.broken_reason(error, _DESCRIPTION)) from None
    body = next((kind for found in root.iterfind("{*}body") for kind in found), None)
    format_ = _FORMATS.get("" if body is None else local_name(body))
    if body is None or format_ is None:
        raise ReadError("an OpenDocument file that is no text, table or presentation; save as .pdf")
    package = _Objects(data)
    text = Text(package.open)
    if format_ == "odt":
        pages = _text_pages(text, body)
        options.extend_deadline(PAGE_SECONDS)
    else:
        read = _sheets if format_ == "ods" else _slides
        pages = read(body, text, options)
    pages = pages or [Page(None, "", PageState.EMPTY, "nothing in it")]
    running = dict.fromkeys([*text.running, *package.running_texts(text), *_declared(body)])
    # Without a letter they are placeholders of fields: "(???)".
    named = [one for one in running if any(map(str.isalpha, one))]
    text.left_out += [LeftOut("page numbers", one) for one in running if one and one not in named]
    pages += _part("headers and footers", named)
    left_out = tuple(text.left_out)
    return Document(name, format_, tuple(pages), left_out=left_out, **_facts(data, name))


def _part(label: str, texts: list[str]) -> list[Page]:
    """A page for some texts beside the others; none if there are none."""
    page = make_page(None, "\n\n".join(filter(None, texts)))
    return [] if page.state is PageState.EMPTY else [replace(page, label=label)]


class _Objects:
    """The other parts of a package; damaged ones count as missing."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def open(self, path: str) -> etree._Element | None:
        """The content of an embedded object."""
        return self._tree(f"{path.removeprefix('./').rstrip('/')}/content.xml")

    def running_texts(self, text: Text) -> Iterator[str]:
        """The headers and footers of all kinds of pages."""
        root = self._tree("styles.xml")
        for page in root.iter("{*}master-page") if root is not None else ():
            for element in page:
                if local_name(element) in _EDGES and attribute(element, "display") != "false":
                    yield text.read(element)

    def _tree(self, part: str) -> etree._Element | None:
        try:
            return archives.tree(self._data, part)
        except Exception:  # noqa: BLE001 - the text itself is what counts
            return None


def _declared(body: etree._Element) -> Iterator[str]:
    """The headers and footers of slides."""
    for declared in body.iter("{*}header-decl", "{*}footer-decl"):
        yield " ".join("".join(declared.itertext()).split())


def _text_pages(text: Text, body: etree._Element) -> list[Page]:
    blocks = text.read(body)
    page = make_page(None, "\n\n".join(filter(None, [blocks, *text.notes])), "no text in it")
    return [page, *_part("comments", text.comments)]


def _is_encrypted(data: bytes) -> bool:
    try:
        parts = archives.tree(data, "META-INF/manifest.xml")
    except Exception:  # noqa: BLE001 - without a manifest it counts as open
        return False
    return next(parts.iter("{*}encryption-data"), None) is not None


def _facts(data: bytes, name: str) -> dict[str, Any]:
    """Title, author and date; damaged properties count as missing."""
    try:
        meta = {
            local_name(found): found.text or "" for found in archives.tree(data, "meta.xml").iter()
        }
    except Exception:  # noqa: BLE001 - properties are optional; the text is what counts
        return {}
    return {
        "title": clean_title(meta.get("title"), name),
        "author": clean_author(meta.get("initial-creator") or meta.get("creator")),
        "date": iso_date(meta.get("creation-date") or meta.get("date")),
    }


def _sheets(body: etree._Element, text: Text, options: ReadOptions) -> list[Page]:
    pages: list[Page] = []
    left = rows.MAX_TEXT // 2
    for position, table in enumerate(body.iterfind("{*}table"), 1):
        title = f"sheet {attribute(table, 'name')}"
        beside = _Beside(filtered=_filtered_rows(body, attribute(table, "name")))
        found: list[rows.Part] = []
        for part in rows.parts(rows.format_rows(_table(table, text, beside), min_columns=3)):
            found.append(part)
            left -= len(part.text)
            options.extend_deadline(PAGE_SECONDS)
        for part in found:
            where = f", {rows.range_label('rows', part.first, part.last)}" if len(found) > 1 else ""
            pages.append(rows.page_of(position, part.text, title + where))
        if not found:
            pages.append(rows.page_of(position, "", title, "no cells with text in it"))
        beside.shapes.extend(text.read(shapes) for shapes in table.iterfind("{*}shapes"))
        for kind, texts in (("comments", beside.comments), ("text boxes", beside.shapes)):
            pages += [replace(one, number=position) for one in _part(f"{title}, {kind}", texts)]
        if left < 0:
            pages.append(
                rows.too_many_rows_page(position, "further sheets", f"sheets after {title[6:]}")
            )
            break
    return pages


@dataclass(frozen=True, slots=True)
class _Beside:
    """What stands beside the cells of a sheet."""

    comments: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    filtered: frozenset[int] = frozenset()
    """The rows with the names of columns, by the filters of the sheet."""


def _filtered_rows(body: etree._Element, sheet: str) -> frozenset[int]:
    """The rows with the buttons of a filter: they hold the names of columns."""
    found: set[int] = set()
    for one in body.iter("{*}database-range"):
        place = _RANGE.match(attribute(one, "target-range-address"))
        shown = attribute(one, "display-filter-buttons") == "true"
        if place and shown and attribute(one, "contains-header") != "false":
            name = place[1].removeprefix("$").strip("'").replace("''", "'")
            found |= {int(place[2])} if name == sheet else set()
    return frozenset(found)


def _table(table: etree._Element, text: Text, beside: _Beside) -> Iterator[TableRow]:
    """The rows of a sheet; a repeated row once, a series of empty rows as one."""
    number = 1
    merged = MergedCells()
    for row, is_header in rows_of(table):
        cells, spans = _cells(row, number, text, beside)
        filled = merged.row(TableRow(number, cells), spans)
        marked = (is_header or number in beside.filtered) and len(filled.own) > 1
        yield filled._replace(header=True) if marked else filled
        number += count_of(row, "number-rows-repeated")


def _cells(
    row: etree._Element, number: int, text: Text, beside: _Beside
) -> tuple[list[str], list[Span]]:
    """The texts of a row, and the merged cells that begin in it."""
    found: list[str] = []
    spans: list[Span] = []
    column = 0
    for cell in row:
        shown = _cell(cell, f"{_letters(column)}{number}", text, beside)
        if local_name(cell) == "covered-table-cell" and shown:
            text.left_out.append(LeftOut("hidden text", shown))
        elif shown and column < _MAX_COLUMNS:
            found += [""] * (column - len(found)) + [shown]
            columns = count_of(cell, "number-columns-spanned")
            down = count_of(cell, "number-rows-spanned")
            if columns > 1 or down > 1:
                spans.append(Span(column, columns, number + down - 1))
        column += count_of(cell, "number-columns-repeated")
    return found, spans


def _letters(column: int) -> str:
    """The letters of a column, from 0.

    >>> _letters(0), _letters(26)
    ('A', 'AA')
    """
    letters = ""
    while column >= 0:
        column, at = divmod(column, 26)
        letters, column = chr(ord("A") + at) + letters, column - 1
    return letters


def _cell(cell: etree._Element, place: str, text: Text, beside: _Beside) -> str:
    """A cell as displayed; its comments and shapes are added to `beside`."""
    text.comments.clear()
    shapes = [child for child in cell if local_name(child) not in ("", "p")]
    lines = [text.words(line, shapes) for line in cell.iterfind("{*}p")]
    for shape in shapes:
        beside.shapes.extend(text.blocks_of(shape))
    beside.comments.extend(f"{place}, {comment}" for comment in text.comments)
    return _shown(cell, "\n".join(filter(None, lines)))


def _shown(cell: etree._Element, shown: str) -> str:
    """The text of a cell; a date also as ISO 8601, if it is displayed otherwise."""
    if attribute(cell, "value-type") == "date":
        iso = attribute(cell, "date-value").removesuffix("T00:00:00").replace("T", " ")
        if not shown or iso.startswith(shown) or shown.startswith(iso):
            return iso or shown
        return f"{shown} ({iso})" if iso else shown
    return shown or attribute(cell, "value") or attribute(cell, "string-value")


def _slides(body: etree._Element, text: Text, options: ReadOptions) -> list[Page]:
    pages: list[Page] = []
    running: dict[str, None] = {}
    for number, slide in enumerate(body.iterfind("{*}page"), 1):
        titles: list[str] = []
        blocks: list[str] = []
        notes = ""
        for shape in slide:
            class_ = attribute(shape, "class")
            found = "\n\n".join(text.blocks_of(shape))
            if class_ in _NUMBERS:
                text.left_out.append(LeftOut("page numbers", found))
            elif local_name(shape) == "notes":
                notes = " ".join(found.split())
            elif class_ == "title":
                titles.append(" ".join(found.split()))
            elif class_ in _RUNNING:
                running |= dict.fromkeys([found])
            else:
                blocks.append(found)
        shown = [*(f"# {title}" for title in titles if title), *filter(None, blocks)]
        shown += [f"Notes: {notes}"] if notes else []
        shown += [f"Comment: {comment}" for comment in text.comments]
        text.comments.clear()
        page = make_page(number, "\n\n".join(shown), "no text on it")
        pages.append(replace(page, label=f"slide {number}"))
        options.extend_deadline(PAGE_SECONDS)
    text.running += running
    return pages
