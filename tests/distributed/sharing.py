"""An embedder without a model whose tokenizer, and which itself, other processes can have."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers

from retriever.types import ModelError
from tests.fakes import FakeEmbedder, Vectors


class Sharing(FakeEmbedder):
    def __init__(self, dimension: int = 64) -> None:
        super().__init__(dimension)
        self._tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
        self._tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return self._tokenizer.encode(text, add_special_tokens=False).offsets

    def tokenizer_json(self) -> str:
        return self._tokenizer.to_str()


class Broken(Sharing):
    """One whose model cannot be used."""

    def embed_inputs(self, inputs: Sequence[str]) -> Vectors:
        raise ModelError("the weights are gone")
