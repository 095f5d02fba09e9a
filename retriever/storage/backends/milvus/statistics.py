"""Mean and deviation of a query's scores over all passages, without asking Milvus for all of them.

Dense scores: the mean of all calibrated vectors and their covariance are kept as a record, which
the end of a session makes. They give any query's statistics exactly; up to `MAX_EXACT` vectors they
are of all, beyond that of the first so many by key. With more than `MAX_FULL` dimensions the
covariance is that of the first directions and a remainder alike in all others. While few vectors
have changed since, they are used as they are.

Keyword scores: exact if all matches were seen. Else the passages that were seen count exactly, and
the others by the sums and sums of squares of their terms' factors, as if the terms of a query were
independent in them; phrases count in seen passages alone.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self, cast

import numpy as np

from retriever.arrays import DoubleScores, DoubleVectors, Vectors
from retriever.storage.backends.milvus.records import Record, Records
from retriever.storage.backends.milvus.scoring import Passage
from retriever.storage.backends.milvus.terms import PLACE, Reads
from retriever.storage.backends.milvus.vocabulary import TermFacts
from retriever.storage.backends.milvus.weights import term_factors
from retriever.storage.vectors.rows import Moments

DENSE = "statistics/dense"
"""The record of dense statistics."""

MAX_EXACT = 20_000
"""Up to so many vectors, statistics are of all of them."""

MAX_FULL = 1024
"""The dimensions up to which the whole covariance is kept: 2 MB."""

FEW = 2_000
"""So many vectors are always read anew."""

_DIRECTIONS = 64
_FIELDS = (*PLACE, "dense")
_ROUNDED = 1e-12  # a smaller variance of unit vectors is none
_MAX_STALE = 0.2  # the share of vectors that came or went since the record was made
_MAX_KEPT = 0.01  # the same, at the end of a session


@dataclass(frozen=True, slots=True)
class DenseStatistics:
    """The mean (dim,) of vectors, and their covariance: `axes` (m, dim) and `rest` along others.

    The variance along a unit query is |axes · query|² + rest · (1 - |units · query|²).
    """

    count: int
    mean: DoubleScores
    axes: Vectors
    rest: float = 0.0
    documents: int = -1
    """The number of the last change of documents when they were made."""

    @classmethod
    def of(cls, blocks: Iterable[Vectors], dimension: int) -> Self:
        """The statistics of vectors (n, dim) in blocks."""
        moments = Moments.none(dimension)
        for block in blocks:
            moments = moments.plus(cast(Vectors, block.astype(np.float64)))
        if not moments.count:
            return cls(0, np.zeros(dimension), np.zeros((0, dimension), np.float32))
        mean = moments.total / moments.count
        covariance = moments.products / moments.count - np.outer(mean, mean)
        values, directions = np.linalg.eigh(covariance)
        values, directions = values[::-1], directions[:, ::-1]
        values = np.where(values < _ROUNDED, 0, values)
        most = dimension if dimension <= MAX_FULL else _DIRECTIONS
        axes = np.sqrt(values[:most])[:, None] * directions[:, :most].T
        rest = float(values[most:].mean()) if most < dimension else 0.0
        return cls(moments.count, mean, axes.astype(np.float32), rest)

    def statistics(self, query: Vectors) -> tuple[float, float]:
        """The mean and standard deviation of the vectors' inner products with a query (dim,)."""
        if not self.count:
            return 0.0, 0.0
        direction = query.astype(np.float64)
        along = self.axes.astype(np.float64) @ direction
        variance = float(along @ along)
        if self.rest:
            lengths = np.linalg.norm(self.axes, axis=1)
            inside = np.divide(along, lengths, out=np.zeros_like(along), where=lengths > 0)
            outside = float(direction @ direction) - float(inside @ inside)
            variance += self.rest * max(0.0, outside)
        return float(self.mean @ direction), float(np.sqrt(variance))

    def record(self) -> Record:
        """As it is stored."""
        value = {
            "dimension": len(self.mean),
            "mean": _encoded(self.mean.astype("<f8")),
            "axes": _encoded(self.axes.astype("<f4")),
            "rest": self.rest,
            "documents": self.documents,
        }
        return Record(DENSE, json.dumps(value), self.count)

    @classmethod
    def read(cls, records: Records) -> Self | None:
        """What is stored; None without it."""
        record = records.get([DENSE]).get(DENSE)
        if record is None or not record.value:
            return None
        value = json.loads(record.value)
        mean = np.frombuffer(base64.b64decode(value["mean"]), "<f8")
        axes = np.frombuffer(base64.b64decode(value["axes"]), "<f4")
        axes = axes.reshape(-1, value["dimension"])
        return cls(record.number, mean, axes, value["rest"], value["documents"])

    def is_near(self, count: int, share: float) -> bool:
        """Whether few of now `count` vectors can have come or gone since."""
        return abs(count - self.count) <= share * count


