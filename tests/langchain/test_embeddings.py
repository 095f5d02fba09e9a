"""The embeddings: LangChain's suites, the environment, and callers at the same time."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from retriever import AlignedWVA
from retriever.arrays import centred
from retriever.langchain import AlignedWVAEmbeddings, AlignedWVAVectorStore
from retriever.langchain.vectors import identity
from retriever.settings import Prompts
from retriever.types import UsageError
from tests.langchain.test_retriever import TEXTS, tiny_model


class TinyEmbeddings:
    """What both suites ask for."""

    @property
    def embeddings_class(self) -> type[AlignedWVAEmbeddings]:
        return AlignedWVAEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, str]:
        return {"model": tiny_model(), "device": "cpu", "dtype": "float32"}


class TestEmbeddingsUnit(TinyEmbeddings, EmbeddingsUnitTests):
    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        environment = {
            "WVA_MODEL": tiny_model(),
            "WVA_POOLING": "va",
            "WVA_LAYERS": "all",
            "WVA_DEVICE": "cpu",
            "WVA_DTYPE": "float32",
            "WVA_CALIBRATED": "no",
        }
        attributes = {
            "model": tiny_model(),
            "pooling": "va",
            "device": "cpu",
            "dtype": "torch.float32".removeprefix("torch."),
            "calibrated": False,
        }
        return environment, {}, attributes


class TestEmbeddingsIntegration(TinyEmbeddings, EmbeddingsIntegrationTests):
    pass


@pytest.fixture(scope="module")
def embedder() -> AlignedWVA:
    return AlignedWVA(tiny_model(), device="cpu", dtype="float32")


def test_what_is_given_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WVA_MODEL", "nothing of this name")
    monkeypatch.setenv("WVA_POOLING", "va")
    monkeypatch.setenv("WVA_CALIBRATED", "true")
    made = AlignedWVAEmbeddings(tiny_model(), pooling="mean-hidden", device="cpu", calibrated=False)
    assert (made.pooling, made.calibrated) == ("mean-hidden", False)
    monkeypatch.setenv("WVA_CALIBRATED", "perhaps")
    with pytest.raises(UsageError, match="WVA_CALIBRATED must be true or false; it is 'perhaps'"):
        AlignedWVAEmbeddings(tiny_model(), device="cpu")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": 5}, "model must be a text"),
        ({"device": 5}, "device must be a text"),
        ({"dtype": 5}, "dtype must be a text"),
        ({"pooling": ["va"]}, "pooling must be a text"),
        ({"pooling": "x"}, "unknown pooling"),
        ({"layers": 5}, "layers are a text or a list"),
        ({"prompts": {"query": "{}"}}, "prompts must be Prompts"),
        ({"calibrated": "yes"}, "calibrated must be true or false"),
        ({"embedder": "smollm2-135m"}, "embedder must be an AlignedWVA"),
    ],
)
def test_wrong_types_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        AlignedWVAEmbeddings(**{"model": tiny_model(), "device": "cpu", **wrong})


def test_embeddings_are_calibrated_vectors(embedder: AlignedWVA) -> None:
    embeddings = AlignedWVAEmbeddings(embedder=embedder)
    texts = list(TEXTS.values())
    passage_mean, query_mean = embedder.general_means()
    expected = centred(embedder.embed_passages(texts), passage_mean)
    np.testing.assert_allclose(embeddings.embed_documents(texts), expected, atol=1e-6)
    many = texts * 5  # more than are put into the queue
    expected = centred(embedder.embed_passages(many), passage_mean)
    np.testing.assert_allclose(embeddings.embed_documents(many), expected, atol=1e-6)
    query = centred(embedder.embed_queries(["sea"]), query_mean)[0]
    np.testing.assert_allclose(embeddings.embed_query("sea"), query, atol=1e-6)
    plain = AlignedWVAEmbeddings(embedder=embedder, calibrated=False)
    np.testing.assert_allclose(
        plain.embed_query("sea"), embedder.embed_queries(["sea"])[0], atol=1e-6
    )
    assert plain.embed_documents([]) == []
    assert not np.any(embeddings.embed_documents([""]))


async def test_awaited_embeddings_are_the_same(embedder: AlignedWVA) -> None:
    embeddings = AlignedWVAEmbeddings(embedder=embedder)
    texts = list(TEXTS.values())
    assert await embeddings.aembed_documents(texts) == embeddings.embed_documents(texts)
    many = texts * 5
    assert await embeddings.aembed_documents(many) == embeddings.embed_documents(many)
    assert await embeddings.aembed_documents([]) == []
    assert await embeddings.aembed_query("sea") == embeddings.embed_query("sea")
    for wrong in (None, ["a"], 5):
        with pytest.raises(UsageError, match="the query must be a text"):
            await embeddings.aembed_query(wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="the passages must be a list of texts"):
        await embeddings.aembed_documents("abc")  # type: ignore[arg-type]


class Slow:
    """An embedder that waits in its first run until it is let go, and notes every run."""

    def __init__(self, embedder: AlignedWVA) -> None:
        self._embedder = embedder
        self.runs: list[int] = []
        self.running, self.go = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed_queries(self, texts: Sequence[str]) -> Any:
        self.runs.append(len(texts))
        self.running.set()
        assert self.go.wait(30)
        return self._embedder.embed_queries(texts)


def slowed(embedder: AlignedWVA) -> tuple[AlignedWVAEmbeddings, Slow]:
    embeddings = AlignedWVAEmbeddings(embedder=embedder)
    embeddings.embed_query("warm")  # the means are there
    slow = Slow(embedder)
    other = AlignedWVAEmbeddings(embedder=embedder)
    other.embedder = slow  # type: ignore[assignment]
    return other, slow


def test_queries_of_concurrent_threads_are_computed_together(embedder: AlignedWVA) -> None:
    embeddings, slow = slowed(embedder)
    queries = [f"query {n}" for n in range(16)]
    with ThreadPoolExecutor(17) as pool:
        first = pool.submit(embeddings.embed_query, "first")
        assert slow.running.wait(30)
        later = [pool.submit(embeddings.embed_query, query) for query in queries]
        while embeddings._queue.waiting < 17:
            threading.Event().wait(0.001)
        slow.go.set()
        found = [one.result() for one in later]
        assert len(first.result()) == embedder.dimension
    assert slow.runs[0] == 1
    assert sum(slow.runs) == 17
    assert len(slow.runs) < 6, "most were computed together"
    alone = AlignedWVAEmbeddings(embedder=embedder)
    np.testing.assert_allclose(found, [alone.embed_query(query) for query in queries], atol=1e-5)


async def test_a_cancelled_task_is_not_computed(embedder: AlignedWVA) -> None:
    embeddings, slow = slowed(embedder)
    first = asyncio.create_task(embeddings.aembed_query("first"))
    await asyncio.to_thread(slow.running.wait, 30)
    others = [asyncio.create_task(embeddings.aembed_query(f"{n}")) for n in range(5)]
    while embeddings._queue.waiting < 6:
        await asyncio.sleep(0)
    for task in others[:4]:
        task.cancel()
    await asyncio.sleep(0)
    slow.go.set()
    assert len(await first) == len(await others[4]) == embedder.dimension
    assert sum(slow.runs) == 2
    assert [task.cancelled() for task in others] == [True] * 4 + [False]


def test_copies_share_the_model(embedder: AlignedWVA) -> None:
    embeddings = AlignedWVAEmbeddings(embedder=embedder)
    expected = embeddings.embed_query("sea")
    assert copy.copy(embeddings).embed_query("sea") == expected


def test_embeddings_serve_any_vector_store(embedder: AlignedWVA) -> None:
    store = InMemoryVectorStore(AlignedWVAEmbeddings(embedder=embedder))
    store.add_texts(list(TEXTS.values()))
    found = store.similarity_search_with_score("Tax law is changed every year.", k=4)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert len(found) == 4


def test_our_store_gives_the_cosines_of_our_embeddings(embedder: AlignedWVA) -> None:
    embeddings = AlignedWVAEmbeddings(embedder=embedder)
    texts = list(TEXTS.values())
    with AlignedWVAVectorStore.from_texts(texts, embeddings) as store:
        found = store.similarity_search_with_score("sea", 4)
    query = np.array(embeddings.embed_query("sea"))
    expected = dict(zip(texts, np.array(embeddings.embed_documents(texts)) @ query, strict=True))
    assert {one.page_content: score for one, score in found} == pytest.approx(expected, abs=1e-5)
    other = AlignedWVA(tiny_model(), device="cpu", dtype="float32", prompts=Prompts(passage="{}"))
    plain = AlignedWVAEmbeddings(embedder=embedder, calibrated=False)
    kinds = {identity(one)[1] for one in (embeddings, plain, AlignedWVAEmbeddings(embedder=other))}
    assert len(kinds) == 3


@pytest.mark.parametrize("wrong", [None, "abc", ["a", None], [["a"]], 5, {"text": "a"}])
def test_passages_are_a_list_of_texts(embedder: AlignedWVA, wrong: Any) -> None:
    embeddings = AlignedWVAEmbeddings(embedder=embedder)
    with pytest.raises(UsageError, match="the passages"):
        embeddings.embed_documents(wrong)
    for query in (None, ["a"], 5):
        with pytest.raises(UsageError, match="the query must be a text; it is "):
            embeddings.embed_query(query)  # type: ignore[arg-type]
