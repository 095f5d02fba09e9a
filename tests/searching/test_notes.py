"""Notes on a search: sentences about what its results do not show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from retriever import Document, Index, Page
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
        ("policy type:pdf", ["the filter leaves none of 6 passages"]),
    ],
)
def test_what_results_do_not_show_is_said(index: Index, query: str, said: list[str]) -> None:
    assert notes(index, query) == said
