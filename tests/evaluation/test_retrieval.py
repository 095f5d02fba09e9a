"""Labelled sets: what a run does when its data cannot be indexed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from retriever import Index
from retriever.evaluation.datasets import RetrievalDataset
from retriever.evaluation.retrieval import evaluate_dataset
from retriever.types import ModelError
from tests.fakes import FakeEmbedder


class Failing(FakeEmbedder):
    """Embeds queries, but fails on passages."""

    dtype = "float32"

    def embed_inputs(self, inputs: Sequence[str]) -> np.ndarray:
        if any(model_input.startswith("passage: ") for model_input in inputs):
            raise ModelError("out of memory")
        return super().embed_inputs(inputs)


def test_a_set_that_cannot_be_indexed_leaves_no_index_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    closed: list[Index] = []
    close = Index.close
    monkeypatch.setattr(Index, "close", lambda self: (closed.append(self), close(self)))
    data = RetrievalDataset({"a": ("Cats", "A cat sleeps.")}, {"1": "cat"}, {"1": {"a": 1.0}})
    with pytest.raises(ModelError, match="out of memory"):
        evaluate_dataset(Failing(), data, "cats")
    assert len(closed) == 1
