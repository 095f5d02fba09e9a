"""How much an index takes: `python -m benchmarks.sizing INDEX`, a folder or an address of Milvus.

Bytes a passage are measured from a sample of the index given; all else is arithmetic from the
options, so that it can be done again with other numbers: another model's dimension, another card's
tokens a second, other prices. The tables are per million passages, and a plan for larger numbers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from benchmarks.tables import markdown
from retriever import Index
from retriever.types import RetrieverError

SAMPLE = 1_000
"""Passages that are looked at."""

MILLION = 1_000_000
GIB = 2**30
HOURS = 730
"""Hours of a month."""

FIELDS = 200
"""Bytes of a passage's numbers and short texts: key, document, positions, language, dates."""

BYTES_A_TOKEN = 4.4
"""Of English text and the default model's tokenizer; another language has fewer."""

NODE_SHARE = 0.7
"""The share of a query node's memory that holds data; the rest is for segments being replaced."""

SHARD = 100 * MILLION
"""Passages of a shard, at most: what one streaming node takes in."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What a passage takes, in the mean: bytes of text (UTF-8), different terms, and tokens."""

    text: float
    terms: float
    tokens: float
    dimension: int

    @property
    def vector(self) -> float:
        """Bytes of a vector of float32."""
        return 4.0 * self.dimension

    @property
    def sparse(self) -> float:
        """Bytes of the terms' weights: a number of a term and a weight, four bytes each."""
        return 8.0 * (self.terms + 1)

    @property
    def words(self) -> float:
        """Bytes of the terms as they are stored for the exact score: about as many as the text."""
        return self.text

    @property
    def disk(self) -> float:
        """Bytes on disk or in object storage, without indexes: text twice, as page and passage.

        The raw vector and the calibrated one.
        """
        return 2 * self.text + self.words + 2 * self.vector + self.sparse + FIELDS


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of index: bytes in memory a passage, from the dimension, and what it gives."""

    name: str
    a_dimension: float
    more: float
    says: str

    def memory(self, passage: Passage) -> float:
        """Bytes of memory a passage: the dense index, and the sparse one."""
        return self.a_dimension * passage.dimension + self.more + passage.sparse + FIELDS


KINDS = (
    Kind("FLAT", 4.0, 0.0, "exact"),
    Kind("HNSW", 4.0, 8.0 * 30, "graph of 30 neighbours"),
    Kind("HNSW_SQ", 1.0, 8.0 * 30, "the graph, a byte a dimension"),
    Kind("IVF_RABITQ", 1.0 / 8 + 1.0, 16.0, "a bit a dimension, refined by a byte a dimension"),
    Kind("DISKANN", 1.0 / 8, 0.0, "codes in memory, vectors and graph on fast disks"),
)

UP_TO = ((MILLION, "FLAT"), (50 * MILLION, "HNSW"), (300 * MILLION, "HNSW_SQ"))
"""The kind of an index of so many passages; beyond, DISKANN."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What is paid: an hour of a card, a GiB of memory and of disk for a month; tokens a second."""

    tokens_per_second: float
    card_hour: float
    memory_month: float
    disk_month: float
    node_gib: float = 64.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What so many passages take."""

    passages: int
    kind: Kind
    shards: int
    memory_gib: float
    disk_gib: float
    nodes: int
    tokens: float
    card_hours: float
    embedding_cost: float
    month_cost: float


def kind_for(passages: int) -> Kind:
    """The kind of index for so many passages.

    >>> [kind_for(10**n).name for n in (5, 7, 8, 9)]
    ['FLAT', 'HNSW', 'HNSW_SQ', 'DISKANN']
    """
    name = next((name for most, name in UP_TO if passages <= most), "DISKANN")
    return next(kind for kind in KINDS if kind.name == name)


def plan(passage: Passage, prices: Prices, passages: int, kind: Kind | None = None) -> Plan:
    """Memory, disk, nodes, card hours and money for so many passages like this one."""
    chosen = kind or kind_for(passages)
    memory = passages * chosen.memory(passage) / GIB
    on_disk = 2 * passage.vector if chosen.name == "DISKANN" else 0.0  # its own copy, with a graph
    disk = passages * (passage.disk + chosen.memory(passage) + on_disk) / GIB
    nodes = max(1, ceil(memory / (prices.node_gib * NODE_SHARE)))
    tokens = passages * passage.tokens
    hours = tokens / prices.tokens_per_second / 3600
    month = nodes * prices.node_gib * prices.memory_month + disk * prices.disk_month
    return Plan(
        passages,
        chosen,
        max(1, ceil(passages / SHARD)),
        memory,
        disk,
        nodes,
        tokens,
        hours,
        hours * prices.card_hour,
        month,
    )


def measured(index: Index, tokens: float | None = None) -> Passage:
    """A passage in the mean of a sample of the index; `tokens` are estimated if not given."""
    with index.snapshot(dense=False) as now:
        chunks = now.catalog.sample_chunks(SAMPLE)
        if not chunks:
            raise SystemExit(f"there is no passage in {index.name}: index some documents first")
        terms = now.passages.terms([chunk.id for chunk in chunks])
        dimension = now.catalog.dimension() or 0
    sizes = [len(chunk.text.encode("utf-8", "surrogatepass")) for chunk in chunks]
    text = sum(sizes) / len(sizes)
    different = sum(len(set(each)) for each in terms) / len(terms)
    return Passage(text, different, tokens or text / BYTES_A_TOKEN, dimension)


def passage_table(passage: Passage) -> list[str]:
    """What a passage is made of."""
    rows = [
        ["text", f"{passage.text:,.0f}"],
        ["terms, as text", f"{passage.words:,.0f}"],
        [f"weights of {passage.terms:.0f} terms", f"{passage.sparse:,.0f}"],
        [f"a vector of {passage.dimension} dimensions", f"{passage.vector:,.0f}"],
        ["numbers and short texts", f"{FIELDS:,}"],
        ["on disk, without an index", f"{passage.disk:,.0f}"],
    ]
    return markdown(["a passage", "bytes"], rows)


def kind_table(passage: Passage, prices: Prices) -> list[str]:
    """A million passages in each kind of index."""
    plans = [plan(passage, prices, MILLION, kind) for kind in KINDS]
    rows = [
        [
            one.kind.name,
            one.kind.says,
            f"{one.memory_gib:.2f}",
            f"{one.disk_gib:.2f}",
        ]
        for one in plans
    ]
    return markdown(["a million passages", "", "memory GiB", "disk GiB"], rows)


def plan_table(passage: Passage, prices: Prices, numbers: Sequence[int]) -> list[str]:
    """The plan for each number of passages."""
    rows = [
        [
            f"{one.passages:,}",
            one.kind.name,
            f"{one.shards}",
            f"{one.memory_gib:,.0f}",
            f"{one.nodes:,}",
            f"{one.disk_gib:,.0f}",
            f"{one.card_hours:,.1f}",
            f"{one.embedding_cost:,.0f}",
            f"{one.month_cost:,.0f}",
        ]
        for one in (plan(passage, prices, number) for number in numbers)
    ]
    head = ["passages", "index", "shards", "memory GiB", f"nodes of {prices.node_gib:.0f} GiB"]
    return markdown([*head, "disk GiB", "card hours", "embedding, money", "a month, money"], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index", metavar="INDEX", help="folder, or address in Milvus")
    parser.add_argument("--dimension", type=int, help="of another model's vectors")
    parser.add_argument("--tokens", type=float, help="of a passage (default: by its bytes)")
    parser.add_argument(
        "--tokens-per-second",
        type=float,
        default=100_000,
        help="of one card (default 100000, which is assumed, not measured: python -m "
        "benchmarks.gpu measures it)",
    )
    parser.add_argument("--card", type=float, default=2.5, help="price of a card's hour (2.5)")
    parser.add_argument(
        "--memory", type=float, default=4.0, help="price of a GiB of memory for a month (4)"
    )
    parser.add_argument(
        "--disk", type=float, default=0.05, help="price of a GiB of disk for a month (0.05)"
    )
    parser.add_argument("--node", type=float, default=64, help="GiB of a query node (64)")
    parser.add_argument(
        "--passages",
        type=int,
        nargs="+",
        default=[MILLION, 10 * MILLION, 100 * MILLION, 1000 * MILLION],
        help="numbers to plan for",
    )
    options = parser.parse_args(arguments)
    try:
        with Index.open(options.index) as index:
            passage = measured(index, options.tokens)
    except RetrieverError as error:
        raise SystemExit(str(error)) from None
    if options.dimension:
        passage = Passage(passage.text, passage.terms, passage.tokens, options.dimension)
    prices = Prices(
        options.tokens_per_second, options.card, options.memory, options.disk, options.node
    )
    print(f"{passage.tokens:,.0f} tokens a passage", file=sys.stderr)
    for table in (
        passage_table(passage),
        kind_table(passage, prices),
        plan_table(passage, prices, options.passages),
    ):
        print("\n".join(table), end="\n\n")


if __name__ == "__main__":
    main()
