"""Chunking: divide a page by its structure, within a budget of the model's tokens.

`retriever.text.structure` finds the boundaries and their strength. This module chooses the cuts,
all of a page at once, so that chunks are well filled, alike in size, and end at strong boundaries.
A chunk that does not begin a section repeats the last sentences of the chunk before (overlap).

The module knows nothing of files and embeddings. The tokenizer is a function from a text to the
character span of each of its tokens.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import attrgetter

from retriever.settings import ChunkSettings
from retriever.text.structure import Break, Level, breaks, trim
from retriever.types import Page, Span

CHUNKS_VERSION = "2"
"""Version of the cuts. Documents chunked by another version are chunked again."""

Tokenize = Callable[[str], Sequence[tuple[int, int]]]
"""A text → the span `(start, end)` of each of its tokens, in order, without special tokens."""

# The cost of a cut at each boundary; a half-empty chunk costs 0.25.
_CUT_COST = {
    Level.KEPT: 100.0,
    Level.ANYWHERE: 3.0,
    Level.WORD: 2.0,
    Level.CLAUSE: 1.2,
    Level.INNER: 0.7,
    Level.SENTENCE: 0.25,
    Level.LINE: 0.12,
    Level.PARAGRAPH: 0.05,
    Level.HEADING: 0.0,
}
_GLUED = (
    0.0,
    1.4,
    1.4,
    0.5,
    0.4,
    0.3,
    0.2,
)  # the cost of two large sections in one chunk, by depth
# By level: units that together have at most 1/n of a chunk's tokens are merged (others: 1/24).
_JOINED = {Level.KEPT: 2, Level.ANYWHERE: 12, Level.WORD: 12, Level.CLAUSE: 12}
_CLAUSE = re.compile(r"[,;:—–،؛]\s++|[，、；：]\s*+|[\r\n]++\s*+")
_SPACES = re.compile(r"\s++")
_EDGES = 32  # tokens
_LONGEST_TOKEN = 100
"""Characters of a token that counts as one; a longer one counts as several.

Tokenizers that take a whole word for one token, known or unknown, would set a text without white
space no end. The longest tokens of byte-level models have 81.
"""

_MAX_CLUSTER = 32  # characters; a letter with more marks than this is an attack


@dataclass(frozen=True, slots=True)
class _Unit:
    """A piece that is not cut: from `at` to the next unit's `at`. `first`, `past` index tokens."""

    at: int
    level: Level
    depth: int
    first: int
    past: int


class _Tokens:
    """The tokens of a page, to count those of any part of it."""

    def __init__(self, spans: Sequence[tuple[int, int]]) -> None:
        starts, ends = zip(*spans, strict=True) if spans else ((), ())
        self.starts, self.ends = _rising(starts), _rising(ends)

    def first(self, position: int) -> int:
        """The index of the first token that ends after `position`."""
        return bisect_right(self.ends, position)

    def past(self, position: int) -> int:
        """The number of tokens that begin before `position`."""
        return bisect_left(self.starts, position)

    def count(self, start: int, end: int) -> int:
        """The number of tokens that overlap `text[start:end]`."""
        return max(self.past(end) - self.first(start), 0)


def _rising(places: Sequence[int]) -> list[int]:
    """The places without steps back: byte-level tokenizers repeat spans."""
    found = sorted(places)  # takes no time if they rise, as in most texts
    return found if found == list(places) else list(accumulate(places, max))


def _bounded(tokenize: Tokenize) -> Tokenize:
    """`tokenize`, with each token longer than `_LONGEST_TOKEN` as several."""

    def short_tokens(text: str) -> Sequence[tuple[int, int]]:
        spans = tokenize(text)
        if all(end - start <= _LONGEST_TOKEN for start, end in spans):
            return spans
        return [
            (at, min(at + _LONGEST_TOKEN, end))
            for start, end in spans
            for at in range(start, max(end, start + 1), _LONGEST_TOKEN)
        ]

    return short_tokens


