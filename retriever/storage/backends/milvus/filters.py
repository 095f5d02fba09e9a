"""Filters as expressions of Milvus over the fields of passages.

An expression has two values, never null: each field that may be null is guarded, and `not` is
pushed down to the comparisons. What an expression cannot say as `Filter.matches` means it (globs,
parts of texts, the order of texts, texts that may be numbers or dates) is decided here for each
document, and becomes a list of documents. So a filter always holds before the search.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import product

from retriever.storage.backends.milvus.fields import (
    FIRST,
    KIND,
    LAST,
    NUMBER,
    SINGLE_FORMS,
    TEXT,
    format_word,
)
from retriever.storage.backends.milvus.terms import (
    Reads,
    Terms,
    is_plain,
    phrase_expression,
)
from retriever.storage.backends.milvus.values import document_name, id_of, key_of, listed, quoted
from retriever.storage.comparing import number_of, period_of
from retriever.storage.filters import (
    EMPTY_IS_MISSING,
    METADATA,
    And,
    Comparison,
    Filter,
    Not,
    Or,
    Words,
    kind_of,
    mentions_passages,
)
from retriever.text.dates import Period
from retriever.text.globs import literal_beginning
from retriever.types import Scalar, UsageError

ALL, NONE = "key >= -9223372036854775808", "key < -9223372036854775808"
"""The expressions of all passages, and of none."""

MAX_VALUES = 30_000
"""The most values that a filter compares with, as in the embedded backend."""

_SYMBOLS = {"eq": "==", "ne": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_OPPOSITES = {"eq": "ne", "ne": "eq", "gt": "lte", "lte": "gt", "lt": "gte", "gte": "lt"}
_MAX_CACHED = 16
_LONGEST = 200  # characters of a value that a field surely holds whole
_MAX_FORMS = 4  # characters of a value that the field may have in two forms
_PLAIN_NAME = re.compile("[0-9A-Za-z_.-]{1,100}")
_EXACT = 2**52  # numbers that every engine compares exactly
_LEAST, _MOST = -(2**63), 2**63 - 1


class UnsayableError(Exception):
    """An expression cannot say it exactly."""


class FilterExpressions:
    """The expressions of one generation's filters."""

    def __init__(self, reads: Reads, terms: Terms) -> None:
        self._reads = reads
        self._terms = terms
        self._known: dict[str, str] = reads.remembered("filter expressions", dict)

    def expression(self, where: Filter) -> str:
        """The expression of the passages that match."""
        name = repr(where)
        if name not in self._known:
            _check_size(where)
            found = self._said(where, negated=False)
            while len(self._known) >= _MAX_CACHED:
                self._known.pop(next(iter(self._known)))
            self._known[name] = found
        return self._known[name]

    def _said(self, where: Filter, *, negated: bool) -> str:
        """The expression of a filter, or of its negation."""
        match where:
            case And(parts=parts) | Or(parts=parts):
                conjunction = isinstance(where, And) is not negated
                return self._joined(parts, conjunction=conjunction, negated=negated)
            case Not(part=part):
                return self._said(part, negated=not negated)
            case Words():
                return self._containing(where, negated=negated)
            case Comparison():
                try:
                    return say(where, negated=negated)
                except UnsayableError:
                    return self._resolved(where, negated=negated)
        raise UsageError(f"this index cannot search with a filter of type {type(where).__name__}")

    def _joined(self, parts: Sequence[Filter], *, conjunction: bool, negated: bool) -> str:
        """Parts joined; those that have to be decided for each document are decided together."""
        said: list[str] = []
        others: list[Filter] = []
        for part in parts:
            if mentions_passages(part) or _is_sayable(part):
                said.append(self._said(part, negated=negated))
            else:
                others.append(part)
        if others:
            whole = And(tuple(others)) if conjunction is not negated else Or(tuple(others))
            said.append(self._resolved(whole, negated=negated))
        if not said:
            return ALL if conjunction else NONE
        return f"({' and '.join(said) if conjunction else ' or '.join(said)})"

    def _resolved(self, where: Filter, *, negated: bool) -> str:
        """The passages of the documents that match, or of the others."""
        if mentions_passages(where):
            return self._compared(where, negated=negated)
        matching = {document_name(row.id) for row in self._reads.documents(where)}
        every = [document_name(row.id) for row in self._reads.documents()]
        others = [name for name in every if name not in matching]
        if len(matching) <= len(others):
            return _among("document", sorted(matching), negated=negated)
        return _among("document", sorted(others), negated=not negated)

    def _compared(self, where: Filter, *, negated: bool) -> str:
        """Passages by their ids, each compared here: a pattern of ids is no common condition."""
        collections = self._reads.collections
        keys = [
            row["key"]
            for rows in collections.scan("", ("key",))
            for row in rows
            if where.matches({"chunk_id": id_of(row["key"])})
        ]
        return _among_keys(keys, negated=negated)

    def _containing(self, words: Words, *, negated: bool) -> str:
        """Passages whose terms have one of the sequences side by side."""
        forms = [" ".join(form) for form in words.forms]
        splits = [(" ".join(form), joined) for form, joined in words.splits]
        every = [*forms, *(part for pair in splits for part in pair)]
        if not all(map(is_plain, every)):
            keys: set[int] = set()
            for form in forms:
                keys.update(self._terms.with_phrase(form))
            for form, joined in splits:
                both = set(self._terms.with_phrase(form))
                keys.update(both.intersection(self._terms.with_phrase(joined)))
            return _among_keys(sorted(keys), negated=negated)
        ways = [phrase_expression(form) for form in forms]
        ways += [
            f"({phrase_expression(form)} and {phrase_expression(joined)})"
            for form, joined in splits
        ]
        long = self._long(forms, splits)
        either = " or ".join([*ways, *([_among_keys(long, negated=False)] if long else [])])
        return f"(not ({either}))" if negated else f"({either})"

    def _long(self, forms: Sequence[str], splits: Sequence[tuple[str, str]]) -> list[int]:
        """The keys of the long passages with one of the sequences."""
        keys: set[int] = set()
        for form in forms:
            keys.update(self._terms.long_with(form))
        for form, joined in splits:
            keys.update(set(self._terms.long_with(form)) & set(self._terms.long_with(joined)))
        return sorted(keys)


