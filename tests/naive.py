"""The formula written out naively, from the weights and the outputs of a plain eager pass.

    e = Σ_l W_O · concat_h( Σ_t α[l,h,t] · v[l,h,t] ) (+ b_O)

α are the attention weights that transformers itself returns, v is a slice of the output of the
layer's own (possibly fused) projection, W_O is applied in double precision. The module uses nothing
of the package.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

HEADS, SIZE = 4, 8  # of every tiny model


@dataclass(frozen=True)
class WeightLayout:
    """A family's module names; `cut` slices v from the fused output: (T, X) → (T, K, D)."""

    layers: str
    attention: str
    fused: str
    output: str
    cut: Callable[[Tensor], Tensor]


def unsliced(output: Tensor) -> Tensor:
    return output.unflatten(-1, (-1, SIZE))


LLAMA = WeightLayout("model.layers", "self_attn", "v_proj", "o_proj", unsliced)
FALCON = ("transformer.h", "self_attention", "query_key_value", "dense")
NEOX = ("gpt_neox.layers", "attention", "query_key_value", "dense")

LAYOUTS = {
    "gemma3-vision": WeightLayout(
        "model.language_model.layers", "self_attn", "v_proj", "o_proj", unsliced
    ),
    # queries, then keys, then values
    "gpt2": WeightLayout(
        "transformer.h", "attn", "c_attn", "c_proj", lambda x: unsliced(x[:, 2 * 32 :])
    ),
    "phi3": WeightLayout(
        "model.layers", "self_attn", "qkv_proj", "o_proj", lambda x: unsliced(x[:, -2 * SIZE :])
    ),
    # head by head: its query, its key, its value
    "gpt-neox": WeightLayout(*NEOX, lambda x: x.unflatten(-1, (HEADS, 3, SIZE))[:, :, 2]),
    "falcon-alibi": WeightLayout(*FALCON, lambda x: x.unflatten(-1, (HEADS, 3, SIZE))[:, :, 2]),
    # group by group: its two queries, the group's key, the group's value
    "falcon": WeightLayout(*FALCON, lambda x: x.unflatten(-1, (2, 4, SIZE))[:, :, 3]),
    # all queries, the one key, the one value
    "falcon-multi-query": WeightLayout(*FALCON, lambda x: x[:, None, -SIZE:]),
}
LAYOUTS["gpt-neox-serial"] = LAYOUTS["gpt-neox"]


def reference(folder: str) -> PreTrainedModel:
    """The model in a folder, as transformers loads it."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


class Naive:
    """A model of a family: a copy with eager attention, without this package."""

    def __init__(self, model: PreTrainedModel, family: str) -> None:
        self.place = LAYOUTS.get(family, LLAMA)
        # Its eager attention adds the distances twice (transformers 5.23), so we compute it by
        # hand.
        self.by_hand = family == "falcon-alibi"
        # A new model: not every family can be switched to eager attention afterwards.
        self.twin = AutoModelForCausalLM.from_config(
            copy.deepcopy(model.config),
            attn_implementation="sdpa" if self.by_hand else "eager",
            dtype=torch.float32,
        ).eval()
        self.twin.load_state_dict(model.state_dict())
        self.fused: list[Tensor] = []  # of the current pass, (T, X) per layer
        stack = reduce(getattr, self.place.layers.split("."), self.twin)
        self.blocks = [getattr(layer, self.place.attention) for layer in stack]
        for block in self.blocks:
            getattr(block, self.place.fused).register_forward_hook(
                lambda module, inputs, output: self.fused.append(output[0])
            )

    def attention_and_values(self, ids: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
        """Attention weights, (H, T, T), and values, (T, K, D), of every layer."""
        self.fused.clear()
        with torch.no_grad():
            out = self.twin(
                torch.tensor([list(ids)]), output_attentions=not self.by_hand, use_cache=False
            )
        if self.by_hand:
            weights = [_alibi(fused) for fused in self.fused]
        else:
            weights = [weight[0] for weight in out.attentions]
        return weights, [self.place.cut(fused) for fused in self.fused]

    def outputs(self, ids: Sequence[int], without: Sequence[int] = ()) -> Tensor:
        """o_l of every layer for the last token, in double precision: (L, hidden_size).

        The values of the tokens `without` count as zero; whatever they did to others stays.
        """
        weights, values = self.attention_and_values(ids)
        for value in values:
            value[list(without)] = 0
        return torch.stack(
            [self._output(*each) for each in zip(self.blocks, weights, values, strict=True)]
        )

    def _output(self, block: nn.Module, weights: Tensor, values: Tensor) -> Tensor:
        alpha = weights[:, -1].double()  # (H, T)
        value = values.double().repeat_interleave(HEADS // values.shape[1], dim=1)  # (T, H, D)
        joined = torch.cat([alpha[head] @ value[:, head] for head in range(HEADS)])
        projection = getattr(block, self.place.output)
        matrix = projection.weight.detach().double()
        # GPT-2 stores its matrices transposed.
        output = joined @ (matrix if isinstance(projection, Conv1D) else matrix.T)
        bias = projection.bias
        return output if bias is None else output + bias.detach().double()

    def values(self, ids: Sequence[int], layers: Sequence[int]) -> Tensor:
        """The mean over tokens and `layers` of the values, heads concatenated: (K · D,)."""
        _, values = self.attention_and_values(ids)
        return torch.stack([values[layer].flatten(1).double() for layer in layers]).mean((0, 1))

    def states(self, ids: Sequence[int]) -> Tensor:
        """The last of `output_hidden_states`, in double precision: (T, hidden_size)."""
        with torch.no_grad():
            out = self.twin(torch.tensor([list(ids)]), output_hidden_states=True, use_cache=False)
        return out.hidden_states[-1][0].double()


def _alibi(fused: Tensor) -> Tensor:
    """softmax((q·k + slope · position) / √D) with slopes 1/4, 1/16, … by head: (H, T, T)."""
    query, key, _ = fused.unflatten(-1, (HEADS, 3, SIZE)).unbind(dim=2)
    scores = torch.einsum("qhd,khd->hqk", query, key)
    slopes = torch.tensor([4.0 ** -(head + 1) for head in range(HEADS)])
    scores = (scores + slopes[:, None, None] * torch.arange(len(fused))) / SIZE**0.5
    future = torch.ones(len(fused), len(fused), dtype=torch.bool).triu(1)
    return scores.masked_fill(future, float("-inf")).softmax(dim=-1)
