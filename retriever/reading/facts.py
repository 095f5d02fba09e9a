"""Title, author, date and other metadata, cleaned for the index.

The title is embedded with each passage, so a wrong title ("Microsoft Word - final2.doc") is worse
than none. Dates are normalised to ISO 8601.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from pathlib import PurePosixPath
from typing import Any

from retriever.reading.pages import drop_controls
from retriever.types import Scalar

MAX_FACT = 1_000
"""Maximum length of a title, an author or a metadata value, in characters."""

_FILE_NAME = re.compile(
    r"\.(?:docx?|dotx?|odt|rtf|pdf|pptx?|xlsx?|indd|qxd|tex|dvi|ps|eps|html?|xhtml|md|txt|ai|cdr|"
    r"fm|book|p65|pages|wpd|tif|tiff|jpe?g|png)$",
    re.IGNORECASE,
)
_NO_TITLE = re.compile(
    r"microsoft (word|powerpoint|excel)\b.*|(powerpoint|word) presentation|untitled.*|"
    r"(new )?document ?\d*|no title|title|index|home|slide \d+|presentation ?\d*|unknown|none|null|"
    r"ohne titel|unbenannt.*|sans titre|scan(ned)?([ _-].*)?|page \d+",
    re.IGNORECASE,
)
_ROMAN = re.compile(r"(?=.)(?:C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})\.?")
_NO_AUTHOR = frozenset(
    {"unknown", "anonymous", "author", "user", "admin", "administrator", "owner", "python-docx"}
)
# Default dates that programs write: the epochs, and python-docx's template.
_NO_DATE = ("1970-01-01T00:00:00", "1601-01-01", "1899-12-30", "2013-12-23T23:15:00")

_PDF_DATE = re.compile(
    r"(?:D:)?\s*(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2})?)?(?:\s*([Zz+-])(?:(\d{2})'?(\d{2})?)?)?"
)
_WORDED = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%b. %d, %Y", "%Y/%m/%d", "%d.%m.%Y")


def clean_fact(value: object) -> str:
    r"""One line of text from any value; empty if there is none.

    >>> clean_fact("  Zero \n Trust\x00 ")
    'Zero Trust'
    """
    if value is None:
        return ""
    return " ".join(drop_controls(str(value)[: 4 * MAX_FACT]).split())[:MAX_FACT]


def clean_title(value: object, name: str) -> str:
    """The title; empty if it is a placeholder or the name of a file.

    >>> clean_title("Zero Trust Architecture", "nist.pdf")
    'Zero Trust Architecture'
    >>> clean_title("Microsoft Word - x.doc", "a.pdf"), clean_title("Report_v2", "a.pdf")
    ('', '')
    """
    title = clean_fact(value)
    letters = sum(map(str.isalpha, title))
    stem = PurePosixPath(name).stem
    looks_like_file = " " not in title and ("_" in title or title.casefold() == stem.casefold())
    if letters == 0 or looks_like_file or _FILE_NAME.search(title) or "\ufffd" in title:
        return ""
    if _NO_TITLE.fullmatch(title) or _ROMAN.fullmatch(title):
        return ""
    return title


def clean_author(value: object) -> str:
    """The author, or empty for a placeholder.

    >>> clean_author("Ada Lovelace"), clean_author("Administrator")
    ('Ada Lovelace', '')
    """
    author = clean_fact(value).strip(" ;,")
    if author.casefold() in _NO_AUTHOR or not any(map(str.isalpha, author)):
        return ""
    return author


def iso_date(value: object) -> str:
    """The date or time as ISO 8601; empty if it cannot be parsed.

    >>> iso_date("D:20200810114743-04'00'"), iso_date("March 7, 2024"), iso_date("spring")
    ('2020-08-10T11:47:43-04:00', '2024-03-07', '')
    """
    if isinstance(value, datetime):
        return _plausible(value.isoformat(timespec="seconds"))
    if isinstance(value, date):
        return _plausible(value.isoformat())
    text = clean_fact(value)
    for parse in (_from_iso, _from_pdf, _from_mail, _from_words):
        found = parse(text)
        if found:
            return _plausible(found)
    return ""


def _plausible(iso: str) -> str:
    return "" if iso.startswith(_NO_DATE) or iso < "1000" else iso


def _from_iso(text: str) -> str:
    if not re.match(r"\d{4}-\d{2}-\d{2}", text):
        return ""
    try:
        if len(text) == len("2024-03-07"):
            return date.fromisoformat(text).isoformat()
        return datetime.fromisoformat(text).isoformat(timespec="seconds")
    except ValueError:
        return _from_iso(text[:10]) if len(text) > len("2024-03-07") else ""


def _from_pdf(text: str) -> str:
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
    if not re.match(r"(?:[A-Za-z]{3,9}, ?)?\d{1,2} [A-Za-z]{3} \d{4} \d", text):
        return ""
    try:
        return parsedate_to_datetime(text).isoformat(timespec="seconds")
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""


def _from_words(text: str) -> str:
    for pattern in _WORDED:
        try:
            # Only the day is kept, so the zone given here is never seen.
            return datetime.strptime(text, pattern).replace(tzinfo=UTC).date().isoformat()
        except ValueError:
            continue
    return ""


def package_facts(core: Any, author: object, name: str) -> dict[str, Any]:
    """Title, author, date and metadata of an Office file, by its core properties.

    `core` is what python-docx, python-pptx and openpyxl call core properties.
    """
    return {
        "title": clean_title(core.title, name),
        "author": clean_author(author),
        "date": iso_date(core.created or core.modified),
        "metadata": scalars({"subject": core.subject, "keywords": core.keywords}),
    }


def scalars(values: Mapping[str, object]) -> dict[str, Scalar]:
    """The values an index can filter by: text, numbers and booleans; lists as "a, b".

    >>> scalars({"tags": ["a", "b"], "year": 2024, "draft": True, "nested": {"x": 1}, "no": None})
    {'tags': 'a, b', 'year': 2024, 'draft': True}
    """
    found: dict[str, Scalar] = {}
    for key, value in list(values.items())[:100]:
        scalar = _scalar(value)
        name = clean_fact(key)
        if scalar is not None and name:
            found[name] = scalar
    return found


def _scalar(value: object) -> Scalar | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return (
            value if abs(value) < 2**63 else str(value)[:MAX_FACT] if abs(value) < 10**400 else None
        )
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date):  # datetime is a date, too
        return value.isoformat()
    if isinstance(value, list | tuple):
        simple = [clean_fact(item) for item in value[:100] if isinstance(item, str | int | float)]
        return ", ".join(simple)[:MAX_FACT] or None
    if isinstance(value, str):
        return clean_fact(value) or None
    return None
