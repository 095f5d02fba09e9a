"""The vector store: LangChain's own suite, and what it does not test."""

from __future__ import annotations

import asyncio
import copy
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from retriever.index import Index
from retriever.langchain import AlignedWVAVectorStore
from retriever.types import IndexStateError, ModelError, UsageError
from tests.langchain.embeddings import FastEmbeddings, GivenEmbeddings, WordEmbeddings

TEXTS = [
    "Red apples grow on trees.",
    "Whales sing in the sea.",
    "Tax law is changed every year.",
    "Bread is baked before sunrise.",
]


class TestStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:
        with AlignedWVAVectorStore(self.get_embeddings(), tmp_path / "store") as store:
            yield store


class TestTemporaryStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:
        with AlignedWVAVectorStore(self.get_embeddings()) as store:
            yield store


@pytest.fixture
def store() -> Iterator[AlignedWVAVectorStore]:
    with AlignedWVAVectorStore(WordEmbeddings()) as opened:
        yield opened


# What is given comes back


METADATA: list[dict[str, Any]] = [
    {},
    {"source": "a.txt", "page": 3, "score": 0.5, "final": True, "nothing": None},
    {"tags": ["a", 1, None, 2.5, True], "nested": {"deep": {"er": [1, {"x": None}]}}, "": "empty"},
    {"day": date(2024, 3, 7), "at": datetime(2024, 3, 7, 10, 30, tzinfo=UTC), "pair": (1, (2, 3))},
    {"price": Decimal("1.10"), "id": UUID(int=7), "raw": b"\0\xff", "some": {1, 2}},
    {"$whole": "mine", "a\0b": 1, "$type": "mine", "metadata.x": 1, "path": "p", "chunk_id": "c"},
    {"numbers": {1: "one", (2, 3): "pair"}, "kind": {"$type": "x", "value": 1}, "long": 10**30},
    {"huge": "x" * 1_000_000, "many": {f"key {n}": "value" * 50 for n in range(2000)}},
    {"é": "日本 \U0001f600", "lone": "\ud800", "nul": "\0"},
    {1: "a number names it", None: "nothing"},  # type: ignore[dict-item]
]


@pytest.mark.parametrize("at", range(len(METADATA)))
def test_metadata_comes_back_exactly_and_is_not_touched(
    store: AlignedWVAVectorStore, at: int
) -> None:
    metadata = METADATA[at]
    before = copy.deepcopy(metadata)
    document = Document(page_content="whales", metadata=metadata, id=f"the {at}")
    given = copy.deepcopy(document)
    store.add_documents([document])
    assert document == given
    assert metadata == before
    (by_id,) = store.get_by_ids([f"the {at}"])
    (found,) = store.similarity_search("whales", k=1)
    assert by_id == found == given
    assert [type(value) for value in found.metadata.values()] == [
        type(value) for value in before.values()
    ]
    found.metadata["mine"] = 1
    assert store.get_by_ids([f"the {at}"]) == [given]


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\t", "nul\0", "\ud800", "日本語 \U0001f600 é e\u0301", "a" * 300_000, "?!"],
)
def test_texts_come_back_exactly(store: AlignedWVAVectorStore, text: str) -> None:
    (id_,) = store.add_texts([text])
    assert store.get_by_ids([id_]) == [Document(page_content=text, id=id_)]
    assert store.similarity_search(text, k=3) == [Document(page_content=text, id=id_)]
    for mode in ("hybrid", "keyword"):
        assert len(store.similarity_search("apples", k=3, mode=mode)) <= 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(
    documents=st.lists(
        st.tuples(st.text(), st.dictionaries(st.text(), json_values, max_size=4)), max_size=4
    )
)
def test_any_text_and_metadata_come_back(
    documents: list[tuple[str, dict[str, Any]]],
) -> None:
    with AlignedWVAVectorStore(FastEmbeddings()) as store:
        given = [Document(page_content=text, metadata=each) for text, each in documents]
        ids = store.add_documents(given)
        found = store.get_by_ids(ids)
        assert [(one.page_content, one.metadata) for one in found] == documents
        assert len(store.similarity_search("x", k=9)) == len(documents)


