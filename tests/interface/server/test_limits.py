"""What a server does with too much: large bodies, many callers, and callers that hang up."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retriever.interface.server import limits
from retriever.interface.server.limits import Limits
from tests.interface.server.running import (
    SECONDS,
    TOKEN,
    JudgingEmbedder,
    Running,
    make_index,
    running,
    served,
)
from tests.interface.server.test_rest import metric
from tests.servers import wait_until


class HeldEmbedder(JudgingEmbedder):
    """It computes nothing until the gate is open, as a model that takes a while."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)

    def embed_inputs(self, inputs: Sequence[str]) -> Any:
        self.begun.release()
        assert self.gate.wait(SECONDS)
        return super().embed_inputs(inputs)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Running, HeldEmbedder]]:
    """A server of two threads in which five requests may wait."""
    folder = make_index(tmp_path / "notes")
    embedder = HeldEmbedder()
    with running(served({"notes": folder}, embedder, threads=2, max_waiting=5)) as server:
        yield server, embedder
        embedder.gate.set()


def embed(server: Running, *texts: str) -> Any:
    return server.post("/v1/embeddings", {"input": list(texts), "model": "fake"})


# Size


@pytest.mark.parametrize("length", [str(limits.MAX_BYTES + 1), None])
def test_a_large_request_is_refused(notes: Running, length: str | None) -> None:
    """By the length that it tells, or by what has arrived."""
    head = [
        *("POST /search HTTP/1.1", "Host: localhost", f"Authorization: Bearer {TOKEN}"),
        f"Content-Length: {length}" if length else "Transfer-Encoding: chunked",
        *("", ""),
    ]
    with socket.create_connection(("127.0.0.1", notes.port), timeout=SECONDS) as connection:
        connection.sendall("\r\n".join(head).encode())
        if not length:
            chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
            for _ in range(8):
                connection.sendall(chunk)
            connection.sendall(b"1\r\n \r\n")
        answer = b""
        while b"}" not in answer:
            answer += connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'{"error":"the request is larger than 8 MB; send less at once"}' in answer


