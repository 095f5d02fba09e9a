"""LangChain metadata in an index: kept exactly, and laid out so that filters can compare it.

LangChain metadata is any dictionary. An index stores texts, numbers and truth values by name. So
metadata of these alone is stored as it is. Other metadata is also stored whole, as JSON in which
the types that JSON lacks are named, under the name `WHOLE`. For filters, beside plain values:

- the members of a list are stored as the names "list NUL member", each true;
- the values of a dictionary are stored under dotted names, "outer.inner";
- a date becomes a text in ISO 8601, and what is None is missing.
"""

from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

import numpy as np

from retriever.storage.comparing import comparable, number_of
from retriever.text.dates import read_date
from retriever.types import Scalar, UsageError

WHOLE = "$whole"
"""The name under which metadata is stored as JSON where plain values are not all of it."""

MEMBER = "\0"
"""Between a list's name and a member; a name with nothing after it says that the list is there."""

_TYPE = "$type"
_PLAIN = (str, int, float, bool)
_SEVERAL = (list, tuple, set, frozenset)

_CODECS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "tuple": (tuple, list, tuple),
    "set": (set, list, set),
    "frozenset": (frozenset, list, frozenset),
    "bytes": (bytes, lambda value: base64.b64encode(value).decode(), base64.b64decode),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "timedelta": (
        timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: timedelta(*parts),
    ),
    "decimal": (Decimal, str, Decimal),
    "uuid": (UUID, str, UUID),
    "path": (PurePath, str, Path),
}
"""The types that JSON lacks, by name: how one is written and read. A datetime is a date, too."""


def stored(metadata: Mapping[str, Any]) -> dict[str, Scalar]:
    """The metadata as an index stores it; `restored` is the inverse.

    Raises UsageError for a value of a type that would not come back.
    """
    try:
        found = dict(_fields(metadata, "", metadata))
        if all(_is_plain(name, value) for name, value in metadata.items()):
            return found
        return {**found, WHOLE: json.dumps(_written(metadata))}
    except RecursionError:
        raise UsageError("metadata must not be nested endlessly, or within itself") from None


def restored(values: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata that `stored` gave these values for, as a new dictionary."""
    whole = values.get(WHOLE)
    if whole is not None:
        found: dict[str, Any] = _read(json.loads(whole))
        return found
    return dict(values)


def member(name: str, value: Scalar) -> str:
    """The name that says that the list `name` has this member; equal numbers have one name."""
    if isinstance(value, bool):
        return f"{name}{MEMBER}{value}"
    number = number_of(value)
    if number is None:
        return f"{name}{MEMBER}text {unicodedata.normalize('NFC', str(value))}"
    if isinstance(number, int) or (isinstance(number, float) and number.is_integer()):
        number = comparable(int(number))  # 3 and 3.0 are equal
    return f"{name}{MEMBER}{number!r}"


def scalar(value: Any) -> Scalar | None:
    """The value as filters compare it; None for what is no single value."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, date):
        return read_date(value)
    if isinstance(value, Decimal):
        return float(value)
    return str(value) if isinstance(value, UUID | PurePath) else None


def _fields(
    metadata: Mapping[Any, Any], before: str, top: Mapping[str, Any]
) -> Iterator[tuple[str, Scalar]]:
    """What filters can compare, by name; an own name comes before a dotted one."""
    for key, value in metadata.items():
        name = f"{before}{key}"
        if not isinstance(key, str) or not _is_name(name) or (before and name in top):
            continue
        single = scalar(value)
        if single is not None:
            yield name, single
        elif isinstance(value, _SEVERAL):
            yield name + MEMBER, True
            members = filter(lambda each: each is not None, map(scalar, value))
            yield from ((member(name, each), True) for each in members if each is not None)
        elif isinstance(value, Mapping):
            yield name + MEMBER, True
            yield from _fields(value, f"{name}.", top)


def _is_plain(name: Any, value: Any) -> bool:
    """Whether an entry of the metadata is stored as it is."""
    return isinstance(name, str) and _is_name(name) and type(value) in _PLAIN


def _is_name(name: str) -> bool:
    """Whether a name of the metadata is stored under itself."""
    return bool(name) and name != WHOLE and MEMBER not in name


def _written(value: Any, name: str = "") -> Any:
    """The value as JSON; a dictionary with other keys than texts is a list of pairs."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, _PLAIN):
        return value
    if isinstance(value, list):
        return [_written(each, name) for each in value]
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and _TYPE not in value:
            return {key: _written(each, name or key) for key, each in value.items()}
        pairs = [[_written(key, name), _written(each, name)] for key, each in value.items()]
        return {_TYPE: "dict", "value": pairs}
    for kind, (type_, write, _) in _CODECS.items():
        if isinstance(value, type_):
            return {_TYPE: kind, "value": _written(write(value), name)}
    raise UsageError(
        f"metadata {name!r} holds a {type(value).__name__}, which cannot be stored; "
        "make it a text, a number, a date, a list or a dictionary"
    )


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(each) for each in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_TYPE)
    if kind is None:
        return {key: _read(each) for key, each in value.items()}
    if kind == "dict":
        return {_read(key): _read(each) for key, each in value["value"]}
    return _CODECS[kind][2](_read(value["value"]))


__all__ = ["MEMBER", "WHOLE", "member", "restored", "scalar", "stored"]