def test_what_would_not_come_back_is_refused(store: AlignedWVAVectorStore) -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless
    for wrong, said in (
        ({"x": object()}, "metadata 'x' holds a object, which cannot be stored"),
        ({"x": [threading.Lock()]}, "metadata 'x' holds a lock"),
        ({"x": endless}, "must not be nested endlessly"),
    ):
        with pytest.raises(UsageError, match=said):
            store.add_texts(["whales", "apples"], [{}, wrong])
    assert not len(store)


# Ids


def test_duplicate_ids_in_one_call_and_upserts(store: AlignedWVAVectorStore) -> None:
    assert store.add_texts(["one", "two", "three"], ids=["a", "b", "a"]) == ["a", "b", "a"]
    assert len(store) == 2
    assert [one.page_content for one in store.get_by_ids(["a", "b"])] == ["three", "two"]
    store.add_texts(["four"], [{"new": 1}], ids=["a"])
    assert store.get_by_ids(["a"]) == [Document(page_content="four", metadata={"new": 1}, id="a")]
    assert len(store.similarity_search("three", k=10)) == 2
    given = [Document(page_content="x", id="mine"), Document(page_content="y")]
    first, second = store.add_documents(given)
    assert first == "mine"
    assert second not in ("mine", "")
    assert given[1].id is None
    assert store.add_documents(given, ids=["c", "d"]) == ["c", "d"]


def test_an_odd_id_is_an_id(store: AlignedWVAVectorStore) -> None:
    ids = ["a b", "é", "e\u0301", "../x", "\ud800", "nul\0", "x" * 10_000, "'; DROP TABLE chunks"]
    store.add_texts(ids, ids=ids)
    assert [one.id for one in store.get_by_ids(ids)] == ids
    assert store.delete(ids[:4])
    assert [one.id for one in store.get_by_ids(ids)] == ids[4:]


def test_delete_is_tolerant_and_never_everything_by_mistake(store: AlignedWVAVectorStore) -> None:
    store.add_texts(TEXTS, ids=list("abcd"))
    assert store.delete(["a", "unknown", "a"]) is True
    assert store.delete([]) is True
    assert len(store) == 3
    with pytest.raises(UsageError, match="delete needs ids"):
        store.delete()
    with pytest.raises(UsageError, match="ids must be a list of texts"):
        store.delete("b")
    with pytest.raises(UsageError, match="'filter' is no option of delete"):
        store.delete(["b"], filter={"year": 2024})
    assert store.delete(delete_all=True) is True
    assert len(store) == 0
    assert store.similarity_search("whales") == []


def test_get_by_ids_keeps_the_order_and_drops_the_missing(store: AlignedWVAVectorStore) -> None:
    store.add_texts(TEXTS, ids=list("abcd"))
    assert [one.id for one in store.get_by_ids(["d", "x", "a"])] == ["d", "a"]
    assert store.get_by_ids([]) == []


def test_texts_ids_and_metadata_may_be_generators(store: AlignedWVAVectorStore) -> None:
    texts = ("whales", "apples")
    ids = store.add_texts(iter(texts), ({"n": n} for n in (1, 2)), ids=iter("ab"))  # type: ignore[arg-type]
    assert ids == ["a", "b"]
    assert [one.metadata for one in store.get_by_ids(ids)] == [{"n": 1}, {"n": 2}]


async def test_no_text_is_lost_on_the_way(store: AlignedWVAVectorStore) -> None:
    """LangChain's own `add_texts` drops what has no id, and what a generator gives."""
    assert len(store.add_texts(text for text in TEXTS)) == 4
    assert len(await store.aadd_texts(iter(TEXTS))) == 4
    assert len(store) == 8
    for wrong, said in (
        (lambda: store.add_texts(TEXTS, ids=["a"]), "4 texts need as many ids; there are 1"),
        (lambda: store.add_texts(TEXTS, [{}]), "4 texts need as many metadatas; there are 1"),
        (lambda: store.add_texts("whales"), "texts must be a list of texts"),
        (lambda: store.add_texts(["a", 5]), "number 2 must be a text"),
        (lambda: store.add_texts(["a"], metadata=[{"x": 1}]), "'metadata' is no option of adding"),
        (lambda: store.add_documents([], metadata=[]), "'metadata' is no option of adding"),
        (lambda: store.add_embeddings([("a", [1.0])], [{}, {}]), "as many metadatas"),
    ):
        with pytest.raises(UsageError, match=said):
            wrong()
    for call in (
        store.aadd_texts(TEXTS, ids=["a"]),
        store.aadd_texts(TEXTS, metadata=[{}]),
        store.aadd_documents([], metadata=[{}]),
    ):
        with pytest.raises(UsageError):
            await call
    assert len(store) == 8
    assert store.add_documents([Document(page_content="x")], batch_size=10)


