"""Likelihoods against a plain forward pass; time limits, fusion and invariances."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from retriever import AlignedWVA, Document, Index, Page
from retriever.embedding.pooling import AttentionPooler
from retriever.embedding.query_likelihood import QueryLikelihood
from retriever.embedding.runner import Runner
from retriever.searching.rerank import BATCH, fuse, rerank
from retriever.types import Chunk, Hit, ModelError, UsageError
from tests.fakes import FakeEmbedder
from tests.tiny import CONFIGS, make_model, save_model

PASSAGES = [
    "The train — naïve — leaves at noon.",
    "A word.",
    'He said "no" and left the house, ' * 6,
    "",
    "The train — naïve — leaves at noon.",  # again: all of it is shared
    "the passage means in one word",
]
TITLES = ["Trains", "", "", "Empty", "Trains", " "]
QUERY = "When does the train leave?"


def naive(model: PreTrainedModel, ids: Sequence[int], asked: int) -> float:
    """The mean of log softmax at the last `asked` tokens, from the logits of a whole pass."""
    with torch.no_grad():
        logits = model(torch.tensor([list(ids)]), use_cache=False).logits[0].double()
    logs = logits.log_softmax(dim=-1)
    places = range(len(ids) - asked, len(ids))
    return float(np.mean([float(logs[at - 1, ids[at]]) for at in places]))


# The model's part


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_gives_what_a_whole_pass_gives(family: str) -> None:
    model = make_model(family)
    generator = torch.Generator().manual_seed(1)

    def some(count: int) -> list[int]:
        return torch.randint(3, 300, (count,), generator=generator).tolist()

    tail = some(7)
    texts = [[4, 5, *some(n), *tail] for n in (3, 9, 9, 30, 1, 3)]
    texts.append(texts[2])
    expected = [naive(model, ids, 5) for ids in texts]
    pooler = AttentionPooler(model)
    for packed in [False, True] if pooler.can_pack else [False]:
        runner = Runner(QueryLikelihood(pooler, 5), packed=packed)
        np.testing.assert_allclose(runner.run(texts)[:, 0], expected, rtol=1e-4)
        np.testing.assert_allclose(runner.run([texts[2]] * 2)[:, 0], [expected[2]] * 2, rtol=1e-4)
    assert [naive(model, ids, 5) for ids in texts] == expected  # the model is as it was


@pytest.fixture(scope="module", params=["llama", "gemma2", "gpt2", "qwen2"])
def embedder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AlignedWVA:
    folder = save_model(tmp_path_factory.mktemp("model"), request.param, bos=True, eos=True)
    return AlignedWVA(str(folder), device="cpu", dtype="float32")


def expected_for(embedder: AlignedWVA, query: str, passages: Sequence[str]) -> list[float]:
    """From the words alone: the prompt written out, a model of its own, no batches."""
    model = AutoModelForCausalLM.from_pretrained(embedder.settings.model, dtype=torch.float32)
    tokenizer = embedder._loaded.tokenizer

    def tokens(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    question = tokens("\nQuestion: " + query)
    asked = len(tokens(query))  # this tokenizer puts every space into a token of its own
    return [
        naive(model.eval(), [1, *tokens(f"Passage: {text}"), *question], asked) for text in passages
    ]


def test_likelihoods_of_passages(embedder: AlignedWVA) -> None:
    named = [
        f"{title.strip()}. {text}" if title.strip() else text
        for text, title in zip(PASSAGES, TITLES, strict=True)
    ]
    expected = expected_for(embedder, QUERY, named)
    found = embedder.log_likelihoods(f" {QUERY}\n", PASSAGES, TITLES)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    order = [3, 5, 0, 2, 4, 1]
    again = embedder.log_likelihoods(
        QUERY, [PASSAGES[at] for at in order], [TITLES[at] for at in order]
    )
    np.testing.assert_allclose(again, found[order], rtol=1e-4)
    alone = embedder.log_likelihoods(QUERY, [PASSAGES[2]])
    np.testing.assert_allclose(alone, found[2:3], rtol=1e-4)


def test_likelihoods_know_nothing_of_the_pooling(embedder: AlignedWVA) -> None:
    found = embedder.log_likelihoods(QUERY, PASSAGES)
    other = embedder.with_pooling("mean-hidden").log_likelihoods(QUERY, PASSAGES)
    np.testing.assert_allclose(other, found, rtol=1e-4)
    assert not any(module._forward_hooks for module in embedder._loaded.model.modules())
    assert not any(module._forward_pre_hooks for module in embedder._loaded.model.modules())


def test_edges_of_likelihoods(embedder: AlignedWVA) -> None:
    assert embedder.log_likelihoods(QUERY, []).shape == (0,)
    np.testing.assert_array_equal(embedder.log_likelihoods(" \n", ["a", "b"]), [0, 0])
    assert np.isfinite(embedder.log_likelihoods("bad \udc80 name", ["nul \0", "🦉"])).all()
    with pytest.raises(UsageError, match="1 texts but 2 titles"):
        embedder.log_likelihoods(QUERY, ["a"], ["b", "c"])


def test_what_is_too_long_is_cut_at_its_end(embedder: AlignedWVA) -> None:
    long = " ".join(f"word{number}" for number in range(300))
    found = embedder.log_likelihoods(QUERY, [long, long + " and an end"])
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert embedder.log_likelihoods(QUERY, [long[5:]])[0] != pytest.approx(found[0], rel=1e-6)
    question, asked = embedder._question(long)
    assert asked <= embedder.max_tokens // 2 < len(question) + 1
    assert np.isfinite(embedder.log_likelihoods(long, [long, "a"])).all()


def test_a_model_without_a_head_is_refused(embedder: AlignedWVA) -> None:
    with pytest.raises(ModelError, match="no vocabulary head"):
        QueryLikelihood(AttentionPooler(embedder._pooler.body), 3)


# Order


def hit(rank: int, score: float, text: str = "") -> Hit:
    chunk = Chunk(f"c{rank}", "d", "a.txt", "txt", f"t{rank}", None, 0, 1, text or f"p{rank}")
    return Hit(rank, score, chunk)


class FakeJudge:
    """Knows every passage's likelihood, and how long reading one takes."""

    def __init__(self, likelihoods: Sequence[float], pace: float = 0.0) -> None:
        self.known = {f"p{rank}": value for rank, value in enumerate(likelihoods, 1)}
        self.pace, self.now = pace, 100.0
        self.asked: list[int] = []

    def log_likelihoods(
        self, query: str, passages: Sequence[str], titles: Sequence[str] | None = None
    ) -> np.ndarray:
        assert query == "q"
        assert titles == [text.replace("p", "t") for text in passages]
        self.asked.append(len(passages))
        self.now += self.pace * len(passages)
        return np.array([self.known[text] for text in passages])

    def clock(self) -> float:
        return self.now


