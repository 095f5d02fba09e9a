"""Kills `wva index` with a real model at random places of both waves.

Small files of several formats, cut from a folder of texts, are indexed once in one go, and once
with a kill (SIGKILL to the whole group of processes) at random amounts of work: half of them while
files are read, half while vectors are made. The next run goes on. In the end both indexes are
compared: passages, their terms, vectors, means, weight, scale of the match, and results.

The vectors of a passage may differ in the last digits, since it is computed beside other passages.
`--tiny` makes a few files; the exit code is 1 if anything else differs.
"""

from __future__ import annotations

import argparse
import html
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retriever.arrays import Vectors
from retriever.index import Index
from retriever.types import Chunk, RetrieverError
from tests.pdfs import pdf_file, text_page

SAMPLE = Path("data/sample")
TEXTS = (".md", ".txt", ".html")
QUERIES = ("how long must a password be", "the president", "boil the potatoes", "authenticator")
PIECE = 2_400
"""Characters of a file, about three passages."""

MAX_DELAY = 2.0
"""A kill comes up to so many seconds after its amount of work, so that it may hit anything."""

EARLY_DELAY = 0.5

POLL = 0.05
SMALL = 1e-6
CLOSE = 0.9999
"""The least cosine of two vectors of one passage."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A run that was killed, with what the index had then; `ended`: the run was done before."""

    seconds: float
    files: int
    vectors: int
    passages: int
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Contents:
    """All that two indexes of the same files have in common."""

    chunks: dict[str, Chunk]
    terms: dict[str, list[str]]
    vectors: Vectors
    means: tuple[Vectors, Vectors]
    fitted: dict[str, Any]
    results: list[tuple[str, float, float]]
    pending: int


def write_files(folder: Path, source: Path, count: int) -> None:
    """Write files of several formats, each with another piece of the source's texts."""
    folder.mkdir()
    for number, text in zip(range(count), _pieces(source), strict=False):
        name, kind = f"note-{number:03}", number % 5
        paragraphs = [" ".join(one.split()) for one in text.split("\n\n") if one.strip()]
        if kind == 0:
            _write(folder / f"{name}.md", f"# Note {number}\n\n{text}")
        elif kind == 1:
            _write(folder / f"{name}.txt", text)
        elif kind == 2:
            body = "".join(f"<p>{html.escape(one)}</p>\n" for one in paragraphs)
            _write(folder / f"{name}.html", f"<h1>Note {number}</h1>\n{body}")
        elif kind == 3:
            rows = [f'{at},"{one.replace(chr(34), "")}"' for at, one in enumerate(paragraphs)]
            _write(folder / f"{name}.csv", "\n".join(["number,text", *rows]))
        else:
            plain = text.encode("ascii", "ignore").decode()
            lines = [line for line in textwrap.wrap(plain, 90) if line.isprintable()]
            lines = [line.translate(_NO_BRACKETS) for line in lines]
            pages = [text_page(*lines[at : at + 40]) for at in range(0, len(lines), 40)]
            (folder / f"{name}.pdf").write_bytes(pdf_file(pages))


_NO_BRACKETS = str.maketrans("()\\", "   ")


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def _pieces(source: Path) -> Iterator[str]:
    """Pieces of the texts, in turn from each file, so that neighbours differ."""
    files = sorted(path for path in source.rglob("*") if path.suffix in TEXTS)
    texts = [path.read_text("utf-8") for path in files]
    longest = max(map(len, texts), default=0)
    for start in range(0, longest, PIECE):
        yield from (text[start : start + PIECE] for text in texts if text[start:].strip())


def command(folder: Path, docs: Path, model: str, dtype: str) -> list[str]:
    """The command that indexes the files."""
    options = ["--index", str(folder), "--model", model, "--dtype", dtype]
    return [sys.executable, "-m", "retriever.interface.cli", "index", str(docs), *options]


