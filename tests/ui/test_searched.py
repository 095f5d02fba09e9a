"""What a search of the page finds: several documents, and several collections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import streamlit as st

from retriever.index import Index
from retriever.searching.options import SearchOptions
from retriever.types import Document, Page
from tests.fakes import FakeEmbedder
from ui.page_query import PageQuery
from ui.resources import SharedIndex
from ui.searched import Found, Searched, find, verdict

TURNIPS = "\n\n".join(
    f"A turnip of field {at}. " + f"Field {at} is wide. " * 30 for at in range(40)
)
ASKED = PageQuery("turnip", mode="keyword")
OPTIONS = ASKED.options().changed(30, fold=False)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[tuple[SharedIndex, SharedIndex]]:
    """A collection with a long document and three short ones, and another that shares one."""
    short = [
        Document(f"{name}.txt", "txt", (Page(None, f"{name} has no turnip but peas. " * 9),))
        for name in ("north", "south", "west")
    ]
    with ExitStack() as stack:
        made = []
        for at, documents in enumerate(
            ([Document("farm.txt", "txt", (Page(None, TURNIPS),)), *short], short[:1])
        ):
            index = Index.open_or_create(tmp_path / f"farm{at}", FakeEmbedder())
            stack.enter_context(index).add(documents)
            made.append(SharedIndex(tmp_path / f"farm{at}", (1, at), index))
        yield made[0], made[1]
    st.cache_resource.clear()


def paths(found: Found) -> list[str]:
    return list(dict.fromkeys(hit.chunk.path for hit in found.hits))


def test_a_long_document_does_not_hide_the_others(shared: tuple[SharedIndex, ...]) -> None:
    searched = Searched(shared[0])
    assert len(find(searched, ASKED, OPTIONS).hits) == 30
    found = find(searched, ASKED, OPTIONS, documents=10)
    assert sorted(paths(found)) == ["farm.txt", "north.txt", "south.txt", "west.txt"]
    assert [hit.rank for hit in found.hits] == list(range(1, len(found.hits) + 1))
    assert found.hits[:30] == find(searched, ASKED, OPTIONS).hits


def test_a_file_of_two_collections_is_shown_once_with_its_collection(
    shared: tuple[SharedIndex, ...],
) -> None:
    searched = Searched(shared[0], {"farm1": shared[1]})
    found = find(searched, PageQuery("north", mode="keyword"), SearchOptions(mode="keyword"))
    ids = [hit.chunk.id for hit in found.hits]
    assert len(ids) == len(set(ids)) > 0
    assert {found.names[one] for one in ids} <= {"farm0", "farm1"}
    assert found.failed == ()
    assert verdict(searched, "north", found, SearchOptions(mode="keyword")) == ""


def test_only_sentences_that_are_wanted_are_chosen(shared: tuple[SharedIndex, ...]) -> None:
    searched = Searched(shared[0])
    options = OPTIONS.changed(sentences=False)
    found = find(searched, ASKED, options)
    assert {hit.sentence for hit in found.hits} == {None}
    wanted = found.hits[3].chunk.id
    chosen = searched.with_sentences("turnip", found, {wanted}, options)
    assert [hit.chunk.id for hit in chosen.hits if hit.sentence] == [wanted]
    best = chosen.hits[3].sentence
    assert best is not None
    assert "turnip" in best.text
