"""A word that occurs nowhere → the nearest words that do: typing errors in keyword search.

Compared are terms (stems), by how many letters must be inserted, left out, exchanged, or swapped
with their neighbour. The first letter counts as typed right: it nearly always is, and it keeps the
vocabulary that must be looked at short.
"""

from __future__ import annotations

from collections.abc import Iterable

from rapidfuzz.distance import OSA

from retriever.text.analyzer import MARK, QueryWord, language_mark

CORRECTION_WEIGHT = 0.6
"""What a match of a word counts that stands in for the one typed."""

MAX_CORRECTIONS = 3
"""So many words at most stand in for one."""


MAX_UNKNOWN_WORDS = 8
"""A text with more unknown words is no query somebody typed, or in another language."""


def may_be_misspelt(word: QueryWord) -> bool:
    """Whether a word that occurs nowhere may have a typing error.

    Not one of fewer than four letters, nor with digits, nor of scripts without spaces.

    >>> from retriever.text.analyzer import query_words
    >>> found = query_words("the polcy on X17-99a and tax")
    >>> [word.typed for word in found if may_be_misspelt(word)]
    ['polcy']
    """
    return any(allowed_edits(_split(term)[0], word.typed) for term in word.terms)


def allowed_edits(term: str, typed: str) -> int:
    """How many letters may be wrong: 1 in a word of 4 to 7 letters, 2 in a longer one, else none.

    A stem of three letters ("bug" of "bugs") is near to too many others.

    >>> allowed_edits("tax", "tax"), allowed_edits("polici", "policy"), allowed_edits("ac2", "AC-2")
    (0, 1, 0)
    """
    if not (term.isalpha() and len(term) >= 4):
        return 0
    return (len(typed) >= 4) + (len(typed) >= 8)


def nearest_terms(unknown: QueryWord, vocabulary: Iterable[tuple[str, int]]) -> list[str]:
    """The nearest terms of (term, number of chunks), at most three: equally near ones by number.

    A term is compared with the word's stem in the same language.

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
    """A term's stem and its language."""
    language = language_mark(term)
    return (term[: -len(MARK + language)], language) if language else (term, "")


__all__ = [
    "CORRECTION_WEIGHT",
    "MAX_CORRECTIONS",
    "MAX_UNKNOWN_WORDS",
    "allowed_edits",
    "may_be_misspelt",
    "nearest_terms",
]
