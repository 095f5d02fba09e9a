"""Builds text runs from the characters of a PDF page that PDFium finds.

PDFium gives characters in lines, in drawing order, each with a box. The boxes decide what PDFium
leaves open: whether a gap separates text runs, whether letters are only letter-spaced, and whether
a right-to-left line is stored backwards.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import isfinite, pi
from typing import Any

from retriever.reading.pages import MAX_CHARACTERS
from retriever.reading.pdf.layout import SUPERSCRIPTS, TextRun
from retriever.reading.pdf.text import remove_letter_spacing

_HYPHEN = "\x02"  # PDFium's sign for a hyphen at a line's end
_PLAIN = {ord(_HYPHEN): "-", 0: None}
_LINES = re.compile(f"[^\r\n{_HYPHEN}]*{_HYPHEN}?")
_WORDS = re.compile(r"[^\s\0]+")
_NOTED = re.compile(r"[^\W\d_]{3}[.,;:)\"”’]?(?=\d)")
_DIGIT = re.compile(r"\d")
_LEADING = re.compile(r"\d{1,3}(?=[^\W\d_]{3})")
_LONG_NUMBER = re.compile(r"\d{4,}")
_MIN_DIGITS = 3  # of a number with the number of a note behind it, such as a year
_POWER = re.compile(r"(?<![\w.,])\d{1,2}[-−–]?\d{1,3}(?!\d)|(?<=\d)[x×·]\d{1,2}[-−–]?\d{1,3}(?!\d)")
_MARKED = re.compile(r"(?:.*\W)?[^\W\d_]{2,}[^\W\d_A-Z]\Z")
_LETTER_MARK = re.compile(r"[a-z](?:,[a-z])*|TM|SM")
_LEFTWARDS = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]{2,}")
_PAIRS = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_MAX_SPACE = 0.75  # of the line's height: wider gaps are not spaces
_MIN_STACKED = 1.6  # of a letter's height, from one letter to the next: not a word
_MIN_RAISED = 0.2  # of a letter's height

Box = tuple[float, float, float, float]
Word = tuple[int, int]


class TooManyCharactersError(Exception):
    """The page exceeds the limit on characters."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of PDFium: the letters and boxes of the page, and the part of this line.

    `boxes` holds left, top, right and bottom of each letter in sequence.
    """

    letters: str
    boxes: Any
    number: int
    turn: int

    def box(self, at: int) -> Box:
        """A letter's box, rotated to left-to-right text: left, right, low, high."""
        left, top, right, bottom = self.boxes[4 * at : 4 * at + 4]
        if not isfinite(left + top + right + bottom):
            return 0.0, 0.0, 0.0, 0.0
        if self.turn == 1:
            return bottom, top, -right, -left
        if self.turn == 2:
            return -right, -left, -top, -bottom
        if self.turn == 3:
            return -top, -bottom, left, right
        return left, right, bottom, top


def text_runs_of(characters: Any) -> list[TextRun]:
    """The text runs of PDFium's text page, in drawing order.

    Raises TooManyCharactersError.
    """
    count = characters.count_chars()
    if count > MAX_CHARACTERS:
        raise TooManyCharactersError(count)
    code, box, angle = _calls()
    address = ctypes.addressof(characters.raw.contents)
    letters = "".join([_letter(code(address, at)) for at in range(count)])
    boxes = (ctypes.c_float * (4 * count))()
    start = ctypes.addressof(boxes)
    for at in range(count):
        box(address, at, start + 16 * at)
    text_runs: list[TextRun] = []
    for number, found in enumerate(_LINES.finditer(letters)):
        words = [word.span() for word in _WORDS.finditer(letters, *found.span())]
        if words:
            turn = -round(angle(address, words[0][0]) / (pi / 2)) % 4  # clockwise in PDFium
            text_runs += _split(_Line(letters, boxes, number, turn), words)
    return text_runs


_Call = Callable[..., Any]


