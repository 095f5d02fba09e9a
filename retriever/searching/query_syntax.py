"""Query syntax: a typed query → a text to search for, and a filter.

    "access control" -draft +budget file:reports type:pdf page:3-7 after:2023

- `"quoted words"` must occur as a phrase, `+word` must occur, `-word` and `-"quoted words"` must
  not. All inflected forms count, as in keyword search.
- `file:` is a part of the path or a pattern, also with the source's name before it; `type:` a
  format or a file extension, `page:` a page or a range. `date:2023`, `date:2023..2024`,
  `after:2023` (inclusive) and `before:2024` (exclusive) compare the document's date, written in any
  form that `retriever.text.dates` reads. `-` before such a condition negates it. A value may be
  quoted: `file:"my notes"`. `file:` without anything to search for gives the passages of that file,
  in order.
- Quotes of all languages are quotes, except single ones, which are apostrophes too.

Everything else is plain text, including what only resembles an operator: an unbalanced quote,
`24"`, `C++`, `-5 °C`, `+49 30`, `e-mail`, `12:30`, `https://…`, `page:last`, options of a command
(`rm -rf`), lines of a list. A query that would leave nothing to search for (`-draft`) is plain text
as a whole. So any text is a query. `Query.notes` says what somebody may have meant as an operator.

The conditions form a filter: it applies before the search, in every mode.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

from retriever.storage.filters import (
    And,
    Comparison,
    Filter,
    Not,
    Or,
    Words,
    between,
    equals,
    glob,
    one_of,
)
from retriever.text.analyzer import content_terms, index_terms
from retriever.text.dates import read_date
from retriever.types import UsageError, check_text

_MAX_OPERATORS = 50
"""Largest number of operators in a query; a text with more is plain text."""

_MAX_NOTES = 3
_MAX_CHARACTERS = 2_000  # a longer text was pasted: plain text

MAX_SEARCHED = 20_000
"""Characters of a text that are searched for, as many as are embedded."""

_QUOTED = '"[^"]+"|[“„”‟][^“„”‟]+[“”‟]|[«»][^«»]+[«»]|[‹›][^‹›]+[‹›]|＂[^＂]+＂'
_EAST_ASIAN = "「[^「」]+」|『[^『』]+』|〝[^〝〞〟]+[〞〟]"
"""These stand in running text, without spaces around them."""

_OPENING = '"“„”‟«»‹›＂「『〝'
_END = r"(?![^\s),.;:!?。、，；：！？）])"
_TOKEN = re.compile(
    rf"(?<![^\s(])(?P<sign>[+−-]?)"
    rf"(?:(?P<field>[A-Za-z]+):(?P<value>(?:{_QUOTED}|{_EAST_ASIAN}){_END}|[^\s\"]+)"
    rf"|(?P<quoted>(?:{_QUOTED}){_END}|{_EAST_ASIAN})"
    rf"|(?P<word>[^\W\d_][^\s\"「『〝]*|(?<=[-−])(?:19|20)\d\d{_END}))"
    rf"|(?P<inner>{_EAST_ASIAN})"
)
_PAGES = re.compile(r"(?P<first>[1-9]\d{0,6})(?:(?P<to>-|–|\.\.)(?P<last>[1-9]\d{0,6})?)?")
_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9]{0,2}|W(?:all|extra|error|pedantic)|[^=]+=.*", re.ASCII)
"""An option of a command, as in `rm -rf`, `gcc -Wall -std=c99`: it follows a word."""


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query. `text` is embedded, and its words are the keywords.

    `phrases` and `required` must occur and are part of `text`; `excluded` must not occur. `fields`
    are the other conditions as typed. `where` is all of them as one filter, or None. `notes` are
    sentences about what resembles an operator but was read as text. `text` is empty for the
    passages of a file alone.
    """

    text: str
    phrases: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    where: Filter | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

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
    check_text(typed, "the query")
    if len(typed) > _MAX_CHARACTERS:
        return plain(typed)
    found = _Operators(typed)
    end = 0
    for match in _TOKEN.finditer(typed):
        kept = found.take(match)
        if kept is not None:
            found.text += [typed[end : match.start()], kept]
            end = match.end()
    if not found.filters or len(found.filters) > _MAX_OPERATORS:
        return Query(typed, notes=tuple(found.few_notes()))
    text = " ".join("".join([*found.text, typed[end:]]).split())
    # A remaining sign ("+ -draft") is nothing to search for.
    if not is_searchable(text.replace("+", "")):
        if not found.names_file:
            note = f"{typed.strip()!r} was read as text: without it there is nothing to search for"
            return Query(typed, notes=(*found.few_notes(), note))
        text = ""
    return Query(
        text,
        tuple(found.phrases),
        tuple(found.required),
        tuple(found.excluded),
        tuple(found.fields),
        And(tuple(found.filters)),
        tuple(found.few_notes()),
    )


