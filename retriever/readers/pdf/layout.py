"""The lines of a PDF page in the order in which a person reads them.

A page of PDF is drawn piece by piece, in any order. Mostly that order is the order of reading, and
it stays; pieces on one height are one line, whatever drew them. Only where text stands in columns
with certainty, and was not drawn column by column, is it put in order: columns one after the
other, and what spans them (a title, a wide figure's caption) in its place between.

Certain means: a gutter beside at least `_MIN_ROWS` lines, columns filled by their lines that
flow from line to line, and no drawn lines across, which would make it a table. The module knows
characters and boxes, no library. Units are PDF's points, y grows upwards.
"""

from __future__ import annotations

import re
import statistics
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

VERSION = 1

_MIN_ROWS = 5  # lines beside each other
_MIN_FILL = 0.6  # of a column's width a line has at least, and this share of lines has it
_MIN_LETTERS = 12  # a line has in the mean: numbers beside a list are no column
_MIN_FLOW = 0.4  # share of lines that go on with what the line before began
_MAX_TOUCHING_GAP = 0.1  # of a line's height: narrower than any space
_MIN_INVERTED = 0.8  # share of (left, right) pairs drawn right first
_MAX_GUTTER = 300  # points between columns
_MAX_TEXT_RUNS = 1_500  # of one page; more is no page of prose
_WORD_END = re.compile(r"[^\W\d_]{3}[.,;:!?)\"”’]*$")
_RIGHT_TO_LEFT = ("\u0590", "\u08ff")


@dataclass(frozen=True, slots=True)
class TextRun:
    """Text on one line without a wide gap, turned so that it reads from left to right.

    `line` numbers the lines as they were drawn; `turn` is how often the text is turned by 90°
    against the page, from 0 to 3.
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
        """From its lowest to its highest point; never 0."""
        return max(self.high - self.low, 1e-3)

    @property
    def middle(self) -> float:
        """How high it stands."""
        return (self.low + self.high) / 2


Rules = Callable[[float, float, float], bool]
"""Whether lines are drawn across x between two heights (low, high): then it is a table."""


def text_of(text_runs: Sequence[TextRun], ruled: Rules) -> str:
    """The page's text, one line a line; `ruled` is asked only where there seem to be columns."""
    text_runs = _from_above(text_runs)
    turns = Counter(text_run.turn for text_run in text_runs)
    main = max(turns, key=lambda turn: turns[turn], default=0)
    upright = [text_run for text_run in text_runs if text_run.turn == main]
    ordered = in_columns(upright, ruled) if len(text_runs) <= _MAX_TEXT_RUNS else None
    if ordered is None:
        return _joined(text_runs)
    aside = [text_run for text_run in text_runs if text_run.turn != main]
    return "\n".join(filter(None, [*map(_joined, ordered), _joined(aside)]))


def _from_above(text_runs: Sequence[TextRun]) -> list[TextRun]:
    """Turned text whose lines PDFium gives from the last to the first, put right."""
    ordered: list[TextRun] = []
    for turn, run in groupby(text_runs, key=lambda text_run: text_run.turn):
        lines = [list(line) for _, line in groupby(run, key=lambda text_run: text_run.line)]
        steps = [lower[0].middle - upper[0].middle for upper, lower in pairwise(lines)]
        if turn and sum(step > 0 for step in steps) > len(steps) / 2:
            lines.reverse()
        ordered += [text_run for line in lines for text_run in line]
    return ordered


def _joined(text_runs: Sequence[TextRun]) -> str:
    """Pieces in this order; those that follow each other on one height are one line."""
    parts: list[str] = []
    for before, text_run in pairwise([None, *text_runs]):
        if text_run is None:
            continue
        if before is not None:
            parts.append(_between(before, text_run))
        parts.append(text_run.text)
    return "".join(parts)


def _between(one: TextRun, other: TextRun) -> str:
    """A line's end, a space, or nothing: where a number or a sign is drawn in parts (mc²).

    A word keeps its space: what is raised behind it is the mark of a note.
    """
    if not _same_line(one, other):
        return "\n"
    close = other.left - one.right < _MAX_TOUCHING_GAP * max(one.height, other.height)
    return "" if close and one.line != other.line and not _WORD_END.search(one.text) else " "


def _same_line(one: TextRun, other: TextRun) -> bool:
    if one.turn != other.turn or not _beside(one, other):
        return False
    return one.line == other.line or other.left >= one.right - 0.3 * one.height


def _beside(one: TextRun, other: TextRun) -> bool:
    """Whether they stand at the same height."""
    shared = min(one.high, other.high) - max(one.low, other.low)
    return shared > 0.5 * min(one.height, other.height)


# Columns


def in_columns(text_runs: Sequence[TextRun], ruled: Rules) -> list[list[TextRun]] | None:
    """The pieces in blocks, in reading order; None if they are in order, or in no columns."""
    gutters = _gutters(text_runs)
    if not gutters:
        return None
    bands = _bands(text_runs, gutters)
    columned = [band for band in bands if sum(map(bool, band.columns)) > 1]
    if not _certain(columned, len(gutters) + 1) or not _disordered(text_runs, columned):
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
    """A part of the page's height: what spans the columns above it, then each column's pieces."""

    above: list[TextRun]
    columns: list[list[TextRun]]


def _gutters(text_runs: Sequence[TextRun]) -> list[float]:
    """The x of each gutter, from left to right: where many lines have a gap beside another line."""
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
    """The first and last of each run of successive numbers."""
    breaks = [at for at in range(1, len(numbers)) if numbers[at] > numbers[at - 1] + 1]
    starts, ends = [0, *breaks], [*breaks, len(numbers)]
    return [(numbers[a], numbers[b - 1]) for a, b in zip(starts, ends, strict=True) if b > a]


def _neighbours(text_runs: Sequence[TextRun]) -> list[tuple[TextRun, TextRun]]:
    """Every piece with the nearest one to its right at the same height."""
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
    """From top to bottom; in a row from left to right."""
    rows: list[list[TextRun]] = []
    for text_run in column:
        if rows and _beside(rows[-1][0], text_run):
            rows[-1].append(text_run)
        else:
            rows.append([text_run])
    return [
        text_run for row in rows for text_run in sorted(row, key=lambda text_run: text_run.left)
    ]


def _certain(bands: list[Band], count: int) -> bool:
    """Whether each column is filled by its lines, and its lines are one flow of words."""
    for number in range(count):
        lines = [row for band in bands for row in _rows(band.columns[number])]
        if len(lines) < _MIN_ROWS or _characters(lines) < _MIN_LETTERS * len(lines):
            return False
        left = statistics.median(row[0].left for row in lines)
        width = max(row[-1].right for row in lines) - min(left, *(row[0].left for row in lines))
        full = sum(row[-1].right - row[0].left >= _MIN_FILL * width for row in lines)
        flowing = sum(_goes_on(before[-1].text, row[0].text) for before, row in pairwise(lines))
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


def _goes_on(before: str, line: str) -> bool:
    """Whether the line goes on with the sentence before it, as far as letters show."""
    first = next((letter for letter in line if letter.isalnum()), "")
    unfinished = not before.endswith((".", "!", "?", ":", "。"))
    return unfinished and first.isalpha() and not first.isupper()


def _disordered(text_runs: Sequence[TextRun], bands: list[Band]) -> bool:
    """Whether the columns were drawn line by line across, or the right one first."""
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
    """How many pairs of different numbers are in falling order, and how many there are."""
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
