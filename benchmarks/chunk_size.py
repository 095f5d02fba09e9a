"""Retrieval quality by chunk size and overlap: `python -m benchmarks.chunk_size BEIR_FOLDER…`.

Sizes are in tokens of the model, without the prompt. Vectors are kept in the user's cache.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from retriever import AlignedWVA
from retriever.evaluate import evaluate_retrieval
from retriever.settings import ChunkSettings

SIZES = ((128, 0), (224, 0), (224, 32), (320, 0), (320, 48))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--sizes", nargs="*", default=[f"{s}/{o}" for s, o in SIZES])
    asked = parser.parse_args()
    embedder = AlignedWVA()
    print("| set | size / overlap | keyword | dense | hybrid |\n|---|---|---|---|---|")
    for folder in asked.folders:
        for pair in asked.sizes:
            size, overlap = map(int, pair.split("/"))
            result = evaluate_retrieval(
                embedder,
                folder,
                chunking=ChunkSettings(size, overlap),
                tell=lambda text: print(text, file=sys.stderr),
            )
            cells = [f"{result['modes'][mode]['ndcg@10']:.3f}" for mode in result["modes"]]
            print(f"| {result['dataset']} | {pair} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
