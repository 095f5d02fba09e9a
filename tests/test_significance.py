"""Bootstrap intervals against all possible samples, a naive loop, theory, and known effects."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever import significance
from retriever.evaluation.metrics import spearman
from retriever.significance import (
    MIN_DIFFERENCES,
    Verdict,
    compare,
    compare_correlations,
    compare_over_sets,
    interval,
    interval_over_sets,
)


def test_all_27_draws_of_three_queries() -> None:
    # Samples of 0, 1/2 and 1 have the means 0, 1/6 … 1, with probabilities 1 3 6 7 6 3 1 in 27: the
    # lowest and the highest 2.5 % lie within the outermost means (1/27 = 3.7 %).
    draws = [statistics.fmean(draw) for draw in itertools.product([0.0, 0.5, 1.0], repeat=3)]
    assert sorted(draws).count(0.0) == 1
    found = interval([0.0, 0.5, 1.0])
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)
    means = significance._resampled_means(np.array([0.0, 0.5, 1.0]), 27_000, 1)
    for value, ways in zip(range(7), (1, 3, 6, 7, 6, 3, 1), strict=True):
        share = np.mean(np.isclose(means, value / 6))
        assert share == pytest.approx(ways / 27, abs=4 * math.sqrt(ways / 27 / 27_000))


def naive(values: list[float], resamples: int, seed: int) -> tuple[float, float]:
    """Python's own generator and quantiles, one sample after another."""
    draw = random.Random(seed)
    means = [statistics.fmean(draw.choices(values, k=len(values))) for _ in range(resamples)]
    cuts = statistics.quantiles(means, n=40, method="inclusive")
    return cuts[0], cuts[-1]


def test_the_interval_is_that_of_a_naive_loop() -> None:
    draw = random.Random(3)
    values = [draw.betavariate(0.5, 0.3) for _ in range(60)]
    found = interval(values)
    low, high = naive(values, 3000, 5)
    error = statistics.stdev(values) / math.sqrt(len(values))
    assert found.mean == pytest.approx(statistics.fmean(values))
    assert found.low == pytest.approx(low, abs=error / 8)
    assert found.high == pytest.approx(high, abs=error / 8)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_queries_does_not_matter(values: list[float], order: random.Random) -> None:
    places = list(range(len(values)))
    order.shuffle(places)
    shuffled = [values[at] for at in places]
    assert interval(values, resamples=50) == interval(shuffled, resamples=50)
    other = [1 - value for value in values]
    moved = [other[at] for at in places]
    assert compare(values, other, resamples=50) == compare(shuffled, moved, resamples=50)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.linspace(0, 1, 7)
    whole = significance._resampled_means(values, 100, 1)
    monkeypatch.setattr(significance, "_BLOCK", 30)
    np.testing.assert_allclose(significance._resampled_means(values, 100, 1), whole, rtol=1e-12)


def test_scale_and_shift_of_the_values() -> None:
    values = np.random.default_rng(1).random(30)
    found, other = interval(values), interval(2 * values + 3)
    assert (other.low, other.high) == (
        pytest.approx(2 * found.low + 3),
        pytest.approx(2 * found.high + 3),
    )


def test_pairs_show_what_intervals_of_each_run_hide() -> None:
    draw = np.random.default_rng(0)
    hard = draw.random(100)
    first, second = 0.95 * hard + 0.05, 0.95 * hard
    one, two = interval(first), interval(second)
    assert one.low < two.high  # the separate intervals overlap
    assert compare(first, second).verdict is Verdict.BETTER
    assert compare(second, first).verdict is Verdict.WORSE
    assert compare(first, first).verdict is Verdict.WITHIN_NOISE
    noise = np.clip(hard + draw.normal(0, 0.2, 100), 0, 1)
    flipped = np.clip(hard + draw.normal(0, 0.2, 100), 0, 1)
    assert compare(noise, flipped).verdict is Verdict.WITHIN_NOISE


def test_false_alarms_are_as_rare_as_promised() -> None:
    draw = np.random.default_rng(2)
    alarms = [
        compare(*draw.random((2, 40)), resamples=400).verdict is not Verdict.WITHIN_NOISE
        for _ in range(400)
    ]
    assert 0.02 < statistics.fmean(alarms) < 0.09


