"""Writes the elements of a web page as blocks of text: paragraphs, headings, items, table rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lxml import etree

from retriever.reading.markup.html_marks import exponent, mark_before, picture_words
from retriever.reading.markup.html_parts import is_layout
from retriever.reading.tables.grid import Cell, grid_lines

_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
PARAGRAPHS = frozenset(
    [
        *["address", "article", "aside", "blockquote", "body", "caption", "center", "dd"],
        *["details", "dialog", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer"],
        *["form", "header", "hr", "html", "hgroup", "iframe", "legend", "main", "menu", "nav"],
        *["noscript", "ol", "p", "pre", "search", "section", "summary", "table", "template"],
        *["textarea", "title", "ul"],
    ]
)
_APART = frozenset(
    ["button", "canvas", "datalist", "foreignobject", "input", "object", "option", "optgroup"]
) | frozenset(["script", "select", "style", "svg", "text", "annotation", "mtr", "mtd"])
"""Elements shown inside a line, but never joined to the words beside them."""

_CELL_ROLES = frozenset(["cell", "columnheader", "gridcell", "rowheader"])
_VERBATIM = frozenset(["pre", "textarea"])
_ALL_ROWS = 65_534  # HTML's limit
_BEFORE = 40  # characters of the line that are looked at before a raised element


@dataclass(slots=True)
class _Table:
    """The rows of an open table, and how many of them are in its head."""

    rows: list[list[Cell]] = field(default_factory=list)
    head: int = 0


class Writer:
    """Collects words into lines and lines into blocks during a tree walk.

    With `links_apart`, links side by side are several words also without a blank, as in menus.
    """

    def __init__(self, *, links_apart: bool = False) -> None:
        self._links_apart = links_apart
        self._blocks: list[str] = []
        self._line: list[str] = []  # words of the current block
        self._prefix = ""
        self._lists: list[int | None] = []  # for each open list: its next number, None for bullets
        self._tables: list[_Table] = []
        self._cells: list[list[Cell]] = []  # for each open row: its finished cells
        self._tight = False  # whether no blank line precedes the next block (lists, rows)
        self._verbatim = 0
        self._in_list = False
        self._closing: dict[etree._Element, str] = {}  # what follows an open raised element

    def text(self) -> str:
        """The text written so far; open tables end."""
        while self._cells:
            self._end_row(None)
        while self._tables:
            self._end_table()
        self._finish()
        return "".join(self._blocks).strip("\n")

    def words(self, text: str | None) -> None:
        """Add inline text; white space is kept only inside `<pre>`."""
        if text:
            self._line.append(text if self._verbatim else re.sub(r"[ \t\n\r\f]+", " ", text))

    def gap(self, element: etree._Element) -> None:
        """End the block or the word if a dropped element does."""
        if element.tag in PARAGRAPHS:
            self._break()
        elif element.tag in _APART and not self._verbatim:
            self._line.append(" ")

    def start(self, element: etree._Element) -> None:
        """Handle the start of an element."""
        tag = element.tag
        if tag == "br":
            self._line.append("\n")
        elif tag in _HEADINGS:
            self._break()
            self._prefix = "" if self._cells else _HEADINGS[tag]
        elif tag == "li":
            self._start_item()
        elif tag == "tr" and not is_layout(element):
            self._break(tight=True)
            self._cells.append([])
        elif tag in PARAGRAPHS or tag in ("tr", "td", "th"):
            self._start_block(element)
        else:
            self._start_inline(element)
        if tag in _VERBATIM:
            self._verbatim += 1
        self.words(element.text)

    def _start_inline(self, element: etree._Element) -> None:
        tag = element.tag
        if tag in _APART or element.get("role") in _CELL_ROLES:
            self._apart(element)
        elif tag == "img":
            words = picture_words(element)
            self._line.append(f" {words} " if words else "")
        elif tag in ("a", "span", "sup", "small"):
            opening, closing = mark_before(element, self._before())
            if opening:
                self._line.append(opening)
                self._closing[element] = closing
            elif tag == "a" and self._links_apart:
                self._line.append(" ")
        elif tag.startswith("m"):
            self._line.append(exponent(element))

    def _apart(self, element: etree._Element) -> None:
        """Keep an element's words apart from those beside it; labels of a drawing are lines."""
        self._line.append("\n" if element.tag in ("text", "foreignobject") else " ")

    def _before(self) -> str:
        """The last characters of the current line."""
        found = ""
        for text in reversed(self._line):
            found = text + found
            if len(found) >= _BEFORE:
                break
        return found[-_BEFORE:]

    def _start_block(self, element: etree._Element) -> None:
        tag = element.tag
        if tag in ("td", "th") and self._cells:
            return
        if self._prefix and not "".join(self._line).strip():
            self._line.clear()  # the first paragraph of a list item stays on the item's line
        elif tag == "dd" or (tag in ("ul", "ol", "menu") and self._lists):
            self._break(tight=True)
            self._tight = not self._cells and bool(self._blocks)
        else:
            self._break()
        if tag == "table":
            self._tables.append(_Table())
        elif tag in ("ul", "menu"):
            self._lists.append(None)
        elif tag == "ol":
            first = element.get("start", "1")
            self._lists.append(int(first) if re.fullmatch(r"\d{1,6}", first) else 1)

    def _start_item(self) -> None:
        self._break(tight=self._in_list)
        self._tight = self._tight or self._in_list
        self._in_list = True
        number = self._lists[-1] if self._lists else None
        indent = "  " * max(0, len(self._lists) - 1)
        if self._cells:
            return
        self._prefix = f"{indent}- " if number is None else f"{indent}{number}. "
        if number is not None:
            self._lists[-1] = number + 1

    def end(self, element: etree._Element) -> None:
        """Handle the end of an element."""
        tag = element.tag
        if tag in _VERBATIM:
            self._break()
            self._verbatim = max(0, self._verbatim - 1)
        elif tag in ("td", "th", "tr", "table"):
            self._end_table_part(element)
        elif tag in ("ul", "ol", "menu"):
            self._break(tight=len(self._lists) > 1)
            if self._lists:
                self._lists.pop()
            self._in_list = bool(self._lists)
        elif tag == "li" or tag in _HEADINGS or tag in PARAGRAPHS:
            self._break(tight=tag in ("li", "dt"))
            if tag == "li" or tag in _HEADINGS:
                self._prefix = ""  # an empty item or heading makes nothing of the next block
        elif tag in _APART:
            self._apart(element)
        elif element in self._closing:
            self._line.append(self._closing.pop(element))

    def _end_table_part(self, element: etree._Element) -> None:
        tag = element.tag
        if tag in ("td", "th") and self._cells:
            self._end_cell(element)
        elif tag == "tr" and self._cells and not is_layout(element):
            self._end_row(element)
        elif tag == "table" and self._tables:
            self._end_table()

    def _end_cell(self, element: etree._Element) -> None:
        rows, columns = _span(element, "rowspan"), _span(element, "colspan")
        cell = Cell(self._taken_line(), rows or _ALL_ROWS, columns or 1, element.tag == "th")
        self._cells[-1].append(cell)

    def _taken_line(self) -> str:
        """The words of the current line, which is empty then."""
        words = " ".join("".join(self._line).split())
        self._line.clear()
        return words

    def _end_row(self, row: etree._Element | None) -> None:
        cells, rest = self._cells.pop(), self._taken_line()
        cells += [Cell(rest)] if rest else []
        if self._cells:  # a row within a row: broken markup
            self._line.append(" | ".join(cell.text for cell in cells if cell.text))
        elif self._tables:
            table = self._tables[-1]
            parent = None if row is None else row.getparent()
            in_head = parent is not None and parent.tag == "thead"
            table.head += in_head and table.head == len(table.rows)
            table.rows.append(cells)
        else:
            self._write_table(_Table([cells]))

    def _end_table(self) -> None:
        table = self._tables.pop()
        self._break()
        self._write_table(table)
        self._break()

    def _write_table(self, table: _Table) -> None:
        lines = grid_lines(table.rows, table.head or None)
        if self._cells:
            self._line.append(" " + " ".join(lines) + " ")
            return
        for line in lines:
            block = line.startswith("\n")  # a row of long texts, with blank lines around it
            self._tight = self._tight and not block
            self._line.append(line.strip("\n"))
            self._finish(tight=not block)

    def _break(self, *, tight: bool = False) -> None:
        """Begin a new block; inside a table cell add a space."""
        if self._cells:
            self._line.append(" ")
        else:
            self._finish(tight=tight)

    def _finish(self, *, tight: bool = False) -> None:
        """Close the current block; no blank line follows if `tight`."""
        raw = "".join(self._line)
        self._line.clear()
        lines = raw.strip("\n").split("\n") if self._verbatim else _tidy(raw)
        if not any(line.strip() for line in lines):
            self._tight = self._tight and tight
            return
        if self._tables and self._tables[-1].rows:  # a text between the rows of a table
            table, self._tables[-1] = self._tables[-1], _Table()
            self._write_table(table)
            self._tight = False
        if self._blocks:
            self._blocks.append("\n" if self._tight else "\n\n")
        joined = " ".join(lines) if self._prefix.startswith("#") else "\n".join(lines)
        self._blocks.append(self._prefix + joined)
        self._prefix = ""
        self._tight = tight


def _span(element: etree._Element, name: str) -> int:
    """How many rows or columns a cell spans; 0 for all that are left."""
    stated = (element.get(name) or "1").strip()
    return int(stated) if re.fullmatch(r"[0-9]{1,5}", stated) else 1


def _tidy(raw: str) -> list[str]:
    return [" ".join(line.split(" ")).strip() for line in re.sub(r" {2,}", " ", raw).split("\n")]