def ranked(count: int, seed: int = 0) -> tuple[list[Hit], list[float]]:
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.normal(size=count))[::-1]
    hits = [hit(rank, float(score)) for rank, score in enumerate(scores, 1)]
    return hits, rng.normal(-3, 0.5, count).tolist()


def test_half_of_the_order_is_the_judges() -> None:
    hits, known = ranked(12)
    found = rerank("q", hits, FakeJudge(known), 5)
    scores, judged = np.array([h.score for h in hits[:5]]), np.array(known[:5])
    total = [
        (scores[i] - scores.mean()) / scores.std() + (judged[i] - judged.mean()) / judged.std()
        for i in range(5)
    ]
    order = sorted(range(5), key=lambda at: -total[at])
    assert order != list(range(5))
    assert [h.chunk.id for h in found] == [hits[at].chunk.id for at in [*order, *range(5, 12)]]
    assert [h.rank for h in found] == list(range(1, 13))
    assert [h.rerank for h in found] == [*(known[at] for at in order), *[None] * 7]
    after = [h.score for h in found]
    assert after == sorted(after, reverse=True)
    assert (after[0], after[4]) == pytest.approx((hits[0].score, hits[4].score))
    assert found[5:] == hits[5:]


def test_nothing_to_do() -> None:
    hits, known = ranked(3)
    judge = FakeJudge(known)
    assert rerank("q", hits, judge, 0) == hits
    assert rerank("q", [], judge, 5) == []
    assert judge.asked == []
    assert [h.chunk.id for h in rerank("q", hits, judge, 1)] == ["c1", "c2", "c3"]
    assert len(rerank("q", hits, judge, 10)) == 3
    same = rerank("q", hits, FakeJudge([-2.0] * 3), 3)
    assert [h.chunk.id for h in same] == ["c1", "c2", "c3"]  # ties keep their order
    level = rerank("q", [hit(1, 0.5), hit(2, 0.5)], FakeJudge([-2.0, -1.0]), 2)
    assert [(h.chunk.id, h.score) for h in level] == [("c2", 0.5), ("c1", 0.5)]


@pytest.mark.parametrize("change", [lambda x: 7 * x, lambda x: x - 40, lambda x: 0.01 * x + 3])
@pytest.mark.parametrize("judged", [20, 9])
def test_scale_and_shift_of_a_side_change_nothing(
    change: Callable[[np.ndarray], np.ndarray], judged: int
) -> None:
    rng = np.random.default_rng(3)
    before, known = np.sort(rng.normal(size=20))[::-1], rng.normal(size=judged)
    plain = fuse(before, known)
    np.testing.assert_allclose(fuse(change(before), known), plain, atol=1e-9)
    np.testing.assert_allclose(fuse(before, change(known)), plain, atol=1e-9)


