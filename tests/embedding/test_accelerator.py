"""Packed rows for an accelerator, on the CPU: the kernel and the cards are stand-ins.

`naive_varlen` has the signature of torch's `varlen_attn`; everything around it is the product's.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from retriever import AlignedWVA
from retriever.embedding import accelerator, aligned_wva, data_parallel, varlen
from retriever.embedding.accelerator import AcceleratorRunner, ahead
from retriever.embedding.data_parallel import DataParallelRunner
from retriever.embedding.packing import Batch
from retriever.embedding.pooling import AttentionPooler
from retriever.embedding.varlen import agrees, is_available, packed_by_borders
from retriever.types import ModelError
from tests.embedding.test_runner import ERRORS, many
from tests.tiny import CONFIGS, make_model, save_model

LACKING = {"gemma2", "gpt-oss"}  # a logit cap; sinks


def naive_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
) -> Tensor:
    """Attention text by text and query by query, as the documentation of `varlen_attn` says."""
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert int(cu_seq_q.diff().max()) <= max_q
    assert int(cu_seq_k.diff().max()) <= max_k
    assert enable_gqa or query.shape[1] == key.shape[1]
    assert scale is not None
    group = query.shape[1] // key.shape[1]
    keys, values = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    result = torch.full_like(query, math.nan)
    for text in range(len(cu_seq_q) - 1):
        queries = range(int(cu_seq_q[text]), int(cu_seq_q[text + 1]))
        first, end = int(cu_seq_k[text]), int(cu_seq_k[text + 1])
        for row in queries:
            at = end - first - len(queries) + row - queries[0]
            left = 0 if window_size[0] < 0 else max(0, at - window_size[0])
            right = end - first if window_size[1] < 0 else at + window_size[1] + 1
            seen = slice(first + left, first + right)
            scores = torch.einsum("hd,thd->ht", query[row], keys[seen]) * scale
            result[row] = torch.einsum("ht,thd->hd", scores.softmax(-1), values[seen])
    return result


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", naive_varlen)


@pytest.fixture(scope="module")
def pooler() -> AttentionPooler:
    return AttentionPooler(make_model("llama"))


@pytest.fixture(scope="module")
def alone(pooler: AttentionPooler) -> np.ndarray:
    """Every text's vector, computed alone."""
    return torch.cat([pooler.run([ids], packed=False) for ids in many()]).double().numpy()


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


# The layout and the kernel


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_families_agree_with_padded_batches_or_are_padded(family: str) -> None:
    one = AttentionPooler(make_model(family))
    texts = many(5)
    if family in LACKING or not one.can_pack:
        assert not agrees(one, texts)
        return
    assert agrees(one, texts)
    expected = one.run(texts, packed=False).double().numpy()
    close(AcceleratorRunner(one).run(texts), expected)


@pytest.mark.parametrize("pooling", ["va", "last-hidden", "mean-hidden"])
def test_other_poolings_agree(pooling: str) -> None:
    one = AttentionPooler(make_model("llama"), [1, 3], pooling)
    expected = one.run(many(9), packed=False).double().numpy()
    close(AcceleratorRunner(one).run(many(9)), expected)


@pytest.mark.parametrize("bucket", [1, 4, 7, 64])
def test_a_row_is_a_multiple_of_the_bucket(bucket: int) -> None:
    texts = [[5, 6, 7], [5, 6], [5, 6, 8, 9]]
    batch = packed_by_borders(texts, bucket)
    row = batch.inputs["input_ids"][0].tolist()
    assert len(row) % bucket == 0
    assert row[:9] == [5, 6, 7, 5, 6, 5, 6, 8, 9]
    assert batch.inputs["position_ids"][0, :9].tolist() == [0, 1, 2, 0, 1, 0, 1, 2, 3]
    assert batch.last[1].tolist() == [2, 4, 8]
    assert batch.borders is not None
    borders = batch.borders.starts.tolist()
    assert borders[:4] == [0, 3, 5, 9]
    assert borders[-1] == len(row)
    states = torch.arange(float(len(row)))[None, :, None]
    assert batch.mean_of(states)[:, 0].tolist() == [1.0, 3.5, 6.5]


