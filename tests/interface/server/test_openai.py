"""Embeddings by OpenAI's own client, and by LangChain's, against the running server."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import openai
import pytest
import tiktoken
from langchain_openai import OpenAIEmbeddings

from retriever.arrays import centred
from tests.interface.server.running import TOKEN, JudgingEmbedder, Running

CATS, TEA = "A cat on the roof.", "Tea with milk, 🍵!"


@pytest.fixture
def client(notes: Running) -> Iterator[openai.OpenAI]:
    made = openai.OpenAI(base_url=f"{notes.url}/v1", api_key=TOKEN, max_retries=0)
    with made:
        yield made


def expected(texts: list[str], kind: str) -> Any:
    """The vectors of the same embedder without what its texts have in common, of length one."""
    embedder = Passages()
    passage_mean, query_mean = embedder.general_means()
    if kind == "query":
        return naive(embedder.embed_queries(texts) - query_mean)
    return naive(embedder.embed_passages(texts) - passage_mean)


def naive(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Passages(JudgingEmbedder):
    def embed_passages(self, texts: list[str]) -> Any:
        return self.embed_inputs([self.passage_input(text) for text in texts])


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
@pytest.mark.parametrize(("model", "kind"), [("fake", "passage"), ("fake:query", "query")])
def test_openais_client_gets_the_vectors(
    client: openai.OpenAI, encoding: Any, model: str, kind: str
) -> None:
    """Its default is base64, which it decodes itself."""
    more = {} if encoding is None else {"encoding_format": encoding}
    answer = client.embeddings.create(input=[CATS, TEA], model=model, user="somebody", **more)
    found = [one.embedding for one in answer.data]
    if encoding == "base64":  # asked for by name it is not decoded
        found = [np.frombuffer(base64.b64decode(one), "<f4") for one in found]  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.array(found, np.float32), expected([CATS, TEA], kind))
    assert [one.index for one in answer.data] == [0, 1]
    assert answer.model == model
    embedder = JudgingEmbedder()
    inputs = [
        one
        for text in (CATS, TEA)
        for one in (
            embedder.query_inputs(text) if kind == "query" else [embedder.passage_input(text)]
        )
    ]
    assert answer.usage.prompt_tokens == embedder.count_tokens(inputs)


def test_one_text_and_the_models_own_dimensions(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(input=CATS, model="fake", dimensions=256)
    assert np.array(answer.data[0].embedding, np.float32).tolist() == (
        expected([CATS], "passage")[0].tolist()
    )


def test_the_means_of_the_model_are_taken_off(
    notes: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = notes.served.models[0].embedder
    passages, queries = (np.linspace(0, end, 256, dtype=np.float32) for end in (0.1, 0.2))
    monkeypatch.setattr(embedder, "general_means", lambda: (passages, queries))
    for name, given, mean in (
        ("fake", {}, passages),
        ("fake", {"input_type": "search_document"}, passages),
        ("fake:query", {}, queries),
        ("fake", {"prompt_name": "query"}, queries),
    ):
        answer = notes.post("/v1/embeddings", {"input": CATS, "model": name, **given}).json
        raw = (
            embedder.embed_queries([CATS])
            if mean is queries
            else embedder.embed_inputs([embedder.passage_input(CATS)])
        )
        found = np.array(answer["data"][0]["embedding"], np.float32)
        np.testing.assert_allclose(found, centred(raw, mean)[0], atol=1e-7)
        assert np.linalg.norm(found) == pytest.approx(1)


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    assert [one.id for one in client.models.list()] == ["fake", "fake:query"]
    assert client.models.retrieve("fake:query").id == "fake:query"
    assert [one["id"] for one in client.get("/models/", cast_to=dict)["data"]] == [
        "fake",
        "fake:query",
    ]
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt' here; there are fake"):
        client.models.retrieve("gpt")


@pytest.mark.parametrize(
    ("given", "param", "sentence"),
    [
        ({"dimensions": 128}, "dimensions", "vectors of fake have 256 numbers and cannot be short"),
        ({"encoding_format": "int8"}, "encoding_format", "is float or base64; it is 'int8'"),
        ({"input": [1, 2, 3]}, "input", "check_embedding_ctx_length=False"),
        ({"input": [[1, 2], [3]]}, "input", "check_embedding_ctx_length=False"),
        ({"input": [CATS, 7]}, "input", "check_embedding_ctx_length=False"),
        ({"input": [CATS, None]}, "input", "number 2 is no text"),
        ({"input": {"a": 1}}, "input", "takes a text, or a list of texts"),
        ({"input": []}, "input", "from 1 to 2048 texts, not 0"),
        ({"input": ["a"] * 2049}, "input", "from 1 to 2048 texts, not 2049"),
        ({"input": [CATS, " "]}, "input", "text 2 is empty; leave it out"),
        ({"input": "a" * 200_001}, "input", "more than 200,000; cut it into passages"),
        ({"input_type": "classification"}, "input_type", "is query or passage"),
    ],
)
def test_what_cannot_be_embedded_is_said(
    client: openai.OpenAI, given: dict[str, Any], param: str, sentence: str
) -> None:
    body = {"input": CATS, "model": "fake", **given}
    with pytest.raises(openai.BadRequestError, match=sentence) as told:
        client.post("/embeddings", body=body, cast_to=object)
    assert told.value.param == param
    assert told.value.type == "invalid_request_error"


def test_another_model_is_never_taken_in_its_place(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as told:
        client.embeddings.create(input=CATS, model="text-embedding-3-small")
    assert told.value.code == "model_not_found"
    assert told.value.param == "model"


def test_a_wrong_token_is_told(notes: Running) -> None:
    with (
        openai.OpenAI(base_url=f"{notes.url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="token is missing or wrong"),
    ):
        client.embeddings.create(input=CATS, model="fake")


# LangChain


@contextmanager
def langchain(notes: Running, **options: Any) -> Iterator[OpenAIEmbeddings]:
    with openai.DefaultHttpxClient() as client:
        yield OpenAIEmbeddings(
            base_url=f"{notes.url}/v1",
            api_key=TOKEN,
            max_retries=0,
            http_client=client,
            **{"model": "fake", **options},
        )


def test_langchains_client_gets_the_vectors(notes: Running) -> None:
    with langchain(notes, check_embedding_ctx_length=False) as embeddings:
        found = np.array(embeddings.embed_documents([CATS, TEA]), np.float32)
    np.testing.assert_array_equal(found, expected([CATS, TEA], "passage"))
    with langchain(notes, check_embedding_ctx_length=False, model="fake:query") as embeddings:
        found = np.array([embeddings.embed_query(CATS)], np.float32)
    np.testing.assert_array_equal(found, expected([CATS], "query"))


async def test_langchains_asynchronous_client(notes: Running) -> None:
    async with openai.DefaultAsyncHttpxClient() as client:
        embeddings = OpenAIEmbeddings(
            base_url=f"{notes.url}/v1",
            api_key=TOKEN,
            model="fake",
            check_embedding_ctx_length=False,
            http_async_client=client,
        )
        found = np.array(await embeddings.aembed_documents([TEA, CATS]), np.float32)
    np.testing.assert_array_equal(found, expected([TEA, CATS], "passage"))


def test_langchains_tokens_are_refused_with_the_settings_name(
    notes: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    bytes_alone = tiktoken.Encoding(
        "bytes", pat_str=".", mergeable_ranks={bytes([b]): b for b in range(256)}, special_tokens={}
    )
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: bytes_alone)
    monkeypatch.setattr(tiktoken, "encoding_for_model", lambda name: bytes_alone)
    refused = pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False")
    with langchain(notes) as embeddings, refused:
        embeddings.embed_documents([CATS])


def test_the_server_does_not_import_the_clients() -> None:
    code = "import sys, retriever.interface.server.run; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "fastapi" in done.stdout.split()
    assert not {"openai", "httpx", "langchain_core", "torch", "streamlit"} & set(
        done.stdout.split()
    )
