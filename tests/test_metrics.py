"""Metrics against hand-computed cases and naive versions; readers against files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from retriever.metrics import (
    Pair,
    mean_over,
    mrr_at,
    ndcg_at,
    read_pairs,
    read_retrieval,
    recall_at,
    spearman,
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
    found = mean_over(lambda ranking, judged: mrr_at(10, ranking, judged), rankings, qrels)
    assert found == pytest.approx((1 + 0.5 + 0) / 3)
    assert math.isnan(mean_over(lambda ranking, judged: 1.0, {}, {"q": {"a": 0}}))


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


def beir(folder: Path, qrels: str = "qrels.tsv") -> Path:
    documents = [{"_id": "d1", "title": "T", "text": "one\u2028line"}, {"_id": "d2", "text": ""}]
    queries = [{"_id": name, "text": f"query {name}"} for name in ("q1", "q2", "unjudged")]
    for name, rows in (("corpus", documents), ("queries", queries)):
        lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (folder / f"{name}.jsonl").write_text(lines + "\n\n", encoding="utf-8")
    (folder / qrels).parent.mkdir(exist_ok=True)
    judged = "query-id\tcorpus-id\tscore\r\nq1\td1\t1\r\nq1\td2\t0\r\nq2\td2\t2\r\ngone\td1\t1\r\n"
    (folder / qrels).write_bytes(judged.encode())
    return folder


@pytest.mark.parametrize("qrels", ["qrels.tsv", "qrels/test.tsv"])
def test_a_beir_folder(tmp_path: Path, qrels: str) -> None:
    found = read_retrieval(beir(tmp_path, qrels))
    assert found.corpus == {"d1": ("T", "one\u2028line"), "d2": ("", "")}
    assert found.queries == {"q1": "query q1", "q2": "query q2"}
    assert found.qrels == {"q1": {"d1": 1, "d2": 0}, "q2": {"d2": 2}}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus.jsonl", '{"_id": "a", "text": "x"}\n{oops', r"corpus\.jsonl, line 2: .*JSON"),
        ("corpus.jsonl", '\n{"_id": 7, "text": "x"}', r"corpus\.jsonl, line 2: .*strings"),
        ("corpus.jsonl", '["a"]', r"corpus\.jsonl, line 1"),
        ("corpus.jsonl", '{"_id": "a", "text": "x", "title": 3}', r"line 1: \"title\""),
        ("queries.jsonl", '{"_id": "q1", "text": "x"}\n' * 2, r"queries\.jsonl, line 2: .*twice"),
        ("queries.jsonl", '{"_id": "other", "text": "x"}', "no query .* judgement"),
        ("qrels.tsv", "query-id\tcorpus-id\tscore\nq1 d1 1", r"qrels\.tsv, line 2"),
        ("qrels.tsv", "q1\td1\tone", r"qrels\.tsv, line 1: .*'one' is not a number"),
    ],
)
def test_a_bad_beir_file_is_named_with_its_line(
    tmp_path: Path, file: str, content: str, message: str
) -> None:
    (beir(tmp_path) / file).write_text(content)
    with pytest.raises(UsageError, match=message):
        read_retrieval(tmp_path)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        read_retrieval(tmp_path / "none")
    for name in ("corpus.jsonl", "queries.jsonl"):
        (beir(tmp_path) / name).unlink()
        with pytest.raises(UsageError, match=f"{name} cannot be read"):
            read_retrieval(tmp_path)
    (beir(tmp_path) / "qrels.tsv").unlink()
    with pytest.raises(UsageError, match=r"neither qrels\.tsv nor qrels/test\.tsv"):
        read_retrieval(tmp_path)


def test_pairs_keep_their_quotes(tmp_path: Path) -> None:
    path = tmp_path / "sts.tsv"
    path.write_bytes(
        '\ufeffscore\tsentence1\tsentence2\r\n4.5\t"Hi," he said\tit\'s "ok\r\n0\ta\tb\n'.encode()
    )
    assert read_pairs(path) == [Pair(4.5, '"Hi," he said', "it's \"ok"), Pair(0.0, "a", "b")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: the header"),
        (b"a\tb\tc\n", "line 1: the header"),
        (b"score\tsentence1\tsentence2\n", "no pairs"),
        (b"score\tsentence1\tsentence2\n1\ta\tb\n\n2\ta\n", "line 4: three"),
        (b"score\tsentence1\tsentence2\nhigh\ta\tb\n", "line 2: the score 'high'"),
        (b"score\tsentence1\tsentence2\nnan\ta\tb\n", "line 2: the score 'nan'"),
        (b"score\tsentence1\tsentence2\n1\t\xff\tb\n", "not UTF-8"),
    ],
)
def test_bad_pairs_are_named_with_their_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "sts.tsv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"sts\.tsv.* {message}"):
        read_pairs(path)
