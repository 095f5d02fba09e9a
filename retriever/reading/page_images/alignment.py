"""The position of a page's text on the page: aligns the reader's text with the drawn characters.

A reader orders columns, joins words hyphenated at line ends, replaces ligatures, or uses another
library's text. So both texts have the same letters, in segments of different order and with small
differences. They are aligned by substrings that occur once in both texts; the gaps between these
anchors are filled. Text that is not drawn on the page (by OCR, for example) has no position.

This module handles letters and boxes and uses no PDF library. Input boxes are in points from the
upper left corner of the displayed page; output boxes are fractions of its width and height.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from rapidfuzz.distance import LCSseq

from retriever.arrays import Integers, Mask, Vectors

_LENGTHS = (24, 16, 12, 8)  # of unique substrings of the unpaired text, one pass each
_LINE = 6  # minimum letters of a line that is paired as a whole
_CHANCE = 4  # letters at the end of a run that may be equal by chance, inside a word
_NO_LETTERS = "-\u2010\u2011\u00ad\x02\x00\ufffe\uffff"  # readers drop some line-end hyphens
_MAX_CELLS = 25_000_000  # of a gap's letters times its candidates' letters
_RUN = 4  # minimum letters of an equal run in a gap that fits badly
_INSET = 0.1  # of a line's height, at both sides: boxes of neighbouring lines overlap
_GAP = 1.0  # times a line's height: wider than any space inside a line


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a page, in fractions of its width and height from the upper left corner."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Characters:
    """The characters drawn on a page.

    `letters` are the n characters in drawing order. `boxes` (n, 4), float32, are their left, top,
    right and bottom in points on the displayed page. `upright` (n,) is False for vertical text.
    `width` and `height` of the page are in points.
    """

    letters: str
    boxes: Vectors
    upright: Mask
    width: float
    height: float


class Placement:
    """The positions of the characters of a page's text on the page."""

    def __init__(self, text: str, characters: Characters) -> None:
        self.characters = characters
        self.at = align(text, characters.letters)
        """For each character of the text the index of the drawn character, or -1: (n,)."""

    def boxes(self, start: int, end: int) -> list[Box]:
        """Boxes around `text[start:end]`, one for each line segment; none without a position."""
        numbers = self.at[max(start, 0) : max(end, 0)]
        numbers = numbers[numbers >= 0]
        box = self.characters.boxes[numbers]
        sound = np.isfinite(box).all(axis=1) & (box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1])
        upright = self.characters.upright[numbers[sound]]
        rows = _rows(box[sound].tolist(), upright.tolist())
        return [self._share(row) for row in rows]

    def weighted_boxes(self, weights: Iterable[tuple[int, int, float]]) -> list[tuple[Box, float]]:
        """The boxes of words `(start, end, weight)`, each with the weight of its word."""
        return [(box, weight) for start, end, weight in weights for box in self.boxes(start, end)]

    def _share(self, row: _Row) -> Box:
        width, height = self.characters.width, self.characters.height
        inset = _INSET * (row.bottom - row.top if row.upright else row.right - row.left)
        across, down = (0.0, inset) if row.upright else (inset, 0.0)
        left, right = (row.left + across) / width, (row.right - across) / width
        top, bottom = (row.top + down) / height, (row.bottom - down) / height
        return Box(*(min(max(share, 0.0), 1.0) for share in (left, top, right, bottom)))


# Letters


def align(text: str, drawn: str) -> Integers:
    """For each character of `text` the index of its counterpart in `drawn`, or -1: (n,).

    Each drawn character is used once. White space and hyphens have no counterpart.

    >>> align("no way", "way, no").tolist()
    [-1, -1, -1, 0, 1, 2]
    >>> align("office", "o\ufb03ce").tolist()
    [0, 1, 1, 1, 2, 3]
    """
    one, other = _Letters(text), _Letters(drawn)
    pairs = np.full(len(one.plain), -1, dtype=np.int64)
    free = np.ones(len(other.plain), dtype=np.bool_)
    _pair_lines(text, one, other, pairs, free)
    for length in _LENGTHS:
        _pair_unique(one, other, length, pairs, free)
    _fill(one.plain, other.plain, pairs, free)
    found = np.full(len(text), -1, dtype=np.int64)
    known = np.flatnonzero(pairs >= 0)[::-1]  # of the letters of a ligature, the first counts
    if len(known):
        found[np.array(one.places)[known]] = np.array(other.places)[pairs[known]]
    return found


