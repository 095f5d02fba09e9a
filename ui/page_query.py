"""The query of the page: its text, options and filters. It is also the link to its results.

The values are read from the address of the page (`from_params`), written to it (`to_params`), and
passed to the search (`options`, `where`). Invalid values in an address are ignored.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import Any

from retriever.searching.facets import folder_filter
from retriever.searching.options import Mode, SearchOptions, Steering
from retriever.storage.filters import between
from retriever.text.dates import read_date
from retriever.types import UsageError

MODES = {
    Mode.HYBRID.value: "Hybrid",
    Mode.DENSE.value: "Meaning",
    Mode.KEYWORD.value: "Keywords",
}
_MODE_CHIPS = {Mode.DENSE.value: "Meaning only", Mode.KEYWORD.value: "Keywords only"}
LAYOUTS = ("documents", "passages")
"""Whether a result of the list is a document with its passages, or a passage."""

ORDERS = ("best", "newest")
"""The order of the list: the best first, or the document with the latest date."""

RESULTS = (5, 10, 20, 50, 100)
MAX_RESULTS = RESULTS[-1]
_SEARCH = SearchOptions()
LIGHTEST, HEAVIEST = -1.0, 3.0
"""The range of a word's weight; 1 is neutral, less than 0 leads away from the word."""

_LAST_PAGE = 1_000_000

_YEAR = re.compile(r"\d{4}")


