"""What is remembered of vectors and names: never anything else than was looked up."""

from __future__ import annotations

import numpy as np
import pytest

from retriever.storage.backends import vector_cache as recent
from retriever.storage.backends.vector_cache import VectorCache
from retriever.storage.catalog import id_cache as names
from retriever.storage.catalog.id_cache import IdCaches, LookupCache

DIM = 3


def vector(key: int) -> np.ndarray:
    return np.array([key, -key, 1.0], np.float32)


class Source:
    """Even keys are there; what is asked for is counted."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.asked += keys.tolist()
        there = keys[keys % 2 == 0]
        return there, np.array([vector(key) for key in there], np.float32).reshape(-1, DIM)


@pytest.mark.parametrize("room", [1, 2, 5, 100])
def test_vectors_are_those_of_the_keys_whatever_is_remembered(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "MAX_BYTES", room * 4 * DIM)
    remembered, source = VectorCache(), Source()
    random = np.random.default_rng(room)
    for _ in range(60):
        keys = random.choice(12, size=random.integers(1, 9), replace=False)
        found, vectors = remembered.get(keys, source)
        assert found.tolist() == [key for key in keys.tolist() if key % 2 == 0]
        assert np.array_equal(vectors, [vector(key) for key in found] or np.empty((0, DIM)))


def test_a_vector_is_looked_up_once_while_there_is_room() -> None:
    remembered, source = VectorCache(), Source()
    for keys in ([4, 2], [2, 6, 4], [6, 4, 2]):
        remembered.get(np.array(keys), source)
    assert source.asked == [4, 2, 6]


def test_nothing_asked_nothing_found() -> None:
    found, vectors = VectorCache().get(np.empty(0, np.int64), Source())
    assert not len(found)
    assert not len(vectors)


def test_names_are_looked_up_once_and_what_is_gone_every_time() -> None:
    asked: list[int] = []

    def look_up(keys: list[int]) -> dict[int, str]:
        asked.extend(keys)
        return {key: f"n{key}" for key in keys if key < 10}

    known = LookupCache[int, str]()
    assert known.get([3, 12, 1], look_up) == {3: "n3", 1: "n1"}
    assert known.get([1, 12, 5], look_up) == {1: "n1", 5: "n5"}
    assert asked == [3, 12, 1, 12, 5]


def test_more_names_than_are_kept_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MAX_ENTRIES", 4)
    known = LookupCache[int, str]()
    for start in (0, 2, 5, 3):
        keys = range(start, start + 6)
        assert known.get(keys, lambda some: {key: str(key) for key in some}) == {
            key: str(key) for key in keys
        }


def test_another_generation_knows_nothing() -> None:
    shared = IdCaches()
    shared.at("index", 1)[0].get([7], lambda keys: {7: "old"})
    assert shared.at("index", 1)[0].get([7], lambda keys: {}) == {7: "old"}
    assert shared.at("index", 2)[0].get([7], lambda keys: {7: "new"}) == {7: "new"}
    assert shared.at("other", 2)[0].get([7], lambda keys: {}) == {}
