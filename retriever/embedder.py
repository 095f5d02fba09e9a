"""AlignedWVA: texts in, one raw unit vector for each out.

    e = Σ_{l in layers} o_l,   ê = e / |e|

where o_l is the attention output of the last token of a prompt that asks for the text's meaning in
one word (arXiv 2602.01572, see `attention`). The vectors are raw: `calibration` removes what is
common to all texts. Passages, queries and sentences have doors of their own, because their prompts
differ.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from retriever.attention import AttentionPooler, TokenIds
from retriever.cache import remembered
from retriever.models import LoadedModel, load
from retriever.settings import (
    DEFAULT_LAYERS,
    DEFAULT_MODEL,
    EmbedderSettings,
    Prompts,
    check_template,
    resolve_layers,
)
from retriever.types import ModelError, UsageError

log = logging.getLogger(__name__)

Vectors = NDArray[np.float32]

MAX_TOKENS = 8192
"""Longer inputs are embedded in pieces, even if the model could read more at once."""

TITLE_CHARACTERS = 160
"""Of a longer title only the beginning is put before the text."""

GENERAL_TEXTS = Path(__file__).with_name("general.txt")
"""One general text a line; their first sentences stand for questions."""

PACK_TOKENS = 1024
"""Tokens of one packed batch on the CPU: its activations stay in the processor's cache."""

PROVED_FAMILIES = frozenset({"llama", "qwen2", "gemma3_text", "gpt2"})
"""Model types whose packed vectors are compared with the formula in the tests."""

SAME = 0.999
"""Cosine above which two ways of computing a vector agree, also in bfloat16."""

SMALL_TOKENS = 256
"""So few tokens are not worth sharing between cores."""

PAD_TOKENS = 32_768
"""Tokens of one padded batch on an accelerator, padding included."""


_running = threading.Lock()
"""One embedder at a time: a run has all cores, and sets torch's number of threads meanwhile."""


