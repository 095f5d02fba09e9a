"""The text side of an embedder: settings, inputs and tokens. The model is not loaded for it.

Making files findable by their words needs the size of passages in tokens and the index's settings,
but no vector. Both are known from a model's folder where its configuration names its layers and
dimension plainly; everywhere else, and as soon as a vector is wanted, the whole embedder is loaded.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from retriever.arrays import Vectors
from retriever.embedding.inputs import MAX_TOKENS, ModelInputs, appended_tokens, bounded, encodable
from retriever.embedding.models.folder_settings import folder_settings
from retriever.embedding.models.locate import Located, locate, weights_digest
from retriever.embedding.protocols import Embedder
from retriever.embedding.shared_tokenizer import plain_tokenizer, token_counter
from retriever.settings import (
    DEFAULT_LAYERS,
    DEFAULT_MODEL,
    POOLINGS,
    EmbedderSettings,
    Prompts,
    resolve_layers,
)

PLAIN_FAMILIES = {
    *("gemma2", "gemma3_text", "granite", "llama", "mistral", "olmo2"),
    *("phi3", "qwen2", "qwen3", "smollm3"),
}
"""Model types all of whose layers are pooled, with vectors of the length `hidden_size`."""

_READY_MADE = ("TokenizersBackend", "PreTrainedTokenizerFast")
"""Tokenizers that transformers takes from tokenizer.json as it is, but for these models."""

_REMADE = {"qwen2"}

_POSITIONS = ("max_position_embeddings", "n_positions", "seq_length")


def text_side(
    whole: Callable[[], Embedder],
    settings: EmbedderSettings | None = None,
    *,
    model: str = DEFAULT_MODEL,
    layers: str | Sequence[int] = DEFAULT_LAYERS,
    prompts: Prompts | None = None,
    pooling: str = POOLINGS[0],
    download: bool = True,
) -> Embedder:
    """The embedder that `whole` loads, which is not loaded as long as no vector is wanted.

    `settings` are those of an index; a new one has those of the other arguments. Where they are not
    known without the model, or are those of other weights, it is `whole()`. Raises ModelError if
    the model is not found; without `download` one of the hub must be on this disk.
    """
    found = locate(model if settings is None else settings.pinned_model, download=download)
    folder = found.folder
    config = _read(folder / "config.json")
    digest = weights_digest(folder)
    if settings is None and pooling == POOLINGS[0] and folder_settings(folder) is None:
        settings = _settings(found, digest, config, layers, prompts or Prompts())
    tokens = next((int(config[name]) for name in _POSITIONS if config.get(name)), 0)
    if settings is None or settings.weights != digest or not tokens:
        return whole()
    if not _is_plain(config):
        return whole()
    tokenizer = _tokenizer(settings.model, folder, config["model_type"])
    return TextSide(settings, min(MAX_TOKENS, tokens), tokenizer, whole)


class TextSide(ModelInputs):
    """Settings, inputs and tokens of an embedder; the first vector loads it. For threads."""

    def __init__(
        self,
        settings: EmbedderSettings,
        max_tokens: int,
        tokenizer: str,
        whole: Callable[[], Embedder],
    ) -> None:
        """Take the tokenizer as JSON, and the function that loads the embedder."""
        self.settings = settings
        self.max_tokens = max_tokens
        self._json = tokenizer
        self._tokenizer: Tokenizer = plain_tokenizer(tokenizer)
        self._load = whole
        self._loading = threading.Lock()
        self._loaded: Embedder | None = None

    @property
    def whole(self) -> Embedder:
        """The embedder, loaded on first use."""
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def embed_inputs(self, inputs: Sequence[str]) -> Vectors:
        """See `AlignedWVA.embed_inputs`."""
        return self.whole.embed_inputs(inputs)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """See `AlignedWVA.embed_queries`."""
        return self.whole.embed_queries(texts)

    def embed_fixed_queries(self, texts: Sequence[str]) -> Vectors:
        """See `AlignedWVA.embed_fixed_queries`."""
        return self.whole.embed_fixed_queries(texts)

    def general_means(self) -> tuple[Vectors, Vectors]:
        """See `AlignedWVA.general_means`."""
        return self.whole.general_means()

    # Tokens

    def tokenizer_json(self) -> str:
        """The tokenizer, as `tokenizers.Tokenizer.from_str` reads it."""
        return self._json

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The character span of every token of `text`, without prompt and special tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).offsets)

    def prompt_tokens(self) -> int:
        """The number of tokens of the longest passage or query prompt."""
        return max(map(self._count, [self.passage_input(""), *self.query_inputs("")]))

    def count_tokens(self, inputs: Sequence[str]) -> int:
        """The total number of tokens of these exact inputs."""
        before = self._count("")  # special tokens
        return before * len(inputs) + sum(self._counts([bounded(text) for text in inputs]))

    @cached_property
    def _counts(self) -> Callable[[Sequence[str]], list[int]]:
        return token_counter(self._json)

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(encodable(text)).ids) - self._appended

    @cached_property
    def _appended(self) -> int:
        whole, bare = (
            list(self._tokenizer.encode("a", add_special_tokens=special).ids)
            for special in (True, False)
        )
        return appended_tokens(whole, bare)


def _is_plain(config: dict[str, Any]) -> bool:
    """Whether nothing but the configuration is needed to know what a model's vectors are like."""
    classes = config.get("architectures") or []
    return (
        config.get("model_type") in PLAIN_FAMILIES
        and bool(classes)
        and all(str(name).endswith("ForCausalLM") for name in classes)
        and not config.get("auto_map")
    )


def _settings(
    found: Located,
    weights: str,
    config: dict[str, Any],
    layers: str | Sequence[int],
    prompts: Prompts,
) -> EmbedderSettings | None:
    """The settings of `AlignedWVA` with the default pooling; None if they are not known."""
    count, dimension = config.get("num_hidden_layers"), config.get("hidden_size")
    if not (_is_plain(config) and isinstance(count, int) and isinstance(dimension, int)):
        return None
    chosen = layers if isinstance(layers, str) else tuple(layers)
    return EmbedderSettings(
        found.name,
        weights,
        dimension,
        resolve_layers(chosen, count),
        prompts,
        revision=found.revision,
    )


def _tokenizer(name: str, folder: Path, model_type: str) -> str:
    """The model's tokenizer as JSON, the same one that it is loaded with."""
    about, file = _read(folder / "tokenizer_config.json"), folder / "tokenizer.json"
    changed = {name for name in about if name.startswith(("add_", "added_"))}
    ready = about.get("tokenizer_class") in _READY_MADE and model_type not in _REMADE
    if ready and not changed and file.is_file():
        return str(Tokenizer.from_file(str(file)).to_str())
    from retriever.embedding.models.architectures import load_errors
    from retriever.embedding.models.load import load_tokenizer

    with load_errors(name):
        return str(load_tokenizer(folder).backend_tokenizer.to_str())


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


__all__ = ["TextSide", "text_side"]
