"""Notes on a search: sentences about what its results do not show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from retriever import Document, Index, Page
from retriever.searching.match import general_questions
from tests.fakes import FakeEmbedder

TEXTS = {
    "policy.md": "The policy on budgets.",
    "draft.md": "A draft of the policy, and a budget for the policy.",
    "sketch.md": "A sketch: a budget, a policy and a draft of the policy.",
    **{f"{seed}.md": f"Nothing about {seed}." for seed in range(3)},
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with Index.open_or_create(tmp_path_factory.mktemp("notes"), FakeEmbedder()) as opened:
        opened.add(Document(path, "md", (Page(None, text),)) for path, text in TEXTS.items())
        yield opened


def notes(index: Index, query: str) -> list[str]:
    return index.search_notes(query, index.search(query, 3, mode="keyword"), mode="keyword")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("draft policy -sketch", []),
        (
            "sketch policy -draft",
            ['"draft" was excluded: otherwise 2 more passages, first sketch.md'],
        ),
        (
            "sketch -draft -sketch",
            ['"draft", "sketch" were excluded: otherwise 1 more passage, first sketch.md'],
        ),
        ("policy type:pdf", ["type:pdf leaves none of 6 passages"]),
        ("policy type:pdf file:x/y", ["type:pdf and file:x/y leave none of 6 passages"]),
        ("sketch file:policy", ["1 passage without file:policy"]),
        ("zeppelin file:policy", []),
    ],
)
def test_what_results_do_not_show_is_said(index: Index, query: str, said: list[str]) -> None:
    assert notes(index, query) == said


def test_the_filter_and_the_conditions_are_told_apart(index: Index) -> None:
    said = index.search_notes("policy", [], where={"format": "pdf"})
    assert said == [
        "the filter leaves none of 6 passages",
        'no document fulfils {"format": {"eq": "pdf"}}',
    ]
    (said, *_) = index.search_notes("policy page:3", [], where={"format": "pdf"})
    assert said == "the filter and page:3 leave none of 6 passages"
    assert index.search_notes("sketch", [], where={"path": "policy.md"}, mode="keyword") == [
        "1 passage without the filter"
    ]
    assert index.search_notes("sketch", [], where={"path": "policy.md"}, min_match=0.9) == []


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """Three texts on whales, and others: one has a word of them, many those of any question."""
    whales = [f"Blue whales sing songs of {many} hours in the sea." for many in range(3)]
    texts = {
        **{f"sea/{n}.md": text for n, text in enumerate(whales)},
        "land/zoo.md": "The zoo sells tickets, maps and a picture of something blue.",
        **{f"land/{n}.md": text for n, text in enumerate(general_questions()[::3])},
    }
    with Index.open_or_create(tmp_path_factory.mktemp("library"), FakeEmbedder()) as opened:
        opened.add(Document(path, "md", (Page(None, text),)) for path, text in texts.items())
        yield opened


LAND = {"path": {"glob": "land/**"}}


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
def test_a_filter_that_hides_better_passages_is_named(library: Index, mode: str) -> None:
    asked = "blue whales sing songs in the sea"
    hits = library.search(asked, mode=mode, where=LAND)
    all_hits = library.search(asked, 20, mode=mode, fold=False)
    better = sum(hit.score > hits[0].score for hit in all_hits)
    assert better == 3
    assert library.search_notes(asked, hits, mode=mode, where=LAND) == [
        "3 better passages without the filter"
    ]
    typed = f"{asked} file:land/"
    hits = library.search(typed, mode=mode)
    assert library.search_notes(typed, hits, mode=mode) == ["3 better passages without file:land/"]


def test_a_filter_that_hides_nothing_good_is_not_named(library: Index) -> None:
    for asked in ("zoo tickets", "zeppelins over kettles", "blue"):
        hits = library.search(asked, where=LAND)
        assert library.search_notes(asked, hits, where=LAND) == []


def test_no_model_is_loaded_for_a_note(library: Index) -> None:
    asked = "blue whales sing songs in the sea"
    hits = library.search(asked, where=LAND)
    with Index(library.backend) as other:
        assert other.search_notes(asked, hits, where=LAND) == []
        (said,) = other.search_notes(asked, hits, where=LAND, embed=library.embed_query)
    assert said == "3 better passages without the filter"
