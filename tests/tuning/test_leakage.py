"""No pair on one side shares a query or a passage with the other side, whatever the data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.evaluation.datasets import RetrievalDataset
from retriever.tuning.leakage import connected, hold_out, normalised, without
from retriever.tuning.pairs import Pair, PairData, Passage
from retriever.types import UsageError

WORDS = st.sampled_from(["a", "A!", "b", "c", "d d", "D, d", "e", "é", "?", "क", "कि"])
PASSAGES = st.builds(Passage, WORDS, st.sampled_from(["", "a", "T"]), st.sampled_from("1234"))
IDS = st.sampled_from(["", "1", "2", "q"])
PAIRS = st.lists(st.builds(Pair, WORDS, PASSAGES, id=IDS), min_size=1, max_size=12)
LARGE = st.lists(
    st.builds(
        lambda query, passage: Pair(f"q{query}", Passage(f"p{passage}", id=f"d{passage}")),
        st.integers(0, 60),
        st.integers(0, 60),
    ),
    min_size=20,
    max_size=60,
)


def data(pairs: list[Pair]) -> PairData:
    return PairData(pairs, {pair.positive.id: pair.positive for pair in pairs}, "made")


def shared(pair: Pair) -> set[tuple[str, str]]:
    """What may be on one side only."""
    texts = [pair.query, pair.positive.text]
    ids = {("query", pair.id)} if pair.id else set()
    return {("id", pair.positive.id), *(("text", normalised(text)) for text in texts), *ids}


def simple(count: int) -> PairData:
    return data([Pair(f"query {n}", Passage(f"text {n}", id=f"d{n}")) for n in range(count)])


@settings(max_examples=40, deadline=None)
@given(PAIRS | LARGE, st.floats(0.05, 0.95), st.integers(0, 5))
def test_nothing_is_on_both_sides(pairs: list[Pair], share: float, seed: int) -> None:
    try:
        train, held = hold_out(data(pairs), share, seed)
    except UsageError:
        return
    assert train.pairs
    assert held.pairs
    mine = {key for pair in train.pairs for key in shared(pair)}
    assert mine.isdisjoint(key for pair in held.pairs for key in shared(pair))
    kept = [pair for pair in pairs if pair in train.pairs or pair in held.pairs]
    assert len(kept) == len(train.pairs) + len(held.pairs)
    if len(kept) < len(pairs):
        assert f"{len(pairs) - len(kept)} of {len(pairs) - len(held.pairs)}" in train.notes[-1]
    assert hold_out(data(pairs), share, seed) == (train, held)
    assert without(train, held) == (train, {})


@settings(max_examples=40, deadline=None)
@given(PAIRS, PAIRS)
def test_without_leaves_nothing_of_an_evaluation(pairs: list[Pair], others: list[Pair]) -> None:
    theirs = {key for pair in others for key in shared(pair)}
    kept, removed = without(data(pairs), data(others))
    expected = [pair for pair in pairs if theirs.isdisjoint(shared(pair))]
    # Beyond texts and ids, a title and a text count as one text, too.
    assert [pair for pair in kept.pairs if pair not in expected] == []
    for pair in expected:
        assert pair in kept.pairs or any(pair.positive.title for pair in [*pairs, *others])
    assert sum(removed.values()) + len(kept.pairs) == len(pairs)


def components(keys: list[list[int]]) -> list[set[int]]:
    """Naive: sets of items grow until none shares a key with another."""
    found = [({at}, set(own)) for at, own in enumerate(keys)]
    while True:
        both = next(
            (
                (one, other)
                for at, one in enumerate(found)
                for other in found[at + 1 :]
                if one[1] & other[1]
            ),
            None,
        )
        if both is None:
            return [items for items, _ in found]
        found = [each for each in found if each not in both]
        found.append((both[0][0] | both[1][0], both[0][1] | both[1][1]))


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 12), max_size=3), max_size=14))
def test_components_equal_brute_force(keys: list[list[int]]) -> None:
    groups = connected([[b"%d" % key for key in own] for own in keys])
    ours = [{at for at, one in enumerate(groups) if one == group} for group in set(groups)]
    assert sorted(map(sorted, ours)) == sorted(map(sorted, components(keys)))


def test_the_share_is_held_out_and_more_data_moves_nothing() -> None:
    small, large = hold_out(simple(1000), 0.2, 1), hold_out(simple(1500), 0.2, 1)
    assert 150 < len(small[1].pairs) < 250
    assert set(small[1].pairs) <= set(large[1].pairs)
    assert set(small[0].pairs) <= set(large[0].pairs)
    other = hold_out(simple(1000), 0.2, 2)[1].pairs
    assert len(set(other) & set(small[1].pairs)) < 100


def test_large_groups_are_not_held_out_more_often() -> None:
    """Pairs, each two queries of one passage, beside single ones."""
    double = [Pair(f"{n} {m}", Passage(f"both {n}", id=f"b{n}")) for n in range(600) for m in "ab"]
    held = hold_out(data([*double, *simple(600).pairs]), 0.2)[1].pairs
    assert 180 < sum("both" in pair.positive.text for pair in held) < 300
    assert 90 < sum("both" not in pair.positive.text for pair in held) < 150


def test_connected_data_is_split_by_queries() -> None:
    """Every query has its own passage and one that the next has, too: one component."""
    pairs = [
        Pair(f"query {n}", Passage(f"text {m}", id=f"d{m}")) for n in range(200) for m in (n, n + 1)
    ]
    train, held = hold_out(data(pairs), 0.1)
    assert 10 < len(held.pairs) / 2 < 30
    lost = len(pairs) - len(train.pairs) - len(held.pairs)
    assert 0 < lost <= len(held.pairs)
    assert f"{lost} of {len(train.pairs) + lost} pairs to train on" in train.notes[0]
    assert len(train.corpus) == len(held.corpus) == 201


def test_a_few_pairs_have_two_sides() -> None:
    for seed in range(20):
        for share in (0.01, 0.99):
            train, held = hold_out(simple(3), share, seed)
            assert {len(train.pairs), len(held.pairs)} == {1, 2}


def test_what_cannot_be_split() -> None:
    one = Passage("one", id="d")
    for pairs in ([Pair("a", one)], [Pair("a", one), Pair("A", Passage("two", id="e"))]):
        with pytest.raises(UsageError, match="can be held out"):
            hold_out(data(pairs))
    with pytest.raises(UsageError, match="can be held out"):
        hold_out(data([Pair(f"query {n}", one) for n in range(50)]))
    with pytest.raises(UsageError, match="between 0 and 1"):
        hold_out(simple(9), 1.0)


def test_the_sentences_of_rated_pairs_are_on_one_side() -> None:
    pairs = [Pair("one", Passage("two"), score=1.0), Pair("two", Passage("three"), score=2.0)]
    rest = [Pair(f"a {n}", Passage(f"b {n}"), score=1.0) for n in range(50)]
    for seed in range(9):
        held = hold_out(data([*pairs, *rest]), 0.5, seed)[1].pairs
        assert (pairs[0] in held) == (pairs[1] in held)


def cases() -> Iterator[tuple[Pair, str]]:
    yield Pair("new", Passage("new", id="9"), id="q1"), "query id"
    yield Pair("WHAT is it", Passage("new", id="9"), id="q9"), "query text"
    yield Pair("new", Passage("other text", id="d1"), id="q9"), "passage id"
    yield Pair("new", Passage("An  answer!", id="9")), "passage text"
    yield Pair("new", Passage("Title. An answer", id="9")), "passage text"
    yield Pair("new", Passage("Not relevant", id="d2")), ""
    yield Pair("new", Passage("new", id="d3")), ""


@pytest.mark.parametrize(("pair", "reason"), list(cases()))
def test_the_reason_for_removal_is_counted(pair: Pair, reason: str) -> None:
    corpus = {"d1": ("Title", "an answer"), "d2": ("", "not relevant")}
    qrels = {"q1": {"d1": 1.0, "d2": 0.0, "gone": 1.0}}
    evaluation = RetrievalDataset(corpus, {"q1": "What is it?"}, qrels)
    kept, removed = without(data([pair]), evaluation)
    assert removed == ({reason: 1} if reason else {})
    assert list(kept.pairs) == ([] if reason else [pair])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Straße", "STRASSE", True),
        ("\uff21\uff22\uff23", "abc", True),
        ("one-two_three", "One two\nthree.", True),
        ("कि", "का", False),
        ("+", "-", False),
        ("1.5", "15", False),
    ],
)
def test_normalised_texts(one: str, other: str, same: bool) -> None:
    assert (normalised(one) == normalised(other)) is same
