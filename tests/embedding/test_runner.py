"""Runs over many texts: order, little memory, and models spread over several devices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import cpu_offload, dispatch_model
from torch import Tensor
from transformers import PreTrainedModel

from retriever.embedding.pooling import AttentionPooler
from retriever.embedding.runner import PAD_TOKENS, Runner, out_of_memory
from retriever.types import ModelError
from tests.naive import Naive
from tests.tiny import make_model


def many(count: int = 40) -> list[list[int]]:
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(1, 60, (count,), generator=generator).tolist()
    return [torch.randint(3, 300, (n,), generator=generator).tolist() for n in lengths]


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return make_model("llama")


@pytest.fixture(scope="module")
def alone(model: PreTrainedModel) -> np.ndarray:
    """Every text's vector, computed alone."""
    pooler = AttentionPooler(model)
    return torch.cat([pooler.run([ids], packed=False) for ids in many()]).numpy()


class Small:
    """A pooler on a device with room for `room` tokens, padding included."""

    def __init__(self, pooler: AttentionPooler, room: float, error: Exception) -> None:
        self.pooler, self.room, self.error = pooler, room, error
        self.device = torch.device("cuda")  # in name only
        self.is_dispatched = False
        self.hooked = pooler.hooked
        self.tokens: list[int] = []
        self.failures = 0

    def run_hooked(self, texts: Sequence[Sequence[int]], *, packed: bool) -> Tensor:
        tokens = len(texts) * max(map(len, texts))
        self.tokens.append(tokens)
        if tokens > self.room:
            self.failures += 1
            raise self.error
        return self.pooler.run_hooked(texts, packed=packed)


ERRORS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 9 GB, max allowed: 9 GB)"),
    "cpu": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_batches_shrink_until_they_fit_and_stay_small(
    model: PreTrainedModel, alone: np.ndarray, kind: str
) -> None:
    device = Small(AttentionPooler(model), 100, ERRORS[kind])
    runner = Runner(device, packed=False)  # type: ignore[arg-type]
    np.testing.assert_allclose(runner.run(many()), alone, rtol=1e-4, atol=1e-4)
    assert 0 < device.failures <= math.log2(PAD_TOKENS / 100) + 1
    assert runner.limit <= 100
    before = device.failures
    np.testing.assert_allclose(runner.run(many()), alone, rtol=1e-4, atol=1e-4)
    assert device.failures == before  # remembered


def test_what_fits_is_never_run_twice(model: PreTrainedModel) -> None:
    device = Small(AttentionPooler(model), 100, ERRORS["cuda"])
    Runner(device, packed=False).run(many())  # type: ignore[arg-type]
    worked = [tokens for tokens in device.tokens if tokens <= 100]
    assert len(device.tokens) == device.failures + len(worked)
    assert sum(worked) < 1.5 * sum(map(len, many()))


def test_a_single_text_too_large_is_a_sentence(model: PreTrainedModel) -> None:
    device = Small(AttentionPooler(model), 30, ERRORS["mps"])
    with pytest.raises(
        ModelError, match=r"cuda device has too little memory for a text of 5\d tok"
    ):
        Runner(device, packed=False).run(many())  # type: ignore[arg-type]


def test_other_errors_are_raised(model: PreTrainedModel) -> None:
    device = Small(AttentionPooler(model), 0, RuntimeError("shape '[2]' is invalid"))
    with pytest.raises(RuntimeError, match="is invalid"):
        Runner(device, packed=False).run(many())  # type: ignore[arg-type]
    assert not out_of_memory(ValueError("a text"))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("cores", [1, 3])
def test_order_is_restored(
    model: PreTrainedModel, alone: np.ndarray, packed: bool, cores: int
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        found = Runner(AttentionPooler(model), packed=packed).run(many())
        assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-4)


# Models whose weights are moved while they run


@pytest.fixture(params=["llama", "gpt2", "gpt-oss"])
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["disk", "all on the host", "two devices"])
def spread(
    family: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[PreTrainedModel]:
    """A model that accelerate has split over devices."""
    model = make_model(family)
    if request.param == "all on the host":
        yield cpu_offload(model, execution_device=torch.device("cpu"))
        return
    names = [name for name, _ in model.named_modules() if name and _is_whole(model, name)]
    places = ["cpu", "disk"] if request.param == "disk" else ["cpu", "cpu"]
    device_map = {name: places[number % 2] for number, name in enumerate(names)}
    yield dispatch_model(
        model, device_map, main_device="cpu", offload_dir=tmp_path, force_hooks=True
    )


def _is_whole(model: PreTrainedModel, name: str) -> bool:
    """Whether a module is a layer, or a leaf outside of layers."""
    inside = any(part.isdigit() for part in name.split(".")[:-1])
    children = list(model.get_submodule(name).children())
    return not inside and (name.split(".")[-1].isdigit() or not children)


@pytest.mark.parametrize("pooling", ["aligned-wva", "va", "mean-hidden"])
def test_a_model_on_several_devices_gives_the_same(
    family: str, spread: PreTrainedModel, pooling: str
) -> None:
    texts = many(9)
    expected = AttentionPooler(make_model(family), [1, 3], pooling).run(texts, packed=False)
    pooler = AttentionPooler(spread, [1, 3], pooling)
    assert pooler.is_dispatched
    assert pooler.device == torch.device("cpu")
    for packed in (False, True, False):  # again: an early end must leave nothing half moved
        runner = Runner(pooler, packed=packed)
        assert not runner.side_by_side
        np.testing.assert_allclose(runner.run(texts), expected.double(), rtol=1e-3, atol=1e-4)
    assert not pooler.is_bidirectional(5, (6, 7))


def test_a_model_on_one_device_runs_batches_in_parallel(model: PreTrainedModel) -> None:
    assert not AttentionPooler(model).is_dispatched
    assert Runner(AttentionPooler(model), packed=True).side_by_side
    formula = Naive(model, "llama").outputs(many()[0]).sum(dim=0).numpy()
    found = Runner(AttentionPooler(model), packed=True).run(many())[0]
    np.testing.assert_allclose(found, formula, rtol=1e-4, atol=1e-4)
