"""Which collection answers: the one that is named, or a sentence; never another one silently."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from retriever.index import Index
from retriever.interface.searches import Searches
from retriever.types import Document, Page
from tests import pages
from tests.fakes import FakeEmbedder
from tests.ui.test_pages import found, words


def make(folder: Path, name: str, text: str) -> Path:
    with Index.open_or_create(folder / name, FakeEmbedder()) as index:
        index.add([Document(f"{name}.txt", "txt", (Page(None, text),))])
    return folder / name


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two collections, both with a kiwi."""
    for name in ("alpha", "notes"):
        make(tmp_path, name, "A kiwi.")
    return tmp_path


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., AppTest]]:
    yield lambda folder, **params: pages.open_page(monkeypatch, folder, params)
    st.cache_resource.clear()


def test_a_link_is_answered_by_the_collection_that_it_names(
    page: Callable[..., AppTest], home: Path
) -> None:
    app = page(home, q="kiwi", mode="keyword", index="notes")
    assert found(app) == ["notes.txt"]
    assert "names no collection" not in words(app)
    app.button(key="pick-0").click().run()
    assert found(app) == ["alpha.txt"]
    assert app.query_params["index"] == "alpha"


@pytest.mark.parametrize("name", ["gone", "../alpha", "<b>*x*"])
def test_a_link_to_a_collection_that_is_gone_is_a_sentence(
    page: Callable[..., AppTest], home: Path, name: str
) -> None:
    app = page(home, q="kiwi", mode="keyword", index=name)
    assert found(app) == []
    assert "is not there any more" in app.warning[0].value
    assert "Choose another" in app.warning[0].value
    app.button(key="instead-1").click().run()
    assert found(app) == ["notes.txt"]
    assert not app.warning


def test_a_link_to_the_only_collection_of_another_name_is_a_sentence(
    page: Callable[..., AppTest], tmp_path: Path
) -> None:
    make(tmp_path, "other", "A kiwi.")
    app = page(tmp_path / "other", q="kiwi", mode="keyword", index="sample")
    assert found(app) == []
    assert "**sample** is not there any more" in app.warning[0].value


@pytest.mark.parametrize("away", ["deleted", "renamed"])
def test_a_visit_whose_collection_goes_away_is_not_answered_by_another(
    page: Callable[..., AppTest], home: Path, away: str
) -> None:
    app = page(home, q="kiwi", mode="keyword", index="notes")
    assert found(app) == ["notes.txt"]
    if away == "deleted":
        shutil.rmtree(home / "notes")
    else:
        (home / "notes").rename(home / "minutes")
    pages.ask(app, "kiwis")
    assert found(app) == []
    assert "**notes** is not there any more" in app.warning[0].value
    assert app.run().warning, "it is not forgotten with the next run"


def test_a_link_without_a_name_is_answered_by_the_server_s_collection(
    page: Callable[..., AppTest], home: Path
) -> None:
    app = page(home / "notes", q="kiwi", mode="keyword")
    assert found(app) == ["notes.txt"]
    assert "names no collection" in words(app)
    assert "<bdi>notes</bdi>" in words(app)
    pages.ask(app, "a kiwi")
    assert app.query_params["index"] == "notes"
    assert "names no collection" not in words(app)


def test_a_link_without_a_name_is_answered_by_the_last_used_not_the_first(
    page: Callable[..., AppTest], home: Path
) -> None:
    page(home, q="kiwi", mode="keyword", index="notes")
    st.cache_resource.clear()  # another server
    app = page(home, q="kiwi", mode="keyword")
    assert found(app) == ["notes.txt"]
    assert "names no collection" in words(app)


def test_with_nothing_to_go_by_the_visitor_chooses(
    page: Callable[..., AppTest], home: Path
) -> None:
    app = page(home, q="kiwi", mode="keyword")
    assert found(app) == []
    app.button(key="choose-1").click().run()
    assert found(app) == ["notes.txt"]


def test_a_new_collection_does_not_change_what_an_old_link_means(
    page: Callable[..., AppTest], tmp_path: Path
) -> None:
    make(tmp_path, "sample", "A kiwi.")
    app = page(tmp_path, q="kiwi", mode="keyword")
    assert found(app) == ["sample.txt"]
    assert "names no collection" not in words(app), "there is only one"
    pages.ask(app, "kiwis")
    assert app.query_params["index"] == "sample", "a link names it, although it is the only one"
    make(tmp_path, "a new one", "A kiwi.")
    assert found(page(tmp_path, q="kiwi", mode="keyword", index="sample")) == ["sample.txt"]
    assert found(page(tmp_path, q="kiwi", mode="keyword")) == ["sample.txt"]


def test_one_of_several_collections_that_is_gone_is_told(
    page: Callable[..., AppTest], home: Path
) -> None:
    app = page(home, q="kiwi", mode="keyword", index="notes", also=["alpha", "gone"])
    assert sorted(found(app)) == ["alpha.txt", "notes.txt"]
    assert "**gone** is not there any more" in app.warning[0].value
    assert not page(home, q="kiwi", mode="keyword", index="notes", also=["alpha"]).warning


def test_the_collection_used_last_is_on_disk(page: Callable[..., AppTest], home: Path) -> None:
    page(home, index="notes")
    assert Searches(home).collection == "notes"
