"""An index in Milvus by every door: the library, commands, servers, the page, LangChain."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st

from retriever import Index
from retriever.indexing.copying import copy_index
from retriever.interface.cli import main as wva
from retriever.interface.server.served import Loading, Served, served_places
from retriever.langchain import AlignedWVAVectorStore
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.opening import open_backend, place_of
from tests import pages
from tests.fakes import FakeEmbedder
from tests.indexing.test_copying import everything
from tests.langchain.embeddings import WordEmbeddings
from tests.storage.milvus_index import shared_index
from tests.ui.test_open_page import at
from tests.ui.test_pages import found, words

NOTES = {
    "tea.md": "# Tea\n\nThe kettle sings on the stove while the rain falls.\n",
    "dogs.md": "# Dogs\n\nA dog barks at the postman every morning.\n",
    "trains.md": "# Trains\n\nThe last train to the harbour leaves at nine.\n",
}


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notes")
    for name, text in NOTES.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, notes: Path) -> str:
    """An index of the notes in a folder."""
    place = str(tmp_path_factory.mktemp("folder") / "index")
    with Index.open_or_create(place, FakeEmbedder()) as index:
        assert index.sync([notes]).complete
    return place


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, folder: str) -> Iterator[str]:
    """The same index in Milvus: fitting it there again would ask it a thousand questions."""
    with shared_index(tmp_path_factory.mktemp("milvus")) as address:
        with Index.open(folder) as index:
            report = index.copy_to(address)
        assert (report.copied, report.complete, report.same) == (3, True, 1.0)
        yield address


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_the_commands_work_unchanged(
    address: str, notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--index", address, "--json"]
    assert wva(["search", "kettle", "--mode", "keyword", *where]) == 0
    assert [hit["path"] for hit in told(capsys)["hits"]] == ["tea.md"]
    assert wva(["info", *where]) == 0
    found = told(capsys)
    assert (found["documents"], found["path"]) == (3, address)
    assert wva(["report", *where]) == 0
    assert {file["path"] for file in told(capsys)["files"]} == set(NOTES)
    assert wva(["explain", "kettle", "--mode", "keyword", *where]) == 0
    assert "kettle" in capsys.readouterr().out
    assert wva(["answer", "What sings on the stove?", "--mode", "keyword", *where]) == 0
    assert "kettle" in capsys.readouterr().out
    assert wva(["index", str(notes), "--keywords-only", "--dry-run", *where]) == 0
    assert told(capsys)["totals"]["unchanged"] == 3
    assert wva(["backup", str(notes.parent / "copy"), "--index", address]) == 2
    assert "wva copy" in capsys.readouterr().err


def test_it_is_as_good_as_a_folder(address: str, folder: str) -> None:
    with (
        Index.open(folder, FakeEmbedder()) as here,
        Index.open(address, FakeEmbedder()) as there,
    ):
        for mode in ("keyword", "dense", "hybrid"):
            ours, theirs = (one.search("a dog on a train", mode=mode) for one in (here, there))
            assert [hit.chunk.path for hit in ours] == [hit.chunk.path for hit in theirs]
            assert np.allclose([h.score for h in ours], [h.score for h in theirs], atol=1e-3)
        assert there.suggest("kett") == here.suggest("kett")
        assert there.generation > 0


def test_a_pickled_index_is_its_address(address: str) -> None:
    with Index.open(address) as index, pickle.loads(pickle.dumps(index)) as again:  # noqa: S301
        assert [row.path for row in again.documents()] == sorted(NOTES)


def test_it_is_served_beside_folders(address: str, tmp_path: Path) -> None:
    with Index.open_or_create(tmp_path / "pets", FakeEmbedder()):
        pass
    places = served_places([address, tmp_path / "pets"])
    name = place_of(address).name
    assert set(places) == {name, "pets"}
    loading = Loading(embedder=FakeEmbedder)
    with Served({name: places[name]}, loading) as served:
        index = served.index(name)
        assert served.index(name) is index
        assert len(index.documents()) == 3


def test_a_copy_goes_there_and_back(address: str, tmp_path: Path) -> None:
    with (
        open_backend(place_of(address)) as there,
        EmbeddedBackend.open(tmp_path / "back", create=True) as back,
    ):
        report = copy_index(there, back)
        assert (report.copied, report.same) == (3, 1.0)
        assert _comparable(back) == _comparable(there)
        again = copy_index(there, back, questions=0)
        assert (again.copied, again.left) == (0, 3)
        back_again = copy_index(back, there, questions=0)
        assert (back_again.copied, back_again.left) == (0, 3)


def _comparable(backend: Any) -> dict[str, Any]:
    return {**everything(backend), "vectors": np.round(everything(backend)["vectors"], 6).tolist()}


def test_the_page_shows_an_address_as_one_collection(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        app = pages.open_page(monkeypatch, address, {"q": "kettle", "mode": "keyword"}, 120)
        assert found(app) == ["tea.md"]
        app = at(app, "collections")
        assert not app.exception
        said = words(app)
        assert "3 documents" in said
        assert "no folder that would keep uploaded files" in said
        assert "New collection" not in said
        assert "Rename" not in said
    finally:
        st.cache_resource.clear()


def test_a_store_of_langchain_is_at_an_address(tmp_path: Path) -> None:
    with shared_index(tmp_path) as place:
        with AlignedWVAVectorStore(WordEmbeddings(), place) as store:
            assert store.add_texts(["tea", "rain"], [{"n": 1}, {"n": 2}], ids=["a", "b"])
            assert [one.id for one in store.similarity_search("rain", 1)] == ["b"]
            assert store.similarity_search("rain", 2, filter={"n": 1})[0].page_content == "tea"
            store.delete(["b"])
        with AlignedWVAVectorStore(WordEmbeddings(), place) as again:
            assert [one.page_content for one in again.get_by_ids(["a", "b"])] == ["tea"]