def plain(typed: str) -> Query:
    """The query for a text without operators: a very long one is searched for by its beginning."""
    if len(typed) <= MAX_SEARCHED:
        return Query(typed)
    note = f"only the first {MAX_SEARCHED:,} characters of the query are searched for"
    return Query(typed[:MAX_SEARCHED], notes=(note,))


def is_searchable(text: str) -> bool:
    r"""Whether there is a letter, digit, mark or symbol in it.

    >>> is_searchable("?!"), is_searchable("€"), is_searchable(" \0")
    (False, True, False)
    """
    return any(unicodedata.category(character)[0] in "LMNS" for character in text)


class _Operators:
    """The operators parsed so far."""

    def __init__(self, typed: str) -> None:
        self.typed = typed
        self.text: list[str] = []
        self.phrases: list[str] = []
        self.required: list[str] = []
        self.excluded: list[str] = []
        self.fields: list[str] = []
        self.filters: list[Filter] = []
        self.notes: list[str] = []
        self.names_file = False
        self._end = 0  # of the last operator

    def take(self, match: re.Match[str]) -> str | None:
        """Add an operator; its replacement in the text, None if the match is no operator."""
        kept = self._field(match) if match["field"] else self._words(match)
        if kept is not None:
            self._end = match.end()
        return kept

    def few_notes(self) -> list[str]:
        """The first notes, each once: a pasted log may have many."""
        return list(dict.fromkeys(self.notes))[:_MAX_NOTES]

    def _words(self, match: re.Match[str]) -> str | None:
        quoted = match["quoted"] or match["inner"]
        sign = (match["sign"] or "").replace("−", "-")
        words = _unquoted(quoted) if quoted else match["word"].rstrip(",.;:!?)")
        if not (sign or quoted) or (sign == "-" and not quoted and self._is_text(match, words)):
            return None
        if not quoted and not content_terms(index_terms(words)):
            return None  # "+the": nearly every passage has it
        try:
            condition = Words(words)
        except UsageError:  # no word, or far too many
            return None
        if sign == "-":
            self.excluded.append(words)
            self.filters.append(Not(condition))
            return ""
        (self.phrases if quoted else self.required).append(words)
        self.filters.append(condition)
        # Running text goes on right behind East Asian quotes.
        return f" {words} " if match[0][-1] in "」』〞〟" else words

    def _is_text(self, match: re.Match[str], words: str) -> bool:
        """Whether `-word` is an option of a command, a line of a list, or a negative number."""
        before = self.typed[self._end : match.start()]
        follows = before.split()[-1:]
        if (
            "\n" in self.typed.strip()
            and not self.typed[: match.start()].rpartition("\n")[2].strip()
        ):
            return True
        if words[0].isdigit():
            return not follows or not follows[0][-1].isalpha()
        if not follows or not _OPTION.fullmatch(words) or not follows[0][-1].isalnum():
            return False
        self.notes.append(f'"-{words}" was read as text; to exclude the word write -"{words}"')
        return True

    def _field(self, match: re.Match[str]) -> str | None:
        name, value = match["field"].lower(), _unquoted(match["value"])
        read = _FIELDS.get(name)
        if read is None:
            return None
        try:
            condition = read(value if name == "file" else value.rstrip(",;!?)"))
        except UsageError as error:
            self.notes.append(f'"{match[0]}" was read as text: {error}')
            return None
        if condition is None:
            return None
        negated = match["sign"] in ("-", "−")
        self.filters.append(Not(condition) if negated else condition)
        self.fields.append(match[0])
        self.names_file = self.names_file or (name == "file" and not negated)
        return ""


