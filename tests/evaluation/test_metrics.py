"""Metrics against hand-computed cases and naive versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from retriever.evaluation.metrics import (
    MEASURES,
    mrr_at,
    ndcg_at,
    recall_at,
    spearman,
    values_by_query,
)
from retriever.types import UsageError


def test_ndcg_by_hand() -> None:
    judged = {"a": 3, "b": 2, "c": 1, "d": 0}
    gained = 2 / 1 + 0 / math.log2(3) + 3 / 2  # b, d, a at ranks 1, 2, 3
    ideal = 3 / 1 + 2 / math.log2(3) + 1 / 2
    assert ndcg_at(3, ["b", "d", "a", "c"], judged) == pytest.approx(gained / ideal)
    assert ndcg_at(1, ["b", "d"], judged) == pytest.approx(2 / 3)
    assert ndcg_at(10, ["a", "b", "c"], judged) == pytest.approx(1)


def test_the_ideal_is_cut_at_k_too() -> None:
    assert ndcg_at(2, ["a", "b"], dict.fromkeys("abcdef", 1)) == pytest.approx(1)


def test_negative_and_unknown_judgements_gain_nothing() -> None:
    assert ndcg_at(10, ["x", "bad", "a"], {"a": 1, "bad": -1}) == pytest.approx(1 / math.log2(4))
    assert ndcg_at(10, ["a"], {"bad": -1}) == 0
    assert mrr_at(10, ["bad"], {"bad": -1}) == 0
    assert recall_at(10, ["bad"], {"bad": -1}) == 0


def test_a_document_found_twice_counts_once() -> None:
    assert ndcg_at(10, ["a", "a", "b"], {"a": 1, "b": 1}) == pytest.approx(1)
    assert recall_at(2, ["a", "a", "b"], {"a": 1, "b": 1}) == 1


def test_mrr_and_recall_by_hand() -> None:
    judged = {"a": 1, "b": 2}
    assert mrr_at(10, ["x", "y", "b", "a"], judged) == pytest.approx(1 / 3)
    assert mrr_at(2, ["x", "y", "b"], judged) == 0
    assert recall_at(3, ["x", "y", "b", "a"], judged) == 0.5
    assert recall_at(100, [], judged) == 0


def test_queries_without_an_answer_are_left_out_of_the_mean() -> None:
    rankings = {"p": ["a"], "q": ["x", "a"], "nothing judged": ["a"], "none relevant": ["a"]}
    qrels = {"p": {"a": 1}, "q": {"a": 1}, "not searched": {"a": 1}, "none relevant": {"a": 0}}
    found = values_by_query(MEASURES["mrr@10"], rankings, qrels)
    assert found == {"p": 1, "q": 0.5, "not searched": 0}
    assert values_by_query(MEASURES["mrr@10"], {}, {"q": {"a": 0}}) == {}


def naive_spearman(first: list[float], second: list[float]) -> float:
    """By the definition: Pearson's correlation of ranks counted by comparing every pair."""

    def ranks(values: list[float]) -> list[float]:
        return [
            sum(other < value for other in values) + (sum(o == value for o in values) + 1) / 2
            for value in values
        ]

    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


small = st.integers(-3, 3).map(float)


@given(st.lists(st.tuples(small, small), min_size=2, max_size=30))
def test_spearman_is_the_definition(pairs: list[tuple[float, float]]) -> None:
    first, second = [one for one, _ in pairs], [two for _, two in pairs]
    assume(len(set(first)) > 1 and len(set(second)) > 1)
    assert spearman(first, second) == pytest.approx(naive_spearman(first, second), abs=1e-12)


def test_spearman_by_hand() -> None:
    assert spearman([1, 2, 3, 4], [2, 4, 6, 9]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [9, 4, 1, 0]) == pytest.approx(-1)
    # Without ties: 1 − 6 Σd² / (n (n² − 1)), d = (1, 1, 1, 1, 0)
    assert spearman([1, 2, 3, 4, 5], [20, 10, 40, 30, 50]) == pytest.approx(1 - 6 * 4 / 120)
    # Ranks (1.5, 1.5, 3) and (1, 2, 3): covariance 1.5, variances 1.5 and 2
    assert spearman([7, 7, 9], [1, 2, 3]) == pytest.approx(1.5 / math.sqrt(1.5 * 2))


def test_spearman_where_it_is_not_defined() -> None:
    for one, two in ([[1, 1], [1, 2]], [[], []], [[1], [1]], [[1, math.nan], [1, 2]]):
        assert math.isnan(spearman(one, two))
    with pytest.raises(UsageError, match=r"\(2,\).*\(3,\)"):
        spearman([1, 2], [1, 2, 3])