async def ended(app: Limits, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is sent by an application that is given these messages, and then nothing."""
    sent = []
    never = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not messages:
            await never.wait()
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app({"type": "http", "path": "/search", "headers": []}, receive, send)
    return sent


async def test_a_body_that_never_ends_is_given_up() -> None:
    async def unreachable(*_: object) -> None:
        raise AssertionError

    piece = {"type": "http.request", "body": b"x" * 10, "more_body": True}
    start, end = await ended(Limits(unreachable, seconds=0.01), [piece])
    assert start["status"] == 408
    assert b"did not arrive within 0.01 seconds" in end["body"]
    start, end = await ended(Limits(unreachable, most=15), [piece, dict(piece)])
    assert start["status"] == 413
    assert await ended(Limits(unreachable), [piece, {"type": "http.disconnect"}]) == []


# Callers that hang up


def test_the_request_of_a_caller_who_hung_up_is_dropped(held: Any) -> None:
    server, embedder = held
    queue = server.served.models[0].queue
    with ThreadPoolExecutor() as callers:
        first = callers.submit(embed, server, "first")
        assert embedder.begun.acquire(timeout=SECONDS)
        gone = hang_up(server, {"input": "dropped", "model": "fake"})
        wait_until(lambda: queue.waiting == 2)
        gone.close()
        wait_until(
            lambda: metric(server, 'wva_requests_total{route="/v1/embeddings",status="499"') == 1
        )
        embedder.gate.set()
        assert first.result(SECONDS).status == 200
        assert embed(server, "last").status == 200
    assert embedder.embedded == ["passage: first", "passage: last"]
    assert queue.waiting == 0


def hang_up(server: Running, body: dict[str, Any]) -> socket.socket:
    """A connection with a request whose answer nobody will read."""
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS)
    connection.sendall(head.encode() + data)
    return connection


def test_what_waits_ends_when_the_server_stops(held: Any) -> None:
    server, embedder = held
    with ThreadPoolExecutor() as callers:
        first = callers.submit(embed, server, "first")
        assert embedder.begun.acquire(timeout=SECONDS)
        waiting = callers.submit(embed, server, "waiting")
        wait_until(lambda: server.served.models[0].queue.waiting == 2)
        server.served.stop()
        refused = waiting.result(SECONDS)
        assert refused.status == 503
        assert refused.json["error"]["message"] == "the server is stopping; try again later"
        embedder.gate.set()
        first.result(SECONDS)


# Many callers


@pytest.mark.parametrize("path", ["/v1/embeddings", "/search"])
def test_too_many_callers_are_told_to_come_again(held: Any, path: str) -> None:
    server, embedder = held
    bodies = {"/v1/embeddings": {"input": "cat", "model": "fake"}, "/search": {"query": "cat"}}
    with ThreadPoolExecutor(30) as callers:
        futures = [callers.submit(server.post, path, bodies[path]) for _ in range(30)]
        wait_until(lambda: sum(one.done() for one in futures) == 25)
        refused = [one.result() for one in futures if one.done()]
        embedder.gate.set()
        statuses = Counter(one.result(SECONDS).status for one in futures)
    assert statuses == {429: 25, 200: 5}
    for reply in refused:
        assert 1 <= int(reply.headers["retry-after"]) <= 60
        error = reply.json["error"]
        sentence = error["message"] if path.startswith("/v1") else error
        assert "try again later" in sentence
        assert path == "/search" or error["type"] == "rate_limit_error"
    assert server.post(path, bodies[path]).status == 200


def test_sixty_four_callers_at_once_get_what_one_gets(notes: Running) -> None:
    queries = [
        f"a {animal} on the {place}" for animal in ("cat", "dog") for place in ("roof", "stove")
    ]
    alone = {query: hits_of(notes.post("/search", {"query": query})) for query in queries}
    vectors = {query: embed(notes, query).json["data"][0]["embedding"] for query in queries}
    before = batches(notes)
    failed = metric(notes, 'wva_requests_total{route="/search",status="5')

    def call(number: int) -> bool:
        query = queries[number % len(queries)]
        if number % 3 == 0:
            found = embed(notes, query).json["data"][0]["embedding"]
            return bool(np.allclose(found, vectors[query], atol=1e-6))
        return hits_of(notes.post("/search", {"query": query})) == alone[query]

    with ThreadPoolExecutor(64) as callers:
        assert all(callers.map(call, range(256)))
    # A batch is counted after its callers have their answers.
    wait_until(lambda: batches(notes)[0] - before[0] >= 256)
    after = batches(notes)
    assert after[0] - before[0] == 256
    assert after[1] - before[1] <= 256
    assert metric(notes, 'wva_requests_total{route="/search",status="5') == failed


def batches(server: Running) -> tuple[float, float]:
    """Requests and batches so far, once nothing is computed."""
    queue = server.served.models[0].queue
    wait_until(lambda: not queue._working)
    return metric(server, "wva_batch_requests_sum"), metric(server, "wva_batch_requests_count")


def hits_of(reply: Any) -> list[tuple[str, float]]:
    return [(hit["path"], round(hit["score"], 5)) for hit in reply.json["hits"]]


def test_queries_of_several_callers_are_embedded_together(held: Any) -> None:
    server, embedder = held
    with ThreadPoolExecutor() as callers:
        first = callers.submit(embed, server, "first")
        assert embedder.begun.acquire(timeout=SECONDS)
        searches = [
            callers.submit(server.post, "/search", {"query": f"roof {number}"})
            for number in range(4)
        ]
        wait_until(lambda: server.served.models[0].queue.waiting == 5)
        embedder.gate.set()
        assert {one.result(SECONDS).status for one in (first, *searches)} == {200}
    assert batches(server) == (5, 2)
