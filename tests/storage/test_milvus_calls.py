"""What is sent to Milvus and read from it: few calls, nothing twice, on Milvus Lite."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retriever.indexing.copying import copy_index
from retriever.settings import ChunkSettings
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.backends.milvus import client, refitting
from retriever.storage.backends.milvus.backend import MilvusBackend
from retriever.storage.backends.milvus.client import MAX_FOUND, Connection
from retriever.storage.backends.milvus.session import SessionTerms
from retriever.storage.backends.milvus.values import keys_of
from retriever.storage.calibration import Calibration
from retriever.storage.records import NewChunk, NewDocument
from retriever.types import DocumentRow, Page, Span
from tests.storage.backend_contract import DIM, put, settings, vector_of
from tests.storage.milvus_index import emptied, opened, shared_index

WORDS = "green tea pot cup water key pump valve user policy".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with shared_index(tmp_path_factory.mktemp("milvus")) as address:
        yield address


@pytest.fixture
def backend(shared: str) -> Iterator[MilvusBackend]:
    with opened(emptied(shared)) as backend:
        backend.bind_embedder(settings(), ChunkSettings(64, 0))
        yield backend


def noted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[tuple[Any, ...]]:
    """The arguments of the calls of a method of connections, the fields last."""
    calls: list[tuple[Any, ...]] = []
    real = getattr(Connection, name)

    def noting(self: Connection, *args: Any, **options: Any) -> Any:
        calls.append((*args, *((options["fields"],) if "fields" in options else ())))
        return real(self, *args, **options)

    monkeypatch.setattr(Connection, name, noting)
    return calls


def document(at: int, texts: Sequence[str]) -> tuple[NewDocument, dict[str, Any]]:
    """A document with a page for each text, and the vectors of its passages."""
    row = DocumentRow(f"{at:016x}", "docs", "/root", f"{at}.md", "markdown")
    keys = [f"{at}-{number}" for number in range(len(texts))]
    chunks = [
        NewChunk(number, Span(0, len(text)), keys[number]) for number, text in enumerate(texts)
    ]
    pages = [Page(number + 1, text) for number, text in enumerate(texts)]
    return NewDocument(row, pages, chunks), {key: vector_of(key) for key in keys}


def filled(backend: MilvusBackend, count: int) -> None:
    for at in range(count):
        put(backend, f"{at}.txt", *(f"{word} {WORDS[at % 7]} {at}" for word in WORDS))
    backend.finish({})


def test_vectors_that_come_with_documents_are_not_read_again(
    backend: MilvusBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, vectors = document(1, ["green tea", "water pump", "key valve"])
    old = dict(vectors)
    backend.save_vectors(["1-2"], vectors["1-2"][None])
    vectors["1-2"] = vector_of("a key that is there keeps its vector")
    read = noted(monkeypatch, "get")
    backend.upsert_many([new], vectors=vectors)
    raw = [list(keys) for _, keys, fields in read if "raw" in fields]
    assert raw == [["1-2"]]
    with backend.snapshot() as now:
        ids = [chunk.id for chunk in now.catalog.chunks(new.row.id)]
        assert np.array_equal(now.passages.vectors(ids), np.stack(list(old.values())))


def test_a_search_reads_a_passage_once(
    backend: MilvusBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(backend, 8)
    with backend.snapshot() as now:
        expected = now.dense(vector_of("other"), 20)
    searches, reads = noted(monkeypatch, "search"), noted(monkeypatch, "get")
    with backend.snapshot() as now:
        first = now.dense(vector_of("one"), 20)
        assert "dense" in searches[-1][-1]
        searches.clear()
        reads.clear()
        found = now.dense(vector_of("other"), 20)
        assert "dense" not in searches[-1][-1]
        passages = backend.collections.passages
        again = [key for name, keys, _ in reads if name == passages for key in keys]
    assert not set(keys_of(first.ids).tolist()) & set(again)
    assert found.ids == expected.ids
    assert np.array_equal(found.scores, expected.scores)


def test_the_vectors_of_keyword_candidates_are_read_when_they_are_asked_for(
    backend: MilvusBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(backend, 8)
    searches, reads = noted(monkeypatch, "search"), noted(monkeypatch, "get")
    with backend.snapshot() as now:
        found = now.keyword("green tea", 20)
        assert len(found.ids) > 10
        assert "dense" not in searches[-1][-1]
        reads.clear()
        asked = list(found.ids[:3])
        scores = now.passages.dense_scores(vector_of("q"), asked)
        assert [len(keys) for _, keys, fields in reads if "dense" in fields] == [3]
        vectors = now.passages.vectors(asked)
        assert scores == pytest.approx(vectors @ vector_of("q"), abs=1e-6)
        assert now.passages.without_vector(found.ids) == set()


def test_new_collections_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    real = time.sleep
    with shared_index(tmp_path) as address:
        monkeypatch.setattr(time, "sleep", lambda seconds: (slept.append(seconds), real(seconds)))
        with opened(address) as backend:
            backend.bind_embedder(settings(), ChunkSettings(64, 0))
            put(backend, "a.txt", "green tea")
            backend.finish({})
            assert backend.info()["chunks"] == 1
    assert sum(slept) < 0.5


def test_batches_are_as_large_as_the_engine_needs(
    backend: MilvusBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milvus Lite looks at all rows for each batch."""
    filled(backend, 2)
    connection = backend.collections.connection
    sizes: list[int] = []
    real = connection.client.query_iterator

    def noting(name: str, **options: Any) -> Any:
        sizes.append(options["batch_size"])
        return real(name, **options)

    monkeypatch.setattr(connection.client, "query_iterator", noting)
    name = backend.collections.passages
    assert sum(len(rows) for rows in connection.scan(name, "", ("key",), 3)) == 20
    assert sum(len(rows) for rows in connection.scan(name, "", ("key", "dense"), 3)) == 20
    small = MAX_FOUND if connection.address.is_lite else 3
    assert sizes[0] == small
    assert sizes[1] <= small
    monkeypatch.setattr(client, "MAX_LITE", 7)
    monkeypatch.setattr(client, "MAX_FOUND", 7)
    assert len({row["key"] for row in connection.all(name, "", ("key",))}) == 20


