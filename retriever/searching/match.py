"""How good a match is, on a scale that means the same in every index and for every model.

A score says which passage is better, not whether it is good. So when an index is made, general
questions on many subjects are asked, which hardly have an answer in it. Their best scores, sorted,
are the *match scale*. A hit's match is the share of these questions whose best passage has a lower
score. If the best hit of a query stays below 0.95, one unanswerable question in twenty does as
well: it is not certain that anything matches. Below 0.5 nothing really matches. One minus the
threshold is the false alarm rate for questions on other subjects than the index's. A question close
to the index's subjects without an answer finds passages that do match it, and passes more often.
The statistics compared use the query without expansion:

    dense    the calibrated cosine
    keyword  the BM25 score over the square root of the query's maximum: with the score alone any
             long question would pass, with the score over the maximum hardly one would. A query of
             common words alone counts as one rare word: what it asks for is there (see `bm25_unit`)
    hybrid   the sum of both, each standardised by the scale's best scores; keywords count twice

The scale has one list of scores for each of the three. They are always those of the whole index,
whatever the filter. This module asks a snapshot; the caller gives the questions' vectors.
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
"""A text file of general questions, one a line, in the forms that people type."""

MATCH = 0.95
"""Threshold for a certain match: one false alarm in twenty."""

CHANCE_MATCH = 0.5
"""Threshold for any match: below it most unanswerable questions find a better passage."""

NOTHING_MATCHES = "nothing here really matches this question"

UNCERTAIN = "it is not certain that anything here answers this question"

VERSION = 2
"""Version of the statistics; a stored scale of another version is not used."""

CANDIDATES = 200
"""Number of candidates from each side for a question's best passage."""

KEYWORD_WEIGHT = 2.0
"""Weight of keywords in the hybrid statistic: a shared subject alone gives a high cosine."""

_MIN_SPREAD = 0.02
"""Smallest standard deviation, for a side whose scores (at most 1) are alike for all questions."""


