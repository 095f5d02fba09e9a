"""The best sentence: how often it holds the answer, and how long it takes.

`python -m benchmarks.sentences BEIR_FOLDER --answers FILE` asks each question with a filter for its
document, and compares the sentence chosen with three others of the same passages: the first one,
the one with the best BM25 score, and the one whose vector is nearest to the question's. FILE has
the answers' spans: SQuAD's JSON, or lines `question, document, start-end …` with tabs, as
`benchmarks/xquad_sentences.tsv`. There the spans are whole sentences, chosen by hand from question
and paragraph alone. `--parallel FOLDER` is the set that these spans belong to, if it is another
language of the same texts: a paragraph counts where both have as many sentences.

The constants were chosen on the documents with odd numbers ("development"), not on those with even
numbers ("held out"). `--time INDEX` measures the processor time for ten results.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality import CachingWVA
from retriever.arrays import Vectors
from retriever.evaluation.datasets import RetrievalDataset, read_beir
from retriever.evaluation.retrieval import open_dataset
from retriever.evaluation.vectors import cached_vectors
from retriever.index import Index
from retriever.searching.sentences import passages, with_sentences
from retriever.settings import DEFAULT_MODEL
from retriever.significance import compare, interval
from retriever.storage.backends import Snapshot
from retriever.storage.records import WeightedTerms
from retriever.text.analyzer import content_terms, index_terms
from retriever.text.sentences import split_sentences
from retriever.types import Hit

OURS = "best sentence"
BASELINES = ("first sentence", "best BM25 sentence", "best cosine sentence")

Spans = Mapping[str, list[tuple[int, int]]]
"""Question → the spans of its answers in its document."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A question: its document, the number of candidates, and which systems hold an answer."""

    document: str
    candidates: int
    right: Mapping[str, bool]


# Answers