class _Letters:
    """The normalised letters of a text, and the index of each in the text."""

    def __init__(self, text: str) -> None:
        shapes = [_plain(character) for character in text]
        self.plain = "".join(shapes)
        self.places = [at for at, shape in enumerate(shapes) for _ in shape]
        self.words = self._edges(text)
        """The indices in `plain` where words begin, and its length."""

    def _edges(self, text: str) -> frozenset[int]:
        begins = (here for here, at in enumerate(self.places) if not at or text[at - 1].isspace())
        return frozenset([*begins, len(self.plain)])


@lru_cache(maxsize=20_000)
def _plain(character: str) -> str:
    """The letters of a character without diacritics; empty for white space and hyphens."""
    if character.isspace() or character in _NO_LETTERS:
        return ""
    parts = unicodedata.normalize("NFKD", character)
    base = "".join(part for part in parts if unicodedata.category(part) != "Mn")
    return "".join((base or parts).split()).casefold()


def _pair_lines(text: str, one: _Letters, other: _Letters, pairs: Integers, free: Mask) -> None:
    """Pair whole lines that occur once: reordering by the reader does not change lines."""
    ends = [-1, *(at for at, letter in enumerate(text) if letter == "\n"), len(text)]
    edges = np.searchsorted(np.array(one.places), ends)
    spans = [(int(first), int(past)) for first, past in pairwise(edges) if past - first >= _LINE]
    lines = Counter(one.plain[first:past] for first, past in spans)
    for first, past in spans:
        line = one.plain[first:past]
        to = other.plain.find(line)
        once = lines[line] == 1 and to >= 0 and other.plain.find(line, to + 1) < 0
        whole = other.words.issuperset((to, to + len(line)))
        if once and whole and free[to : to + len(line)].all():
            pairs[first:past] = np.arange(to, to + len(line))
            free[to : to + len(line)] = False


def _pair_unique(one: _Letters, other: _Letters, length: int, pairs: Integers, free: Mask) -> None:
    """Pair substrings of `length` letters that occur once in the unpaired letters of both texts."""
    mine = _unique(one.plain, length, pairs < 0)
    theirs = _unique(other.plain, length, free)
    for gram, at in mine.items():
        to = theirs.get(gram)
        if to is None or pairs[at] >= 0 or not free[to]:
            continue
        before = _equal(one.plain, other.plain, at - 1, to - 1, pairs, free, -1)
        after = _equal(one.plain, other.plain, at, to, pairs, free, 1)
        before -= _by_chance(one, other, at - before, to - before, before, 1)
        after -= _by_chance(one, other, at + after, to + after, after, -1)
        first, size = at - before, before + after
        if size > 0:
            pairs[first : first + size] = np.arange(to - before, to - before + size)
            free[to - before : to - before + size] = False


def _equal(
    one: str,
    other: str,
    at: int,
    to: int,
    pairs: Integers,
    free: Mask,
    step: int,
) -> int:
    """The number of equal and unpaired letters from here on, or back."""
    count = 0
    while (
        0 <= at < len(one)
        and 0 <= to < len(other)
        and one[at] == other[to]
        and pairs[at] < 0
        and free[to]
    ):
        at, to, count = at + step, to + step, count + 1
    return count


def _by_chance(one: _Letters, other: _Letters, at: int, to: int, most: int, step: int) -> int:
    """How many letters to drop so that the run ends at a word end in both texts.

    At the line end of a column, the next letters of both texts are equal once in thirteen cases.
    """
    for count in range(min(_CHANCE, most) + 1):
        if at + step * count in one.words and to + step * count in other.words:
            return count
    return 0


