"""Word documents: the body in order, headings as `# …`, tables as rows.

python-docx opens the package and resolves styles. The body is walked here, because python-docx
skips content controls, text boxes, inserted text and footnotes. Headers, footers, comments and
deleted text are dropped. A Word file stores no page numbers.

mammoth 1.13 is no alternative: it loses equations, simple fields, outline levels and headings by a
derived style, joins words at a page break, and expands entities.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from lxml import etree

from retriever.reading import archives
from retriever.reading.archives import local_name
from retriever.reading.facts import package_facts
from retriever.reading.pages import make_page, too_long_page
from retriever.types import Document, ReadError

_DESCRIPTION = "a Word document"
_SKIPPED = frozenset(
    ["del", "moveFrom", "instrText", "delText", "pPr", "rPr", "sectPr", "Fallback"]
)
_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}
_HEADING = re.compile(r"(?:heading|überschrift|titre|título|titolo|rubrik|kop|nagłówek) ?([1-9])")
_TITLES = frozenset(["title", "titel", "book title"])


def read_docx(data: bytes, name: str) -> Document:
    """Read a DOCX file into one page."""
    large = archives.too_large_reason(data, _DESCRIPTION)
    if large:
        return Document(name, "docx", (too_long_page(None, large),))
    import docx  # slow to import, and not always needed

    try:
        document = docx.Document(io.BytesIO(data))
        body = _Body(document.element.body, _styles(document), list(_notes(document)))
        facts = _facts(document, name)
    # Damaged packages raise many types of exception; the user sees one message.
    except Exception as error:  # noqa: BLE001 - see the line above
        body, facts = _Body(_bare_body(data, error), _Styles(), []), {}
    page = make_page(None, body.text(), "no text in it")
    return Document(path=name, format="docx", pages=(page,), **facts)


def _bare_body(data: bytes, error: Exception) -> etree._Element:
    """The body alone, for a package with damaged styles, properties or relationships."""
    try:
        root = archives.tree(data, "word/document.xml")
    except Exception:  # noqa: BLE001 - the library's error says what is wrong with the file
        raise ReadError(archives.broken_reason(error, _DESCRIPTION)) from None
    body = _child(root, "body")
    if body is None:
        raise ReadError(archives.broken_reason(error, _DESCRIPTION))
    return body


def _facts(document: Any, name: str) -> dict[str, Any]:
    """Title, author, date and metadata; damaged properties count as missing."""
    try:
        core = document.core_properties
        return package_facts(core, core.author, name)
    except Exception:  # noqa: BLE001 - properties are optional; the text is what counts
        return {}


def _value(element: etree._Element | None, name: str = "val") -> str:
    """An attribute in any namespace (Word uses two); empty without an element."""
    return "" if element is None else archives.attribute(element, name)


def _child(element: etree._Element | None, *path: str) -> etree._Element | None:
    for step in path:
        if element is None:
            return None
        element = next((child for child in element if local_name(child) == step), None)
    return element


@dataclass(frozen=True, slots=True)
class _Styles:
    """Paragraph styles by id: heading levels, and list styles."""

    levels: dict[str, int] = field(default_factory=dict)
    lists: frozenset[str] = frozenset()


class _Body:
    """The text of a document, block by block."""

    def __init__(self, body: etree._Element, styles: _Styles, notes: list[etree._Element]) -> None:
        self._body = body
        self._styles = styles
        self._notes = notes
        self._tables = count()

    def text(self) -> str:
        """All blocks, separated by blank lines; list items and table rows by newlines."""
        blocks = [*self._blocks(self._body), *self._note_blocks()]
        pieces: list[str] = []
        before = ""
        for group, block in blocks:
            if block.strip():
                pieces.append(("\n" if group and group == before else "\n\n") + block)
                before = group
        return "".join(pieces).strip("\n")

    def _note_blocks(self) -> Iterator[tuple[str, str]]:
        for note in self._notes:
            yield "", " ".join(block for _, block in self._blocks(note)).strip()

    def _blocks(self, parent: etree._Element) -> Iterator[tuple[str, str]]:
        """Pairs (group, text) in order; blocks of one group, as of a table, stay together."""
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
            elif kind not in _SKIPPED:
                stack.append(iter(child))  # content controls, inserted blocks, custom XML

    def _paragraph(self, paragraph: etree._Element) -> Iterator[tuple[str, str]]:
        boxes: list[etree._Element] = []
        words = "".join(_runs(paragraph, boxes))
        text = "\n".join(" ".join(line.split(" ")).strip() for line in words.split("\n")).strip()
        level = self._level(paragraph)
        if text and level:
            yield "", "#" * min(level, 6) + " " + " ".join(text.split())
        elif text and self._is_item(paragraph):
            depth = _value(_child(paragraph, "pPr", "numPr", "ilvl"))
            yield "list", "  " * (int(depth) if depth in tuple("12345678") else 0) + "- " + text
        else:
            yield "", text
        for box in boxes:
            yield from self._blocks(box)

    def _is_item(self, paragraph: etree._Element) -> bool:
        """Whether the paragraph is a list item, by its own numbering or its style."""
        numbered = _child(paragraph, "pPr", "numPr")
        if numbered is not None:
            return _value(_child(numbered, "numId")) != "0"  # 0 removes the style's numbering
        return _value(_child(paragraph, "pPr", "pStyle")) in self._styles.lists

    def _level(self, paragraph: etree._Element) -> int:
        """The heading level from 1; 0 for ordinary text."""
        properties = _child(paragraph, "pPr")
        outline = _value(_child(properties, "outlineLvl"))
        if outline.isdigit() and int(outline) < 9:
            return int(outline) + 1
        style = _value(_child(properties, "pStyle"))
        named = re.fullmatch(r"Heading([1-9])", style)  # the style id is the same in every language
        return self._styles.levels.get(style, int(named[1]) if named else 0)

    def _table(self, table: etree._Element) -> Iterator[tuple[str, str]]:
        group = f"table {next(self._tables)}"
        for row in _below(table, "tr"):
            cells: list[str] = []
            for cell in _below(row, "tc"):
                if _value(_child(cell, "tcPr", "vMerge")) in ("", "continue") and _is_merged(cell):
                    continue
                cells.append(" ".join(" ".join(block for _, block in self._blocks(cell)).split()))
            if any(cells):
                yield group, " | ".join(filter(None, cells))


def _is_merged(cell: etree._Element) -> bool:
    """Whether the cell continues the cell above it."""
    return _child(cell, "tcPr", "vMerge") is not None


def _below(parent: etree._Element, kind: str) -> Iterator[etree._Element]:
    """Rows of a table or cells of a row, also in content controls, not of nested tables."""
    for child in parent:
        if local_name(child) == kind:
            yield child
        elif local_name(child) in ("sdt", "sdtContent", "ins", "customXml"):
            yield from _below(child, kind)


def _runs(paragraph: etree._Element, boxes: list[etree._Element]) -> Iterator[str]:
    """The text of a paragraph; its text boxes are collected in `boxes`."""
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
        elif kind == "txbxContent":
            boxes.append(child)
        elif kind == "AlternateContent":
            # Word stores a text box twice, for new and old programs; one is enough.
            stack.append(iter([next(iter(child), child)]) if len(child) else iter(()))
        elif kind not in _SKIPPED:
            stack.append(iter(child))


def _styles(document: Any) -> _Styles:
    """The document's heading and list styles, including derived styles."""
    levels: dict[str, int] = {}
    lists: set[str] = set()
    for style in document.styles:
        level = _style_level(style)
        if level:
            levels[style.style_id] = level
        elif _makes_list(style):
            lists.add(style.style_id)
    return _Styles(levels, frozenset(lists))


