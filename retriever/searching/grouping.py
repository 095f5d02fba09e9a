"""A ranking as one reads it: near-duplicates folded, neighbours joined, the text around on demand.

The ranking is read from the top. A passage that repeats one above it (see `duplicates`) is named by
that result and takes no place of its own; one that follows or precedes a passage above it in the
same document, on the same page or the next, is read together with it. Every other passage begins a
result, and the list ends where one result too many would begin: it is full, and does not depend on
how many passages were fetched. A result has the score, the place and the rank of its best passage.

The joined text is exactly the page's: from the first passage's start to the last one's end, so what
two of them repeat stands there once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from retriever.searching.near_duplicates import FingerprintIndex, fingerprint
from retriever.storage.backends import CatalogReader
from retriever.types import Chunk, Excerpt, Hit

Ranking = Callable[[int], list[Hit]]
"""A number n → the n best passages, best first; fewer if there are no more."""

MAX_PARTS = 3
"""Passages joined into one result: more is no passage any more, it is a chapter."""


def group(ranking: Ranking, count: int, catalog: CatalogReader) -> list[Hit]:
    """The first `count` results of a ranking; fewer only if there are no more passages."""
    gathering = _Grouping(catalog, count)
    taken, asked = 0, 2 * count
    while True:
        hits = ranking(asked)
        if not all(map(gathering.take, hits[taken:])) or len(hits) < asked:
            return [
                replace(result.hit(catalog), rank=rank)
                for rank, result in enumerate(gathering.results, 1)
            ]
        taken, asked = asked, 2 * asked


def filter_ranking(
    ranking: Ranking,
    count: int,
    good: Callable[[Hit], bool],
    remain: Callable[[Sequence[Hit]], bool],
) -> list[Hit]:
    """The first `count` results of a ranking that are `good`; fewer only if there are no more.

    `remain` tells of the results read so far whether there can be a good one beyond them, so that a
    ranking of which nothing is good is not read to its end.
    """
    asked = count
    while True:
        hits = ranking(asked)
        found = [hit for hit in hits if good(hit)]
        if len(found) >= count or len(hits) < asked or not remain(hits):
            return [replace(hit, rank=rank) for rank, hit in enumerate(found[:count], 1)]
        asked *= 2


def with_context(hit: Hit, count: int, catalog: CatalogReader) -> Hit:
    """The hit with the text of `count` passages more before and behind it, as far as there are.

    Only what can be read on from it is added: passages of its own page, the next, the one before.
    """
    parts = list(hit.parts or (hit.chunk,))
    before = neighbours(parts[0], catalog, before=count)
    after = neighbours(parts[-1], catalog, after=count)
    run = [*before, *parts, *after]
    first, last = len(before), len(before) + len(parts) - 1
    while first > 0 and _continues(run[first - 1], run[first]):
        first -= 1
    while last + 1 < len(run) and _continues(run[last], run[last + 1]):
        last += 1
    return replace(hit, passage=_excerpts(run[first : last + 1], catalog))


def neighbours(
    chunk: Chunk, catalog: CatalogReader, *, before: int = 0, after: int = 0
) -> list[Chunk]:
    """The passages before and behind a chunk in its document, in order, without itself.

    Fewer where the document begins or ends, none where the chunk is gone.
    """
    order = catalog.order(chunk.document_id)
    if chunk.id not in order:
        return []
    at = order.index(chunk.id)
    return catalog.get([*order[max(0, at - before) : at], *order[at + 1 : at + 1 + after]])


@dataclass(eq=False, slots=True)
class _Result:
    """One result while the ranking is read: its best hit, and what belongs to it."""

    best: Hit
    parts: dict[int, Chunk] = field(default_factory=dict)  # by place in the document
    also: list[Chunk] = field(default_factory=list)

    def hit(self, catalog: CatalogReader) -> Hit:
        """The result, finished."""
        parts = tuple(self.parts[at] for at in sorted(self.parts))
        if len(parts) < 2:
            return replace(self.best, also=tuple(self.also))
        passage = _excerpts(parts, catalog)
        return replace(self.best, also=tuple(self.also), parts=parts, passage=passage)


class _Grouping:
    """The results so far. Places in a document are asked for when two passages of it are there."""

    def __init__(self, catalog: CatalogReader, count: int) -> None:
        self.results: list[_Result] = []
        self._catalog = catalog
        self._count = count
        self._seen: FingerprintIndex[_Result] = FingerprintIndex()
        self._ids: set[str] = set()
        self._by_document: dict[str, list[_Result]] = {}
        self._orders: dict[str, dict[str, int]] = {}

    def take(self, hit: Hit) -> bool:
        """Put a passage where it belongs; False, if it would begin one result too many."""
        chunk = hit.chunk
        if chunk.id in self._ids:  # the index has changed between two looks at it
            return True
        known = fingerprint(chunk.text)
        if (original := self._seen.owner(known)) is not None:
            original.also.append(chunk)
        else:
            owner = self._joined(chunk) or self._begun(hit)
            if owner is None:
                return False
            self._seen.add(known, owner)
        self._ids.add(chunk.id)
        return True

    def _begun(self, hit: Hit) -> _Result | None:
        if len(self.results) == self._count:
            return None
        result = _Result(hit)
        self.results.append(result)
        same = self._by_document.setdefault(hit.chunk.document_id, [])
        same.append(result)
        if len(same) == 1:
            result.parts[0] = hit.chunk  # its place does not matter yet
        else:
            result.parts[self._place(hit.chunk)] = hit.chunk
        return result

    def _joined(self, chunk: Chunk) -> _Result | None:
        """The best result that the chunk can be read with, which it belongs to now."""
        same = self._by_document.get(chunk.document_id)
        if not same:
            return None
        if chunk.document_id not in self._orders:
            self._orders[chunk.document_id] = {
                id_: place for place, id_ in enumerate(self._catalog.order(chunk.document_id))
            }
            same[0].parts = {self._place(part): part for part in same[0].parts.values()}
        here = self._place(chunk)
        owner: _Result | None = None
        for result in [one for one in same if _adjoins(one, here, chunk)]:
            if owner is None and len(result.parts) < MAX_PARTS:
                owner = result
                owner.parts[here] = chunk
            elif owner and len(owner.parts) + len(result.parts) <= MAX_PARTS:
                self._merge(owner, result)
        return owner

    def _merge(self, owner: _Result, other: _Result) -> None:
        """Make two results one: a passage between them has joined them."""
        owner.parts |= other.parts
        owner.also += other.also
        self.results.remove(other)
        self._by_document[other.best.chunk.document_id].remove(other)
        self._seen.hand_over(other, owner)

    def _place(self, chunk: Chunk) -> int:
        """The chunk's place in its document; of one that is gone by now, far from all others."""
        order = self._orders[chunk.document_id]
        return order.get(chunk.id, -2 * (len(self._ids) + 1))


