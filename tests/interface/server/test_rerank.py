"""Reranking by plain HTTP, as Cohere's, Jina's and vLLM's clients do, and in the shape of TEI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retriever import AlignedWVA
from tests.fakes import FakeEmbedder
from tests.interface.server.running import Running, make_index, running, served
from tests.tiny import save_model

QUERY = "cat roof house"
DOCUMENTS = ["tea and milk", "a cat on the roof", "the cat , the roof , the house", "a roof"]
SHARES = [0, 2 / 3, 1, 1 / 3]
ORDER = [2, 1, 3, 0]


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_documents_come_in_the_order_of_their_scores(notes: Running, path: str) -> None:
    answer = notes.post(path, {"model": "fake", "query": QUERY, "documents": DOCUMENTS}).json
    assert [one["index"] for one in answer["results"]] == ORDER
    scores = [one["relevance_score"] for one in answer["results"]]
    assert scores == pytest.approx([np.exp(SHARES[at] - 2) for at in ORDER])
    assert all(0 <= score <= 1 for score in scores)
    assert answer["model"] == "fake"
    assert answer["usage"]["total_tokens"] > 10
    assert all(one.keys() == {"index", "relevance_score"} for one in answer["results"])


def test_the_first_ones_with_their_texts(notes: Running) -> None:
    body = {
        "query": QUERY,
        "documents": [{"text": text} for text in DOCUMENTS],
        "top_n": 2,
        "return_documents": True,
    }
    for path in ("/v1/rerank", "/rerank"):
        results = notes.post(path, body).json["results"]
        assert [one["document"]["text"] for one in results] == [DOCUMENTS[at] for at in ORDER[:2]]


def test_as_open_webui_asks(notes: Running) -> None:
    """It needs a score for every document, whatever `top_n` is."""
    body = {"model": "fake", "query": QUERY, "documents": DOCUMENTS, "top_n": len(DOCUMENTS)}
    results = notes.post("/v1/rerank", body).json["results"]
    assert sorted(one["index"] for one in results) == [0, 1, 2, 3]


def test_the_shape_of_text_embeddings_inference(notes: Running) -> None:
    body = {"query": QUERY, "texts": DOCUMENTS, "truncate": True}
    found = notes.post("/rerank", body).json
    assert [one["index"] for one in found] == ORDER
    assert found[0] == {"index": 2, "score": pytest.approx(np.exp(-1))}
    raw = notes.post("/rerank", {**body, "raw_scores": True, "return_text": True}).json
    assert raw[0] == {"index": 2, "score": pytest.approx(-1), "text": DOCUMENTS[2]}
    assert notes.post("/v1/rerank", body).status == 400, "elsewhere they are documents"


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/v1/rerank", {"query": QUERY}, "documents: field required"),
        ("/v1/rerank", {"query": "", "documents": ["a"]}, "query: string should have at least 1"),
        ("/v1/rerank", {"query": " ", "documents": ["a"]}, "the query is empty; give some words"),
        ("/v1/rerank", {"query": QUERY, "documents": []}, "from 1 to 1000 texts, not 0"),
        ("/v1/rerank", {"query": QUERY, "documents": [{"title": "a"}]}, "number 1 is no text"),
        ("/v1/rerank", {"query": QUERY, "documents": ["a" * 200_001]}, "number 1 has 200,001"),
        ("/v1/rerank", {"query": QUERY, "documents": ["a"], "top_n": 0}, "top_n: input should be"),
        ("/rerank", {"query": QUERY}, "give either documents or texts"),
        ("/rerank", {"query": QUERY, "documents": ["a"], "texts": ["a"]}, "give either"),
    ],
)
def test_what_is_wrong_is_said_in_openais_shape(
    notes: Running, path: str, body: Any, sentence: str
) -> None:
    answer = notes.post(path, body)
    assert answer.status == 400
    assert sentence in answer.json["error"]["message"]


def test_another_model_is_named(notes: Running) -> None:
    answer = notes.post("/v1/rerank", {"model": "bge", "query": QUERY, "documents": ["a"]})
    assert answer.status == 404
    assert answer.json["error"]["code"] == "model_not_found"


def test_an_embedder_that_cannot_judge_says_so(tmp_path: Path) -> None:
    opened = served({"notes": make_index(tmp_path / "notes")}, FakeEmbedder())
    with running(opened) as server:
        answer = server.post("/v1/rerank", {"query": QUERY, "documents": ["a"]})
        assert answer.status == 400
        assert "cannot rerank" in answer.json["error"]["message"]


def test_a_language_model_judges_as_it_does_by_itself(tmp_path: Path) -> None:
    embedder = AlignedWVA(str(save_model(tmp_path / "tiny")), device="cpu", dtype="float32")
    with running(served({}, embedder)) as server:
        body = {"model": "tiny", "query": QUERY, "documents": DOCUMENTS}
        found = server.post("/v1/rerank", body).json["results"]
        scores = {one["index"]: one["relevance_score"] for one in found}
        alone = np.exp(embedder.log_likelihoods(QUERY, DOCUMENTS))
        assert [scores[at] for at in range(4)] == pytest.approx(alone.tolist(), rel=1e-4)
        refused = server.post("/search", {"query": "cat"})
        assert (refused.status, refused.json["error"]) == (
            404,
            "no index is served here, only a model",
        )
