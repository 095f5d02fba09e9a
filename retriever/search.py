"""Query → hits: two sides, dense and keyword, fused by adding z-normalised scores.

For each query and side, mean and deviation are taken over *all* chunks (a chunk without a query
word has keyword score 0), so a side that tells the chunks apart clearly weighs more than one that
does not. Rank fusion throws exactly that away and was measured worse than BM25 alone.

This module asks a backend and a query vector; it does not know how either came to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from retriever.backends import Backend, ScoredIds
from retriever.contents import only_refers, ranked
from retriever.filters import Filter
from retriever.query import says_something
from retriever.types import Chunk, Hit, UsageError

Vectors = NDArray[np.float32]

CANDIDATES = 200
"""At least so many chunks of each side are looked at, whatever `k`."""

BLOCK = 64
"""Texts of so many chunks are fetched at once."""


class Mode(StrEnum):
    """Which sides answer a query."""

    HYBRID = "hybrid"
    DENSE = "dense"
    KEYWORD = "keyword"


def as_mode(name: str) -> Mode:
    """The mode of this name. Raises UsageError if there is none."""
    try:
        return Mode(name)
    except ValueError:
        raise UsageError(f"unknown mode {name!r}: use {', '.join(Mode)}") from None


def search(
    backend: Backend,
    query: str,
    embed: Callable[[str], Vectors],
    *,
    k: int = 10,
    mode: str = "hybrid",
    where: Filter | None = None,
    by_file: bool = False,
    tolerant: bool = False,
) -> list[Hit]:
    """The `k` best chunks for `query` (with `by_file` the best chunk of each of `k` documents).

    `embed` gives a query's raw vector (dim,); it is not called in keyword mode, nor when there is
    nothing to search. Any text is a legal query; one of punctuation alone finds nothing, symbols
    (😀, €) are left to the dense side. `tolerant`: for a word that occurs nowhere keywords take the
    nearest ones (see `Backend.keyword`). The result is the same as if all chunks had been scored on
    both sides, and tables of contents and the like lowered (see `contents`). Raises UsageError for
    an impossible `k` or `mode`.
    """
    if k < 1:
        raise UsageError(f"the number of results must be at least 1; it is {k}")
    chosen = as_mode(mode)
    if not says_something(query) or not backend.sample_chunks(1):
        return []
    vector = None if chosen is Mode.KEYWORD else embed(query)
    ask = _Question(backend, query, vector, where, tolerant=tolerant)
    depth = max(CANDIDATES, 2 * k)
    while True:
        ranking = ask.ranking(chosen, depth)
        hits = ask.hits(ranking, k, by_file=by_file)
        if len(hits) == k or ranking.exhausted:
            return hits
        depth *= 4


@dataclass(frozen=True, slots=True)
class _Ranking:
    """Chunks by score, best first. The first `settled` stand where they would among all chunks.

    `dense` and `keyword` are each side's scores of the same chunks, `exhausted` that there are no
    other chunks to be found.
    """

    ids: list[str]
    scores: list[float]
    dense: list[float] | None
    keyword: list[float] | None
    settled: int
    exhausted: bool


class _Question:
    """One query against one backend."""

    def __init__(
        self,
        backend: Backend,
        query: str,
        vector: Vectors | None,
        where: Filter | None,
        *,
        tolerant: bool,
    ) -> None:
        self.backend = backend
        self.query = query
        self.vector = vector
        self.where = where
        self.tolerant = tolerant

    def ranking(self, mode: Mode, depth: int) -> _Ranking:
        """The chunks among each side's `depth` best, ordered by both."""
        vector = self.vector
        if mode is Mode.KEYWORD or vector is None:
            side = self._keyword(depth)
            scores = side.scores.tolist()
            return _Ranking(list(side.ids), scores, None, scores, *_single(side, depth))
        dense = self.backend.dense(vector, depth, self.where)
        if mode is Mode.DENSE:
            scores = dense.scores.tolist()
            return _Ranking(list(dense.ids), scores, scores, None, *_single(dense, depth))
        keyword = self._keyword(depth)
        return self._fused(vector, dense, keyword, depth)

    def _keyword(self, depth: int) -> ScoredIds:
        return self.backend.keyword(self.query, depth, self.where, tolerant=self.tolerant)

    def _fused(self, vector: Vectors, dense: ScoredIds, keyword: ScoredIds, depth: int) -> _Ranking:
        """Both sides' chunks by the sum of their standardised scores; equal ones by id."""
        ids = list(dict.fromkeys([*dense.ids, *keyword.ids]))
        dense_scores = _completed(
            ids, dense, lambda missing: self.backend.dense_scores(vector, missing)
        )
        keyword_scores = _completed(
            ids,
            keyword,
            lambda missing: self.backend.keyword_scores(
                self.query, missing, tolerant=self.tolerant
            ),
        )
        total = _standardised(dense_scores, dense) + _standardised(keyword_scores, keyword)
        order = sorted(range(len(ids)), key=lambda at: (-total[at], ids[at]))
        scores = [float(total[at]) for at in order]
        most = _most_unseen(dense, keyword, depth)
        return _Ranking(
            ids=[ids[at] for at in order],
            scores=scores,
            dense=dense_scores[order].tolist(),
            keyword=keyword_scores[order].tolist(),
            settled=sum(score > most for score in scores),
            exhausted=len(dense.ids) < depth and len(keyword.ids) < depth,
        )

    def hits(self, ranking: _Ranking, k: int, *, by_file: bool) -> list[Hit]:
        """The `k` best of what is settled; with `by_file`, the first of each document."""
        hits: list[Hit] = []
        seen: set[str] = set()
        found = (
            (ranking.scores[at], only_refers(chunk.text), (at, chunk))
            for at, chunk in self._chunks(ranking.ids[: ranking.settled], BLOCK if by_file else k)
        )
        for score, (at, chunk) in ranked(found, complete=ranking.exhausted):
            if by_file and chunk.document_id in seen:
                continue
            seen.add(chunk.document_id)
            hits.append(
                Hit(
                    rank=len(hits) + 1,
                    score=score,
                    chunk=chunk,
                    dense=None if ranking.dense is None else ranking.dense[at],
                    keyword=None if ranking.keyword is None else ranking.keyword[at],
                )
            )
            if len(hits) == k:
                break
        return hits

    def _chunks(self, ids: list[str], block: int) -> Iterator[tuple[int, Chunk]]:
        """Places and chunks, in order; a chunk may have been removed since the sides answered."""
        for start in range(0, len(ids), block):
            part = ids[start : start + block]
            found = {chunk.id: chunk for chunk in self.backend.get(part)}
            for at, chunk_id in enumerate(part, start):
                if chunk_id in found:
                    yield at, found[chunk_id]


