"""Answers: how often the sentences of `wva answer` hold the answer, over a whole collection.

`python -m benchmarks.answers BEIR_FOLDER` asks each question of all documents together, and
compares three ways to choose three sentences of the same ten passages: ours; the best sentence of
each of the first three passages; the three with the best BM25 score. `--answers` and `--parallel`
are those of `benchmarks.sentences`. The only constant, the root of a passage's rank, was chosen on
the documents with odd numbers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.quality import CachingWVA
from benchmarks.sentences import Candidates, Spans, bm25, in_other_language, is_odd, progress
from benchmarks.sentences import read_answers as read_spans
from retriever.answers.sentences import PASSAGES, choose
from retriever.evaluation.datasets import RetrievalDataset, read_beir
from retriever.evaluation.retrieval import open_dataset
from retriever.settings import ANSWER_SENTENCES, DEFAULT_MODEL
from retriever.significance import compare, interval
from retriever.storage.backends import Snapshot
from retriever.text.analyzer import content_terms, index_terms
from retriever.types import Hit

OURS = "wva answer"
OTHERS = ("best sentence of each passage", "best BM25 sentences")

Place = tuple[str, int, int]
"""A document, and the span of a sentence in it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question: its document, and for each way whether its sentences hold the answer."""

    document: str
    right: Mapping[str, tuple[bool, ...]]  # sentence by sentence


def asked(embedder: CachingWVA, data: RetrievalDataset, name: str, spans: Spans) -> Iterator[Asked]:
    """Ask every question that has an answer."""
    with (
        open_dataset(embedder, data, name, progress=progress) as ready,
        ready.index.snapshot() as now,
    ):
        for number in (each for each in ready.queries if each in spans):
            text, document = ready.queries[number], next(iter(data.qrels[number]))
            hits = ready.index.search(text, PASSAGES, syntax=False, embed=ready.vectors.__getitem__)
            chosen = _chosen(now, text, hits)
            right = {
                way: tuple(_is_right(place, document, spans[number]) for place in places)
                for way, places in chosen.items()
            }
            yield Asked(document, right)


def _is_right(place: Place, document: str, spans: Sequence[tuple[int, int]]) -> bool:
    name, start, end = place
    return name == document and any(start <= a and b <= end for a, b in spans)


def _chosen(now: Snapshot, question: str, hits: Sequence[Hit]) -> dict[str, list[Place]]:
    """The places of the sentences that each way chooses, best first."""
    ours = [
        (one.hit.chunk.path, one.excerpt.start, one.excerpt.end)
        for one in choose(now, question, hits, ANSWER_SENTENCES, tolerant=True)
    ]
    each = [
        (hit.chunk.path, hit.sentence.start, hit.sentence.end)
        for hit in hits[:ANSWER_SENTENCES]
        if hit.sentence
    ]
    return {OURS: ours, OTHERS[0]: each, OTHERS[1]: _by_bm25(now, question, hits)}


def _by_bm25(now: Snapshot, question: str, hits: Sequence[Hit]) -> list[Place]:
    places: list[Place] = []
    scores: list[float] = []
    words = now.word_values(question)
    for hit in hits:
        known = Candidates.of(hit)
        lengths = [len(content_terms(index_terms(text))) for text in known.texts]
        places += [(hit.chunk.path, *span) for span in known.spans]
        scores += bm25(words, known.texts, known.language, float(np.mean(lengths)) or 1.0)
    order = np.argsort(-np.array(scores), kind="stable")[:ANSWER_SENTENCES]
    return [places[at] for at in order]


def table(name: str, found: Sequence[Asked]) -> list[str]:
    """The rows of one set: the first sentence, and one of all; also for both halves."""
    groups = {
        "all": found,
        "development half": [one for one in found if is_odd(one.document)],
        "held-out half": [one for one in found if not is_odd(one.document)],
    }
    return [
        _row(f"{name}, {group}", what, ones, most)
        for group, ones in groups.items()
        for what, most in (("the first", 1), (f"one of {ANSWER_SENTENCES}", ANSWER_SENTENCES))
        if ones
    ]


def _row(label: str, what: str, ones: Sequence[Asked], most: int) -> str:
    values = {way: [float(any(one.right[way][:most])) for one in ones] for way in (OURS, *OTHERS)}
    mean = interval(values[OURS])
    cells = [f"**{mean.mean:.3f}** ({mean.low:.3f} to {mean.high:.3f})"]
    for way in OTHERS:
        told = compare(values[OURS], values[way]).difference
        cells.append(
            f"{np.mean(values[way]):.3f} ({told.mean:+.3f}, {told.low:+.3f} to {told.high:+.3f})"
        )
    return f"| {label} | {len(ones)} | {what} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--answers", type=Path, default=Path(__file__).with_name("xquad_sentences.tsv")
    )
    parser.add_argument("--parallel", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    options = parser.parse_args(arguments)
    data = read_beir(options.folder)
    source = read_beir(options.parallel) if options.parallel else data
    spans: Spans = read_spans(options.answers, source)
    if options.parallel:
        spans = in_other_language(spans, source, data)
    name = f"{options.folder.resolve().parent.name}/{options.folder.name}"
    found = list(asked(CachingWVA(options.model), data, name, spans))
    print(f"| set | questions | sentence | {OURS} | {' | '.join(OTHERS)} |")
    print("|---|---|---|---|---|---|")
    print("\n".join(table(name, found)))


if __name__ == "__main__":
    main()