def test_few_queries_decide_nothing() -> None:
    few = MIN_DIFFERENCES - 1
    assert compare([1.0] * few, [0.0] * few).verdict is Verdict.WITHIN_NOISE
    assert compare([1.0] * (few + 1), [0.0] * (few + 1)).verdict is Verdict.BETTER
    # Five differences among many equal values are still five.
    assert compare([1.0] * few + [0.5] * 3, [0.0] * few + [0.5] * 3).verdict is Verdict.WITHIN_NOISE


def test_nothing_to_compare() -> None:
    assert math.isnan(interval([]).mean)
    assert compare([], []).verdict is Verdict.WITHIN_NOISE
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        compare([1, 2], [1, 2, 3])


def test_sets_count_the_same_whatever_their_size() -> None:
    draw = np.random.default_rng(4)
    large, small = draw.random(200), draw.random(30) / 2
    found = interval_over_sets([large, small])
    assert found.mean == pytest.approx((large.mean() + small.mean()) / 2)
    # The variance of a mean of two independent means.
    error = math.sqrt(large.var() / 200 + small.var() / 30) / 2
    assert found.low == pytest.approx(found.mean - 1.96 * error, abs=error / 6)
    assert found.high == pytest.approx(found.mean + 1.96 * error, abs=error / 6)
    assert interval_over_sets([small]) == interval(small)
    # Two sets with the same values are two samples: the interval is narrower than with one.
    twice = interval_over_sets([small, small])
    one = interval(small)
    assert twice.high - twice.low == pytest.approx((one.high - one.low) / math.sqrt(2), rel=0.1)


def test_sets_are_compared_query_by_query() -> None:
    draw = np.random.default_rng(5)
    easy, hard = draw.random(40), draw.random(9)
    assert compare_over_sets([easy], [easy / 2]) == compare(easy, easy / 2)
    both = compare_over_sets([easy, hard], [easy - 0.1, hard + 0.3])
    assert both.difference.mean == pytest.approx(-0.1)
    assert (both.verdict, both.queries) == (Verdict.WORSE, 49)
    few = [[1.0] * 3, [1.0] * 2], [[0.0] * 3, [0.0] * 2]
    assert compare_over_sets(*few).verdict is Verdict.WITHIN_NOISE
    assert math.isnan(interval_over_sets([]).mean)
    assert math.isnan(interval_over_sets([[1.0], []]).mean)
    with pytest.raises(ValueError, match="shorter"):
        compare_over_sets([[1.0]], [])


def test_correlations_are_resampled_as_in_a_naive_loop() -> None:
    draw = np.random.default_rng(7)
    gold = draw.integers(0, 6, 40) / 2  # with ties
    first, second = gold + draw.normal(0, 1, 40), gold + draw.normal(0, 3, 40)
    first[:9] = 1.0
    found = compare_correlations(gold, first, second, resamples=200, seed=3)
    order = sorted(range(40), key=lambda at: (second[at], first[at], gold[at]))
    columns = np.array([gold, first, second])[:, order]
    again, differences = np.random.default_rng(3), []
    for row in again.integers(0, 40, (200, 40)):
        a, b, c = columns[:, row]
        differences.append(spearman(a, b) - spearman(a, c))
    low, high = np.quantile(differences, [0.025, 0.975])
    assert found.difference.mean == pytest.approx(spearman(gold, first) - spearman(gold, second))
    assert (found.difference.low, found.difference.high) == pytest.approx((low, high))
    assert found.verdict is Verdict.BETTER
    assert found.queries == 40
    backwards = list(reversed(range(40)))
    assert found == compare_correlations(
        gold[backwards], first[backwards], second[backwards], resamples=200, seed=3
    )


def test_a_correlation_that_is_undefined_decides_nothing() -> None:
    for gold in ([], [1.0], [2.0] * 9):
        values = list(range(len(gold)))
        found = compare_correlations(gold, values, values[::-1])
        assert found.verdict is Verdict.WITHIN_NOISE
        assert math.isnan(found.difference.mean)
    with pytest.raises(ValueError, match="different queries"):
        compare_correlations([1.0], [1.0], [1.0, 2.0])
