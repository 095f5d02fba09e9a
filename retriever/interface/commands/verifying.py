"""`wva verify`: check an index, and mend it."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from retriever.interface.commands.output import DONE, FAILED, print_json
from retriever.interface.terminal.characters import count_text, one_line
from retriever.interface.terminal.printing import out, tell

if TYPE_CHECKING:
    from retriever.indexing.repair import RepairReport
    from retriever.storage.backends.verifying import VerifyReport

_PATIENCE = 5.0  # seconds between two lines of progress

_SHOWN = 50  # findings


def run_verify(options: argparse.Namespace) -> int:
    """Check an index; with `--repair`, mend what is damaged, and check it again."""
    from retriever.indexing.verify import repair_index, verify_index
    from retriever.storage.opening import place_of

    place, told = place_of(options.index), _Printer()
    if not options.repair:
        report = verify_index(place, told)
        if options.json:
            print_json({**report.to_json(), "index": options.index})
        else:
            _print_findings(report)
        return DONE if report.whole else FAILED
    from retriever.index import Index

    def opened() -> Index:
        return Index.open(place, device=options.device, dtype=options.dtype)

    repaired = repair_index(place, opened, told)
    if options.json:
        print_json({**repaired.to_json(), "index": options.index})
    else:
        _print_repair(repaired)
    return DONE if repaired.after.whole else FAILED


def _print_findings(report: VerifyReport) -> None:
    checked = ", ".join(
        (
            count_text(report.documents, "document"),
            count_text(report.passages, "passage"),
            count_text(report.vectors, "vector"),
        )
    )
    sentences = report.sentences
    for sentence in sentences[:_SHOWN]:
        out(one_line(sentence))
    if len(sentences) > _SHOWN:
        out(f"and {count_text(len(sentences) - _SHOWN, 'finding')} more")
    state = "whole" if report.whole else "damaged"
    out(f"{state}: {checked} checked in {report.seconds:.1f} s")
    if report.not_sealed:
        rows = count_text(report.not_sealed, "row")
        out(f"{rows} of an earlier version have no hash yet; the next wva index adds it")


def _print_repair(report: RepairReport) -> None:
    _print_findings(report.before)
    for sentence in report.mended:
        out(f"mended: {one_line(sentence)}")
    for sentence in report.gone:
        out(f"gone: {one_line(sentence)}")
    if not report.before.whole:
        out("after the repair:")
        _print_findings(report.after)


class _Printer:
    """Prints to standard error what is being checked, every few seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last < _PATIENCE:
            return
        self._last = now
        tell(f"checking {what}: {done:,} of {total:,}")


__all__ = ["run_verify"]
