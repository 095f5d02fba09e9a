"""Numbers and dates as Excel shows them."""

from __future__ import annotations

from datetime import date, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.reading.office.number_formats import shown_moment, shown_number

ACCOUNTING = '_($* #,##0.00_);_($* (#,##0.00);_($* "-"??_);_(@_)'


@pytest.mark.parametrize(
    ("value", "code", "shown"),
    [
        (1234, "00000", "01234"),
        (3.1, '#,##0.00 "EUR"', "3.10 EUR"),
        (1234567.5, '#,##0.00 "EUR"', "1,234,567.50 EUR"),
        (5551234567, "(000) 000-0000", "(555) 123-4567"),
        (123456789, "000-00-0000", "123-45-6789"),
        (12, "000-00-0000", "000-00-0012"),
        (0.125, "0.0%", "12.5%"),
        (0.005, "0.00%", "0.50%"),
        (12.5, "#,##0.00\\ [$€-407]", "12.50 €"),
        (1234.5, ACCOUNTING, "$1,234.50"),
        (-1234.5, ACCOUNTING, "$(1,234.50)"),
        (-3, "0.00", "-3.00"),
        (-3, "0.00;[Red]0.00", "3.00"),
        (12, 'General" kg"', "12 kg"),
        (1_500_000, '0.0,,"M"', "1.5M"),
        (12_345, "0,", "12"),
        (3.14159, "0.###", "3.142"),
        (3, "0.###", "3"),
        (0.5, "#.00", ".50"),
        (2.5, "0", "3"),
        (7, '"INV-"0000', "INV-0007"),
        (5, '[<10]"few";"many"', "few"),
        (50, '[<10]"few";"many"', "many"),
        (1, '"Yes";"No"', "Yes"),
        (123456, "0.00E+00", "1.23E+05"),
        (0.5, "# ?/?", "1/2"),
        (-2.25, "# ??/??", "-2 1/4"),
        (1.5, "?/?", "3/2"),
        (3, "# ?/?", "3"),
    ],
)
def test_numbers(value, code, shown):
    assert shown_number(value, code) == shown


@pytest.mark.parametrize("code", ["General", "", "@", ";;;", "# ?/8", "yyyy", "#", '""'])
def test_formats_that_show_no_plain_number(code):
    assert shown_number(0, code) is None
    assert shown_number(float("inf"), code) is None


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("yyyy-mm-dd", "2024-03-07"),
        ("yyyy/mm/dd", "2024-03-07"),
        ("mm-dd-yy", "2024-03-07"),
        ("General", "2024-03-07"),
        ("mmm yyyy", "Mar 2024 (2024-03-07)"),
        ("dd.mm.yyyy", "07.03.2024 (2024-03-07)"),
        ("[$-F800]dddd\\,\\ mmmm\\ dd\\,\\ yyyy", "Thursday, March 07, 2024 (2024-03-07)"),
    ],
)
def test_dates(code, shown):
    assert shown_moment(date(2024, 3, 7), code, "2024-03-07") == shown


def test_times():
    moment, iso = datetime(2024, 3, 7, 14, 5), "2024-03-07 14:05"
    assert shown_moment(moment, "yyyy-mm-dd hh:mm", iso) == iso
    assert shown_moment(moment, "d/m/yy h:mm AM/PM", iso) == f"7/3/24 2:05 PM ({iso})"
    assert shown_moment(time(9, 5), "h:mm", "09:05") == "09:05"
    assert shown_moment(time(14, 5), "h:mm AM/PM", "14:05") == "2:05 PM (14:05)"


@given(
    value=st.one_of(st.integers(-(10**12), 10**12), st.floats()),
    code=st.one_of(st.text(max_size=20), st.text('0#?.,%;-"[]()$ \\_*EeymdhsAP/@', max_size=15)),
)
def test_any_format_of_any_number_raises_nothing(value, code):
    shown = shown_number(value, code)
    assert shown is None or shown.strip()
    assert shown_moment(datetime(2024, 3, 7), code, "iso")


@given(value=st.integers(0, 10**9), width=st.integers(2, 6))
def test_leading_zeros_are_those_of_python(value, width):
    assert shown_number(value, "0" * width) == f"{value:0{width}}"
    assert shown_number(value / 100, "#,##0." + "0" * width) == f"{value / 100:,.{width}f}"
