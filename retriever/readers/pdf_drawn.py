"""What PDFium finds drawn on the pages of a PDF: text with its places, images, lines.

PDFium is compiled code: what breaks it ends the process, so files are read in one of their own.
It is asked through ctypes for each character, which is still many times faster than parsing the
page in Python. Nothing here judges the text, or decides on its order.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, pi
from typing import Any

from retriever.readers.pages import MAX_CHARACTERS
from retriever.readers.pdf_layout import Piece, text_of
from retriever.readers.pdf_text import respaced

VERSION = 1

_HYPHEN = "\x02"  # PDFium's sign for a hyphen at a line's end
_PLAIN = {ord(_HYPHEN): "-", 0: None, ord("\t"): " "}
_LINES = re.compile(f"[^\r\n{_HYPHEN}]*{_HYPHEN}?")
_WORDS = re.compile(r"[^\s\0]+")
_WIDE = 0.75  # of a line's height: no space between words is so wide
_MAX_OBJECTS = 20_000  # of one page, looked at for images and lines
_RULES = 3  # lines across a gutter that make it a table
_BOXES = 6


class TooManyCharactersError(Exception):
    """The page has more characters than anybody can mean as one page."""


@contextmanager
def opened(data: bytes, password: str, count: int) -> Iterator[Any]:
    """PDFium's document of `count` pages; None if PDFium does not open it, or counts otherwise."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data, password=password or None)
    except (pypdfium2.PdfiumError, ValueError):
        yield None
        return
    try:
        yield document if len(document) == count else None
    finally:
        document.close()


@dataclass(frozen=True, slots=True)
class Drawn:
    """A page: its text in reading order, and how much of it the text and images take.

    `image` is the share of the page's area under its largest image, from 0 to 1; it is looked for
    only where the text has fewer than `few` characters, and is None elsewhere. `marginal` says
    whether all text stands within the upper or lower eighth of the page, as headers and stamps do.
    """

    text: str
    image: float | None
    marginal: bool


def drawn(document: Any, index: int, few: int) -> Drawn | None:
    """What is drawn on the page (0-based); None if PDFium cannot read it.

    Raises TooManyCharactersError.
    """
    import pypdfium2

    try:
        page = document[index]
    except pypdfium2.PdfiumError:
        return None
    try:
        characters = page.get_textpage()
        pieces = _pieces(characters)
        text = text_of(pieces, lambda x, low, high: _ruled(page, x, low, high))
        if sum(not letter.isspace() for letter in text) >= few:
            return Drawn(text, None, False)
        return Drawn(text, _largest_image(page), _is_marginal(page, pieces))
    except pypdfium2.PdfiumError:
        return None
    finally:
        page.close()  # and its characters with it


def _pieces(characters: Any) -> list[Piece]:
    """The lines as PDFium found them, cut at wide gaps."""
    count = characters.count_chars()
    if count > MAX_CHARACTERS:
        raise TooManyCharactersError(count)
    code, box, angle = _calls()
    address = ctypes.addressof(characters.raw.contents)
    letters = "".join([_letter(code(address, at)) for at in range(count)])
    boxes = (ctypes.c_float * (4 * count))()  # left, top, right, bottom of each
    start = ctypes.addressof(boxes)
    for at in range(count):
        box(address, at, start + 16 * at)
    pieces: list[Piece] = []
    for number, line in enumerate(_LINES.finditer(letters)):
        words = [word.span() for word in _WORDS.finditer(letters, *line.span())]
        words = [part for word in words for part in _upright(word, boxes)]
        if words:
            turn = -round(angle(address, words[0][0]) / (pi / 2)) % 4  # clockwise in PDFium
            pieces += _cut(letters, words, number, turn, boxes)
    return pieces


_Call = Callable[..., Any]


def _calls() -> tuple[_Call, _Call, _Call]:
    """PDFium's functions for a character's code, box and angle, told the addresses as numbers.

    The library's own declarations want an object for each argument: twice as slow.
    """
    from pypdfium2 import raw

    page, at, result = ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
    code = ctypes.CFUNCTYPE(ctypes.c_uint, page, at)
    box = ctypes.CFUNCTYPE(ctypes.c_int, page, at, result)
    angle = ctypes.CFUNCTYPE(ctypes.c_float, page, at)
    return (
        ctypes.cast(raw.FPDFText_GetUnicode, code),
        ctypes.cast(raw.FPDFText_GetLooseCharBox, box),
        ctypes.cast(raw.FPDFText_GetCharAngle, angle),
    )


def _letter(code: int) -> str:
    """One character for one code; what is none is a NUL."""
    return chr(code) if code < 0x110000 else "\0"


