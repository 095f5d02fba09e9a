"""The two means and the map for sentences, against the arithmetic written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from retriever.arrays import centred, normalise, shrunk_mean
from retriever.storage.adapter import Adapter, inverted, is_adapter, same_adapter
from retriever.storage.calibration import Calibration
from retriever.types import UsageError

vectors = hnp.arrays(np.float32, (5, 4), elements=st.floats(-1, 1, width=32))


@given(vectors, hnp.arrays(np.float32, (4,), elements=st.floats(-1, 1, width=32)))
def test_apply_is_the_formula(raw: np.ndarray, mean: np.ndarray) -> None:
    found = centred(raw, mean)
    for row, vector in zip(raw, found, strict=True):
        moved = row.astype(np.float64) - mean
        length = np.sqrt((moved**2).sum())
        if not row.any():
            assert not vector.any()
        elif length > 1e-3:
            np.testing.assert_allclose(vector, moved / length, atol=1e-4)


def test_the_mean_takes_away_what_is_common() -> None:
    common = np.array([10.0, 0, 0, 0], dtype=np.float32)
    own = np.eye(4, dtype=np.float32)[1:]
    raw = normalise(common + own)
    before = raw @ raw.T
    after = centred(raw, raw.mean(axis=0))
    assert before.min() > 0.98
    assert (after @ after.T)[0, 1] < 0


def test_few_vectors_shrink_towards_the_prior() -> None:
    prior = np.array([1.0, 0.0], dtype=np.float32)
    sample = np.array([[0.0, 1.0]], dtype=np.float32)
    np.testing.assert_allclose(shrunk_mean(sample[:0], prior), prior)
    np.testing.assert_allclose(shrunk_mean(sample, prior, weight=3), [0.75, 0.25], atol=1e-7)
    many = np.repeat(sample, 100_000, axis=0)
    np.testing.assert_allclose(shrunk_mean(many, prior), sample[0], atol=1e-3)


def test_one_document_keeps_a_direction() -> None:
    """With the plain mean a single vector would lose all it has."""
    raw = normalise(np.array([[3.0, 4.0]], dtype=np.float32))
    mean = shrunk_mean(raw, np.array([1.0, 0.0], dtype=np.float32))
    assert np.linalg.norm(centred(raw, mean)) == pytest.approx(1)


def test_order_does_not_matter() -> None:
    generator = np.random.default_rng(0)
    sample = generator.normal(size=(50, 8)).astype(np.float32)
    prior = generator.normal(size=8).astype(np.float32)
    np.testing.assert_allclose(
        shrunk_mean(sample, prior),
        shrunk_mean(sample[::-1], prior),
        rtol=1e-6,
    )


def test_a_calibration_maps_queries_and_passages_and_the_identity_only_scales() -> None:
    rng = np.random.default_rng(8)
    raw = rng.normal(size=(5, 12)).astype(np.float32)
    raw[2] = 0
    means = Calibration(*rng.normal(size=(2, 12)).astype(np.float32))
    np.testing.assert_array_equal(means.passage(raw), centred(raw, means.passage_mean))
    np.testing.assert_array_equal(means.query(raw), centred(raw, means.query_mean))
    unit = means.query(raw[0])
    np.testing.assert_allclose(means.query(means.raw_query(unit)), unit, atol=1e-6)
    same = Calibration.identity(12)
    expected = raw / np.where(raw.any(axis=1), np.linalg.norm(raw, axis=1), 1)[:, None]
    np.testing.assert_allclose(same.passage(raw), expected, atol=1e-6)
    np.testing.assert_array_equal(same.passage(raw), same.query(raw))
    np.testing.assert_array_equal(same.raw_query(unit), unit)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rows_are_scaled_in_their_own_precision(kind) -> None:
    rows = np.array([[3, 4], [0, 0], [1e-7, 0]], dtype=kind)
    found = normalise(rows)
    assert found.dtype == kind
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0], [1, 0]], rtol=1e-6)
    np.testing.assert_allclose(normalise(rows, least=1e-6)[2], [0, 0])
    np.testing.assert_allclose(normalise(rows[0]), [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("side", ["query", "both"])
def test_an_adapter_maps_what_is_left_of_one_side_or_both(side: str) -> None:
    rng = np.random.default_rng(9)
    raw = rng.normal(size=(5, 12)).astype(np.float32)
    raw[2] = 0
    matrix = np.eye(12) + rng.normal(size=(12, 12)) / 9
    adapter = Adapter.of(side, matrix)
    means = Calibration(*rng.normal(size=(2, 12)).astype(np.float32), adapter)

    def formula(mean: np.ndarray) -> np.ndarray:
        moved = (raw.astype(np.float64) - mean) @ adapter.matrix.T.astype(np.float64)
        moved[2] = 0
        return moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9)

    np.testing.assert_allclose(means.query(raw), formula(means.query_mean), atol=1e-6)
    plain = centred(raw, means.passage_mean)
    expected = formula(means.passage_mean) if side == "both" else plain
    np.testing.assert_allclose(means.passage(raw), expected, atol=1e-6)
    unit = normalise(rng.normal(size=12).astype(np.float32))
    np.testing.assert_allclose(means.query(means.raw_query(unit)), unit, atol=2e-5)
    parts = rng.normal(size=(3, 12))
    whole = means.map_query(parts.sum(axis=0))
    np.testing.assert_allclose(means.map_query(parts).sum(axis=0), whole, atol=1e-12)
    again = Adapter.from_json(adapter.to_json())
    np.testing.assert_array_equal(again.matrix, adapter.matrix)
    np.testing.assert_array_equal(again.inverse, adapter.inverse)
    assert same_adapter(again, adapter)
    assert not same_adapter(None, adapter)


def test_the_condition_of_a_map_is_that_of_its_singular_values() -> None:
    rng = np.random.default_rng(10)
    for spread in (0.01, 0.1, 0.5):
        matrix = (np.eye(40) + spread * rng.normal(size=(40, 40))).astype(np.float32)
        inverse, condition = inverted(matrix)
        assert condition == pytest.approx(np.linalg.cond(matrix.astype(np.float64)), rel=0.03)
        np.testing.assert_allclose(matrix @ inverse, np.eye(40), atol=1e-4)


def test_a_map_that_cannot_be_used_is_refused() -> None:
    flat = np.eye(3)
    flat[2, 2] = 0
    for matrix in (flat, np.full((3, 3), np.nan), np.eye(3)[:2]):
        with pytest.raises(UsageError):
            Adapter.of("query", matrix)
    with pytest.raises(UsageError, match="side"):
        Adapter.of("passage", np.eye(3))
    whole = Adapter.of("query", np.eye(3)).to_json()
    assert is_adapter(whole)
    for name, value in (
        ("side", "none"),
        ("dimension", 4),
        ("matrix", "AAAA"),
        ("inverse", 1),
        ("facts", None),
    ):
        assert not is_adapter({**whole, name: value})
        with pytest.raises(UsageError, match="no adapter"):
            Adapter.from_json({**whole, name: value})
    assert not is_adapter([])
    for text in (
        "~" * len(whole["matrix"]),
        Adapter.of("query", np.eye(3)).to_json()["matrix"][:-4] + "====",
    ):
        with pytest.raises(UsageError, match="no adapter"):
            Adapter.from_json({**whole, "matrix": text})
