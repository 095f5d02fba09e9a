"""PowerPoint presentations: each slide a page, its title a heading, notes and comments last.

Placeholders come first, in the order of their layout, then other shapes from top to bottom and left
to right. Tables and chart data become rows, diagrams (SmartArt) become lists. Hidden slides are
read and marked. Headers, footers and what the layouts show on their slides are a part of their own,
and so is each embedded file. Numbers and dates of slides are left out, as are descriptions of
pictures.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from lxml import etree

from retriever.reading import archives, extras
from retriever.reading.archives import attribute, local_name
from retriever.reading.facts import clean_title, package_facts
from retriever.reading.office import package
from retriever.reading.office.drawings import chart_lines, diagram_lines
from retriever.reading.office.package import Package
from retriever.reading.options import PAGE_SECONDS, ReadOptions
from retriever.reading.pages import error_text, make_page, too_long_page
from retriever.reading.tables.grid import Cell, grid_lines
from retriever.types import Document, LeftOut, Page, PageState, ReadError

MAX_SLIDES = 5_000
_MAX_SHAPES = 5_000  # of one slide, those in groups included
_DESCRIPTION = "a PowerPoint presentation"
_REPEATED = frozenset(["dt", "ftr", "sldNum", "hdr", "sldImg"])
_RUNNING = frozenset(["ftr", "hdr"])
_TITLES = frozenset(["title", "ctrTitle"])
_SLIDE = re.compile(r"ppt/slides/slide(\d+)\.xml")
_RELATED = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}dm"


def read_pptx(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read a PPTX file, also a show or a template."""
    large = archives.too_large_reason(data, _DESCRIPTION)
    if large:
        return Document(name, "pptx", (too_long_page(None, large),))
    data = package.usual(data)
    library: Any = extras.load("pptx", "office", "PowerPoint files")
    try:
        show = library.Presentation(io.BytesIO(data))
        slides = list(islice(show.slides, MAX_SLIDES + 1))
    # Damaged packages raise many types of exception; the user sees one message.
    except Exception as error:  # noqa: BLE001 - see the line above
        return Document(name, "pptx", tuple(_bare_pages(data, error)))
    area = (show.slide_width or 0) * (show.slide_height or 0)
    beside = _Beside(Package(data), slides)
    pages = [_page(number, slide, area, beside, options) for number, slide in enumerate(slides, 1)]
    if len(pages) > MAX_SLIDES:
        pages[-1] = replace(
            too_long_page(len(pages), f"only the first {MAX_SLIDES:,} slides are read"),
            reason=f"only the first {MAX_SLIDES:,} slides are read; split the presentation",
            label="further slides",
        )
    if not pages:
        pages = [Page(None, "", PageState.EMPTY, "no slides in it")]
    pages += beside.pages(options)
    facts = _facts(show, slides, name)
    return Document(name, "pptx", tuple(pages), left_out=tuple(beside.left_out), **facts)


class _Beside:
    """What stands beside the shapes of the slides, and what is left out."""

    def __init__(self, package: Package, slides: list[Any]) -> None:
        self._package = package
        self._slides = slides
        self._running: dict[str, None] = {}
        self._authors = dict(self._people())
        self.left_out: list[LeftOut] = []

    def add_repeated(self, shapes: Iterable[Any]) -> None:
        """Collect the headers, footers, numbers and dates among some shapes."""
        for shape in shapes:
            kind = _placeholder(shape.element)
            text = "\n".join(_texts(shape.element)) if kind in _REPEATED else ""
            fixed = kind == "dt" and shape.element.find(".//{*}fld") is None
            if text and (kind in _RUNNING or fixed):
                self._running[text] = None
            elif text:
                self.left_out.append(LeftOut("slide numbers and dates", text))

    def pages(self, options: ReadOptions) -> list[Page]:
        """The headers and footers, with the text of layouts; then the embedded files."""
        texts = dict.fromkeys([*self._running, *self._layout_texts()])
        page = make_page(None, "\n\n".join(texts))
        found = [] if page.state is PageState.EMPTY else [page]
        parts = [self._part(slide) for slide in self._slides]
        return [
            *(replace(one, label="headers and footers") for one in found),
            *self._package.embedded_pages(parts, options),
        ]

    def comments(self, slide: Any) -> Iterator[str]:
        """The comments on a slide, of old and new programs."""
        for path in self._package.related(self._part(slide), "comments"):
            root = self._package.tree(path)
            for comment in root.iter("{*}cm", "{*}reply") if root is not None else ():
                author = self._authors.get(attribute(comment, "authorId"), "")
                bodies = [one for one in comment if local_name(one) in ("text", "txBody")]
                text = "\n".join(line for body in bodies for line in _comment_lines(body))
                if text:
                    yield "Comment: " + (f"{author}: {text}" if author else text)

    @staticmethod
    def _part(slide: Any) -> str:
        return str(slide.part.partname).lstrip("/")

    def _people(self) -> Iterator[tuple[str, str]]:
        for kind in ("commentAuthors", "authors"):
            for path in self._package.related(self._package.main, kind):
                root = self._package.tree(path)
                for author in root if root is not None else ():
                    yield attribute(author, "id"), " ".join(attribute(author, "name").split())

    def _layout_texts(self) -> Iterator[str]:
        """The texts that layouts and masters show on their slides."""
        layouts: dict[str, Any] = {}
        for slide in self._slides:
            try:
                layout = slide.slide_layout
                layouts[str(layout.part.partname)] = layout.element
                master = layout.slide_master
                layouts[str(master.part.partname)] = master.element
            except Exception:  # noqa: BLE001, S112 - the layout is damaged; the slide counts
                continue
        for element in layouts.values():
            for shape in archives.first_forms(element).iter("{*}sp"):
                if _placeholder(shape) is None:
                    yield "\n".join(_texts(shape))