def _cut(
    letters: str, words: list[tuple[int, int]], line: int, turn: int, boxes: Any
) -> Iterator[Piece]:
    """The line's pieces: it is cut where the gap between two words is too wide for a space."""
    if len(words) > 2 * sum(last - first > 1 for first, last in words):
        text = _respaced(letters, words, turn, boxes)
        if text.count(" ") < len(words) - 1:
            yield _piece(letters, words, line, turn, boxes, text)
            return
    first = 0
    for at, (before, after) in enumerate(pairwise(words), 1):
        one, other = _turned(boxes, before[1] - 1, turn), _turned(boxes, after[0], turn)
        height = max(one[3] - one[2], other[3] - other[2], 1.0)
        above = max(one[2] - other[3], other[2] - one[3])
        back = one[0] - other[0]
        if other[0] - one[1] > _WIDE * height or max(above, back) > height / 2:
            yield _piece(letters, words[first:at], line, turn, boxes)
            first = at
    yield _piece(letters, words[first:], line, turn, boxes)


def _upright(word: tuple[int, int], boxes: Any) -> Iterator[tuple[int, int]]:
    """The word, or its characters where PDFium took a column of numbers for one: an axis."""
    start, end = word
    bottom, top = boxes[4 * start + 3], boxes[4 * start + 1]
    last_bottom, last_top = boxes[4 * end - 1], boxes[4 * end - 3]
    far = 0.5 * (end - start - 1) * (top - bottom + last_top - last_bottom)
    if end - start > 1 and abs(top - last_top) > 1.6 * far > 0:
        yield from ((at, at + 1) for at in range(start, end))
    else:
        yield word


def _piece(
    letters: str,
    words: list[tuple[int, int]],
    line: int,
    turn: int,
    boxes: Any,
    text: str = "",
) -> Piece:
    start, end = words[0][0], words[-1][1]
    one, other = _turned(boxes, start, turn), _turned(boxes, end - 1, turn)
    text = (text or letters[start:end]).translate(_PLAIN)
    return Piece(
        text,
        line,
        turn,
        left=min(one[0], other[0]),
        right=max(one[1], other[1]),
        low=min(one[2], other[2]),
        high=max(one[3], other[3]),
    )


def _respaced(letters: str, words: list[tuple[int, int]], turn: int, boxes: Any) -> str:
    """Words without the spaces that only letter-spacing put between their letters."""
    gaps = [
        _turned(boxes, after[0], turn)[0] - _turned(boxes, before[1] - 1, turn)[1]
        for before, after in pairwise(words)
    ]
    return respaced([letters[first:last] for first, last in words], gaps)


def _turned(boxes: Any, at: int, turn: int) -> tuple[float, float, float, float]:
    """A character's box as if its text ran from left to right: left, right, low, high."""
    left, top, right, bottom = boxes[4 * at : 4 * at + 4]
    if not isfinite(left + top + right + bottom):
        return 0.0, 0.0, 0.0, 0.0
    if turn == 1:
        return bottom, top, -right, -left
    if turn == 2:
        return -right, -left, -top, -bottom
    if turn == 3:
        return -top, -bottom, left, right
    return left, right, bottom, top


# Images and lines


def _objects(page: Any, kind: int) -> Iterator[Any]:
    for number, thing in enumerate(page.get_objects(max_depth=5)):
        if number >= _MAX_OBJECTS:
            break
        if thing.type == kind:
            yield thing


def _bounds(thing: Any) -> tuple[float, float, float, float] | None:
    """Left, bottom, right, top of an object on the page; None where it has none."""
    import pypdfium2

    try:
        left, bottom, right, top = thing.get_bounds()
    except pypdfium2.PdfiumError:
        return None
    form = thing.container
    while form is not None:  # inside of a form, places are the form's
        left, bottom, right, top = form.get_matrix().on_rect(left, bottom, right, top)
        form = form.container
    return left, bottom, right, top


def _largest_image(page: Any) -> float:
    """The share of the page under its largest image."""
    from pypdfium2 import raw

    x0, y0, x1, y1 = page.get_bbox()
    area = max((x1 - x0) * (y1 - y0), 1e-6)
    largest = 0.0
    for image in _objects(page, raw.FPDF_PAGEOBJ_IMAGE):
        if (bounds := _bounds(image)) is not None:
            width = min(bounds[2], x1) - max(bounds[0], x0)
            height = min(bounds[3], y1) - max(bounds[1], y0)
            largest = max(largest, max(width, 0.0) * max(height, 0.0) / area)
    return min(largest, 1.0)


def _is_marginal(page: Any, pieces: list[Piece]) -> bool:
    _, low, _, high = page.get_bbox()
    eighth = (high - low) / 8
    return all(
        piece.turn == 0 and not low + eighth < piece.middle < high - eighth for piece in pieces
    )


def _ruled(page: Any, x: float, low: float, high: float) -> bool:
    """Whether paths between two heights are the lines of a table: across x, or boxes beside it."""
    from pypdfium2 import raw

    rules = boxes = 0
    for path in _objects(page, raw.FPDF_PAGEOBJ_PATH):
        bounds = _bounds(path)
        if bounds is None or bounds[3] < low or bounds[1] > high:
            continue
        left, bottom, right, top = bounds
        if left < x - 20 and right > x + 20:
            rules += top - bottom < 4 or raw.FPDFPath_CountSegments(path.raw) > 3 * _RULES
        else:
            boxes += right - left > 20 and 8 < top - bottom < (high - low) / 4
    return rules >= _RULES or boxes >= _BOXES
