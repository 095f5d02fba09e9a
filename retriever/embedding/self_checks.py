"""The remembered outcomes of a model's self-checks, which take longer than to load a small model.

An outcome holds for the same weights, the same libraries, and the same kind of processor; it is
then read from the user's cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import torch

from retriever.cache import cached_array

if TYPE_CHECKING:
    from retriever.embedding.models.load import LoadedModel

CHECKS_VERSION = 1
"""Increase it with any change of a check, or of the code that it checks."""


def remembered(check: str, loaded: LoadedModel, facts: object, run: Callable[[], bool]) -> bool:
    """The outcome of `run`, which is only called where it is not known yet.

    `facts` are what it depends on, beside the model, its device and precision, torch, transformers
    and the processor.
    """
    return remembered_outcome(
        check, loaded.weights, loaded.device.type, str(loaded.dtype), facts, run
    )


def remembered_outcome(
    check: str, weights: str, device: str, dtype: str, facts: object, run: Callable[[], bool]
) -> bool:
    """Like `remembered`, for a model that is not loaded: its `weights` are their digest."""
    key = "\0".join(
        [
            *(check, str(CHECKS_VERSION), weights, device, dtype),
            *(torch.__version__, version("transformers"), torch.backends.cpu.get_cpu_capability()),
            repr(facts),
        ]
    )
    name = hashlib.sha256(key.encode()).hexdigest()[:40]
    outcome = cached_array(f"checks/{name}", (1,), lambda: np.array([run()], dtype=np.float32))
    return bool(outcome[0])
