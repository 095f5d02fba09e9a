"""The caches of vectors and ids return exactly what a lookup would."""

from __future__ import annotations

import numpy as np
import pytest

from retriever.storage.backends import vector_cache
from retriever.storage.backends.vector_cache import VectorCache
from retriever.storage.catalog import id_cache
from retriever.storage.catalog.id_cache import IdCaches, LookupCache

DIM = 3


def vector(key: int) -> np.ndarray:
    return np.array([key, -key, 1.0], np.float32)


class Source:
    """A source that has the even keys, and records its calls."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.asked += keys.tolist()
        there = keys[keys % 2 == 0]
        return there, np.array([vector(key) for key in there], np.float32).reshape(-1, DIM)


@pytest.mark.parametrize("room", [1, 2, 5, 100])
def test_vectors_are_those_of_the_keys_whatever_is_cached(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_cache, "MAX_BYTES", room * 4 * DIM)
    cache, source = VectorCache(), Source()
    random = np.random.default_rng(room)
    for _ in range(60):
        keys = random.choice(12, size=random.integers(1, 9), replace=False)
        found, vectors = cache.get(keys, source)
        assert found.tolist() == [key for key in keys.tolist() if key % 2 == 0]
        assert np.array_equal(vectors, [vector(key) for key in found] or np.empty((0, DIM)))


def test_a_vector_is_looked_up_once_while_there_is_room() -> None:
    cache, source = VectorCache(), Source()
    for keys in ([4, 2], [2, 6, 4], [6, 4, 2]):
        cache.get(np.array(keys), source)
    assert source.asked == [4, 2, 6]


def test_no_keys_give_no_vectors() -> None:
    found, vectors = VectorCache().get(np.empty(0, np.int64), Source())
    assert not len(found)
    assert not len(vectors)


def test_ids_are_looked_up_once_and_missing_ones_every_time() -> None:
    asked: list[int] = []

    def look_up(keys: list[int]) -> dict[int, str]:
        asked.extend(keys)
        return {key: f"n{key}" for key in keys if key < 10}

    known = LookupCache[int, str]()
    assert known.get([3, 12, 1], look_up) == {3: "n3", 1: "n1"}
    assert known.get([1, 12, 5], look_up) == {1: "n1", 5: "n5"}
    assert asked == [3, 12, 1, 12, 5]


def test_more_ids_than_the_cache_holds_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_cache, "MAX_ENTRIES", 4)
    known = LookupCache[int, str]()
    for start in (0, 2, 5, 3):
        keys = range(start, start + 6)
        assert known.get(keys, lambda some: {key: str(key) for key in some}) == {
            key: str(key) for key in keys
        }


def test_another_generation_has_an_empty_cache() -> None:
    shared = IdCaches()
    shared.at("index", 1)[0].get([7], lambda keys: {7: "old"})
    assert shared.at("index", 1)[0].get([7], lambda keys: {}) == {7: "old"}
    assert shared.at("index", 2)[0].get([7], lambda keys: {7: "new"}) == {7: "new"}
    assert shared.at("other", 2)[0].get([7], lambda keys: {}) == {}
