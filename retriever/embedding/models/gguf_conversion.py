"""A GGUF file → a model folder with safetensors, config and tokenizer, written once.

transformers reads the file and reverts llama.cpp's changes to the weights. It ignores some of the
file's metadata, and it initialises missing weights randomly. This module corrects both: a converted
model computes what the file means, or the file is refused.
"""

from __future__ import annotations

import io
import json
import logging
import math
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from retriever.embedding.models import devices
from retriever.embedding.models.architectures import (
    check_complete,
    language_model_config,
    load_errors,
    quiet_transformers,
)
from retriever.embedding.models.gguf_header import Header, Tensor, read_header
from retriever.files.durable import rename, sync_tree
from retriever.types import ModelError

log = logging.getLogger(__name__)

SOURCE_FILE = "wva-source.json"
"""The source of a converted folder. It is written last, so its presence marks it as complete."""

UNFINISHED = ".tmp-"
"""Part of the name of a temporary folder, between the model's name and random characters."""

CONVERSION = 2
"""The version of the conversion; folders of older versions are converted again."""

FLOAT32_LIMIT = 1_000_000_000
"""Converted GGUF models with fewer parameters are stored in float32, without rounding."""

VOCABULARY_ROOM = 3000
"""Bytes of memory per vocabulary entry while reading a GGUF file, as measured."""