# Searches


def test_every_search_finds_the_same_first(store: AlignedWVAVectorStore) -> None:
    store.add_texts(TEXTS, ids=list("abcd"))
    vector = store.embeddings.embed_query("whales in the sea")
    found = [
        store.similarity_search("whales in the sea", 2),
        store.similarity_search("whales in the sea", 2, mode="hybrid"),
        store.similarity_search("whales in the sea", 2, mode="keyword"),
        store.similarity_search_by_vector(vector, 2),
        store.max_marginal_relevance_search("whales in the sea", 2),
        store.max_marginal_relevance_search_by_vector(vector, 2),
        [one for one, _ in store.similarity_search_with_score("whales in the sea", 2)],
        [one for one, _ in store.similarity_search_with_score_by_vector(vector, 2)],
        [one for one, _ in store.similarity_search_with_relevance_scores("whales in the sea", 2)],
    ]
    assert {documents[0].id for documents in found} == {"b"}
    for kind in ("similarity", "mmr", "similarity_score_threshold"):
        assert store.search("whales", kind, k=1)[0].id == "b"


async def test_async_searches_are_the_same(store: AlignedWVAVectorStore) -> None:
    await store.aadd_texts(TEXTS, ids=list("abcd"))
    query, vector = "whales in the sea", store.embeddings.embed_query("whales in the sea")
    assert await store.asimilarity_search(query, 3) == store.similarity_search(query, 3)
    found = await store.asimilarity_search_with_score(query, 3, mode="hybrid")
    assert found == store.similarity_search_with_score(query, 3, mode="hybrid")
    by_vector = await store.asimilarity_search_by_vector(vector, 3)
    assert by_vector == store.similarity_search_by_vector(vector, 3)
    diverse = await store.amax_marginal_relevance_search(query, 3)
    assert diverse == store.max_marginal_relevance_search(query, 3)
    assert diverse == await store.amax_marginal_relevance_search_by_vector(vector, 3)
    relevant = await store.asimilarity_search_with_relevance_scores(query, 3)
    assert relevant == store.similarity_search_with_relevance_scores(query, 3)
    assert await store.aget_by_ids(["a"]) == store.get_by_ids(["a"])
    assert await store.adelete(["a"])
    with pytest.raises(UsageError, match="delete needs ids"):
        await store.adelete()
    other = await AlignedWVAVectorStore.afrom_texts(TEXTS, WordEmbeddings(), ids=list("abcd"))
    assert (await other.asimilarity_search("whales", 1))[0].id == "b"
    other.close()


def test_scores_are_cosines_and_relevance_follows_them() -> None:
    rng = np.random.default_rng(1)
    vectors = {f"t{n}": rng.standard_normal(24) * 10 ** rng.uniform(-3, 3) for n in range(60)}
    vectors["same"] = vectors["query"] = rng.standard_normal(24)
    vectors["opposite"] = -3 * np.array(vectors["query"])
    names = [name for name in vectors if name != "query"]
    with AlignedWVAVectorStore.from_texts(names, GivenEmbeddings(vectors), ids=names) as store:
        query = vectors["query"] / np.linalg.norm(vectors["query"])
        expected = {n: float(vectors[n] @ query / np.linalg.norm(vectors[n])) for n in names}
        scored = store.similarity_search_with_score("query", 100)
        assert [one.id for one, _ in scored] == sorted(names, key=lambda n: -expected[n])
        assert [score for _, score in scored] == pytest.approx(
            sorted(expected.values(), reverse=True), abs=1e-5
        )
        relevant = store.similarity_search_with_relevance_scores("query", 100)
        assert [one.id for one, _ in relevant] == [one.id for one, _ in scored]
        values = [score for _, score in relevant]
        assert values == sorted(values, reverse=True)
        assert values == pytest.approx([max(0.0, score) for _, score in scored], abs=1e-6)
        assert (relevant[0][0].id, values[0], values[-1]) == ("same", 1.0, 0.0)
        above = store.similarity_search_with_relevance_scores("query", 100, score_threshold=0.2)
        assert [one.id for one, _ in above] == [n for n, score in relevant_ids(relevant, 0.2)]


