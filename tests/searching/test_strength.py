"""How good a result is, in one word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from retriever import Document, Index, Page, Steering
from retriever.searching.match import CHANCE_MATCH
from retriever.searching.strength import strength_of, with_strength
from retriever.types import Strength
from tests.fakes import FakeEmbedder

TEXTS = {
    "risk.md": "A risk exception is approved by the owner of the system.",
    "controls.md": "Control AC-2 asks for multifactor authentication; AC 3 does not.",
    "codes.md": "The AC of the building has 2 fans.",
    "policy.md": "Policies on passwords are written once.",
    **{f"{seed}.md": f"Nothing is said about {seed} in these lines." for seed in range(5)},
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with Index.open_or_create(tmp_path_factory.mktemp("strength"), FakeEmbedder()) as opened:
        opened.add(Document(path, "md", (Page(None, text),)) for path, text in TEXTS.items())
        yield opened


@pytest.mark.parametrize(
    ("query", "exact"),
    [
        ("who approves risk exceptions?", ["risk.md"]),  # inflected
        ("password policy", ["policy.md"]),
        ("policy exception", []),  # each word stands there, but not in one passage
        ("risk excepton", []),  # a corrected typing error
        ("AC-2", ["controls.md"]),  # not "AC … 2"
        ("AC-3", ["controls.md"]),
        ("ac2", ["controls.md"]),
        ("multi-factor authentication", ["controls.md"]),
        ("zeppelin", []),
        ("€", []),
    ],
)
@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
def test_a_result_with_all_content_words_has_the_exact_words(
    index: Index, query: str, exact: list[str], mode: str
) -> None:
    hits = index.search(query, 9, mode=mode)
    assert [hit.chunk.path for hit in hits if hit.exact] == exact
    for hit in hits:
        if hit.strength is not Strength.LIKELY:  # a correction may stand there
            assert hit.strength is strength_of(hit.match, exact=hit.exact)


def test_a_result_with_what_was_meant_is_likely(index: Index) -> None:
    """Not weak: an unknown word counts most in a match, and nowhere is it found."""
    with index.snapshot(dense=False) as now:
        hits = [replace(hit, match=0.1) for hit in index.search("risc excepton", 3)]
        found = with_strength(now, hits, "risc excepton", tolerant=True)
        assert [hit.strength for hit in found if hit.chunk.path == "risk.md"] == [Strength.LIKELY]
        assert {hit.strength for hit in found if hit.chunk.path != "risk.md"} == {Strength.WEAK}
        found = with_strength(now, hits, "risc excepton")
        assert {hit.strength for hit in found} == {Strength.WEAK}


def test_the_words_may_stand_in_different_passages_of_one_result(index: Index) -> None:
    """As they do where passages that follow each other are joined."""
    chunks = [
        index.search(query, 1, mode="keyword")[0].chunk for query in ("risk owner", "passwords")
    ]
    (hit,) = index.search("risk passwords", 1, mode="keyword")
    assert not hit.exact
    with index.snapshot(dense=False) as now:
        (joined,) = with_strength(now, [replace(hit, parts=tuple(chunks))], "risk passwords")
    assert joined.exact


def test_without_a_scale_only_exact_words_are_known(index: Index) -> None:
    with index.snapshot(dense=False) as now:
        hits = [replace(hit, match=None) for hit in index.search("risk of passwords", 2)]
        exact, other = with_strength(now, hits, "policies")
    assert {exact.chunk.path, other.chunk.path} == {"policy.md", "risk.md"}
    assert {exact.strength, other.strength} == {Strength.EXACT, None}
    (found,) = index.search_by_vector(index.embed_query("passwords"), 1)
    assert (found.exact, found.strength) == (False, strength_of(found.match))


def test_a_word_of_weight_0_need_not_stand_there(index: Index) -> None:
    words = [word.word for word in index.query_words("policy exception")]
    assert words == ["policy", "exception"]
    steering = Steering(weights=(1.0, 0.0))
    assert index.searched_text("policy exception", steering=steering).split() == ["policy"]
    assert index.searched_text("policy -draft exception") == "policy exception"
    assert index.searched_text("policy", mode="keyword", steering=steering) == "policy"
    first = index.search("policy exception", 1, steering=steering)[0]
    assert (first.chunk.path, first.exact) == ("policy.md", True)
    with index.snapshot(dense=False) as now:
        text = index.searched_text("policy exception", steering=steering)
        assert "except" not in now.matched_terms(text)
        assert "polici" in now.matched_terms(text)


def test_it_is_in_the_json(index: Index) -> None:
    values = index.search("password policy", 1)[0].to_json()
    assert (values["exact"], values["strength"]) == (True, "exact words")
    values = index.search("zeppelin", 1)[0].to_json()
    assert (values["exact"], values["strength"]) == (False, "weak")


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
@pytest.mark.parametrize("query", ["risk exception", "AC-2", "zeppelins", "nothing passwords"])
def test_the_passages_that_match_are_counted(index: Index, query: str, mode: str) -> None:
    """By reading all of them."""
    for where in (None, {"path": {"glob": "*[ks].md"}}):
        every = index.search(query, 99, mode=mode, fold=False, where=where)
        wanted = [hit for hit in every if hit.exact or (hit.match or 0) >= CHANCE_MATCH]
        count = index.count_matches(query, every, mode=mode, where=where)
        assert count is not None
        assert count.passages == len(wanted)
        assert count.documents == len({hit.chunk.document_id for hit in wanted})


def test_some_searches_have_no_count(index: Index) -> None:
    steering = Steering(weights=(1.0, 0.0))
    assert index.count_matches("policy exception", [], steering=steering) is None
    assert index.count_matches("file:policy.md", []) is None
