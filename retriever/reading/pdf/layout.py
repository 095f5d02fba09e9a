"""The lines of a PDF page in reading order.

A PDF page is drawn in text runs, in any order. Usually the drawing order is the reading order and
is kept; text runs at one height form a line. Text is reordered only if it is certainly in columns
and was not drawn column by column: then the columns follow each other, and text that spans them (a
title, the caption of a wide figure) stays between them.

Certain means: a gutter beside at least `_MIN_ROWS` lines, columns whose lines fill their width and
continue from line to line, and no drawn rules across, which would make it a table. This module
works on characters and boxes only. Units are PDF points; y grows upwards.
"""

from __future__ import annotations

import re
import statistics
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

_MIN_ROWS = 5  # lines beside a gutter
_MIN_FILL = 0.6  # share of the column's width that a line fills, and share of such lines
_MIN_LETTERS = 12  # mean letters of a line: numbers beside a list are not a column
_MIN_FLOW = 0.4  # share of lines that continue the line before
_MAX_TOUCHING_GAP = 0.1  # of the line's height: narrower than a space
_MIN_INVERTED = 0.8  # share of (left, right) pairs drawn right first
_MAX_GUTTER = 300  # points between columns
_MAX_TEXT_RUNS = 1_500  # of one page; with more it is not prose
SUPERSCRIPTS = str.maketrans("0123456789+-−–", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻")
"""From digits and signs to those of an exponent."""

_MIN_RAISED = 0.2  # of the height of the number before an exponent
_LONG_NUMBER = re.compile(r"\d{3}$")
_NUMBER_OF_NOTE = re.compile(r"[^\W\d_]{3}[.,;:)]? \d{1,3}$")
_EXPONENT = re.compile(r"[-−–+]?\d{1,3}")
_WORD_END = re.compile(r"[^\W\d_]{3}[.,;:!?)\"”’]*$")
_RIGHT_TO_LEFT = ("\u0590", "\u08ff")


@dataclass(frozen=True, slots=True)
class TextRun:
    """Text on one line without a wide gap, rotated so that it reads from left to right.

    `line` numbers the lines in drawing order. `turn` is the rotation against the page in steps of
    90°, from 0 to 3.
    """

    text: str
    line: int
    turn: int
    left: float
    right: float
    low: float
    high: float

    @property
    def height(self) -> float:
        """The height of its box; never 0."""
        return max(self.high - self.low, 1e-3)

    @property
    def middle(self) -> float:
        """The vertical centre of its box."""
        return (self.low + self.high) / 2


Rules = Callable[[float, float, float], bool]
"""Whether rules are drawn across x between two heights (low, high): then it is a table."""


def text_of(text_runs: Sequence[TextRun], ruled: Rules) -> str:
    """The page's text by lines; `ruled` is called only where columns seem to be."""
    text_runs = _from_above(text_runs)
    turns = Counter(text_run.turn for text_run in text_runs)
    main = max(turns, key=lambda turn: turns[turn], default=0)
    upright = [text_run for text_run in text_runs if text_run.turn == main]
    ordered = in_columns(upright, ruled) if len(text_runs) <= _MAX_TEXT_RUNS else None
    if ordered is None:
        return _join(text_runs)
    aside = [text_run for text_run in text_runs if text_run.turn != main]
    return "\n".join(filter(None, [*map(_join, ordered), _join(aside)]))


def _from_above(text_runs: Sequence[TextRun]) -> list[TextRun]:
    """Reverse rotated text whose lines PDFium gives from the last to the first."""
    ordered: list[TextRun] = []
    for turn, run in groupby(text_runs, key=lambda text_run: text_run.turn):
        lines = [list(line) for _, line in groupby(run, key=lambda text_run: text_run.line)]
        steps = [lower[0].middle - upper[0].middle for upper, lower in pairwise(lines)]
        if turn and sum(step > 0 for step in steps) > len(steps) / 2:
            lines.reverse()
        ordered += [text_run for line in lines for text_run in line]
    return ordered


def _join(text_runs: Sequence[TextRun]) -> str:
    """Join text runs in this order; successive runs at one height form a line."""
    parts: list[str] = []
    for before, text_run in pairwise([None, *text_runs]):
        if text_run is None:
            continue
        if before is not None:
            parts.append(_separator(before, text_run))
        exponent = parts[-2:] and before and not parts[-1] and _is_exponent(before, text_run)
        parts.append(text_run.text.translate(SUPERSCRIPTS) if exponent else text_run.text)
    return "".join(parts)


def _separator(one: TextRun, other: TextRun) -> str:
    """The separator: a newline, a space, or nothing within a number or formula (mc²).

    A word or a long number keeps the space before a raised character, which is a footnote mark.
    """
    if not _same_line(one, other):
        return "\n"
    if _is_exponent(one, other) and _LONG_NUMBER.search(one.text):
        return " "
    if _NUMBER_OF_NOTE.search(one.text) and other.text[:1].isalpha():
        return " "
    close = other.left - one.right < _MAX_TOUCHING_GAP * max(one.height, other.height)
    return "" if close and one.line != other.line and not _WORD_END.search(one.text) else " "


def _is_exponent(one: TextRun, other: TextRun) -> bool:
    """Whether a raised number stands behind a number: 10²³ is not 1023."""
    raised = other.low - one.low > _MIN_RAISED * one.height
    return raised and one.text[-1:].isdecimal() and bool(_EXPONENT.fullmatch(other.text))


def _same_line(one: TextRun, other: TextRun) -> bool:
    if one.turn != other.turn or not _beside(one, other):
        return False
    return one.line == other.line or other.left >= one.right - 0.3 * one.height


def _beside(one: TextRun, other: TextRun) -> bool:
    """Whether two text runs are at the same height."""
    shared = min(one.high, other.high) - max(one.low, other.low)
    return shared > 0.5 * min(one.height, other.height)


# Columns


def in_columns(text_runs: Sequence[TextRun], ruled: Rules) -> list[list[TextRun]] | None:
    """Blocks of text runs in reading order; None if they are in order or not in columns."""
    gutters = _gutters(text_runs)
    if not gutters:
        return None
    bands = _bands(text_runs, gutters)
    columned = [band for band in bands if sum(map(bool, band.columns)) > 1]
    if not _are_certain(columned, len(gutters) + 1) or not _is_out_of_order(text_runs, columned):
        return None
    for band in columned:
        inside = [text_run for column in band.columns for text_run in column]
        low, high = (
            min(text_run.low for text_run in inside),
            max(text_run.high for text_run in inside),
        )
        if any(ruled(gutter, low, high) for gutter in gutters):
            return None
    rightwards = not _reads_leftwards(text_runs)
    blocks: list[list[TextRun]] = []
    for band in bands:
        blocks.append(band.above)
        blocks += band.columns if rightwards else band.columns[::-1]
    return [block for block in blocks if block]


@dataclass(frozen=True, slots=True)
class Band:
    """A horizontal band: text that spans the columns, then the text runs of each column."""

    above: list[TextRun]
    columns: list[list[TextRun]]


def _gutters(text_runs: Sequence[TextRun]) -> list[float]:
    """The x of each gutter, from left to right: where many lines have a gap."""
    votes: Counter[int] = Counter()
    for left, right in _neighbours(text_runs):
        if len(left.text) + len(right.text) >= 20 and right.left - left.right < _MAX_GUTTER:
            votes.update(range(round(left.right), round(right.left) + 1))
    if not votes:
        return []
    enough = max(_MIN_ROWS, max(votes.values()) / 2)
    places = sorted(x for x, count in votes.items() if count >= enough)
    gutters = []
    for first, last in _runs(places):
        most = max(votes[x] for x in range(first, last + 1))
        best = [x for x in range(first, last + 1) if votes[x] >= 0.9 * most]
        gutters.append((best[0] + best[-1]) / 2)
    return gutters if len(gutters) < 5 else []


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """The first and last of each series of successive numbers."""
    breaks = [at for at in range(1, len(numbers)) if numbers[at] > numbers[at - 1] + 1]
    starts, ends = [0, *breaks], [*breaks, len(numbers)]
    return [(numbers[a], numbers[b - 1]) for a, b in zip(starts, ends, strict=True) if b > a]


def _neighbours(text_runs: Sequence[TextRun]) -> list[tuple[TextRun, TextRun]]:
    """Each text run with the nearest one to its right at the same height."""
    by_height = sorted(text_runs, key=lambda text_run: text_run.middle)
    middles = [text_run.middle for text_run in by_height]
    pairs = []
    for text_run in text_runs:
        near = by_height[bisect_left(middles, text_run.low) : bisect_right(middles, text_run.high)]
        right = [
            other for other in near if other.left >= text_run.right and _beside(text_run, other)
        ]
        if right:
            pairs.append((text_run, min(right, key=lambda other: other.left)))
    return pairs


def _bands(text_runs: Sequence[TextRun], gutters: list[float]) -> list[Band]:
    def spans(text_run: TextRun) -> bool:
        return any(text_run.left < x - 1 and text_run.right > x + 1 for x in gutters)

    across = sorted(filter(spans, text_runs), key=lambda text_run: -text_run.middle)
    heights = [-text_run.middle for text_run in across]
    bands = [Band([], [[] for _ in range(len(gutters) + 1)]) for _ in range(len(across) + 1)]
    for band, text_run in zip(bands[1:], across, strict=True):
        band.above.append(text_run)
    for text_run in sorted(
        set(text_runs) - set(across), key=lambda text_run: (-text_run.middle, text_run.left)
    ):
        band = bands[bisect_left(heights, -text_run.middle)]
        band.columns[bisect_left(gutters, (text_run.left + text_run.right) / 2)].append(text_run)
    return [Band(band.above, [_in_rows(column) for column in band.columns]) for band in bands]


def _in_rows(column: list[TextRun]) -> list[TextRun]:
    """Sort from top to bottom, and in a row from left to right."""
    rows: list[list[TextRun]] = []
    for text_run in column:
        if rows and _beside(rows[-1][0], text_run):
            rows[-1].append(text_run)
        else:
            rows.append([text_run])
    return [
        text_run for row in rows for text_run in sorted(row, key=lambda text_run: text_run.left)
    ]


def _are_certain(bands: list[Band], count: int) -> bool:
    """Whether the lines fill each column and form continuous text."""
    for number in range(count):
        lines = [row for band in bands for row in _rows(band.columns[number])]
        if len(lines) < _MIN_ROWS or _characters(lines) < _MIN_LETTERS * len(lines):
            return False
        left = statistics.median(row[0].left for row in lines)
        width = max(row[-1].right for row in lines) - min(left, *(row[0].left for row in lines))
        full = sum(row[-1].right - row[0].left >= _MIN_FILL * width for row in lines)
        flowing = sum(_continues(before[-1].text, row[0].text) for before, row in pairwise(lines))
        if full < _MIN_FILL * len(lines) or flowing < _MIN_FLOW * (len(lines) - 1):
            return False
    return bool(bands)


def _characters(rows: list[list[TextRun]]) -> int:
    return sum(len(text_run.text) for row in rows for text_run in row)


def _rows(column: list[TextRun]) -> list[list[TextRun]]:
    rows: list[list[TextRun]] = []
    for text_run in column:
        if rows and _same_line(rows[-1][-1], text_run):
            rows[-1].append(text_run)
        else:
            rows.append([text_run])
    return rows


def _continues(before: str, line: str) -> bool:
    """Whether a line continues the sentence of the line before, judged by its letters."""
    first = next((letter for letter in line if letter.isalnum()), "")
    unfinished = not before.endswith((".", "!", "?", ":", "。"))
    return unfinished and first.isalpha() and not first.isupper()


def _is_out_of_order(text_runs: Sequence[TextRun], bands: list[Band]) -> bool:
    """Whether text was drawn line by line across columns, or the right column first."""
    drawn = {text_run: number for number, text_run in enumerate(text_runs)}
    switches = least = right_first = pairs = 0
    for band in bands:
        places = sorted(
            (drawn[text_run], number)
            for number, column in enumerate(band.columns)
            for text_run in column
        )
        order = [number for _, number in places]
        switches += len(list(groupby(order))) - 1
        counts = sorted(len(list(_rows(column))) for column in band.columns)
        least += counts[-2]
        one, all_of = _inversions(order)
        right_first += one
        pairs += all_of
    share = right_first / max(1, pairs)
    if _reads_leftwards(text_runs):
        share = 1 - share
    return share >= _MIN_INVERTED or (share >= 0.2 and switches >= 1.2 * least)


def _inversions(order: list[int]) -> tuple[int, int]:
    """The number of inverted pairs, and of all pairs of different numbers."""
    seen: Counter[int] = Counter()
    falling = pairs = 0
    for number in order:
        falling += sum(count for other, count in seen.items() if other > number)
        pairs += sum(count for other, count in seen.items() if other != number)
        seen[number] += 1
    return falling, pairs


def _reads_leftwards(text_runs: Sequence[TextRun]) -> bool:
    first, last = _RIGHT_TO_LEFT
    letters = [letter for text_run in text_runs for letter in text_run.text if letter.isalpha()]
    return 2 * sum(first <= letter <= last for letter in letters) > len(letters)
