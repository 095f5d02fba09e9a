"""Measurements of one index for `benchmarks.scale`; each function runs in a process of its own."""

from __future__ import annotations

import os
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.synthetic import SHARES, Collection, build
from retriever import Index
from retriever.arrays import Vectors
from retriever.storage.backends import vector_files
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.catalog import Catalog
from retriever.storage.filters import Filter

MODES = ("nearest", "dense", "keyword", "hybrid")
"""The first is the vector store alone: ids and cosines, as other libraries give them."""

K = 10
_MEGABYTE = 2**20


@dataclass(frozen=True)
class Cell:
    """The searches of one mode under filters of one share (1: none); no two cells share a query."""

    mode: str
    share: float
    texts: tuple[str, ...]
    vectors: Vectors
    filters: tuple[dict[str, Any] | None, ...]

    @property
    def name(self) -> str:
        """The mode and the share, as in the JSON."""
        return cell_name(self.mode, self.share)


def cell_name(mode: str, share: float) -> str:
    """The name of a cell.

    >>> cell_name("hybrid", 1.0), cell_name("dense", 0.001)
    ('hybrid', 'dense 0.1 %')
    """
    return mode if share == 1 else f"{mode} {100 * share:g} %"


def cells(collection: Collection, queries: int) -> list[Cell]:
    """The cells: every query is asked once, so that no cache knows it."""
    shares = (1.0, *SHARES)
    questions = collection.questions(queries * len(shares) * len(MODES))
    found = []
    for at, (mode, share) in enumerate((m, s) for s in shares for m in MODES):
        some = questions[at * queries : (at + 1) * queries]
        texts = tuple(one.text for one in some)
        filters = [None] * len(some) if share == 1 else collection.filters(share, some)
        vectors = collection.embedder.embed_queries(texts)
        found.append(Cell(mode, share, texts, vectors, tuple(filters)))
    return found


def peak_memory() -> float:
    """The largest resident memory of this process so far, in MB; 0 where Linux does not say it."""
    return _status("VmHWM")


def private_memory() -> float:
    """The memory of this process that is not of mapped files, in MB."""
    return _status("RssAnon")


def _status(name: str) -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def _size(files: Iterable[Path]) -> float:
    return sum(file.stat().st_size for file in files) / _MEGABYTE


def spread(milliseconds: Sequence[float]) -> dict[str, float]:
    """The median and the 95th percentile."""
    return {
        "p50": statistics.median(milliseconds),
        "p95": float(np.percentile(milliseconds, 95)),
    }


def timed(run: Callable[[int], Any], count: int) -> tuple[list[Any], dict[str, float]]:
    """What `run` returns for 0, 1, …, and its milliseconds: p50, p95, and p50 of processor time."""
    results, walls, processor = [], [], []
    for at in range(count):
        started, busy = time.perf_counter(), time.process_time()
        results.append(run(at))
        processor.append(1000 * (time.process_time() - busy))
        walls.append(1000 * (time.perf_counter() - started))
    return results, {**spread(walls), "cpu": statistics.median(processor)}


# Building


def build_documents(collection: Collection, folder: Path) -> dict[str, Any]:
    """Write and fit an index of the collection: the seconds, and the peak of memory."""
    built = build(folder, collection)
    return {
        "making": built.making,
        "writing": built.writing,
        "fitting": built.fitting,
        "vectors": _vector_facts(folder, built.vectors, built.processor),
    }


def build_vectors(documents: Path, kind: str, folder: Path) -> dict[str, float]:
    """Copy an index and write its vector file as this kind of store."""
    shutil.copytree(documents, folder, ignore=shutil.ignore_patterns("LOCK", "vectors-*"))
    with EmbeddedBackend.open(folder, factory=kind):
        pass
    catalog = Catalog.open(folder)
    with EmbeddedBackend(catalog) as backend:
        started, busy = time.perf_counter(), time.process_time()
        vector_files.write(catalog)
        seconds, processor = time.perf_counter() - started, time.process_time() - busy
        backend.release()
    return _vector_facts(folder, seconds, processor)


