"""Search times with other word weights: `python -m benchmarks.steering [--passages 100000]`.

It makes an index of random passages (random vectors of the model's dimension, words distributed as
in a text) and searches it once, then with other weights: no model runs, all passages are ranked.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retriever import AlignedWVA, Index
from retriever.searching.steering import Steering
from retriever.settings import DEFAULT_MODEL, ChunkSettings
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.records import NewChunk
from retriever.types import DocumentRow, Page, Span, document_id

QUERY = "who may approve a risk exception"
EACH = 500  # passages per document
CHANGES = 40


def fill(backend: EmbeddedBackend, embedder: AlignedWVA, passages: int) -> None:
    """`passages` texts of 12 words, a few of them the query's, with random unit vectors."""
    generator = np.random.default_rng(0)
    vocabulary = np.array([*QUERY.split(), *(f"word{number}" for number in range(20_000))])
    chances = 1 / np.arange(20, 20 + len(vocabulary))
    chances /= chances.sum()
    backend.bind_embedder(embedder.settings, ChunkSettings())
    for number in range(0, passages, EACH):
        texts = [" ".join(row) for row in generator.choice(vocabulary, (EACH, 12), p=chances)]
        keys = [hashlib.sha256(f"{number} {at}".encode()).hexdigest()[:40] for at in range(EACH)]
        vectors = generator.normal(size=(EACH, embedder.dimension)).astype(np.float32)
        backend.save_vectors(keys, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        path = f"{number}.txt"
        row = DocumentRow(document_id("", path), "", "", path, "txt", pages=EACH, chunks=EACH)
        pieces = [NewChunk(at, Span(0, len(text)), keys[at]) for at, text in enumerate(texts)]
        backend.upsert(row, [Page(at + 1, text) for at, text in enumerate(texts)], pieces)
        print(f"\r{number + EACH:,} passages", end="", file=sys.stderr, flush=True)
    backend.finish({})
    print(file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    options = parser.parse_args(arguments)
    embedder = AlignedWVA(options.model)
    print("| mode | store | median ms | slowest of ten |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        with EmbeddedBackend.open(Path(folder, "index"), create=True) as backend:
            fill(backend, embedder, options.passages)
        with Index.open(Path(folder, "index"), embedder) as index:
            words = len(index.query_words(QUERY))
            store = index.info()["store"]["kind"]
            for mode in ("dense", "hybrid"):
                took = []
                for change in range(CHANGES + 1):
                    weights = [1.0] * words
                    weights[change % words] = 1.1 + change / CHANGES
                    begin = time.perf_counter()
                    index.search(QUERY, mode=mode, steering=Steering(tuple(weights)))
                    took.append(1000 * (time.perf_counter() - begin))
                warm = took[1:]
                print(
                    f"| {mode} | {store} | {np.median(warm):.0f} | {np.quantile(warm, 0.9):.0f} |"
                )


if __name__ == "__main__":
    main()
