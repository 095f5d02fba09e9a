"""Row files and moments against brute force, after every change and with every damage."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from retriever.storage.backends import embedded, search_state, vector_files
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.backends.search_state import row_path
from retriever.storage.filters import Filter
from retriever.storage.records import NewChunk
from retriever.storage.vectors import faiss as faiss_store
from retriever.storage.vectors.rows import Moments, RowFile, RowWriter
from retriever.types import DocumentRow, Page, Span, document_id
from tests.live import live

DIM = 8


def vectors_of(count: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def written(path: Path, vectors: np.ndarray, *, rows: bool = True) -> RowFile:
    writer = RowWriter(path, DIM, rows=rows)
    blocks = [(np.arange(at, at + 7), vectors[at : at + 7]) for at in range(0, len(vectors), 7)]
    passed = list(writer.passing(blocks))
    assert sum(len(keys) for keys, _ in passed) >= len(vectors)
    writer.finish("hash")
    found = RowFile.open(path, "hash")
    assert found is not None
    return found


def test_rows_are_read_in_any_order(tmp_path: Path) -> None:
    vectors = vectors_of(40)
    rows = written(tmp_path / "x", vectors)
    for some in ([], [39], [5, 6, 7, 0, 39, 6], range(40), range(0, 40, 2)):
        chosen = np.array(some, np.int64)
        np.testing.assert_array_equal(rows.read(chosen), vectors[chosen])
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_moments_give_the_statistics_of_all_scores(tmp_path: Path) -> None:
    vectors, query = vectors_of(60) + np.float32(0.3), vectors_of(1, 5)[0]
    some = written(tmp_path / "x", vectors[:40], rows=False)
    assert some.count == 0
    for moments, expected in (
        (some.moments, vectors[:40]),
        (some.moments.plus(vectors[40:]), vectors),
        (
            some.moments.plus(vectors[40:]).plus(vectors[10:20], -1),
            np.delete(vectors, slice(10, 20), 0),
        ),
        (Moments.none(DIM).plus(vectors[:5]), vectors[:5]),
    ):
        scores = expected.astype(np.float64) @ query.astype(np.float64)
        np.testing.assert_allclose(
            moments.statistics(query), (scores.mean(), scores.std()), rtol=1e-5, atol=1e-6
        )
    assert Moments.none(DIM).statistics(query) == (0.0, 0.0)


@pytest.mark.parametrize("place", [0, 100, 39 * 4 * DIM + 3])
def test_a_damaged_row_is_found_when_it_is_read(tmp_path: Path, place: int) -> None:
    vectors = vectors_of(40)
    rows = written(tmp_path / "x", vectors)
    data = bytearray((tmp_path / "x").read_bytes())
    data[place] ^= 16
    (tmp_path / "x").write_bytes(bytes(data))
    good = np.setdiff1d(np.arange(40), [place // (4 * DIM)])
    np.testing.assert_array_equal(rows.read(good), vectors[good])
    assert not rows.damaged
    assert rows.read(np.arange(40)) is None
    assert rows.damaged


def test_a_damaged_or_foreign_file_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "x"
    rows = written(path, vectors_of(40))
    data = path.read_bytes()
    assert RowFile.open(path, "other") is None
    for at in (40 * 4 * DIM, len(data) - 100, len(data) - 1):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert RowFile.open(path, "hash") is None
    for at in range(len(data) - 28, len(data)):  # sizes beyond all bounds, too
        for bit in (1, 128):
            path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
            assert RowFile.open(path, "hash") is None
    for cut in (data[:-1], data[4:], b""):
        path.write_bytes(cut)
        assert RowFile.open(path, "hash") is None
    assert rows.read(np.array([3])) is None
    path.unlink()
    assert RowFile.open(path, "hash") is None
    assert rows.read(np.array([3])) is None


# In an index


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files beside the vector file, and statistics by moments, in the smallest index."""
    monkeypatch.setattr(vector_files, "MIN_LARGE", 1)
    monkeypatch.setattr(search_state, "MAX_EXACT", 3)
    monkeypatch.setattr(faiss_store, "MAX_BRUTE_FORCE", 5)


def put(backend: EmbeddedBackend, number: int, count: int = 10) -> None:
    vectors = vectors_of(count, number)
    keys = [f"{number}-{at}" for at in range(count)]
    backend.save_vectors(keys, vectors)
    pages = [Page(at + 1, f"text {number} {at}") for at in range(count)]
    new_chunks = [
        NewChunk(at, Span(0, len(page.text)), key)
        for at, (page, key) in enumerate(zip(pages, keys, strict=True))
    ]
    name = f"{number}"
    backend.upsert(DocumentRow(document_id("", name), "", "", name, "txt"), pages, new_chunks)