def say(comparison: Comparison, *, negated: bool) -> str:
    """The expression of a comparison, or of its negation; UnsayableError if there is none."""
    field = comparison.field
    if field.startswith(METADATA):
        return _metadata(comparison, negated=negated)
    if field == "page":
        return _page(comparison, negated=negated)
    if field == "chunk_id":
        return _chunk_id(comparison, negated=negated)
    if field == "date":
        return _date(comparison, negated=negated)
    if field == "format":
        return _format(comparison, negated=negated)
    return _text(comparison, negated=negated)


def _is_sayable(where: Filter) -> bool:
    """Whether every part can be said."""
    match where:
        case And(parts=parts) | Or(parts=parts):
            return all(map(_is_sayable, parts))
        case Not(part=part):
            return _is_sayable(part)
        case Comparison():
            try:
                say(where, negated=False)
            except UnsayableError:
                return False
    return True


def _constant(value: bool, *, negated: bool) -> str:
    return ALL if value is not negated else NONE


def _among(field: str, values: Sequence[str], *, negated: bool) -> str:
    if not values:
        return _constant(False, negated=negated)
    return f"{field} {'not in' if negated else 'in'} {listed(values)}"


def _among_keys(keys: Sequence[int], *, negated: bool) -> str:
    if not keys:
        return _constant(False, negated=negated)
    return f"key {'not in' if negated else 'in'} [{', '.join(map(str, keys))}]"


# Texts


def _text(comparison: Comparison, *, negated: bool) -> str:
    """A comparison with a text, which is stored in the form NFC; an empty one may mean missing."""
    field, op = comparison.field, comparison.op
    may_miss = field in EMPTY_IS_MISSING
    if op == "exists":
        if not may_miss:
            return _constant(comparison.value is True, negated=negated)
        return f'{field} {"!=" if comparison.value is not negated else "=="} ""'
    if op == "glob" and field == "path":
        return _glob(str(comparison.value), negated=negated)
    if op not in ("eq", "ne", "in", "nin"):
        raise UnsayableError
    values = [str(value) for value in comparison.operands]
    column = "document" if field == "document_id" else field
    wanted = [
        form
        for value in values
        if value or not may_miss
        for form in _comparable_texts(value, field)
    ]
    if op in ("eq", "in"):
        return _among(column, wanted, negated=negated)
    if not may_miss:
        return _among(column, wanted, negated=not negated)
    # `ne`: it is there, and another one.
    return _among(column, [*wanted, ""], negated=not negated)


def _format(comparison: Comparison, *, negated: bool) -> str:
    """A comparison with the format or the file's ending: the field has both."""
    op = comparison.op
    if op == "exists":
        return _constant(comparison.value is True, negated=negated)
    words = [format_word(str(value)) for value in comparison.operands]
    if op not in ("eq", "ne", "in", "nin") or not words or not all(words):
        raise UnsayableError
    either = _either(f'format like "{word}|%" or format like "%|{word}"' for word in words)
    return f"(not {either})" if negated is (op in ("eq", "in")) else either


