"""Untrained and tuned models beside each other: `python -m benchmarks.tuning PART …`.

- `pairs FOLDER`: a data set in the format of BEIR. By seed, a fifth of the questions is held out, a
  model is tuned on the others, and the held-out ones are searched in the whole corpus: dense and
  hybrid, before and after, with an adapter of the same pairs (where its own guard keeps one; query
  side), beside BM25 and a trained embedder.
- `documents FOLDER…`: the same sets, tuned on their texts alone, without a question or a judgement.
  The model is measured whether or not the guard of `wva tune` would keep it, and the guard's
  sentence, which knows held-out documents alone, stands under the table.
- `sts TRAIN DEV`: rated sentences; Spearman x 100 on DEV by pooling, trained alike.

Every mean has its 95 % interval over the questions, every difference a verdict. Tables go to
standard output, progress to standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks import trained
from benchmarks.adapter import Remembering, copied
from benchmarks.tables import comparison_table, markdown, quality_table
from benchmarks.trained import Trained
from retriever.embedding.aligned_wva import AlignedWVA
from retriever.evaluation.datasets import RetrievalDataset, read_beir
from retriever.evaluation.retrieval import evaluate_dataset, open_dataset
from retriever.evaluation.runs import Data, Run, score_rankings
from retriever.searching.options import Mode
from retriever.settings import DEFAULT_MODEL
from retriever.significance import PairedComparison
from retriever.tuning.adapting import tune_adapter
from retriever.tuning.documents import PAIRS, pairs_from_index
from retriever.tuning.guard import HeldRun, evaluate_held, judge_change
from retriever.tuning.leakage import hold_out, without
from retriever.tuning.model import Tuning, figures, make_model, prepare
from retriever.tuning.pairs import PairData
from retriever.tuning.reading import read_pairs
from retriever.tuning.recipe import Recipe
from retriever.tuning.training import Step
from retriever.types import UsageError

SEEDS = 3
HELD = 0.2
MEASURE = "ndcg@10"
KEYWORD, BASE, ADAPTED, TUNED = "BM25", "untrained", "adapter", "tuned"
SEARCHED = ("dense", "hybrid")
POOLINGS = ("aligned-wva", "va", "last-hidden")


@dataclass(frozen=True, slots=True)
class Options:
    """What all parts need: the base model, and how to train."""

    model: str
    recipe: Recipe
    device: str | None
    dtype: str | None
    with_trained: bool

    def load(self, model: str = "", pooling: str = "aligned-wva") -> AlignedWVA:
        """The base, or another model."""
        name = model or self.model
        return AlignedWVA(name, pooling=pooling, device=self.device, dtype=self.dtype)

    def tuning(self, train: PairData, pooling: str = "aligned-wva", **more: Any) -> Tuning:
        """Training on these pairs."""
        return Tuning(
            lambda: self.load(pooling=pooling),
            *(train, train, self.recipe),
            device=self.device,
            dtype=self.dtype,
            **more,
        )


# Pairs


def pairs(folder: Path, seeds: int, options: Options) -> None:
    """Tune on four fifths of the questions, measure on the others, by seed."""
    data = read_pairs(folder)
    whole = read_beir(folder, "train")
    runs: dict[str, Run] = {}
    for seed in range(1, seeds + 1):
        train, held = hold_out(data, HELD, seed)
        asked = _only(whole, {pair.id for pair in held.pairs})
        seeded = replace(options, recipe=replace(options.recipe, seed=seed))
        name = f"{data.name}, seed {seed}"
        with _tuned(seeded.tuning(train), train) as model:
            runs[name] = _compared(asked, name, seeded, model, train)
        print(_tables({name: runs[name]}), flush=True)
    if len(runs) > 1:
        print(_tables({f"{data.name}, {len(runs)} seeds": _pooled(runs)}), flush=True)


def _pooled(runs: Mapping[str, Run]) -> Run:
    """Every question once, with the mean of the seeds that hold it out: seeds share questions."""
    every = list(runs.values())
    values: dict[str, Mapping[str, Mapping[str, float]]] = {}
    for system in every[0].values:
        found: dict[str, list[float]] = {}
        for run in every:
            for query, value in run.values[system][MEASURE].items():
                found.setdefault(query, []).append(value)
        values[system] = {MEASURE: {query: fmean(some) for query, some in found.items()}}
    return Run(every[0].data, values)


def _only(data: RetrievalDataset, queries: set[str]) -> RetrievalDataset:
    """The data set with some of its queries."""
    return RetrievalDataset(
        data.corpus,
        {name: text for name, text in data.queries.items() if name in queries},
        {name: judged for name, judged in data.qrels.items() if name in queries},
    )


@contextmanager
def _tuned(tuning: Tuning, train: PairData) -> Iterator[Path]:
    """The folder of a model tuned on these pairs, until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="wva-tuning-") as scratch:
        started = time.monotonic()
        prepare(Path(scratch), tuning, tuning.load(), train, _say)
        made = make_model(Path(scratch), tuning, _say, _Steps())
        _say(f"tuned on {len(train.pairs):,} pairs in {time.monotonic() - started:,.0f} s")
        yield made


