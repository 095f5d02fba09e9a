"""False matches: how many questions without an answer find a match, and how many with one.

The verdict is silent about a match, and about words that all stand in one result: see
`retriever.searching.verdict`.

`python -m benchmarks.planted BEIR_FOLDER --from OTHER…` asks the questions of other data sets.
`--without titles` removes half of the titles, with all their documents, from the index, `--without
documents` half of the documents, and asks the questions that they answered. Questions of removed
titles have other subjects than the index, those of removed documents the same ones. The user's
cache keeps the vectors.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path

from retriever import AlignedWVA, Index
from retriever.evaluation.datasets import RetrievalDataset, read_beir
from retriever.evaluation.retrieval import IndexedDataset, open_dataset
from retriever.evaluation.runs import MODES
from retriever.indexing.ingest import Ingest
from retriever.searching.match import MATCH, nothing_matches
from retriever.settings import DEFAULT_MODEL, ChunkSettings


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % Wilson interval of a rate."""
    if not count:
        return 0.0, 1.0
    rate, spread = hits / count, z * z / count
    middle = (rate + spread / 2) / (1 + spread)
    half = z / (1 + spread) * sqrt(rate * (1 - rate) / count + spread / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def held_out(data: RetrievalDataset, what: str, seed: int) -> set[str]:
    """The documents to remove from the index."""
    chance = random.Random(seed)  # noqa: S311  (not a secret)
    if what == "documents":
        return set(chance.sample(sorted(data.corpus), len(data.corpus) // 2))
    if what == "titles":
        titles = sorted({title for title, _ in data.corpus.values()})
        gone = set(chance.sample(titles, len(titles) // 2))
        return {number for number, (title, _) in data.corpus.items() if title in gone}
    return set()


def count_matched(
    index: Index, ready: IndexedDataset, texts: list[str], mode: str
) -> tuple[int, int]:
    """The number of questions that find a match, and of those without a verdict."""
    embed = ready.vectors.__getitem__
    matched = silent = 0
    for text in texts:
        hits = index.search(text, mode=mode, syntax=False, embed=embed)
        matched += bool(hits) and not nothing_matches(hits)
        silent += bool(hits) and not index.verdict(text, hits, mode=mode, syntax=False)
    return matched, silent


def measure(
    embedder: AlignedWVA, folder: Path, others: list[Path], without: str, seed: int
) -> None:
    """Print a row for each mode."""
    data = read_beir(folder)
    asked: Mapping[str, str] = data.queries
    strangers = [text for other in others for text in read_beir(other).queries.values()]
    queries = {**asked, **{f"planted {at}": text for at, text in enumerate(strangers)}}
    qrels = {number: data.qrels.get(number) or {"": 1.0} for number in queries}
    whole = RetrievalDataset(data.corpus, queries, qrels)
    gone = held_out(data, without, seed)
    with open_dataset(embedder, whole, folder.name, progress=progress) as ready:
        planted = list(strangers)
        answered = []
        for number, text in asked.items():
            right = {name for name, gain in data.qrels.get(number, {}).items() if gain > 0}
            if right and right <= gone:
                planted.append(text)
            elif right and not right & gone:
                answered.append(text)
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "index"
            shutil.copytree(ready.index.name, copy, ignore=shutil.ignore_patterns("LOCK"))
            with Index.open(copy, embedder) as index:
                index.remove(sorted(gone))
                Ingest(index.backend, embedder, ChunkSettings()).close()  # fits it to the rest
                name = f"{folder.name}{f', half of the {without}' if gone else ''}"
                for mode in MODES:
                    alarms, unsaid = count_matched(index, ready, planted, mode)
                    low, high = wilson(alarms, len(planted))
                    passed, silent = count_matched(index, ready, answered, mode)
                    print(
                        f"| {embedder.settings.model} | {name} | {mode} | {len(planted)} "
                        f"| {alarms / max(1, len(planted)):.1%} | {low:.1%} to {high:.1%} "
                        f"| {passed / max(1, len(answered)):.1%} of {len(answered)} |",
                        flush=True,
                    )
                    told = f"{unsaid / max(1, len(planted)):.1%} of the planted"
                    told += f", {silent / max(1, len(answered)):.1%} of the answered"
                    progress(f"without a verdict in {mode} mode: {told}")


def progress(text: str) -> None:
    """Print progress on standard error."""
    print(text, file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--from", dest="others", nargs="+", type=Path, default=[])
    parser.add_argument("--without", choices=["titles", "documents"], default="")
    parser.add_argument("--model", nargs="+", default=[DEFAULT_MODEL])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    print(f"| model | index | mode | planted | pass at {MATCH:.0%} | 95 % | answered ones pass |")
    print("|---|---|---|---|---|---|---|")
    for model in options.model:
        measure(AlignedWVA(model), options.folder, options.others, options.without, options.seed)


if __name__ == "__main__":
    main()
