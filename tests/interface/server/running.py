"""A server in a thread of the test, and requests to it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retriever.index import Index
from retriever.interface.server.app import application
from retriever.interface.server.run import Address, _Server, bound
from retriever.interface.server.served import Loading, Served
from retriever.types import Document, Page
from tests.fakes import FakeEmbedder

TOKEN = "a-token-of-the-tests"  # noqa: S105 - it opens nothing
SECONDS = 60
"""An upper bound for one answer, however busy the machine is."""

TEXTS = {
    "cats.txt": "A cat sleeps on the roof of the house and sees a bird in the garden.",
    "dogs.txt": "A dog barks at the postman every morning.",
    "rain.txt": "Rain falls on the roof of the station all night.",
    "tea.txt": "The kettle sings on the stove, and tea is drunk with milk.",
}


class JudgingEmbedder(FakeEmbedder):
    """It also judges: the more of the query's words a passage has, the likelier is the query."""

    def log_likelihoods(
        self, query: str, passages: Sequence[str], titles: Sequence[str] | None = None
    ) -> Any:
        words = set(query.lower().split())
        shares = [len(words & set(text.lower().split())) / len(words) for text in passages]
        return np.array([share - 2.0 for share in shares])


def make_index(folder: Path, texts: dict[str, str] = TEXTS, embedder: Any = None) -> Path:
    with Index.open_or_create(folder, embedder or FakeEmbedder()) as index:
        index.add(
            Document(name, "text", (Page(None, text),), metadata={"words": len(text.split())})
            for name, text in texts.items()
        )
    return folder


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Running:
    """A server that runs, and how it is asked."""

    port: int
    served: Served
    server: _Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        given = {"Authorization": f"Bearer {TOKEN}", **headers}
        if body is not None:
            given = {"Content-Type": "application/json", **given}
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, sent, given)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        return self.ask("POST", path, body, **headers)


def served(folders: dict[str, Path], embedder: Any = None, **options: Any) -> Served:
    given = embedder or JudgingEmbedder()
    return Served(folders, Loading(embedder=lambda: given), **options)


@contextmanager
def running(opened: Served, token: str | None = TOKEN, **guard: Any) -> Iterator[Running]:
    """A server until the end of the block."""
    ready = threading.Event()
    with bound(Address(port=0)) as listener, opened:
        server = _Server(application(opened, token, **guard), opened, ready.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        port = listener.getsockname()[1]
        thread.start()
        try:
            assert ready.wait(SECONDS)
            yield Running(port, opened, server)
        finally:
            server.should_exit = True
            thread.join(SECONDS)
