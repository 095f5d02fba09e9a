"""Tokens per second of the ways to run the model: `python -m benchmarks.speed`.

All ways run on the same passages of the sample, one after the other, several times in turn; the
median counts. Read the ratios: they hold on other machines, the numbers do not.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from retriever import AlignedWVA
from retriever.chunks import chunk_page
from retriever.settings import ChunkSettings

SAMPLE = Path("data/sample/nist-digital-identity")


def passages(embedder: AlignedWVA, count: int) -> list[list[int]]:
    """Token ids of passages, cut as an index cuts them, prompt included."""
    inputs: list[str] = []
    for path in sorted(SAMPLE.glob("*.md")):
        text = path.read_text("utf-8")
        spans = chunk_page(text, ChunkSettings(), embedder.token_spans)
        inputs += [embedder.passage_input(text[span.start : span.end]) for span in spans]
        if len(inputs) >= count:
            break
    return embedder._tokenize(inputs[:count])


def all_layers(embedder: AlignedWVA, texts: list[list[int]]) -> None:
    """The plain way: the whole model, padded batches of 8 in the given order."""
    with torch.inference_mode():
        for start in range(0, len(texts), 8):
            batch = texts[start : start + 8]
            longest = max(map(len, batch))
            rows = torch.tensor([ids + [0] * (longest - len(ids)) for ids in batch])
            mask = torch.tensor([[1] * len(i) + [0] * (longest - len(i)) for i in batch])
            embedder._loaded.model(rows, attention_mask=mask, use_cache=False)


def ways(fast: AlignedWVA, exact: AlignedWVA) -> dict[str, Callable[[list[list[int]]], object]]:
    padded = AlignedWVA(dtype=fast.dtype)
    padded._packed = False
    return {
        "whole model, float32, padded, given order": lambda texts: all_layers(exact, texts),
        f"whole model, {fast.dtype}, padded, given order": lambda texts: all_layers(fast, texts),
        "AlignedWVA, float32": lambda texts: exact._run(texts),
        f"AlignedWVA, {fast.dtype}, padded": lambda texts: padded._run(texts),
        f"AlignedWVA, {fast.dtype} (default)": lambda texts: fast._run(texts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    fast, exact = AlignedWVA(), AlignedWVA(dtype="float32")
    texts = passages(fast, asked.passages)
    tokens = sum(map(len, texts))
    found = ways(fast, exact)
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(asked.rounds):
        for name, run in found.items():
            started = time.perf_counter()
            run(texts)
            seconds[name].append(time.perf_counter() - started)
    base = statistics.median(next(iter(seconds.values())))
    print(f"{len(texts)} passages, {tokens} tokens, {torch.get_num_threads()} threads\n")
    print("| way | tokens/s | ratio |\n|---|---|---|")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"| {name} | {tokens / median:,.0f} | {base / median:.1f} |")


if __name__ == "__main__":
    main()
