"""Dates: how they are read, and how dates of different precision compare."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.text.dates import period, read_date
from retriever.types import UsageError

TODAY = date(2024, 3, 1)  # a Friday


@pytest.mark.parametrize(
    ("written", "iso"),
    [
        ("2024", "2024"),
        (" 2024-03 ", "2024-03"),
        ("2024-03-07", "2024-03-07"),
        ("2024-03-07T10:30:00+01:00", "2024-03-07T10:30:00+01:00"),
        ("2024-03-07 10:30", "2024-03-07T10:30"),
        ("2024-03-07T10:30Z", "2024-03-07T10:30Z"),
        ("2024-w10", "2024-W10"),
        ("2024-3", "2024-03"),
        ("2024/03", "2024-03"),
        ("2024.3.7", "2024-03-07"),
        ("2024/03/01", "2024-03-01"),
        ("20240307", "2024-03-07"),
        ("1.3.2024", "2024-03-01"),
        ("01.03.2024", "2024-03-01"),
        ("31. 12. 2023", "2023-12-31"),
        ("3/2024", "2024-03"),
        ("13/3/2024", "2024-03-13"),
        ("3/13/2024", "2024-03-13"),
        ("3/3/2024", "2024-03-03"),
        ("Mar 2024", "2024-03"),
        ("march 2024", "2024-03"),
        ("Sept. 2024", "2024-09"),
        ("7 March 2024", "2024-03-07"),
        ("7th of March 2024", "2024-03-07"),
        ("March 7, 2024", "2024-03-07"),
        ("Mar 7 2024", "2024-03-07"),
        ("today", "2024-03-01"),
        ("yesterday", "2024-02-29"),
        ("last week", "2024-W08"),
        ("this week", "2024-W09"),
        ("last month", "2024-02"),
        ("this year", "2024"),
        ("last year", "2023"),
        ("10 days ago", "2024-02-20"),
        ("2 weeks ago", "2024-02-16"),
        ("1 month ago", "2024-02-01"),
        ("3 years ago", "2021-03-01"),
        (date(2024, 3, 7), "2024-03-07"),
        (
            datetime(2024, 3, 7, 10, tzinfo=timezone(timedelta(hours=2))),
            "2024-03-07T10:00:00+02:00",
        ),
    ],
)
def test_dates_as_people_write_them(written: object, iso: str) -> None:
    assert read_date(written, TODAY) == iso
    assert period(iso) is not None
    assert read_date(iso) == iso


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("1/3/2024", "two ways; write 2024-03-01 or 2024-01-03"),
        ("1-3-2024", "two ways"),
        ("2024-02-30", "there is no date"),
        ("2024-13", "there is no date"),
        ("31.4.2024", "there is no date"),
        ("2024-03-07T25:00", "there is no date"),
        ("2024-03-07T10:30+99:00", "there is no date"),
        ("2024-03-07T10:30+01:75", "there is no date"),
        ("2024-W54", "there is no date"),
        ("0000", "there is no date"),
        ("spring", "is no date"),
        ("1.3.24", "is no date"),
        ("24", "is no date"),
        ("", "is no date"),
        ("Marzipan 2024", "is no date"),
        ("9999 years ago", "there is no date"),
        (2024, "is no date"),
        (None, "is no date"),
    ],
)
def test_what_is_no_date_is_refused(written: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_date(written, TODAY)


@pytest.mark.parametrize(
    ("one", "other", "holds"),
    [
        ("2024-03-07", "2024", {"eq", "gte", "lte"}),
        ("2024-12-31T23:59:59", "2024", {"eq", "gte", "lte"}),
        ("1813", "1813-01-01", {"ne", "gte", "lte", "gt"}),
        ("1813", "1813-12-31", {"ne", "gte", "lte", "lt"}),
        ("1813", "1813-06", {"ne", "gte", "lte", "lt", "gt"}),
        ("1813", "1812-12-31", {"ne", "gte", "gt"}),
        ("1813", "1814-01", {"ne", "lte", "lt"}),
        ("2024-02", "2024-02-29", {"ne", "gte", "lte", "lt"}),
        ("2024-03-03", "2024-W09", {"eq", "gte", "lte"}),
        ("2024-03-04", "2024-W09", {"ne", "gte", "gt"}),
        ("2024-03-07T10:00+02:00", "2024-03-07T08:00Z", {"eq", "gte", "lte"}),
        ("2024-03-07T10:00+02:00", "2024-03-07T10:00", {"eq", "gte", "lte"}),
        ("9999-12", "9999", {"eq", "gte", "lte"}),
    ],
)
def test_dates_of_different_precision(one: str, other: str, holds: set[str]) -> None:
    known, wanted = period(one), period(other)
    assert known is not None
    assert wanted is not None
    ops = ("eq", "ne", "gt", "gte", "lt", "lte")
    assert {op for op in ops if known.compares(op, wanted)} == holds


def _days(text: str) -> set[date]:
    """The days of a date, by trying every day."""
    days = (date(2023, 12, 1) + timedelta(n) for n in range(500))
    return {day for day in days if day.isoformat().startswith(text)}


def test_comparisons_against_sets_of_days() -> None:
    texts = ["2024", "2024-01", "2024-02", "2024-01-01", "2024-02-29", "2024-12-31", "2024-12"]
    for one, other in itertools.product(texts, repeat=2):
        days, wanted = _days(one), _days(other)
        known, asked = period(one), period(other)
        assert known is not None
        assert asked is not None
        assert known.compares("eq", asked) is (days <= wanted)
        assert known.compares("gte", asked) is any(day >= min(wanted) for day in days)
        assert known.compares("lte", asked) is any(day <= max(wanted) for day in days)
        assert known.compares("gt", asked) is any(day > max(wanted) for day in days)
        assert known.compares("lt", asked) is any(day < min(wanted) for day in days)


@pytest.mark.parametrize(
    "text",
    [
        *["2024-W10-1", "2024-03-07Z10:30:00", "2024-03-07T10.30.00", "2024-03-07T10:30:00,00000"],
        *["2024-03-07T10:30:00+0100 ", "2024-03-07T24:00:00", "2024-03-07T10:30:60", "2024-0３-07"],
        *["2024-03-07T10:30:00 01:00", "2024-03-07T10:30:00Z01:00", "20240307T103000", "2024-03-0"],
    ],
)
def test_what_resembles_a_moment(text: str) -> None:
    assert period(text) is None


ZONES = st.integers(-720, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(timezones=st.none() | ZONES))
def test_moments_are_those_of_datetime(moment: datetime) -> None:
    known = period(moment.isoformat(timespec="seconds"))
    assert known is not None
    start = datetime(1, 1, 1)
    seconds = int((moment.replace(tzinfo=None, microsecond=0) - start).total_seconds()) + 86_400
    offset = moment.utcoffset()
    assert known == (seconds, seconds, None if offset is None else offset.total_seconds(), True)


@given(st.text(alphabet="0123456789-/. TWZ:+march", max_size=20))
def test_any_text_is_a_date_or_refused(text: str) -> None:
    try:
        found = read_date(text)
    except UsageError:
        return
    assert period(found) is not None
