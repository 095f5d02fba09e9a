"""The retriever: LangChain's own suite, and what it does not test."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from langchain_core.documents import Document as LangChainDocument
from langchain_core.runnables import ConfigurableField
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from langchain_tests.integration_tests import RetrieversIntegrationTests
from pydantic import ValidationError

from retriever import AlignedWVA, Document, Index, Page
from retriever.langchain import AlignedWVARetriever
from retriever.searching.options import SearchOptions
from retriever.types import UsageError
from tests.fakes import FakeEmbedder
from tests.live import live
from tests.tiny import save_model

TEXTS = {
    "apple.txt": "Red apples grow on trees.",
    "sea.txt": "Whales breathe air and sing in the sea.",
    "law.txt": "Tax law is changed every year.",
    "bread.txt": "Bread is baked before sunrise.",
}


@cache
def tiny_model() -> str:
    return str(save_model(Path(mkdtemp(prefix="wva-test-")) / "tiny"))


@cache
def small_index() -> Index:
    embedder = AlignedWVA(tiny_model(), device="cpu", dtype="float32")
    index = Index.open_or_create(Path(mkdtemp(prefix="wva-test-")) / "index", embedder)
    index.add(
        Document(path, "txt", (Page(None, text),), metadata={"length": len(text)})
        for path, text in TEXTS.items()
    )
    return index


class TestRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[AlignedWVARetriever]:
        return AlignedWVARetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Index]:
        return {"index": small_index()}

    @property
    def retriever_query_example(self) -> str:
        return "Who sings in the sea?"


def test_documents_carry_place_and_scores() -> None:
    retriever = AlignedWVARetriever(index=small_index(), k=2, mode="keyword")
    (document,) = retriever.invoke("whales")
    (hit,) = small_index().search("whales", 2, mode="keyword")
    assert isinstance(document, LangChainDocument)
    assert (document.id, document.page_content) == (hit.chunk.id, hit.chunk.text)
    assert document.metadata["path"] == "sea.txt"
    assert document.metadata["score"] == hit.score
    assert document.metadata["length"] == len(TEXTS["sea.txt"])
    assert document.metadata["page"] is None


async def test_one_call_can_differ() -> None:
    retriever = AlignedWVARetriever(index=small_index())
    where = {"path": "law.txt"}
    assert [d.metadata["path"] for d in retriever.invoke("sea", where=where)] == ["law.txt"]
    found = await retriever.ainvoke("sea", where=where, mode="dense")
    assert [document.metadata["path"] for document in found] == ["law.txt"]
    assert len(retriever.invoke("sea", k=3, mode="dense")) == 3
    with pytest.raises(UsageError, match="unknown mode"):
        retriever.invoke("sea", mode="nonsense")


async def test_results_are_reranked_for_all_calls_or_one() -> None:
    index, query = small_index(), "Who sings in the sea?"
    expected = [
        (hit.chunk.id, hit.rerank) for hit in index.search(query, 3, rerank=2, rerank_seconds=60)
    ]
    assert [known is None for _, known in expected] == [False, False, True]
    set_here = AlignedWVARetriever(index=index, k=3, rerank=2, rerank_seconds=60)
    given = AlignedWVARetriever(index=index, k=3, rerank_seconds=60)
    for documents in (set_here.invoke(query), await given.ainvoke(query, rerank=2)):
        found = [(each.id, each.metadata["rerank"]) for each in documents]
        assert [each for each, _ in found] == [each for each, _ in expected]
        assert found[0][1] == pytest.approx(expected[0][1], rel=1e-4)
    assert all(each.metadata["rerank"] is None for each in given.invoke(query))


async def test_every_option_of_a_search_is_one_of_the_retriever() -> None:
    index, query = small_index(), '"whales" sing'
    options = SearchOptions(k=2, mode="dense", fold=False, syntax=False)
    expected = [hit.chunk.id for hit in index.search(query, options=options)]
    for retriever in (
        AlignedWVARetriever(index=index, options=options),
        AlignedWVARetriever(index=index, options={"k": 2, "mode": "dense", "fold": False}),
        AlignedWVARetriever(index=index, k=2, mode="dense", fold=False),
    ):
        assert retriever.options == options
        assert [each.id for each in retriever.invoke(query)] == expected
    plain = AlignedWVARetriever(index=index)
    assert plain.options == SearchOptions(syntax=False)
    found = await plain.ainvoke(query, k=2, mode="dense", fold=False)
    assert [each.id for each in found] == expected
    assert len(plain.invoke(query, mode="keyword", syntax=True)) == 1


async def test_a_document_says_why_it_was_found_on_request() -> None:
    index, query = small_index(), "Who sings in the sea?"
    always = AlignedWVARetriever(index=index, k=2, explain=True)
    asked = AlignedWVARetriever(index=index, k=2)
    for found in (
        always.invoke(query),
        asked.invoke(query, explain=True),
        await asked.ainvoke(query, explain=True),
        asked.invoke(query, explain=True, rerank=2),
        asked.invoke("whales", explain=True, mode="keyword"),
    ):
        assert found
        for document in found:
            told = document.metadata["explanation"]
            assert json.loads(json.dumps(told)) == told
            assert told["chunk_id"] == document.id
            total = sum(term["value"] for term in told["terms"])
            assert total == pytest.approx(document.metadata["score"], abs=1e-5)
    for plain in (asked.invoke(query), always.invoke(query, explain=False)):
        assert all("explanation" not in document.metadata for document in plain)
    with pytest.raises(UsageError, match="explain must be true or false; it is 1"):
        asked.invoke(query, explain=1)


def test_the_number_printed_on_a_page_is_told(tmp_path: Path) -> None:
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        page = Page(39, "Whales sing in the sea. They breathe air.", printed="23")
        index.add([Document("a.pdf", "pdf", (page,))])
        (found,) = AlignedWVARetriever(index=index).invoke("whales sing")
    assert (found.metadata["page"], found.metadata["printed"]) == (39, "23")
    assert found.metadata["sentence"]["text"] == "Whales sing in the sea."
    assert found.metadata["sentence"]["page"] == 39


def test_options_can_be_left_to_the_chain() -> None:
    retriever = AlignedWVARetriever(index=small_index(), k=1)
    chosen = retriever.configurable_fields(options=ConfigurableField(id="options"))
    given = {"configurable": {"options": {"k": 3, "mode": "dense"}}}
    assert [len(chosen.invoke("sea")), len(chosen.invoke("sea", config=given))] == [1, 3]


def test_an_option_that_does_not_exist_is_refused() -> None:
    retriever = AlignedWVARetriever(index=small_index(), tags=["mine"])
    assert retriever.tags == ["mine"]
    for wrong in (
        lambda: AlignedWVARetriever(index=small_index(), rerank_seconde=3),
        lambda: AlignedWVARetriever(index=small_index(), options={"rerank_seconde": 3}),
        lambda: retriever.invoke("sea", rerank_seconde=3),
    ):
        with pytest.raises(UsageError, match="'rerank_seconde' is no search option; there are k"):
            wrong()
    with pytest.raises(UsageError, match="at least 1; it is 0"):
        AlignedWVARetriever(index=small_index(), k=0)


def test_wrong_types_are_refused_by_name() -> None:
    retriever = AlignedWVARetriever(index=small_index())
    for make, said in (
        (lambda: retriever.invoke({"question": "sea"}), "the query must be a text; it is {"),
        (lambda: retriever.invoke("sea", k="5"), "k must be a whole number"),
        (lambda: retriever.invoke("sea", filter={}), "'filter' is no search option"),
        (lambda: AlignedWVARetriever(index=small_index(), filter={}), "'filter' is no search opt"),
        (lambda: AlignedWVARetriever(index=small_index(), search_kwargs={}), "'search_kwargs'"),
        (lambda: AlignedWVARetriever(index=small_index(), where={"x": {"foo": 1}}), "'foo'"),
        (lambda: AlignedWVARetriever(index=small_index(), where={"date": "x"}), "is no date"),
        (lambda: AlignedWVARetriever(index=small_index(), options=5), "options are SearchOptions"),
        (lambda: AlignedWVARetriever(index=5), "index is an open Index"),
    ):
        with pytest.raises(UsageError, match=said):
            make()
    for name, value in (("filter", {}), ("options", {"k": 5}), ("index", 5)):
        with pytest.raises(ValidationError, match=name):
            setattr(retriever, name, value)


def test_a_retriever_is_copied_and_pickled_by_its_folder() -> None:
    retriever = AlignedWVARetriever(index=small_index(), k=1, mode="keyword")
    for other in (
        copy.deepcopy(retriever),
        retriever.model_copy(deep=True),
        retriever.model_copy(),
        pickle.loads(pickle.dumps(retriever)),  # noqa: S301 - our own
    ):
        assert other.options == retriever.options
        assert [each.metadata["path"] for each in other.invoke("whales")] == ["sea.txt"]


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_marginal_relevance_is_langchains_own(weight) -> None:
    """What a vector store's `max_marginal_relevance_search` is made of."""
    index = small_index()
    raw = index.embed_query("sea")
    near = index.search_by_vector(raw, 3)
    vectors = live(index.backend).vectors([hit.chunk.id for hit in near])
    # A unit vector with the very cosines that the hits have: one more axis takes what is left.
    query = np.linalg.lstsq(vectors, np.array([hit.score for hit in near]), rcond=None)[0]
    query = np.append(query, np.sqrt(1 - query @ query))
    padded = np.pad(vectors, ((0, 0), (0, 1)))
    expected = maximal_marginal_relevance(query, padded.tolist(), weight, 2)
    found = index.diverse_by_vector(raw, 2, candidates=3, weight=weight)
    assert [each.chunk.id for each in found] == [near[at].chunk.id for at in expected]
    (only,) = index.diverse_by_vector(raw, where={"path": "law.txt"})
    assert only.chunk.path == "law.txt"
    assert index.diverse_by_vector(raw, candidates=0) == []


def test_a_retriever_opens_an_index_by_its_folder() -> None:
    retriever = AlignedWVARetriever(index=small_index().name, mode="keyword")
    assert [document.metadata["path"] for document in retriever.invoke("bread")] == ["bread.txt"]
    assert retriever.get_name() == "AlignedWVARetriever"


def test_importing_loads_neither_a_model_library_nor_faiss() -> None:
    script = (
        "import sys, retriever.langchain as all_of_it\n"
        "before = set(sys.modules)\n"
        "assert not [name for name in before if name.startswith('retriever.langchain.')]\n"
        "for name in all_of_it.__all__: assert getattr(all_of_it, name) is not None\n"
        "assert set(all_of_it.__all__) <= set(dir(all_of_it))\n"
        "heavy = {'torch', 'faiss', 'streamlit', 'transformers', 'ray', 'pymilvus'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_error() -> None:
    import retriever.langchain

    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = retriever.langchain.nonsense


def test_without_langchain_a_sentence_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['langchain_core'] = None\n"
        "try: import retriever.langchain\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "pip install 'wva-retriever[langchain]'" in done.stdout
