"""Protocols for what the other stages need of a model; `AlignedWVA` implements all of them.

This module imports no model library, so modules that need only these names need no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from retriever.arrays import DoubleScores, Vectors
from retriever.settings import EmbedderSettings

if TYPE_CHECKING:
    from retriever.embedding.word_attribution import TokenAttribution


class Embedder(Protocol):
    """What ingesting and searching need of an embedder. `AlignedWVA` documents the methods."""

    @property
    def settings(self) -> EmbedderSettings:
        """All that the vectors depend on."""

    @property
    def max_tokens(self) -> int:
        """The longest input, in tokens, that is embedded in one pass."""

    def passage_input(self, text: str, title: str = "") -> str:
        """The exact model input for a passage."""

    def query_inputs(self, text: str) -> tuple[str, ...]:
        """The exact model inputs for a query, one for each of its prompts."""

    def key(self, model_input: str) -> str:
        """The key under which this input's vector is stored."""

    def embed_inputs(self, inputs: Sequence[str]) -> Vectors:
        """Raw unit vectors of exact model inputs: (n, dim) float32."""

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Raw unit vectors of queries: (n, dim) float32."""

    def count_tokens(self, inputs: Sequence[str]) -> int:
        """The total number of tokens of exact model inputs."""

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The character span of every token."""

    def prompt_tokens(self) -> int:
        """The number of tokens of the longest prompt."""

    def general_means(self) -> tuple[Vectors, Vectors]:
        """Mean vectors of general texts as passages and as queries: (dim,) each."""

    def embed_fixed_queries(self, texts: Sequence[str]) -> Vectors:
        """`embed_queries`, cached, of fixed texts that every index embeds: (n, dim)."""


class RetrievalEmbedder(Embedder, Protocol):
    """What evaluating retrieval needs of an embedder."""

    @property
    def dtype(self) -> str:
        """The precision its vectors are computed in; they depend on it a little."""


@runtime_checkable
class Judge(Protocol):
    """What reranking needs of a model."""

    def log_likelihoods(
        self, query: str, passages: Sequence[str], titles: Sequence[str] | None = None
    ) -> DoubleScores:
        """The mean over the query's tokens of log P(token | passage, tokens before): (n,)."""


@runtime_checkable
class SentenceEmbedder(RetrievalEmbedder, Protocol):
    """What evaluating the similarity of sentences needs of an embedder."""

    def embed_sentences(self, texts: Sequence[str]) -> Vectors:
        """Raw unit vectors of sentences to be compared with each other: (n, dim) float32."""

    def general_mean(self, template: str | Sequence[str]) -> Vectors:
        """The mean vector of general texts in a prompt: (dim,)."""


@runtime_checkable
class AttributionEmbedder(Protocol):
    """What explanations need of an embedder."""

    def token_attribution(self, model_input: str) -> TokenAttribution:
        """The contribution of each token of an exact model input to its vector."""


@runtime_checkable
class SharedTokenizer(Protocol):
    """What cutting in other processes needs of an embedder."""

    def tokenizer_json(self) -> str:
        """The tokenizer of `token_spans`, as `tokenizers.Tokenizer.from_str` reads it."""


__all__ = [
    "AttributionEmbedder",
    "Embedder",
    "Judge",
    "RetrievalEmbedder",
    "SentenceEmbedder",
    "SharedTokenizer",
]
