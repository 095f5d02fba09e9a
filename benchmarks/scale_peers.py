"""Other libraries beside the vector store, on the same vectors, queries and filters.

Vectors come from the generator again, not from the index, so that the exact results found here are
independent of it. Each function runs in a process of its own.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss as _faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.scale_index import Cell, K, peak_memory, recall, timed
from benchmarks.synthetic import Collection
from retriever import Index
from retriever.arrays import Vectors
from retriever.storage.calibration import Calibration
from retriever.storage.filters import Filter
from retriever.types import chunk_id

faiss: Any = _faiss  # its type stubs lack what its Python layer adds to the classes

NEIGHBOURS, EF_BUILD, EF_SEARCH = 32, 40, 64
"""The parameters of all graphs: those of the store HNSW32,SQ8."""

PEERS = ("faiss Flat", "faiss HNSW32,SQ8", "hnswlib", "usearch")
_MODULES = {"hnswlib": "hnswlib", "usearch": "usearch.index"}
_BLOCK = 8192

Rows = NDArray[np.int64]
Search = Callable[[Vectors, Rows | None], list[int]]
"""A calibrated query (dim,) and the allowed rows, None for all → the nearest rows, best first."""


@dataclass(frozen=True)
class Truth:
    """The file of all calibrated vectors, and of cells without words: queries, filters, answers.

    The answers are exact: rows of the file, and the ids of their passages.
    """

    vectors: Path
    queries: Mapping[str, Vectors]
    allowed: Mapping[str, list[Rows | None]]
    rows: Mapping[str, list[list[int]]]
    ids: Mapping[str, list[list[str]]]


def find_truth(index: Path, collection: Collection, asked: Sequence[Cell]) -> Truth:
    """Compute all vectors anew, and search them by brute force."""
    wanted = [cell for cell in asked if cell.mode in ("nearest", "dense")]
    with Index.open(index) as opened, opened.snapshot() as now:
        calibration = now.calibration
        file, ids, places = _vectors_of(index.parent, collection, calibration)
        queries = {cell.name: calibration.query(cell.vectors) for cell in wanted}
        allowed: dict[str, list[Rows | None]] = {cell.name: [] for cell in wanted}
        for cell in wanted:
            for where in cell.filters:
                if where is None:
                    allowed[cell.name].append(None)
                else:
                    documents = now.catalog.documents(Filter.parse(where))
                    spans = [np.arange(*places[document.id]) for document in documents]
                    allowed[cell.name].append(np.sort(np.concatenate([_NONE, *spans])))
    rows = _exact(np.load(file, mmap_mode="r"), queries, allowed)
    named = {
        name: [[str(ids[row]) for row in best] for best in all_] for name, all_ in rows.items()
    }
    return Truth(file, queries, allowed, rows, named)


_NONE: Rows = np.empty(0, np.int64)


def _vectors_of(
    folder: Path, collection: Collection, calibration: Calibration
) -> tuple[Path, NDArray[np.str_], dict[str, tuple[int, int]]]:
    """The file of the calibrated vectors, their passages' ids, and each document's rows."""
    stamp = hashlib.sha256(repr(collection).encode() + calibration.passage_mean.tobytes())
    file, known = folder / "vectors.npy", folder / "vectors.json"
    places: dict[str, tuple[int, int]] = {}
    if known.exists():
        kept = json.loads(known.read_text("utf-8"))
        if kept["stamp"] == stamp.hexdigest():
            places = {name: (first, end) for name, (first, end) in kept["places"].items()}
            return file, np.load(folder / "ids.npy"), places
    shape = (collection.size, collection.dimension)
    array = np.lib.format.open_memmap(file, "w+", np.float32, shape)
    ids: list[str] = []
    for documents, _, raw in collection.blocks():
        array[len(ids) : len(ids) + len(raw)] = calibration.passage(raw)
        for one in documents:
            first = len(ids)
            for chunk in one.chunks:
                page, span = one.pages[chunk.page], chunk.span
                text = page.text[span.start : span.end]
                ids.append(chunk_id(one.row.id, page.number, span, text, page.label))
            places[one.row.id] = (first, len(ids))
    array.flush()
    np.save(folder / "ids.npy", np.array(ids))
    known.write_text(json.dumps({"stamp": stamp.hexdigest(), "places": places}), "utf-8")
    return file, np.array(ids), places


def _exact(
    vectors: Vectors,
    queries: Mapping[str, Vectors],
    allowed: Mapping[str, list[Rows | None]],
) -> dict[str, list[list[int]]]:
    """The nearest allowed rows of all queries, best first, by all cosines."""
    flat = np.concatenate(list(queries.values()))
    scores = np.empty((len(flat), len(vectors)), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        scores[:, start : start + _BLOCK] = flat @ vectors[start : start + _BLOCK].T
    found: dict[str, list[list[int]]] = {}
    at = iter(scores)
    for name, several in allowed.items():
        found[name] = []
        for rows in several:
            row_scores = next(at)
            chosen = np.arange(len(vectors)) if rows is None else rows
            found[name].append(chosen[np.argsort(-row_scores[chosen])[:K]].tolist())
    return found


# Peers


def missing(peer: str, folder: Path | None) -> str:
    """What is to be installed for a peer, as a sentence; empty if it is there."""
    name = _MODULES.get(peer)
    if name is None:
        return ""
    try:
        _imported(name, folder)
    except ImportError as error:
        package = name.split(".")[0]
        return (
            f"{package} is not measured ({error}): pip install --target FOLDER {package}, and name "
            "it with --peers FOLDER"
        )
    return ""


def _imported(name: str, folder: Path | None) -> Any:
    """A module, also from a folder of peers."""
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))
    return importlib.import_module(name)


def build_peer(peer: str, truth: Truth, file: Path, peers: Path | None) -> dict[str, float]:
    """Build a peer's index of all vectors with all processors, and write it."""
    vectors = np.load(truth.vectors, mmap_mode="r")
    count, dimension = vectors.shape
    blocks = [slice(at, at + _BLOCK) for at in range(0, count, _BLOCK)]
    started, busy = time.perf_counter(), time.process_time()
    if peer.startswith("faiss"):
        index = faiss.index_factory(dimension, peer.split()[1], faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            index.train(np.ascontiguousarray(vectors[:: max(1, count // 30_000)]))
        for block in blocks:
            index.add(np.ascontiguousarray(vectors[block]))
        faiss.write_index(index, str(file))
    elif peer == "hnswlib":
        index = _imported("hnswlib", peers).Index("ip", dimension)
        index.init_index(count, M=NEIGHBOURS, ef_construction=EF_BUILD)
        for block in blocks:
            index.add_items(vectors[block])
        index.save_index(str(file))
    else:
        index = _imported("usearch.index", peers).Index(
            ndim=dimension,
            metric="ip",
            dtype="f32",
            connectivity=NEIGHBOURS,
            expansion_add=EF_BUILD,
            expansion_search=EF_SEARCH,
        )
        for block in blocks:
            index.add(np.arange(count)[block], np.ascontiguousarray(vectors[block]))
        index.save(str(file))
    return {
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - busy,
        "peak_mb": peak_memory(),
        "file_mb": file.stat().st_size / 2**20,
    }


def measure_peer(peer: str, truth: Truth, file: Path, peers: Path | None) -> dict[str, Any]:
    """Load a peer's index, and search it with one thread in all the ways that it can."""
    dimension = next(iter(truth.queries.values())).shape[1]
    started = time.perf_counter()
    search, filters = _searching(peer, file, dimension, peers)
    opened = time.perf_counter() - started
    searches: dict[str, Any] = {}
    for name, vectors in truth.queries.items():
        allowed = truth.allowed[name]
        if not name.startswith("nearest"):
            continue
        if any(rows is not None for rows in allowed) and not filters:
            continue
        results, searches[name] = timed(_one(search, vectors, allowed), len(vectors))
        right = [[str(row) for row in best] for best in truth.rows[name]]
        found = [[str(row) for row in best] for best in results]
        searches[name]["recall"] = recall(found, right)
    return {"open_s": opened, "searches": searches, "peak_mb": peak_memory()}


def _one(
    search: Search, vectors: Vectors, allowed: Sequence[Rows | None]
) -> Callable[[int], list[int]]:
    return lambda at: search(vectors[at], allowed[at])


def _searching(peer: str, file: Path, dimension: int, peers: Path | None) -> tuple[Search, bool]:
    """The search of a peer, and whether it knows filters."""
    if peer.startswith("faiss"):
        return _faiss_search(faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)), True
    if peer == "hnswlib":
        index = _imported("hnswlib", peers).Index("ip", dimension)
        index.load_index(str(file))
        index.set_ef(EF_SEARCH)
        return _hnswlib_search(index), True
    index = _imported("usearch.index", peers).Index.restore(str(file), view=True)

    def search(query: Vectors, rows: Rows | None) -> list[int]:
        return [int(key) for key in index.search(query, K, threads=1).keys]

    return search, False


def _faiss_search(index: Any) -> Search:
    faiss.omp_set_num_threads(1)
    graph = "HNSW" in type(faiss.downcast_index(index)).__name__

    def search(query: Vectors, rows: Rows | None) -> list[int]:
        options: dict[str, Any] = {"efSearch": EF_SEARCH} if graph else {}
        if rows is not None:
            mask = np.zeros(index.ntotal, bool)
            mask[rows] = True
            options["sel"] = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        kind = faiss.SearchParametersHNSW if graph else faiss.SearchParameters
        found = index.search(query[None], K, params=kind(**options) if options else None)[1][0]
        return [int(row) for row in found if row >= 0]

    return search


def _hnswlib_search(index: Any) -> Search:
    def search(query: Vectors, rows: Rows | None) -> list[int]:
        chosen = None if rows is None else set(rows.tolist()).__contains__
        count = K if rows is None else min(K, len(rows))
        if not count:
            return []
        try:
            found = index.knn_query(query, count, num_threads=1, filter=chosen)[0][0]
            return [int(row) for row in found]
        except RuntimeError:  # it finds fewer than were asked for
            return []

    return search


__all__ = ["PEERS", "Truth", "build_peer", "find_truth", "measure_peer", "missing"]