def _makes_list(style: Any) -> bool:
    for _ in range(10):  # as in _style_level
        if style is None:
            return False
        if _child(style.element, "pPr", "numPr") is not None:
            return True
        style = getattr(style, "base_style", None)
    return False


def _style_level(style: Any) -> int:
    if (style.name or "").strip().lower() in _TITLES:
        return 1
    for _ in range(10):  # a chain of base styles; damaged files contain cycles
        if style is None:
            return 0
        name = (style.name or "").strip().lower()
        heading = _HEADING.fullmatch(name)
        if heading:
            return int(heading[1])
        outline = _value(_child(style.element, "pPr", "outlineLvl"))
        if outline.isdigit() and int(outline) < 9:
            return int(outline) + 1
        style = getattr(style, "base_style", None)
    return 0


def _notes(document: Any) -> Iterator[etree._Element]:
    """Footnotes and endnotes, without separators."""
    for relation in document.part.rels.values():
        if relation.is_external or not relation.reltype.endswith(("/footnotes", "/endnotes")):
            continue
        parser = etree.XMLParser(resolve_entities=False, no_network=True)
        try:
            root = etree.fromstring(relation.target_part.blob, parser)
        except etree.XMLSyntaxError:
            continue
        yield from (note for note in root if not _value(note, "type"))
