"""A folder with a model → tokenizer and causal language model, on the right device and precision.

What is not a causal language model is refused with a sentence; where a name leads is `weights`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retriever.types import ModelError
from retriever.weights import load_errors, locate, quiet_transformers, weights_digest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A causal language model with its tokenizer. `weights` is the SHA-256 of what it computes."""

    name: str
    folder: Path
    weights: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    device: torch.device
    dtype: torch.dtype
    max_positions: int


def load(name: str, device: str | None = None, dtype: str | None = None) -> LoadedModel:
    """Load a model for embedding.

    `device` is a torch device ("cpu", "cuda", "cuda:1", "mps"), by default the best there is;
    `dtype` is "float32", "bfloat16" or "float16", by default the fastest that is accurate enough.
    Raises ModelError in a sentence when the model cannot be found, read, or used.
    """
    folder = locate(name)
    import torch
    from transformers import AutoModelForCausalLM

    quiet_transformers()
    config = _read_config(name, folder)
    on = choose_device(device)
    precision = choose_dtype(on, dtype)
    with load_errors(name):
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=precision,
            device_map=str(on) if on.type != "cpu" else None,
            use_safetensors=True,
            local_files_only=True,
        )
        tokenizer = _load_tokenizer(folder)
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad = False
    return LoadedModel(
        name=name,
        folder=folder,
        weights=weights_digest(folder),
        model=model,
        tokenizer=tokenizer,
        device=torch.device(on),
        dtype=precision,
        max_positions=_max_positions(config),
    )


# Device and precision


def choose_device(device: str | None) -> torch.device:
    """The device asked for, or the best there is: CUDA, Apple's MPS, the CPU."""
    import torch

    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ModelError(f"unknown device {device!r}: use cpu, cuda, cuda:1, or mps") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ModelError("no CUDA device was found; use --device cpu, or install torch for CUDA")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("no MPS device was found; use --device cpu")
    return chosen


def choose_dtype(device: torch.device, dtype: str | None) -> torch.dtype:
    """The precision asked for, or bfloat16 where it is faster (always on CUDA), else float32."""
    import torch

    names = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype is not None:
        if dtype not in names:
            raise ModelError(f"unknown precision {dtype!r}: use {', '.join(names)}")
        return names[dtype]
    if device.type == "cuda":
        return torch.bfloat16
    if device.type == "mps":
        return torch.float32
    speeds = measure_precisions()
    return torch.bfloat16 if speeds["bfloat16"] > 1.2 * speeds["float32"] else torch.float32


def measure_precisions(size: int = 256, rounds: int = 20) -> dict[str, float]:
    """GFLOP/s of a (size × size) matrix product on one core, by precision; takes milliseconds.

    Processors without bfloat16 instructions emulate them, many times slower than float32. One
    thread and the best of many rounds: on a busy machine anything else measures the neighbours.
    """
    import torch

    def best(dtype: torch.dtype) -> float:
        matrix = torch.full((size, size), 0.5, dtype=dtype)
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            torch.mm(matrix, matrix)
            times.append(time.perf_counter() - start)
        return 2 * size**3 / min(times) / 1e9

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {"float32": best(torch.float32), "bfloat16": best(torch.bfloat16)}
    finally:
        torch.set_num_threads(threads)


def _read_config(name: str, folder: Path) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    with load_errors(name):
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.is_encoder_decoder:
        raise ModelError(
            f"{name!r} is an encoder-decoder ({config.model_type}); "
            "a decoder-only language model such as Llama, Qwen, Gemma or GPT-2 is needed"
        )
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ModelError(
            f"{name!r} is a {config.model_type} model, not a causal language model; "
            "use a decoder-only language model such as Llama, Qwen, Gemma or GPT-2"
        )
    architectures = config.architectures or []
    if architectures and not any(_generates(text) for text in architectures):
        # Their language-model class exists, but the weights were trained to see both sides.
        raise ModelError(
            f"{name!r} is an encoder ({architectures[0]}): its tokens see what follows them; "
            "use a decoder-only language model such as Llama, Qwen, Gemma or GPT-2"
        )
    return config


def _generates(architecture: str) -> bool:
    """Whether a class name is that of a causal model or the bare body of one."""
    encoder = ("ForMaskedLM", "ForPreTraining", "ForTokenClassification", "ForQuestionAnswering")
    return not architecture.endswith(encoder)


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer in {folder.name!r} gives no character positions; "
            "a tokenizer.json file is needed"
        )
    return tokenizer


def _max_positions(config: Any) -> int:
    text_config = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "seq_length"):
        value = getattr(text_config, name, None)
        if value:
            return int(value)
    return 2048