class _Page:
    """The state of chunking one text into chunks of at most `size` tokens, `overlap` repeated.

    `breaks` are all possible cuts; `units` are the merged ones that the cuts are chosen from, the
    last of which only marks the end.
    """

    def __init__(self, text: str, size: int, overlap: int, tokenize: Tokenize) -> None:
        self.text, self.size, self.overlap = text, size, overlap
        self.target = max(size - overlap, 1)
        self.tokens = _Tokens(tokenize(text))
        self.breaks = list(_refined(self, list(_open_blocks(self, breaks(text)))))
        self.units = [
            _Unit(*found, self.tokens.first(found.at), self.tokens.past(found.at))
            for found in [*_coalesced(self), Break(len(text), Level.HEADING)]
        ]


def chunk_page(text: str, settings: ChunkSettings, tokenize: Tokenize) -> list[Span]:
    r"""The chunks of one page: exact slices, in order, that together cover its text.

    A chunk, tokenised by itself, has at most `settings.size` tokens (unless a single character
    has more) and no white space at its ends. A text of white space has no chunks.

    >>> def words(text):
    ...     return [match.span() for match in re.finditer(r"\S+", text)]
    >>> chunk_page("One two three four. Five six seven eight nine.", ChunkSettings(8, 0), words)
    [Span(start=0, end=19), Span(start=20, end=46)]
    """
    if not text.strip():
        return []
    tokenize = _bounded(tokenize)
    page = _Page(text, settings.size, settings.overlap, tokenize)
    spans: list[Span] = []
    for begin, end, start in _with_overlap(page, _choose(page)):
        if spans and start <= spans[-1].start:
            start = begin  # the chunk before was divided again
        spans += _fitting(page, begin, end, start, tokenize)
    return spans


def chunk_document(
    pages: Sequence[Page], settings: ChunkSettings, tokenize: Tokenize
) -> list[tuple[int, Span]]:
    """The chunks of a document as (position of the page, span in its text), never across pages."""
    return [
        (position, span)
        for position, page in enumerate(pages)
        if page.state.readable
        for span in _chunk_body(page, settings, tokenize)
    ]


def _chunk_body(page: Page, settings: ChunkSettings, tokenize: Tokenize) -> list[Span]:
    """The chunks of a page's body, without running headers and footers."""
    if page.body is None:
        return chunk_page(page.text, settings, tokenize)
    start = page.body.start
    spans = chunk_page(page.text[start : page.body.end], settings, tokenize)
    return [Span(start + span.start, start + span.end) for span in spans]


# Units: small enough for good cuts, large enough to be few


def _open_blocks(page: _Page, found: Sequence[Break]) -> Iterator[Break]:
    """The breaks, with the lines of a code block that exceeds a chunk as ordinary lines."""
    begin = 0
    while begin < len(found):
        end = begin + 1
        while end < len(found) and found[end].level == Level.INNER:
            end += 1
        last = found[end].at if end < len(found) else len(page.text)
        fits = page.tokens.count(found[begin].at, last) <= page.target
        yield found[begin]
        for unit in found[begin + 1 : end]:
            yield unit if fits else unit._replace(level=Level.LINE)
        begin = end


def _refined(page: _Page, found: Sequence[Break]) -> Iterator[Break]:
    """The breaks, with more inside long units: at clauses, else words, else characters."""
    for index, unit in enumerate(found):
        yield unit
        end = found[index + 1].at if index + 1 < len(found) else len(page.text)
        yield from _inside(page, unit.at, end, ((_CLAUSE, Level.CLAUSE), (_SPACES, Level.WORD)))


def _inside(
    page: _Page, start: int, end: int, ways: Sequence[tuple[re.Pattern[str], Level]]
) -> Iterator[Break]:
    """The breaks inside `text[start:end]` if it has more tokens than half a chunk."""
    if page.tokens.count(start, end) <= page.size // 2:
        return
    if not ways:
        yield from _characters(page, start, end)
        return
    pattern, level = ways[0]
    begin = start
    for at in [*(match.end() for match in pattern.finditer(page.text, start, end)), end]:
        yield from _inside(page, begin, at, ways[1:])
        if at < end:
            yield Break(at, level)
        begin = at


