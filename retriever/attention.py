"""The partial forward pass: token ids in, the last token's pooled attention outputs out.

For every pooled layer l the output projection of the attention block is tapped at its *input*, so

    o_l = W_O · concat_h( Σ_t α[l,h,t] · v[l,h,t] ) (+ b_O)        α: the last token's attention
    e   = Σ_l o_l                                                  (hidden_size,)

(arXiv 2602.01572). Nothing after the last pooled layer's attention runs: no last MLP, no final
norm, no vocabulary head; in that layer only the last token's query is attended for.

Two ways to run a batch, equal up to rounding:

* **packed** (any model that uses transformers' attention interface, on a CPU): all texts stand one
  after the other in one row, the tokens they share at the beginning only once; no padding, and
  attention is computed text by text;
* **padded** (any other): one text a row, padded on the right, where causality hides the padding.

Letters in shapes: B texts, T tokens, H heads, K key/value heads, G = H / K, D head size.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, flash_attention_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel

from retriever.types import ModelError

ATTENTION_NAMES = ("self_attn", "attn", "attention", "self_attention")
PROJECTION_NAMES = ("o_proj", "out_proj", "c_proj", "dense", "wo")
QUERY_BLOCK = 128

TokenIds = Sequence[int]


@dataclass(frozen=True, slots=True)
class AttentionLayer:
    """One decoder layer's attention block and its output projection."""

    block: nn.Module
    projection: nn.Module


class _Finished(Exception):  # noqa: N818  (it ends a forward pass early; nothing went wrong)
    """Raised by the last tap, so that nothing behind it is computed."""


@dataclass(slots=True)
class _Tap:
    """What one thread's running pass collects."""

    last_rows: tuple[Tensor, Tensor]  # (batch index, position) of every text's last token: (B,) ×2
    pending: set[int]  # ids of the projections still to come
    exit_early: bool
    last_block: int  # id of the attention block that needs its last queries only
    pack: _Pack | None = None
    total: Tensor | None = None  # (B, hidden_size), float32

    def take(self, projection: nn.Module, inputs: Tensor) -> None:
        """Add o_l of every text; `inputs` is what the projection was given, (1|B, T, H·D)."""
        last = inputs[self.last_rows[0].to(inputs.device), self.last_rows[1].to(inputs.device)]
        # forward() itself, not the module's call: its hooks brought us here.
        output = projection.forward(last).float()
        self.total = output if self.total is None else self.total + output.to(self.total.device)
        self.pending.discard(id(projection))
        if self.exit_early and not self.pending:
            raise _Finished


@dataclass(frozen=True, slots=True)
class _Run:
    """`count` neighbouring texts with `length` own tokens each, from `start` on in the row."""

    start: int
    length: int
    count: int

    def of(self, tensor: Tensor) -> Tensor:
        """The run's part of a row, text by text, as a view: (H, S, D) → (N, H, n, D)."""
        part = tensor[:, self.start : self.start + self.count * self.length]
        return part.view(len(part), self.count, self.length, -1).transpose(0, 1)


@dataclass(frozen=True, slots=True)
class _Pack:
    """Texts in one row: first the `shared` tokens all begin with, then runs of equal length."""

    shared: int
    runs: tuple[_Run, ...]


_running = threading.local()


