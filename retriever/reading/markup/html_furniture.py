"""The furniture of a web page: navigation, banners, footers, forms and hidden text.

An element is furniture by its tag, its role, or its class together with what is in it: mostly
links, or controls. Within `<main>` and `<article>`, and in a book, a class alone is no reason, as
generators and authors name text so ("menu", "sidebar"); an id alone never is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from retriever.reading.markup.html_sizes import HEADINGS, Size, measure

NAVIGATION = "navigation"
BANNERS = "page headers and footers"
HIDDEN = "hidden text"
FORMS = "buttons and forms"
NOTICES = "notices and advertisements"
SCRIPTS = "scripts"
TITLES = "page titles"
BESIDE = "text beside the main part"

_BY_TAG = {
    **dict.fromkeys(["script", "style"], SCRIPTS),
    "head": "metadata",
    "title": TITLES,
    **dict.fromkeys(["select", "datalist"], FORMS),
    **dict.fromkeys(["audio", "video", "embed", "applet", "iframe"], "fallback text"),
    **dict.fromkeys(["rt", "rp"], "readings of characters"),
}
OWN_KINDS = {"script": SCRIPTS, "style": SCRIPTS, "title": TITLES}
"""Tags with a kind of their own, also within other parts that are left out."""

_IN_PICTURES = frozenset(["title", "desc", "metadata"])  # below svg: names, not labels
_NAVIGATION_ROLES = frozenset(["navigation", "menubar", "toolbar", "doc-toc", "doc-pagelist"])
_OUTER_ROLES = frozenset(["complementary", "dialog", "alertdialog", "alert", "tooltip"])
_NOTE = re.compile(
    r"(?:foot|end|side|margin)[-_]?notes?|fn|notes?|references|reflist|bibliography|tip|warning|"
    r"caution|danger|important|info|alert|admonition|callout|pull[-_]?quote|hint|example",
    re.IGNORECASE,
)
_NOTES = re.compile(r"(?:.*[-_])?(?:foot|end)[-_]?notes?(?:[-_].*)?|reflist", re.IGNORECASE)
_LINK_NAMES = (
    r"nav(?:bar|igation)?|menu|sidebar|breadcrumbs?|social|share|sharing|pagination|pager|footer|"
    r"masthead"
)
_NOTICE_NAMES = r"cookies?|consent|gdpr|newsletter|advert(?:s|isement)?|ads?|popup|modal"
_COMPOUND_NAMES = (
    r"cookie[-_]?(?:banner|notice|bar|consent|popup|message|law)|skip[-_]?(?:link|to[-_]?content)|"
    r"social[-_]?(?:share|links|media|icons)|share[-_]?(?:buttons|bar|links)|"
    r"ad[-_](?:banner|container|slot)|related[-_]?(?:posts|articles|links)|site[-_]?(?:header|"
    r"footer)"
)
_CHROME = re.compile(
    r"(?P<before>(?:main|site|page|top|global|primary|secondary|left|right|footer|header|mobile)"
    rf"?[-_]?)(?:(?P<link>{_LINK_NAMES})|(?P<notice>{_NOTICE_NAMES})|(?P<compound>"
    rf"{_COMPOUND_NAMES}))(?P<after>(?:[-_](?:wrapper|container|links|menu|list|bar))?)",
    re.IGNORECASE,
)
_TOOL = re.compile(r"copy|clip|close|dismiss", re.IGNORECASE)  # buttons that belong to a program
_OPENING = ("aria-controls", "data-target", "data-bs-target", "data-toggle-target", "data-tab")
_QUESTION = re.compile(r"accordion|collapsible|faq|question", re.IGNORECASE)  # buttons' classes
_QUOTED = re.compile(r"""["']#?([\w-]+)["']""")
_UNSEEN = re.compile(r"print[-_]?only|sr[-_]only|visually[-_]hidden", re.IGNORECASE)
_CONTAINERS = frozenset(
    ["div", "section", "ul", "ol", "table", "p", "form", "span", "a", "aside", "header", "dialog"]
)
_LISTS = frozenset(["ul", "ol", "div", "table", "p"])
_CONTENT = frozenset(["article", "main"])
_INVISIBLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_CHROME_SHARE = 0.4  # of the page's words: larger elements are not dropped by class
_LIST_SHARE = 0.2  # of the page's words: a larger list of links is content
_LONG = 30  # words of a hidden text that somebody wrote to be read
_PROSE = 20  # words without links that are more than a remark
_MAX_QUESTION = 500  # characters
_SENTENCE = 5  # words in one run of text


def is_main(element: etree._Element) -> bool:
    """Whether an element is marked as the main part of its page."""
    return bool(element.tag == "main" or _role(element) == "main")


def furniture(root: etree._Element, *, book: bool = False) -> dict[etree._Element, str]:
    """The elements that are no text of the page, and what each is; none is inside another."""
    page = _Page(root, book)
    found: dict[etree._Element, str] = {}
    inside = 0
    walker = etree.iterwalk(root, events=("start", "end"))
    for event, element in walker:
        if not isinstance(element.tag, str):
            continue
        content = element.tag in _CONTENT or is_main(element)
        if event == "end":
            inside -= content
        else:
            inside += content
            kind = page.kind(element, inside=book or inside > 0)
            if kind:
                found[element] = kind
                walker.skip_subtree()
    return found


@dataclass(frozen=True, slots=True)
class _Name:
    """What the class and the id of an element say."""

    by_class: bool = False
    notice: bool = False
    compound: bool = False


class _Page:
    """The facts of a page that its elements are judged by."""

    def __init__(self, root: etree._Element, book: bool) -> None:
        self._book = book
        self._sizes = measure(root)
        self._whole = max(1, self._sizes[root].words)
        self._has_title = root.find(".//h1") is not None
        self._has_panels = root.find(".//*[@role='tabpanel']") is not None
        self._opened = frozenset(_opened_ids(root))

    def kind(self, element: etree._Element, *, inside: bool) -> str:
        """What an element is; empty if it is text."""
        size = self._sizes[element]
        if element.tag in ("html", "body"):
            return ""
        return (
            _by_tag(element, size)
            or self._by_role(element, size, inside)
            or self._by_visibility(element, size)
            or self._by_control(element, size, inside)
            or self._by_place(element, size, inside)
            or self._by_name(element, size, inside)
            or self._by_links(element, size, inside)
        )

    def _by_role(self, element: etree._Element, size: Size, inside: bool) -> str:
        role = _role(element)
        if element.tag == "nav" or role in _NAVIGATION_ROLES:
            whole = size.words >= self._most and size.run >= _SENTENCE and not size.mostly_links
            return "" if whole else NAVIGATION
        if role == "tablist":
            return "" if inside or self._has_panels else NAVIGATION
        if role == "menu":
            return "" if size.unlinked >= _SENTENCE and not size.mostly_links else NAVIGATION
        if role == "search":
            return FORMS
        if inside or role not in _OUTER_ROLES:
            return ""
        shown = self._reads_as_text(element, size) and not (size.controls and "dialog" in role)
        return "" if shown or size.words > _CHROME_SHARE * self._whole else NOTICES

    def _by_visibility(self, element: etree._Element, size: Size) -> str:
        if _is_hidden(element):
            return "" if self._is_opened(element, size) else HIDDEN
        unseen = any(map(_UNSEEN.fullmatch, (element.get("class") or "").split()))
        return HIDDEN if unseen and not self._book and size.run < 12 else ""

    def _is_opened(self, element: etree._Element, size: Size) -> bool:
        """Whether a hidden element is shown on demand: an answer, a tab, a note, a long text."""
        kind = f"{element.get('epub:type') or ''} {_role(element)}"
        if element.get("hidden") == "until-found" or "tabpanel" in kind or "note" in kind:
            return True
        if "doc-" in kind or element.get("epub:type"):
            return True
        if size.words == 0 or size.mostly_links or size.run < 2:
            return False
        if element.get("id") in self._opened or _answers(element):
            return True
        return size.unlinked >= _LONG and size.run >= _SENTENCE

    def _by_control(self, element: etree._Element, size: Size, inside: bool) -> str:
        if element.tag == "button":
            return "" if _is_label(element, size, inside) else FORMS
        if element.tag == "textarea":
            return "" if size.run >= 2 * _SENTENCE else FORMS
        return ""

    def _by_place(self, element: etree._Element, size: Size, inside: bool) -> str:
        tag, role = element.tag, _role(element)
        if tag == "aside" and size.mostly_links and size.links >= 3 and not self._book:
            return NAVIGATION
        if inside:
            return ""
        if tag == "aside":
            text = _is_note(element, role) or self._is_box(element, size)
            return "" if text else NOTICES
        if tag == "header" or role == "banner":
            return BANNERS if self._frames(element) and not self._holds_title(element) else ""
        if tag == "footer" or role == "contentinfo":
            return BANNERS if self._frames(element) and not _holds_notes(element) else ""
        return ""

    def _is_box(self, element: etree._Element, size: Size) -> bool:
        """Whether an aside outside the main part is a box of text, not a column of the page."""
        few_links = size.linked <= 0.2 * size.words and size.controls == 0
        return few_links and self._reads_as_text(element, size)

    def _frames(self, element: etree._Element) -> bool:
        """Whether a header or footer belongs to the page, and not to a part of it."""
        outer = not any(above.tag in ("section", "blockquote") for above in element.iterancestors())
        return outer and self._sizes[element].words < _CHROME_SHARE * self._whole

    def _holds_title(self, element: etree._Element) -> bool:
        """Whether a header holds the heading of the text, not the name of a site."""
        if element.find(".//h1") is not None:
            return not _named(element, "site-header", "masthead")
        size = self._sizes[element]
        return size.headings > 0 and not size.mostly_links and not self._has_title

    def _by_name(self, element: etree._Element, size: Size, inside: bool) -> str:
        if self._book or element.tag not in _CONTAINERS or size.words >= self._most:
            return ""
        name = _chrome_name(element)
        if name is None or not _is_chrome(element, size, name, inside):
            return ""
        return NOTICES if name.notice else NAVIGATION

    @property
    def _most(self) -> float:
        return _CHROME_SHARE * self._whole

    def _by_links(self, element: etree._Element, size: Size, inside: bool) -> str:
        many = size.links >= 3 and size.linked >= 0.9 * size.words
        small = size.words < _LIST_SHARE * self._whole
        if inside or element.tag not in _LISTS or not many or not small:
            return ""
        if _begins_with_heading(element):
            return ""  # the list below the heading is looked at by itself
        return "" if self._is_announced(element, size) else NAVIGATION

    def _is_announced(self, element: etree._Element, size: Size) -> bool:
        """Whether the text around a list of links introduces it: "Downloads", "See also:"."""
        before, parent = element.getprevious(), element.getparent()
        if before is None or parent is None:
            return False
        words = "".join(before.itertext()).strip() + (before.tail or "").strip()
        introduced = before.tag in HEADINGS or words.endswith(":")
        return introduced and self._sizes[parent].unlinked >= _PROSE + size.unlinked

    @staticmethod
    def _reads_as_text(element: etree._Element, size: Size) -> bool:
        if size.mostly_links:
            return False
        return size.run >= _SENTENCE or _begins_with_heading(element)


def _by_tag(element: etree._Element, size: Size) -> str:
    tag = element.tag
    if tag in _IN_PICTURES and next(element.iterancestors("svg"), None) is not None:
        return HIDDEN
    if tag in ("object", "canvas"):
        apology = "browser" in "".join(element.itertext()).lower()
        return "fallback text" if apology else ""
    if tag in ("noscript", "noframes", "template"):
        shown = element.get("shadowrootmode") or element.get("shadowroot")
        return "" if shown or (tag != "template" and _words_below(element) >= _PROSE) else HIDDEN
    return _BY_TAG.get(tag, "")


def _words_below(element: etree._Element) -> int:
    return len(" ".join(element.itertext()).split())


def _role(element: etree._Element) -> str:
    return (element.get("role") or "").strip().lower()


def _named(element: etree._Element, *names: str) -> bool:
    return any(name in (element.get("class") or "").lower().split() for name in names)


def _is_hidden(element: etree._Element) -> bool:
    return (
        element.get("hidden") is not None
        or element.get("aria-hidden") == "true"
        or bool(_INVISIBLE.search(element.get("style") or ""))
    )


def _opened_ids(root: etree._Element) -> Iterator[str]:
    """The ids of elements that a control of the page shows."""
    for element in root.iter(etree.Element):
        for key in _OPENING:
            yield from (name.lstrip("#") for name in (element.get(key) or "").split())
        yield from _QUOTED.findall(element.get("onclick") or "")
        href = element.get("href") or ""
        if element.tag == "a" and href.startswith("#"):
            yield href[1:]


def _answers(element: etree._Element) -> bool:
    """Whether a hidden element follows its question: a heading, a term, a control."""
    before = element.getprevious()
    while before is not None and not isinstance(before.tag, str):
        before = before.getprevious()
    if before is None:
        return False
    asks = ("summary", "dt", "button", "label", "legend")
    if before.tag in HEADINGS or before.tag in asks or before.get("onclick"):
        return True
    if any(_role(part) == "button" for part in (before, *before)):
        return True
    asked = "".join(before.itertext()).strip()
    if asked.endswith(("?", "？", "؟")):
        return True
    if not 0 < len(asked) <= _MAX_QUESTION:
        return False
    below = before.iter("button", *HEADINGS)
    return any("".join(part.itertext()).strip() == asked for part in below)


def _is_label(button: etree._Element, size: Size, inside: bool) -> bool:
    """Whether a button's text is a heading, a question or a word of a sentence."""
    named = " ".join(button.get(key) or "" for key in ("class", "id", "title", "aria-label"))
    if size.words == 0 or _TOOL.search(named):
        return False
    for above in button.iterancestors("pre", "dt", "summary", *HEADINGS):
        if above.tag == "pre":
            return False
        if _letters(above) == _letters(button):
            return True
    if size.words > 2 or _QUESTION.search(named):
        return True
    opens = button.get("aria-expanded") is not None or _role(button) == "tab"
    opens = opens or bool(_QUOTED.search(button.get("onclick") or ""))
    return (inside and opens) or _is_in_sentence(button)


def _letters(element: etree._Element) -> int:
    return sum(map(str.isalnum, "".join(element.itertext())))


def _is_in_sentence(element: etree._Element) -> bool:
    """Whether letters stand directly before or after an element."""
    before, parent = element.getprevious(), element.getparent()
    around = [element.tail, before.tail if before is not None else None]
    if before is None and parent is not None:
        around.append(parent.text)
    return any(any(map(str.isalpha, text)) for text in around if text)


def _is_note(element: etree._Element, role: str) -> bool:
    kind = f"{element.get('epub:type', '')} {role}".lower()
    if "note" in kind or "doc-" in kind:
        return True
    return any(map(_NOTE.fullmatch, re.split(r"\s+|--?|__?", element.get("class") or "")))


def _holds_notes(element: etree._Element) -> bool:
    """Whether a footer holds the footnotes of the text."""
    for below in element.iter(etree.Element):
        names = f"{below.get('class') or ''} {below.get('id') or ''} {_role(below)}".split()
        if any(map(_NOTES.fullmatch, names)):
            return True
    return False


def _begins_with_heading(element: etree._Element) -> bool:
    """Whether the first words of an element are a heading."""
    while not (element.text or "").strip():
        first = next(element.iterchildren(etree.Element), None)
        if first is None:
            return False
        if first.tag in HEADINGS or first.tag in ("caption", "legend", "summary"):
            return True
        element = first
    return False


def _chrome_name(element: etree._Element) -> _Name | None:
    """What class and id say of an element; None if neither names furniture."""
    found: _Name | None = None
    for by_class, names in ((True, element.get("class")), (False, element.get("id"))):
        for match in filter(None, map(_CHROME.fullmatch, (names or "").split())):
            parts = bool(match["compound"] or match["before"] or match["after"])
            notice = bool(match["notice"]) or "cookie" in match[0].lower()
            before = found or _Name()
            found = _Name(
                before.by_class or by_class, before.notice or notice, before.compound or parts
            )
    return found


def _is_chrome(element: etree._Element, size: Size, name: _Name, inside: bool) -> bool:
    """Whether what is in a named element is furniture, too."""
    if size.mostly_links:
        return True
    heading = _begins_with_heading(element)
    if heading or inside:
        return name.compound and size.controls > 0 and not (heading and inside)
    notice = name.by_class and name.notice and (name.compound or size.links > 0)
    if size.controls > 0 or notice:
        return True
    # A menu without links may be that of a restaurant: sentences and tables are text.
    if size.run >= _SENTENCE or (size.links == 0 and size.words >= _SENTENCE):
        return False
    return name.by_class or name.compound
