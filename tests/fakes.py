"""An embedder without a model: a pure function of the words, the same on every machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from retriever.embedding.word_attribution import TokenAttribution
from retriever.settings import EmbedderSettings, Prompts
from retriever.text.analyzer import content_terms, index_terms

Vectors = NDArray[np.float32]


class FakeEmbedder:
    """A text's vector is the normalised sum of its terms, each with a hashed direction.

    It knows synonyms: `same={"car": "automobile"}` gives both words one direction, so that a test
    can tell a match by meaning from a match by word. It counts what it embeds in `embedded`.
    """

    def __init__(
        self,
        dimension: int = 256,
        *,
        weights: str = "fake",
        max_tokens: int = 512,
        same: dict[str, str] | None = None,
        query: str | tuple[str, ...] = "query: {}",
    ) -> None:
        self.settings = EmbedderSettings(
            model="fake",
            weights=weights,
            dimension=dimension,
            layers=(0,),
            prompts=Prompts(passage="passage: {}", query=query, sentence="sentence: {}"),
            pooling="fake",
        )
        self.max_tokens = max_tokens
        self.embedded: list[str] = []
        self._same = same or {}

    def passage_input(self, text: str, title: str = "") -> str:
        return self.settings.prompts.passage.format(f"{title}. {text}" if title else text)

    def query_inputs(self, text: str) -> tuple[str, ...]:
        return tuple(template.format(text) for template in self.settings.prompts.queries)

    def key(self, model_input: str) -> str:
        name = f"{self.settings.fingerprint}\0{model_input}".encode("utf-8", "surrogatepass")
        return hashlib.sha256(name).hexdigest()[:40]

    def embed_inputs(self, inputs: Sequence[str]) -> Vectors:
        self.embedded.extend(inputs)
        vectors = np.zeros((len(inputs), self.settings.dimension), dtype=np.float32)
        for row, model_input in zip(vectors, inputs, strict=True):
            for term in content_terms(index_terms(model_input.split(": ", 1)[1])):
                row += _direction(self._same.get(term, term), len(row))
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        return vectors

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self.settings.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            row += self.embed_inputs(self.query_inputs(text)).sum(axis=0)
            row /= np.linalg.norm(row) or 1
        return vectors

    def embed_fixed_queries(self, texts: Sequence[str]) -> Vectors:
        return self.embed_queries(texts)

    def count_tokens(self, inputs: Sequence[str]) -> int:
        return sum(len(self.token_spans(model_input)) for model_input in inputs)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]

    def prompt_tokens(self) -> int:
        return 2

    def token_attribution(self, model_input: str) -> TokenAttribution:
        """Each token's terms; the prompt contributes nothing."""
        before = model_input.index(": ") + 2
        spans = [(0, before)]
        rows = [np.zeros(self.settings.dimension)]
        for start, end in self.token_spans(model_input[before:]):
            spans.append((before + start, before + end))
            row = np.zeros(self.settings.dimension)
            for term in content_terms(index_terms(model_input[before + start : before + end])):
                row += _direction(self._same.get(term, term), len(row))
            rows.append(row)
        return TokenAttribution(
            model_input, tuple(spans), np.array(rows), np.zeros(self.settings.dimension)
        )

    def general_means(self) -> tuple[Vectors, Vectors]:
        zero = np.zeros(self.settings.dimension, dtype=np.float32)
        return zero, zero


@cache
def _direction(term: str, dimension: int) -> Vectors:
    """A random unit vector that depends on the term alone."""
    seed = int.from_bytes(hashlib.sha256(term.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    unit: Vectors = vector / np.linalg.norm(vector)
    unit.flags.writeable = False  # shared by all callers
    return unit
