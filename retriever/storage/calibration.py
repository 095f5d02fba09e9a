"""Calibration: subtract the mean of all vectors before two of them are compared.

An LLM's raw vectors share a large common component, so that all cosines are high. Two means are
subtracted, one for passages and one for queries, because the two prompts leave different common
components:

    x = normalise(raw − mean)

The means are fitted on unlabelled vectors: passages of the corpus, and sentences of the corpus
embedded with the query prompt. No user queries are needed. See `retriever.arrays.shrunk_mean` for
small corpora. An adapter, if there is one, maps what is left (see `retriever.storage.adapter`):

    x = normalise(M (raw − mean))

This module knows arrays only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from retriever.arrays import DoubleVectors, Vectors, centred
from retriever.storage.adapter import Adapter


@dataclass(frozen=True, slots=True)
class Calibration:
    """The two means, each (dim,), float32, of raw unit vectors, and the adapter, None for none."""

    passage_mean: Vectors
    query_mean: Vectors
    adapter: Adapter | None = None

    @classmethod
    def identity(cls, dimension: int) -> Self:
        """The calibration with zero means, which only scales to length one."""
        zero = np.zeros(dimension, dtype=np.float32)
        return cls(zero, zero)

    def query(self, raw: Vectors) -> Vectors:
        """Raw query vectors (..., dim), calibrated."""
        units = centred(raw, self.query_mean)
        return units if self.adapter is None else self.adapter.query(units)

    def passage(self, raw: Vectors) -> Vectors:
        """Raw passage vectors (..., dim), calibrated."""
        units = centred(raw, self.passage_mean)
        return units if self.adapter is None else self.adapter.passage(units)

    def raw_query(self, unit: NDArray[np.floating]) -> Vectors:
        """A raw query vector (dim,) that `query` maps to this direction (dim,) of length one."""
        wanted = unit if self.adapter is None else self.adapter.unmapped_query(unit)
        raw: Vectors = (wanted + self.query_mean).astype(np.float32)
        return raw

    def map_query(self, parts: DoubleVectors) -> DoubleVectors:
        """Parts (..., dim) of a query, without their share of the mean, mapped: linear."""
        return parts if self.adapter is None else parts @ self.adapter.matrix.T.astype(np.float64)

    def map_passage(self, parts: DoubleVectors) -> DoubleVectors:
        """Parts (..., dim) of a passage, alike."""
        if self.adapter is None or not self.adapter.of_passages:
            return parts
        mapped: DoubleVectors = parts @ self.adapter.matrix.T.astype(np.float64)
        return mapped


__all__ = ["Calibration"]
