"""Maximal marginal relevance, against LangChain's own and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from retriever.searching.mmr import diversify, mmr
from retriever.types import Chunk, Hit, UsageError


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("k", [0, 1, 4, 20, 30])
def test_it_chooses_as_langchain_does(weight, k) -> None:
    rng = np.random.default_rng(11)
    for count in (0, 1, 2, 20):
        vectors = rng.normal(size=(count, 8)) * rng.uniform(0.1, 9, size=(count, 1))
        query = rng.normal(size=8)
        expected = maximal_marginal_relevance(query, vectors.tolist(), weight, k)
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
        cosines = vectors @ query / lengths if count else []
        assert mmr(cosines, vectors.astype(np.float64), k, weight) == expected


def hits(*scores: float) -> list[Hit]:
    return [
        Hit(rank, score, Chunk(str(rank), "d", "a.txt", "txt", "", None, 0, 1, "x"))
        for rank, score in enumerate(scores, 1)
    ]


VECTORS = np.array([[1, 0], [1, 0], [0.6, 0.8], [0, 0]], np.float32)


def test_by_hand() -> None:
    found = hits(8.0, 7.0, 5.0, 4.0)  # relevance 1, 0.75, 0.25, 0
    # 0.5: second 0.375 - 0.5, third 0.125 - 0.3, fourth 0 - 0: the vector that says nothing.
    chosen = diversify(found, VECTORS, 3, 0.5)
    assert [hit.chunk.id for hit in chosen] == ["1", "4", "2"]
    assert [hit.rank for hit in chosen] == [1, 2, 3]
    assert [hit.score for hit in chosen] == [8.0, 4.0, 7.0]


def test_without_diversity_the_order_stays_and_scale_and_origin_do_not_matter() -> None:
    found = hits(8.0, 7.0, 5.0, 4.0)
    assert diversify(found, VECTORS, 4, 0.0) == found
    for scaled in (hits(80, 70, 50, 40), hits(-2, -3, -5, -6)):
        for diversity in (0.1, 0.4, 0.7, 1.0):
            ids = [h.chunk.id for h in diversify(found, VECTORS, 4, diversity)]
            assert [h.chunk.id for h in diversify(scaled, VECTORS, 4, diversity)] == ids
    assert [h.chunk.id for h in diversify(hits(3, 3, 3), VECTORS[:3], 3, 0.5)] == ["1", "3", "2"]
    assert diversify([], VECTORS[:0], 3, 0.5) == []


@pytest.mark.parametrize("diversity", [-0.1, 1.1, float("nan")])
def test_an_impossible_diversity_is_refused(diversity) -> None:
    with pytest.raises(UsageError, match="from 0 to 1"):
        diversify(hits(1.0), VECTORS[:1], 1, diversity)


def test_a_passage_without_a_vector_is_as_like_as_the_others_on_average() -> None:
    """Not unlike all of them, as its zeros would say: it would always come second."""
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(6, 4)) + 1.0
    known = [True, True, False, True, True, False]
    vectors[[2, 5]] = 0
    units = vectors[known] / np.linalg.norm(vectors[known], axis=1, keepdims=True)
    cosines = units @ units.T
    average = np.mean([cosines[i, j] for i in range(4) for j in range(4) if i != j])
    full = np.full((6, 6), average)
    own = np.flatnonzero(known)
    full[np.ix_(own, own)] = cosines
    relevance = [0.9, 0.85, 0.84, 0.8, 0.3, 0.25]
    chosen = [0]
    while len(chosen) < 6:
        rest = [at for at in range(6) if at not in chosen]
        chosen.append(max(rest, key=lambda at: 0.5 * relevance[at] - 0.5 * full[at, chosen].max()))
    assert mmr(relevance, vectors.astype(np.float32), 6, 0.5, known) == chosen
    assert mmr([0.9, 0.8, 0.7], np.zeros((3, 4), np.float32), 3, 0.5, [False] * 3) == [0, 1, 2]
