"""The main text of a web page: paragraphs, headings, lists and table rows.

Elements that are navigation by their tag, role or class are dropped from the lxml tree. The rest is
kept whole, so a chapter without `<main>` loses nothing. Scripts do not run and no link is followed.
"""

from __future__ import annotations

import re

from lxml import etree

from retriever.reading.markup.html_facts import page_facts
from retriever.reading.markup.html_parts import is_layout, text_parts
from retriever.reading.pages import MAX_CHARACTERS, drop_controls, make_page, too_long_page
from retriever.reading.plain.text import decode_text
from retriever.types import Document, ReadError

_CHARSET = re.compile(
    rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']\s*([\w.:-]+)|<meta[^>]{0,300}?charset\s*=\s*["']?\s*([\w.:-]+)""",
    re.IGNORECASE,
)
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_PARAGRAPHS = frozenset(
    [
        *[
            "address",
            "article",
            "aside",
            "blockquote",
            "body",
            "caption",
            "center",
            "dd",
            "details",
        ],
        *["div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr"],
        *["html", "hgroup", "legend", "main", "menu", "ol", "p", "pre", "section", "summary", "ul"],
        *["table"],
    ]
)
_KEEP_TAGS = re.compile(
    r"<(?!/?(?:p|h[1-6]|li|tr|td|th|br|title|script|style|nav|body|html|head|meta|pre)\b)[^>]*>",
    re.IGNORECASE,
)
_MAX_TAGS = 2_000_000  # each takes up to 500 bytes in the tree
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
    text = main_text(root)
    return Document(
        path=name,
        format="html",
        pages=(make_page(None, text, "no text in it but navigation or scripts"),),
        title=facts.title,
        author=facts.author,
        date=facts.date,
        metadata=facts.metadata,
    )


def parse(source: str) -> etree._Element | None:
    """Parse a page's source; None if it is empty."""
    clean = drop_controls(source).replace("\ufffe", "").replace("\uffff", "")
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


def main_text(root: etree._Element) -> str:
    """The main text below `root`: blocks separated by blank lines."""
    writer = _Writer()
    body, dropped = text_parts(root)
    walker = etree.iterwalk(body, events=("start", "end", "comment", "pi"))
    skipped: etree._Element | None = None
    for event, element in walker:
        if event in ("comment", "pi") or skipped is element:
            skipped = None
            writer.words(element.tail if element is not body else None)
        elif event == "start" and (element in dropped or not isinstance(element.tag, str)):
            walker.skip_subtree()
            skipped = element
            writer.gap(element)
        elif event == "start":
            writer.start(element)
        else:
            writer.end(element)
            writer.words(element.tail if element is not body else None)
    return writer.text()


def table_rows(source: str) -> str:
    """The rows of an HTML table, cells joined by " | " (for Markdown)."""
    root = parse(source)
    return "" if root is None else main_text(root)


class _Writer:
    """Collects words into lines and lines into blocks during a tree walk."""

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._line: list[str] = []  # words of the current block
        self._prefix = ""
        self._lists: list[int | None] = []  # for each open list: its next number, None for bullets
        self._cells: list[list[str]] = []  # for each open row: its finished cells
        self._tight = False  # whether no blank line precedes the next block (lists, rows)
        self._verbatim = 0

    def text(self) -> str:
        """The text written so far."""
        self._finish()
        return "".join(self._blocks).strip("\n")

    def words(self, text: str | None) -> None:
        """Add inline text; white space is kept only inside `<pre>`."""
        if text:
            self._line.append(text if self._verbatim else re.sub(r"[ \t\n\r\f]+", " ", text))

    def gap(self, element: etree._Element) -> None:
        """End the block if a dropped element is a block."""
        if element.tag in _PARAGRAPHS:
            self._break()

    def start(self, element: etree._Element) -> None:
        """Handle the start of an element."""
        tag = element.tag
        if tag == "br":
            self._line.append("\n")
        elif tag in _HEADINGS:
            self._finish()
            self._prefix = "" if self._cells else _HEADINGS[tag]
        elif tag == "li":
            self._start_item()
        elif tag == "tr" and not is_layout(element):
            self._start_row(element)
        elif tag in _PARAGRAPHS or tag in ("tr", "td", "th"):
            self._start_block(element)
        if tag == "pre":
            self._verbatim += 1
        self.words(element.text)

    def _start_row(self, row: etree._Element) -> None:
        table = next(row.iterancestors("table"), None)
        first = table is None or next(table.iter("tr")) is row
        self._break(tight=not first)
        self._cells.append([])

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
        if tag in ("ul", "menu"):
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

    _in_list = False

    def end(self, element: etree._Element) -> None:
        """Handle the end of an element."""
        tag = element.tag
        if tag == "pre":
            self._finish(tight=False)
            self._verbatim -= 1
        elif tag in ("td", "th") and self._cells:
            self._cells[-1].append(" ".join("".join(self._line).split()))
            self._line.clear()
        elif tag == "tr" and self._cells and not is_layout(element):
            self._end_row()
        elif tag in ("ul", "ol", "menu"):
            self._break(tight=len(self._lists) > 1)
            if self._lists:
                self._lists.pop()
            self._in_list = bool(self._lists)
        elif tag == "li" or tag in _HEADINGS or tag in _PARAGRAPHS:
            self._break(tight=tag in ("li", "dt"))

    def _end_row(self) -> None:
        cells = [cell for cell in self._cells.pop() if cell]
        rest = " ".join("".join(self._line).split())
        self._line.clear()
        row = " | ".join([*cells, rest] if rest else cells)
        if self._cells:
            self._line.append(row)
        elif row:
            self._line.append(row)
            self._finish(tight=True)

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
        if self._blocks:
            self._blocks.append("\n" if self._tight else "\n\n")
        joined = " ".join(lines) if self._prefix.startswith("#") else "\n".join(lines)
        self._blocks.append(self._prefix + joined)
        self._prefix = ""
        self._tight = tight


def _tidy(raw: str) -> list[str]:
    return [" ".join(line.split(" ")).strip() for line in re.sub(r" {2,}", " ", raw).split("\n")]
