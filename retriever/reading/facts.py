"""Title, author, date and other metadata, cleaned for the index.

The title is embedded with each passage, so a wrong title ("Microsoft Word - final2.doc") is worse
than none. Dates are read by `reading.dates`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from pathlib import PurePosixPath
from typing import Any

from retriever.reading.dates import iso_date
from retriever.reading.pages import drop_controls
from retriever.types import Scalar

MAX_FACT = 1_000
"""Maximum length of a title, an author or a metadata value, in characters."""

_FILE_NAME = re.compile(
    r"\.(?:docx?|dotx?|odt|rtf|pdf|pptx?|xlsx?|indd|qxd|tex|dvi|ps|eps|html?|xhtml|md|txt|ai|cdr|"
    r"fm|book|p65|pages|wpd|tif|tiff|jpe?g|png)$",
    re.IGNORECASE,
)
_NUMBERED = r"[\s\d()._:-]*"  # as programs number the documents that have no name
_PLACEHOLDER = re.compile(
    r"microsoft (?:office )?(?:word|powerpoint|excel)"
    r"(?: document| presentation| worksheet| workbook)?(?:\s*[-–]\s.*)?|"
    r"(?:powerpoint|word) presentation|no title|title|unknown|none|null|ohne titel|sans titre|"
    rf"(?:untitled|unbenannt)(?:[ -]?(?:document|page|presentation|spreadsheet|form|note|notebook|"
    rf"design|project|drawing|diagram|site|es dokument))?{_NUMBERED}|"
    rf"(?:new )?document ?\d*|slide \d+|presentation ?\d*|page \d+|"
    rf"scan(?:ned)?(?:[\s_-]*(?:documents?|images?|files?|pages?|copy|pictures?|photos?|pdf))?"
    rf"{_NUMBERED}|scan(?:ned)? (?:by|from|to|with|using) .*",
    re.IGNORECASE,
)
# Titles of books, but of other files what a program or a template writes.
_NO_TITLE = re.compile(r"index|home|\d{1,3}|\d{5,}|[^\w]*", re.IGNORECASE)
_NUMBER = re.compile(r"[12]\d{3}")  # "1984"
_BOOKS = (".epub",)  # whose makers state a title
# Whose title may be a heading or a file's name: chapters are called "IV", and their files likewise.
_HEADED = (".html", ".htm", ".xhtml", ".md", ".markdown", ".mdx", ".qmd", ".rmd", ".rst", ".ipynb")
_CHAPTER = re.compile(r"(?=.)(?:XL|X{0,3})(?:IX|IV|V?I{0,3})\.?")
_NO_AUTHOR = frozenset(
    {"unknown", "anonymous", "author", "user", "admin", "administrator", "owner", "python-docx"}
)


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

    >>> clean_title("Zero Trust Architecture", "nist.pdf"), clean_title("1984", "orwell.epub")
    ('Zero Trust Architecture', '1984')
    >>> clean_title("Microsoft Word - x.doc", "a.pdf"), clean_title("Report_v2", "a.pdf")
    ('', '')
    """
    title = clean_fact(value)
    if not title or "\ufffd" in title or _PLACEHOLDER.fullmatch(title):
        return ""
    if _looks_like_file(title, name) or not any(map(str.isalnum, title)):
        return ""
    if name.lower().endswith(_BOOKS):
        return title
    if name.lower().endswith(_HEADED) and _CHAPTER.fullmatch(title):
        return ""
    numbers_only = not any(map(str.isalpha, title)) and not _NUMBER.fullmatch(title)
    return "" if numbers_only or _NO_TITLE.fullmatch(title) else title


def _looks_like_file(title: str, name: str) -> bool:
    """Whether a title is the name of a file, as programs set it, and not a word or a sentence."""
    if " " in title:
        return False
    # A book may be called as its file; a name with digits is a camera's or a scanner's.
    same = title.casefold() == PurePosixPath(name).stem.casefold()
    worded = title.isalpha() and title[0].isupper() and not name.lower().endswith(_HEADED)
    stated = worded or name.lower().endswith(_BOOKS)
    return "_" in title or bool(_FILE_NAME.search(title)) or (same and not stated)


def clean_author(value: object) -> str:
    """The author, or empty for a placeholder.

    >>> clean_author("Ada Lovelace"), clean_author("Administrator")
    ('Ada Lovelace', '')
    """
    author = clean_fact(value).strip(" ;,")
    if author.casefold() in _NO_AUTHOR or not any(map(str.isalpha, author)):
        return ""
    return author


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


__all__ = [
    "MAX_FACT",
    "clean_author",
    "clean_fact",
    "clean_title",
    "iso_date",
    "package_facts",
    "scalars",
]