def _comment_lines(body: etree._Element) -> list[str]:
    return [(body.text or "").strip()] if not len(body) else _texts(body)


def _texts(parent: etree._Element) -> list[str]:
    """The lines of all paragraphs with text below an element."""
    return [line for line in _paragraphs(parent) if line.strip()]


def _facts(show: Any, slides: list[Any], name: str) -> dict[str, Any]:
    """Title, author, date and metadata; without a stated title that of the cover."""
    try:
        core = show.core_properties
        facts = package_facts(core, "" if core.author == "python-pptx" else core.author, name)
        return {**facts, "title": facts["title"] or clean_title(_cover(slides), name)}
    except Exception:  # noqa: BLE001 - properties are optional; the text is what counts
        return {}


def _cover(slides: list[Any]) -> str:
    """The title of a first slide with a cover layout."""
    for shape in slides[0].shapes if slides else ():
        if _placeholder(shape.element) == "ctrTitle":
            return " ".join(_paragraphs(shape.element))
    return ""


def _page(number: int, slide: Any, area: int, beside: _Beside, options: ReadOptions) -> Page:
    label = f"slide {number}"
    try:
        archives.first_forms(slide.element)
        shapes = list(islice(_flatten(slide.shapes), _MAX_SHAPES))
        blocks = [block for shape in _in_order(shapes) if (block := _block(shape))]
        notes = [*_notes(slide, beside), *beside.comments(slide)]
        beside.add_repeated(shapes)
        hidden = slide.element.get("show") in ("0", "false")
    # A damaged slide does not affect the others.
    except Exception as error:  # noqa: BLE001 - see the line above
        return Page(number, "", PageState.FAILED, f"broken: {error_text(error)}", label)
    options.extend_deadline(PAGE_SECONDS)
    page = replace(make_page(number, "\n\n".join([*blocks, *notes]), "no text on it"), label=label)
    if page.state is PageState.EMPTY and _is_picture(shapes, area):
        reason = "a picture fills it: its words can only be recognised (OCR)"
        page = replace(page, state=PageState.SCANNED, reason=reason)
    if hidden:
        page = replace(page, reason="; ".join(filter(None, ["a hidden slide", page.reason])))
    return page


def _is_picture(shapes: list[Any], area: int) -> bool:
    """Whether pictures cover at least half of the slide."""
    covered = 0
    for shape in shapes:
        if local_name(shape.element) == "pic":
            covered += (shape.width or 0) * (shape.height or 0)
    return area > 0 and 2 * covered >= area


def _flatten(shapes: Iterable[Any]) -> Iterator[Any]:
    """All shapes, with groups replaced by their members."""
    stack = [iter(shapes)]
    while stack:
        shape = next(stack[-1], None)
        if shape is None:
            stack.pop()
        elif local_name(shape.element) == "grpSp":
            stack.append(iter(shape.shapes))
        else:
            yield shape


def _placeholder(shape: etree._Element) -> str | None:
    """The type of a placeholder ("title", "body", "ftr", …); None for other shapes."""
    found = next(shape.iterfind("./{*}*/{*}nvPr/{*}ph"), None)
    return None if found is None else str(found.get("type", "obj"))


def _in_order(shapes: list[Any]) -> list[Any]:
    """The title, the other placeholders in layout order, then the rest by position."""
    titles: list[Any] = []
    held: list[tuple[int, Any]] = []
    free: list[Any] = []
    for shape in shapes:
        kind = _placeholder(shape.element)
        if kind in _TITLES:
            titles.append(shape)
        elif kind is None:
            free.append(shape)
        elif kind not in _REPEATED:
            held.append((shape.placeholder_format.idx, shape))
    held.sort(key=lambda pair: pair[0])
    return [*titles, *(shape for _, shape in held), *_by_place(free)]


