"""Vectors on a GPU agree with those on the CPU. Without a GPU these tests are skipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from retriever import AlignedWVA
from retriever.embedding.accelerator import AcceleratorRunner
from retriever.embedding.aligned_wva import GENERAL_TEXTS
from retriever.embedding.data_parallel import DataParallelRunner, runner_on_all_cards
from retriever.embedding.models.load import load_model
from retriever.embedding.pooling import AttentionPooler
from retriever.embedding.runner import PAD_TOKENS
from retriever.embedding.varlen import agrees
from tests.embedding.test_runner import many
from tests.tiny import CONFIGS, make_model, save_model

GPU = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else None
pytestmark = pytest.mark.skipif(GPU is None, reason="torch finds no GPU here (CUDA or MPS)")

TEXTS = GENERAL_TEXTS.read_text("utf-8").splitlines()


def cosines(left: np.ndarray, right: np.ndarray) -> float:
    """The smallest cosine of corresponding rows."""
    return float(np.sum(left * right, axis=1).min())


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_every_family_agrees_with_the_cpu(tmp_path: Path, family: str) -> None:
    folder = str(save_model(tmp_path, family))
    expected = AlignedWVA(folder, device="cpu", dtype="float32").embed_passages(TEXTS)
    found = AlignedWVA(folder, device=GPU, dtype="float32").embed_passages(TEXTS)
    assert cosines(expected, found) >= 0.99999


@pytest.mark.model
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("dtype", "least"), [("float32", 0.99999), ("bfloat16", 0.999)])
def test_the_default_model_agrees_with_the_cpu(dtype: str, least: float) -> None:
    if dtype == "bfloat16" and GPU == "cuda" and torch.cuda.get_device_capability()[0] < 8:
        pytest.skip("this card has no bfloat16")
    expected = AlignedWVA(device="cpu", dtype="float32")
    found = AlignedWVA(device=GPU, dtype=dtype)
    assert cosines(expected.embed_passages(TEXTS), found.embed_passages(TEXTS)) >= least
    assert cosines(expected.embed_queries(TEXTS), found.embed_queries(TEXTS)) >= least


CARD = GPU == "cuda" and torch.cuda.get_device_capability()[0] >= 8
needs_kernel = pytest.mark.skipif(not CARD, reason="this card has no flash attention")


@needs_kernel
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen3", "gemma3", "gpt2"])
def test_the_kernel_agrees_with_padded_batches_and_the_cpu(family: str) -> None:
    """Windows of six tokens, grouped heads, and single ones."""
    ids = many()
    expected = AttentionPooler(make_model(family)).run(ids, packed=False)
    model = make_model(family).to("cuda")  # type: ignore[arg-type]
    exact = AttentionPooler(model).run(ids, packed=False).cpu()
    assert torch.cosine_similarity(exact, expected).min() >= 0.99999
    half = AttentionPooler(model.half())
    assert agrees(half, ids)
    found = torch.from_numpy(AcceleratorRunner(half, row_tokens=300).run(ids))
    padded = half.run(ids, packed=False).double().cpu()
    assert torch.cosine_similarity(found, padded).min() >= 0.999


@pytest.mark.model
@pytest.mark.timeout(300)
@needs_kernel
def test_the_default_model_is_packed() -> None:
    assert AlignedWVA(device="cuda", dtype="bfloat16")._accelerated is not None
    assert AlignedWVA(device="cuda", dtype="float32")._accelerated is None


@needs_kernel
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="torch finds fewer than two GPUs here")
def test_copies_on_several_cards_agree() -> None:
    pooler = AttentionPooler(make_model("llama").half().to("cuda:0"))  # type: ignore[arg-type]
    shared = runner_on_all_cards(pooler)
    assert isinstance(shared, DataParallelRunner)
    shared.share_from, shared.group_tokens = 1, 100
    found = torch.from_numpy(shared.run(many()))
    alone = torch.from_numpy(AcceleratorRunner(pooler).run(many()))
    assert torch.cosine_similarity(found, alone).min() >= 0.999


@pytest.mark.model
@pytest.mark.timeout(300)
def test_the_likelihood_of_a_question_agrees_with_the_cpu() -> None:
    question = "when does the bakery open?"
    expected = AlignedWVA(device="cpu", dtype="float32").log_likelihoods(question, TEXTS)
    found = AlignedWVA(device=GPU, dtype="float32").log_likelihoods(question, TEXTS)
    assert np.allclose(expected, found, atol=1e-3)


@pytest.mark.model
@pytest.mark.timeout(300)
@pytest.mark.skipif(GPU != "cuda", reason="only CUDA lets a process limit its memory")
def test_memory_that_is_too_small_makes_batches_smaller() -> None:
    embedder = AlignedWVA(device="cuda")
    texts = [f"{number} " + "word " * 400 for number in range(2 * PAD_TOKENS // 400)]
    expected = embedder.embed_passages(texts)
    used = torch.cuda.memory_allocated() + 300_000_000
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(used / torch.cuda.mem_get_info()[1])
    try:
        found = embedder.embed_passages(texts)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert cosines(expected, found) >= 0.999


@pytest.mark.model
@pytest.mark.timeout(300)
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="torch finds fewer than two GPUs here")
def test_a_model_that_is_spread_over_cards_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    from retriever.embedding.models import devices

    expected = AlignedWVA(device="cuda:0", dtype="float32").embed_passages(TEXTS)
    small = devices.Machine(10**9, (devices.Card(700_000_000),) * torch.cuda.device_count())
    monkeypatch.setattr(devices, "inspect_machine", lambda: small)
    spread = AlignedWVA(device="cuda", dtype="float32")
    assert len(load_model("smollm2-135m", "cuda", "float32").devices) > 1
    assert cosines(expected, spread.embed_passages(TEXTS)) >= 0.99999
