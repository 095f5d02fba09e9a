"""Hard negatives against a naive choice; a teacher's scores against those of a search."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from retriever import Index
from retriever.searching.hybrid import hybrid_scores, search
from retriever.searching.near_duplicates import fingerprint
from retriever.searching.rerank import rescaled
from retriever.tuning.negatives import mine, open_pairs, teacher_scores
from retriever.tuning.pairs import Pair, PairData, Passage
from retriever.types import UsageError
from tests.fakes import FakeEmbedder
from tests.tuning.test_documents import WORDS

QUERIES = 12


class Fake(FakeEmbedder):
    dtype = "float32"


class WordJudge:
    """A query is the likelier the more of its words a passage has; `seen` are the passages."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def log_likelihoods(
        self, query: str, passages: Sequence[str], titles: Sequence[str] | None = None
    ) -> np.ndarray:
        self.seen += passages
        words = query.lower().split()
        return np.array([sum(word in text.lower() for word in words) for text in passages], float)


def make_data() -> PairData:
    """Twelve queries of four words; passages with some of these words each, in all numbers."""
    draw = random.Random(1)
    corpus: dict[str, Passage] = {}
    pairs: list[Pair] = []

    def passage(name: str, words: Sequence[str], title: str = "") -> Passage:
        text = [*draw.choices(WORDS, k=30), *words]
        draw.shuffle(text)
        corpus[name] = Passage(" ".join(text), title, name)
        return corpus[name]

    for n in range(QUERIES):
        query = draw.sample(WORDS, 4)
        pairs.append(Pair(" ".join(query), passage(f"right {n}", query)))
        if n % 3 == 0:  # a second positive
            pairs.append(Pair(" ".join(query).upper(), passage(f"also {n}", query[:3])))
        for some in (3, 2, 2, 1):
            passage(f"near {n} {some} {len(corpus)}", query[:some])
        copy = pairs[-1].positive.text
        corpus[f"copy {n}"] = Passage(f"{copy} {draw.choice(WORDS)}", "", f"copy {n}")
        corpus[f"has {n}"] = Passage(f"Well: {' '.join(query)}.", "", f"has {n}")
        passage(f"titled {n}", query[:2], title=" ".join(query).title())
    for n in range(60):
        passage(f"other {n}", [])
    return PairData(pairs, corpus, "made")


@pytest.fixture(scope="module")
def data() -> PairData:
    return make_data()


