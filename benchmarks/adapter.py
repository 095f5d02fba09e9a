"""What an adapter gives and costs: `python -m benchmarks.adapter quality|speed …`.

    quality SET… [--seeds 3] [--side query both] [--without-labels]
    speed [--passages 100000] [--dimension 576 1024]

`quality` takes BEIR folders, which it indexes in the user's cache as `wva eval retrieval` does. Of
each, a fifth of the queries is set aside, with all that shares a passage or a text with it. The
adapter gets the others, holds some of them out for its own guard, and decides. The table says what
becomes of the queries set aside: where nothing is kept, they are answered as before. With
`--without-labels` the adapter gets the index alone, and all queries are measured. The user's index
stays as it is: a copy is tuned.

`speed` makes an index of random passages and vectors (see `benchmarks.steering`), and measures the
training, and searches without and with a map of each side.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from benchmarks.steering import QUERY, fill
from retriever import AlignedWVA, Index
from retriever.arrays import Vectors, normalise
from retriever.evaluation.datasets import RetrievalDataset, read_beir
from retriever.evaluation.metrics import ndcg_at
from retriever.evaluation.retrieval import DOCUMENTS, open_dataset
from retriever.settings import DEFAULT_MODEL
from retriever.significance import compare
from retriever.storage.adapter import SIDES, Adapter
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.tuning.adapter import fit_map
from retriever.tuning.adapting import remove_adapter, tune_adapter
from retriever.tuning.leakage import hold_out
from retriever.tuning.pairs import Pair, PairData
from retriever.tuning.reading import read_pairs
from retriever.tuning.vectors import Answer, Pool, Question, make_examples
from retriever.types import UsageError
from tests.fakes import FakeEmbedder

MODES = ("dense", "hybrid")
SET_ASIDE = 0.2
REPEATS = 60
PAIRS = 2_000


class Remembering:
    """An embedder that embeds no query twice; all else is that of the model."""

    def __init__(self, embedder: AlignedWVA, known: dict[str, Vectors]) -> None:
        self._embedder, self._known = embedder, known

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed_queries`."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= zip(new, self._embedder.embed_queries(new), strict=True)
        return np.stack([self._known[text] for text in texts])

    def embed_inputs(self, inputs: Sequence[str]) -> Vectors:
        """See `Embedder.embed_inputs`."""
        new = [text for text in dict.fromkeys(inputs) if f"p:{text}" not in self._known]
        if new:
            names = [f"p:{text}" for text in new]
            self._known |= zip(names, self._embedder.embed_inputs(new), strict=True)
        return np.stack([self._known[f"p:{text}"] for text in inputs])


@contextmanager
def copied(folder: Path, embedder: Any) -> Iterator[Index]:
    """A copy of an index, which may be changed."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(shutil.copytree(folder, Path(place) / "index"))
        with Index.open(copy, embedder) as index:
            yield index


def measured(index: Index, queries: dict[str, dict[str, float]]) -> dict[str, list[float]]:
    """nDCG@10 of each query, by mode; `queries` are text → judgements."""
    return {
        mode: [
            ndcg_at(10, [hit.chunk.path for hit in found], judged)
            for text, judged in queries.items()
            for found in [index.search(text, options=DOCUMENTS, mode=mode)]
        ]
        for mode in MODES
    }


def judgements(pairs: Sequence[Pair]) -> dict[str, dict[str, float]]:
    """Query → its relevant documents."""
    found: dict[str, dict[str, float]] = {}
    for pair in pairs:
        found.setdefault(pair.query, {})[pair.positive.id] = 1.0
    return found


