"""The fields that searches, explanations and answers have in common: a query and its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from retriever.interface.server.errors import RequestError
from retriever.interface.server.served import ServedIndex
from retriever.searching.options import Mode, SearchOptions

MAX_RESULTS = 1000
MAX_QUERY = 20_000  # characters


def _typed(schema: dict[str, Any]) -> Any:
    """A type whose values `SearchOptions` checks, with its own sentences."""
    return Annotated[Any, WithJsonSchema(schema)]


_OBJECT = {"type": "object", "additionalProperties": True}
_SCHEMAS: Mapping[str, dict[str, Any]] = {
    "bool": {"type": "boolean"},
    "bool | None": {"type": ["boolean", "null"]},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "float | None": {"type": ["number", "null"]},
    "str": {"type": "string", "enum": [*map(str, Mode)]},
    "Steering | None": {**_OBJECT, "type": ["object", "null"]},
    "Filter | Mapping[str, Any] | None": {**_OBJECT, "type": ["object", "null"]},
}
"""The JSON of the fields of `SearchOptions`, by their annotation."""

_DEFAULTS = SearchOptions().to_json()
_NAMES = {each.name for each in fields(SearchOptions)}


class Foreign(BaseModel):
    """A request in another program's shape: null stands for what is left out.

    Many clients send all their fields, and null for those that nobody has set.
    """

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {name: value for name, value in given.items() if value is not None}


class Asked(BaseModel):
    """A query, and the names of the indexes to search: all by default."""

    model_config = ConfigDict(extra="allow")

    query: str = Field(max_length=MAX_QUERY, description="any text; see the query syntax")
    index: str | list[str] = Field(default=[], description="names of indexes; all by default")

    @property
    def names(self) -> list[str]:
        """The names of the indexes."""
        return [self.index] if isinstance(self.index, str) else self.index

    def options(self) -> SearchOptions:
        """The options of the search. Raises UsageError for unknown and impossible ones."""
        given = {name: getattr(self, name) for name in self.model_fields_set & _NAMES}
        given |= self.model_extra or {}  # which are unknown, and refused by their names
        options = SearchOptions.from_json(given)
        if options.k > MAX_RESULTS:
            raise RequestError(f"k is at most {MAX_RESULTS} here; it is {options.k}", "k")
        if not self.query.strip():
            raise RequestError("the query is empty; give some words to search for", "query")
        return options


OPTIONS: dict[str, Any] = {
    each.name: (_typed(_SCHEMAS[str(each.type)]), _DEFAULTS[each.name])
    for each in fields(SearchOptions)
}
"""The fields of `SearchOptions`, as `pydantic.create_model` takes them."""


def one_index(indexes: Mapping[str, ServedIndex], what: str) -> tuple[str, ServedIndex]:
    """The only index, with its name. Raises RequestError for several, for which `what` is none."""
    if len(indexes) > 1:
        raise RequestError(
            f"{what} is of one index: give index, one of {', '.join(indexes)}", "index"
        )
    ((name, index),) = indexes.items()
    return name, index


__all__ = ["MAX_QUERY", "OPTIONS", "Asked", "Foreign", "one_index"]
