"""Finding a quotation in the text that it is said to be from.

Who quotes changes marks, capitals, spaces and hyphens at the ends of lines, and now and then
mistypes a word; a model does so, too. None of that makes a quotation false. Another number, a
missing "not" or a word added does. So words are compared, in order and without gaps: equal in their
normal form, or, one word in ten, with one letter's difference behind the first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from rapidfuzz.distance import OSA

from retriever.types import Span

LEAST_WORDS = 3
"""Fewer words stand in many texts by chance; a character of a script without spaces is a word."""

_LONG = 5  # letters of a word that may differ in one
_OFTEN = 10  # words for each that may differ

# Marks belong to the letter before them: in many scripts they are the vowels. Those above U+3000
# are of scripts that are listed below, or of no living one.
_MARKS = "".join(one for one in map(chr, range(0x3000)) if unicodedata.category(one)[0] == "M")
_LETTER = rf"(?:[^\W_]|[{_MARKS}\u00ad\u200c\u200d])"
_AMOUNT = "%‰$€£¥₹"

# A run of letters and digits, with its marks and its sign; one character of scripts that put no
# spaces between words; a sign that changes what a number says. A hyphen at the end of a line joins
# both parts.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u1049\u1780-\u17d3]"
    rf"|(?:(?<![\w.)\]])[-\u2212](?=\d))?{_LETTER}+(?:[-\u2010]\s*\n\s*{_LETTER}+)*"
    rf"|[{_AMOUNT}](?=\s?\d)|(?<=\d)[{_AMOUNT}]|(?<=\d\s)[{_AMOUNT}]"
    r"|(?<=\S\s)[<>≤≥≠](?=\s*[-\u2212]?[.\d])|(?<=[^\s<>])[<>≤≥≠](?=\s*[-\u2212]?[.\d])"
)
_AT_LINE_END = re.compile(r"[-\u2010]\s*\n\s*|\u00ad")
_GAP = re.compile(r"\[?(?:\.\s?\.\s?\.|…)\]?")


class _Word(NamedTuple):
    start: int
    end: int
    form: str


def find_quote(quote: str, text: str) -> Span | None:
    r"""Where a quotation stands in a text; None if it does not, or is too short to tell.

    "…" stands for any words left out between its parts.

    >>> text = "It SHALL be “at least 8” charac-\nters long, and may be longer."
    >>> found = find_quote('It shall be "at least 8" characters long', text)
    >>> text[found.start : found.end]
    'It SHALL be “at least 8” charac-\nters long'
    >>> find_quote("It shall be at least 9 characters long", text) is None
    True
    """
    parts = [found for part in _GAP.split(quote) if (found := _words(part))]
    if sum(map(len, parts)) < LEAST_WORDS:
        return None
    words = _words(text)
    at, places = 0, []
    for part in parts:
        place = _find(part, words, at)
        if place is None:
            return None
        places.append(place)
        at = place + len(part)
    end = words[at - 1].end
    # A closing mark belongs to the quotation.
    closed = re.compile(r"[.!?。！？]?[\"'”’»)\]]?").match(text, end)
    return Span(words[places[0]].start, closed.end() if closed else end)


def _words(text: str) -> list[_Word]:
    found = []
    for match in _WORD.finditer(text):
        plain = unicodedata.normalize("NFKC", _AT_LINE_END.sub("", match[0])).casefold()
        plain = plain.replace("\u2212", "-")
        found.append(_Word(match.start(), match.end(), plain))
    return found


def _find(part: Sequence[_Word], words: Sequence[_Word], first: int) -> int | None:
    """The number of the first word of `words` from which on they are those of `part`."""
    forms = [word.form for word in part]
    theirs = [word.form for word in words]
    last = len(theirs) - len(forms)
    for at in range(first, last + 1):
        if theirs[at : at + len(forms)] == forms:
            return at
    allowed = len(forms) // _OFTEN
    for at in range(first, last + 1) if allowed else ():
        differ = 0
        for ours, other in zip(forms, theirs[at:], strict=False):
            if ours != other:
                differ += 1 if _is_near(ours, other) else allowed + 1
                if differ > allowed:
                    break
        if differ <= allowed:
            return at
    return None


def _is_near(one: str, other: str) -> bool:
    """Whether two words differ by a typing error; numbers and short words never do.

    >>> _is_near("authentication", "authentcation"), _is_near("moral", "amoral")
    (True, False)
    """
    return (
        min(len(one), len(other)) >= _LONG
        and one[0] == other[0]
        and one.isalpha()
        and other.isalpha()
        and OSA.distance(one, other, score_cutoff=1) == 1
    )


__all__ = ["LEAST_WORDS", "find_quote"]
