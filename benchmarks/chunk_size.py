"""Retrieval quality by chunk size and overlap: `python -m benchmarks.chunk_size BEIR_FOLDER…`.

Sizes are in tokens of the model, without the prompt. The user's cache keeps the vectors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from retriever import AlignedWVA
from retriever.evaluation.retrieval import evaluate_retrieval
from retriever.reading.formats import read_document, supported
from retriever.settings import DEFAULT_MODEL, ChunkSettings
from retriever.text.chunking import chunk_document

SAMPLE = Path("data/sample")
SIZES = ((128, 0), (224, 0), (224, 32), (320, 0), (320, 48))


def count_sample(embedder: AlignedWVA, folder: Path, sizes: list[str]) -> None:
    """Print the number of a folder's passages and of their tokens, for each size."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and supported(path)]
    documents = [read_document(path, path.name) for path in files]
    print("| size / overlap | passages of the sample | tokens |\n|---|---|---|")
    for pair in sizes:
        settings = ChunkSettings(*map(int, pair.split("/")))
        inputs = [
            embedder.passage_input(d.pages[page].text[span.start : span.end], d.title)
            for d in documents
            for page, span in chunk_document(d.pages, settings, embedder.token_spans)
        ]
        print(f"| {pair} | {len(inputs):,} | {embedder.count_tokens(inputs):,} |")
    print()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--sizes", nargs="*", default=[f"{s}/{o}" for s, o in SIZES])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument(
        "--sample", type=Path, nargs="?", const=SAMPLE, help="also count the tokens of a folder"
    )
    options = parser.parse_args(arguments)
    embedder = AlignedWVA(options.model)
    if options.sample:
        count_sample(embedder, options.sample, options.sizes)
    print("| set | size / overlap | keyword | dense | hybrid |\n|---|---|---|---|---|")
    for folder in options.folders:
        for pair in options.sizes:
            size, overlap = map(int, pair.split("/"))
            run = evaluate_retrieval(
                embedder,
                folder,
                chunking=ChunkSettings(size, overlap),
                progress=lambda text: print(text, file=sys.stderr),
            )
            cells = [f"{means['ndcg@10'].mean:.3f}" for means in run.intervals().values()]
            print(f"| {run.data.name} | {pair} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
