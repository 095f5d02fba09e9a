"""The model of an index: the one that it was made with, or the one chosen for a new index."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from retriever.embedding.protocols import Embedder
from retriever.settings import DEFAULT_MODEL, FOREIGN_POOLING, EmbedderSettings
from retriever.types import ModelError


def load_own(
    settings: EmbedderSettings | None,
    *,
    wished: str,
    place: str,
    device: str | None = None,
    dtype: str | None = None,
) -> Embedder:
    """Load the model with these settings, or the `wished` one for an index without any yet.

    `place` names the index in errors. Raises ModelError if it cannot be loaded.
    """
    with _no_garbage_collection():
        from retriever.embedding.aligned_wva import AlignedWVA
        from retriever.embedding.models.trusted import check_own

        if settings is None:
            name = wished or DEFAULT_MODEL
            download = check_own(None, name, place=place)
            return AlignedWVA(model=name, device=device, dtype=dtype, download=download)
        if settings.pooling == FOREIGN_POOLING:
            raise ModelError(
                f"the index in {place} holds vectors of {settings.model}: search it with "
                "AlignedWVAVectorStore and the same embeddings, or in the mode keyword"
            )
        download = check_own(settings, place=place)
        return AlignedWVA.from_settings(settings, device=device, dtype=dtype, download=download)


def own_text_side(
    load: Callable[[], Embedder], settings: EmbedderSettings | None, *, wished: str, place: str
) -> Embedder:
    """The model as far as no vector is wanted: `load` is called only where it must be."""
    from retriever.embedding.models.trusted import check_own
    from retriever.embedding.text_side import text_side

    model = wished or DEFAULT_MODEL
    download = check_own(settings, model, place=place)
    return text_side(load, settings, model=model, download=download)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Within the block no cycles are looked for.

    The imports of torch and transformers make millions of objects, all of which stay: looking
    through them again and again takes a sixth of the time of a search in a new process.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


__all__ = ["load_own", "own_text_side"]
