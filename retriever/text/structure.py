"""The boundaries in a page of text: headings, paragraphs, lines, sentences.

`breaks(text)` gives the starts of a text's smallest units, each with the strength of the boundary
before it. Markdown is recognised, and so are the numbered and title-like lines of a PDF. A line
that only wraps is no boundary.

The module knows nothing of tokens: `retriever.text.chunking` decides how much fits into a chunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

from retriever.types import Span


class Level(IntEnum):
    """How good a boundary is as a cut: larger is better. KEPT is not to be cut."""

    KEPT = 0  # between a heading and its text
    ANYWHERE = 1
    WORD = 2
    CLAUSE = 3
    INNER = 4  # between the lines of a code block, or an introduction and its list
    SENTENCE = 5
    LINE = 6
    PARAGRAPH = 7
    HEADING = 8


class Break(NamedTuple):
    """The start of a unit, `at`; `depth` is 1 (a top heading) to 6 if `level` is HEADING."""

    at: int
    level: Level
    depth: int = 0


class Line(NamedTuple):
    """A line, `text[start:end]`, including its line break.

    `kind`: blank, heading, under (the line under a heading), fence, row, rule (the line under a
    table's first row), item, prose.
    """

    start: int
    end: int
    kind: str
    depth: int = 0


_LINE = re.compile(r"[^\n\r\f\u2028\u2029]*+(?:\r\n|[\n\r\f\u2028\u2029]|\Z)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})[ \t]+[^\s#]")
_UNDER = re.compile(r" {0,3}(?:=+|-{3,})[ \t]*$")
_RULE = re.compile(r"\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")
_ITEM = re.compile(
    r"\s*(?:[-*+•‣◦▪●·–]|\d{1,3}[.)]|[A-Za-z][.)]|\([A-Za-z0-9]{1,3}\)|[ivx]{1,5}[.)])[ \t]+\S"
)
_NUMBERED = re.compile(
    r"\s*(?:(?P<number>\d{1,3}(?:\.\d{1,3})+|[A-Z](?:\.\d{1,3})+)\.?|(?P<top>\d{1,3}|[IVX]{1,5})\.?"
    r"|(?P<word>Chapter|CHAPTER|Section|SECTION|Part|PART|Appendix|APPENDIX|Annex|ANNEX|Article"
    r"|Kapitel|Chapitre|Capítulo)[ \t]+[\dA-Z]\w*[.:]?|(?P<cjk>第[\d一二三四五六七八九十百千零〇]+"
    r"[章节節条條回編部篇課课]))(?:[ \t]+(?P<title>\S.*)|[ \t]*)$"
)
_LEADERS = re.compile(r"(?:\.[ \t]?){4,}|…{2,}|[ \t]{3,}\d{1,4}\s*$")
_LETTER = re.compile(r"[^\W\d_]")
_TITLE_END = ".,;:!?…。！？，；：、"

_CLOSERS = "\"'”’»)\\]」』）】〉》*_"
_WIDE_STOPS = "。！？｡"  # no space needs to follow
_OTHER_STOPS = "؟۔।॥։።၊။"
_STOP = re.compile(
    rf"[{_WIDE_STOPS}][{_WIDE_STOPS}!?]*+[{_CLOSERS}]*+"
    rf"|(?<![.!?…{_OTHER_STOPS}])[.!?…{_OTHER_STOPS}]++[{_CLOSERS}]*+(?=\s)"
    r"|(?<=[\u0e01-\u0e5b])[ \t]+(?=[\u0e01-\u0e5b])"
)
_SPACE = re.compile(r"\s*+")
_ACRONYM = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")
_WORD = re.compile(r"\w+")
_OPENERS = "\"'“‘«(["
_THAI_SENTENCE = 40  # characters; a Thai space ends a phrase, and a few phrases are a sentence


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Abbreviations that precede a name or an example and never end a sentence.
_NEVER_LAST = _set(
    "dr mr mrs ms mx prof rev fr hon gen col maj sgt capt lt cmdr adm gov sen rep pres st mt "
    "ft vs cf viz e.g i.e eg ie approx ca incl esp resp bzw z.b d.h u.a vgl sog mme mlle sra"
)
# Abbreviations if a number follows.
_BEFORE_NUMBER = _set(
    "no nos nr fig figs eq eqs sec secs ch chap vol p pp art par abs ref refs tab app ed al "
    "jan feb mar apr jun jul aug sep sept oct nov dec"
)
# The only words that begin a new sentence after "U.S." or an initial.
_BEGINNERS = _set(
    "The This That These Those It In On At He She We They You There A An And But However For "
    "If As When While After Before Although Since His Her Its Our Their To"
)


def sentences(text: str) -> list[Span]:
    """The sentences (and headings, rows, lines of code) of a text, trimmed, in order.

    >>> sentences("Dr. Smith paid 3.50. Why?")
    [Span(start=0, end=20), Span(start=21, end=25)]
    """
    starts = [found.at for found in breaks(text)]
    spans = (trim(text, start, end) for start, end in pairwise([*starts, len(text)]))
    return [span for span in spans if span.start < span.end]


def trim(text: str, start: int, end: int) -> Span:
    """`text[start:end]` without white space around it.

    >>> trim("  ab ", 0, 5)
    Span(start=2, end=4)
    """
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return Span(start, end)


def breaks(text: str) -> list[Break]:
    r"""The starts of all units in order, the first at 0. A unit extends to the next start.

    >>> [(found.at, found.level.name) for found in breaks("# Dogs\nThey bark. Loud.\n\nEnd.")]
    [(0, 'HEADING'), (7, 'KEPT'), (18, 'SENTENCE'), (25, 'PARAGRAPH')]
    """
    found: list[Break] = []
    regions = _regions(text, read_lines(text))
    ends = [*(start.at for start, _ in regions), len(text)][1:]
    for (start, whole), end in zip(regions, ends, strict=True):
        found.append(start)
        if not whole:
            found += (Break(at, Level.SENTENCE) for at in sentence_starts(text, start.at, end))
    if found:
        found[0] = found[0]._replace(at=0, level=Level.HEADING)
    return found


# Lines


def read_lines(text: str) -> list[Line]:
    r"""The lines with their kinds, which depend on the neighbouring lines.

    >>> [line.kind for line in read_lines("Dogs\n====\n- bark\n\nThe end.")]
    ['heading', 'under', 'item', 'blank', 'prose']
    """
    spans = [match.span() for match in _LINE.finditer(text) if match.end() > match.start()]
    lines = _mark_fences(text, [_line(text, start, end) for start, end in spans])
    for index, line in enumerate(lines):
        if line.kind == "prose":
            _mark_heading(text, lines, index)
        elif line.kind == "rule" and not (index and lines[index - 1].kind == "row"):
            lines[index] = line._replace(kind="prose")
    return _without_contents(lines)


def _line(text: str, start: int, end: int) -> Line:
    """A line with its kind, regardless of its neighbours."""
    if not text[start:end].strip():
        return Line(start, end, "blank")
    if heading := _ATX.match(text, start, end):
        return Line(start, end, "heading", len(heading[1]))
    if end - start < 400 and "-" in text[start:end] and _RULE.match(text, start, end):
        return Line(start, end, "rule")
    if " | " in text[start:end] or text.count("|", start, end) >= 2:
        return Line(start, end, "row")
    if text.count("\t", start, end) >= 2:
        return Line(start, end, "row")
    if _ITEM.match(text, start, end):
        return Line(start, end, "item")
    return Line(start, end, "prose")


def _mark_fences(text: str, lines: list[Line]) -> list[Line]:
    """Mark the lines between two ``` as code; a single ``` has no effect."""
    opened: tuple[int, str] | None = None
    for index, line in enumerate(lines):
        fence = _FENCE.match(text, line.start, line.end)
        if not fence:
            continue
        if opened is None:
            opened = (index, fence[1])
        elif fence[1].startswith(opened[1]):
            for inside in range(opened[0], index + 1):
                lines[inside] = lines[inside]._replace(kind="fence", depth=inside - opened[0])
            opened = None
    return lines


def _mark_heading(text: str, lines: list[Line], index: int) -> None:
    """Mark a line that is a heading without Markdown's #."""
    line = lines[index]
    after = lines[index + 1] if index + 1 < len(lines) else None
    before = lines[index - 1].kind if index else "blank"
    if line.end - line.start > 120:
        return
    if after and before != "prose" and _UNDER.match(text, after.start, after.end):
        depth = 1 if "=" in text[after.start : after.end] else 2
        lines[index] = line._replace(kind="heading", depth=depth)
        lines[index + 1] = after._replace(kind="under")
    elif depth := _numbered(text, line, alone=before in ("blank", "heading")):
        lines[index] = line._replace(kind="heading", depth=depth)
    elif before == "blank" and _is_title(text, lines, index):
        lines[index] = line._replace(kind="heading", depth=6)


def _numbered(text: str, line: Line, *, alone: bool) -> int:
    """The depth of a numbered heading: 2 for "3.2 Access control", 0 for other lines."""
    content = text[line.start : line.end].rstrip()
    match = _NUMBERED.match(content)
    if not match or len(content) > 90 or _LEADERS.search(content):
        return 0
    title = match["title"] or ""
    if title and (title[0].islower() or title[-1] in _TITLE_END or len(title.split()) > 12):
        return 0
    if match["number"]:
        return min(match["number"].count(".") + 1, 6) if _LETTER.match(title) else 0
    if match["top"]:
        return 1 if alone and _LETTER.match(title) and len(title.split()) <= 8 else 0
    return 1 if alone else 0


def _is_title(text: str, lines: Sequence[Line], index: int) -> bool:
    """Whether a short line between blank lines is the title of the longer paragraph after it."""
    content = text[lines[index].start : lines[index].end].strip().strip("*_")
    following = lines[index + 1 : index + 6]
    body = next((line for line in following if line.kind != "blank"), None)
    if body is None or following[0].kind != "blank" or not content or len(content) > 70:
        return False
    if not content[0].isalnum() or len(content.split()) > 10 or _LEADERS.search(content):
        return False
    if content.isupper():
        return True  # "SOUPS."
    longer = body.kind != "prose" or body.end - body.start > len(content) * 3 // 2
    named = content[-1] not in _TITLE_END and not content[0].islower()
    return longer and named and _LETTER.search(content) is not None


def _without_contents(lines: list[Line]) -> list[Line]:
    """The lines, with headings of a table of contents (more than three in a row) turned to rows."""
    run: list[int] = []
    for index, line in enumerate([*lines, Line(0, 0, "end")]):
        if line.kind == "heading":
            run.append(index)
        elif line.kind not in ("blank", "under"):
            if len(run) > 3 and all(lines[at].depth == lines[run[0]].depth for at in run[:-1]):
                for at in run[:-1]:
                    lines[at] = lines[at]._replace(kind="row")
            run = []
    return lines


# Regions: runs of lines that belong together


def _regions(text: str, lines: Sequence[Line]) -> list[tuple[Break, bool]]:
    """The starts of paragraphs, items, rows, …, each with whether it is kept whole."""
    regions: list[tuple[Break, bool]] = []
    width = _width(lines)
    before: Line | None = None  # the last line that is not blank
    blank = True
    for line in lines:
        if line.kind == "blank":
            blank = True
            continue
        level = _level(text, before, line, blank, width)
        if level is not None:
            depth = line.depth if line.kind == "heading" else 0
            whole = line.kind in ("heading", "row", "rule", "fence")
            regions.append((Break(line.start, level, depth), whole))
        before, blank = line, False
    return regions


def _level(text: str, before: Line | None, line: Line, blank: bool, width: int) -> Level | None:
    """The strength of the boundary before `line`; None if it continues the line before."""
    if line.kind == "heading" or before is None:
        return Level.HEADING
    if before.kind in ("heading", "under"):
        return None if line.kind == "under" else Level.KEPT
    if line.kind == "rule" or (line.kind == "row" and before.kind == "rule"):
        return Level.KEPT
    if line.kind == "fence" and line.depth:
        return Level.INNER
    if line.kind == "item" and text[before.start : before.end].rstrip()[-1:] in (":", "："):
        return Level.INNER
    if line.kind == "item" and before.kind in ("item", "prose"):
        return Level.LINE
    if blank:
        return Level.PARAGRAPH
    if line.kind == before.kind == "row":
        return Level.LINE
    if line.kind != "prose" or before.kind not in ("prose", "item"):
        return Level.LINE
    return Level.LINE if _is_hard(text, before, line, width) else None


def _width(lines: Sequence[Line]) -> int:
    """The width of the page in characters: the 90th percentile of the lengths of lines of prose."""
    lengths = sorted(line.end - line.start for line in lines if line.kind in ("prose", "item"))
    return lengths[len(lengths) * 9 // 10] if lengths else 0


def _is_hard(text: str, before: Line, line: Line, width: int) -> bool:
    """Whether the author broke the line, not the page's width: the next word would have fit."""
    length = before.end - before.start
    if length > 200:
        return True  # longer than any page is wide
    head = text[line.start : line.start + 16].lstrip()
    first_word = head.split(None, 1)[0] if head else ""
    ended = text[before.start : before.end].rstrip()[-1:] in _TITLE_END
    if head[:1].islower() and not ended:
        return False
    return length + len(first_word) < width * 4 // 5


# Sentences


def sentence_starts(text: str, start: int, end: int) -> Iterator[int]:
    """The starts of sentences inside `text[start:end]`, without `start` itself."""
    begin = start
    for stop in _STOP.finditer(text, start, end):
        if stop.start() < begin:
            continue
        space = _SPACE.match(text, stop.end(), end)
        following = space.end() if space else stop.end()
        if following >= end:
            return
        if _ends(text, begin, stop, following):
            begin = following
            yield following


def _ends(text: str, begin: int, stop: re.Match[str], following: int) -> bool:
    """Whether the punctuation at `stop` ends the sentence that began at `begin`."""
    mark = stop[0][0]
    if mark.isspace():
        return stop.start() - begin >= _THAI_SENTENCE
    if mark in _WIDE_STOPS or mark in _OTHER_STOPS:
        return True
    opened = text[following : following + 3].lstrip(_OPENERS)
    if not opened or opened[0].islower():
        return not opened
    if mark != ".":
        return True
    return _ends_with_dot(text[max(begin, stop.start() - 30) : stop.start()], text, following)


def _ends_with_dot(before: str, text: str, following: int) -> bool:
    """Whether a dot after `before` ends a sentence, if no small letter follows."""
    words = before.split()
    last = words[-1].lstrip("([\"'“‘*_") if words else ""
    if len(words) == 1 and last.isdigit() and len(before) < 30:
        return False  # "3. Open the valve": the number of an item
    if last.lower() in _NEVER_LAST:
        return False
    if last.lower() in _BEFORE_NUMBER:
        return not (text[following].isdigit() or text[following] in "([§")
    initial = len(last) == 1 and last.isalpha()
    if initial or _ACRONYM.fullmatch(last):
        beginner = _WORD.match(text, following)
        return beginner is not None and beginner[0] in _BEGINNERS
    return True


__all__ = [
    "Break",
    "Level",
    "Line",
    "breaks",
    "read_lines",
    "sentence_starts",
    "sentences",
    "trim",
]