def read_answers(path: Path, data: RetrievalDataset) -> dict[str, list[tuple[int, int]]]:
    """The answers of a file for the questions of a set."""
    text = path.read_text("utf-8")
    if path.suffix == ".json":
        return _squad(json.loads(text), data)
    rows = (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return {number: [_span(one) for one in spans.split()] for number, _, spans in rows}


def _squad(value: Mapping[str, Any], data: RetrievalDataset) -> dict[str, list[tuple[int, int]]]:
    """The answers of SQuAD's JSON; a context may have other white space around it than our text."""
    found: dict[str, list[tuple[int, int]]] = {}
    for paragraph in (each for article in value["data"] for each in article["paragraphs"]):
        context = str(paragraph["context"])
        for question in paragraph["qas"]:
            if question["id"] not in data.qrels:
                continue
            text = data.corpus[next(iter(data.qrels[question["id"]]))][1]
            moved = text.find(context.strip()) - (len(context) - len(context.lstrip()))
            starts = {(one["answer_start"], len(one["text"])) for one in question["answers"]}
            found[question["id"]] = [(at + moved, at + moved + size) for at, size in sorted(starts)]
    return found


def _span(text: str) -> tuple[int, int]:
    start, _, end = text.partition("-")
    return int(start), int(end)


def in_other_language(spans: Spans, from_: RetrievalDataset, to: RetrievalDataset) -> Spans:
    """The spans of whole sentences in texts of the same ids, by the number of the sentence."""
    found: dict[str, list[tuple[int, int]]] = {}
    for number, several in spans.items():
        document = next(iter(from_.qrels[number]))
        theirs, ours = (split_sentences(each.corpus[document][1]) for each in (from_, to))
        if len(theirs) != len(ours):
            continue
        at = [
            i for i, one in enumerate(theirs) for a, b in several if one.start <= a and b <= one.end
        ]
        if at:
            found[number] = [(ours[i].start, ours[i].end) for i in at]
    return found


# Systems


@dataclass(frozen=True, slots=True)
class Candidates:
    """The sentences of a hit's passages: spans of the page, texts, and the hit's language."""

    spans: list[tuple[int, int]]
    texts: list[str]
    language: str

    @classmethod
    def of(cls, hit: Hit) -> Candidates:
        """All sentences, in order."""
        found = [
            (excerpt, one) for excerpt, _ in passages(hit) for one in split_sentences(excerpt.text)
        ]
        return cls(
            [(excerpt.start + one.start, excerpt.start + one.end) for excerpt, one in found],
            [excerpt.text[one.start : one.end] for excerpt, one in found],
            hit.chunk.language,
        )


def bm25(
    words: Sequence[Sequence[WeightedTerms]], texts: Sequence[str], language: str, average: float
) -> list[float]:
    """The BM25 scores (k1 1.2, b 0.75) of sentences, with the idf of the index."""
    scores = []
    for text in texts:
        terms = content_terms(index_terms(text, language))
        counts, size = Counter(terms), 1.2 * (0.25 + 0.75 * len(terms) / average)
        scores.append(
            sum(
                max(
                    sum(value * 2.2 * counts[term] / (counts[term] + size) for term, value in way)
                    for way in ways
                )
                for ways in words
            )
        )
    return scores


def outcomes(
    embedder: CachingWVA, data: RetrievalDataset, name: str, answers: Spans, mode: str
) -> Iterator[Outcome]:
    """Ask every question that has an answer."""
    with (
        open_dataset(embedder, data, name, progress=progress) as ready,
        ready.index.snapshot() as now,
    ):
        asked = [number for number in ready.queries if number in answers]
        hits: dict[str, Hit] = {}
        for number in asked:
            text, document = ready.queries[number], next(iter(data.qrels[number]))
            found = ready.index.search(
                text,
                1,
                mode=mode,
                syntax=False,
                where={"path": document},
                embed=ready.vectors.__getitem__,
            )
            hits.update({number: found[0]} if found else {})
        known = {number: Candidates.of(hit) for number, hit in hits.items()}
        texts = sorted({text for each in known.values() for text in each.texts})
        progress(f"{len(texts)} sentences …")
        inputs = [embedder.passage_input(text) for text in texts]
        raw = cached_vectors(embedder, "sentence", inputs, embedder.embed_inputs)
        vectors = dict(zip(texts, now.calibration.passage(raw), strict=True))
        lengths = [len(content_terms(index_terms(text))) for text in texts]
        for number, hit in hits.items():
            text, each = ready.queries[number], known[number]
            query = now.calibration.query(ready.vectors[text])
            yield _outcome(
                now, text, query, hit, each, vectors, answers[number], float(np.mean(lengths))
            )


def _outcome(
    now: Snapshot,
    question: str,
    query: Vectors,
    hit: Hit,
    each: Candidates,
    vectors: Mapping[str, Vectors],
    spans: Sequence[tuple[int, int]],
    average: float,
) -> Outcome:
    scores = bm25(now.word_values(question), each.texts, each.language, average)
    cosines = [float(vectors[text] @ query) for text in each.texts]
    best = hit.sentence
    chosen = {
        OURS: (best.start, best.end) if best else (0, 0),
        BASELINES[0]: each.spans[0],
        BASELINES[1]: each.spans[int(np.argmax(scores))],
        BASELINES[2]: each.spans[int(np.argmax(cosines))],
    }
    right = {
        system: any(start <= a and b <= end for a, b in spans)
        for system, (start, end) in chosen.items()
    }
    return Outcome(hit.chunk.path, len(each.spans), right)


# Tables


def table(name: str, found: Sequence[Outcome]) -> list[str]:
    """The rows of one set: all questions, and both halves as far as they have any."""
    several = [one for one in found if one.candidates > 1]
    groups = {
        "all": several,
        "development half": [one for one in several if is_odd(one.document)],
        "held-out half": [one for one in several if not is_odd(one.document)],
    }
    rows = []
    for group, ones in groups.items():
        if not ones:
            continue
        cells = []
        ours = [float(one.right[OURS]) for one in ones]
        mean = interval(ours)
        for baseline in BASELINES:
            theirs = [float(one.right[baseline]) for one in ones]
            told = compare(ours, theirs)
            low, high = told.difference.low, told.difference.high
            cells.append(
                f"{np.mean(theirs):.3f} ({told.difference.mean:+.3f}, {low:+.3f} to {high:+.3f})"
            )
        rows.append(
            f"| {name}, {group} | {len(ones)} | **{mean.mean:.3f}** ({mean.low:.3f} to "
            f"{mean.high:.3f}) | {' | '.join(cells)} |"
        )
    return rows


def is_odd(document: str) -> bool:
    """Whether the number in a document's name is odd."""
    number = re.search(r"\d+", document)
    return number is not None and int(number[0]) % 2 == 1


def times(folder: Path, queries: Sequence[str], mode: str) -> list[str]:
    """The rows of the processor time for ten results: with words seen first, and again."""
    rows = []
    with Index.open(folder) as index:
        index.search("warm up", mode=mode)
        for label in ("words seen for the first time", "the same questions again"):
            taken = []
            for query in queries:
                with index.snapshot(dense=mode != "keyword") as now:
                    hits = index.search(query, 10, mode=mode, sentences=False)
                    started = time.process_time()  # other programs may be running
                    with_sentences(now, query, hits, tolerant=True)
                    taken.append(1e3 * (time.process_time() - started))
            rows.append(
                f"| {label} | {len(taken)} | {statistics.median(taken):.1f} ms "
                f"| {max(taken):.1f} ms |"
            )
    return rows


def progress(text: str) -> None:
    """Print progress on standard error."""
    print(text, file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument(
        "--answers", type=Path, default=Path(__file__).with_name("xquad_sentences.tsv")
    )
    parser.add_argument("--parallel", type=Path)
    parser.add_argument("--time", type=Path, metavar="INDEX")
    parser.add_argument("--queries", type=Path, default=Path("data/queries.jsonl"))
    parser.add_argument("--mode", default="hybrid")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    options = parser.parse_args(arguments)
    if options.folder:
        data = read_beir(options.folder)
        source = read_beir(options.parallel) if options.parallel else data
        answers: Spans = read_answers(options.answers, source)
        if options.parallel:
            answers = in_other_language(answers, source, data)
        name = f"{options.folder.resolve().parent.name}/{options.folder.name}"
        found = list(outcomes(CachingWVA(options.model), data, name, answers, options.mode))
        print(f"| set | questions | {OURS} | {' | '.join(BASELINES)} |")
        print("|---|---|---|---|---|---|")
        print("\n".join(table(name, found)))
    if options.time:
        lines = options.queries.read_text("utf-8").splitlines()
        queries = [json.loads(line)["query"] for line in lines if line.strip()]
        print("| processor time for ten results | searches | median | longest |\n|---|---|---|---|")
        print("\n".join(times(options.time, queries, options.mode)))


if __name__ == "__main__":
    main()