def _comparable_texts(value: str, field: str) -> list[str]:
    """A value as the field may have it where it is equal; UnsayableError where that is not sure."""
    if len(value) > _LONGEST:
        raise UnsayableError
    if field == "document_id":
        if not value.isascii():
            raise UnsayableError
        return [document_name(value)]
    if value.isascii():
        return [value]
    normal = unicodedata.normalize("NFC", value)
    if sum(map(normal.count, SINGLE_FORMS)) > _MAX_FORMS:
        raise UnsayableError
    return ["".join(one) for one in product(*((c, *SINGLE_FORMS.get(c, "")) for c in normal))]


def _glob(pattern: str, *, negated: bool) -> str:
    """All files in a folder: `reports/2024/**`."""
    folder = literal_beginning(pattern)
    if not folder.endswith("/") or pattern != f"{folder}**":
        raise UnsayableError
    end = folder[:-1] + chr(ord("/") + 1)
    if negated:
        return f"(path < {quoted(folder)} or path >= {quoted(end)})"
    return f"(path >= {quoted(folder)} and path < {quoted(end)})"


# Numbers


def _page(comparison: Comparison, *, negated: bool) -> str:
    """A comparison with the page, a whole number or null."""
    op = comparison.op
    if op == "exists":
        return f"page is {'not ' if comparison.value is not negated else ''}null"
    numbers = [number for each in comparison.operands if (number := number_of(each)) is not None]
    if op in ("in", "nin"):
        whole = [number for each in numbers if (number := _whole(each)) is not None]
        inside = f"page in [{', '.join(map(str, whole))}]" if whole else NONE
        outside = f"page not in [{', '.join(map(str, whole))}]" if whole else "page is not null"
        return _guarded(
            "page", inside if op == "in" else outside, outside if op == "in" else inside, negated
        )
    bound = _bound(op, numbers[0])
    if isinstance(bound, bool):
        return (
            f"page is {'not ' if bound is not negated else ''}null"
            if bound
            else (_constant(False, negated=negated))
        )
    symbol, number = bound
    yes, no = (f"page {_SYMBOLS[one]} {number}" for one in (symbol, _OPPOSITES[symbol]))
    return _guarded("page", yes, no, negated)


def _guarded(field: str, yes: str, no: str, negated: bool) -> str:
    """A comparison with a field that may be null, which it then does not match."""
    if negated:
        return f"({field} is null or {no})"
    return f"({field} is not null and {yes})"


def _whole(number: Scalar) -> int | None:
    """A number as a whole one in 64 bits; None if it is none."""
    if isinstance(number, float):
        if not math.isfinite(number) or number != int(number):
            return None
        number = int(number)
    value = int(number)
    return value if _LEAST <= value <= _MOST else None


def _bound(op: str, number: Scalar) -> tuple[str, int] | bool:
    """A comparison of whole numbers; or whether it holds for all of them."""
    whole = _whole(number)
    if whole is not None:
        return op, whole
    if op in ("eq", "ne"):
        return op == "ne"
    value = float(number)
    if value >= 2**63 or value < _LEAST:
        return (op in ("lt", "lte")) is (value > 0)
    below = math.floor(value)
    return ("gt", below) if op in ("gt", "gte") else ("lte", below)


# Ids of passages


def _chunk_id(comparison: Comparison, *, negated: bool) -> str:
    """A comparison with the id, whose order is that of keys."""
    op = comparison.op
    if op == "exists":
        return _constant(comparison.value is True, negated=negated)
    values = [str(value) for value in comparison.operands]
    if op in ("eq", "ne", "in", "nin"):
        keys = [key for value in values if (key := _key_of(value)) is not None]
        return _among_keys(keys, negated=(op in ("ne", "nin")) is not negated)
    if op not in _SYMBOLS or not all(value.isascii() for value in values):
        raise UnsayableError
    first = _first_key(values[0], strictly=op in ("gt", "lte"))
    above = op in ("gt", "gte")
    if first > _MOST:
        return _constant(not above, negated=negated)
    return f"key {'>=' if above is not negated else '<'} {first}"


def _key_of(value: str) -> int | None:
    try:
        key = key_of(value)
    except ValueError:
        return None
    return key if re.fullmatch("[0-9a-f]{16}", value) else None


def _first_key(text: str, *, strictly: bool) -> int:
    """The smallest key whose id is at least, or greater than, a text; 2⁶³ if there is none."""
    low, high = _LEAST, _MOST + 1
    while low < high:
        middle = (low + high) // 2
        id_ = id_of(middle)
        if id_ > text if strictly else id_ >= text:
            high = middle
        else:
            low = middle + 1
    return low


# Dates