def relevant_ids(scored: list[tuple[Document, float]], least: float) -> list[tuple[str, float]]:
    return [(str(one.id), score) for one, score in scored if score >= least]


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(("k", "fetch_k"), [(1, 20), (4, 10), (7, 7), (5, 60), (90, 90)])
def test_marginal_relevance_is_the_naive_one(weight: float, k: int, fetch_k: int) -> None:
    rng = np.random.default_rng(2)
    vectors = {f"t{n}": rng.standard_normal(12) for n in range(50)}
    vectors["query"] = rng.standard_normal(12)
    names = [name for name in vectors if name != "query"]
    with AlignedWVAVectorStore.from_texts(names, GivenEmbeddings(vectors), ids=names) as store:
        found = store.max_marginal_relevance_search("query", k, fetch_k=fetch_k, lambda_mult=weight)
    query = vectors["query"]
    near = sorted(names, key=lambda n: -cosine(vectors[n], query))[:fetch_k]
    picked = maximal_marginal_relevance(query, [list(vectors[n]) for n in near], weight, k)
    assert [one.id for one in found] == [near[at] for at in picked]


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_k_larger_than_the_store(store: AlignedWVAVectorStore) -> None:
    assert store.similarity_search("x", k=5) == []
    assert store.max_marginal_relevance_search("x", k=5) == []
    store.add_texts(TEXTS)
    for mode in ("dense", "hybrid"):
        assert len(store.similarity_search("whales", k=1000, mode=mode)) == 4
    assert len(store.max_marginal_relevance_search("whales", k=1000, fetch_k=5)) == 4


def test_retrievers_of_all_kinds(store: AlignedWVAVectorStore) -> None:
    store.add_texts(TEXTS, [{"n": n} for n in range(4)], ids=list("abcd"))
    for options in (
        {"search_kwargs": {"k": 1}},
        {"search_type": "mmr", "search_kwargs": {"k": 1, "fetch_k": 3, "lambda_mult": 0.4}},
        {
            "search_type": "similarity_score_threshold",
            "search_kwargs": {"k": 4, "score_threshold": 0.5},
        },
        {"search_kwargs": {"k": 4, "filter": {"n": 1}}},
        {"search_kwargs": {"k": 1, "mode": "hybrid"}},
    ):
        retriever = store.as_retriever(**options)
        assert [one.id for one in retriever.invoke("Whales sing in the sea")] == ["b"]
    assert len(store.as_retriever().invoke("whales", k=2)) == 2
    assert "AlignedWVAVectorStore" in store.as_retriever().tags


def test_hybrid_counts_words_and_its_scores_have_no_scale(store: AlignedWVAVectorStore) -> None:
    store.add_texts([*TEXTS, "Form 27-B stroke 6"], ids=list("abcde"))
    assert store.similarity_search("27-B", 1, mode="hybrid")[0].id == "e"
    with pytest.raises(UsageError, match="have no scale from 0 to 1"):
        store.similarity_search_with_relevance_scores("27-B", mode="hybrid")
    with AlignedWVAVectorStore(WordEmbeddings(), mode="keyword") as other:
        other.add_texts(TEXTS)
        assert other.similarity_search("zebra") == []
        assert len(other.similarity_search("whales")) == 1
        with pytest.raises(UsageError, match="have no scale"):
            other.as_retriever(
                search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.1}
            ).invoke("whales")