def _unique(text: str, length: int, open_: Mask) -> dict[str, int]:
    """The substrings of `length` letters that occur once in the open letters, and their indices."""
    places: dict[str, int] = {}
    for first, past in _runs(open_):
        for at in range(first, past - length + 1):
            gram = text[at : at + length]
            places[gram] = -1 if gram in places else at
    return {gram: at for gram, at in places.items() if at >= 0}


def _runs(flags: Mask) -> Iterator[tuple[int, int]]:
    """The first and the past-the-end index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _fill(one: str, other: str, pairs: Integers, free: Mask) -> None:
    """Pair the letters of each gap with the free letters next to its paired neighbours."""
    for first, past in list(_runs(pairs < 0)):
        if not free.any():
            return
        open_ = _windows(first, past, pairs, free)
        if len(open_) and len(open_) * (past - first) <= _MAX_CELLS:
            _pair_gap(one[first:past], first, other, open_, pairs, free)


def _windows(first: int, past: int, pairs: Integers, free: Mask) -> Integers:
    """The free indices that may belong to a gap, in order."""
    most = 2 * (past - first) + 50
    if not first and past == len(pairs):
        return np.flatnonzero(free)
    parts = []
    if first:
        begin = int(pairs[first - 1]) + 1
        ahead = free[begin : begin + most]
        stop = int(np.argmin(ahead)) if not ahead.all() else len(ahead)
        parts.append(np.arange(begin, begin + stop))
    if past < len(pairs):
        end = int(pairs[past])
        behind = free[max(0, end - most) : end][::-1]
        stop = int(np.argmin(behind)) if not behind.all() else len(behind)
        parts.append(np.arange(end - stop, end))
    found: list[int] = []
    for part in parts:
        found += [at for at in part.tolist() if at not in found[-2 * most :]]
    return np.array(found, dtype=np.int64)


def _pair_gap(
    gap: str, first: int, other: str, open_: Integers, pairs: Integers, free: Mask
) -> None:
    """Pair a gap with the letters at the open indices: all if most fit, else only long runs."""
    candidates = "".join(other[at] for at in open_.tolist())
    blocks = [
        (code.src_start, code.dest_start, code.src_end - code.src_start)
        for code in LCSseq.opcodes(gap, candidates)
        if code.tag == "equal"
    ]
    fits = 2 * sum(size for _, _, size in blocks) >= len(gap)
    for at, to, size in blocks:
        if fits or size >= _RUN:
            pairs[first + at : first + at + size] = open_[to : to + size]
            free[open_[to : to + size]] = False


# Boxes


@dataclass(slots=True)
class _Row:
    """A line segment that grows letter by letter, in points."""

    left: float
    top: float
    right: float
    bottom: float
    upright: bool

    def takes(self, box: Sequence[float], *, upright: bool) -> bool:
        """Add the letter if it continues this segment; whether it does."""
        if upright != self.upright:
            return False
        left, top, right, bottom = box
        along = (left - self.right, self.left - right) if upright else self._beside(top, bottom)
        mine = (self.top, self.bottom) if upright else (self.left, self.right)
        theirs = (top, bottom) if upright else (left, right)
        high = max(mine[1] - mine[0], theirs[1] - theirs[0])
        low = min(mine[1] - mine[0], theirs[1] - theirs[0])
        shared = min(mine[1], theirs[1]) - max(mine[0], theirs[0])
        if shared < 0.4 * low or max(along) > _GAP * high:
            return False
        self.left, self.right = min(self.left, left), max(self.right, right)
        self.top, self.bottom = min(self.top, top), max(self.bottom, bottom)
        return True

    def _beside(self, top: float, bottom: float) -> tuple[float, float]:
        return top - self.bottom, self.top - bottom


def _rows(boxes: Sequence[Sequence[float]], upright: Sequence[bool]) -> list[_Row]:
    """Group the boxes of letters into line segments, in order."""
    rows: list[_Row] = []
    for box, stands in zip(boxes, upright, strict=True):
        if not any(row.takes(box, upright=stands) for row in rows[:-4:-1]):
            left, top, right, bottom = box
            rows.append(_Row(left, top, right, bottom, stands))
    return rows


__all__ = ["Box", "Characters", "Placement", "align"]
