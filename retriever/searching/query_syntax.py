"""Query syntax: a typed query → a text to search for, and a filter.

    "access control" -draft +budget file:reports type:pdf page:3-7 after:2023

- `"quoted words"` must occur as a phrase, `+word` must occur, `-word` and `-"quoted words"` must
  not. All inflected forms count, as in keyword search.
- `file:` is a part of the path or a pattern, `type:` a format or a file extension, `page:` a page
  or a range. `date:2023`, `date:2023..2024`, `after:2023` (inclusive) and `before:2024` (exclusive)
  compare the document's date. `-` before such a condition negates it. A value may be quoted:
  `file:"my notes"`.

Everything else is plain text, including what only resembles an operator: an unbalanced quote,
`24"`, `C++`, `-5 °C`, `+49 30`, `e-mail`, `12:30`, `https://…`, `page:last`. A query that would
leave nothing to search for (`-draft`) is plain text as a whole. So any text is a query.

The conditions form a filter: it applies before the search, in every mode.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from retriever.storage.filters import And, Comparison, Filter, Not, Or, Words, between, glob, one_of
from retriever.types import UsageError

_MAX_OPERATORS = 50
"""Largest number of operators in a query; a text with more is plain text."""

_MAX_CHARACTERS = 2_000  # a longer text was pasted: plain text

_QUOTED = '"[^"]+"|[“„][^“”„]+[“”]|«[^«»]+»'
_TOKEN = re.compile(
    rf"(?<![^\s(])(?P<sign>[+-]?)"
    rf"(?:(?P<field>[A-Za-z]+):(?P<value>(?:{_QUOTED})(?![^\s),.;:!?])|[^\s\"]+)"
    rf"|(?P<quoted>{_QUOTED})(?![^\s),.;:!?])"
    rf"|(?P<word>[^\W\d_][^\s\"]*))"
)
_PAGES = re.compile(r"(?P<first>[1-9]\d{0,6})(?:(?P<to>-|–|\.\.)(?P<last>[1-9]\d{0,6})?)?")
_DATE = r"\d{4}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?)?"
_DATES = re.compile(rf"(?P<first>{_DATE})?(?P<to>\.\.)?(?P<last>{_DATE})?")


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query. `text` is embedded, and its words are the keywords.

    `phrases` and `required` must occur and are part of `text`; `excluded` must not occur. `fields`
    are the other conditions as typed. `where` is all of them as one filter, or None.
    """

    text: str
    phrases: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    where: Filter | None = None

    def within(self, where: Filter | None) -> Filter | None:
        """The query's filter and the caller's, combined by AND."""
        if where is None or self.where is None:
            return where or self.where
        return where & self.where

    def conditions(self) -> list[str]:
        """The parsed conditions, for display.

        >>> parse('"access control" rules -draft type:pdf').conditions()
        ['"access control"', 'not "draft"', 'type:pdf']
        """
        must = [f'"{words}"' for words in (*self.phrases, *self.required)]
        return [*must, *(f'not "{words}"' for words in self.excluded), *self.fields]


def parse(typed: str) -> Query:
    """Parse a query; any text is legal.

    >>> query = parse('budget +approved -draft "risk exception" page:3-7')
    >>> query.text, query.phrases, query.required
    ('budget approved risk exception', ('risk exception',), ('approved',))
    >>> query.excluded, query.fields
    (('draft',), ('page:3-7',))
    >>> parse("C++ at -5 °C, see https://example.org 12:30").where is None
    True
    """
    if len(typed) > _MAX_CHARACTERS:
        return Query(typed)
    found = _Operators()
    end = 0
    for match in _TOKEN.finditer(typed):
        kept = found.take(match)
        if kept is not None:
            found.text += [typed[end : match.start()], kept]
            end = match.end()
    if not found.filters:
        return Query(typed)
    text = " ".join("".join([*found.text, typed[end:]]).split())
    # A remaining sign ("+ -draft") is nothing to search for.
    if len(found.filters) > _MAX_OPERATORS or not is_searchable(text.replace("+", "")):
        return Query(typed)
    return Query(
        text,
        tuple(found.phrases),
        tuple(found.required),
        tuple(found.excluded),
        tuple(found.fields),
        And(tuple(found.filters)),
    )


