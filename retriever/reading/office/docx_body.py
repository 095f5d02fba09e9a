"""The text of a Word part (body, header, notes, comments), block by block.

python-docx skips content controls, text boxes, inserted text and notes, so the elements are walked
here. What is left out on purpose is collected by kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from lxml import etree

from retriever.reading import archives
from retriever.reading.archives import local_name
from retriever.reading.office.drawings import chart_lines, diagram_lines
from retriever.reading.tables.grid import Cell, grid_lines
from retriever.reading.tables.rows import MAX_VALUE
from retriever.types import LeftOut

Block = tuple[str, str]
"""A group and a text: blocks of one group, as the items of a list, stay together."""

_SKIPPED = frozenset(["pPr", "rPr", "sectPr", "rubyPr", "ffData"])
_LEFT_OUT = {
    "del": "deleted text",
    "moveFrom": "deleted text",
    "delText": "deleted text",
    "instrText": "field codes",
    "delInstrText": "field codes",
    "rt": "ruby",
}
_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}
_TEXTS = frozenset(["t", "delText", "instrText", "delInstrText"])
_HEADING = re.compile(r"(?:heading|überschrift|titre|título|titolo|rubrik|kop|nagłówek) ?([1-9])")
_TITLES = frozenset(["title", "titel", "book title"])
_PAGE_FIELD = re.compile(r"\s*(?:PAGE|NUMPAGES|SECTIONPAGES)\b")
_MAX_PAGE_WORDS = 3  # besides the numbers: "Page 3 of 10"


@dataclass(frozen=True, slots=True)
class Styles:
    """Paragraph styles by id: heading levels, and list styles."""

    levels: dict[str, int] = field(default_factory=dict)
    lists: frozenset[str] = frozenset()


def _no_part(relation: str) -> etree._Element | None:
    return None


def _no_pages(relation: str) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Related:
    """How the parts that a part refers to are read, by the id of the relation."""

    tree: Callable[[str], etree._Element | None] = _no_part
    imported: Callable[[str], Iterable[str]] = _no_pages  # texts of an imported file


class Body:
    """Reads the elements of one part; what it leaves out is added to `left_out`."""

    def __init__(
        self, styles: Styles, left_out: list[LeftOut], related: Related | None = None
    ) -> None:
        self._styles = styles
        self._left_out = left_out
        self._related = related or Related()
        self._tables = count()

    def text(self, parent: etree._Element) -> str:
        """All blocks, separated by blank lines; list items and table rows by newlines."""
        return join(self.blocks(parent))

    def blocks(self, parent: etree._Element) -> Iterator[Block]:
        """The blocks below an element, in order."""
        stack = [iter(parent)]
        while stack:
            child = next(stack[-1], None)
            if child is None:
                stack.pop()
                continue
            kind = local_name(child)
            if kind == "p":
                yield from self._paragraph(child)
            elif kind == "tbl":
                yield from self._table(child)
            elif kind == "altChunk":
                yield from (("", text) for text in self._related.imported(_value(child, "id")))
            elif kind in _LEFT_OUT:
                self._leave_out(child)
            elif kind not in _SKIPPED:
                stack.append(iter(_choice(child)))  # content controls, inserted blocks, custom XML

    def _leave_out(self, element: etree._Element) -> None:
        texts = (part.text or "" for part in element.iter() if local_name(part) in _TEXTS)
        text = "".join(texts).strip()
        if text:
            self._left_out.append(LeftOut(_LEFT_OUT[local_name(element)], text))

    def _paragraph(self, paragraph: etree._Element) -> Iterator[Block]:
        further: list[etree._Element] = []
        words = "".join(self._runs(paragraph, further))
        text = "\n".join(" ".join(line.split(" ")).strip() for line in words.split("\n")).strip()
        level = self._level(paragraph)
        if text and level:
            yield "", "#" * min(level, 6) + " " + " ".join(text.split())
        elif text and self._is_item(paragraph):
            depth = _value(child_of(paragraph, "pPr", "numPr", "ilvl"))
            yield "list", "  " * (int(depth) if depth in tuple("12345678") else 0) + "- " + text
        elif text and _is_page_number(paragraph, text):
            self._left_out.append(LeftOut("page numbers", text))
        else:
            yield "", text
        for element in further:
            yield from self._beside(element)

    def _beside(self, element: etree._Element) -> Iterator[Block]:
        """What stands in a paragraph, but not in its lines: text boxes, charts and diagrams."""
        kind = local_name(element)
        if kind == "txbxContent":
            yield from self.blocks(element)
            return
        chart = kind == "chart"
        part = self._related.tree(_value(element, "id" if chart else "dm"))
        if part is not None:
            yield "", "\n".join(chart_lines(part) if chart else diagram_lines(part))

    def _is_item(self, paragraph: etree._Element) -> bool:
        """Whether the paragraph is a list item, by its own numbering or its style."""
        numbered = child_of(paragraph, "pPr", "numPr")
        if numbered is not None:
            return _value(child_of(numbered, "numId")) != "0"  # 0 removes the style's numbering
        return _value(child_of(paragraph, "pPr", "pStyle")) in self._styles.lists

    def _level(self, paragraph: etree._Element) -> int:
        """The heading level from 1; 0 for ordinary text."""
        properties = child_of(paragraph, "pPr")
        outline = _value(child_of(properties, "outlineLvl"))
        if outline.isdigit() and int(outline) < 9:
            return int(outline) + 1
        style = _value(child_of(properties, "pStyle"))
        named = re.fullmatch(r"Heading([1-9])", style)  # the style id is the same in every language
        return self._styles.levels.get(style, int(named[1]) if named else 0)

    def _table(self, table: etree._Element) -> Iterator[Block]:
        rows = list(_below(table, "tr"))
        cells = [list(_below(row, "tc")) for row in rows]
        if [len(row) for row in cells] == [1]:
            yield from self.blocks(cells[0][0])  # a frame around text
            return
        header = 0
        while header < len(rows) and _is_on(child_of(rows[header], "trPr", "tblHeader")):
            header += 1
        group = f"table {next(self._tables)}"
        for line in grid_lines(self._grid(rows, cells), header or None):
            yield group, line

    def _grid(
        self, rows: list[etree._Element], cells: list[list[etree._Element]]
    ) -> list[list[Cell]]:
        """The cells of a table; a cell that continues the one above it is part of that one."""
        grid: list[list[Cell]] = []
        open_cells: dict[int, tuple[int, int]] = {}  # by column: the row and place of its cell
        for row, found in zip(rows, cells, strict=True):
            column = _number(child_of(row, "trPr", "gridBefore"))
            line = [Cell("", columns=column)] if column else []
            grid.append(line)
            for cell in found:
                columns = max(1, _number(child_of(cell, "tcPr", "gridSpan")))
                text = self._cell(cell)
                if _continues(cell, "vMerge") and column in open_cells:
                    at, place = open_cells[column]
                    grid[at][place] = grid[at][place]._replace(rows=len(grid) - at)
                    self._hide(text)
                elif _continues(cell, "hMerge") and line:
                    line[-1] = line[-1]._replace(columns=line[-1].columns + columns)
                    self._hide(text)
                else:
                    line.append(Cell(text, columns=columns))
                    open_cells[column] = (len(grid) - 1, len(line) - 1)
                column += columns
        return grid

    def _hide(self, text: str) -> None:
        if text:
            self._left_out.append(LeftOut("hidden text", text))

    def _cell(self, cell: etree._Element) -> str:
        """The text of a cell: one line, or paragraphs if it is long."""
        text = join(self.blocks(cell))
        return text if len(text) > MAX_VALUE else " ".join(text.split())

    def _runs(self, paragraph: etree._Element, further: list[etree._Element]) -> Iterator[str]:
        """The text of a paragraph; what stands beside its lines is collected in `further`."""
        stack = [iter(paragraph)]
        while stack:
            child = next(stack[-1], None)
            if child is None:
                stack.pop()
                continue
            kind = local_name(child)
            if kind == "t":
                yield child.text or ""
            elif kind in _BREAKS:
                yield _BREAKS[kind]
            elif kind in ("txbxContent", "chart", "relIds"):
                further.append(child)
            elif kind == "textpath":
                yield f"\n{_value(child, 'string')}\n"  # WordArt, as a watermark
            elif kind == "ddList":
                yield _chosen(child)
            elif kind in _LEFT_OUT:
                self._leave_out(child)
            elif kind not in _SKIPPED or child.find("{*}ddList") is not None:
                stack.append(iter(_choice(child)))


def join(blocks: Iterable[Block]) -> str:
    """Join blocks to a text."""
    pieces: list[str] = []
    before = ""
    for group, block in blocks:
        if block.strip():
            pieces.append(("\n" if group and group == before else "\n\n") + block)
            before = group
    return re.sub("\n{3,}", "\n\n", "".join(pieces)).strip("\n")


def child_of(element: etree._Element | None, *path: str) -> etree._Element | None:
    """The element at a path of local names below an element; None if there is none."""
    for step in path:
        if element is None:
            return None
        element = next((child for child in element if local_name(child) == step), None)
    return element


def _value(element: etree._Element | None, name: str = "val") -> str:
    """An attribute in any namespace (Word uses two); empty without an element."""
    return "" if element is None else archives.attribute(element, name)


def _number(element: etree._Element | None) -> int:
    """The value of an element as a small number; 0 without one."""
    value = _value(element)
    return int(value) if value.isdecimal() and len(value) < 5 else 0


def _is_on(element: etree._Element | None) -> bool:
    return element is not None and _value(element) not in ("0", "false", "off")


def _continues(cell: etree._Element, kind: str) -> bool:
    """Whether a cell continues the one above it ("vMerge") or to its left ("hMerge")."""
    merge = child_of(cell, "tcPr", kind)
    return merge is not None and _value(merge) in ("", "continue")


def _choice(element: etree._Element) -> etree._Element:
    """Of content in several forms, for new and old programs, the first one with text."""
    if local_name(element) != "AlternateContent":
        return element
    forms = [form for form in element if local_name(form)]
    return next(filter(_has_text, forms), forms[0] if forms else element)


def _has_text(element: etree._Element) -> bool:
    return any(local_name(one) in ("t", "chart", "relIds", "textpath") for one in element.iter())


def _chosen(choices: etree._Element) -> str:
    """The chosen entry of a drop-down field, which Word shows in place of a result."""
    entries = [_value(entry) for entry in choices if local_name(entry) == "listEntry"]
    at = _number(child_of(choices, "result"))
    return entries[at] if at < len(entries) else ""


def _is_page_number(paragraph: etree._Element, text: str) -> bool:
    """Whether a paragraph says nothing but the number of its page."""
    codes = (
        one.text or "" if local_name(one) == "instrText" else _value(one, "instr")
        for one in paragraph.iter()
        if local_name(one) in ("instrText", "fldSimple")
    )
    words = re.findall(r"[^\W\d_]+", text)
    return any(map(_PAGE_FIELD.match, codes)) and len(words) <= _MAX_PAGE_WORDS


def _below(parent: etree._Element, kind: str) -> Iterator[etree._Element]:
    """Rows of a table or cells of a row, also in content controls, not of nested tables."""
    for child in parent:
        if local_name(child) == kind:
            yield child
        elif local_name(child) in ("sdt", "sdtContent", "ins", "customXml", "moveTo"):
            yield from _below(child, kind)


def styles_of(document: Any) -> Styles:
    """The heading and list styles of python-docx's document, including derived styles."""
    found = [(style.style_id or "", style, _own_style(style)) for style in document.styles]
    first: dict[str, _OwnStyle] = {}
    for id_, _, own in found:
        first.setdefault(id_, own)
    levels: dict[str, int] = {}
    lists: set[str] = set()
    for id_, style, own in found:
        chain = list(_chain(own, first))
        is_title = (style.name or "").strip().lower() in _TITLES
        level = 1 if is_title else next((one.level for one in chain if one.level), 0)
        if level:
            levels[id_] = level
        elif any(one.makes_list for one in chain):
            lists.add(id_)
    return Styles(levels, frozenset(lists))


@dataclass(frozen=True, slots=True)
class _OwnStyle:
    """What a style says itself, without the one it is based on, which is named by `base`."""

    level: int
    makes_list: bool
    base: str


def _own_style(style: Any) -> _OwnStyle:
    heading = _HEADING.fullmatch((style.name or "").strip().lower())
    outline = _value(child_of(style.element, "pPr", "outlineLvl"))
    level = int(outline) + 1 if outline.isdigit() and int(outline) < 9 else 0
    return _OwnStyle(
        int(heading[1]) if heading else level,
        child_of(style.element, "pPr", "numPr") is not None,
        _value(child_of(style.element, "basedOn")) if hasattr(type(style), "base_style") else "",
    )


def _chain(own: _OwnStyle | None, first: Mapping[str, _OwnStyle]) -> Iterator[_OwnStyle]:
    """A style and those it is based on; damaged files contain cycles."""
    for _ in range(10):
        if own is None:
            return
        yield own
        own = first.get(own.base) if own.base else None
