"""How good a match is, on a scale that means the same in every index and for every model.

A score says which passage is better, not whether it is any good. So questions on everything under
the sun, that hardly have an answer here, are asked when the index is made: the *background*. A
hit's match is the share of them whose best passage is worse. If the best hit of a question stays
below 0.95, a question without an answer would do as well in one case of twenty: whether anything
here matches is not certain, and below one half nothing really does. One minus the threshold is the
rate of false alarms, for questions on other subjects than
the index's; a question close to them whose answer is missing finds passages that do match it, and
passes more often. What is compared is what the query itself says about the passage:

    dense    the calibrated cosine
    keyword  the BM25 score over the root of the most that the query's words could get: the score
             alone would let any long question pass, and a share of the most hardly one
    hybrid   both, each standardised by the background's best ones; keywords count twice

There is one background for each of the three, always of the whole index, whatever the filter.
This module asks a snapshot; the questions' vectors are handed over.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from retriever.arrays import DoubleScores, Scores, Vectors
from retriever.storage.backends import ScoredIds, Snapshot
from retriever.storage.filters import Filter
from retriever.types import Hit

GENERAL_QUESTIONS = Path(__file__).with_name("general_questions.txt")
"""One question a line, on many subjects, in the forms that people type."""

MATCH = 0.95
"""From this match on something really matches: one false alarm in twenty."""

CHANCE_MATCH = 0.5
"""Below it most questions without an answer find something better."""

NOTHING_MATCHES = "nothing here really matches this question"

UNCERTAIN = "it is not certain that anything here answers this question"

VERSION = 2
"""Another one: an index's background says nothing about today's statistic."""

CANDIDATES = 200
"""A question's best passage by both sides is looked for among so many of each."""

KEYWORD_WEIGHT = 2.0
"""Subjects alone make a cosine; a question's own words are harder to come by."""

_MIN_SPREAD = 0.02
"""Of a side that tells no background question from another: its scores go up to 1."""