def index_until(
    run: Sequence[str], folder: Path, *, files: int, vectors: int, delay: float
) -> Kill:
    """Run a command and kill it after it has written so much, and a delay; or see it end."""
    started = time.monotonic()
    process = subprocess.Popen(  # noqa: S603 - our own command line
        run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    at: float | None = None
    try:
        while process.poll() is None:
            now = _counts(folder)
            if at is None and now[0] >= files and now[1] >= vectors:
                at = time.monotonic() + delay
            if at is not None and time.monotonic() >= at:
                return _killed(process, folder, started)
            time.sleep(POLL)
    except BaseException:
        _killed(process, folder, started)
        raise
    said = process.communicate()[1].decode("utf-8", "replace")
    if process.returncode:
        raise SystemExit(f"indexing ended with {process.returncode}: {said.strip()[-2_000:]}")
    return Kill(time.monotonic() - started, *_counts(folder), ended=True)


def _killed(process: subprocess.Popen[bytes], folder: Path, started: float) -> Kill:
    """Kill a process with those that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return Kill(time.monotonic() - started, *_counts(folder))


def _counts(folder: Path) -> tuple[int, int, int]:
    """The numbers of files, vectors and passages in an index, zeros before there is one."""
    try:
        with Index.open(folder) as index, index.backend.reading() as catalog:
            return (
                len(catalog.documents()),
                catalog.count_vectors(),
                sum(row.chunks for row in catalog.documents()),
            )
    except RetrieverError:
        return 0, 0, 0


def contents(folder: Path) -> Contents:
    """What an index has; the model is loaded for the results."""
    with Index.open(folder) as index, index.snapshot() as now:
        catalog = now.catalog
        chunks = {c.id: c for row in catalog.documents() for c in catalog.chunks(row.id)}
        ids = sorted(chunks)
        facts = {k: v for k, v in (catalog.calibration_facts() or {}).items() if k != "weighing"}
        scale = {k: v for k, v in (catalog.match_scale() or {}).items() if k != "facts"}
        hits = [hit for query in QUERIES for hit in index.search(query)]
        return Contents(
            {id_: chunks[id_] for id_ in ids},
            dict(zip(ids, map(sorted, now.passages.terms(ids)), strict=True)),
            now.passages.vectors(ids),
            (now.calibration.passage_mean, now.calibration.query_mean),
            {"calibration": facts, "match": scale},
            [(hit.chunk.id, hit.score, hit.match or 0.0) for hit in hits],
            catalog.count_pending(),
        )


def comparison(one: Contents, other: Contents) -> list[tuple[str, str, bool]]:
    """(what, how it compares, whether it is as it should be)."""
    rows = [
        ("passages: ids and texts", one.chunks == other.chunks),
        ("terms", one.terms == other.terms),
        ("passages without a vector", not one.pending and not other.pending),
    ]
    found = [(name, "equal" if good else "DIFFERENT", good) for name, good in rows]
    if one.vectors.shape != other.vectors.shape:
        return [*found, ("vectors", "DIFFERENT in number", False)]
    cosine = float(np.einsum("ij,ij->i", one.vectors, other.vectors).min(initial=1.0))
    equal = float((one.vectors == other.vectors).all(axis=1).mean()) if one.chunks else 1.0
    said = f"{equal:.0%} equal bit for bit, least cosine {cosine:.7f}, {_most(one, other)}"
    found.append(("vectors", said, cosine > CLOSE))
    means = max(float(np.abs(a - b).max()) for a, b in zip(one.means, other.means, strict=True))
    found.append(("means", f"largest difference {means:.1e}", means < 1e-3))
    far = _difference(one.fitted, other.fitted)
    found.append(("weight and match scale", f"largest difference {far:.1e}", far < 0.05))
    same = [a[0] for a in one.results] == [b[0] for b in other.results]
    scores = max(
        (abs(a[1] - b[1]) for a, b in zip(one.results, other.results, strict=False)), default=0
    )
    found.append(
        (
            "results",
            f"{'same' if same else 'other'} order, scores within {scores:.1e}",
            scores < 0.05,
        )
    )
    return found


def _most(one: Contents, other: Contents) -> str:
    most = float(np.abs(one.vectors - other.vectors).max(initial=0.0))
    return f"largest difference {most:.1e}"


def _difference(one: Any, other: Any) -> float:
    """The largest difference of two numbers at the same place; infinite for other differences."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return max((_difference(one[name], other[name]) for name in one), default=0.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max((_difference(a, b) for a, b in zip(one, other, strict=True)), default=0.0)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other)
    return 0.0 if one == other else float("inf")


def run(options: argparse.Namespace) -> int:
    """Index, kill, go on, compare, and print the tables."""
    times, files = (1, 4) if options.tiny else (options.times, options.files)
    with tempfile.TemporaryDirectory() as scratch:
        folder, whole, docs = (Path(scratch, name) for name in ("killed", "whole", "docs"))
        write_files(docs, options.folder, files)
        run = command(whole, docs, options.model, options.dtype)
        whole_run = index_until(run, whole, files=files + 1, vectors=0, delay=0)
        run = command(folder, docs, options.model, options.dtype)
        kills = _kill_at_random(run, folder, times, whole_run, random.Random(options.seed))  # noqa: S311 - repeatable
        last = index_until(run, folder, files=files + 1, vectors=0, delay=0)
        found = comparison(contents(folder), contents(whole))
    _print(kills, last, whole_run, found)
    return 0 if all(good for *_, good in found) else 1


def _kill_at_random(
    run: Sequence[str], folder: Path, times: int, whole: Kill, chance: random.Random
) -> list[Kill]:
    """Kill half of the runs while files are read, half while vectors are made.

    Files are written several at once: a run is killed shortly after it has written one more.
    """
    kills: list[Kill] = []
    for _ in range(times // 2):
        files, delay = min(_counts(folder)[0] + 1, whole.files), chance.uniform(0, EARLY_DELAY)
        kills.append(index_until(run, folder, files=files, vectors=0, delay=delay))
    for count in sorted(chance.randrange(max(1, whole.passages)) for _ in range(-(-times // 2))):
        delay = chance.uniform(0, MAX_DELAY)
        kills.append(index_until(run, folder, files=whole.files, vectors=count, delay=delay))
    return kills


def _print(
    kills: Sequence[Kill], last: Kill, whole: Kill, found: Sequence[tuple[str, str, bool]]
) -> None:
    print("| run | seconds | files | vectors |\n|---|---|---|---|")
    rows = [("in one go", whole)]
    rows += [("done before its kill" if one.ended else "killed", one) for one in kills]
    for name, one in [*rows, ("the last", last)]:
        there = f"{one.files} of {whole.files} | {one.vectors} of {whole.passages}"
        print(f"| {name} | {one.seconds:.1f} | {there} |")
    print("\n| compared with the index made in one go | |\n|---|---|")
    for what, how, _ in found:
        print(f"| {what} | {how} |")
