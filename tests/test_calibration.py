"""The two means, against the arithmetic written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from retriever import calibration

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
