"""The steps of a search, in order; a tool that a search does not need is not called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retriever import Document, Index, Page, SearchOptions
from retriever.embedding.attributed import AttributionCache
from retriever.searching.grouping import group, with_context
from retriever.searching.hybrid import search
from retriever.searching.match import MatchScale, bm25_unit, with_match
from retriever.searching.pipeline import SearchPipeline, SearchTools, find_chunk, parse_query
from retriever.searching.sentences import with_sentences
from retriever.searching.strength import with_strength
from retriever.types import Hit, IndexStateError, UsageError
from tests.fakes import FakeEmbedder

WORDS = ("amber", "basalt", "cedar", "dune", "ember", "fjord")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("index")
    with Index.open_or_create(folder, FakeEmbedder()) as opened:
        opened.add(
            Document(
                f"{word}.txt", "text", (Page(None, f"The {word} lies in the valley. {n % 3}"),)
            )
            for n, word in enumerate(WORDS * 4)
        )
        yield opened


def not_needed(*_: Any) -> Any:
    pytest.fail("a tool was asked for that the search does not need")


def run(
    index: Index, query: str, tools: dict[str, Callable[..., Any]], **options: Any
) -> list[Hit]:
    chosen = SearchOptions(**options)
    known: dict[str, Any] = {
        "embed": not_needed,
        "attributions": AttributionCache(not_needed),
        "match_scale": lambda now: MatchScale.from_json(now.catalog.match_scale()),
        "judge": not_needed,
    }
    with index.snapshot() as now:
        return SearchPipeline(now, query, chosen, SearchTools(**{**known, **tools})).run()


def test_a_keyword_search_asks_neither_for_a_vector_nor_for_a_model(index: Index) -> None:
    hits = run(index, "amber", {}, mode="keyword", k=3)
    assert [hit.chunk.path for hit in hits] == ["amber.txt"]
    assert hits[0].match is not None


def test_a_query_is_embedded_once_however_far_its_ranking_is_read(index: Index) -> None:
    asked: list[str] = []

    def embed(query: str) -> Any:
        asked.append(query)
        return index.embed_query(query)

    hits = run(index, "the valley", {"embed": embed}, k=6, min_match=0.0)
    assert len(hits) == 6
    assert asked == ["the valley"]


def test_the_steps_are_those_of_the_modules(index: Index) -> None:
    query, k = "amber in the valley", 4
    hits = run(index, query, {"embed": index.embed_query}, k=k, context=1)
    with index.snapshot() as now:
        scale = MatchScale.from_json(now.catalog.match_scale())
        ranking = lambda count: search(now, query, index.embed_query, k=count, tolerant=True)  # noqa: E731
        expected = with_match(group(ranking, k, now.catalog), scale, bm25_unit(now, query))
        expected = with_strength(now, expected, query)
        expected = [with_context(hit, 1, now.catalog) for hit in expected]
        expected = with_sentences(now, query, expected, tolerant=True)
    assert hits == expected == index.search(query, k, context=1)


def test_a_least_match_needs_a_scale(index: Index) -> None:
    tools = {"embed": index.embed_query, "match_scale": lambda now: None}
    assert all(hit.match is None for hit in run(index, "amber", tools))
    with pytest.raises(IndexStateError, match="the index in docs does not know yet"):
        run(index, "amber", {**tools, "index": "docs"}, min_match=0.5)  # type: ignore[dict-item]


def test_a_query_without_syntax_is_plain_text() -> None:
    assert parse_query("-draft amber", SearchOptions(syntax=False)).text == "-draft amber"
    assert parse_query("-draft amber", SearchOptions()).text == "amber"


def test_a_chunk_is_found_by_its_id(index: Index) -> None:
    chunk = index.search("amber", 1)[0].chunk
    with index.snapshot() as now:
        assert find_chunk(now.catalog, chunk.id) == chunk
        assert find_chunk(now.catalog, chunk) is chunk
        with pytest.raises(UsageError, match="no passage 'nowhere' in this index"):
            find_chunk(now.catalog, "nowhere")
