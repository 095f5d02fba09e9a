"""Comparisons of two explanations: the terms' differences add up to that of the scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from retriever import Document, Index, Page
from retriever.explaining.compare import compare
from retriever.searching.options import SearchOptions, Steering
from retriever.types import UsageError
from tests.fakes import FakeEmbedder

TEXTS = {
    "drinks/tea.txt": "Green tea is brewed at eighty degrees.",
    "drinks/coffee.txt": "Coffee beans are roasted dark.",
    "drinks/old/copy.txt": "Green tea is brewed at eighty degrees!",
    "trains.txt": "The train to the coast leaves from platform four.",
    "grass.txt": "Green grass grows along the railway in early summer.",
    "snow.txt": "Snow covers all of the quiet valley.",
}


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as opened:
        opened.add(Document(path, "txt", (Page(None, text),)) for path, text in TEXTS.items())
        yield opened


def test_the_differences_of_the_terms_add_up_to_that_of_the_scores(index: Index) -> None:
    first, second = index.search("green tea leaves", fold=False)[:2]
    one, two = index.explain("green tea leaves", first), index.explain("green tea leaves", second)
    told = compare(one, two)
    assert sum(row.difference for row in told.terms) == pytest.approx(
        first.score - second.score, abs=1e-5
    )
    assert {row.name for row in told.words} == {"green", "tea", "leaves"}
    for rows in (told.terms, told.words, told.keywords):
        sizes = [abs(row.difference) for row in rows]
        assert sizes == sorted(sizes, reverse=True)
    assert one.keyword is not None
    assert sum(row.first for row in told.keywords) == pytest.approx(one.keyword.score)
    with pytest.raises(UsageError, match="of one query"):
        compare(one, index.explain("coffee", second))


def test_two_results_are_compared_by_what_explains_them(index: Index) -> None:
    query, options = "green tea leaves", SearchOptions(feedback=False, fold=False)
    first, second = index.search(query, options=options)[:2]
    explained = (index.explain(query, hit, feedback=False) for hit in (first, second))
    expected = compare(*explained)
    for one, other in ((first, second), (first.chunk, second.chunk.id)):
        told = index.compare(query, one, other, options=options)
        assert told.to_json() == expected.to_json()
    weighed = index.compare(query, first, second, steering=Steering((2.0, 1.0, 1.0)))
    assert weighed.to_json() != expected.to_json()
    dense = index.search(query, mode="dense")[0]
    with pytest.raises(UsageError, match="in one mode"):
        index.compare(query, first, dense)
