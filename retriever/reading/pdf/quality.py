"""Measures the quality of text extracted from a PDF, without a reference.

Two libraries extract each page. PDFium's text is used unless it has flaws; then pypdf is tried, and
its text is used if it is better. `flaws` is the share of visible characters in places where no
language has them.
"""

from __future__ import annotations

import re
import unicodedata

from retriever.reading.pages import garbled_reason

ASKED = 0.02
"""The share of flaws from which the other library is tried."""

_SAMPLE = 100_000  # characters tested
_MAX_WORD = 30  # letters without a space: longer words do not occur
_GLYPHS = re.compile(r"\(cid:\d+\)|/(?:g|G|C|cid|uni|glyph|index)\d{1,5}(?![\w.])")
_ALONE = re.compile(r"(?:(?<=\s)|^)[^\W\d_](?:[ \t]+[^\W\d_](?=\s|$)){5,}")
_DOUBLED = re.compile(r"\b(?:([^\W\d_])\1){3,}\b")
_ARABIC = re.compile("[\u0600-\u08ff\ufb50-\ufdff\ufe70-\ufefc]")
_NO_SPACES = "\u0e00"  # above it many scripts do not separate words


def flaws(text: str) -> float:
    """The share of visible characters in codes, lost spaces, spaced or doubled letters: 0 to 1.

    >>> flaws("Zero trust is a model."), flaws("Z e r o t r u s t"), flaws("ZZeerroo")
    (0.0, 1.0, 1.0)
    """
    sample = text[:_SAMPLE]
    visible = len("".join(sample.split()))
    if not visible:
        return 0.0
    bad = sum(len("".join(found[0].split())) for found in _ALONE.finditer(sample))
    bad += sum(len(found[0]) for found in _GLYPHS.finditer(sample))
    bad += sum(len(found[0]) for found in _DOUBLED.finditer(sample))
    bad += sum(len(word) for word in sample.split() if _has_lost_spaces(word))
    bad += sum(sample.count(character) for character in set(sample) if _is_code(character))
    return min(1.0, bad / visible)


def _has_lost_spaces(word: str) -> bool:
    return len(word) > _MAX_WORD and word.isalpha() and max(word) < _NO_SPACES


def _is_code(character: str) -> bool:
    if character in "\t\n\r\f":
        return False
    return character == "\ufffd" or unicodedata.category(character) in ("Cc", "Co", "Cn", "Cs")


def letters(text: str) -> int:
    """The number of letters and digits."""
    return sum(map(str.isalnum, text))


def is_better(other: str, text: str) -> bool:
    """Whether `other`, extracted from the same page, should replace `text`.

    It should if only it has letters, if only it is language, or if it has half the flaws and lost
    at most a tenth of the letters. Arabic text is replaced unless many letters are lost.

    >>> is_better("Zero trust", "Z e r o t r u s t"), is_better("Zero", "Z e r o t r u s t")
    (True, False)
    """
    if not letters(other) or garbled_reason(other):
        return False
    if not letters(text) or garbled_reason(text):
        return True
    if _is_arabic(text):
        return letters(other) >= 0.6 * letters(text)
    return flaws(other) <= flaws(text) / 2 and letters(other) >= 0.9 * letters(text)


def is_doubtful(text: str) -> bool:
    """Whether to try the other library."""
    if not letters(text) or flaws(text) >= ASKED or _is_arabic(text):
        return True
    return bool(garbled_reason(text))


def _is_arabic(text: str) -> bool:
    """Whether the text has Arabic: PDFium splits its words at ligatures, pypdf does not."""
    sample = text[:_SAMPLE]
    return 20 * len(_ARABIC.findall(sample)) > letters(sample)