@dataclass(frozen=True, slots=True)
class PageQuery:
    """The query, the options and the filters. Empty values and None do not restrict.

    `k`, `mode`, `by_file`, `fold` and `diversity` are those of `SearchOptions`.

    `weights` belong to the query's words; `marks` are the parts of passages marked as more or less
    wanted: see `ui.steer`. `layout` is one of `LAYOUTS`, `order` one of
    `ORDERS`; `strong` shows only results that match well. `also` are the names of
    other collections that are searched, too.
    """

    q: str = ""
    mode: str = str(_SEARCH.mode)
    k: int = _SEARCH.k
    by_file: bool = _SEARCH.by_file
    fold: bool = _SEARCH.fold
    diversity: float = _SEARCH.diversity
    path: str = ""
    formats: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    years: tuple[str, ...] = ()
    first_page: int | None = None
    last_page: int | None = None
    since: str = ""
    until: str = ""
    weights: tuple[float, ...] = ()
    marks: tuple[str, ...] = ()
    layout: str = LAYOUTS[0]
    order: str = ORDERS[0]
    strong: bool = False
    also: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The query's text, without white space around it."""
        return self.q.strip()

    def by_words(self) -> PageQuery:
        """The same query by keywords alone."""
        return replace(self, mode=str(Mode.KEYWORD), weights=(), marks=())

    def plain(self) -> PageQuery:
        """The same query without weights and marks."""
        return replace(self, weights=(), marks=())

    def where(self, *, without: Collection[str] = ()) -> dict[str, Any] | None:
        """The filter of `Index.search`, None without one; fields in `without` are left out."""
        conditions = {
            "path": _path(self.path.strip()),
            "formats": {"format": {"in": list(self.formats)}} if self.formats else {},
            "folders": {"$or": list(map(folder_filter, self.folders))} if self.folders else {},
            "years": {"date": {"in": list(filter(_iso, self.years))}} if self.years else {},
            "pages": _range("page", self.first_page, self.last_page),
            "dates": _range("date", _iso(self.since), _iso(self.until)),
        }
        parts = [part for name, part in conditions.items() if part and name not in without]
        return {"$and": parts} if parts else None

    def options(self, steering: Steering | None = None) -> SearchOptions:
        """The options of the search; `steering` is made of weights and marks."""
        return SearchOptions(
            k=self.k,
            mode=self.mode,
            where=self.where(),
            by_file=self.by_file,
            fold=self.fold,
            diversity=self.diversity,
            steering=steering,
        )

    def filters(self) -> list[str]:
        """The filters in words.

        >>> PageQuery(path="*.pdf", first_page=3, since="2024").filters()
        ['path *.pdf', 'from page 3', 'since 2024']
        """
        return [
            words
            for words in (
                f"path {self.path.strip()}" if self.path.strip() else "",
                ", ".join(self.formats),
                f"in {', '.join(map(folder_name, self.folders))}" if self.folders else "",
                f"of {', '.join(self.years)}" if self.years else "",
                _pages_in_words(self.first_page, self.last_page),
                f"since {self.since}" if self.since else "",
                f"until {self.until}" if self.until else "",
            )
            if words
        ]

    def chips(self) -> list[tuple[str, PageQuery]]:
        """Each restriction in words, with the query that is left without it.

        >>> asked = PageQuery(formats=("pdf", "txt"), first_page=3, mode="keyword")
        >>> [label for label, _ in asked.chips()]
        ['Keywords only', 'pdf', 'txt', 'from page 3']
        >>> asked.chips()[1][1].formats
        ('txt',)
        """
        found: list[tuple[str, dict[str, Any], object]] = [
            (
                _MODE_CHIPS.get(self.mode, ""),
                {"mode": self.mode_default()},
                self.mode in _MODE_CHIPS,
            ),
            ("best passage of each file", {"by_file": False}, self.by_file),
            ("every passage by itself", {"fold": True}, not self.fold),
            (f"diversity {self.diversity:g}", {"diversity": 0.0}, self.diversity > 0),
            *self._value_chips(),
            (f"path {self.path.strip()}", {"path": ""}, self.path.strip()),
            (
                _pages_in_words(self.first_page, self.last_page),
                {"first_page": None, "last_page": None},
                self.first_page or self.last_page,
            ),
            (f"since {self.since}", {"since": ""}, self.since),
            (f"until {self.until}", {"until": ""}, self.until),
            ("only strong matches", {"strong": False}, self.strong),
        ]
        return [(label, replace(self, **left)) for label, left, here in found if here]

    def _value_chips(self) -> Iterator[tuple[str, dict[str, Any], bool]]:
        named = folder_names(self.folders)
        for name in ("folders", "formats", "years"):
            values = getattr(self, name)
            for value in values:
                others = tuple(one for one in values if one != value)
                label = named[value] if name == "folders" else value
                yield label, {name: others}, True

    def without_filters(self) -> PageQuery:
        """The same query, by the same mode and in the same order, of all documents."""
        default = PageQuery()
        return replace(self, **{name: getattr(default, name) for name in _FILTERS})

    def problem(self) -> str:
        """A sentence about invalid filters; empty if all are valid."""
        for name, value in (("from", self.since), ("to", self.until)):
            try:
                _ = value and read_date(value)
            except UsageError as error:
                return f"The date {name!r} is not understood: {error}."
        if self.first_page and self.last_page and self.first_page > self.last_page:
            return "The first page lies behind the last one: exchange them."
        since, until = _iso(self.since), _iso(self.until)
        if since and until and not between("date", since).matches({"date": until}):
            return "The first date lies behind the last one: exchange them."
        return ""

    def to_params(self) -> dict[str, str | list[str]]:
        """The address's parameters, without default values.

        >>> PageQuery("apple pie", k=5, formats=("pdf",)).to_params()
        {'q': 'apple pie', 'k': '5', 'format': ['pdf']}
        """
        params: dict[str, str | list[str]] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value != item.default:
                params[_NAMES[item.name]] = _as_param(value)
        return params

    @classmethod
    def from_params(cls, params: Mapping[str, Sequence[str]]) -> PageQuery:
        """The query of an address's parameters: each name with the list of its values.

        >>> PageQuery.from_params({"q": ["x"], "k": ["many"], "files": ["1"]})
        ... # doctest: +ELLIPSIS
        PageQuery(q='x', mode='hybrid', k=10, by_file=True, ...)
        """
        one = {name: values[-1].strip() for name, values in params.items() if values}
        mode = one.get("mode", "")
        k = _number(one.get("k", ""), MAX_RESULTS)
        return cls(
            q=one.get("q", ""),
            mode=mode if mode in MODES else cls.mode_default(),
            k=k or _SEARCH.k,
            by_file=_yes(one.get("files", "")),
            fold=not _no(one.get("fold", "")) and not _yes(one.get("every", "")),
            diversity=_diversity(one),
            path=one.get("path", ""),
            formats=tuple(dict.fromkeys(params.get("format", ()))),
            folders=tuple(dict.fromkeys(params.get("folder", ()))),
            years=tuple(dict.fromkeys(filter(_YEAR.fullmatch, params.get("year", ())))),
            first_page=_number(one.get("first", ""), _LAST_PAGE),
            last_page=_number(one.get("last", ""), _LAST_PAGE),
            since=one.get("since", ""),
            until=one.get("until", ""),
            weights=_weights(one.get("weights", "")),
            marks=tuple(dict.fromkeys(params.get("like", ()))),
            layout=one["by"] if one.get("by") in LAYOUTS else LAYOUTS[0],
            order=one["order"] if one.get("order") in ORDERS else ORDERS[0],
            strong=_yes(one.get("strong", "")),
            also=tuple(dict.fromkeys(params.get("also", ()))),
        )

    @staticmethod
    def mode_default() -> str:
        """The default mode."""
        return str(_SEARCH.mode)


