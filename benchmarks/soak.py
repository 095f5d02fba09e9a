"""Long runs of mixed operations, looking for leaks: `python -m benchmarks.soak`.

Several processes search, explain, index, edit, upload, remove and run commands on one index at the
same time, with an embedder that needs no model. An operation may end well, or with one of the
documented sentences. Memory, handles, threads, processes and temporary files must not grow, and
in the end the index must be that of its files: ids, texts and scores are those of one built afresh.
`--page` does the same to the page, through its server.

The order of each process's operations follows from `--seed`; when they meet does not. The exit code
is 1 if anything is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

from benchmarks.soak_index import Forgetful, Soaker
from benchmarks.soak_measures import MIN_OPERATIONS, Sample, quiet
from benchmarks.soak_outcome import Outcome, compare_with_files, left_behind
from benchmarks.soak_page import soak_page
from retriever.index import Index

OPERATIONS, PAGE_OPERATIONS, TINY = 20_000, 3_000, 24


# Processes on one index


def soak_index(
    operations: int, processes: int, seed: int, scratch: Path, minutes: float = inf
) -> Outcome:
    """Run the processes, then compare the index with its files."""
    outcome = Outcome(f"{processes} processes on one index, seed {seed}")
    index, docs, temporary = scratch / "index", scratch / "docs", scratch / "tmp"
    for folder in (docs, temporary):
        folder.mkdir()
    Index.open_or_create(index, Forgetful()).close()
    started = time.monotonic()
    shares = [operations // processes + (at < operations % processes) for at in range(processes)]
    run = (sys.executable, "-m", "benchmarks.soak", f"--seed={seed}", f"--minutes={minutes}")
    workers = [
        subprocess.Popen(  # noqa: S603 - this module
            [*run, "--work", str(scratch), str(at), str(share)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **quiet(temporary)},
        )
        for at, share in enumerate(shares)
    ]
    notes: dict[str, str] = {}
    for at, worker in enumerate(workers):
        said, _ = worker.communicate()
        if worker.returncode:
            outcome.violations.append(f"process {at} ended with {worker.returncode}")
            continue
        told = json.loads(said.splitlines()[-1])
        outcome.done += Counter(told["done"])
        outcome.said += Counter(told["said"])
        outcome.violations += told["violations"]
        outcome.add_samples(f"process {at}", [Sample(*one) for one in told["samples"]])
        notes |= told["notes"]
    outcome.seconds = time.monotonic() - started
    outcome.violations += left_behind(index, temporary)
    outcome.violations += compare_with_files(index, docs, notes, scratch / "fresh")
    with Index.open(index) as opened:
        outcome.facts["passages"] = opened.info()["chunks"]
    return outcome


def work(scratch: Path, number: int, operations: int, seed: int, minutes: float) -> dict[str, Any]:
    """The operations of one process."""
    return Soaker(scratch / "index", scratch / "docs", number, seed).run(operations, minutes)


# Output


def table(outcome: Outcome) -> str:
    """Three tables: what was done, what was said, and what grew."""
    done, said = outcome.done, outcome.said
    lines = [f"{outcome.what}: {sum(done.values()):,} operations in {outcome.seconds:,.0f} s\n"]
    lines += ["| operation | times |\n|---|---|"]
    lines += [f"| {name} | {count:,} |" for name, count in done.most_common()]
    lines += ["\n| sentence | times |\n|---|---|"]
    lines += [f"| {name} | {count:,} |" for name, count in said.most_common()] or ["| none | 0 |"]
    lines += [
        "\n| process | what | after warm-up | at the end | most | |\n|---|---|---|---|---|---|"
    ]
    for who, some in outcome.growths.items():
        for one in some:
            values = f"{one.first:,.0f} | {one.last:,.0f} | {one.most:,.0f}"
            lines.append(f"| {who} | {one.what} | {values} | {'GROWS' if one.leaks else ''} |")
    if not any(outcome.growths.values()):
        lines.append(f"| all | untold: fewer than {MIN_OPERATIONS} operations | – | – | – | |")
    lines += [f"\nviolations: {len(outcome.violations)}"]
    return "\n".join([*lines, *(f"- {one}" for one in outcome.violations[:20])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--operations", type=int, help=f"{OPERATIONS:,}; {PAGE_OPERATIONS:,}")
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=inf, help="end then, if not before")
    parser.add_argument("--page", action="store_true", help="the page instead of processes")
    parser.add_argument("--tiny", action="store_true", help="a few operations")
    parser.add_argument("--json", type=Path, help="where the figures are written")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        scratch, number, operations = options.work
        told = work(Path(scratch), int(number), int(operations), options.seed, options.minutes)
        print(json.dumps(told))
        return 0
    default = TINY if options.tiny else PAGE_OPERATIONS if options.page else OPERATIONS
    operations = options.operations or default
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder).resolve()
        if options.page:
            outcome = soak_page(operations, options.seed, scratch, options.minutes)
        else:
            processes = min(2, options.processes) if options.tiny else options.processes
            outcome = soak_index(operations, processes, options.seed, scratch, options.minutes)
    print(table(outcome))
    if options.json:
        options.json.write_text(json.dumps(outcome.to_json(), indent=1))
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
