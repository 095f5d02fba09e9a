"""Embedding on a GPU, against the card's own matrix rate: `python -m benchmarks.gpu`.

Checks vectors against float32 on the CPU, then measures the default model and Llama shapes with
random weights, made on the device. Each row has its share of the matrix rate that is measured in
the same run with the shape's own products. `--tiny` runs all of it in small, on a CPU as well.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from retriever import AlignedWVA, Index
from retriever.embedding import varlen
from retriever.embedding.accelerator import (
    BUCKET,
    AcceleratorRunner,
    compile_feed_forward,
    on_device,
)
from retriever.embedding.aligned_wva import GENERAL_TEXTS
from retriever.embedding.packing import Batch, packed
from retriever.embedding.pooling import AttentionPooler
from retriever.embedding.runner import Runner
from retriever.settings import DEFAULT_MODEL

SHAPES = {  # hidden, feed-forward, layers, heads, key/value heads
    "1B shape": (2048, 8192, 16, 32, 8),
    "7B shape": (4096, 11008, 32, 32, 32),
}
TINY_SHAPES = {"tiny shape": (64, 128, 2, 4, 2)}
VOCABULARY = 32_000
LEAST_COSINE = 0.999


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement."""

    model: str
    way: str
    tokens_per_second: float
    share: float  # of the matrix rate
    peak_gigabytes: float  # 0 where torch does not count it


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    row_tokens: tuple[int, ...]
    texts: int
    files: int
    rounds: int


FULL = Scale((4096, 16_384, 65_536), 20_000, 4000, 5)
TINY = Scale((64, 256), 24, 4, 1)


@dataclass(frozen=True, slots=True)
class Bench:
    """The device, and the clock for it."""

    device: torch.device
    dtype: torch.dtype
    scale: Scale

    def seconds(self, run: Callable[[], object], rounds: int | None = None) -> float:
        """The median time of a run, after one to warm up."""
        run()
        times = []
        for _ in range(rounds or self.scale.rounds):
            self.wait()
            started = time.perf_counter()
            run()
            self.wait()
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def forget_peak(self) -> None:
        """Measure the peak of memory from here on."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> float:
        """Gigabytes that were allocated at most."""
        on_card = self.device.type == "cuda"
        return torch.cuda.max_memory_allocated(self.device) / 1e9 if on_card else 0.0

    def matrix_rate(self, width: int, inner: int) -> float:
        """Floating-point operations a second of the products of this shape."""
        rows = self.scale.row_tokens[-1]
        left = torch.randn(rows, width, device=self.device, dtype=self.dtype)
        right = torch.randn(width, inner, device=self.device, dtype=self.dtype)
        repeats = 20 if self.device.type == "cuda" else 2

        def products() -> None:
            for _ in range(repeats):
                left @ right

        return 2 * rows * width * inner * repeats / self.seconds(products)


def flops_per_token(pooler: AttentionPooler) -> float:
    """Operations of the matrix products that run, attention itself left out.

    Of the last pooled layer these are the projections of queries, keys and values.
    """
    last = max(pooler.pooled)
    stack = next(m for m in pooler.body.children() if isinstance(m, torch.nn.ModuleList))
    weights = sum(p.numel() for layer in list(stack)[:last] for p in layer.parameters())
    ending = pooler.layers[last]
    weights += sum(p.numel() for p in ending.block.parameters())
    return 2.0 * (weights - sum(p.numel() for p in ending.projection.parameters()))


def random_texts(count: int, seed: int = 0) -> list[str]:
    """Texts of 10 to 300 words in random order, the words those of general English texts."""
    generator = random.Random(seed)  # noqa: S311 - not a secret
    words = GENERAL_TEXTS.read_text("utf-8").split()
    return [" ".join(generator.choices(words, k=generator.randint(10, 300))) for _ in range(count)]


def random_ids(tokens: int, seed: int = 0) -> list[list[int]]:
    """Texts of 16 to 430 random tokens, `tokens` in all."""
    generator = random.Random(seed)  # noqa: S311 - not a secret
    texts: list[list[int]] = []
    left = tokens
    while left > 0:
        length = min(left, generator.randint(16, 430))
        texts.append([generator.randrange(3, VOCABULARY) for _ in range(length)])
        left -= length
    return texts


def make_batch(bench: Bench, texts: Sequence[Sequence[int]], *, by_borders: bool) -> Batch:
    """A packed batch on the device."""
    batch = varlen.packed_by_borders(texts, BUCKET) if by_borders else packed(texts)
    return on_device(batch, bench.device)


def measure_shape(bench: Bench, name: str, shape: tuple[int, ...]) -> list[Row]:
    """A Llama shape with random weights: rows of several lengths, eager and compiled."""
    width, inner, layers, heads, groups = shape
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=groups, max_position_embeddings=8192,
    )  # fmt: skip
    before = torch.get_default_dtype()
    torch.set_default_dtype(bench.dtype)
    try:
        with torch.device(bench.device):
            model = LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)
    pooler = AttentionPooler(model, range(layers // 2, layers))
    return measure_pooler(bench, name, pooler, bench.matrix_rate(width, inner))


def measure_pooler(bench: Bench, name: str, pooler: AttentionPooler, rate: float) -> list[Row]:
    """Rows of several lengths without the host's work, eager and compiled; then with it."""
    sample = random_ids(200)
    kernel = varlen.is_available(bench.device, bench.dtype) and varlen.agrees(pooler, sample)
    flops, rows = flops_per_token(pooler), []

    def add(way: str, tokens: int, seconds: float) -> None:
        speed = tokens / seconds
        rows.append(Row(name, way, speed, speed * flops / rate, bench.peak()))
        print(line(rows[-1]), flush=True)

    def lengths(way: str) -> None:
        for tokens in bench.scale.row_tokens:
            batch = make_batch(bench, random_ids(tokens), by_borders=kernel)
            bench.forget_peak()
            with pooler.hooked(packed=True):
                add(
                    f"{way}, rows of {tokens}",
                    tokens,
                    bench.seconds(partial(pooler.run_batch, batch)),
                )

    lengths("model only, eager")
    texts = random_ids(8 * bench.scale.row_tokens[-1])
    runner = AcceleratorRunner(pooler) if kernel else Runner(pooler, packed=pooler.can_pack)
    bench.forget_peak()
    add("token ids to vectors", sum(map(len, texts)), bench.seconds(lambda: runner.run(texts)))
    if bench.device.type == "cuda" and compile_feed_forward(pooler.body):
        try:
            lengths("model only, compiled feed-forward")
        except Exception as error:  # noqa: BLE001  (no compiler, say: the table goes on)
            print(f"{name}: not compiled ({str(error).splitlines()[0]})")
    return rows


