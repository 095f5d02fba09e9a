"""The two means and the map for sentences, against the arithmetic written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from retriever import calibration
from retriever.arrays import normalise

vectors = hnp.arrays(np.float32, (5, 4), elements=st.floats(-1, 1, width=32))


@given(vectors, hnp.arrays(np.float32, (4,), elements=st.floats(-1, 1, width=32)))
def test_apply_is_the_formula(raw: np.ndarray, mean: np.ndarray) -> None:
    found = calibration.apply(raw, mean)
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
    raw = calibration.normalise(common + own)
    before = raw @ raw.T
    after = calibration.apply(raw, raw.mean(axis=0))
    assert before.min() > 0.98
    assert (after @ after.T)[0, 1] < 0


def test_few_vectors_shrink_towards_the_prior() -> None:
    prior = np.array([1.0, 0.0], dtype=np.float32)
    sample = np.array([[0.0, 1.0]], dtype=np.float32)
    np.testing.assert_allclose(calibration.shrunk_mean(sample[:0], prior), prior)
    np.testing.assert_allclose(
        calibration.shrunk_mean(sample, prior, weight=3), [0.75, 0.25], atol=1e-7
    )
    many = np.repeat(sample, 100_000, axis=0)
    np.testing.assert_allclose(calibration.shrunk_mean(many, prior), sample[0], atol=1e-3)


def test_one_document_keeps_a_direction() -> None:
    """With the plain mean a single vector would lose all it has."""
    raw = calibration.normalise(np.array([[3.0, 4.0]], dtype=np.float32))
    mean = calibration.shrunk_mean(raw, np.array([1.0, 0.0], dtype=np.float32))
    assert np.linalg.norm(calibration.apply(raw, mean)) == pytest.approx(1)


def test_order_does_not_matter() -> None:
    generator = np.random.default_rng(0)
    sample = generator.normal(size=(50, 8)).astype(np.float32)
    prior = generator.normal(size=8).astype(np.float32)
    np.testing.assert_allclose(
        calibration.shrunk_mean(sample, prior),
        calibration.shrunk_mean(sample[::-1], prior),
        rtol=1e-6,
    )


# Sentences


def sentences(count: int, dim: int = 6, seed: int = 0) -> np.ndarray:
    """Unit vectors that vary much more along some axes than along others."""
    generator = np.random.default_rng(seed)
    spread = generator.normal(size=(count, dim)) * np.geomspace(2, 0.1, dim)
    return calibration.normalise((spread + 3).astype(np.float32))


def naive_map(raw: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The calibrated sentences by the formula, as loops and a root found by Newton's iteration."""
    count, dim = raw.shape
    mean = (raw.sum(axis=0, dtype=np.float64) + 16 * prior) / (count + 16)
    total = sum(np.outer(row - mean, row - mean) for row in raw.astype(np.float64))
    covariance = (total + np.eye(dim) * np.trace(total) / count) / (count + dim)
    ridge = np.trace(covariance @ covariance) / np.trace(covariance)
    # Denman and Beavers: to the square root of a matrix, and to that of its inverse.
    root, inverse = np.eye(dim) + covariance / ridge, np.eye(dim)
    for _ in range(40):
        root, inverse = (root + np.linalg.inv(inverse)) / 2, (inverse + np.linalg.inv(root)) / 2
    found = (raw - mean) @ inverse
    return found / np.sqrt((found**2).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("count", [2, 3, 5, 6, 40])
def test_sentences_by_the_formula_written_out(count: int) -> None:
    raw = sentences(count)
    prior = np.linspace(0.1, 0.4, 6).astype(np.float32)
    found = calibration.sentence_map(raw, prior)
    np.testing.assert_array_equal(found.matrix, found.matrix.T)
    np.testing.assert_allclose(found.apply(raw), naive_map(raw, prior), atol=1e-5)


def test_one_sentence_or_none_has_the_mean_alone() -> None:
    raw = sentences(3)
    prior = np.linspace(0.1, 0.4, 6).astype(np.float32)
    nothing = calibration.sentence_map(raw[:0], prior)
    np.testing.assert_array_equal(nothing.matrix, np.eye(6))
    np.testing.assert_allclose(nothing.apply(raw), calibration.apply(raw, prior), atol=1e-6)
    for row in raw[:, None]:
        one = calibration.sentence_map(row, prior)
        np.testing.assert_allclose(one.apply(row), calibration.apply(row, prior), atol=1e-6)


def test_power_zero_is_the_mean_alone() -> None:
    raw, prior = sentences(30), np.zeros(6, dtype=np.float32)
    found = calibration.sentence_map(raw, prior, power=0)
    np.testing.assert_allclose(found.matrix, np.eye(6), atol=1e-6)
    mean = calibration.shrunk_mean(raw, prior)
    np.testing.assert_allclose(found.apply(raw), calibration.apply(raw, mean), atol=1e-6)


def test_sentences_order_and_scale_do_not_matter() -> None:
    raw, prior = sentences(30), np.full(6, 0.3, dtype=np.float32)
    expected = calibration.sentence_map(raw, prior)
    turned = calibration.sentence_map(raw[::-1], prior)
    np.testing.assert_allclose(turned.matrix, expected.matrix, atol=1e-5)
    for scale in (np.float32(1e-3), np.float32(1e3)):
        scaled = calibration.sentence_map(raw * scale, prior * scale)
        np.testing.assert_allclose(scaled.matrix, expected.matrix, atol=1e-4)
        np.testing.assert_allclose(scaled.apply(raw * scale), expected.apply(raw), atol=1e-4)


def test_empty_sentences_do_not_count_and_stay_zero() -> None:
    raw, prior = sentences(10), np.full(6, 0.3, dtype=np.float32)
    expected = calibration.sentence_map(raw, prior)
    gaps = np.zeros((20, 6), dtype=np.float32)
    gaps[::2] = raw
    found = calibration.sentence_map(gaps, prior)
    np.testing.assert_array_equal(found.matrix, expected.matrix)
    calibrated = found.apply(gaps)
    assert not calibrated[1::2].any()
    np.testing.assert_array_equal(calibrated[::2], expected.apply(raw))
    only = calibration.sentence_map(gaps[1::2], prior)
    assert not only.apply(gaps[1::2]).any()


def test_equal_sentences_stay_equal() -> None:
    raw = np.repeat(sentences(1), 7, axis=0)
    found = calibration.sentence_map(raw, raw[0]).apply(raw)
    assert np.isfinite(found).all()
    assert np.ptp(found, axis=0).max() == 0


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_a_strong_direction_is_damped_as_computed_by_hand(scale: float) -> None:
    # tr(C²)/tr(C) = (81 + 1 + 0)/(9 + 1 + 0) = 8.2
    matrix = calibration.soft_whitening(np.diag([9.0, 1.0, 0.0]) * scale)
    expected = [(1 + 9 / 8.2) ** -0.5, (1 + 1 / 8.2) ** -0.5, 1]
    np.testing.assert_allclose(matrix, np.diag(expected), atol=1e-6)


def test_axes_do_not_matter() -> None:
    """Turning all vectors turns the map: no coordinate is special."""
    generator = np.random.default_rng(5)
    turn = np.linalg.qr(generator.normal(size=(6, 6)))[0]
    raw, prior = sentences(25), np.full(6, 0.2, dtype=np.float32)
    before = calibration.sentence_map(raw, prior).apply(raw)
    turned = (raw @ turn).astype(np.float32)
    after = calibration.sentence_map(turned, (prior @ turn).astype(np.float32)).apply(turned)
    np.testing.assert_allclose(after @ after.T, before @ before.T, atol=1e-5)


def test_parts_of_a_vector_stay_its_parts() -> None:
    """The map is linear: explanations by parts are exact before the length is made one."""
    raw, prior = sentences(25), np.full(6, 0.2, dtype=np.float32)
    found = calibration.sentence_map(raw, prior)
    parts = np.random.default_rng(2).normal(size=(4, 6))
    parts[-1] = raw[0] - found.mean - parts[:-1].sum(axis=0)
    mapped = (parts @ found.matrix).sum(axis=0)
    np.testing.assert_allclose(mapped / np.linalg.norm(mapped), found.apply(raw[0]), atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 23, 24, 40])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_few_sentences_take_a_shorter_way_to_the_same_map(count: int, power: float) -> None:
    rng = np.random.default_rng(count)
    vectors = calibration.normalise(rng.normal(size=(count, 24)) * np.linspace(0.1, 3, 24))
    vectors[count // 2 :: 3] = vectors[count // 2 :: 3][:1]  # some sentences are alike
    prior = rng.normal(size=24).astype(np.float32) / 10
    found = calibration.sentence_map(vectors, prior, power)
    whole = calibration.soft_whitening(calibration.shrunk_covariance(vectors, found.mean), power)
    np.testing.assert_allclose(found.matrix, whole, atol=1e-5)


def test_a_calibration_maps_queries_and_passages_and_the_identity_only_scales() -> None:
    rng = np.random.default_rng(8)
    raw = rng.normal(size=(5, 12)).astype(np.float32)
    raw[2] = 0
    means = calibration.Calibration(*rng.normal(size=(2, 12)).astype(np.float32))
    np.testing.assert_array_equal(means.passage(raw), calibration.apply(raw, means.passage_mean))
    np.testing.assert_array_equal(means.query(raw), calibration.apply(raw, means.query_mean))
    unit = means.query(raw[0])
    np.testing.assert_allclose(means.query(means.raw_query(unit)), unit, atol=1e-6)
    same = calibration.Calibration.identity(12)
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
