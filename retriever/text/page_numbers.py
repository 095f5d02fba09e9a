"""Lines that only number their page: "Page 7", "7 of 9", "- 7 -", "iv"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

_WRITTEN = """
    page pages pg pgs p pp of folio fol sheet seite seiten s von blatt de du sur página páginas pág
    pagina pagine pag di van bladzijde blz side sida sidan sider af av strona str z strana stran ze
    σελίδα σελ από страница стр из sayfa sf oldal old 第 页 頁 共 ページ 쪽 페이지
"""
PAGE_WORDS = frozenset(_WRITTEN.casefold().split())
"""Words that stand beside a page's number ("page", "of", and how they are shortened), in small
letters: of English, German, French, Spanish, Portuguese, Italian, Dutch, the Nordic languages,
Polish, Czech, Greek, Russian, Turkish, Hungarian, Chinese, Japanese and Korean."""

NUMBER = re.compile(r"(?<!\w)(?:\d{1,6}|[ivxlcdm]{1,9})(?!\w)")
"""A number in a line in small letters: digits, or a Roman number (see `value`)."""

_WORD = re.compile(r"[^\W\d_]+")
_DECORATED = re.compile(r"[\s\d\-–—‒−|¦·•.,:;()\[\]{}<>«»‹›/~*=_+]*")
_ROMAN = re.compile(r"m{0,3}(?:cm|cd|d?c{0,3})(?:xc|xl|l?x{0,3})(?:ix|iv|v?i{0,3})")
_VALUES = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100, "d": 500, "m": 1000}
_CJK = re.compile("第|页|頁|共|ページ|쪽|페이지")
_APPENDIX = re.compile(r"(?<![^\W_])[a-z] ?[-–] ?(\d{1,4})(?!\w)")
_LONGEST = 60  # characters of a line that numbers its page


def value(number: str) -> int | None:
    """The value of digits or of a Roman number in small letters; None for other text.

    >>> value("12"), value("xiv"), value("iiii"), value("im")
    (12, 14, None, None)
    """
    if number.isdecimal():
        return int(number)
    if not number or not _ROMAN.fullmatch(number):
        return None
    values = [_VALUES[letter] for letter in number]
    return sum(-one if one < after else one for one, after in pairwise([*values, 0]))


def page_number(line: str) -> int | None:
    """The number of a line that holds nothing else but page words and a total; None for others.

    >>> page_number("Page 7"), page_number("7 of 9"), page_number("- xiv -"), page_number("3-12")
    (7, 7, 14, 12)
    >>> page_number("Lesson 7"), page_number("3/2025"), page_number("3.3.2025"), page_number("§ 4")
    (None, None, None, None)
    """
    small = _APPENDIX.sub(r"\1", line.casefold()) if len(line) <= _LONGEST else ""
    found = [
        (one, number) for one in NUMBER.finditer(small) if (number := value(one[0])) is not None
    ]
    if not 1 <= len(found) <= 2 or next(own_words(small), ""):
        return None
    if not _DECORATED.fullmatch(_WORD.sub("", _CJK.sub("", small))):
        return None
    first, last = found[0], found[-1]
    between = small[first[0].end() : last[0].start()].strip()
    if len(found) == 1 or any(map(str.isalpha, between)):
        return first[1]
    if between in ("-", "–"):  # a chapter and its page
        return last[1]
    total = between in ("/", "|") and first[1] <= last[1] and not 1900 <= last[1] < 2100
    return first[1] if total else None


def own_words(line: str) -> Iterator[str]:
    """The words of a line, in small letters, without page words and Roman numbers.

    >>> list(own_words("The Book | page iv of 9")), list(own_words("第3課"))
    (['the', 'book'], ['課'])
    """
    for found in _WORD.findall(_CJK.sub(" ", line.casefold())):
        if found not in PAGE_WORDS and value(found) is None:
            yield found


__all__ = ["NUMBER", "PAGE_WORDS", "own_words", "page_number", "value"]
