"""Filters: conditions on the fields of documents and chunks.

A filter is a frozen tree of comparisons joined by and, or, not. `Filter.parse` reads it from plain
dictionaries, as in JSON. `Filter.matches` defines its meaning, and the translation of each backend
(such as SQL) is tested against it.

    {"format": "pdf", "page": {"gte": 3}, "path": {"glob": "reports/**/*.pdf"},
     "metadata.year": {"in": [2023, 2024]},
     "$or": [{"author": "Ada"}, {"title": {"exists": false}}],
     "$text": "access control", "$not": {"$text": "draft"}}

The rules are the same for all backends:

- **Two-valued logic.** A comparison (even `ne` and `nin`) is false if the field is missing or has
  another type (see `retriever.storage.comparing`). `not` inverts.
- **Missing values** are: a page in a format without pages, an empty title, author or date, an
  absent metadata key, a number that is NaN.
- **Texts** are compared by code points of their Unicode form NFC, case-sensitively.
- **Numbers** are 64-bit integers or floats; a larger integer counts as the nearest float. A number
  may be written as a text ("3"): it is never compared as a text.
- **Dates** are compared as periods: "2024-03" means all of March, and `{"lte": "2024"}` includes
  all of 2024. A date may be written in any form that `retriever.text.dates` reads, or be a `date`
  or `datetime`; what is no date is refused.
- **Formats** are also named by file endings, in any case: "markdown", "md", ".MD".
- **Parts of a text**: `contains` is any part, as it is written; `like` is a whole pattern in which
  `%` stands for any characters and `_` for one.
- **Globs**: `*` and `?` do not cross `/`, `**` does, `[a-z]` and `[!a-z]` are one character; a
  pattern without `/` is matched against the file's name in any folder. The case of a file's ending
  does not count.
- **Phrases**: `$text` is true if the words occur side by side in a chunk's text or in its
  document's title, in any form that the analyzer reduces to the same terms
  (`retriever.text.analyzer`).

This module knows nothing of databases.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, cast, get_args

from retriever.storage.comparing import (
    Kind,
    comparable,
    compare_any,
    compare_dates,
    compare_formats,
    compare_texts,
    has_part,
    kind_of,
    number_of,
)
from retriever.text.analyzer import count_term, index_terms, phrase_forms, split_forms
from retriever.text.dates import NotADateError, read_date
from retriever.text.globs import glob_matches
from retriever.text.languages import LANGUAGES
from retriever.types import Chunk, DocumentRow, Scalar, UsageError, shown

Operator = Literal[
    "eq", "ne", "in", "nin", "gt", "gte", "lt", "lte", "exists", "glob", "contains", "like"
]
Value = Scalar | tuple[Scalar, ...]

OPERATORS: tuple[Operator, ...] = get_args(Operator)
FIELDS = ("path", "source", "format", "page", "title", "author", "date", "document_id", "chunk_id")
TEXT_FIELDS = ("path", "source", "format", "title", "author", "document_id", "chunk_id")
PASSAGE_FIELDS = ("page", "chunk_id")
METADATA = "metadata."
TEXT = "$text"
"""The field of a chunk's title and text; a document has none."""

LANGUAGE = "$language"
"""The field of a chunk's language, in which its text is analysed."""

EMPTY_IS_MISSING = frozenset({"title", "author", "date"})
_ORDERS = ("gt", "gte", "lt", "lte")
PART_OPERATORS = ("contains", "like")
"""The operators that compare parts of texts."""

_DEEPEST = 50
_MAX_PHRASE = 100


class Filter(ABC):
    """A condition on the fields of a document or chunk. Filters are combined by `&`, `|` and `~`.

    >>> (equals("format", "pdf") & ~glob("drafts/**")).matches({"format": "pdf", "path": "a.pdf"})
    True
    """

    __slots__ = ()

    @abstractmethod
    def matches(self, fields: Mapping[str, Any]) -> bool:
        """Whether a record with these fields matches.

        A metadata value is read from `fields["metadata.<key>"]` or from `fields["metadata"]`.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The filter as `parse` reads it: plain JSON values."""

    @staticmethod
    def parse(spec: Mapping[str, Any]) -> Filter:
        """Read a filter from plain JSON values; {} matches everything.

        >>> Filter.parse({"page": {"gte": 3, "lt": 9}}).matches({"page": 8})
        True
        >>> Filter.parse({"year": [2023, 2024]})
        Comparison(field='metadata.year', op='in', value=(2023, 2024))
        """
        return _parse(spec, 0)

    def __and__(self, other: Filter) -> Filter:
        return And((self, other))

    def __or__(self, other: Filter) -> Filter:
        return Or((self, other))

    def __invert__(self) -> Filter:
        return Not(self)


