"""Cached arrays are computed once and read unchanged; damaged ones are computed again."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from retriever import AlignedWVA, cache
from retriever.cache import cached_array
from retriever.searching.match import general_questions

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3) + 1


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that `cached_array("name", …)` writes is in here."""
    monkeypatch.setenv("WVA_CACHE", str(tmp_path))
    return tmp_path


def plain(array: np.ndarray) -> bytes:
    """The file of an earlier version, which has no hash."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def never() -> np.ndarray:
    raise AssertionError("it was computed again")


def test_it_is_computed_once(folder: Path) -> None:
    assert cached_array("name", (2, 3), lambda: ARRAY) is ARRAY
    np.testing.assert_array_equal(cached_array("name", (2, 3), never), ARRAY)
    np.testing.assert_array_equal(np.load(folder / "name.npy"), ARRAY)


def test_a_file_of_an_earlier_version_is_read(folder: Path) -> None:
    (folder / "name.npy").write_bytes(plain(ARRAY))
    np.testing.assert_array_equal(cached_array("name", (2, 3), never), ARRAY)


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[: len(data) // 2], id="half"),
        pytest.param(lambda data: data[:-1], id="the last byte lost"),
        pytest.param(lambda data: data[:-33], id="the hash and a byte lost"),
        pytest.param(lambda data: data + b"\0", id="a byte too many"),
        pytest.param(lambda data: changed(data, -33), id="a bit of the last value"),
        pytest.param(lambda data: changed(data, -32 - ARRAY.nbytes), id="a bit of the first value"),
        pytest.param(lambda data: changed(data, -1), id="a bit of the hash"),
        pytest.param(lambda data: cache.array_bytes(ARRAY.T), id="another shape"),
        pytest.param(lambda data: plain(ARRAY * np.nan), id="no numbers"),
        pytest.param(lambda data: plain(np.array([None] * 6)), id="objects"),
    ],
)
def test_damage_is_computed_anew(folder: Path, damage) -> None:
    cached_array("name", (2, 3), lambda: ARRAY)
    path = folder / "name.npy"
    path.write_bytes(damage(path.read_bytes()))
    np.testing.assert_array_equal(cached_array("name", (2, 3), lambda: 2 * ARRAY), 2 * ARRAY)
    np.testing.assert_array_equal(cached_array("name", (2, 3), never), 2 * ARRAY)


def test_shipped_arrays_take_precedence_over_the_cache(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path_factory.mktemp("shipped")
    monkeypatch.setattr(cache, "SHIPPED", shipped)
    (shipped / "name.npy").write_bytes(cache.array_bytes(ARRAY))
    np.testing.assert_array_equal(cached_array("name", (2, 3), never), ARRAY)
    assert not list(folder.iterdir())


@pytest.mark.model
@pytest.mark.timeout(300)
def test_the_default_models_arrays_are_shipped_and_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m benchmarks.shipped` computes them again."""
    embedder = AlignedWVA(dtype="float32")
    monkeypatch.setenv("WVA_CACHE", str(tmp_path))
    questions = general_questions()
    with monkeypatch.context() as patched:
        patched.setattr(embedder, "embed_prompted", lambda *_: never())
        means, vectors = embedder.general_means(), embedder.embed_fixed_queries(questions)
    assert not list(tmp_path.iterdir())
    assert len(list(cache.SHIPPED.rglob("*.npy"))) == 3  # nothing of another model or prompt
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    some = slice(None, None, 10)
    cosines = (vectors[some] * embedder.embed_queries(questions[some])).sum(axis=1)
    assert cosines.min() >= 0.9995
    monkeypatch.setattr(cache, "SHIPPED", tmp_path / "none")
    for shipped, computed in zip(means, embedder.general_means(), strict=True):
        np.testing.assert_allclose(shipped, computed, atol=1e-4)