class AlignedWVA:
    """A causal language model as an embedder. Safe to use from several threads.

    `model` is a preset ("smollm2-135m"), a folder, a GGUF file, or a hub id; `layers` the pooled
    layers: "upper-half", "all", a range "10-19", or a list; `prompts` the three templates with
    `{}` for the text; `device` and `dtype` are chosen automatically (see `retriever.models.load`);
    `max_tokens` is the longest input read in one piece, prompt included.

    Raises ModelError when the model cannot be used, UsageError for impossible arguments.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        layers: str | Sequence[int] = DEFAULT_LAYERS,
        prompts: Prompts | None = None,
        device: str | None = None,
        dtype: str | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self._loaded: LoadedModel = load(model, device, dtype)
        layer_count = len(AttentionPooler(self._loaded.model).layers)
        spec = layers if isinstance(layers, str) else tuple(layers)
        pooled = resolve_layers(spec, layer_count)
        self._pooler = AttentionPooler(self._loaded.model, pooled)
        self._packed = False
        self.max_tokens = min(max_tokens or MAX_TOKENS, self._loaded.max_positions)
        self.settings = EmbedderSettings(
            model=model,
            weights=self._loaded.weights,
            dimension=int(self._loaded.model.config.get_text_config().hidden_size),
            layers=pooled,
            prompts=prompts or Prompts(),
        )
        self._refuse_two_way_attention()
        self._packed = self._loaded.device.type == "cpu" and self._packs_truly()

    @classmethod
    def from_settings(
        cls, settings: EmbedderSettings, *, device: str | None = None, dtype: str | None = None
    ) -> Self:
        """The embedder an index was built with. Raises ModelError if its weights have changed."""
        embedder = cls(
            settings.model,
            layers=settings.layers,
            prompts=settings.prompts,
            device=device,
            dtype=dtype,
        )
        if embedder.fingerprint != settings.fingerprint:
            raise ModelError(
                f"the model {settings.model!r} is no longer the one this index was built with: "
                "its weights have changed; index the documents again into a new folder"
            )
        return embedder

    @property
    def fingerprint(self) -> str:
        """Equal for two embedders if and only if their vectors may be compared."""
        return self.settings.fingerprint

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.settings.dimension

    @property
    def device(self) -> str:
        """Where the model runs, e.g. "cpu"."""
        return str(self._loaded.device)

    @property
    def dtype(self) -> str:
        """The precision it computes in, e.g. "bfloat16"."""
        return str(self._loaded.dtype).removeprefix("torch.")

    # What goes into the model

    def passage_input(self, text: str, title: str = "") -> str:
        """The exact model input for a passage; the title, if any, stands before the text."""
        name = title.strip()[:TITLE_CHARACTERS]
        titled = f"{name}. {text}" if name else text
        return fill(self.settings.prompts.passage, titled)

    def query_input(self, text: str) -> str:
        """The exact model input for a query."""
        return fill(self.settings.prompts.query, text)

    def sentence_input(self, text: str) -> str:
        """The exact model input for one of two sentences to be compared; it gets a full stop."""
        return fill(self.settings.prompts.sentence, with_full_stop(text))

    def key(self, model_input: str) -> str:
        """The name under which this input's vector is stored: never embedded twice."""
        text = f"{self.fingerprint}\0{model_input}".encode("utf-8", "surrogatepass")
        return hashlib.sha256(text).hexdigest()[:40]

    # Vectors

    def embed_passages(self, texts: Sequence[str], titles: Sequence[str] | None = None) -> Vectors:
        """Raw unit vectors of passages: (n, dim) float32. An empty text has a zero vector."""
        names = titles or [""] * len(texts)
        if len(names) != len(texts):
            raise UsageError(f"{len(texts)} texts but {len(names)} titles were given")
        return self._embed_texts(
            texts, [self.passage_input(t, n) for t, n in zip(texts, names, strict=True)]
        )

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Raw unit vectors of queries: (n, dim) float32. An empty text has a zero vector."""
        return self._embed_texts(texts, [self.query_input(text) for text in texts])

    def embed_sentences(self, texts: Sequence[str]) -> Vectors:
        """Raw unit vectors of sentences to compare with each other: (n, dim) float32."""
        return self._embed_texts(texts, [self.sentence_input(text) for text in texts])

    def embed_prompted(self, texts: Sequence[str], template: str) -> Vectors:
        """Raw unit vectors of texts read through a prompt of one's own: (n, dim) float32."""
        check_template(template)
        return self._embed_texts(texts, [fill(template, text) for text in texts])

    def embed_inputs(self, inputs: Sequence[str]) -> Vectors:
        """Raw unit vectors of exact model inputs (made by `passage_input` and its sisters).

        Inputs longer than `max_tokens` are read in pieces, whose vectors are averaged by length;
        a warning says so.
        """
        pieces, owners = [], []
        for number, ids in enumerate(self._tokenize(inputs)):
            parts = list(self._pieces(ids))
            if len(parts) > 1:
                log.warning(
                    "text %d has %d tokens, more than the %d this model is given at once: "
                    "it was embedded in %d pieces",
                    *(number + 1, len(ids), self.max_tokens, len(parts)),
                )
            pieces.extend(parts)
            owners.extend([number] * len(parts))
        vectors = np.zeros((len(inputs), self.dimension), dtype=np.float64)
        if pieces:
            weights = np.array([len(ids) for ids in pieces], dtype=np.float64)
            np.add.at(vectors, owners, _unit(self._run(pieces)) * weights[:, None])
        return _unit(vectors).astype(np.float32)

    def general_means(self) -> tuple[Vectors, Vectors]:
        """Mean raw vectors of general texts, as passages and as queries: (dim,) each.

        They are the prior of the calibration.
        """
        prompts = self.settings.prompts
        return self.general_mean(prompts.passage, whole=True), self.general_mean(prompts.query)

    def general_mean(self, template: str, *, whole: bool = False) -> Vectors:
        """Mean raw vector of a fixed set of general texts read through a prompt: (dim,).

        It says what is common to all texts of this model and this prompt. The texts are short
        passages (`whole`) or their first sentences. Computed once for each fingerprint, then read
        from the user's cache.
        """

        def compute() -> Vectors:
            texts = GENERAL_TEXTS.read_text("utf-8").splitlines()
            if not whole:
                texts = [text.partition(". ")[0] + "." for text in texts]
            mean: Vectors = self.embed_prompted(texts, template).mean(axis=0)
            return mean

        name = self.key(f"{whole}\0{template}")
        return remembered(f"general/{name}", (self.dimension,), compute)

    # Tokens

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The character span of every token of `text`, prompt and special tokens left out."""
        encoded = self._loaded.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        return [(start, end) for start, end in encoded["offset_mapping"]]

    def prompt_tokens(self) -> int:
        """How many tokens the longer of the passage and query prompts takes."""
        empty = [self.passage_input(""), self.query_input("")]
        return max(len(ids) for ids in self._tokenize(empty))

    def count_tokens(self, inputs: Sequence[str]) -> int:
        """How many tokens the model reads for these exact inputs."""
        return sum(len(ids) for ids in self._tokenize(inputs))

    def _tokenize(self, inputs: Sequence[str]) -> list[list[int]]:
        """Token ids, with the tokenizer's own beginning token but without an ending one.

        An ending token would stand after the prompt, where the meaning is read.
        """
        if not inputs:
            return []
        tokenizer = self._loaded.tokenizer
        rows = tokenizer([_encodable(text) for text in inputs], verbose=False)["input_ids"]
        return [ids[:-1] if self._appends_end else ids for ids in rows]

    @cached_property
    def _appends_end(self) -> bool:
        """Whether the tokenizer puts a token of its own behind every text."""
        tokenizer = self._loaded.tokenizer
        plain = tokenizer("a", verbose=False)["input_ids"]
        ends = {tokenizer.eos_token_id, tokenizer.sep_token_id} - {None}
        return len(plain) > 1 and plain[-1] in ends

    def _pieces(self, ids: list[int]) -> Iterator[list[int]]:
        """`ids` in equal parts of at most `max_tokens` each."""
        count = -(-len(ids) // self.max_tokens)
        for number in range(count):
            yield ids[len(ids) * number // count : len(ids) * (number + 1) // count]

    # Running

    def _embed_texts(self, texts: Sequence[str], inputs: Sequence[str]) -> Vectors:
        present = [index for index, text in enumerate(texts) if text.strip()]
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        vectors[present] = self.embed_inputs([inputs[index] for index in present])
        return vectors

    def _run(self, texts: Sequence[TokenIds]) -> NDArray[np.float64]:
        """Pooled attention outputs e of token ids, in their order: (n, dim)."""
        # Longest first: neighbours are of one length, and the end of the work is fine-grained.
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        results = np.zeros((len(texts), self.dimension), dtype=np.float64)
        with _running, self._pooler.tapped(packed=self._packed):
            batches = list(self._batches(order, texts))
            batch_texts = [[texts[index] for index in batch] for batch in batches]
            for batch, rows in zip(batches, self._map(self._run_batch, batch_texts), strict=True):
                results[batch] = rows
        return results

    def _batches(self, order: Sequence[int], texts: Sequence[TokenIds]) -> Iterator[list[int]]:
        """Groups of indices within the budget of tokens; a text longer than it stands alone."""
        batch: list[int] = []
        used = longest = 0
        budget = self._budget(sum(map(len, texts)))
        for index in order:
            length = len(texts[index])
            longest = max(longest, length)
            needed = used + length if self._packed else longest * (len(batch) + 1)
            if batch and needed > budget:
                yield batch
                batch, used, longest = [], 0, length
            batch.append(index)
            used += length
        if batch:
            yield batch

    def _budget(self, tokens: int) -> int:
        """Tokens of one batch, so that all of a CPU's cores have something to do."""
        if self._loaded.device.type != "cpu":
            return PAD_TOKENS
        return max(SMALL_TOKENS, min(PACK_TOKENS, -(-tokens // torch.get_num_threads())))

    def _map(
        self,
        function: Callable[[list[TokenIds]], NDArray[np.float64]],
        batches: Sequence[list[TokenIds]],
    ) -> Iterator[NDArray[np.float64]]:
        """Run batches side by side on the CPU's cores, each single-threaded.

        Small operations do not scale over threads, whole batches do: about a third faster. And
        threads that wait for each other within an operation crawl when the machine is busy, so a
        query alone runs on one core as well; only a long text alone is shared by all.
        """
        if self._loaded.device.type != "cpu" or not batches:
            yield from map(function, batches)
            return
        cores = torch.get_num_threads()
        workers = min(cores, len(batches))
        small = sum(map(len, batches[0])) <= SMALL_TOKENS
        threads = 1 if small else cores // workers
        try:
            with ThreadPoolExecutor(
                workers, initializer=torch.set_num_threads, initargs=(threads,)
            ) as pool:
                yield from pool.map(function, batches)
        finally:
            # What was set for the workers is also what threads to come would start with.
            torch.set_num_threads(cores)

    def _run_batch(self, batch: list[TokenIds]) -> NDArray[np.float64]:
        try:
            pooled = self._pooler.run_tapped(batch, packed=self._packed)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise ModelError(
                    f"the {self.device} device has too little memory for a text of "
                    f"{len(batch[0])} tokens; use --device cpu, or a smaller model"
                ) from None
            torch.cuda.empty_cache()
            middle = len(batch) // 2
            halves = (self._run_batch(batch[:middle]), self._run_batch(batch[middle:]))
            return np.concatenate(halves)
        rows: NDArray[np.float64] = pooled.double().cpu().numpy()
        return rows

    def _packs_truly(self) -> bool:
        """Whether packing gives what padding gives; where it does not, batches are padded.

        The families it is proved for by tests are not asked.
        """
        if not self._pooler.can_pack:
            return False
        if self._loaded.model.config.model_type in PROVED_FAMILIES:
            return True
        texts = self._tokenize(GENERAL_TEXTS.read_text("utf-8").splitlines()[:3])
        packed, padded = (self._pooler.run(texts, packed=way) for way in (True, False))
        return bool(torch.cosine_similarity(packed, padded).min() > SAME)

    def _refuse_two_way_attention(self) -> None:
        """Raise ModelError if a token's attention changes with what follows it (an encoder)."""
        first, second = (ids[-1] for ids in self._tokenize(["a", "the"]))
        layer = self._pooler.layers[0]
        seen: list[torch.Tensor] = []
        handle = layer.projection.register_forward_pre_hook(
            lambda _, inputs: seen.append(inputs[0][0, 0].float())
        )
        try:
            with torch.inference_mode():
                for last in (first, second):
                    ids = torch.tensor([[first, last]], device=self._loaded.device)
                    self._loaded.model(input_ids=ids, use_cache=False)
        finally:
            handle.remove()
        if not torch.allclose(seen[0], seen[1], rtol=0.05, atol=1e-4):
            kind = self._loaded.model.config.model_type
            raise ModelError(
                f"{self.settings.model!r} is an encoder ({kind}): its tokens see what follows "
                "them; use a decoder-only language model such as Llama, Qwen, Gemma or GPT-2"
            )


def fill(template: str, text: str) -> str:
    r"""Put a text into a prompt; its own double quotes become single, so that the prompt's stand.

    >>> fill('This word : "{}" means', 'a "b"')
    'This word : "a \'b\'" means'
    """
    before, _, after = template.partition("{}")
    return before + text.replace('"', "'") + after


def with_full_stop(text: str) -> str:
    """A sentence ends with a mark; one that has none gets a full stop.

    >>> with_full_stop("A dog runs"), with_full_stop("Really?")
    ('A dog runs.', 'Really?')
    """
    stripped = text.rstrip()
    return stripped if not stripped or stripped[-1] in ".!?…。！？" else stripped + "."


def _encodable(text: str) -> str:
    """`text` without lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units: NDArray[np.float64] = np.divide(
        rows, lengths, out=np.zeros_like(rows), where=lengths > 0
    )
    return units