def _vector_facts(folder: Path, seconds: float, processor: float) -> dict[str, float]:
    """The time of a vector file, the peak of this process, and the sizes on disk."""
    return {
        "seconds": seconds,
        "cpu_s": processor,
        "peak_mb": peak_memory(),
        "file_mb": _size(folder.glob("vectors-*")),
        "folder_mb": _size(folder.iterdir()),
    }


# Searching


def measure(folder: Path, asked: Sequence[Cell], callers: Sequence[int]) -> dict[str, Any]:
    """Open, search in all ways, search by several callers: times, results and memory."""
    started, busy = time.perf_counter(), time.process_time()
    with Index.open(folder) as index:
        with index.snapshot():
            opened, opening = time.perf_counter() - started, time.process_time() - busy
        plain = next(cell for cell in asked if cell.mode == "hybrid" and cell.share == 1)
        first = time.perf_counter()
        _search(index, plain, 0)
        first = time.perf_counter() - first
        for cell in asked[: len(MODES)]:
            _search(index, cell, 0)
        searches, found = {}, {}
        for cell in asked:
            results, searches[cell.name] = timed(_one(index, cell), len(cell.texts))
            if cell.mode == "nearest":
                found[cell.name] = results
        peak, private = peak_memory(), private_memory()
        many = {str(count): several_callers(index, plain, count) for count in callers}
        found |= {c.name: _ranked(index, c) for c in asked if c.mode in ("dense", "hybrid")}
    return {
        "open_s": opened,
        "open_cpu_s": opening,
        "first_ms": 1000 * first,
        "searches": searches,
        "callers": many,
        "peak_mb": peak,
        "private_mb": private,
        "found": found,
    }


def _one(index: Index, cell: Cell) -> Callable[[int], list[str]]:
    return lambda at: _search(index, cell, at)


def _search(index: Index, cell: Cell, at: int, **changes: Any) -> list[str]:
    """The ids of a search's results, as a user or a program asks for them."""
    vector, where = cell.vectors[at], cell.filters[at]
    if cell.mode == "nearest":
        with index.snapshot() as now:
            return list(now.dense(vector, K, None if where is None else Filter.parse(where)).ids)
    hits = index.search(
        cell.texts[at], K, mode=cell.mode, where=where, embed=lambda text: vector, **changes
    )
    return [hit.chunk.id for hit in hits]


def _ranked(index: Index, cell: Cell) -> list[list[str]]:
    """The ids of the best passages, without what is made of them; not timed."""
    count = len(cell.texts)
    return [_search(index, cell, at, fold=False, sentences=False) for at in range(count)]


def several_callers(index: Index, cell: Cell, count: int) -> dict[str, float]:
    """The cell's searches by several threads at once, each asking as soon as it has an answer.

    Each search is asked four times in all, at different moments.
    """
    waiting: Iterable[int] = iter(list(range(len(cell.texts))) * 4)
    lock, walls = threading.Lock(), list[float]()

    def call() -> None:
        while True:
            with lock:
                at = next(iter(waiting), None)
            if at is None:
                return
            started = time.perf_counter()
            _search(index, cell, at)
            wall = 1000 * (time.perf_counter() - started)
            with lock:
                walls.append(wall)

    threads = [threading.Thread(target=call) for _ in range(count)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    return {"requests_per_second": len(walls) / seconds, **spread(walls)}


def recall(found: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> float:
    """The mean share of the right ids that were found.

    >>> recall([["a", "b"], ["c"]], [["a", "c"], []])
    0.5
    """
    shares = [
        len({*some} & {*all_}) / len(all_) for some, all_ in zip(found, right, strict=True) if all_
    ]
    return statistics.fmean(shares) if shares else 1.0


def processors() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
