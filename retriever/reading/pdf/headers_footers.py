"""Running headers and footers: lines repeated on page after page.

They say nothing about their page, fill every chunk with the same words, and split sentences. They
are detected from the pages alone: a line near the edge of a page that recurs word for word on other
pages, except for the page's own number. A line whose number is another one, such as "Invoice 1004",
"Article 5" or "3 March 2025", is content, although it counts with the pages (`_numbers_pages`).
Nothing is removed: a page's `body` is the span of its text that is chunked. If in doubt, a line
stays in the body. Of every running line the first occurrence stays, so its words are found; so does
the header row of a table that begins inside a page. Footnotes are not detected.

The time is linear in the text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import takewhile

from retriever.text.page_numbers import NUMBER, PAGE_WORDS, own_words, page_number, value
from retriever.types import Page, Span

_MAX_DEPTH = 8  # lines at each edge that are tested: a copyright notice has five
_MAX_LINE = 300  # characters of a running line
_MIN_PAGES = 3  # pages with the line
_MAX_DISTANCE = 4  # pages between occurrences: left and right differ, and one may be empty
_MIN_DENSITY = 0.4  # share of the pages from the first to the last
_MIN_SHARE = 0.4  # share of all pages: half (left or right ones), less covers and lists
_MIN_SAME_DEPTH = 0.7  # share of its pages with the same depth, plus or minus one line
_MAX_INSIDE = 0.1  # share of its pages that also have the line inside, as a heading
_MIN_SLOT_SHARE = 0.6  # share of all pages with any chapter header at that depth
_MAX_UNNUMBERED = 60  # pages before page 1: a larger difference is not that of page numbers
_MAX_COMPARED = 50  # runs with the same offset
_COUNTED = re.compile(r"(?:\b(?:no|nr|number|nummer|num[eé]ro|número)|n[°º]|№|§|#)[\s.:]*$|\d[./]$")
_COUNTS_ON = re.compile(r"[./]\d|\s*:")  # 2.4 as 4.1; Experiment 4: results
_LAST_WORD = re.compile(r"([^\W\d_]+)[^\w]*$")
_FIRST_WORD = re.compile(r"[\s.,]*(?:de\s+)?([^\W\d_]+)")
_MONTHS = frozenset(
    """january february march april may june july august september october november december
    januar jänner februar märz mai juni juli oktober dezember janvier février mars avril juin
    juillet août septembre octobre novembre décembre enero febrero marzo abril mayo junio julio
    agosto septiembre octubre noviembre diciembre gennaio febbraio aprile maggio giugno luglio
    settembre ottobre dicembre janeiro fevereiro março maio junho julho setembro outubro dezembro
    januari februari maart mei augustus""".split()  # noqa: SIM905 - a table of words
)
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")

_Key = tuple[bool, str]  # whether it counts with the pages; the line with its number's offset
_Place = tuple[bool, int]  # at the top, and how deep: 0 is the line at the edge


@dataclass(frozen=True, slots=True)
class _Line:
    """A line near the edge of a page: its span, and the keys by which it may recur."""

    start: int
    end: int
    keys: tuple[_Key, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    """A line recurring on nearby pages: page positions in order, and its depth on each."""

    key: _Key
    top: bool
    pages: tuple[int, ...]
    depths: tuple[int, ...]

    @property
    def usual(self) -> int:
        """The median depth."""
        return sorted(self.depths)[len(self.depths) // 2]


def exclude_running_lines(pages: Sequence[Page]) -> tuple[Page, ...]:
    """The pages; those with running lines get a `body` without them.

    If all lines of a page run, its body is all of its text, because a page without a passage is not
    found; it is empty if the lines are page numbers. Pages without a number or text, and pages that
    already have a body, are unchanged.
    """
    texts = {
        at: page
        for at, page in enumerate(pages)
        if page.text and page.number is not None and not page.label and page.body is None
    }
    if len(texts) < _MIN_PAGES:
        return tuple(pages)
    edges = {
        at: (_edge(page.text, at, True), _edge(page.text, at, False)) for at, page in texts.items()
    }
    running = _running_lines(edges, texts)
    made = list(pages)
    for at, page in texts.items():
        body = _body(page.text, edges[at], at, running)
        if body is not None:
            made[at] = replace(page, body=body)
    return tuple(made)


# Lines


def _edge(text: str, page: int, top: bool) -> list[_Line]:
    """The first or last non-blank lines of a page, from the edge inwards."""
    found: list[_Line] = []
    for start, end in _lines(text, top):
        line = text[start:end]
        if not line.strip():
            continue
        found.append(_Line(start, end, tuple(_keys(line, page))))
        if len(found) == _MAX_DEPTH:
            break
    return found


def _lines(text: str, top: bool) -> Iterator[tuple[int, int]]:
    """Spans of the lines, from the first on or from the last back."""
    if top:
        start = 0
        while start <= len(text):
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            yield start, end
            start = end + 1
    else:
        end = len(text)
        while end >= 0:
            start = text.rfind("\n", 0, end) + 1
            yield start, end
            end = start - 1


def _keys(line: str, page: int) -> Iterator[_Key]:
    """The keys of a line: its text, or its text with a number that counts with the pages.

    White space is ignored, because it depends on the extractor.

    >>> list(_keys("Zero Trust  12", 20))
    [(True, 'zerotrust#-8'), (False, 'zerotrust12')]
    >>> list(_keys("xiv", 15))
    [(True, '#-1')]
    """
    words = line[: 2 * _MAX_LINE].casefold()
    same = _same(words)
    if len(same) > _MAX_LINE:
        return
    numbers = list(NUMBER.finditer(words))
    for number in [*numbers[:2], *numbers[2:][-2:]]:
        counted = value(number[0])
        if counted is not None:
            rest = words[: number.start()] + "#" + words[number.end() :]
            yield True, f"{_same(rest)}{counted - page:+d}"
    if any(map(str.isalpha, same)) and value(same) is None:
        yield False, same


def _same(line: str) -> str:
    return "".join(line.casefold().split())


# Detection


_Edges = dict[int, tuple[list[_Line], list[_Line]]]


def _running_lines(edges: _Edges, texts: dict[int, Page]) -> dict[tuple[bool, _Key], set[int]]:
    """For each side (True: top) and key, the pages on which that line runs."""
    near = [run for (top, key), at in _places(edges).items() for run in _runs(key, top, at)]
    runs = _only_page_numbers(_only_at_edges(near, edges, texts), edges, texts)
    slots = _slots(runs, edges)
    often: dict[tuple[bool, _Key], int] = defaultdict(int)
    for run in runs:
        often[run.top, run.key] += len(run.pages)
    running: dict[tuple[bool, _Key], set[int]] = defaultdict(set)
    for run in runs:
        everywhere = often[run.top, run.key] >= _MIN_SHARE * len(texts)
        chapters = slots[run.top, run.usual] >= _MIN_SLOT_SHARE * len(texts)
        if run.key[0] or everywhere or chapters:
            running[run.top, run.key].update(run.pages)
    _keep_first(running)
    return running


def _places(edges: _Edges) -> dict[tuple[bool, _Key], list[tuple[int, int]]]:
    """For each side and key, the pages that have the line near that edge, and its depth."""
    places: dict[tuple[bool, _Key], list[tuple[int, int]]] = defaultdict(list)
    for at, sides in sorted(edges.items()):
        for top, lines in zip((True, False), sides, strict=True):
            for depth, line in enumerate(lines):
                for key in line.keys:
                    found = places[top, key]
                    if not found or found[-1][0] != at:
                        found.append((at, depth))
    return places


def _runs(key: _Key, top: bool, places: list[tuple[int, int]]) -> Iterator[_Run]:
    """Series of nearby pages: enough, dense enough, and mostly at the same depth."""
    start = 0
    for at in range(1, len(places) + 1):
        if at < len(places) and places[at][0] - places[at - 1][0] <= _MAX_DISTANCE:
            continue
        pages, depths = zip(*places[start:at], strict=True)
        start = at
        run = _Run(key, top, pages, depths)
        steady = sum(abs(depth - run.usual) <= 1 for depth in depths)
        if len(pages) >= max(_MIN_PAGES, _MIN_DENSITY * (pages[-1] - pages[0] + 1)) and (
            steady >= _MIN_SAME_DEPTH * len(pages)
        ):
            yield run


def _only_at_edges(runs: Sequence[_Run], edges: _Edges, texts: dict[int, Page]) -> list[_Run]:
    """The runs without content that reaches the edge by chance.

    A line is content if it also occurs away from the edges, on the page before (the header row of a
    table that continues) or on some of its own pages (repeated text).
    """
    asked: dict[int, list[int]] = defaultdict(list)  # runs by page: each page is cut once
    for number, run in enumerate(runs):
        for at in run.pages if not run.key[0] else ():
            asked[at].append(number)
        if run.top and not run.key[0]:
            asked[run.pages[0] - 1].append(number)
    inside = [0] * len(runs)
    for at, numbers in asked.items():
        lines = _inner(texts[at].text, edges[at]) if at in texts else ()
        for number in numbers:
            run = runs[number]
            if run.key[1] in lines:
                inside[number] += 1 if at >= run.pages[0] else len(run.pages)
    return [
        run
        for run, count in zip(runs, inside, strict=True)
        if count <= max(1, _MAX_INSIDE * len(run.pages))
    ]


def _inner(text: str, sides: tuple[list[_Line], list[_Line]]) -> frozenset[str]:
    """The lines of a page away from its edges."""
    above, below = sides
    between = text[above[-1].end : below[-1].start] if above and below else ""
    return frozenset(_same(line) for line in between.split("\n"))


def _only_page_numbers(runs: Sequence[_Run], edges: _Edges, texts: dict[int, Page]) -> list[_Run]:
    """The runs without those that count something else than pages."""
    counting = [_Counting(run, _form(run, edges, texts)) for run in runs if run.key[0]]
    numbered: set[int] = set()
    titles: dict[int, list[_Run]] = defaultdict(list)
    for found in counting:
        if found.form is _Form.NUMBER:
            numbered.update(found.run.pages)
        elif found.form is not _Form.CONTENT and len(titles[found.offset]) < _MAX_COMPARED:
            titles[found.offset].append(found.run)
    others = {
        found.run for found in counting if not _numbers_pages(found, numbered, titles[found.offset])
    }
    return [run for run in runs if run not in others]


class _Form(Enum):
    """What a line with a number that counts with the pages looks like."""

    NUMBER = "Page 7 of 9"
    TITLE = "The Book 7"
    LABEL = "Lesson 7"
    CONTENT = "§ 7, no. 7, 7 March 2025"


@dataclass(frozen=True, slots=True)
class _Counting:
    """A run with a number that counts with the pages."""

    run: _Run
    form: _Form

    @property
    def offset(self) -> int:
        """The difference of its number to the page's own: 0 if page 1 has a 1."""
        return _offset(self.run.key) - 1


