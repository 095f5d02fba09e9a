"""The queue before a model: what is computed together, in whose turn, and what is not at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.embedding.batching import (
    PASSAGE,
    QUERY,
    SLICE,
    Batch,
    BatchQueue,
    embedding_queue,
    judged_by,
)
from retriever.types import BusyError, IndexStateError, UsageError
from tests.fakes import FakeEmbedder

SECONDS = 20


class Model:
    """Computes the lengths of texts; `gate` holds it back, as a batch that takes a while."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.calls: list[tuple[Hashable, list[str]]] = []
        self.wrong = ""

    def __call__(self, kind: Hashable, texts: Sequence[str]) -> Any:
        if texts:
            self.calls.append((kind, list(texts)))
            self.begun.release()
            assert self.gate.wait(SECONDS)
        if self.wrong and self.wrong in texts:
            raise UsageError(f"{self.wrong} is wrong")
        return np.array([len(text) for text in texts])


@pytest.fixture
def model() -> Iterator[Model]:
    made = Model()
    yield made
    made.gate.set()


def held(queue: BatchQueue, model: Model) -> Future[Any]:
    """A first request that keeps the model busy until the gate opens."""
    future = queue.submit(["first"])
    assert model.begun.acquire(timeout=SECONDS)
    return future


def test_what_waits_is_computed_together_by_kind(model: Model) -> None:
    queue = BatchQueue(model)
    first = held(queue, model)
    futures = [queue.submit(["a" * n], QUERY if n % 2 else PASSAGE) for n in range(1, 7)]
    assert queue.waiting == 7
    model.gate.set()
    assert [future.result(SECONDS)[0] for future in futures] == [1, 2, 3, 4, 5, 6]
    assert first.result(SECONDS).tolist() == [5]
    assert model.calls[1:] == [(QUERY, ["a", "aaa", "aaaaa"]), (PASSAGE, ["aa", "a" * 4, "a" * 6])]


def test_a_single_text_does_not_wait_for_a_thousand(model: Model) -> None:
    queue = BatchQueue(model)
    held(queue, model)
    many = queue.submit(["m" * 500] * 1000)
    one = queue.submit(["o"])
    model.gate.set()
    assert one.result(SECONDS).tolist() == [1]
    assert many.result(SECONDS).tolist() == [500] * 1000
    assert model.calls[1][1] == ["m" * 500] * SLICE + ["o"] + ["m" * 500] * (
        len(model.calls[1][1]) - SLICE - 1
    )


def test_a_batch_is_as_large_as_the_pace_allows(model: Model) -> None:
    model.gate.set()
    now = iter(range(10_000))
    seen: list[Batch] = []
    queue = BatchQueue(model, observe=seen.append, clock=lambda: float(next(now)))
    queue.rows(["x" * 436] * 200)  # 500 characters each, with the prompt: 16 in the first batch
    assert [batch.texts for batch in seen[:3]] == [16, 8, 6], "half a second at the pace so far"
    assert {batch.texts for batch in seen[6:-1]} == {4}, "not fewer than 2,048 characters"
    quick = iter(np.arange(0, 10, 0.001))
    seen.clear()
    queue = BatchQueue(model, observe=seen.append, clock=lambda: float(next(quick)))
    queue.rows(["x" * 436] * 20_000)
    assert seen[0].texts == 16
    assert max(batch.texts for batch in seen) > 1000
    assert sum(batch.texts for batch in seen) == 20_000
    assert {batch.callers for batch in seen} == {1}


def test_a_cancelled_request_is_never_computed(model: Model) -> None:
    queue = BatchQueue(model)
    held(queue, model)
    dropped, kept = queue.submit(["dropped"]), queue.submit(["kept"])
    assert dropped.cancel()
    model.gate.set()
    assert kept.result(SECONDS).tolist() == [4]
    assert [texts for _, texts in model.calls] == [["first"], ["kept"]]
    assert queue.rows(["again"]).tolist() == [5]
    assert queue.waiting == queue.waiting_characters == 0


def test_a_request_is_cancelled_between_its_batches(model: Model) -> None:
    queue = BatchQueue(model)
    long = queue.submit(["x" * 8000] * 5)  # one in each batch
    assert model.begun.acquire(timeout=SECONDS)
    assert long.cancel()
    model.gate.set()
    assert queue.rows(["after"]).tolist() == [5]
    assert [len(texts) for _, texts in model.calls] == [1, 1]


async def test_cancelling_a_task_cancels_its_texts(model: Model) -> None:
    queue = BatchQueue(model)
    first = held(queue, model)

    async def ask() -> Any:
        return await asyncio.wrap_future(queue.submit(["dropped"]))

    task = asyncio.create_task(ask())
    await asyncio.sleep(0)  # it begins
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    model.gate.set()
    await asyncio.wrap_future(first)
    assert queue.rows(["kept"]).tolist() == [4]
    assert [texts for _, texts in model.calls] == [["first"], ["kept"]]


