"""Translation of filters to SQL conditions with placeholders.

Every predicate is 0 or 1, never NULL, so that `NOT` agrees with `Filter.matches`. Values and
metadata keys are always parameters, never part of the SQL text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from retriever.storage.catalog.schema import blob, operand, unblob
from retriever.storage.comparing import bare_format, number_of, period_of
from retriever.storage.filters import (
    EMPTY_IS_MISSING,
    METADATA,
    PART_OPERATORS,
    PASSAGE_FIELDS,
    And,
    Comparison,
    Filter,
    Kind,
    Not,
    Or,
    Words,
    kind_of,
    mentions_passages,
)
from retriever.text.globs import literal_beginning
from retriever.types import Scalar, UsageError

MAX_VALUES = 30_000
"""SQLite's usual limit of parameters is 32,766."""

_SYMBOLS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_ORDERS = ("gt", "gte", "lt", "lte")
HOLDS = "comparison_holds"
"""The name of the SQL function `holds`, for what SQL cannot compare: dates, and texts in NFC."""

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
    about_documents = tuple(part for part in parts if not mentions_passages(part))
    about_chunks = tuple(part for part in parts if mentions_passages(part))
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
    if comparison.field in PASSAGE_FIELDS and not chunks:
        return Condition("0" if comparison.op != "exists" or comparison.value else "1")
    value = _COLUMNS.get(comparison.field, f"d.{comparison.field}")
    if comparison.field in EMPTY_IS_MISSING:
        value = f"NULLIF({value}, x'')"
    if comparison.op == "exists":
        return Condition(f"({value} IS {'NOT ' if comparison.value else ''}NULL)")
    predicate = _column_predicate(comparison, value)
    return Condition(f"IFNULL({predicate.sql}, 0)", predicate.parameters)


def _column_predicate(comparison: Comparison, value: str) -> Condition:
    if comparison.op == "glob":
        return _glob(str(comparison.value), value)
    if comparison.field == "page":
        return _native(comparison, value, comparison.operands)
    by_function = (*_ORDERS, *PART_OPERATORS)
    if comparison.op in by_function or comparison.field == "date":
        return _by_function(comparison, value)
    if comparison.field == "format":
        return _formats(comparison, value)
    if all(str(text).isascii() for text in comparison.operands):
        return _native(comparison, value, comparison.operands)
    return _by_function(comparison, value)


def _glob(pattern: str, value: str) -> Condition:
    """The function for globs, asked only about values with the pattern's literal beginning."""
    beginning = literal_beginning(pattern).encode()
    if not beginning:
        return Condition(f"path_glob(?, {value})", (operand(pattern),))
    end = beginning[:-1] + bytes([beginning[-1] + 1])
    return Condition(
        f"({value} >= ? AND {value} < ? AND path_glob(?, {value}))",
        (beginning, end, operand(pattern)),
    )


def _formats(comparison: Comparison, value: str) -> Condition:
    """Documents of the formats, or with such an ending: LIKE ignores the case of ASCII letters."""
    parts = []
    for wanted in comparison.operands:
        name = bare_format(str(wanted))
        literal = "".join(f"!{c}" if c in "!%_" else c for c in name)
        sql, likes = _like(value), [literal]
        if name:
            sql, likes = f"({sql} OR {_like('d.path')})", [literal, f"%.{literal}"]
        parts.append(Condition(sql, tuple(operand(like) for like in likes)))
    any_format = _joined(parts, " OR ", "0")
    negation = "NOT " if comparison.op in ("ne", "nin") else ""
    return Condition(f"({negation}{any_format.sql})", any_format.parameters)


def _like(value: str) -> str:
    return f"CAST({value} AS TEXT) LIKE CAST(? AS TEXT) ESCAPE '!'"


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
        if (predicate := _predicate(comparison, kind)).sql != "0"
    ]
    any_kind = _joined(by_kind, " OR ", "0")
    return Condition(f"EXISTS ({row} AND {any_kind.sql})", (name, *any_kind.parameters))


def _predicate(comparison: Comparison, kind: Kind) -> Condition:
    """The comparison with a metadata value of this kind."""
    if comparison.op == "glob":
        pattern = operand(str(comparison.value))
        return Condition("path_glob(?, m.value)" if kind == "text" else "0", (pattern,))
    if comparison.op in PART_OPERATORS:
        return _by_function(comparison, "m.value") if kind == "text" else Condition("0")
    if kind == "truth":
        truths = [each for each in comparison.operands if kind_of(each) == "truth"]
        return _native(comparison, "m.value", truths)
    others = [each for each in comparison.operands if kind_of(each) != "truth"]
    if kind == "number":
        numbers = [number for each in others if (number := number_of(each)) is not None]
        if not any(number_of(each) is None and period_of(each) for each in others):
            return _native(comparison, "m.value", numbers)
    elif comparison.op not in _ORDERS and all(map(_is_plain, others)):
        return _native(comparison, "m.value", others)
    return _by_function(comparison, "m.value")


def _is_plain(wanted: Scalar) -> bool:
    """Whether a text equals itself alone: it is ASCII, and no date."""
    return isinstance(wanted, str) and wanted.isascii() and period_of(wanted) is None


def _native(comparison: Comparison, value: str, alike: Sequence[Scalar]) -> Condition:
    """The comparison with a value that the database itself compares with `alike`."""
    if not alike:
        everything = comparison.op == "nin" and not comparison.operands
        return Condition(f"({value} IS NOT NULL)" if everything else "0")
    parameters = tuple(map(operand, alike))
    if comparison.op not in ("in", "nin"):
        return Condition(f"({value} {_SYMBOLS[comparison.op]} ?)", parameters)
    word = "IN" if comparison.op == "in" else "NOT IN"
    return Condition(f"({value} {word} ({', '.join('?' * len(alike))}))", parameters)


def _by_function(comparison: Comparison, value: str) -> Condition:
    """The comparison by `Comparison.holds`."""
    return Condition(f"{HOLDS}(?, {value})", (json.dumps(comparison.to_json()),))


@lru_cache(maxsize=256)
def test_of(spec: str) -> Callable[[Scalar], bool]:
    """The test of a comparison, which is made once for all rows."""
    ((field, condition),) = json.loads(spec).items()
    ((op, value),) = condition.items()
    comparison = Comparison(field, op, tuple(value) if isinstance(value, list) else value)
    if field != "date" or op == "nin" or op in PART_OPERATORS:
        return comparison.holds
    wanted = [known for each in comparison.operands if (known := period_of(each))]
    single = "eq" if op == "in" else op

    def test(actual: Scalar) -> bool:
        known = period_of(actual)
        return known is not None and any(known.compares(single, each) for each in wanted)

    return test


@lru_cache(maxsize=32_768, typed=True)  # many documents have the same date
def holds(spec: str, value: bytes | float | None) -> bool:
    """The SQL function `HOLDS`: whether a comparison holds for a stored text or number."""
    if value is None:
        return False
    return test_of(spec)(unblob(value) if isinstance(value, bytes) else value)


__all__ = [
    "HOLDS",
    "MAX_VALUES",
    "Condition",
    "chunk_condition",
    "document_condition",
    "holds",
    "test_of",
]
