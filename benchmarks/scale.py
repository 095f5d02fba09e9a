"""Cost as an index grows: `python -m benchmarks.scale --json FILE --plot docs/images/scale.svg`.

For each number of passages it builds an index (`benchmarks.synthetic`) with each kind of store, and
measures building, opening, memory, recall, searches with and without filters, and several callers
at once. Beside it, on the same vectors: faiss alone, hnswlib and usearch, where they are installed
(`--peers FOLDER`, a folder of `pip install --target`).

Everything is measured in a new process, one after the other. With `--folder` what was built is kept
and used again. Sizes that are in the JSON file already stay there, and are in the tables and the
plot.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import scale_peers
from benchmarks.scale_index import (
    MODES,
    build_documents,
    build_vectors,
    cell_name,
    cells,
    measure,
    processors,
    recall,
)
from benchmarks.scale_plot import Panel, svg
from benchmarks.synthetic import SHARES, Collection
from retriever.storage.vectors.faiss import factory_for

SIZES = (10_000, 100_000)
KINDS = ("Flat", "SQ8", "RaBitQ2", "HNSW32,SQ8")
CALLERS = (1, 4, 16)
QUERIES = 60
_ALL_SHARES = (1.0, *SHARES)

Facts = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What is measured, and how: `alone` runs a function in a process of its own, or at once."""

    folder: Path
    queries: int
    kinds: Sequence[str]
    callers: Sequence[int]
    peers: Sequence[str]
    peer_folder: Path | None
    alone: Callable[..., Any]

    def size(self, collection: Collection) -> Facts:
        """All figures of one size."""
        folder = self.folder / str(collection.size)
        folder.mkdir(parents=True, exist_ok=True)
        base = folder / "documents"
        built = _kept(base, partial(self.alone, build_documents, collection))
        asked = cells(collection, self.queries)
        truth: scale_peers.Truth = self.alone(scale_peers.find_truth, base, collection, asked)
        kinds: dict[str, Facts] = {}
        for kind in self.kinds:
            _say(f"{collection.size:,} passages, {kind}")
            place = folder / kind
            if kind == factory_for(collection.size):
                place, vectors = base, built["vectors"]  # it has this store already
            else:
                vectors = _kept(place, partial(self.alone, build_vectors, base, kind))
            found = self.alone(measure, place, asked, self.callers)
            kinds[kind] = {**found, "vectors": vectors}
        _add_recall(kinds, truth)
        return {
            "default": factory_for(collection.size),
            "documents": built,
            "kinds": kinds,
            "peers": {peer: self._peer(peer, truth, folder) for peer in self.peers},
        }

    def _peer(self, peer: str, truth: scale_peers.Truth, folder: Path) -> Facts:
        _say(f"{folder.name} passages, {peer} alone")
        file = folder / f"{peer}.peer"
        arguments = (peer, truth, file, self.peer_folder)
        built = _kept_facts(file, lambda: self.alone(scale_peers.build_peer, *arguments))
        return {"vectors": built, **self.alone(scale_peers.measure_peer, *arguments)}


def _kept(place: Path, build: Callable[[Path], Facts]) -> Facts:
    """The facts of a folder that was built completely, or that `build` makes now."""
    if not _facts_file(place).exists():
        new = place.with_name(f"{place.name}.new")
        for old in (new, place):
            shutil.rmtree(old, ignore_errors=True)
        facts = build(new)
        new.rename(place)
        _facts_file(place).write_text(json.dumps(facts), "utf-8")
    return _read(_facts_file(place))


def _kept_facts(file: Path, build: Callable[[], Facts]) -> Facts:
    if not _facts_file(file).exists():
        _facts_file(file).write_text(json.dumps(build()), "utf-8")
    return _read(_facts_file(file))


def _facts_file(place: Path) -> Path:
    return place.with_name(f"{place.name}.json")


def _read(file: Path) -> Facts:
    found: Facts = json.loads(file.read_text("utf-8"))
    return found


def _add_recall(kinds: dict[str, Facts], truth: scale_peers.Truth) -> None:
    """Recall of the nearest passages against brute force, of hybrid search against "Flat"."""
    exact = dict(truth.ids)
    if "Flat" in kinds:
        exact |= {name: ids for name, ids in kinds["Flat"]["found"].items() if name not in exact}
    for facts in kinds.values():
        found = facts.pop("found") if facts is not kinds.get("Flat") else dict(facts["found"])
        facts["recall"] = {n: recall(ids, exact[n]) for n, ids in found.items() if n in exact}
    if "Flat" in kinds:
        del kinds["Flat"]["found"]