def _single(side: ScoredIds, depth: int) -> tuple[int, bool]:
    """How much of one side's own order is settled: all of it; and whether there is no more."""
    return len(side.ids), len(side.ids) < depth


def _most_unseen(dense: ScoredIds, keyword: ScoredIds, depth: int) -> float:
    """What a chunk among neither side's `depth` best scores at most: the sum of their last ones."""
    if len(dense.ids) < depth:
        return -np.inf  # there is none: the dense side scores every chunk
    last = keyword.scores[-1] if len(keyword.ids) == depth else 0.0
    ends = np.array([dense.scores[-1]], np.float64), np.array([last], np.float64)
    return float(_standardised(ends[0], dense)[0] + _standardised(ends[1], keyword)[0])


def _completed(
    ids: list[str], side: ScoredIds, ask: Callable[[list[str]], NDArray[np.float32]]
) -> NDArray[np.float64]:
    """The side's score of every id: (n,)."""
    known = dict(zip(side.ids, side.scores.tolist(), strict=True))
    missing = [chunk_id for chunk_id in ids if chunk_id not in known]
    if missing:
        known.update(zip(missing, ask(missing).tolist(), strict=True))
    return np.array([known[chunk_id] for chunk_id in ids], dtype=np.float64)


def _standardised(scores: NDArray[np.float64], side: ScoredIds) -> NDArray[np.float64]:
    """(score − mean) / deviation; a side that tells no chunk from another says nothing."""
    if side.std <= 0:
        return np.zeros_like(scores)
    return (scores - side.mean) / side.std
