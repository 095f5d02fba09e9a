"""Dates of different precision: reading them as people write them, and comparing them.

A date is written in ISO 8601, and as precisely as it is known: "1813", "2024-03", "2024-W10",
"2024-03-07", "2024-03-07T10:30+01:00". It means the whole period: "2024-03" is all of March.

Two dates are compared as FHIR's search does. A date equals a wanted one if its period lies within
the wanted period. It is at least the wanted one if some of its period is not before it, and so on:
a book of "1813" may be of June 1813, so that a search from there on does not lose it.
"""

from __future__ import annotations

import re
from calendar import isleap, monthrange
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple

from retriever.types import UsageError, shown

_DAY = 86_400  # seconds
_EXAMPLES = 'a date is written 2024, 2024-03, 2024-03-07 or "7 March 2024"'
_ISO = re.compile(
    r"(?P<year>\d{4})(?:-W(?P<week>\d\d)|(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:[T ](?P<hour>\d\d)(?::?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,]\d+)?)?)?"
    r" ?(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?)?)?)?)?",
    re.IGNORECASE | re.ASCII,
)
_YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})(?:\2(\d{1,2}))?", re.ASCII)
_YEAR_LAST = re.compile(r"(?:(\d{1,2})([-/.]) ?)?(\d{1,2})([-/.]) ?(\d{4})", re.ASCII)
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)", re.ASCII)
_WORDED = re.compile(
    r"(?:(?P<day>\d{1,2})(?:st|nd|rd|th|\.)? (?:of )?)?(?P<month>[a-z]{3,9})\.?"
    r"(?: (?P<after>\d{1,2})(?:st|nd|rd|th)?(?:, ?| ))?,? ?(?P<year>\d{4})",
    re.ASCII,
)
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)
_AGO = re.compile(r"(\d{1,4}) (day|week|month|year)s? ago", re.ASCII)
_RELATIVE = {"last": -1, "this": 0}
_DAYS = {"today": 0, "now": 0, "yesterday": -1, "tomorrow": 1}


class Period(NamedTuple):
    """The seconds from `first` to `last`, of the local time, whose zone is `offset` seconds."""

    first: int
    last: int
    offset: int | None = None
    days: bool = True
    """Whether it is a day or a time of day, not a month or longer."""

    def compares(self, op: str, wanted: Period) -> bool:
        """Whether this date is `op` ("eq", "ne", "gt", "gte", "lt" or "lte") than `wanted`."""
        shift = 0
        if self.offset is not None and wanted.offset is not None:
            shift = wanted.offset - self.offset
        first, last = self.first + shift, self.last + shift
        if op in ("eq", "ne"):
            return (wanted.first <= first and last <= wanted.last) is (op == "eq")
        if op == "gte":
            return last >= wanted.first
        if op == "lte":
            return first <= wanted.last
        return last > wanted.last if op == "gt" else first < wanted.first


@lru_cache(maxsize=65_536)
def period(text: str) -> Period | None:
    """The period of an ISO date; None for any other text.

    >>> period("2024-03").compares("eq", period("2024")), period("2024-13")
    (True, None)
    """
    try:
        if len(text) in (10, 19, 25) and text[4] == text[7] == "-":
            return _moment(text)  # most dates of documents, and quicker
        found = _ISO.fullmatch(text)
        return None if found is None else _period(found)
    except ValueError:  # 30 February
        return None


def _moment(text: str) -> Period:
    """The period of "2024-03-07", "2024-03-07T10:30:00" or "2024-03-07T10:30:00+01:00"."""
    if not text.isascii():
        raise ValueError
    first = date.fromisoformat(text[:10]).toordinal() * _DAY
    if len(text) == 10:
        return Period(first, first + _DAY - 1)
    at = time.fromisoformat(text[11:])
    if text[10] not in "Tt " or text[13] != ":" or text[16] != ":" or text[19:20] not in "+-":
        raise ValueError
    zone = at.utcoffset()
    first += at.hour * 3600 + at.minute * 60 + at.second
    return Period(first, first, None if zone is None else zone.days * _DAY + zone.seconds)


def _period(found: re.Match[str]) -> Period:
    year = int(found["year"])
    if found["week"]:
        monday = date.fromisocalendar(year, int(found["week"]), 1)
        return _days(monday, 7)
    if not found["month"]:
        return _days(date(year, 1, 1), 366 if isleap(year) else 365)
    month = int(found["month"])
    if not found["day"]:
        return _days(date(year, month, 1), monthrange(year, month)[1])
    day = date(year, month, int(found["day"]))
    if not found["hour"]:
        return _days(day, 1)
    known = [int(found[unit]) for unit in ("hour", "minute", "second") if found[unit]]
    at = timedelta(hours=known[0], minutes=sum(known[1:2]), seconds=sum(known[2:]))
    if known[0] > 23 or max(known) > 59:
        raise ValueError
    first_second = _seconds(day) + int(at.total_seconds())
    length = (3600, 60, 1)[len(known) - 1]
    return Period(first_second, first_second + length - 1, _offset(found["zone"]))