class AttentionPooler:
    """Runs a causal language model as far as its pooled attention outputs.

    Not safe for two simultaneous `run` calls on one model from *different* poolers; one pooler may
    be run from several threads inside one `tapped` block.
    """

    def __init__(self, model: PreTrainedModel, layers: Sequence[int] | None = None) -> None:
        self.model = model
        self.layers = find_attention_layers(model)
        self.pooled = tuple(layers) if layers is not None else tuple(range(len(self.layers)))
        self.can_pack = bool(getattr(model, "_supports_attention_backend", False)) and bool(
            getattr(model, "_supports_flash_attn", True)
        )

    @contextmanager
    def tapped(self, *, packed: bool) -> Iterator[None]:
        """Put the taps in, and take them out again whatever happens."""
        projections = [self.layers[index].projection for index in self.pooled]
        handles = [p.register_forward_pre_hook(_on_projection) for p in projections]
        before = self.model.config._attn_implementation
        try:
            if packed:
                self.model.set_attn_implementation(IMPLEMENTATION)
            yield
        finally:
            if packed:
                self.model.set_attn_implementation(before)
            for handle in handles:
                handle.remove()

    def run(
        self,
        texts: Sequence[TokenIds],
        *,
        packed: bool | None = None,
        exit_early: bool = True,
        last_query_only: bool = True,
    ) -> Tensor:
        """The vectors e of `texts` (token ids, at least one each): (B, hidden_size) float32.

        `exit_early` and `last_query_only` (packed only) save work and change nothing but rounding;
        tests switch them off one by one.
        """
        packed = self.can_pack if packed is None else packed
        with self.tapped(packed=packed):
            return self.run_tapped(
                texts, packed=packed, exit_early=exit_early, last_query_only=last_query_only
            )

    def run_tapped(
        self,
        texts: Sequence[TokenIds],
        *,
        packed: bool,
        exit_early: bool = True,
        last_query_only: bool = True,
    ) -> Tensor:
        """As `run`, inside a `tapped` block with the same `packed`."""
        make = _packed_inputs if packed else _padded_inputs
        inputs, last_rows, pack = make(texts)
        pooled = [self.layers[index] for index in self.pooled]
        tap = _Tap(
            last_rows=last_rows,
            pending={id(layer.projection) for layer in pooled},
            exit_early=exit_early,
            last_block=id(pooled[-1].block) if exit_early and last_query_only else 0,
            pack=pack,
        )
        device: torch.device = self.model.get_input_embeddings().weight.device
        _running.tap = tap
        try:
            with torch.inference_mode():
                self.model(**{k: v.to(device) for k, v in inputs.items()}, use_cache=False)
        except _Finished:
            pass
        finally:
            _running.tap = None
        if tap.total is None or tap.pending:
            raise ModelError("the model did not run through all of its pooled attention layers")
        return tap.total


def find_attention_layers(model: nn.Module) -> list[AttentionLayer]:
    """The decoder layers in order. Raises ModelError where a layer has no softmax attention."""
    config: Any = model.config
    text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
    count = getattr(text_config, "num_hidden_layers", 0)
    stacks = [
        module
        for module in model.modules()
        if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    for stack in stacks:
        layers = [_attention_of(layer) for layer in stack]
        found = [layer for layer in layers if layer is not None]
        if len(found) == count > 0:
            return found
        if found:
            missing = next(index for index, layer in enumerate(layers) if layer is None)
            raise ModelError(
                f"layer {missing} of this {config.model_type} model has no softmax attention "
                "(a state-space or linear-attention layer), so it has no attention values to pool"
            )
    raise ModelError(
        f"a {config.model_type} model has no softmax attention that could be pooled; "
        "use a decoder-only language model such as Llama, Qwen, Gemma or GPT-2"
    )


def _attention_of(layer: nn.Module) -> AttentionLayer | None:
    block = _first(layer, ATTENTION_NAMES)
    projection = _first(block, PROJECTION_NAMES) if block is not None else None
    return AttentionLayer(block, projection) if block is not None and projection else None


def _first(module: nn.Module, names: Sequence[str]) -> nn.Module | None:
    children = (getattr(module, name, None) for name in names)
    return next((child for child in children if isinstance(child, nn.Module)), None)


def _on_projection(projection: nn.Module, inputs: tuple[Any, ...]) -> None:
    tap: _Tap | None = getattr(_running, "tap", None)
    if tap is not None:
        tap.take(projection, inputs[0])


# Inputs


def _padded_inputs(
    texts: Sequence[TokenIds],
) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor], None]:
    """One text a row, (B, T), padded on the right; what pads is never seen by what is read."""
    lengths = torch.tensor([len(ids) for ids in texts])
    rows = torch.zeros((len(texts), int(lengths.max())), dtype=torch.long)
    for row, ids in zip(rows, texts, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return {"input_ids": rows}, (torch.arange(len(texts)), lengths - 1), None


def _packed_inputs(
    texts: Sequence[TokenIds],
) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor], _Pack]:
    """All texts in one row, (1, S), their common beginning once; positions count per text."""
    shared = shared_prefix(texts)
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
    return inputs, (torch.zeros_like(ends), ends), _Pack(shared, tuple(runs))


def shared_prefix(texts: Sequence[TokenIds]) -> int:
    """How many tokens all texts begin with, leaving at least one of its own to each.

    >>> shared_prefix([[1, 2, 3], [1, 2, 9, 9]]), shared_prefix([[1, 2], [1, 2, 3]])
    (2, 1)
    """
    if len(texts) < 2:
        return 0
    limit = min(len(ids) for ids in texts) - 1
    ordered = sorted(list(ids) for ids in texts)
    low, high = ordered[0], ordered[-1]  # what these two share, all between them share
    return next((i for i in range(limit) if low[i] != high[i]), limit)


# The attention kernel of the packed way


IMPLEMENTATION = "wva_packed"


