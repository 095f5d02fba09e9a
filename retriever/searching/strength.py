"""How good a result is, in one word: exact words, strong, likely or weak.

A score has no scale that means anything to a reader, and the match is a share of questions nobody
asked. So a result says first whether every content word of the query stands in it, in the index's
own terms: inflected forms count, corrections of typing errors do not. Without all words, the match
decides: strong if it is certain (`MATCH`), weak if most unanswerable questions find as much
(`CHANCE_MATCH`), likely between these. Without a match scale nothing more is known.

An unknown word counts most in a match, so a result that has the corrections of all misspelt words
would be weak: it is likely.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from retriever.arrays import Vectors
from retriever.searching.match import CHANCE_MATCH, MATCH, MatchScale, bm25_unit, matching_ids
from retriever.searching.options import Mode
from retriever.storage.backends import Snapshot
from retriever.storage.filters import Filter
from retriever.storage.records import ContentWord
from retriever.text.analyzer import count_term
from retriever.types import Chunk, Hit, Strength


@dataclass(frozen=True, slots=True)
class MatchCount:
    """How many passages of an index match a query at least as likely, in how many documents."""

    passages: int
    documents: int


def count_matches(
    snapshot: Snapshot,
    hits: Sequence[Hit],
    scale: MatchScale,
    query: str,
    vector: Vectors | None,
    *,
    mode: Mode,
    where: Filter | None = None,
    tolerant: bool = False,
    min_match: float = CHANCE_MATCH,
) -> MatchCount:
    """The count for a query's text and its raw `vector`, which is None in keyword mode.

    The passages of the `hits` with the exact words count whatever their match.
    """
    ids = matching_ids(
        *(snapshot, scale, min_match, vector),
        None if mode is Mode.DENSE else query,
        unit=bm25_unit(snapshot, query),
        where=where,
        tolerant=tolerant,
    )
    ids |= {part.id for hit in hits if hit.exact for part in _passages(hit)}
    documents = {chunk.document_id for chunk in snapshot.catalog.get(list(ids))}
    return MatchCount(len(ids), len(documents))


def strength_of(match: float | None, *, exact: bool = False) -> Strength | None:
    """The word for a match.

    >>> strength_of(0.95), strength_of(0.5), strength_of(0.49), strength_of(None)
    (<Strength.STRONG: 'strong'>, <Strength.LIKELY: 'likely'>, <Strength.WEAK: 'weak'>, None)
    >>> strength_of(0.1, exact=True).value
    'exact words'
    """
    if exact:
        return Strength.EXACT
    if match is None:
        return None
    if match >= MATCH:
        return Strength.STRONG
    return Strength.LIKELY if match >= CHANCE_MATCH else Strength.WEAK


def with_strength(
    snapshot: Snapshot, hits: Sequence[Hit], query: str, *, tolerant: bool = False
) -> list[Hit]:
    """The hits with `exact` and `strength` for the query's text; without words none is exact.

    `tolerant`: the search corrected typing errors.
    """
    words = snapshot.content_words(query, tolerant=tolerant)
    exact = _have_all(snapshot, hits, words)
    corrected = exact
    if any(word.instead for word in words):
        corrected = _have_all(snapshot, hits, words, tolerant=True)
    found: list[Hit] = []
    for hit, literal, meant in zip(hits, exact, corrected, strict=True):
        strength = strength_of(hit.match, exact=literal)
        if meant and strength is Strength.WEAK:
            strength = Strength.LIKELY
        found.append(replace(hit, exact=literal, strength=strength))
    return found


def _have_all(
    snapshot: Snapshot, hits: Sequence[Hit], words: Sequence[ContentWord], *, tolerant: bool = False
) -> list[bool]:
    standing = standing_words(snapshot, hits, words, tolerant=tolerant)
    return [bool(words) and len(found) == len(words) for found in standing]


def standing_words(
    snapshot: Snapshot, hits: Sequence[Hit], words: Sequence[ContentWord], *, tolerant: bool = False
) -> list[list[ContentWord]]:
    """The words that stand in each hit's passages or their titles; with `tolerant` corrected ones.

    No phrase reaches from one passage into another.
    """
    ids = list(dict.fromkeys(part.id for hit in hits for part in _passages(hit)))
    terms = dict(zip(ids, map(_Terms, snapshot.passages.terms(ids)), strict=True))
    return [
        [
            word
            for word in words
            if any(
                terms[part.id].have_any((*word.terms, *(word.instead if tolerant else ())))
                for part in _passages(hit)
            )
        ]
        for hit in hits
    ]


class _Terms:
    """The terms of one passage."""

    def __init__(self, terms: Sequence[str]) -> None:
        self._in_order = terms
        self._different = frozenset(terms)

    def have_any(self, terms: Iterable[str]) -> bool:
        """Whether one of the terms is among them, or one of the phrases."""
        return any(
            count_term(self._in_order, term) > 0 if " " in term else term in self._different
            for term in terms
        )


def _passages(hit: Hit) -> Sequence[Chunk]:
    return hit.parts or (hit.chunk,)


__all__ = [
    "MatchCount",
    "Strength",
    "count_matches",
    "standing_words",
    "strength_of",
    "with_strength",
]
