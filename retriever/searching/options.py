"""The options of a search: their names, defaults and allowed values.

`SearchOptions` is the only place for them. `Index.search`, the command line, the page, the
evaluation and the LangChain retriever take their options and defaults from here; `to_json` and
`from_json` carry them between processes. This module runs nothing and knows no index.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from retriever.settings import EMBED_MS, RERANK_SECONDS
from retriever.types import UsageError

if TYPE_CHECKING:
    from retriever.storage.filters import Filter


class Mode(StrEnum):
    """Which sides of the search are used."""

    HYBRID = "hybrid"
    DENSE = "dense"
    KEYWORD = "keyword"


@dataclass(frozen=True, slots=True)
class Marked:
    """The words of a passage that overlap `text[start:end]`; `weight` < 0: less like this."""

    chunk_id: str
    start: int
    end: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Steering:
    """A change of a query's vector: weights of its words, and marked parts of passages.

    `weights` has one weight for each word of the query, in order (see `Index.query_words`); empty:
    all are 1. `marked` are parts of passages to move towards, or away from.
    """

    weights: tuple[float, ...] = ()
    marked: tuple[Marked, ...] = ()

    def __post_init__(self) -> None:
        numbers = (*self.weights, *(one.weight for one in self.marked))
        if not all(map(math.isfinite, numbers)):
            raise UsageError("a weight must be a number, such as 0, 0.5, 2 or -1")

    @property
    def changes_nothing(self) -> bool:
        """Whether a search with it is that of the plain query."""
        return not self.marked and all(weight == 1 for weight in self.weights)

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read `{"weights": [1, 0], "marked": [{"chunk_id": …, "start": 0, "end": 9}]}`.

        Raises UsageError for anything else.
        """
        try:
            given = dict(_as_mapping(value))
            weights = tuple(map(float, _as_list(given.pop("weights", ()))))
            marked = tuple(_as_marked(one) for one in _as_list(given.pop("marked", ())))
            if not given:
                return cls(weights, marked)
        except (TypeError, ValueError):
            pass
        raise UsageError(
            'steering is written {"weights": [1, 0.5], "marked": [{"chunk_id": "…", "start": 0, '
            f'"end": 9, "weight": 1}}]}}; this is not: {value!r}'
        )


