"""Processor time of a command in a new process: `python -m benchmarks.start`.

Each row is the median of several new processes, user and system time together, with the time on the
clock beside it. An empty bytecode cache is a folder of its own that nothing was compiled into yet;
PYTHONDONTWRITEBYTECODE is set in most container images. Beside a running page, this process answers
as a page does. A second table says which packages' imports a search waits for.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.tables import markdown
from retriever.index import Index
from retriever.interface.answering import Answering
from retriever.interface.commands.searching import answer_request

FORBIDDEN, CACHE = "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"
PACKAGES = 10
LISTEN_SECONDS = 60

Environment = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of a command's new processes, in seconds."""

    command: str
    bytecode: str
    processor: float
    clock: float


def program(*arguments: str) -> list[str]:
    """The command line of `wva` with these arguments."""
    return [sys.executable, "-m", "retriever", *arguments]


def spent(command: Sequence[str], environment: Environment) -> tuple[float, float]:
    """Processor time and time on the clock of a command, in seconds."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603 - its own program
            command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(said.read().decode())
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - started


def row(
    name: str, bytecode: str, command: Sequence[str], environment: Environment, rounds: int
) -> Row:
    """The medians of so many new processes."""
    times = [spent(command, environment) for _ in range(rounds)]
    processor, clock = (statistics.median(column) for column in zip(*times, strict=True))
    return Row(name, bytecode, processor, clock)


def environments(*, forbidden: bool, cache: str = "") -> dict[str, str]:
    """The environment of this process, with what says where bytecode goes."""
    own = {key: value for key, value in os.environ.items() if key not in (FORBIDDEN, CACHE)}
    return own | ({FORBIDDEN: "1"} if forbidden else {}) | ({CACHE: cache} if cache else {})


def measured(index: str, query: str, rounds: int, *, quick: bool) -> Iterator[Row]:
    """All rows; `quick` leaves out those that compile everything."""
    usual = environments(forbidden=bool(os.environ.get(FORBIDDEN)))
    search = program("search", query, "--index", index)
    spent(search, usual)  # what is remembered of the model is made
    yield row("wva --help", "as installed", program("--help"), usual, rounds)
    yield row("keyword search", "as installed", [*search, "--mode", "keyword"], usual, rounds)
    yield row("search", "as installed", search, usual, rounds)
    for forbidden in () if quick else (False, True):
        kind = f"{FORBIDDEN}, " if forbidden else ""
        with tempfile.TemporaryDirectory() as cache:
            environment = environments(forbidden=forbidden, cache=cache)
            yield row("search", f"{kind}cache empty", search, environment, 1)
            yield row("search", f"{kind}cache filled", search, environment, rounds)
    with answering(index):
        yield row("search beside a page", "as installed", search, usual, rounds)


@contextmanager
def answering(index: str) -> Iterator[None]:
    """Within the block this process answers searches of the index, as a page does."""
    with Index.open(index) as opened:
        _ = opened.embedder
        page = Answering(Path(index), lambda request: answer_request(opened, request))
        page.start()
        if not page.listening.wait(LISTEN_SECONDS):
            raise SystemExit("no page can answer on this system")
        try:
            yield
        finally:
            page.close()


def imports(command: Sequence[str]) -> list[tuple[str, int, float]]:
    """(package, its modules, the seconds of their imports) of a command, slowest first."""
    timed = [command[0], "-X", "importtime", *command[1:]]
    done = subprocess.run(  # noqa: S603 - its own program
        timed, capture_output=True, text=True, check=True
    )
    seconds: Counter[str] = Counter()
    modules: Counter[str] = Counter()
    for own, name in re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)", done.stderr, re.M):
        package = name.partition(".")[0]
        modules[package] += 1
        seconds[package] += int(own)
    return [(name, modules[name], own / 1e6) for name, own in seconds.most_common(PACKAGES)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", default="indexes/sample")
    parser.add_argument("--query", default="how do I handle risk")
    parser.add_argument("--rounds", type=int, default=5, help="new processes for each row")
    parser.add_argument("--quick", action="store_true", help="without empty bytecode caches")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args(arguments)
    rows = list(measured(options.index, options.query, options.rounds, quick=options.quick))
    slowest = imports(program("search", options.query, "--index", options.index))
    cells = [[r.command, r.bytecode, f"{r.processor:.2f}", f"{r.clock:.2f}"] for r in rows]
    print(f"medians of {options.rounds} new processes, seconds\n")
    print("\n".join(markdown(["command", "bytecode", "processor", "clock"], cells)))
    cells = [[name, str(modules), f"{own:.2f}"] for name, modules, own in slowest]
    print("\n" + "\n".join(markdown(["imports of a search", "modules", "seconds"], cells)))
    if options.json:
        named = [
            {"package": name, "modules": modules, "seconds": own} for name, modules, own in slowest
        ]
        found = {"rows": [asdict(each) for each in rows], "imports": named}
        options.json.write_text(json.dumps(found, indent=1), "utf-8")


if __name__ == "__main__":
    main()
