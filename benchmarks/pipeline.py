"""Everything but the model: `python -m benchmarks.pipeline`.

Reading, cutting, analysing and writing are measured with an embedder that has the real tokenizer
and gives vectors at no cost. Each way runs in a new process on the same made-up files, first over
new files, then over the same ones unchanged. Memory is that of all its processes.

`--small` makes files of a few sentences, `--empty` only plans what is to be done with empty files.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from retriever import AlignedWVA, Index
from retriever.arrays import Vectors
from retriever.indexing import jobs as worth
from retriever.settings import DEFAULT_MODEL
from retriever.text.structure import sentences

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
FILES, TINY_FILES = 4000, 12
JOBS = (1, 2, 4)
ALONE = "one thread"
ENDINGS = (".txt", ".txt", ".txt", ".md", ".md", ".html", ".csv", ".json")
PARAGRAPHS = range(4, 21)
ONE_PARAGRAPH = range(1, 2)  # of a small file
LEAST = worth.MIN_FILES, worth.MIN_BYTES
NEW_WORDS = 0.02
"""Share of sentences with a name and a number that no other file has, as documents have them."""
SAMPLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Row:
    """One way: times of its first run and of a second one over the unchanged files."""

    way: str
    jobs: int  # 0 where one thread does everything
    files: int
    passages: int
    tokens: int
    keyword_seconds: float  # until every file is found by its words
    seconds: float
    tokens_per_second: float  # of the whole run
    keyword_tokens_per_second: float
    second_run_seconds: float
    peak_gigabytes: float  # resident memory of all processes together
    processor_seconds: float  # of the first run, all processes together
    second_processor_seconds: float


# Files


def write_files(
    folder: Path, count: int, seed: int = 0, paragraphs: Sequence[int] = PARAGRAPHS
) -> None:
    """Text files of several formats: sentences of the sample in random order, with new words."""
    source = _sentences()
    for number in range(count):
        choose = random.Random(f"{seed} {number}")  # noqa: S311 - not a secret
        ending = ENDINGS[number % len(ENDINGS)]
        below = folder / f"{number // 500:03d}"
        below.mkdir(parents=True, exist_ok=True)
        text = _file_text(choose, source, ending, number, paragraphs)
        (below / f"report-{number:06d}{ending}").write_text(text, "utf-8")


def _sentences() -> list[str]:
    """The sentences of the sample's books and standards."""
    paths = [*sorted(SAMPLE.glob("books/*.txt")), *sorted(SAMPLE.glob("*/*.md"))]
    texts = [path.read_text("utf-8", "replace") for path in paths]
    found = [" ".join(text[s.start : s.end].split()) for text in texts for s in sentences(text)]
    return [one for one in found if 30 < len(one) < 400 and "<" not in one and "|" not in one]


def write_empty_files(folder: Path, count: int) -> None:
    """Files without a byte, a thousand in a folder."""
    for number in range(count):
        below = folder / f"{number // 1000:04d}"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"{number}.txt").touch()


def _file_text(
    choose: random.Random, source: Sequence[str], ending: str, number: int, counts: Sequence[int]
) -> str:
    paragraphs = list(_paragraphs(choose, source, counts))
    title = f"Report {number}"
    if ending == ".json":
        return json.dumps({"title": title, "parts": paragraphs}, indent=1)
    if ending == ".csv":
        rows = [f'{at},"{text}"' for at, text in enumerate(paragraphs)]
        return "\n".join(["number,remark", *rows])
    if ending == ".html":
        body = "".join(f"<p>{text}</p>\n" for text in paragraphs)
        return f"<html><head><title>{title}</title></head><body>{body}</body></html>"
    heads = [
        f"## Part {at}\n\n{text}" if at % 5 == 4 else text for at, text in enumerate(paragraphs)
    ]
    return f"# {title}\n\n" + "\n\n".join(heads if ending == ".md" else paragraphs) + "\n"


def _paragraphs(
    choose: random.Random, source: Sequence[str], counts: Sequence[int]
) -> Iterator[str]:
    for _ in range(choose.choice(counts)):
        found = choose.choices(source, k=choose.randint(2, 7))
        yield " ".join(
            f"{one} {_name(choose)} ({choose.randint(1000, 999_999)})."
            if choose.random() < NEW_WORDS
            else one
            for one in found
        ).replace('"', "'")


