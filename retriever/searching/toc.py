r"""Tables of contents, lists of figures and indexes: detected by their text, and ranked lower.

They consist of the very words that people search for, so a short query ranks them above the page
that they refer to.

- **Detection.** At least half of a passage's characters are in short lines with dot leaders
  ("Basics ........ 4"). Or at least five lines, and three in five, are short, contain a letter and
  end in a page number, and these numbers are ascending (contents, a list of figures) or the lines
  are in alphabetical order (an index), except for one pair of neighbours in four.
- **Demotion.** A detected passage keeps three quarters of its score. So it is ranked below passages
  with a similar score, but above much worse ones; it is found where nothing else is.

A column of other ascending numbers ("Monday 10", "Tuesday 20", …) looks the same and is demoted,
too. The module knows nothing about where passages come from.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

Passage = TypeVar("Passage")
Value = TypeVar("Value", int, str)

WEIGHT = 0.75
"""Share of its score that a detected passage keeps."""

_LEADERS = re.compile(r"[.·…](?:[.·…]{3,}|(?: [.·]){3,}|(?<=…)…)")
_REFERS = re.compile(r"[^\n]*[^\W\d_][^\n]*[\s,.]([0-9]{1,4}|[ivxl]{1,7})")
_MAX_LINE = 100  # characters of a line that refers to a page, without its leaders
_NUMBER_ENDINGS = frozenset("0123456789ivxl")
_MIN_LINES = 5
_MIN_SHARE = 0.6  # of the lines
_MIN_ORDERED = 0.75  # of the pairs of lines
_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50}


def looks_like_toc(text: str) -> bool:
    r"""Whether a passage is a piece of a table of contents, a list of figures or an index.

    >>> looks_like_toc("1 Scope ........ 3\n2 Terms ........ 4")
    True
    >>> looks_like_toc("Apples, 3\nBeans, 12\nCarrots, 4\nDates, 7\nEggs, 9")
    True
    >>> looks_like_toc("The scope is given in chapter 3.")
    False
    """
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    if _LEADERS.search(text):
        led = [line for line in lines if _has_leaders(line)]
        if 2 * sum(map(len, led)) >= sum(map(len, lines)):
            return True
    short = (line for line in lines if line[-1] in _NUMBER_ENDINGS and len(line) <= _MAX_LINE)
    matches = ((line, _REFERS.fullmatch(line)) for line in short)
    referring = [(line, _page_number(match[1])) for line, match in matches if match]
    if len(referring) < max(_MIN_LINES, _MIN_SHARE * len(lines)):
        return False
    numbers = [number for _, number in referring]
    names = [line.casefold() for line, _ in referring]
    return _is_ascending(numbers) or _is_ascending(names)


def _has_leaders(line: str) -> bool:
    """Whether the line has dot leaders, and is short without them."""
    rest, dots = _LEADERS.subn("", line)
    return dots > 0 and len(rest) <= _MAX_LINE


def _is_ascending(values: Sequence[Value]) -> bool:
    """Whether most values are at least the one before, with more than two distinct values."""
    pairs = list(pairwise(values))
    ordered = sum(before <= after for before, after in pairs)
    return len(set(values)) > 2 and ordered >= _MIN_ORDERED * len(pairs)


def _page_number(text: str) -> int:
    """A page number in Arabic or lower-case Roman numerals (malformed ones, too).

    >>> _page_number("12"), _page_number("xiv")
    (12, 14)
    """
    if text.isdigit():
        return int(text)
    values = [_ROMAN[letter] for letter in text]
    return sum(-v if v < after else v for v, after in pairwise([*values, 0]))


def demoted_score(score: float) -> float:
    """The score of a detected passage: lower by a quarter of its absolute value."""
    return score - (1 - WEIGHT) * abs(score)


def demote_toc(
    found: Iterable[tuple[float, bool, Passage]], *, complete: bool
) -> Iterator[tuple[float, Passage]]:
    """(score, is it a table of contents, passage), best first → (score, passage), best first.

    A table of contents gets its demoted score and its new rank, after ties. Unless `found` is
    `complete`, one that might rank below passages not in `found` is left out. `found` is read
    lazily.

    >>> found = [(8.0, True, "contents"), (7.0, False, "a"), (2.0, False, "b")]
    >>> list(demote_toc(found, complete=True))
    [(7.0, 'a'), (6.0, 'contents'), (2.0, 'b')]
    """
    waiting: deque[tuple[float, Passage]] = deque()  # best first, since lowering keeps the order
    for score, refers, passage in found:
        while waiting and waiting[0][0] > score:
            yield waiting.popleft()
        if refers:
            waiting.append((demoted_score(score), passage))
        else:
            yield score, passage
    if complete:
        yield from waiting


__all__ = ["WEIGHT", "demote_toc", "demoted_score", "looks_like_toc"]
