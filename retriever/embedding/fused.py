"""The default pooling in few passes over the data, for the most common kind of decoder layer.

`pooling.AttentionPooler` runs transformers' own modules. `FusedPooler` computes the same sum by
layers of our own, on packed rows on a CPU. They know the layer of Llama, Mistral and Qwen:

    x ← x + W_O · attention(rope(norm? (W_QKV · norm(x))))
    x ← x + W_D · (silu(W_G · norm(x)) · W_U · norm(x))

There are two kinds: `FloatLayer` here reads the model's own weights and computes what follows a
product (an addition, an activation) in the same pass; `int8.Int8Layer` has a copy of them in 8-bit
integers. `is_known` recognises a model by its modules; `agrees` then compares its vectors. Whatever
has another structure, or gives other vectors, keeps its own modules, and so does all else that the
model does (token attribution, likelihoods, the other poolings).

Letters in shapes: as in `packing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from retriever.embedding.packing import Attend, Batch, Pack, TokenIds, attend_pack
from retriever.embedding.packing import packed as make_packed
from retriever.embedding.pooling import AttentionPooler

BODIES = frozenset({"DecoderBody", "LlamaModel", "MistralModel", "Qwen2Model", "Qwen3Model"})
"""The classes, ours and those of transformers, whose layers compute the formula above."""

ABSENT = (RuntimeError, AttributeError, TypeError, ValueError, NotImplementedError)
"""What an operator raises that this torch or this processor does not have. NotImplementedError is
torch's own, where an operator lacks a kernel for the processor."""


@dataclass(frozen=True, slots=True)
class Norm:
    """Root mean square normalisation of the last dimension."""

    weight: Tensor
    epsilon: float

    @classmethod
    def of(cls, module: Any) -> Self:
        """The norm that a module of transformers computes."""
        return cls(module.weight, float(module.variance_epsilon))

    def __call__(self, states: Tensor) -> Tensor:
        """Normalise (…, X)."""
        weight = self.weight.to(states.dtype)
        return functional.rms_norm(states, (len(weight),), weight, self.epsilon)


@dataclass(frozen=True, slots=True)
class Heads:
    """What attention of a layer needs to know: its heads, their norms, scale and window."""

    heads: int
    groups: int
    attend: Attend
    norms: tuple[Norm, Norm] | None  # of queries and keys

    @classmethod
    def of(cls, layer: Any, config: Any) -> Self:
        """From a decoder layer of transformers."""
        block = layer.self_attn
        window = getattr(block, "sliding_window", None)
        if type(block).__name__ == "MistralAttention":
            window = getattr(config, "sliding_window", None)
        normed = hasattr(block, "q_norm")
        return cls(
            heads=block.q_proj.out_features // block.head_dim,
            groups=block.k_proj.out_features // block.head_dim,
            attend=Attend(float(block.scaling), window, None, None),
            norms=(Norm.of(block.q_norm), Norm.of(block.k_norm)) if normed else None,
        )


class Layer(Protocol):
    """A decoder layer but for its attention; states are (S, X), of its own precision."""

    @property
    def heads(self) -> Heads:
        """The layer's attention."""

    def joined(self, states: Tensor) -> Tensor:
        """Queries, keys and values of normed states, all heads: (S, (H + 2K) · D)."""

    def output(self, mixed: Tensor) -> Tensor:
        """The output projection of attention outputs: (B, H·D) → (B, X)."""

    def rest(self, mixed: Tensor, states: Tensor) -> Tensor:
        """The states after the layer, from its attention outputs (S, H·D) and the states before."""


class FloatLayer:
    """A layer with the model's own weights, not copied."""

    def __init__(self, layer: Any, config: Any) -> None:
        self.heads = Heads.of(layer, config)
        self._before = Norm.of(layer.input_layernorm)
        self._after = Norm.of(layer.post_attention_layernorm)
        block, mlp = layer.self_attn, layer.mlp
        self._projections = (block.q_proj, block.k_proj, block.v_proj)
        self._output, self._gate, self._up, self._down = (
            block.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj,
        )  # fmt: skip

    def joined(self, states: Tensor) -> Tensor:
        """As in `Layer`."""
        normed = self._before(states)
        parts = [functional.linear(normed, p.weight, p.bias) for p in self._projections]
        return torch.cat(parts, dim=-1)

    def output(self, mixed: Tensor) -> Tensor:
        """As in `Layer`."""
        return functional.linear(mixed, self._output.weight, self._output.bias)

    def rest(self, mixed: Tensor, states: Tensor) -> Tensor:
        """As in `Layer`."""
        states = _with_other(self._output, mixed, states, "add")
        normed = self._after(states)
        gated = _with_other(self._up, normed, _activated(self._gate, normed), "mul")
        return _with_other(self._down, gated, states, "add")


def _activated(linear: nn.Linear, states: Tensor) -> Tensor:
    """silu(x W^T + b); in bfloat16 in one pass, by an operator that is private to torch."""
    if linear.weight.dtype != torch.bfloat16:
        return functional.silu(functional.linear(states, linear.weight, linear.bias), inplace=True)
    run: Any = torch.ops.mkldnn._linear_pointwise
    result: Tensor = run(states, linear.weight, linear.bias, "swish", [], "")
    return result


def _with_other(linear: nn.Linear, states: Tensor, other: Tensor, operation: str) -> Tensor:
    """The product x W^T + b, and `other` added or multiplied."""
    if linear.weight.dtype != torch.bfloat16:
        product = functional.linear(states, linear.weight, linear.bias)
        return product.add_(other) if operation == "add" else product.mul_(other)
    run: Any = torch.ops.mkldnn._linear_pointwise.binary
    result: Tensor = run(states, other, linear.weight, linear.bias, operation)
    return result