def test_filters_hold_before_the_search(store: AlignedWVAVectorStore) -> None:
    texts = [f"whales number {n}" for n in range(1000)]
    store.add_texts(texts, [{"n": n, "rare": n % 100 == 0} for n in range(1000)])
    for search in (
        lambda **how: store.similarity_search("whales number 5", 5, **how),
        lambda **how: store.similarity_search("whales number 5", 5, mode="hybrid", **how),
        lambda **how: store.max_marginal_relevance_search("whales number 5", 5, **how),
    ):
        found = search(filter={"rare": True})
        assert len(found) == 5
        assert all(one.metadata["rare"] for one in found)
    assert len(store.similarity_search("x", 50, filter={"n": {"$lt": 3}}, fetch_k=2)) == 3


# Wrong arguments


def test_wrong_arguments_are_refused_in_words(store: AlignedWVAVectorStore) -> None:
    store.add_texts(TEXTS)
    for call, said in (
        (lambda: AlignedWVAVectorStore("model"), "embedding must be LangChain Embeddings"),
        (lambda: AlignedWVAVectorStore(WordEmbeddings(), 5), "path is the folder"),
        (lambda: AlignedWVAVectorStore(WordEmbeddings(), mode="fast"), "unknown mode 'fast'"),
        (lambda: store.similarity_search(5), "the query must be a text"),
        (lambda: store.similarity_search("x", k=0), "at least 1"),
        (lambda: store.similarity_search("x", k="4"), "whole number"),
        (lambda: store.similarity_search("x", where={}), "'where' is no option of a similarity"),
        (lambda: store.similarity_search("x", filter=lambda document: True), "a function could"),
        (lambda: store.similarity_search("x", filter="x > 1"), "a filter is a dictionary"),
        (lambda: store.similarity_search_by_vector([1.0]), "1 dimensions; the store holds"),
        (lambda: store.similarity_search_by_vector("x"), "lists of numbers"),
        (lambda: store.similarity_search_by_vector([float("nan")] * 64), "NaN"),
        (lambda: store.similarity_search_by_vector([0.1] * 64, mode="hybrid"), "by vector is den"),
        (lambda: store.max_marginal_relevance_search("x", lambda_mult=2), "from 0 to 1"),
        (lambda: store.max_marginal_relevance_search("x", fetch_k=0), "at least 1"),
        (lambda: store.max_marginal_relevance_search("x", mode="hybrid"), "'mode' is no option"),
        (lambda: store.add_documents("text"), "documents are a list of Document"),
        (lambda: store.add_documents(["text"]), "documents are a list of Document"),
        (lambda: store.add_documents([Document("x")], ids=["a", "b"]), "need as many ids"),
        (lambda: store.add_documents([Document("x")], ids="a"), "ids must be a list"),
        (lambda: store.add_documents([Document("x")], ids=[5]), "an id must be a text"),
        (lambda: store.add_embeddings([("x", [1.0])]), "1: use the embeddings it was made with"),
        (lambda: store.get_by_ids("a"), "ids must be a list of texts"),
        (
            lambda: AlignedWVAVectorStore.from_texts(["x"], WordEmbeddings(), normalize_L2=True),
            "'normalize_L2' is no option of from_texts",
        ),
    ):
        with pytest.raises(UsageError, match=said):
            call()
    assert len(store) == 4


