"""Tokens per second of several ways to run the model: `python -m benchmarks.speed`.

All ways run on the same passages of the sample, in turn, several times; the table has the medians.
The ratios hold on other machines, the numbers do not.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from retriever import AlignedWVA
from retriever.embedding.models.load import LoadedModel, load_model
from retriever.embedding.pooling import AttentionPooler
from retriever.embedding.runner import Runner
from retriever.settings import DEFAULT_MODEL, ChunkSettings
from retriever.text.chunking import chunk_page

SAMPLE = Path("data/sample/nist-digital-identity")
BATCH = 8


def passages(embedder: AlignedWVA, folder: Path, count: int) -> list[str]:
    """Model inputs of passages, chunked as in an index, prompt included."""
    inputs: list[str] = []
    for path in sorted(folder.glob("*.md")):
        text = path.read_text("utf-8")
        spans = chunk_page(text, ChunkSettings(), embedder.token_spans)
        inputs += [embedder.passage_input(text[span.start : span.end]) for span in spans]
        if len(inputs) >= count:
            break
    return inputs[:count]


def token_ids(loaded: LoadedModel, inputs: Sequence[str]) -> list[list[int]]:
    """The token ids of each input."""
    rows: list[list[int]] = loaded.tokenizer(list(inputs), verbose=False)["input_ids"]
    return rows


def all_layers(loaded: LoadedModel, inputs: Sequence[str]) -> None:
    """The baseline: the whole model, padded batches of 8 in the given order."""
    texts = token_ids(loaded, inputs)
    with torch.inference_mode():
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            longest = max(map(len, batch))
            rows = torch.tensor([ids + [0] * (longest - len(ids)) for ids in batch])
            mask = torch.tensor([[1] * len(i) + [0] * (longest - len(i)) for i in batch])
            rows, mask = rows.to(loaded.device), mask.to(loaded.device)
            loaded.model(rows, attention_mask=mask, use_cache=False)


def ways(fast: AlignedWVA, model: str) -> dict[str, Callable[[Sequence[str]], object]]:
    """Name → function that runs the model on inputs; the first one is the baseline."""
    exact = AlignedWVA(model, dtype="float32")
    plain, plain_exact = load_model(model), load_model(model, dtype="float32")
    padded = Runner(AttentionPooler(plain.model, fast.settings.layers), packed=False)
    return {
        "whole model, float32, padded, given order": lambda texts: all_layers(plain_exact, texts),
        f"whole model, {fast.dtype}, padded, given order": lambda texts: all_layers(plain, texts),
        "AlignedWVA, float32": exact.embed_inputs,
        f"AlignedWVA, {fast.dtype}, padded": lambda texts: padded.run(token_ids(plain, texts)),
        f"AlignedWVA, {fast.dtype} (default)": fast.embed_inputs,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--folder", type=Path, default=SAMPLE, help="Markdown files")
    options = parser.parse_args(arguments)
    embedder = AlignedWVA(options.model)
    inputs = passages(embedder, options.folder, options.passages)
    tokens = embedder.count_tokens(inputs)
    found = ways(embedder, options.model)
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(options.rounds):
        for name, run in found.items():
            started = time.perf_counter()
            run(inputs)
            seconds[name].append(time.perf_counter() - started)
    base = statistics.median(next(iter(seconds.values())))
    print(f"{len(inputs)} passages, {tokens} tokens, {torch.get_num_threads()} threads\n")
    print("| way | tokens/s | ratio |\n|---|---|---|")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"| {name} | {tokens / median:,.0f} | {base / median:.1f} |")


if __name__ == "__main__":
    main()
