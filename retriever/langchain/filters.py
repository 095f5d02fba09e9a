"""Filters as LangChain users write them, translated to those of the index.

    {"year": {"$gte": 2023}, "$or": [{"team": "tax"}, {"tags": {"$in": ["a", "b"]}}]}

Names are those of the metadata, whatever they are: "source" and "page" mean the document's own, not
the fields of an index. The rules:

- A comparison is false where the metadata lacks the name, also `$ne`, `$nin` and `$not_contains`;
  `$not` inverts. None is missing.
- A list equals a value, or is in a list of values, if one of its members is.
- `$contains` is a member of a list, or a part of a text.
- Values of different types are never equal, but a number may be written as a text: see
  `retriever.storage.comparing`.

Filters hold before the search, so that `k` results are `k` results.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from langchain_core.structured_query import (
    Comparator,
    Comparison,
    FilterDirective,
    Operation,
    Operator,
    StructuredQuery,
    Visitor,
)

from retriever.langchain.metadata import MEMBER, member, scalar
from retriever.storage import filters
from retriever.storage.filters import METADATA, And, Filter, Not, Or, Words
from retriever.types import UsageError

OPERATORS = (
    *("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$between", "$exists"),
    *("$contains", "$not_contains", "$like", "$glob", "$not"),
)
"""The operators on one name; `$and`, `$or`, `$nor`, `$not` and `$text` stand beside names."""

_NEGATED = {"$ne": "$eq", "$nin": "$in", "$not_contains": "$contains"}
_DEEPEST = 50


def as_filter(spec: object) -> Filter | None:
    """The filter of the index for a filter of LangChain; None for none.

    `spec` is a dictionary, a structured query or its filter, a `Filter` of the index itself, or
    None. Raises UsageError for anything else.
    """
    if spec is None or isinstance(spec, Filter):
        return spec
    if isinstance(spec, StructuredQuery):
        return as_filter(spec.filter)
    if isinstance(spec, FilterDirective):
        return cast(Filter, spec.accept(FilterTranslator()))
    if callable(spec):
        raise UsageError(
            'a filter is a dictionary, such as {"year": {"$gte": 2023}}: a function could only '
            "be asked after the search, when too few results may be left"
        )
    return _parsed(spec, 0) if spec else None


class FilterTranslator(Visitor):
    """Translates LangChain's structured queries, for a self-query retriever over our store.

    `visit_structured_query` gives the query's text, and the keyword arguments of the search.
    """

    allowed_comparators = tuple(Comparator)
    allowed_operators = tuple(Operator)

    def visit_operation(self, operation: Operation) -> Filter:
        """The filter of a conjunction, disjunction or negation."""
        parts = tuple(cast(Filter, part.accept(self)) for part in operation.arguments)
        if operation.operator == Operator.NOT:
            return Not(And(parts))
        return And(parts) if operation.operator == Operator.AND else Or(parts)

    def visit_comparison(self, comparison: Comparison) -> Filter:
        """The filter of a comparison."""
        name = comparison.comparator.value
        name = "$contains" if comparison.comparator == Comparator.CONTAIN else f"${name}"
        value = comparison.value
        if isinstance(value, Mapping) and "date" in value:  # {"date": "2024-03-07", "type": "date"}
            value = value["date"]
        return _compared(comparison.attribute, name, value, 0)

    def visit_structured_query(
        self, structured_query: StructuredQuery
    ) -> tuple[str, dict[str, Any]]:
        """The text to search for, and `filter` if there is one."""
        where = as_filter(structured_query.filter)
        return structured_query.query, {} if where is None else {"filter": where}


def _parsed(spec: object, depth: int) -> Filter:
    if isinstance(spec, Filter):
        return spec
    if not isinstance(spec, Mapping):
        raise UsageError(f'a filter is a dictionary, such as {{"year": 2023}}; it is {spec!r:.80}')
    if depth > _DEEPEST:
        raise UsageError(f"the filter is nested deeper than {_DEEPEST} levels; write it flatter")
    return _all([_entry(name, value, depth + 1) for name, value in spec.items()])


def _entry(name: object, value: object, depth: int) -> Filter:
    if not isinstance(name, str):
        raise UsageError(f"a filter names metadata by a text; this is none: {name!r}")
    if name.startswith("$"):
        return _joined(name, value, depth)
    if isinstance(value, Mapping):
        if not value:
            raise UsageError(f"the filter on {name!r} is empty; use one of {', '.join(OPERATORS)}")
        if depth > _DEEPEST:
            raise UsageError(f"the filter is nested deeper than {_DEEPEST} levels")
        return _all([_compared(name, _sign(op), one, depth) for op, one in value.items()])
    several = isinstance(value, list | tuple | set | frozenset)
    return _compared(name, "$in" if several else "$eq", value, depth)


def _sign(operator: object) -> str:
    """An operator's name; that of the index's own filters has no sign."""
    name = str(operator)
    return name if name.startswith("$") else f"${name}"


def _joined(name: str, value: object, depth: int) -> Filter:
    if name == "$not":
        return Not(_parsed(value, depth))
    if name == "$text":
        return Words(cast(str, value))
    if name not in ("$and", "$or", "$nor"):
        raise UsageError(
            f"{name!r} does not combine filters; use $and, $or, $nor, $not or $text, or put it "
            'below a name: {"year": {"$gte": 2023}}'
        )
    if not isinstance(value, list | tuple) or not value:
        raise UsageError(f"{name} needs a list with at least one filter")
    parts = tuple(_parsed(part, depth) for part in value)
    return And(parts) if name == "$and" else Or(parts) if name == "$or" else Not(Or(parts))


def _compared(name: str, op: str, value: Any, depth: int) -> Filter:
    """The comparison of one name of the metadata."""
    if not name:
        raise UsageError("a filter names metadata by a text that is not empty")
    if op not in OPERATORS:
        raise UsageError(
            f"the filter on {name!r} uses {op!r}, which is not an operator; "
            f"there are {', '.join(OPERATORS)}"
        )
    if op == "$not":
        return Not(_entry(name, value, depth + 1))
    if op in _NEGATED:
        inner = _compared(name, _NEGATED[op], value, depth)
        # Both say that it is missing where None is compared with.
        return Not(inner) if value is None else And((_exists(name), Not(inner)))
    if op == "$between":
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise UsageError(f"the filter on {name!r}: $between needs a list of two values")
        return And((_plain(name, "gte", value[0]), _plain(name, "lte", value[1])))
    if op == "$exists":
        if not isinstance(value, bool):
            raise UsageError(f"the filter on {name!r}: $exists is either true or false")
        return _exists(name) if value else Not(_exists(name))
    if op in ("$eq", "$in"):
        return _equal(name, op, value)
    return _contains(name, value) if op == "$contains" else _plain(name, op[1:], value)


def _equal(name: str, op: str, value: Any) -> Filter:
    """The value, or one of the values, or a list with one of them as a member."""
    if op == "$in" and not isinstance(value, list | tuple | set | frozenset):
        raise UsageError(f"the filter on {name!r}: $in needs a list of values")
    wanted = list(value) if op == "$in" else [value]
    parts: list[Filter] = [] if None not in wanted else [Not(_exists(name))]
    values = [one for one in wanted if one is not None]
    if op == "$eq" and values:
        parts.append(_plain(name, "eq", values[0]))
    elif values:
        parts.append(_plain(name, "in", tuple(values)))
    return Or((*parts, *(_has(name, one) for one in values)))


def _contains(name: str, value: Any) -> Filter:
    parts = (_has(name, value),)
    return Or((*parts, _plain(name, "contains", value)) if isinstance(value, str) else parts)


def _has(name: str, value: Any) -> Filter:
    """Whether a list has this member."""
    single = scalar(value)
    if single is None:
        raise UsageError(
            f"the filter on {name!r} cannot compare with {value!r:.80}; use a text, a number, "
            "a date, true or false"
        )
    return filters.Comparison(METADATA + member(name, single), "exists", True)


def _exists(name: str) -> Filter:
    """Whether there is a value, a list or a dictionary of this name."""
    return Or(
        tuple(filters.Comparison(METADATA + one, "exists", True) for one in (name, name + MEMBER))
    )


def _plain(name: str, op: str, value: Any) -> Filter:
    """A comparison with a single value."""
    several = isinstance(value, tuple)
    compared = tuple(map(_value, value)) if several else _value(value)
    return filters.Comparison(METADATA + name, cast(filters.Operator, op), compared)


def _value(value: Any) -> Any:
    """What the index compares with; it refuses what it cannot compare, in words."""
    single = scalar(value)
    return value if single is None else single


def _all(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


__all__ = ["OPERATORS", "FilterTranslator", "as_filter"]
