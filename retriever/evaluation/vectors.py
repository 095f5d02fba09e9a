"""Cached vectors of data sets, so that a second run takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from retriever.arrays import Vectors
from retriever.cache import cached_array
from retriever.embedding.protocols import RetrievalEmbedder
from retriever.evaluation.runs import digest


def cached_vectors(
    embedder: RetrievalEmbedder,
    kind: str,
    texts: Sequence[str],
    embed: Callable[[Sequence[str]], Vectors],
) -> Vectors:
    """Raw vectors of texts, (n, dim); from the cache if the same texts were embedded before."""
    settings = embedder.settings
    name = digest([settings.fingerprint, embedder.dtype, kind, *texts])
    return cached_array(f"eval/{name}", (len(texts), settings.dimension), lambda: embed(texts))


__all__ = ["cached_vectors"]
