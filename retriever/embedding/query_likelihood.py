"""Query likelihood: log P(question | passage) by the language model itself.

A text here is a passage followed by the question, as token ids; the last `query_tokens` tokens are
the question's. The whole model runs, but the vocabulary head sees only the positions that predict
those tokens. A family's own changes to its logits (a cap, a scale) stay in effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from retriever.embedding.packing import (
    Batch,
    ForwardPass,
    TokenIds,
    active,
    current_pass,
    packed,
    padded,
)
from retriever.embedding.pooling import AttentionPooler
from retriever.types import ModelError


class QueryLikelihood:
    """The mean log-likelihood of the last `query_tokens` tokens; a `runner.Runner` runs it.

    It uses the pooler's model. Every text needs more than `query_tokens` tokens.
    """

    def __init__(self, pooler: AttentionPooler, query_tokens: int) -> None:
        head = pooler.model.get_output_embeddings()
        if head is None:
            raise ModelError(
                f"a {pooler.model.config.model_type} model has no vocabulary head to judge with; "
                "search without reranking"
            )
        self.pooler = pooler
        self.head: nn.Module = head
        self.query_tokens = query_tokens

    @property
    def device(self) -> torch.device:
        """The device of the token ids."""
        return self.pooler.device

    @property
    def is_dispatched(self) -> bool:
        """Whether weights are moved during a pass."""
        return self.pooler.is_dispatched

    @contextmanager
    def hooked(self, *, packed: bool) -> Iterator[None]:
        """Restrict the head to the positions that a pass needs; the hooks are always removed."""
        handles = [
            self.head.register_forward_pre_hook(_narrow),
            self.head.register_forward_hook(_in_float32),
        ]
        try:
            with self.pooler.hooked(packed=packed):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def run_hooked(self, texts: Sequence[TokenIds], *, packed: bool) -> Tensor:
        """Mean natural log-likelihoods of the question's tokens: (B, 1) float32."""
        batch = _make_batch(texts, self.query_tokens + 1, in_one_row=packed)

        def narrow(states: Tensor) -> Tensor:
            """The states before each of the question's tokens: (1|B, T, X) → (B, Q, X)."""
            rows, ends = (index.to(states.device)[:, None] for index in batch.last)
            return states[rows, ends + torch.arange(-self.query_tokens, 0, device=states.device)]

        inputs = {name: tensor.to(self.device) for name, tensor in batch.inputs.items()}
        with active(ForwardPass(batch, on_head=narrow)), torch.inference_mode():
            logits: Tensor = self.pooler.model(**inputs, use_cache=False).logits
            targets = torch.tensor([list(ids[-self.query_tokens :]) for ids in texts])
            losses = cross_entropy(
                logits.flatten(0, 1).float(), targets.flatten().to(logits.device), reduction="none"
            )
        return -losses.view(len(texts), -1).mean(dim=1, keepdim=True)


def _make_batch(texts: Sequence[TokenIds], own: int, *, in_one_row: bool) -> Batch:
    return packed(texts, own) if in_one_row else padded(texts)


def _narrow(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    one = current_pass()
    return inputs if one is None or one.on_head is None else (one.on_head(inputs[0]), *inputs[1:])


def _in_float32(_: nn.Module, __: tuple[Any, ...], logits: Tensor) -> Tensor:
    """The logits in float32, before the family's cap or scale and the softmax."""
    one = current_pass()
    return logits if one is None or one.on_head is None else logits.float()
