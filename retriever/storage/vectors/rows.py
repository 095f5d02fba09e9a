"""The row file: the exact vectors of a vector file one after another, and their moments.

A FAISS index of codes rescores some hundred candidates of each query by exact vectors. In the
catalog these lie scattered over large pages; here each is one short read. The mean and the second
moment of all vectors give the mean and deviation of any query's scores without a scan.

The file lies beside a vector file and is valid only with it. It is made of the catalog and can be
deleted at any time. Each row has a checksum.

    rows (float32) …  checksums (uint64) …  sum, products (float64)  facts (JSON)
    trailer: size and checksum of what follows the rows, size of the facts, MAGIC
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from retriever.arrays import DoubleScores, DoubleVectors, Integers, Keys, Vectors
from retriever.files.durable import publish
from retriever.files.private import open_private

_MAGIC = b"wvarows1"
_TRAILER = struct.Struct("<QIQ8s")
_BLOATED = (MemoryError, RecursionError)  # in a file that somebody has prepared
_BLOCK = 4096  # rows whose products are summed at once

Sums = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Moments:
    """The number, sum (dim,) and sum of the outer products (dim, dim) of vectors."""

    count: int
    total: DoubleScores
    products: DoubleVectors

    @classmethod
    def none(cls, dimension: int) -> Self:
        """The moments of no vectors."""
        return cls(0, np.zeros(dimension), np.zeros((dimension, dimension)))

    def plus(self, vectors: Vectors, sign: int = 1) -> Moments:
        """With more vectors (n, dim); without them if `sign` is -1."""
        total, products = self.total.copy(), self.products.copy()
        for start in range(0, len(vectors), _BLOCK):
            block = vectors[start : start + _BLOCK]
            total += sign * block.sum(axis=0, dtype=np.float64)
            products += sign * (block.T @ block)
        return Moments(self.count + sign * len(vectors), total, products)

    def statistics(self, query: Vectors) -> tuple[float, float]:
        """The mean and standard deviation of the vectors' inner products with a query (dim,)."""
        if self.count <= 0:
            return 0.0, 0.0
        direction = query.astype(np.float64)
        mean = float(self.total @ direction) / self.count
        square = float(direction @ self.products @ direction) / self.count
        return mean, float(np.sqrt(max(0.0, square - mean**2)))


class MomentsSoFar:
    """The moments of vectors that pass by."""

    def __init__(self, dimension: int) -> None:
        self.moments = Moments.none(dimension)

    def passing(self, blocks: Iterable[tuple[Keys, Vectors]]) -> Iterator[tuple[Keys, Vectors]]:
        """The same blocks, which are counted."""
        for keys, vectors in blocks:
            self.moments = self.moments.plus(vectors)
            yield keys, vectors


