"""A tuned model from pairs: measure, mine negatives, train, merge, measure again, keep or not.

What is unfinished lies beside the target, under its name and `.unfinished`; the same call goes on
where it stopped. The target appears only if held-out pairs are better by more than noise.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retriever import __version__
from retriever.embedding.models.trusted import trust
from retriever.evaluation.retrieval import open_dataset
from retriever.evaluation.runs import KEYWORD, digest
from retriever.evaluation.runs import Run as SearchRun
from retriever.files.durable import publish_folder, replacing
from retriever.index import Index
from retriever.indexing.cloze import hash_key
from retriever.searching.options import Mode
from retriever.tuning.card import card
from retriever.tuning.guard import (
    MIN_QUERIES,
    Decision,
    HeldRun,
    evaluate_held,
    judge_change,
    retrieval_dataset,
)
from retriever.tuning.leakage import without
from retriever.tuning.negatives import mine, teacher_scores
from retriever.tuning.pairs import PairData
from retriever.tuning.recipe import Recipe, filled, rows
from retriever.types import UsageError

if TYPE_CHECKING:
    from retriever.embedding.aligned_wva import AlignedWVA
    from retriever.tuning.training import Step

UNFINISHED = ".unfinished"
REQUEST_FILE = "request.json"

A_MINUTE = 300
"""Pairs that a CPU trains in a minute at most; two cores 130, of 135 million parameters."""

MINUTES_ON_CPU = 30.0
"""Time to train on a CPU where none was given: all pairs of many documents would take hours."""

MINED_PASSAGES, MINED_ON_CPU = 50_000, 6_000
"""Negatives are mined among so many passages, or all positives: more would take hours."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was asked for: a base model, pairs, and how to train.

    `load` gives the base, which is let go before training.
    `index` has the passages of `train`: if they are embedded by the base, negatives are mined
    there.
    `wanted` is the mode that has to be better; None means either. See `judge_change`.
    With `judge` the base's likelihoods sort out negatives that answer the question, too.
    """

    load: Callable[[], AlignedWVA]
    train: PairData
    held: PairData
    recipe: Recipe = field(default_factory=Recipe)
    index: Index | None = None
    judge: bool = False
    wanted: Mode | None = None
    processes: int = 1
    device: str | None = None
    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class Tuned:
    """The result: whether the model was kept in `folder`, why, and the facts of its card."""

    folder: Path
    decision: Decision
    facts: dict[str, Any]

    @property
    def kept(self) -> bool:
        """Whether the folder is there."""
        return self.decision.kept


def tune_model(
    out: Path,
    tuning: Tuning,
    *,
    restart: bool = False,
    progress: Callable[[str], None] = lambda text: None,
    step: Callable[[Step], None] = lambda step: None,
) -> Tuned:
    """Tune a model into the new folder `out`; nothing is kept if it is not better.

    On a CPU training ends after `MINUTES_ON_CPU`, unless the recipe names another time. Raises
    UsageError if `out` is there, if too little is held out to tell whether a model is
    better, if something asked for does not fit the data or the base, or an unfinished run of it was
    asked for differently and `restart` is not set.
    """
    if out.exists():
        raise UsageError(f"{out} is there already; name a new folder for the tuned model")
    _check(tuning)
    started = time.monotonic()
    work = out.with_name(out.name + UNFINISHED)
    clean, removed = without(tuning.train, tuning.held)
    base = tuning.load()
    _check_dimensions(tuning.recipe, base.dimension)
    if base.device == "cpu" and tuning.recipe.minutes is None:
        tuning = replace(tuning, recipe=replace(tuning.recipe, minutes=MINUTES_ON_CPU))
    clean = _seen(clean, tuning.recipe, base.device, progress)
    asked = _request(tuning, base)
    _begin(work, asked, restart=restart)
    progress(f"measuring the base on {len(tuning.held.pairs):,} held-out pairs …")
    before = evaluate_held(base, tuning.held, progress=progress)
    settings = base.settings
    prepare(work, tuning, base, clean, progress)
    del base  # training loads it again, as another class
    made = make_model(work, tuning, progress, step)
    facts = {
        "base": settings.pinned_model,
        "base_weights": settings.weights,
        "data": tuning.train.name,
        "pairs": len(clean.pairs),
        "left_out": dict(removed),
        "held_out": len(tuning.held.pairs),
        "recipe": asdict(tuning.recipe),
        "made_by": f"wva-retriever {__version__}",
        "date": datetime.now(UTC).date().isoformat(),
    }
    progress("measuring the tuned model …")
    after = evaluate_held(_tuned(made, tuning), tuning.held, progress=progress)
    decision = judge_change(before, after, wanted=tuning.wanted)
    facts |= {
        "seconds": round(time.monotonic() - started),
        "measured": decision.sentence,
        "before": figures(before),
        "after": figures(after),
    }
    if decision.kept:
        _keep(made, out, facts)
    shutil.rmtree(work)
    return Tuned(out, decision, facts)


def prepare(
    work: Path,
    tuning: Tuning,
    base: AlignedWVA,
    train: PairData,
    progress: Callable[[str], None] = lambda text: None,
) -> None:
    """Mine negatives for these pairs, and write what the run in the folder `work` reads.

    What an earlier call has done there is not done again.
    """
    if not (work / "run.json").is_file():
        _write_run(work, tuning, base, train, progress)


def make_model(
    work: Path,
    tuning: Tuning,
    progress: Callable[[str], None] = lambda text: None,
    step: Callable[[Step], None] = lambda step: None,
) -> Path:
    """Train what `prepare` has written; the folder of the merged model, whatever it is worth."""
    _train(work, tuning.processes, progress, step)
    made = work / "model"
    _merge(work, made, progress)
    return made


def figures(run: HeldRun) -> dict[str, float]:
    """The means of a run, by what was measured; keyword search is the same for every model."""
    if isinstance(run, SearchRun):
        return {
            f"{mode} {measure}": round(sum(by_query.values()) / max(1, len(by_query)), 4)
            for mode, measures in run.values.items()
            if mode != KEYWORD
            for measure, by_query in measures.items()
        }
    return {"Spearman x 100": round(run.spearman, 2)}


# The steps


def _check(tuning: Tuning) -> None:
    """Raise UsageError for what can be told before a model is loaded."""
    held, recipe = tuning.held, tuning.recipe
    count = len(held.pairs) if held.scored else len({pair.query for pair in held.pairs})
    if count < MIN_QUERIES:
        what = "rated pairs" if held.scored else "questions"
        raise UsageError(
            f"only {count} {what} would be held out, and fewer than {MIN_QUERIES} cannot tell "
            "whether tuning helps; give more data, or hold out a larger share, e.g. --held-out 0.3"
        )
    if held.scored and tuning.wanted is not None:
        raise UsageError("rated sentences are not searched: leave --for out")
    if held.scored and (recipe.teacher or tuning.judge):
        raise UsageError(
            "rated sentences have no passages to rank: leave --teacher and --judge out"
        )
    if tuning.judge and not recipe.negatives:
        raise UsageError("--judge sorts out negatives; ask for at least one of each pair")


def _check_dimensions(recipe: Recipe, dimension: int) -> None:
    if max(recipe.dimensions, default=0) > dimension:
        raise UsageError(
            f"the model's vectors have {dimension} numbers, and --dimensions asks for the first "
            f"{max(recipe.dimensions)}"
        )


def _seen(
    train: PairData, recipe: Recipe, device: str, progress: Callable[[str], None]
) -> PairData:
    """No more pairs than a CPU can train in the time there is: mining negatives takes time, too.

    Where none are mined, there is no need: training ends in time by itself.
    """
    most = (
        math.ceil((recipe.minutes or math.inf) * A_MINUTE) if recipe.minutes else len(train.pairs)
    )
    mines = recipe.negatives and not train.scored
    if device != "cpu" or not mines or len(train.pairs) <= most:
        return train
    progress(
        f"in {recipe.minutes:g} minutes at most {most:,} of {len(train.pairs):,} pairs are seen"
    )
    keys = [hash_key(f"{recipe.seed} {pair.query} {pair.positive.id}") for pair in train.pairs]
    kept = sorted(sorted(range(len(keys)), key=keys.__getitem__)[:most])
    return replace(train, pairs=[train.pairs[at] for at in kept])


def _request(tuning: Tuning, base: AlignedWVA) -> dict[str, Any]:
    """What makes two calls the same run."""
    texts = [
        "\0".join([pair.query, str(pair.score), pair.positive.id, *(n.id for n in pair.negatives)])
        for pair in tuning.train.pairs
    ]
    held = [f"{pair.query}\0{pair.positive.id}" for pair in tuning.held.pairs]
    return {
        "base": base.fingerprint,
        "pairs": digest([*texts, *tuning.train.corpus]),
        "held": digest(held),
        "recipe": json.loads(json.dumps(asdict(tuning.recipe))),
        "how": [tuning.judge, tuning.device, tuning.dtype],
    }


def _begin(work: Path, asked: dict[str, Any], *, restart: bool) -> None:
    """Make the folder of unfinished work, or find it from an earlier call."""
    if restart and work.exists():
        shutil.rmtree(work)
    there = work / REQUEST_FILE
    if there.is_file() and json.loads(there.read_text("utf-8")) != asked:
        raise UsageError(
            f"{work} is an unfinished run with other pairs or another recipe; give the same "
            "command to go on with it, or --restart to begin again"
        )
    work.mkdir(parents=True, exist_ok=True)
    with replacing(there) as file:
        file.write(json.dumps(asked).encode())


def _write_run(
    work: Path,
    tuning: Tuning,
    base: AlignedWVA,
    train: PairData,
    progress: Callable[[str], None],
) -> None:
    """Mine negatives, and write the run."""
    from retriever.tuning.training import Run

    recipe = tuning.recipe
    made = rows(train.pairs) if train.scored else _rows(tuning, base, train, progress)
    passage, query = base.general_means()
    sentence = base.general_mean(base.settings.prompts.sentence)
    run = Run(base.settings, recipe, train.scored, tuning.device, tuning.dtype)
    run.write(work, made, {"passage": passage, "query": query, "sentence": sentence})


def _rows(
    tuning: Tuning, base: AlignedWVA, train: PairData, progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Rows of queries and passages, with mined negatives and perhaps a teacher's scores."""
    recipe = tuning.recipe
    if not recipe.negatives:
        return rows([replace(pair, negatives=()) for pair in train.pairs])
    judge = base if tuning.judge else None
    with ExitStack() as opened:
        index, corpus = tuning.index, dict(train.corpus)
        if index is None or not _is_made_by(base, index):
            most = MINED_ON_CPU if base.device == "cpu" else MINED_PASSAGES
            data = retrieval_dataset(train, most)
            index = opened.enter_context(
                open_dataset(base, data, train.name, progress=progress)
            ).index
            corpus = {name: train.corpus[name] for name in data.corpus}
        elif index.place is not None:  # no second model
            index = opened.enter_context(Index.open(index.place, base))
        progress(f"mining negatives for {len(train.pairs):,} pairs …")
        pairs = mine(train, index, count=recipe.negatives, seed=recipe.seed, teacher=judge)
        pairs = filled(pairs, list(corpus.values()), recipe)
        if not recipe.teacher:
            return rows(pairs)
        progress("ranking them by the hybrid search …")
        return rows(pairs, [scores.tolist() for scores in teacher_scores(pairs, index, judge)])


