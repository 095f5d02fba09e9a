"""Packed rows on a CUDA device: attention within each text by torch's `varlen_attn`.

All texts are concatenated in one row, each with its own prompt. The kernel takes the borders of the
texts, the causal window and grouped heads as they are. What it lacks (a logit cap, sinks, value
heads of another size, other precisions) raises ModelError; `agrees` turns this, and every other
failure, into "no", and batches are padded.

Letters in shapes: as in `packing`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from retriever.embedding.packing import Batch, Pack, TokenIds, _Run, packed
from retriever.embedding.pooling import AttentionPooler
from retriever.types import ModelError

log = logging.getLogger(__name__)

MAX_HEAD = 256
"""The largest head size of torch's flash attention."""

FLASH_CAPABILITY = (8, 0)
"""The oldest CUDA compute capability that has torch's flash attention (Ampere)."""

MIN_AGREEMENT = 0.999
"""The least cosine of vectors computed with the kernel and padded."""


def varlen_attn(*args: Any, **options: Any) -> Any:
    """The kernel, a prototype that older versions of torch lack; its import takes a second."""
    from torch.nn.attention.varlen import varlen_attn as kernel

    return kernel(*args, **options)


@dataclass(frozen=True, slots=True)
class Borders:
    """The borders of the texts of a row, and attention within them."""

    starts: Tensor  # (B + 1,) int32: where each text begins, and the end of the row
    queries: Tensor  # (B + 1,) int32: 0, 1, …, B, the borders if each text has one query
    last: Tensor  # (B,) the position of every text's last token
    longest: int

    def to(self, device: torch.device) -> Borders:
        """The same borders on a device; the copies do not wait for each other."""
        starts, queries, last = (
            tensor.to(device, non_blocking=True)
            for tensor in (self.starts, self.queries, self.last)
        )
        return Borders(starts, queries, last, self.longest)

    def pinned(self) -> Borders:
        """The same borders in page-locked memory."""
        starts, queries, last = (t.pin_memory() for t in (self.starts, self.queries, self.last))
        return Borders(starts, queries, last, self.longest)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scale: float,
        window: int | None,
        only_last: bool,
    ) -> Tensor:
        """Query (1, H, S, D), key (1, K, S, D), value (1, K, S, D) → (1, S, H, D)."""
        q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
        options: dict[str, Any] = {"scale": scale, "enable_gqa": q.shape[1] != k.shape[1]}
        if only_last and window is None:
            # The last token sees its whole text, so its attention needs no mask.
            result = torch.zeros_like(q, memory_format=torch.contiguous_format)
            result[self.last] = varlen_attn(
                q[self.last], k, v, self.queries, self.starts, 1, self.longest, **options
            )
            return result[None]
        options["window_size"] = (-1 if window is None else window - 1, 0)
        output: Tensor = varlen_attn(
            q, k, v, self.starts, self.starts, self.longest, self.longest, **options
        )
        return output[None]


def varlen_attention(
    borders: Borders,
    tensors: tuple[Tensor, Tensor, Tensor],
    *,
    scale: float,
    window: int | None,
    softcap: float | None,
    sinks: Tensor | None,
    only_last: bool,
) -> Tensor:
    """Attention within each text, (1, S, H, D). Raises ModelError for what the kernel lacks."""
    query, key, value = tensors
    size = query.shape[-1]
    if softcap is not None or sinks is not None:
        raise ModelError("torch's packed attention has no logit cap and no sinks")
    if value.shape[-1] != size or size % 8 or size > MAX_HEAD:
        raise ModelError(f"torch's packed attention has no heads of {size} and {value.shape[-1]}")
    return borders.attend(query, key, value, scale=scale, window=window, only_last=only_last)


def packed_by_borders(texts: Sequence[TokenIds], bucket: int = 1) -> Batch:
    """All texts in one row, (1, S), each with its own prefix.

    The row's length is a multiple of `bucket`; a last text of zeros, which is not pooled, fills it.
    """
    lengths = [len(ids) for ids in texts]
    rest = -sum(lengths) % bucket
    filled = [*texts, [0] * rest] if rest else list(texts)
    batch = packed(filled, own=max(map(len, filled)))  # no common prefix
    if rest:
        batch = _without_last(batch, batch.pack.runs if batch.pack else ())
    ends = list(accumulate(len(ids) for ids in filled))
    starts = torch.tensor([0, *ends], dtype=torch.int32)
    queries = torch.arange(len(starts), dtype=torch.int32)
    last = torch.tensor(ends) - 1
    return replace(batch, borders=Borders(starts, queries, last, max(map(len, filled))))


def _without_last(batch: Batch, of: tuple[_Run, ...]) -> Batch:
    """The batch without pooling its last text; the row keeps its tokens."""
    *runs, run = of
    kept = (replace(run, count=run.count - 1),) if run.count > 1 else ()
    rows, positions = batch.last
    return replace(batch, last=(rows[:-1], positions[:-1]), pack=Pack(0, (*runs, *kept)))


def is_available(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernel can run here at all; `agrees` asks whether it gives the same vectors."""
    return (
        device.type == "cuda"
        and dtype in (torch.bfloat16, torch.float16)
        and torch.cuda.get_device_capability(device) >= FLASH_CAPABILITY
    )


def agrees(pooler: AttentionPooler, texts: Sequence[TokenIds]) -> bool:
    """Whether packed and padded batches give the same vectors. A "no" is logged with its reason."""
    if not pooler.can_pack:
        return False
    try:
        expected = pooler.run(texts, packed=False)
        with pooler.hooked(packed=True):
            found = pooler.run_batch(packed_by_borders(texts))
        cosine = float(torch.cosine_similarity(found, expected).min())
    except Exception as error:  # noqa: BLE001  (whatever a private kernel raises: padding always works)
        log.info("batches are padded: packed attention failed here (%s)", error)
        return False
    if not cosine > MIN_AGREEMENT:
        log.info("batches are padded: packed attention gives other vectors (cosine %.4f)", cosine)
    return cosine > MIN_AGREEMENT


__all__ = ["Borders", "agrees", "is_available", "packed_by_borders", "varlen_attention"]