def quality(options: argparse.Namespace) -> None:
    """Print a line for each set, side and seed."""
    model = AlignedWVA(options.model)
    print("| set | side | seed | training | steps | kept | mode | before | after | difference |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for folder in options.sets:
        data = read_beir(folder)
        with open_dataset(model, data, folder.name, progress=_tell) as ready:
            place = Path(ready.index.name)
            embedder = Remembering(model, dict(ready.vectors))
        for side in options.side:
            for seed in range(options.seeds):
                _measure_set(folder, data, place, embedder, side, seed, options)


def _measure_set(
    folder: Path,
    data: RetrievalDataset,
    place: Path,
    embedder: Remembering,
    side: str,
    seed: int,
    options: argparse.Namespace,
) -> None:
    pairs: PairData | None = None
    if options.without_labels:
        queries = {data.queries[name]: dict(judged) for name, judged in data.qrels.items()}
    else:
        pairs, aside = hold_out(read_pairs(folder), SET_ASIDE, 1_000 + seed)
        queries = judgements(aside.pairs)
    with copied(place, embedder) as index:
        before = measured(index, queries)
        try:
            report = tune_adapter(
                *(index, pairs), side=side, seed=seed, minutes=options.minutes, progress=_tell
            )
        except UsageError as error:  # too few queries
            _tell(str(error))
            print(f"| {folder.name} | {side} | {seed} | too little to measure by |" + " |" * 6)
            return
        _tell(report.sentence)
        after = measured(index, queries) if report.kept else before
    for mode in MODES:
        found = compare(after[mode], before[mode])
        ends = found.difference
        print(
            f"| {folder.name} | {side} | {seed} | {report.pairs}, {report.seconds:.0f} s "
            f"| {report.start}, {report.steps} | {'yes' if report.kept else 'no'} | {mode} "
            f"| {statistics.mean(before[mode]):.3f} | {statistics.mean(after[mode]):.3f} "
            f"| {ends.mean:+.3f} ({ends.low:+.3f} to {ends.high:+.3f}) {found.verdict.value} |",
            flush=True,
        )


def speed(options: argparse.Namespace) -> None:
    """Print the times of training and of searches, by dimension."""
    print("| dimension | passages | what | without | query side | both sides |")
    print("|---|---|---|---|---|---|")
    for dimension in options.dimension:
        fake = FakeEmbedder(dimension)
        embedder = cast(Any, SimpleNamespace(settings=fake.settings, dimension=dimension))
        with tempfile.TemporaryDirectory() as folder:
            with EmbeddedBackend.open(Path(folder) / "index", create=True) as backend:
                fill(backend, embedder, options.passages)
                zeros = np.zeros(dimension, np.float32)
                backend.calibrate(zeros, zeros, {})
            with Index.open(Path(folder) / "index", cast(Any, fake)) as index:
                _measure_speed(index, dimension, options.passages)


def _measure_speed(index: Index, dimension: int, passages: int) -> None:
    rng = np.random.default_rng(1)
    raw = normalise(rng.normal(size=(min(REPEATS, passages // 40), dimension)).astype(np.float32))
    matrix = np.eye(dimension) + rng.normal(size=(dimension, dimension)) / (8 * dimension**0.5)
    times: dict[str, list[float]] = {mode: [] for mode in MODES}
    fits = ["–"]
    for side in (None, *SIDES):
        if side is not None:
            fits.append(_fit_time(index, side))
        index.backend.set_adapter(None if side is None else Adapter.of(side, matrix))
        for mode, taken in times.items():
            taken.append(_median_ms(index, mode, raw))
    for mode, taken in times.items():
        cells = " | ".join(f"{one:.1f} ms" for one in taken)
        print(f"| {dimension} | {passages:,} | {mode} search, median | {cells} |", flush=True)
    print(f"| {dimension} | {passages:,} | training | {' | '.join(fits)} |")
    remove_adapter(index)


def _median_ms(index: Index, mode: str, raw: Vectors) -> float:
    taken = []
    for vector in raw:
        known = {QUERY: vector}
        started = time.perf_counter()
        index.search(QUERY, options=DOCUMENTS, mode=mode, k=10, embed=known.__getitem__)
        taken.append(time.perf_counter() - started)
    return 1e3 * statistics.median(taken[5:])


def _fit_time(index: Index, side: str) -> str:
    """Seconds, of this process too, for making examples of pairs and fitting a map."""
    rng = np.random.default_rng(2)
    started, own = time.perf_counter(), time.process_time()
    with index.snapshot() as now:
        pool = Pool.of(now)
    pairs = min(PAIRS, len(pool.vectors) // 2)
    rows = rng.choice(len(pool.vectors), pairs + pairs // 10)
    noisy = pool.vectors[rows] + rng.normal(size=(len(rows), pool.vectors.shape[1])) / 10
    units = normalise(noisy.astype(np.float32))
    questions = [
        Question("", unit, (Answer(pool.vectors[[row]], frozenset([pool.documents[row]])),))
        for unit, row in zip(units, rows.tolist(), strict=True)
    ]
    training, validation = (
        make_examples(part, pool, each=4, seed=0) for part in (questions[:pairs], questions[pairs:])
    )
    fitted = fit_map(training, validation, side)
    wall, cpu = time.perf_counter() - started, time.process_time() - own
    return f"{pairs:,} pairs: {wall:.1f} s ({cpu:.1f} s of processor, {fitted.steps} steps)"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(required=True)
    one = kinds.add_parser("quality")
    one.add_argument("sets", nargs="+", type=Path, metavar="SET")
    one.add_argument("--seeds", type=int, default=3)
    one.add_argument("--side", nargs="+", choices=SIDES, default=list(SIDES))
    one.add_argument("--minutes", type=float, default=5.0)
    one.add_argument("--without-labels", action="store_true")
    one.add_argument("--model", default=DEFAULT_MODEL)
    one.set_defaults(run=quality)
    other = kinds.add_parser("speed")
    other.add_argument("--passages", type=int, default=100_000)
    other.add_argument("--dimension", nargs="+", type=int, default=[576, 1024])
    other.set_defaults(run=speed)
    for each in (one, other):
        each.add_argument("--tiny", action="store_true", help="try the script")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.seeds, options.passages, options.dimension = 1, 400, [16]
    options.run(options)


if __name__ == "__main__":
    main()