def _is_made_by(base: AlignedWVA, index: Index) -> bool:
    settings = index.embedder_settings
    return settings is not None and settings.fingerprint == base.fingerprint


def _train(
    work: Path, processes: int, progress: Callable[[str], None], step: Callable[[Step], None]
) -> None:
    from retriever.tuning.module import ADAPTER_FILE
    from retriever.tuning.training import train_on_all

    if not (work / ADAPTER_FILE).is_file():
        progress("training …")
        train_on_all(work, processes, step)


def _merge(work: Path, made: Path, progress: Callable[[str], None]) -> None:
    from retriever.tuning.merging import merge

    progress("merging …")
    if made.exists():  # of a process that was killed meanwhile
        shutil.rmtree(made)
    merge(work, made, {})


def _tuned(made: Path, tuning: Tuning) -> AlignedWVA:
    from retriever.embedding.aligned_wva import AlignedWVA

    return AlignedWVA(str(made), device=tuning.device, dtype=tuning.dtype)


def _keep(made: Path, out: Path, facts: dict[str, Any]) -> None:
    """Write what was measured beside the weights, and let the folder appear under its name."""
    from retriever.embedding.models.folder_settings import TUNING_FILE

    path = made / TUNING_FILE
    values = json.loads(path.read_text("utf-8")) | facts
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (made / "README.md").write_text(card(out.name, facts), "utf-8")
    publish_folder(made, out)
    trust(str(out))


__all__ = ["Tuned", "Tuning", "figures", "make_model", "prepare", "tune_model"]
