"""All benchmarks of speed in one run: `python -m benchmarks.bench`, or `make bench`.

Each part runs in processes of its own, one after the other, and compares within itself. Its tables
go to standard output as Markdown, its figures into one JSON file, with the machine they are from.
Half an hour on two quiet cores; `--parts` takes some of them, `--tiny` tries the script.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from retriever import __version__


@dataclass(frozen=True, slots=True)
class Part:
    """A benchmark: its module, its options, and those that only try it."""

    title: str
    module: str
    options: tuple[str, ...] = ()
    tiny: tuple[str, ...] = ("--tiny",)
    needs_index: bool = False


PARTS = {
    "speed": Part("Embedding", "speed", tiny=("--tokens", "300", "--rounds", "1")),
    "pipeline": Part("Everything but the model", "pipeline", ("--rounds", "1")),
    "start": Part("Start", "start", tiny=("--rounds", "1", "--quick"), needs_index=True),
    "scale": Part("Cost as an index grows", "scale", ("--sizes", "10000,100000")),
}


def run(part: Part, index: str, more: Sequence[str]) -> tuple[str, Any]:
    """The tables and the figures of a part; a sentence in place of the tables if it cannot run."""
    if part.needs_index:
        if not Path(index).is_dir():
            return f"Not measured: there is no index {index}; `make run` makes one.\n", None
        more = ["--index", index, *more]
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        command = [sys.executable, "-m", f"benchmarks.{part.module}", *more, "--json", str(figures)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - ours
        if done.returncode:
            return f"Not measured: `{' '.join(command[1:])}` failed.\n", None
        return done.stdout, json.loads(figures.read_text("utf-8"))


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    load, _, _ = psutil.getloadavg()
    return {
        "version": __version__,
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(logical=False),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": round(load, 2),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts; the exit code is 1 if one could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--index", default="indexes/sample", help="for the part `start`")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), metavar="FILE")
    parser.add_argument("--tiny", action="store_true", help="try the script")
    options = parser.parse_args(arguments)
    figures: dict[str, Any] = {"machine": machine()}
    for name in options.parts:
        part = PARTS[name]
        tables, figures[name] = run(
            part, options.index, part.tiny if options.tiny else part.options
        )
        print(f"## {part.title}\n\n{tables}", flush=True)
        options.json.write_text(json.dumps(figures, indent=1), "utf-8")  # also if it is stopped
    print(f"figures in {options.json}", file=sys.stderr)
    return int(any(figures[name] is None for name in options.parts))


if __name__ == "__main__":
    sys.exit(main())
