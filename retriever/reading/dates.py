"""Dates in the notations of documents, as ISO 8601; a partial date stays one ("1813", "2011-06").

A filter compares as much of a date as there is. A date that may be read in two ways, such as
3/4/2024, is its year.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, datetime
from email.utils import parsedate_to_datetime

# Default dates that programs write: the epochs, and python-docx's template.
_NO_DATE = ("1970-01-01T00:00:00", "1601-01-01", "1899-12-30", "2013-12-23T23:15:00")
_MAX_TEXT = 100

# English, German, French, Spanish, Italian, Portuguese, Dutch; the first letters are enough.
_MONTHS = (
    "jan janv january januar jänner januari janvier enero ene gennaio gen janeiro",
    "feb febr fev fév feber february februar februari février febrero febbraio fevereiro",
    "mar march märz mär mrz mars marzo março maart mrt",
    "apr april avr avril abr abril aprile",
    "may mai mayo maggio mag maio mei",
    "jun june juni juin junio giugno giu junho",
    "jul july juli juil juillet julio luglio lug julho",
    "aug august août aou agosto ago augustus",
    "sep sept september septembre septiembre setiembre settembre set setembro",
    "oct october okt oktober octobre octubre ottobre ott outubro out",
    "nov november novembre noviembre novembro",
    "dec december dez dezember déc décembre diciembre dic dicembre dezembro",
)
_MONTH_OF = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}
_SEASONS = "spring|summer|autumn|fall|winter|q[1-4]|h[12]|fy|quarter [1-4]|easter|christmas"

_MONTH = r"(?P<month>[^\W\d_]{3,10})\.?"
_NTH = r"(?:st|nd|rd|th|\.|º|er)?"
_DAY = rf"(?P<day>\d{{1,2}}){_NTH}(?:\s?[-–/&]\s?\d{{1,2}}{_NTH})?"  # of several days the first
_YEAR = r"(?P<year>\d{4}|'?\d{2})"
_FULL_YEAR = r"(?P<year>\d{4})"
_OF = r"(?:\s*(?:of|de|del|do|d')\s*)?"
_GAP = r"[\s,/-]*"
# A time and a zone: only the day is kept.
_REST = r"(?:[\s,;:T(]+(?:[^\W\d_]{1,3}\s+){0,2}\d{1,2}(?:[:.h]\d|\s*[ap]\.?m).*)?"
_WORDED = tuple(
    re.compile(rf"(?:[^\W\d_]{{2,12}}(?:\.?,?\s+|,))?{pattern}", re.IGNORECASE)
    for pattern in (
        rf"{_DAY}{_GAP}{_OF}{_MONTH}{_GAP}{_OF}{_YEAR}{_REST}",
        rf"{_MONTH}{_GAP}{_DAY}{_GAP}{_FULL_YEAR}{_REST}",
        rf"{_MONTH}{_GAP}{_OF}(?P<year>\d{{4}}|'\d{{2}})",
        rf"{_FULL_YEAR}{_GAP}{_MONTH}(?:{_GAP}{_DAY})?",
    )
)
_BY_YEAR = re.compile(
    rf"{_FULL_YEAR}(?:[-/.](?P<month>\d{{1,2}})(?:[-/.](?P<day>\d{{1,2}}))?)?{_REST}"
)
_EASTERN = re.compile(
    rf"{_FULL_YEAR}\s*[年년]\s*(?:(?P<month>\d{{1,2}})\s*[月월]\s*(?:(?P<day>\d{{1,2}})\s*[日일])?)?"
)
_BY_DAY = re.compile(rf"(\d{{1,2}})([./-])\s?(\d{{1,2}})\2\s?{_YEAR}{_REST}")
_CATALOGUED = re.compile(
    rf"(?:©|\(c\)|copyright|published|first published|c|ca\.?|circa|about|in|anno|{_SEASONS})?"
    rf"[\s,./-]*(?:of\s+)?\[?{_FULL_YEAR}\??\]?\.?(?:\s*[-–/]\s*(?P<last>\d{{4}}|\d{{2}}|present)?)?",
    re.IGNORECASE,
)
_PDF_DATE = re.compile(
    r"(?:D:)?\s*(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2})?)?(?:\s*([Zz+-])(?:(\d{2})'?(\d{2})?)?)?"
)
# Between the first and the last date of a span, and before a remark.
_FIRST = re.compile(r"\s+(?:-|to|until|bis)\s+|\s*[–—]\s*|\s*[\[(]|(?<=\d{4}),\s*(?=c?\d{4}\b)")
_PARTIAL_PDF_DATE = re.compile(r"D:(\d{4})(\d{2})?")
_MAIL_DATE = re.compile(
    r"(?:[A-Za-z]{3,9}(?:,? +|,))?(?:\d{1,2} +[A-Za-z]{3,9}|[A-Za-z]{3} +\d{1,2})[ ,]+[\d: ]{4,20}"
)


def iso_date(value: object) -> str:
    """The date or time as ISO 8601, as much of it as is stated; empty if it cannot be parsed.

    >>> iso_date("D:20200810114743-04'00'"), iso_date("March 7, 2024"), iso_date("spring")
    ('2020-08-10T11:47:43-04:00', '2024-03-07', '')
    >>> iso_date("1813"), iso_date("June 2011"), iso_date("7th March 2024"), iso_date("3/4/2024")
    ('1813', '2011-06', '2024-03-07', '2024')
    """
    if isinstance(value, datetime):
        return _plausible(value.isoformat(timespec="seconds"))
    if isinstance(value, date):
        return _plausible(value.isoformat())
    text = " ".join(str(value if value is not None else "").split())[:_MAX_TEXT].strip(" .;,")
    return _parsed(text) or _parsed(_FIRST.split(text, maxsplit=1)[0])


def _parsed(text: str) -> str:
    for parse in (_from_iso, _from_pdf, _from_mail, _from_numbers, _from_words, _from_catalogue):
        found = parse(text)
        if found:
            return _plausible(found)
    return ""


def _plausible(iso: str) -> str:
    return "" if iso.startswith(_NO_DATE) or iso < "1000" else iso


def _from_iso(text: str) -> str:
    if re.fullmatch(r"\d{8}T\d{4}(?:\d\d)?(?:Z|[+-]\d{4})?", text):
        text = f"{text[:4]}-{text[4:6]}-{text[6:11]}:{text[11:13]}:{text[13:]}".rstrip(":")
    if not re.match(r"\d{4}-\d{2}-\d{2}", text):
        return ""
    if re.fullmatch(r"[+-]\d{2}:?\d{2}", text[10:]):
        text = text[:10]  # a date with a zone, which would be read as a time
    try:
        if len(text) == len("2024-03-07"):
            return date.fromisoformat(text).isoformat()
        return datetime.fromisoformat(text).isoformat(timespec="seconds")
    except ValueError:
        return _from_iso(text[:10]) if len(text) > len("2024-03-07") else ""


def _from_pdf(text: str) -> str:
    if partial := _PARTIAL_PDF_DATE.fullmatch(text):
        return _joined(partial[1], partial[2])
    match = _PDF_DATE.fullmatch(text.rstrip("' "))
    if not match:
        return ""
    year, month, day, hour, minute, second, sign, zone_hour, zone_minute = match.groups()
    iso = f"{year}-{month}-{day}"
    if hour:
        iso += f"T{hour}:{minute}:{second or '00'}"
        if sign in ("+", "-") and zone_hour:
            iso += f"{sign}{zone_hour}:{zone_minute or '00'}"
        elif sign:
            iso += "+00:00"
    return _from_iso(iso)


def _from_mail(text: str) -> str:
    """A time as in mails, also with two digits for the year, or as `asctime` writes it."""
    if not _MAIL_DATE.match(text) or ":" not in text or re.search(r"\d\s*[ap]\.?m\b", text.lower()):
        return ""
    try:
        return parsedate_to_datetime(text).isoformat(timespec="seconds")
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""


def _from_numbers(text: str) -> str:
    """Dates of numbers alone: 2024-3-7, 2019/05, 7.3.2024, 2024年3月."""
    if match := _BY_YEAR.fullmatch(text) or _EASTERN.fullmatch(text):
        return _joined(match["year"], match["month"], match["day"])
    match = _BY_DAY.fullmatch(text)
    if not match:
        return ""
    first, mark, second, year = match.groups()
    if mark == "." or int(first) > 12 or first == second:
        return _joined(year, second, first)
    if int(second) > 12:
        return _joined(year, first, second)
    return _joined(year)


def _from_words(text: str) -> str:
    for pattern in _WORDED:
        match = pattern.fullmatch(text)
        month = _MONTH_OF.get(match["month"].lower()) if match else None
        if match and month:
            return _joined(match["year"], str(month), match.groupdict().get("day"))
    return ""


def _from_catalogue(text: str) -> str:
    """A year as libraries and imprints state it: "c1813", "[1813?]", "Spring 1813"."""
    match = _CATALOGUED.fullmatch(text)
    if not match or (len(match["last"] or "") == 2 and match["last"] <= match["year"][2:]):
        return ""  # "2024-13" is no span of years
    return _joined(match["year"])


def _joined(year: str, month: str | None = None, day: str | None = None) -> str:
    """The ISO date of its parts; a zero is a part that is unknown, an impossible date is empty."""
    year = year.strip("'")
    if len(year) == 2:
        year = f"{'19' if int(year) > 68 else '20'}{year}"  # as in mails and POSIX
    if not 1000 <= int(year) < 3000:
        return ""
    if not month or not int(month):
        return year
    if int(month) > 12:
        return ""
    if not day or not int(day):
        return f"{year}-{int(month):02}"
    if int(day) > monthrange(int(year), int(month))[1]:
        return ""
    return f"{year}-{int(month):02}-{int(day):02}"


__all__ = ["iso_date"]