def _offset(key: _Key) -> int:
    """The difference of the number to the position of its page."""
    return int(key[1][max(key[1].rfind("+"), key[1].rfind("-")) :])


def _numbers_pages(found: _Counting, numbered: set[int], titles: Sequence[_Run]) -> bool:
    """Whether the run's number is that of its pages.

    `numbered` are the pages with a line that is certainly a page number; `titles` the runs with the
    same offset. Left and right pages, and chapters, have titles that share the page's number.
    """
    if found.form in (_Form.NUMBER, _Form.CONTENT):
        return found.form is _Form.NUMBER
    pages = set(found.run.pages)
    if 2 * len(pages & numbered) > len(pages):
        return False
    if any(run.key != found.run.key and pages.isdisjoint(run.pages) for run in titles):
        return True
    return found.form is _Form.TITLE and -_MAX_UNNUMBERED <= found.offset <= 0


def _form(run: _Run, edges: _Edges, texts: dict[int, Page]) -> _Form:
    at = run.pages[0]
    side = edges[at][0 if run.top else 1]
    line = next(line for line in side if run.key in line.keys)
    return _form_of(texts[at].text[line.start : line.end], at + _offset(run.key))


def _form_of(line: str, counted: int) -> _Form:
    """The form of a line with this number.

    >>> [_form_of(line, 7).name for line in ("- 7 -", "The Book 7", "Lesson 7: on boats", "§ 7")]
    ['NUMBER', 'TITLE', 'CONTENT', 'CONTENT']
    >>> [_form_of(line, 7).name for line in ("Article 7", "Case no. 7", "7 March 2025", "p. 7 A B")]
    ['LABEL', 'CONTENT', 'CONTENT', 'TITLE']
    """
    if page_number(line) is not None:
        return _Form.NUMBER
    small = line.casefold()
    numbers = list(NUMBER.finditer(small))
    before, after = next(
        (small[: one.start()], small[one.end() :]) for one in numbers if value(one[0]) == counted
    )
    words = list(own_words(small))
    if not words or _COUNTED.search(before) or _COUNTS_ON.match(after) or _is_item(before, after):
        return _Form.CONTENT
    last, first = _LAST_WORD.search(before), _FIRST_WORD.match(after)
    if any(found and found[1] in _MONTHS for found in (last, first)):
        return _Form.CONTENT
    if len(words) > 1 or (last and last[1] in PAGE_WORDS):
        return _Form.TITLE
    if last and last[1] == words[0]:
        return _Form.LABEL
    return _Form.CONTENT if _YEAR.search(after) else _Form.TITLE


