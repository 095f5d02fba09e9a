"""The pooled vector against the formula written out from weights, values and projections."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertLMHeadModel, MambaConfig, MambaForCausalLM, PreTrainedModel

from retriever.attention import AttentionPooler, find_attention_layers, shared_prefix
from retriever.types import ModelError
from tests.tiny import CONFIGS, make_model

FAMILIES = sorted(CONFIGS)
TOLERANCE = 1e-5


def texts(count: int = 6, seed: int = 1) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = [1, 3, 9, 9, 20, 40][:count]
    prefix = [5, 6, 7]
    return [
        prefix + torch.randint(3, 300, (length,), generator=generator).tolist()
        for length in lengths
    ]


def values_of(model: PreTrainedModel, ids: list[int]) -> tuple[list[Tensor], list[Tensor]]:
    """Attention weights (H, T, T) and values (H, T, D) of every layer, by the plain eager way."""
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    values: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: Tensor) -> None:
        if module in fused:
            output = output.chunk(3, dim=-1)[2]
        values.append(output[0])

    stack = eager.transformer.h if hasattr(eager, "transformer") else eager.model.layers
    fused = [layer.attn.c_attn for layer in stack if hasattr(layer, "attn")]
    for module in fused or [layer.self_attn.v_proj for layer in stack]:
        module.register_forward_hook(keep)
    with torch.no_grad():
        weights = eager(torch.tensor([ids]), output_attentions=True, use_cache=False).attentions
    heads = weights[0].shape[1]
    split = []
    for value in values:
        per_head = value.view(len(ids), -1, 8).transpose(0, 1)  # (K, T, D)
        split.append(per_head.repeat_interleave(heads // len(per_head), dim=0))
    return [weight[0] for weight in weights], split


def formula(model: PreTrainedModel, ids: list[int], layers: list[int]) -> Tensor:
    """e = Σ_l W_O · concat_h(Σ_t α[l,h,t] v[l,h,t]) + b_O for the last token: (hidden_size,)."""
    weights, values = values_of(model, ids)
    total = torch.zeros(32, dtype=torch.float64)
    for layer in layers:
        mixed = torch.einsum("ht,htd->hd", weights[layer][:, -1], values[layer])
        joined = mixed.reshape(-1).double()
        if hasattr(model, "transformer"):
            projection = model.transformer.h[layer].attn.c_proj
            total += joined @ projection.weight.double() + projection.bias.double()
        else:
            projection = model.model.layers[layer].self_attn.o_proj
            total += projection.weight.double() @ joined
            if projection.bias is not None:
                total += projection.bias.double()
    return total.detach()


def error(found: Tensor, expected: Tensor) -> float:
    """The largest relative error ‖a − b‖ / ‖b‖ of the rows."""
    rows = torch.linalg.norm(found.double() - expected.double(), dim=-1)
    return float((rows / torch.linalg.norm(expected.double(), dim=-1)).max())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layers", [[2, 3, 4], [0, 1, 2, 3, 4], [1, 3]], ids=str)
def test_the_vector_is_the_formula(family: str, layers: list[int]) -> None:
    model = make_model(family)
    pooler = AttentionPooler(model, layers)
    expected = torch.stack([formula(model, ids, layers) for ids in texts()])
    for packed in (False, True):
        assert error(pooler.run(texts(), packed=packed), expected) < TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_a_window_hides_early_tokens_only_where_the_model_has_one(family: str) -> None:
    ids = texts()[-1]
    changed = [9, *ids[1:]]
    pooler = AttentionPooler(make_model(family), [0])
    same = torch.equal(pooler.run([ids]), pooler.run([changed]))
    assert same == (family == "gemma3")  # its first layer looks at the last six tokens


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("packed", [False, True])
def test_early_exit_alone_changes_no_bit(family: str, packed: bool) -> None:
    pooler = AttentionPooler(make_model(family), [1, 2, 3])
    whole = pooler.run(texts(), packed=packed, exit_early=False)
    assert torch.equal(
        pooler.run(texts(), packed=packed, exit_early=True, last_query_only=False), whole
    )


def test_early_exit_runs_nothing_behind_the_last_pooled_attention() -> None:
    model = make_model("llama")
    ran: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda m, i, o, name=name: ran.append(name))
    AttentionPooler(model, [1, 3]).run(texts())
    assert not [name for name in ran if "layers.4" in name or "lm_head" in name]
    assert not [name for name in ran if "layers.3.mlp" in name or "layers.3.self_attn.o" in name]
    assert "model.layers.3.self_attn.v_proj" in ran


@pytest.mark.parametrize("family", FAMILIES)
def test_ways_of_running_agree(family: str) -> None:
    pooler = AttentionPooler(make_model(family), [2, 3, 4])
    batch = texts()
    alone = torch.cat([pooler.run([ids], packed=False) for ids in batch])
    packed = pooler.run(batch, packed=True)
    assert error(packed, alone) < TOLERANCE
    assert error(pooler.run(batch, packed=False), alone) < TOLERANCE
    assert error(pooler.run(batch, packed=True, last_query_only=False), alone) < TOLERANCE
    assert error(torch.flip(pooler.run(batch[::-1], packed=True), [0]), alone) < TOLERANCE
    unshared = [[8, *ids] if number else ids for number, ids in enumerate(batch)]
    assert shared_prefix(unshared) == 0
    separate = torch.cat([pooler.run([ids], packed=False) for ids in unshared])
    assert error(pooler.run(unshared, packed=True), separate) < TOLERANCE


def test_long_texts_are_attended_in_blocks() -> None:
    model = make_model("llama")
    long = torch.randint(3, 300, (250,), generator=torch.Generator().manual_seed(3)).tolist()
    pooler = AttentionPooler(model, [0, 4])
    expected = formula(model, long, [0, 4])[None]
    assert error(pooler.run([long], packed=True), expected) < TOLERANCE


@pytest.mark.parametrize("packed", [False, True])
def test_no_hook_is_left_behind(packed: bool) -> None:
    model = make_model("llama")
    before = model.config._attn_implementation
    pooler = AttentionPooler(model, [2, 4])

    def hooks() -> int:
        return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules())

    pooler.run(texts(), packed=packed)
    assert hooks() == 0
    with pytest.raises(IndexError):
        pooler.run([[10_000_000]], packed=packed)  # no such token
    assert hooks() == 0
    assert model.config._attn_implementation == before
    expected = formula(model, texts()[3], [2, 4])
    assert error(pooler.run([texts()[3]], packed=packed), expected[None]) < TOLERANCE


def test_the_model_still_works_as_it_did() -> None:
    model = make_model("qwen2")
    ids = torch.tensor([texts()[4]])
    with torch.no_grad():
        before = model(ids).logits
        AttentionPooler(model, [1]).run(texts())
        assert torch.equal(model(ids).logits, before)


def test_a_model_without_softmax_attention_is_refused() -> None:
    config = MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, state_size=4)
    with pytest.raises(ModelError, match="mamba model has no softmax attention"):
        find_attention_layers(MambaForCausalLM(config))


def test_layers_are_found_in_order() -> None:
    model = make_model("gpt2")
    found = find_attention_layers(model)
    assert [layer.projection for layer in found] == [h.attn.c_proj for h in model.transformer.h]


def test_an_encoder_has_no_decoder_layers() -> None:
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, is_decoder=True,
    )  # fmt: skip
    with pytest.raises(ModelError, match="bert model has no softmax attention"):
        find_attention_layers(BertLMHeadModel(config))
