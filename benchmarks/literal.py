"""Look-ups: how often a word that stands in the documents is called uncertain.

`python -m benchmarks.literal INDEX` draws 50 queries of one or two words from the index's own
passages: rare words (in 1 to 3 passages) and middling ones (in up to 2 % of them), as the passages
write them; two words stand in the same passage. Each is searched for in every mode. A row counts
the verdicts that doubt the results, and those that say anything at all.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from retriever import Index
from retriever.evaluation.runs import MODES
from retriever.searching.match import NOTHING_MATCHES, UNCERTAIN, verdict
from retriever.storage.backends import Snapshot
from retriever.text import analyzer
from retriever.types import Chunk

QUERIES = 50
RARE = 3
MIDDLING = 0.02
_LETTERS = 3  # of the shortest word
_DRAWS = 20  # passages drawn for each query, at most: a small index has no middling words


def literal_queries(snapshot: Snapshot, count: int, seed: int) -> list[str]:
    """The queries: in turn one rare word, one middling word, and two words of one passage."""
    draw = random.Random(seed)  # noqa: S311  (not a secret)
    passages = snapshot.catalog.sample_chunks(snapshot.passages.count())
    found: dict[str, None] = {}
    for at in range(_DRAWS * count):
        rare, middling = _words(snapshot, draw.choice(passages))
        words, many = ((rare, 1), (middling, 1), (rare + middling, 2))[at % 3]
        if len(words) >= many:
            found[" ".join(draw.sample(words, many))] = None
        if len(found) == count:
            break
    return list(found)


def _words(snapshot: Snapshot, chunk: Chunk) -> tuple[list[str], list[str]]:
    """A passage's rare words and its middling ones, as it writes them, each once."""
    written: dict[str, str] = {}
    for word in analyzer.words(chunk.text, chunk.language):
        text = chunk.text[word.start : word.end]
        if text.isalpha() and len(text) >= _LETTERS and analyzer.content_terms([word.term]):
            written.setdefault(word.term, text)
    counts = snapshot.passages.document_frequencies(written)
    most = MIDDLING * snapshot.passages.count()
    rare = [text for term, text in written.items() if counts[term] <= RARE]
    middling = [text for term, text in written.items() if RARE < counts[term] <= most]
    return rare, middling


def measure(index: Index, queries: Sequence[str]) -> Iterator[str]:
    """A row for each mode; the sentences said are in it."""
    for mode in MODES:
        doubted, before, sentences = 0, 0, []
        for query in queries:
            hits = index.search(query, mode=mode)
            before += bool(verdict(hits))
            said = index.verdict(query, hits, mode=mode)
            doubted += any(doubt in said.lower() for doubt in (NOTHING_MATCHES, UNCERTAIN))
            if said:
                sentences.append(f"{query}: {said}")
        yield f"| {mode} | {len(queries)} | {before} | {doubted} | {len(sentences)} |"
        yield from sentences


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with Index.open(options.index) as index:
        with index.snapshot(dense=False) as now:
            queries = literal_queries(now, options.queries, options.seed)
        print("| mode | queries | match below 95 % | called uncertain | any verdict |")
        print("|---|---|---|---|---|")
        for row in measure(index, queries):
            print(row, flush=True)


if __name__ == "__main__":
    main()
