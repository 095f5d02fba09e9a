"""Pooling by a partial forward pass: token ids in, one vector for each text out.

The default pooling, `aligned-wva`, sums the last token's attention outputs. A hook reads the
*input* of the output projection of the attention block in every pooled layer l, so

    o_l = W_O · concat_h( Σ_t α[l,h,t] · v[l,h,t] ) (+ b_O)        α: the last token's attention
    e   = Σ_l o_l                                                  (hidden_size,)

(arXiv 2602.01572). o_l is the output of the projection, before any norm or multiplier of the
family. Nothing runs after the attention of the last pooled layer: no MLP, no final norm, no
vocabulary head. In that layer attention is computed for the last token's query only.

Three baselines, over all tokens t of the text (a beginning token counts as one):

    va            mean over l and t of concat_h( v[l,h,t] )   (K · head size,), the pooled layers l
    last-hidden   the last token's hidden state after the last layer and the final norm
    mean-hidden   mean over t of those hidden states

`packing` makes the batches and computes attention within each text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from retriever.embedding.packing import (
    IMPLEMENTATION,
    Batch,
    ForwardPass,
    TokenIds,
    active,
    at_least_float32,
    current_pass,
    packed,
    padded,
    register_attention,
)
from retriever.types import ModelError

if TYPE_CHECKING:
    from transformers.modeling_utils import PreTrainedModel

HIDDEN_POOLINGS = ("last-hidden", "mean-hidden")

ATTENTION_NAMES = (
    "self_attn", "attn", "attention", "self_attention", "multi_head_attention",
)  # fmt: skip
PROJECTION_NAMES = ("o_proj", "out_proj", "c_proj", "dense", "wo", "Wo")

SOFTMAX_TYPES = frozenset(
    {
        "full_attention",
        "sliding_attention",
        "reference_sliding_attention",
        "window_attention",
        "chunked_attention",
        "hybrid",  # softmax attention and a state-space model side by side in one layer
        "hybrid_sliding",
    }
)
"""The layer types of transformers' configurations that have softmax attention.

Linear attention has the same module names, but no α. Indexed and compressed attention select
tokens depending on everything else in the row, padding included.
"""

MIN_CHANGE = 0.1
"""Bidirectional attention: a token's attention output changes by more than this part of its length
when the next token changes. Rounding changes it by far less."""


@dataclass(frozen=True, slots=True)
class AttentionLayer:
    """One decoder layer's attention block and its output projection."""

    block: nn.Module
    projection: nn.Module


class StopForward(Exception):  # noqa: N818  (it ends a forward pass early; nothing went wrong)
    """Raised by the last hook, so that nothing after it is computed."""


@dataclass(slots=True)
class _LayerSum:
    """The sum over the pooled layers; ends the forward pass after the last one."""

    pending: set[int]  # ids of the modules still to come
    exit_early: bool
    total: Tensor | None = None  # (B, dim), float32

    def add(self, module: nn.Module, part: Tensor) -> None:
        """Add one layer's term, (B, dim)."""
        if self.total is None:
            self.total = at_least_float32(part)
        elif part.shape != self.total.shape:
            raise ModelError(
                f"the layers of this model have attention values of different lengths "
                f"({self.total.shape[-1]} and {part.shape[-1]}), which cannot be averaged; "
                "choose layers of one kind, or another pooling"
            )
        else:
            self.total = self.total + at_least_float32(part).to(self.total.device)
        self.pending.discard(id(module))
        if self.exit_early and not self.pending:
            raise StopForward

    @property
    def complete(self) -> Tensor:
        """The total. Raises ModelError if a pooled layer is missing."""
        if self.total is None or self.pending:
            raise ModelError("the model did not run through all of its pooled attention layers")
        return self.total


