"""How a value of a document compares with the value of a filter.

- **Dates** compare as periods (see `retriever.text.dates`), never as texts.
- **Numbers** compare as numbers, also where one of the two is written as a text: "10" > 9.
- **Texts** compare by code points in the Unicode form NFC.
- A **format** is also meant by the file's ending: "markdown", "md", ".MD".
- Values of different types are **not alike**: no comparison holds between them, not even `ne`.

`document.date` is a date, `page` a number, the other built-in fields are texts. A metadata value
has the type that it is stored with; its text may be a date or a number.
"""

from __future__ import annotations

import math
import operator
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

from retriever.text.dates import Period, period
from retriever.types import Scalar

Kind = Literal["text", "number", "truth"]

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,300})(?:\.\d{1,300})?", re.ASCII)


def kind_of(value: object) -> Kind | None:
    """The type of a value in comparisons; None for values without one (None, NaN, a list)."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return None if isinstance(value, float) and math.isnan(value) else "number"
    return "text" if isinstance(value, str) else None


def comparable(value: Scalar) -> Scalar:
    """The value as all backends can compare it: integers beyond 64 bits become floats.

    >>> comparable(3), comparable(2**70), comparable(-(10**400))
    (3, 1.1805916207174113e+21, -inf)
    """
    if isinstance(value, bool) or not isinstance(value, int) or -(2**63) <= value < 2**63:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def number_of(value: Scalar) -> Scalar | None:
    """The number that a value is, or that a text spells without leading zeros; None for none.

    >>> number_of("2024"), number_of("-1.5"), number_of("007"), number_of("1e3")
    (2024, -1.5, None, None)
    """
    if not isinstance(value, str):
        return value if kind_of(value) == "number" else None
    if not _NUMBER.fullmatch(value):
        return None
    return comparable(float(value) if "." in value else int(value))


def period_of(value: Scalar) -> Period | None:
    """The period of a text that is an ISO date, or of a year as a number; None for none."""
    if isinstance(value, str):
        return period(value)
    is_year = isinstance(value, int) and not isinstance(value, bool) and 1000 <= value <= 9999
    return period(str(value)) if is_year else None


def compare_dates(op: str, actual: Scalar, wanted: Scalar) -> bool | None:
    """Whether two dates compare so; None if one of them is no date."""
    known, asked = period_of(actual), period_of(wanted)
    return None if known is None or asked is None else known.compares(op, asked)


def compare_texts(op: str, actual: Scalar, wanted: Scalar) -> bool | None:
    """Whether two texts compare so, in NFC; None if one of them is no text.

    An ASCII text equals itself alone, so that a database can compare the stored bytes.
    """
    if not isinstance(actual, str) or not isinstance(wanted, str):
        return None
    if op not in ("eq", "ne") or not wanted.isascii():
        actual, wanted = (unicodedata.normalize("NFC", text) for text in (actual, wanted))
    return _ORDER[op](actual, wanted)


def has_part(op: str, actual: str, wanted: str) -> bool:
    """Whether a text contains another one, or is like a pattern with `%` and `_`, in NFC.

    >>> has_part("contains", "a study", "tud"), has_part("like", "a study", "%st_dy")
    (True, True)
    """
    actual, wanted = (unicodedata.normalize("NFC", text) for text in (actual, wanted))
    return wanted in actual if op == "contains" else bool(_pattern(wanted).fullmatch(actual))


@lru_cache(maxsize=256)
def _pattern(like: str) -> re.Pattern[str]:
    wild = {"%": ".*", "_": "."}
    parts = (wild.get(part) or re.escape(part) for part in re.split("([%_])", like))
    return re.compile("".join(parts), re.DOTALL)


def compare_formats(op: str, actual: Scalar, path: str, wanted: Scalar) -> bool | None:
    """Whether a format, or the ending of the file's path, is the wanted one; only "eq" and "ne".

    >>> compare_formats("eq", "markdown", "notes/a.MD", ".md")
    True
    """
    if op not in ("eq", "ne") or not isinstance(actual, str) or not isinstance(wanted, str):
        return compare_texts(op, actual, wanted)
    name = bare_format(wanted)
    same = _lower(actual) == name or (bool(name) and _lower(path).endswith("." + name))
    return same is (op == "eq")


def bare_format(wanted: str) -> str:
    """The name of a format or a file ending, without its dot and in small ASCII letters."""
    return _lower(wanted.removeprefix("."))


def _lower(text: str) -> str:
    """`text` with ASCII letters in lower case, as SQLite's LIKE compares them."""
    return "".join(c.lower() if c.isascii() else c for c in text)


def compare_any(op: str, actual: Scalar, wanted: Scalar) -> bool | None:
    """Whether two values compare so, by what they are; None if they are not alike."""
    kinds = {kind_of(actual), kind_of(wanted)}
    if kinds == {"text"} and op in ("eq", "ne"):
        return _compare_equal_texts(op, actual, wanted)
    if "truth" in kinds or kinds == {"number"}:
        return _ORDER[op](actual, wanted) if len(kinds) == 1 else None
    one, other = number_of(actual), number_of(wanted)
    if one is not None and other is not None:
        return _ORDER[op](one, other)
    by_date = compare_dates(op, actual, wanted)
    if by_date is not None:
        return by_date
    is_plain = other is None and period_of(wanted) is None
    return compare_texts(op, actual, wanted) if is_plain else None


def _compare_equal_texts(op: str, actual: Scalar, wanted: Scalar) -> bool | None:
    """As texts, but a stored day or time lies within a wanted date."""
    known = period_of(actual)
    if known is not None and known.days:
        by_date = compare_dates(op, actual, wanted)
        if by_date is not None:
            return by_date
    return compare_texts(op, actual, wanted)


__all__ = [
    "Kind",
    "bare_format",
    "comparable",
    "compare_any",
    "compare_dates",
    "compare_formats",
    "compare_texts",
    "has_part",
    "kind_of",
    "number_of",
    "period_of",
]
