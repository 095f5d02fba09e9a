"""Reranking: a language model judges the first hits, within a time limit.

The judge gives each of the first `count` hits log P(query | passage). The search score and the
judge's score are standardised over the judged hits (mean 0, standard deviation 1) and have equal
weights, so their units do not matter. The hits after the first `count` keep their ranks.

When the time is over, some of the first hits are not judged. Their judge's score is predicted from
the search score, by the linear regression over the judged hits. If the judge agrees with the
search, an unjudged hit remains below the judged ones; if not, it gets an average score. So an
unjudged hit is neither penalised nor favoured.

This module calls a judge; it knows nothing about models.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from retriever.arrays import DoubleScores
from retriever.embedding.protocols import Judge
from retriever.searching.options import check_budget
from retriever.settings import RERANK_SECONDS
from retriever.types import Hit, UsageError

BATCH = 8
"""Number of hits judged between two checks of the time: enough to keep all cores busy."""


def as_judge(embedder: object) -> Judge:
    """An embedder as a judge. Raises UsageError where its model cannot compute likelihoods."""
    if not isinstance(embedder, Judge):
        raise UsageError("this embedder cannot rerank: it has no language model to judge with")
    return embedder


def rerank(
    query: str,
    hits: Sequence[Hit],
    judge: Judge,
    count: int,
    *,
    seconds: float = RERANK_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> list[Hit]:
    """`hits` with the first `count` in a new order and with new ranks; ties keep their order.

    A judged hit has its log-likelihood in `Hit.rerank`. `score` still falls from hit to hit: the
    fused scores are scaled to the range of the same hits' search scores. At least one batch is
    judged. Another one begins only if, at the pace so far, it ends within `seconds`.
    """
    check_budget(count, seconds)
    first = list(hits[:count])
    judged = _judge_hits(query, first, judge, clock, seconds)
    if not len(judged):
        return list(hits)
    before = np.array([hit.score for hit in first], dtype=np.float64)
    order = np.argsort(-fuse(before, judged), kind="stable")
    scores = rescaled(before, judged)
    moved = [
        replace(
            first[at],
            score=float(scores[at]),
            rerank=float(judged[at]) if at < len(judged) else None,
        )
        for at in order
    ]
    return [replace(hit, rank=rank) for rank, hit in enumerate([*moved, *hits[count:]], 1)]


def _judge_hits(
    query: str, hits: Sequence[Hit], judge: Judge, clock: Callable[[], float], seconds: float
) -> DoubleScores:
    """The judge's scores of the first m hits, as many as the time allows: (m,)."""
    begin = clock()
    scores: list[float] = []
    while len(scores) < len(hits):
        part = hits[len(scores) : len(scores) + BATCH]
        pace = (clock() - begin) / max(1, len(scores))
        if scores and clock() - begin + pace * len(part) > seconds:
            break
        texts, titles = [hit.chunk.text for hit in part], [hit.chunk.title for hit in part]
        scores += judge.log_likelihoods(query, texts, titles).tolist()
    return np.array(scores, dtype=np.float64)


def fuse(before: DoubleScores, judged: DoubleScores) -> DoubleScores:
    """The mean of both scores, standardised over the judged hits: (n,).

    `before` are the search scores, (n,); `judged` are the judge's scores of the first m hits, (m,).
    The other hits' are predicted by the regression on `before`. Scaling either score, or adding a
    constant to it, changes nothing.

    >>> fuse(np.array([3.0, 1.0]), np.array([-2.0, -1.0]))
    array([0., 0.])
    >>> fuse(np.array([3.0, 1.0, -1.0]), np.array([-1.0, -2.0]))
    array([ 1., -1., -3.])
    """
    count = len(judged)
    one = _standardised(before, before[:count])
    two = _standardised(judged, judged)
    agreement = float(np.clip(np.mean(one[:count] * two), 0.0, 1.0))
    foretold: DoubleScores = np.concatenate([two, agreement * one[count:]])
    return (one + foretold) / 2


def rescaled(before: DoubleScores, judged: DoubleScores) -> DoubleScores:
    """The scores after reranking: `fuse`, scaled to the range of `before`: (n,)."""
    return _rescale_to(fuse(before, judged), before)


def _standardised(scores: DoubleScores, by: DoubleScores) -> DoubleScores:
    """(score − mean) / standard deviation of `by`; zeros where all of `by` are equal."""
    deviation = by.std()
    if deviation <= 1e-12 * max(1.0, float(np.abs(by).max())):
        return np.zeros_like(scores)
    standard: DoubleScores = (scores - by.mean()) / deviation
    return standard


def _rescale_to(mixed: DoubleScores, before: DoubleScores) -> DoubleScores:
    """`mixed` shifted and scaled to the range of `before`."""
    low, high = float(before.min()), float(before.max())
    share = mixed - mixed.min()
    width = float(share.max())
    stretched: DoubleScores = low + (high - low) * (share / width if width > 0 else share)
    return stretched
