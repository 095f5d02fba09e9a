"""Tiny random language models of every supported family, and a tokenizer for them."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    GptOssConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
    SmolLM3Config,
)

VOCABULARY = 300
WINDOW = 6

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

_GEMMA3 = {**_SMALL, "sliding_window": WINDOW, "query_pre_attn_scalar": 8, "layer_types": None}
_GPT2 = {
    "vocab_size": VOCABULARY,
    "n_positions": 256,
    "n_embd": 32,
    "n_layer": 5,
    "n_head": 4,
    "initializer_range": 0.4,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_FALCON = {name: _SMALL[name] for name in set(_SMALL) - {"head_dim", "num_key_value_heads"}}

CONFIGS = {
    "llama": LlamaConfig(**_SMALL),
    "llama-bias": LlamaConfig(**_SMALL, attention_bias=True),
    "qwen2": Qwen2Config(**_SMALL),
    "qwen2-window": Qwen2Config(
        **_SMALL, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=2
    ),
    "qwen3": Qwen3Config(**_SMALL),
    "mistral": MistralConfig(**_SMALL, sliding_window=WINDOW),
    "gemma2": Gemma2Config(
        **_SMALL,
        sliding_window=WINDOW,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=5.0,
    ),
    "gemma3": Gemma3TextConfig(**_GEMMA3),
    "gemma3-vision": Gemma3Config(
        text_config=_GEMMA3,
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 5,  # as many as the text model, so that they can be confused
            "num_attention_heads": 4,
            "image_size": 28,
            "patch_size": 14,
        },
        mm_tokens_per_image=1,
    ),
    "phi3": Phi3Config(**_SMALL, sliding_window=WINDOW),
    "gpt2": GPT2Config(**_GPT2),
    "gpt-neox": GPTNeoXConfig(**_SMALL, rotary_pct=0.5),
    "gpt-neox-serial": GPTNeoXConfig(**_SMALL, use_parallel_residual=False, attention_bias=False),
    "olmo2": Olmo2Config(**_SMALL),
    "granite": GraniteConfig(
        **_SMALL, residual_multiplier=0.3, attention_multiplier=0.5, embedding_multiplier=3.0
    ),
    "smollm3": SmolLM3Config(  # no rotary embedding in every third layer
        **_SMALL, no_rope_layer_interval=3, use_sliding_window=True, sliding_window=WINDOW
    ),
    "falcon": FalconConfig(**_FALCON, new_decoder_architecture=True, num_kv_heads=2),
    "falcon-multi-query": FalconConfig(**_FALCON, multi_query=True, bias=True),
    "falcon-alibi": FalconConfig(**_FALCON, alibi=True, multi_query=False, parallel_attn=False),
    "mixtral": MixtralConfig(**_SMALL, num_local_experts=4, sliding_window=WINDOW),
    "qwen3-moe": Qwen3MoeConfig(
        **_SMALL, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16
    ),
    "gpt-oss": GptOssConfig(
        **_SMALL,
        num_local_experts=4,
        num_experts_per_tok=2,
        sliding_window=WINDOW,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    ),
}


def make_model(family: str, seed: int = 0) -> PreTrainedModel:
    """The same random weights, biases and sinks included, on every call."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIGS[family], dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "sinks")):
                parameter.normal_(std=0.3)
    return model


def make_tokenizer(*, bos: bool = False, eos: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE with single bytes; adds `bos` and `eos` to every text if set."""
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
    """A model folder written by `save_pretrained`."""
    make_model(family).save_pretrained(folder)
    make_tokenizer(**tokenizer).save_pretrained(folder)
    return folder
