"""LangChain embeddings without a model."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
from langchain_core.embeddings import Embeddings

from tests.fakes import FakeEmbedder


class WordEmbeddings(Embeddings):
    """The vectors of `FakeEmbedder`: texts with the same words are near. It counts its calls."""

    def __init__(self, dimension: int = 64) -> None:
        self.model = f"words-{dimension}"
        self._embedder = FakeEmbedder(dimension)
        self.embedded: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.embedded.extend(texts)
        found: list[list[float]] = self._embedder.embed_queries(texts).tolist()
        return found

    def embed_query(self, text: str) -> list[float]:
        found: list[float] = self._embedder.embed_queries([text])[0].tolist()
        return found


class GivenEmbeddings(Embeddings):
    """Vectors given by text, zeros for others; the model's name is its own."""

    def __init__(self, vectors: dict[str, Sequence[float]], model: str = "given") -> None:
        self.model_name = model
        self.vectors = vectors
        self._dimension = len(next(iter(vectors.values())))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return list(map(float, self.vectors.get(text, [0.0] * self._dimension)))


class FastEmbeddings(Embeddings):
    """The bytes of each text's hash, as fast as vectors can be made."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        data = b"".join(sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts)
        found: list[list[float]] = (np.frombuffer(data, np.int8).reshape(-1, 32) + 0.5).tolist()
        return found

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]