class SearchChanges(TypedDict, total=False):
    """The fields of `SearchOptions` without `k`, as keyword arguments; for type checkers."""

    mode: str
    where: Filter | Mapping[str, Any] | None
    by_file: bool
    syntax: bool
    typos: bool | None
    feedback: bool
    fold: bool
    diversity: float
    context: int
    min_match: float | None
    rerank: int
    rerank_seconds: float
    steering: Steering | None
    sentences: bool
    embed_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """The options of a search and their defaults, as for `Index.search`.

    What is searched:

    - `k`: the number of results, at least 1.
    - `mode`: "hybrid", "dense" (by vectors) or "keyword" (BM25).
    - `where`: a filter, e.g. `{"format": "pdf", "path": {"glob": "reports/**"}, "date": {"gte":
      "2024"}}` (see `retriever.storage.filters`). It holds before the search.
    - `by_file`: the best passage of each of the `k` best files.
    - `min_match`: only results with at least this match, from 0 to 1. With 0.95, one unanswerable
      question in twenty passes (see `retriever.searching.match`).

    How the query is read:

    - `syntax`: operators such as `"quoted words"`, `+word`, `-word`, `file:`, `type:`, `page:` and
      `date:` are parsed (see `retriever.searching.query_syntax`). Without it the query is plain
      text.
    - `typos`: a word that occurs nowhere is a typing error, and the nearest words replace it (see
      `Index.corrections`). None: as `syntax`.
    - `feedback`: a hybrid search is repeated with a query expanded by its first passages (see
      `retriever.searching.feedback`). A steered search has no feedback: it follows its weights.
    - `steering`: weights of the query's words, and parts of passages to search for or to avoid (see
      `retriever.searching.steering`). Not in keyword mode.

    How results are made of passages:

    - `fold`: near-duplicates become one result, and so do consecutive passages (see
      `retriever.searching.grouping`). Without it every passage is a result.
    - `diversity`: MMR, from 0 to 1; larger values prefer results unlike those above (see
      `retriever.searching.mmr`).
    - `context`: the number of passages before and after each result that are added to its text.
    - `sentences`: each result has its best sentence (`Hit.sentence`). Without them a search for
      hundreds of results takes less time.
    - `rerank`: the number of first results that the index's model reranks; 0: none.
    - `rerank_seconds`: the approximate time limit for reranking; infinity: none.

    While passages have no vectors yet:

    - `embed_ms`: the time, in milliseconds, in which the best passages by words are embedded during
      the search; 0: none is. Not in keyword mode (see `retriever.searching.late`).

    Raises UsageError, with the name and the value, for an impossible value.
    """

    k: int = 10
    mode: str = Mode.HYBRID
    where: Filter | Mapping[str, Any] | None = None
    by_file: bool = False
    syntax: bool = True
    typos: bool | None = None
    feedback: bool = True
    fold: bool = True
    diversity: float = 0.0
    context: int = 0
    min_match: float | None = None
    rerank: int = 0
    rerank_seconds: float = RERANK_SECONDS
    steering: Steering | None = None
    sentences: bool = True
    embed_ms: float = EMBED_MS

    def __post_init__(self) -> None:
        _check_kinds(self)
        object.__setattr__(self, "mode", as_mode(self.mode))
        check_count(self.k)
        check_budget(self.rerank, self.rerank_seconds)
        check_diversity(self.diversity)
        check_match(self.min_match)
        if not 0 <= self.embed_ms < math.inf:
            raise UsageError(f"embed_ms must be at least 0 milliseconds; it is {self.embed_ms:g}")
        if self.context < 0:
            raise UsageError(f"context must be at least 0 passages; it is {self.context}")
        if self.where is not None:
            object.__setattr__(self, "where", _as_filter(self.where))

    @property
    def filter(self) -> Filter | None:
        """`where` as a filter, None for none."""
        return None if self.where is None else _as_filter(self.where)

    @property
    def tolerant(self) -> bool:
        """Whether words that occur nowhere are replaced by the nearest ones."""
        return self.syntax if self.typos is None else self.typos

    def changed(self, k: int | None = None, **changes: Unpack[SearchChanges]) -> SearchOptions:
        """A copy with other values for some fields; `k` None keeps `k`.

        Raises UsageError for an unknown option, and for an impossible value.

        >>> SearchOptions(fold=False).changed(5, diversity=0.3) == SearchOptions(
        ...     k=5, fold=False, diversity=0.3)
        True
        """
        check_names(changes)
        if k is not None:
            return replace(self, k=k, **changes)
        return replace(self, **changes) if changes else self

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON; a missing time limit for reranking is null.

        >>> SearchOptions(k=3, mode="keyword").to_json()["mode"]
        'keyword'
        """
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values["mode"] = str(self.mode)
        if self.where is not None:
            values["where"] = _as_filter(self.where).to_json()
        if self.steering is not None:
            steering = asdict(self.steering)
            values["steering"] = {name: list(several) for name, several in steering.items()}
        if math.isinf(self.rerank_seconds):
            values["rerank_seconds"] = None
        return values

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gives; a missing option has its default.

        Raises UsageError for an unknown option, and for an impossible value.

        >>> SearchOptions.from_json({"k": 3, "literal": True})
        Traceback (most recent call last):
        ...
        retriever.types.UsageError: 'literal' is no search option; there are k, mode, where, \
by_file, syntax, typos, feedback, fold, diversity, context, min_match, rerank, rerank_seconds, \
steering, sentences, embed_ms
        """
        if not isinstance(value, Mapping):
            raise UsageError(f"search options are a JSON object; this is not: {value!r}")
        given = dict(value)
        check_names(given)
        if given.get("steering") is not None:
            given["steering"] = Steering.from_json(given["steering"])
        if "rerank_seconds" in given and given["rerank_seconds"] is None:
            given["rerank_seconds"] = math.inf
        return cls(**given)


