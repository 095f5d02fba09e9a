r"""Tables of contents, lists of figures and indexes: passages that name a subject and only refer.

They consist of the very words that people search for, so a short query ranks them above the page
that they refer to. Here they are recognised by their text alone, and ranked lower:

- **What is one.** At least half of a passage's characters stand in short lines with dot leaders
  ("Basics ........ 4"); or at least five lines, and three in five, are short, have a letter in them
  and end in a page number, and these numbers never fall (contents, a list of figures) or the lines
  are in alphabetical order (an index), but for one pair of neighbours in four.
- **What becomes of it.** It counts with three quarters of its score, so it stands below passages of
  similar score, yet above those that are much worse; where it is all there is, it is found.

A column of other numbers in ascending order ("Monday 10", "Tuesday 20", …) looks the same, and
loses as much. The module knows nothing about where passages come from.
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
"""What a passage that only refers counts, as a part of its score."""

_LEADERS = re.compile(r"[.·…](?:[.·…]{3,}|(?: [.·]){3,}|(?<=…)…)")
_REFERS = re.compile(r"[^\n]*[^\W\d_][^\n]*[\s,.]([0-9]{1,4}|[ivxl]{1,7})")
_MAX_LINE = 100  # characters of a line that refers to a page, without its leaders
_NUMBER_ENDINGS = frozenset("0123456789ivxl")
_MIN_LINES = 5  # lines
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
    """Whether dots lead through this line, and it is short without them."""
    rest, dots = _LEADERS.subn("", line)
    return dots > 0 and len(rest) <= _MAX_LINE


def _is_ascending(values: Sequence[Value]) -> bool:
    """Whether most values are not below the one before, and there are more than two of them."""
    pairs = list(pairwise(values))
    ordered = sum(before <= after for before, after in pairs)
    return len(set(values)) > 2 and ordered >= _MIN_ORDERED * len(pairs)


def _page_number(text: str) -> int:
    """A page number, Arabic or in small Roman letters (also one that Romans would not write).

    >>> _page_number("12"), _page_number("xiv")
    (12, 14)
    """
    if text.isdigit():
        return int(text)
    values = [_ROMAN[letter] for letter in text]
    return sum(-v if v < after else v for v, after in pairwise([*values, 0]))


def demoted_score(score: float) -> float:
    """The score of a passage that only refers; below 0, where there is none to lose, lower too."""
    return score - (1 - WEIGHT) * abs(score)


def demote_toc(
    found: Iterable[tuple[float, bool, Passage]], *, complete: bool
) -> Iterator[tuple[float, Passage]]:
    """(score, whether it only refers, passage), best first → (score, passage), best first.

    What only refers comes with its lowered score, at its new place, behind equal ones. Unless
    `found` is `complete`, one whose place might be behind passages that are not among `found` is
    left out. Nothing is read ahead of what is asked for.

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