def _name(choose: random.Random) -> str:
    syllables = [choose.choice("bdfgklmnprstvz") + choose.choice("aeiou") for _ in range(4)]
    return "".join(syllables).capitalize()


# One run, in a process of its own


class Free(AlignedWVA):
    """An embedder whose vectors cost nothing: rows of a table."""

    @cached_property
    def table(self) -> Vectors:
        """Random unit vectors."""
        made = np.random.default_rng(0).standard_normal((4096, self.dimension), np.float32)
        unit: Vectors = made / np.linalg.norm(made, axis=1, keepdims=True)
        return unit

    def embed_inputs(self, inputs: Sequence[str]) -> Vectors:
        """The next rows of the table."""
        rows: Vectors = self.table[np.arange(len(inputs)) % len(self.table)]
        return rows

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """The next rows of the table."""
        return self.embed_inputs(texts)

    def embed_fixed_queries(self, texts: Sequence[str]) -> Vectors:
        """The next rows of the table."""
        return self.embed_inputs(texts)

    def general_means(self) -> tuple[Vectors, Vectors]:
        """Zeros."""
        zero = np.zeros(self.dimension, np.float32)
        return zero, zero


def run_once(model: str, docs: Path, index_folder: Path, jobs: int) -> dict[str, float]:
    """Index the files, then again; figures of both runs."""
    worth.MIN_FILES, worth.MIN_BYTES = LEAST if jobs else (sys.maxsize, sys.maxsize)
    embedder = Free(model)
    embedder.token_spans("loaded now")
    with Index.open_or_create(index_folder, embedder) as index:
        started, began = time.perf_counter(), _processor_seconds()
        first = index.sync(docs, keywords_only=True, jobs=jobs)
        keyword = time.perf_counter() - started
        second = index.sync(vectors_only=True)
        seconds, used = time.perf_counter() - started, _processor_seconds()
        started = time.perf_counter()
        again = index.sync(docs, jobs=jobs)
        unchanged = time.perf_counter() - started
        used_again = _processor_seconds() - used
    if again.totals["unchanged"] != first.totals["indexed"] or again.totals["tokens"]:
        raise SystemExit(f"the second run did more than nothing: {again.totals}")
    return {
        "files": first.totals["files"],
        "passages": first.totals["chunks"],
        "tokens": second.totals["tokens"],
        "keyword_seconds": keyword,
        "seconds": seconds,
        "second_run_seconds": unchanged,
        "processor_seconds": used - began,
        "second_processor_seconds": used_again,
    }


def plan_once(docs: Path, index_folder: Path) -> dict[str, float]:
    """Plan what is to be done with the files, and do nothing; its figures."""
    with Index.open_or_create(index_folder) as index:
        started, began = time.perf_counter(), _processor_seconds()
        report = index.sync(docs, dry_run=True)
        seconds, used = time.perf_counter() - started, _processor_seconds() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    found = {"files": report.totals["files"], "seconds": seconds}
    return {**found, "processor_seconds": used, "peak_gigabytes": peak}


def _processor_seconds() -> float:
    """Seconds of the processor of this process and of those that it has waited for."""
    found = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in found)