def check_names(given: Iterable[str]) -> None:
    """Raise UsageError for names of unknown search options."""
    names = [each.name for each in fields(SearchOptions)]
    unknown = [name for name in given if name not in names]
    if unknown:
        listed = ", ".join(map(repr, unknown))
        are = "is no search option" if len(unknown) == 1 else "are no search options"
        raise UsageError(f"{listed} {are}; there are {', '.join(names)}")


def as_mode(name: str) -> Mode:
    """The mode of this name. Raises UsageError if there is none."""
    try:
        return Mode(name)
    except ValueError:
        raise UsageError(f"unknown mode {name!r}: use {', '.join(Mode)}") from None


def check_count(k: int) -> None:
    """Raise UsageError for a number of results below 1."""
    if not _is_integer(k):
        raise UsageError(f"the number of results must be a whole number; it is {k!r}")
    if k < 1:
        raise UsageError(f"the number of results must be at least 1; it is {k}")


def check_budget(count: int, seconds: float) -> None:
    """Raise UsageError for a negative number of hits, or a time limit of 0 seconds or less."""
    if count < 0:
        raise UsageError(f"the number of results to rerank must be at least 0; it is {count}")
    if not seconds > 0:
        raise UsageError(f"the time for reranking must be more than 0 seconds; it is {seconds:g}")


def check_diversity(diversity: float) -> None:
    """Raise UsageError for a diversity outside of [0, 1]."""
    if not _is_number(diversity):
        raise UsageError(f"the diversity must be a number; it is {diversity!r}")
    if not 0 <= diversity <= 1:
        raise UsageError(f"the diversity must be from 0 to 1; it is {diversity:g}")


def check_match(least: float | None) -> None:
    """Raise UsageError for a threshold outside of [0, 1]."""
    if least is not None and not 0 <= least <= 1:
        raise UsageError(f"the least match must be from 0 to 1; it is {least:g}")


def _as_filter(where: Filter | Mapping[str, Any]) -> Filter:
    from retriever.storage.filters import (
        Filter,  # not before it is needed: `wva --help` starts without
    )

    return where if isinstance(where, Filter) else Filter.parse(where)


def _is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_boolean(value: object) -> bool:
    # Also a NumPy truth value, or 0 and 1.
    return not isinstance(value, str | Sequence) and value in (True, False)


_KINDS: tuple[tuple[str, Callable[[object], bool], tuple[str, ...]], ...] = (
    ("a whole number", _is_integer, ("k", "context", "rerank")),
    ("a number", _is_number, ("diversity", "rerank_seconds", "min_match", "embed_ms")),
    ("true or false", _is_boolean, ("by_file", "syntax", "typos", "feedback", "fold", "sentences")),
    ("a text", lambda value: isinstance(value, str), ("mode",)),
    ("a Steering", lambda value: isinstance(value, Steering), ("steering",)),
)
"""(what a value must be, its test, the fields it applies to)."""

_NULLABLE = ("min_match", "typos", "steering")


def _check_kinds(options: SearchOptions) -> None:
    """Raise UsageError for a value of a wrong type: JSON may hold anything."""
    for what, fits, names in _KINDS:
        for name in names:
            value = getattr(options, name)
            if not fits(value) and not (value is None and name in _NULLABLE):
                raise UsageError(f"{name} must be {what}; it is {value!r}")


def _as_marked(value: object) -> Marked:
    marked = Marked(**_as_mapping(value))
    if not (
        isinstance(marked.chunk_id, str) and _is_integer(marked.start) and _is_integer(marked.end)
    ):
        raise TypeError
    return marked


def _as_list(value: object) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError
    return value


def _as_mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError
    return value


__all__ = [
    "Marked",
    "Mode",
    "SearchChanges",
    "SearchOptions",
    "Steering",
    "as_mode",
    "check_budget",
    "check_count",
    "check_diversity",
    "check_match",
    "check_names",
]
