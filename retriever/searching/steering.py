"""Steering: a query's vector is changed by word weights and marked passages, without the model.

A query's vector e is a sum of parts a_i, one for each word, so weighting them is arithmetic:

    e' = e + Σ_i (w_i − 1) a_i,  then calibrated;  all w_i = 1: exactly the plain query

The marked words of a passage have a direction: the sum of their parts, each without its share of
the mean (see `retriever.explaining.score`), mapped as passages are, at length one. It is added to
the calibrated query, times its weight. A negative weight moves away from it. With an empty query
the direction is the query.

The keyword side follows: words with weight 0 or less are removed from the query, and marked words
with a positive weight are added. BM25 does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from retriever.arrays import DoubleVectors, Vectors
from retriever.embedding.attributed import AttributedText, AttributionCache
from retriever.embedding.word_attribution import WordSpan
from retriever.searching.options import Marked, Steering
from retriever.searching.query_syntax import is_searchable
from retriever.storage.calibration import Calibration
from retriever.types import Chunk, UsageError

MIN_LENGTH = 1e-6
"""Smallest length of a sum that has a direction."""


@dataclass(frozen=True, slots=True)
class SteeredQuery:
    """A steered query: a raw vector (dim,), and the words for BM25."""

    vector: Vectors
    text: str


def steer(
    attributions: AttributionCache,
    query: str,
    steering: Steering,
    means: Calibration,
    chunk_of: Callable[[str], Chunk],
) -> SteeredQuery:
    """Apply a steering to a query's text; `chunk_of` finds a marked passage by its id.

    Raises UsageError if there are not as many weights as words, if no word is marked, or if nothing
    remains to search for.
    """
    if steering.marked and not is_searchable(query):
        vector: Vectors | None = None
        text = ""
    else:
        attributed, text = weight_words(query, attributions.query(query), steering.weights)
        vector = attributed.raw
    if vector is not None and not steering.marked:
        return SteeredQuery(vector, text)
    found = [
        _marked_direction(attributions, chunk_of(one.chunk_id), one, means)
        for one in steering.marked
    ]
    total = np.zeros(found[0].vector.shape)
    for one, each in zip(steering.marked, found, strict=True):
        total += one.weight * each.vector
    if vector is not None:
        total += means.query(vector)
    wanted = [
        each.words for one, each in zip(steering.marked, found, strict=True) if one.weight > 0
    ]
    return SteeredQuery(_raw_query(total, means), " ".join(filter(None, [text, *wanted])))


def weight_words(
    query: str, attributed: AttributedText, weights: Sequence[float]
) -> tuple[AttributedText, str]:
    """A query's attribution with weighted words, and its text without words of weight 0 or less.

    If all weights are 1, both are unchanged. Raises UsageError for a wrong number of weights.
    """
    count, raw = len(attributed.words), attributed.raw
    if weights:
        _check_weights(attributed.words, weights)
    if raw is None or all(weight == 1 for weight in weights):
        return attributed, query
    parts = attributed.vectors.copy()
    parts[:count] *= np.asarray(weights)[:, None]
    changed = raw + (parts - attributed.vectors).sum(axis=0)
    length = float(np.linalg.norm(changed)) or 1.0
    vector: Vectors = (changed / length).astype(np.float32)
    weighted = AttributedText(attributed.words, parts / length, vector)
    return weighted, counting_text(query, attributed.words, weights)


def counting_text(query: str, words: Sequence[WordSpan], weights: Sequence[float]) -> str:
    """The query without its words of weight 0 or less.

    Raises UsageError for a wrong number of weights.

    >>> words = WordSpan("long", 0, 4), WordSpan("password", 5, 13)
    >>> counting_text("long password", words, (1.0, 0.0)).split()
    ['long']
    """
    _check_weights(words, weights)
    for word, weight in reversed(list(zip(words, weights, strict=True))):
        if weight <= 0:
            query = f"{query[: word.start]} {query[word.end :]}"
    return query


def _check_weights(words: Sequence[WordSpan], weights: Sequence[float]) -> None:
    if len(weights) != len(words):
        raise UsageError(f"the query has {len(words)} words, but {len(weights)} weights were given")


@dataclass(frozen=True, slots=True)
class _MarkedDirection:
    """The direction of marked words, (dim,) of length 1, and the words."""

    vector: DoubleVectors
    words: str


def _marked_direction(
    attributions: AttributionCache, chunk: Chunk, marked: Marked, means: Calibration
) -> _MarkedDirection:
    attributed = attributions.passage(chunk)
    chosen = [
        at
        for at, word in enumerate(attributed.words)
        if not word.in_title and word.start < marked.end and word.end > marked.start
    ]
    whole = attributed.vectors.sum(axis=0)
    part = attributed.vectors[chosen].sum(axis=0)
    part = means.map_passage(part - (part @ whole) * means.passage_mean)
    length = float(np.linalg.norm(part))
    if not chosen or length == 0:
        raise UsageError(
            f"no word is marked between characters {marked.start} and {marked.end} of this passage"
        )
    words = (attributed.words[at] for at in chosen)
    return _MarkedDirection(part / length, " ".join(word.word for word in words))


def _raw_query(calibrated: DoubleVectors, means: Calibration) -> Vectors:
    """The raw vector whose calibrated vector has this direction (dim,)."""
    length = float(np.linalg.norm(calibrated))
    if length < MIN_LENGTH:
        raise UsageError("what is wanted and what is not cancel out: nothing remains to search for")
    return means.raw_query(calibrated / length)


__all__ = ["Marked", "SteeredQuery", "Steering", "counting_text", "steer", "weight_words"]
