"""Runs against hand-computed means; baselines kept, read back, compared and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retriever.evaluation.runs import Data, Run, digest, load_run, save_run, score_rankings
from retriever.types import UsageError

QRELS = {f"q{n}": {"right": 1} for n in range(10)}
DATA = Data("mini", 3, digest(["a", "b"]), digest(["q"]))


def ranked(*ranks: int) -> dict[str, list[str]]:
    """Rankings with the relevant document at these ranks."""
    return {
        f"q{n}": [f"wrong {i}" for i in range(1, rank)] + ["right"] for n, rank in enumerate(ranks)
    }


def run(**modes: dict[str, list[str]]) -> Run:
    return Run(DATA, score_rankings(modes, QRELS), {"model": "fake", "layers": [1, 2]})


GOOD, POOR = ranked(*[1] * 10), ranked(*[2] * 9, 3)


def test_means_intervals_and_the_comparison_with_keyword() -> None:
    found = run(keyword=POOR, dense=GOOD, hybrid=POOR).to_json()
    assert found["queries"] == 10
    assert found["modes"]["keyword"]["mrr@10"] == pytest.approx((9 / 2 + 1 / 3) / 10, abs=1e-4)
    assert found["modes"]["dense"] == {
        "ndcg@10": 1.0, "mrr@10": 1.0, "recall@10": 1.0, "recall@100": 1.0,
    }  # fmt: skip
    assert found["intervals"]["dense"]["ndcg@10"] == [1.0, 1.0]
    low, high = found["intervals"]["keyword"]["mrr@10"]
    assert low < found["modes"]["keyword"]["mrr@10"] < high <= 0.5
    against = found["against_keyword"]
    assert against["dense"]["mrr@10"]["verdict"] == "better"
    assert against["dense"]["recall@10"]["verdict"] == "within noise"
    assert against["hybrid"]["ndcg@10"]["difference"] == 0
    assert "keyword" not in against
    assert "per_query" not in found


def test_values_of_each_query_on_request() -> None:
    found = run(keyword=POOR).to_json(per_query=True)["per_query"]
    assert found["keyword"]["mrr@10"]["q9"] == pytest.approx(1 / 3)
    json.dumps(found)


def test_a_query_that_found_nothing_counts() -> None:
    some = run(keyword={"q0": ["right"]})
    assert some.intervals()["keyword"]["mrr@10"].mean == pytest.approx(0.1)


def test_a_baseline_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "base.json"
    before = run(keyword=POOR, hybrid=GOOD)
    save_run(before, path)
    assert load_run(path) == before
    now = run(keyword=POOR, dense=GOOD, hybrid=POOR)
    found = now.against(load_run(path))
    assert set(found) == {"keyword", "hybrid"}
    assert found["keyword"]["ndcg@10"].verdict == "within noise"
    assert found["hybrid"]["ndcg@10"].verdict == "worse"
    assert before.against(now)["hybrid"]["ndcg@10"].verdict == "better"


def test_a_baseline_may_be_of_another_model(tmp_path: Path) -> None:
    save_run(replace(run(keyword=POOR), made_with={"model": "other"}), tmp_path / "b.json")
    assert run(keyword=POOR).against(load_run(tmp_path / "b.json"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"documents_digest": "x"}, "of other documents: mini .* save a new one"),
        ({"queries_digest": "x"}, "of other queries or judgements"),
    ],
)
def test_a_baseline_of_something_else_is_refused(change: dict[str, str], message: str) -> None:
    now = run(keyword=POOR)
    with pytest.raises(UsageError, match=message):
        now.against(replace(now, data=replace(DATA, **change)))


def test_a_baseline_that_lacks_queries_is_refused() -> None:
    values = score_rankings({"keyword": POOR}, {"q1": {"right": 1}})
    with pytest.raises(UsageError, match="lacks some"):
        run(keyword=POOR).against(Run(DATA, values))


def damaged(**change: Any) -> str:
    kept = {
        "wva_baseline": 1, "name": "n", "documents": 1, "documents_digest": "d",
        "queries_digest": "q", "made_with": {}, "queries": ["a"],
        "values": {"keyword": {"mrr@10": [1.0]}},
    }  # fmt: skip
    return json.dumps({**kept, **change})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{oops", "not JSON"),
        ("[1]", "is not a baseline"),
        ('{"modes": {}}', "is not a baseline"),
        (damaged(wva_baseline=99), "is not a baseline"),
        (damaged(values={"keyword": {"mrr@10": [1.0, 0.5]}}), "damaged"),
        (damaged(values={"keyword": {"mrr@10": ["high"]}}), "damaged"),
        (damaged(values=[]), "damaged"),
        (damaged(queries=None), "damaged"),
    ],
)
def test_a_file_that_is_no_baseline(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        load_run(path)


def test_a_baseline_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_run(tmp_path / "none.json")
