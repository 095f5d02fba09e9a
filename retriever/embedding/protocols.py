"""What the other stages need of a model, as protocols; `embedder.AlignedWVA` has all of them.

No model library is imported here, so that whatever needs only these names needs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from retriever.arrays import DoubleScores, Vectors
from retriever.settings import EmbedderSettings

if TYPE_CHECKING:
    from retriever.embedding.word_attribution import TokenAttribution


class Embedder(Protocol):
    """What ingesting and searching need of an embedder; `AlignedWVA` is one and explains them."""

    @property
    def settings(self) -> EmbedderSettings:
        """What the vectors depend on."""

    @property
    def max_tokens(self) -> int:
        """The longest input read in one piece."""

    def passage_input(self, text: str, title: str = "") -> str:
        """The exact model input for a passage."""

    def query_inputs(self, text: str) -> tuple[str, ...]:
        """The exact model inputs for a query, one for each way it is read."""

    def key(self, model_input: str) -> str:
        """The name of this input's vector."""

    def embed_inputs(self, inputs: Sequence[str]) -> Vectors:
        """Raw unit vectors of exact model inputs: (n, dim)."""

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Raw unit vectors of queries: (n, dim)."""

    def count_tokens(self, inputs: Sequence[str]) -> int:
        """Tokens of exact model inputs."""

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The character span of every token."""

    def prompt_tokens(self) -> int:
        """Tokens of the longest prompt."""

    def general_means(self) -> tuple[Vectors, Vectors]:
        """Means of general texts as passages and as queries: (dim,) each."""

    def embed_fixed_queries(self, texts: Sequence[str]) -> Vectors:
        """`embed_queries` of texts that every index asks: (n, dim)."""


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
class AttributionEmbedder(Protocol):
    """What explanations need of an embedder."""

    def token_attribution(self, model_input: str) -> TokenAttribution:
        """What every token of an exact model input brings to its vector."""


__all__ = ["AttributionEmbedder", "Embedder", "Judge", "RetrievalEmbedder"]