def measure_embedder(bench: Bench, embedder: AlignedWVA, way: str) -> list[Row]:
    """The embedder with the host's work: from texts, and from files through the index."""
    pooler = embedder._pooler
    config = pooler.model.config
    rate = bench.matrix_rate(config.hidden_size, config.intermediate_size)
    flops = flops_per_token(pooler)
    texts = random_texts(bench.scale.texts)
    inputs = [embedder.passage_input(text) for text in texts]
    found = []

    def add(name: str, tokens: int, seconds: float) -> None:
        speed = tokens / seconds
        found.append(Row("default model", name + way, speed, speed * flops / rate, bench.peak()))
        print(line(found[-1]), flush=True)

    tokens = embedder.count_tokens(inputs)
    started = time.perf_counter()
    embedder.count_tokens(inputs)
    add("tokenising only", tokens, time.perf_counter() - started)
    bench.forget_peak()
    add("texts to vectors", tokens, bench.seconds(lambda: embedder.embed_inputs(inputs), 1))
    add("files to index", *from_files(embedder, bench.scale.files))
    return found


def from_files(embedder: AlignedWVA, files: int) -> tuple[int, float]:
    """(tokens of the texts, seconds) for indexing text files into a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        documents = Path(folder, "documents")
        documents.mkdir()
        texts = [". ".join(random_texts(8, seed)) for seed in range(files)]
        for number, text in enumerate(texts):
            (documents / f"{number}.txt").write_text(text, "utf-8")
        tokens = embedder.count_tokens(texts)
        started = time.perf_counter()
        with Index.open_or_create(Path(folder, "index"), embedder) as index:
            index.sync(documents)
        return tokens, time.perf_counter() - started


def least_cosine(one: AlignedWVA, model: str, count: int) -> float:
    """The smallest cosine of the device's vectors to those of float32 on the CPU."""
    texts = random_texts(count, seed=1)
    exact = AlignedWVA(model, device="cpu", dtype="float32").embed_passages(texts)
    return float(np.sum(exact * one.embed_passages(texts), axis=1).min())


def line(row: Row) -> str:
    """A row of the table."""
    return (
        f"| {row.model} | {row.way} | {row.tokens_per_second:,.0f} | {row.share:.1%} "
        f"| {row.peak_gigabytes:.1f} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Check and measure; print the table, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="in small, on a CPU as well")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--json", type=Path, help="where the figures are written")
    options = parser.parse_args(arguments)
    cuda = torch.cuda.is_available()
    if not cuda and not options.tiny:
        parser.error("torch finds no CUDA device here; use --tiny to try the script on the CPU")
    one = (
        AlignedWVA(options.model, device="cuda:0")
        if cuda
        else AlignedWVA(options.model, device="cpu", dtype="float32")
    )
    dtype = getattr(torch, one.dtype)
    bench = Bench(torch.device(one.device), dtype, TINY if options.tiny else FULL)
    card = torch.cuda.get_device_name(0) if cuda else "CPU"
    cosine = least_cosine(one, options.model, 8 if options.tiny else 64)
    print(
        f"{card}, {one.dtype}, torch {torch.__version__}; packed by the kernel: "
        f"{one._accelerated is not None}; least cosine to float32 on the CPU: {cosine:.5f}\n"
    )
    print("| model | way | tokens/s | share of matrix rate | peak GB |\n|---|---|---|---|---|")
    rows = measure_embedder(bench, one, "")
    config = one._pooler.model.config
    rate = bench.matrix_rate(config.hidden_size, config.intermediate_size)
    if torch.cuda.device_count() > 1:
        every = AlignedWVA(options.model, device="cuda")
        rows += measure_embedder(bench, every, f", {torch.cuda.device_count()} cards")
    if config.vocab_size >= VOCABULARY:
        rows += measure_pooler(bench, "default model", one._pooler, rate)
    for name, shape in (TINY_SHAPES if options.tiny else SHAPES).items():
        try:
            rows += measure_shape(bench, name, shape)
        except torch.OutOfMemoryError:
            print(f"{name}: not measured, the card has too little memory for it")
    if options.json:
        facts: dict[str, Any] = {"card": card, "dtype": one.dtype, "least_cosine": cosine}
        options.json.write_text(json.dumps(facts | {"rows": [asdict(row) for row in rows]}))
    if cosine < LEAST_COSINE:
        raise SystemExit(f"the vectors differ from the CPU's: cosine {cosine:.5f}")


if __name__ == "__main__":
    main()
