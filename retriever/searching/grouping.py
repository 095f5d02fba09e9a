"""Passages → results: near-duplicates folded, neighbours joined, context added.

The ranking is read from the top:

- A near-duplicate of a passage above it (see `near_duplicates`) is listed by that result.
- A passage that follows or precedes a passage above it in the same document, on the same page or
  the next, is joined to that result.
- Every other passage begins a result.

The list ends where one result too many would begin. So it is always full, and does not depend on
how many passages were fetched. A result has the score, place and rank of its best passage.

The joined text is exactly the page's text from the first passage's start to the last one's end, so
an overlap of two passages occurs once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from retriever.searching.near_duplicates import FingerprintIndex, fingerprint
from retriever.storage.backends import CatalogReader
from retriever.types import Chunk, Excerpt, Hit

Ranking = Callable[[int], list[Hit]]
"""n → the n best passages, best first; fewer if there are no more."""

MAX_PARTS = 3
"""Largest number of passages joined into one result; more would be a chapter."""


def group(ranking: Ranking, count: int, catalog: CatalogReader) -> list[Hit]:
    """The first `count` results of a ranking; fewer only if there are no more passages."""
    grouping = _Grouping(catalog, count)
    read, asked = 0, 2 * count
    while True:
        hits = ranking(asked)
        if not all(map(grouping.add, hits[read:])) or len(hits) < asked:
            return [
                replace(result.hit(catalog), rank=rank)
                for rank, result in enumerate(grouping.results, 1)
            ]
        read, asked = asked, 2 * asked


def filter_ranking(
    ranking: Ranking,
    count: int,
    accepts: Callable[[Hit], bool],
    more_remain: Callable[[Sequence[Hit]], bool],
) -> list[Hit]:
    """The first `count` accepted results of a ranking; fewer only if there are no more.

    `more_remain` says whether results beyond those read so far can be accepted. So a ranking
    without any is not read to its end.
    """
    asked = count
    while True:
        hits = ranking(asked)
        found = [hit for hit in hits if accepts(hit)]
        if len(found) >= count or len(hits) < asked or not more_remain(hits):
            return [replace(hit, rank=rank) for rank, hit in enumerate(found[:count], 1)]
        asked *= 2


def with_context(hit: Hit, count: int, catalog: CatalogReader) -> Hit:
    """The hit with the text of up to `count` passages before and after it.

    Only contiguous text is added: passages of its own page, the next and the one before.
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
    """The passages before and after a chunk in its document, in order, without the chunk itself.

    Fewer at the document's ends; none if the chunk is not in the index any more.
    """
    order = catalog.chunk_ids(chunk.document_id)
    if chunk.id not in order:
        return []
    at = order.index(chunk.id)
    return catalog.get([*order[max(0, at - before) : at], *order[at + 1 : at + 1 + after]])


@dataclass(eq=False, slots=True)
class _Result:
    """A result under construction: its best hit, its parts, its near-duplicates."""

    best: Hit
    parts: dict[int, Chunk] = field(default_factory=dict)  # by position in the document
    also: list[Chunk] = field(default_factory=list)

    def hit(self, catalog: CatalogReader) -> Hit:
        """The finished result."""
        parts = tuple(self.parts[at] for at in sorted(self.parts))
        if len(parts) < 2:
            return replace(self.best, also=tuple(self.also))
        passage = _excerpts(parts, catalog)
        return replace(self.best, also=tuple(self.also), parts=parts, passage=passage)


class _Grouping:
    """The results so far. A document's chunk order is fetched when two of its passages occur."""

    def __init__(self, catalog: CatalogReader, count: int) -> None:
        self.results: list[_Result] = []
        self._catalog = catalog
        self._count = count
        self._fingerprints: FingerprintIndex[_Result] = FingerprintIndex()
        self._ids: set[str] = set()
        self._by_document: dict[str, list[_Result]] = {}
        self._orders: dict[str, dict[str, int]] = {}

    def add(self, hit: Hit) -> bool:
        """Add a passage to the results; False if it would begin one result too many."""
        chunk = hit.chunk
        if chunk.id in self._ids:  # the index changed between two reads
            return True
        known = fingerprint(chunk.text)
        if (original := self._fingerprints.owner(known)) is not None:
            original.also.append(chunk)
        else:
            owner = self._join(chunk) or self._begin(hit)
            if owner is None:
                return False
            self._fingerprints.add(known, owner)
        self._ids.add(chunk.id)
        return True

    def _begin(self, hit: Hit) -> _Result | None:
        if len(self.results) == self._count:
            return None
        result = _Result(hit)
        self.results.append(result)
        same = self._by_document.setdefault(hit.chunk.document_id, [])
        same.append(result)
        if len(same) == 1:
            result.parts[0] = hit.chunk  # its position is not needed yet
        else:
            result.parts[self._place(hit.chunk)] = hit.chunk
        return result

    def _join(self, chunk: Chunk) -> _Result | None:
        """Join the chunk to the best result that it adjoins; None if there is none."""
        same = self._by_document.get(chunk.document_id)
        if not same:
            return None
        if chunk.document_id not in self._orders:
            self._orders[chunk.document_id] = {
                id_: place for place, id_ in enumerate(self._catalog.chunk_ids(chunk.document_id))
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
        """Merge two results that a passage between them connects."""
        owner.parts |= other.parts
        owner.also += other.also
        self.results.remove(other)
        self._by_document[other.best.chunk.document_id].remove(other)
        self._fingerprints.reassign(other, owner)

    def _place(self, chunk: Chunk) -> int:
        """The chunk's position in its document; for a removed chunk, one far from all others."""
        order = self._orders[chunk.document_id]
        return order.get(chunk.id, -2 * (len(self._ids) + 1))


def _adjoins(result: _Result, here: int, chunk: Chunk) -> bool:
    """Whether the chunk directly follows or precedes one of the result's parts."""
    before, after = result.parts.get(here - 1), result.parts.get(here + 1)
    return (before is not None and _continues(before, chunk)) or (
        after is not None and _continues(chunk, after)
    )


def _continues(chunk: Chunk, following: Chunk) -> bool:
    """Whether `following`, the next chunk of the document, is on the same page or the next."""
    if (chunk.page, chunk.label) == (following.page, following.label):
        return True
    if chunk.label or following.label or chunk.page is None or following.page is None:
        return False  # parts with labels are separate
    return following.page == chunk.page + 1


def _excerpts(parts: Sequence[Chunk], catalog: CatalogReader) -> tuple[Excerpt, ...]:
    """The text of consecutive chunks, page by page."""
    found: list[Excerpt] = []
    for (page, label), group in groupby(parts, lambda chunk: (chunk.page, chunk.label)):
        found += _page_excerpts(list(group), page, label, catalog)
    return tuple(found)


def _page_excerpts(
    parts: list[Chunk], page: int | None, label: str, catalog: CatalogReader
) -> Iterable[Excerpt]:
    """One excerpt; if the page was removed meanwhile, one for each part."""
    whole = catalog.page_of(parts[0].id) if len(parts) > 1 else None
    if whole is None:
        return [Excerpt(page, label, part.start, part.end, part.text) for part in parts]
    start, end = min(part.start for part in parts), max(part.end for part in parts)
    return [Excerpt(page, label, start, end, whole.text[start:end])]


__all__ = ["MAX_PARTS", "Ranking", "filter_ranking", "group", "neighbours", "with_context"]
