"""Splitting of compounds, such as German Verfassungsgericht, by the vocabulary of the index.

The method needs no dictionary (Koehn and Knight, "Empirical methods for compound splitting", 2003).
A word is a compound if each part, perhaps after a linking element is removed, occurs as a word of
its own, and if the geometric mean of the parts' document frequencies is at least that of the whole.
Short parts are rejected: "Monarchen" does not contain arks (Archen).

Words here are in small letters and without accents; a term is a word's stem with its language mark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import log

from retriever.storage.catalog.fulltext import MIN_LETTERS
from retriever.text.analyzer import MARK, index_terms
from retriever.text.languages import LINKING_ELEMENTS

MIN_PART_LETTERS = 4
"""Minimum length of a part's stem; three letters suffice beside a longer part (`Amtsgericht`)."""

_MIN_SHORT_PART = 3
_MIN_LONG_PART = 6  # minimum letters of a part beside one of three
_MAX_PARTS = 4

Count = Callable[[str], int]
"""A term → its document frequency: in how many chunks it occurs."""


def split_compound(word: str, language: str, count: Count) -> tuple[str, ...]:
    """The terms of a compound's parts; empty for other words, and for compounds more frequent.

    >>> known = {"gerichtøde": 9, "verfassøde": 4, "bundøde": 4}
    >>> split_compound("bundesverfassungsgericht", "de", lambda term: known.get(term, 0))
    ('bundøde', 'verfassøde', 'gerichtøde')
    >>> split_compound("gerichte", "de", lambda term: known.get(term, 0))
    ()
    """
    if len(word) < MIN_LETTERS or language not in LINKING_ELEMENTS:
        return ()
    ways = _splits(word, language, count, _MAX_PARTS)
    believed = [way for way in ways if len(way) > 1 and _are_long_enough(way)]
    if not believed:
        return ()
    best = max(believed, key=lambda way: (_mean(way, count), len(way)))
    whole = _term(word, language)
    return best if not count(whole) or _mean(best, count) >= log(count(whole)) else ()


def is_part(stem: str, compound: str, language: str, count: Count) -> bool:
    """Whether the compound's stem ends with this stem and begins with words of the index.

    >>> is_part("gericht", "amtsgericht", "de", {"amtøde": 2}.get)
    True
    >>> is_part("arch", "monarch", "de", {"monøde": 2}.get)
    False
    """
    before = compound[: -len(stem)]
    ways = _splits(before, language, count, _MAX_PARTS - 1, inside=True)
    return any(_are_long_enough((*way, f"{stem}{MARK}{language}")) for way in ways)


def may_be_compound(word: str, language: str) -> bool:
    """Whether `split_compound` looks for the word's parts."""
    return len(word) >= MIN_LETTERS and language in LINKING_ELEMENTS


def terms_within(word: str, language: str) -> set[str]:
    """All terms whose counts the splits of a word may ask for, to have them counted at once.

    >>> sorted(terms_within("teich", "de"))
    ['eichøde', 'eicøde', 'ichøde', 'teichøde', 'teicøde', 'teiøde']
    """
    found: set[str] = set()
    for start in range(len(word) - _MIN_SHORT_PART + 1):
        for end in range(start + _MIN_SHORT_PART, len(word) + 1):
            part = word[start:end]
            for link in LINKING_ELEMENTS[language]:
                if len(part) - len(link) >= _MIN_SHORT_PART and part.endswith(link):
                    found.add(_term(part[: len(part) - len(link)], language))
    return found


def _splits(
    word: str, language: str, count: Count, most: int, *, inside: bool = False
) -> Iterator[tuple[str, ...]]:
    """All splits of a word into known ones; `inside`: a linking element may follow the last."""
    for link in LINKING_ELEMENTS[language] if inside else ("",):
        if len(word) - len(link) >= _MIN_SHORT_PART and word.endswith(link):
            term = _term(word[: len(word) - len(link)], language)
            if count(term):
                yield (term,)
    if most > 1:
        for at in range(_MIN_SHORT_PART, len(word) - _MIN_SHORT_PART + 1):
            last = list(_splits(word[at:], language, count, 1, inside=inside))
            if last:
                for first in _splits(word[:at], language, count, most - 1, inside=True):
                    yield from ((*first, *end) for end in last)


def _are_long_enough(terms: tuple[str, ...]) -> bool:
    """Whether the stems are long enough to be accepted: "mon" and "arch" are not."""
    lengths = [len(term) - len(MARK) - 2 for term in terms]
    return min(lengths) >= MIN_PART_LETTERS or (
        min(lengths) >= _MIN_SHORT_PART and max(lengths) >= _MIN_LONG_PART
    )


def _term(word: str, language: str) -> str:
    return next(iter(index_terms(word, language)), "")


def _mean(terms: tuple[str, ...], count: Count) -> float:
    """The logarithm of the geometric mean of the terms' document frequencies."""
    return sum(log(count(term)) for term in terms) / len(terms)


__all__ = [
    "MIN_PART_LETTERS",
    "Count",
    "is_part",
    "may_be_compound",
    "split_compound",
    "terms_within",
]