@pytest.mark.parametrize("bounds", [{"max_requests": 3}, {"max_characters": 230}])
def test_a_full_queue_refuses_and_is_open_again_later(model: Model, bounds: dict[str, int]) -> None:
    queue = BatchQueue(model, **bounds)
    first = held(queue, model)
    waiting = [queue.submit(["b"]), queue.submit(["c"])]
    with pytest.raises(BusyError, match="3 requests wait for the model already") as told:
        queue.submit(["d"])
    assert 1 <= told.value.seconds <= 60
    model.gate.set()
    for future in (first, *waiting):
        future.result(SECONDS)
    assert queue.rows(["d" * 1000]).tolist() == [1000], "too large by itself, with nothing before"


def test_somebodys_book_does_not_refuse_a_question(model: Model) -> None:
    queue = BatchQueue(model, max_characters=100_000)
    first = held(queue, model)
    book = ["b" * 60_000, "c" * 30_000]
    waiting = queue.submit(book)
    with pytest.raises(BusyError, match="2 requests wait for the model already"):
        queue.submit(book)
    question = queue.submit(["d"])
    waiting.cancel()
    again = queue.submit(book)  # at once, not only after the batch that is computed now
    model.gate.set()
    for future in (first, question, again):
        future.result(SECONDS)


def test_one_wrong_text_fails_alone(model: Model) -> None:
    model.wrong = "wrong"
    queue = BatchQueue(model)
    first = held(queue, model)
    futures = [queue.submit([text]) for text in ("good", "wrong", "fine!")]
    model.gate.set()
    assert first.result(SECONDS).tolist() == [5]
    with pytest.raises(UsageError, match="wrong is wrong"):
        futures[1].result(SECONDS)
    assert [futures[at].result(SECONDS).tolist() for at in (0, 2)] == [[4], [5]]


def test_a_closed_queue_cancels_what_waits(model: Model) -> None:
    queue = BatchQueue(model)
    held(queue, model)
    waiting = queue.submit(["waits"])
    queue.close()
    with pytest.raises(CancelledError):
        waiting.result(SECONDS)
    with pytest.raises(IndexStateError, match="the program is ending"):
        queue.submit(["late"])


def test_nothing_runs_when_nothing_is_left(model: Model) -> None:
    model.gate.set()
    queue = BatchQueue(model)
    for _ in range(20):  # a thread that ends is not missed by the next request
        assert queue.rows(["a"]).tolist() == [1]
    for thread in threading.enumerate():
        if thread.name == "compute batches":
            thread.join(SECONDS)
    assert "compute batches" not in {thread.name for thread in threading.enumerate()}


def test_a_hundred_threads_get_their_own_rows(model: Model) -> None:
    model.gate.set()
    queue = BatchQueue(model)
    found: dict[int, list[int]] = {}

    def ask(number: int) -> None:
        found[number] = queue.rows(["x" * (number + at) for at in range(number % 19)]).tolist()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert found == {n: [n + at for at in range(n % 19)] for n in range(100)}


@given(st.lists(st.lists(st.text(max_size=40), max_size=30), max_size=8))
def test_rows_are_those_of_computing_each_request_alone(requests: list[list[str]]) -> None:
    queue = BatchQueue(lambda kind, texts: np.array([len(text) for text in texts], dtype=int))
    futures = [queue.submit(texts, number % 2) for number, texts in enumerate(requests)]
    for texts, future in zip(requests, futures, strict=True):
        assert future.result(SECONDS).tolist() == [len(text) for text in texts]


# Before an embedder


class Judging(FakeEmbedder):
    def log_likelihoods(
        self, query: str, passages: Sequence[str], titles: Sequence[str] | None = None
    ) -> Any:
        return np.array([-float(len(query) + len(text)) for text in passages])


def test_an_embedder_behind_a_queue_gives_its_own_vectors() -> None:
    embedder = Judging()
    queue = embedding_queue(embedder)
    texts = ["A cat sleeps.", "", "  ", "A dog barks at the cat."]
    expected: dict[Hashable, Callable[[], Any]] = {
        PASSAGE: lambda: [
            embedder.embed_inputs([embedder.passage_input(t)])[0] if t.strip() else np.zeros(256)
            for t in texts
        ],
        QUERY: lambda: embedder.embed_queries(texts),
        judged_by("cat"): lambda: [-float(3 + len(text)) for text in texts],
    }
    for kind, rows in expected.items():
        np.testing.assert_array_equal(queue.rows(texts, kind), rows())
    assert queue.rows([], PASSAGE).shape == (0, 256)


def test_a_model_that_cannot_judge_says_so() -> None:
    with pytest.raises(UsageError, match="cannot rerank"):
        embedding_queue(FakeEmbedder()).rows(["a"], judged_by("b"))
