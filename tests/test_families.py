"""Every family we name against the naive formula; many others against a plain hook."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from retriever.attention import AttentionPooler
from retriever.types import ModelError
from tests.naive import Naive
from tests.tiny import CONFIGS, WINDOW, make_model

FAMILIES = sorted(CONFIGS)
TOLERANCE = 1e-5
UNPACKED = {"falcon", "falcon-multi-query", "falcon-alibi"}  # attend without the interface


def texts(count: int = 6) -> list[list[int]]:
    """Texts with a common beginning, most of them longer than every window."""
    generator = torch.Generator().manual_seed(1)
    lengths = [1, 3, 9, 9, 20, 40][:count]
    return [
        [5, 6, 7, *torch.randint(3, 300, (length,), generator=generator).tolist()]
        for length in lengths
    ]


def error(found: Tensor, expected: Tensor) -> float:
    """The largest relative error ‖a − b‖ / ‖b‖ of the rows."""
    rows = torch.linalg.norm(found.double() - expected.double(), dim=-1)
    return float((rows / torch.linalg.norm(expected.double(), dim=-1)).max())


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(family: str) -> PreTrainedModel:
    return make_model(family)


@pytest.fixture(scope="module")
def naive(model: PreTrainedModel, family: str) -> Naive:
    return Naive(model, family)


def ways(pooler: AttentionPooler) -> list[bool]:
    return [False, True] if pooler.can_pack else [False]


def test_the_vector_is_the_formula(family: str, model: PreTrainedModel, naive: Naive) -> None:
    assert max(map(len, texts())) > 2 * WINDOW
    outputs = torch.stack([naive.outputs(ids) for ids in texts()])  # (B, L, hidden_size)
    for layers in ([2, 3, 4], [0, 1, 2, 3, 4], [1, 3], [0]):
        pooler = AttentionPooler(model, layers)
        assert pooler.can_pack == (family not in UNPACKED)
        for packed in ways(pooler):
            assert error(pooler.run(texts(), packed=packed), outputs[:, layers].sum(1)) < TOLERANCE


def test_values_are_averaged(family: str, model: PreTrainedModel, naive: Naive) -> None:
    if family in UNPACKED:
        with pytest.raises(ModelError, match=r"falcon model does not hand out .* use aligned-wva"):
            AttentionPooler(model, [1], "va")
        return
    for layers in ([2, 3, 4], [0]):
        expected = torch.stack([naive.values(ids, layers) for ids in texts()])
        pooler = AttentionPooler(model, layers, "va")
        assert pooler.dimension() == expected.shape[1]
        for packed in (False, True):
            for early in (False, True):
                found = pooler.run(texts(), packed=packed, exit_early=early)
                assert error(found, expected) < TOLERANCE


def test_hidden_states_are_the_last(family: str, model: PreTrainedModel, naive: Naive) -> None:
    states = [naive.states(ids) for ids in texts()]
    last = torch.stack([state[-1] for state in states])
    mean = torch.stack([state.mean(dim=0) for state in states])
    for pooling, expected in (("last-hidden", last), ("mean-hidden", mean)):
        pooler = AttentionPooler(model, [0], pooling)
        assert pooler.dimension() == 32
        for packed in ways(pooler):
            assert error(pooler.run(texts(), packed=packed), expected) < TOLERANCE
