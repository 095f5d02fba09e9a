"""Feeds changed files, texts, queries and requests: `python -m benchmarks.fuzz --minutes 10`.

Every target gets an equal share of the time. A case is made from the seed and its number alone, so
a run can be repeated. Files are read in a process of their own, as in a run of `wva index`; a crash
of it, a limit on time or memory, an error that is not meant for the user, or a broken promise about
pages and passages is a fault.

A case with a fault is made smaller as long as the fault stays, and written to `--output` under the
name of its target. `--replay FOLDER` feeds such files again. The exit code is 1 for faults.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from benchmarks.fuzz_seeds import SEEDS
from benchmarks.fuzz_targets import TARGETS, Case, Target, target

TRIES = 120
"""Attempts to make a case with a fault smaller."""

FEW = 5
"""Cases of each target with `--tiny`."""

MOST_KEPT = 20
"""Files that are written for one target."""


@dataclass(slots=True)
class Result:
    """What became of a target's cases; `faults` by their kind, `kept` the smallest case of each."""

    cases: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    kept: dict[str, tuple[Case, str]] = field(default_factory=dict)


def fuzz(name: str, seed: int, until: Callable[[int], bool]) -> Result:
    """Feed a target as long as `until`, called with the number of cases, is false."""
    made, found = target(name), Result()
    started = time.monotonic()
    try:
        while not until(found.cases):
            case = made.make(Random(f"{seed} {name} {found.cases}"))  # noqa: S311 - to be repeated
            before = time.monotonic()
            fault = made.fault(case)
            found.slowest = max(found.slowest, time.monotonic() - before)
            found.cases += 1
            if fault:
                _note(found, made, case, fault)
    finally:
        made.close()
    found.seconds = time.monotonic() - started
    return found


def _note(found: Result, made: Target, case: Case, fault: str) -> None:
    kind = kind_of(fault)
    found.faults[kind] += 1
    if kind not in found.kept and len(found.kept) < MOST_KEPT:
        found.kept[kind] = smaller(made, case, fault), fault


def kind_of(fault: str) -> str:
    """A fault without what differs from case to case.

    >>> kind_of("IndexError in a.py:read: list index 12 out of range")
    'IndexError in a.py:read'
    """
    head = fault.split(": ")[:1] if " in " in fault.split(": ")[0] else fault.split(": ")[:3]
    return "".join(c for c in ": ".join(head) if not c.isdigit())[:80]


def smaller(made: Target, case: Case, fault: str) -> Case:
    """The case without the blocks that the fault does not need, within some attempts."""
    kind, size, tries = kind_of(fault), len(case.data) // 2, 0
    if "slow" in kind or "given up" in kind:
        tries = TRIES - 12
    while size and tries < TRIES:
        at = 0
        while at < len(case.data) and tries < TRIES:
            tried = Case(case.name, case.data[:at] + case.data[at + size :])
            tries += 1
            if kind_of(made.fault(tried)) == kind:
                case = tried
            else:
                at += size
        size //= 2
    return case


def replay(folder: Path) -> dict[str, str]:
    """The faults of kept cases, by their place: FOLDER/TARGET/NUMBER/NAME, or deeper."""
    faults = {}
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        made = target(place.name)
        try:
            for number in sorted(place.iterdir()):
                for path in sorted(one for one in number.rglob("*") if one.is_file()):
                    name = path.relative_to(number).as_posix()
                    fault = made.fault(Case(name, path.read_bytes()))
                    if fault:
                        faults[path.relative_to(folder).as_posix()] = fault
        finally:
            made.close()
    return faults


def _keep(folder: Path, name: str, found: Result) -> None:
    for number, (case, fault) in enumerate(found.kept.values(), 1):
        path = folder / name / str(number) / case.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(case.data)
        print(f"{path}: {fault!r}", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    names = [*TARGETS, *SEEDS]
    parser.add_argument("--target", action="append", choices=names, help="one or more; all without")
    parser.add_argument("--output", type=Path, help="folder for cases with a fault")
    parser.add_argument("--replay", type=Path, metavar="FOLDER", help="feed kept cases again")
    parser.add_argument("--tiny", action="store_true", help="a few cases of each target")
    asked = parser.parse_args(argv)
    if asked.replay:
        faults = replay(asked.replay)
        for place, fault in faults.items():
            print(f"{place}: {fault!r}")
        return 1 if faults else 0
    with _quiet():
        return _run(asked.target or list(TARGETS), asked)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without log lines and warnings of damage, which is told case by case."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _run(names: Sequence[str], asked: argparse.Namespace) -> int:
    print("| target | cases | cases a second | slowest, s | faults | kinds |")
    print("|---|--:|--:|--:|--:|---|")
    bad = 0
    for name in names:
        end = time.monotonic() + 60 * asked.minutes / len(names)

        def until(cases: int, end: float = end) -> bool:
            return cases >= FEW if asked.tiny else time.monotonic() >= end

        found = fuzz(name, asked.seed, until)
        if asked.output:
            _keep(asked.output, name, found)
        bad += found.faults.total()
        kinds = "; ".join(f"{kind!r} {count}" for kind, count in found.faults.most_common(5))
        rate = found.cases / max(found.seconds, 0.001)
        print(
            f"| {name} | {found.cases:,} | {rate:.0f} | {found.slowest:.1f} | "
            f"{found.faults.total():,} | {kinds} |",
            flush=True,
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