@dataclass(frozen=True, slots=True)
class _Rotary:
    """The rotary embedding of a row's positions: the first halves of its angles, (S, 1, D / 2)."""

    cosines: Tensor
    sines: Tensor

    def __call__(self, heads: Tensor) -> Tensor:
        """Turn (S, H, D)."""
        result = torch.empty(heads.shape, dtype=heads.dtype)
        half = self.cosines.shape[-1]
        one, two = heads[..., :half], heads[..., half:]
        torch.mul(one, self.cosines, out=result[..., :half]).addcmul_(two, self.sines, value=-1)
        torch.mul(two, self.cosines, out=result[..., half:]).addcmul_(one, self.sines)
        return result


class FusedPooler:
    """`AttentionPooler` with the pooling "aligned-wva", on a CPU, for packed batches.

    `layers` are those up to the last pooled one. A subclass may read and return states in another
    basis.
    """

    def __init__(self, pooler: AttentionPooler, layers: Sequence[Layer]) -> None:
        self.pooler = pooler
        self.pooled = frozenset(pooler.pooled)
        self.layers = tuple(layers)

    @classmethod
    def of(cls, pooler: AttentionPooler) -> Self:
        """The pooler with the model's own weights."""
        body: Any = pooler.body
        layers = body.layers[: max(pooler.pooled) + 1]
        return cls(pooler, [FloatLayer(layer, body.config) for layer in layers])

    def agrees(self, texts: Sequence[TokenIds], least: float) -> bool:
        """Whether the vectors of `texts` have at least this cosine to those of the own modules."""
        expected = self.pooler.run(texts, packed=True)
        try:
            found = self.run_hooked(texts, packed=True)
        except ABSENT:
            return False
        return bool(torch.cosine_similarity(found, expected).min() > least)

    @property
    def device(self) -> torch.device:
        """The device of the token ids."""
        return self.pooler.device

    @property
    def is_dispatched(self) -> bool:
        """Whether weights are moved during a pass."""
        return self.pooler.is_dispatched

    @contextmanager
    def hooked(self, *, packed: bool) -> Iterator[None]:
        """Nothing to prepare: no module of the model runs but embeddings and rotary angles."""
        yield

    def run_hooked(self, texts: Sequence[TokenIds], *, packed: bool) -> Tensor:
        """The pooled vectors of `texts`: (B, hidden_size) float32. The batch is always packed."""
        with torch.inference_mode():
            return self._run(make_packed(texts))

    def embedded(self, ids: Tensor) -> Tensor:
        """The states before the first layer: (S,) → (S, X)."""
        body: Any = self.pooler.body
        states: Tensor = body.embed_tokens(ids)
        return states

    def restored(self, vectors: Tensor) -> Tensor:
        """Pooled vectors in the model's own basis: (B, X)."""
        return vectors

    def _run(self, batch: Batch) -> Tensor:
        pack = batch.pack or Pack(0, ())
        _, ends = batch.last
        states = self.embedded(batch.inputs["input_ids"][0])
        rotary = self._angles(states, batch.inputs["position_ids"])
        total = torch.zeros(len(ends), states.shape[-1])
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            mixed = _attention(layer, states, rotary, pack, only_last=index == last)
            if index in self.pooled:
                total += layer.output(mixed[ends]).float()
            if index < last:
                states = layer.rest(mixed, states)
        return self.restored(total)

    def _angles(self, states: Tensor, positions: Tensor) -> _Rotary:
        body: Any = self.pooler.body
        cosines, sines = body.rotary_emb(states[None], positions)
        half = cosines.shape[-1] // 2
        return _Rotary(*(each[0, :, None, :half].contiguous() for each in (cosines, sines)))


def _attention(
    layer: Layer, states: Tensor, rotary: _Rotary, pack: Pack, *, only_last: bool
) -> Tensor:
    """The attention outputs before their projection: (S, X) → (S, H·D)."""
    own = layer.heads
    joined = layer.joined(states).view(len(states), own.heads + 2 * own.groups, -1)
    queries, keys, values = torch.split(joined, [own.heads, own.groups, own.groups], dim=1)
    if own.norms is None:
        turned = rotary(joined[:, : own.heads + own.groups])
    else:
        pairs = zip(own.norms, (queries, keys), strict=True)
        turned = rotary(torch.cat([norm(part) for norm, part in pairs], dim=1))
    rows = (turned[:, : own.heads], turned[:, own.heads :], values)
    first, second, third = (part.transpose(0, 1) for part in rows)
    mixed = attend_pack(own.attend, pack, (first, second, third), only_last)
    return mixed.transpose(0, 1).reshape(len(states), -1)


def is_known(pooler: AttentionPooler) -> bool:
    """Whether this is the default pooling of a model with the layers known here, on a CPU."""
    body: Any = pooler.body
    return bool(
        pooler.pooling == "aligned-wva"
        and pooler.can_pack
        and pooler.device.type == "cpu"
        and not pooler.is_dispatched
        and type(body).__name__ in BODIES
        and getattr(body.config, "hidden_act", "") == "silu"
        and all(_is_plain(layer) for layer in body.layers)
    )


def _is_plain(layer: Any) -> bool:
    """Whether the layer's projections are plain, and its norms have the known form."""
    block, mlp = layer.self_attn, layer.mlp
    projections = (
        *(getattr(block, name, None) for name in ("q_proj", "k_proj", "v_proj", "o_proj")),
        *(getattr(mlp, name, None) for name in ("gate_proj", "up_proj", "down_proj")),
    )
    norms = (layer.input_layernorm, layer.post_attention_layernorm)
    return all(type(one) is nn.Linear for one in projections) and all(
        hasattr(norm, "weight") and hasattr(norm, "variance_epsilon") for norm in norms
    )
