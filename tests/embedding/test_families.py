"""Every documented family against the naive formula; many others against a plain hook."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from retriever.embedding.pooling import AttentionPooler
from retriever.types import ModelError
from tests.naive import Naive
from tests.tiny import CONFIGS, WINDOW, make_model

FAMILIES = sorted(CONFIGS)
TOLERANCE = 1e-5
UNPACKED = {"falcon", "falcon-multi-query", "falcon-alibi"}  # attend without the interface


def texts(count: int = 6) -> list[list[int]]:
    """Texts with a common prefix, most of them longer than every window."""
    generator = torch.Generator().manual_seed(1)
    lengths = [1, 3, 9, 9, 20, 40][:count]
    return [
        [5, 6, 7, *torch.randint(3, 300, (length,), generator=generator).tolist()]
        for length in lengths
    ]


def error(found: Tensor, expected: Tensor) -> float:
    """The largest relative error ‖a − b‖ / ‖b‖ of the rows."""
    rows = torch.linalg.norm(found.double() - expected.double(), dim=-1)
    return float((rows / torch.linalg.norm(expected.double(), dim=-1)).max())


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(family: str) -> PreTrainedModel:
    return make_model(family)


@pytest.fixture(scope="module")
def naive(model: PreTrainedModel, family: str) -> Naive:
    return Naive(model, family)


def ways(pooler: AttentionPooler) -> list[bool]:
    return [False, True] if pooler.can_pack else [False]


def test_the_vector_is_the_formula(family: str, model: PreTrainedModel, naive: Naive) -> None:
    assert max(map(len, texts())) > 2 * WINDOW
    outputs = torch.stack([naive.outputs(ids) for ids in texts()])  # (B, L, hidden_size)
    for layers in ([2, 3, 4], [0, 1, 2, 3, 4], [1, 3], [0]):
        pooler = AttentionPooler(model, layers)
        assert pooler.can_pack == (family not in UNPACKED)
        for packed in ways(pooler):
            assert error(pooler.run(texts(), packed=packed), outputs[:, layers].sum(1)) < TOLERANCE


def test_values_are_averaged(family: str, model: PreTrainedModel, naive: Naive) -> None:
    if family in UNPACKED:
        with pytest.raises(ModelError, match=r"falcon model does not hand out .* use aligned-wva"):
            AttentionPooler(model, [1], "va")
        return
    for layers in ([2, 3, 4], [0]):
        expected = torch.stack([naive.values(ids, layers) for ids in texts()])
        pooler = AttentionPooler(model, layers, "va")
        assert pooler.dimension() == expected.shape[1]
        for packed in (False, True):
            for early in (False, True):
                found = pooler.run(texts(), packed=packed, exit_early=early)
                assert error(found, expected) < TOLERANCE


def test_hidden_states_are_the_last(family: str, model: PreTrainedModel, naive: Naive) -> None:
    states = [naive.states(ids) for ids in texts()]
    last = torch.stack([state[-1] for state in states])
    mean = torch.stack([state.mean(dim=0) for state in states])
    for pooling, expected in (("last-hidden", last), ("mean-hidden", mean)):
        pooler = AttentionPooler(model, [0], pooling)
        assert pooler.dimension() == 32
        for packed in ways(pooler):
            assert error(pooler.run(texts(), packed=packed), expected) < TOLERANCE


# Others, by transformers' names for them


_SMALL = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.4,
}
_GROUPED = {**_SMALL, "num_key_value_heads": 2}
_SIZED = {**_GROUPED, "head_dim": 8}
_EXPERTS = {
    "num_local_experts": 4,
    "num_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
_OLD = {"n_embd": 32, "n_layer": 5, "n_head": 4, "n_positions": 256}
_OLD |= {name: _SMALL[name] for name in ("vocab_size", "initializer_range", "bos_token_id")}
_LATENT = {
    **_SMALL,
    **_EXPERTS,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 6,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "n_shared_experts": 1,
}
_LOCAL = {"sliding_window": WINDOW}

OTHERS = {
    "apertus": _SIZED,
    "arcee": _SIZED,
    "bitnet": _GROUPED,
    "bloom": {"vocab_size": 300, "hidden_size": 32, "n_layer": 5, "n_head": 4},
    "codegen": {**_OLD, "rotary_dim": 4},
    "cohere": _GROUPED,
    "cohere2": {**_SIZED, **_LOCAL},
    "ctrl": {**_OLD, "dff": 48},
    "deepseek_v2": _LATENT,
    "deepseek_v3": _LATENT,
    "diffllama": _SIZED,
    "ernie4_5": _SIZED,
    "exaone4": {**_SIZED, **_LOCAL},
    "gemma": _SIZED,
    "gemma3n_text": {
        **_SIZED,
        **_LOCAL,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 300,
        "laurel_rank": 4,
        "num_kv_shared_layers": 1,
        "activation_sparsity_pattern": [0.0] * 5,
        "layer_types": ["sliding_attention", "full_attention"] * 2 + ["full_attention"],
    },
    "gemma4_text": {
        **_SIZED,
        **_LOCAL,
        "global_head_dim": 16,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 300,
    },
    "glm": _SIZED,
    "glm4": _SIZED,
    "gpt_bigcode": _OLD,
    "gpt_neo": {
        "vocab_size": 300,
        "hidden_size": 32,
        "num_layers": 4,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 2]],
        "window_size": WINDOW,
        "max_position_embeddings": 256,
        "initializer_range": 0.4,
    },
    "gptj": {**_OLD, "rotary_dim": 4},
    "granitemoe": {**_GROUPED, **_EXPERTS},
    "helium": _SIZED,
    "hunyuan_v1_dense": _SIZED,
    "llama4_text": {**_SIZED, **_EXPERTS, "attention_chunk_size": 8, "intermediate_size_mlp": 48},
    "minimax_m2": {**_SIZED, **_EXPERTS},
    "ministral3": {**_SIZED, **_LOCAL},
    "modernbert-decoder": {**_SMALL, "local_attention": 2 * WINDOW},
    "mpt": {"vocab_size": 300, "d_model": 32, "n_layers": 5, "n_heads": 4, "max_seq_len": 256},
    "nemotron": _SIZED,
    "olmo": _GROUPED,
    "olmo3": {**_GROUPED, **_LOCAL},
    "openai-gpt": _OLD,
    "opt": {**_SMALL, "ffn_dim": 48, "word_embed_proj_dim": 32},
    "persimmon": _SMALL,
    "phi": _GROUPED,
    "phimoe": {**_GROUPED, **_EXPERTS},
    "qwen2_moe": {**_GROUPED, **_EXPERTS},
    "seed_oss": _SIZED,
    "stablelm": _GROUPED,
    "starcoder2": {**_GROUPED, **_LOCAL},
    "xglm": {
        "vocab_size": 300,
        "d_model": 32,
        "ffn_dim": 48,
        "num_layers": 5,
        "attention_heads": 4,
        "max_position_embeddings": 256,
        "init_std": 0.4,
    },
}


def make_other(kind: str, values: dict[str, object]) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **values)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def hooked(model: PreTrainedModel, pooler: AttentionPooler, ids: list[int]) -> Tensor:
    """Σ_l of the outputs of the output projections at the last token, in a plain full pass."""
    outputs: list[Tensor] = []
    handles = [
        layer.projection.register_forward_hook(lambda *args: outputs.append(args[2][0, -1]))
        for layer in pooler.layers
    ]
    with torch.no_grad():
        model(torch.tensor([ids]), use_cache=False)
    for handle in handles:
        handle.remove()
    assert len(outputs) == len(pooler.layers)
    return torch.stack(outputs).double().sum(dim=0)


@pytest.mark.parametrize("kind", OTHERS)
def test_other_families_go_the_same_way(kind: str) -> None:
    model = make_other(kind, OTHERS[kind])
    pooler = AttentionPooler(model)
    assert not pooler.is_bidirectional(5, (6, 7))
    expected = torch.stack([hooked(model, pooler, ids) for ids in texts()])
    for packed in ways(pooler):
        assert error(pooler.run(texts(), packed=packed), expected) < TOLERANCE


REFUSED = {
    "lfm2": (
        {**_GROUPED, "layer_types": ["full_attention", "conv", "conv", "conv", "full_attention"]},
        r"layer 1 of this lfm2 model .* \(conv\)",
    ),
    "jamba": ({**_GROUPED, "num_experts": 2}, r"layer 0 of this jamba model .* \(linear attention"),
    "mamba": ({"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2}, "mamba model has no"),
    "rwkv": ({"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2}, "rwkv model has no"),
    # linear attention under the names of softmax attention
    "minimax": ({**_SIZED, **_EXPERTS}, r"layer 1 of this minimax model .* \(linear attention\)"),
    "qwen3_next": (_SIZED, r"layer 0 of this qwen3_next model .* \(linear attention\)"),
    "deepseek_v32": (_LATENT, r"layer 0 of this deepseek_v32 model .* \(indexed attention\)"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_pooled_is_refused_by_name(kind: str) -> None:
    values, reason = REFUSED[kind]
    with pytest.raises(ModelError, match=reason):
        AttentionPooler(make_other(kind, values))


def test_values_of_different_lengths_are_not_averaged() -> None:
    model = make_other("gemma4_text", OTHERS["gemma4_text"])
    with pytest.raises(ModelError, match=r"different lengths \(16 and 32\).*layers of one kind"):
        AttentionPooler(model, None, "va").run(texts())
    assert AttentionPooler(model, [0, 1], "va").run(texts()).shape == (6, 16)
