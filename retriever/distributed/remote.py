"""An embedder whose vectors are made by actors, and how actors load its model.

What needs no model is done here: settings, inputs, tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from retriever.arrays import Vectors
from retriever.distributed.actors import Actors, Job
from retriever.embedding.inputs import ModelInputs
from retriever.embedding.protocols import Embedder, SharedTokenizer
from retriever.settings import EmbedderSettings

PIECE = 64
"""Texts of one call."""


class RemoteEmbedder:
    """`own` for all that needs no model; `actors` compute the vectors."""

    def __init__(self, own: Embedder, actors: Actors) -> None:
        self.own, self._actors = own, actors

    @property
    def settings(self) -> EmbedderSettings:
        """See `Embedder.settings`."""
        return self.own.settings

    @property
    def max_tokens(self) -> int:
        """See `Embedder.max_tokens`."""
        return self.own.max_tokens

    def passage_input(self, text: str, title: str = "") -> str:
        """See `Embedder.passage_input`."""
        return self.own.passage_input(text, title)

    def query_inputs(self, text: str) -> tuple[str, ...]:
        """See `Embedder.query_inputs`."""
        return self.own.query_inputs(text)

    def key(self, model_input: str) -> str:
        """See `Embedder.key`."""
        return self.own.key(model_input)

    def count_tokens(self, inputs: Sequence[str]) -> int:
        """See `Embedder.count_tokens`."""
        return self.own.count_tokens(inputs)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """See `Embedder.token_spans`."""
        return self.own.token_spans(text)

    def prompt_tokens(self) -> int:
        """See `Embedder.prompt_tokens`."""
        return self.own.prompt_tokens()

    def embed_inputs(self, inputs: Sequence[str]) -> Vectors:
        """See `Embedder.embed_inputs`."""
        return self._in_pieces("embed_inputs", inputs)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed_queries`."""
        return self._in_pieces("embed_queries", texts)

    def embed_fixed_queries(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed_fixed_queries`: in one call, since they are kept together."""
        found: Vectors = self._call("embed_fixed_queries", list(texts))
        return found

    def general_means(self) -> tuple[Vectors, Vectors]:
        """See `Embedder.general_means`."""
        passages, queries = self._call("general_means")
        return passages, queries

    def _in_pieces(self, method: str, texts: Sequence[str]) -> Vectors:
        starts = range(0, len(texts), PIECE)
        jobs = (Job(at, "call", (method, list(texts[at : at + PIECE]))) for at in starts)
        found = {done.job.tag: done.result for done in self._actors.run(jobs)}
        empty = np.empty((0, self.settings.dimension), np.float32)
        return np.concatenate([empty, *(found[at] for at in starts)])

    def _call(self, method: str, *arguments: Any) -> Any:
        (done,) = self._actors.run(iter([Job(None, "call", (method, *arguments))]))
        return done.result


class RemoteSharingEmbedder(RemoteEmbedder):
    """One whose tokenizer others can have."""

    def tokenizer_json(self) -> str:
        """See `SharedTokenizer.tokenizer_json`."""
        assert isinstance(self.own, SharedTokenizer)  # noqa: S101 - chosen for it
        return self.own.tokenizer_json()


def remote(own: Embedder, actors: Actors) -> RemoteEmbedder:
    """`own`, with vectors from actors."""
    kind = RemoteSharingEmbedder if isinstance(own, SharedTokenizer) else RemoteEmbedder
    return kind(own, actors)


def loader(own: Embedder, device: str | None, dtype: str | None) -> Callable[[], Embedder]:
    """What makes the same embedder on another machine: the model's name, or `own` itself.

    A model is loaded there with the same weights, or not at all.
    """
    if not isinstance(own, ModelInputs):
        return partial(_itself, own)
    return partial(_load, own.settings, device, dtype or getattr(own, "dtype", None))


def _itself(own: Embedder) -> Embedder:
    return own


def _load(settings: EmbedderSettings, device: str | None, dtype: str | None) -> Embedder:
    from retriever.embedding.aligned_wva import AlignedWVA

    return AlignedWVA.from_settings(settings, device=device, dtype=dtype)


__all__ = ["RemoteEmbedder", "loader", "remote"]
