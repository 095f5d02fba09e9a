"""Confidence intervals of means over queries, and paired comparisons of two runs.

Percentile bootstrap: the queries are resampled with replacement, thousands of times, and the middle
95 % of the resampled means are the interval. Two runs on the same queries are compared *paired*:
the differences per query are resampled, so what makes a query easy or hard for both cancels out.

The random generator is seeded and the values are sorted first: the same values give the same
interval, whatever the order of the queries. This module works on arrays only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
RESAMPLES = 5_000
SEED = 20_260_202

MIN_DIFFERENCES = 6
"""A verdict needs this many queries that differ. Five differences all have the same sign by chance
in 2 · 2⁻⁵ = 6 % of cases, and a bootstrap of so few would not notice."""

_BLOCK = 2_000_000  # values resampled at once: 16 MB
_EXACT = 1e-12  # a mean nearer to zero than this is a rounding error


class Verdict(StrEnum):
    """The result of a paired comparison, for the first run."""

    BETTER = "better"
    WORSE = "worse"
    WITHIN_NOISE = "within noise"


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the bounds of its 95 % interval; nan if there are no values."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """The mean difference of two runs over `queries` queries, and the verdict on the first."""

    difference: Interval
    verdict: Verdict
    queries: int


def interval(values: ArrayLike, *, resamples: int = RESAMPLES, seed: int = SEED) -> Interval:
    """The mean of one value per query, (n,), with its 95 % bootstrap interval.

    >>> interval([0.5, 0.5, 0.5])
    Interval(mean=0.5, low=0.5, high=0.5)
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if not len(ordered):
        return Interval(math.nan, math.nan, math.nan)
    return _percentile_interval(
        math.fsum(ordered) / len(ordered), _resampled_means(ordered, resamples, seed)
    )


def compare(
    first: ArrayLike, second: ArrayLike, *, resamples: int = RESAMPLES, seed: int = SEED
) -> PairedComparison:
    """Compare two runs, (n,) and (n,), with the queries in the same order.

    The verdict is better or worse only if the interval of the mean difference excludes zero and
    at least `MIN_DIFFERENCES` queries differ. Raises ValueError when the lengths differ.

    >>> compare([1.0] * 8, [0.5] * 8).verdict.value
    'better'
    """
    differences = _differences(first, second)
    return _with_verdict([differences], interval(differences, resamples=resamples, seed=seed))


