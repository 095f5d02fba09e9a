"""Filters on documents over columns in memory, for indexes of very many documents.

SQLite calls Python for each document whose date or path it compares. Here a column is read once for
a generation, and a comparison is made once for each different value. The results are those of
`document_condition`; what columns cannot tell is left to it.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from retriever.arrays import Integers, Keys, Mask
from retriever.storage.catalog.filter_sql import test_of
from retriever.storage.catalog.schema import blob, unblob
from retriever.storage.filters import (
    EMPTY_IS_MISSING,
    METADATA,
    And,
    Comparison,
    Filter,
    Not,
    Or,
)
from retriever.text.globs import literal_beginning
from retriever.types import Scalar

MAX_VALUES = 20_000
"""With more different values, SQLite is not slower."""

_FIELDS = ("path", "source", "title", "author", "date")


@dataclass(frozen=True)
class _Column:
    """The values of a field: `places` (m,) of documents with one, `codes` (m,) into `values`."""

    places: Integers
    codes: Integers
    values: list[Scalar]

    @cached_property
    def ordered(self) -> tuple[list[bytes], Integers]:
        """The values, all texts, as bytes in order, and their codes."""
        pairs = sorted((blob(str(value)), code) for code, value in enumerate(self.values))
        return [text for text, _ in pairs], np.array([code for _, code in pairs], np.int64)


class DocumentColumns:
    """The columns of one generation, read when they are first needed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT key FROM documents ORDER BY key").fetchall()
        self._keys: Keys = np.array([key for (key,) in rows], np.int64)
        self._columns: dict[str, _Column] = {}

    def matching(self, connection: sqlite3.Connection, where: Filter) -> Keys | None:
        """The keys of the documents that match, ascending: (m,); None if columns cannot tell.

        `connection` is in a transaction of the columns' generation.
        """
        mask = self._mask(connection, where)
        return None if mask is None else self._keys[mask]

    def _mask(self, connection: sqlite3.Connection, where: Filter) -> Mask | None:
        """Which documents match: (n,)."""
        if isinstance(where, Comparison):
            return self._compared(connection, where)
        if isinstance(where, Not):
            part = self._mask(connection, where.part)
            return None if part is None else ~part
        if not isinstance(where, And | Or):
            return None
        both = isinstance(where, And)
        mask = np.full(len(self._keys), both)
        for each in where.parts:
            part = self._mask(connection, each)
            if part is None:
                return None
            mask = mask & part if both else mask | part
        return mask

    def _compared(self, connection: sqlite3.Connection, comparison: Comparison) -> Mask | None:
        field = comparison.field
        if field not in _FIELDS and not field.startswith(METADATA):
            return None
        column = self._columns.get(field)
        if column is None:
            column = self._columns[field] = self._read(connection, field)
        mask = np.zeros(len(self._keys), dtype=bool)
        if comparison.op == "exists":
            mask[column.places] = True
            return mask if comparison.value else ~mask
        holds = _holding(column, comparison)
        if holds is None:
            return None
        mask[column.places[holds[column.codes]]] = True
        return mask

    def _read(self, connection: sqlite3.Connection, field: str) -> _Column:
        if field.startswith(METADATA):
            rows = connection.execute(
                "SELECT document, value, kind FROM metadata WHERE name = ? ORDER BY document",
                (blob(field[len(METADATA) :]),),
            )
        else:
            rows = connection.execute(f"SELECT key, {field}, 'text' FROM documents ORDER BY key")
        codes: dict[tuple[str, Scalar], int] = {}
        keys: list[int] = []
        found: list[int] = []
        for key, stored, kind in rows:
            if stored == b"" and field in EMPTY_IS_MISSING:
                continue
            # 1, 1.0 and True are equal, but not the same value.
            name = type(stored).__name__ + kind, stored
            keys.append(key)
            found.append(codes.setdefault(name, len(codes)))
        values = [_value(stored, name.endswith("truth")) for name, stored in codes]
        places = np.searchsorted(self._keys, np.array(keys, np.int64))
        return _Column(places, np.array(found, np.int64), values)


def _value(stored: bytes | Scalar, is_truth: bool) -> Scalar:
    if isinstance(stored, bytes):
        return unblob(stored)
    return bool(stored) if is_truth else stored


def _holding(column: _Column, comparison: Comparison) -> Mask | None:
    """For which values of the column a comparison holds; None if there are too many to try."""
    holds = np.zeros(len(column.values), dtype=bool)
    chosen: Integers = np.arange(len(column.values))
    beginning = literal_beginning(str(comparison.value)) if comparison.op == "glob" else ""
    if beginning and comparison.field == "path":
        texts, codes = column.ordered
        first = beginning.encode()
        end = first[:-1] + bytes([first[-1] + 1])
        chosen = codes[bisect_left(texts, first) : bisect_left(texts, end)]
        if comparison.value == f"{beginning}**" and beginning.endswith("/"):
            holds[chosen] = True  # all files in a folder
            return holds
    if len(chosen) > MAX_VALUES:
        return None
    test = test_of(json.dumps(comparison.to_json()))
    holds[chosen] = [test(column.values[code]) for code in chosen.tolist()]
    return holds


__all__ = ["MAX_VALUES", "DocumentColumns"]