def _unquoted(text: str) -> str:
    return text[1:-1].strip() if text[0] in _OPENING and len(text) > 1 else text


def _file(value: str) -> Filter | None:
    """A filter for paths that contain or match `value`, ignoring case.

    The source's name may stand before the path, as the folder filter shows it: docs/2024.
    """
    if not value or value.startswith("//"):  # file:///home/…
        return None
    value = value.removeprefix("./")
    value = unicodedata.normalize("NFC", value)
    if any(character in value for character in "*?"):
        pattern = glob(_any_case(value))
        source, _, path = value.partition("/")
        if not path or any(character in source for character in "*?"):
            return pattern
        return Or((pattern, And((glob(_any_case(source), "source"), glob(_any_case(path))))))
    inside = _any_case(value)
    return Or((*_path_with("**/*", inside), *_in_source(value)))


def _path_with(before: str, inside: str) -> tuple[Filter, ...]:
    return glob(f"{before}{inside}*"), glob(f"{before}{inside}*/**")


def _in_source(value: str) -> tuple[Filter, ...]:
    """The filter for a path behind its source's name, as the folder filter shows it."""
    source, below, path = value.partition("/")
    if not source or not below:
        return ()
    named = glob(_any_case(source), "source")
    return (And((named, Or(_path_with("", _any_case(path))))) if path else named,)


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
    names = [name.strip().removeprefix(".") for name in value.lower().split(",") if name.strip()]
    unknown = [name for name in names if name not in _known_types()]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is neither a format nor a file ending that can be read")
    return one_of("format", names) if names else None


@cache
def _known_types() -> frozenset[str]:
    from retriever.reading.formats import FORMATS  # slow: only for `type:`

    endings = (ending.removeprefix(".") for each in FORMATS.values() for ending in each.endings)
    return frozenset([*FORMATS, *endings])


def _page(value: str) -> Filter | None:
    match = _PAGES.fullmatch(value)
    if match is None:
        raise UsageError("a page is written page:3, several page:3-7")
    first = int(match["first"])
    last = int(match["last"]) if match["last"] else None if match["to"] else first
    if last is not None and first > last:
        raise UsageError(f"the lower page comes first: page:{last}-{first}")
    return between("page", first, last)


def _date(value: str) -> Filter | None:
    first, to, last = value.partition("..")
    if not to:
        return equals("date", read_date(value))
    ends = [read_date(each) if each else None for each in (first, last)]
    if ends == [None, None]:
        return None
    condition = between("date", *ends)
    if None not in ends and not between("date", ends[0]).matches({"date": ends[1]}):
        raise UsageError(f"the earlier date comes first: date:{last}..{first}")
    return condition


def _after(value: str) -> Filter | None:
    return Comparison("date", "gte", read_date(value))


def _before(value: str) -> Filter | None:
    return Comparison("date", "lt", read_date(value))


_FIELDS: Mapping[str, Callable[[str], Filter | None]] = {
    "file": _file,
    "type": _type,
    "page": _page,
    "date": _date,
    "after": _after,
    "before": _before,
}

CONDITION_NAMES = tuple(_FIELDS)
"""The names of conditions, as in `type:pdf`."""

__all__ = ["CONDITION_NAMES", "MAX_SEARCHED", "Query", "is_searchable", "parse", "plain"]
