"""Token attribution: the pooled vector (see `pooling`) as a sum of contributions of the tokens.

    c_t = Σ_l W_O · concat_h( α[l,h,t] · v[l,h,t] )     Σ_t c_t + Σ_l b_O = e     (hidden_size,)

A value is contextual: c_t says what the model computes *at* token t, given the tokens before it,
and how much attention the last token pays to it. It does not say what would happen without the
token: later tokens, and the attention, would differ.

α is the last token's attention, or a weighted sum over query positions. α and v are recorded during
the forward pass: from this package's attention function where it is in use, else from the last
matrix product before the output projection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from retriever.embedding.packing import ForwardPass, TokenIds, ValueAttribution, active, padded
from retriever.embedding.pooling import AttentionPooler, StopForward
from retriever.types import ModelError

MAX_DIFFERENCE = 0.05
"""The largest relative difference between the sum of a layer's contributions and the input of its
output projection; bfloat16's rounding stays below it. Families with another operation in between (a
norm, a gate) exceed it and allow no attribution."""

Positions = Callable[[int], Tensor]


def last_token(tokens: int) -> Tensor:
    """Weights (T,) of the query positions that select the last token."""
    weights = torch.zeros(tokens)
    weights[-1] = 1.0
    return weights


class TokenAttributor:
    """Computes the token contributions of one text; a `runner.Runner` runs it.

    It uses the pooler's model. `positions` maps a number of tokens T to the weights of the query
    positions, (T,).
    """

    def __init__(self, pooler: AttentionPooler, positions: Positions = last_token) -> None:
        if pooler.pooling != "aligned-wva":
            raise ModelError(
                f"a vector pooled as {pooler.pooling} cannot be attributed to tokens; only an "
                "index of the default pooling, aligned-wva, has explanations"
            )
        self.pooler = pooler
        self.positions = positions

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
        """As in the pooler; with `packed`, this package's attention function reports α and v."""
        with self.pooler.hooked(packed=packed):
            yield

    def run_hooked(self, texts: Sequence[TokenIds], *, packed: bool) -> Tensor:
        """The text's contributions, then the constant, in one row: (1, (T + 1) · dim) float32."""
        (ids,) = texts
        total = _AttributionSum(self.pooler, self.positions(len(ids)), by_interface=packed)
        one = ForwardPass(
            padded([ids]), on_attribution=total.on_attribution, on_output=total.on_output
        )
        with active(one), torch.inference_mode():
            inputs = {name: ids.to(self.device) for name, ids in one.batch.inputs.items()}
            try:
                with _ProductRecorder(total):
                    self.pooler.body(**inputs, use_cache=False)
            except StopForward:
                return torch.cat([total.contributions, total.constant[None]]).view(1, -1)
        raise ModelError("the model did not run through all of its pooled attention layers")


class _AttributionSum:
    """The contributions, summed over the pooled layers so far."""

    def __init__(self, pooler: AttentionPooler, positions: Tensor, *, by_interface: bool) -> None:
        pooled = [pooler.layers[index] for index in pooler.pooled]
        self.kind = pooler.model.config.model_type
        self.by_interface = by_interface
        self.blocks = {id(layer.block) for layer in pooled}
        self.pending = {id(layer.projection) for layer in pooled}
        self.positions = positions
        self.attribution: ValueAttribution | None = None  # of the attention that was computed last
        self.contributions = torch.empty(0)  # (T, dim)
        self.constant = torch.empty(0)  # (dim,)

    def on_attribution(self, block: nn.Module, attribution: ValueAttribution) -> None:
        if id(block) in self.blocks:
            self.attribution = attribution

    def on_output(self, projection: nn.Module, given: Tensor) -> None:
        """Apply the output projection to the layer's contributions, in the model's precision."""
        attribution, self.attribution = self.attribution, None
        positions = self.positions.to(given.device)
        rows = None if attribution is None else attribution(positions)
        expected = positions @ given[0].float()
        if rows is None or rows.shape != given.shape[1:] or _differ(rows.sum(dim=0), expected):
            raise ModelError(
                f"in the attention blocks of a {self.kind} model more happens than a weighted sum "
                "of values, so its vectors cannot be attributed to tokens; search works, "
                "explanations of the dense side do not"
            )
        # forward(), not the module's call, which would run this hook again.
        constant = projection.forward(given.new_zeros(1, given.shape[-1])).float()
        contributions = projection.forward(rows.to(given.dtype)).float() - constant
        self._add(contributions, constant[0] * positions.sum())
        self.pending.discard(id(projection))
        if not self.pending:
            raise StopForward

    def _add(self, contributions: Tensor, constant: Tensor) -> None:
        if self.contributions.numel():
            contributions = self.contributions + contributions.to(self.contributions.device)
            constant = self.constant + constant.to(self.constant.device)
        self.contributions, self.constant = contributions, constant


class _ProductRecorder(TorchFunctionMode):
    """Records the product of attention weights and values in models with their own attention."""

    def __init__(self, total: _AttributionSum) -> None:
        super().__init__()
        self.total = total

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.total.by_interface:
            if func is scaled_dot_product_attention:
                self.total.attribution = _from_sdpa(*args, **kwargs)
            elif func in _PRODUCTS:
                tokens = len(self.total.positions)
                self.total.attribution = (
                    _from_product(*args, tokens=tokens) or self.total.attribution
                )
        return func(*args, **kwargs)


_PRODUCTS = {torch.matmul, torch.bmm, Tensor.matmul, Tensor.bmm, Tensor.__matmul__}


def _from_product(weights: Tensor, values: Tensor, *, tokens: int) -> ValueAttribution | None:
    """From α (1, H, T, T) times v (1, H, T, E), or without batch; None for other shapes."""
    if min(weights.dim(), values.dim()) < 3 or weights.shape[:-2] != values.shape[:-2]:
        return None
    if not tokens == weights.shape[-2] == weights.shape[-1] == values.shape[-2]:
        return None
    alpha, value = (tensor.flatten(0, -3).float() for tensor in (weights, values))
    return lambda positions: _attributed_values(alpha, value, positions)


def _from_sdpa(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> ValueAttribution:
    """From the arguments of scaled_dot_product_attention, (1, H, T, D) each; in float32."""

    def attribution(positions: Tensor) -> Tensor:
        q, k, v = (tensor[0].float() for tensor in (query, key, value))
        groups = len(q) // len(k)
        k, v = (tensor.repeat_interleave(groups, dim=0) for tensor in (k, v))
        scores = q @ k.transpose(1, 2) * (q.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            future = torch.ones(scores.shape[1:], dtype=torch.bool, device=q.device).triu(1)
            scores = scores.masked_fill(future, float("-inf"))
        if attn_mask is not None:
            mask = attn_mask[0]
            seen = mask.dtype == torch.bool
            scores = scores.masked_fill(~mask, float("-inf")) if seen else scores + mask.float()
        return _attributed_values(torch.softmax(scores, dim=-1), v, positions)

    return attribution


def _attributed_values(alpha: Tensor, value: Tensor, positions: Tensor) -> Tensor:
    """α (H, T, T), v (H, T, E), positions (T,) → (T, H·E)."""
    weights = torch.einsum("n,hnt->ht", positions.to(alpha), alpha)
    return torch.einsum("ht,hte->the", weights, value).flatten(1)


def _differ(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).norm() > MAX_DIFFERENCE * other.norm())
