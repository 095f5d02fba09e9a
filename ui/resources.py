"""Shared by all sessions of the page: open indexes, and cached facts about them, read-only.

An index notices what another process writes. Facts are cached for one generation of the index,
and for a few seconds at most while it grows. That time is part of the key (`_Age`): Streamlit's
own `ttl` may end between its two accesses to a value, which raises a KeyError.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from retriever.explaining.corpus_map import Survey, survey
from retriever.index import Index
from retriever.indexing.coverage import CoverageReport, coverage_report
from retriever.searching.facets import Facets, count_facets
from retriever.storage.backends import Documents
from retriever.storage.catalog import CATALOG_FILE
from retriever.storage.opening import Place, place_of
from retriever.storage.records import UnreadFile
from retriever.storage.upkeep.uploads import uploads_folder
from retriever.types import DocumentRow, FileStatus, RetrieverError
from ui.page_query import PageQuery

Opener = Callable[[Place], Index]

CatalogId = tuple[int, int] | str
"""Device and inode of a catalog: they identify an index, whatever the name of its folder.

Of an index in Milvus, its address.
"""

_Age = tuple[int | None, int]
"""A generation, None while the index grows, and a number that changes at a fixed interval."""

_FRESH_SECONDS = 2.0
_LEDGER_SECONDS = 3.0
_GROWING_SECONDS = 10.0
_SURVEY_SECONDS = 600.0
_MAX_PROBLEMS = 100
_FACETS = ("formats", "folders", "years")


@dataclass(frozen=True, slots=True)
class Overview:
    """Facts that need a pass over all documents: unreadable files, first and last date."""

    problems: tuple[tuple[str, str], ...]  # path, and what is wrong
    more_problems: int
    first_date: str
    last_date: str


@dataclass(frozen=True, slots=True)
class SharedIndex:
    """An open index, its folder or address, and its identity in cache keys."""

    path: Place
    place: CatalogId
    index: Index

    @property
    def folder(self) -> Path | None:
        """The folder of its files, uploads among them; None for an index in Milvus."""
        return self.path if isinstance(self.path, Path) else None

    @property
    def uploads(self) -> str:
        """The folder of its uploads, as a root of files; empty where there can be none."""
        return str(uploads_folder(self.path)) if isinstance(self.path, Path) else ""

    def info(self) -> dict[str, Any]:
        """Counts, model, last run, progress: at most two seconds old."""
        return _info(self.place, (self.index.generation, _tick(_FRESH_SECONDS)), self.index)

    def overview(self) -> Overview:
        """At most ten seconds old while the index grows."""
        return _overview(self.place, self._age(_GROWING_SECONDS), self.index)

    def coverage_report(self) -> CoverageReport:
        """The state of every file: at most three seconds old while the index grows."""
        return _account(self.place, self._age(_LEDGER_SECONDS), self.index)

    def facets(self, page_query: PageQuery) -> Facets:
        """The values to filter by, with counts: at most ten seconds old."""
        wheres = {name: page_query.where(without=(name, "pages")) for name in _FACETS}
        age = self._age(_GROWING_SECONDS)
        return _facets(self.place, age, json.dumps(wheres), self.index)

    def documents(self) -> dict[str, DocumentRow]:
        """The documents by id: at most ten seconds old while the index grows."""
        return _documents(self.place, self._age(_GROWING_SECONDS), self.index)

    def survey(self) -> Survey:
        """The map of the index: at most ten minutes old while it grows."""
        return _survey(self.place, self._age(_SURVEY_SECONDS), self.index)

    def roots(self) -> list[str]:
        """The folders that were indexed."""
        return sorted({file.root for file in self.coverage_report().files} - {""})

    def _age(self, seconds: float) -> _Age:
        growing = self.info()["progress"] is not None
        return None if growing else self.index.generation, _tick(seconds)

    @property
    def loading(self) -> bool:
        """Whether the index's model is being loaded now."""
        thread = _loading.get(id(self.index))
        return not self.index.ready and thread is not None and thread.is_alive()

    def load_model(self) -> None:
        """Load the index's model unless it is loaded; other sessions wait for it."""
        _ = self.index.embedder


def shared_index(where: Place, open_index: Opener) -> SharedIndex:
    """The index at a place, opened once per process."""
    path, place = str(where.absolute()), _place(where)
    _drop_gone(open_index)
    index = _opened(path, place, open_index)
    with _kept_lock:
        _kept[path, place] = index
    return SharedIndex(where, place, index)


def _place(where: Place) -> CatalogId:
    if not isinstance(where, Path):
        return str(where.absolute())
    try:
        status = (where / CATALOG_FILE).stat()
    except OSError:
        return 0, 0  # opening it raises the error
    return status.st_dev, status.st_ino


