"""An open page while others act on its collection, and what it lets go of."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.testing.v1 import AppTest, local_script_runner
from streamlit.util import calc_hash

from retriever.index import Index
from retriever.interface.collections import delete_collection, uploads_folder
from retriever.interface.jobs import Jobs
from retriever.types import Document, Page
from tests.fakes import FakeEmbedder
from tests.pages import list_html, open_page

TEXTS = {"apples.txt": "Red apples grow on trees.", "pears.txt": "Pears are green."}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., AppTest]]:
    yield lambda folder, **params: open_page(monkeypatch, folder, params)
    st.cache_resource.clear()


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return make(tmp_path / "indexes" / "notes", TEXTS)


def make(folder: Path, texts: dict[str, str]) -> Path:
    with Index.open_or_create(folder, FakeEmbedder()) as made:
        made.add([Document(name, "text", (Page(None, text),)) for name, text in texts.items()])
    return folder


def at(app: AppTest, name: str) -> AppTest:
    """The same visitor on another page."""
    app._page_hash = calc_hash(name)  # a page that is a function has no file to go to
    return app.run()


def said(app: AppTest) -> str:
    assert not app.exception
    parts = [*app.info, *app.error, *app.warning, *app.caption, *app.markdown, *app.html]
    return " ".join([*(str(part.value) for part in parts), list_html(app)])


def delete(folder: Path) -> None:
    delete_collection(folder)


def erase(folder: Path) -> None:
    shutil.rmtree(folder)


def move(folder: Path) -> None:
    folder.rename(folder.with_name("letters"))


def rebuild(folder: Path) -> None:
    shutil.rmtree(folder)
    make(folder, {"plums.txt": "Red plums grow on trees."})


def shown(folder: Path) -> dict[str, Callable[[Callable[..., AppTest]], AppTest]]:
    """What an open page may show, by name."""
    with Index.open(folder, FakeEmbedder()) as index:
        (hit,) = index.search("red apples", 1, mode="keyword")
    found: dict[str, Any] = {"q": "red", "index": "notes", "mode": "keyword"}
    one = hit.chunk.id
    return {
        "home": lambda page: page(folder, index="notes"),
        "search": lambda page: page(folder, **found),
        "document": lambda page: page(folder, **found, open=one),
        "why": lambda page: page(folder, **found, open=one, view="why"),
        "collections": lambda page: at(page(folder, index="notes"), "collections"),
        "about": lambda page: at(page(folder, index="notes"), "about"),
    }


@pytest.mark.parametrize("happens", [delete, erase, move, rebuild])
def test_an_index_that_changes_under_an_open_page_is_told(
    page: Callable[..., AppTest], index: Path, happens: Callable[[Path], None]
) -> None:
    apps = {name: show(page) for name, show in shown(index).items()}
    before = {name: said(app) for name, app in apps.items()}
    assert "apples.txt" in before["search"]
    happens(index)
    for name, app in apps.items():
        text = said(app.run())
        if happens is rebuild:
            assert name != "search" or ("plums.txt" in text and "apples.txt" not in text)
            continue
        assert "apples" not in text.replace("red apples", ""), f"{name} shows what is gone"
        gone = ("is not there", "no collection", "Nothing is indexed", "there is no index")
        assert any(part in text for part in gone), f"{name} says nothing: {text[-600:]}"


def test_the_page_of_a_missing_collection_is_left_by_the_address(
    page: Callable[..., AppTest], index: Path
) -> None:
    """As by the browser's back button: it has no widgets that could disagree."""
    make(index.with_name("letters"), {"plums.txt": "Red plums grow on trees."})
    app = page(index, index="notes", q="red", mode="keyword")
    assert "apples.txt" in said(app)
    delete(index)
    assert "is not there any more" in said(app.run())
    app.query_params["index"] = "letters"
    text = said(app.run())
    assert "is not there any more" not in text
    assert "plums.txt" in text


def parts_of_a_page(folder: str) -> None:
    """What redraws itself, for an index that is deleted since the page was drawn; a script."""
    import shutil
    from pathlib import Path

    from retriever.index import Index
    from retriever.interface.jobs import Jobs
    from tests.fakes import FakeEmbedder
    from ui import file_table, home, job_status, status, suggestions
    from ui.resources import shared_index

    shared = shared_index(Path(folder), lambda path: Index.open(path, FakeEmbedder()))
    shutil.rmtree(folder)
    suggestions.show_suggestions(shared)
    home._show_refreshed(shared, waiting=True)
    job_status._show_refreshed(shared, Jobs(), going_on=False)
    status.show_activity(shared, shown=1)
    status.with_errors_shown(file_table.show_files)(shared, busy="")


def test_what_redraws_itself_survives_the_end_of_its_index(
    page: Callable[..., AppTest], index: Path
) -> None:
    app = AppTest.from_function(parts_of_a_page, kwargs={"folder": str(index)}, default_timeout=60)
    app.run()
    assert not app.exception
    assert len(app.error) == 3
    assert all("index" in one.value for one in app.error)


def test_an_upload_leaves_the_memory_of_the_server_when_it_is_stored(
    page: Callable[..., AppTest], index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    managers: list[MemoryUploadedFileManager] = []

    class Noted(MemoryUploadedFileManager):
        def __init__(self, endpoint: str) -> None:
            super().__init__(endpoint)
            managers.append(self)

    monkeypatch.setattr(local_script_runner, "MemoryUploadedFileManager", Noted)
    monkeypatch.setattr(Jobs, "start", lambda *_: None)
    app = at(page(index), "collections")
    files = [("fig.txt", b"A fig tree grows.", "text/plain"), ("film.mp4", b"x", "video/mp4")]
    app.file_uploader[0].set_value(files)
    app.run()
    assert "film.mp4" in said(app)
    assert [one.name for one in uploads_folder(index).iterdir()] == ["fig.txt"]
    held = [record for one in managers for of in one.file_storage.values() for record in of]
    assert len(managers) > 1
    assert not held
