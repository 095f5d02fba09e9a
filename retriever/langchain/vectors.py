"""What any LangChain embeddings give: whose vectors they are, and the vectors as arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from retriever.arrays import Vectors
from retriever.types import UsageError

ROUNDING = 1e-6
"""The error of a cosine in single precision: a larger one counts as 1."""

_NAMES = ("model", "model_name", "model_id", "deployment", "repo_id")
"""Attributes by which LangChain's embeddings name their model."""


def identity(embedding: Embeddings) -> tuple[str, str]:
    """What embeddings are called, and a hash that differs for other vectors.

    Of embeddings that are not ours, the class and the name of the model are known; a wrapper that
    caches them counts as what it wraps.
    """
    from retriever.langchain.embeddings import AlignedWVAEmbeddings

    inner = getattr(embedding, "underlying_embeddings", embedding)
    if isinstance(inner, AlignedWVAEmbeddings):
        settings = inner.embedder.settings
        label = f"AlignedWVAEmbeddings {settings.model}"
        label += "" if inner.calibrated else ", not calibrated"
        facts = f"{settings.fingerprint} {inner.calibrated}"
    else:
        names = (getattr(inner, name, None) for name in _NAMES)
        model = next((name for name in names if isinstance(name, str) and name), "")
        label = facts = f"{type(inner).__name__} {model}".rstrip()
    return label, hashlib.sha256(facts.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def as_vector(values: object) -> Vectors:
    """A query's vector: (dim,)."""
    vector: Vectors = as_vectors([values], 1)[0]
    return vector


def as_vectors(values: Sequence[Any], count: int) -> Vectors:
    """What embeddings gave, as an array (count, dim). Raises UsageError for anything else."""
    if not count and not len(values):
        return np.empty((0, 0), np.float32)
    try:
        array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        array = np.empty(0, np.float32)
    if array.ndim != 2 or len(array) != count or not array.shape[1]:
        raise UsageError(
            f"the embeddings of {count} texts must be as many lists of numbers, all of one length"
        )
    if not np.isfinite(array).all():
        raise UsageError("a vector holds NaN or infinity; it cannot be searched")
    return array


def relevance(score: float) -> float:
    """The relevance of a cosine in [0, 1]: 1 for the same direction, 0 for none in common.

    >>> relevance(0.99999994), relevance(0.25), relevance(-0.5)
    (1.0, 0.25, 0.0)
    """
    return 1.0 if score > 1 - ROUNDING else max(0.0, float(score))


__all__ = ["as_vector", "as_vectors", "identity", "relevance"]
