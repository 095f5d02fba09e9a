"""Steering a search without the model: a weight for each word, more or less like a passage's part.

A query's vector is a sum over its words, so weighing them is arithmetic:

    e' = e + Σ_i (w_i − 1) a_i,  calibrated as ever;  all w_i = 1: the plain query, exactly

Words of a passage, marked, point from what is common to all texts towards what was read at them:
the sum of their parts, each without its share of the mean (see `explain`), at length one. It is
added to the calibrated query as often as its weight says; a negative one leads away from it, and
with an empty query it is the query.

The keyword side follows: a word with weight 0 or less is not looked for, and the marked words of
which more is wanted are. How often a word counts otherwise is left to BM25.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from retriever.arrays import DoubleVectors, Vectors
from retriever.embedding.attributed import AttributedText, AttributionCache
from retriever.searching.options import Marked, Steering
from retriever.searching.query_syntax import says_something
from retriever.storage.calibration import Calibration
from retriever.types import Chunk, UsageError

NOTHING = 1e-6
"""A sum of directions that is shorter has none."""


@dataclass(frozen=True, slots=True)
class Steered:
    """What is searched with instead of a query: a raw vector (dim,), and words for BM25."""

    vector: Vectors
    text: str


def steer(
    sides: AttributionCache,
    query: str,
    steering: Steering,
    means: Calibration,
    chunk_of: Callable[[str], Chunk],
) -> Steered:
    """Apply a steering to a query's text; `chunk_of` finds a marked passage by its id.

    Raises UsageError where the weights are not as many as the query has words, where no word is
    marked, or where nothing remains to search for.
    """
    if steering.marked and not says_something(query):
        vector: Vectors | None = None
        text = ""
    else:
        side, text = weigh(query, sides.query(query), steering.weights)
        vector = side.raw
    if vector is not None and not steering.marked:
        return Steered(vector, text)
    found = [_direction(sides, chunk_of(one.chunk_id), one, means) for one in steering.marked]
    total = np.zeros(found[0].vector.shape)
    for one, each in zip(steering.marked, found, strict=True):
        total += one.weight * each.vector
    if vector is not None:
        total += means.query(vector)
    wanted = [
        each.words for one, each in zip(steering.marked, found, strict=True) if one.weight > 0
    ]
    return Steered(_raw(total, means), " ".join(filter(None, [text, *wanted])))


def weigh(query: str, side: AttributedText, weights: Sequence[float]) -> tuple[AttributedText, str]:
    """A query's side with its words weighed, and its text without those that weigh nothing.

    If all weigh 1, both are as they were. Raises UsageError for another number of weights.
    """
    count, raw = len(side.words), side.raw
    if weights and len(weights) != count:
        raise UsageError(f"the query has {count} words, but {len(weights)} weights were given")
    if raw is None or all(weight == 1 for weight in weights):
        return side, query
    parts = side.vectors.copy()
    parts[:count] *= np.asarray(weights)[:, None]
    changed = raw + (parts - side.vectors).sum(axis=0)
    length = float(np.linalg.norm(changed)) or 1.0
    for word, weight in reversed(list(zip(side.words, weights, strict=True))):
        if weight <= 0:
            query = f"{query[: word.start]} {query[word.end :]}"
    vector: Vectors = (changed / length).astype(np.float32)
    return AttributedText(side.words, parts / length, vector), query


@dataclass(frozen=True, slots=True)
class _Direction:
    """Where marked words point, (dim,) of length 1, and the words themselves."""

    vector: DoubleVectors
    words: str


def _direction(
    sides: AttributionCache, chunk: Chunk, marked: Marked, means: Calibration
) -> _Direction:
    side = sides.passage(chunk)
    chosen = [
        at
        for at, word in enumerate(side.words)
        if not word.in_title and word.start < marked.end and word.end > marked.start
    ]
    whole = side.vectors.sum(axis=0)
    part = side.vectors[chosen].sum(axis=0)
    part = part - (part @ whole) * means.passage_mean
    length = float(np.linalg.norm(part))
    if not chosen or length == 0:
        raise UsageError(
            f"no word is marked between characters {marked.start} and {marked.end} of this passage"
        )
    words = (side.words[at] for at in chosen)
    return _Direction(part / length, " ".join(word.word for word in words))


def _raw(calibrated: DoubleVectors, means: Calibration) -> Vectors:
    """The raw vector that is calibrated to this direction (dim,)."""
    length = float(np.linalg.norm(calibrated))
    if length < NOTHING:
        raise UsageError("what is wanted and what is not cancel out: nothing remains to search for")
    return means.raw_query(calibrated / length)


__all__ = ["Marked", "Steered", "Steering", "steer", "weigh"]
