"""Hits in a better order: the first of them judged by a language model, within a budget.

The judge gives each of the first `count` hits log P(query | passage). Both scores are standardised
over the judged hits (mean 0, deviation 1) and count half each, so neither's unit matters. The hits
behind them stay where they are.

When the time is over, some of the first hits are not judged. Each of them is taken for what its
first score foretells, by the regression of the judge's scores on the first ones over the judged
hits: a judge that agrees with the first order leaves it below them, one that does not counts it as
average. So it is neither punished for not having been read nor favoured.

This module asks a judge; it knows nothing about models.
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
"""Hits judged between two looks at the clock: enough to keep all cores busy."""


def as_judge(embedder: object) -> Judge:
    """An embedder as a judge. Raises UsageError where its model cannot tell likelihoods."""
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
    """`hits` with the first `count` in a new order, ranks counted anew; ties keep their order.

    What was judged has its log-likelihood in `Hit.rerank`. `score` still falls from hit to hit: the
    mixed scores are stretched over the range that the first scores of the same hits had. At least
    one round is judged; another is begun only if, at the pace so far, it ends within `seconds`.
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
    """The judge's scores of as many of the first hits as the time allows: (m,)."""
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
    """Half of each, standardised over the judged hits: (n,).

    `before` are the first scores, (n,), `judged` the judge's of the first m of them, (m,); the
    others are given what the regression on `before` foretells. The scale of either side, and a
    constant added to it, change nothing.

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
    """The scores after reranking: `fuse`, in the range that the first scores had: (n,)."""
    return _rescale_to(fuse(before, judged), before)


def _standardised(scores: DoubleScores, by: DoubleScores) -> DoubleScores:
    """(score − mean) / deviation of `by`; where all of those are equal they tell nothing."""
    deviation = by.std()
    if deviation <= 1e-12 * max(1.0, float(np.abs(by).max())):
        return np.zeros_like(scores)
    standard: DoubleScores = (scores - by.mean()) / deviation
    return standard


def _rescale_to(mixed: DoubleScores, before: DoubleScores) -> DoubleScores:
    """`mixed` moved and scaled to the range of `before`."""
    low, high = float(before.min()), float(before.max())
    share = mixed - mixed.min()
    width = float(share.max())
    stretched: DoubleScores = low + (high - low) * (share / width if width > 0 else share)
    return stretched
