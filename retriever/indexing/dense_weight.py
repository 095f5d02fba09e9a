"""The weight of the dense side in hybrid search, fitted to the corpus without labels.

Hybrid search adds standardised scores (see `searching.hybrid`), so each side counts by how clearly
it separates passages. That goes wrong where a side is clear and mistaken, for example with a model
that does not know the documents' language. So sentences are removed from their passages, and each
passage is searched for by its sentence (see `cloze`) with several weights of the dense side. A
weight other than 1 is chosen only if it is significantly better (`significance.compare`).

This module asks a snapshot; the caller gives the vectors of the sentences and of the shortened
passages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np

from retriever.arrays import Vectors
from retriever.indexing.cloze import cloze_questions
from retriever.significance import Verdict, compare
from retriever.storage.backends import Snapshot
from retriever.text.analyzer import content_terms, passage_terms
from retriever.types import Chunk

MAX_ITEMS = 64
"""Number of sentences removed."""

MIN_ITEMS = 20
"""Smallest number of sentences; with fewer the weight is 1."""

WEIGHTS = (0.25, 0.5, 1.0, 2.0)
"""Candidate weights of the dense side; keywords have weight 1."""

CANDIDATES = 200
"""Number of candidates from each side that may rank above a passage."""

VERSION = 2
"""Version of the method; a weight fitted by another version is fitted again."""

REFIT_CHANGE = 0.25
"""Relative change of the number of passages after which the weight is fitted again."""


@dataclass(frozen=True, slots=True)
class ClozeItem:
    """A passage, a sentence of it, and the text without the sentence."""

    chunk: Chunk
    sentence: str
    rest: str


def cloze_items(snapshot: Snapshot) -> list[ClozeItem]:
    """The items to search for, none if there are too few; the same for the same passages."""
    found: dict[str, ClozeItem] = {}
    for chunk in snapshot.catalog.sample_chunks(4 * MAX_ITEMS):
        for sentence, rest in cloze_questions(chunk.text):
            found.setdefault(sentence, ClozeItem(chunk, sentence, rest))
            break
        if len(found) == MAX_ITEMS:
            break
    return list(found.values()) if len(found) >= MIN_ITEMS else []


def fit_dense_weight(
    snapshot: Snapshot, items: Sequence[ClozeItem], sentences: Vectors, rests: Vectors
) -> dict[str, Any]:
    """The weight of the dense side and the measured mean reciprocal ranks, as JSON.

    `sentences` are the raw vectors (n, dim) of the items' sentences as queries, `rests` those of
    the shortened passages. `dense_weight` is 1 where there are no items.
    """
    facts: dict[str, Any] = {"dense_weight": 1.0, "held_out": len(items), "weighing": VERSION}
    if not items:
        return facts
    scored = score_items(snapshot, items, sentences, rests)
    found = {weight: [each.reciprocal_rank(1.0, weight) for each in scored] for weight in WEIGHTS}
    usual = found[1.0]
    best = max(WEIGHTS, key=lambda weight: (sum(found[weight]), weight == 1))
    if compare(found[best], usual).verdict is Verdict.BETTER:
        facts["dense_weight"] = best
    facts["found_again"] = {
        "keyword": _mean([each.reciprocal_rank(1.0, 0.0) for each in scored]),
        "dense": _mean([each.reciprocal_rank(0.0, 1.0) for each in scored]),
        "hybrid": _mean(found[float(facts["dense_weight"])]),
    }
    return facts


def score_items(
    snapshot: Snapshot, items: Sequence[ClozeItem], sentences: Vectors, rests: Vectors
) -> list[ItemScores]:
    """The scores of items, by the raw vectors (n, dim) of `fit_dense_weight`."""
    lengths = [len(_terms(item.chunk, item.chunk.text)) for item in items]
    average = sum(lengths) / max(1, len(lengths))
    total = snapshot.passages.count()
    return [
        ItemScores(snapshot, item, sentence, rest, average, total)
        for item, sentence, rest in zip(items, sentences, rests, strict=True)
    ]


def fit_is_due(facts: Mapping[str, Any] | None, chunks: int) -> bool:
    """Whether the weight must be fitted (again) for an index of `chunks` passages."""
    facts = facts or {}
    known = facts.get("weighed_at")
    if known is None or facts.get("weighing") != VERSION:
        return True
    return bool(abs(chunks - known) > REFIT_CHANGE * known)


class ItemScores:
    """One item's standardised scores, and those of the passages that may rank above it."""

    def __init__(
        self,
        snapshot: Snapshot,
        item: ClozeItem,
        sentence: Vectors,
        rest: Vectors,
        average: float,
        total: int,
    ) -> None:
        own = item.chunk.id
        dense = snapshot.dense(sentence, CANDIDATES)
        keyword = snapshot.keyword(item.sentence, CANDIDATES)
        ids = [id_ for id_ in dict.fromkeys([*dense.ids, *keyword.ids]) if id_ != own]
        self.dense = dense.standardised(snapshot.dense_scores(sentence, ids))
        self.keyword = keyword.standardised(snapshot.keyword_scores(item.sentence, ids))
        means = snapshot.calibration
        query, passage = means.query(sentence), means.passage(rest)
        whole = float(snapshot.keyword_scores(item.sentence, [own])[0])
        left = whole * _share_left(snapshot, item, average, total)
        self.own_dense = float(dense.standardised(np.array([query @ passage]))[0])
        self.own_keyword = float(keyword.standardised(np.array([left]))[0])

    def reciprocal_rank(self, keyword: float, dense: float) -> float:
        """1 / rank of the item's passage, with these weights of the sides."""
        others = keyword * self.keyword + dense * self.dense
        own = keyword * self.own_keyword + dense * self.own_dense
        return 1.0 / (1 + int((others > own).sum()))


def _share_left(snapshot: Snapshot, item: ClozeItem, average: float, total: int) -> float:
    """How much of its BM25 score the passage keeps without the sentence."""
    asked = sorted(set(_terms(item.chunk, item.sentence, title="")))
    counts = snapshot.passages.document_frequencies(asked)
    whole, left = (_terms(item.chunk, text) for text in (item.chunk.text, item.rest))

    def score(text: list[str]) -> float:
        norm = 1.2 * (0.25 + 0.75 * len(text) / average)
        return sum(
            max(0.0, log((total - counts[term] + 0.5) / (counts[term] + 0.5)))
            * (times * 2.2 / (times + norm))
            for term in asked
            if (times := text.count(term))
        )

    before = score(whole)
    return score(left) / before if before else 0.0


def _terms(chunk: Chunk, text: str, title: str | None = None) -> list[str]:
    title = chunk.title if title is None else title
    return content_terms(passage_terms(title, text, chunk.language))


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 3)


__all__ = [
    "MAX_ITEMS",
    "ClozeItem",
    "ItemScores",
    "cloze_items",
    "fit_dense_weight",
    "fit_is_due",
    "score_items",
]
