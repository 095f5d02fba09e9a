"""Separates the text of a web page from navigation, banners and footers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lxml import etree

_NEVER = frozenset(
    [
        *["script", "style", "noscript", "template", "svg", "iframe", "object", "embed", "applet"],
        *["canvas", "audio", "video", "map", "select", "button", "input", "textarea", "datalist"],
        *["nav", "head", "title", "rt", "rp", "frameset"],
    ]
)
_ROLES = frozenset(
    [
        *["navigation", "banner", "contentinfo", "search", "complementary", "dialog", "alert"],
        *["alertdialog", "menu", "menubar", "toolbar", "tablist", "tooltip"],
    ]
)
_NOTES = ("note", "doc-")  # an aside that is a footnote is text
_CHROME = re.compile(
    r"(?:main|site|page|top|global|primary|secondary|left|right|footer|header|mobile)?[-_]?"
    r"(?:nav(?:bar|igation)?|menu|sidebar|breadcrumbs?|cookies?|cookie[-_]?(?:banner|notice|bar|"
    r"consent|popup|message|law)|consent|gdpr|skip[-_]?(?:link|to[-_]?content)|social(?:[-_]?(?:"
    r"share|links|media|icons))?|share(?:[-_]?(?:buttons|bar|links))?|sharing|newsletter|"
    r"advert(?:s|isement)?|ads?|ad[-_](?:banner|container|slot)|popup|modal|pagination|pager|"
    r"related[-_]?(?:posts|articles|links)|site[-_]?(?:header|footer)|footer|masthead|print[-_]?"
    r"only|sr[-_]only|visually[-_]hidden)(?:[-_](?:wrapper|container|links|menu|list|bar))?",
    re.IGNORECASE,
)
_CONTAINERS = frozenset(["div", "section", "ul", "ol", "table", "p", "form", "span", "a", "aside"])
_LISTS = frozenset(["ul", "ol", "div", "table", "p"])
_INSIDE = frozenset(["article", "main"])
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_MAIN_SHARE = 0.4  # of the page's text: with less, `<main>` does not hold the text
_CHROME_SHARE = 0.4  # of the page's text: larger elements are not dropped by class
_LIST_SHARE = 0.2  # of the page's text: a larger list of links is content


@dataclass(slots=True)
class _Size:
    """Counts below an element: visible characters, characters in links, links."""

    characters: int = 0
    linked: int = 0
    links: int = 0


def text_parts(root: etree._Element) -> tuple[etree._Element, set[etree._Element]]:
    """The element that holds the text, and the elements below it to drop."""
    bodies = root.findall(".//body")
    body = bodies[0] if len(bodies) == 1 else root
    sizes = _measure(body)
    dropped = _elements_to_drop(body, sizes)
    mains = [e for e in body.iter(etree.Element) if e.tag == "main" or e.get("role") == "main"]
    mains = [main for main in mains if main not in dropped]
    if mains:
        best = max(mains, key=lambda main: sizes[main].characters)
        rest = sizes[body].characters - sum(
            sizes[element].characters
            for element in dropped
            if not any(ancestor in dropped for ancestor in element.iterancestors())
        )
        if sizes[best].characters >= _MAIN_SHARE * rest:
            return best, dropped
    return body, dropped


def _measure(body: etree._Element) -> dict[etree._Element, _Size]:
    """The sizes of all elements, in one pass from the leaves up."""
    sizes: dict[etree._Element, _Size] = {}
    for _, element in etree.iterwalk(body, events=("end",)):
        size = sizes.setdefault(element, _Size())
        if element.tag in ("script", "style", "template", "noscript"):
            size = sizes[element] = _Size()
        else:
            size.characters += _visible(element.text)
        if element.tag == "a" and element.get("href") is not None:
            size.linked, size.links = size.characters, 1
        parent = element.getparent()
        if parent is not None and element is not body:
            above = sizes.setdefault(parent, _Size())
            above.characters += size.characters + _visible(element.tail)
            above.linked += size.linked
            above.links += size.links
    return sizes


def _visible(text: str | None) -> int:
    return sum(map(len, text.split())) if text else 0


def _elements_to_drop(
    body: etree._Element, sizes: dict[etree._Element, _Size]
) -> set[etree._Element]:
    whole = max(1, sizes[body].characters)
    inside: set[etree._Element] = set()  # elements within an article, a main part or a section
    dropped: set[etree._Element] = set()
    for element in body.iter(etree.Element):
        parent = element.getparent()
        if parent is not None and (parent in inside or parent.tag in _INSIDE):
            inside.add(element)
        if element is not body and _is_chrome(element, sizes[element], whole, element in inside):
            dropped.add(element)
    return dropped


def _is_chrome(element: etree._Element, size: _Size, whole: int, inside: bool) -> bool:
    tag, role = element.tag, (element.get("role") or "").lower()
    if tag in _NEVER or role in _ROLES or _is_hidden(element):
        return True
    if tag == "aside" and not _is_note(element, role):
        return True
    if tag in ("header", "footer"):
        return not inside and _frames_the_page(element)
    if tag in _CONTAINERS and _has_chrome_name(element):
        return size.characters < _CHROME_SHARE * whole
    is_list = tag in _LISTS and size.links >= 3 and size.linked >= 0.9 * size.characters
    return is_list and not inside and size.characters < _LIST_SHARE * whole


def _is_note(element: etree._Element, role: str) -> bool:
    kind = f"{element.get('epub:type', '')} {role}".lower()
    return any(note in kind for note in _NOTES)


def _is_hidden(element: etree._Element) -> bool:
    return (
        element.get("hidden") is not None
        or element.get("aria-hidden") == "true"
        or bool(_HIDDEN.search(element.get("style") or ""))
    )


def _frames_the_page(element: etree._Element) -> bool:
    """Whether a header or footer belongs to the page; a header with the `<h1>` is text."""
    if any(above.tag in ("section", "blockquote") for above in element.iterancestors()):
        return False
    return element.tag == "footer" or element.find(".//h1") is None


def _has_chrome_name(element: etree._Element) -> bool:
    names = f"{element.get('class') or ''} {element.get('id') or ''}".split()
    return any(_CHROME.fullmatch(name) for name in names)


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
