"""`wva copy`: an index to another folder, to Milvus or from there."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from retriever.interface.commands.output import DONE, INCOMPLETE, print_json
from retriever.interface.terminal.characters import count_text, one_line
from retriever.interface.terminal.printing import out, tell
from retriever.types import UsageError

if TYPE_CHECKING:
    from retriever.indexing.copying import CopyReport

_PATIENCE = 5.0  # seconds between two lines of progress


def run_copy(options: argparse.Namespace) -> int:
    """Copy an index, count both, and ask both the same."""
    from retriever.index import Index

    if options.questions < 0:
        raise UsageError(f"--questions takes a number from 0 on, not {options.questions}")
    with Index.open(options.source) as index:
        report = index.copy_to(
            options.to, store=options.store, questions=options.questions, progress=_Printer()
        )
    if options.json:
        print_json({**report.to_json(), "from": options.source, "to": options.to})
    else:
        out("\n".join(_lines(report, options.to)))
    return DONE if report.complete and report.agrees else INCOMPLETE


def _lines(report: CopyReport, to: str) -> list[str]:
    left = f", {count_text(report.left, 'document')} there already" if report.left else ""
    lines = [
        f"copied: {count_text(report.copied, 'document')} to {one_line(to)}{left}, in "
        f"{report.seconds:.1f} s"
    ]
    counts = [
        f"{report.source[name]:,} {name} here, {report.target[name]:,} there"
        for name in report.source
    ]
    lines.append("; ".join(counts))
    if report.others:
        lines.append(
            f"{count_text(report.others, 'document')} there not here: they stay, and may be found "
            "before the copied ones"
        )
    if report.same is not None:
        lines.append(
            f"{count_text(report.questions, 'question')} asked of both: {100 * report.same:.1f} % "
            "of the first ten results are the same"
        )
    if not report.complete:
        lines.append("something is missing there: was it changed meanwhile? Copy again")
    elif not report.agrees:
        lines.append("the results differ more than they should: copy to a new place, and compare")
    return lines


class _Printer:
    """Prints to standard error how many documents are copied, every few seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= _PATIENCE:
            self._last = now
            tell(f"copied {done:,} of {total:,} documents")


__all__ = ["run_copy"]
