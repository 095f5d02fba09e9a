"""The rerank shapes of Cohere, Jina and vLLM, and on `/rerank` that of Text Embeddings Inference.

A document's score is how well the model predicts the query after it: the geometric mean of the
probabilities of the query's tokens, from 0 to 1.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Response
from pydantic import Field

from retriever.arrays import DoubleScores
from retriever.embedding.batching import judged_by
from retriever.interface.server.asked import Foreign
from retriever.interface.server.errors import RequestError, as_json
from retriever.interface.server.openai import MAX_TEXT, count_tokens, find_model
from retriever.interface.server.served import Model, Served

MAX_DOCUMENTS = 1000

JsonObject = dict[str, Any]


class RerankRequest(Foreign):
    """A query and documents: texts, or objects with a `text`."""

    query: str = Field(min_length=1, max_length=20_000)
    documents: list[str | JsonObject] = Field(description="texts, or objects with a text")
    model: str = Field(default="", description="a model's name")
    top_n: int | None = Field(
        default=None, ge=1, description="the number of results; by default all"
    )
    return_documents: bool = False


class RerankOrTextsRequest(Foreign):
    """Either `documents`, or the `texts` of Text Embeddings Inference."""

    query: str = Field(min_length=1, max_length=20_000)
    documents: list[str | JsonObject] | None = None
    texts: list[str] | None = Field(default=None, description="for a bare list of index and score")
    model: str = ""
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool = False
    return_text: bool = False
    raw_scores: bool = Field(default=False, description="logarithms instead of probabilities")


def rerank_routes(served: Served) -> APIRouter:
    """The routes of these shapes."""
    router = APIRouter(tags=["rerank"])

    @router.post("/v1/rerank", summary="Documents in the order in which they answer a query")
    @router.post("/v2/rerank", summary="The same")
    async def rerank(asked: RerankRequest) -> Response:
        return as_json(await _reranked(served, asked))

    @router.post("/rerank", summary="The same, also in the shape of Text Embeddings Inference")
    async def rerank_or_texts(asked: RerankOrTextsRequest) -> Response:
        if (asked.texts is None) == (asked.documents is None):
            raise RequestError("give either documents or texts", "documents")
        if asked.texts is not None:
            return as_json(await _ranked_texts(served, asked, asked.texts))
        given = asked.model_dump(include=set(RerankRequest.model_fields))
        return as_json(await _reranked(served, RerankRequest.model_validate(given)))

    return router


async def _reranked(served: Served, asked: RerankRequest) -> dict[str, Any]:
    model, _ = find_model(served, asked.model)
    texts = [_text(number, one) for number, one in enumerate(asked.documents, 1)]
    scores = np.exp(await _likelihoods(served, model, asked.query, texts))
    results = [
        {"index": at, "relevance_score": float(scores[at])}
        | ({"document": {"text": texts[at]}} if asked.return_documents else {})
        for at in np.argsort(-scores, kind="stable").tolist()[: asked.top_n]
    ]
    tokens = await served.run(lambda: count_tokens(model, texts))
    return {
        "id": f"rerank-{secrets.token_hex(12)}",
        "model": asked.model or model.name,
        "results": results,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "meta": {"billed_units": {"search_units": 1}},
    }


async def _ranked_texts(
    served: Served, asked: RerankOrTextsRequest, texts: Sequence[str]
) -> list[dict[str, Any]]:
    model, _ = find_model(served, asked.model)
    logs = await _likelihoods(served, model, asked.query, texts)
    scores = logs if asked.raw_scores else np.exp(logs)
    return [
        {"index": at, "score": float(scores[at])}
        | ({"text": texts[at]} if asked.return_text else {})
        for at in np.argsort(-logs, kind="stable").tolist()
    ]


async def _likelihoods(
    served: Served, model: Model, query: str, texts: Sequence[str]
) -> DoubleScores:
    """The mean log-likelihood of the query's tokens after each text: (n,)."""
    if not query.strip():
        raise RequestError("the query is empty; give some words to rank by", "query")
    if not 0 < len(texts) <= MAX_DOCUMENTS:
        raise RequestError(
            f"documents takes from 1 to {MAX_DOCUMENTS} texts, not {len(texts)}", "documents"
        )
    for number, text in enumerate(texts, 1):
        if len(text) > MAX_TEXT:
            raise RequestError(
                f"documents: number {number} has {len(text):,} characters, more than {MAX_TEXT:,}",
                "documents",
            )
    found: DoubleScores = await served.rows(model, texts, judged_by(query))
    return found


def _text(number: int, document: str | Mapping[str, Any]) -> str:
    text = document if isinstance(document, str) else document.get("text")
    if not isinstance(text, str):
        raise RequestError(f"documents: number {number} is no text, and has no text", "documents")
    return text


__all__ = ["rerank_routes"]
