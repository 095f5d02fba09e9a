"""Tiny random language models of every supported family, and a tokenizer for them."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

VOCABULARY = 300

_SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.4,
}

CONFIGS = {
    "llama": LlamaConfig(**_SMALL),
    "llama-bias": LlamaConfig(**_SMALL, attention_bias=True),
    "qwen2": Qwen2Config(**_SMALL),
    "qwen2-window": Qwen2Config(
        **_SMALL, use_sliding_window=True, sliding_window=6, max_window_layers=2
    ),
    "gemma3": Gemma3TextConfig(
        **_SMALL, sliding_window=6, query_pre_attn_scalar=8, layer_types=None
    ),
    "gpt2": GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=256,
        n_embd=32,
        n_layer=5,
        n_head=4,
        initializer_range=0.4,
        bos_token_id=1,
        eos_token_id=2,
    ),
}


def make_model(family: str, seed: int = 0) -> PreTrainedModel:
    """The same random weights, biases included, on every call."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIGS[family], dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
    return model


def make_tokenizer(*, bos: bool = False, eos: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE with single bytes; `bos` and `eos` are added to every text if asked for."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the passage means in one word this question and the"], trainer)
    if bos or eos:
        single = f"{'<s> ' if bos else ''}$A{' </s>' if eos else ''}"
        tokenizer.post_processor = processors.TemplateProcessing(
            single=single, special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def save_model(folder: Path, family: str = "llama", **tokenizer: bool) -> Path:
    """A model folder as `save_pretrained` leaves it."""
    make_model(family).save_pretrained(folder)
    make_tokenizer(**tokenizer).save_pretrained(folder)
    return folder
