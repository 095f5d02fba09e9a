"""Hybrid search: a query → passages, by the sum of the z-scores of dense and keyword search.

For each query and side, mean and standard deviation are taken over *all* chunks (a chunk without a
query word has keyword score 0). So a side that separates the chunks clearly counts more than one
that does not. Rank fusion discards that information and was measured worse than BM25 alone. Where
the dense side misleads in a corpus, it has a smaller weight (see `dense_weight`). The best passages
expand the query for a second search (see `feedback`).

All scores, statistics, vectors and texts come from one snapshot, hence from one generation of the
index. This module gets a snapshot and a query vector; it does not make either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from retriever.arrays import DoubleScores, Scores, Vectors
from retriever.searching.feedback import (
    NEAREST,
    SHARE,
    Feedback,
    passage_count,
    rm3_expansion,
    rocchio,
)
from retriever.searching.options import Mode, as_mode, check_count
from retriever.searching.query_syntax import is_searchable
from retriever.searching.toc import demote_toc, looks_like_toc
from retriever.storage.backends import ScoredIds, Snapshot
from retriever.storage.filters import Filter
from retriever.storage.records import Expansion
from retriever.text.analyzer import content_terms
from retriever.types import Chunk, Hit

CANDIDATES = 200
"""Smallest number of candidates from each side, whatever `k`."""

BLOCK = 64
"""Number of chunks whose texts or dense scores are fetched at once."""


def search(
    snapshot: Snapshot,
    query: str,
    embed: Callable[[str], Vectors],
    *,
    k: int = 10,
    mode: str = "hybrid",
    where: Filter | None = None,
    by_file: bool = False,
    tolerant: bool = False,
    feedback: bool = True,
) -> list[Hit]:
    """The `k` best chunks for `query` (with `by_file` the best chunk of each of `k` documents).

    `embed` gives a query's raw vector (dim,). It is not called in keyword mode, nor when there is
    nothing to search. Any text is a legal query; punctuation alone finds nothing, and only the
    dense side knows symbols (😀, €). `tolerant`: keyword search replaces a word that occurs nowhere
    by the nearest ones (see `Snapshot.keyword`). `feedback`: a hybrid search is repeated with the
    expanded query (see `retriever.searching.feedback`); the hits' `dense` and `keyword` remain the
    scores of the query alone. Tables of contents and the like get lower scores (see `toc`).

    With an exact store ("Flat"), the result is the same as if all chunks were scored on both sides:
    a chunk that is not among the nearest has no larger cosine than the last of these. A store that
    selects candidates by codes (SQ8, RaBitQ), by a graph or by lists (HNSW, IVF) scores its
    candidates exactly, so all scores are right. But it may miss one of the nearest chunks; such
    a chunk is found only if its words make it a candidate.

    A chunk without a vector is found by its words alone. Its dense score is then the mean of all
    others, and `Hit.embedded` is False.

    Raises UsageError for an impossible `k` or `mode`.
    """
    check_count(k)
    chosen = as_mode(mode)
    if not is_searchable(query) or not snapshot.passages.count():
        return []
    vector = None if chosen is Mode.KEYWORD else embed(query)
    again = None
    if feedback and chosen is Mode.HYBRID and vector is not None:
        again = query_feedback(snapshot, query, vector, tolerant=tolerant)
    if again is None or vector is None:
        found = _HybridQuery(snapshot, query, vector, where, tolerant).top(
            chosen, k, by_file=by_file
        )
        return _marked(snapshot, found)
    expanded = _HybridQuery(snapshot, query, again.vector, where, tolerant, again.expansion)
    found = expanded.top(chosen, k, by_file=by_file)
    return _marked(snapshot, _with_query_scores(snapshot, query, vector, found, tolerant=tolerant))


def _marked(snapshot: Snapshot, hits: list[Hit]) -> list[Hit]:
    """The hits; those without a vector are marked, if a dense side was asked."""
    if not hits or hits[0].dense is None or not snapshot.some_pending:
        return hits
    missing = snapshot.passages.without_vector([hit.chunk.id for hit in hits])
    return [replace(hit, embedded=hit.chunk.id not in missing) for hit in hits]


def query_feedback(
    snapshot: Snapshot, query: str, vector: Vectors, *, tolerant: bool = False
) -> Feedback | None:
    """The expanded query of a hybrid search; None where there is no feedback.

    The passages assumed relevant come from the whole index, whatever the filter, so that a chunk's
    score does not depend on the filter. `vector`: raw, (dim,).
    """
    total = snapshot.passages.count()
    count = passage_count(total)
    if not count:
        return None
    first = _HybridQuery(snapshot, query, vector, None, tolerant).top(Mode.HYBRID, count)
    if not first or first[0].score <= 0:
        return None  # nothing distinguishes them from the rest
    ids = [hit.chunk.id for hit in first]
    missing = snapshot.passages.without_vector(ids) if snapshot.some_pending else ()
    nearest = snapshot.passages.vectors([id_ for id_ in ids if id_ not in missing][:NEAREST])
    share = SHARE * min(1.0, snapshot.dense_weight)
    added = rm3_expansion(
        [
            (hit.score, content_terms(terms))
            for hit, terms in zip(first, snapshot.passages.terms(ids), strict=True)
        ],
        snapshot.query_weight(query),
        snapshot.passages.document_frequencies,
        total,
        share,
    )
    return Feedback(added, *rocchio(vector, nearest, snapshot.calibration, share))


def hybrid_scores(
    snapshot: Snapshot, query: str, vector: Vectors, chunk_ids: Sequence[str]
) -> DoubleScores:
    """The scores that a hybrid search with feedback gives these chunks, wherever they rank: (n,).

    `vector`: the query's raw one, (dim,). Tables of contents are not lowered.
    """
    again = query_feedback(snapshot, query, vector)
    asked, added = (vector, None) if again is None else (again.vector, again.expansion)
    dense, keyword = snapshot.dense(asked, 1), snapshot.keyword(query, 1, expansion=added)
    near = dense.standardised(snapshot.dense_scores(asked, chunk_ids))
    words = keyword.standardised(snapshot.keyword_scores(query, chunk_ids, expansion=added))
    total: DoubleScores = snapshot.dense_weight * near + words
    return total


def _with_query_scores(
    snapshot: Snapshot, query: str, vector: Vectors, hits: list[Hit], *, tolerant: bool
) -> list[Hit]:
    """The hits with both sides' scores for the query without expansion."""
    ids = [hit.chunk.id for hit in hits]
    dense = snapshot.dense_scores(vector, ids).tolist()
    keyword = snapshot.keyword_scores(query, ids, tolerant=tolerant).tolist()
    return [
        replace(hit, dense=one, keyword=other)
        for hit, one, other in zip(hits, dense, keyword, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Ranking:
    """Chunks by score, best first. The first `settled` have the same rank among all chunks.

    `dense` and `keyword` are each side's scores of the same chunks. `exhausted` says that no other
    chunks can be found.
    """

    ids: list[str]
    scores: list[float]
    dense: list[float] | None
    keyword: list[float] | None
    settled: int
    exhausted: bool


@dataclass(frozen=True, slots=True)
class _HybridQuery:
    """A query against a snapshot, with its raw vector and its expansion, each None for none."""

    snapshot: Snapshot
    query: str
    vector: Vectors | None
    where: Filter | None
    tolerant: bool
    expansion: Expansion | None = None

    def top(self, mode: Mode, k: int, *, by_file: bool = False) -> list[Hit]:
        """The `k` best chunks, from as many candidates as it takes to be exact."""
        depth = max(CANDIDATES, 2 * k)
        wanted = k
        while True:
            ranking = self.rank(mode, depth, wanted)
            hits = self.select(ranking, k, by_file=by_file)
            if len(hits) == k or ranking.exhausted:
                return hits
            depth, wanted = 4 * depth, 4 * depth

    def rank(self, mode: Mode, depth: int, wanted: int) -> _Ranking:
        """The chunks among each side's `depth` best, ordered by the fused score.

        Chunks that cannot be among the `wanted` best may be left out.
        """
        vector = self.vector
        if mode is Mode.KEYWORD or vector is None:
            side = self._keyword(depth)
            scores = side.scores.tolist()
            return _Ranking(
                list(side.ids), scores, None, scores, *_settled_and_exhausted(side, depth)
            )
        keyword = None
        if mode is Mode.HYBRID:  # both sides at once
            self.snapshot.begin_dense(vector, depth, self.where)
            keyword = self._keyword(depth)
        dense = self.snapshot.dense(vector, depth, self.where)
        if keyword is None:
            scores = dense.scores.tolist()
            return _Ranking(
                list(dense.ids), scores, scores, None, *_settled_and_exhausted(dense, depth)
            )
        return self._fuse(vector, dense, keyword, depth, wanted)

    def _keyword(self, depth: int) -> ScoredIds:
        return self.snapshot.keyword(
            self.query, depth, self.where, tolerant=self.tolerant, expansion=self.expansion
        )

    def _fuse(
        self, vector: Vectors, dense: ScoredIds, keyword: ScoredIds, depth: int, wanted: int
    ) -> _Ranking:
        """Both sides' chunks by the sum of their standardised scores; ties by id.

        Dense scores are slow to compute. A chunk that is not among the nearest has at most the
        cosine of the last of these (see `search` for stores that may miss one), which bounds its
        fused score. So chunks are scored in the order of their bounds, until no bound reaches the
        `wanted` best.
        """
        ids = list(dense.ids)
        keyword_scores = _complete_scores(
            ids,
            keyword,
            lambda missing: self.snapshot.keyword_scores(
                self.query, missing, tolerant=self.tolerant, expansion=self.expansion
            ),
        )
        dense_scores = dense.scores.astype(np.float64)
        weight = self.snapshot.dense_weight
        total = weight * dense.standardised(dense_scores)
        total += keyword.standardised(keyword_scores)
        near = set(ids)
        others = [at for at, id_ in enumerate(keyword.ids) if id_ not in near]
        words = keyword.scores.astype(np.float64)[others]
        pending = self.snapshot.some_pending
        most = _unseen_bound(dense, keyword, depth, weight, pending=pending)
        for start in range(0, len(others), BLOCK):
            reach = _upper_bound(dense, keyword, words[start], weight, pending=pending)
            if len(total) >= wanted and reach < np.partition(total, -wanted)[-wanted]:
                most = max(most, reach)
                break
            some = [keyword.ids[at] for at in others[start : start + BLOCK]]
            theirs = self.snapshot.dense_scores(vector, some).astype(np.float64)
            known = words[start : start + BLOCK]
            ids += some
            dense_scores = np.append(dense_scores, theirs)
            keyword_scores = np.append(keyword_scores, known)
            both = weight * dense.standardised(theirs) + keyword.standardised(known)
            total = np.append(total, both)
        order = sorted(range(len(ids)), key=lambda at: (-total[at], ids[at]))
        scores = [float(total[at]) for at in order]
        return _Ranking(
            ids=[ids[at] for at in order],
            scores=scores,
            dense=dense_scores[order].tolist(),
            keyword=keyword_scores[order].tolist(),
            settled=sum(score > most for score in scores),
            exhausted=len(dense.ids) < depth and len(keyword.ids) < depth,
        )

    def select(self, ranking: _Ranking, k: int, *, by_file: bool) -> list[Hit]:
        """The `k` best of the settled chunks; with `by_file`, the best of each document."""
        hits: list[Hit] = []
        seen: set[str] = set()
        found = (
            (ranking.scores[at], looks_like_toc(chunk.text), (at, chunk))
            for at, chunk in self._chunks(ranking.ids[: ranking.settled], BLOCK if by_file else k)
        )
        for score, (at, chunk) in demote_toc(found, complete=ranking.exhausted):
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
        """(position, chunk) in the order of `ids`."""
        for start in range(0, len(ids), block):
            yield from enumerate(self.snapshot.catalog.get(ids[start : start + block]), start)


def _settled_and_exhausted(side: ScoredIds, depth: int) -> tuple[int, bool]:
    """`settled` and `exhausted` of one side's own ranking: all of it is settled."""
    return len(side.ids), len(side.ids) < depth


def _unseen_bound(
    dense: ScoredIds, keyword: ScoredIds, depth: int, weight: float, *, pending: bool
) -> float:
    """The largest score of a chunk among neither side's `depth` best: that of both last scores.

    `pending`: some chunks have no vector; they are found by their words only.
    """
    every_word = len(keyword.ids) < depth
    if len(dense.ids) < depth and (every_word or not pending):
        return -np.inf  # there is none: the dense side scored every chunk with a vector
    last = 0.0 if every_word else keyword.scores[-1]
    return _upper_bound(dense, keyword, last, weight, pending=pending)


def _upper_bound(
    dense: ScoredIds, keyword: ScoredIds, words: float, weight: float, *, pending: bool
) -> float:
    """The largest score of a chunk with this keyword score that is not among the nearest.

    It is a bound if the store finds the nearest chunks, see `search`. One without a vector has the
    mean score.
    """
    if not len(dense.scores) and not pending:
        return -np.inf  # there is none: the dense side scored every chunk
    last = [dense.scores[-1]] if len(dense.scores) else []
    far = max([*last, *([dense.mean] if pending else [])])
    ends = np.array([far], np.float64), np.array([words], np.float64)
    return float(weight * dense.standardised(ends[0])[0] + keyword.standardised(ends[1])[0])


def _complete_scores(
    ids: list[str], side: ScoredIds, ask: Callable[[list[str]], Scores]
) -> DoubleScores:
    """The side's scores of all ids, the missing ones from `ask`: (n,)."""
    known = dict(zip(side.ids, side.scores.tolist(), strict=True))
    missing = [chunk_id for chunk_id in ids if chunk_id not in known]
    if missing:
        known.update(zip(missing, ask(missing).tolist(), strict=True))
    return np.array([known[chunk_id] for chunk_id in ids], dtype=np.float64)
