"""Questions to one's own index, against ranks counted by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from retriever.evaluation.datasets import LabelledQuestion, RelevantPlace
from retriever.evaluation.questions import evaluate_questions, missing_places
from retriever.index import Index
from retriever.types import Document, Page, UsageError
from tests.fakes import FakeEmbedder

PAGES = ("Red apples grow on trees.", "Whales sing in the sea.", "The tax law of May.")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    embedder = FakeEmbedder(same={"cetacean": "whale"})
    with Index.open_or_create(tmp_path / "index", embedder) as opened:
        pages = tuple(Page(number, text) for number, text in enumerate(PAGES, 1))
        opened.add(
            [
                Document("book.pdf", "pdf", pages),
                Document("sea.md", "markdown", (Page(None, "The sea is deep. Whales are large."),)),
            ]
        )
        yield opened


def mrr(index: Index, *questions: LabelledQuestion) -> dict[str, list[float]]:
    values = evaluate_questions(index, questions).values
    return {mode: list(by["mrr@10"].values()) for mode, by in values.items()}


def test_a_page_must_be_the_right_one(index: Index) -> None:
    found = mrr(
        index,
        LabelledQuestion("right", "apples", (RelevantPlace("book.pdf", 1),)),
        LabelledQuestion("wrong page", "apples", (RelevantPlace("book.pdf", 9),)),
        LabelledQuestion("any page", "apples", (RelevantPlace("book.pdf"),)),
        LabelledQuestion(
            "by meaning", "cetaceans", (RelevantPlace("book.pdf", 2), RelevantPlace("sea.md"))
        ),
    )
    assert list(found) == ["keyword", "dense", "hybrid"]
    assert found["keyword"] == [1, 0, 1, 0]
    assert found["dense"] == [1, 0, 1, 1]


def test_ranks_are_those_of_passages(index: Index) -> None:
    whales = [hit.chunk.path for hit in index.search("whales", mode="keyword")]
    assert sorted(whales) == ["book.pdf", "sea.md"]
    at = 1 + whales.index("sea.md")
    both = LabelledQuestion(
        "both", "whales", (RelevantPlace("book.pdf", 2), RelevantPlace("sea.md"))
    )
    run = evaluate_questions(
        index, [LabelledQuestion("sea", "whales", (RelevantPlace("sea.md"),)), both]
    )
    keyword = run.values["keyword"]
    assert keyword["mrr@10"] == {"sea": 1 / at, "both": 1}
    assert keyword["ndcg@10"]["sea"] == pytest.approx(1 / math.log2(at + 1))
    assert keyword["ndcg@10"]["both"] == pytest.approx(1)
    assert keyword["recall@10"] == {"sea": 1, "both": 1}
    assert "recall@100" not in keyword


def test_a_second_passage_of_the_same_place_takes_a_rank_and_gains_nothing(tmp_path: Path) -> None:
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        pages = (Page(1, "Blue whales"), Page(2, "Blue whales sing"), Page(3, "Blue sea"))
        index.add([Document("a.pdf", "pdf", pages)])
        question = LabelledQuestion(
            "q", "blue whales", (RelevantPlace("a.pdf"), RelevantPlace("a.pdf", 3))
        )
        order = [hit.chunk.page for hit in index.search("blue whales", mode="keyword", fold=False)]
        assert order == [1, 2, 3]
        found = evaluate_questions(index, [question]).values["keyword"]
    # Page 1 answers for the file, page 2 nothing more, page 3 for itself.
    gained, ideal = 1 + 1 / math.log2(4), 1 + 1 / math.log2(3)
    assert found["ndcg@10"]["q"] == pytest.approx(gained / ideal)


def test_what_is_not_in_the_index_is_said(index: Index) -> None:
    known = LabelledQuestion(
        "known", "apples", (RelevantPlace("book.pdf", 1), RelevantPlace("book.pdf"))
    )
    lost = LabelledQuestion(
        "lost", "apples", (RelevantPlace("book.pdf", 9), RelevantPlace("gone.pdf", 1))
    )
    assert missing_places(index, [known]) == []
    assert missing_places(index, [known, lost]) == [
        "book.pdf, page 9 has no passage in the index; it counts as not found",
        "gone.pdf, page 1 has no passage in the index; it counts as not found",
    ]
    with pytest.raises(UsageError, match=r"none of the 2 places .* 'book.pdf, page 9'"):
        missing_places(index, [lost])


def test_a_baseline_is_of_these_documents_and_questions(index: Index) -> None:
    asked = [
        LabelledQuestion("a", "apples", (RelevantPlace("book.pdf", 1),)),
        LabelledQuestion("b", "x", (RelevantPlace("y"),)),
    ]
    base = evaluate_questions(index, asked)
    again = evaluate_questions(index, asked[::-1], baseline=base)
    assert again.against(base)["hybrid"]["mrr@10"].difference.mean == 0
    with pytest.raises(UsageError, match="other queries"):
        evaluate_questions(index, [asked[0], replace(asked[1], text="z")], baseline=base)
    index.add([Document("new.md", "markdown", (Page(None, "Something new."),))])
    with pytest.raises(UsageError, match="other documents"):
        evaluate_questions(index, asked, baseline=base)