@dataclass(frozen=True, slots=True)
class MatchScale:
    """The best scores of questions without an answer: sorted, (questions,) each.

    `dense` and `keyword` are means and deviations too (`scales`): what the hybrid sum is made with.
    """

    dense: tuple[float, ...]
    keyword: tuple[float, ...]
    hybrid: tuple[float, ...]

    @property
    def questions(self) -> int:
        """How many questions it was made of."""
        return len(self.hybrid)

    def match(self, dense: float | None, keyword: float | None) -> float:
        """The share of the questions whose best passage scores lower: in [0, 1).

        `dense` is a cosine, `keyword` what `normalised_bm25` gives; None for a side that was not
        asked. The hit's own question counts as one of them, so that a question without an answer
        reaches a match of `m` with a probability of at most 1 - m. NaN is 0.
        """
        if dense is None and keyword is None:
            return 0.0
        if dense is None:
            value, scores = keyword, self.keyword
        elif keyword is None:
            value, scores = dense, self.dense
        else:
            value = float(self.both(np.array([dense]), np.array([keyword]))[0])
            scores = self.hybrid
        if value is None or not isfinite(value):
            return 0.0
        return bisect_left(scores, value) / (len(scores) + 1)

    def both(self, dense: DoubleScores, keyword: DoubleScores) -> DoubleScores:
        """The hybrid statistic of passages: (n,), (n,) → (n,)."""
        return _hybrid_scores(
            dense, keyword, _mean_and_deviation(self.dense), _mean_and_deviation(self.keyword)
        )

    def to_json(self) -> dict[str, Any]:
        """For `from_json`: plain JSON."""
        scores = {"dense": self.dense, "keyword": self.keyword, "hybrid": self.hybrid}
        return {"version": VERSION, **{name: list(values) for name, values in scores.items()}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> MatchScale | None:
        """The background that `to_json` wrote; None for none, or one of another version."""
        if value is None or value.get("version") != VERSION:
            return None
        return cls(*(tuple(value[name]) for name in ("dense", "keyword", "hybrid")))


def general_questions() -> list[str]:
    """The questions that come with the package."""
    return GENERAL_QUESTIONS.read_text("utf-8").splitlines()


def fit_match_scale(snapshot: Snapshot, questions: Sequence[str], vectors: Vectors) -> MatchScale:
    """The background of an index with its means as they are; `vectors` are raw, (questions, dim).

    It depends on the passages alone, not on their order.
    """
    asked = [_score_question(snapshot, *each) for each in zip(questions, vectors, strict=True)]
    dense = _sorted_scores(_max_score(cosines) for cosines, _ in asked)
    keyword = _sorted_scores(_max_score(strengths) for _, strengths in asked)
    scales = _mean_and_deviation(dense), _mean_and_deviation(keyword)
    hybrid = _sorted_scores(_max_score(_hybrid_scores(*sides, *scales)) for sides in asked)
    return MatchScale(dense, keyword, hybrid)


def with_match(hits: Sequence[Hit], scale: MatchScale | None, max_bm25: float) -> list[Hit]:
    """The hits with their `match`; `max_bm25` is the query's `Snapshot.max_bm25`.

    Without a scale, or with an empty one, they stay as they are.
    """
    if scale is None or not scale.questions:
        return list(hits)
    return [
        replace(hit, match=scale.match(hit.dense, normalised_bm25(hit.keyword, max_bm25)))
        for hit in hits
    ]


def normalised_bm25(keyword: float | None, max_bm25: float) -> float | None:
    """A BM25 score over the root of the most there could be, None for none; 0 of nothing is 0.

    >>> normalised_bm25(3.0, 16.0), normalised_bm25(0.0, 0.0), normalised_bm25(None, 16.0)
    (0.75, 0.0, None)
    """
    if keyword is None:
        return None
    return keyword / sqrt(max_bm25) if max_bm25 > 0 else 0.0


def matching_ids(
    snapshot: Snapshot,
    scale: MatchScale,
    min_match: float,
    vector: Vectors | None,
    query: str | None,
    *,
    max_bm25: float,
    where: Filter | None = None,
    tolerant: bool = False,
) -> set[str]:
    """The ids of all chunks that the filter lets through and whose match is at least `min_match`.

    `vector`: the query's raw one, (dim,), None in keyword mode; `query` is None in dense mode;
    `max_bm25` as in `with_match`. A chunk among neither side's `depth` best scores at most the last
    of each (see `retriever.searching.hybrid.search` for stores that are not exact), and the match
    grows with both scores. So the depth grows until these two scores are too low.
    """
    depth = CANDIDATES
    while True:
        dense = None if vector is None else snapshot.dense(vector, depth, where)
        keyword = (
            None if query is None else snapshot.keyword(query, depth, where, tolerant=tolerant)
        )
        if _is_complete(dense, keyword, depth):
            break
        reach = normalised_bm25(_upper_bound(keyword, depth), max_bm25)
        if scale.match(_upper_bound(dense, depth), reach) < min_match:
            break
        depth *= 4
    ids = list(dict.fromkeys([*(dense.ids if dense else ()), *(keyword.ids if keyword else ())]))
    cosines: Sequence[float | None] = [None] * len(ids)
    words = cosines
    if dense is not None and vector is not None:
        cosines = _scores_of(ids, dense, depth, partial(snapshot.dense_scores, vector)).tolist()
    if keyword is not None and query is not None:
        ask = partial(snapshot.keyword_scores, query, tolerant=tolerant)
        words = _scores_of(ids, keyword, depth, ask).tolist()
    return {
        chunk_id
        for chunk_id, cosine, score in zip(ids, cosines, words, strict=True)
        if scale.match(cosine, normalised_bm25(score, max_bm25)) >= min_match
    }


def _is_complete(dense: ScoredIds | None, keyword: ScoredIds | None, depth: int) -> bool:
    """Whether there are no other chunks; the dense side, if asked, scores every chunk."""
    side = dense or keyword
    return side is None or len(side.ids) < depth


def _upper_bound(side: ScoredIds | None, depth: int) -> float | None:
    """What a chunk that is not among the side's `depth` best scores at most."""
    if side is None:
        return None
    return float(side.scores[-1]) if len(side.ids) == depth else 0.0


def nothing_matches(hits: Iterable[Hit], least: float = MATCH) -> bool:
    """Whether all hits are known to match less than `least`; not if there are none."""
    matches = [hit.match for hit in hits]
    return bool(matches) and all(match is not None and match < least for match in matches)


def verdict(hits: Sequence[Hit]) -> str:
    """What is to be said of the best of the hits; nothing where it matches, or is not known."""
    if not nothing_matches(hits):
        return ""
    return NOTHING_MATCHES if nothing_matches(hits, CHANCE_MATCH) else UNCERTAIN


def _score_question(
    snapshot: Snapshot, question: str, vector: Vectors
) -> tuple[DoubleScores, DoubleScores]:
    """Cosines and keyword strengths of the passages that are among the best of either side."""
    dense = snapshot.dense(vector, CANDIDATES)
    keyword = snapshot.keyword(question, CANDIDATES)
    ids = list(dict.fromkeys([*dense.ids, *keyword.ids]))
    cosines = _scores_of(ids, dense, CANDIDATES, partial(snapshot.dense_scores, vector))
    scores = _scores_of(ids, keyword, CANDIDATES, partial(snapshot.keyword_scores, question))
    most = snapshot.max_bm25(question)
    return cosines, scores / sqrt(most) if most > 0 else np.zeros(len(ids))


def _scores_of(
    ids: Sequence[str], side: ScoredIds, depth: int, ask: Callable[[list[str]], Scores]
) -> DoubleScores:
    """The side's score of every id; it is asked for those that are not among its `depth` best.

    Of fewer than were asked for it has told all that score, so that the others have 0.
    """
    known = dict(zip(side.ids, side.scores.tolist(), strict=True))
    missing = [chunk_id for chunk_id in ids if chunk_id not in known]
    if missing and len(side.ids) == depth:
        known.update(zip(missing, ask(missing).tolist(), strict=True))
    return np.array([known.get(chunk_id, 0.0) for chunk_id in ids], dtype=np.float64)


def _max_score(scores: DoubleScores) -> float:
    return float(scores.max()) if len(scores) else 0.0


def _sorted_scores(scores: Iterable[float]) -> tuple[float, ...]:
    # Rounded: the sums behind a cosine depend on how passages are stored, in the last digits.
    return tuple(sorted(round(score, 6) for score in scores))


def _mean_and_deviation(scores: Sequence[float]) -> tuple[float, float]:
    """Mean and deviation of the background's best scores."""
    if not scores:
        return 0.0, 1.0
    return float(np.mean(scores)), max(_MIN_SPREAD, float(np.std(scores)))


def _hybrid_scores(
    dense: DoubleScores,
    keyword: DoubleScores,
    of_dense: tuple[float, float],
    of_keyword: tuple[float, float],
) -> DoubleScores:
    total: DoubleScores = (dense - of_dense[0]) / of_dense[1]
    return total + KEYWORD_WEIGHT * (keyword - of_keyword[0]) / of_keyword[1]


__all__ = [
    "CHANCE_MATCH",
    "GENERAL_QUESTIONS",
    "MATCH",
    "NOTHING_MATCHES",
    "UNCERTAIN",
    "MatchScale",
    "fit_match_scale",
    "general_questions",
    "matching_ids",
    "normalised_bm25",
    "nothing_matches",
    "verdict",
    "with_match",
]
