"""Calibration: subtract the mean of all vectors before two of them are compared.

An LLM's raw vectors share a large common component, so that all cosines are high. Two means are
subtracted, one for passages and one for queries, because the two prompts leave different common
components:

    x = normalise(raw − mean)

The means are fitted on unlabelled vectors: passages of the corpus, and sentences of the corpus
embedded with the query prompt. No user queries are needed. See `retriever.arrays.shrunk_mean` for
small corpora. This module knows arrays only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from retriever.arrays import Vectors, centred


@dataclass(frozen=True, slots=True)
class Calibration:
    """The two means, each (dim,), float32, of raw unit vectors."""

    passage_mean: Vectors
    query_mean: Vectors

    @classmethod
    def identity(cls, dimension: int) -> Self:
        """The calibration with zero means, which only scales to length one."""
        zero = np.zeros(dimension, dtype=np.float32)
        return cls(zero, zero)

    def query(self, raw: Vectors) -> Vectors:
        """Raw query vectors (..., dim), calibrated."""
        return centred(raw, self.query_mean)

    def passage(self, raw: Vectors) -> Vectors:
        """Raw passage vectors (..., dim), calibrated."""
        return centred(raw, self.passage_mean)

    def raw_query(self, unit: NDArray[np.floating]) -> Vectors:
        """A raw query vector (dim,) that `query` maps to this direction (dim,) of length one."""
        raw: Vectors = (unit + self.query_mean).astype(np.float32)
        return raw


__all__ = ["Calibration"]