class Broken(WordEmbeddings):
    """Embeddings that fail, or give nonsense, for some texts."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors = super().embed_documents(texts)
        if "fail" in texts:
            raise RuntimeError("no connection")
        if "few" in texts:
            return vectors[1:]
        if "ragged" in texts:
            return [*vectors[1:], [0.5]]
        if "nan" in texts:
            return [[float("nan")] * 64 for _ in texts]
        return vectors


@pytest.mark.parametrize(
    ("text", "error"),
    [("fail", RuntimeError), ("few", UsageError), ("ragged", UsageError), ("nan", UsageError)],
)
def test_a_failed_add_changes_nothing(text: str, error: type[Exception]) -> None:
    with AlignedWVAVectorStore(Broken()) as store:
        store.add_texts(TEXTS, ids=list("abcd"))
        before = store.similarity_search_with_score("whales", 9)
        with pytest.raises(error):
            store.add_texts(["new", text], ids=["a", "z"])
        assert store.similarity_search_with_score("whales", 9) == before
        store.add_texts(["new"], ids=["a"])
        assert store.get_by_ids(["a"])[0].page_content == "new"


# In a folder


def test_a_store_is_opened_again_as_it_was(tmp_path: Path) -> None:
    with AlignedWVAVectorStore(WordEmbeddings(), tmp_path / "s") as store:
        store.add_texts(TEXTS, [{"n": n} for n in range(4)], ids=list("abcd"))
        store.delete(["a"])
        expected = store.similarity_search_with_score("whales", 9)
    embeddings = WordEmbeddings()
    with AlignedWVAVectorStore(embeddings, str(tmp_path / "s")) as again:
        assert again.similarity_search_with_score("whales", 9) == expected
        again.add_texts([TEXTS[1], TEXTS[1], "new"], ids=["b", "x", "y"])
        assert embeddings.embedded == ["new"], "what is stored is not embedded again"
        assert len(again) == 5
    assert not list((tmp_path / "s").glob("*.pkl"))


def test_a_temporary_store_leaves_nothing(tmp_path: Path) -> None:
    store = AlignedWVAVectorStore.from_texts(TEXTS, WordEmbeddings())
    folder = store.path
    assert folder.is_dir()
    store.close()
    store.close()
    assert not folder.exists()
    with pytest.raises(IndexStateError, match="was closed"):
        store.similarity_search("x")


def test_a_folder_of_other_vectors_is_refused(tmp_path: Path) -> None:
    one = {"x": [1.0, 0.0]}
    AlignedWVAVectorStore.from_texts(["x"], GivenEmbeddings(one), path=tmp_path / "s").close()
    with pytest.raises(IndexStateError, match=r"of GivenEmbeddings given; .* GivenEmbeddings othe"):
        AlignedWVAVectorStore(GivenEmbeddings(one, "other"), tmp_path / "s")
    with AlignedWVAVectorStore(GivenEmbeddings(one), tmp_path / "s") as store:
        with pytest.raises(UsageError, match=r"of 2 dimensions; these\s+have 3"):
            store.add_embeddings([("y", [1.0, 0.0, 0.0])])
        store.delete(delete_all=True)
    wide = GivenEmbeddings({"x": [1.0, 0.0, 0.0]}, "other")
    with AlignedWVAVectorStore(wide, tmp_path / "s") as store:  # an empty one takes any
        store.add_texts(["x"])
        assert store.similarity_search_with_score("x", 1)[0][1] == pytest.approx(1.0)


def test_an_index_of_files_is_no_store_and_a_store_no_index(tmp_path: Path) -> None:
    from retriever.types import Document as OurDocument
    from retriever.types import Page
    from tests.fakes import FakeEmbedder

    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        index.add([OurDocument("a.txt", "txt", (Page(None, "apples"),))])
    with pytest.raises(IndexStateError, match="AlignedWVARetriever"):
        AlignedWVAVectorStore(WordEmbeddings(), tmp_path / "index")
    AlignedWVAVectorStore.from_texts(TEXTS, WordEmbeddings(), path=tmp_path / "s").close()
    with Index.open(tmp_path / "s") as index:
        assert [hit.chunk.text for hit in index.search("whales", mode="keyword")] == [TEXTS[1]]
        with pytest.raises(ModelError, match="AlignedWVAVectorStore"):
            index.search("whales")


def test_an_add_is_killed_and_nothing_half_remains(tmp_path: Path) -> None:
    """The process dies within the transaction; the next one goes on."""
    script = f"""
