"""STS: a row for every file and pooling, from one loaded model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retriever import AlignedWVA
from retriever.evaluation.sts import compare_poolings, evaluate_sts
from retriever.settings import POOLINGS
from retriever.types import UsageError
from tests.tiny import save_model

PAIRS = [
    (5.0, "A dog runs.", "A dog is running."),
    (0.0, "A dog runs.", "Rates rose in May."),
    (3.0, "The train leaves at noon.", "A train goes at one."),
    (1.0, "He plays chess.", "She sells apples."),
    (4.0, "It rains.", "Rain falls"),
]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> AlignedWVA:
    folder = save_model(tmp_path_factory.mktemp("model"))
    return AlignedWVA(str(folder), device="cpu", dtype="float32")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "pairs.tsv"
    rows = ["score\tsentence1\tsentence2", *(f"{a}\t{b}\t{c}" for a, b, c in PAIRS)]
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return file


def ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values)).astype(float)


def test_every_pooling_has_a_row(embedder: AlignedWVA, path: Path) -> None:
    rows = list(compare_poolings(embedder, [path, path], POOLINGS))
    assert [(row.path, row.pooling, row.pairs) for row in rows] == [
        (str(path), pooling, 5) for _ in range(2) for pooling in POOLINGS
    ]
    assert rows[:4] == rows[4:]
    gold = ranks(np.array([score for score, _, _ in PAIRS]))
    for row in rows[:4]:
        other = embedder.with_pooling(row.pooling)
        one = other.embed_sentences([first for _, first, _ in PAIRS])
        two = other.embed_sentences([second for _, _, second in PAIRS])
        expected = np.corrcoef(gold, ranks((one * two).sum(axis=1)))[0, 1]
        assert row.spearman_raw == pytest.approx(100 * expected, abs=0.01)


def test_the_embedders_own_pooling_is_the_default(embedder: AlignedWVA, path: Path) -> None:
    other = embedder.with_pooling("va")
    assert list(compare_poolings(other, [path])) == [evaluate_sts(other, path)]
    assert evaluate_sts(other, path).pooling == "va"


def test_an_unknown_pooling_is_refused_first(embedder: AlignedWVA, path: Path) -> None:
    with pytest.raises(UsageError, match="unknown pooling 'mean'"):
        next(compare_poolings(embedder, [path], ["va", "mean"]))
