"""Stemming: the words of one language that differ in their endings get the same stem.

Snowball's stemmers, one a language; for Arabic the light stemmer of Larkey, Ballesteros and Connell
("Light Stemming for Arabic Information Retrieval", 2007), because Snowball's gives a word with the
article another stem than the word without it. Each language stems words of its own letters;
languages of other scripts leave Latin words to English.

The module knows nothing of terms, scores and databases.
"""

from __future__ import annotations

import re
import threading
from functools import cache
from typing import Any

import snowballstemmer

from retriever.text.folding import without_accents, without_case
from retriever.text.languages import STEMMERS, restore_accents

_MIN_LETTERS = 3  # shorter words have no stem

_LATIN = "a-zß-öø-ÿāăąćčďđēėęěğģīįıķļłńņňōőœŕřśşšţťūůűųźżž"
# The letters of the words that a language stems. They are folded in languages of other scripts.
_WORDS = {
    language: re.compile(f"[{letters}]+")
    for language, letters in {
        **dict.fromkeys(set(STEMMERS) - {"en"}, _LATIN),
        "ro": f"{_LATIN}șț",
        "ar": "\u0620-\u064a",
        "el": "α-ω",
        "hi": "\u0900-\u0963\u0971-\u097f",
        "ru": "а-яё",
    }.items()
}
_FOLDED = frozenset({"ar", "el", "hi", "ru"})

# The article with the prefixes before it, and the endings, in the order in which they are removed.
_ARABIC_ARTICLE = re.compile("^(?:[وف]?[بك]?ال|[وف]?لل)(?=..)")
_ARABIC_ENDINGS = tuple(
    re.compile(f"(?<=...){ending}$") for ending in ("ها", "ان", "ات", "ون", "ين", "يه", "ه", "ي")
)
_ARABIC_AND = re.compile("^و(?=...)")

_TURKISH_CASE = str.maketrans("Iİ", "ıi")

_stemming = threading.Lock()  # a snowball stemmer keeps its state between calls


def stemmed(raw: str, folded: str, language: str) -> tuple[str, str]:
    """A word's stem without accents, and the language whose stem it is: "" for English and none.

    `folded` is `fold_accents(raw)`. It is returned for a word that is not stemmed: one of two
    letters, with digits, or in a script that the language does not stem.

    >>> stemmed("Häuser", "hauser", "de"), stemmed("cats", "cats", ""), stemmed("AC2", "ac2", "de")
    (('haus', 'de'), ('cat', ''), ('ac2', ''))
    >>> stemmed("المكتبة", "المكتبه", "ar"), stemmed("GPUs", "gpus", "ar")
    (('مكتب', 'ar'), ('gpu', ''))
    """
    if len(folded) < _MIN_LETTERS:
        return folded, ""
    if own := _WORDS.get(language):
        if language in _FOLDED:
            if own.fullmatch(folded):
                return _stem_of_script(folded, language), language
        else:
            written = _in_small_letters(raw, language)
            if own.fullmatch(written):
                stem = _snowball(restore_accents(written, language), language)
                return without_accents(stem), language
    if folded.isascii() and folded.isalpha():
        return _snowball(folded, "en"), ""
    return folded, ""


def _in_small_letters(raw: str, language: str) -> str:
    return without_case(raw.translate(_TURKISH_CASE) if language == "tr" else raw)


def _stem_of_script(folded: str, language: str) -> str:
    if language == "ar":
        return _arabic(folded)
    return _snowball(folded, language)


def _arabic(folded: str) -> str:
    """The light stem of an Arabic word.

    >>> [_arabic(word) for word in ("والمكتبه", "مكتبات", "مكتبتها", "وزير", "الوزير")]
    ['مكتب', 'مكتب', 'مكتبت', 'زير', 'زير']
    """
    stem = _ARABIC_ARTICLE.sub("", folded)
    for ending in _ARABIC_ENDINGS:
        stem = ending.sub("", stem)
    return _ARABIC_AND.sub("", stem)  # last, so that a word has one stem with and without article


def _snowball(word: str, language: str) -> str:
    with _stemming:
        return str(_stemmer(language).stemWord(word))


@cache
def _stemmer(language: str) -> Any:
    return snowballstemmer.stemmer(STEMMERS[language])


__all__ = ["stemmed"]
