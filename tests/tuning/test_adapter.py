"""The training of a map: its gradient against differences, and what it learns from examples."""

from __future__ import annotations

import numpy as np
import pytest

from retriever.arrays import normalise
from retriever.storage.adapter import Adapter
from retriever.tuning.adapter import (
    Examples,
    fit_map,
    log_likelihood,
    loss_and_gradient,
    ridge,
    whitening,
)

DIM = 16


def naive_loss(
    matrix: np.ndarray,
    queries: np.ndarray,
    candidates: np.ndarray,
    left_out: np.ndarray,
    both: bool,
) -> float:
    """The formula of the module's docstring, one query at a time."""
    total = 0.0
    for row, query in enumerate(queries):
        y = matrix @ query
        y = y / np.sqrt(y @ y)
        terms = []
        for column, candidate in enumerate(candidates):
            x = matrix @ candidate if both else candidate
            x = x / np.sqrt(x @ x)
            terms.append(-np.inf if left_out[row, column] else float(y @ x) / 0.05)
        total -= terms[row] - np.log(np.sum(np.exp(terms)))
    return total / len(queries)


@pytest.mark.parametrize("both", [False, True])
def test_the_gradient_is_the_slope_of_the_formula(both: bool) -> None:
    rng = np.random.default_rng(4)
    matrix = np.eye(5) + rng.normal(size=(5, 5)) / 4
    queries, candidates = normalise(rng.normal(size=(3, 5))), normalise(rng.normal(size=(7, 5)))
    left_out = np.zeros((3, 7), bool)
    left_out[0, 4] = left_out[1, 2] = True
    given = queries, candidates, left_out, both
    loss, gradient = loss_and_gradient(matrix, *given)
    assert loss == pytest.approx(naive_loss(matrix, *given), rel=1e-9)
    for place in np.ndindex(5, 5):
        step = np.zeros((5, 5))
        step[place] = 1e-6
        slope = (naive_loss(matrix + step, *given) - naive_loss(matrix - step, *given)) / 2e-6
        assert gradient[place] == pytest.approx(slope, abs=1e-5, rel=1e-5)


def made(count: int, seed: int, noise: float = 0.4) -> Examples:
    """Queries that are their passages seen through a fixed map, with some noise."""
    rng = np.random.default_rng(seed)
    dim = DIM
    hidden = np.eye(dim) + 0.8 * np.random.default_rng(0).normal(size=(dim, dim)) / np.sqrt(dim)
    passages = normalise(rng.normal(size=(count, dim))).astype(np.float32)
    seen = passages @ np.linalg.inv(hidden).T + noise * rng.normal(size=(count, dim)) / np.sqrt(dim)
    queries = normalise(seen).astype(np.float32)
    rows = np.arange(count)
    negatives = np.argsort(-(queries @ passages.T), axis=1)
    negatives = np.array([[n for n in row if n != at][:6] for at, row in enumerate(negatives)])
    background = normalise(rng.normal(size=(150, dim))).astype(np.float32)
    pairs = np.stack([rows, rows], axis=1)
    return Examples(queries, passages, pairs, negatives, rows * count + rows, background)


@pytest.mark.parametrize("side", ["query", "both"])
def test_training_ranks_passages_better_that_it_has_not_seen(side: str) -> None:
    both = side == "both"
    training, validation, other = made(300, 1), made(60, 2), made(60, 3)
    fitted = fit_map(training, validation, side, steps=60)
    again = fit_map(training, validation, side, steps=60)
    np.testing.assert_array_equal(fitted.matrix, again.matrix)
    assert fitted.after > fitted.before
    none = np.eye(DIM, dtype=np.float32)
    assert log_likelihood(other, fitted.matrix, both) > log_likelihood(other, none, both)
    Adapter.of(side, fitted.matrix)  # it can be inverted


def test_no_map_is_better_where_nothing_can_be_learnt() -> None:
    rng = np.random.default_rng(5)

    def noise(count: int) -> Examples:
        one = made(count, int(rng.integers(99)), noise=0.0)
        return Examples(
            normalise(rng.normal(size=one.queries.shape)).astype(np.float32),
            *(one.passages, one.pairs, one.negatives, one.answers, one.background),
        )

    fitted = fit_map(noise(60), noise(40), "query", steps=40)
    assert fitted.after - fitted.before < 0.1


def test_the_likelihood_is_not_misled_by_the_spread_of_cosines() -> None:
    examples = made(50, 6)
    closer = np.concatenate([examples.queries, np.full((50, 8), 0.5, np.float32)], axis=1)

    def widened(vectors: np.ndarray) -> np.ndarray:
        return normalise(
            np.concatenate([vectors, np.full((len(vectors), 8), 0.1)], axis=1).astype(np.float32)
        )

    flat = Examples(
        *(normalise(closer), widened(examples.passages), examples.pairs, examples.negatives),
        *(examples.answers, widened(examples.background)),
    )
    plain = log_likelihood(examples, np.eye(DIM, dtype=np.float32), False)
    assert log_likelihood(flat, np.eye(DIM + 8, dtype=np.float32), False) == pytest.approx(
        plain, abs=0.5
    )


def test_starts_are_their_formulas() -> None:
    examples = made(80, 7)
    full = whitening(examples.background, 1.0)
    white = examples.background @ full.T
    spread = np.linalg.eigvalsh(white.T @ white)
    assert spread.max() / spread.min() < 1.2
    queries, passages = examples.queries, examples.passages
    found = ridge(examples, 30.0)

    def cost(matrix: np.ndarray) -> float:
        off = matrix - np.eye(DIM)
        return float(((queries @ matrix.T - passages) ** 2).sum() + 30 * (off**2).sum())

    rng = np.random.default_rng(8)
    for _ in range(5):
        assert cost(found) < cost(found + 0.01 * rng.normal(size=(DIM, DIM)))
