"""What the page's sessions share of an index, while time goes by."""

from __future__ import annotations

import gc
import shutil
from itertools import count
from pathlib import Path

import psutil
import pytest
import streamlit as st
from streamlit.runtime.caching import cache_utils

from retriever.index import Index
from retriever.types import Document, Page
from tests.fakes import FakeEmbedder
from tests.handles import open_inodes
from ui import resources
from ui.page_query import PageQuery

OPEN = 16
"""The number of indexes that the page keeps open."""


def test_nothing_ends_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = count()
    monkeypatch.setattr(cache_utils, "TTLCACHE_TIMER", lambda: 1.9 * next(looks))
    st.cache_resource.clear()
    with Index.open_or_create(tmp_path / "notes", FakeEmbedder()) as index:
        index.add([Document("pears.txt", "txt", (Page(None, "Pears are green."),))])
        shared = resources.SharedIndex(tmp_path / "notes", (1, 1), index)
        for _ in range(3):
            assert shared.info()["documents"] == 1
            assert shared.overview().problems == ()
            assert shared.coverage_report().files
            assert shared.facets(PageQuery()).formats == {"txt": 1}
            assert len(shared.documents()) == 1
            assert len(shared.survey().chunks) == 1
    st.cache_resource.clear()


def test_what_is_known_of_an_index_is_asked_again_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(resources, "_tick", lambda seconds: int(now[0] // seconds))
    st.cache_resource.clear()
    with Index.open_or_create(tmp_path / "notes", FakeEmbedder()) as index:
        index.add([Document("pears.txt", "txt", (Page(None, "Pears are green."),))])
        shared = resources.SharedIndex(tmp_path / "notes", (2, 2), index)
        assert shared.info()["progress"] is None
        index.backend.set_progress({"files_done": 1})  # no new generation
        assert shared.info()["progress"] is None
        now[0] += 2.0
        assert shared.info()["progress"] == {"files_done": 1}
        before = shared.documents()
        index.add([Document("plums.txt", "txt", (Page(None, "Plums are blue."),))])
        index.backend.set_progress({"files_done": 2})
        now[0] += 2.0
        assert shared.documents() is before, "while it grows, not with every document"
        now[0] += 10.0
        assert len(shared.documents()) == 2
    st.cache_resource.clear()


def let_models_load() -> None:
    """Wait for the threads that load the models: until then each holds its index."""
    for thread in list(resources._loading.values()):
        thread.join()


def test_indexes_that_nobody_has_any_more_are_closed(tmp_path: Path) -> None:
    """More than the page keeps open; neither waits for a garbage collection."""
    process = psutil.Process()
    st.cache_resource.clear()
    loading = len(resources._loading)  # other tests have opened some
    handles = []
    gc.disable()
    try:
        for number in range(2 * OPEN + 2):
            folder = tmp_path / str(number)
            Index.open_or_create(folder, FakeEmbedder()).close()
            shared = resources.shared_index(folder, lambda path: Index.open(path, FakeEmbedder()))
            let_models_load()
            assert shared.index.documents() == []
            handles.append(process.num_fds())
        assert shared.index.query_words("a heron")
    finally:
        gc.enable()
    assert handles[-1] <= handles[OPEN] + 2
    assert handles[-1] >= handles[0] + OPEN - 1, "the others are open"
    assert len(resources._loading) - loading <= OPEN + 1
    st.cache_resource.clear()


def test_an_index_that_another_process_deleted_is_closed(tmp_path: Path) -> None:
    """What was deleted does not stay on the disk because the page has it open."""
    process = psutil.Process()
    st.cache_resource.clear()

    def visit(name: str) -> None:
        folder = tmp_path / name
        Index.open_or_create(folder, FakeEmbedder()).close()
        shared = resources.shared_index(folder, lambda path: Index.open(path, FakeEmbedder()))
        let_models_load()
        assert shared.info()["chunks"] == 0

    visit("kept")
    visit("anew")
    open_before = process.num_fds()
    for name in ("deleted", "anew"):
        visit(name)
        gone = {file.stat().st_ino for file in (tmp_path / name).iterdir()}
        assert open_inodes() & gone
        shutil.rmtree(tmp_path / name)
        visit("kept")
        assert not open_inodes() & gone
    visit("anew")
    assert process.num_fds() <= open_before + 2
    assert len([path for path, _ in resources._kept if path.startswith(str(tmp_path))]) == 2
    st.cache_resource.clear()
