"""Sequence packing: a batch of texts as model input, and attention within each text.

* **packed**: all texts are concatenated in one row, their common prefix only once; there is no
  padding, and attention is computed text by text;
* **padded**: one text per row, padded on the right, where causal attention ignores the padding.

The attention function is registered with transformers under the name `IMPLEMENTATION`; this
package's own decoder (`models.decoder`) calls it itself. It follows the contract of transformers'
flash-attention functions (causal, with the layer's window, logit cap and sinks as arguments), so it
works for every family that supports those, without special cases.

Letters in shapes: B texts, T tokens of a row, S tokens of a packed row, H heads, K key/value
heads, G = H / K, D head size (E that of the values, where it differs).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from retriever.types import ModelError

if TYPE_CHECKING:
    from retriever.embedding.varlen import Borders

IMPLEMENTATION = "wva_packed"
QUERY_BLOCK = 128

TokenIds = Sequence[int]

ValueAttribution = Callable[[Tensor], Tensor]
"""Weights of the query positions (T,) → each token's contribution to the weighted sum of the
attention outputs, heads concatenated, in float32: (T, H·E). The sum over the tokens is that sum."""


@dataclass(frozen=True, slots=True)
class _Run:
    """`count` consecutive texts with `length` own tokens each, from position `start` of the row."""

    start: int
    length: int
    count: int

    def of(self, tensor: Tensor) -> Tensor:
        """The run's part of a row as a view with a text dimension: (H, S, D) → (N, H, n, D)."""
        part = tensor[:, self.start : self.start + self.count * self.length]
        return part.view(len(part), self.count, self.length, -1).transpose(0, 1)