import os, signal
from retriever.langchain import AlignedWVAVectorStore
from retriever.storage.catalog.writing import Writer
from tests.langchain.embeddings import WordEmbeddings
store = AlignedWVAVectorStore(WordEmbeddings(), {str(tmp_path / "s")!r})
store.add_texts(["kept"], ids=["kept"])
Writer.bump_generation = lambda self: os.kill(os.getpid(), signal.SIGKILL)
store.add_texts(["one", "two", "new"], ids=["1", "2", "kept"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr.decode()
    with AlignedWVAVectorStore(WordEmbeddings(), tmp_path / "s") as store:
        assert [one.page_content for one in store.similarity_search("kept", 9)] == ["kept"]
        store.add_texts(["one", "two"], ids=["1", "2"])
        assert len(store) == 3


# Many


def test_ten_thousand_upserts(tmp_path: Path) -> None:
    with AlignedWVAVectorStore(FastEmbeddings(), tmp_path / "s") as store:
        ids = [str(n) for n in range(5_000)]
        for turn in range(2):
            texts = [f"text {n} of turn {turn}" for n in range(5_000)]
            store.add_texts(texts, [{"n": n, "turn": turn} for n in range(5_000)], ids=ids)
        assert len(store) == 5_000
        for n in (0, 17, 4_999):
            text = f"text {n} of turn 1"
            (found, score), *_ = store.similarity_search_with_score(text, 3)
            assert (found.page_content, round(score, 5)) == (text, 1.0)
            assert found.metadata == {"n": n, "turn": 1}
        assert store.similarity_search("x", 3, filter={"turn": 0}) == []
    with AlignedWVAVectorStore(FastEmbeddings(), tmp_path / "s") as store:
        assert stored_vectors(store) == 5_000, "those of replaced texts are removed"
        assert store.similarity_search("text 17 of turn 1", 1)[0].id == "17"


def stored_vectors(store: AlignedWVAVectorStore) -> int:
    with store.backend.reading() as catalog:
        (count,) = catalog.connection.execute("SELECT COUNT(*) FROM vectors").fetchone()
    return int(count)


def test_unused_vectors_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retriever.langchain.store.TIDY_AFTER", 50)
    with AlignedWVAVectorStore(FastEmbeddings()) as store:
        for turn in range(30):
            store.add_texts([f"text {n} {turn}" for n in range(10)], ids=list("abcdefghij"))
            assert stored_vectors(store) <= 60
        assert len(store) == 10
        assert store.similarity_search("text 3 29", 1)[0].id == "d"


def test_sixteen_threads_add_and_search(tmp_path: Path) -> None:
    errors: list[BaseException] = []
    with AlignedWVAVectorStore(WordEmbeddings(), tmp_path / "s") as store:

        def work(number: int) -> None:
            try:
                for turn in range(4):
                    mine = f"{number} {turn}"
                    store.add_texts([f"whales {mine}", f"shared {turn}"], ids=[mine, "shared"])
                    assert store.get_by_ids([mine])[0].page_content == f"whales {mine}"
                    found = store.similarity_search(f"whales {mine}", 5, mode="hybrid")
                    assert found
                    assert all(one.id and one.page_content for one in found)
                    if turn == 2:
                        store.delete([f"{number} 0"])
            except BaseException as error:  # noqa: BLE001 - it is looked at below
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert len(store) == 16 * 3 + 1
        wanted = {f"{number} {turn}" for number in range(16) for turn in (1, 2, 3)} | {"shared"}
        assert {one.id for one in store.similarity_search("whales", 99)} == wanted


async def test_tasks_add_and_search(store: AlignedWVAVectorStore) -> None:
    async def work(number: int) -> None:
        await store.aadd_texts([f"whales {number}"], ids=[str(number)])
        assert await store.asimilarity_search(f"whales {number}", 2)

    await asyncio.gather(*(work(number) for number in range(32)))
    assert len(store) == 32


def test_two_stores_of_one_folder_take_turns(tmp_path: Path) -> None:
    with (
        AlignedWVAVectorStore(WordEmbeddings(), tmp_path / "s") as one,
        AlignedWVAVectorStore(WordEmbeddings(), tmp_path / "s") as other,
    ):
        one.add_texts(["whales"], ids=["a"])
        other.add_texts(["apples"], ids=["b"])
        one.add_texts(["bread"], ids=["a"])
        assert {each.page_content for each in other.similarity_search("x", 9)} == {
            "bread",
            "apples",
        }


def test_documents_make_a_store_as_well() -> None:
    documents = [Document(page_content=text, id=f"{at}") for at, text in enumerate(TEXTS)]
    with AlignedWVAVectorStore.from_documents(
        documents, DeterministicFakeEmbedding(size=6)
    ) as made:
        assert made.get_by_ids(["2"]) == [documents[2]]
        assert made
