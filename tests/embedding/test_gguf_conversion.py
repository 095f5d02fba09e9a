"""GGUF files: converted to model folders with the same vectors, or refused in one sentence."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from retriever import AlignedWVA
from retriever.embedding.models import devices, gguf_conversion, locate
from retriever.embedding.models.gguf_header import read_header
from retriever.types import ModelError
from tests.ggufs import QUANTISED, random_blocks, write_gguf
from tests.tiny import CONFIGS, make_model, make_tokenizer

TEXTS = ["A red apple.", "The question means one word"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def vectors(place: Path) -> np.ndarray:
    return AlignedWVA(str(place), device="cpu", dtype="float32").embed_passages(TEXTS)


def save(model: Any, folder: Path, tokenizer: Any = None) -> Path:
    model.save_pretrained(folder)
    (tokenizer or make_tokenizer()).save_pretrained(folder)
    return folder


def changed(family: str, **values: Any) -> Any:
    """The configuration of a family in `tiny`, with other values."""
    config = CONFIGS[family]
    return type(config).from_dict(config.to_dict() | values)


def random_model(config: Any) -> Any:
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "norm.weight")):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


# Round trips


FAMILIES = {
    name: CONFIGS[name]
    for name in ("llama", "llama-bias", "qwen2", "qwen3", "gemma2", "gemma3", "gpt2", "phi3")
} | {
    "falcon": changed("falcon-multi-query", bias=False),
    "qwen3-moe": changed("qwen3-moe", norm_topk_prob=True),  # as all published ones are
}


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_are_those_of_the_model_the_file_was_made_from(family: str, tmp_path: Path) -> None:
    model = random_model(FAMILIES[family])
    path = write_gguf(tmp_path / "tiny.gguf", model)
    found = vectors(path)
    # Gemma files never have this kind of tokenizer, and transformers reads it in its own way.
    tokenizer = AutoTokenizer.from_pretrained(locate.convert_gguf(path))
    expected = vectors(save(model, tmp_path / "m", tokenizer))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("family", ["falcon", "falcon-multi-query", "gpt-oss"])
def test_a_variant_that_transformers_would_fill_with_noise_is_refused(
    family: str, tmp_path: Path, cache: Path
) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", make_model(family))
    refused(path, cache, r"(incomplete|it is a variant|cannot be loaded)")


def test_texts_are_cut_into_the_same_tokens(tmp_path: Path) -> None:
    folder = locate.convert_gguf(write_gguf(tmp_path / "tiny.gguf"))
    texts = ["The question means 1234 words.", "Größe — 東京\n\n  and\ttabs", ""]
    found = AutoTokenizer.from_pretrained(folder)
    assert found(texts)["input_ids"] == make_tokenizer()(texts)["input_ids"]


def test_every_quantisation_means_what_the_format_says(tmp_path: Path, cache: Path) -> None:
    """Each matrix of this model has another quantisation; the vectors agree, too."""
    model = random_model(
        changed("llama", hidden_size=256, intermediate_size=256, head_dim=64, num_hidden_layers=4)
    )
    plain = [gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.BF16]
    kinds = cycle([*plain, *(kind for kind in QUANTISED if readable(kind))])
    meant: dict[str, np.ndarray] = {}
    used: set[str] = set()

    def store(name: str, array: np.ndarray) -> tuple[np.ndarray, Any]:
        if array.ndim != 2:
            return array, None
        kind = next(kinds)
        used.add(kind.name)
        if kind in plain:
            blocks = gguf.quantize(array, kind)
        else:
            blocks = random_blocks(array.shape, kind, len(meant))
        meant[name] = gguf.dequantize(blocks, kind)
        return blocks, kind

    path = write_gguf(tmp_path / "all.gguf", model, store=store)
    assert used == {"F16", "BF16"} | {kind.name for kind in QUANTISED if readable(kind)}
    assert used > {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"}
    assert len(used) >= 25
    assert {tensor.type for tensor in read_header(path).tensors} == used | {"F32"}
    found = load_file(locate.convert_gguf(path) / "model.safetensors")
    state = model.state_dict()
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 4)
    for key in state:
        name = names.get_name(key, try_suffixes=(".weight",))
        if name in meant:
            expected = torch.from_numpy(meant[name].copy())
            if ".q_proj" in key or ".k_proj" in key:
                heads = 4 if ".q_proj" in key else 2
                expected = expected.view(heads, -1, 2, 256).transpose(1, 2).reshape(-1, 256)
            np.testing.assert_array_equal(found[key], expected.numpy(), err_msg=key)
            state[key].copy_(expected)
    np.testing.assert_allclose(vectors(path), vectors(save(model, tmp_path / "m")), atol=1e-5)


def readable(kind: gguf.GGMLQuantizationType) -> bool:
    """Whether the format's library can dequantise this type."""
    try:
        gguf.dequantize(np.zeros((1, gguf.GGML_QUANT_SIZES[kind][1]), np.uint8), kind)
    except NotImplementedError:
        return False
    return True