@dataclass(eq=False, slots=True)
class RowFile:
    """A readable row file. `count` is 0 if the vector file holds the exact vectors itself."""

    path: Path
    count: int
    dimension: int
    moments: Moments
    checksums: Sums = field(repr=False)
    damaged: bool = False

    @classmethod
    def open(cls, path: Path, vector_file: str) -> RowFile | None:
        """The file; None if it is missing, damaged, or of another vector file."""
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(size - _TRAILER.size)
                length, checksum, facts_size, magic = _TRAILER.unpack(file.read(_TRAILER.size))
                if magic != _MAGIC or not facts_size <= length <= size - _TRAILER.size:
                    return None
                file.seek(size - _TRAILER.size - length)
                data = file.read(length)
            if zlib.crc32(data) != checksum:
                return None
            facts = json.loads(data[length - facts_size :])
            count, rows, dim = facts["count"], facts["rows"], facts["dimension"]
            plain = all(type(one) is int and one >= 0 for one in (count, rows, dim))
            if (
                not plain
                or facts["vector_file"] != vector_file
                or size != (4 * rows * dim + length + _TRAILER.size)
            ):
                return None
            numbers = np.frombuffer(data, "<f8", dim * (dim + 1), 8 * rows)
            moments = Moments(count, numbers[:dim], numbers[dim:].reshape(dim, dim))
            checksums = np.frombuffer(data, "<u8", rows)
        except (OSError, ValueError, struct.error, KeyError, TypeError, *_BLOATED):
            return None
        return cls(path, rows, dim, moments, checksums)

    def belongs_to(self, vectors: int, dimension: int) -> bool:
        """Whether it can be of an index of so many vectors with this dimension."""
        counted = self.moments.count == vectors and self.count in (0, vectors)
        return counted and self.dimension == dimension

    def read(self, rows: Integers) -> Vectors | None:
        """The vectors (n, dim) of rows (n,); None if one cannot be read or is damaged."""
        ascending, places = rows, None
        if np.any(np.diff(rows) <= 0):
            ascending, places = np.unique(rows, return_inverse=True)
        found = np.empty((len(ascending), self.dimension), "<f4")
        try:
            complete = self._read_runs(ascending, found)
        except OSError:
            complete = False
        if not complete or not np.array_equal(_checksums(found), self.checksums[ascending]):
            self.damaged = True
            return None
        vectors: Vectors = found if places is None else found[places]
        return vectors

    def _read_runs(self, rows: Integers, found: Vectors) -> bool:
        """Read rows that ascend, those side by side at once; False if the file is too short."""
        view = found.data.cast("B") if len(found) else memoryview(b"")
        size = 4 * self.dimension
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        stops = np.append(starts, len(rows))[1:]
        runs = zip((rows[starts] * size).tolist(), starts.tolist(), stops.tolist(), strict=True)
        with self.path.open("rb", buffering=0) as file:
            return all(
                _read_at(file, place, view[start * size : stop * size])
                for place, start, stop in runs
            )


def _read_at(file: FileIO, place: int, into: memoryview) -> bool:
    """Fill a buffer with the bytes from a place on; False if the file ends before."""
    at = 0
    while at < len(into):
        if hasattr(os, "preadv"):
            got = os.preadv(file.fileno(), [into[at:]], place + at)
        else:  # pragma: no cover - Windows
            file.seek(place + at)
            got = file.readinto(into[at:]) or 0
        if not got:
            return False
        at += got
    return True


class RowWriter:
    """Writes a row file while the vectors pass by; `rows` is False to write the moments only."""

    def __init__(self, path: Path, dimension: int, *, rows: bool) -> None:
        self._path = path
        self._temporary = path.with_name(path.name + ".tmp")
        self._file = open_private(self._temporary)
        self._rows = rows
        self._checksums: list[Sums] = []
        self._total = np.zeros(dimension)
        self._products = np.zeros((dimension, dimension))
        self._count = 0

    def passing(self, blocks: Iterable[tuple[Keys, Vectors]]) -> Iterator[tuple[Keys, Vectors]]:
        """The same blocks, which are written."""
        for keys, vectors in blocks:
            self._add(vectors)
            yield keys, vectors

    def _add(self, vectors: Vectors) -> None:
        stored = np.ascontiguousarray(vectors, "<f4")
        if self._rows:
            self._file.write(stored.data)
            self._checksums.append(_checksums(stored))
        self._total += stored.sum(axis=0, dtype=np.float64)
        self._products += stored.T @ stored
        self._count += len(stored)

    def finish(self, vector_file: str) -> None:
        """Write what follows the rows, and give the file its name."""
        facts = json.dumps(
            {
                "vector_file": vector_file,
                "count": self._count,
                "rows": self._count if self._rows else 0,
                "dimension": len(self._total),
            }
        ).encode()
        sums = np.concatenate([np.empty(0, "<u8"), *self._checksums]).astype("<u8")
        numbers = np.append(self._total, self._products).astype("<f8")
        data = sums.tobytes() + numbers.tobytes() + facts
        with self._file as file:
            file.write(data)
            file.write(_TRAILER.pack(len(data), zlib.crc32(data), len(facts), _MAGIC))
            publish(file, self._temporary, self._path)

    def abandon(self) -> None:
        """Remove what was written so far."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _checksums(rows: Vectors) -> Sums:
    """A checksum of each row (n, dim): the sum of its bits as integers, which any bit changes."""
    sums: Sums = rows.view("<u4").sum(axis=1, dtype=np.uint64)
    return sums


__all__ = ["Moments", "MomentsSoFar", "RowFile", "RowWriter"]