def _compared(
    data: RetrievalDataset, name: str, options: Options, model: Path, pairs: PairData | None
) -> Run:
    """One run with all systems as modes, on the same queries; `pairs` are those of the adapter."""
    values: dict[str, Mapping[str, Mapping[str, float]]] = {}
    found: Data | None = None
    base = options.load()
    for what, embedder in ((BASE, base), (TUNED, options.load(str(model)))):
        run = evaluate_dataset(embedder, data, name, progress=_say)
        values |= {f"{what}, {mode}": run.values[mode] for mode in SEARCHED}
        values.setdefault(KEYWORD, run.values["keyword"])
        found = run.data
    values |= _adapter_values(base, data, name, options.recipe.seed, pairs)
    if found is None:
        raise AssertionError
    if options.with_trained:
        values |= _trained_values(data, name, options)
    return Run(found, {system: {MEASURE: by[MEASURE]} for system, by in values.items()})


def _adapter_values(
    base: AlignedWVA, data: RetrievalDataset, name: str, seed: int, pairs: PairData | None
) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """The untrained model's index with an adapter; without one if none is kept."""
    with open_dataset(base, data, name, progress=_say) as ready:
        place = Path(ready.index.name)
    with copied(place, Remembering(base, dict(ready.vectors))) as index:
        try:
            report = tune_adapter(index, pairs, seed=seed, progress=_say)
            _say(report.sentence)
        except UsageError as error:  # too few questions
            _say(f"no adapter: {error}")
        with_it = replace(ready, index=index)
        rankings = {f"{ADAPTED}, {mode}": with_it.rankings(mode=mode) for mode in SEARCHED}
    return score_rankings(rankings, data.qrels)


def _trained_values(
    data: RetrievalDataset, name: str, options: Options
) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """The trained embedder alone, and with the BM25 of our passages."""
    theirs = Trained(options.device or "cpu", _say)
    with open_dataset(options.load(), data, name, progress=_say) as ready:
        ids, queries = list(data.corpus), list(ready.queries.items())
        documents = [trained.document_text(*each) for each in data.corpus.values()]
        cosine = theirs.vectors([text for _, text in queries]) @ theirs.vectors(documents).T
        place = {row.id: ids.index(row.path) for row in ready.index.documents()}
        keyword = np.zeros((len(queries), len(ids)), dtype=np.float32)
        total = ready.index.info()["chunks"]
        for at, (_, text) in enumerate(queries):
            with ready.index.snapshot(dense=False) as now:
                scored = now.keyword(text, total)
                chunks = now.catalog.get(scored.ids)
            for chunk, score in zip(chunks, scored.scores, strict=True):
                spot = place[chunk.document_id]
                keyword[at, spot] = max(keyword[at, spot], score)
    systems = {trained.NAME: cosine, f"{trained.NAME} + BM25": trained.z_sum(cosine, keyword)}
    rankings = {
        system: {
            number: trained.top_ids(row, ids)
            for (number, _), row in zip(queries, rows, strict=True)
        }
        for system, rows in systems.items()
    }
    return score_rankings(rankings, data.qrels)


# Documents alone


