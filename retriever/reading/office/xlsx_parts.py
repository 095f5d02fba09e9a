"""What stands beside the cells of a workbook: merged cells, names of columns, comments, drawings.

openpyxl gives none of it when it reads row by row, so the parts of the package are read here.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, NamedTuple

from lxml import etree

from retriever.reading import archives
from retriever.reading.archives import attribute, local_name
from retriever.reading.office.drawings import diagram_lines, words
from retriever.reading.office.package import Package
from retriever.reading.options import ReadOptions
from retriever.reading.tables import rows
from retriever.reading.tables.columns import TableRow
from retriever.reading.tables.grid import MergedCells, Span
from retriever.types import LeftOut, Page

# A formula without a stored result: the writing program did not calculate it.
_UNCALCULATED = re.compile(rb"(?:</f>|<f[^>]{0,300}/>)\s*(?:<v\s*/>|<v></v>|</c>)")
_END = re.compile(rb"</(?:\w+:)?sheetData>|<(?:\w+:)?sheetData\s*/>")
_RANGE = re.compile(r"\$?([A-Z]{1,3})\$?(\d{1,7})(?::\$?([A-Z]{1,3})\$?(\d{1,7}))?")
_CODES = re.compile(r'&(?:"[^"]*"|K[0-9A-Fa-f]{6}|K\d\d[+-]\d{3}|\d{1,3}|[LCRBIUESXYOHGPNDTFAZ])')
_COPY = "[Threaded comment]"
_MAX_TAIL = 20_000_000  # bytes of a sheet behind its cells


class _Range(NamedTuple):
    """Some cells, by their first and last column and row, each from 1."""

    column: int
    row: int
    last_column: int
    last_row: int

    @property
    def span(self) -> Span:
        """The range as a merged cell."""
        return Span(self.column - 1, self.last_column - self.column + 1, self.last_row)


@dataclass(slots=True)
class Layout:
    """What a sheet says about its cells before and behind them."""

    uncalculated: int = 0
    """The number of formulas without a stored result."""

    merged: dict[int, list[_Range]] = field(default_factory=dict)
    """Merged cells by their first row."""

    header: int = 0
    """The row with the names of the columns, by the sheet's filter; 0 if there is none."""

    headers: list[str] = field(default_factory=list)
    """The headers and footers for printing."""

    def rows(self, table: Iterable[TableRow], header_rows: frozenset[int]) -> Iterator[TableRow]:
        """The rows with merged cells repeated downwards, and with the names of columns marked."""
        merged = MergedCells()
        above = 0  # filled cells of the row above: several may be names of groups of columns
        for plain in table:
            begins = self.merged.get(plain.number, [])
            row = merged.row(plain, [one.span for one in begins])
            marked = row.number in header_rows or row.number == self.header
            own = len(row.own)
            yield row._replace(header=True) if marked and own > 1 and above < 2 else row
            above = own


def read_layout(data: bytes, path: str) -> Layout:
    """Read the part of a sheet for all but its cells, without holding it in memory."""
    layout = Layout()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(path) as part:
            tail = _read_tail(part, layout)
    except (KeyError, zipfile.BadZipFile, OSError, EOFError, ValueError):
        return Layout()
    text = tail.decode("utf-8", "replace")
    for tag in re.findall(r"<(?:\w+:)?mergeCell\s[^>]*>", text):
        found = _range_of(tag)
        if found:
            layout.merged.setdefault(found.row, []).append(found)
    filtered = _range_of(next(iter(re.findall(r"<(?:\w+:)?autoFilter\s[^>]*>", text)), ""))
    layout.header = filtered.row if filtered else 0
    for _, coded in re.findall(
        r"<(?:\w+:)?((?:odd|even|first)(?:Header|Footer))(?:\s[^>]*)?>([^<]*)<", text
    ):
        shown = " ".join(_CODES.sub(" ", _unescaped(coded)).replace("&&", "&").split())
        layout.headers += [shown] if any(map(str.isalpha, shown)) else []
    return layout


def _read_tail(part: IO[bytes], layout: Layout) -> bytes:
    """Count formulas on the way, and return what follows the cells."""
    held = after = b""
    inside = True
    while block := part.read(1 << 20):
        if not inside:
            after += block if len(after) < _MAX_TAIL else b""
            continue
        text = held + block
        # A match that begins in the last bytes counts with the next block.
        edge = max(0, len(text) - 4_096)
        layout.uncalculated += sum(one.start() < edge for one in _UNCALCULATED.finditer(text))
        end = _END.search(text)
        held = text[edge:]
        if end:
            inside, after, held = False, text[end.end() :], text[edge : end.start()]
    layout.uncalculated += len(_UNCALCULATED.findall(held))
    return after


def _range_of(tag: str) -> _Range | None:
    """The range of the attribute `ref` of a tag."""
    stated = re.search(r'\sref="([^"]*)"', tag)
    found = _RANGE.fullmatch(stated[1]) if stated else None
    if found is None:
        return None
    column, row, last_column, last_row = found.groups()
    return _Range(_column(column), int(row), _column(last_column or column), int(last_row or row))


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def _unescaped(text: str) -> str:
    for name, sign in (("lt", "<"), ("gt", ">"), ("quot", '"'), ("apos", "'"), ("amp", "&")):
        text = text.replace(f"&{name};", sign)
    return text


