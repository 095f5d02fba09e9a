"""Spelling correction in keyword search: an unknown word → the nearest words of the index.

Terms (stems) are compared by edit distance with transpositions (optimal string alignment). The
first letter is assumed to be right: it nearly always is, and this keeps the candidates few.
"""

from __future__ import annotations

from collections.abc import Iterable

from rapidfuzz.distance import OSA

from retriever.text.analyzer import MARK, QueryWord, language_mark

CORRECTION_WEIGHT = 0.6
"""The boost of a correction, compared with the word as typed."""

MAX_CORRECTIONS = 3
"""The maximum number of corrections of one word."""


MAX_UNKNOWN_WORDS = 8
"""A text with more unknown words is not corrected: it is pasted, or in another language."""


LONG_WORD = 8
"""The letters of a word that may have two errors, and whose like in another language is the same
word: Passwort, password."""


def may_be_misspelt(word: QueryWord) -> bool:
    """Whether an unknown word may have a typing error.

    False for words of fewer than four letters, with digits, or in unsegmented scripts.

    >>> from retriever.text.analyzer import query_words
    >>> found = query_words("the polcy on X17-99a and tax")
    >>> [word.typed for word in found if may_be_misspelt(word)]
    ['polcy']
    """
    return any(allowed_edits(_split(term)[0], word.typed) for term in word.terms)


def allowed_edits(term: str, typed: str) -> int:
    """The maximum edit distance: 1 for a word of 4 to 7 letters, 2 for a longer one, else 0.

    It is 0 for a stem of three letters ("bug" of "bugs"), which is near to too many others.

    >>> allowed_edits("tax", "tax"), allowed_edits("polici", "policy"), allowed_edits("ac2", "AC-2")
    (0, 1, 0)
    """
    if not (term.isalpha() and len(term) >= 4):
        return 0
    return (len(typed) >= 4) + (len(typed) >= LONG_WORD)


def nearest_terms(unknown: QueryWord, vocabulary: Iterable[tuple[str, int]]) -> list[str]:
    """Up to three of the nearest terms of a vocabulary of (term, document frequency).

    All have the same, lowest distance; the most frequent come first. A term is compared with the
    word's stem in the same language.

    >>> nearest_terms(QueryWord("polcy", ("polci",)), [("polic", 9), ("polici", 5), ("police", 2)])
    ['polic', 'polici']
    """
    stems = {language: stem for stem, language in map(_split, unknown.terms)}
    found: list[tuple[int, int, str]] = []
    for term, count in vocabulary:
        stem, language = _split(term)
        wanted = stems.get(language)
        if wanted is None or not stem.isalpha():
            continue
        most = allowed_edits(wanted, unknown.typed)
        if abs(len(stem) - len(wanted)) > most:
            continue
        distance = OSA.distance(wanted, stem, score_cutoff=most)
        if 0 < distance <= most:
            found.append((distance, -count, term))
    found.sort()
    return [term for distance, _, term in found if distance == found[0][0]][:MAX_CORRECTIONS]


def _split(term: str) -> tuple[str, str]:
    """A term as (stem, language)."""
    language = language_mark(term)
    return (term[: -len(MARK + language)], language) if language else (term, "")


__all__ = [
    "CORRECTION_WEIGHT",
    "LONG_WORD",
    "MAX_CORRECTIONS",
    "MAX_UNKNOWN_WORDS",
    "allowed_edits",
    "may_be_misspelt",
    "nearest_terms",
]
