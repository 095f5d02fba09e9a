"""Separates the text of a web page from what stands around it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

from retriever.reading.markup.html_furniture import BESIDE, furniture, is_main
from retriever.reading.markup.html_sizes import Size, measure

_MAIN_SHARE = 0.4  # of the page's words: with less, `<main>` does not hold the text
_MAX_FRAMES = 4
_INLINE = frozenset(
    [
        *["abbr", "b", "bdi", "bdo", "br", "cite", "code", "del", "dfn", "em", "font", "i", "img"],
        *["ins", "kbd", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub"],
        *["sup", "time", "tt", "u", "var", "wbr"],
    ]
)
_OVERLAY = re.compile(
    r"(?:.*[-_])?(?:popup|modal|overlay|lightbox|drawer|offcanvas|toast|cookies?|consent|gdpr|"
    r"newsletter|subscribe|signup|login)(?:[-_].*)?",
    re.IGNORECASE,
)
_TEXTS = frozenset(
    [
        *["article", "section", "p", "blockquote", "table", "figure", "dl", "pre", "details"],
        *["h1", "h2", "h3", "h4", "h5", "h6"],
    ]
)


def left_out_parts(root: etree._Element, *, book: bool = False) -> dict[etree._Element, str]:
    """The elements below `root` that are not text, each with what it is.

    Everything in the main parts is text but furniture. Beside them only what reads as text is.
    """
    dropped = furniture(root, book=book)
    mains = set(_mains(root, dropped))
    if mains and not book:
        sizes = measure(root, without=dropped)
        words = sum(sizes[main].words for main in mains)
        if words >= _MAIN_SHARE * sizes[root].words:
            for element in _beside(mains, dropped):
                if not _is_text(element, sizes[element]):
                    dropped[element] = BESIDE
    return dropped


def _mains(root: etree._Element, dropped: dict[etree._Element, str]) -> Iterator[etree._Element]:
    """The main parts of a page, the outermost ones."""
    walker = etree.iterwalk(root, events=("start",))
    for _, element in walker:
        if element in dropped:
            walker.skip_subtree()
        elif isinstance(element.tag, str) and is_main(element):
            walker.skip_subtree()
            yield element


def _beside(
    mains: set[etree._Element], dropped: dict[etree._Element, str]
) -> Iterator[etree._Element]:
    """The largest elements beside the main parts."""
    frames = {above for main in mains for above in main.iterancestors()}
    for frame in frames:
        for element in frame.iterchildren(etree.Element):
            if element not in frames and element not in mains and element not in dropped:
                yield element


def _is_text(element: etree._Element, size: Size) -> bool:
    """Whether an element beside the main part reads as text."""
    if size.words == 0 or size.mostly_links:
        return size.words == 0
    if element.tag in _INLINE or element.tag in ("header", "footer"):
        return True  # a part of a sentence, or one that holds the title or the notes
    if element.tag in _TEXTS:
        return size.run >= 3 or size.headings > 0
    if any(map(_OVERLAY.fullmatch, _names(element))):
        return False
    if size.headings > 0:
        return size.run >= 5
    return size.run >= 8 and size.controls == 0


def _names(element: etree._Element) -> list[str]:
    """The classes and ids of an element, and of those that are all there is in it."""
    names: list[str] = []
    for _ in range(_MAX_FRAMES):
        names += f"{element.get('class') or ''} {element.get('id') or ''}".split()
        if len(element) != 1 or (element.text or "").strip() or (element[0].tail or "").strip():
            break
        element = element[0]
    return names


def is_layout(row: etree._Element) -> bool:
    """Whether a table row is used for layout instead of data."""
    if row.find(".//table") is not None:
        return True
    table = next(row.iterancestors("table"), None)
    if table is not None and table.get("role") == "presentation":
        return True
    return any(_is_column(cell) for cell in row.iterchildren("td"))


def _is_column(cell: etree._Element) -> bool:
    blocks = sum(1 for _ in cell.iter("p", "h1", "h2", "h3", "ul", "div"))
    return blocks > 1 and sum(map(len, cell.itertext())) > 500