# Metadata that transformers ignores


def test_stretched_positions_of_llama_3_are_kept(tmp_path: Path) -> None:
    rope = {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
    }  # fmt: skip
    model = random_model(changed("llama", rope_parameters=rope))
    plain = 500000.0 ** -(np.arange(4) / 4)
    factors = (plain / model.model.rotary_emb.inv_freq.numpy()).astype(np.float32)
    assert factors.max() == pytest.approx(8)
    path = write_gguf(tmp_path / "tiny.gguf", model, extra={"rope_freqs.weight": factors})
    np.testing.assert_allclose(vectors(path), vectors(save(model, tmp_path / "m")), atol=1e-5)
    other = write_gguf(tmp_path / "o.gguf", model, extra={"rope_freqs.weight": factors * 1.5})
    with pytest.raises(ModelError, match=r"'o\.gguf' scales its positions in a way"):
        locate.locate_model(str(other))


def test_long_contexts_of_phi_3_are_kept(tmp_path: Path) -> None:
    short, long = [1.0, 1.1, 1.5, 2.0], [1.0, 2.0, 4.0, 8.0]
    rope = {
        "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": short,
        "long_factor": long, "original_max_position_embeddings": 128,
    }  # fmt: skip
    model = random_model(changed("phi3", rope_parameters=rope))
    path = write_gguf(
        tmp_path / "tiny.gguf",
        model,
        metadata={
            "rope.dimension_count": 8,
            "rope.scaling.original_context_length": 128,
            "attention.sliding_window": 6,
        },
        extra={
            "rope_factors_short.weight": np.array(short, np.float32),
            "rope_factors_long.weight": np.array(long, np.float32),
        },
    )
    np.testing.assert_allclose(vectors(path), vectors(save(model, tmp_path / "m")), atol=1e-5)


def test_heads_of_another_width_and_scaled_positions_are_kept(tmp_path: Path) -> None:
    rope = {"rope_type": "linear", "rope_theta": 777.0, "factor": 4.0}
    model = random_model(changed("qwen3", head_dim=16, rope_parameters=rope))
    scaling = {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}
    path = write_gguf(tmp_path / "tiny.gguf", model, metadata=scaling)
    np.testing.assert_allclose(vectors(path), vectors(save(model, tmp_path / "m")), atol=1e-5)


# Refusals


def refused(path: Path, cache: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        locate.locate_model(str(path))
    assert "\n" not in str(caught.value)
    left = [p for p in cache.rglob("*") if p.is_dir() and p != cache / "models"]
    assert not left, "something is left behind"


def broken() -> Iterator[tuple[bytes, str]]:
    yield b"", r"is not a GGUF file"
    yield b"no", r"is not a GGUF file"
    yield b"GGUF", r"damaged or incomplete"
    yield b"GGUF" + struct.pack("<IQQ", 3, 9, 9), r"damaged or incomplete"
    yield b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60), r"damaged or incomplete"
    yield b"GGUF" + struct.pack(">IQQ", 3, 9, 9), r"for big-endian machines"
    yield b"GGUF" + struct.pack("<IQQ", 1, 9, 9), r"of version 1"
    yield b"GGUF" + struct.pack("<IQQ", 3, 0, 0), r"does not say which kind"


