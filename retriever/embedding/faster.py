"""A faster way to run a model on a CPU, where there is one: layers of our own (see `fused`).

Whether they win depends on the processor. With matrix instructions (AMX) most of the time is
between the products, where they save; elsewhere products are four fifths of it. So one layer is
timed both ways when many texts are to be embedded, and the outcome is remembered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from retriever.embedding.fused import FusedPooler, is_known
from retriever.embedding.int8 import Int8Pooler, can_be_int8
from retriever.embedding.models.load import LoadedModel
from retriever.embedding.packing import TokenIds
from retriever.embedding.pooling import AttentionPooler
from retriever.embedding.runner import one_at_a_time
from retriever.embedding.self_checks import remembered
from retriever.types import ModelError

MIN_AGREEMENT = 0.9995
"""The least cosine to the vectors of the model's own modules, in its own precision."""

MIN_INT8_AGREEMENT = 0.997
"""The same in 8-bit integers. On passages of the sample it is 0.9988 and more, 0.9994 in the mean;
the shortest texts have the least."""

MIN_GAIN = 1.05
"""Other layers are used if they are this many times faster."""

TIMED_TOKENS, TIMED_ROUNDS = 256, 5
"""The length of the texts that are timed, and how often."""


def fused_pooler(
    loaded: LoadedModel, pooler: AttentionPooler, texts: Sequence[TokenIds]
) -> FusedPooler | None:
    """The fused layers, if they give the vectors of `texts` and are faster on this processor."""
    if not is_known(pooler):
        return None

    def wins() -> bool:
        found = FusedPooler.of(pooler)
        return found.agrees(texts, MIN_AGREEMENT) and _is_faster(pooler)

    with one_at_a_time:
        facts = (pooler.pooled, _instructions())
        return FusedPooler.of(pooler) if remembered("fused", loaded, facts, wins) else None


def int8_pooler(name: str, pooler: AttentionPooler, texts: Sequence[TokenIds]) -> Int8Pooler:
    """The layers in 8-bit integers. Raises ModelError for a model or device without them."""
    if is_known(pooler) and can_be_int8(pooler):
        with one_at_a_time:
            found = Int8Pooler.of(pooler)
            if found.agrees(texts, MIN_INT8_AGREEMENT):
                return found
    raise ModelError(
        f"the model {name!r} cannot be run in int8 here: that needs a CPU, the default pooling, "
        "and a model of the kind of Llama, Mistral or Qwen; use another --dtype"
    )


def _is_faster(pooler: AttentionPooler) -> bool:
    """Whether the fused layers take clearly less time for the first layer and its successor."""
    upper = min(1, len(pooler.layers) - 1)
    own = AttentionPooler(pooler.model, [upper], pooler.pooling)
    fused = FusedPooler.of(own)
    texts = [[number % 7 + 1] * TIMED_TOKENS for number in range(2)]
    ways: dict[str, Callable[[], object]] = {
        "own": lambda: own.run(texts, packed=True),
        "fused": lambda: fused.run_hooked(texts, packed=True),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TIMED_ROUNDS):
        for name, run in ways.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    # The best of several rounds in turn: other programs disturb any other figure.
    return min(times["own"]) > MIN_GAIN * min(times["fused"])


def _instructions() -> tuple[bool, ...]:
    """What a processor's products depend on beside the width of its registers."""
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported", "_is_vnni_supported")
    checks = [getattr(torch.cpu, name, None) for name in names]
    return tuple(bool(check is not None and check()) for check in checks)