def test_a_refit_goes_through_a_batch_in_parts(
    backend: MilvusBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(backend, 2)
    monkeypatch.setattr(refitting, "MAX_ROWS", 3)
    mean = np.linspace(-0.1, 0.1, DIM, dtype=np.float32)
    backend.calibrate(mean, mean, {})
    means = Calibration(mean, mean)
    with backend.snapshot() as now:
        ids = [one.id for row in now.catalog.documents() for one in now.catalog.chunks(row.id)]
        keys = now.catalog.vector_keys(ids)
        raw = now.catalog.load_vectors([keys[id_] for id_ in ids])
        assert now.passages.vectors(ids) == pytest.approx(means.passage(raw), abs=1e-6)


def test_a_copy_reads_and_compares_many_documents_at_once(
    backend: MilvusBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milvus Lite looks at all rows for each query that is none by keys."""
    calls = noted(monkeypatch, "query"), noted(monkeypatch, "scan"), noted(monkeypatch, "count")

    def asked(count: int, copied: int) -> int:
        filled(backend, count)
        for some in calls:
            some.clear()
        with EmbeddedBackend.open(tmp_path / "copy", create=True) as target:
            assert copy_index(backend, target, questions=0).copied == copied
        return sum(map(len, calls))

    few = asked(2, 2)
    assert asked(9, 7) <= few + 1  # those that are there are read to be compared
    assert asked(9, 0) <= few
    with EmbeddedBackend.open(tmp_path / "copy") as source:
        for some in calls:
            some.clear()
        assert copy_index(source, backend, questions=0).copied == 0
        assert sum(map(len, calls)) < 9


class _Dictionary:
    """Counts how often it is written; `takes` is how long that takes."""

    def __init__(self, clock: list[float]) -> None:
        self.written = 0
        self.is_due = False
        self._clock = clock

    def plus(self, rows: Sequence[Any]) -> None: ...

    def flush(self) -> None:
        self.written += 1
        self._clock[0] += 1.0


def test_the_dictionary_takes_a_tenth_of_the_time_at_most() -> None:
    clock = [0.0]
    dictionary = _Dictionary(clock)
    terms = SessionTerms(dictionary, lambda: clock[0])  # type: ignore[arg-type]
    for _ in range(200):
        terms.plus([{"key": 1}])
        terms.flush()
        clock[0] += 0.5
    assert dictionary.written <= 1 + clock[0] / 11
    dictionary.is_due = True  # it is too large for memory
    before = dictionary.written
    for _ in range(2):
        terms.plus([{"key": 1}])
        terms.flush()
    assert dictionary.written == before + 2