def _alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


# Tables


def tables(sizes: dict[str, Facts]) -> str:
    """All tables in Markdown."""
    return "\n\n".join(
        table
        for table in (
            _building(sizes),
            _searching(sizes),
            _recalls(sizes),
            _callers(sizes),
            _peers(sizes),
        )
        if table
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells_)} |" for cells_ in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]]) if rows else ""


def _named(sizes: dict[str, Facts]) -> list[tuple[str, str, Facts]]:
    """Size, store and its figures; the store that the size has by default is marked."""
    found = []
    for size, facts in sizes.items():
        for kind, one in facts["kinds"].items():
            mark = " (default)" if kind == facts["default"] else ""
            found.append((f"{int(size):,}", f"{kind}{mark}", one))
    return found


def _building(sizes: dict[str, Facts]) -> str:
    head = (
        *("passages", "store", "documents s", "vector file s", "peak MB", "on disk MB"),
        *("open s", "first search ms", "peak MB searching", "of it private"),
    )
    rows = []
    for size, kind, one in _named(sizes):
        documents, vectors = sizes[size.replace(",", "")]["documents"], one["vectors"]
        peak = max(documents["vectors"]["peak_mb"], vectors["peak_mb"])
        rows.append(
            [
                *(size, kind, f"{documents['writing']:.1f}", _seconds(vectors)),
                *(f"{peak:.0f}", f"{vectors['folder_mb']:.0f}"),
                f"{one['open_s']:.2f} ({one['open_cpu_s']:.2f})",
                *(f"{one['first_ms']:.0f}", f"{one['peak_mb']:.0f}", f"{one['private_mb']:.0f}"),
            ]
        )
    return _table(head, rows)


def _seconds(vectors: dict[str, float]) -> str:
    """The time of a vector file, and the processor's where it was measured."""
    processor = f" ({vectors['cpu_s']:.1f})" if "cpu_s" in vectors else ""
    return f"{vectors['seconds']:.1f}{processor}"


def _searching(sizes: dict[str, Facts]) -> str:
    head = ["passages", "store", "search", "plain", *(f"filter of {100 * s:g} %" for s in SHARES)]
    rows = []
    for size, kind, one in _named(sizes):
        for mode in MODES:
            times = [one["searches"][cell_name(mode, share)] for share in _ALL_SHARES]
            rows.append([size, kind, mode, *map(_latency, times)])
    return _table(head, rows)


def _latency(times: dict[str, float]) -> str:
    """p50 and p95, and the processor's time.

    >>> _latency({"p50": 12.345, "p95": 123.4, "cpu": 9.87})
    '12 / 123 (9.9)'
    """
    return f"{_short(times['p50'])} / {_short(times['p95'])} ({_short(times['cpu'])})"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _recalls(sizes: dict[str, Facts]) -> str:
    head = ["passages", "store", "search", "plain", *(f"filter of {100 * s:g} %" for s in SHARES)]
    rows = []
    for size, kind, one in _named(sizes):
        for mode in ("nearest", "dense", "hybrid"):
            shares = [one["recall"].get(cell_name(mode, share)) for share in _ALL_SHARES]
            if None not in shares:
                rows.append([size, kind, mode, *(f"{share:.3f}" for share in shares)])
    return _table(head, rows)


def _callers(sizes: dict[str, Facts]) -> str:
    counts = list(dict.fromkeys(n for _, _, one in _named(sizes) for n in one["callers"]))
    head = ["passages", "store", *(f"{count} at once" for count in counts)]
    rows = []
    for size, kind, one in _named(sizes):
        cells_ = []
        for count in counts:
            found = one["callers"].get(count)
            cells_.append(
                f"{found['requests_per_second']:.1f}/s, "
                f"{_short(found['p50'])} / {_short(found['p95'])} ms"
                if found
                else "–"
            )
        rows.append([size, kind, *cells_])
    return _table(head, rows)


def _peers(sizes: dict[str, Facts]) -> str:
    head = (
        *("passages", "library", "build s", "peak MB", "file MB", "load s", "recall@10"),
        *("nearest", *(f"filter of {100 * s:g} % (recall)" for s in SHARES)),
    )
    rows = []
    for size, facts in sizes.items():
        ours = {f"ours, {kind}": one for kind, one in facts["kinds"].items()}
        for name, one in {**ours, **facts["peers"]}.items():
            vectors, found = one["vectors"], one["searches"]
            recalls = one.get("recall") or {name: v["recall"] for name, v in found.items()}
            names = [cell_name("nearest", share) for share in _ALL_SHARES]
            times = [
                f"{_latency(found[n])}{f', {recalls[n]:.3f}' * (at > 0)}" if n in found else "–"
                for at, n in enumerate(names)
            ]
            file = vectors.get("file_mb")
            rows.append(
                [
                    *(f"{int(size):,}", name, _seconds(vectors)),
                    *(f"{vectors['peak_mb']:.0f}", "–" if file is None else f"{file:.0f}"),
                    *(f"{one['open_s']:.2f}", f"{recalls[names[0]]:.3f}", *times),
                ]
            )
    return _table(head, rows)


