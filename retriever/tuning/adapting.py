"""`wva tune INDEX --adapter`: an index gets a map of its vectors, if it helps on what is held out.

What it is fitted to and measured by is a task (see `retriever.tuning.adapter_tasks`), of pairs or
of the index's own passages. A part is held out, and searched for as in any search, with and without
the map. Only if the search that counts is better there by more than noise, and none is worse (see
`retriever.tuning.guard`), the map is written; before, nothing is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from retriever.index import Index
from retriever.indexing.dense_weight import fit_dense_weight
from retriever.indexing.fitting import Fitter
from retriever.searching.options import Mode
from retriever.significance import MIN_DIFFERENCES, PairedComparison, Verdict, compare
from retriever.storage.adapter import QUERY, SIDES, Adapter
from retriever.storage.backends import Snapshot
from retriever.tuning.adapter import Fitted, fit_map
from retriever.tuning.adapter_tasks import Embedding, Progress, Task, own_task, pairs_task
from retriever.tuning.guard import MIN_QUERIES, objection
from retriever.tuning.pairs import PairData
from retriever.tuning.trial import trial, weighted
from retriever.tuning.vectors import Pool, make_examples
from retriever.types import IndexStateError, UsageError

HELD_OUT = 0.2
"""Share of the queries, or of the documents, that measures the map."""

MINUTES = 5.0
"""Time for embedding and training; half of it at most for embedding passages."""

_EACH = 4  # answers of a query that are trained on


@dataclass(frozen=True, slots=True)
class Figures:
    """A measure of one mode without and with the map, the difference and its 95 % interval."""

    before: float
    after: float
    difference: float
    low: float
    high: float
    verdict: str

    @classmethod
    def of(cls, before: Sequence[float], after: Sequence[float]) -> Figures:
        """The figures of one value per query."""
        found: PairedComparison = compare(after, before)
        ends = found.difference
        values = (float(np.mean(before)), float(np.mean(after)), ends.mean, ends.low, ends.high)
        one, other, difference, low, high = (round(value, 4) for value in values)
        return cls(one, other, difference, low, high, found.verdict.value)


@dataclass(frozen=True, slots=True)
class AdapterReport:
    """What became of an adapter, and why.

    `measure` is that of `dense` and `hybrid`, over `held_out` queries. `start` and `steps` tell
    where training began and how long it went on; `seconds` are those of training alone.
    """

    kept: bool
    sentence: str
    side: str
    data: str
    pairs: int
    held_out: int
    measure: str
    dense: Figures
    hybrid: Figures
    dense_weight: float
    start: str
    steps: int
    seconds: float
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def tune_adapter(
    index: Index,
    pairs: PairData | None = None,
    *,
    side: str = QUERY,
    seed: int = 0,
    held_out: float = HELD_OUT,
    minutes: float = MINUTES,
    wanted: Mode | None = None,
    progress: Progress = lambda text: None,
) -> AdapterReport:
    """Fit a map to pairs, or to the index's own passages, and keep it if it helps.

    `wanted` is the mode that has to be better; None means either, or without pairs hybrid search.
    Raises UsageError for impossible options and for data that is too little, IndexStateError for an
    index that has an adapter already, or no vectors.
    """
    _check(side, held_out, minutes)
    until = time.monotonic() + 60 * minutes
    with index.snapshot() as now:
        _check_index(now, index.name)
        with_model = Embedding(index.embedder, now, until - 30 * minutes)
        if pairs is None:
            task = own_task(now, with_model, seed, held_out, progress)
        else:
            task = pairs_task(now, with_model, pairs, seed, held_out, progress)
        adapter, fitted, seconds = _fit(now, task, side, seed, until, progress)
        progress(f"searching for {task.held_out} held-out queries, without and with the map …")
        before = task.values(now)
        mapped = trial(now, adapter)
        weight = fit_dense_weight(mapped, *task.cloze)
        weight["weighed_at"] = now.passages.count()
        after = task.values(weighted(mapped, weight))
        restored = {
            "facts": dict(now.catalog.calibration_facts() or {}),
            "scale": now.catalog.match_scale(),
        }
    report = _report(
        *(task, adapter, fitted, seconds, before, after, float(weight["dense_weight"])),
        wanted or (Mode.HYBRID if pairs is None else None),
    )
    if report.kept:
        progress("fitting the search to the map …")
        _keep(index, Adapter.of(side, adapter.matrix, _facts(report), restored), weight)
    return report


def remove_adapter(index: Index) -> bool:
    """Remove the adapter; the results are those before it. Returns whether there was one.

    What was fitted to the index before is restored, if the documents are the same; else it is
    fitted again.
    """
    with index.changing():
        with index.backend.reading() as catalog:
            adapter, facts = catalog.adapter(), dict(catalog.calibration_facts() or {})
            known = catalog.means()
        if adapter is None:
            return False
        means = known.passage_mean, known.query_mean
        before, corpus = adapter.before.get("facts") or {}, facts.pop("corpus", None)
        if before.get("corpus") == corpus:
            # Without the digest of the corpus the next run fits all, if this one is stopped.
            index.backend.calibrate(*means, facts)
            index.backend.set_adapter(None)
            index.backend.set_match_scale(adapter.before.get("scale"))
            index.backend.calibrate(*means, before)
        else:
            Fitter(index.backend, index.embedder).set_adapter(None)
        _finish(index)
    return True


def _check(side: str, held_out: float, minutes: float) -> None:
    if side not in SIDES:
        raise UsageError(f"--side is {' or '.join(SIDES)}; it is {side!r}")
    if not 0 < held_out < 1:
        raise UsageError(f"the share that is held out must be between 0 and 1; it is {held_out}")
    if not 0 < minutes < 24 * 60:
        raise UsageError(
            f"the time must be more than 0 minutes and less than a day; it is {minutes}"
        )


def _check_index(now: Snapshot, name: str) -> None:
    if now.catalog.calibration_facts() is None or not now.passages.count_vectors():
        raise IndexStateError(f"{name} has no vectors that could be mapped: index documents first")
    known = now.catalog.adapter()
    if known is not None:
        raise IndexStateError(
            f"{name} has an adapter already, of {known.facts.get('at', 'an unknown date')}; remove "
            f"it before another one is made: wva tune {name} --adapter off"
        )


def _fit(
    now: Snapshot, task: Task, side: str, seed: int, until: float, progress: Progress
) -> tuple[Adapter, Fitted, float]:
    started = time.monotonic()
    progress(f"training on {len(task.training)} queries …")
    pool = Pool.of(now)
    examples, validation = (
        make_examples(some, pool, each=_EACH, seed=seed)
        for some in (task.training, task.validation)
    )
    left = max(1.0, until - time.monotonic())
    fitted = fit_map(examples, validation, side, seed=seed, seconds=left)
    return Adapter.of(side, fitted.matrix), fitted, time.monotonic() - started


def _report(
    task: Task,
    adapter: Adapter,
    fitted: Fitted,
    seconds: float,
    before: tuple[list[float], list[float]],
    after: tuple[list[float], list[float]],
    weight: float,
    wanted: Mode | None,
) -> AdapterReport:
    dense, hybrid = (Figures.of(*each) for each in zip(before, after, strict=True))
    kept, why = _decided(dense, hybrid, task.held_out, fitted, wanted)
    told = "; ".join(
        f"{name} {task.measure} {one.before:.3f} and {one.after:.3f} ({one.difference:+.3f}, 95 % "
        f"interval {one.low:+.3f} to {one.high:+.3f}: {one.verdict})"
        for name, one in (("dense", dense), ("hybrid", hybrid))
    )
    sentence = f"On {task.held_out} held-out queries, before and after: {told}. {why}"
    return AdapterReport(
        kept=kept,
        sentence=sentence,
        side=adapter.side,
        data=task.data,
        pairs=len(task.training),
        held_out=task.held_out,
        measure=task.measure,
        dense=dense,
        hybrid=hybrid,
        dense_weight=weight,
        start=fitted.start,
        steps=fitted.steps,
        seconds=round(seconds, 1),
        notes=task.notes,
    )


def _decided(
    dense: Figures, hybrid: Figures, count: int, fitted: Fitted, wanted: Mode | None
) -> tuple[bool, str]:
    if count < max(MIN_QUERIES, MIN_DIFFERENCES):
        return (
            False,
            f"Fewer than {MIN_QUERIES} cannot tell whether the map helps, so it is not kept.",
        )
    if fitted.start == "identity" and not fitted.steps:
        return False, "No map was better than none, so the index stays as it is."
    against = objection(Verdict(dense.verdict), Verdict(hybrid.verdict), wanted)
    if against:
        return False, f"{against}, so the index stays as it is."
    return True, "The map is kept; wva tune INDEX --adapter off removes it."


def _facts(report: AdapterReport) -> dict[str, Any]:
    """What `wva info` tells."""
    told = report.to_json()
    for name in ("kept", "side", "notes"):
        told.pop(name)
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), **told}


def _keep(index: Index, adapter: Adapter, weight: Mapping[str, Any]) -> None:
    """Give the index the adapter, if it is still as it was when the adapter was fitted to it."""
    with index.changing():
        with index.backend.reading() as catalog:
            now = dict(catalog.calibration_facts() or {})
            is_same = catalog.adapter() is None and now == adapter.before["facts"]
        if not is_same:
            raise IndexStateError(
                f"{index.name} was changed while the adapter was trained, so it was not kept; give "
                "the same command again"
            )
        Fitter(index.backend, index.embedder).set_adapter(adapter, weight)
        _finish(index)


def _finish(index: Index) -> None:
    """End a change with the report of the last run, which it is none of."""
    with index.backend.reading() as catalog:
        last = catalog.last_run()
    index.backend.finish(last or {})


__all__ = [
    "HELD_OUT",
    "MINUTES",
    "AdapterReport",
    "Figures",
    "remove_adapter",
    "tune_adapter",
]