ROTARY_TENSORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Tensors that belong to the configuration, not to the weights of a layer."""


def convert(gguf: Path, target: Path, facts: Mapping[str, Any]) -> None:
    """Write the model in `gguf` as the folder `target`; it appears only when it is complete.

    `facts` describe the source, including its `sha256`, and are stored in the folder. Raises
    ModelError if the file cannot be read, or memory or disk space do not suffice; then nothing is
    left behind.
    """
    header = read_header(gguf)
    _check_architecture(header, gguf.name)
    dtype = "float32" if header.elements < FLOAT32_LIMIT else "bfloat16"
    _check_room(header, dtype, gguf.name, target.parent)
    quiet_transformers()
    prefix = f"{target.name}{UNFINISHED}"
    with (
        load_errors(gguf.name),
        tempfile.TemporaryDirectory(dir=target.parent, prefix=prefix) as scratch,
    ):
        made = Path(scratch) / "model"
        _write_model(gguf, header, dtype, made)
        (made / SOURCE_FILE).write_text(json.dumps({**facts, "conversion": CONVERSION}), "utf-8")
        if target.exists():
            shutil.rmtree(target)
        sync_tree(made)
        rename(made, target)


def _write_model(gguf: Path, header: Header, dtype: str, made: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    config = language_model_config(gguf.name, AutoConfig.from_pretrained(gguf.parent, **where))
    complete_config(config, header, gguf)
    with redirect_stderr(io.StringIO()):  # a progress bar that cannot be switched off
        model, report = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            config=config,
            dtype=getattr(torch, dtype),
            output_loading_info=True,
            **where,
        )
    check_complete(gguf.name, model, set(report["missing_keys"]))
    _check_all_used(header, model, gguf.name)
    # The weights are plain numbers by now, but the model is still marked as quantised, and such
    # models refuse to be saved.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(made)
    del model
    AutoTokenizer.from_pretrained(gguf.parent, **where).save_pretrained(made)


def _check_architecture(header: Header, name: str) -> None:
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    def plain(text: str) -> str:
        return text.replace("-", "").replace("_", "").lower()

    known = {plain(text) for text in GGUF_SUPPORTED_ARCHITECTURES} | {"qwen35", "qwen35moe"}
    if plain(header.architecture) not in known:
        raise ModelError(
            f"{name!r} is a GGUF file of the {header.architecture} architecture, which cannot be "
            "read from GGUF; use the model's folder with safetensors, or its hub id"
        )


def _check_room(header: Header, dtype: str, name: str, folder: Path) -> None:
    """Raise ModelError if memory for the conversion, or disk space for its result, is too small."""
    width = devices.PRECISIONS[dtype]
    largest = max(tensor.elements for tensor in header.tensors)
    tokens = header.metadata["tokenizer.ggml.tokens"]
    words = tokens if isinstance(tokens, int) else len(tokens)
    # One tensor at a time is unpacked to float32 and copied; every word becomes several objects.
    memory = header.elements * width + 2 * 4 * largest + VOCABULARY_ROOM * words
    memory += devices.WORKING_ROOM // 5
    free = devices.available_memory()
    if memory > free:
        raise ModelError(
            f"converting {name!r} needs about {devices.gigabytes(memory)} of memory, and this "
            f"machine has {devices.gigabytes(free)} free; use a smaller model, or close other "
            "programs"
        )
    disk, have = header.elements * width, shutil.disk_usage(folder).free
    if disk > have:
        raise ModelError(
            f"the converted {name!r} needs {devices.gigabytes(disk)} of disk in {folder}, where "
            f"{devices.gigabytes(have)} are free; free some, or set WVA_CACHE to another folder"
        )


def _check_all_used(header: Header, model: Any, name: str) -> None:
    """Raise ModelError unless the model takes every number of the file."""
    given = sum(t.elements for t in header.tensors if t.name not in ROTARY_TENSORS)
    head = next((t.elements for t in header.tensors if t.name == "output.weight"), 0)
    taken = int(model.num_parameters())
    # Some families tie input and output embeddings, and their files hold them twice.
    if given not in (taken, taken + head):
        raise ModelError(
            f"{name!r} holds {given:,} numbers and a {model.config.model_type} model takes "
            f"{taken:,}: it is a variant that cannot be read from GGUF; use the model's folder "
            "with safetensors, or its hub id"
        )


# Metadata that transformers ignores


def complete_config(config: Any, header: Header, gguf: Path) -> None:
    """Set the values of `config` that the file has and transformers ignores."""
    names = {tensor.name for tensor in header.tensors}
    if hasattr(config, "attention_bias"):
        config.attention_bias = config.attention_bias or "blk.0.attn_q.bias" in names
    if hasattr(config, "mlp_bias"):
        config.mlp_bias = config.mlp_bias or "blk.0.ffn_up.bias" in names
    for attribute, key in _LEFT_OUT.items():
        value = header.value(key)
        if value is not None and hasattr(config, attribute):
            setattr(config, attribute, value)
    if header.architecture in _WINDOWED and header.value("attention.sliding_window"):
        config.sliding_window = header.value("attention.sliding_window")
    if hasattr(config, "query_pre_attn_scalar"):
        # The largest Gemmas scale queries by hidden size / heads, others by the head size.
        large = (header.architecture, header.value("block_count")) in _SCALED_BY_HIDDEN
        shared = config.hidden_size // config.num_attention_heads
        config.query_pre_attn_scalar = shared if large else config.head_dim
    if config.pad_token_id is not None and config.pad_token_id >= config.vocab_size:
        config.pad_token_id = None  # the family's default, not this model's
    if getattr(config, "rope_parameters", None) and header.architecture not in ("gpt-oss", "lfm2"):
        _complete_rotation(config, header, gguf)


_LEFT_OUT = {
    "n_positions": "context_length",
    "moe_intermediate_size": "expert_feed_forward_length",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "num_kv_heads": "attention.head_count_kv",
}
_WINDOWED = ("phi3", "starcoder2")
_SCALED_BY_HIDDEN = {("gemma2", 46), ("gemma3", 62)}


def _complete_rotation(config: Any, header: Header, gguf: Path) -> None:
    """Rotary position embeddings: base, rotated part of a head, scaling to longer contexts."""
    if header.value("attention.key_length") and header.architecture.startswith("qwen3"):
        config.head_dim = header.value("attention.key_length")
    rope: dict[str, Any] = config.rope_parameters
    rope = rope.get("full_attention", rope)  # Gemma 3 rotates layers with a window differently
    if header.value("rope.freq_base"):
        rope["rope_theta"] = header.value("rope.freq_base")
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rotated = header.value("rope.dimension_count")
    if rotated and rotated != width and header.architecture in _PARTLY_ROTATED:
        rope["partial_rotary_factor"] = rotated / width
    tensors = {tensor.name: tensor for tensor in header.tensors}
    if "rope_freqs.weight" in tensors:
        factors = _read_floats(gguf, tensors["rope_freqs.weight"])
        rope.update(_llama3_scaling(factors, rope["rope_theta"], gguf.name))
    elif "rope_factors_long.weight" in tensors:
        rope.update(
            rope_type="longrope",
            long_factor=_read_floats(gguf, tensors["rope_factors_long.weight"]),
            short_factor=_read_floats(gguf, tensors["rope_factors_short.weight"]),
            original_max_position_embeddings=header.value("rope.scaling.original_context_length"),
        )
    elif header.value("rope.scaling.type") in ("linear", "yarn"):
        rope.update(_scaling(header))


_PARTLY_ROTATED = ("phi3", "stablelm", "nemotron")


def _scaling(header: Header) -> dict[str, Any]:
    given = {
        "rope_type": header.value("rope.scaling.type"),
        "factor": header.value("rope.scaling.factor"),
        "original_max_position_embeddings": header.value("rope.scaling.original_context_length"),
    }
    return {key: value for key, value in given.items() if value is not None}


def _llama3_scaling(factors: list[float], base: float, name: str) -> dict[str, Any]:
    """Llama 3.1's scaling from its result, which is all a GGUF file has: a divisor per frequency.

    `factors` has one number for each pair of rotated dimensions; ones mean no scaling.
    """
    factor = max(factors)
    if factor == 1:
        return {}
    low, high, original = 1.0, 4.0, 8192
    expected = []
    for index in range(len(factors)):
        turns = original / (2 * math.pi * base ** (index / len(factors)))
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        expected.append(1 / ((1 - smooth) / factor + smooth))
    if any(abs(a - b) > 1e-3 * b for a, b in zip(factors, expected, strict=True)):
        raise ModelError(
            f"{name!r} scales its positions in a way that cannot be read from GGUF; use the "
            "model's folder with safetensors, or its hub id"
        )
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }


def _read_floats(gguf: Path, tensor: Tensor) -> list[float]:
    import numpy as np

    with gguf.open("rb") as file:
        file.seek(tensor.start)
        return [float(value) for value in np.frombuffer(file.read(tensor.bytes), np.float32)]