@dataclass(frozen=True, slots=True)
class Comparison(Filter):
    """One field against one value (a tuple of values for `in` and `nin`)."""

    field: str
    op: Operator
    value: Value

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", canonical_field(self.field))
        if self.op not in OPERATORS:
            raise UsageError(
                f"the filter on {shown(self.field)} uses {shown(self.op)}, which is not an "
                f"operator; there are {', '.join(OPERATORS)}"
            )
        object.__setattr__(self, "value", _checked(self.field, self.op, self.value))

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """See `Filter.matches`."""
        actual = _lookup(fields, self.field)
        if self.op == "exists":
            return (actual is not None) == self.value
        return actual is not None and self.holds(actual, str(fields.get("path", "")))

    def holds(self, actual: Scalar, path: str = "") -> bool:
        """Whether the comparison holds for a value of the field, in a file at `path`."""
        if self.op == "glob":
            return isinstance(actual, str) and glob_matches(str(self.value), actual)
        if self.op in PART_OPERATORS:
            return isinstance(actual, str) and has_part(self.op, actual, str(self.value))
        if self.op in ("in", "nin"):
            found = [self._compare("eq", actual, path, wanted) for wanted in self.operands]
            if self.op == "in":
                return True in found
            return True not in found and (False in found or not found)
        (wanted,) = self.operands
        return self._compare(self.op, actual, path, wanted) is True

    def _compare(self, op: str, actual: Scalar, path: str, wanted: Scalar) -> bool | None:
        """Whether two values compare so; None if they are not alike."""
        if self.field == "date":
            return compare_dates(op, actual, wanted)
        if self.field == "format":
            return compare_formats(op, actual, path, wanted)
        if self.field in TEXT_FIELDS:
            return compare_texts(op, actual, wanted)
        return compare_any(op, actual, wanted)

    def to_json(self) -> dict[str, Any]:
        """See `Filter.to_json`."""
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return {self.field: {self.op: value}}

    @property
    def operands(self) -> tuple[Scalar, ...]:
        """The value or values compared with, numbers reduced to what can be compared."""
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        return tuple(comparable(value) for value in values)


