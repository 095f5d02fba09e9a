"""Decoders of the Llama shape without transformers, whose import takes longer than all else.

    x ← x + W_O · attention(rotary(norm(x) · W_Q), …)
    x ← x + W_D · (silu(norm(x) · W_G) * (norm(x) · W_U))

The operations and their order are those of transformers' `LlamaForCausalLM`, so the numbers are
the same to the last bit; `agrees` compares them. Modules, and what else of a model is used here,
have the names they have there. A configuration with any setting that is not known here has no
such decoder: `decoder_settings` gives None, and transformers loads the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

MAX_HEAD = 256
"""With larger heads transformers repeats the keys, which rounds differently."""

ARCHITECTURE = "LlamaForCausalLM"

_FIXED: Mapping[str, tuple[object, ...]] = {
    "model_type": ("llama",),
    "architectures": ([ARCHITECTURE],),
    "hidden_act": ("silu",),
    "pretraining_tp": (1,),
    "rope_scaling": (None,),
    "partial_rotary_factor": (1, None),
    "is_decoder": (False, True),
}
"""Settings that are understood with these values alone."""

_SIZES = (
    "hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size",
    "max_position_embeddings",
)  # fmt: skip
_OTHERS = {
    "attention_bias", "head_dim", "mlp_bias", "num_key_value_heads", "rms_norm_eps",
    "rope_parameters", "rope_theta", "tie_word_embeddings",
}  # fmt: skip
_WITHOUT_EFFECT = {
    "_model_name_or_path", "_name_or_path", "attention_dropout", "bos_token_id", "dtype",
    "eos_token_id", "initializer_range", "pad_token_id", "torch_dtype", "transformers_version",
    "unk_token_id", "use_cache",
}  # fmt: skip


@dataclass(slots=True)
class DecoderSettings:
    """What the configuration of a decoder says.

    `_attn_implementation` is "sdpa", or this package's own attention while a pooler is at work.
    """

    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_hidden_layers: int
    vocab_size: int
    max_position_embeddings: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    attention_bias: bool
    mlp_bias: bool
    tie_word_embeddings: bool
    model_type: str = "llama"
    hidden_act: str = "silu"
    _attn_implementation: str = field(default="sdpa", compare=False)

    def get_text_config(self) -> DecoderSettings:
        """Itself: there is nothing but text."""
        return self


def decoder_settings(config: Mapping[str, Any]) -> DecoderSettings | None:
    """The settings in a `config.json`; None if one of them is not known here."""
    if config.get("model_type") != "llama" or config.get("architectures") != [ARCHITECTURE]:
        return None
    if not config.keys() <= _FIXED.keys() | set(_SIZES) | _OTHERS | _WITHOUT_EFFECT:
        return None
    if any(config[key] not in values for key, values in _FIXED.items() if key in config):
        return None
    sizes: dict[str, Any] = {name: config.get(name) for name in _SIZES}
    theta = _rope_theta(config)
    if theta is None or not all(type(size) is int and size > 0 for size in sizes.values()):
        return None
    heads = sizes["num_attention_heads"]
    settings = DecoderSettings(
        **sizes,
        num_key_value_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or sizes["hidden_size"] // heads,
        rms_norm_eps=config.get("rms_norm_eps", 1e-6),
        rope_theta=theta,
        attention_bias=config.get("attention_bias", False),
        mlp_bias=config.get("mlp_bias", False),
        tie_word_embeddings=config.get("tie_word_embeddings", False),
    )
    return settings if settings.head_dim <= MAX_HEAD else None


def _rope_theta(config: Mapping[str, Any]) -> float | None:
    """The base of plain rotary positions; None for any other kind."""
    rope = config.get("rope_parameters")
    if rope is None:
        return float(config.get("rope_theta", 10_000.0))
    plain = rope.keys() == {"rope_theta", "rope_type"} and rope["rope_type"] == "default"
    return float(rope["rope_theta"]) if plain and "rope_theta" not in config else None


class States(NamedTuple):
    """The states after the final norm: (B, T, hidden_size)."""

    last_hidden_state: Tensor


class Logits(NamedTuple):
    """The logits of the vocabulary: (B, T, vocab_size)."""

    logits: Tensor


class _Norm(nn.Module):
    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, device="meta"), requires_grad=False)
        self.variance_epsilon = epsilon

    def forward(self, states: Tensor) -> Tensor:
        exact = states.to(torch.float32)
        variance = exact.pow(2).mean(-1, keepdim=True)
        exact = exact * torch.rsqrt(variance + self.variance_epsilon)
        return self.weight * exact.to(states.dtype)


class _Rotary(nn.Module):
    """Cosine and sine of every position's angles: (B, T, head_dim) each."""

    inv_freq: Tensor

    def __init__(self, size: int, theta: float) -> None:
        super().__init__()
        steps = torch.arange(0, size, 2, dtype=torch.float) / size
        self.register_buffer("inv_freq", 1.0 / (theta**steps), persistent=False)

    def forward(self, states: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        angles = position_ids[..., None].float() * self.inv_freq
        both = torch.cat((angles, angles), dim=-1)
        return both.cos().to(states.dtype), both.sin().to(states.dtype)


class _Attention(nn.Module):
    is_causal = True

    def __init__(self, settings: DecoderSettings) -> None:
        super().__init__()
        self.config = settings
        self.head_dim = settings.head_dim
        self.scaling = self.head_dim**-0.5
        self.num_key_value_groups = settings.num_attention_heads // settings.num_key_value_heads
        all_heads = settings.num_attention_heads * self.head_dim
        groups = settings.num_key_value_heads * self.head_dim
        hidden, bias = settings.hidden_size, settings.attention_bias
        self.q_proj = _linear(hidden, all_heads, bias=bias)
        self.k_proj = _linear(hidden, groups, bias=bias)
        self.v_proj = _linear(hidden, groups, bias=bias)
        self.o_proj = _linear(all_heads, hidden, bias=bias)

    def forward(self, states: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        by_head = (*states.shape[:-1], -1, self.head_dim)
        query, key, value = (
            projection(states).view(by_head).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = _turned(query, turn), _turned(key, turn)
        mixed = self._attend(query, key, value).reshape(*states.shape[:-1], -1).contiguous()
        output: Tensor = self.o_proj(mixed)
        return output

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Query (B, H, T, D), key and value (B, K, T, D) → (B, T, H, D)."""
        if self.config._attn_implementation != "sdpa":
            from retriever.embedding.packing import packed_attention

            return packed_attention(self, query, key, value, None, scaling=self.scaling)[0]
        mixed = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            is_causal=query.shape[2] > 1,
            scale=self.scaling,
            enable_gqa=self.num_key_value_groups > 1,
        )
        return mixed.transpose(1, 2).contiguous()


class _MLP(nn.Module):
    def __init__(self, settings: DecoderSettings) -> None:
        super().__init__()
        outer, inner, bias = settings.hidden_size, settings.intermediate_size, settings.mlp_bias
        self.gate_proj = _linear(outer, inner, bias=bias)
        self.up_proj = _linear(outer, inner, bias=bias)
        self.down_proj = _linear(inner, outer, bias=bias)
        self.act_fn = nn.SiLU()

    def forward(self, states: Tensor) -> Tensor:
        output: Tensor = self.down_proj(self.act_fn(self.gate_proj(states)) * self.up_proj(states))
        return output


class _Layer(nn.Module):
    def __init__(self, settings: DecoderSettings) -> None:
        super().__init__()
        self.self_attn = _Attention(settings)
        self.mlp = _MLP(settings)
        self.input_layernorm = _Norm(settings.hidden_size, settings.rms_norm_eps)
        self.post_attention_layernorm = _Norm(settings.hidden_size, settings.rms_norm_eps)

    def forward(self, states: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        states = states + self.self_attn(self.input_layernorm(states), turn)
        output: Tensor = states + self.mlp(self.post_attention_layernorm(states))
        return output


class DecoderBody(nn.Module):
    """Embeddings, layers and final norm."""

    _supports_attention_backend = True
    _supports_flash_attn = True

    def __init__(self, settings: DecoderSettings) -> None:
        super().__init__()
        self.config = settings
        # Not through its own initialisation, which would draw random numbers.
        size = (settings.vocab_size, settings.hidden_size)
        self.embed_tokens = nn.Embedding(*size, _weight=torch.empty(size, device="meta"))
        layers = (_Layer(settings) for _ in range(settings.num_hidden_layers))
        self.layers = nn.ModuleList(layers)
        self.norm = _Norm(settings.hidden_size, settings.rms_norm_eps)
        self.rotary_emb = _Rotary(settings.head_dim, settings.rope_theta)

    def forward(self, input_ids: Tensor, position_ids: Tensor | None = None, **_: object) -> States:
        """The states of tokens (B, T); without `position_ids` they are 0, 1, … in each row."""
        states = self.embed_tokens(input_ids)
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        turn = self.rotary_emb(states, position_ids)
        for layer in self.layers:
            states = layer(states, turn)
        return States(self.norm(states))

    def get_decoder(self) -> DecoderBody:
        """Itself."""
        return self

    @property
    def dtype(self) -> torch.dtype:
        """The kind of the weights."""
        return self.embed_tokens.weight.dtype

    @property
    def base_model(self) -> DecoderBody:
        """Itself."""
        return self

    def get_input_embeddings(self) -> nn.Embedding:
        """The embeddings of the tokens."""
        return self.embed_tokens

    def get_output_embeddings(self) -> None:
        """There is no vocabulary head."""

    def set_attn_implementation(self, name: str) -> None:
        """Attend by torch's fused kernel ("sdpa"), or by this package's own function."""
        self.config._attn_implementation = name


class Decoder(nn.Module):
    """A causal language model: a body and a vocabulary head."""

    def __init__(self, settings: DecoderSettings) -> None:
        super().__init__()
        self.config = settings
        self.model = DecoderBody(settings)
        self.lm_head = _linear(settings.hidden_size, settings.vocab_size, bias=False)

    def forward(self, input_ids: Tensor, **inputs: Any) -> Logits:
        """The logits of tokens (B, T); arguments are those of the body."""
        return Logits(self.lm_head(self.model(input_ids, **inputs)[0]))

    def get_decoder(self) -> DecoderBody:
        """The model without its head."""
        return self.model

    @property
    def base_model(self) -> DecoderBody:
        """The model without its head."""
        return self.model

    def get_input_embeddings(self) -> nn.Embedding:
        """The embeddings of the tokens."""
        return self.model.embed_tokens

    def get_output_embeddings(self) -> nn.Linear:
        """The vocabulary head."""
        return self.lm_head


def _linear(inputs: int, outputs: int, *, bias: bool) -> nn.Linear:
    """A linear layer without memory, for weights that are assigned."""
    return nn.Linear(inputs, outputs, bias=bias, device="meta")


def _turned(states: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Queries or keys with their rotary positions: (B, H, T, D)."""
    cos, sin = (part.unsqueeze(1) for part in turn)
    half = states.shape[-1] // 2
    swapped = torch.cat((-states[..., half:], states[..., :half]), dim=-1)
    return (states * cos) + (swapped * sin)


# Weights


def with_weights(settings: DecoderSettings, weights: Mapping[str, Tensor]) -> Decoder | None:
    """The decoder with these tensors, which it shares; None if they are not exactly its own."""
    decoder = Decoder(settings)
    named = dict(weights)
    if settings.tie_word_embeddings:
        named.setdefault("lm_head.weight", named.get("model.embed_tokens.weight", torch.empty(0)))
    try:
        decoder.load_state_dict(named, strict=True, assign=True)
    except RuntimeError:
        return None
    if settings.tie_word_embeddings:
        decoder.lm_head.weight = decoder.model.embed_tokens.weight
    return decoder.eval()


def read_decoder(
    settings: DecoderSettings, files: Iterable[Path], dtype: torch.dtype
) -> Decoder | None:
    """The decoder with the weights in safetensors files; None if they are not exactly its own."""
    from safetensors import safe_open

    weights: dict[str, Tensor] = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            weights |= {name: tensors.get_tensor(name).to(dtype) for name in tensors.keys()}  # noqa: SIM118 - no mapping
    if settings.tie_word_embeddings and "lm_head.weight" in weights:
        return None  # which of both counts is for transformers to say
    return with_weights(settings, weights)


def agrees(decoder: Decoder, other: Any) -> bool:
    """Whether two models have the same states and logits for a few tokens, bit for bit."""
    ids = torch.arange(1, 40)[None] * 7919 % decoder.config.vocab_size
    with torch.inference_mode():
        pairs = (
            (decoder.model(ids)[0], other.model(ids, use_cache=False)[0]),
            (decoder(ids[:, :1])[0], other(ids[:, :1], use_cache=False).logits),
        )
        return all(torch.equal(one, two) for one, two in pairs)


def read_settings(folder: Path) -> DecoderSettings | None:
    """The settings of the model in a folder; None if it is of another kind, or unreadable."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        return decoder_settings(config)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None
