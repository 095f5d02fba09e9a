"""Questions to one's own index, with the places that answer them. Passages are ranked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from retriever.arrays import Vectors
from retriever.evaluation.datasets import LabelledQuestion, RelevantPlace
from retriever.evaluation.runs import MODES, Data, Run, digest, run_settings, score_rankings
from retriever.index import Index
from retriever.searching.options import Mode, SearchOptions
from retriever.types import Hit, UsageError

QUESTION_MEASURES = ("ndcg@10", "mrr@10", "recall@10")

PASSAGES = SearchOptions(syntax=False, fold=False)
"""The search options for questions; folded or joined results would hold more than ten passages."""


def evaluate_questions(
    index: Index,
    questions: Sequence[LabelledQuestion],
    *,
    name: str = "",
    baseline: Run | None = None,
) -> Run:
    """A run of questions to an index, by mode; passages are ranked.

    A passage is relevant if it lies in one of the question's places. Every passage has a rank of
    its own; a second passage of the same place has no gain. A place that the index does not have
    counts as not found (see `missing_places`). Raises UsageError if the run is not comparable with
    `baseline`.
    """
    started = time.monotonic()
    rows = sorted(f"{row.path}\0{row.sha256 or row.id}" for row in index.documents())
    asked = sorted(f"{each.id}\0{each.text}\0{each.places}" for each in questions)
    data = Data(name or index.name, len(rows), digest(rows), digest(asked))
    if baseline is not None:
        baseline.check(data)
    texts = list(dict.fromkeys(question.text for question in questions))
    by_text = dict(zip(texts, index.embedder.embed_queries(texts), strict=True))
    rankings = {
        mode.value: {
            question.id: _ranked_places(
                question, _top_passages(index, question.text, mode, by_text)
            )
            for question in questions
        }
        for mode in MODES
    }
    right = {question.id: {str(place): 1.0 for place in question.places} for question in questions}
    values = score_rankings(rankings, right, QUESTION_MEASURES)
    return Run(data, values, run_settings(index), time.monotonic() - started)


def _top_passages(index: Index, text: str, mode: Mode, vectors: Mapping[str, Vectors]) -> list[Hit]:
    """The ten best passages, each as a result of its own."""
    return index.search(text, options=PASSAGES, mode=mode, embed=vectors.__getitem__)


def _ranked_places(question: LabelledQuestion, hits: Sequence[Hit]) -> list[str]:
    """For each rank, one of the question's places, or the id of a passage that is not relevant."""
    wanted = set(question.places)
    found: list[str] = []
    for hit in hits:
        chunk = hit.chunk
        here = (RelevantPlace(chunk.path, chunk.page), RelevantPlace(chunk.path))
        place = next((place for place in here if place in wanted), None)
        if place is None:
            found.append(f"passage {chunk.id}")
        else:
            wanted.discard(place)
            found.append(str(place))
    return found


def missing_places(index: Index, questions: Sequence[LabelledQuestion]) -> list[str]:
    """A sentence for each of the questions' places without a passage in the index.

    Raises UsageError if the index has none of the places: the questions are for other documents.
    """
    asked = dict.fromkeys(place for question in questions for place in question.places)
    paths = {place.path for place in asked}
    there: set[RelevantPlace] = set()
    for row in index.documents():
        if row.path in paths and row.chunks:
            pages = [page.number for page in index.page_statuses(row.id) if page.chunks]
            there |= {
                RelevantPlace(row.path),
                *(RelevantPlace(row.path, number) for number in pages),
            }
    if not there & set(asked):
        example = next(iter(asked))
        raise UsageError(
            f"none of the {len(asked)} places that the questions name is in the index, such as "
            f"{str(example)!r}; a path must read as wva search shows it"
        )
    return [
        f"{place} has no passage in the index; it counts as not found"
        for place in asked
        if place not in there
    ]


__all__ = ["PASSAGES", "QUESTION_MEASURES", "evaluate_questions", "missing_places"]
