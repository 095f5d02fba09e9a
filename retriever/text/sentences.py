"""The sentences of a text for readers, each with what kind of line it is.

`retriever.text.structure` cuts where a passage may be cut. Here what it cuts too early is joined
again (the initials of a name, a chemical formula in two lines), and a long line with bars that is
no row of a table is cut into its sentences. The marks of items, headings and rows are left off.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import pairwise
from typing import NamedTuple

from retriever.text.structure import breaks, read_lines, sentence_starts, trim
from retriever.types import Span

LONG_ROW = 200
"""A line of this many characters whose bars have no spaces around them is no row of a table."""


class Sentence(NamedTuple):
    """A sentence, `text[start:end]`, without white space and marks around it.

    `kind`: "prose", "item" (of a list), "heading", "row" (of a table) or "code". Only the first
    sentence of an item is an "item".
    """

    start: int
    end: int
    kind: str


_KINDS = {"heading": "heading", "under": "heading", "fence": "code", "row": "row", "rule": "row"}
_CELLS = re.compile(r"\t| \| ")
_MARK = re.compile(r"(?:#{1,6}|[-*+•‣◦▪●·–])[ \t\u00a0]+(?=\S)")
_INITIAL = re.compile(r"(?:^|[\s(])[A-Z]\.$")
_NEXT_INITIAL = re.compile(r"[A-Z]\.[ \u00a0]?(?:[A-Z]\.[ \u00a0]?){0,3}[A-Z]\w")
_SYMBOL = re.compile(r"(?:^|\s)(?:[A-Z][a-z]?){1,3}$")
_INDEX = re.compile(r"\d{1,2}(?:[ \t]+[a-z(]|[,;)]|[-+])")


def split_sentences(text: str) -> list[Sentence]:
    r"""The sentences of a text, in order.

    >>> [(text[one.start : one.end], one.kind) for text in ["# Tea\n- Hot. By J. A. Li.\n| a | b |"]
    ...     for one in split_sentences(text)]
    [('Tea', 'heading'), ('Hot.', 'item'), ('By J. A. Li.', 'prose'), ('a | b', 'row')]
    """
    lines = read_lines(text)
    line_starts = [line.start for line in lines]
    found: list[Sentence] = []
    cuts = [*(cut.at for cut in breaks(text)), len(text)]
    for first, last in pairwise(cuts):
        span = trim(text, first, last)
        if span.start == span.end:
            continue
        line = lines[bisect_right(line_starts, span.start) - 1]
        kind = _KINDS.get(line.kind, line.kind)
        if kind == "item" and span.start > trim(text, line.start, line.end).start:
            kind = "prose"  # not the first sentence of the item
        if kind == "row" and _is_prose(text, span):
            inner = [span.start, *sentence_starts(text, span.start, span.end), span.end]
            parts = (trim(text, start, end) for start, end in pairwise(inner))
            found += (Sentence(part.start, part.end, "prose") for part in parts)
        elif found and kind != "heading" and _continues(text, found[-1], span.start):
            found[-1] = found[-1]._replace(end=span.end)
        else:
            found.append(Sentence(*_without_mark(text, span, kind), kind))
    return found


def _without_mark(text: str, span: Span, kind: str) -> tuple[int, int]:
    """The span without the mark of an item or heading, or the borders of a row."""
    start, end = span.start, span.end
    if kind == "row":
        while start < end - 1 and text[start] in "| \t":
            start += 1
        while start < end - 1 and text[end - 1] in "| \t":
            end -= 1
    elif mark := _MARK.match(text, start, end):
        start = mark.end()
    return start, end


def _is_prose(text: str, span: Span) -> bool:
    """Whether a line with bars is prose: |x| is an absolute value."""
    line = text[span.start : span.end]
    return len(line) >= LONG_ROW and not line.startswith("|") and not _CELLS.search(line)


def _continues(text: str, before: Sentence, start: int) -> bool:
    """Whether what begins at `start` belongs to the sentence before: J. A. Li, or O and 2 below."""
    if before.kind not in ("prose", "item"):
        return False
    head = text[max(before.start, before.end - 12) : before.end]
    if head.endswith("."):
        return bool(_INITIAL.search(head)) and bool(_NEXT_INITIAL.match(text, start))
    return bool(_SYMBOL.search(head)) and bool(_INDEX.match(text, start))


__all__ = ["LONG_ROW", "Sentence", "split_sentences"]