@dataclass(frozen=True, slots=True)
class And(Filter):
    """The conjunction of `parts`; without parts it matches everything."""

    parts: tuple[Filter, ...]

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """See `Filter.matches`."""
        return all(part.matches(fields) for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """See `Filter.to_json`."""
        return {"$and": [part.to_json() for part in self.parts]} if self.parts else {}


@dataclass(frozen=True, slots=True)
class Or(Filter):
    """The disjunction of `parts`; without parts it matches nothing."""

    parts: tuple[Filter, ...]

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """See `Filter.matches`."""
        return any(part.matches(fields) for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """See `Filter.to_json`. An empty $or is not valid, so "nothing" is written as $not {}."""
        return {"$or": [part.to_json() for part in self.parts]} if self.parts else {"$not": {}}


@dataclass(frozen=True, slots=True)
class Not(Filter):
    """The negation of `part`, which also matches records without the field."""

    part: Filter

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """See `Filter.matches`."""
        return not self.part.matches(fields)

    def to_json(self) -> dict[str, Any]:
        """See `Filter.to_json`."""
        return {"$not": self.part.to_json()}


@dataclass(frozen=True, slots=True)
class Words(Filter):
    """Chunks that contain `phrase`, in any form of its words; it matches no document as such.

    Raises UsageError for a phrase without words, or of more than 100 words.
    """

    phrase: str

    def __post_init__(self) -> None:
        if not isinstance(self.phrase, str):
            raise UsageError(f"{TEXT} needs a word or a phrase, not {shown(self.phrase)}")
        forms = self.forms
        if not forms:
            raise UsageError(f"{TEXT} has no word to look for in {self.phrase[:40]!r}")
        if len(forms[0]) > _MAX_PHRASE:
            raise UsageError(f"{TEXT} takes at most {_MAX_PHRASE} words, not {len(forms[0])}")

    @property
    def forms(self) -> list[tuple[str, ...]]:
        """The sequences of terms of which one must occur: see `phrase_forms` of the analyzer."""
        return phrase_forms(self.phrase, LANGUAGES)

    @property
    def splits(self) -> list[tuple[tuple[str, ...], str]]:
        """Further sequences, each with a term that must occur, too: see `split_forms`."""
        return split_forms(self.phrase, LANGUAGES)

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """See `Filter.matches`; it reads `fields["$text"]` and `fields["$language"]`."""
        terms = index_terms(fields.get(TEXT, ""), fields.get(LANGUAGE, ""))
        return any(count_term(terms, " ".join(form)) for form in self.forms) or any(
            joined in terms and count_term(terms, " ".join(form)) for form, joined in self.splits
        )

    def to_json(self) -> dict[str, Any]:
        """See `Filter.to_json`."""
        return {TEXT: self.phrase}


def equals(field: str, value: Scalar) -> Filter:
    """Records whose `field` is `value`."""
    return Comparison(field, "eq", value)


def one_of(field: str, values: Sequence[Scalar]) -> Filter:
    """Records whose `field` is one of `values`."""
    return Comparison(field, "in", tuple(values))


def between(field: str, low: Scalar | None = None, high: Scalar | None = None) -> Filter:
    """Records with low ≤ `field` ≤ high; None means no bound.

    >>> between("date", "2023", "2024").matches({"date": "2024-12-31"})
    True
    """
    parts: list[Filter] = []
    if low is not None:
        parts.append(Comparison(field, "gte", low))
    if high is not None:
        parts.append(Comparison(field, "lte", high))
    return And(tuple(parts))


def glob(pattern: str, field: str = "path") -> Filter:
    """Records whose path matches the pattern; see the module's docstring."""
    return Comparison(field, "glob", pattern)


def mentions_passages(where: Filter) -> bool:
    """Whether the filter has a condition on passages, not on their documents alone."""
    if isinstance(where, Comparison):
        return where.field in PASSAGE_FIELDS
    if isinstance(where, Not):
        return mentions_passages(where.part)
    if isinstance(where, And | Or):
        return any(map(mentions_passages, where.parts))
    return isinstance(where, Words)


def document_part(where: Filter | None) -> Filter:
    """The conditions of a conjunction that are on documents alone."""
    parts = where.parts if isinstance(where, And) else (where,) if where else ()
    nested = [document_part(part) if isinstance(part, And) else part for part in parts]
    return And(tuple(part for part in nested if not mentions_passages(part)))


def document_fields(row: DocumentRow) -> dict[str, Any]:
    """The fields of a document for `Filter.matches`, without page and chunk id."""
    names = ("path", "source", "format", "title", "author", "date", "metadata")
    return {**{name: getattr(row, name) for name in names}, "document_id": row.id}


def chunk_fields(row: DocumentRow, chunk: Chunk) -> dict[str, Any]:
    """The fields of a chunk for `Filter.matches`: its document's, page, id, language and text."""
    own = {"page": chunk.page, "chunk_id": chunk.id, LANGUAGE: chunk.language}
    return {**document_fields(row), **own, TEXT: f"{chunk.title}\n{chunk.text}"}


def canonical_field(name: str) -> str:
    """A built-in field's name, or `metadata.<key>` for any other.

    >>> canonical_field("page"), canonical_field("year"), canonical_field("metadata.page")
    ('page', 'metadata.year', 'metadata.page')
    """
    if name in FIELDS or (name.startswith(METADATA) and name != METADATA):
        return name
    if not name or name in ("metadata", METADATA):
        raise UsageError(f"a filter names no field with {shown(name)}; write metadata.<key>")
    return METADATA + name


def _lookup(fields: Mapping[str, Any], field: str) -> Scalar | None:
    value = fields.get(field)
    if field.startswith(METADATA) and field not in fields:
        metadata = fields.get("metadata")
        value = metadata.get(field[len(METADATA) :]) if isinstance(metadata, Mapping) else None
    if kind_of(value) is None or (value == "" and field in EMPTY_IS_MISSING):
        return None
    return comparable(cast(Scalar, value))


def _checked(field: str, op: Operator, value: object) -> Value:
    """`value` in the form that the operator takes, or a UsageError."""
    if op in ("in", "nin"):
        if isinstance(value, str) or not isinstance(value, Sequence | set | frozenset):
            raise UsageError(f"the filter on {shown(field)}: {op} needs a list of values")
        return tuple(_scalar(field, "eq", item) for item in value)
    if op == "exists" and not isinstance(value, bool):
        raise UsageError(f"the filter on {shown(field)}: exists is either true or false")
    return _scalar(field, op, value)


def _scalar(field: str, op: Operator, value: object) -> Scalar:
    if op == "exists":
        return cast(Scalar, value)
    if isinstance(value, date) and field not in TEXT_FIELDS:  # a datetime is a date, too
        value = read_date(value)
    if kind_of(value) is None:
        raise UsageError(
            f"the filter on {shown(field)} cannot compare with {shown(value)}; use a text, a "
            'number, true or false, or {"exists": false} for what is missing'
        )
    scalar = cast(Scalar, value)
    if op == "glob" or op in PART_OPERATORS:
        if not isinstance(scalar, str) or field == "page":
            what = "a text" if op == "contains" else "a pattern"
            raise UsageError(f"the filter on {shown(field)}: {op} needs {what}, not {shown(value)}")
        return scalar
    if op in _ORDERS and isinstance(scalar, bool):
        raise UsageError(
            f"the filter on {shown(field)}: {op} needs a number or a text, not {shown(value)}"
        )
    if field == "date":
        return _date(scalar)
    if field == "page":
        return _page(scalar)
    if field in TEXT_FIELDS:
        return _text(field, op, scalar)
    return _metadata_value(field, scalar) if op in _ORDERS else scalar


def _date(value: Scalar) -> str:
    try:
        return read_date(value)
    except UsageError as error:
        raise UsageError(f"the filter on date needs a date: {error}") from None


def _page(value: Scalar) -> Scalar:
    number = number_of(value)
    if number is None:
        raise UsageError(f"the filter on page needs a number such as 3, not {shown(value)}")
    return number


def _text(field: str, op: Operator, value: Scalar) -> str:
    """A text field's value; a title such as 1984 may be written as a number."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or op in _ORDERS:
        raise UsageError(f"the filter on {field} needs a text, not {shown(value)}")
    return str(value)


def _metadata_value(field: str, value: Scalar) -> Scalar:
    """A value whose order counts: a number, a date in ISO 8601, or else any text."""
    if not isinstance(value, str) or number_of(value) is not None:
        return value
    try:
        return read_date(value)
    except NotADateError:
        return value
    except UsageError as error:
        raise UsageError(f"the filter on {shown(field)}: {error}") from None


def _parse(spec: object, depth: int) -> Filter:
    if isinstance(spec, Filter):
        return spec
    if not isinstance(spec, Mapping):
        raise UsageError(f'a filter is written {{"field": value, …}}; this is not: {shown(spec)}')
    if depth > _DEEPEST:
        raise UsageError(f"the filter is nested deeper than {_DEEPEST} levels; write it flatter")
    return _joined([_parse_entry(name, value, depth + 1) for name, value in spec.items()])


def _parse_entry(name: object, value: object, depth: int) -> Filter:
    if not isinstance(name, str):
        raise UsageError(f"a filter's field is a text; this is not: {shown(name)}")
    if name.startswith("$"):
        return _parse_logic(name, value, depth)
    if isinstance(value, Mapping):
        return _parse_operators(name, value, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return Comparison(name, "in", cast(Value, value))
    return Comparison(name, "eq", cast(Scalar, value))


def _parse_logic(name: str, value: object, depth: int) -> Filter:
    if name == "$not":
        return Not(_parse(value, depth))
    if name == TEXT:
        return Words(cast(str, value))
    if name not in ("$and", "$or"):
        raise UsageError(f"{shown(name)} does not combine filters; use $and, $or, $not or {TEXT}")
    if not isinstance(value, list | tuple) or not value:
        raise UsageError(f"{name} needs a list with at least one filter")
    parts = tuple(_parse(part, depth) for part in value)
    return And(parts) if name == "$and" else Or(parts)


def _parse_operators(field: str, operators: Mapping[Any, Any], depth: int) -> Filter:
    if not operators:
        raise UsageError(
            f"the filter on {shown(field)} is empty; use one of {', '.join(OPERATORS)}"
        )
    if depth > _DEEPEST:
        raise UsageError(f"the filter is nested deeper than {_DEEPEST} levels; write it flatter")
    parts: list[Filter] = []
    for name, value in operators.items():
        op = str(name).removeprefix("$")
        if op == "not" and isinstance(value, Mapping):
            parts.append(Not(_parse_operators(field, value, depth + 1)))
        else:
            parts.append(Comparison(field, cast(Operator, op), value))
    return _joined(parts)


def _joined(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


__all__ = [
    "EMPTY_IS_MISSING",
    "FIELDS",
    "METADATA",
    "OPERATORS",
    "PART_OPERATORS",
    "PASSAGE_FIELDS",
    "TEXT",
    "TEXT_FIELDS",
    "And",
    "Comparison",
    "Filter",
    "Kind",
    "Not",
    "Operator",
    "Or",
    "Words",
    "between",
    "canonical_field",
    "chunk_fields",
    "comparable",
    "document_fields",
    "document_part",
    "equals",
    "glob",
    "kind_of",
    "mentions_passages",
    "one_of",
]
