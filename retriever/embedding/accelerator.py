"""Batched inference on an accelerator: packed rows, several in flight, one copy for many results.

The host never waits for a single batch. A thread packs the next rows into page-locked memory, their
copies do not block, and the vectors stay on the device until several batches are done. An
out-of-memory error halves the batches, as in `runner`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from retriever.arrays import DoubleVectors
from retriever.embedding.packing import Batch, TokenIds
from retriever.embedding.pooling import AttentionPooler
from retriever.embedding.runner import (
    Runner,
    free_memory,
    one_at_a_time,
    out_of_memory,
    too_little_memory,
)
from retriever.embedding.varlen import packed_by_borders

Item = TypeVar("Item")
Result = TypeVar("Result")

ROW_TOKENS = 32_768
"""Tokens of a packed row."""

BUCKET = 256
"""The length of a row is a multiple of this, so that few shapes occur."""

IN_FLIGHT = 8
"""Batches whose vectors stay on the device until one copy takes them all."""

AHEAD = 2
"""Batches or groups of texts that are prepared while the device computes."""


class AcceleratorRunner(Runner):
    """Runs many texts through a pooler in packed rows of `row_tokens` on its device.

    `packed` is False: it is what other readers of the same model use, which pad.
    """

    def __init__(
        self,
        pooler: AttentionPooler,
        *,
        row_tokens: int = ROW_TOKENS,
        in_flight: int = IN_FLIGHT,
        own_model: bool = False,
    ) -> None:
        super().__init__(pooler, packed=False)
        self.attention = pooler
        self.row_tokens = row_tokens
        self.in_flight = in_flight
        self.device = pooler.device
        # Other readers of the loaded model wait for the same lock; a copy has no other readers.
        self._alone = threading.Lock() if own_model else one_at_a_time

    def run(self, texts: Sequence[TokenIds]) -> DoubleVectors:
        """The pooled vectors of token ids (one text at least), in their order: (n, dim)."""
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        with self._alone, self.attention.hooked(packed=True), torch.inference_mode():
            rows = np.concatenate(list(self._copied([texts[index] for index in order])))
        results = np.empty_like(rows)
        results[order] = rows
        return results

    def _budget(self, tokens: int) -> int:
        return self.row_tokens

    def _fitting(self, texts: Sequence[TokenIds], start: int, budget: float) -> int:
        used = 0
        for end in range(start, len(texts)):
            used += len(texts[end])
            if end > start and used > budget:
                return end
        return len(texts)

    def _copied(self, texts: Sequence[TokenIds]) -> Iterator[DoubleVectors]:
        """The vectors of all batches, in groups: one copy for `in_flight` of them."""
        waiting: list[Tensor] = []
        for batch, prepared in ahead(self._prepare, self._batches(texts)):
            waiting.extend(self._parts(batch, prepared))
            if len(waiting) >= self.in_flight:
                yield _to_host(waiting)
                waiting = []
        if waiting:
            yield _to_host(waiting)

    def _prepare(self, texts: list[TokenIds]) -> tuple[list[TokenIds], Batch]:
        batch = packed_by_borders(texts, BUCKET)
        return texts, pinned(batch) if self.device.type == "cuda" else batch

    def _parts(self, texts: list[TokenIds], prepared: Batch | None) -> Iterator[Tensor]:
        """The vectors of a batch on the device, in as many parts as memory requires."""
        rest = texts
        while rest:
            part = rest[: self._fitting(rest, 0, self.limit)]
            whole = prepared is not None and len(part) == len(texts)
            rows = self._try(prepared if whole else None, part)
            if rows is not None:
                yield rows
                rest = rest[len(part) :]
            elif len(part) == 1:
                raise too_little_memory(self.device, len(part[0]))
            else:
                self.limit = sum(map(len, part)) // 2

    def _try(self, prepared: Batch | None, part: list[TokenIds]) -> Tensor | None:
        """The vectors, or None if the device is out of memory."""
        try:
            batch = self._prepare(part)[1] if prepared is None else prepared
            return self.attention.run_batch(on_device(batch, self.device))
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        # Not in the except block, which still holds the tensors of the failed pass.
        free_memory(self.device.type)
        return None


def pinned(batch: Batch) -> Batch:
    """The batch in page-locked memory, from which copies do not block."""
    rows, positions = batch.last
    return replace(
        batch,
        inputs={name: tensor.pin_memory() for name, tensor in batch.inputs.items()},
        last=(rows.pin_memory(), positions.pin_memory()),
        borders=batch.borders and batch.borders.pinned(),
    )


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on the device, positions included, so that no layer waits for a copy."""
    rows, positions = (index.to(device, non_blocking=True) for index in batch.last)
    return replace(
        batch,
        inputs={n: tensor.to(device, non_blocking=True) for n, tensor in batch.inputs.items()},
        last=(rows, positions),
        borders=batch.borders and batch.borders.to(device),
    )


def _to_host(rows: Sequence[Tensor]) -> DoubleVectors:
    """All rows by one copy: (n, dim)."""
    result: DoubleVectors = torch.cat(list(rows)).cpu().double().numpy()
    return result


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], count: int = AHEAD
) -> Iterator[Result]:
    """`map(function, items)`, computed up to `count` items ahead in another thread.

    >>> list(ahead(lambda number: number + 1, range(3)))
    [1, 2, 3]
    """
    source = iter(items)
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(function, item) for item in islice(source, count)]
        try:
            while waiting:
                result = waiting.pop(0).result()
                waiting += [pool.submit(function, item) for item in islice(source, 1)]
                yield result
        finally:
            for future in waiting:
                future.cancel()


def compile_feed_forward(model: nn.Module) -> int:
    """Compile every layer's feed-forward part in place, for rows of any length; how many.

    The hooks of the pooled layers stay outside of it. Whether it pays is measured by
    `benchmarks.gpu`; it is off by default.
    """
    found = [m for name, m in model.named_modules() if name.rpartition(".")[2] == "mlp"]
    for module in found:
        module.compile(dynamic=True)
    return len(found)