@pytest.mark.parametrize(("content", "message"), list(broken()))
def test_a_broken_file(content: bytes, message: str, tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    refused(path, cache, rf"broken\.gguf.*{message}")


def test_a_file_that_is_cut_off_anywhere(tmp_path: Path, cache: Path) -> None:
    whole = write_gguf(tmp_path / "whole.gguf").read_bytes()
    path = tmp_path / "cut.gguf"
    for length in [*range(0, 30_000, 997), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refused(path, cache, r"'cut\.gguf'.* (damaged or incomplete|is not a GGUF|is incomplete)")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop": ""}, "a vocabulary but no weights"),
        ({"drop": "ffn_up"}, r"incomplete: 5 that a llama model has are missing"),
        ({"extra": {"blk.0.attn_sinks": np.ones(4, np.float32)}}, "it is a variant that cannot"),
        ({"architecture": "granite"}, "of the granite architecture, which cannot be read"),
        ({"architecture": "clip"}, "of the clip architecture, which cannot be read"),
        ({"metadata": {"=split.count": 3, "=split.no": 1}}, "part 2 of a model split into 3"),
        ({"metadata": {"=general.type": "adapter"}}, r"only a part of a model \(adapter\)"),
    ],
)
def test_a_file_that_holds_no_usable_model(
    changes: dict[str, Any], message: str, tmp_path: Path, cache: Path
) -> None:
    refused(write_gguf(tmp_path / "x.gguf", **changes), cache, message)


def test_a_quantisation_that_cannot_be_read(tmp_path: Path, cache: Path) -> None:
    path = write_gguf(tmp_path / "x.gguf")
    content = bytearray(path.read_bytes())
    at = content.index(b"blk.0.attn_q.weight") + len("blk.0.attn_q.weight") + 4 + 16
    assert content[at : at + 4] == struct.pack("<I", 0)
    for number, name in ((15, "Q8_K"), (36, "type 36"), (26, "I32")):
        content[at : at + 4] = struct.pack("<I", number)
        path.write_bytes(content)
        refused(path, cache, f"is quantised as {name}, which cannot be read")


# Room


def test_what_does_not_fit_is_refused_before_it_is_read(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_gguf(tmp_path / "x.gguf")
    monkeypatch.setattr(
        gguf_conversion,
        "_write_model",
        lambda *_: pytest.fail("it was read, but does not fit"),
    )
    with monkeypatch.context() as little:
        little.setattr(devices, "available_memory", lambda: 30_000_000)
        refused(path, cache, r"needs about 0\.1 GB of memory, and this machine has 0\.0 GB free")
    with monkeypatch.context() as full:
        usage = type("Usage", (), {"free": 1000})
        full.setattr(gguf_conversion.shutil, "disk_usage", lambda _: usage)
        refused(path, cache, r"needs 0\.0 GB of disk in .*, where 0\.0 GB are free")


def test_large_models_are_kept_in_half_the_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_conversion, "FLOAT32_LIMIT", 1000)
    path = write_gguf(tmp_path / "x.gguf")
    found = load_file_types(locate.convert_gguf(path) / "model.safetensors")
    assert found == {torch.bfloat16}


def load_file_types(path: Path) -> set[torch.dtype]:
    from safetensors.torch import load_file

    return {tensor.dtype for tensor in load_file(path).values()}


def test_what_a_killed_conversion_left_is_cleared_and_an_old_one_is_made_again(
    tmp_path: Path, cache: Path
) -> None:
    path = write_gguf(tmp_path / "x.gguf")
    folder = locate.convert_gguf(path)
    stale = folder.with_name(f"{folder.name}.tmp-abc")
    (stale / "model").mkdir(parents=True)
    (folder / gguf_conversion.SOURCE_FILE).write_text('{"gguf": "x.gguf", "sha256": "0"}')
    assert locate.convert_gguf(path) == folder
    assert locate.read_source(folder)["conversion"] == gguf_conversion.CONVERSION
    assert locate.read_source(folder)["sha256"] != "0"
    assert [p.name for p in (cache / "models").iterdir() if p.is_dir()] == [folder.name]
    stale.mkdir()  # killed after the model was complete
    assert locate.convert_gguf(path) == folder
    assert not stale.exists()
