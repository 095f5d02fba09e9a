"""The fused layers give the vectors of the formula and of the model's own modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from retriever import AlignedWVA
from retriever.embedding import aligned_wva, faster, fused
from retriever.embedding.fused import FusedPooler, is_known
from retriever.embedding.int8 import Int8Pooler, Rotation, can_be_int8
from retriever.embedding.pooling import AttentionPooler
from retriever.types import ModelError
from tests.embedding.test_families import TOLERANCE, error, texts
from tests.naive import Naive
from tests.tiny import CONFIGS, make_model, save_model

KNOWN = ("llama", "llama-bias", "mistral", "qwen2", "qwen2-window", "qwen3")


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_only_the_known_layer_is_fused(family: str) -> None:
    assert is_known(AttentionPooler(make_model(family))) == (family in KNOWN)


@pytest.mark.parametrize("family", KNOWN)
@pytest.mark.parametrize("layers", [[2, 3, 4], [1, 3], [0]], ids=str)
def test_the_vector_is_the_formula(family: str, layers: list[int]) -> None:
    naive = Naive(make_model(family), family)
    expected = torch.stack([naive.outputs(ids)[layers].sum(0) for ids in texts()])
    pooler = FusedPooler.of(AttentionPooler(make_model(family), layers))
    assert error(pooler.run_hooked(texts(), packed=True), expected) < TOLERANCE
    alone = torch.cat([pooler.run_hooked([ids], packed=True) for ids in texts()])
    assert error(alone, expected) < TOLERANCE
    assert pooler.agrees(texts(), 1 - 1e-6)


def test_long_texts_are_attended_in_blocks() -> None:
    ids = torch.randint(3, 300, (250,), generator=torch.Generator().manual_seed(3)).tolist()
    expected = Naive(make_model("llama"), "llama").outputs(ids)[[0, 4]].sum(0)
    found = FusedPooler.of(AttentionPooler(make_model("llama"), [0, 4])).run_hooked(
        [ids], packed=True
    )
    assert error(found, expected[None]) < TOLERANCE


def test_bfloat16_is_as_near_to_float32_as_the_models_own_modules() -> None:
    """The mean over models: a random one is far from smooth, so single texts differ much."""
    ours, theirs = [], []
    for seed in range(6):
        exact = AttentionPooler(make_model("llama", seed), [2, 3]).run(texts())
        pooler = AttentionPooler(make_model("llama", seed).to(torch.bfloat16), [2, 3])
        found = FusedPooler.of(pooler).run_hooked(texts(), packed=True)
        ours.append(torch.cosine_similarity(found, exact))
        theirs.append(torch.cosine_similarity(pooler.run(texts()), exact))
    assert 1 - torch.cat(ours).mean() < 1.5 * (1 - torch.cat(theirs).mean())


def test_other_poolings_keep_the_models_own_modules() -> None:
    assert not is_known(AttentionPooler(make_model("llama"), [1], "va"))


def test_a_projection_of_another_kind_is_not_fused() -> None:
    class Scaled(nn.Linear):
        pass

    model = make_model("llama")
    model.model.layers[1].mlp.up_proj = Scaled(32, 48, bias=False)
    assert not is_known(AttentionPooler(model))


def test_a_model_that_computes_something_else_does_not_agree() -> None:
    model = make_model("llama")
    model.model.layers[0].mlp.register_forward_hook(lambda module, inputs, output: 2 * output)
    assert not FusedPooler.of(AttentionPooler(model, [2, 3])).agrees(texts(), 0.999)


def test_a_missing_operator_does_not_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("not on this processor")

    monkeypatch.setattr(fused, "_with_other", refuse)
    assert not FusedPooler.of(AttentionPooler(make_model("llama"), [2, 3])).agrees(texts(), 0.999)


# In 8-bit integers


@pytest.mark.parametrize("size", [1, 2, 9, 48, 576, 2 * 101])
def test_a_rotation_keeps_lengths_and_is_undone(size: int) -> None:
    rotation = Rotation.of(size, seed=0)
    rows = torch.randn(5, size, generator=torch.Generator().manual_seed(1))
    turned = rotation.apply(rows)
    assert torch.allclose(turned.norm(dim=1), rows.norm(dim=1), atol=1e-4)
    assert torch.allclose(rotation.undo(turned), rows, atol=1e-5)
    assert torch.equal(Rotation.of(size, seed=0).apply(rows), turned)


def test_a_rotation_spreads_one_direction_over_all() -> None:
    row = torch.zeros(1, 576)
    row[0, 17] = 24.0
    assert Rotation.of(576, seed=0).apply(row).abs().max() < 2.0


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen2-window", "qwen3"])
def test_int8_is_near_to_the_formula(family: str) -> None:
    naive = Naive(make_model(family), family)
    layers = [1, 3]
    expected = torch.stack([naive.outputs(ids)[layers].sum(0) for ids in texts()])
    pooler = AttentionPooler(make_model(family), layers)
    assert can_be_int8(pooler)
    found = Int8Pooler.of(pooler).run_hooked(texts(), packed=True)
    # Random weights are far from smooth: single texts differ much.
    assert torch.cosine_similarity(found, expected).median() > 0.98


def test_rounding_is_the_only_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rotated layers with products that do not round are the formula, up to float32."""
    from retriever.embedding import int8

    class Exact:
        def __init__(self, weight: Tensor) -> None:
            self.weight = weight

        @classmethod
        def of(cls, weight: Tensor, *, precise: slice | None = None) -> Exact:
            rest = [] if precise is None else [torch.zeros_like(weight[precise])]
            return cls(torch.cat([weight, *rest]))

        def __call__(self, inputs: Tensor) -> Tensor:
            return inputs @ self.weight.T

    monkeypatch.setattr(int8, "_Product", Exact)
    monkeypatch.setattr(int8, "_quantised", lambda rows: (rows, torch.ones(len(rows), 1)))
    naive = Naive(make_model("qwen2"), "qwen2")
    expected = torch.stack([naive.outputs(ids)[[1, 3]].sum(0) for ids in texts()])
    pooler = Int8Pooler.of(AttentionPooler(make_model("qwen2"), [1, 3]))
    assert error(pooler.run_hooked(texts(), packed=True), expected) < 10 * TOLERANCE


