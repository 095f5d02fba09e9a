"""Examples for an adapter: pairs as calibrated vectors, with hard negatives from the index.

Stored vectors are used wherever the index has the passage; a query, and a passage that the index
does not have as it is, is embedded once. Nothing is written to the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retriever.arrays import Integers, Vectors
from retriever.storage.backends import Snapshot
from retriever.tuning.adapter import Examples

POOL = 20_000
"""Passages of the index among which hard negatives are sought, by a fixed random choice."""

BACKGROUND = 2_048
"""Passages of the pool that represent all of them."""

NEGATIVES = 24
"""Hard negatives of a query."""

TWIN = 0.95
"""A passage as near as that to an answer is one, too."""

_BLOCK = 512  # queries compared with the pool at once


@dataclass(frozen=True, slots=True)
class Answer:
    """What answers a query: vectors (n, dim), calibrated, of which the nearest one is trained on.

    `documents` are the ids of the documents that have it; their passages are no negatives.
    """

    vectors: Vectors
    documents: frozenset[str]


@dataclass(frozen=True, slots=True)
class Question:
    """A query with its calibrated vector (dim,), and its answers."""

    text: str
    vector: Vectors
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Pool:
    """Some passages of an index: calibrated vectors (n, dim), and their documents' ids."""

    vectors: Vectors
    documents: Sequence[str]

    @classmethod
    def of(cls, now: Snapshot, count: int = POOL) -> Pool:
        """Passages that are always the same for the same index."""
        chunks = now.catalog.sample_chunks(count, embedded=True)
        raw = now.catalog.sample_vectors(count)
        return cls(now.calibration.passage(raw), [chunk.document_id for chunk in chunks])


def stored_vectors(now: Snapshot, chunk_ids: Sequence[str]) -> dict[str, Vectors]:
    """Chunk id → its calibrated vector (dim,), for those that have one."""
    keys = now.catalog.vector_keys(chunk_ids)
    if not keys:
        return {}
    raw = now.catalog.load_vectors(list(keys.values()))
    return dict(zip(keys, now.calibration.passage(raw), strict=True))


def make_examples(questions: Sequence[Question], pool: Pool, *, each: int, seed: int) -> Examples:
    """Examples of at most `each` pairs of a question; those of its answers that are nearest."""
    draw = np.random.default_rng(seed)
    queries = np.stack([question.vector for question in questions])
    found = _Rows(pool)
    pairs: list[tuple[int, int]] = []
    negatives: list[list[int]] = []
    for at, (question, near) in enumerate(zip(questions, _nearest(queries, pool), strict=True)):
        answers = list(question.answers)
        if len(answers) > each:
            answers = [answers[i] for i in draw.choice(len(answers), each, replace=False)]
        best = [one.vectors[int(np.argmax(one.vectors @ question.vector))] for one in answers]
        documents = frozenset[str]().union(*(one.documents for one in question.answers))
        pairs += [
            (at, found.answer(vector, one.documents))
            for vector, one in zip(best, answers, strict=True)
        ]
        negatives.append(found.negatives(near, np.stack(best), documents))
    width = min(map(len, negatives), default=0)
    background = draw.choice(len(pool.vectors), min(BACKGROUND, len(pool.vectors)), replace=False)
    return Examples(
        queries,
        found.stacked(),
        np.array(pairs, dtype=np.int64),
        np.array([row[:width] for row in negatives], dtype=np.int64).reshape(len(questions), width),
        found.all_answers(questions),
        pool.vectors[background],
    )


class _Rows:
    """The rows of the passages of examples: answers, and passages of the pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._vectors: list[Vectors] = []
        self._documents: list[frozenset[str]] = []
        self._of_pool: dict[int, int] = {}

    def answer(self, vector: Vectors, documents: frozenset[str]) -> int:
        """The row of a new answer."""
        self._vectors.append(vector)
        self._documents.append(documents)
        return len(self._vectors) - 1

    def negatives(self, near: Integers, answers: Vectors, documents: frozenset[str]) -> list[int]:
        """The rows of passages (m,) of the pool, nearest first, that do not answer."""
        twins = (self._pool.vectors[near] @ answers.T).max(axis=1) >= TWIN
        right = [
            int(at)
            for at, twin in zip(near, twins, strict=True)
            if not twin and self._pool.documents[at] not in documents
        ]
        return [self._pooled(at) for at in right[:NEGATIVES]]

    def _pooled(self, at: int) -> int:
        if at not in self._of_pool:
            documents = frozenset([self._pool.documents[at]])
            self._of_pool[at] = self.answer(self._pool.vectors[at], documents)
        return self._of_pool[at]

    def stacked(self) -> Vectors:
        """The vectors of all rows."""
        return np.stack(self._vectors)

    def all_answers(self, questions: Sequence[Question]) -> Integers:
        """The numbers `question · rows + row` of all answers, ascending."""
        rows_of: dict[str, list[int]] = {}
        for row, documents in enumerate(self._documents):
            for name in documents:
                rows_of.setdefault(name, []).append(row)
        count = len(self._vectors)
        found = {
            at * count + row
            for at, question in enumerate(questions)
            for answer in question.answers
            for name in answer.documents
            for row in rows_of.get(name, ())
        }
        return np.array(sorted(found), dtype=np.int64)


def _nearest(queries: Vectors, pool: Pool) -> list[Integers]:
    """The rows of the pool that are nearest to each query, nearest first."""
    count = min(4 * NEGATIVES, len(pool.vectors))
    found: list[Integers] = []
    for start in range(0, len(queries), _BLOCK):
        for scores in queries[start : start + _BLOCK] @ pool.vectors.T:
            some = np.argpartition(-scores, count - 1)[:count].astype(np.int64)
            found.append(some[np.argsort(-scores[some], kind="stable")])
    return found


__all__ = [
    "Answer",
    "Pool",
    "Question",
    "make_examples",
    "stored_vectors",
]
