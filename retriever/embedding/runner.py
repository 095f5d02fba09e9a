"""Batched inference: token ids → rows in the same order, on all cores, within memory.

A row is what the pooler returns for a text: a vector, or a likelihood. This module knows neither
texts nor prompts. One run at a time uses all cores, and sets torch's number of threads for itself.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from retriever.arrays import DoubleVectors
from retriever.embedding.packing import TokenIds
from retriever.types import ModelError

PACK_TOKENS = 1024
"""Tokens of a packed batch on the CPU: its activations stay in the processor's cache."""

SMALL_TOKENS = 256
"""A batch of at most this many tokens is not split over cores."""

PAD_TOKENS = 32_768
"""Tokens of a padded batch on an accelerator, padding included."""

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
"""Parts of torch's error messages on CUDA, on Apple's MPS (both RuntimeErrors), and on the CPU."""

one_at_a_time = threading.Lock()


class Pooler(Protocol):
    """Computes a row for each text. `pooling.AttentionPooler` documents the methods."""

    @property
    def device(self) -> torch.device:
        """The device of the token ids."""

    @property
    def is_dispatched(self) -> bool:
        """Whether weights are moved during a pass."""

    def hooked(self, *, packed: bool) -> AbstractContextManager[None]:
        """The context that `run_hooked` needs."""

    def run_hooked(self, texts: Sequence[TokenIds], *, packed: bool) -> Tensor:
        """The rows of a batch: (B, dim)."""


class Runner:
    """Runs many texts through a pooler, in `packed` or padded batches."""

    def __init__(self, pooler: Pooler, *, packed: bool) -> None:
        self.pooler = pooler
        self.packed = packed
        self.on_cpu = pooler.device.type == "cpu"
        # A model whose weights are moved during a pass can run one pass at a time.
        self.side_by_side = self.on_cpu and not pooler.is_dispatched
        self.limit = math.inf  # tokens of one batch, after an out-of-memory error

    def run(self, texts: Sequence[TokenIds]) -> DoubleVectors:
        """The pooled vectors of token ids (one text at least), in their order: (n, dim)."""
        # Longest first: neighbours have similar lengths, and the last batches are small.
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        with one_at_a_time, self.pooler.hooked(packed=self.packed):
            batches = list(self._batches([texts[index] for index in order]))
            rows = np.concatenate(list(self._map(self._run_batch, batches)))
        results = np.empty_like(rows)
        results[order] = rows
        return results

    def _batches(self, texts: Sequence[TokenIds]) -> Iterator[list[TokenIds]]:
        """Batches of neighbouring texts within the token budget; a longer text is alone."""
        budget = self._budget(sum(map(len, texts)))
        start = 0
        while start < len(texts):
            end = self._fitting(texts, start, budget)
            yield list(texts[start:end])
            start = end

    def _budget(self, tokens: int) -> int:
        """Tokens of one batch; on a CPU, few enough for work on all cores."""
        if not self.on_cpu:
            return PAD_TOKENS
        return max(SMALL_TOKENS, min(PACK_TOKENS, -(-tokens // torch.get_num_threads())))

    def _fitting(self, texts: Sequence[TokenIds], start: int, budget: float) -> int:
        """The end of the batch that begins at `start` and fits the budget; one text always fits.

        The texts are sorted, longest first.
        """
        used = 0
        for end in range(start, len(texts)):
            used += len(texts[end])
            needed = used if self.packed else len(texts[start]) * (end - start + 1)
            if end > start and needed > budget:
                return end
        return len(texts)

    def _map(
        self, function: Callable[[list[TokenIds]], DoubleVectors], batches: Sequence[list[TokenIds]]
    ) -> Iterator[DoubleVectors]:
        """Run batches in parallel on the CPU's cores, each single-threaded.

        Small operations do not scale over threads, whole batches do: about a third faster. Threads
        that wait for each other within an operation are very slow on a busy machine, so a single
        query runs on one core, too. Only a single long text uses all cores.
        """
        if not self.side_by_side:
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
            # The number set for the workers is also the default of later threads.
            torch.set_num_threads(cores)

    def _run_batch(self, batch: list[TokenIds]) -> DoubleVectors:
        """Run a batch, split into as many parts as memory requires.

        After an out-of-memory error the limit is half of what failed, for later batches as well.
        """
        parts: list[DoubleVectors] = []
        rest = batch
        while rest:
            part = rest[: self._fitting(rest, 0, self.limit)]
            rows = self._try_part(part)
            if rows is not None:
                parts.append(rows)
                rest = rest[len(part) :]
            elif len(part) == 1:
                raise too_little_memory(self.pooler.device, len(part[0]))
            else:
                tokens = sum(map(len, part)) if self.packed else len(part) * len(part[0])
                self.limit = tokens // 2
        return np.concatenate(parts)

    def _try_part(self, part: list[TokenIds]) -> DoubleVectors | None:
        """The rows, or None if the device is out of memory."""
        try:
            rows: DoubleVectors = (
                self.pooler.run_hooked(part, packed=self.packed).double().cpu().numpy()
            )
            return rows
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        # Not in the except block, which still holds the tensors of the failed pass.
        free_memory(self.pooler.device.type)
        return None


def too_little_memory(device: torch.device, tokens: int) -> ModelError:
    """The error for a text of so many tokens that alone is too long for the device."""
    return ModelError(
        f"the {device} device has too little memory for a text of {tokens} tokens; "
        "use a smaller model, or another --device"
    )


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch means that the device is out of memory.

    >>> out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    True
    """
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in OUT_OF_MEMORY
    )


def free_memory(device: str) -> None:
    """Empty torch's memory cache, so that smaller tensors find contiguous memory."""
    if device == "cuda":
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()
