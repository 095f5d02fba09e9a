"""One search over several indexes, compared with one index that holds all their passages."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from retriever import Document, Index, Page, RetrieverError, SearchOptions
from retriever.searching.several import NamedHit, corrections_in_all, search_all
from retriever.types import UsageError
from tests.fakes import FakeEmbedder

WORDS = [f"{first}{last}" for first in "bcdfghjk" for last in ("amu", "ilo", "upe", "ote", "ara")]
QUERIES = ["gote", "cilo dupe", "fote gara hamu", "jilo kupe bote cara", "dara fara gamu hilo"]
LENGTH = 12


def texts(seed: int, words: list[str], count: int = 40) -> dict[str, str]:
    """Documents of the same length, some words in them more frequent than others."""
    draw = random.Random(seed)
    weights = [1 / (1 + at) for at in range(len(words))]
    return {
        f"{seed}-{at}.txt": " ".join(draw.choices(words, weights, k=LENGTH)) for at in range(count)
    }


ONE, OTHER = texts(1, WORDS), texts(2, WORDS[::-1])


def made(folder: Path, documents: Mapping[str, str], embedder: FakeEmbedder) -> Index:
    index = Index.open_or_create(folder, embedder)
    index.add(Document(path, "txt", (Page(None, text),)) for path, text in documents.items())
    return index


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def whole(folder: Path) -> Iterator[Index]:
    with made(folder / "whole", ONE | OTHER, FakeEmbedder()) as index:
        yield index


@pytest.fixture(scope="module")
def halves(folder: Path, whole: Index) -> Iterator[dict[str, Index]]:
    """The two halves; they are too small for means of their own that resemble those of all."""
    embedder = FakeEmbedder()
    with whole.snapshot() as now:
        means, facts = now.catalog.means(), now.catalog.calibration_facts() or {}
    with (
        made(folder / "one", ONE, embedder) as one,
        made(folder / "other", OTHER, embedder) as other,
    ):
        for half in (one, other):
            half.backend.calibrate(means.passage_mean, means.query_mean, facts)
        yield {"one": one, "other": other}


def paths(found: list[NamedHit]) -> list[str]:
    return [one.hit.chunk.path for one in found]


@pytest.mark.parametrize("query", QUERIES)
def test_keywords_are_ranked_as_in_one_index(halves, whole, query: str) -> None:
    options = SearchOptions(mode="keyword", fold=False, k=20)
    found = search_all(halves, query, options)
    hits = whole.search(query, options=options)
    assert [one.score for one in found] == pytest.approx([hit.score for hit in hits], rel=1e-5)
    by_path = {hit.chunk.path: hit.score for hit in whole.search(query, options=options, k=80)}
    assert [by_path[path] for path in paths(found)] == pytest.approx([one.score for one in found])


def test_the_scores_of_each_index_alone_would_mislead(halves, whole) -> None:
    """A word that is frequent in one half and rare in the other has two weights."""
    options = SearchOptions(mode="keyword", fold=False, k=20)
    misled = 0
    for query in QUERIES:
        own = [
            (hit.score, hit.chunk.path)
            for index in halves.values()
            for hit in index.search(query, options=options)
        ]
        by_own = [path for _, path in sorted(own, reverse=True)[:20]]
        expected = {hit.chunk.path for hit in whole.search(query, options=options)}
        misled += len(expected - set(by_own))
    assert misled > 5


@pytest.mark.parametrize("query", QUERIES)
def test_meaning_is_ranked_as_in_one_index(halves, whole, query: str) -> None:
    options = SearchOptions(mode="dense", fold=False, k=20)
    found = search_all(halves, query, options)
    hits = whole.search(query, options=options)
    assert [one.score for one in found] == pytest.approx([hit.score for hit in hits], abs=1e-5)


def test_both_together_are_ranked_nearly_as_in_one_index(halves, whole) -> None:
    """The spread of the keyword scores of each half is not exactly that of all."""
    options = SearchOptions(fold=False, feedback=False, k=10)
    shared = 0
    for query in QUERIES:
        found = paths(search_all(halves, query, options))
        hits = [hit.chunk.path for hit in whole.search(query, options=options)]
        shared += len(set(found) & set(hits))
        assert found[0] in hits[:2]
    assert shared >= 0.9 * 10 * len(QUERIES)


def test_the_best_of_all_come_first(halves) -> None:
    found = search_all(halves, QUERIES[2], SearchOptions(k=10, fold=False))
    assert [one.hit.rank for one in found] == list(range(1, 11))
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert {one.name for one in found} == {"one", "other"}


def test_an_index_keeps_the_order_of_results_that_are_diversified(halves) -> None:
    options = SearchOptions(k=10, fold=False, diversity=0.9)
    found = search_all(halves, QUERIES[2], options)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for name, index in halves.items():
        own = [hit.chunk.path for hit in index.search(QUERIES[2], options=options)]
        here = [one.hit.chunk.path for one in found if one.name == name]
        assert here == own[: len(here)]


def test_a_hit_can_be_explained_in_its_index(halves) -> None:
    first = search_all(halves, QUERIES[1])[0]
    explanation = halves[first.name].explain(QUERIES[1], first.hit)
    assert sum(term.value for term in explanation.terms) == pytest.approx(first.hit.score, abs=1e-4)


def test_the_query_is_embedded_once_for_each_model(folder: Path) -> None:
    same, third = FakeEmbedder(), FakeEmbedder(64, weights="third")
    with (
        made(folder / "a", texts(3, WORDS, 5), same) as a,
        made(folder / "b", texts(4, WORDS, 5), same) as b,
        made(folder / "c", {"zebra.txt": "the zebra sleeps", **texts(5, WORDS, 5)}, third) as c,
    ):
        same.embedded.clear()
        third.embedded.clear()
        found = search_all({"a": a, "b": b, "c": c}, "zebra")
        assert same.embedded == ["query: zebra"]
        assert third.embedded == ["query: zebra"]
        assert (found[0].name, found[0].hit.chunk.path) == ("c", "zebra.txt")


def test_one_index_answers_as_ever(halves) -> None:
    found = search_all({"one": halves["one"]}, QUERIES[0])
    hits = halves["one"].search(QUERIES[0])
    assert [one.hit for one in found] == hits
    assert [one.score for one in found] == [hit.score for hit in hits]


def test_one_that_fails_is_told_and_the_others_answer(halves, folder: Path) -> None:
    broken = Index.open(folder / "one", FakeEmbedder())
    broken.close()
    told: list[tuple[str, str]] = []
    found = search_all(
        {"broken": broken, **halves},
        QUERIES[0],
        failed=lambda name, error: told.append((name, str(error))),
    )
    assert [name for name, _ in told] == ["broken"]
    assert {one.name for one in found} <= {"one", "other"}
    assert found
    with pytest.raises(RetrieverError):
        search_all({"broken": broken, "again": broken}, QUERIES[0])


def test_without_an_index_there_is_no_search() -> None:
    with pytest.raises(UsageError, match="no index is given"):
        search_all({}, "word")


def test_an_empty_index_and_unknown_words_change_nothing(halves, folder: Path) -> None:
    options = SearchOptions(mode="keyword", fold=False)
    with Index.open_or_create(folder / "empty", FakeEmbedder()) as empty:
        expected = search_all(halves, QUERIES[1], options)
        assert search_all({"empty": empty, **halves}, QUERIES[1], options) == expected
        assert search_all({"empty": empty, **halves}, QUERIES[1]) == search_all(halves, QUERIES[1])
    assert search_all(halves, "xylophone", options) == []
    assert search_all(halves, "?!") == []


def test_passages_of_files_are_listed_index_by_index(halves) -> None:
    found = search_all(halves, "file:1-0.txt")
    assert [(one.name, one.hit.chunk.path) for one in found] == [("one", "1-0.txt")]


def test_the_json_names_the_index(halves) -> None:
    first = search_all(halves, QUERIES[0])[0]
    told = first.to_json()
    assert (told["index"], told["rank"], told["score"]) == (first.name, 1, first.score)
    assert told["text"] == first.hit.chunk.text


def test_a_word_that_one_index_has_is_no_typing_error(folder: Path) -> None:
    with (
        made(folder / "p", {"a.txt": "policies of the town"}, FakeEmbedder()) as one,
        made(folder / "q", {"b.txt": "whales and gardens"}, FakeEmbedder()) as other,
    ):
        both = [one, other]
        assert one.corrections("wales polisies gardens") == {"polisies": ["policies"]}
        assert corrections_in_all(both, "wales polisies gardens policies") == {
            "wales": ["whales"],
            "polisies": ["policies"],
        }
        assert corrections_in_all(both, "wales", SearchOptions(mode="dense")) == {}
        assert corrections_in_all(both, "wales", SearchOptions(syntax=False)) == {}


@pytest.mark.parametrize("mode", ["keyword", "hybrid"])
def test_a_word_of_one_index_is_not_corrected_in_another(folder: Path, mode: str) -> None:
    texts = {f"{at}.txt": f"policies of the town {at}" for at in range(9)}
    names = {"name.txt": "Mr Polisies lives there"}
    with (
        made(folder / f"r-{mode}", texts, FakeEmbedder()) as one,
        made(folder / f"s-{mode}", names, FakeEmbedder()) as other,
        made(folder / f"t-{mode}", texts | names, FakeEmbedder()) as whole,
    ):
        options = SearchOptions(mode=mode, fold=False)
        found = search_all({"one": one, "other": other}, "polisies", options)
        expected = whole.search("polisies", options=options)
        assert (found[0].name, found[0].hit.chunk.path) == ("other", "name.txt")
        assert len(found) == len(expected)