def test_biases_of_other_products_are_not_rounded() -> None:
    assert not can_be_int8(AttentionPooler(make_model("llama-bias"), [1, 3]))


# In use


def test_int8_by_name_is_told_from_other_precisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(save_model(tmp_path / "model"))
    monkeypatch.setattr(faster, "MIN_INT8_AGREEMENT", 0.5)
    exact, rounded = (AlignedWVA(folder, dtype=name) for name in ("float32", "int8"))
    assert (exact.dtype, rounded.dtype) == ("float32", "int8")
    assert exact.fingerprint == rounded.fingerprint  # as for every precision
    rows = [each.embed_passages(["a cat sees a bird"]) for each in (exact, rounded)]
    assert not np.array_equal(*rows)
    assert float(rows[0][0] @ rows[1][0]) > 0.9
    parts = [each.token_attribution(each.passage_input("a cat")) for each in (exact, rounded)]
    assert np.array_equal(parts[0].vectors, parts[1].vectors)


def test_int8_is_refused_for_other_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faster, "is_known", lambda pooler: False)
    with pytest.raises(ModelError, match="cannot be run in int8 here"):
        AlignedWVA(str(save_model(tmp_path / "model")), dtype="int8")


@pytest.mark.parametrize("wins", [True, False])
def test_many_texts_take_the_faster_way(
    wins: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(faster, "_is_faster", lambda pooler: wins)
    monkeypatch.setattr(aligned_wva, "MANY_TOKENS", 50)
    embedder = AlignedWVA(str(save_model(tmp_path / "model")), dtype="float32")
    few = embedder.embed_passages(["a cat sees a bird"])
    assert embedder._faster is None
    many = embedder.embed_passages(["a cat sees a bird"] * 20)
    assert (embedder._faster is not None) == wins
    assert np.allclose(many, few, atol=1e-5)


def test_timing_answers_for_any_model() -> None:
    assert faster._is_faster(AttentionPooler(make_model("llama"), [2, 3])) in (True, False)