def _is_item(before: str, after: str) -> bool:
    """Whether the number is that of an item of a list: "4. Question", "4) Question"."""
    return not before.strip() and after.startswith((".", ")"))


def _slots(runs: Iterable[_Run], edges: _Edges) -> dict[_Place, int]:
    """The number of pages with a recurring line, for each side and depth."""
    near: dict[tuple[bool, _Key], set[int]] = defaultdict(set)
    for run in runs:
        if not run.key[0]:
            near[run.top, run.key].update(run.pages)
    counts: dict[_Place, int] = defaultdict(int)
    for at, sides in edges.items():
        for top, lines in zip((True, False), sides, strict=True):
            for depth, line in enumerate(lines):
                counts[top, depth] += any(at in near.get((top, key), ()) for key in line.keys)
    return counts


def _keep_first(running: dict[tuple[bool, _Key], set[int]]) -> None:
    """Keep the first occurrence of words; a number alone is not kept."""
    for (_, (counts, words)), at in running.items():
        if not counts or any(map(str.isalpha, words)):
            at.discard(min(at))


def _body(
    text: str,
    sides: tuple[list[_Line], list[_Line]],
    at: int,
    running: dict[tuple[bool, _Key], set[int]],
) -> Span | None:
    """The span between running lines at both edges; None for all of the text."""

    def runs(line: _Line, top: bool) -> bool:
        return any(at in running.get((top, key), ()) for key in line.keys)

    above = list(takewhile(lambda line: runs(line, True), sides[0]))
    start = above[-1].end if above else 0
    rest = (line for line in sides[1] if line.start >= start)
    below = list(takewhile(lambda line: runs(line, False), rest))
    end = below[-1].start if below else len(text)
    if not above and not below:
        return None
    content = text[start:end]
    if not content.strip():
        numbers = all(page_number(line) is not None for line in text.split("\n") if line.strip())
        return Span(0, 0) if numbers else None
    start += len(content) - len(content.lstrip())
    return Span(start, start + len(content.strip()))


__all__ = ["exclude_running_lines"]
