"""Searches a half-made index: `python -m benchmarks.half_made`.

The sample is indexed by words; a random part of its passages get vectors. Each search may embed so
many of its best keyword candidates on the spot. The table has nDCG@10 of the labelled questions
(hybrid), and how many of the first ten and of the first results are those of the finished index,
over the questions and as many sentences of the documents. The second table has the time that so
many passages take: it tells what `embed_ms` has to be. Vectors of the sample come from the tests'
file; what is not in it is embedded.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from retriever import AlignedWVA, Index
from retriever.embedding.protocols import Embedder
from retriever.evaluation.datasets import LabelledQuestion, RelevantPlace, read_questions
from retriever.evaluation.metrics import ndcg_at
from retriever.indexing.fitting import Fitter
from retriever.searching.late import CANDIDATES, LateVectors, lend_vectors, wanted_passages
from retriever.settings import DEFAULT_MODEL
from retriever.types import Hit
from tests.sample import FOLDER, KEPT, QUESTIONS, KnownVectors, read

SHARES = (0, 25, 50, 75)
COUNTS = (0, 1, 2, 4, 8, 16, CANDIDATES)
FIRST = 10
EXAMPLES = 60
TIMED = 5
"""Questions whose passages are embedded to measure the time."""


def make_part(index: Index, share: int, seed: int) -> None:
    """Give so many of a hundred passages their vectors, as a run that goes on would have."""
    embedder = index.embedder
    fitter = Fitter(index.backend, embedder)
    with index.backend.reading() as catalog:
        queue = np.random.default_rng(seed).permutation(catalog.pending_keys())
        chosen = catalog.pending_texts(np.sort(queue[: len(queue) * share // 100]))
    if not chosen:
        return
    fitter.begin()
    inputs = {key: embedder.passage_input(text, title) for key, text, title in chosen}
    keys = {key: embedder.key(one) for key, one in inputs.items()}
    new = dict(zip(keys.values(), inputs.values(), strict=True))
    index.backend.attach_vectors(list(new), embedder.embed_inputs(list(new.values())), keys)
    fitter.fit(early=True)
    index.backend.release()


def results(index: Index, query: str, count: int) -> list[Hit]:
    """The first results where `count` candidates are embedded on the spot."""
    with index.snapshot() as now:
        wanted = wanted_passages(now, query, tolerant=True)[:count]
        if wanted:
            lend_vectors(now, wanted, index.embedder, LateVectors(), 1e9)
        return index.search(query, FIRST, fold=False, syntax=False, embed_ms=0)


def ndcg(question: LabelledQuestion, hits: Sequence[Hit]) -> float:
    """nDCG@10; a second passage of the same place has no gain."""
    left, found = set(question.places), list[str]()
    for hit in hits:
        here = (RelevantPlace(hit.chunk.path, hit.chunk.page), RelevantPlace(hit.chunk.path))
        place = next((one for one in here if one in left), None)
        left -= {place} if place else set()
        found.append(str(place) if place else f"passage {hit.chunk.id}")
    return ndcg_at(FIRST, found, {str(place): 1.0 for place in question.places})


def quality_table(
    folder: Path, sample: Path, embedder: KnownVectors, questions: Sequence[LabelledQuestion]
) -> list[str]:
    """The first table."""
    with Index.open_or_create(folder / "whole", cast(Embedder, embedder)) as index:
        index.sync(sample)
        texts = [*(one.text for one in questions), *index.examples(EXAMPLES)]
        best = {text: [hit.chunk.id for hit in results(index, text, 0)] for text in texts}
        done = np.mean([ndcg(one, results(index, one.text, 0)) for one in questions])
    lines = [
        "| have a vector | embedded on the spot | nDCG@10 | of the first ten | same first |",
        "|---|---|---|---|---|",
    ]
    for share in SHARES:
        with Index.open_or_create(folder / f"part-{share}", cast(Embedder, embedder)) as index:
            index.sync(sample, keywords_only=True)
            make_part(index, share, seed=share)
            for count in COUNTS:
                found = {text: results(index, text, count) for text in texts}
                mean = np.mean([ndcg(one, found[one.text]) for one in questions])
                ids = {text: [hit.chunk.id for hit in hits] for text, hits in found.items()}
                same = np.mean([len({*ids[t]} & {*best[t]}) / max(1, len(best[t])) for t in texts])
                first = np.mean([ids[text][:1] == best[text][:1] for text in texts])
                lines.append(f"| {share} % | {count} | {mean:.3f} | {same:.0%} | {first:.0%} |")
    return [*lines, f"| all | – | {done:.3f} | 100% | 100% |", "", f"{len(texts)} searches"]


def time_table(
    folder: Path, embedder: KnownVectors, questions: Sequence[LabelledQuestion]
) -> list[str]:
    """The second table: the medians for the candidates of some questions."""
    lines = ["| passages | milliseconds | of processor time |", "|---|---|---|"]
    with Index.open(folder / "part-0", cast(Embedder, embedder)) as index, index.snapshot() as now:
        asked = [wanted_passages(now, one.text, tolerant=True) for one in questions[:TIMED]]
        texts = [
            [embedder.model.passage_input(c.text, c.title) for c in now.catalog.get(ids)]
            for ids in asked
        ]
    embedder.model.embed_inputs(texts[0][:1])
    for count in COUNTS[1:5]:
        took = [_timed(embedder.model, several[:count]) for several in texts]
        wall, processor = (1000 * statistics.median(each) for each in zip(*took, strict=True))
        lines.append(f"| {count} | {wall:.0f} | {processor:.0f} |")
    return lines


def _timed(model: AlignedWVA, inputs: Sequence[str]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    model.embed_inputs(inputs)
    return time.perf_counter() - wall, time.process_time() - processor


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=Path, default=FOLDER, help="a folder of documents")
    parser.add_argument("--questions", type=Path, default=QUESTIONS)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    options = parser.parse_args(arguments)
    embedder = KnownVectors(AlignedWVA(options.model), read(KEPT), most=10**9)
    questions = read_questions(options.questions)
    with tempfile.TemporaryDirectory() as scratch:
        print("\n".join(quality_table(Path(scratch), options.sample, embedder, questions)))
        print("\n".join(["", *time_table(Path(scratch), embedder, questions)]))


if __name__ == "__main__":
    main()