def test_a_filling_text_as_long_as_the_last_is_not_pooled(pooler: AttentionPooler) -> None:
    batch = packed_by_borders([[5, 6, 7], [8, 9]], 7)
    assert batch.last_of(torch.zeros(1, 7, 3)).shape == (2, 3)
    assert batch.mean_of(torch.zeros(1, 7, 3)).shape == (2, 3)


def test_a_kernel_that_fails_or_differs_is_not_used(
    pooler: AttentionPooler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object, **__: object) -> Tensor:
        raise RuntimeError("no kernel image")

    caplog.set_level("INFO")
    monkeypatch.setattr(varlen, "varlen_attn", fails)
    assert not agrees(pooler, many(3))
    assert "no kernel image" in caplog.text
    monkeypatch.setattr(varlen, "varlen_attn", lambda query, *_, **__: query)
    assert not agrees(pooler, many(3))
    assert "other vectors" in caplog.text


@pytest.mark.parametrize(
    ("device", "dtype", "capability", "expected"),
    [
        ("cuda", torch.bfloat16, (9, 0), True),
        ("cuda", torch.float16, (8, 0), True),
        ("cuda", torch.float16, (7, 5), False),
        ("cuda", torch.float32, (9, 0), False),
        ("mps", torch.bfloat16, (9, 0), False),
        ("cpu", torch.bfloat16, (9, 0), False),
    ],
)
def test_where_the_kernel_is_tried(
    device: str,
    dtype: torch.dtype,
    capability: tuple[int, int],
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert is_available(torch.device(device), dtype) == expected


# The runner


@pytest.mark.parametrize("row_tokens", [1, 50, 300, 10_000])
@pytest.mark.parametrize("in_flight", [1, 3])
def test_order_is_restored_and_results_are_copied_in_groups(
    pooler: AttentionPooler,
    alone: np.ndarray,
    row_tokens: int,
    in_flight: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copies: list[int] = []
    copy = accelerator._to_host
    monkeypatch.setattr(
        accelerator, "_to_host", lambda rows: copies.append(len(rows)) or copy(rows)
    )
    runner = AcceleratorRunner(pooler, row_tokens=row_tokens, in_flight=in_flight)
    close(runner.run(many()), alone)
    assert all(count == in_flight for count in copies[:-1])
    assert 1 <= copies[-1] <= in_flight


class Small:
    """A pooler with room for `room` tokens, the filling included."""

    def __init__(self, pooler: AttentionPooler, room: int, error: Exception) -> None:
        self.pooler, self.room, self.error = pooler, room, error
        self.device, self.is_dispatched = pooler.device, False
        self.hooked = pooler.hooked
        self.failures = 0

    def run_batch(self, batch: Batch) -> Tensor:
        if batch.inputs["input_ids"].numel() > self.room:
            self.failures += 1
            raise self.error
        return self.pooler.run_batch(batch)


@pytest.fixture
def no_filling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "BUCKET", 1)


@pytest.mark.usefixtures("no_filling")
def test_rows_shrink_until_they_fit_and_stay_small(
    pooler: AttentionPooler, alone: np.ndarray
) -> None:
    small = Small(pooler, 100, ERRORS["cuda"])
    runner = AcceleratorRunner(small)  # type: ignore[arg-type]
    close(runner.run(many()), alone)
    assert 0 < small.failures <= math.log2(accelerator.ROW_TOKENS / 100) + 1
    before = small.failures
    close(runner.run(many()), alone)
    assert small.failures == before


@pytest.mark.usefixtures("no_filling")
def test_too_little_memory_for_one_text_is_a_sentence_and_other_errors_are_raised(
    pooler: AttentionPooler, alone: np.ndarray
) -> None:
    with pytest.raises(ModelError, match=r"too little memory for a text of 5\d tokens"):
        AcceleratorRunner(Small(pooler, 30, ERRORS["cuda"])).run(many())  # type: ignore[arg-type]
    broken = Small(pooler, 0, RuntimeError("shape '[2]' is invalid"))
    with pytest.raises(RuntimeError, match="is invalid"):
        AcceleratorRunner(broken).run(many())  # type: ignore[arg-type]
    close(AcceleratorRunner(pooler).run(many()), alone)  # nothing is left behind


def test_what_is_ahead_is_bounded_and_errors_come_in_turn() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(9):
            taken.append(number)
            yield number

    source = ahead(lambda number: 1 // (3 - number), items(), count=2)
    assert [next(source), next(source), next(source)] == [0, 0, 1]
    assert len(taken) == 5
    with pytest.raises(ZeroDivisionError):
        next(source)


# The embedder


def test_the_embedder_tokenises_ahead_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(save_model(tmp_path))
    texts = [f"the passage {number} " + "means " * (number % 7) for number in range(23)]
    expected = AlignedWVA(folder, dtype="float32").embed_passages(texts)
    monkeypatch.setattr(varlen, "is_available", lambda *_: True)
    monkeypatch.setattr(aligned_wva, "TOKENISED_AHEAD", 5)
    for device in ("cpu", None):
        embedder = AlignedWVA(folder, device=device, dtype="float32")
        assert isinstance(embedder._accelerated, AcceleratorRunner)
        assert float((embedder.embed_passages(texts) * expected).sum(1).min()) > 0.99999
    assert embedder.log_likelihoods("the question", texts[:2]).shape == (2,)


# Several cards


def runners(count: int) -> list[AcceleratorRunner]:
    return [AcceleratorRunner(AttentionPooler(make_model("llama"))) for _ in range(count)]


@pytest.mark.parametrize("group_tokens", [1, 200, 10**6])
def test_texts_are_shared_out_and_come_back_in_order(alone: np.ndarray, group_tokens: int) -> None:
    made: list[int] = []

    def more() -> list[AcceleratorRunner]:
        made.append(2)
        return runners(2)

    shared = DataParallelRunner(runners(1), more, group_tokens=group_tokens, share_from=100)
    close(shared.run(many()[:1]), alone[:1])
    assert made == []  # a query needs one card
    close(shared.run(many()), alone)
    close(shared.run(many()), alone)
    assert made == [2]
    assert len(shared.runners) == 3


def test_every_card_works_and_an_error_of_one_is_raised(alone: np.ndarray) -> None:
    both = threading.Barrier(2, timeout=30)

    class Meets:
        pooler = runners(1)[0].pooler

        def run(self, texts: Sequence[Sequence[int]]) -> np.ndarray:
            both.wait()
            return np.zeros((len(texts), 2))

    shared = DataParallelRunner([Meets(), Meets()], share_from=1)  # type: ignore[list-item]
    assert shared.run([[1], [2]]).shape == (2, 2)  # else the barrier breaks

    broken = Small(AttentionPooler(make_model("llama")), 0, RuntimeError("a card fell off"))
    bad = AcceleratorRunner(broken)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="fell off"):
        DataParallelRunner([bad, bad], group_tokens=50, share_from=1).run(many())


def test_a_copy_only_where_there_is_room(
    pooler: AttentionPooler, alone: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(p.numel() * p.element_size() for p in pooler.model.parameters())
    cuda = SimpleNamespace(mem_get_info=lambda _: (3 * size, 4 * size))
    monkeypatch.setattr(data_parallel.torch, "cuda", cuda)
    made = data_parallel._copy_on(pooler, torch.device("cpu"))
    assert made is not None
    assert made.attention.model is not pooler.model
    close(made.run(many()), alone)
    cuda.mem_get_info = lambda _: (size, 4 * size)
    assert data_parallel._copy_on(pooler, torch.device("cpu")) is None