def interval_over_sets(
    sets: Sequence[ArrayLike], *, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """The mean of the sets' means, (n,) each: a small set counts as much as a large one.

    The sets are fixed; the queries of each are resampled, as many as it has.

    >>> interval_over_sets([[0.25] * 9, [0.75]])
    Interval(mean=0.5, low=0.5, high=0.5)
    """
    ordered = [np.sort(np.asarray(values, dtype=np.float64)) for values in sets]
    if not ordered or not all(len(values) for values in ordered):
        return Interval(math.nan, math.nan, math.nan)
    # Another seed for each: sets of one size would otherwise draw the same positions.
    draws = [_resampled_means(values, resamples, seed + at) for at, values in enumerate(ordered)]
    mean = math.fsum(math.fsum(values) / len(values) for values in ordered) / len(ordered)
    return _percentile_interval(mean, np.mean(draws, axis=0))


def compare_over_sets(
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> PairedComparison:
    """Like `compare`, by the mean over several sets of queries, with equal weights."""
    differences = [_differences(one, two) for one, two in zip(first, second, strict=True)]
    return _with_verdict(
        differences, interval_over_sets(differences, resamples=resamples, seed=seed)
    )


def compare_correlations(
    gold: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> PairedComparison:
    """Compare two lists of similarities, (n,) each, by Spearman's correlation with `gold` (n,).

    Items are resampled, and ranked anew in each sample. The difference is within -2 to 2; it is nan
    where a correlation is undefined, and then within noise. Raises ValueError when lengths differ.
    """
    differences = _differences(first, second)
    columns = np.array([np.asarray(gold, dtype=np.float64), first, second], dtype=np.float64)
    ordered = columns[:, np.lexsort(columns)]
    count = len(differences)
    mean = float(_rank_differences(ordered, np.ones((1, count)))[0]) if count else math.nan
    if not math.isfinite(mean):
        return PairedComparison(Interval(mean, mean, mean), Verdict.WITHIN_NOISE, count)
    draw, found = np.random.default_rng(seed), np.empty(resamples)
    block = max(1, _BLOCK // count)
    for start in range(0, resamples, block):
        part = found[start : start + block]
        drawn = draw.integers(0, count, (len(part), count)) + count * np.arange(len(part))[:, None]
        times = np.bincount(drawn.ravel(), minlength=len(part) * count).reshape(len(part), count)
        part[:] = np.nan_to_num(_rank_differences(ordered, times))
    return _with_verdict([differences], _percentile_interval(mean, found))


def _rank_differences(
    columns: NDArray[np.float64], times: NDArray[np.integer] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """corr(gold, first) - corr(gold, second) of samples with each item so many `times`: (r,).

    `columns` are gold, first and second, (3, n); `times` is (r, n).
    """
    gold, one, other = (_centred_ranks(column, times) for column in columns)
    return _correlations(gold, one, times) - _correlations(gold, other, times)


def _correlations(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    times: NDArray[np.integer] | NDArray[np.float64],
) -> NDArray[np.float64]:
    """The correlations of centred values (r, n), each item so many `times`: (r,); nan for none."""
    length = np.sqrt((times * x * x).sum(axis=1) * (times * y * y).sum(axis=1))
    found = np.full(len(length), np.nan)
    np.divide((times * x * y).sum(axis=1), length, out=found, where=length > 0)
    return found


def _centred_ranks(
    values: NDArray[np.float64], times: NDArray[np.integer] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Ranks of `values` (n,), each so many `times` (r, n), minus their mean: (r, n).

    Equal values have their mean rank.
    """
    distinct, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    last = np.searchsorted(group[order], np.arange(len(distinct)), side="right") - 1
    upto = np.cumsum(times[:, order], axis=1)[:, last]
    before = np.concatenate([np.zeros((len(times), 1)), upto[:, :-1]], axis=1)
    middle = (before + upto + 1) / 2
    return middle[:, group] - (upto[:, -1:] + 1) / 2


def _differences(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    ours, theirs = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise ValueError(f"runs of different queries: {ours.shape} and {theirs.shape} values")
    return ours - theirs


def _with_verdict(differences: Sequence[NDArray[np.float64]], found: Interval) -> PairedComparison:
    """The comparison whose mean difference has the interval `found`."""
    verdict = Verdict.WITHIN_NOISE
    if sum(np.count_nonzero(np.abs(each) > _EXACT) for each in differences) >= MIN_DIFFERENCES:
        if found.low > _EXACT:
            verdict = Verdict.BETTER
        elif found.high < -_EXACT:
            verdict = Verdict.WORSE
    return PairedComparison(found, verdict, sum(map(len, differences)))


def _percentile_interval(mean: float, means: NDArray[np.float64]) -> Interval:
    """The mean, with the middle 95 % of the resampled means (r,)."""
    rest = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [rest, 1 - rest])
    return Interval(mean, float(low), float(high))


def _resampled_means(values: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """The means of `resamples` samples of n from `values` (n,), with replacement: (r,)."""
    draw = np.random.default_rng(seed)
    means = np.empty(resamples)
    block = max(1, _BLOCK // len(values))
    for start in range(0, resamples, block):
        part = means[start : start + block]
        part[:] = values[draw.integers(0, len(values), (len(part), len(values)))].mean(axis=1)
    return means


__all__ = [
    "CONFIDENCE",
    "MIN_DIFFERENCES",
    "RESAMPLES",
    "Interval",
    "PairedComparison",
    "Verdict",
    "compare",
    "compare_correlations",
    "compare_over_sets",
    "interval",
    "interval_over_sets",
]
