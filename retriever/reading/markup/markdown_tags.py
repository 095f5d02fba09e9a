"""HTML in Markdown: which of all "<" begin a tag, and what is written instead of it.

A sign of comparison, a formula, a type ("Vec<u>") or a placeholder ("<source>") is no tag. A tag
has attributes with values, or its partner ("<b>…</b>"), or stands alone by its nature ("<br>").
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from retriever.reading.markup.html_marks import marks_around
from retriever.reading.markup.markdown_blocks import Block, inline_code
from retriever.types import LeftOut

_VALUE = r"""\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s"'=<>`]++)"""
_FLAGS = (
    "allowfullscreen|async|autoplay|border|checked|compact|controls|default|defer|disabled|hidden|"
    "ismap|loop|markdown|multiple|muted|noshade|nowrap|open|playsinline|readonly|required|"
    "reversed|selected"
)
_MARKUP = re.compile(
    r"\\[!-/:-@\[-`{-~]"
    r"|</(?P<close>[A-Za-z][A-Za-z0-9]*+)\s*+>"
    r"|<(?P<open>[A-Za-z][A-Za-z0-9]*+)"
    rf"(?P<attributes>(?:\s++(?:[A-Za-z_:][\w.:-]*+{_VALUE}|(?:{_FLAGS})(?=[\s/>])))*+)\s*+/?>",
    re.IGNORECASE,
)
_RAW = re.compile(r"<(script|style)\b[^>]{0,1000}>", re.IGNORECASE)
_ALT = re.compile(r"""\balt\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+))""", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,30}|#\d{1,7}|#[xX][0-9A-Fa-f]{1,6});")
_BREAKS = frozenset(
    [
        *["address", "article", "aside", "blockquote", "caption", "center", "dd", "details", "div"],
        *["dl", "dt", "figcaption", "figure", "footer", "header", "hgroup", "main", "nav", "ol"],
        *["p", "section", "summary", "ul", "h1", "h2", "h3", "h4", "h5", "h6"],
    ]
)
_INLINE = frozenset(
    [
        *["a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "dfn", "del", "em", "font", "i"],
        *["ins", "kbd", "mark", "nobr", "picture", "q", "s", "samp", "small", "span", "strike"],
        *["strong", "sub", "sup", "time", "tt", "u", "var"],
    ]
)
_PARTS = frozenset([*["table", "thead", "tbody", "tfoot", "tr", "td", "th", "li", "colgroup"]])
_ALONE = frozenset(["br", "hr", "wbr"])
_WITH_ATTRIBUTES = frozenset(["img", "source", "col"])  # these without any are placeholders
_NAMES = _BREAKS | _INLINE | _PARTS | _ALONE | _WITH_ATTRIBUTES
_NO_END = frozenset(["p", "li", "td", "th", "tr", "dt", "dd", "thead", "tbody", "tfoot"])
_HEADING = re.compile(r"h([1-6])")


@dataclass(slots=True)
class _Piece:
    """A part of a block: text that stays, or markup that is replaced if it `counts`."""

    text: str
    name: str = ""  # of the tag, "/b" for an end
    sure: bool = False
    in_html: bool = False
    partner: int = -1

    @property
    def counts(self) -> bool:
        """Whether it is a tag and not text that looks like one."""
        bare = self.name.lstrip("/")
        if not bare:
            return False
        ends = self.in_html and (self.name[0] == "/" or bare in _NO_END)
        return self.sure or self.partner >= 0 or bare in _ALONE or ends


class TagRemover:
    """Removes tags, comments and scripts from the blocks of one text."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._left_out: list[LeftOut] = []
        self._pieces: list[_Piece] = []
        self._ends: list[tuple[int, int]] = []  # for each block: pieces and left-outs to its end
        for block in blocks:
            self._split(block)
            self._ends.append((len(self._pieces), len(self._left_out)))
        self._find_partners()

    def results(self) -> Iterator[tuple[str, list[LeftOut]]]:
        """The text of each block, and what is left out of it."""
        begin = first = 0
        for end, last in self._ends:
            yield self._text(begin, end), self._left_out[first:last]
            begin, first = end, last

    def _split(self, block: Block) -> None:
        in_html = block.kind == "html"
        for text in self._without_comments(block.text):
            for shown in self._without_scripts(text) if in_html else [text]:
                for code, piece in inline_code(shown):
                    if code:
                        self._pieces.append(_Piece(piece))
                    else:
                        self._split_text(piece, in_html)

    def _without_comments(self, text: str) -> Iterator[str]:
        """The text between the comments; in inline code a comment is text."""
        if "<!--" not in text:
            yield text
            return
        code = _code_spans(text)
        place = at = 0
        while (begin := text.find("<!--", at)) >= 0:
            span = bisect_right(code, (begin, len(text))) - 1
            if span >= 0 and begin < code[span][1]:
                at = code[span][1]
                continue
            end = text.find("-->", begin + 4)
            if end < 0:
                break
            yield text[place:begin]
            self._leave_out("comments", text[begin + 4 : end])
            place = at = end + 3
        yield text[place:]

    def _without_scripts(self, text: str) -> Iterator[str]:
        """The text of an HTML block between its scripts and style sheets."""
        place = 0
        small = text.lower()
        for begin in _RAW.finditer(text):
            if begin.start() < place:
                continue
            end = small.find(f"</{begin[1].lower()}", begin.end())
            if end < 0:
                break
            yield text[place : begin.start()]
            self._leave_out("scripts", text[begin.end() : end])
            closed = small.find(">", end)
            place = closed + 1 if closed >= 0 else len(text)
        yield text[place:]

    def _leave_out(self, kind: str, text: str) -> None:
        if text.strip():
            self._left_out.append(LeftOut(kind, text.strip()))

    def _split_text(self, text: str, in_html: bool) -> None:
        place = 0
        for found in _MARKUP.finditer(text) if "<" in text else ():
            name = (found["open"] or found["close"] or "").lower()
            if name not in _NAMES:
                continue
            self._pieces.append(_Piece(_decoded(text[place : found.start()])))
            mark = "/" if found["close"] else ""
            self._pieces.append(_Piece(found[0], mark + name, bool(found["attributes"]), in_html))
            place = found.end()
        self._pieces.append(_Piece(_decoded(text[place:])))

    def _find_partners(self) -> None:
        opened: dict[str, list[int]] = {}
        for at, piece in enumerate(self._pieces):
            if piece.name.startswith("/"):
                stack = opened.get(piece.name[1:])
                if stack:
                    piece.partner = stack.pop()
                    self._pieces[piece.partner].partner = at
            elif piece.name:
                opened.setdefault(piece.name, []).append(at)

    def _text(self, begin: int, end: int) -> str:
        found: list[str] = []
        after_break = False
        closing: dict[int, str] = {}
        for at in range(begin, end):
            piece = self._pieces[at]
            if not piece.counts:
                found.append(piece.text.lstrip(" \t") if after_break else piece.text)
                after_break = after_break and not found[-1]
                continue
            bare = piece.name.lstrip("/")
            after_break = bare in _BREAKS or piece.name in ("br", "li")
            if piece.name == "li" and found:
                found[-1] = found[-1].rstrip(" \t")
            if piece.name == "sup":
                opening, closing[piece.partner] = self._marks(found, at, min(end, piece.partner))
                found.append(opening)
            elif at in closing:
                found.append(closing[at])
            else:
                found.append(_replacement(piece))
        text = "".join(found)
        return re.sub(r"^(#{1,6})[ \t]+", r"\1 ", text, flags=re.MULTILINE)

    def _marks(self, line: list[str], at: int, end: int) -> tuple[str, str]:
        """What stands around a raised text: "word[1]", "10^3"."""
        before = "".join(line[-3:])[-40:]
        inner = self._pieces[at + 1 : end]
        text = "".join(piece.text for piece in inner if not piece.counts).strip()
        if not before or before[-1].isspace() or len(text) > 40:
            return "", ""
        linked = any(piece.name == "a" for piece in inner)
        return marks_around(text, before, linked=linked, raised=True)


def _code_spans(text: str) -> list[tuple[int, int]]:
    """Begin and end of all inline code."""
    spans: list[tuple[int, int]] = []
    place = 0
    for code, piece in inline_code(text):
        if code:
            spans.append((place, place + len(piece)))
        place += len(piece)
    return spans


def _decoded(text: str) -> str:
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text)


def _replacement(piece: _Piece) -> str:
    """What is written instead of a tag."""
    name = piece.name
    heading = _HEADING.fullmatch(name)
    if heading:
        return "\n" + "#" * int(heading[1]) + " "
    if name == "li":
        return "- "
    if name == "img":
        found = _ALT.search(piece.text)
        return _decoded(found[1] or found[2] or found[3] or "") if found else ""
    if name.lstrip("/") in _BREAKS or name == "br":
        return "\n"
    return " " if name in ("td", "th") else ""
