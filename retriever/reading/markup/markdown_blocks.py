"""The blocks of a Markdown text, by the rules of CommonMark: code, and all else.

Code stays exactly as it is. A tag or a comment in a paragraph ends within the paragraph; tables and
comments of HTML blocks may go on over blank lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from markdown_it import MarkdownIt

CODE = frozenset(["code", "indented"])
_TABLE = re.compile(r"<(/?)table\b[^<>]{0,1000}>", re.IGNORECASE)
_TICKS = re.compile(r"(`+)")


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the source: "code", "indented" (code), "html", "prose", "table" or "blank"."""

    kind: str
    text: str


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").disable("reference")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


def split_blocks(source: str) -> list[Block]:
    r"""Split the source; the texts of all blocks together are the source.

    >>> [block.kind for block in split_blocks("a <b>\n\n    cp <a> <b>\n\n<div>\n")]
    ['prose', 'blank', 'indented', 'blank', 'html']
    """
    lines = source.splitlines(keepends=True)
    starts = [0, *accumulate(map(len, lines))]
    spans: list[tuple[str, int, int]] = []
    done = 0
    for kind, first, last in _line_blocks(source):
        if first < done:
            continue
        spans += [("blank", starts[at], starts[at + 1]) for at in range(done, first)]
        spans.append((kind, starts[first], starts[last]))
        done = last
    spans += [("blank", starts[at], starts[at + 1]) for at in range(done, len(lines))]
    whole = _with_tables(source, _with_comments(source, spans))
    return [Block(kind, source[begin:end]) for kind, begin, end in whole if end > begin]


def _line_blocks(source: str) -> Iterator[tuple[str, int, int]]:
    """The blocks as ranges of lines, in order."""
    count = source.count("\n") + (not source.endswith("\n"))
    for token in _parser().parse(source):
        if token.map is None:
            continue
        first, last = token.map[0], min(token.map[1], count)
        if token.type in ("fence", "code_block"):
            yield "code" if token.type == "fence" else "indented", first, last
        elif token.type == "html_block":
            yield "html", first, last
        elif token.type == "inline":
            yield "prose", first, last


def _with_comments(
    source: str, spans: list[tuple[str, int, int]]
) -> Iterator[tuple[str, int, int]]:
    """Extend HTML blocks to the end of a comment that begins in them."""
    done = 0
    last = source.rfind("-->")
    for kind, begin, end in spans:
        if end <= done:
            continue
        start = max(begin, done)
        if kind == "html" and end <= last:
            opened = source.rfind("<!--", start, end)
            if opened >= 0 and source.find("-->", opened, end) < 0:
                closed = source.find("-->", end)
                end = closed + 3 if closed >= 0 else end
        done = end
        yield kind if start == begin else "prose", start, end


def _with_tables(
    source: str, spans: Iterator[tuple[str, int, int]]
) -> Iterator[tuple[str, int, int]]:
    """Cut out the HTML tables, which may hold blank lines and indented rows."""
    listed = list(spans)
    tables = _tables(source, listed)
    at = 0
    for kind, begin, end in listed:
        while at < len(tables) and tables[at][0] < end:
            first, last = tables[at]
            if begin <= first:
                yield kind, begin, first
                yield "table", first, last
            begin, kind = max(begin, min(last, end)), "prose"  # the rest of a line
            if last > end:
                break
            at += 1
        yield kind, begin, end


def _tables(source: str, spans: list[tuple[str, int, int]]) -> list[tuple[int, int]]:
    """The outermost tables that have an end; code between fences is never part of one."""
    opened: list[int] = []
    found: list[tuple[int, int]] = []
    for kind, begin, end in spans:
        if kind == "code":
            opened = []
            continue
        for tag in _table_tags(source, kind, begin, end):
            if tag[1] and opened:
                first = opened.pop()
                while found and found[-1][0] > first:
                    found.pop()
                found.append((first, tag.end()))
            elif not tag[1] and (opened or kind != "indented"):
                opened.append(tag.start())
    return found


def _table_tags(source: str, kind: str, begin: int, end: int) -> Iterator[re.Match[str]]:
    """The tags of tables in a block, outside of inline code."""
    if "<" not in source[begin:end]:
        return
    at = begin
    for code, piece in inline_code(source[begin:end]):
        if not code:
            yield from _TABLE.finditer(source, at, at + len(piece))
        at += len(piece)


def inline_code(text: str) -> Iterator[tuple[bool, str]]:
    """Split the text into inline code (True) and the rest; closing and opening ticks match.

    >>> list(inline_code("a `b` c"))
    [(False, 'a '), (True, '`b`'), (False, ' c')]
    """
    parts = _TICKS.split(text)  # text, ticks, text, ticks, …
    closing: dict[int, int] = {}
    following: dict[str, int] = {}
    for number in range(len(parts) - 2, 0, -2):
        closing[number] = following.get(parts[number], 0)
        following[parts[number]] = number
    number = 0
    while number < len(parts):
        end = closing.get(number, 0) if number % 2 else 0
        if end:
            yield True, "".join(parts[number : end + 1])
            number = end + 1
        else:
            yield False, parts[number]
            number += 1