class AttentionPooler:
    """Runs a causal language model as far as its pooling needs.

    `layers` are the pooled layers, by default all; the two hidden-state poolings always use the
    last one. Two *different* poolers must not call `run` on one model at the same time; one pooler
    may run in several threads inside one `hooked` block. With `gradients` the vectors can be
    differentiated, as training needs it.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        layers: Sequence[int] | None = None,
        pooling: str = "aligned-wva",
        *,
        gradients: bool = False,
    ) -> None:
        self.model = model
        self._mode: Callable[[], AbstractContextManager[Any]] = (
            nullcontext if gradients else torch.inference_mode
        )
        self.body = text_body(model)
        self.layers = find_attention_layers(model)
        self.pooled = tuple(layers) if layers is not None else tuple(range(len(self.layers)))
        self.pooling = pooling
        self.can_pack = bool(getattr(self.body, "_supports_attention_backend", False)) and bool(
            getattr(self.body, "_supports_flash_attn", False)
        )
        if pooling == "va" and not self.can_pack:
            raise ModelError(
                f"a {model.config.model_type} model does not hand out its attention values, which "
                "the pooling 'va' averages; use aligned-wva, last-hidden or mean-hidden"
            )

    @contextmanager
    def hooked(self, *, packed: bool) -> Iterator[None]:
        """Register the hooks within the block; they are always removed."""
        hooked = self.pooled if self.pooling == "aligned-wva" else ()
        projections = [self.layers[index].projection for index in hooked]
        handles = [p.register_forward_pre_hook(_on_projection) for p in projections]
        own = packed or self.pooling == "va"
        before = self.body.config._attn_implementation
        try:
            if own:
                register_attention()
                self.body.set_attn_implementation(IMPLEMENTATION)
            yield
        finally:
            if own:
                self.body.set_attn_implementation(before)
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
        """The pooled vectors of `texts` (token ids, at least one each): (B, dim) float32.

        `exit_early` and `last_query_only` (packed only) save work and change only rounding; tests
        switch them off one by one.
        """
        packed = self.can_pack if packed is None else packed
        with self.hooked(packed=packed):
            return self.run_hooked(
                texts, packed=packed, exit_early=exit_early, last_query_only=last_query_only
            )

    def run_hooked(
        self,
        texts: Sequence[TokenIds],
        *,
        packed: bool,
        exit_early: bool = True,
        last_query_only: bool = True,
    ) -> Tensor:
        """Like `run`, inside a `hooked` block with the same `packed`."""
        batch = _make_batch(texts, in_one_row=packed)
        return self.run_batch(batch, exit_early=exit_early, last_query_only=last_query_only)

    def run_batch(
        self, batch: Batch, *, exit_early: bool = True, last_query_only: bool = True
    ) -> Tensor:
        """The pooled vectors of a batch, (B, dim) float32, inside a matching `hooked` block."""
        if self.pooling == "aligned-wva":
            return self._attention_outputs(batch, exit_early, last_query_only)
        if self.pooling == "va":
            return self._values(batch, exit_early)
        states = self._forward(ForwardPass(batch))
        pool = batch.last_of if self.pooling == "last-hidden" else batch.mean_of
        return at_least_float32(pool(states))

    def dimension(self) -> int:
        """The length of a pooled vector; for the baselines, measured with a one-token text."""
        if self.pooling == "aligned-wva":
            return int(self.model.config.get_text_config().hidden_size)
        return self.run([[0]], packed=False).shape[-1]

    def _attention_outputs(self, batch: Batch, exit_early: bool, last_query_only: bool) -> Tensor:
        pooled = [self.layers[index] for index in self.pooled]
        total = _LayerSum({id(layer.projection) for layer in pooled}, exit_early)

        def take(projection: nn.Module, inputs: Tensor) -> None:
            # forward(), not the module's call, which would run this hook again.
            total.add(projection, projection.forward(batch.last_of(inputs)))

        last = id(pooled[-1].block) if exit_early and last_query_only else 0
        self._forward(ForwardPass(batch, only_last=last, on_output=take))
        return total.complete

    def _values(self, batch: Batch, exit_early: bool) -> Tensor:
        total = _LayerSum({id(self.layers[index].block) for index in self.pooled}, exit_early)

        def take(block: nn.Module, values: Tensor) -> None:
            if id(block) in total.pending:
                total.add(block, batch.mean_of(values))

        self._forward(ForwardPass(batch, on_values=take))
        return total.complete / len(self.pooled)

    def _forward(self, one: ForwardPass) -> Tensor:
        """The states after the final norm, (1|B, T, hidden_size); empty if the pass ends early."""
        inputs = {name: tensor.to(self.device) for name, tensor in one.batch.inputs.items()}
        try:
            with active(one), self._mode():
                states: Tensor = self.body(**inputs, use_cache=False)[0]
        except StopForward:
            return torch.empty(0)
        return states

    @property
    def device(self) -> torch.device:
        """The device of the token ids: that of the embeddings, or the one they are moved to."""
        embeddings = self.body.get_input_embeddings()
        for hook in _dispatch_hooks(embeddings):
            if getattr(hook, "execution_device", None) is not None:
                return torch.device(hook.execution_device)
        device: torch.device = embeddings.weight.device
        return device

    @property
    def is_dispatched(self) -> bool:
        """Whether weights are moved during a pass (several devices, or weights on disk).

        Such a model can run only one batch at a time.
        """
        return any(_dispatch_hooks(module) for module in self.model.modules())

    def is_bidirectional(self, first: int, others: tuple[int, int]) -> bool:
        """Whether a token's attention depends on the next token (an encoder), in any layer."""
        batch = padded([[first, other] for other in others])
        changed: list[bool] = []

        def compare(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            one, two = inputs[0][:, 0].float()
            changed.append(bool((one - two).norm() > MIN_CHANGE * one.norm()))

        handles = [layer.projection.register_forward_pre_hook(compare) for layer in self.layers]
        try:
            self._forward(ForwardPass(batch))
        finally:
            for handle in handles:
                handle.remove()
        return any(changed)


def _make_batch(texts: Sequence[TokenIds], *, in_one_row: bool) -> Batch:
    return packed(texts) if in_one_row else padded(texts)


def _on_projection(projection: nn.Module, inputs: tuple[Any, ...]) -> None:
    one = current_pass()
    if one is not None and one.on_output is not None:
        one.on_output(projection, inputs[0])


def _dispatch_hooks(module: nn.Module) -> list[Any]:
    """The hooks by which accelerate moves a module's inputs and weights."""
    hook = getattr(module, "_hf_hook", None)
    return [] if hook is None else [hook, *getattr(hook, "hooks", ())]


# Finding the attention layers


def text_body(model: PreTrainedModel) -> PreTrainedModel:
    """Embeddings, decoder layers and final norm, without vocabulary head, vision or audio tower."""
    decoder, base = model.get_decoder(), model.base_model
    body: PreTrainedModel = decoder if hasattr(decoder, "set_attn_implementation") else base
    return body


def find_attention_layers(model: PreTrainedModel) -> list[AttentionLayer]:
    """The decoder layers in order. Raises ModelError if a layer has no softmax attention."""
    config: Any = model.config.get_text_config()
    count = getattr(config, "num_hidden_layers", 0)
    stacks = [
        module
        for module in text_body(model).modules()
        if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    for stack in stacks:
        layers = [_attention_of(layer) for layer in stack]
        if any(layers):
            _refuse_other_kinds(layers, config)
            return [layer for layer in layers if layer is not None]
    raise ModelError(
        f"a {model.config.model_type} model has no softmax attention in a place known here; "
        "use a decoder-only language model such as Llama, Qwen, Gemma or GPT-2"
    )


def _refuse_other_kinds(layers: Sequence[AttentionLayer | None], config: Any) -> None:
    """Raise ModelError for the first layer without plain softmax attention."""
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * len(layers)
    for index, (layer, kind) in enumerate(zip(layers, kinds, strict=False)):
        if layer is None or kind not in SOFTMAX_TYPES:
            what = "a layer of another kind" if kind in SOFTMAX_TYPES else kind.replace("_", " ")
            raise ModelError(
                f"layer {index} of this {config.model_type} model has no plain softmax attention "
                f"({what}), so it has no attention values to pool; use a model that has it in all "
                "layers, such as Llama, Qwen 3, Gemma or GPT-2"
            )


def _attention_of(layer: nn.Module) -> AttentionLayer | None:
    block = _first(layer, ATTENTION_NAMES)
    if block is None:
        return None
    projection = _first(block, PROJECTION_NAMES)
    # Some families wrap the attention block in another one (GPT-Neo).
    return _attention_of(block) if projection is None else AttentionLayer(block, projection)


def _first(module: nn.Module, names: Sequence[str]) -> nn.Module | None:
    children = (getattr(module, name, None) for name in names)
    return next((child for child in children if isinstance(child, nn.Module)), None)
