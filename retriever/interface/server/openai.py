"""OpenAI's shapes: embeddings, and the list of models.

A model has two names: its own, which embeds passages, and that with `:query`, which embeds
questions. Vectors have length one, and what all texts of the model have in common is removed, as in
`retriever.langchain`: the inner product is the similarity.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field, WithJsonSchema

from retriever.arrays import Vectors, centred
from retriever.embedding.batching import PASSAGE, QUERY
from retriever.interface.server.asked import Foreign
from retriever.interface.server.errors import RequestError, as_json
from retriever.interface.server.served import Model, Served

MAX_TEXTS = 2048
"""Texts of one request, as OpenAI has it."""

MAX_TEXT = 200_000
"""Characters of one text."""

_SUFFIXES = {"": PASSAGE, "passage": PASSAGE, "query": QUERY}
_TASKS = {
    **dict.fromkeys(("passage", "document", "search_document"), PASSAGE),
    **dict.fromkeys(("query", "search_query"), QUERY),
}
"""The values of `prompt_name` and `input_type`, as other servers call them."""

_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class EmbeddingsRequest(Foreign):
    """A request for embeddings; fields that are not named here are ignored, as `user` is."""

    input: Annotated[Any, WithJsonSchema(_TEXTS)] = Field(description="a text, or several")
    model: str = Field(default="", description="a model's name; with :query for questions")
    encoding_format: str = Field(default="float", description="float, or base64: float32")
    dimensions: int | None = Field(default=None, description="the model's own number, or nothing")
    prompt_name: str | None = Field(default=None, description="query or passage")
    input_type: str | None = Field(default=None, description="query or passage")


def openai_routes(served: Served) -> APIRouter:
    """The routes of these shapes."""
    router = APIRouter(tags=["OpenAI"])

    @router.get("/v1/models", summary="The names of the models")
    async def models() -> Response:
        names = [name for model in served.models for name in (model.name, f"{model.name}:query")]
        return as_json({"object": "list", "data": [_described(name) for name in names]})

    @router.get("/v1/models/{name:path}", summary="One model")
    async def model(name: str) -> Response:
        if not name:
            return await models()
        find_model(served, name)
        return as_json(_described(name))

    @router.post("/v1/embeddings", summary="The vectors of texts")
    async def embeddings(asked: EmbeddingsRequest) -> Response:
        model, kind = find_model(served, asked.model)
        kind = _kind(asked) or kind
        texts = _checked_texts(asked.input)
        _check_format(asked, model)
        vectors = await served.rows(model, texts, kind)
        return await served.run(lambda: as_json(_document(asked, model, kind, texts, vectors)))

    return router


def find_model(served: Served, name: str) -> tuple[Model, str]:
    """The model of a name, and the kind of text that the name stands for."""
    bare, _, suffix = name.rpartition(":")
    if bare and suffix in _SUFFIXES:
        return served.model(bare), _SUFFIXES[suffix]
    return served.model(name), PASSAGE


def count_tokens(model: Model, texts: Sequence[str], kind: str = PASSAGE) -> int:
    """The tokens that the model reads of these texts, prompts included."""
    embedder = model.embedder
    if kind == QUERY:
        return embedder.count_tokens([one for text in texts for one in embedder.query_inputs(text)])
    return embedder.count_tokens([embedder.passage_input(text) for text in texts])


def _described(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "wva"}


def _kind(asked: EmbeddingsRequest) -> str:
    """The kind that the request names beside the model's name; empty for none."""
    for field, given in (("prompt_name", asked.prompt_name), ("input_type", asked.input_type)):
        if given and given not in _TASKS:
            raise RequestError(f"{field} is query or passage; it is {given!r}", field)
        if given:
            return _TASKS[given]
    return ""


def _checked_texts(given: Any) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list):
        raise RequestError("input takes a text, or a list of texts", "input")
    if any(isinstance(one, int | list) for one in texts):
        raise RequestError(
            "input holds numbers of another model's tokens, which mean nothing here: send texts. "
            "In LangChain set check_embedding_ctx_length=False of OpenAIEmbeddings",
            "input",
        )
    if not 0 < len(texts) <= MAX_TEXTS:
        raise RequestError(f"input takes from 1 to {MAX_TEXTS} texts, not {len(texts)}", "input")
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise RequestError(f"input: number {number} is no text", "input")
        if not text.strip():
            raise RequestError(f"input: text {number} is empty; leave it out", "input")
        if len(text) > MAX_TEXT:
            raise RequestError(
                f"input: text {number} has {len(text):,} characters, more than {MAX_TEXT:,}; "
                "cut it into passages",
                "input",
            )
    return texts


def _check_format(asked: EmbeddingsRequest, model: Model) -> None:
    own = model.embedder.settings.dimension
    if asked.dimensions not in (None, own):
        raise RequestError(
            f"dimensions: vectors of {model.name} have {own} numbers and cannot be shortened; "
            f"leave dimensions out (it is {asked.dimensions})",
            "dimensions",
        )
    if asked.encoding_format not in ("float", "base64"):
        raise RequestError(
            f"encoding_format is float or base64; it is {asked.encoding_format!r}",
            "encoding_format",
        )


def _document(
    asked: EmbeddingsRequest, model: Model, kind: str, texts: Sequence[str], raw: Vectors
) -> dict[str, Any]:
    passages, queries = model.embedder.general_means()
    vectors = centred(raw, queries if kind == QUERY else passages)
    tokens = count_tokens(model, texts, kind)
    shown: Sequence[Any] = (
        [base64.b64encode(row.tobytes()).decode("ascii") for row in vectors.astype("<f4")]
        if asked.encoding_format == "base64"
        else vectors.tolist()
    )
    return {
        "object": "list",
        "model": asked.model or model.name,
        "data": [
            {"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(shown)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


__all__ = ["MAX_TEXT", "count_tokens", "find_model", "openai_routes"]