def _by_place(shapes: list[Any]) -> list[Any]:
    """From top to bottom; shapes that begin above the middle of another are beside it."""
    ordered = sorted(shapes, key=lambda shape: (shape.top or 0, shape.left or 0))
    bands: list[list[Any]] = []
    middle = 0.0
    for shape in ordered:
        top = shape.top or 0
        if not bands or top >= middle:
            bands.append([])
            middle = top + max(1, (shape.height or 0) / 2)
        bands[-1].append(shape)
    return [shape for band in bands for shape in sorted(band, key=lambda one: one.left or 0)]


def _block(shape: Any) -> str:
    """The text of a shape; empty for pictures and lines."""
    kind = local_name(shape.element)
    if kind == "graphicFrame":
        return _frame(shape)
    if kind != "sp":
        return ""
    placeholder = _placeholder(shape.element)
    lines = [line for line in _paragraphs(shape.element, placeholder) if line.strip()]
    if placeholder in _TITLES:
        words = " ".join(" ".join(lines).split())
        return f"# {words}" if words else ""
    return "\n".join(lines)


def _paragraphs(parent: etree._Element, placeholder: str | None = None) -> list[str]:
    """The paragraphs of a shape, with list markers.

    In content placeholders every paragraph is a list item unless it says otherwise; a single
    paragraph is not.
    """
    found = [paragraph for paragraph in parent.iter("{*}p") if local_name(paragraph) == "p"]
    listed = placeholder in ("obj", "body") and len([p for p in found if _words(p)]) > 1
    return [_line(paragraph, listed=listed) for paragraph in found]


def _line(paragraph: etree._Element, *, listed: bool) -> str:
    words = _words(paragraph)
    marks = {local_name(mark) for mark in paragraph.iterfind("./{*}pPr/*")}
    level = next((str(p.get("lvl", "0")) for p in paragraph.iterfind("./{*}pPr")), "0")
    if not words or "buNone" in marks or not (listed or marks & {"buChar", "buAutoNum"}):
        return words
    return "  " * (int(level) if level in tuple("12345678") else 0) + "- " + words


def _words(paragraph: etree._Element) -> str:
    pieces: list[str] = []
    for element in paragraph.iter():
        kind = local_name(element)
        if kind == "t":
            pieces.append(element.text or "")
        elif kind in ("br", "tab"):
            pieces.append("\n" if kind == "br" else "\t")
    return "\n".join(" ".join(line.split(" ")).strip() for line in "".join(pieces).split("\n"))


def _frame(shape: Any) -> str:
    """A table, chart or diagram as text; empty for other objects."""
    if shape.has_table:
        return _table(shape.table)
    if shape.has_chart:
        return "\n".join(filter(None, chart_lines(shape.chart._chartSpace)))
    data = next((found.get(_RELATED) for found in shape.element.iter("{*}relIds")), None)
    return _diagram(shape.part.related_part(data).blob) if data else ""


def _table(table: Any) -> str:
    grid = [
        [
            Cell(
                " ".join(cell.text.split()),
                cell.span_height if cell.is_merge_origin else 1,
                cell.span_width if cell.is_merge_origin else 1,
            )
            for cell in row.cells
            if not cell.is_spanned
        ]
        for row in table.rows
    ]
    return "\n".join(grid_lines(grid, min_columns=2))


def _diagram(blob: bytes) -> str:
    """The texts of a diagram, in document order."""
    return "\n".join(diagram_lines(archives.parsed(blob)))


def _notes(slide: Any, beside: _Beside) -> list[str]:
    """The speaker notes of the slide, and other text on their page."""
    if not slide.has_notes_slide:
        return []
    shapes = list(_flatten(slide.notes_slide.shapes))
    beside.add_repeated(shapes)
    kept = [shape for shape in shapes if _placeholder(shape.element) not in _REPEATED]
    text = "\n".join(line for shape in kept for line in _texts(shape.element))
    return [f"Notes: {text}"] if text else []


def _bare_pages(data: bytes, error: Exception) -> Iterator[Page]:
    """The text of the slides alone, for a package with damaged layouts or relationships."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = [_SLIDE.fullmatch(name) for name in archive.namelist()]
    numbers = sorted(int(match[1]) for match in found if match)[:MAX_SLIDES]
    pages = [_bare_page(data, number) for number in numbers]
    if not any(page.state.readable for page in pages):
        raise ReadError(archives.broken_reason(error, _DESCRIPTION))
    yield from pages


def _bare_page(data: bytes, number: int) -> Page:
    label = f"slide {number}"
    try:
        lines = _paragraphs(archives.tree(data, f"ppt/slides/slide{number}.xml"))
    except Exception as error:  # noqa: BLE001 - the slide is damaged; the others are not
        return Page(number, "", PageState.FAILED, f"broken: {error_text(error)}", label)
    text = "\n".join(line for line in lines if line.strip())
    page = replace(make_page(number, text, "no text on it"), label=label)
    note = "the presentation is damaged: its words are read without their order and notes"
    return replace(page, reason=note) if page.state.readable else page