def _encoded(values: DoubleScores | Vectors | DoubleVectors) -> str:
    return base64.b64encode(values.tobytes()).decode()


def dense_statistics(reads: Reads, count: int) -> DenseStatistics:
    """The statistics of now `count` vectors: the stored ones if these are of now, or many."""
    stored = DenseStatistics.read(reads.collections.records)
    if stored is not None and _serves(stored, reads, count, _MAX_STALE):
        return stored
    return _computed(reads, count, MAX_EXACT if count <= MAX_EXACT else FEW)


def _serves(stored: DenseStatistics, reads: Reads, count: int, share: float) -> bool:
    """Whether statistics are of now, or of many vectors of which few have changed."""
    known = min(count, MAX_EXACT)
    fresh = stored.documents == reads.at.documents and stored.count == known
    return fresh or (count > FEW and stored.is_near(known, share))


def refresh(reads: Reads, count: int) -> None:
    """Store the statistics of now `count` vectors, unless those stored are nearly the same."""
    stored = DenseStatistics.read(reads.collections.records)
    if stored is not None and _serves(stored, reads, count, _MAX_KEPT):
        return
    found = _computed(reads, count, MAX_EXACT)
    reads.collections.records.put([replace(found, documents=reads.at.documents).record()])


def forget(records: Records) -> None:
    """Delete the statistics, since all vectors change."""
    records.delete([DENSE])


def _computed(reads: Reads, count: int, most: int) -> DenseStatistics:
    dimension = reads.dimension() or 0
    if count <= most:
        batches = reads.collections.scan("embedded == true", _FIELDS, 500)
    else:
        keys = reads.sample_keys(most, embedded=True).tolist()
        parts = (keys[start : start + 500] for start in range(0, len(keys), 500))
        batches = (reads.collections.get(part, _FIELDS) for part in parts)
    counting = ([row for row, _ in reads.of_documents(rows)] for rows in batches)
    blocks = (np.array([row["dense"] for row in rows], np.float32) for rows in counting if rows)
    return DenseStatistics.of(blocks, dimension)


@dataclass(frozen=True, slots=True)
class Unseen:
    """What is known of the passages that a keyword search has not seen.

    `weights` are those of the query's single terms, `facts` of all passages, made with the mean
    length `before`, which is `today`'s in scores.
    """

    total: int
    weights: Mapping[str, float]
    facts: Mapping[str, TermFacts]
    before: float
    today: float

    def statistics(self, seen: Sequence[Passage], scores: DoubleScores) -> tuple[float, float]:
        """The mean and deviation over all passages; `scores` (n,) are of those seen."""
        total, square = float(scores.sum()), float(np.square(scores).sum())
        others = max(1, self.total - len(seen))
        sums, squares = self._without(seen)
        ratio = self._ratio(seen)
        weights = np.array(list(self.weights.values()))
        parts = ratio * weights * sums
        together = (parts.sum() ** 2 - np.square(parts).sum()) / others
        total += float(parts.sum())
        square += float(ratio**2 * (np.square(weights) * squares).sum()) + float(together)
        mean = total / self.total
        return mean, float(np.sqrt(max(0.0, square / self.total - mean**2)))

    def _without(self, seen: Sequence[Passage]) -> tuple[DoubleScores, DoubleScores]:
        """The sum and the sum of squares of each term's factors in the passages not seen: (m,)."""
        sums = np.array([self.facts[term].total for term in self.weights])
        squares = np.array([self.facts[term].square for term in self.weights])
        factors = self._factors(seen, self.before)
        sums -= factors.sum(axis=0)
        squares -= np.square(factors).sum(axis=0)
        return np.maximum(sums, 0), np.maximum(squares, 0)

    def _factors(self, seen: Sequence[Passage], average: float) -> DoubleScores:
        """The factors (n, m) of the query's terms in passages."""
        found = np.zeros((len(seen), len(self.weights)))
        for at, passage in enumerate(seen):
            own = [term for term in self.weights if term in passage.times]
            if own:
                terms = [term for term in own for _ in range(passage.times[term])]
                factors = term_factors(terms, passage.length, average)
                places = [place for place, term in enumerate(self.weights) if term in factors]
                found[at, places] = [factors[term] for term in self.weights if term in factors]
        return found

    def _ratio(self, seen: Sequence[Passage]) -> float:
        """What factors of today are in proportion to the stored ones."""
        if self.before == self.today or not seen:
            return 1.0
        before = self._factors(seen, self.before).sum()
        return float(self._factors(seen, self.today).sum() / before) if before else 1.0


__all__ = [
    "DENSE",
    "FEW",
    "MAX_EXACT",
    "MAX_FULL",
    "DenseStatistics",
    "Unseen",
    "dense_statistics",
    "forget",
    "refresh",
]