def _packed_attention(
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
    """Attention of the texts of a pack: query (1, H, S, D), key and value (1, K, S, D).

    It follows the contract of transformers' flash-attention functions (causal, with the layer's
    window, logit cap and sinks as arguments), so it holds for every family that supports those.
    """
    tap: _Tap = _running.tap
    pack = tap.pack
    if pack is None:
        raise ModelError("packed attention was called without a pack")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attend = _Attend(scale, sliding_window, softcap, s_aux)
    only_last = id(module) == tap.last_block
    output = (torch.zeros_like if only_last else torch.empty_like)(query)
    keys, values, queries, results = key[0], value[0], query[0], output[0]
    if pack.shared and not only_last:
        run = _Run(0, pack.shared, 1)
        results[:, : pack.shared] = attend(run.of(queries), run.of(keys), run.of(values)).squeeze(0)
    for run in pack.runs:
        seen = [_with_shared(tensor, pack.shared, run) for tensor in (keys, values)]
        asked, into = run.of(queries), run.of(results)
        if only_last:
            asked, into = asked[:, :, -1:], into[:, :, -1:]
        into.copy_(attend(asked, *seen))
    return output.transpose(1, 2), None


def _with_shared(tensor: Tensor, shared: int, run: _Run) -> Tensor:
    """The run's keys or values with the shared ones in front: (K, S, D) → (N, K, T, D)."""
    own = run.of(tensor)
    if not shared:
        return own
    first = tensor[:, :shared].expand(run.count, -1, -1, -1)
    return torch.cat([first, own], dim=2)


@dataclass(frozen=True, slots=True)
class _Attend:
    """Causal attention within texts of one length, the queries standing at the end of the keys."""

    scaling: float
    window: int | None
    softcap: float | None
    sinks: Tensor | None  # (H,) or None

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Query (N, H, n, D), key and value (N, K, T, D), n ≤ T → (N, H, n, D)."""
        texts, heads, count, size = query.shape
        pairs = texts * key.shape[1]
        past = key.shape[2] - count
        keys, values = key.reshape(pairs, -1, size), value.reshape(pairs, -1, size)
        blocks = []
        for begin in range(0, count, QUERY_BLOCK):
            end = min(begin + QUERY_BLOCK, count)
            first = 0 if self.window is None else max(0, past + begin - self.window + 1)
            seen = slice(first, past + end)
            block = query[:, :, begin:end].reshape(pairs, -1, size)
            weights = self._weights(block, keys[:, seen], past + begin - first, end - begin)
            blocks.append(torch.bmm(weights, values[:, seen]).view(texts, heads, -1, size))
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)

    def _weights(self, query: Tensor, key: Tensor, offset: int, rows: int) -> Tensor:
        """Query (N·K, G·n, D), key (N·K, T, D) → α (N·K, G·n, T); row 0 stands at `offset`."""
        scores = torch.bmm(query, key.transpose(1, 2)) * self.scaling
        if self.softcap is not None:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        shape = scores.shape
        scores = scores.view(shape[0], -1, rows, shape[2])
        if rows > 1 or self.window is not None:
            mask = _causal_mask(rows, shape[2], offset, self.window, scores.dtype)
            scores = scores + mask.to(scores.device)
        if self.sinks is not None:
            return _softmax_with_sinks(scores, self.sinks).view(shape)
        return torch.softmax(scores, dim=-1).view(shape)


def _softmax_with_sinks(scores: Tensor, sinks: Tensor) -> Tensor:
    """Softmax over (N·K, G, n, T) with one more learned logit a head, whose share is dropped."""
    texts = scores.shape[0] * scores.shape[1] // sinks.numel()
    sink = sinks.to(scores.dtype).repeat(texts).view(scores.shape[0], -1, 1, 1)
    sink = sink.expand(*scores.shape[:3], 1)
    return torch.softmax(torch.cat([scores, sink], dim=-1), dim=-1)[..., :-1].contiguous()


@lru_cache(maxsize=256)
def _causal_mask(
    rows: int, columns: int, offset: int, window: int | None, dtype: torch.dtype
) -> Tensor:
    """0 where row r, standing at `offset + r`, may look, −inf elsewhere: (rows, columns).

    >>> _causal_mask(2, 3, 1, None, torch.float32)
    tensor([[0., 0., -inf],
            [0., 0., 0.]])
    """
    distance = offset + torch.arange(rows)[:, None] - torch.arange(columns)[None, :]
    seen = distance >= 0 if window is None else (distance >= 0) & (distance < window)
    return torch.zeros((rows, columns), dtype=dtype).masked_fill_(~seen, float("-inf"))


_implementation: Callable[..., tuple[Tensor, None]] = _packed_attention
ALL_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, _implementation)
# A mask is not needed: causality, window and packing are the kernel's own.
ALL_MASK_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, flash_attention_mask)