def measure(model: str, docs: Path, jobs: int, *, here: bool = False) -> Row:
    """One way in a new process, or `here`, with the memory of all its processes."""
    with tempfile.TemporaryDirectory() as folder:
        if here:
            return _row(jobs, run_once(model, docs, Path(folder), jobs), _memory(os.getpid()))
        command = [sys.executable, "-m", "benchmarks.pipeline", "--model", model]
        command += ["--once", str(docs), folder, str(jobs)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - this module
        peak = 0
        while process.poll() is None:
            peak = max(peak, _memory(process.pid))
            time.sleep(SAMPLE_SECONDS)
        output = process.stdout.read() if process.stdout else ""
        if process.returncode:
            raise SystemExit(f"the run with {jobs} jobs failed")
    return _row(jobs, json.loads(output.splitlines()[-1]), peak)


def _row(jobs: int, found: dict[str, Any], peak: int) -> Row:
    return Row(
        way=f"{jobs} {'process' if jobs == 1 else 'processes'}" if jobs else ALONE,
        jobs=jobs,
        tokens_per_second=found["tokens"] / found["seconds"],
        keyword_tokens_per_second=found["tokens"] / found["keyword_seconds"],
        peak_gigabytes=peak / 1e9,
        **found,
    )


def _memory(pid: int) -> int:
    """Resident memory of a process and those it started, in bytes; shared pages count in each."""
    total = 0
    try:
        root = psutil.Process(pid)
        for one in [root, *root.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.Error:
        return total
    return total


def median(rows: Sequence[Row]) -> Row:
    """The run with the median time."""
    middle = statistics.median_low([row.seconds for row in rows])
    return next(row for row in rows if row.seconds == middle)


def line(row: Row, base: Row) -> str:
    """A row of the table."""
    return (
        f"| {row.way} | {row.keyword_tokens_per_second:,.0f} | {row.tokens_per_second:,.0f} "
        f"| {row.tokens_per_second / base.tokens_per_second:.1f} "
        f"| {row.seconds:.1f} | {row.processor_seconds:.1f} | {row.second_run_seconds:.1f} "
        f"| {row.second_processor_seconds:.1f} | {row.peak_gigabytes:.2f} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure; print the table, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=FILES, help="number of files")
    parser.add_argument("--small", action="store_true", help="files of a few sentences")
    parser.add_argument("--empty", action="store_true", help="empty files, which are only planned")
    parser.add_argument("--jobs", type=int, help="only this number of processes")
    parser.add_argument("--folder", type=Path, help="files to index in place of made-up ones")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each way; the median counts")
    parser.add_argument("--tiny", action="store_true", help="a few files, to try the script")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--json", type=Path, help="where the figures are written")
    parser.add_argument("--once", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.once:
        docs, folder, jobs = options.once
        print(json.dumps(run_once(options.model, Path(docs), Path(folder), int(jobs))))
        return
    count = TINY_FILES if options.tiny else options.files
    with tempfile.TemporaryDirectory() as folder:
        docs = options.folder or Path(folder, "docs")
        if options.empty:
            write_empty_files(docs, count)
            facts = plan_once(docs, Path(folder, "index"))
            print(_empty_table(facts))
        else:
            if not options.folder:
                write_files(docs, count, 0, ONE_PARAGRAPH if options.small else PARAGRAPHS)
            facts = _measure_ways(options, docs)
    if options.json:
        options.json.write_text(json.dumps(facts, indent=1))


def _measure_ways(options: argparse.Namespace, docs: Path) -> dict[str, Any]:
    """Measure each way, and print the table; the figures."""
    cores: int = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    ways = [0, *(jobs for jobs in ((1,) if options.tiny else JOBS) if jobs <= cores)]
    if options.jobs is not None:
        ways = [options.jobs]
    found: dict[int, list[Row]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way in ways:
            found[way].append(measure(options.model, docs, way, here=options.tiny))
    rows = [median(found[way]) for way in ways]
    base = rows[0]
    print(f"{base.files:,} files, {base.passages:,} passages, {base.tokens:,} tokens\n")
    print(
        "| way | tokens/s until found by words | tokens/s, vectors stored | ratio "
        "| first run, s | of the processor | second run, s | of the processor | peak GB |"
        "\n|---|---|---|---|---|---|---|---|---|"
    )
    for row in rows:
        print(line(row, base))
    if not options.tiny and options.jobs is None:
        for jobs in JOBS:
            if jobs not in ways:
                print(f"| {jobs} processes | not measured: {cores} cores | | | | | | | |")
    return {"cores": cores, "rows": [asdict(row) for row in rows]}


def _empty_table(facts: dict[str, float]) -> str:
    head = "| empty files | planned in s | of the processor | peak GB |\n|---|---|---|---|"
    values = f"{facts['seconds']:.1f} | {facts['processor_seconds']:.1f}"
    return f"{head}\n| {facts['files']:,} | {values} | {facts['peak_gigabytes']:.2f} |"


if __name__ == "__main__":
    main()