def check(backend: EmbeddedBackend, *numbers: int) -> None:
    """Assert that vectors, scores and statistics are those of these documents' vectors."""
    expected = np.concatenate([vectors_of(10, number) for number in numbers])
    query = vectors_of(1, 99)[0]
    now = live(backend)
    ids = [chunk.id for number in numbers for chunk in now.chunks(document_id("", f"{number}"))]
    np.testing.assert_allclose(now.vectors(ids), expected, atol=1e-6)
    found = now.dense(query, 7)
    scores = expected.astype(np.float64) @ query
    best = np.argsort(-scores)[:7]
    assert list(found.ids) == [ids[at] for at in best]
    np.testing.assert_allclose(found.scores, scores[best], atol=1e-6)
    np.testing.assert_allclose((found.mean, found.std), (scores.mean(), scores.std()), atol=1e-6)


@pytest.mark.parametrize("factory", ["Flat", "SQ8", "HNSW8,SQ8", "RaBitQ2"])
def test_statistics_and_vectors_are_exact_after_every_change(
    tmp_path: Path, small_is_large, factory: str, caplog
) -> None:
    folder = tmp_path / "i"
    with (
        EmbeddedBackend.open(folder, create=True, factory=factory) as backend,
        caplog.at_level(logging.WARNING),
    ):
        for number in range(6):
            put(backend, number)
        backend.finish({})
        check(backend, *range(6))
        with backend.snapshot() as now:
            state = now.passages._state
            assert state.moments is not None
            assert (state.rows is None) == (factory == "Flat")
            assert state.sample is None
        put(backend, 6)
        check(backend, *range(7))
        backend.delete([document_id("", "1"), document_id("", "6")])
        check(backend, 0, 2, 3, 4, 5)
        with EmbeddedBackend.open(folder) as other:
            check(other, 0, 2, 3, 4, 5)
        put(backend, 2)
        check(backend, 0, 2, 3, 4, 5)
        backend.finish({})
        check(backend, 0, 2, 3, 4, 5)
    assert not caplog.records


@pytest.mark.parametrize("damage", ["missing", "row", "end"])
def test_a_damaged_row_file_is_not_needed_and_is_written_again(
    tmp_path: Path, small_is_large, damage: str
) -> None:
    folder = tmp_path / "i"
    with EmbeddedBackend.open(folder, create=True, factory="SQ8") as backend:
        for number in range(6):
            put(backend, number)
        backend.finish({})
    (path,) = folder.glob("*.rows")
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        at = 5 if damage == "row" else len(data) - 50
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with EmbeddedBackend.open(folder) as backend:
        now = live(backend)
        ids = [chunk.id for n in range(6) for chunk in now.chunks(document_id("", f"{n}"))]
        for _ in range(2):
            vectors = live(backend).vectors(ids)
            expected = np.concatenate([vectors_of(10, number) for number in range(6)])
            np.testing.assert_allclose(vectors, expected, atol=1e-6)
        backend.finish({})
        assert path.read_bytes() == data
    with EmbeddedBackend.open(folder) as backend:
        check(backend, *range(6))


@pytest.mark.parametrize("damage", ["missing", "cut"])
@pytest.mark.parametrize("factory", ["Flat", "SQ8", "RaBitQ2"])
def test_statistics_are_exact_without_the_vector_file(
    tmp_path: Path, small_is_large, factory: str, damage: str
) -> None:
    folder = tmp_path / "i"
    with EmbeddedBackend.open(folder, create=True, factory=factory) as backend:
        for number in range(6):
            put(backend, number)
        backend.finish({})
        (path,) = folder.glob("*.faiss")
        put(backend, 6)
        backend.delete([document_id("", "1")])
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100])
    with EmbeddedBackend.open(folder) as backend:
        check(backend, 0, 2, 3, 4, 5, 6)
        put(backend, 7)
        check(backend, 0, 2, 3, 4, 5, 6, 7)
        with backend.snapshot() as now:
            assert now.passages._state.sample is None


@pytest.mark.parametrize("factory", ["Flat", "SQ8", "RaBitQ2"])
def test_a_search_begun_before_gives_the_same(
    tmp_path: Path, small_is_large, factory: str, monkeypatch
) -> None:
    monkeypatch.setattr(embedded, "MAX_EXACT", 3)
    with EmbeddedBackend.open(tmp_path / "i", create=True, factory=factory) as backend:
        for number in range(6):
            put(backend, number)
        backend.finish({})
        query, other = vectors_of(2, 77)
        where = Filter.parse({"path": {"in": ["2", "4", "5"]}})
        expected = live(backend).dense(query, 7, where)
        with backend.snapshot() as now:
            for wanted in ((query, 7, where), (other, 7, where), (query, 6, where), (query, 7)):
                now.begin_dense(*wanted)
                assert now.passages._begun is not None
                for _ in range(2):
                    found = now.dense(query, 7, where)
                    assert found.ids == expected.ids
                    assert found.scores.tolist() == expected.scores.tolist()
        (path,) = tmp_path.glob("i/*.faiss")
        if factory == "SQ8":
            rows = row_path(path)
            rows.write_bytes(b"\0" * 4 * DIM + rows.read_bytes()[4 * DIM :])
        with backend.snapshot() as now:
            now.begin_dense(query, 60)
            assert now.dense(query, 60).ids == live(backend).dense(query, 60).ids
