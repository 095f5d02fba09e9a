"""Sentences about a search that its results do not show: what was excluded, what a filter hides.

They tell a filter that fits nothing from a question that nothing answers. A filter is what the
caller gives, or the conditions of the query itself; the sentences say which.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from retriever.arrays import Vectors
from retriever.searching.hybrid import search
from retriever.searching.match import MatchScale, bm25_unit, with_match
from retriever.searching.options import Mode, SearchOptions
from retriever.searching.query_syntax import Query
from retriever.searching.strength import strength_of
from retriever.storage.backends import CatalogReader, Snapshot
from retriever.storage.filters import (
    FIELDS,
    METADATA,
    And,
    Comparison,
    Filter,
    Not,
    Or,
    Words,
    chunk_fields,
    document_part,
    mentions_passages,
)
from retriever.types import DocumentRow, Hit, Strength

MOST_BETTER = 100
"""Better passages outside of a filter are counted up to this number."""

_MOST_EXCLUDED = 1_000


def search_notes(
    snapshot: Snapshot,
    query: Query,
    options: SearchOptions,
    hits: Sequence[Hit],
    *,
    embed: Callable[[str], Vectors] | None = None,
    scale: MatchScale | None = None,
) -> list[str]:
    """The notes on a search by `query` with these options, which found `hits`.

    Whether a filter hides better passages needs the query's raw vector, `embed`, and the match
    `scale`. Without them that is not said, and it is not in keyword mode without the scale.
    """
    notes = [*query.notes, *snapshot.catalog.damage(), *_coverage(snapshot, options)]
    given = options.filter
    excluded = list(_excluded(snapshot, query, given))
    notes += excluded
    where = query.within(given)
    if where is None:
        return notes
    rows = snapshot.catalog.documents()
    notes += _unknown_fields(rows, where)
    if not rows:
        return notes
    if not hits and not _leaves_some(snapshot.catalog, where):
        return [*notes, *_nothing_left(snapshot, rows, query, given)]
    if not excluded:
        notes += _hidden(snapshot, query, options, hits, embed, scale)
    return notes


def _coverage(snapshot: Snapshot, options: SearchOptions) -> Iterator[str]:
    """How many passages the dense side knows, if not all."""
    if options.mode == Mode.KEYWORD or not snapshot.some_pending:
        return
    passages = snapshot.passages
    share = int(100 * passages.count_vectors() / passages.count())
    yield f"Meaning covers {share} % of the passages so far; the others are found by their words"


def _hidden(
    snapshot: Snapshot,
    query: Query,
    options: SearchOptions,
    hits: Sequence[Hit],
    embed: Callable[[str], Vectors] | None,
    scale: MatchScale | None,
) -> Iterator[str]:
    """How many better passages the filter hides, if the best it leaves is weak beside them.

    A score does not depend on the filter, so passages with a larger score are counted, those that
    match clearly better.
    """
    steered = options.steering is not None and not options.steering.changes_nothing
    if options.rerank or steered or not query.text or (not hits and options.min_match is not None):
        return
    best = hits[0] if hits else None
    if best is not None and (best.match is None or _is_good(best)):
        return
    if options.mode != Mode.KEYWORD and embed is None:
        return
    found = search(
        *(snapshot, query.text, embed or _no_vector),
        k=MOST_BETTER + 1,
        mode=options.mode,
        tolerant=options.tolerant,
        feedback=options.feedback,
    )
    better = [hit for hit in found if best is None or hit.score > best.score]
    if best is not None:
        known = with_match(better, scale, bm25_unit(snapshot, query.text))
        better = [hit for hit in known if _is_clearly_better(hit, best)]
    if not better:
        return
    many = f"more than {MOST_BETTER}" if len(better) > MOST_BETTER else f"{len(better)}"
    passages = "passage" + "s" * (len(better) != 1)
    what = f"better {passages}" if best is not None else passages
    yield f"{many} {what} without {_filter_name(query, options.filter)}"


def _no_vector(_: str) -> Vectors:
    raise AssertionError("keyword search asks for no vector")


def _is_good(hit: Hit) -> bool:
    return hit.strength in (Strength.EXACT, Strength.STRONG)


def _is_clearly_better(hit: Hit, best: Hit) -> bool:
    """Whether a passage is strong, or likely where the best one left is weak."""
    found = strength_of(hit.match)
    return found is Strength.STRONG or (found is Strength.LIKELY and best.strength is Strength.WEAK)


def _filter_name(query: Query, given: Filter | None) -> str:
    """The filter in words: the caller's, the query's conditions, or both."""
    named = [] if given is None else ["the filter"]
    return " and ".join([*named, *query.conditions()])


def _excluded(snapshot: Snapshot, query: Query, given: Filter | None) -> Iterator[str]:
    """Whether an excluded word took away the passage that would be first."""
    if not query.excluded or not isinstance(query.where, And):
        return
    parts = query.where.parts
    without = [part for part in parts if isinstance(part, Not) and isinstance(part.part, Words)]
    others = And(tuple(part for part in parts if part not in without))
    rest = others if given is None else given & others
    first = snapshot.keyword(query.text, 1, rest).ids
    lost = snapshot.keyword(query.text, _MOST_EXCLUDED, rest & ~And(tuple(without))).ids
    if first and first[0] in lost:
        (chunk,) = snapshot.catalog.get(first)
        words = ", ".join(f'"{word}"' for word in query.excluded)
        more = f"{len(lost):,} more passage{'s' * (len(lost) != 1)}"
        were = "was" if len(query.excluded) == 1 else "were"
        yield f"{words} {were} excluded: otherwise {more}, first {chunk.path}"


def _unknown_fields(rows: Sequence[DocumentRow], where: Filter) -> Iterator[str]:
    """The metadata fields in the filter that no document has."""
    named = {_key(each) for each in _comparisons(where) if _is_own(each)}
    known = {name for row in rows for name in row.metadata} if named else set()
    for name in sorted(named - known):
        meant = [field for field in (*FIELDS, *sorted(known)) if field.lower() == name.lower()]
        yield f"no document has the field {name!r}" + (f"; there is {meant[0]!r}" if meant else "")


def _is_own(comparison: Comparison) -> bool:
    return comparison.field.startswith(METADATA) and comparison.op != "exists"


def _key(comparison: Comparison) -> str:
    return comparison.field.removeprefix(METADATA)


def _comparisons(where: Filter) -> Iterator[Comparison]:
    if isinstance(where, Comparison):
        yield where
    elif isinstance(where, Not):
        yield from _comparisons(where.part)
    elif isinstance(where, And | Or):
        for part in where.parts:
            yield from _comparisons(part)


def _nothing_left(
    snapshot: Snapshot, rows: Sequence[DocumentRow], query: Query, given: Filter | None
) -> Iterator[str]:
    """That the filter leaves no passage, and the conditions that no document fulfils."""
    catalog = snapshot.catalog
    count = snapshot.passages.count()
    leave = "leave" if len(query.conditions()) + (given is not None) > 1 else "leaves"
    name = _filter_name(query, given)
    yield f"{name} {leave} none of {count:,} passage{'s' * (count != 1)}"
    known = {name for row in rows for name in row.metadata}
    for part in _conjuncts(given):
        unknown = [each for each in _comparisons(part) if _is_own(each) and _key(each) not in known]
        if not unknown and not mentions_passages(part) and not catalog.documents(part):
            yield f"no document fulfils {json.dumps(part.to_json(), ensure_ascii=False)}"


def _leaves_some(catalog: CatalogReader, where: Filter) -> bool:
    about_passages = mentions_passages(where)
    for row in catalog.documents(document_part(where)):
        chunks = catalog.chunks(row.id)
        if any(not about_passages or where.matches(chunk_fields(row, c)) for c in chunks):
            return True
    return False


def _conjuncts(where: Filter | None) -> Iterator[Filter]:
    if isinstance(where, And):
        for part in where.parts:
            yield from _conjuncts(part)
    elif where is not None:
        yield where


__all__ = ["search_notes"]