def _days(first: date, count: int) -> Period:
    start = _seconds(first)
    return Period(start, start + count * _DAY - 1, days=count == 1)


def _seconds(day: date) -> int:
    return day.toordinal() * _DAY


def _offset(zone: str | None) -> int | None:
    if zone is None:
        return None
    if zone in ("Z", "z"):
        return 0
    digits = zone[1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    if hours > 23 or minutes > 59:
        raise ValueError
    seconds = hours * 3600 + minutes * 60
    return -seconds if zone[0] == "-" else seconds


class NotADateError(UsageError):
    """A text that resembles no date."""


def read_date(value: object, today: date | None = None) -> str:
    """A date or time in ISO 8601, from a `date`, or from a text as people write it.

    Words such as "yesterday" count from `today`. Raises NotADateError for what is no date,
    UsageError for a date that does not exist or can be read in two ways.

    >>> read_date("1.3.2024"), read_date("2024/3"), read_date("Mar 2024"), read_date("13/3/2024")
    ('2024-03-01', '2024-03', '2024-03', '2024-03-13')
    >>> read_date("last week", date(2026, 11, 29)), read_date("yesterday", date(2024, 3, 1))
    ('2026-W47', '2024-02-29')
    """
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str):
        raise NotADateError(f"{shown(value)} is no date; {_EXAMPLES}")
    text = " ".join(value.split())
    found = _iso_form(text) or _written(text.lower(), today)
    if found is None:
        raise NotADateError(f"{shown(value)} is no date; {_EXAMPLES}")
    if period(found) is None:
        raise UsageError(f"there is no date {shown(value)}; {_EXAMPLES}")
    return found


def _iso_form(text: str) -> str | None:
    if not _ISO.fullmatch(text):
        return None
    return text.upper().replace(" ", "T", 1).replace(" ", "")


def _written(text: str, today: date | None) -> str | None:
    """A date that is not in ISO 8601, in it; None for what is no date."""
    if found := _YEAR_FIRST.fullmatch(text):
        return _iso(found[1], found[3], found[4])
    if found := _COMPACT.fullmatch(text):
        return _iso(*found.groups())
    if found := _YEAR_LAST.fullmatch(text):
        return _year_last(text, found)
    if found := _WORDED.fullmatch(text):
        return _worded(found)
    return _relative(text, today or date.today())


def _year_last(text: str, found: re.Match[str]) -> str | None:
    """Dots mean day.month.year. 1/3/2024 is 1 March in Europe and 3 January in the US."""
    one, separator, other, second, year = found.groups()
    if one is None:
        return _iso(year, other)
    if separator != second:
        return None
    day, month = int(one), int(other)
    if separator != "." and day != month:
        if day <= 12 and month <= 12:
            ways = " or ".join(_iso(year, *parts) for parts in ((other, one), (one, other)))
            raise UsageError(f"{shown(text)} can be read in two ways; write {ways}")
        day, month = max(day, month), min(day, month)
    return _iso(year, month, day)


def _worded(found: re.Match[str]) -> str | None:
    name = "sep" if found["month"] == "sept" else found["month"]
    numbers = [number for number, month in enumerate(_MONTHS, 1) if _is_short(name, month)]
    if not numbers or (found["day"] and found["after"]):
        return None
    return _iso(found["year"], numbers[0], found["day"] or found["after"])


def _is_short(name: str, month: str) -> bool:
    return name in (month, month[:3])


def _relative(text: str, today: date) -> str | None:
    """A date counted from today: "yesterday", "last month", "3 weeks ago"."""
    if text in _DAYS:
        return (today + timedelta(_DAYS[text])).isoformat()
    word, _, unit = text.partition(" ")
    if word in _RELATIVE and unit in ("week", "month", "year"):
        if unit == "week":
            year, week, _ = (today + timedelta(7 * _RELATIVE[word])).isocalendar()
            return f"{year:04}-W{week:02}"
        return _before(today, unit, -_RELATIVE[word])[: 7 if unit == "month" else 4]
    found = _AGO.fullmatch(text)
    return _before(today, found[2], int(found[1])) if found else None


def _before(today: date, unit: str, count: int) -> str:
    """The day this many days, weeks, months or years before today."""
    try:
        if unit in ("day", "week"):
            return (today - timedelta(count * (7 if unit == "week" else 1))).isoformat()
        months = today.year * 12 + today.month - 1 - count * (12 if unit == "year" else 1)
        year, month = months // 12, months % 12 + 1
        return date(year, month, min(today.day, monthrange(year, month)[1])).isoformat()
    except (ValueError, OverflowError):
        raise UsageError(f"there is no date {count} {unit}s ago") from None


def _iso(year: str, month: str | int | None = None, day: str | int | None = None) -> str:
    return "-".join([year, *(f"{int(part):02}" for part in (month, day) if part is not None)])


__all__ = ["NotADateError", "Period", "period", "read_date"]
