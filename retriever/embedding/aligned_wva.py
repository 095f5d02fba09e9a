"""AlignedWVA: texts in, one raw unit vector for each out.

    e = Σ_{l in layers} o_l,   ê = e / |e|

where o_l is the attention output of the last token of a prompt that asks for the text's meaning in
one word (arXiv 2602.01572; `pooling` describes it and the baselines). The vectors are raw:
calibration (`storage.calibration`) removes what all texts have in common. Passages, queries and
sentences have separate methods, because their prompts differ.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch

from retriever.arrays import DoubleScores, Vectors, normalise
from retriever.cache import cached_array
from retriever.embedding import varlen
from retriever.embedding.accelerator import AcceleratorRunner, ahead
from retriever.embedding.data_parallel import runner_on_all_cards
from retriever.embedding.faster import fused_pooler, int8_pooler
from retriever.embedding.inputs import (
    MAX_TOKENS,
    ModelInputs,
    appended_tokens,
    bounded,
    encodable,
    fill_template,
    query_text,
    with_title,
)
from retriever.embedding.models.folder_settings import folder_settings
from retriever.embedding.models.load import LoadedModel, load_model
from retriever.embedding.pooling import HIDDEN_POOLINGS, AttentionPooler, find_attention_layers
from retriever.embedding.query_likelihood import QueryLikelihood
from retriever.embedding.runner import Runner
from retriever.embedding.self_checks import remembered
from retriever.embedding.sentence_map import sentence_map
from retriever.embedding.shared_tokenizer import token_counter
from retriever.embedding.token_attribution import TokenAttributor
from retriever.embedding.word_attribution import TokenAttribution
from retriever.settings import (
    DEFAULT_LAYERS,
    DEFAULT_MODEL,
    POOLINGS,
    EmbedderSettings,
    Prompts,
    as_templates,
    check_pooling,
    check_template,
    resolve_layers,
)
from retriever.types import ModelError, UsageError, check_text, check_texts

log = logging.getLogger(__name__)


TOKENISED_AHEAD = 2048
"""Inputs that are tokenised at once while an accelerator computes the ones before them."""

MANY_TOKENS = 4096
"""So many tokens at once are an indexing run, for which faster ways to run the model are tried."""

GENERAL_TEXTS = Path(__file__).with_name("general.txt")
"""One general text per line; their first sentences are used in place of questions."""

PASSAGE_BEFORE, QUESTION_BEFORE = "Passage: ", "\nQuestion: "
"""The prefixes of passage and question for `log_likelihoods`."""

MAX_QUERY_TOKENS = 128
"""Only the first tokens of a longer question count for its likelihood."""

INT8 = "int8"
"""The precision that only this module knows: models are loaded in float32 for it."""

MIN_AGREEMENT = 0.999
"""The least cosine of vectors computed packed and padded, also in bfloat16."""

UNPROMPTED = Prompts(passage="{}", query="{}", sentence="{}")
"""The text without a prompt, as usual for the two mean poolings: a prompt's words would be part of
the mean. With the default model and raw vectors, Spearman x 100 on the first 500 pairs of STS-B dev
is 66.6 for values (61.3 with the prompt) and 51.1 for hidden states (57.2 with the prompt)."""

DEFAULT_PROMPTS = {
    "aligned-wva": Prompts(),
    "va": UNPROMPTED,
    "last-hidden": Prompts(),
    "mean-hidden": UNPROMPTED,
}
"""By pooling: last-token poolings need a prompt that makes the last token hold the meaning."""


class AlignedWVA(ModelInputs):
    """A causal language model as an embedder. Safe to use from several threads.

    `model` is a preset ("smollm2-135m"), a folder, a GGUF file, or a hub id; `layers` the pooled
    layers: "upper-half", "all", a range "10-19", or a list; `prompts` the templates with `{}`
    for the text; `device` and `dtype` are chosen automatically (see
    `retriever.embedding.models.load.load_model`), and `dtype="int8"` runs the products of a Llama,
    Mistral or Qwen on a CPU in 8-bit integers, nearly exact; `max_tokens`
    is the longest input read in one piece, prompt included. A hub id may have a revision behind an
    @; without `download` its model must be on this disk.

    `pooling` is "aligned-wva" or one of the baselines "va", "last-hidden" and "mean-hidden" (see
    `retriever.embedding.pooling`). "va" and "mean-hidden" use no prompt unless `prompts` are given.
    `layers` has no effect on the two hidden-state poolings, which use the last layer. The folder of
    a tuned model brings its own pooling, layers and prompts, in place of the defaults.

    Raises ModelError if the model cannot be used, UsageError for invalid arguments.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        layers: str | Sequence[int] = DEFAULT_LAYERS,
        prompts: Prompts | None = None,
        pooling: str = POOLINGS[0],
        device: str | None = None,
        dtype: str | None = None,
        max_tokens: int | None = None,
        download: bool = True,
    ) -> None:
        model = str(model) if isinstance(model, Path) else model
        check_text(model, "the model")
        check_pooling(pooling)
        if not isinstance(layers, Sequence):
            raise UsageError(f"layers are a text or a list of numbers; this is not: {layers!r}")
        if not isinstance(max_tokens, int | None) or (max_tokens is not None and max_tokens < 1):
            raise UsageError(f"max_tokens must be a whole number from 1 on; it is {max_tokens!r}")
        self._prompts = prompts
        self._device = device
        # Explanations and likelihoods run in float32 then.
        self._int8 = dtype == INT8
        precision = "float32" if self._int8 else dtype
        self._loaded: LoadedModel = load_model(model, device, precision, download=download)
        self._name = self._loaded.name
        self._layers = layers if isinstance(layers, str) else tuple(layers)
        self._own = folder_settings(self._loaded.folder)
        if self._own is not None and (pooling, self._layers) == (POOLINGS[0], DEFAULT_LAYERS):
            pooling, self._layers = self._own.pooling, self._own.layers
        self.max_tokens = min(max_tokens or MAX_TOKENS, self._loaded.max_positions)
        self._set_pooling(pooling)
        self._refuse_bidirectional()

    def with_pooling(self, pooling: str) -> Self:
        """A copy with another pooling and its default prompts; the loaded model is shared."""
        check_pooling(pooling)
        other = copy.copy(self)
        other._set_pooling(pooling)
        return other

    def with_prompts(self, prompts: Prompts) -> Self:
        """A copy with other prompts; the loaded model is shared."""
        other = copy.copy(self)
        other._prompts = prompts
        other._set_pooling(self.settings.pooling)
        return other

    def _set_pooling(self, pooling: str) -> None:
        model = self._loaded.model
        count = len(find_attention_layers(model))
        pooled = resolve_layers(self._layers, count)
        if pooling in HIDDEN_POOLINGS:
            pooled = (count - 1,)
        self._pooler = AttentionPooler(model, pooled, pooling)
        self._accelerated = self._accelerated_runner()
        self.settings = EmbedderSettings(
            model=self._name,
            weights=self._loaded.weights,
            dimension=self._pooler.dimension(),
            layers=pooled,
            prompts=self._prompts or self._default_prompts(pooling),
            pooling=pooling,
            revision=self._loaded.revision,
        )
        packed = self._loaded.device.type == "cpu" and remembered(
            "packing", self._loaded, (pooling, pooled), self._packing_agrees
        )
        self._runner = Runner(self._pooler, packed=packed)
        self._faster: Runner | None = None
        self._tried_faster = False
        if self._int8:
            fast = int8_pooler(self._name, self._pooler, self._short_texts())
            self._faster = Runner(fast, packed=True)

    def _default_prompts(self, pooling: str) -> Prompts:
        own = self._own
        return own.prompts if own and own.pooling == pooling else DEFAULT_PROMPTS[pooling]

    @classmethod
    def from_settings(
        cls,
        settings: EmbedderSettings,
        *,
        device: str | None = None,
        dtype: str | None = None,
        download: bool = True,
    ) -> Self:
        """The embedder with these settings. Raises ModelError if the weights have changed."""
        embedder = cls(
            settings.pinned_model,
            layers=settings.layers,
            prompts=settings.prompts,
            pooling=settings.pooling,
            device=device,
            dtype=dtype,
            download=download,
        )
        if embedder.fingerprint != settings.fingerprint:
            raise ModelError(
                f"the model {settings.model!r} is no longer the one this index was built with: "
                "its weights have changed; index the documents again into a new folder"
            )
        return embedder

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return self.settings.dimension

    @property
    def device(self) -> str:
        """The device the model runs on, e.g. "cpu"."""
        return str(self._loaded.device)

    @property
    def dtype(self) -> str:
        """The precision the model computes in, e.g. "bfloat16"."""
        return INT8 if self._int8 else str(self._loaded.dtype).removeprefix("torch.")

    # Vectors

    def embed_passages(self, texts: Sequence[str], titles: Sequence[str] | None = None) -> Vectors:
        """Raw unit vectors of passages: (n, dim) float32. An empty text has a zero vector."""
        check_texts(texts, "the passages")
        names = _titles_for(titles, texts)
        return self._embed_texts(
            texts, [self.passage_input(t, n) for t, n in zip(texts, names, strict=True)]
        )

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Raw unit vectors of queries: (n, dim) float32. An empty text has a zero vector.

        With several prompts for queries, as by default, a query's vector is the normalised sum of
        the unit vectors of all prompts.
        """
        check_texts(texts, "the queries")
        return self.embed_prompted(list(map(query_text, texts)), self.settings.prompts.queries)

    def embed_sentences(self, texts: Sequence[str]) -> Vectors:
        """Raw unit vectors of sentences: (n, dim) float32; see `calibrated_sentences`."""
        check_texts(texts, "the sentences")
        return self._embed_texts(texts, [self.sentence_input(text) for text in texts])

    def calibrated_sentences(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of sentences to compare with each other: (n, dim) float32.

        Their inner products are cosines: `v @ v.T` compares all pairs. One map, fitted on these
        sentences without labels, calibrates all of them (see `sentence_map`), so vectors of two
        calls are not comparable. An empty text has a zero vector. With a single sentence, only the
        mean of general texts is subtracted.
        """
        raw = self.embed_sentences(texts)
        prior = self.general_mean(self.settings.prompts.sentence)
        return sentence_map(raw, prior).apply(raw)

    def embed_prompted(self, texts: Sequence[str], template: str | Sequence[str]) -> Vectors:
        """Raw unit vectors of texts in a custom prompt: (n, dim) float32.

        With several prompts, the result is the normalised sum of their unit vectors.
        """
        check_texts(texts, "the texts")
        templates = as_templates(template)
        for each in templates:
            check_template(each)
        inputs = [fill_template(each, text) for each in templates for text in texts]
        # All prompts at once: texts are batched by length across them.
        readings = self._embed_texts(list(texts) * len(templates), inputs)
        if len(templates) == 1:
            return readings
        by_template = readings.reshape(len(templates), len(texts), self.dimension)
        return normalise(by_template.sum(axis=0, dtype=np.float64)).astype(np.float32)

    def embed_inputs(self, inputs: Sequence[str]) -> Vectors:
        """Raw unit vectors of exact model inputs, as `passage_input` and the like return them.

        Inputs longer than `max_tokens` are embedded in pieces, with a warning. Their vector is the
        mean of the pieces' unit vectors, weighted by length, and normalised.
        """
        check_texts(inputs, "the inputs")
        size = TOKENISED_AHEAD
        if self._accelerated is None or len(inputs) <= size:
            return self._embed_tokens(self._tokenize(inputs))
        groups = [inputs[start : start + size] for start in range(0, len(inputs), size)]
        rows = enumerate(ahead(self._tokenize, groups))
        return np.concatenate([self._embed_tokens(ids, group * size) for group, ids in rows])

    def _embed_tokens(self, rows: Sequence[list[int]], first: int = 0) -> Vectors:
        """Raw unit vectors of inputs as token ids; `first` is the number of the first input."""
        pieces, owners = [], []
        for number, ids in enumerate(rows):
            parts = list(self._pieces(ids))
            if len(parts) > 1:
                log.warning(
                    "text %d has %d tokens, more than the %d this model is given at once: "
                    "it was embedded in %d pieces",
                    *(first + number + 1, len(ids), self.max_tokens, len(parts)),
                )
            pieces.extend(parts)
            owners.extend([number] * len(parts))
        vectors = np.zeros((len(rows), self.dimension), dtype=np.float64)
        if pieces:
            runner = self._accelerated or self._runner_for(sum(map(len, pieces)))
            weights = np.array([len(ids) for ids in pieces], dtype=np.float64)
            np.add.at(vectors, owners, normalise(runner.run(pieces)) * weights[:, None])
        return normalise(vectors).astype(np.float32)

    def token_attribution(self, model_input: str) -> TokenAttribution:
        """Each token's contribution to the vector of an exact model input, before normalisation.

        For an input longer than `max_tokens`, the contributions have the weights of their pieces.
        Raises ModelError for poolings other than the default, and for the few families (BitNet,
        DiffLlama) whose attention is more than a weighted sum of values.
        """
        encoded = self._loaded.tokenizer(
            bounded(model_input), return_offsets_mapping=True, verbose=False
        )
        ids = encoded["input_ids"][: len(encoded["input_ids"]) - self._appended]
        runner = Runner(TokenAttributor(self._pooler), packed=self._runner.packed)
        pieces = list(self._pieces(ids))
        parts, constant = [], np.zeros(self.dimension)
        for piece in pieces:
            rows = runner.run([piece])[0].reshape(len(piece) + 1, self.dimension)
            length = float(np.linalg.norm(rows.sum(axis=0)))
            if len(pieces) > 1 and length > 0:
                rows = rows * (len(piece) / length)
            parts.append(rows[:-1])
            constant += rows[-1]
        vectors = np.concatenate([np.empty((0, self.dimension)), *parts])
        return TokenAttribution(
            model_input, tuple(encoded["offset_mapping"][: len(ids)]), vectors, constant
        )

    def contributions(self, model_input: str) -> TokenAttribution:
        """`token_attribution` under its name in version 0.1.0; deprecated."""
        return self.token_attribution(model_input)

    # Likelihoods

    def log_likelihoods(
        self, query: str, passages: Sequence[str], titles: Sequence[str] | None = None
    ) -> DoubleScores:
        """How well the model predicts the query after each passage: (n,), larger is better.

        log P(query | passage), natural logarithm, the mean over the query's tokens. Nothing is
        trained for it: the model reads "Passage: …", a new line, "Question: …". For an empty query
        all values are zero. A passage that does not fit beside the question is cut off at its end.
        """
        check_text(query, "the query")
        check_texts(passages, "the passages")
        names = _titles_for(titles, passages)
        question, query_tokens = self._question(query)
        if not query_tokens or not passages:
            return np.zeros(len(passages))
        room = self.max_tokens - len(question)
        inputs = [PASSAGE_BEFORE + with_title(t, n) for t, n in zip(passages, names, strict=True)]
        reader = QueryLikelihood(self._pooler, query_tokens)
        texts = [ids[:room] + question for ids in self._tokenize(inputs)]
        return Runner(reader, packed=self._runner.packed).run(texts)[:, 0]

    def _question(self, query: str) -> tuple[list[int], int]:
        """The tokens that follow a passage, and how many of the last ones are the query's."""
        text = encodable(QUESTION_BEFORE + query_text(query.strip()))
        encoded = self._loaded.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        ids: list[int] = encoded["input_ids"]
        ends = [end for _, end in encoded["offset_mapping"]]
        before = next((i for i, end in enumerate(ends) if end > len(QUESTION_BEFORE)), len(ids))
        most = min(MAX_QUERY_TOKENS, self.max_tokens // 2 - before)
        count = max(0, min(len(ids) - before, most))
        return ids[: before + count], count

    def general_means(self) -> tuple[Vectors, Vectors]:
        """Mean raw vectors of general texts, as passages and as queries: (dim,) each.

        These means are the prior of the calibration.
        """
        prompts = self.settings.prompts
        return self.general_mean(prompts.passage, whole=True), self.general_mean(prompts.queries)

    def general_mean(self, template: str | Sequence[str], *, whole: bool = False) -> Vectors:
        """Mean raw vector of fixed general texts in one or more prompts: (dim,).

        It is what all texts with this model and prompt have in common. The texts are short
        passages (`whole`) or their first sentences. Computed once for each fingerprint, then read
        from the user's cache.
        """

        def compute() -> Vectors:
            texts = GENERAL_TEXTS.read_text("utf-8").splitlines()
            if not whole:
                texts = [text.partition(". ")[0] + "." for text in texts]
            mean: Vectors = self.embed_prompted(texts, template).mean(axis=0)
            return mean

        name = self.key("\0".join([str(whole), *as_templates(template)]))
        return cached_array(f"general/{name}", (self.dimension,), compute)

    def embed_fixed_queries(self, texts: Sequence[str]) -> Vectors:
        """`embed_queries` of a fixed list of texts: (n, dim) float32.

        Computed once for each fingerprint, then read from the user's cache.
        """
        name = self.key("\0".join(["queries", *self.settings.prompts.queries, *texts]))
        shape = (len(texts), self.dimension)
        return cached_array(f"general/{name}", shape, lambda: self.embed_queries(texts))

    # Tokens

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The character span of every token of `text`, without prompt and special tokens."""
        encoded = self._loaded.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        return [(start, end) for start, end in encoded["offset_mapping"]]

    def tokenizer_json(self) -> str:
        """The tokenizer, as `tokenizers.Tokenizer.from_str` reads it."""
        return str(self._loaded.tokenizer.backend_tokenizer.to_str())

    def prompt_tokens(self) -> int:
        """The number of tokens of the longest passage or query prompt."""
        empty = [self.passage_input(""), *self.query_inputs("")]
        return max(len(ids) for ids in self._tokenize(empty))

    def count_tokens(self, inputs: Sequence[str]) -> int:
        """The total number of tokens of these exact inputs."""
        before = len(self._tokenize([""])[0])  # special tokens
        return before * len(inputs) + sum(self._counts([bounded(text) for text in inputs]))

    @cached_property
    def _counts(self) -> Callable[[Sequence[str]], list[int]]:
        return token_counter(self.tokenizer_json())

    def _tokenize(self, inputs: Sequence[str]) -> list[list[int]]:
        """Token ids, with the tokenizer's beginning token but without an end token.

        An end token would come last, in the position that is pooled.
        """
        if not inputs:
            return []
        tokenizer = self._loaded.tokenizer
        rows = tokenizer([bounded(text) for text in inputs], verbose=False)["input_ids"]
        return [ids[: len(ids) - self._appended] for ids in rows]

    @cached_property
    def _appended(self) -> int:
        """How many special tokens the tokenizer appends to every text."""
        whole, bare = (
            list(
                self._loaded.tokenizer("a", add_special_tokens=special, verbose=False)["input_ids"]
            )
            for special in (True, False)
        )
        return appended_tokens(whole, bare)

    def _pieces(self, ids: list[int]) -> Iterator[list[int]]:
        """`ids` in pieces of equal length, at most `max_tokens` each."""
        count = -(-len(ids) // self.max_tokens)
        for number in range(count):
            yield ids[len(ids) * number // count : len(ids) * (number + 1) // count]

    # Running

    def _embed_texts(self, texts: Sequence[str], inputs: Sequence[str]) -> Vectors:
        present = [index for index, text in enumerate(texts) if text.strip()]
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        vectors[present] = self.embed_inputs([inputs[index] for index in present])
        return vectors

    def _accelerated_runner(self) -> Runner | None:
        """The runner for packed rows on CUDA devices; None if batches are padded, or on a CPU."""
        if self._pooler.is_dispatched:
            return None
        if not varlen.is_available(self._loaded.device, self._loaded.dtype):
            return None
        texts = GENERAL_TEXTS.read_text("utf-8").splitlines()[:3]
        if not varlen.agrees(self._pooler, self._tokenize(texts)):
            return None
        if self._device in (None, "auto", "cuda"):
            return runner_on_all_cards(self._pooler)
        return AcceleratorRunner(self._pooler)

    def _packing_agrees(self) -> bool:
        """Whether packed and padded batches give the same vectors; if not, batches are padded.

        Packing relies on position ids and on the attention interface. A model may support both
        and still depend on the position in the row, for example by a convolution.
        """
        if not self._pooler.can_pack:
            return False
        ids = self._short_texts()
        packed, padded = (self._pooler.run(ids, packed=way) for way in (True, False))
        return bool(torch.cosine_similarity(packed, padded).min() > MIN_AGREEMENT)

    def _short_texts(self) -> list[list[int]]:
        """Three general sentences, to compare two ways of running the model."""
        texts = GENERAL_TEXTS.read_text("utf-8").splitlines()[:3]
        return self._tokenize([text.partition(". ")[0] for text in texts])

    def _runner_for(self, tokens: int) -> Runner:
        """The runner for so many tokens; the first time that they are many, the faster one."""
        if not self._tried_faster and tokens >= MANY_TOKENS and self._runner.packed:
            self._tried_faster = True
            if self._faster is None:
                fast = fused_pooler(self._loaded, self._pooler, self._short_texts())
                self._faster = Runner(fast, packed=True) if fast else None
        return self._faster or self._runner

    def _is_bidirectional(self) -> bool:
        """Whether a token's attention depends on later tokens (an encoder)."""
        first, one, two = (ids[-1] for ids in self._tokenize(["of", "a", "the"]))
        return self._pooler.is_bidirectional(first, (one, two))

    def _refuse_bidirectional(self) -> None:
        """Raise ModelError for an encoder."""
        if remembered("bidirectional", self._loaded, (), self._is_bidirectional):
            kind = self._loaded.model.config.model_type
            raise ModelError(
                f"{self._name!r} is an encoder ({kind}): its tokens see what follows "
                "them; use a decoder-only language model such as Llama, Qwen, Gemma or GPT-2"
            )


def _titles_for(titles: Sequence[str] | None, texts: Sequence[str]) -> Sequence[str]:
    if titles is not None:
        check_texts(titles, "the titles")
    names = titles or [""] * len(texts)
    if len(names) != len(texts):
        raise UsageError(f"{len(texts)} texts but {len(names)} titles were given")
    return names