def _drop_gone(open_index: Opener) -> None:
    """Have the cache drop indexes that were deleted or built anew by another process.

    Their open files would take space on the disk, and with it what was deleted stays there.
    """
    with _kept_lock:
        kept = list(_kept)
    for path, place in kept:
        if _place(place_of(path)) != place:
            _opened.clear(path, place, open_index)
            with _kept_lock:
                _kept.pop((path, place), None)


def close_index(index: SharedIndex, open_index: Opener) -> None:
    """Close an index before it is deleted, and drop what is cached of it."""
    _opened.clear(str(index.path.absolute()), index.place, open_index)
    for remembered in (_info, _overview, _account, _facets, _documents, _survey):
        remembered.clear()  # a new index may get the old one's device and inode
    _loading.pop(id(index.index), None)
    index.index.close()


def _tick(seconds: float) -> int:
    return int(time.monotonic() // seconds)


@st.cache_resource(show_spinner=False, max_entries=16)
def _opened(path: str, place: CatalogId, _open_index: Opener) -> Index:
    index = _open_index(place_of(path))
    # The cache drops the index that nobody has used for longest; a run may use it still.
    weakref.finalize(index, _end, id(index), index.backend)
    thread = threading.Thread(target=_warm, args=(index,), name="load the model", daemon=True)
    _loading[id(index)] = thread
    thread.start()
    return index


_kept: weakref.WeakValueDictionary[tuple[str, CatalogId], Index] = weakref.WeakValueDictionary()
"""The open indexes, whose absolute folders and places are the keys of the cache."""

_kept_lock = threading.Lock()

_loading: dict[int, threading.Thread] = {}
"""The threads that load the models of the open indexes, by the index's `id`."""


def _end(number: int, backend: Documents) -> None:
    """Close the files of an index that nobody has any more."""
    _loading.pop(number, None)
    backend.close()


def _warm(index: Index) -> None:
    """Load the model while the user still types, so that the first search need not wait.

    An error is shown by the first search.
    """
    with contextlib.suppress(RetrieverError):
        if index.embedder_settings is not None:
            _ = index.embedder


@st.cache_resource(show_spinner=False, max_entries=64)
def _info(place: CatalogId, age: _Age, _index: Index) -> dict[str, Any]:
    return _index.info()


@st.cache_resource(show_spinner=False, max_entries=64)
def _overview(place: CatalogId, age: _Age, _index: Index) -> Overview:
    with _index.backend.reading() as catalog:
        return overview(catalog.documents(), catalog.unread())


@st.cache_resource(show_spinner=False, max_entries=64)
def _facets(place: CatalogId, age: _Age, wheres: str, _index: Index) -> Facets:
    rows = list(_documents(place, age, _index).values())
    return count_facets(rows, json.loads(wheres).get)


@st.cache_resource(show_spinner=False, max_entries=8)
def _documents(place: CatalogId, age: _Age, _index: Index) -> dict[str, DocumentRow]:
    return {row.id: row for row in _index.documents()}


@st.cache_resource(show_spinner=False, max_entries=8)
def _survey(place: CatalogId, age: _Age, _index: Index) -> Survey:
    with _index.backend.reading() as catalog:
        return survey(catalog)


@st.cache_resource(show_spinner=False, max_entries=8)
def _account(place: CatalogId, age: _Age, _index: Index) -> CoverageReport:
    with _index.backend.reading() as catalog:
        return coverage_report(catalog, _index.name)


def overview(rows: Sequence[DocumentRow], unread: Sequence[UnreadFile] = ()) -> Overview:
    """The overview of the documents, and of the files that could not be read."""
    problems = [(row.path, problem) for row in rows if (problem := _problem(row))]
    problems += [(file.path, file.reason) for file in unread if file.status is FileStatus.FAILED]
    dates = sorted(row.date for row in rows if row.date)
    return Overview(
        problems=tuple(problems[:_MAX_PROBLEMS]),
        more_problems=max(0, len(problems) - _MAX_PROBLEMS),
        first_date=dates[0] if dates else "",
        last_date=dates[-1] if dates else "",
    )


def _problem(row: DocumentRow) -> str:
    """The unread pages of a document, e.g. "2 of 9 pages: scanned"; empty if there are none."""
    bad = {state: count for state, count in row.page_states.items() if state.incomplete}
    states = ", ".join(str(state) for state in sorted(bad))
    return f"{sum(bad.values())} of {row.pages} pages: {states}" if bad else ""


__all__ = ["Opener", "Overview", "SharedIndex", "close_index", "overview", "shared_index"]
