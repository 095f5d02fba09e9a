"""The main text of a web page: paragraphs, headings, lists and table rows.

Elements that are navigation by their tag, role or class are dropped from the lxml tree. The rest is
kept whole, so a chapter without `<main>` loses nothing. Scripts do not run and no link is followed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lxml import etree

from retriever.reading.markup.html_facts import page_facts
from retriever.reading.markup.html_furniture import OWN_KINDS
from retriever.reading.markup.html_parts import left_out_parts
from retriever.reading.markup.html_writer import Writer
from retriever.reading.pages import MAX_CHARACTERS, drop_controls, make_page, too_long_page
from retriever.reading.plain.text import decode_text
from retriever.types import Document, LeftOut, ReadError

_CHARSET = re.compile(
    rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']\s*([\w.:-]+)|<meta[^>]{0,300}?charset\s*=\s*["']?\s*([\w.:-]+)""",
    re.IGNORECASE,
)
_KEEP_TAGS = re.compile(
    r"<(?!/?(?:p|h[1-6]|li|tr|td|th|br|title|script|style|nav|body|html|head|meta|pre)\b)[^>]*>",
    re.IGNORECASE,
)
_END = re.compile(r"</html\s{0,20}>", re.IGNORECASE)  # libxml2 drops all that stands behind it
_MAX_TAGS = 2_000_000  # each takes up to 500 bytes in the tree
_MAX_INNER = 3  # nesting of pages within attributes of pages
_MAX_DEPTH = 1_000  # libxml2 drops elements below 2,048 levels; real pages are far less deep


def read_html(data: bytes, name: str) -> Document:
    """Read an HTML or XHTML file into one page."""
    if len(data) > 4 * MAX_CHARACTERS:
        return Document(name, "html", (too_long_page(None, f"{len(data):,} bytes"),))
    if data.count(b"<") > _MAX_TAGS:
        return Document(name, "html", (too_long_page(None, f"{data.count(b'<'):,} tags"),))
    declared = _CHARSET.search(data[:4096])
    charset = (declared[1] or declared[2]).decode("ascii", "replace") if declared else ""
    root = parse(decode_text(data, charset))
    if root is None:
        return Document(name, "html", (make_page(None, "", "no text in it"),))
    facts = page_facts(root, name)
    found = extract(root)
    return Document(
        path=name,
        format="html",
        pages=(make_page(None, found.text, "no text in it but navigation or scripts"),),
        title=facts.title,
        author=facts.author,
        date=facts.date,
        metadata=facts.metadata,
        left_out=found.left_out,
    )


def parse(source: str) -> etree._Element | None:
    """Parse a page's source; None if it is empty."""
    clean = drop_controls(source).replace("\ufffe", "").replace("\uffff", "")
    clean = _END.sub("", clean)
    root = _tree(clean)
    if root is not None and _depth(clean) > _MAX_DEPTH:
        root = _tree(_KEEP_TAGS.sub(" ", clean))
    return root


def _tree(source: str) -> etree._Element | None:
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, no_network=True)
    try:
        return etree.fromstring(source.encode("utf-8", "replace"), parser=parser)
    except etree.XMLSyntaxError:
        return None
    except (ValueError, AssertionError) as error:
        raise ReadError(f"broken HTML: {error}") from None


def _depth(source: str) -> int:
    """An upper bound of the nesting: the maximum of opened minus closed tags."""
    depth = highest = 0
    for match in re.finditer(r"<(/?)[a-zA-Z][^<>]*?(/?)>", source):
        if match[1]:
            depth -= 1
        elif not match[2]:
            depth += 1
            highest = max(highest, depth)
    return highest


@dataclass(frozen=True, slots=True)
class Extract:
    """The text of a page: blocks separated by blank lines, and what is not part of it."""

    text: str = ""
    left_out: tuple[LeftOut, ...] = ()


def extract(root: etree._Element, *, book: bool = False) -> Extract:
    """The text below `root`; of a `book`, nothing is navigation but what is marked as such."""
    _open_inner_pages(root)
    walk = _Walk(left_out_parts(root, book=book))
    walk.run(root)
    return Extract(walk.page.text(), tuple(walk.left_out))


def main_text(root: etree._Element) -> str:
    """The text below `root`, as `extract` gives it."""
    return extract(root).text


def table_rows(source: str) -> Extract:
    """The rows of an HTML table (for Markdown)."""
    root = parse(source)
    return Extract() if root is None else extract(root)


def _open_inner_pages(root: etree._Element) -> None:
    """Put the pages that frames hold as an attribute (`srcdoc`) into the tree."""
    for _ in range(_MAX_INNER):
        frames = [frame for frame in root.iter("iframe") if frame.get("srcdoc")]
        for frame in frames:
            inner = parse(frame.attrib.pop("srcdoc"))
            frame.tag = "div"
            frame.text = None
            frame[:] = [] if inner is None else list(inner.iterfind("body"))
            for body in frame:
                body.tag = "div"


class _Walk:
    """Writes each text of a tree either to the page or to what is left out, in order."""

    def __init__(self, parts: dict[etree._Element, str]) -> None:
        self.page = Writer()
        self.left_out: list[LeftOut] = []
        self._parts = parts
        self._other = Writer(links_apart=True)  # the text of the part that is left out now
        self._open: list[tuple[etree._Element, str]] = []  # parts that are left out, with kinds

    def run(self, root: etree._Element) -> None:
        """Walk through the tree; the text behind `root` itself is not part of it."""
        for event, element in etree.iterwalk(root, events=("start", "end", "comment", "pi")):
            if event == "comment":
                self._close_other()
                self._leave_out("comments", element.text or "")
            elif event == "start":
                self._start(element)
            elif event == "end":
                self._end(element)
            if event != "start" and element is not root:
                self._writer.words(element.tail)

    @property
    def _writer(self) -> Writer:
        return self._other if self._open else self.page

    def _start(self, element: etree._Element) -> None:
        kind = self._parts.get(element, "")
        if self._open and element.tag in OWN_KINDS:
            kind = OWN_KINDS[element.tag]
        if kind:
            self._close_other()
            if not self._open:
                self.page.gap(element)
            self._open.append((element, kind))
        self._writer.start(element)

    def _end(self, element: etree._Element) -> None:
        self._writer.end(element)
        if self._open and self._open[-1][0] is element:
            self._close_other()
            self._open.pop()
            if not self._open:
                self.page.gap(element)

    def _close_other(self) -> None:
        if self._open:
            self._leave_out(self._open[-1][1], self._other.text())
            self._other = Writer(links_apart=True)

    def _leave_out(self, kind: str, text: str) -> None:
        if text.strip():
            self.left_out.append(LeftOut(kind, drop_controls(text).strip()))
