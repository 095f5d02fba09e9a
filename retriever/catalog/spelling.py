"""A word that occurs nowhere → the nearest words that do: typing errors in keyword search.

Compared are terms (stems), by how many letters must be inserted, left out, exchanged, or swapped
with their neighbour. The first letter counts as typed right: it nearly always is, and it keeps the
vocabulary that must be looked at short.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rapidfuzz.distance import OSA

from retriever.terms import words

WEIGHT = 0.6
"""What a match of a word counts that stands in for the one typed."""

MOST_INSTEAD = 3
"""So many words at most stand in for one."""


MOST_UNKNOWN = 8
"""A text with more unknown words is no query somebody typed, or in another language."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A typed word that occurs nowhere: as it was typed, and its term."""

    word: str
    term: str


def candidates(query: str) -> Iterator[Unknown]:
    """The words of the query that may have a typing error, should their terms be unknown.

    Not those of fewer than four letters, nor with digits, nor of scripts without spaces.

    >>> [unknown.term for unknown in candidates("the polcy on X17-99a and tax")]
    ['polci']
    """
    seen: set[str] = set()
    for word in words(query):
        typed = query[word.start : word.end]
        if word.kind == "word" and word.term not in seen and allowed_edits(word.term, typed):
            seen.add(word.term)
            yield Unknown(typed, word.term)


def allowed_edits(term: str, typed: str) -> int:
    """How many letters may be wrong: 1 in a word of 4 to 7 letters, 2 in a longer one, else none.

    A stem of three letters ("bug" of "bugs") is near to too many others.

    >>> allowed_edits("tax", "tax"), allowed_edits("polici", "policy"), allowed_edits("ac2", "AC-2")
    (0, 1, 0)
    """
    if not (term.isalpha() and len(term) >= 4):
        return 0
    return (len(typed) >= 4) + (len(typed) >= 8)


def nearest(unknown: Unknown, vocabulary: Iterable[tuple[str, int]]) -> list[str]:
    """The nearest terms of (term, number of chunks), at most three: equally near ones by number.

    >>> nearest(Unknown("polcy", "polci"), [("polic", 9), ("polici", 5), ("police", 2)])
    ['polic', 'polici']
    """
    most = allowed_edits(unknown.term, unknown.word)
    found: list[tuple[int, int, str]] = []
    for term, count in vocabulary:
        if abs(len(term) - len(unknown.term)) > most or not term.isalpha():
            continue
        distance = OSA.distance(unknown.term, term, score_cutoff=most)
        if distance <= most:
            found.append((distance, -count, term))
    found.sort()
    return [term for distance, _, term in found if distance == found[0][0]][:MOST_INSTEAD]


__all__ = [
    "MOST_INSTEAD",
    "MOST_UNKNOWN",
    "WEIGHT",
    "Unknown",
    "allowed_edits",
    "candidates",
    "nearest",
]
