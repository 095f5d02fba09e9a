"""`wva tune INDEX --adapter`: an index is adapted to pairs, or to its own documents."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from retriever.interface.commands.output import DONE, FAILED, print_json
from retriever.interface.terminal.characters import one_line
from retriever.interface.terminal.printing import out, tell
from retriever.types import UsageError

if TYPE_CHECKING:
    from retriever.tuning.adapting import AdapterReport

ON, OFF = "on", "off"
"""The values of `--adapter`; without one it is on."""


def run_adapter(options: argparse.Namespace) -> int:
    """Make an adapter of an index, or remove it."""
    _refuse_others(options)
    if options.adapter not in (ON, OFF):
        raise UsageError(
            f"--adapter stands alone, or with the word {OFF}; it is {options.adapter!r}. The index "
            "comes first: wva tune INDEX --adapter"
        )
    return _run_off(options) if options.adapter == OFF else _run_on(options)


def _refuse_others(options: argparse.Namespace) -> None:
    """Raise UsageError for an option that is only for a new model, and would do nothing here."""
    others = (
        *("documents", "excluded", "most", "restart", "judge", "model", "layers", "pooling"),
        *("prompts", "epochs", "batch", "negatives", "teacher", "rank", "learning_rate"),
        *("max_tokens", "part_tokens", "dimensions", "processes"),
    )
    given = [name for name in others if getattr(options, name)]
    if given:
        name = {"excluded": "not"}.get(given[0], given[0]).replace("_", "-")
        raise UsageError(f"--{name} is for a new model, not for --adapter")


def _run_on(options: argparse.Namespace) -> int:
    from retriever.index import Index
    from retriever.searching.options import Mode
    from retriever.tuning.adapting import tune_adapter
    from retriever.tuning.reading import read_pairs

    pairs = None if options.pairs is None else read_pairs(Path(options.pairs))
    given = {name: getattr(options, name) for name in ("seed", "held_out", "minutes")}
    with Index.open(options.place, device=options.device, dtype=options.dtype) as index:
        report = tune_adapter(
            *(index, pairs),
            side=options.side or "query",
            wanted=Mode(options.wanted) if options.wanted else None,
            **{name: each for name, each in given.items() if each is not None},
            progress=tell,
        )
    for note in report.notes:
        tell(one_line(note))
    if options.json:
        print_json(report.to_json())
    else:
        out(_told(report))
    return DONE if report.kept else FAILED


def _told(report: AdapterReport) -> str:
    began = f"{report.start}, {report.steps} steps, {report.seconds:.1f} s"
    kept = "an adapter is in use" if report.kept else "no adapter"
    return f"{kept}: {report.side} side, {report.pairs:,} queries, {began}\n{report.sentence}"


def _run_off(options: argparse.Namespace) -> int:
    from retriever.index import Index
    from retriever.tuning.adapting import remove_adapter

    if options.pairs is not None:
        raise UsageError(f"--pairs is for a new adapter, not for --adapter {OFF}")
    if options.wanted is not None:
        raise UsageError(f"--for is for a new adapter, not for --adapter {OFF}")
    with Index.open(options.place, device=options.device, dtype=options.dtype) as index:
        removed = remove_adapter(index)
    if options.json:
        print_json({"removed": removed})
    elif removed:
        out("the adapter is removed: results are those without it")
    else:
        out("the index has no adapter")
    return DONE


__all__ = ["OFF", "ON", "run_adapter"]