def documents(folders: Sequence[Path], most: int, options: Options) -> None:
    """Tune on the texts of a set, measure with its questions."""
    runs: dict[str, Run] = {}
    guards: list[str] = []
    for folder in folders:
        data = read_beir(folder)
        name = folder.resolve().name
        with open_dataset(options.load(), data, name, progress=_say) as ready:
            made = pairs_from_index(ready.index, seed=options.recipe.seed, most=most)
            before = evaluate_held(options.load(), made.held, progress=_say)
            tuning = options.tuning(made.train, index=ready.index)
            with _tuned(tuning, made.train) as model:
                after = evaluate_held(options.load(str(model)), made.held, progress=_say)
                decision = judge_change(before, after, wanted=Mode.HYBRID)
                guards += ["", f"{name}, the guard: {decision.sentence}"]
                _say(guards[-1])
                runs[name] = _compared(data, name, options, model, None)
        _say(_tables({name: runs[name]}))
    print("\n".join([_tables(runs), *guards]), flush=True)


# Rated sentences


def sts(train: Path, dev: Path, options: Options) -> None:
    """Tune on one file of rated sentences, measure on the other, by pooling.

    Pairs to train on that share a sentence with the other file are left out.
    """
    measured = read_pairs(dev)
    data, removed = without(read_pairs(train), measured)
    _say(f"{len(data.pairs):,} pairs to train on; left out: {removed}")
    if not data.pairs:
        raise UsageError(f"{dev} has a sentence of every pair of {train}")
    rows, tuned = [], dict[str, HeldRun]()
    for pooling in POOLINGS:
        before = evaluate_held(options.load(pooling=pooling), measured)
        with _tuned(options.tuning(data, pooling), data) as model:
            tuned[pooling] = evaluate_held(options.load(str(model)), measured)
        found = judge_change(before, tuned[pooling]).dense
        spearman = [
            f"{one['Spearman x 100']:.1f}" for one in map(figures, (before, tuned[pooling]))
        ]
        rows.append([pooling, *spearman, _difference(found)])
        _say(" ".join(rows[-1]))
    lines = markdown(["pooling", BASE, TUNED, "difference"], rows)
    for pooling in POOLINGS[:-1]:
        against = judge_change(tuned[POOLINGS[-1]], tuned[pooling]).dense
        lines += ["", f"{pooling} tuned, against {POOLINGS[-1]} tuned: {_difference(against)}"]
    print("\n".join(lines), flush=True)


def _difference(found: PairedComparison) -> str:
    """A difference of rank correlations x 100, its interval and the verdict."""
    mean, low, high = (100 * x for x in astuple(found.difference))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f}) {found.verdict.value}"


# Output


def _tables(runs: Mapping[str, Run]) -> str:
    """The means of all systems, and the differences that tuning makes."""
    lines = [*quality_table(runs), ""]
    for mode in SEARCHED:
        lines += [*comparison_table(runs, f"{TUNED}, {mode}", f"{TUNED}, {mode}, against"), ""]
    return "\n".join(lines)


class _Steps:
    """Tells about every fifteen seconds how far training is."""

    def __init__(self) -> None:
        self._told = 0.0

    def __call__(self, step: Step) -> None:
        if time.monotonic() - self._told > 15 or step.share == 1:
            self._told = time.monotonic()
            _say(f"step {step.number}, {step.share:.0%}, {step.seconds:.0f} s, loss {step.loss}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=["pairs", "documents", "sts"])
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--device")
    parser.add_argument("--dtype")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"of `pairs` ({SEEDS})")
    parser.add_argument("--most", type=int, default=PAIRS, help=f"pairs of `documents` ({PAIRS:,})")
    parser.add_argument("--recipe", type=json.loads, default={}, help='JSON, e.g. {"rank": 8}')
    parser.add_argument("--no-trained", action="store_true", help="leave out the trained embedder")
    parser.add_argument("--tiny", action="store_true", help="try the script")
    given = parser.parse_args(arguments)
    if given.tiny:
        given.seeds, given.no_trained = 1, True
        given.recipe = {"rank": 2, "batch": 8, "epochs": 1}
    options = Options(
        given.model, Recipe(**given.recipe), given.device, given.dtype, not given.no_trained
    )
    parts: dict[str, Callable[[], None]] = {
        "pairs": lambda: pairs(given.paths[0], given.seeds, options),
        "documents": lambda: documents(given.paths, given.most, options),
        "sts": lambda: sts(given.paths[0], given.paths[1], options),
    }
    parts[given.part]()


if __name__ == "__main__":
    main()