@dataclass(frozen=True, slots=True)
class MatchScale:
    """The best scores of the general questions: three sorted lists, (questions,) each.

    The means and standard deviations of `dense` and `keyword` standardise the hybrid statistic.
    """

    dense: tuple[float, ...]
    keyword: tuple[float, ...]
    hybrid: tuple[float, ...]

    @property
    def questions(self) -> int:
        """Number of questions it was fitted to."""
        return len(self.hybrid)

    def match(self, dense: float | None, keyword: float | None) -> float:
        """The share of the questions whose best passage scores lower: in [0, 1).

        `dense` is a cosine, `keyword` a `normalised_bm25`; None for a side that was not asked. The
        hit's own question counts as one of the questions. So an unanswerable question reaches a
        match of `m` with a probability of at most 1 - m. NaN has match 0.
        """
        if dense is None and keyword is None:
            return 0.0
        if dense is None:
            value, scores = keyword, self.keyword
        elif keyword is None:
            value, scores = dense, self.dense
        else:
            value = float(self.hybrid_statistic(np.array([dense]), np.array([keyword]))[0])
            scores = self.hybrid
        if value is None or not isfinite(value):
            return 0.0
        return bisect_left(scores, value) / (len(scores) + 1)

    def hybrid_statistic(self, dense: DoubleScores, keyword: DoubleScores) -> DoubleScores:
        """The hybrid statistic of passages: (n,), (n,) → (n,)."""
        return _hybrid_scores(
            dense, keyword, _mean_and_deviation(self.dense), _mean_and_deviation(self.keyword)
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for `from_json`."""
        scores = {"dense": self.dense, "keyword": self.keyword, "hybrid": self.hybrid}
        return {"version": VERSION, **{name: list(values) for name, values in scores.items()}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> MatchScale | None:
        """The scale that `to_json` wrote; None for none, or one of another version."""
        if value is None or value.get("version") != VERSION:
            return None
        return cls(*(tuple(value[name]) for name in ("dense", "keyword", "hybrid")))


def general_questions() -> list[str]:
    """The general questions that come with the package."""
    return GENERAL_QUESTIONS.read_text("utf-8").splitlines()


def fit_match_scale(snapshot: Snapshot, questions: Sequence[str], vectors: Vectors) -> MatchScale:
    """The match scale of an index with its current means; `vectors` are raw, (questions, dim).

    It does not depend on the order of the passages.
    """
    asked = [_score_question(snapshot, *each) for each in zip(questions, vectors, strict=True)]
    dense = _sorted_scores(_max_score(cosines) for cosines, _ in asked)
    keyword = _sorted_scores(_max_score(normalised) for _, normalised in asked)
    scales = _mean_and_deviation(dense), _mean_and_deviation(keyword)
    hybrid = _sorted_scores(_max_score(_hybrid_scores(*sides, *scales)) for sides in asked)
    return MatchScale(dense, keyword, hybrid)


def with_match(hits: Sequence[Hit], scale: MatchScale | None, unit: float) -> list[Hit]:
    """The hits with their `match`; `unit` is the query's `bm25_unit`.

    Without a scale, or with an empty one, they stay as they are.
    """
    if scale is None or not scale.questions:
        return list(hits)
    return [
        replace(
            hit,
            match=scale.match(
                hit.dense if hit.embedded else None, normalised_bm25(hit.keyword, unit)
            ),
        )
        for hit in hits
    ]


def bm25_unit(snapshot: Snapshot, query: str) -> float:
    """What a query's BM25 scores are divided by: √m, or m / √w if m < w; 0 without words.

    `m` is the query's maximum, and `w` that of a single word that occurs nowhere. The words of a
    small index, or of its one subject, occur in most of its passages: their maximum tends to 0, and
    with it any score over √m. So a query counts as much as one rare word at least. That word is in
    a passage to the share score / m of what is asked.
    """
    most = snapshot.max_bm25(query)
    return most / sqrt(max(most, snapshot.max_word_bm25())) if most > 0 else 0.0


def normalised_bm25(keyword: float | None, unit: float) -> float | None:
    """A BM25 score over the query's `bm25_unit`; 0 where this is 0.

    >>> normalised_bm25(3.0, 4.0), normalised_bm25(0.0, 0.0), normalised_bm25(None, 4.0)
    (0.75, 0.0, None)
    """
    if keyword is None:
        return None
    return keyword / unit if unit > 0 else 0.0


def matching_ids(
    snapshot: Snapshot,
    scale: MatchScale,
    min_match: float,
    vector: Vectors | None,
    query: str | None,
    *,
    unit: float,
    where: Filter | None = None,
    tolerant: bool = False,
) -> set[str]:
    """The ids of all chunks that the filter lets through and whose match is at least `min_match`.

    `vector`: the query's raw one, (dim,), None in keyword mode; `query` is None in dense mode;
    `unit` as in `with_match`. A chunk among neither side's `depth` best scores at most the last
    of each (see `retriever.searching.hybrid.search` for stores that are not exact), and the match
    grows with both scores. So the depth grows until these two scores are too low.
    """
    depth, pending = CANDIDATES, vector is not None and snapshot.some_pending
    while True:
        dense = None if vector is None else snapshot.dense(vector, depth, where)
        keyword = (
            None if query is None else snapshot.keyword(query, depth, where, tolerant=tolerant)
        )
        if _is_complete(dense, keyword, depth) and (
            not pending or keyword is None or len(keyword.ids) < depth
        ):
            break
        reach = normalised_bm25(_upper_bound(keyword, depth), unit)
        most = scale.match(_upper_bound(dense, depth), reach)
        if pending and reach is not None:
            most = max(most, scale.match(None, reach))
        if most < min_match:
            break
        depth *= 4
    ids = list(dict.fromkeys([*(dense.ids if dense else ()), *(keyword.ids if keyword else ())]))
    cosines: Sequence[float | None] = [None] * len(ids)
    words = cosines
    if dense is not None and vector is not None:
        cosines = _scores_of(ids, dense, depth, partial(snapshot.dense_scores, vector)).tolist()
        if pending:
            missing = snapshot.passages.without_vector(ids)
            cosines = [
                None if id_ in missing else one for id_, one in zip(ids, cosines, strict=True)
            ]
    if keyword is not None and query is not None:
        ask = partial(snapshot.keyword_scores, query, tolerant=tolerant)
        words = _scores_of(ids, keyword, depth, ask).tolist()
    return {
        chunk_id
        for chunk_id, cosine, score in zip(ids, cosines, words, strict=True)
        if scale.match(cosine, normalised_bm25(score, unit)) >= min_match
    }


def _is_complete(dense: ScoredIds | None, keyword: ScoredIds | None, depth: int) -> bool:
    """Whether all chunks are scored; the dense side, if asked, scores every chunk."""
    side = dense or keyword
    return side is None or len(side.ids) < depth


def _upper_bound(side: ScoredIds | None, depth: int) -> float | None:
    """The largest score of a chunk that is not among the side's `depth` best."""
    if side is None:
        return None
    return float(side.scores[-1]) if len(side.ids) == depth else 0.0


def nothing_matches(hits: Iterable[Hit], least: float = MATCH) -> bool:
    """Whether all hits have a match below `least`; False if there are none."""
    matches = [hit.match for hit in hits]
    return bool(matches) and all(match is not None and match < least for match in matches)


def verdict(hits: Sequence[Hit]) -> str:
    """A warning where the best hit does not match; empty where it does, or has no match."""
    if not nothing_matches(hits):
        return ""
    return NOTHING_MATCHES if nothing_matches(hits, CHANCE_MATCH) else UNCERTAIN


def _score_question(
    snapshot: Snapshot, question: str, vector: Vectors
) -> tuple[DoubleScores, DoubleScores]:
    """Cosines and normalised BM25 scores of the passages among the best of either side."""
    dense = snapshot.dense(vector, CANDIDATES)
    keyword = snapshot.keyword(question, CANDIDATES)
    ids = list(dict.fromkeys([*dense.ids, *keyword.ids]))
    cosines = _scores_of(ids, dense, CANDIDATES, partial(snapshot.dense_scores, vector))
    scores = _scores_of(ids, keyword, CANDIDATES, partial(snapshot.keyword_scores, question))
    unit = bm25_unit(snapshot, question)
    return cosines, scores / unit if unit > 0 else np.zeros(len(ids))


def _scores_of(
    ids: Sequence[str], side: ScoredIds, depth: int, ask: Callable[[list[str]], Scores]
) -> DoubleScores:
    """The side's scores of all ids; `ask` gives those that are not among its `depth` best.

    If the side found fewer than `depth` chunks, all others have score 0.
    """
    known = dict(zip(side.ids, side.scores.tolist(), strict=True))
    missing = [chunk_id for chunk_id in ids if chunk_id not in known]
    if missing and len(side.ids) == depth:
        known.update(zip(missing, ask(missing).tolist(), strict=True))
    return np.array([known.get(chunk_id, 0.0) for chunk_id in ids], dtype=np.float64)


def _max_score(scores: DoubleScores) -> float:
    return float(scores.max()) if len(scores) else 0.0


def _sorted_scores(scores: Iterable[float]) -> tuple[float, ...]:
    # Rounded: the last digits of a cosine depend on how passages are stored.
    return tuple(sorted(round(score, 6) for score in scores))


def _mean_and_deviation(scores: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of the scale's scores."""
    if not scores:
        return 0.0, 1.0
    return float(np.mean(scores)), max(_MIN_SPREAD, float(np.std(scores)))


def _hybrid_scores(
    dense: DoubleScores,
    keyword: DoubleScores,
    dense_scale: tuple[float, float],
    keyword_scale: tuple[float, float],
) -> DoubleScores:
    total: DoubleScores = (dense - dense_scale[0]) / dense_scale[1]
    return total + KEYWORD_WEIGHT * (keyword - keyword_scale[0]) / keyword_scale[1]


__all__ = [
    "CHANCE_MATCH",
    "GENERAL_QUESTIONS",
    "MATCH",
    "NOTHING_MATCHES",
    "UNCERTAIN",
    "MatchScale",
    "bm25_unit",
    "fit_match_scale",
    "general_questions",
    "matching_ids",
    "normalised_bm25",
    "nothing_matches",
    "verdict",
    "with_match",
]
