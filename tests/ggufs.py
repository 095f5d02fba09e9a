"""Tiny models as GGUF files, written with the format's own library, as by llama.cpp."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from transformers import PreTrainedModel

from tests.tiny import make_model, make_tokenizer

ARCHITECTURES = {"gemma3_text": "gemma3", "qwen3_moe": "qwen3moe", "gpt_oss": "gpt-oss"}

QUANTISED = [
    kind
    for kind in gguf.GGMLQuantizationType
    if kind.name[0] in "QTIMN" and kind.name not in ("I8", "I16", "I32", "I64")
]

Store = Callable[[str, np.ndarray], "tuple[np.ndarray, gguf.GGMLQuantizationType | None]"]


def write_gguf(
    path: Path,
    model: PreTrainedModel | None = None,
    *,
    architecture: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    extra: Mapping[str, np.ndarray] | None = None,
    drop: str = "nothing",
    store: Store | None = None,
) -> Path:
    """`model` (the tiny Llama) as a GGUF file in float32, or in the types that `store` returns.

    `metadata` overrides or adds keys (without the architecture), `extra` adds tensors, those with
    `drop` in their name are left out.
    """
    model = model or make_model("llama")
    config = model.config
    kind = ARCHITECTURES.get(config.model_type, config.model_type)
    writer = gguf.GGUFWriter(str(path), architecture or kind)
    for key, value in (_config(config) | dict(metadata or {})).items():
        _add(writer, f"{architecture or kind}.{key}" if not key.startswith("=") else key[1:], value)
    _add_tokenizer(writer, config.vocab_size)
    number = gguf.constants.MODEL_ARCH_NAMES
    names = gguf.get_tensor_name_map(
        next(arch for arch, name in number.items() if name == kind), config.num_hidden_layers
    )
    tensors: dict[str, Any] = {}
    for key, tensor in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if ".mlp.experts." in key:
            tensors |= _experts(key, tensor.numpy(), config.model_type == "gpt_oss")
            continue
        name = names.get_name(key, try_suffixes=(".weight", ".bias"))
        assert name, key
        tensors[name] = _as_written(key, tensor, config)
    for key, array in (tensors | dict(extra or {})).items():
        if drop in key:
            continue
        data, stored = store(key, array) if store else (array, None)
        writer.add_tensor(key, np.ascontiguousarray(data), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _experts(key: str, array: np.ndarray, alternating: bool) -> dict[str, np.ndarray]:
    """All experts of a layer; gate and up, fused in the model, are two tensors."""
    suffix = "bias" if key.endswith("bias") else "weight"
    block = f"blk.{key.split('.')[2]}"
    if alternating and suffix == "weight":
        array = array.swapaxes(1, 2)
    if "down_proj" in key:
        return {f"{block}.ffn_down_exps.{suffix}": array}
    half = array.shape[1] // 2
    gate, up = (
        (array[:, ::2], array[:, 1::2]) if alternating else (array[:, :half], array[:, half:])
    )
    return {f"{block}.ffn_gate_exps.{suffix}": gate, f"{block}.ffn_up_exps.{suffix}": up}


def _config(config: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": getattr(config, "intermediate_size", 4 * config.hidden_size),
        "attention.head_count": config.num_attention_heads,
        "vocab_size": config.vocab_size,
    }
    if config.model_type == "gpt2":
        return values | {"attention.layer_norm_epsilon": config.layer_norm_epsilon}
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope = config.rope_parameters
    values |= {
        "attention.head_count_kv": getattr(config, "num_key_value_heads", 1),
        "attention.layer_norm_rms_epsilon": getattr(config, "rms_norm_eps", 1e-5),
        "attention.layer_norm_epsilon": getattr(config, "norm_epsilon", 1e-5),
        "attention.key_length": head,
        "rope.freq_base": rope.get("full_attention", rope)["rope_theta"],
    }
    if config.model_type == "llama":
        values["rope.dimension_count"] = head
    if getattr(config, "sliding_window", None):
        values["attention.sliding_window"] = config.sliding_window
    if getattr(config, "moe_intermediate_size", None):
        values["expert_count"] = config.num_experts
        values["expert_used_count"] = config.num_experts_per_tok
        values["expert_feed_forward_length"] = config.moe_intermediate_size
    if getattr(config, "num_local_experts", None):
        values["expert_count"] = config.num_local_experts
        values["expert_used_count"] = config.num_experts_per_tok
    if getattr(config, "attn_logit_softcapping", None):
        values["attn_logit_softcapping"] = config.attn_logit_softcapping
    return values


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_uint32(key, value)


def _add_tokenizer(writer: gguf.GGUFWriter, size: int) -> None:
    tokenizer = make_tokenizer()
    core = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    names = [name for name, _ in vocabulary]
    names += [f"<unused{number}>" for number in range(size - len(names))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(names)
    writer.add_token_types([3 if number < 3 else 1 for number in range(len(names))])
    writer.add_token_merges([" ".join(pair) for pair in core["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def _as_written(key: str, tensor: Any, config: Any) -> np.ndarray:
    """A weight as llama.cpp's converters write it."""
    array: np.ndarray = tensor.float().numpy()
    if config.model_type == "llama" and ".q_proj." in key:
        return interleaved(array, config.num_attention_heads)
    if config.model_type == "llama" and ".k_proj." in key:
        return interleaved(array, config.num_key_value_heads)
    if config.model_type.startswith("gemma") and key.endswith("norm.weight"):
        return array + 1
    if config.model_type == "gpt2" and array.ndim == 2 and ".h." in key:
        return array.T
    return array


def interleaved(weights: np.ndarray, heads: int) -> np.ndarray:
    """Interleave the two halves of a rotated head, as GGUF does for Llama."""
    shape = weights.shape
    return (
        weights.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)
    )


def random_blocks(shape: tuple[int, ...], kind: gguf.GGMLQuantizationType, seed: int) -> np.ndarray:
    """Random bytes that dequantise to moderate numbers: rows of blocks of one type, for `shape`.

    The format's library cannot quantise to every type, but it can say what any bytes mean.
    """
    rng = np.random.default_rng(seed)
    size, length = gguf.GGML_QUANT_SIZES[kind]
    good = np.empty((0, length), np.uint8)
    while len(good) < 20:
        drawn = rng.integers(0, 256, (2000, length), dtype=np.uint8)
        with np.errstate(all="ignore"):
            largest = np.abs(gguf.dequantize(drawn, kind)).max(axis=1)
        good = np.concatenate([good, drawn[(largest < 0.5) & (largest > 0.001)]])
    rows = rng.integers(0, len(good), (shape[0], shape[1] // size))
    return good[rows].reshape(shape[0], -1)