_NAMES = {
    "q": "q",
    "mode": "mode",
    "k": "k",
    "by_file": "files",
    "fold": "fold",
    "diversity": "diversity",
    "path": "path",
    "formats": "format",
    "folders": "folder",
    "years": "year",
    "first_page": "first",
    "last_page": "last",
    "since": "since",
    "until": "until",
    "weights": "weights",
    "marks": "like",
    "layout": "by",
    "order": "order",
    "strong": "strong",
    "also": "also",
}
"""A field's name → its name in the address."""

_FILTERS = (
    *("by_file", "fold", "diversity", "path", "formats", "folders", "years"),
    *("first_page", "last_page", "since", "until"),
)


def folder_name(folder: str) -> str:
    """The name of a folder on the page.

    >>> folder_name("reports/2024"), folder_name(""), folder_name("/fruit")
    ('reports/2024', 'added documents', 'added documents/fruit')
    """
    return folder if folder and not folder.startswith("/") else f"added documents{folder}"


def folder_names(folders: Iterable[str]) -> dict[str, str]:
    """The folders' names as the results have them: without the source, where that is clear.

    >>> folder_names(["docs", "docs/2024", "mail/2024", "", "/fruit"])
    ... # doctest: +NORMALIZE_WHITESPACE
    {'docs': 'docs', 'docs/2024': 'docs/2024', 'mail/2024': 'mail/2024',
     '': 'added documents', '/fruit': 'fruit'}
    """
    all_ = list(folders)
    short = {one: one.partition("/")[2] or folder_name(one) for one in all_}
    times = Counter(short.values())
    return {one: short[one] if times[short[one]] == 1 else folder_name(one) for one in all_}


def _path(pattern: str) -> dict[str, Any]:
    """A filter for a glob; a text without wildcards may be anywhere in the path."""
    if not pattern:
        return {}
    if any(character in pattern for character in "*?["):
        return {"path": {"glob": pattern}}
    inside = [f"**/*{pattern}*", f"**/*{pattern}*/**"]
    return {"$or": [{"path": {"glob": glob}} for glob in inside]}


def _iso(date: str) -> str | None:
    """The date in ISO 8601; None without one that can be read, which `problem` says."""
    try:
        return read_date(date) if date else None
    except UsageError:
        return None


def _range(field: str, low: Any, high: Any) -> dict[str, Any]:
    bounds = {name: value for name, value in (("gte", low), ("lte", high)) if value is not None}
    return {field: bounds} if bounds else {}


def _pages_in_words(first: int | None, last: int | None) -> str:
    if first and last:
        return f"page {first}" if first == last else f"pages {first} to {last}"
    if first:
        return f"from page {first}"
    return f"up to page {last}" if last else ""


def _as_param(value: Any) -> str | list[str]:
    if isinstance(value, tuple):
        weights = [f"{one:g}" for one in value if isinstance(one, float)]
        return ",".join(weights) if weights else list(value)
    if isinstance(value, bool):
        return "1" if value else "0"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _yes(text: str) -> bool:
    return text.lower() in ("1", "true", "yes")


def _no(text: str) -> bool:
    return text.lower() in ("0", "false", "no")


def _diversity(one: Mapping[str, str]) -> float:
    """From 0 to 1; addresses of older versions have `variety` in tenths.

    >>> _diversity({"diversity": "0.3"}), _diversity({"variety": "3"}), _diversity({})
    (0.3, 0.3, 0.0)
    >>> [_diversity({"diversity": text}) for text in ("2", "-1", "nan", "much")]
    [1.0, 0.0, 0.0, 0.0]
    """
    if "diversity" not in one:
        return (_number(one.get("variety", ""), 10) or 0) / 10
    try:
        value = float(one["diversity"])
    except ValueError:
        return 0.0
    return round(min(1.0, max(0.0, value)), 2) if isfinite(value) else 0.0


def _weights(text: str) -> tuple[float, ...]:
    """The weights in an address; () if they are invalid or all 1.

    >>> _weights("1,0,2.5"), _weights("9,-7"), _weights("1,heavy"), _weights("1,1"), _weights("nan")
    ((1.0, 0.0, 2.5), (3.0, -1.0), (), (), ())
    """
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        return ()
    if not all(map(isfinite, weights)) or all(weight == 1 for weight in weights):
        return ()
    return tuple(min(HEAVIEST, max(LIGHTEST, weight)) for weight in weights)


def _number(text: str, most: int) -> int | None:
    """A whole number from 1 to `most`, or None.

    >>> _number("7", 100), _number("1000", 100), _number("-3", 100), _number("²", 100)
    (7, 100, None, None)
    """
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        return None
    number = min(int(text), most)
    return number or None


__all__ = [
    "HEAVIEST",
    "LAYOUTS",
    "LIGHTEST",
    "MODES",
    "ORDERS",
    "RESULTS",
    "PageQuery",
    "folder_name",
    "folder_names",
]
