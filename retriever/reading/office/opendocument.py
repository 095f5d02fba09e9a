"""OpenDocument files (LibreOffice): texts, spreadsheets and presentations.

A text is one page with headings as `# …`, lists and table rows, and footnotes at its end. A sheet
is a page with its name, a slide a numbered page with its notes. Comments, deleted text, headers and
footers are dropped. Repeated rows and cells are read once.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lxml import etree

from retriever.reading import archives
from retriever.reading.archives import attribute, local_name
from retriever.reading.facts import clean_author, clean_title, iso_date
from retriever.reading.options import PAGE_SECONDS, ReadOptions
from retriever.reading.pages import make_page
from retriever.reading.tables import rows
from retriever.reading.tables.columns import TableRow
from retriever.types import Document, Page, PageState, ReadError

_DESCRIPTION = "an OpenDocument file"
_FORMATS = {"text": "odt", "spreadsheet": "ods", "presentation": "odp"}
_MAX_COLUMNS = 16_384
_SIGNS = {"s": " ", "tab": "\t", "line-break": "\n"}
_SKIPPED = frozenset(
    [
        *["tracked-changes", "annotation", "forms", "sequence-decls", "note-citation", "ruby-text"],
        *[
            "shapes",
            "header",
            "footer",
            "date-time",
            "page-number",
            "settings",
            "bibliography-mark",
        ],
    ]
)
_REPEATED = frozenset(["header", "footer", "date-time", "page-number"])  # on every slide


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
    if format_ == "odt":
        pages = [make_page(None, _Text().read(body), "no text in it")]
        options.extend_deadline(PAGE_SECONDS)
    else:
        pages = _sheets(body, options) if format_ == "ods" else _slides(body, options)
    pages = pages or [Page(None, "", PageState.EMPTY, "nothing in it")]
    return Document(name, format_, tuple(pages), **_facts(data, name))


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


class _Text:
    """The blocks of a text, and the footnotes found on the way."""

    def __init__(self) -> None:
        self._notes: list[str] = []

    def read(self, body: etree._Element) -> str:
        """All blocks, separated by blank lines, then the footnotes."""
        blocks = [block for block in self._blocks(body) if block.strip()]
        return "\n\n".join([*blocks, *self._notes])

    def _blocks(self, parent: etree._Element) -> Iterator[str]:
        for child in parent:
            kind = local_name(child)
            if kind == "h":
                level = attribute(child, "outline-level")
                marks = "#" * (min(int(level), 6) if level.isdigit() and int(level) else 1)
                words = " ".join(self._words(child).split())
                yield f"{marks} {words}" if words else ""
            elif kind == "p":
                yield self._words(child)
            elif kind == "list":
                yield "\n".join(self._items(child, 0))
            elif kind == "table":
                yield "\n".join(self._rows(child))
            elif kind and kind not in _SKIPPED:
                yield from self._blocks(child)

    def _items(self, parent: etree._Element, level: int) -> Iterator[str]:
        for item in parent.iterfind("{*}list-item"):
            for child in item:
                if local_name(child) == "list":
                    yield from self._items(child, level + 1)
                elif local_name(child) in ("p", "h") and (words := self._words(child)):
                    yield "  " * min(level, 8) + "- " + words

    def _rows(self, table: etree._Element) -> Iterator[str]:
        for row in table.iter("{*}table-row"):
            cells = [
                " ".join(" ".join(self._blocks(cell)).split())
                for cell in row
                if local_name(cell) == "table-cell"
            ]
            if any(cells):
                yield " | ".join(filter(None, cells))

    def _words(self, paragraph: etree._Element) -> str:
        """The text of a paragraph with its text boxes; footnotes are collected."""
        text = "".join(self._pieces(paragraph))
        return "\n".join(" ".join(line.split(" ")).strip() for line in text.split("\n")).strip()

    def _pieces(self, parent: etree._Element) -> Iterator[str]:
        yield parent.text or ""
        for child in parent:
            kind = local_name(child)
            if kind == "note":
                for note in child.iterfind("{*}note-body"):
                    self._notes.append(" ".join(self._words(note).split()))
            elif kind in _SIGNS:
                yield _SIGNS[kind]
            elif kind and kind not in _SKIPPED:
                edge = "\n" if kind in ("p", "h") else ""
                yield edge
                yield from self._pieces(child)
                yield edge
            yield child.tail or ""


def _sheets(body: etree._Element, options: ReadOptions) -> list[Page]:
    pages: list[Page] = []
    left = rows.MAX_TEXT // 2
    for position, table in enumerate(body.iterfind("{*}table"), 1):
        title = f"sheet {attribute(table, 'name')}"
        found: list[rows.Part] = []
        for part in rows.parts(rows.format_rows(_table(table), min_columns=3)):
            found.append(part)
            left -= len(part.text)
            options.extend_deadline(PAGE_SECONDS)
        for part in found:
            where = f", {rows.range_label('rows', part.first, part.last)}" if len(found) > 1 else ""
            pages.append(rows.page_of(position, part.text, title + where))
        if not found:
            pages.append(rows.page_of(position, "", title, "no cells with text in it"))
        if left < 0:
            pages.append(
                rows.too_many_rows_page(position, "further sheets", f"sheets after {title[6:]}")
            )
            break
    return pages


def _table(table: etree._Element) -> Iterator[TableRow]:
    """The rows of a sheet; a repeated row once, a series of empty rows as one."""
    number = 1
    for row in table.iter("{*}table-row"):
        yield TableRow(number, _cells(row))
        number += _count(row, "number-rows-repeated")


def _cells(row: etree._Element) -> list[str]:
    found: list[str] = []
    column = 0
    for cell in row:
        text = _cell(cell) if local_name(cell) == "table-cell" else ""
        if text and column < _MAX_COLUMNS:
            found += [""] * (column - len(found)) + [text]
        column += _count(cell, "number-columns-repeated")
    return found


def _count(element: etree._Element, name: str) -> int:
    stated = attribute(element, name)
    return int(stated) if stated.isdecimal() and len(stated) < 9 else 1


def _cell(cell: etree._Element) -> str:
    """A cell as displayed, but dates as ISO 8601 and numbers without thousands separators."""
    kind = attribute(cell, "value-type")
    if kind == "date":
        return attribute(cell, "date-value").removesuffix("T00:00:00").replace("T", " ")
    if kind == "float":
        return attribute(cell, "value")
    lines = ("".join(line.itertext()) for line in cell.iterfind("{*}p"))
    return "\n".join(line for line in lines if line).strip()


def _slides(body: etree._Element, options: ReadOptions) -> list[Page]:
    pages: list[Page] = []
    for number, slide in enumerate(body.iterfind("{*}page"), 1):
        text = _Text()
        titles: list[str] = []
        blocks: list[str] = []
        notes = ""
        for shape in slide:
            if local_name(shape) == "notes":
                notes = " ".join(text.read(shape).split())
            elif attribute(shape, "class") == "title":
                titles.append("# " + " ".join(text.read(shape).split()))
            elif attribute(shape, "class") not in _REPEATED:
                blocks.append(text.read(shape))
        shown = [*(title for title in titles if title != "# "), *filter(None, blocks)]
        shown += [f"Notes: {notes}"] if notes else []
        page = make_page(number, "\n\n".join(shown), "no text on it")
        pages.append(replace(page, label=f"slide {number}"))
        options.extend_deadline(PAGE_SECONDS)
    return pages