@pytest.fixture(scope="module")
def index(data: PairData, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WVA_CACHE", str(tmp_path_factory.mktemp("cache")))
        with open_pairs(Fake(64), data) as opened:
            yield opened


def ranking_by_chunk(index: Index, query: str) -> dict[str, float]:
    vector = index.embedder.embed_queries([query])[0]
    with index.snapshot() as now:
        hits = search(now, query, lambda _: vector, k=200)
        return {hit.chunk.id: hit.score for hit in hits}


def ranking(index: Index, query: str, depth: int) -> list[tuple[str, float]]:
    vector = index.embedder.embed_queries([query])[0]
    with index.snapshot() as now:
        return [
            (hit.chunk.path, hit.score) for hit in search(now, query, lambda _: vector, k=depth)
        ]


def test_scores_are_those_of_the_search(index: Index, data: PairData) -> None:
    for pair in data.pairs[:4]:
        vector = index.embedder.embed_queries([pair.query])[0]
        with index.snapshot() as now:
            hits = search(now, pair.query, lambda _, vector=vector: vector, k=40)
            scores = hybrid_scores(now, pair.query, vector, [hit.chunk.id for hit in hits])
        assert scores == pytest.approx([hit.score for hit in hits], abs=1e-5)


def test_negatives_are_the_best_that_are_not_false(index: Index, data: PairData) -> None:
    """All of the pool are wanted (a quarter of it is chosen), so the choice is not random."""
    found = mine(data, index, count=200, depth=60)
    assert [(pair.query, pair.positive) for pair in found] == [
        (pair.query, pair.positive) for pair in data.pairs
    ]
    for pair in found:
        ranked = ranking(index, pair.query, 60)
        everything = dict(ranking(index, pair.query, len(data.corpus)))
        most = everything[pair.positive.id] * 0.95
        number = pair.positive.id.split()[1]
        false = {f"{kind} {number}" for kind in ("right", "also", "copy", "has", "titled")}
        likely = [name for name, score in ranked if score <= most and name not in false]
        prints = {name: fingerprint(data.corpus[name].text).shingles for name in likely}
        right = [each.positive for each in data.pairs if each.query.lower() == pair.query.lower()]
        expected = [
            name
            for name in likely
            if all(
                len(prints[name] & fingerprint(one.text).shingles) * 2
                < min(len(prints[name]), len(fingerprint(one.text).shingles))
                for one in right
            )
        ]
        assert [each.id for each in pair.negatives] == expected
        assert all(each == data.corpus[each.id] for each in pair.negatives)
    assert sum(any("near" in each.id for each in pair.negatives) for pair in found) > 6


def test_a_few_of_the_best_at_random(index: Index, data: PairData) -> None:
    every = mine(data, index, count=200)
    few, again, other = (mine(data, index, count=2, seed=seed) for seed in (0, 0, 1))
    assert few == again
    assert few != other
    for pair, pool in zip(few, every, strict=True):
        assert len(pair.negatives) == min(2, len(pool.negatives))
        names = [each.id for each in pool.negatives[:8]]
        assert [name for name in names if name in {each.id for each in pair.negatives}] == [
            each.id for each in pair.negatives
        ]


def test_known_negatives_come_first(index: Index, data: PairData) -> None:
    given = (data.corpus["other 1"], data.corpus["other 2"])
    pairs = [Pair(pair.query, pair.positive, given) for pair in data.pairs[:3]]
    some = PairData(pairs, data.corpus, "made")
    assert mine(some, index, count=2) == pairs
    for pair in mine(some, index, count=3):
        assert pair.negatives[:2] == given
        assert len(set(pair.negatives)) == len(pair.negatives) == 3


def test_a_judge_drops_what_answers_better(index: Index, data: PairData) -> None:
    judge = WordJudge()
    weak = [Pair(pair.query, data.corpus[f"other {n}"]) for n, pair in enumerate(data.pairs[:4])]
    judged = mine(data, index, count=200, teacher=judge)
    assert judge.seen
    for pair, plain in zip(judged, mine(data, index, count=200), strict=True):
        likely = judge.log_likelihoods(pair.query, [pair.positive.text])[0]
        expected = [
            each
            for each in plain.negatives
            if judge.log_likelihoods(pair.query, [each.text])[0] < likely
        ]
        assert list(pair.negatives) == expected
    # No passage is below what the search hardly finds.
    assert all(
        not pair.negatives for pair in mine(PairData(weak, data.corpus, "made"), index, depth=5)
    )


def test_a_teachers_scores(index: Index, data: PairData) -> None:
    mined = mine(data, index, count=3)[:5]
    judge = WordJudge()
    plain, judged = teacher_scores(mined, index), teacher_scores(mined, index, judge)
    for pair, scores, mixed in zip(mined, plain, judged, strict=True):
        known = dict(ranking(index, pair.query, len(data.corpus)))
        passages = [pair.positive, *pair.negatives]
        assert scores == pytest.approx([known[each.id] for each in passages], abs=1e-5)
        likely = judge.log_likelihoods(pair.query, [each.text for each in passages])
        assert mixed == pytest.approx(rescaled(scores, likely))


def test_passages_of_an_index_are_found_by_their_ids(index: Index, data: PairData) -> None:
    """As `pairs_from_index` makes them: the positive has a chunk's id and a part of its text."""
    chunks = {row.path: index.chunks(row.id)[0] for row in index.documents()}
    pairs = [
        Pair(pair.query, Passage(pair.positive.text[:90], id=chunks[pair.positive.id].id))
        for pair in data.pairs
    ]
    corpus = {one.id: Passage(one.text, one.title, one.id) for one in chunks.values()}
    found = mine(PairData(pairs, corpus, "chunks"), index, count=3)
    assert sum(map(len, (pair.negatives for pair in found))) > 20
    for pair in found:
        assert pair.positive.id not in {each.id for each in pair.negatives}
        assert all(corpus[each.id] == each for each in pair.negatives)
        # The indexed passage may have the question in it, so the best other one is the measure.
        known = ranking_by_chunk(index, pair.query)
        others = [score for name, score in known.items() if name != pair.positive.id]
        assert all(known[each.id] <= 0.95 * max(others) + 1e-6 for each in pair.negatives)
    for pair, scores in zip(found, teacher_scores(found, index), strict=True):
        assert np.isnan(scores[0])
        assert not np.isnan(scores[1:]).any()
        assert len(scores) == 1 + len(pair.negatives)


def test_progress_is_told_and_can_end_the_work(index: Index, data: PairData) -> None:
    told: list[tuple[int, int]] = []
    mine(data, index, count=1, told=lambda done, total: told.append((done, total)))
    assert told == [(0, len(data.pairs)), (len(data.pairs), len(data.pairs))]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mine(data, index, told=stop)


def test_what_cannot_be_mined(index: Index, data: PairData, tmp_path: Path) -> None:
    missing = PairData([Pair("query", Passage("text", id="gone"))], {}, "made")
    with pytest.raises(UsageError, match="does not have the passage 'gone'"):
        mine(missing, index)
    with pytest.raises(UsageError, match="does not have the passage 'gone'"):
        teacher_scores(missing.pairs, index)
    with pytest.raises(UsageError, match="rated sentences"):
        mine(PairData([Pair("a", Passage("b"), score=1.0)], {}, "made"), index)
    with pytest.raises(UsageError, match="at least one negative"):
        mine(data, index, count=0)
