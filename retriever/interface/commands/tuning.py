"""`wva tune`: a better embedder from pairs, or from one's own documents."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retriever.interface.commands.arguments import load_embedder
from retriever.interface.commands.output import DONE, FAILED, print_json
from retriever.interface.terminal.characters import one_line
from retriever.interface.terminal.printing import out, tell
from retriever.types import UsageError
from retriever.version import install_command

if TYPE_CHECKING:
    from retriever.embedding.aligned_wva import AlignedWVA
    from retriever.index import Index
    from retriever.searching.options import Mode
    from retriever.tuning.model import Tuned, Tuning
    from retriever.tuning.pairs import PairData
    from retriever.tuning.recipe import Recipe
    from retriever.tuning.training import Step

_LIBRARIES = ("datasets", "peft", "sentence_transformers")
_PATIENCE = 15.0  # seconds between two lines of progress
_HELD_QUERIES, _HELD_DOCUMENTS = 0.1, 0.15


def run_tune(options: argparse.Namespace) -> int:
    """Tune a model, and say whether it was kept and why."""
    if options.adapter is not None:
        from retriever.interface.commands.adapter import run_adapter

        return run_adapter(options)
    if options.side:
        raise UsageError("--side is for --adapter: wva tune INDEX --adapter --side both")
    if not (options.pairs or options.documents):
        raise UsageError(
            "tuning needs --pairs PATH, or --documents INDEX, for a new model; or --adapter, for "
            "an index; see wva tune --help"
        )
    if options.most is not None and options.most < 1:
        raise UsageError(f"--most must be at least 1; it is {options.most}")
    _need_libraries()
    from retriever.embedding.aligned_wva import INT8
    from retriever.tuning.model import tune_model

    if options.dtype == INT8:
        raise UsageError("8-bit weights cannot be trained; leave --dtype out, or name another one")
    recipe = _recipe(options)
    target = Path(options.place)
    if options.documents:
        tuned = _from_documents(options, recipe, target)
    else:
        train, held = _pairs(options)
        tuned = tune_model(
            *(target, _tuning(options, train, held, recipe)),
            restart=options.restart,
            progress=tell,
            step=_Steps(),
        )
    _show(options, tuned)
    return DONE if tuned.kept else FAILED


def _from_documents(options: argparse.Namespace, recipe: Recipe, target: Path) -> Tuned:
    from retriever.index import Index
    from retriever.tuning.documents import PAIRS, pairs_from_index
    from retriever.tuning.model import tune_model

    share = options.held_out if options.held_out is not None else _HELD_DOCUMENTS
    with Index.open(options.documents, device=options.device, dtype=options.dtype) as index:
        made = pairs_from_index(
            index, seed=recipe.seed, most=options.most or PAIRS, held_share=share
        )
        for sentence in made.left_out:
            tell(f"wva: {sentence}")
        train = _without_excluded(options, made.train)
        tuning = _tuning(options, train, made.held, recipe, index)
        return tune_model(target, tuning, restart=options.restart, progress=tell, step=_Steps())


def _pairs(options: argparse.Namespace) -> tuple[PairData, PairData]:
    """The pairs to train on and those held out."""
    from retriever.tuning.leakage import hold_out
    from retriever.tuning.reading import read_pairs

    data = read_pairs(Path(options.pairs))
    share = options.held_out if options.held_out is not None else _HELD_QUERIES
    train, held = hold_out(data, share)
    for note in dict.fromkeys((*data.notes, *train.notes)):
        tell(f"wva: {note}")
    train = _without_excluded(options, train)
    if options.most:
        train = replace(train, pairs=train.pairs[: options.most])
    return train, held


def _without_excluded(options: argparse.Namespace, train: PairData) -> PairData:
    """The pairs without what the user measures with."""
    from retriever.tuning.leakage import without
    from retriever.tuning.reading import read_measured

    trained = Path(options.pairs) if options.pairs else None
    for path in options.excluded:
        removed: Counter[str] = Counter()
        for part in read_measured(Path(path), trained):
            train, found = without(train, part)
            removed.update(found)
        if removed:
            told = ", ".join(f"{count} share a {why}" for why, count in removed.items())
            tell(f"wva: not trained on, as {path} has them: {told}")
    if not train.pairs:
        raise UsageError("no pair is left to train on: --not names all of them")
    return train


def _tuning(
    options: argparse.Namespace,
    train: PairData,
    held: PairData,
    recipe: Recipe,
    index: Index | None = None,
) -> Tuning:
    from retriever.tuning.model import Tuning

    def load() -> AlignedWVA:
        return load_embedder(options)

    return Tuning(
        load,
        train,
        held,
        recipe,
        index=index,
        judge=options.judge,
        wanted=_wanted(options),
        processes=options.processes or _cards(options),
        device=options.device,
        dtype=options.dtype,
    )


def _wanted(options: argparse.Namespace) -> Mode | None:
    """The search that has to be better; sentences of documents are no questions."""
    from retriever.searching.options import Mode

    if options.wanted:
        return Mode(options.wanted)
    return Mode.HYBRID if options.documents else None


def _cards(options: argparse.Namespace) -> int:
    """A process for each GPU, unless a device is named."""
    from retriever.embedding.models.devices import inspect_machine

    return 1 if options.device else max(1, len(inspect_machine().cards))


def _recipe(options: argparse.Namespace) -> Recipe:
    """The recipe with what was given."""
    from retriever.tuning.recipe import Recipe

    given = {
        field.name: getattr(options, field.name)
        for field in fields(Recipe)
        if getattr(options, field.name, None) is not None
    }
    if isinstance(given.get("dimensions"), str):
        given["dimensions"] = _numbers(given["dimensions"])
    return Recipe(**given)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--dimensions takes whole numbers, as 64,128; it is {text!r}") from None


def _need_libraries() -> None:
    """Raise UsageError without the extra."""
    missing = next((name for name in _LIBRARIES if find_spec(name) is None), "")
    if missing:
        raise UsageError(
            f"tuning needs {missing}, which is not installed: {install_command('tune')}"
        )


class _Steps:
    """Tells how far training is: on a terminal in one line, elsewhere from time to time."""

    def __init__(self) -> None:
        self._told = 0.0
        self._line = sys.stderr.isatty()

    def __call__(self, step: Step) -> None:
        now = time.monotonic()
        if now - self._told < (0.5 if self._line else _PATIENCE) and step.share < 1:
            return
        self._told = now
        left = step.seconds * (1 - step.share) / step.share if step.share else 0.0
        loss = "" if step.loss is None else f", loss {step.loss:.3f}"
        tell(f"step {step.number}: {step.share:.0%}{loss}, {_duration(left)} left")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _show(options: argparse.Namespace, tuned: Tuned) -> None:
    values: dict[str, Any] = {
        "kept": tuned.kept,
        "folder": str(tuned.folder) if tuned.kept else None,
        **tuned.facts,
    }
    if options.json:
        print_json(values)
        return
    before, after = tuned.facts["before"], tuned.facts["after"]
    lines = [f"{what}: {before[what]} before, {after[what]} after" for what in before]
    out("\n".join([*lines, "", tuned.decision.sentence]))
    if tuned.kept:
        name = one_line(str(tuned.folder))
        out(f"Use it with --model {name}, e.g. wva index FOLDER --model {name} --index NEW")


__all__ = ["run_tune"]