def _date(comparison: Comparison, *, negated: bool) -> str:
    """A comparison of periods in seconds of local time; both are null where there is no date."""
    op = comparison.op
    if op not in ("eq", "ne", "in", "nin", "gt", "gte", "lt", "lte"):
        raise UnsayableError
    wanted = [period_of(value) for value in comparison.operands]
    if any(one is None or one.offset is not None for one in wanted):
        raise UnsayableError
    periods = [one for one in wanted if one is not None]
    if not periods:
        raise UnsayableError
    yes, no = _period_conditions("date_from", "date_to", op, periods)
    return _guarded("date_from", yes, no, negated)


def _period_conditions(
    first: str, last: str, op: str, periods: Sequence[Period]
) -> tuple[str, str]:
    """A comparison of the period between two fields, which are there, and its negation."""
    if op in ("gt", "gte", "lt", "lte"):
        (one,) = periods
        field, value = {
            "gte": (last, one.first),
            "lte": (first, one.last),
            "gt": (last, one.last),
            "lt": (first, one.first),
        }[op]
        return f"{field} {_SYMBOLS[op]} {value}", f"{field} {_SYMBOLS[_OPPOSITES[op]]} {value}"
    yes = _either(f"({first} >= {one.first} and {last} <= {one.last})" for one in periods)
    no = _both(f"({first} < {one.first} or {last} > {one.last})" for one in periods)
    return (yes, no) if op in ("eq", "in") else (no, yes)


def _either(parts: Iterable[str]) -> str:
    return f"({' or '.join(parts)})"


def _both(parts: Iterable[str]) -> str:
    return f"({' and '.join(parts)})"


# Metadata


def _metadata(comparison: Comparison, *, negated: bool) -> str:
    """A comparison with a metadata value, which is stored by what it is: see `fields`."""
    name, op = comparison.field.removeprefix(METADATA), comparison.op
    if not _PLAIN_NAME.fullmatch(name):
        raise UnsayableError
    if op == "exists":
        there = f"exists {_path(KIND, name)}"
        return there if comparison.value is not negated else f"(not {there})"
    operands = comparison.operands
    if (op not in _SYMBOLS and op not in ("in", "nin")) or not operands:
        raise UnsayableError
    if all(map(_is_plain, operands)) and op in ("eq", "ne", "in", "nin"):
        texts = [quoted(str(value)) for value in operands]
        return _alike(TEXT, name, op, texts, negated=negated)
    if not all(kind_of(value) == "number" and abs(float(value)) <= _EXACT for value in operands):
        raise UnsayableError
    numbers = _alike(NUMBER, name, op, [repr(value) for value in operands], negated=negated)
    periods = [when for value in operands if (when := period_of(value)) is not None]
    if not periods:
        return numbers
    if len(periods) < len(operands):
        raise UnsayableError
    first, last = _path(FIRST, name), _path(LAST, name)
    yes, no = _period_conditions(first, last, op, periods)
    if negated:
        return f"({numbers} and ((not exists {first}) or {no}))"
    return f"({numbers} or (exists {first} and {yes}))"


def _is_plain(value: Scalar) -> bool:
    """Whether a text equals itself alone: it is ASCII, no number and no date."""
    return (
        isinstance(value, str)
        and value.isascii()
        and len(value) <= _LONGEST
        and number_of(value) is None
        and period_of(value) is None
    )


def _alike(prefix: str, name: str, op: str, values: Sequence[str], *, negated: bool) -> str:
    """A comparison with values of one type, which is there if it is of this type."""
    path = _path(prefix, name)
    if op in ("in", "nin"):
        yes = _either(f"{path} == {value}" for value in values)
        no = _both(f"{path} != {value}" for value in values)
        yes, no = (yes, no) if op == "in" else (no, yes)
    else:
        yes, no = (f"{path} {_SYMBOLS[one]} {values[0]}" for one in (op, _OPPOSITES[op]))
    return f"((not exists {path}) or {no})" if negated else f"(exists {path} and {yes})"


def _path(prefix: str, name: str) -> str:
    return f"metadata[{quoted(prefix + name)}]"


def _check_size(where: Filter) -> None:
    count = _values(where)
    if count > MAX_VALUES:
        raise UsageError(
            f"the filter compares with {count:,} values; at most {MAX_VALUES:,} are possible"
        )


def _values(where: Filter) -> int:
    match where:
        case And(parts=parts) | Or(parts=parts):
            return sum(map(_values, parts))
        case Not(part=part):
            return _values(part)
        case Comparison(value=value):
            return len(value) if isinstance(value, tuple) else 1
    return 1


__all__ = ["ALL", "MAX_VALUES", "NONE", "FilterExpressions", "UnsayableError", "say"]