def test_who_is_not_judged_is_what_the_judged_ones_foretell() -> None:
    before = np.array([4.0, 3.0, 2.0, 1.0, 0.0, -1.0])
    agreeing = fuse(before, 2 * before[:4] - 9)
    np.testing.assert_allclose(agreeing, (before - 2.5) / before[:4].std())
    known = np.array([-1.0, -3.0, -1.5, -2.0])
    slope, offset = np.polyfit(before[:4], known, 1)  # an independent regression
    assert slope > 0
    foretold = np.concatenate([known, slope * before[4:] + offset])
    expected = (before - before[:4].mean()) / before[:4].std()
    expected += (foretold - known.mean()) / known.std()
    np.testing.assert_allclose(fuse(before, known)[:4], expected[:4] / 2)
    standard = (before - before[:4].mean()) / before[:4].std()
    share = (slope * (before[4:] - before[:4].mean())) / known.std()
    np.testing.assert_allclose(fuse(before, known)[4:], (standard[4:] + share) / 2)
    # A judge of the opposite opinion does not lift what it has not read above its average.
    against = fuse(before, -before[:4])
    np.testing.assert_allclose(against[4:], standard[4:] / 2)


@pytest.mark.parametrize(
    ("pace", "seconds", "asked"),
    [
        (0.0, 1.0, [BATCH, BATCH, 4]),  # no time at all
        (1.0, 100.0, [BATCH, BATCH, 4]),
        (1.0, 20.0, [BATCH, BATCH, 4]),  # just enough
        (1.0, 19.0, [BATCH, BATCH]),  # the last round would end too late
        (1.0, 15.9, [BATCH]),
        (1.0, 0.5, [BATCH]),  # one round is always judged
    ],
)
def test_the_time_ends(pace: float, seconds: float, asked: list[int]) -> None:
    hits, known = ranked(30)
    judge = FakeJudge(known, pace)
    found = rerank("q", hits, judge, 20, seconds=seconds, clock=judge.clock)
    assert judge.asked == asked
    assert sorted(h.chunk.id for h in found) == sorted(h.chunk.id for h in hits)
    assert found[20:] == hits[20:]
    by_id = {h.chunk.id: h.rerank for h in found}
    assert [by_id[f"c{n}"] for n in range(1, 21)] == [
        *known[: sum(asked)], *[None] * (20 - sum(asked))
    ]  # fmt: skip
    scores = [h.score for h in found]
    assert scores == sorted(scores, reverse=True)


def test_impossible_budgets() -> None:
    hits, known = ranked(3)
    with pytest.raises(UsageError, match="at least 0; it is -1"):
        rerank("q", hits, FakeJudge(known), -1)
    for seconds in (0.0, float("nan")):
        with pytest.raises(UsageError, match="more than 0 seconds"):
            rerank("q", hits, FakeJudge(known), 2, seconds=seconds)


# Through the index


class JudgingEmbedder(FakeEmbedder):
    """Holds short passages for likely."""

    def log_likelihoods(
        self, query: str, passages: Sequence[str], titles: Sequence[str] | None = None
    ) -> np.ndarray:
        return np.array([-float(len(text)) for text in passages])


DOCUMENTS = [
    Document(f"{n}.txt", "txt", (Page(None, f"apples {'and apples ' * n}{'in a field ' * n}"),))
    for n in range(6)
]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open_or_create(tmp_path / "index", JudgingEmbedder()) as index:
        index.add(DOCUMENTS)
        yield index


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
def test_an_index_looks_deeper_than_it_shows(index: Index, mode: str) -> None:
    plain = index.search("apples in a field", 6, mode=mode)
    assert all(h.rerank is None for h in plain)
    judge = JudgingEmbedder()
    expected = rerank("apples in a field", plain, judge, 5)
    assert expected != plain
    assert index.search("apples in a field", 6, mode=mode, rerank=5) == expected
    assert index.search("apples in a field", 2, mode=mode, rerank=5) == expected[:2]
    assert index.search("apples in a field", 6, mode=mode, rerank=0) == plain


def test_who_cannot_judge_is_refused(tmp_path: Path, index: Index) -> None:
    with Index.open_or_create(tmp_path / "other", FakeEmbedder()) as other:
        other.add(DOCUMENTS)
        with pytest.raises(UsageError, match="cannot rerank"):
            other.search("apples", rerank=5)
    with pytest.raises(UsageError, match="at least 0"):
        index.search("apples", rerank=-2)
    with pytest.raises(UsageError, match="more than 0 seconds"):
        index.search("apples", rerank=2, rerank_seconds=0)
