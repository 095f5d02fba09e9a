"""Decoder layers with products in 8-bit integers, for processors without bfloat16 instructions.

Weights have one scale for each output channel, activations one for each token, found as they come.
A few directions of the states are many times larger than the others, and would leave few of the 255
levels to the rest. So the states are kept in a rotated basis, in which all directions are alike:

    x' = x Q      W_in' = W_in diag(norm) Q      W_out' = Q^T W_out      e = e' Q^T

The norm does not depend on the basis, so nothing has to be rotated while the model runs. The same
is done with each head's values, and with the inner states of the feed-forward part in small
blocks, which are rotated as they come. The projection of the values, whose rounding changes the
vectors most, has two terms: 8 bits, and 7 more of what they leave. No texts are needed for any of
it, and it is deterministic.

Operators of oneDNN that are private to torch: who uses them compares results first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from retriever.embedding.fused import FusedPooler, Heads, Norm
from retriever.embedding.pooling import AttentionPooler

LEVELS = 127
"""Whole numbers on either side of zero."""

REST_LEVELS = 63
"""Those of a second term: sums of two products do not overflow 16 bits without VNNI either."""

MIDDLE = 128
"""The number that stands for zero in unsigned inputs; its bit turns signed into unsigned ones."""

ROWS = 128
"""Tokens that are computed at once: what lies between two products stays in the second cache."""

INNER_BLOCK = 16
"""The largest block in which the inner states of the feed-forward part are rotated."""

LARGEST_FACTOR = 64
"""A rotation is the product of small ones; a prime factor above this is left alone."""


# Rotations


@dataclass(frozen=True, slots=True)
class Rotation:
    """An orthogonal map: random signs, then a Kronecker product of small orthogonal matrices."""

    signs: Tensor  # (n,)
    factors: tuple[Tensor, ...]

    @classmethod
    def of(cls, size: int, seed: int) -> Self:
        """The rotation of `size` dimensions."""
        generator = torch.Generator().manual_seed(seed)
        signs = 2.0 * torch.randint(0, 2, (size,), generator=generator) - 1
        return cls(signs, tuple(map(_cosines, _factors(size))))

    def apply(self, rows: Tensor) -> Tensor:
        """Rotate the last dimension."""
        return self._by_factors(rows * self.signs, self.factors)

    def undo(self, rows: Tensor) -> Tensor:
        """The inverse of `apply`."""
        turned: Tensor = self._by_factors(rows, [factor.T for factor in self.factors])
        return turned * self.signs

    def _by_factors(self, rows: Tensor, factors: Sequence[Tensor]) -> Tensor:
        parts = rows.reshape(-1, *map(len, factors))
        for axis, factor in enumerate(factors, start=1):
            parts = torch.matmul(parts.movedim(axis, -1), factor).movedim(-1, axis)
        turned: Tensor = parts.reshape(rows.shape)
        return turned


def _factors(size: int) -> list[int]:
    """Factors of `size`, each as large as possible.

    >>> _factors(576), _factors(1), _factors(2 * 101)
    ([64, 9], [1], [2, 101])
    """
    found, rest = [], size
    while rest > 1:
        fitting = [n for n in range(2, LARGEST_FACTOR + 1) if rest % n == 0]
        found.append(fitting[-1] if fitting else rest)
        rest //= found[-1]
    return found or [1]


def _cosines(size: int) -> Tensor:
    """The orthogonal matrix of the cosine transform; that of Hadamard for a power of two."""
    if size > LARGEST_FACTOR:
        return torch.eye(size)
    if size & (size - 1) == 0:
        matrix = torch.ones(1, 1)
        while len(matrix) < size:
            matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
        hadamard: Tensor = matrix / float(size) ** 0.5
        return hadamard
    number = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(torch.pi / size * (number + 0.5) * number[:, None]) * (2 / size) ** 0.5
    matrix[0] /= 2**0.5
    cosines: Tensor = matrix.float()
    return cosines


# Products


@dataclass(frozen=True, slots=True)
class _Product:
    """x W^T, without a bias, for inputs in 8-bit integers; the result is float32."""

    weight: Tensor  # prepacked
    scales: Tensor  # (N,)
    zeros: Tensor

    @classmethod
    def of(cls, weight: Tensor, *, precise: slice | None = None) -> Self:
        """Rows in the slice `precise` have second terms, which follow the last row."""
        scales, whole = _rounded(weight, LEVELS)
        if precise is not None:
            left = weight[precise] - whole[precise] * scales[precise, None]
            rest_scales, rest = _rounded(left, REST_LEVELS)
            scales, whole = torch.cat([scales, rest_scales]), torch.cat([whole, rest])
        operators: Any = torch.ops.onednn
        packed = operators.qlinear_prepack(whole.to(torch.int8), [ROWS, weight.shape[1]])
        return cls(packed, scales, torch.zeros(len(scales), dtype=torch.int64))

    def __call__(self, inputs: Tensor) -> Tensor:
        """(n, K) of `_quantised` → (n, N)."""
        run: Any = torch.ops.onednn.qlinear_pointwise
        result: Tensor = run(
            *(inputs, 1.0, MIDDLE, self.weight, self.scales, self.zeros, None),
            *(1.0, 0, torch.float32, "none", [], ""),
        )
        return result


def _rounded(weight: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """Scales (N,) and whole numbers (N, K)."""
    scales = weight.abs().amax(dim=1).clamp_(min=1e-30) / levels
    return scales, (weight / scales[:, None]).round_()


def _quantised(states: Tensor) -> tuple[Tensor, Tensor]:
    """Unsigned integers (n, K), and the scale of each row (n, 1)."""
    scales = states.abs().amax(dim=-1, keepdim=True).clamp_(min=1e-30) / LEVELS
    # Signed first: torch converts to unsigned integers several times more slowly.
    whole = (states * scales.reciprocal()).round_().to(torch.int8)
    return whole.view(torch.uint8).bitwise_xor_(MIDDLE), scales


# Layers


class Int8Layer:
    """A layer whose weights are a copy in 8-bit integers, in the rotated basis."""

    def __init__(self, layer: Any, config: Any, basis: Rotation) -> None:
        block, mlp = layer.self_attn, layer.mlp
        self.heads = Heads.of(layer, config)
        self._epsilon = Norm.of(layer.input_layernorm).epsilon
        self._after_epsilon = Norm.of(layer.post_attention_layernorm).epsilon
        self._width = block.q_proj.out_features + 2 * block.k_proj.out_features
        self._values = block.v_proj.out_features
        within = Rotation.of(block.head_dim, seed=1)
        self._inner = _cosines(_inner_block(mlp.down_proj.in_features))
        before, after = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        queries, keys, values = (
            basis.apply(part.weight.float() * before)
            for part in (block.q_proj, block.k_proj, block.v_proj)
        )
        self._joined = _Product.of(
            torch.cat([queries, keys, _by_head(within, values.T, block.head_dim).T]),
            precise=slice(self._width - self._values, self._width),
        )
        self._bias = _joined_bias(block, within)
        output = _by_head(within, block.o_proj.weight.float(), block.head_dim)
        self._output = _Product.of(_out(basis, output))
        self._gate, self._up = (
            _Product.of(basis.apply(part.weight.float() * after))
            for part in (mlp.gate_proj, mlp.up_proj)
        )
        self._down = _Product.of(_out(basis, self._turned(mlp.down_proj.weight.float())))

    def joined(self, states: Tensor) -> Tensor:
        """As in `fused.Layer`."""
        result = torch.empty(len(states), self._width)
        for begin in range(0, len(states), ROWS):
            rows = states[begin : begin + ROWS]
            inputs, scales = self._normed(rows, self._epsilon)
            product = self._joined(inputs).mul_(scales)
            product[:, self._width - self._values : self._width] += product[:, self._width :]
            into = result[begin : begin + ROWS].copy_(product[:, : self._width])
            if self._bias is not None:
                into += self._bias
        return result

    def output(self, mixed: Tensor) -> Tensor:
        """As in `fused.Layer`."""
        inputs, scales = _quantised(mixed)
        return self._output(inputs).mul_(scales)

    def rest(self, mixed: Tensor, states: Tensor) -> Tensor:
        """As in `fused.Layer`; `states` are changed in place."""
        for begin in range(0, len(states), ROWS):
            rows = states[begin : begin + ROWS]
            rows += self.output(mixed[begin : begin + ROWS])
            inputs, scales = self._normed(rows, self._after_epsilon)
            gate = functional.silu(self._gate(inputs).mul_(scales), inplace=True)
            # The factor of `up` only scales the row, so it waits until after the last product.
            inner, inner_scales = _quantised(self._turned(gate.mul_(self._up(inputs))))
            rows.addcmul_(self._down(inner), inner_scales * scales)
        return states

    def _normed(self, states: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """`_quantised` of the normed states: the norm only changes the scales."""
        lengths = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
        inputs, scales = _quantised(states)
        return inputs, scales * torch.rsqrt(lengths.square() / states.shape[-1] + epsilon)

    def _turned(self, inner: Tensor) -> Tensor:
        """Rotate inner states, or the columns of the weights that read them, in blocks."""
        if len(self._inner) == 1:
            return inner
        return (inner.reshape(-1, len(self._inner)) @ self._inner).view(inner.shape)


def _inner_block(size: int) -> int:
    """The largest power of two up to `INNER_BLOCK` that divides `size`."""
    return min(INNER_BLOCK, size & -size)


def _out(basis: Rotation, weight: Tensor) -> Tensor:
    """A weight whose outputs are rotated: (X, K)."""
    return basis.apply(weight.T).T.contiguous()


def _by_head(within: Rotation, weight: Tensor, size: int) -> Tensor:
    """A weight whose columns, (…, heads · size), are rotated head by head."""
    return within.apply(weight.reshape(*weight.shape[:-1], -1, size)).flatten(-2)


def _joined_bias(block: Any, within: Rotation) -> Tensor | None:
    """The biases of queries, keys and values; None without any."""
    parts = [block.q_proj, block.k_proj, block.v_proj]
    if all(part.bias is None for part in parts):
        return None
    queries, keys, values = (
        torch.zeros(part.out_features) if part.bias is None else part.bias.float() for part in parts
    )
    return torch.cat([queries, keys, _by_head(within, values, block.head_dim)])


class Int8Pooler(FusedPooler):
    """The pooler with a copy of the weights in 8-bit integers; vectors are in the model's basis."""

    basis: Rotation

    @classmethod
    def of(cls, pooler: AttentionPooler) -> Self:
        """Rotate and round the weights of a model in float32, up to the last pooled layer."""
        body: Any = pooler.body
        basis = Rotation.of(body.config.hidden_size, seed=0)
        layers = body.layers[: max(pooler.pooled) + 1]
        with torch.inference_mode():
            found = cls(pooler, [Int8Layer(layer, body.config, basis) for layer in layers])
        found.basis = basis
        return found

    def embedded(self, ids: Tensor) -> Tensor:
        """As in `FusedPooler`, rotated."""
        return self.basis.apply(super().embedded(ids).float())

    def restored(self, vectors: Tensor) -> Tensor:
        """As in `FusedPooler`: rotated back."""
        return self.basis.undo(vectors)


def can_be_int8(pooler: AttentionPooler) -> bool:
    """Whether the products of a model that `fused.is_known` can be in 8-bit integers."""
    body: Any = pooler.body
    plain = [
        part
        for layer in body.layers
        for part in (
            *(layer.self_attn.o_proj, layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj),
        )
    ]
    return pooler.body.embed_tokens.weight.dtype == torch.float32 and all(
        part.bias is None for part in plain
    )