# The plot


def plot(sizes: dict[str, Facts]) -> str:
    """Cost by size, each with its default store, as SVG."""
    defaults = [
        (int(size), facts, facts["kinds"].get(facts["default"]))
        for size, facts in sorted(sizes.items(), key=lambda one: int(one[0]))
    ]
    known = [(size, facts, one) for size, facts, one in defaults if one]

    def line(value: Callable[[Facts, Facts], float]) -> list[tuple[float, float]]:
        return [(size, max(1e-3, value(facts, one))) for size, facts, one in known]

    def search(name: str) -> Callable[[Facts, Facts], float]:
        return lambda _, one: float(one["searches"][name]["cpu"])

    names = ("hybrid", cell_name("hybrid", 0.01), "dense", "keyword", "nearest")
    labels = ("hybrid", "hybrid, filter of 1 %", "dense", "keyword", "nearest vectors alone")
    panels = (
        Panel(
            "A search, ms of processor time",
            {label: line(search(n)) for n, label in zip(names, labels, strict=True)},
        ),
        Panel(
            "Seconds",
            {
                "write documents": line(lambda facts, _: facts["documents"]["writing"]),
                "write vector file": line(lambda _, one: one["vectors"]["seconds"]),
                "open": line(lambda _, one: one["open_s"]),
            },
        ),
        Panel(
            "MB",
            {
                "on disk": line(lambda _, one: one["vectors"]["folder_mb"]),
                "memory, building": line(
                    lambda facts, one: max(
                        facts["documents"]["vectors"]["peak_mb"], one["vectors"]["peak_mb"]
                    )
                ),
                "memory, searching": line(lambda _, one: one["peak_mb"]),
                "of it private": line(lambda _, one: one["private_mb"]),
            },
        ),
    )
    return svg(panels, "passages")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write JSON and plot."""
    options = _options(arguments)
    known = _read(options.json) if options.json and options.json.exists() else {}
    sizes: dict[str, Facts] = known.get("sizes", {})
    peers = [peer for peer in scale_peers.PEERS if not _skipped(peer, options.peers)]
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(
            folder=options.folder or Path(scratch),
            queries=2 if options.tiny else options.queries,
            kinds=("Flat", "SQ8") if options.tiny else options.kinds,
            callers=(1, 2) if options.tiny else options.callers,
            peers=peers[:1] if options.tiny else peers,
            peer_folder=options.peers,
            alone=_at_once if options.tiny else _alone,
        )
        for size in [300] if options.tiny else options.sizes:
            collection = Collection.of(size, dimension=32) if options.tiny else Collection.of(size)
            sizes[str(size)] = run.size(collection)
            if options.json:
                result = {"machine": machine(), "k": 10, "sizes": sizes}
                options.json.write_text(json.dumps(result, indent=1), "utf-8")
    print(tables(sizes))
    if options.plot:
        options.plot.write_text(plot(sizes), "utf-8")


def machine() -> Facts:
    """What the figures depend on."""
    return {"processors": processors(), "python": platform.python_version()}


def _skipped(peer: str, folder: Path | None) -> bool:
    """Whether a peer is not installed, which is said."""
    reason = scale_peers.missing(peer, folder)
    if reason:
        _say(reason)
    return bool(reason)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=_numbers, default=SIZES, help="passages, e.g. 10000,100000")
    parser.add_argument("--kinds", nargs="+", default=KINDS, help="FAISS factory strings")
    parser.add_argument("--queries", type=int, default=QUERIES, help="of each mode and filter (60)")
    parser.add_argument("--callers", type=_numbers, default=CALLERS, help="at once (1,4,16)")
    parser.add_argument("--folder", type=Path, help="keeps what was built, and uses it again")
    parser.add_argument("--peers", type=Path, help="folder with hnswlib and usearch")
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--plot", type=Path, help="file for a plot (SVG)")
    parser.add_argument("--tiny", action="store_true", help="try the script in two seconds")
    return parser.parse_args(arguments)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