def is_searchable(text: str) -> bool:
    r"""Whether there is a letter, digit, mark or symbol in it.

    >>> is_searchable("?!"), is_searchable("€"), is_searchable(" \0")
    (False, True, False)
    """
    return any(unicodedata.category(character)[0] in "LMNS" for character in text)


class _Operators:
    """The operators parsed so far."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.phrases: list[str] = []
        self.required: list[str] = []
        self.excluded: list[str] = []
        self.fields: list[str] = []
        self.filters: list[Filter] = []

    def take(self, match: re.Match[str]) -> str | None:
        """Add an operator; its replacement in the text, None if the match is no operator."""
        if match["field"]:
            return self._field(match)
        words = _unquoted(match["quoted"]) if match["quoted"] else match["word"].rstrip(",.;:!?)")
        if not (match["sign"] or match["quoted"]):
            return None
        try:
            condition = Words(words)
        except UsageError:  # no word, or far too many
            return None
        if match["sign"] == "-":
            self.excluded.append(words)
            self.filters.append(Not(condition))
            return ""
        (self.phrases if match["quoted"] else self.required).append(words)
        self.filters.append(condition)
        return words

    def _field(self, match: re.Match[str]) -> str | None:
        read = _FIELDS.get(match["field"].lower())
        condition = read and read(_unquoted(match["value"]))
        if not condition:
            return None
        self.filters.append(Not(condition) if match["sign"] == "-" else condition)
        self.fields.append(match[0])
        return ""


def _unquoted(text: str) -> str:
    return text[1:-1].strip() if text[0] in '"“„«' and len(text) > 1 else text


def _file(value: str) -> Filter | None:
    """A filter for paths that contain or match `value`, ignoring case."""
    if not value or value.startswith("//"):  # file:///home/…
        return None
    if any(character in value for character in "*?"):
        return glob(_any_case(value))
    inside = _any_case(value)
    return Or((glob(f"**/*{inside}*"), glob(f"**/*{inside}*/**")))


def _any_case(pattern: str) -> str:
    """A glob that matches both cases of each letter; brackets are literal.

    >>> _any_case("a1[*.é")
    '[aA]1[[]*.[éÉ]'
    """
    return "".join(
        f"[{c.lower()}{c.upper()}]"
        if c.isalpha() and len(c.lower()) == len(c.upper()) == 1
        else ("[[]" if c == "[" else c)
        for c in pattern
    )


def _type(value: str) -> Filter | None:
    """A filter for formats by name or file extension: markdown, or md,docx."""
    names = [name for name in value.lower().split(",") if name.isalnum()]
    endings = [glob(f"*.{_any_case(name)}") for name in names]
    return Or((one_of("format", names), *endings)) if names else None


def _page(value: str) -> Filter | None:
    match = _PAGES.fullmatch(value)
    if match is None:
        return None
    last = match["last"] if match["to"] else match["first"]
    return between("page", int(match["first"]), int(last) if last else None)


def _date(value: str) -> Filter | None:
    match = _DATES.fullmatch(value)
    if match is None or not (match["first"] or match["last"]):
        return None
    if not match["to"]:
        return between("date", match["first"], match["first"]) if match["first"] == value else None
    return between("date", match["first"], match["last"])


def _after(value: str) -> Filter | None:
    return Comparison("date", "gte", value) if re.fullmatch(_DATE, value) else None


def _before(value: str) -> Filter | None:
    return Comparison("date", "lt", value) if re.fullmatch(_DATE, value) else None


_FIELDS: Mapping[str, Callable[[str], Filter | None]] = {
    "file": _file,
    "type": _type,
    "page": _page,
    "date": _date,
    "after": _after,
    "before": _before,
}

__all__ = ["Query", "is_searchable", "parse"]
