"""The start, before the first question: examples, earlier searches, collections and subjects."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from pathlib import Path

import streamlit as st

from retriever.interface.collections import count_documents
from retriever.types import RetrieverError
from ui import controls, history, status
from ui.collection_picker import CollectionPicker, choose
from ui.highlighting import count_text, escape_markdown, join_parts, replace_unprintable
from ui.page_query import PageQuery
from ui.resources import CatalogId, SharedIndex

_EXAMPLES = 3
_SEARCHES = 6
_WORDS = 2  # of a subject
_REFRESH_SECONDS = 2.0

CSS = """<style>
.wva-start.wva-start { margin: 1.2rem 0 .2rem; font-size: 1.15rem; font-weight: 600; padding: 0; }
.wva-start small { display: block; font-size: .92rem; font-weight: 400; opacity: .78; }
.wva-group.wva-group { margin: 1rem 0 -.35rem; padding: 0; font-size: .92rem; font-weight: 600;
  letter-spacing: 0; }
.st-key-home { max-width: 62rem; }
.st-key-examples button { justify-content: flex-start; text-align: start; min-height: 1.9rem;
  padding: 0 .3rem; }
:is(.st-key-subjects, .st-key-shelf) { gap: .4rem; }
:is(.st-key-subjects, .st-key-shelf) button { min-height: 1.9rem; padding: 0 .7rem; }
.st-key-subjects button { border-radius: 1rem; }
:is(.st-key-subjects, .st-key-shelf, .st-key-examples) button p { font-size: .92rem; }
</style>"""


def show_home(picker: CollectionPicker, shared: SharedIndex) -> None:
    """Show the start of the chosen collection."""
    st.html(CSS)
    with st.container(key="home", gap="small"):
        st.html(
            '<h2 class="wva-start">Finds the passage in your own documents.'
            "<small>Nothing leaves this computer.</small></h2>"
        )
        _show_examples(shared)
        _show_searches(picker)
        _show_subjects(shared)
        _show_collections(picker)


def _head(text: str) -> None:
    st.html(f'<h3 class="wva-group">{text}</h3>')


@st.fragment
@status.with_errors_shown
def _show_examples(shared: SharedIndex) -> None:
    """Show sentences of the index to search for; nothing if it has none."""
    found = examples(shared)
    if not found:
        return
    _head("Try")
    with st.container(key="examples", gap="xxsmall"):
        for at, text in enumerate(found):
            if st.button(
                escape_markdown(replace_unprintable(text)),
                key=f"example-{at}",
                type="tertiary",
                icon=":material/search:",
                on_click=controls.set_query,
                args=(PageQuery(text),),
            ):
                st.rerun()


def examples(shared: SharedIndex) -> tuple[str, ...]:
    """A few questions whose answer is in the index; the same ones for the same generation."""
    return _examples(shared.place, shared.index.generation, shared)


@st.cache_resource(show_spinner=False, max_entries=16)
def _examples(place: CatalogId, generation: int, _shared: SharedIndex) -> tuple[str, ...]:
    try:
        return tuple(_shared.index.examples(_EXAMPLES))
    except RetrieverError:
        return ()


def _show_searches(picker: CollectionPicker) -> None:
    saved, recent = picker.searches.saved(), picker.searches.recent()
    for name, kind, searches in (("Saved", "saved", saved), ("Last searches", "recent", recent)):
        if searches:
            _head(name)
            with st.container(key=f"home-{kind}", gap="xxsmall"):
                history.show_searches(picker, searches[:_SEARCHES], kind)


def _show_collections(picker: CollectionPicker) -> None:
    _head("Collections")
    with st.container(horizontal=True, vertical_alignment="center", key="shelf"):
        for at, path in enumerate(picker.found):
            count = count_documents(path) if isinstance(path, Path) else None
            many = "" if count is None else count_text(count, "document")
            here = path == picker.chosen
            st.button(
                escape_markdown(join_parts([replace_unprintable(path.name), many])),
                key=f"shelf-{at}",
                icon=":material/check:" if here else ":material/folder:",
                on_click=choose,
                args=(path,),
            )
        st.page_link(picker.links["Collections"], label="Add documents", icon=":material/add:")


# Subjects


def _show_subjects(shared: SharedIndex) -> None:
    """Show what the index is about, as soon as that is known."""
    known = subjects(shared)
    every = _REFRESH_SECONDS if known is None else None
    st.fragment(_show_refreshed, run_every=every)(shared, waiting=known is None)


@status.with_errors_shown
def _show_refreshed(shared: SharedIndex, *, waiting: bool) -> None:
    known = subjects(shared)
    if waiting and known is not None:
        st.rerun()  # once more, and without a timer
    if not known:
        return
    _head("Subjects")
    with st.container(horizontal=True, key="subjects"):
        for at, (name, count) in enumerate(known):
            first = ", ".join(name.split(", ")[:_WORDS])
            if st.button(
                f"{escape_markdown(replace_unprintable(first))} · {count:,}",
                key=f"subject-{at}",
                help=f"Search for {escape_markdown(replace_unprintable(name))}",
                on_click=controls.set_query,
                args=(PageQuery(name.replace(",", "")),),
            ):
                st.rerun()


def subjects(shared: SharedIndex) -> tuple[tuple[str, int], ...] | None:
    """The subjects of the index with their numbers of passages, the largest first.

    They are computed in the background, when the model is loaded, so that nobody waits for them;
    None until then.
    """
    key = (shared.place, shared.index.generation)
    with _subjects_lock:
        if key in _subjects:
            return _subjects[key]
        if shared.index.ready and key not in _started:
            _started.add(key)
            threading.Thread(target=_compute, args=(key, shared), daemon=True).start()
    return None


_SubjectsKey = tuple[CatalogId, int]
_subjects: dict[_SubjectsKey, tuple[tuple[str, int], ...]] = {}
_started: set[_SubjectsKey] = set()
_subjects_lock = threading.Lock()


def _compute(key: _SubjectsKey, shared: SharedIndex) -> None:
    try:
        found = shared.survey()
        sizes = Counter(found.clusters.tolist())
        known = tuple(
            (name, sizes[at]) for at, name in enumerate(found.names) if name and sizes[at]
        )
    except (RetrieverError, sqlite3.Error):  # the index is closed, or damaged
        known = ()
    with _subjects_lock:
        for old in [one for one in _subjects if one[0] == key[0]]:
            del _subjects[old]  # of an earlier generation
        _subjects[key] = known
        _started.discard(key)


__all__ = ["examples", "show_home", "subjects"]