def _calls() -> tuple[_Call, _Call, _Call]:
    """PDFium's functions for a character's code, box and angle, called with raw addresses.

    pypdfium2's own declarations need an object for each argument, which takes twice the time.
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
    """The character of a code; NUL for an invalid code."""
    return chr(code) if code < 0x110000 else "\0"


# From words to text runs


def _split(line: _Line, found: list[Word]) -> Iterator[TextRun]:
    """Split a line into text runs where a gap is too wide for a space."""
    words = [part for word in found for part in _parts(line, word)]
    if len(words) > 2 * sum(last - first > 1 for first, last in words):
        text = _remove_letter_spacing(line, words)
        if text.count(" ") < len(words) - 1:
            yield _text_run(line, words, text)
            return
    first = 0
    for at, (before, after) in enumerate(pairwise(words), 1):
        if _are_apart(line.box(before[1] - 1), line.box(after[0])):
            yield _text_run(line, words[first:at])
            first = at
    yield _text_run(line, words[first:])


def _are_apart(one: Box, other: Box) -> bool:
    """Whether the second letter is far right of the first, above, below, or before it."""
    height = max(one[3] - one[2], other[3] - other[2], 1.0)
    above = max(one[2] - other[3], other[2] - one[3])
    return other[0] - one[1] > _MAX_SPACE * height or max(above, one[0] - other[0]) > height / 2


def _text_run(line: _Line, words: list[Word], text: str = "") -> TextRun:
    one, other = line.box(words[0][0]), line.box(words[-1][1] - 1)
    text = (text or " ".join([_text(line, word) for word in words])).translate(_PLAIN)
    return TextRun(
        text,
        line.number,
        line.turn,
        left=min(one[0], other[0]),
        right=max(one[1], other[1]),
        low=min(one[2], other[2]),
        high=max(one[3], other[3]),
    )


def _remove_letter_spacing(line: _Line, words: list[Word]) -> str:
    """Remove spaces that only letter-spacing put between letters."""
    gaps = [line.box(after[0])[0] - line.box(before[1] - 1)[1] for before, after in pairwise(words)]
    return remove_letter_spacing([line.letters[first:last] for first, last in words], gaps)


def _text(line: _Line, word: Word) -> str:
    text = line.letters[word[0] : word[1]]
    if text[-1].isdecimal() and _POWER.search(text):
        text = _with_exponents(line, word[0], text)
    if text.isascii():
        return text
    if _LEFTWARDS.search(text):
        text = _LEFTWARDS.sub(partial(_forwards, line, word[0]), text)
    if _PAIRS.search(text):  # on systems with 16-bit wide characters
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _forwards(line: _Line, start: int, found: re.Match[str]) -> str:
    """Hebrew or Arabic letters in reading order: the rightmost first."""
    first, last = line.box(start + found.start()), line.box(start + found.end() - 1)
    return found[0][::-1] if first[0] < last[0] and line.turn == 0 else found[0]


def _parts(line: _Line, word: Word) -> Iterator[Word]:
    """Split a word from its raised marks, or into letters stacked above each other.

    PDFium joins the numbers of an axis into one word, and a footnote number to its word.
    """
    start, end = word
    one, last = line.box(start), line.box(end - 1)
    height = max(one[3] - one[2], last[3] - last[2])
    if end - start > 1 and abs(one[3] - last[3]) > _MIN_STACKED * height * (end - start - 1) > 0:
        yield from ((at, at + 1) for at in range(start, end))
        return
    cuts = {start, end}
    if _DIGIT.search(line.letters, start, end):
        cuts.update(_number_marks(line, start, end))
    if line.letters[end - 1].isalpha() and _is_raised(one, last):
        cuts.update(_letter_mark(line, start, end))
    yield from pairwise(sorted(cuts)) if len(cuts) > 2 else (word,)


def _number_marks(line: _Line, start: int, end: int) -> Iterator[int]:
    """Where raised numbers of notes begin and end in a word."""
    letters = line.letters
    for found in _NOTED.finditer(letters, start, end):
        begin = found.end()
        stop = _raised_until(line, begin - 1, begin, end)
        if stop > begin:
            yield begin
            yield stop if letters[stop : stop + 1].isalpha() else begin
    number = _LEADING.match(letters, start, end)
    if number and _is_raised(line.box(number.end()), line.box(number.end() - 1)):
        yield number.end()
    for found in _LONG_NUMBER.finditer(letters, start, end):  # a shorter one has an exponent
        begin = _raised_from(line, *found.span())
        if found.start() + _MIN_DIGITS <= begin < found.end():
            yield begin


def _letter_mark(line: _Line, start: int, end: int) -> Iterator[int]:
    """Where the raised letters at a word's end begin, if they are a mark: Smith a,b, Word TM."""
    begin = _raised_from(line, start, end)
    if _MARKED.match(line.letters, start, begin) and _LETTER_MARK.fullmatch(
        line.letters, begin, end
    ):
        yield begin


def _raised_until(line: _Line, base: int, start: int, end: int) -> int:
    """The end of the letters from `start` on that are raised against the one at `base`."""
    against = line.box(base)
    while start < end and _is_raised(against, line.box(start)):
        start += 1
    return start


def _raised_from(line: _Line, start: int, end: int) -> int:
    """Where the raised letters at the end of a word begin; `end` if there are none."""
    against = line.box(start)
    while end > start + 1 and _is_raised(against, line.box(end - 1)):
        end -= 1
    return end


def _with_exponents(line: _Line, start: int, text: str) -> str:
    """The text of a word with the exponents of its numbers raised: 10²³ is not 1023."""

    def raised(found: re.Match[str]) -> str:
        first, last = start + found.start(), start + found.end()
        begin = _raised_from(line, first, last) - first
        return found[0][:begin] + found[0][begin:].translate(SUPERSCRIPTS)

    return _POWER.sub(raised, text)


def _is_raised(one: Box, other: Box) -> bool:
    return other[2] - one[2] > _MIN_RAISED * (one[3] - one[2])
