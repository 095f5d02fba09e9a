"""From extracted characters to a page in exactly one state.

Every reader hands its raw text to `make_page`, so that "empty", "garbled" and "too long" mean the
same in every format. This module knows nothing about files.
"""

from __future__ import annotations

import re
import unicodedata

from retriever.types import Page, PageState

VERSION = 1

MAX_CHARACTERS = 10_000_000
"""The longest text one page may have: twice the complete works of Shakespeare."""

_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
# Tab and line feed stay. The others are not text: ISO 6429 controls, and three marks that only
# say where a line may or may not break; they would split words for a keyword index.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u2060\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")

_GLYPH_NAMES = re.compile(r"\(cid:\d+\)|/(?:g|G|C|cid|uni|glyph|index)\d{1,5}(?![\w.])")
_BAD_SHARE = 0.3  # of the visible characters; measured: see tests/test_readers_pages.py
_CONTROL_SHARE = 0.05
_VOWELS = frozenset("aeiouyAEIOUY")
_VOWEL_SHARE = 0.17
_ENOUGH_LETTERS = 200


def unify_lines(text: str) -> str:
    r"""Every kind of line end as "\n".

    >>> unify_lines("a\r\nb\rc\fd")
    'a\nb\nc\nd'
    """
    return _LINE_ENDS.sub("\n", text)


def drop_controls(text: str) -> str:
    r"""The text without control characters, invisible break marks and lone surrogates.

    >>> drop_controls("a\x00b\u00adc\td")
    'abc\td'
    """
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub("", text))


def make_page(number: int | None, raw: str, empty_reason: str = "no text in it") -> Page:
    """The page for `raw` text: TEXT, EMPTY, GARBLED or TOO_LONG."""
    if len(raw) > MAX_CHARACTERS:
        return too_long(number, f"{len(raw):,} characters")
    reason = garbled_reason(raw)
    if reason:
        return Page(number, "", PageState.GARBLED, reason)
    text = drop_controls(unify_lines(raw)).strip("\n")
    if not text.strip():
        return Page(number, "", PageState.EMPTY, empty_reason)
    return Page(number, text)


def too_long(number: int | None, measured: str) -> Page:
    """A page that holds more than anybody can mean as one page."""
    reason = f"{measured} in one page; the limit is {MAX_CHARACTERS:,} characters"
    return Page(number, "", PageState.TOO_LONG, reason)


def garbled_reason(text: str) -> str:
    r"""Why `text` is not language but glyph codes; empty if it is language.

    Chinese, Arabic or mathematics have none of these signs. Only the characters decide, never a
    dictionary.

    >>> garbled_reason("Zero trust"), garbled_reason("零信任架构"), garbled_reason("∀x∈ℝ: x²≥0")
    ('', '', '')
    >>> garbled_reason("(cid:12)(cid:7) (cid:88)")
    'its characters are glyph codes, not letters'
    """
    visible = "".join(text.split())
    if not visible:
        return ""
    names = sum(len(name) for name in _GLYPH_NAMES.findall(visible))
    if names > len(visible) / 2:
        return "its characters are glyph codes, not letters"
    sample = visible[:200_000]
    kinds = [unicodedata.category(character) for character in sample]
    controls = kinds.count("Cc")
    if controls > max(1, _CONTROL_SHARE * len(sample)):
        return "its characters are control codes, not letters"
    bad = controls + sample.count("\ufffd") + sum(kinds.count(kind) for kind in ("Co", "Cn", "Cs"))
    if bad > _BAD_SHARE * len(sample):
        return "most of its characters stand for no known letter"
    return _cipher_reason(sample)


def _cipher_reason(sample: str) -> str:
    """Fonts with shifted codes give letters, but not words: almost no vowels among them."""
    latin = [character for character in sample if character.isascii() and character.isalpha()]
    letters = sum(map(str.isalpha, sample))
    if len(latin) < _ENOUGH_LETTERS or len(latin) < 0.9 * letters:
        return ""
    vowels = sum(character in _VOWELS for character in latin)
    if vowels < _VOWEL_SHARE * len(latin):
        return "its letters make no words: the font's codes are not the letters they show"
    return ""
