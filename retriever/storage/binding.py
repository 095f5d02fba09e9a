"""What fits an index: vectors and means of the model that it is bound to, and no others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retriever.arrays import Vectors
from retriever.settings import EmbedderSettings
from retriever.storage.adapter import Adapter
from retriever.storage.calibration import Calibration
from retriever.types import IndexStateError, UsageError


def checked_vectors(keys: Sequence[str], vectors: Vectors) -> Vectors:
    """Raw vectors (n, dim) of as many keys. Raises UsageError for others."""
    array = np.asarray(vectors, dtype=np.float32)
    if array.ndim != 2 or len(array) != len(keys):
        raise UsageError(f"{len(keys)} keys need as many vectors; the array is {array.shape}")
    if not np.isfinite(array).all():
        raise UsageError("a vector holds NaN or infinity; it cannot be searched")
    return array


def wrong_dimension(known: int, embedder: EmbedderSettings | None, given: int) -> UsageError:
    """The error for vectors of another dimension than those of the index."""
    model = "another model" if embedder is None else embedder.model
    return UsageError(
        f"the index holds {known}-dimensional vectors of {model}; these have {given} dimensions"
    )


def checked_means(passage: Vectors, query: Vectors, dimension: int | None) -> Calibration:
    """Means of an index with this dimension. Raises UsageError for others."""
    means = Calibration(np.asarray(passage, dtype=np.float32), np.asarray(query, dtype=np.float32))
    for mean in (means.passage_mean, means.query_mean):
        if mean.ndim != 1 or (dimension is not None and len(mean) != dimension):
            raise UsageError(
                f"a mean of shape {mean.shape} does not fit the index's {dimension} dimensions"
            )
        if not np.isfinite(mean).all():
            raise UsageError("a mean holds NaN or infinity; the calibration was not changed")
    return means


def checked_adapter(
    adapter: Adapter | None, known: Calibration | None, dimension: int | None
) -> Calibration:
    """The calibration of an index that may get this adapter. Raises UsageError if it may not."""
    if known is None:
        raise UsageError(
            "the index has no vectors that an adapter could map; index documents first"
        )
    if adapter is not None and adapter.dimension != dimension:
        raise UsageError(
            f"an adapter of {adapter.dimension} dimensions does not fit the index's {dimension}"
        )
    return known


def same_means(one: Calibration, other: Calibration) -> bool:
    """Whether two calibrations are equal."""
    return np.array_equal(one.passage_mean, other.passage_mean) and np.array_equal(
        one.query_mean, other.query_mean
    )


def other_model(index: object, known: EmbedderSettings, given: EmbedderSettings) -> IndexStateError:
    """The error for another model than the one that the index is bound to."""
    return IndexStateError(
        f"the index in {index} holds {known.dimension}-dimensional vectors of "
        f"{_named(known)}; the embedder gives {given.dimension} dimensions of {_named(given)}; "
        f"use the first, or build a new index"
    )


def other_dimension(known: int, given: EmbedderSettings) -> UsageError:
    """The error for a model whose vectors have another length than those that are stored."""
    return UsageError(
        f"the index holds {known}-dimensional vectors; {given.model} gives "
        f"{given.dimension} dimensions"
    )


def _named(settings: EmbedderSettings) -> str:
    return (
        f"{settings.model} (layers {settings.layers[0]}-{settings.layers[-1]}, "
        f"weights {settings.weights[:8]}, prompts {settings.fingerprint})"
    )


__all__ = [
    "checked_adapter",
    "checked_means",
    "checked_vectors",
    "other_dimension",
    "other_model",
    "same_means",
    "wrong_dimension",
]
