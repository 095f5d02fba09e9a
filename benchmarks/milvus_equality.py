"""Whether an index in Milvus ranks as the embedded one: `python -m benchmarks.milvus_equality`.

An embedded index is copied to Milvus Lite, without the model, and both answer the same questions:
by meaning, by words, by both, and by both under filters. The table has the share of the ten best
that are the same, the questions with the same ten in the same order, the largest difference of a
score, and the median time of a search.

    python -m benchmarks.milvus_equality --index INDEX     an index of data/sample, with its model
    python -m benchmarks.milvus_equality FOLDER            a BEIR folder, with the fake embedder
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import cast

import numpy as np

from retriever.arrays import Vectors
from retriever.embedding.aligned_wva import AlignedWVA
from retriever.index import Index
from retriever.indexing.copying import copy_index
from retriever.searching.hybrid import search
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.backends.milvus.backend import MilvusBackend
from retriever.storage.backends.protocols import CatalogReader, Documents
from retriever.storage.filters import Filter
from tests.fakes import FakeEmbedder
from tests.sample import KnownVectors, read

TOP = 10
_DOCUMENTS = 50  # written at once


@dataclass(eq=False, slots=True)
class Comparison:
    """The answers of both indexes to some questions, in one way of asking."""

    name: str
    shared: list[float] = field(default_factory=list)
    same: list[bool] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)
    times: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    def line(self) -> str:
        """A line of the table."""
        if not self.shared:
            return f"{self.name:24} no question has an answer"
        seconds = [f"{1000 * median(times):9.0f}" for times in self.times]
        return (
            f"{self.name:24} {len(self.shared):5} {100 * np.mean(self.shared):9.2f} "
            f"{100 * np.mean(self.same):9.1f} {max(self.differences, default=0):11.1e} "
            f"{' '.join(seconds)}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("folder", type=Path, nargs="?", help="a BEIR folder")
    given.add_argument("--index", type=Path, help="an index of data/sample")
    parser.add_argument("--questions", type=int, default=1000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        if options.index:
            embedded = EmbeddedBackend.open(options.index)
            embed = _embedding(options.index)
            lines = Path("data/queries.jsonl").read_text("utf-8").splitlines()
            texts = [json.loads(line)["query"] for line in lines]
        else:
            fake = FakeEmbedder()
            embedded, embed = _built(options.folder, Path(scratch, "index"), fake)
            lines = Path(options.folder, "queries.jsonl").read_text("utf-8").splitlines()
            texts = [json.loads(line)["text"] for line in lines]
        with (
            embedded,
            MilvusBackend.open(f"milvus+file:{scratch}/milvus.db", create=True) as milvus,
        ):
            start = time.perf_counter()
            copy_index(embedded, milvus, questions=0)
            print(f"copied in {time.perf_counter() - start:.1f} s", file=sys.stderr)
            compare(embedded, milvus, texts[: options.questions], embed)


def _embedding(folder: Path) -> Callable[[Sequence[str]], Vectors]:
    """The embedding of questions by the index's own model."""
    with Index.open(folder, device="cpu", dtype="float32") as index:
        model = cast(AlignedWVA, index.embedder)
        return KnownVectors(model, read(), most=10**6).embed_queries


def _built(
    folder: Path, path: Path, fake: FakeEmbedder
) -> tuple[EmbeddedBackend, Callable[[Sequence[str]], Vectors]]:
    """An index of a BEIR folder's corpus, a file for each document."""
    files = path.parent / "files"
    files.mkdir()
    for line in (folder / "corpus.jsonl").read_text("utf-8").splitlines():
        entry = json.loads(line)
        text = f"# {entry.get('title', '')}\n\n{entry['text']}\n"
        (files / f"{entry['_id']}.md").write_text(text, "utf-8")
    with Index.open_or_create(path, fake) as index:
        index.sync(files)
    return EmbeddedBackend.open(path), fake.embed_queries


def compare(
    embedded: Documents,
    milvus: Documents,
    texts: Sequence[str],
    embed: Callable[[Sequence[str]], Vectors],
) -> None:
    """Ask both, and print the table."""
    vectors = dict(zip(texts, embed(texts), strict=True))
    with embedded.reading() as reader:
        filters = _filters(reader)
    ways: list[tuple[str, str, Filter | None]] = [
        ("dense", "dense", None),
        ("keyword", "keyword", None),
        ("hybrid", "hybrid", None),
        *((f"hybrid, {name}", "hybrid", where) for name, where in filters.items()),
    ]
    print(f"{'':24} {'n':>5} {'shared %':>9} {'equal %':>9} {'difference':>11} embedded    milvus")
    for name, mode, where in ways:
        found = Comparison(name)
        for text in texts:
            answers = []
            for backend, times in zip((embedded, milvus), found.times, strict=True):
                start = time.perf_counter()
                with backend.snapshot() as now:
                    hits = search(
                        now,
                        text,
                        vectors.__getitem__,
                        k=TOP,
                        mode=mode,
                        where=where,
                        tolerant=True,
                        feedback=True,
                    )
                times.append(time.perf_counter() - start)
                answers.append({hit.chunk.id: hit.score for hit in hits})
            one, other = answers
            if one:
                found.shared.append(len(one.keys() & other.keys()) / len(one))
                found.same.append(list(one) == list(other))
                both = one.keys() & other.keys()
                found.differences += [abs(one[id_] - other[id_]) for id_ in both]
        print(found.line(), flush=True)


def _filters(reader: CatalogReader) -> dict[str, Filter]:
    """Filters that keep some of the passages."""
    rows = reader.documents()
    folders = sorted({row.path.split("/")[0] for row in rows if "/" in row.path})
    half = sorted(row.path for row in rows)[len(rows) // 2]
    found = {
        "format": Filter.parse({"format": rows[0].format}),
        "half the paths": Filter.parse({"path": {"lt": half}}),
        "a word": Filter.parse({"$text": "system"}),
        "first page": Filter.parse({"$not": {"page": {"gt": 20}}}),
    }
    if folders:
        found["a folder"] = Filter.parse({"path": {"glob": f"{folders[0]}/**"}})
    return found


if __name__ == "__main__":
    main()