def _characters(page: _Page, start: int, end: int) -> Iterator[Break]:
    """A break every `size // 8` tokens, moved past the marks of the character before."""
    last, step = start, max(page.size // 8, 1)
    for index in range(page.tokens.first(start) + step, page.tokens.past(end), step):
        at = _whole_character(page.text, page.tokens.starts[index], end)
        if last < at < end:
            yield Break(at, Level.ANYWHERE)
            last = at


def _whole_character(text: str, at: int, end: int) -> int:
    """The first position from `at` that does not separate a character from its marks."""
    for position in range(at, min(at + _MAX_CLUSTER, end)):
        joined = text[position - 1 : position] == "\u200d"
        if not joined and not _continues(text[position]):
            return position
    return at


def _continues(character: str) -> bool:
    """Whether it is a combining mark, joiner, emoji skin colour, or second half of a surrogate."""
    return (
        unicodedata.category(character)[0] == "M"
        or character == "\u200d"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\udc00" <= character <= "\udfff"
    )


def _coalesced(page: _Page) -> list[Break]:
    """The breaks without those between tiny units, so that choosing cuts takes linear time."""
    kept: list[Break] = []
    for index, unit in enumerate(page.breaks):
        end = page.breaks[index + 1].at if index + 1 < len(page.breaks) else len(page.text)
        # There is no cut before a KEPT unit, so merging it with its heading loses nothing.
        parts = _JOINED.get(unit.level, 24)
        tiny = bool(kept) and page.tokens.count(kept[-1].at, end) <= page.size // parts
        if not tiny or unit.level == Level.HEADING:
            kept.append(unit)
    return kept


# The choice


def _choose(page: _Page) -> list[int]:
    """The cheapest division: the indices of the units that begin a chunk, then that of the end.

    The cost of a division is the sum over its chunks of `_fill_cost`, the cost of the cut before,
    and the cost of large sections joined. `best[i]` is the lowest cost of the units before `i`
    (dynamic programming).
    """
    units, glued = page.units, _glue_costs(page)
    firsts = [unit.first for unit in units]
    cuts_before = [_CUT_COST[unit.level] for unit in units]
    # A chunk inside a section needs room for its overlap with the chunk before.
    limits = [page.size if unit.level == Level.HEADING else page.target for unit in units]
    fills = [_fill_cost(count / page.target) for count in range(page.size + 1)]
    best = [0.0] + [float("inf")] * (len(units) - 1)
    previous = [0] * len(units)
    for end in range(1, len(units)):
        glue = 0.0
        for begin in range(end - 1, -1, -1):
            count = units[end].past - firsts[begin]
            if count <= limits[begin] or begin == end - 1:
                cost = best[begin] + cuts_before[begin] + fills[min(count, page.size)] + glue
                if cost < best[end]:
                    best[end], previous[end] = cost, begin
            elif count > page.size:
                break
            glue += glued[begin]
    cuts = [len(units) - 1]
    while cuts[-1] > 0:
        cuts.append(previous[cuts[-1]])
    return cuts[::-1]


def _fill_cost(fill: float) -> float:
    """The cost of a chunk with `fill` times its target size: 0 at 1, high near 0."""
    return (1 - fill) ** 2 + 4 * max(0.0, 0.25 - fill)


def _glue_costs(page: _Page) -> list[float]:
    """The cost, for each unit, of a chunk that contains the boundary before it.

    The cost is high between two sections that are each large enough for a chunk. A section extends
    from its heading to the next one that is not deeper.
    """
    costs = [0.0] * len(page.units)
    headings = [(i, unit) for i, unit in enumerate(page.units) if unit.level == Level.HEADING]
    after: dict[int, int] = {}
    latest = [page.units[-1].past] * 7  # the first token of the nearest heading of each depth
    for index, unit in reversed(headings):
        after[index] = min(latest[: unit.depth + 1]) - unit.first
        latest[unit.depth] = unit.first
    latest = [0] * 7
    for index, unit in headings:
        before = unit.first - max(latest[: unit.depth + 1])
        latest[unit.depth] = unit.first
        large = min(before, after[index]) >= page.size // 3
        costs[index] = _GLUED[unit.depth] / (1 if large else 8)
    return costs


# Overlap, and the last check


def _with_overlap(page: _Page, cuts: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Each chunk as (begin, end, start): the span of its own text, and the start of its overlap."""
    for position, (first, past) in enumerate(pairwise(cuts)):
        begin, end = page.units[first].at, page.units[past].at
        start = begin
        room = min(page.overlap, page.size - page.tokens.count(begin, end))
        if position and room > 0 and page.units[first].level < Level.HEADING:
            start = _overlap_start(page, page.units[cuts[position - 1]].at, begin, room)
        yield begin, end, start


def _overlap_start(page: _Page, previous: int, begin: int, room: int) -> int:
    """The start of the overlap before `begin`: at most `room` tokens of the chunk before.

    It consists of whole sentences or lines if one fits, else of a clause, else of words; it never
    contains a heading.
    """
    if not page.tokens.starts:
        return begin
    lowest = page.tokens.starts[max(page.tokens.past(begin) - room, 0)]
    lowest = max(lowest, trim(page.text, previous, begin).start + 1)
    whole = begin
    index = bisect_left(page.breaks, begin, key=attrgetter("at"))
    while index and (found := page.breaks[index - 1]).at >= lowest:
        if found.level == Level.HEADING:
            break
        fits = page.tokens.count(found.at, begin) <= room
        if fits and (found.level >= Level.INNER or found.level == Level.KEPT):
            whole = found.at
        index -= 1
    if whole < begin or not index or page.breaks[index - 1].level == Level.HEADING:
        return whole
    return _last_words(page, lowest, begin, room)


def _last_words(page: _Page, lowest: int, begin: int, room: int) -> int:
    """The start of the last clause, words or characters of `text[lowest:begin]`."""
    for pattern in (_CLAUSE, _SPACES):
        match = pattern.search(page.text, lowest, begin)
        if match and room // 2 < page.tokens.count(match.end(), begin) <= room:
            return match.end()
    past = page.tokens.past(begin)
    for index in range(max(past - room, 0), past):
        at = _whole_character(page.text, max(lowest, page.tokens.starts[index]), begin)
        if page.tokens.count(at, begin) <= room:  # tokens may share a character
            return at
    return begin


def _fitting(page: _Page, begin: int, end: int, start: int, tokenize: Tokenize) -> list[Span]:
    """`text[start:end]` if it fits when tokenised by itself; else without overlap, or divided."""
    own = trim(page.text, begin, end)
    if own.start == own.end:
        return []
    span = trim(page.text, start, end) if start < begin else own
    # The tokens of a slice differ from those of the page only at its two ends.
    if page.tokens.count(span.start, span.end) + _EDGES <= page.size:
        return [span]
    if len(tokenize(page.text[span.start : span.end])) <= page.size:
        return [span]
    return _parts(page.text, own, page.size, page.size, tokenize)


def _parts(text: str, span: Span, size: int, budget: int, tokenize: Tokenize) -> list[Span]:
    """`span`, divided until each part, tokenised by itself, has at most `size` tokens."""
    part = text[span.start : span.end]
    count = len(tokenize(part))
    if count <= size or budget == 1 or len(part) == 1:
        return [span]
    budget = max(1, min(budget - 1, budget * size // count))
    page = _Page(part, budget, 0, tokenize)
    inner = (
        trim(part, page.units[first].at, page.units[past].at)
        for first, past in pairwise(_choose(page))
    )
    return [
        found
        for each in inner
        if each.start < each.end
        for found in _parts(
            text, Span(span.start + each.start, span.start + each.end), size, budget, tokenize
        )
    ]


__all__ = ["Tokenize", "chunk_document", "chunk_page"]
