"""The partial pass: its shortcuts change nothing, and it leaves the model as it was.

What it computes is compared with the formula in `test_families`.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertLMHeadModel, MambaConfig, MambaForCausalLM, PreTrainedModel

from retriever.embedding.packing import shared_prefix
from retriever.embedding.pooling import AttentionPooler, find_attention_layers
from retriever.types import ModelError
from tests.embedding.test_families import TOLERANCE, error, texts
from tests.naive import Naive
from tests.tiny import make_model

FAMILIES = ("gemma3", "gpt2", "gpt-oss", "llama", "qwen2-window")


def formula(model: PreTrainedModel, ids: list[int], layers: list[int]) -> Tensor:
    return Naive(model, "llama").outputs(ids)[layers].sum(dim=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_window_hides_early_tokens_only_where_the_model_has_one(family: str) -> None:
    ids = texts()[-1]
    changed = [9, *ids[1:]]
    pooler = AttentionPooler(make_model(family), [0])
    same = torch.equal(pooler.run([ids]), pooler.run([changed]))
    assert same == (family in {"gemma3", "gpt-oss"})  # their first layer sees the last six tokens


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
