"""Markdown tables of quality, comparisons and costs of systems on several data sets.

A *system* is a mode of a `Run`. In a mean, every data set has the same weight, whatever its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from retriever.evaluation.runs import Run
from retriever.significance import (
    Interval,
    PairedComparison,
    compare,
    compare_over_sets,
    interval,
    interval_over_sets,
)

MEASURE = "ndcg@10"
MEAN = "mean"


@dataclass(frozen=True, slots=True)
class Cost:
    """The costs of a system; None for those it does not have."""

    query_ms: float
    indexing_s: float | None = None  # for 1,000 passages, the model's part
    bytes: float | None = None  # for a passage, on disk


def compare_systems(runs: Mapping[str, Run], one: str, other: str) -> dict[str, PairedComparison]:
    """Set → paired comparison of system `one` with `other`; also over all sets, if several."""
    values = [
        [list(run.values[system][MEASURE].values()) for run in runs.values()]
        for system in (one, other)
    ]
    found = {name: compare(*pair) for name, *pair in zip(runs, *values, strict=True)}
    return found | ({MEAN: compare_over_sets(*values)} if len(runs) > 1 else {})


def means(runs: Mapping[str, Run], system: str) -> dict[str, Interval]:
    """Set → the system's mean with its interval; also the mean over all sets, if several."""
    values = {name: list(run.values[system][MEASURE].values()) for name, run in runs.items()}
    found = {name: interval(each) for name, each in values.items()}
    return found | ({MEAN: interval_over_sets(list(values.values()))} if len(runs) > 1 else {})


def quality_table(runs: Mapping[str, Run]) -> list[str]:
    """A row for each set and one for their mean, a column for each system."""
    systems = list(next(iter(runs.values())).values)
    columns = {system: means(runs, system) for system in systems}
    rows = [
        [name, *(_mean(columns[system][name]) for system in systems)]
        for name in columns[systems[0]]
    ]
    return markdown(["set", *systems], rows)


def comparison_table(runs: Mapping[str, Run], one: str, what: str) -> list[str]:
    """The difference of `one` to every other system, by set: better (+) or worse (-)."""
    others = [system for system in next(iter(runs.values())).values if system != one]
    columns = {other: compare_systems(runs, one, other) for other in others}
    rows = [[name, *(_verdict(columns[o][name]) for o in others)] for name in columns[others[0]]]
    return markdown([what, *others], rows)


def variant_table(runs: Mapping[str, Run], one: str) -> list[str]:
    """A row for each variant of `one`: its mean, and its comparison with `one`."""
    rows = []
    for system in next(iter(runs.values())).values:
        found, compared = means(runs, system), compare_systems(runs, system, one)
        cells = [f"{each.mean:.3f}" for each in found.values()]
        if system != one:
            judged = [_verdict(each) for each in compared.values()]
            cells = [f"{mean}, {verdict}" for mean, verdict in zip(cells, judged, strict=True)]
        rows.append([system, *cells])
    return markdown(["", *means(runs, one)], rows)


def cost_table(costs: Sequence[Mapping[str, Cost]]) -> list[str]:
    """The costs of each system, as means over the sets."""
    rows = [
        [
            system,
            _amount([each[system].query_ms for each in costs], 1),
            _amount([each[system].indexing_s for each in costs], 1),
            _amount([each[system].bytes for each in costs], 0),
        ]
        for system in costs[0]
    ]
    return markdown(["", "ms a query", "s for 1,000 passages", "bytes a passage"], rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table.

    >>> markdown(["a", "b"], [["1", "2"]])
    ['| a | b |', '|---|---|', '| 1 | 2 |']
    """
    lines = [f"| {' | '.join(row)} |" for row in [head, *rows]]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]


def _mean(one: Interval) -> str:
    return f"{one.mean:.3f} ({one.low:.3f} to {one.high:.3f})"


def _verdict(one: PairedComparison) -> str:
    return f"{one.verdict.value} ({one.difference.mean:+.3f})"


def _amount(values: Sequence[float | None], places: int) -> str:
    known = [value for value in values if value is not None]
    return f"{fmean(known):,.{places}f}" if known else ""
