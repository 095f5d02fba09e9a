"""Contributions against the naive formula with values set to zero, for every family."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from retriever import AlignedWVA
from retriever.embedding.packing import TokenIds
from retriever.embedding.pooling import AttentionPooler
from retriever.embedding.runner import Runner
from retriever.embedding.token_attribution import TokenAttributor
from retriever.types import ModelError
from tests.embedding.test_families import OTHERS, make_other, texts
from tests.naive import Naive
from tests.tiny import CONFIGS, make_model, save_model

POOLED = [1, 3, 4]
TOLERANCE = 1e-5
MORE_THAN_A_SUM = {"bitnet", "diffllama"}


def contributions_of(reader: TokenAttributor, ids: TokenIds, *, packed: bool) -> Tensor:
    """The attribution of the tokens and the constant: (T + 1, dim)."""
    rows = Runner(reader, packed=packed).run([ids])[0]
    return torch.from_numpy(rows.reshape(len(ids) + 1, -1))


def difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_a_contribution_is_what_the_sum_loses_without_the_tokens_value(family: str) -> None:
    model = make_model(family)
    naive, pooler = Naive(model, family), AttentionPooler(model, POOLED)
    for ids, packed in ((texts()[0], pooler.can_pack), (texts()[4], False), (texts()[4], True)):
        if packed > pooler.can_pack:
            continue
        rows = contributions_of(TokenAttributor(pooler), ids, packed=packed)
        whole = naive.outputs(ids)[POOLED].sum(dim=0)
        for token in (0, 1, len(ids) // 2, len(ids) - 1):
            lost = whole - naive.outputs(ids, without=[token])[POOLED].sum(dim=0)
            assert float((rows[token] - lost).norm()) < TOLERANCE * float(whole.norm())
        nothing = naive.outputs(ids, without=range(len(ids)))[POOLED].sum(dim=0)
        assert float((rows[-1] - nothing).norm()) < TOLERANCE * float(whole.norm())


@pytest.mark.parametrize("kind", [*sorted(CONFIGS), *sorted(OTHERS)])
def test_the_contributions_add_up_to_the_vector(kind: str) -> None:
    model = make_model(kind) if kind in CONFIGS else make_other(kind, OTHERS[kind])
    pooler = AttentionPooler(model, [0, 1, 3])
    reader = TokenAttributor(pooler)
    if kind in MORE_THAN_A_SUM:
        with pytest.raises(ModelError, match=f"of a {kind} model more happens than a weighted"):
            contributions_of(reader, texts()[3], packed=True)
        return
    for packed in [False, True] if pooler.can_pack else [False]:
        for ids, vector in zip(texts(), pooler.run(texts(), packed=packed), strict=True):
            rows = contributions_of(reader, ids, packed=packed)
            assert difference(rows.sum(dim=0), vector) < 2 * TOLERANCE


@pytest.mark.parametrize("family", ["qwen2-window", "gemma2", "gpt-oss", "falcon-alibi", "gpt2"])
def test_any_weights_of_the_query_positions(family: str) -> None:
    model = make_model(family)
    naive, pooler = Naive(model, family), AttentionPooler(model, POOLED)
    ids = texts()[5]
    generator = torch.Generator().manual_seed(2)
    some = torch.rand(len(ids), generator=generator) * (torch.arange(len(ids)) % 3 == 0)
    for weights in (torch.full((len(ids),), 1 / len(ids)), some):
        expected = sum(
            float(weight) * naive.outputs(ids[: at + 1])[POOLED].sum(dim=0)
            for at, weight in enumerate(weights)
        )
        reader = TokenAttributor(pooler, lambda tokens, chosen=weights: chosen)
        found = contributions_of(reader, ids, packed=pooler.can_pack)
        assert difference(found.sum(dim=0), expected) < TOLERANCE


def test_long_texts_are_read_in_blocks() -> None:
    model = make_model("mistral")
    pooler = AttentionPooler(model, POOLED)
    ids = torch.randint(3, 300, (250,), generator=torch.Generator().manual_seed(3)).tolist()
    vectors = pooler.run([ids[: at + 1] for at in range(100, 250)])
    weights = torch.cat([torch.zeros(100), torch.full((150,), 0.5)])
    found = contributions_of(TokenAttributor(pooler, lambda _: weights), ids, packed=True).sum(
        dim=0
    )
    assert difference(found, 0.5 * vectors.sum(dim=0)) < TOLERANCE


def test_other_poolings_have_no_attribution() -> None:
    with pytest.raises(ModelError, match="pooled as mean-hidden cannot be attributed"):
        TokenAttributor(AttentionPooler(make_model("llama"), [1], "mean-hidden"))


# The embedder's method


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "marked"])
def embedder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    marked = request.param
    save_model(folder, "qwen3", bos=marked, eos=marked)
    return AlignedWVA(str(folder), device="cpu", dtype="float32")


@pytest.mark.parametrize("text", ["The train — naïve — leaves.", "word " * 90, "x \udc80 y"])
def test_an_inputs_contributions_are_its_vectors(embedder: AlignedWVA, text: str) -> None:
    model_input = embedder.passage_input(text, "A title")
    attribution = embedder.token_attribution(model_input)
    assert (
        len(attribution.spans) == len(attribution.vectors) == embedder.count_tokens([model_input])
    )
    total = attribution.total
    np.testing.assert_allclose(
        total / np.linalg.norm(total), embedder.embed_inputs([model_input])[0], atol=1e-6
    )
    places = [span for span in attribution.spans if span[0] < span[1]]
    assert places[0][0] == 0
    assert places[-1][1] == len(model_input)
    assert all(one[0] <= two[0] for one, two in pairwise(places))


def test_a_piece_counts_as_much_as_it_does_in_the_vector(embedder: AlignedWVA) -> None:
    model_input = embedder.query_inputs("word and other words " * 30)[0]
    ids = embedder._tokenize([model_input])[0]
    pieces = list(embedder._pieces(ids))
    assert len(pieces) > 1
    attribution = embedder.token_attribution(model_input)
    first = attribution.vectors[: len(pieces[0])].sum(axis=0)  # this family has no output biases
    pooled = embedder._pooler.run([pieces[0]])[0].double().numpy()
    expected = pooled / np.linalg.norm(pooled) * len(pieces[0])
    np.testing.assert_allclose(first, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.model
def test_the_default_model_in_its_default_precision() -> None:
    embedder = AlignedWVA()
    text = "Access to the system is granted by the owner of the information. " * 3
    model_input = embedder.passage_input(text, "Access control")
    total = embedder.token_attribution(model_input).total
    cosine = float(embedder.embed_inputs([model_input])[0] @ (total / np.linalg.norm(total)))
    assert cosine > (0.9999 if embedder.dtype == "bfloat16" else 0.999999)


def test_what_runs_afterwards_is_not_disturbed(tmp_path: Path) -> None:
    embedder = AlignedWVA(str(save_model(tmp_path / "m", "gpt2")), device="cpu", dtype="float32")
    before = embedder.embed_queries(["a word", "two words"])
    embedder.token_attribution(embedder.query_inputs("a word")[0])
    np.testing.assert_array_equal(embedder.embed_queries(["a word", "two words"]), before)
