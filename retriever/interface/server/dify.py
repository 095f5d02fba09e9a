"""Dify's external knowledge base: its API asks `/retrieval` for passages.

The knowledge base's id is the name of an index. The query is taken as it stands, without
operators. A record's score is the match, from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from retriever.interface.server.asked import Foreign
from retriever.interface.server.errors import RequestError, as_json
from retriever.interface.server.served import Served, ServedIndex
from retriever.searching.options import SearchOptions
from retriever.storage.filters import (
    And,
    Comparison,
    Filter,
    Not,
    Operator,
    Or,
    equals,
    glob,
    one_of,
)
from retriever.types import Hit

MAX_RECORDS = 200


class _Setting(Foreign):
    top_k: int = Field(default=4, ge=1, le=MAX_RECORDS)
    score_threshold: float | None = Field(default=None, ge=0, le=1)


class _Condition(BaseModel):
    name: str | list[str]
    comparison_operator: str
    value: Any = None


class _Conditions(Foreign):
    logical_operator: str = "and"
    conditions: list[_Condition] | None = None


class RetrievalRequest(Foreign):
    """What Dify asks."""

    knowledge_id: str = Field(default="", description="the name of an index")
    query: str = Field(max_length=20_000)
    retrieval_setting: _Setting = _Setting()
    metadata_condition: _Conditions | None = None


def dify_routes(served: Served) -> APIRouter:
    """The route of this shape."""
    router = APIRouter(tags=["Dify"])

    @router.post("/retrieval", summary="Passages for a knowledge base of Dify")
    async def retrieval(asked: RetrievalRequest) -> Response:
        setting = asked.retrieval_setting
        options = SearchOptions(
            k=setting.top_k,
            min_match=setting.score_threshold or None,
            where=as_filter(asked.metadata_condition),
            syntax=False,
        )
        if not asked.query.strip():
            return as_json({"records": []})

        def records(indexes: Mapping[str, ServedIndex]) -> Response:
            hits = [hit for index in indexes.values() for hit in _hits(index, asked.query, options)]
            return as_json({"records": [_record(hit) for hit in hits]})

        names = [asked.knowledge_id or next(iter(served.places), "")]
        return await served.with_query(names, asked.query, options, records)

    return router


def _hits(index: ServedIndex, query: str, options: SearchOptions) -> list[Hit]:
    return index.search(query, options=options)


def _record(hit: Hit) -> dict[str, Any]:
    values = hit.to_json()
    names = ("path", "page", "label", "document_id", "chunk_id", "start", "end", "sentence")
    return {
        "content": hit.text,
        # Without a scale of the match only the order is known.
        "score": 1 / (1 + hit.rank) if hit.match is None else hit.match,
        "title": hit.chunk.title or hit.chunk.path,
        "metadata": {**values["metadata"], **{name: values[name] for name in names}},
    }


def as_filter(given: _Conditions | None) -> Filter | None:
    """Dify's conditions as a filter; None for none. Raises RequestError for an unknown one."""
    if given is None or not given.conditions:
        return None
    parts = tuple(_any_field(one) for one in given.conditions)
    if given.logical_operator not in ("and", "or"):
        raise RequestError(
            f"logical_operator is and, or or; it is {given.logical_operator!r}",
            "metadata_condition",
        )
    return And(parts) if given.logical_operator == "and" else Or(parts)


def _any_field(condition: _Condition) -> Filter:
    """The condition on one of its fields."""
    names = [condition.name] if isinstance(condition.name, str) else condition.name
    operator = condition.comparison_operator.strip().lower()
    if operator not in _OPERATORS:
        raise RequestError(
            f"comparison_operator {operator!r} is unknown; there are {', '.join(_OPERATORS)}",
            "metadata_condition",
        )
    if operator in _ON_TEXTS and "page" in names:
        raise RequestError(f"page is a number: {operator!r} is for texts", "metadata_condition")
    parts = tuple(_OPERATORS[operator](name, condition.value) for name in names)
    return parts[0] if len(parts) == 1 else Or(parts)


def _compared(op: Operator) -> Callable[[str, Any], Filter]:
    return lambda name, value: Comparison(name, op, _value(value))


def _value(value: Any) -> Any:
    if value is None:
        raise RequestError("this comparison_operator needs a value", "metadata_condition")
    return value


def _dated(op: Operator) -> Callable[[str, Any], Filter]:
    """A comparison with a date; Dify writes one as seconds since 1970."""

    def compare(name: str, value: Any) -> Filter:
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 9999:
            value = _day(value)
        return Comparison(name, op, _value(value))

    return compare


def _day(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    except (OverflowError, OSError, ValueError):  # which one depends on the platform
        raise RequestError(
            f"a date is written 2024-03-07, or in seconds since 1970; {seconds} is neither",
            "metadata_condition",
        ) from None


def _several(value: Any) -> tuple[Any, ...]:
    """A list of values; Dify also writes one as a text with commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(_value(value)) if isinstance(value, list | tuple) else (_value(value),)


def contains(name: str, value: Any) -> Filter:
    """The field's text contains `value`."""
    return _behind_anything(f"{_literal(value)}**", name)


def ends_with(name: str, value: Any) -> Filter:
    """The field's text ends with `value`."""
    return _behind_anything(_literal(value), name)


def starts_with(name: str, value: Any) -> Filter:
    """The field's text begins with `value`."""
    text = _literal(value)
    if "/" in text:
        return glob(f"{text}**", name)
    has_slash = Or((glob("/**", name), glob("?**/**", name)))
    return Or((And((glob(f"{text}**", name), Not(has_slash))), glob(f"{text}**/**", name)))


def _behind_anything(pattern: str, name: str) -> Filter:
    """Any text, and then this pattern.

    A glob with a "/" is compared with the whole text, not only with its last part; and "**/" stands
    for whole folders, or for nothing.
    """
    if not pattern.startswith("/"):
        return glob(f"**/**{pattern}", name)
    return Or((glob(f"/**{pattern}", name), glob(f"?**{pattern}", name)))


def _literal(value: Any) -> str:
    """A pattern that is this text; as classes, so that it does not look like a file's ending."""
    text = str(_value(value))
    return "".join(f"[{c}]" if c in "*?[" or (c.isalnum() and c.isascii()) else c for c in text)


def is_empty(name: str, value: Any = None) -> Filter:
    """The field is missing, or an empty text."""
    return Or((Comparison(name, "exists", False), equals(name, "")))


_OPERATORS: Mapping[str, Callable[[str, Any], Filter]] = {
    "contains": contains,
    "not contains": lambda name, value: Not(contains(name, value)),
    "start with": starts_with,
    "end with": ends_with,
    "is": _compared("eq"),
    "is not": _compared("ne"),
    "in": lambda name, value: one_of(name, _several(value)),
    "not in": lambda name, value: Not(one_of(name, _several(value))),
    "empty": is_empty,
    "not empty": lambda name, value: Not(is_empty(name)),
    "null": is_empty,
    "not null": lambda name, value: Not(is_empty(name)),
    "=": _compared("eq"),
    "≠": _compared("ne"),
    "!=": _compared("ne"),
    ">": _compared("gt"),
    "<": _compared("lt"),
    "≥": _compared("gte"),
    "≤": _compared("lte"),
    ">=": _compared("gte"),
    "<=": _compared("lte"),
    "before": _dated("lt"),
    "after": _dated("gt"),
}
"""Dify's operators → the filter of a field and a value."""

_ON_TEXTS = ("contains", "not contains", "start with", "end with")

__all__ = ["as_filter", "contains", "dify_routes", "ends_with", "starts_with"]
