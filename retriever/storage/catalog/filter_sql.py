"""Translation of filters to SQL conditions with placeholders.

Every predicate is 0 or 1, never NULL, so that `NOT` agrees with `Filter.matches`. Values and
metadata keys are always parameters, never part of the SQL text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from retriever.storage.catalog.schema import blob, operand
from retriever.storage.filters import (
    EMPTY_IS_MISSING,
    METADATA,
    And,
    Comparison,
    Filter,
    Kind,
    Not,
    Or,
    Words,
    kind_of,
)
from retriever.types import Scalar, UsageError

MAX_VALUES = 30_000
"""SQLite's usual limit of parameters is 32,766."""

_SYMBOLS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_CHUNK_FIELDS = ("page", "chunk_id")
_COLUMNS = {"document_id": "d.id", "page": "c.page", "chunk_id": "c.id"}


@dataclass(frozen=True, slots=True)
class Condition:
    """An SQL expression of value 0 or 1, over the aliases d (documents) and c (chunks)."""

    sql: str
    parameters: tuple[Any, ...] = ()


def document_condition(where: Filter) -> Condition:
    """The filter as a condition on documents, which have no page and no chunk id."""
    return _limited(_compile(where, chunks=False))


def chunk_condition(where: Filter) -> Condition:
    """The filter as a condition on chunks `c`; parts about documents are evaluated per document."""
    parts = where.parts if isinstance(where, And) else (where,)
    about_documents = tuple(part for part in parts if not _mentions_chunks(part))
    about_chunks = tuple(part for part in parts if _mentions_chunks(part))
    conditions = []
    if about_documents:
        inner = _compile(And(about_documents), chunks=False)
        sql = f"c.document IN (SELECT d.key FROM documents d WHERE {inner.sql})"
        conditions.append(Condition(sql, inner.parameters))
    if about_chunks:
        conditions.append(_compile(And(about_chunks), chunks=True))
    return _limited(_joined(conditions, " AND ", "1"))


def _limited(condition: Condition) -> Condition:
    if len(condition.parameters) > MAX_VALUES:
        raise UsageError(
            f"the filter compares with {len(condition.parameters):,} values; "
            f"at most {MAX_VALUES:,} are possible"
        )
    return condition


def _mentions_chunks(where: Filter) -> bool:
    if isinstance(where, Comparison):
        return where.field in _CHUNK_FIELDS
    if isinstance(where, Not):
        return _mentions_chunks(where.part)
    if isinstance(where, Words):
        return True
    return isinstance(where, And | Or) and any(_mentions_chunks(part) for part in where.parts)


def _compile(where: Filter, *, chunks: bool) -> Condition:
    match where:
        case And(parts=parts):
            return _joined([_compile(part, chunks=chunks) for part in parts], " AND ", "1")
        case Or(parts=parts):
            return _joined([_compile(part, chunks=chunks) for part in parts], " OR ", "0")
        case Not(part=part):
            inner = _compile(part, chunks=chunks)
            return Condition(f"(NOT {inner.sql})", inner.parameters)
        case Words():
            return _containing(where) if chunks else Condition("0")
        case Comparison():
            return _metadata(where) if where.field.startswith(METADATA) else _column(where, chunks)
    raise UsageError(f"this index cannot search with a filter of type {type(where).__name__}")


def _joined(parts: list[Condition], word: str, empty: str) -> Condition:
    if not parts:
        return Condition(empty)
    parameters = tuple(value for part in parts for value in part.parameters)
    return Condition(f"({word.join(part.sql for part in parts)})", parameters)


def _containing(words: Words) -> Condition:
    """Chunks whose terms contain one of the sequences as an FTS5 phrase; terms have no quotes."""
    ways = [f'"{" ".join(form)}"' for form in words.forms]
    ways += [f'("{" ".join(form)}" AND "{joined}")' for form, joined in words.splits]
    phrases = " OR ".join(ways)
    rows = "SELECT f.rowid FROM fulltext f WHERE f.terms MATCH ?"
    return Condition(f"(c.key IN ({rows}))", (phrases,))


def _column(comparison: Comparison, chunks: bool) -> Condition:
    """A comparison with a built-in field, whose type is fixed."""
    if comparison.field in _CHUNK_FIELDS and not chunks:
        return Condition("0" if comparison.op != "exists" or comparison.value else "1")
    value = _COLUMNS.get(comparison.field, f"d.{comparison.field}")
    if comparison.field in EMPTY_IS_MISSING:
        value = f"NULLIF({value}, x'')"
    if comparison.op == "exists":
        return Condition(f"({value} IS {'NOT ' if comparison.value else ''}NULL)")
    kind: Kind = "number" if comparison.field == "page" else "text"
    predicate = _predicate(comparison, value, kind)
    return Condition(f"IFNULL({predicate.sql}, 0)", predicate.parameters)


def _metadata(comparison: Comparison) -> Condition:
    """A comparison with a metadata value, which is a row of its own, or no row if missing."""
    name = blob(comparison.field[len(METADATA) :])
    row = "SELECT 1 FROM metadata m WHERE m.document = d.key AND m.name = ?"
    if comparison.op == "exists":
        return Condition(f"({'' if comparison.value else 'NOT '}EXISTS ({row}))", (name,))
    kinds: tuple[Kind, ...] = ("text", "number", "truth")
    by_kind = [
        Condition(f"(m.kind = '{kind}' AND {predicate.sql})", predicate.parameters)
        for kind in kinds
        if (predicate := _predicate(comparison, "m.value", kind)).sql != "0"
    ]
    any_kind = _joined(by_kind, " OR ", "0")
    return Condition(f"EXISTS ({row} AND {any_kind.sql})", (name, *any_kind.parameters))


def _predicate(comparison: Comparison, value: str, kind: Kind) -> Condition:
    """The comparison with a value that exists and is of this kind."""
    alike = [operand for operand in comparison.operands if kind_of(operand) == kind]
    if comparison.op in ("in", "nin"):
        return _membership(comparison, value, alike)
    if not alike:
        return Condition("0")
    parameter = operand(alike[0])
    if comparison.op == "glob":
        return Condition(f"path_glob(?, {value})", (parameter,))
    return _dated(comparison, value, _SYMBOLS[comparison.op], alike[0])


def _membership(comparison: Comparison, value: str, alike: list[Scalar]) -> Condition:
    if not alike:
        everything = comparison.op == "nin" and not comparison.operands
        return Condition(f"({value} IS NOT NULL)" if everything else "0")
    if comparison.field == "date":
        any_date = _joined([_dated(comparison, value, "=", date) for date in alike], " OR ", "0")
        negation = "" if comparison.op == "in" else "NOT "
        return Condition(f"({negation}{any_date.sql})", any_date.parameters)
    places = ", ".join("?" * len(alike))
    word = "IN" if comparison.op == "in" else "NOT IN"
    return Condition(f"({value} {word} ({places}))", tuple(map(operand, alike)))


def _dated(comparison: Comparison, value: str, symbol: str, wanted: Scalar) -> Condition:
    parameter = operand(wanted)
    if comparison.field == "date" and isinstance(parameter, bytes):
        # Truncating UTF-8 at bytes gives the same result as at characters, because the first
        # difference, if there is one, lies within the bytes of `wanted`.
        return Condition(f"(substr({value}, 1, ?) {symbol} ?)", (len(parameter), parameter))
    return Condition(f"({value} {symbol} ?)", (parameter,))


__all__ = ["MAX_VALUES", "Condition", "chunk_condition", "document_condition"]
