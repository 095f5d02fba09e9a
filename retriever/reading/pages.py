"""From extracted text to a page in exactly one state.

Every reader passes its raw text to `make_page`, so "empty", "garbled" and "too long" mean the same
in every format. This module does not read files.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from itertools import pairwise

from retriever.types import Page, PageState

MAX_CHARACTERS = 10_000_000
"""The longest text of one page: twice the complete works of Shakespeare."""

# Copying between systems doubles the return ("\r\r\n"); serial lines send it after the feed.
# A run of returns is looked at from its beginning alone: a page of them takes linear time.
_LINE_ENDS = re.compile("(?<!\r)\r++\n|\n\r(?![\r\n])|[\r\x0b\x0c\x85\u2028\u2029]")
# Tab and line feed stay. The others are not text: ISO 6429 controls, and three marks that only
# say where a line may or may not break; they would split words for a keyword index.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u2060\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")

_GLYPH_NAMES = re.compile(r"\(cid:\d+\)|/(?:g|G|C|cid|uni|glyph|index)\d{1,5}(?![\w.])")
_SAMPLE = 200_000  # characters tested
_PUNCTUATION = ".,;:!?()[]{}\"'“”‘’«»–—…/"
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH", "FULLWIDTH", "HANGUL", "IDEOGRAPHIC")
_MAX_BAD_SHARE = 0.3  # of the visible characters; measured: see tests/reading/test_pages.py
_MAX_CONTROL_SHARE = 0.05
_MIN_WORD_SHARE = 0.25
_MAX_JUMBLE_SHARE = 0.3
_JUMBLE_SAMPLE = 20_000  # characters
_FEW_SCRIPTS = 5  # with "" for none
_ASCII = frozenset(map(chr, range(128)))
_VOWELS = frozenset("aeiouyAEIOUY")
_MIN_VOWEL_SHARE = 0.22
_MIN_LETTERS = 200


def unify_lines(text: str) -> str:
    r"""Replace every kind of line ending by a newline.

    >>> unify_lines("a\r\nb\rc\fd\r\r\ne\n\rf")
    'a\nb\nc\nd\ne\nf'
    """
    return _LINE_ENDS.sub("\n", text)


def drop_controls(text: str) -> str:
    r"""Remove control characters, invisible break marks and lone surrogates.

    >>> drop_controls("a\x00b\u00adc\td")
    'abc\td'
    """
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub("", text))


def make_page(
    number: int | None, raw: str, empty_reason: str = "no text in it", note: str = ""
) -> Page:
    """The page for `raw` text: TEXT (`note` is its reason), EMPTY, GARBLED or TOO_LONG."""
    if len(raw) > MAX_CHARACTERS:
        return too_long_page(number, f"{len(raw):,} characters")
    reason = garbled_reason(raw)
    if reason:
        return Page(number, "", PageState.GARBLED, reason)
    text = drop_controls(unify_lines(raw)).strip("\n")
    if not text.strip():
        return Page(number, "", PageState.EMPTY, empty_reason)
    return Page(number, text, PageState.TEXT, note)


def too_long_page(number: int | None, measured: str) -> Page:
    """A page whose text exceeds the limit."""
    reason = f"{measured} in one page; the limit is {MAX_CHARACTERS:,} characters"
    return Page(number, "", PageState.TOO_LONG, reason)


def error_text(error: BaseException, max_length: int = 200) -> str:
    r"""The message on one line, at most `max_length` characters; the error's type if it is empty.

    >>> error_text(ValueError("no\n  trailer")), error_text(KeyError())
    ('no trailer', 'KeyError')
    """
    return " ".join(str(error).split())[:max_length] or type(error).__name__


def garbled_reason(text: str) -> str:
    r"""Why `text` is glyph codes instead of language; empty if it is language.

    The decision uses character classes only, no dictionary. Chinese, Arabic or mathematics are not
    affected.

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
    sample = visible[:_SAMPLE]
    counted = Counter(sample)
    kinds: Counter[str] = Counter()
    for character, times in counted.items():
        kinds[unicodedata.category(character)] += times
    controls = kinds["Cc"]
    bad = controls + counted["\ufffd"] + sum(kinds[kind] for kind in ("Co", "Cn", "Cs"))
    # A page of mathematics may have a control code for every sign, and still be read by its words.
    if bad > _MAX_BAD_SHARE * len(sample) and _word_share(text) < _MIN_WORD_SHARE:
        return "its characters are codes, most of them of no known letter"
    if controls > max(1, _MAX_CONTROL_SHARE * len(sample)) and _word_share(text) < _MIN_WORD_SHARE:
        return "its characters are control codes, not letters"
    return _cipher_reason(counted) or _jumble_reason(text)


def _word_share(text: str) -> float:
    """The share of visible characters in plain words of two letters or more."""
    tokens = text[:_SAMPLE].split()
    words = (token.strip(_PUNCTUATION) for token in tokens)
    clean = sum(len(word) for word in words if len(word) > 1 and _is_word(word))
    return clean / max(1, sum(map(len, tokens)))


def _is_word(token: str) -> bool:
    """Whether it has only letters and marks; Latin words need a vowel and no inner capitals."""
    if not token.replace("-", "").replace("’", "").replace("'", "").isalpha():
        return not token.isascii() and all(unicodedata.category(c)[0] in "LM" for c in token)
    return not token.isascii() or (
        not _VOWELS.isdisjoint(token) and (token[1:].islower() or token.isupper())
    )


def _cipher_reason(counted: Counter[str]) -> str:
    """Detect fonts with shifted codes: Latin text with almost no vowels."""
    letters = {one: times for one, times in counted.items() if one.isalpha()}
    latin = sum(times for one, times in letters.items() if one.isascii())
    if latin < _MIN_LETTERS or latin < 0.9 * sum(letters.values()):
        return ""
    vowels = sum(letters.get(one, 0) for one in _VOWELS)
    if vowels < _MIN_VOWEL_SHARE * latin:
        return "its letters make no words: the font's codes are not the letters they show"
    return ""


def _jumble_reason(text: str) -> str:
    """Detect glyph numbers taken for letters: many scripts inside single words."""
    sample = text[:_JUMBLE_SAMPLE]
    if sample.isascii() or len({"", *map(_script, set(sample) - _ASCII)}) <= _FEW_SCRIPTS:
        return ""
    scripts = [_script(letter) if letter > "\x7f" else "" for letter in sample]
    pairs = [(one, next_one) for one, next_one in pairwise(scripts) if one and next_one]
    changes = sum(one != next_one for one, next_one in pairs)
    many = len(set(scripts)) > _FEW_SCRIPTS
    if len(pairs) >= 20 and many and changes > _MAX_JUMBLE_SHARE * len(pairs):
        return "its letters are of many scripts at once: the font's codes are not the letters"
    return ""


@lru_cache(maxsize=20_000)
def _script(character: str) -> str:
    """The script of a letter; Japanese and Chinese count as one; empty if there is none."""
    if not character.isalpha():
        return ""
    script = unicodedata.name(character, "").split(" ")[0].split("-")[0]
    if script in _EAST_ASIAN:
        return "CJK"
    return "" if script in ("LATIN", "GREEK", "MATHEMATICAL", "DOUBLE") else script
