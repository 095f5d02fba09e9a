"""The text of OpenDocument elements: paragraphs, lists, tables, boxes, and objects in them.

Footnotes and comments are collected on the way, and so is what is left out on purpose, by kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from lxml import etree

from retriever.reading.archives import attribute, local_name
from retriever.reading.tables.grid import Cell, grid_lines
from retriever.reading.tables.rows import MAX_VALUE
from retriever.types import LeftOut

_SIGNS = {"s": " ", "tab": "\t", "line-break": "\n"}
_LEFT_OUT = {
    "ruby-text": "ruby",
    "note-citation": "note numbers",
    "page-number": "page numbers",
    "page-count": "page numbers",
    "date-time": "page numbers",
    "table-of-content-source": "templates of indexes",
    "illustration-index-source": "templates of indexes",
    "table-index-source": "templates of indexes",
    "object-index-source": "templates of indexes",
    "user-index-source": "templates of indexes",
    "alphabetical-index-source": "templates of indexes",
    "bibliography-source": "templates of indexes",
}
_SKIPPED = frozenset(
    [
        *["tracked-changes", "annotation", "forms", "sequence-decls", "settings", "sheet-name"],
        *["variable-decls", "user-field-decls", "dde-connection-decls", "event-listeners"],
        *["scripts", "creator", "date-string", "creator-initials"],
    ]
)
_SHAPES = frozenset(
    [
        *["frame", "text-box", "custom-shape", "rect", "line", "ellipse", "circle", "polygon"],
        *["polyline", "path", "regular-polygon", "connector", "caption", "measure", "g", "object"],
    ]
)
_ROW_GROUPS = frozenset(["table-header-rows", "table-row-group", "table-rows"])
_MAX_REPEATED = 1_000  # columns of a repeated empty cell in a table of a text
_MAX_PAGE_WORDS = 3  # besides the numbers: "Page 3 of 10"
_MAX_OBJECTS = 10  # objects in objects


def _no_object(path: str) -> etree._Element | None:
    return None


class Text:
    """Reads elements into blocks; notes, comments and what is left out are collected."""

    def __init__(self, open_object: Callable[[str], etree._Element | None] = _no_object) -> None:
        self.notes: list[str] = []
        self.comments: list[str] = []
        self.running: list[str] = []  # headers and footers of slides
        self.left_out: list[LeftOut] = []
        self._open_object = open_object
        self._depth = 0

    def read(self, parent: etree._Element) -> str:
        """All blocks below an element, separated by blank lines."""
        return "\n\n".join(self.blocks(parent))

    def blocks(self, parent: etree._Element) -> Iterator[str]:
        """The blocks below an element, in order; none is empty."""
        for child in parent:
            yield from self.blocks_of(child)

    def blocks_of(self, element: etree._Element) -> Iterator[str]:
        """The blocks of one element; none is empty."""
        return (block for block in self._block(element) if block.strip())

    def _block(self, child: etree._Element) -> Iterator[str]:
        kind = local_name(child)
        if kind in ("h", "p"):
            yield from self._paragraph(child)
        elif kind == "list":
            yield "\n".join(self._items(child, 0))
        elif kind == "table":
            yield "\n".join(self._rows(child))
        elif kind == "object":
            yield from self._object(child)
        elif kind in ("title", "desc") and not len(child):  # of a picture or shape
            yield " ".join((child.text or "").split())
        elif self._is_text(child):
            yield from self.blocks(child)

    def _is_text(self, child: etree._Element) -> bool:
        """Whether an element is read; others are collected, or left out."""
        kind = local_name(child)
        if kind in _LEFT_OUT:
            self._leave_out(_LEFT_OUT[kind], "".join(child.itertext()))
        elif kind == "annotation":
            self.read_comment(child)
        elif kind == "tracked-changes":
            for paragraph in child.iter("{*}p", "{*}h"):
                self._leave_out("deleted text", "".join(paragraph.itertext()))
        return bool(kind) and kind not in _SKIPPED and kind not in _LEFT_OUT

    def _leave_out(self, kind: str, text: str) -> None:
        if text.strip():
            self.left_out.append(LeftOut(kind, text.strip()))

    def read_comment(self, annotation: etree._Element) -> None:
        """Add a comment with its author to the comments."""
        lines = (" ".join(found) for found in self._paragraphs_of(annotation))
        text = "\n".join(line for line in lines if line)
        if text:
            self.comments.append(f"{author_of(annotation)}{text}")

    def _paragraphs_of(self, annotation: etree._Element) -> Iterator[list[str]]:
        for child in annotation:
            if local_name(child) in ("p", "list"):
                yield " ".join(self.blocks_of(child)).split()

    def _paragraph(self, paragraph: etree._Element) -> Iterator[str]:
        """A paragraph or heading, and the boxes and objects that stand in it."""
        further: list[etree._Element] = []
        text = self.words(paragraph, further)
        if local_name(paragraph) == "h" and text:
            level = attribute(paragraph, "outline-level")
            marks = "#" * (min(int(level), 6) if level.isdigit() and int(level) else 1)
            yield f"{marks} {' '.join(text.split())}"
        elif _is_page_number(paragraph, text):
            self._leave_out("page numbers", text)
        else:
            yield text
        for shape in further:
            yield from self.blocks_of(shape)

    def _items(self, parent: etree._Element, level: int) -> Iterator[str]:
        for item in parent:
            kind = local_name(item)
            mark = "- " if kind == "list-item" else ""
            for child in item if kind in ("list-item", "list-header") else ():
                if local_name(child) == "list":
                    yield from self._items(child, level + 1)
                else:
                    for block in self.blocks_of(child):
                        yield "  " * min(level, 8) + mark + block

    def _rows(self, table: etree._Element) -> list[str]:
        rows = list(rows_of(table))
        header = sum(1 for _, is_header in rows if is_header)
        grid = [list(self._cells(row)) for row, _ in rows]
        if [len(row) for row in grid] == [1] and "\n" in grid[0][0].text:
            return [grid[0][0].text]  # a frame around text
        return grid_lines(grid, header or None)

    def _cells(self, row: etree._Element) -> Iterator[Cell]:
        for cell in row:
            kind = local_name(cell)
            text = self.read(cell) if kind in ("table-cell", "covered-table-cell") else ""
            if len(text) <= MAX_VALUE:
                text = " ".join(text.split())
            if kind == "covered-table-cell":
                self._leave_out("hidden text", text)
            elif kind == "table-cell":
                columns = count_of(cell, "number-columns-spanned")
                repeated = min(count_of(cell, "number-columns-repeated"), _MAX_REPEATED)
                yield Cell(text, count_of(cell, "number-rows-spanned"), columns)
                yield from [Cell("")] * (repeated - 1)

    def _object(self, element: etree._Element) -> Iterator[str]:
        """An embedded chart, formula, sheet or text."""
        root = self._open_object(attribute(element, "href")) if self._depth < _MAX_OBJECTS else None
        if root is None:
            return
        if local_name(root) == "math":
            names = (
                child for child in root.iter() if local_name(child) in ("mi", "mn", "mo", "ms")
            )
            yield " ".join(" ".join(child.text or "" for child in names).split())
            return
        self._depth += 1
        for body in root.iterfind("{*}body"):
            yield from self.blocks(body)
        self._depth -= 1

    def words(self, paragraph: etree._Element, further: list[etree._Element]) -> str:
        """The text of a paragraph; shapes in it are added to `further`."""
        text = "".join(self._pieces(paragraph, further))
        return "\n".join(" ".join(line.split(" ")).strip() for line in text.split("\n")).strip()

    def _pieces(self, parent: etree._Element, further: list[etree._Element]) -> Iterator[str]:
        yield parent.text or ""
        for child in parent:
            kind = local_name(child)
            if kind == "note":
                for body in child.iterfind("{*}note-body"):
                    self.notes.append(" ".join(self.read(body).split()))
                for citation in child.iterfind("{*}note-citation"):
                    self._is_text(citation)
            elif kind in _SIGNS:
                yield _SIGNS[kind]
            elif kind in _SHAPES:
                further.append(child)
            elif self._is_text(child):
                yield from self._pieces(child, further)
            yield child.tail or ""


def author_of(annotation: etree._Element) -> str:
    """The author of a comment, before its text: "Ada: "; empty if there is none."""
    names = (" ".join((name.text or "").split()) for name in annotation.iterfind("{*}creator"))
    name = next(names, "")
    return f"{name}: " if name else ""


def rows_of(
    table: etree._Element, *, header: bool = False
) -> Iterator[tuple[etree._Element, bool]]:
    """The rows of a table, without those of tables in it, and whether they name the columns."""
    for child in table:
        kind = local_name(child)
        if kind == "table-row":
            yield child, header
        elif kind in _ROW_GROUPS:
            yield from rows_of(child, header=header or kind == "table-header-rows")


def count_of(element: etree._Element, name: str) -> int:
    """A number that an attribute states; 1 without one."""
    stated = attribute(element, name)
    return int(stated) if stated.isdecimal() and len(stated) < 9 else 1


def _is_page_number(paragraph: etree._Element, text: str) -> bool:
    """Whether a paragraph says nothing but the number of its page."""
    fields: Iterable[etree._Element] = paragraph.iter("{*}page-number")
    words = [word for word in text.split() if any(map(str.isalpha, word))]
    return next(iter(fields), None) is not None and len(words) <= _MAX_PAGE_WORDS
