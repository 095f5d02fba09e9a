"""Why a document is not among the results.

There are a few reasons: it is not in the index, it has no text, a filter excludes it, it is part of
another result, or other documents score higher. Each comes with a sentence. The last reason is the
usual one; then the document's best passage can be explained like any hit.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from retriever.storage.backends import CatalogReader
from retriever.storage.filters import Filter, chunk_fields, equals
from retriever.storage.records import UnreadFile
from retriever.text.folding import without_accents, without_case
from retriever.types import Chunk, DocumentRow, Hit, UsageError

MAX_RANK = 3_200
"""Largest number of passages that are ranked to find a document."""

Named = DocumentRow | UnreadFile

_MAX_NAMED = 5
"""Documents that are listed where several fit."""

Ranking = Callable[[int, Filter | None], list[Hit]]
"""(count, filter) → the best passages, ungrouped."""


class Outcome(StrEnum):
    """The outcome of a search for a document."""

    SHOWN = "shown"
    FOLDED = "folded"  # it is part of another result, or a near-duplicate
    BEATEN = "beaten"
    WEAK = "weak"  # nothing in it matches well enough
    WORDLESS = "wordless"  # keyword mode, and it has no word of the query
    WAITING = "waiting"  # none of its passages has a vector yet, or a word of the query
    FILTERED = "filtered"
    EMPTY = "empty"  # indexed, but without text
    UNREAD = "unread"  # the file could not be read, or was skipped
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class WhyNot:
    """The outcome for the document `path`, and a `sentence` that says it.

    `best` is the document's best passage as a hit, None if no passage can be found. Its `rank` is
    that among all passages, 0 below `MAX_RANK`. `above` are the results ranked higher.
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
    *,
    waiting: Callable[[Sequence[str]], Collection[str]] = lambda ids: (),
    by_words: bool = True,
) -> WhyNot:
    """The outcome for a document: `shown` are the results, `ranking` ranks all passages.

    `conditions` are the filters of the search, by display name. `least` is the required match (see
    `retriever.searching.match`). `path` may be the end of a path, such as a file's name, or any
    part of one. `waiting` gives those of these passages that have no vector yet, if meaning is
    searched for; `by_words`: words are. Raises UsageError if several documents fit equally well.
    """
    found = _find_by_path(path, [*catalog.documents(), *catalog.unread()])
    if not isinstance(found, DocumentRow):
        return _not_indexed(path, found)
    row = found
    chunks = catalog.chunks(row.id)
    if not chunks:
        return WhyNot(row.path, Outcome.EMPTY, _no_text_sentence(catalog, row))
    among = _among_results(row, shown)
    if among is not None:
        return among
    failing = _failing_conditions(row, chunks, conditions)
    if failing:
        return WhyNot(row.path, Outcome.FILTERED, f"left out by {', '.join(failing)}")
    below = _below_results(row, shown, ranking, conditions, least)
    without = len(waiting([chunk.id for chunk in chunks]))
    return _waiting(below, without, len(chunks), by_words=by_words) if without else below


def _find_by_path(path: str, rows: Sequence[Named]) -> Named | None:
    """The row whose path is, ends with, or contains this one; None for none.

    What fits better comes first. Case and, in the end, accents do not count.
    """
    wanted, bare = _folded(path).lstrip("/"), _bare(path)
    for fits in (
        lambda own: own == path,
        lambda own: f"/{_folded(own)}".endswith(f"/{wanted}"),
        lambda own: f"/{_bare(own)}".endswith(f"/{bare}"),
        lambda own: bool(bare) and bare in _bare(own),
    ):
        if found := _only([row for row in rows if fits(row.path)], path):
            return found
    return None


def _only(found: Sequence[Named], path: str) -> Named | None:
    """The only row, None for none. Raises UsageError for several documents."""
    by_path = {row.path: row for row in reversed(found)}  # the document, if a copy was not read
    if len(by_path) > 1:
        names = sorted(by_path)
        more = f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
        raise UsageError(
            f"{len(names):,} documents are called {path!r} or have it in their path: "
            f"{', '.join(names[:_MAX_NAMED])}{more}; name one of them"
        )
    return next(iter(by_path.values()), None)


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).lower()


def _bare(path: str) -> str:
    """A path without case and accents."""
    return without_accents(without_case(path)).strip("/")


def _not_indexed(path: str, unread: UnreadFile | None) -> WhyNot:
    if unread is None:
        sentence = "no document of this collection has this name, whole or in part"
        return WhyNot(path, Outcome.UNKNOWN, sentence)
    reason = f": {unread.reason}" if unread.reason else ""
    return WhyNot(unread.path, Outcome.UNREAD, f"not indexed, {unread.status.value}{reason}")


def _no_text_sentence(catalog: CatalogReader, row: DocumentRow) -> str:
    """Why a document has no passage: the states of its pages."""
    pages = catalog.page_statuses(row.id)
    states = Counter(page.state.value for page in pages)
    reasons = Counter(page.reason for page in pages if page.reason)
    counted = ", ".join(f"{count} {state}" for state, count in states.most_common())
    first = f" ({reasons.most_common(1)[0][0]})" if reasons else ""
    return f"no text that could be found; its pages: {counted or 'none'}{first}; see wva report"


def _failing_conditions(
    row: DocumentRow, chunks: Sequence[Chunk], conditions: Mapping[str, Filter]
) -> list[str]:
    """The conditions that no passage fulfils; all of them if none fulfils all together."""
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
    best = replace(best, rank=rank)
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


def _waiting(found: WhyNot, without: int, count: int, *, by_words: bool) -> WhyNot:
    """The outcome for a document with passages `without` a vector."""
    words = ", and no word of the query occurs in it" if by_words else ""
    if found.best is None:
        passages = "none of its passages has a vector yet" if count > 1 else "it has no vector yet"
        sentence = f"{passages}, so that its meaning cannot be compared{words}"
        return replace(found, outcome=Outcome.WAITING, sentence=sentence)
    which = "its passage has" if count == 1 else f"{without:,} of its {count:,} passages have"
    how = "is found by its words only" if count == 1 else "are found by their words only"
    how = how if by_words else "cannot be found by meaning"
    return replace(found, sentence=f"{found.sentence}; {which} no vector yet, and {how}")


def _rank(row: DocumentRow, ranking: Ranking, where: Filter | None) -> tuple[int, int]:
    """The rank of a document's best passage and the number of documents above it, or zeros."""
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
