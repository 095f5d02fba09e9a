"""Why a document is not among the results, and why one passage stands above another.

A document can be missing for one of a few reasons, each told with what to do about it: it is not in
the index, it has no text, a filter leaves it out, it is shown as part of another result, or others
are better. The last is the usual one, and then its best passage can be explained like any hit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from retriever.storage.backends import CatalogReader
from retriever.storage.filters import Filter, chunk_fields, equals
from retriever.storage.records import UnreadFile
from retriever.types import Chunk, DocumentRow, Hit, UsageError

MAX_RANK = 3_200
"""So many passages are ranked at most to find a document among them."""

Named = TypeVar("Named", DocumentRow, UnreadFile)

Ranking = Callable[[int, Filter | None], list[Hit]]
"""How many, under which filter → the best passages, each by itself."""


class Outcome(StrEnum):
    """What became of a document in a search."""

    SHOWN = "shown"
    FOLDED = "folded"  # it is part of another result, or says the same
    BEATEN = "beaten"
    WEAK = "weak"  # nothing in it matches well enough
    WORDLESS = "wordless"  # no word of the query is in it, and only words were asked for
    FILTERED = "filtered"
    EMPTY = "empty"  # known, but without text that could be found
    UNREAD = "unread"  # the file could not be read, or was left out
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class WhyNot:
    """What became of the document `path`, in one `sentence`.

    `best` is its best passage as a hit, None where it has none to be found; its `rank` is that
    among all passages, 0 if it is beyond `MAX_RANK`. `above` are the results shown instead.
    """

    path: str
    outcome: Outcome
    sentence: str
    best: Hit | None = None
    above: tuple[Hit, ...] = ()

    @property
    def fate(self) -> Outcome:
        """The former name of `outcome`, deprecated."""
        return self.outcome

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        best = self.best
        return {
            "path": self.path,
            "fate": self.outcome.value,
            "sentence": self.sentence,
            "rank": best.rank if best else None,
            "score": best.score if best else None,
            "chunk_id": best.chunk.id if best else None,
            "above": [
                {"rank": hit.rank, "score": hit.score, "path": hit.chunk.path, "id": hit.chunk.id}
                for hit in self.above
            ],
        }


def why_not(
    catalog: CatalogReader,
    path: str,
    shown: Sequence[Hit],
    ranking: Ranking,
    conditions: Mapping[str, Filter],
    least: float | None = None,
) -> WhyNot:
    """Find a document and tell its fate: `shown` are the results, `ranking` gives all passages.

    `conditions` are the filters of the search, by what people call them; `least` is the match that
    results must have (see `background`). `path` may be a file's name alone. Raises UsageError where
    several documents have it.
    """
    row = _find_by_path(path, catalog.documents())
    if row is None:
        return _not_indexed(path, _find_by_path(path, catalog.unread()))
    chunks = catalog.chunks(row.id)
    if not chunks:
        return WhyNot(row.path, Outcome.EMPTY, _no_text_sentence(catalog, row))
    failing = _failing_conditions(row, chunks, conditions)
    if failing:
        return WhyNot(row.path, Outcome.FILTERED, f"left out by {', '.join(failing)}")
    among = _among_results(row, shown)
    if among is not None:
        return among
    return _below_results(row, shown, ranking, conditions, least)


def _find_by_path(path: str, rows: Sequence[Named]) -> Named | None:
    """The one of this path, or else of this name."""
    exact = [row for row in rows if row.path == path]
    wanted = "/" + path.lower().lstrip("/")
    found = exact or [row for row in rows if f"/{row.path.lower()}".endswith(wanted)]
    if len(found) > 1:
        names = ", ".join(row.path for row in found[:5])
        raise UsageError(f"{len(found)} documents are called {path!r}: {names}; name one of them")
    return found[0] if found else None


def _not_indexed(path: str, unread: UnreadFile | None) -> WhyNot:
    if unread is None:
        sentence = "not in this index: it was never indexed, or is deleted; wva index adds files"
        return WhyNot(path, Outcome.UNKNOWN, sentence)
    said = f": {unread.reason}" if unread.reason else ""
    return WhyNot(unread.path, Outcome.UNREAD, f"not indexed, {unread.status.value}{said}")


def _no_text_sentence(catalog: CatalogReader, row: DocumentRow) -> str:
    """Why a document has no passage: what its pages are."""
    pages = catalog.account(row.id)
    states = Counter(page.state.value for page in pages)
    reasons = Counter(page.reason for page in pages if page.reason)
    told = ", ".join(f"{count} {state}" for state, count in states.most_common())
    first = f" ({reasons.most_common(1)[0][0]})" if reasons else ""
    return f"no text that could be found; its pages: {told or 'none'}{first}; see wva report"


def _failing_conditions(
    row: DocumentRow, chunks: Sequence[Chunk], conditions: Mapping[str, Filter]
) -> list[str]:
    """The names of the conditions that no passage fulfils; all, if none fulfils them together."""
    fields = [chunk_fields(row, chunk) for chunk in chunks]
    if any(all(one.matches(each) for one in conditions.values()) for each in fields):
        return []
    alone = [name for name, one in conditions.items() if not any(map(one.matches, fields))]
    return alone or list(conditions)


def _among_results(row: DocumentRow, shown: Sequence[Hit]) -> WhyNot | None:
    for hit in shown:
        if hit.chunk.document_id == row.id:
            sentence = f"it is there: result {hit.rank}"
            return WhyNot(row.path, Outcome.SHOWN, sentence, hit, tuple(shown[: hit.rank - 1]))
    for hit in shown:
        if any(chunk.document_id == row.id for chunk in hit.also):
            sentence = (
                f"it says the same as result {hit.rank}, {hit.chunk.path}, and is named there"
            )
            return WhyNot(row.path, Outcome.FOLDED, sentence, None, tuple(shown))
    return None


def _below_results(
    row: DocumentRow,
    shown: Sequence[Hit],
    ranking: Ranking,
    conditions: Mapping[str, Filter],
    least: float | None,
) -> WhyNot:
    where: Filter | None = None
    for one in conditions.values():
        where = one if where is None else where & one
    own = equals("document_id", row.id)
    best = next(iter(ranking(1, own if where is None else where & own)), None)
    if best is None:
        return WhyNot(row.path, Outcome.WORDLESS, "no word of the query occurs in it")
    rank, documents = _rank(row, ranking, where)
    best = Hit(rank, best.score, best.chunk, best.dense, best.keyword, match=best.match)
    place = f"rank {rank:,} of all passages" if rank else f"below rank {MAX_RANK:,}"
    scored = f"its best passage has {place}, with score {best.score:.3f}"
    if least is not None and (best.match or 0.0) < least:
        sentence = f"it does not match well enough: {best.match or 0:.2f}, and {least:.2f} is asked"
        return WhyNot(row.path, Outcome.WEAK, sentence, best, tuple(shown))
    others = (
        f"; {documents:,} other document{'s' * (documents != 1)} come before it" if rank else ""
    )
    last = f"; the last result shown has {shown[-1].score:.3f}" if shown else ""
    return WhyNot(row.path, Outcome.BEATEN, scored + others + last, best, tuple(shown))


def _rank(row: DocumentRow, ranking: Ranking, where: Filter | None) -> tuple[int, int]:
    """The rank of a document's best passage, and the documents before it; zeros if too deep."""
    depth = 50
    while True:
        hits = ranking(depth, where)
        before: set[str] = set()
        for hit in hits:
            if hit.chunk.document_id == row.id:
                return hit.rank, len(before)
            before.add(hit.chunk.document_id)
        if depth >= MAX_RANK or len(hits) < depth:
            return 0, 0
        depth *= 4


__all__ = ["MAX_RANK", "Outcome", "WhyNot", "why_not"]
