"""The own decoder and tokenizer compute what transformers does, bit for bit, or it loads itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from retriever import AlignedWVA
from retriever.embedding.fused import BODIES
from retriever.embedding.models import decoder as decoders
from retriever.embedding.models.decoder import Decoder, agrees, decoder_settings, read_decoder
from retriever.embedding.models.load import load_model
from retriever.embedding.models.tokenizer import OwnTokenizer
from retriever.embedding.packing import TokenIds
from retriever.embedding.pooling import AttentionPooler
from retriever.embedding.query_likelihood import QueryLikelihood
from retriever.embedding.runner import Runner
from retriever.embedding.token_attribution import TokenAttributor
from tests.tiny import _SMALL, make_tokenizer, save_model

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "tied": {"tie_word_embeddings": True},
    "one group": {"num_key_value_heads": 1},
    "no groups": {"num_key_value_heads": 4},
    "large heads": {"head_dim": 24, "rms_norm_eps": 1e-3},
    "other positions": {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
}
TEXTS: list[TokenIds] = [[1, 5, 9, 200], [1, 5, 9, 7, 7, 250, 31], [1, 5, 8], [1]]
DTYPES = [torch.float32, torch.bfloat16]


@pytest.fixture(autouse=True)
def _nothing_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))


def saved(folder: Path, **changes: Any) -> Path:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**{**_SMALL, **changes})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "norm.weight")):
                parameter.normal_(1.0, std=0.3)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def both(folder: Path, dtype: torch.dtype) -> tuple[Decoder, PreTrainedModel]:
    settings = decoders.read_settings(folder)
    assert settings is not None
    own = read_decoder(settings, [folder / "model.safetensors"], dtype)
    assert own is not None
    return own, LlamaForCausalLM.from_pretrained(folder, dtype=dtype).eval()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_the_numbers_are_those_of_transformers(
    variant: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    own, theirs = both(saved(tmp_path, **VARIANTS[variant]), dtype)
    assert agrees(own, theirs)
    for pooling in ("aligned-wva", "va", "last-hidden", "mean-hidden"):
        layers = [4] if pooling == "last-hidden" else [2, 3, 4]
        one, two = (AttentionPooler(model, layers, pooling) for model in (own, theirs))
        for packed in (True, False):
            found, expected = (each.run(TEXTS, packed=packed) for each in (one, two))
            assert torch.equal(found, expected), (pooling, packed)


@pytest.mark.parametrize("packed", [True, False])
def test_explanations_and_judgements_are_those_of_transformers(
    packed: bool, tmp_path: Path
) -> None:
    own, theirs = (AttentionPooler(m, [2, 3, 4]) for m in both(saved(tmp_path), torch.float32))
    texts = TEXTS[:2]
    for one, two, given in (
        (TokenAttributor(own), TokenAttributor(theirs), texts[:1]),
        (QueryLikelihood(own, 2), QueryLikelihood(theirs, 2), texts),
    ):
        found, expected = (Runner(each, packed=packed).run(given) for each in (one, two))
        assert (found == expected).all()


def test_other_numbers_do_not_agree(tmp_path: Path) -> None:
    own, theirs = both(saved(tmp_path), torch.float32)
    with torch.no_grad():
        theirs.model.layers[1].mlp.down_proj.weight[0, 0] += 1e-3
    assert not agrees(own, theirs)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "mistral"},
        {"architectures": ["LlamaModel"]},
        {"architectures": None},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "factor": 2.0}},
        {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
        {"sliding_window": 8},
        {"quantization_config": {"quant_method": "fp8"}},
        {"residual_multiplier": 0.5},
        {"hidden_size": "32"},
        {"head_dim": 512},
    ],
)
def test_a_setting_that_is_not_known_is_left_to_transformers(changes: dict[str, Any]) -> None:
    config = {**LlamaConfig(**_SMALL).to_dict(), "architectures": ["LlamaForCausalLM"]}
    known = {key: value for key, value in config.items() if key in _SMALL or key in KEPT}
    assert decoder_settings(known) is not None
    assert decoder_settings({**known, **changes}) is None


KEPT = {"model_type", "architectures", "hidden_act", "rope_parameters", "rms_norm_eps"}


def test_settings_of_older_files_are_understood() -> None:
    config = {**_SMALL, "model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    old = decoder_settings({**config, "rope_theta": 500.0, "rope_scaling": None})
    rope = {"rope_type": "default", "rope_theta": 500.0}
    assert old == decoder_settings({**config, "rope_parameters": rope})
    assert old is not None
    assert old.rope_theta == 500.0


def is_own(folder: Path) -> bool:
    return isinstance(load_model(str(folder), "cpu", "float32").model, Decoder)


def test_a_plain_model_is_loaded_without_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path)
    assert is_own(folder)
    monkeypatch.setattr("retriever.embedding.models.load._load_by_transformers", None)
    assert is_own(folder)  # the comparison is remembered


def test_a_model_with_other_weights_is_transformers(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    path = folder / "model.safetensors"
    weights = {**load_file(path), "model.layers.0.extra": torch.ones(1)}
    save_file(weights, path, metadata={"format": "pt"})
    assert not is_own(folder)


def test_what_does_not_agree_is_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "agrees", lambda *_: False)
    assert not is_own(saved(tmp_path))


def test_a_comparison_that_fails_is_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(decoders, "agrees", lambda *_: 1 / 0)
        assert not is_own(folder)
    assert is_own(folder)  # a failure is no outcome to remember


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("eos", [True, False])
def test_the_tokens_are_those_of_transformers(bos: bool, eos: bool, tmp_path: Path) -> None:
    folder = save_model(tmp_path, "llama", bos=bos, eos=eos)
    own, theirs = OwnTokenizer.read(folder), AutoTokenizer.from_pretrained(folder)
    assert own.agrees(theirs)
    for given in ("the passage 日本 </s> e\u0301", ["one word", "", " means "]):
        for special in (True, False):
            options = {"add_special_tokens": special, "return_offsets_mapping": True}
            found, expected = own(given, **options), theirs(given, **options, verbose=False)
            assert found["input_ids"] == expected["input_ids"]
            assert found["offset_mapping"] == expected["offset_mapping"]


def test_a_tokenizer_that_other_files_change_is_transformers(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    assert is_own(folder)
    path = folder / "tokenizer_config.json"
    config = {**json.loads(path.read_text()), "additional_special_tokens": ["<new>"]}
    path.write_text(json.dumps(config))
    assert not OwnTokenizer.read(folder).agrees(AutoTokenizer.from_pretrained(folder))
    assert not is_own(folder)


def test_vectors_do_not_depend_on_who_loads_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(save_model(tmp_path, "llama", bos=True, eos=True))
    own = AlignedWVA(folder, device="cpu", dtype="float32")
    monkeypatch.setattr(decoders, "read_settings", lambda _: None)
    theirs = AlignedWVA(folder, device="cpu", dtype="float32")
    assert (type(own._loaded.model), type(theirs._loaded.model)) == (Decoder, LlamaForCausalLM)
    assert own.fingerprint == theirs.fingerprint
    texts = ["A plum tree.", "The passage means this.", ""]
    assert (own.embed_passages(texts) == theirs.embed_passages(texts)).all()
    assert (own.embed_queries(texts) == theirs.embed_queries(texts)).all()
    assert own.prompt_tokens() == theirs.prompt_tokens()
    assert own.token_spans(texts[1]) == theirs.token_spans(texts[1])
    assert own.tokenizer_json() == theirs.tokenizer_json()


def test_the_fused_layers_know_the_own_decoder() -> None:
    assert decoders.DecoderBody.__name__ in BODIES
