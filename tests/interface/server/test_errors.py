"""The status of each error, and what is told of one that nobody expected."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from retriever.interface.server.errors import (
    NotFoundError,
    TooLargeError,
    error_response,
    json_bytes,
)
from retriever.interface.server.served import ServedIndex
from retriever.types import (
    BusyError,
    IndexStateError,
    ModelError,
    ReadError,
    RetrieverError,
    UsageError,
)
from tests.interface.server.running import Running


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("a"), 400),
        (NotFoundError("a"), 404),
        (TooLargeError("a"), 413),
        (BusyError("a", seconds=2.1), 429),
        (IndexStateError("a"), 503),
        (ModelError("a"), 503),
        (ReadError("a"), 500),
    ],
)
def test_errors_have_their_status(error: RetrieverError, status: int) -> None:
    response = error_response("/search", error)
    assert response.status_code == status
    assert response.body == b'{"error":"a"}'
    assert response.headers.get("retry-after") == ("3" if status == 429 else None)


@pytest.mark.parametrize(("path", "more"), [("/search", {}), ("/retrieval", {"knowledge_id": ""})])
def test_an_error_of_ours_tells_no_details(
    notes: Running,
    path: str,
    more: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("the secret of line 7")

    monkeypatch.setattr(ServedIndex, "search", fails)
    with caplog.at_level(logging.CRITICAL):
        answer = notes.post(path, {"query": "cat", **more})
    assert answer.status == 500
    sentence = "the server has failed at this; its terminal shows the error"
    assert sentence in (answer.json.get("error_msg") or answer.json["error"])
    assert b"secret" not in answer.body
    assert answer.headers["connection"] == "close", "the next request would meet a closed one"
    monkeypatch.undo()
    assert notes.post("/search", {"query": "cat"}).status == 200


def test_what_json_cannot_say_is_null_and_ascii() -> None:
    assert json_bytes({"a": float("nan"), "b": [float("inf"), "é"]}) == (
        '{"a":null,"b":[null,"é"]}'.encode()
    )
    assert json_bytes("\udcef é") == rb'"\udcef \u00e9"'


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "cat", "model": None, "encoding_format": None}),
        ("/v1/rerank", {"query": "a", "documents": ["a"], "model": None, "top_n": None}),
        ("/rerank", {"query": "a", "texts": ["a"], "documents": None, "return_text": None}),
        ("/retrieval", {"query": "cat", "knowledge_id": None, "retrieval_setting": None}),
        ("/retrieval", {"query": "cat", "metadata_condition": {"logical_operator": None}}),
        ("/open-webui/search", {"query": "cat", "count": None}),
    ],
)
def test_null_is_what_other_programs_leave_out(notes: Running, path: str, body: Any) -> None:
    answer = notes.post(path, body)
    assert answer.status == 200, answer.body


def test_a_request_without_a_body_is_told_so(notes: Running) -> None:
    answer = notes.post("/search", b"")
    assert (answer.status, answer.json["error"]) == (
        400,
        "the request has no body: send a JSON object",
    )