def _adjoins(result: _Result, here: int, chunk: Chunk) -> bool:
    """Whether the chunk follows or precedes one of the result's parts."""
    before, after = result.parts.get(here - 1), result.parts.get(here + 1)
    return (before is not None and _continues(before, chunk)) or (
        after is not None and _continues(chunk, after)
    )


def _continues(chunk: Chunk, following: Chunk) -> bool:
    """Whether the next chunk of a document is on the same page or the next."""
    if (chunk.page, chunk.label) == (following.page, following.label):
        return True
    if chunk.label or following.label or chunk.page is None or following.page is None:
        return False  # parts with names are different things
    return following.page == chunk.page + 1


def _excerpts(parts: Sequence[Chunk], catalog: CatalogReader) -> tuple[Excerpt, ...]:
    """What chunks that follow each other say, page by page."""
    found: list[Excerpt] = []
    for (page, label), group in groupby(parts, lambda chunk: (chunk.page, chunk.label)):
        found += _page_excerpts(list(group), page, label, catalog)
    return tuple(found)


def _page_excerpts(
    parts: list[Chunk], page: int | None, label: str, catalog: CatalogReader
) -> Iterable[Excerpt]:
    """One excerpt, or, if the page has gone meanwhile, one for each part."""
    whole = catalog.page_of(parts[0].id) if len(parts) > 1 else None
    if whole is None:
        return [Excerpt(page, label, part.start, part.end, part.text) for part in parts]
    start, end = min(part.start for part in parts), max(part.end for part in parts)
    return [Excerpt(page, label, start, end, whole.text[start:end])]


__all__ = ["MAX_PARTS", "Ranking", "filter_ranking", "group", "neighbours", "with_context"]
