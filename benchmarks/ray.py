"""Indexing with Ray against one machine, in one run: `python -m benchmarks.ray`.

A simulated cluster of three machines, all of them this one: a result is checked, then times are
compared. Each part is run by name, all of them by default:

- `equal`: generated documents with an embedder that is a pure function of the words; the index has
  the same ids, texts and vectors, bit for bit.
- `model`: the sample documents with the default model in float32; vectors within 1e-5.
- `losses`: an actor, a machine and the driver are killed in turn, the command is run again; nothing
  is missing, and nothing is there or was done twice.
- `tight`: two processors and two actors, which must not wait for each other.
- `data`: `EmbeddingWorker` in `map_batches` of Ray Data; the same vectors, bit for bit.
- `milvus`: actors write to the server that `MILVUS_URI` names, in a collection of its own.
- `speed`: tokens per second with one worker and with two, and the overhead over a run without Ray.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables import markdown
from retriever.distributed import EmbeddingWorker, RayHands, ray_hands
from retriever.embedding.protocols import Embedder
from retriever.index import Index
from retriever.indexing.ledger import SyncReport
from retriever.types import Progress
from tests.distributed.sharing import Sharing
from tests.distributed.simulated import add_machine, simulated
from tests.storage.milvus_index import shared_index

SAMPLE = Path("data/sample")
PARTS = ("equal", "model", "losses", "tight", "data", "milvus", "speed")
WORDS = ("river", "heron", "record", "otter", "measure", "control", "review", "access", "plan")
TOLERANCE = 1e-5


def _check(holds: bool, what: str) -> None:
    """Raise AssertionError with what is wrong, also where Python leaves out `assert`."""
    if not holds:
        raise AssertionError(what)


@dataclass(frozen=True, slots=True)
class Contents:
    """What an index holds, by passage."""

    texts: dict[str, str]
    vectors: dict[str, Any]
    pending: int

    def difference(self, other: Contents) -> float:
        """The largest difference of two vectors. Raises AssertionError if anything else differs."""
        _check(self.pending == other.pending == 0, "passages without a vector")
        _check(self.texts == other.texts, "other passages")
        _check(self.vectors.keys() == other.vectors.keys(), "other vectors")
        return max(
            (float(np.abs(one - other.vectors[id_]).max()) for id_, one in self.vectors.items()),
            default=0.0,
        )


def contents(folder: Path | str, embedder: Embedder | None) -> Contents:
    """Everything of an index."""
    with Index.open(folder, embedder) as index, index.backend.reading() as catalog:
        ids = [id_ for row in catalog.documents() for id_ in catalog.chunk_ids(row.id)]
        _check(len(set(ids)) == len(ids), "a passage twice")
        texts = {chunk.id: chunk.text for chunk in catalog.get(ids)}
        sample = [chunk.id for chunk in catalog.sample_chunks(len(ids) + 1, embedded=True)]
        vectors = dict(zip(sample, catalog.sample_vectors(len(ids) + 1), strict=True))
        return Contents(texts, vectors, catalog.count_pending())


def write_documents(folder: Path, count: int, seed: int = 7) -> Path:
    """Small documents of invented prose, a hundred to a folder, all from one seed."""
    chosen = random.Random(seed)  # noqa: S311 - not for secrets
    for number in range(count):
        place = folder / f"{number // 100:04}" / f"{number:06}.md"
        place.parent.mkdir(parents=True, exist_ok=True)
        lines = (" ".join(chosen.choices(WORDS, k=12)) for _ in range(chosen.randint(2, 9)))
        place.write_text(f"# Note {number}\n\n" + ".\n".join(lines) + ".\n")
        os.utime(place, (1e9, 1e9))
    return folder


def build(
    folder: Path | str,
    docs: Path,
    embedder: Embedder | None,
    hands: RayHands | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> SyncReport:
    """Index documents, here or with Ray."""
    with Index.open_or_create(folder, embedder, dtype="float32") as index:
        return index.sync(docs, hands=hands, progress=progress)


def equal(work: Path, count: int, sample: Path) -> list[dict[str, Any]]:
    """Generated documents: the same index, bit for bit."""
    docs = write_documents(work / "docs", count)
    started = time.monotonic()
    build(work / "alone", docs, Sharing())
    alone = time.monotonic() - started
    with simulated(1, 2, 1), ray_hands("ray:auto?actors=2&patience=300") as hands:
        started = time.monotonic()
        build(work / "ray", docs, Sharing(), hands)
        shared = time.monotonic() - started
    expected = contents(work / "alone", Sharing())
    found = contents(work / "ray", Sharing())
    difference = found.difference(expected)
    _check(difference == 0, f"a difference of {difference}")
    return [
        {
            "check": f"{count:,} generated documents",
            "passages": len(found.texts),
            "largest difference": difference,
            "one machine, s": round(alone, 1),
            "Ray, s": round(shared, 1),
        }
    ]


def model(work: Path, count: int, sample: Path) -> list[dict[str, Any]]:
    """The sample with the model in float32."""
    build(work / "alone", sample, None)
    with simulated(1, 2, 1), ray_hands("ray:auto?actors=2", dtype="float32") as hands:
        build(work / "ray", sample, None, hands)
    expected, found = contents(work / "alone", None), contents(work / "ray", None)
    difference = found.difference(expected)
    _check(difference < TOLERANCE, f"a difference of {difference}")
    row = {"check": "the sample, default model", "passages": len(found.texts)}
    return [{**row, "largest difference": difference}]


def losses(work: Path, count: int, sample: Path) -> list[dict[str, Any]]:
    """Whatever is killed in the middle: the index is the same, and no passage is embedded twice."""
    docs = write_documents(work / "docs", count)
    build(work / "alone", docs, Sharing())
    expected = contents(work / "alone", Sharing())
    rows = []
    with simulated(1, 2) as machines:
        for what in ("actor", "machine", "driver"):
            folder, seen = work / what, [Progress(0, 0, 0, 0, 0.0, 0.0, None)]
            more = add_machine(machines, 2)
            if what == "driver":
                _killed_driver(folder, docs, machines.address)
                machines.remove_node(more, allow_graceful=False)
            with ray_hands("ray:auto?actors=3&patience=300") as hands:
                lose = partial(_lose, what, hands, machines, more, seen)
                with Index.open_or_create(folder, Sharing()) as index:
                    before = index.info()["chunks"] - index.info()["pending"]
                build(folder, docs, Sharing(), hands, lose)
            with suppress(Exception):
                machines.remove_node(more)
            found = contents(folder, Sharing())
            difference = found.difference(expected)
            _check(difference == 0, f"a difference of {difference}")
            done = seen[-1].vectors_done
            _check(before + done == len(found.texts), "done twice")
            rows.append({"killed": what, "stored before": before, "embedded after": done})
    return rows


def _lose(
    what: str,
    hands: RayHands,
    machines: Any,
    more: Any,
    seen: list[Progress],
    progress: Progress,
) -> None:
    """Kill an actor or a machine when a third of the vectors are there, once."""
    reached = seen[-1].vectors_done * 3 < progress.vectors_total <= progress.vectors_done * 3
    seen.append(progress)
    if not reached:
        return
    if what == "actor":
        hands.lose_an_actor()
    elif what == "machine":
        machines.remove_node(more, allow_graceful=False)


def _killed_driver(folder: Path, docs: Path, address: str) -> None:
    """Index in a process that is killed when a third of the vectors are there."""
    command = [sys.executable, "-m", "benchmarks.ray", "driver", "--work", str(folder)]
    environment = {**os.environ, "RAY_ADDRESS": address}
    ended = subprocess.run([*command, "--docs", str(docs)], env=environment, check=False)  # noqa: S603 - this module
    _check(ended.returncode == -signal.SIGKILL, f"it ended with {ended.returncode}")


def driver(folder: Path, docs: Path) -> None:
    """Index, and die in the middle."""

    def die(progress: Progress) -> None:
        if progress.vectors_total and progress.vectors_done * 3 > progress.vectors_total:
            os.kill(os.getpid(), signal.SIGKILL)

    with ray_hands("ray:auto?actors=2") as hands:
        build(folder, docs, Sharing(), hands, die)


def tight(work: Path, count: int, sample: Path) -> list[dict[str, Any]]:
    """Two processors and two actors."""
    docs = write_documents(work / "docs", min(count, 500))
    build(work / "alone", docs, Sharing())
    with ray_hands("ray?actors=2&patience=120") as hands:
        build(work / "ray", docs, Sharing(), hands)
    found = contents(work / "ray", Sharing())
    difference = found.difference(contents(work / "alone", Sharing()))
    _check(difference == 0, f"a difference of {difference}")
    return [{"check": "two processors, two actors", "passages": len(found.texts)}]


def data(work: Path, count: int, sample: Path) -> list[dict[str, Any]]:
    """Texts through Ray Data: the vectors of the embedder itself."""
    texts = [f"passage: note {number} of the heron" for number in range(min(count, 2000))]
    with simulated(1, 2):
        import ray

        actors = ray.data.ActorPoolStrategy(min_size=1, max_size=2)
        source = ray.data.from_items([{"input": text} for text in texts])
        embedded = source.map_batches(
            EmbeddingWorker,
            fn_constructor_args=(Sharing,),
            compute=actors,
            num_cpus=0.5,
            batch_size=256,
        )
        found = {row["input"]: row["vector"] for row in embedded.iter_rows()}
    expected = dict(zip(texts, Sharing().embed_inputs(texts), strict=True))
    _check(found.keys() == expected.keys(), "other texts")
    difference = max(float(np.abs(found[one] - expected[one]).max()) for one in texts)
    _check(difference == 0, f"a difference of {difference}")
    return [{"check": "map_batches", "texts": len(texts), "largest difference": difference}]


def milvus(work: Path, count: int, sample: Path) -> list[dict[str, Any]]:
    """Generated documents in Milvus: the same passages and raw vectors as in a folder."""
    server = os.environ.get("MILVUS_URI", "").rstrip("/")
    if not server:
        return [{"check": "Milvus", "result": "NOT RUN: MILVUS_URI names no server"}]
    docs = write_documents(work / "docs", min(count, 500))
    build(work / "alone", docs, Sharing())
    with shared_index(work) as address:
        with simulated(1, 2), ray_hands("ray:auto?actors=2&patience=300") as hands:
            build(address, docs, Sharing(), hands)
        found = contents(address, Sharing())
    difference = found.difference(contents(work / "alone", Sharing()))
    _check(difference < TOLERANCE, f"a difference of {difference}")
    row = {"check": "actors write to Milvus", "passages": len(found.texts)}
    return [{**row, "largest difference": difference}]


def speed(work: Path, count: int, sample: Path) -> list[dict[str, Any]]:
    """The sample with the model: without Ray, with one worker, with two."""
    rows: list[dict[str, Any]] = []
    expected: Contents | None = None
    ways = {"without Ray": "", "one worker": "ray?actors=1", "two workers": "ray?actors=2"}
    for name, workers in ways.items():
        seen = [Progress(0, 0, 0, 0, 0.0, 0.0, None)]
        started = time.monotonic()
        with ExitStack() as stack:
            hands = stack.enter_context(ray_hands(workers, dtype="float32")) if workers else None
            report = build(work / name, sample, None, hands, seen.append)
        seconds = time.monotonic() - started
        there = contents(work / name, None)
        expected = there if expected is None else expected
        rows.append(
            {
                "run": name,
                "tokens": report.tokens,
                "s in all": round(seconds, 1),
                "tokens/s embedding": round(max(one.tokens_per_second for one in seen[-2:])),
                "tokens/s in all": round(report.tokens / seconds),
                "against without": f"{seconds / rows[0]['s in all']:.2f}" if rows else "1.00",
                "largest difference": there.difference(expected),
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts, and print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all of them")
    parser.add_argument("--count", type=int, default=20_000, help="generated documents")
    parser.add_argument("--sample", type=Path, default=SAMPLE, help="documents for the model")
    parser.add_argument("--work", type=Path, help="folder for the indexes (default: temporary)")
    parser.add_argument("--docs", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.parts == ["driver"]:
        driver(options.work, options.docs)
        return
    for name in options.parts or PARTS:
        run: Callable[[Path, int, Path], list[dict[str, Any]]] = globals()[name]
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            rows = run(Path(folder), options.count, options.sample)
        if options.json:
            print(json.dumps({name: rows}))
        else:
            cells = [[str(value) for value in row.values()] for row in rows]
            print("\n".join([name, "", *markdown(list(rows[0]), cells), ""]), flush=True)


if __name__ == "__main__":
    main()