class Parts:
    """The comments, drawings, headers and footers of all sheets."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self._pages: list[Page] = []
        self._headers: dict[str, None] = {}
        self._sheets: list[str] = []
        self.left_out: list[LeftOut] = []
        self._people = dict(self._persons())

    def header_rows(self, sheet: str) -> frozenset[int]:
        """The rows of a sheet that hold the names of a table's columns."""
        found: set[int] = set()
        for path in self._package.related(sheet, "table"):
            root = self._package.tree(path)
            stated = None if root is None else _RANGE.fullmatch(attribute(root, "ref"))
            if root is not None and stated and attribute(root, "headerRowCount") != "0":
                found.add(int(stated[2]))
        return frozenset(found)

    def add_sheet(self, position: int, title: str, sheet: str, headers: Sequence[str]) -> None:
        """Read the comments and drawings of a sheet."""
        self._sheets.append(sheet)
        self._headers |= dict.fromkeys(headers)
        label = f"sheet {title}"
        comments = [*self._threaded(sheet), *self._comments(sheet)]
        texts = list(self._drawings(sheet))
        for kind, lines in (("comments", comments), ("text boxes", texts)):
            if lines:
                self._pages.append(rows.page_of(position, "\n\n".join(lines), f"{label}, {kind}"))

    def pages(self) -> Iterator[Page]:
        """The pages of what was read."""
        yield from self._pages
        charts = [text for path in self._chart_sheets() for text in self._drawings(path)]
        if charts:
            yield rows.page_of(None, "\n\n".join(charts), "chart sheets")
        if self._headers:
            yield rows.page_of(None, "\n\n".join(self._headers), "headers and footers")

    def embedded(self, options: ReadOptions) -> list[Page]:
        """The pages of files that are embedded in sheets."""
        return self._package.embedded_pages(self._sheets, options)

    def _chart_sheets(self) -> list[str]:
        return self._package.related(self._package.main, "chartsheet")

    def _persons(self) -> Iterator[tuple[str, str]]:
        for path in self._package.related(self._package.main, "person"):
            root = self._package.tree(path)
            for person in root if root is not None else ():
                yield attribute(person, "id"), attribute(person, "displayName")

    def _trees(self, part: str, *kinds: str) -> Iterator[tuple[str, etree._Element]]:
        for one in self._package.relations(part):
            if one.kind in kinds:
                tree = self._package.tree(one.target)
                if tree is not None:
                    yield one.target, tree

    def _threaded(self, sheet: str) -> Iterator[str]:
        """Comments with answers, as new programs write them."""
        for _, root in self._trees(sheet, "threadedComment"):
            for comment in root.iterfind("{*}threadedComment"):
                text = "".join(part.text or "" for part in comment.iterfind("{*}text"))
                author = self._people.get(attribute(comment, "personId"), "")
                yield _comment(attribute(comment, "ref"), author, text)

    def _comments(self, sheet: str) -> Iterator[str]:
        """Comments (notes), but not the copies of the threaded ones for old programs."""
        for _, root in self._trees(sheet, "comments"):
            authors = [author.text or "" for author in root.iterfind("{*}authors/{*}author")]
            for comment in root.iter("{*}comment"):
                text = _plain(comment)
                number = attribute(comment, "authorId")
                at = int(number) if number.isdecimal() else len(authors)
                author = authors[at] if at < len(authors) else ""
                if text.startswith(_COPY) or author.startswith("tc="):
                    self.left_out.append(LeftOut("copies of comments", text))
                elif text:
                    known = author if not text.startswith(author) else ""
                    yield _comment(attribute(comment, "ref"), known, text)

    def _drawings(self, sheet: str) -> Iterator[str]:
        """The text boxes and diagrams of a sheet, and the titles of its charts."""
        for path, root in self._trees(sheet, "drawing"):
            targets = {one.id: one.target for one in self._package.relations(path)}
            for element in archives.first_forms(root).iter():
                kind = local_name(element)
                if kind == "txBody":
                    texts = [_plain(line) for line in element.iterfind("{*}p")]
                    yield from filter(None, ["\n".join(filter(None, texts))])
                elif kind in ("chart", "relIds"):
                    target = attribute(element, "id" if kind == "chart" else "dm")
                    part = self._package.tree(targets.get(target, ""))
                    drawn = [] if part is None else _drawn(kind, part)
                    yield from filter(None, ["\n".join(filter(None, drawn))])


def _drawn(kind: str, part: etree._Element) -> list[str]:
    """The text of a diagram; of a chart the titles only, because its data is in the cells."""
    if kind == "relIds":
        return diagram_lines(part)
    return [words(title) for title in part.iter("{*}title")]


def _comment(cell: str, author: str, text: str) -> str:
    """A comment with its cell and author: "B3, Ada: Is this right?"."""
    place = ", ".join(filter(None, [cell, " ".join(author.split())]))
    return f"{place}: {text.strip()}" if place else text.strip()


def _plain(element: etree._Element) -> str:
    """The text of runs, without readings (ruby)."""
    pieces: list[str] = []
    for one in element.iter():
        kind = local_name(one)
        if kind == "t" and local_name(one.getparent()) != "rPh":
            pieces.append(one.text or "")
        elif kind == "br":
            pieces.append("\n")
    return "".join(pieces).strip()
