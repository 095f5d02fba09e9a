"""The guard keeps what helps by more than noise, on rankings and on rated sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from retriever.arrays import Vectors
from retriever.evaluation.metrics import spearman
from retriever.evaluation.runs import Data, Run
from retriever.searching.options import Mode
from retriever.significance import Verdict
from retriever.tuning.guard import (
    MIN_QUERIES,
    RatedRun,
    evaluate_held,
    judge_change,
    retrieval_dataset,
)
from retriever.tuning.pairs import Pair, PairData, Passage
from retriever.types import UsageError
from tests.fakes import FakeEmbedder


class Fake(FakeEmbedder):
    """With sentences; `said` are the cosines of pairs of them, by their first sentence."""

    dtype = "float32"

    def embed_sentences(self, texts: Sequence[str]) -> Vectors:
        return self.embed_inputs([self.settings.prompts.sentence.format(text) for text in texts])

    def general_mean(self, template: str | Sequence[str]) -> Vectors:
        return np.zeros(self.settings.dimension, np.float32)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WVA_CACHE", str(tmp_path / "cache"))


def run(dense: list[float], hybrid: list[float], queries: str = "q") -> Run:
    values = {
        mode: {"ndcg@10": {str(at): value for at, value in enumerate(found)}}
        for mode, found in (("dense", dense), ("hybrid", hybrid))
    }
    return Run(Data("set", 9, "documents", queries), values)


LOW, HIGH = [0.2] * 40, [0.5] * 40


@pytest.mark.parametrize(
    ("after", "kept", "said"),
    [
        ((HIGH, LOW), True, "It is kept"),
        ((LOW, HIGH), True, "It is kept"),
        ((HIGH, HIGH), True, "It is kept"),
        ((LOW, LOW), False, "Nothing is better by more than noise"),
        ((HIGH, [0.1] * 40), False, "Something is worse by more than noise"),
        (([0.1] * 40, HIGH), False, "Something is worse by more than noise"),
        # Five queries that are better are noise.
        (([0.9] * 5 + [0.2] * 35, LOW), False, "Nothing is better"),
    ],
)
def test_what_is_kept(after: tuple[list[float], list[float]], kept: bool, said: str) -> None:
    found = judge_change(run(LOW, LOW), run(*after))
    assert found.kept is kept
    assert said in found.sentence
    assert "On 40 held-out queries" in found.sentence
    assert f"dense nDCG@10 0.200 and {np.mean(after[0]):.3f}" in found.sentence
    assert found.hybrid is not None
    assert found.dense.difference.mean == pytest.approx(np.mean(after[0]) - 0.2)
    assert found.hybrid.difference.mean == pytest.approx(np.mean(after[1]) - 0.2)


@pytest.mark.parametrize(
    ("wanted", "after", "kept", "said"),
    [
        ("hybrid", (HIGH, LOW), False, "Hybrid search is not better by more than noise (--for de"),
        ("hybrid", (LOW, HIGH), True, "It is kept"),
        ("hybrid", (HIGH, HIGH), True, "It is kept"),
        ("hybrid", (LOW, LOW), False, "Nothing is better by more than noise"),
        ("hybrid", ([0.1] * 40, HIGH), False, "Something is worse by more than noise"),
        ("dense", (HIGH, LOW), True, "It is kept"),
        ("dense", (LOW, HIGH), False, "Dense search is not better by more than noise (--for hyb"),
        ("dense", (HIGH, [0.1] * 40), False, "Something is worse by more than noise"),
    ],
)
def test_the_search_that_is_wanted_has_to_be_better(
    wanted: str, after: tuple[list[float], list[float]], kept: bool, said: str
) -> None:
    found = judge_change(run(LOW, LOW), run(*after), wanted=Mode(wanted))
    assert found.kept is kept
    assert said in found.sentence


def test_too_few_queries_tell_nothing() -> None:
    count = MIN_QUERIES - 1
    found = judge_change(run(LOW[:count], LOW[:count]), run(HIGH[:count], HIGH[:count]))
    assert not found.kept
    assert found.dense.verdict is Verdict.BETTER
    assert found.sentence.startswith(f"There are {count} held-out queries; fewer than 20 cannot")
    assert judge_change(run(LOW, LOW), run(HIGH, HIGH), least=40).kept


def test_runs_on_different_data_are_refused() -> None:
    rated = RatedRun("set", "digest", (1.0,), (1.0,))
    with pytest.raises(UsageError, match="other queries"):
        judge_change(run(LOW, LOW), run(HIGH, HIGH, "others"))
    for one, other in (
        (rated, run(LOW, LOW)),
        (run(LOW, LOW), rated),
        (rated, RatedRun("set", "another", (1.0,), (1.0,))),
    ):
        with pytest.raises(UsageError, match="different data"):
            judge_change(one, other)
    alone = Run(Data("set", 9, "documents", "q"), {"dense": run(LOW, LOW).values["dense"]})
    with pytest.raises(UsageError, match="one lacks it"):
        judge_change(alone, alone)


def word(beginning: str, number: int) -> str:
    """A word of its own for each number, that no stemmer shortens."""
    letters = "bdfgkmnprt"
    return (
        f"{beginning}o{letters[number // 10 % 10]}u{letters[number % 10]}{letters[number // 100]}ak"
    )


def synonyms() -> PairData:
    """Each query is one word, and its passage has another word of the same meaning."""
    pairs = [
        Pair(word("q", n), Passage(f"The passage has {word('w', n)} in it.", id=f"d{n}"))
        for n in range(30)
    ]
    others = {
        f"o{n}": Passage(f"Something else about {word('t', n)}.", id=f"o{n}") for n in range(40)
    }
    return PairData(pairs, {pair.positive.id: pair.positive for pair in pairs} | others, "made")


def test_an_embedder_that_learns_the_synonyms_is_kept() -> None:
    data = synonyms()
    known = {word("q", n): word("w", n) for n in range(30)}
    before = evaluate_held(Fake(), data)
    after = evaluate_held(Fake(weights="tuned", same=known), data)
    found = judge_change(before, after)
    assert found.kept, found.sentence
    assert found.hybrid is not None
    assert found.dense.verdict is found.hybrid.verdict is Verdict.BETTER
    assert isinstance(after, Run)
    assert np.mean(list(after.values["dense"]["ndcg@10"].values())) == pytest.approx(1.0)
    back = judge_change(after, before)
    assert not back.kept
    assert "worse" in back.sentence


def test_pairs_as_a_data_set() -> None:
    data = synonyms()
    twice = [*data.pairs, Pair(word("q", 0), data.corpus["d1"], (data.corpus["o1"],))]
    found = retrieval_dataset(PairData(twice, data.corpus, "made"))
    assert sorted(found.queries.values()) == sorted({pair.query for pair in twice})
    assert sorted(map(len, found.qrels.values())) == [1] * 29 + [2]
    assert found.corpus == {name: ("", each.text) for name, each in data.corpus.items()}
    few = retrieval_dataset(PairData(twice, data.corpus, "made"), 35)
    assert len(few.corpus) == 35
    assert {f"d{n}" for n in range(30)} | {"o1"} <= set(few.corpus) <= set(found.corpus)
    assert len(retrieval_dataset(data, 3).corpus) == 30
    reordered = dict(sorted(data.corpus.items(), reverse=True))
    assert set(retrieval_dataset(PairData(twice, reordered, "made"), 35).corpus) == set(few.corpus)


def rated() -> PairData:
    """The score of a pair is how many of its words are alike, if one knows the synonyms."""
    pairs = []
    for n in range(60):
        alike = n % 5
        first = [word("a", 4 * n + at) for at in range(4)]
        second = [word("b" if at < alike else "z", 4 * n + at) for at in range(4)]
        pairs.append(Pair(" ".join(first), Passage(" ".join(second)), score=float(alike)))
    return PairData(pairs, {}, "rated")


def test_rated_sentences_are_compared_by_rank_correlation() -> None:
    data = rated()
    known = {word("a", n): word("b", n) for n in range(240)}
    before = evaluate_held(Fake(), data)
    after = evaluate_held(Fake(weights="tuned", same=known), data)
    assert isinstance(before, RatedRun)
    assert isinstance(after, RatedRun)
    assert after.spearman == pytest.approx(100 * spearman(after.gold, after.cosines))
    assert after.spearman > 95
    found = judge_change(before, after)
    assert found.kept
    assert found.hybrid is None
    difference = (after.spearman - before.spearman) / 100
    assert found.dense.difference.mean == pytest.approx(difference)
    assert found.sentence.startswith("On 60 held-out rated pairs, before and after: rank corr")
    assert not judge_change(before, before).kept


def test_an_embedder_without_sentences_is_refused() -> None:
    class Without(FakeEmbedder):
        dtype = "float32"

    with pytest.raises(UsageError, match="cannot compare sentences"):
        evaluate_held(Without(), rated())
