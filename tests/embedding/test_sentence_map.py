"""The map for sentences, compared with its formula written out as loops."""

from __future__ import annotations

import numpy as np
import pytest

from retriever.arrays import centred, normalise, shrunk_mean
from retriever.embedding.sentence_map import sentence_map, shrunk_covariance, soft_whitening


def sentences(count: int, dim: int = 6, seed: int = 0) -> np.ndarray:
    """Unit vectors that vary much more along some axes than along others."""
    generator = np.random.default_rng(seed)
    spread = generator.normal(size=(count, dim)) * np.geomspace(2, 0.1, dim)
    return normalise((spread + 3).astype(np.float32))


def naive_map(raw: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The calibrated sentences by the formula, as loops and a root found by Newton's iteration."""
    count, dim = raw.shape
    mean = (raw.sum(axis=0, dtype=np.float64) + 16 * prior) / (count + 16)
    total = sum(np.outer(row - mean, row - mean) for row in raw.astype(np.float64))
    covariance = (total + np.eye(dim) * np.trace(total) / count) / (count + dim)
    ridge = np.trace(covariance @ covariance) / np.trace(covariance)
    # Denman and Beavers: converges to the square root of a matrix and of its inverse.
    root, inverse = np.eye(dim) + covariance / ridge, np.eye(dim)
    for _ in range(40):
        root, inverse = (root + np.linalg.inv(inverse)) / 2, (inverse + np.linalg.inv(root)) / 2
    found = (raw - mean) @ inverse
    return found / np.sqrt((found**2).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("count", [2, 3, 5, 6, 40])
def test_sentences_by_the_formula_written_out(count: int) -> None:
    raw = sentences(count)
    prior = np.linspace(0.1, 0.4, 6).astype(np.float32)
    found = sentence_map(raw, prior)
    np.testing.assert_array_equal(found.matrix, found.matrix.T)
    np.testing.assert_allclose(found.apply(raw), naive_map(raw, prior), atol=1e-5)


def test_one_sentence_or_none_has_the_mean_alone() -> None:
    raw = sentences(3)
    prior = np.linspace(0.1, 0.4, 6).astype(np.float32)
    nothing = sentence_map(raw[:0], prior)
    np.testing.assert_array_equal(nothing.matrix, np.eye(6))
    np.testing.assert_allclose(nothing.apply(raw), centred(raw, prior), atol=1e-6)
    for row in raw[:, None]:
        one = sentence_map(row, prior)
        np.testing.assert_allclose(one.apply(row), centred(row, prior), atol=1e-6)


def test_power_zero_is_the_mean_alone() -> None:
    raw, prior = sentences(30), np.zeros(6, dtype=np.float32)
    found = sentence_map(raw, prior, power=0)
    np.testing.assert_allclose(found.matrix, np.eye(6), atol=1e-6)
    mean = shrunk_mean(raw, prior)
    np.testing.assert_allclose(found.apply(raw), centred(raw, mean), atol=1e-6)


def test_sentences_order_and_scale_do_not_matter() -> None:
    raw, prior = sentences(30), np.full(6, 0.3, dtype=np.float32)
    expected = sentence_map(raw, prior)
    turned = sentence_map(raw[::-1], prior)
    np.testing.assert_allclose(turned.matrix, expected.matrix, atol=1e-5)
    for scale in (np.float32(1e-3), np.float32(1e3)):
        scaled = sentence_map(raw * scale, prior * scale)
        np.testing.assert_allclose(scaled.matrix, expected.matrix, atol=1e-4)
        np.testing.assert_allclose(scaled.apply(raw * scale), expected.apply(raw), atol=1e-4)


def test_empty_sentences_do_not_count_and_stay_zero() -> None:
    raw, prior = sentences(10), np.full(6, 0.3, dtype=np.float32)
    expected = sentence_map(raw, prior)
    gaps = np.zeros((20, 6), dtype=np.float32)
    gaps[::2] = raw
    found = sentence_map(gaps, prior)
    np.testing.assert_array_equal(found.matrix, expected.matrix)
    calibrated = found.apply(gaps)
    assert not calibrated[1::2].any()
    np.testing.assert_array_equal(calibrated[::2], expected.apply(raw))
    only = sentence_map(gaps[1::2], prior)
    assert not only.apply(gaps[1::2]).any()


def test_equal_sentences_stay_equal() -> None:
    raw = np.repeat(sentences(1), 7, axis=0)
    found = sentence_map(raw, raw[0]).apply(raw)
    assert np.isfinite(found).all()
    assert np.ptp(found, axis=0).max() == 0


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_a_strong_direction_is_damped_as_computed_by_hand(scale: float) -> None:
    # tr(C²)/tr(C) = (81 + 1 + 0)/(9 + 1 + 0) = 8.2
    matrix = soft_whitening(np.diag([9.0, 1.0, 0.0]) * scale)
    expected = [(1 + 9 / 8.2) ** -0.5, (1 + 1 / 8.2) ** -0.5, 1]
    np.testing.assert_allclose(matrix, np.diag(expected), atol=1e-6)


def test_axes_do_not_matter() -> None:
    """Rotating all vectors rotates the map: no coordinate is special."""
    generator = np.random.default_rng(5)
    turn = np.linalg.qr(generator.normal(size=(6, 6)))[0]
    raw, prior = sentences(25), np.full(6, 0.2, dtype=np.float32)
    before = sentence_map(raw, prior).apply(raw)
    turned = (raw @ turn).astype(np.float32)
    after = sentence_map(turned, (prior @ turn).astype(np.float32)).apply(turned)
    np.testing.assert_allclose(after @ after.T, before @ before.T, atol=1e-5)


def test_the_map_of_a_sum_is_the_sum_of_the_maps() -> None:
    """The map is linear: attributions are exact before normalisation."""
    raw, prior = sentences(25), np.full(6, 0.2, dtype=np.float32)
    found = sentence_map(raw, prior)
    parts = np.random.default_rng(2).normal(size=(4, 6))
    parts[-1] = raw[0] - found.mean - parts[:-1].sum(axis=0)
    mapped = (parts @ found.matrix).sum(axis=0)
    np.testing.assert_allclose(mapped / np.linalg.norm(mapped), found.apply(raw[0]), atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 23, 24, 40])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_few_sentences_take_a_shorter_way_to_the_same_map(count: int, power: float) -> None:
    rng = np.random.default_rng(count)
    vectors = normalise(rng.normal(size=(count, 24)) * np.linspace(0.1, 3, 24))
    vectors[count // 2 :: 3] = vectors[count // 2 :: 3][:1]  # some sentences are equal
    prior = rng.normal(size=24).astype(np.float32) / 10
    found = sentence_map(vectors, prior, power)
    whole = soft_whitening(shrunk_covariance(vectors, found.mean), power)
    np.testing.assert_allclose(found.matrix, whole, atol=1e-5)
