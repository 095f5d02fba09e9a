"""An index in Milvus beside the same one in a folder: `python -m benchmarks.milvus`.

A synthetic collection (`benchmarks.synthetic`) is written to a folder with exact vectors and copied
to Milvus by `copy_index`. Both answer the same queries one after the other, in turn: the times, and
the share of the first ten results that are the same, which for exact kinds is all of them. Milvus
Lite runs in this process, so that its processor time counts; a server's does not.
`--address` names a server in place of Milvus Lite in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.scale_index import MODES, Cell, cells, recall, spread
from benchmarks.synthetic import Collection, build
from benchmarks.tables import markdown
from retriever import Index
from retriever.indexing.copying import copy_index
from retriever.storage.filters import Filter
from retriever.storage.opening import open_backend, place_of

SIZE = 100_000
QUERIES = 20
K = 10

Facts = dict[str, Any]
_PARTS = ("p50", "p95", "cpu")


def main(arguments: Sequence[str] | None = None) -> None:
    """Build, copy, ask, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=SIZE, help=f"of passages ({SIZE})")
    parser.add_argument("--queries", type=int, default=QUERIES, help=f"of a cell ({QUERIES})")
    parser.add_argument(
        "--kinds", nargs="+", default=["FLAT", "HNSW"], help="of index in Milvus (FLAT HNSW)"
    )
    parser.add_argument("--address", help="a server, milvus://HOST:PORT (default: Milvus Lite)")
    parser.add_argument("--folder", type=Path, help="keep what is built here, and use it again")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--tiny", action="store_true", help="try the script")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.size, options.queries, options.kinds = 200, 2, ["FLAT"]
    collection = Collection.of(options.size)
    with ExitStack() as stack:
        home = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home.mkdir(parents=True, exist_ok=True)
        figures = _figures(collection, home, options)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), "utf-8")
    for table in (_written(figures), *(_asked(figures, kind) for kind in options.kinds)):
        print("\n".join(table), end="\n\n")


def _figures(collection: Collection, home: Path, options: argparse.Namespace) -> Facts:
    folder = home / f"folder-{collection.size}"
    if not folder.exists():
        _say(f"{collection.size:,} passages into a folder")
        build(folder, collection, store="Flat", progress=_say)
    asked = [cell for cell in cells(collection, options.queries) if cell.share in (1.0, 0.01)]
    kinds: dict[str, Facts] = {}
    for kind in options.kinds:
        address = _address(options.address, home, kind, collection.size)
        _say(f"{collection.size:,} passages into {address}, {kind}")
        known = home / f"milvus-{kind}-{collection.size}.json"
        copied = _copied(folder, address, kind)
        if copied["copied"] or options.address or not known.exists():
            known.write_text(json.dumps(copied), "utf-8")
        else:  # all was there already: the figures are of the run that copied it
            copied = json.loads(known.read_text("utf-8"))
        kinds[kind] = copied | {"cells": _measured(folder, address, asked)}
        if options.address:
            _drop(address)
    return {"passages": collection.size, "queries": options.queries, "kinds": kinds}


def _address(given: str | None, home: Path, kind: str, size: int) -> str:
    """A collection of a random name on a server, or a file of Lite."""
    if given:
        return f"{given.rstrip('/')}/wva_benchmark_{uuid.uuid4().hex[:8]}"
    return f"milvus+file:{home}/milvus-{kind}-{size}.db"


def _copied(folder: Path, address: str, kind: str) -> Facts:
    """Copy the index; the seconds, those of the processor, and the copy's own comparison."""
    started, busy = time.perf_counter(), time.process_time()
    with (
        Index.open(folder) as index,
        open_backend(place_of(address), create=True, store=kind) as to,
    ):
        report = copy_index(
            index.backend, to, told=lambda done, total: _say(f"{done:,} of {total:,} documents")
        )
    return {
        "copied": report.copied,
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - busy,
        "same": report.same,
        "target": dict(report.target),
    }


def _measured(folder: Path, address: str, asked: Sequence[Cell]) -> dict[str, Facts]:
    """Each cell's searches of both indexes in turn: times, and how many results are the same."""
    found: dict[str, Facts] = {}
    with Index.open(folder) as one, Index.open(address) as other:
        for index in (one, other):
            for cell in asked[: len(MODES)]:
                _search(index, cell, 0)  # what is loaded at first is not timed
        for cell in asked:
            times: tuple[list[float], list[float]] = ([], [])
            processor: tuple[list[float], list[float]] = ([], [])
            ids: tuple[list[list[str]], list[list[str]]] = ([], [])
            for at in range(len(cell.texts)):
                for side, index in enumerate((one, other)):
                    started, busy = time.perf_counter(), time.process_time()
                    ids[side].append(_search(index, cell, at))
                    processor[side].append(1000 * (time.process_time() - busy))
                    times[side].append(1000 * (time.perf_counter() - started))
            found[cell.name] = {
                "folder": {**spread(times[0]), "cpu": statistics.median(processor[0])},
                "milvus": {**spread(times[1]), "cpu": statistics.median(processor[1])},
                "same": recall(ids[1], ids[0]),
            }
            _say(f"{cell.name}: {found[cell.name]}")
    return found


def _search(index: Index, cell: Cell, at: int) -> list[str]:
    """The ids of a search's passages; `nearest` is the store of vectors alone."""
    vector, where = cell.vectors[at], cell.filters[at]
    if cell.mode == "nearest":
        with index.snapshot() as now:
            return list(now.dense(vector, K, None if where is None else Filter.parse(where)).ids)
    hits = index.search(
        *(cell.texts[at], K),
        mode=cell.mode,
        where=where,
        embed=lambda text: vector,
        fold=False,
        sentences=False,
    )
    return [hit.chunk.id for hit in hits]


def _drop(address: str) -> None:
    """Remove a benchmark's collections from a server."""
    from retriever.storage.addresses import Address
    from retriever.storage.backends.milvus import schema
    from retriever.storage.backends.milvus.client import Connection

    connection = Connection(Address.parse(address))
    try:
        connection.change("drop", lambda client: schema.drop(client, connection.address.collection))
    finally:
        connection.close()


def _written(figures: Facts) -> list[str]:
    rows = [
        [
            kind,
            f"{figures['passages']:,}",
            f"{facts['seconds']:,.1f}",
            f"{facts['cpu_s']:,.1f}",
            f"{figures['passages'] / facts['seconds']:,.0f}",
            "" if facts["same"] is None else f"{100 * facts['same']:.1f} %",
        ]
        for kind, facts in figures["kinds"].items()
    ]
    return markdown(
        ["copied to", "passages", "s", "processor s", "passages/s", "same first ten"], rows
    )


def _asked(figures: Facts, kind: str) -> list[str]:
    rows = [
        [
            name,
            *(f"{facts['folder'][part]:,.1f}" for part in _PARTS),
            *(f"{facts['milvus'][part]:,.1f}" for part in _PARTS),
            f"{100 * facts['same']:.1f} %",
        ]
        for name, facts in figures["kinds"][kind]["cells"].items()
    ]
    columns = ("median", "95 %", "processor")
    head = [f"{side} ms, {one}" for side in ("folder", f"Milvus {kind}") for one in columns]
    return markdown(["search", *head, "same first ten"], rows)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
