"""How sure a mean over queries is, and whether one run is better than another.

Percentile bootstrap: queries are drawn again with replacement, thousands of times, and the middle
95 % of the means so drawn are the interval. Two runs on the same queries are compared *paired*:
it is each query's difference that is drawn, so what makes a query easy or hard for both cancels.

The draws are seeded and the values sorted first: the same values give the same interval, in
whatever order the queries stand. This module knows arrays only.
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
"""So many queries must differ before a verdict: of five, all fall on one side by chance in 2 · 2⁻⁵
= 6 % of cases, and a bootstrap of so few would not notice."""

_BLOCK = 2_000_000  # values drawn at once: 16 MB
_EXACT = 1e-12  # a mean nearer to zero than this is a rounding error


class Verdict(StrEnum):
    """What a paired comparison allows to say of the first run."""

    BETTER = "better"
    WORSE = "worse"
    WITHIN_NOISE = "within noise"


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the bounds of its 95 % interval; nan without a value."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """The mean difference of two runs over `queries` queries, and what it says of the first."""

    difference: Interval
    verdict: Verdict
    queries: int


def interval(values: ArrayLike, *, resamples: int = RESAMPLES, seed: int = SEED) -> Interval:
    """The mean of one value a query, (n,), with its 95 % bootstrap interval.

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
    """Compare two runs, (n,) and (n,), in which the same place is the same query.

    Better or worse only where the interval of the mean difference leaves out zero, and at least
    `MIN_DIFFERENCES` queries differ. Raises ValueError when the lengths differ.

    >>> compare([1.0] * 8, [0.5] * 8).verdict.value
    'better'
    """
    differences = _differences(first, second)
    return _with_verdict([differences], interval(differences, resamples=resamples, seed=seed))


def interval_over_sets(
    sets: Sequence[ArrayLike], *, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """The mean of the sets' means, (n,) each: a small set counts as much as a large one.

    The sets are given, it is their queries that are drawn: from each set as many as it has.

    >>> interval_over_sets([[0.25] * 9, [0.75]])
    Interval(mean=0.5, low=0.5, high=0.5)
    """
    ordered = [np.sort(np.asarray(values, dtype=np.float64)) for values in sets]
    if not ordered or not all(len(values) for values in ordered):
        return Interval(math.nan, math.nan, math.nan)
    # Sets of one size would otherwise draw the same places: another seed for each.
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
    """As `compare`, by the mean over several sets of queries, each counting the same."""
    differences = [_differences(one, two) for one, two in zip(first, second, strict=True)]
    return _with_verdict(
        differences, interval_over_sets(differences, resamples=resamples, seed=seed)
    )


def _differences(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    ours, theirs = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise ValueError(f"runs of different queries: {ours.shape} and {theirs.shape} values")
    return ours - theirs


def _with_verdict(differences: Sequence[NDArray[np.float64]], found: Interval) -> PairedComparison:
    """What `found`, the interval of the mean of these differences, allows to say."""
    verdict = Verdict.WITHIN_NOISE
    if sum(np.count_nonzero(np.abs(each) > _EXACT) for each in differences) >= MIN_DIFFERENCES:
        if found.low > _EXACT:
            verdict = Verdict.BETTER
        elif found.high < -_EXACT:
            verdict = Verdict.WORSE
    return PairedComparison(found, verdict, sum(map(len, differences)))


def _percentile_interval(mean: float, means: NDArray[np.float64]) -> Interval:
    """The middle 95 % of the means drawn, (r,)."""
    rest = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [rest, 1 - rest])
    return Interval(mean, float(low), float(high))


def _resampled_means(values: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """The means of `resamples` draws of n values out of `values` (n,), with replacement: (r,)."""
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
    "compare_over_sets",
    "interval",
    "interval_over_sets",
]
