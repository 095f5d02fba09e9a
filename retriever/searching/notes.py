"""Sentences about a search that its results do not show: what was excluded, what a filter left.

They tell a filter that fits nothing from a question that nothing answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from retriever.searching.query_syntax import Query
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
from retriever.types import DocumentRow, Hit

_MOST_EXCLUDED = 1_000


def search_notes(
    snapshot: Snapshot, query: Query, given: Filter | None, hits: Sequence[Hit]
) -> list[str]:
    """The notes on a search by `query` with the caller's filter `given`, which found `hits`."""
    notes = [*query.notes, *_excluded(snapshot, query, given)]
    where = query.within(given)
    if where is None:
        return notes
    rows = snapshot.catalog.documents()
    notes += _unknown_fields(rows, where)
    if not hits and rows:
        notes += _nothing_left(snapshot, rows, given, where)
    return notes


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
    snapshot: Snapshot, rows: Sequence[DocumentRow], given: Filter | None, where: Filter
) -> Iterator[str]:
    """Whether the filter leaves no passage, and the conditions that no document fulfils."""
    catalog = snapshot.catalog
    if _leaves_some(catalog, where):
        return
    count = snapshot.passages.count()
    yield f"the filter leaves none of {count:,} passage{'s' * (count != 1)}"
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
