"""Normalises text from a PDF: ligatures, hyphens, lines."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from statistics import median

from retriever.reading.pages import drop_controls, unify_lines

# Shapes a font chose for ordinary letters: Latin ligatures, Hebrew and Arabic presentation forms,
# the radicals that stand for whole Chinese characters. Fractions, units and the rest stay.
_SHAPES = re.compile("[\ufb00-\ufdff\ufe70-\ufefc\u2e80-\u2fdf\uf900-\ufaff]")
_BULLETS = str.maketrans(
    {"\uf0b7": "•", "\uf0a7": "▪", "\uf0d8": "➢", "\uf0fc": "✓", "\uf02d": "-"}
)
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_HYPHEN_AT_END = re.compile(r"[\u00ad\u2010](?=[ \t]*(?:\n|\Z))")  # soft, or typographic
_MIN_SPACED = 6  # single letters in a row
_SPLIT = re.compile(r"(?<![^\W\d_])([^\W\d_]{2,}+)([-‐\u00ad])\n([^\W\d_]{2,}+)")


def clean_lines(raw: str) -> str:
    r"""Normalise letters, trim lines, and keep at most one blank line in a row.

    >>> clean_lines("The o\ufb03ce  is \n closed. \n\n\n Next.")
    'The office is\nclosed.\n\nNext.'
    >>> clean_lines("a soft\u00adly trans\u00ad \nported para\u2010")
    'a softly trans-\nported para-'
    """
    text = _SHAPES.sub(lambda match: unicodedata.normalize("NFKC", match[0]), unify_lines(raw))
    text = _HYPHEN_AT_END.sub("-", text.translate(_BULLETS))
    text = drop_controls(text.replace("\u00ad", ""))
    text = unicodedata.normalize("NFC", text.replace("\xa0", " "))
    lines = [re.sub(r"[ \t]{2,}", " ", line).strip() for line in text.split("\n")]
    blank = sum(not line for line in lines)
    if len(lines) > 10 and blank > 0.45 * len(lines):  # a blank line after every line is layout
        lines = [line for line in lines if line]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def known_words(texts: Iterable[str]) -> frozenset[str]:
    """The words of a document in lower case, hyphenated words as one."""
    return frozenset(
        word.casefold() for text in texts for word in _WORD.findall(_SPLIT.sub(" ", text))
    )


def rejoin_hyphens(text: str, words: frozenset[str]) -> str:
    r"""Join words split at a line end, if the document has the joined spelling.

    The rest of the word moves to the first line, so the number of lines stays the same.

    >>> rejoin_hyphens("infor-\nmation is", frozenset(["information"]))
    'information\nis'
    >>> rejoin_hyphens("well-\nknown facts", frozenset(["well-known"]))
    'well-known\nfacts'
    >>> rejoin_hyphens("x-ray-\nfoo bar", frozenset())
    'x-ray-\nfoo bar'
    """

    def join(match: re.Match[str]) -> str:
        first, _, second = match.groups()
        hyphenated, joined = f"{first}-{second}", first + second
        if hyphenated.casefold() in words:
            return hyphenated + "\0"
        if joined.casefold() in words:
            return joined + "\0"
        return match[0]

    moved = _SPLIT.sub(join, text)
    return re.sub(r"\0([^\s\0]*)[ \t]*(\n?)", r"\1\n", moved) if "\0" in moved else text


def remove_letter_spacing(words: Sequence[str], gaps: Sequence[float]) -> str:
    r"""Remove letter-spacing: keep spaces where the gap is wider than between letters.

    `gaps` are the widths between one word and the next. Evenly spaced single letters, such as
    answer options, keep their spaces.

    >>> remove_letter_spacing(list("helloworld"), [3, 3, 3, 3, 9, 3, 3, 3, 3])
    'hello world'
    >>> remove_letter_spacing(list("abcd"), [3, 3, 3])
    'a b c d'
    """
    spaced = " ".join(words)
    if len(words) < _MIN_SPACED or sum(map(len, words)) > 1.5 * len(words):
        return spaced
    usual = median(gaps)
    wide = [gap > 1.6 * usual for gap in gaps]
    joined = words[0] + "".join(
        (" " if gap else "") + word for gap, word in zip(wide, words[1:], strict=True)
    )
    count = 1 + sum(wide)
    return joined if count > 1 and len(words) >= 3 * count else spaced