@dataclass(frozen=True, slots=True)
class Pack:
    """The layout of a packed row: a common prefix of `shared` tokens, then runs of equal length."""

    shared: int
    runs: tuple[_Run, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """A model's input and the positions of the texts in it; `pack` is None if padded."""

    inputs: dict[str, Tensor]  # input_ids (1|B, T), and position_ids if packed
    last: tuple[Tensor, Tensor]  # (row, position) of every text's last token: (B,) each
    pack: Pack | None = None
    borders: Borders | None = None  # of the texts, if packed for `varlen`

    def last_of(self, states: Tensor) -> Tensor:
        """The states of the last tokens: (1|B, T, X) → (B, X)."""
        rows, positions = (index.to(states.device) for index in self.last)
        return states[rows, positions]

    def mean_of(self, states: Tensor) -> Tensor:
        """The mean state of each text's tokens, in float32: (1|B, T, X) → (B, X)."""
        if self.pack is None:
            ends = self.last[1].to(states.device)
            within = torch.arange(states.shape[1], device=states.device) <= ends[:, None]
            total = (at_least_float32(states) * within[..., None]).sum(dim=1)
            return total / (ends[:, None] + 1)
        row = at_least_float32(states)
        common = row[0, : self.pack.shared].sum(dim=0)
        return torch.cat(
            [
                (run.of(row)[:, 0].sum(dim=1) + common) / (self.pack.shared + run.length)
                for run in self.pack.runs
            ]
        )


def padded(texts: Sequence[TokenIds]) -> Batch:
    """One text per row, (B, T), padded on the right; causal attention never sees the padding."""
    lengths = torch.tensor([len(ids) for ids in texts])
    rows = torch.zeros((len(texts), int(lengths.max())), dtype=torch.long)
    for row, ids in zip(rows, texts, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return Batch({"input_ids": rows}, (torch.arange(len(texts)), lengths - 1))


def packed(texts: Sequence[TokenIds], own: int = 1) -> Batch:
    """All texts in one row, (1, S), their common prefix once; position ids restart per text.

    At least the last `own` tokens of each text are not part of the prefix.
    """
    shared = shared_prefix(texts, own)
    row = list(texts[0][:shared])
    positions = list(range(shared))
    runs = []
    for length, group in groupby(texts, key=len):
        start = len(row)
        for ids in group:
            row.extend(ids[shared:])
            positions.extend(range(shared, length))
        runs.append(_Run(start, length - shared, (len(row) - start) // (length - shared)))
    ends = torch.tensor([r.start + (i + 1) * r.length - 1 for r in runs for i in range(r.count)])
    inputs = {"input_ids": torch.tensor([row]), "position_ids": torch.tensor([positions])}
    return Batch(inputs, (torch.zeros_like(ends), ends), Pack(shared, tuple(runs)))


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32, or as it is if its precision is higher."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def shared_prefix(texts: Sequence[TokenIds], own: int = 1) -> int:
    """The length of the common prefix of all texts, which leaves at least `own` tokens to each.

    >>> shared_prefix([[1, 2, 3], [1, 2, 9, 9]]), shared_prefix([[1, 2], [1, 2, 3]])
    (2, 1)
    """
    if len(texts) < 2:
        return 0
    limit = max(0, min(len(ids) for ids in texts) - own)
    ordered = sorted(list(ids) for ids in texts)
    low, high = ordered[0], ordered[-1]  # their common prefix is that of all texts
    return next((i for i in range(limit) if low[i] != high[i]), limit)


# The current forward pass of each thread


@dataclass(slots=True)
class ForwardPass:
    """The state of a forward pass: its batch, and callbacks for the hooked modules.

    `only_last` is the id of the block for which only the last queries are computed (0 for none).
    `on_values` receives every block's value vectors, (1|B, T, K·E); `on_attribution` every
    block's `ValueAttribution`, for a batch of one padded text; `on_output` the input of every
    hooked projection. `on_head` selects the last states that the vocabulary head reads, (1|B, T,
    X).
    """

    batch: Batch
    only_last: int = 0
    on_values: Callable[[nn.Module, Tensor], None] | None = None
    on_attribution: Callable[[nn.Module, ValueAttribution], None] | None = None
    on_output: Callable[[nn.Module, Tensor], None] | None = None
    on_head: Callable[[Tensor], Tensor] | None = None


_thread = threading.local()


def current_pass() -> ForwardPass | None:
    """The current pass of the calling thread, if any."""
    found: ForwardPass | None = getattr(_thread, "current", None)
    return found


@contextmanager
def active(one: ForwardPass) -> Iterator[None]:
    """Make `one` the current pass of the calling thread within the block."""
    _thread.current = one
    try:
        yield
    finally:
        _thread.current = None


# Attention


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention within each text of the current pass → (1|B, T, H, E).

    Query (1|B, H, T, D), key (1|B, K, T, D), value (1|B, K, T, E).
    """
    one = current_pass()
    if one is None:
        raise ModelError("the packed attention was called outside of a pass of its own")
    if one.on_values is not None:
        one.on_values(module, value.transpose(1, 2).flatten(2))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attend = Attend(scale, sliding_window, softcap, s_aux)
    if one.on_attribution is not None:
        one.on_attribution(module, partial(attend.attribution, query[0], key[0], value[0]))
    if one.batch.pack is None:
        return attend(query, key, value).transpose(1, 2), None
    only_last = id(module) == one.only_last
    if one.batch.borders is not None:
        from retriever.embedding.varlen import varlen_attention

        return varlen_attention(
            one.batch.borders,
            (query, key, value),
            scale=scale,
            window=sliding_window,
            softcap=softcap,
            sinks=s_aux,
            only_last=only_last,
        ), None
    output = attend_pack(attend, one.batch.pack, (query[0], key[0], value[0]), only_last)
    return output.transpose(0, 1)[None], None


def attend_pack(
    attend: Attend, pack: Pack, tensors: tuple[Tensor, Tensor, Tensor], only_last: bool
) -> Tensor:
    """Query (H, S, D), key (K, S, D), value (K, S, E) → (H, S, E), text by text."""
    queries, keys, values = tensors
    heads, tokens, _ = queries.shape
    # In the memory layout (token, head) that the output projection reads.
    results = queries.new_empty(tokens, heads, values.shape[-1]).transpose(0, 1)
    if only_last:
        results.zero_()
    elif pack.shared:
        run = _Run(0, pack.shared, 1)
        results[:, : pack.shared] = attend(run.of(queries), run.of(keys), run.of(values)).squeeze(0)
    for run in pack.runs:
        seen = [_with_shared(tensor, pack.shared, run) for tensor in (keys, values)]
        selected, into = run.of(queries), run.of(results)
        if only_last:
            selected, into = selected[:, :, -1:], into[:, :, -1:]
        into.copy_(attend(selected, *seen))
    return results


def _with_shared(tensor: Tensor, shared: int, run: _Run) -> Tensor:
    """The run's keys or values, preceded by the shared ones: (K, S, D) → (N, K, T, D)."""
    own = run.of(tensor)
    if not shared:
        return own
    first = tensor[:, :shared].expand(run.count, -1, -1, -1)
    return torch.cat([first, own], dim=2)


@dataclass(frozen=True, slots=True)
class Attend:
    """Causal attention within texts of equal length; the queries are at the last positions."""

    scaling: float
    window: int | None
    softcap: float | None
    sinks: Tensor | None  # (H,) or None

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Query (N, H, n, D), key (N, K, T, D), value (N, K, T, E), n ≤ T → (N, H, n, E)."""
        texts, heads, count, size = query.shape
        pairs = texts * key.shape[1]
        past = key.shape[2] - count
        keys = key.reshape(pairs, -1, size)
        values = value.reshape(pairs, -1, value.shape[-1])
        blocks = []
        for begin in range(0, count, QUERY_BLOCK):
            end = min(begin + QUERY_BLOCK, count)
            first = 0 if self.window is None else max(0, past + begin - self.window + 1)
            seen = slice(first, past + end)
            block = query[:, :, begin:end].reshape(pairs, -1, size)
            weights = self._weights(block, keys[:, seen], past + begin - first, end - begin)
            mixed = torch.bmm(weights, values[:, seen])
            blocks.append(mixed.view(texts, heads, -1, value.shape[-1]))
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)

    def attribution(self, query: Tensor, key: Tensor, value: Tensor, positions: Tensor) -> Tensor:
        """Query (H, T, D), key (K, T, D), value (K, T, E), of one text: see `ValueAttribution`."""
        heads, tokens, size = query.shape
        groups = len(key)
        total = value.new_zeros((groups, heads // groups, tokens), dtype=torch.float32)
        for begin in range(0, tokens, QUERY_BLOCK):
            rows = positions[begin : begin + QUERY_BLOCK]
            wanted = rows.nonzero()
            if not len(wanted):
                continue
            # Only the rows with a weight: usually the last one alone.
            rows = rows[int(wanted[0]) : int(wanted[-1]) + 1]
            first = begin + int(wanted[0])
            seen = slice(0, first + len(rows))
            selected = query[:, first : seen.stop].reshape(groups, -1, size)
            weights = self._weights(selected.float(), key[:, seen].float(), first, len(rows))
            by_row = weights.view(groups, -1, len(rows), seen.stop)
            total[:, :, seen] += torch.einsum("kgnt,n->kgt", by_row, rows.to(by_row))
        return torch.einsum("kgt,kte->tkge", total, value.float()).flatten(1)

    def _weights(self, query: Tensor, key: Tensor, offset: int, rows: int) -> Tensor:
        """Query (N·K, G·n, D), key (N·K, T, D) → α (N·K, G·n, T); row 0 has position `offset`."""
        masked = rows > 1 or self.window is not None
        if masked and self.softcap is None and self.sinks is None:
            # Product, scale and mask in one pass.
            mask = _causal_mask(rows, key.shape[1], offset, self.window, query.dtype)
            mask = mask.to(query).expand(rows, key.shape[1]).repeat(query.shape[1] // rows, 1)
            scores = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=self.scaling)
            return torch.softmax(scores, dim=-1)
        scores = torch.bmm(query, key.transpose(1, 2)) * self.scaling
        if self.softcap is not None:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        shape = scores.shape
        scores = scores.view(shape[0], -1, rows, shape[2])
        if masked:
            mask = _causal_mask(rows, shape[2], offset, self.window, scores.dtype)
            scores = scores + mask.to(scores.device)
        if self.sinks is not None:
            return _softmax_with_sinks(scores, self.sinks).view(shape)
        return torch.softmax(scores, dim=-1).view(shape)


def _softmax_with_sinks(scores: Tensor, sinks: Tensor) -> Tensor:
    """Softmax over (N·K, G, n, T) with one more learned logit per head, whose weight is dropped."""
    texts = scores.shape[0] * scores.shape[1] // sinks.numel()
    sink = sinks.to(scores.dtype).repeat(texts).view(scores.shape[0], -1, 1, 1)
    sink = sink.expand(*scores.shape[:3], 1)
    return torch.softmax(torch.cat([scores, sink], dim=-1), dim=-1)[..., :-1].contiguous()


@lru_cache(maxsize=256)
def _causal_mask(
    rows: int, columns: int, offset: int, window: int | None, dtype: torch.dtype
) -> Tensor:
    """0 where row r, at position `offset + r`, may attend, −inf elsewhere: (rows, columns).

    >>> _causal_mask(2, 3, 1, None, torch.float32)
    tensor([[0., 0., -inf],
            [0., 0., 0.]])
    """
    distance = offset + torch.arange(rows)[:, None] - torch.arange(columns)[None, :]
    seen = distance >= 0 if window is None else (distance >= 0) & (distance < window)
    return torch.zeros((rows, columns), dtype=dtype).masked_fill_(~seen, float("-inf"))


packed_attention: Callable[..., tuple[Tensor, None]] = _attention


def register_attention() -> None:
    """Make the attention known to transformers as `IMPLEMENTATION`, if that is imported.

    Without transformers there is no model of it, and its import takes seconds.
    """
    if "transformers.modeling_utils" not in sys.modules:
        return
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, flash_attention_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, packed_attention)
    # The function needs no mask: it implements causality, window and packing.
    ALL_MASK_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, flash_attention_mask)
