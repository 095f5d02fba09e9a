"""The page Search."""

from __future__ import annotations

import shlex
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from retriever.storage.opening import Place
from ui import (
    controls,
    filters,
    history,
    home,
    job_status,
    pane,
    results,
    search_box,
    shortcuts,
    status,
    steer,
    suggestions,
)
from ui.collection_picker import (
    CollectionPicker,
    show_answering,
    show_choices,
    show_picker,
)
from ui.highlighting import HighlightTerms, escape_markdown, replace_unprintable
from ui.page_query import PageQuery
from ui.resources import SharedIndex
from ui.searched import Found, Searched
from ui.style import FOCUS

_TITLE = 60  # characters of the query


def show_search(picker: CollectionPicker) -> None:
    """Show the page."""
    st.html('<h1 class="wva-hidden">Search your documents</h1>')
    index = picker.shared_index()
    if index is None:
        _show_no_index(picker)
        return
    if not index.info()["documents"]:
        show_picker(picker)
        _show_empty(index)
        return
    controls.restore_widgets(arrived=picker.arrived)
    page_query, bar = _show_controls(picker, index)
    controls.update_address(page_query, picker.link_name, picker.implied)
    controls.remember_visit(picker.page)
    if page_query.text:
        st.set_page_config(page_title=_tab_title(page_query.text))
        history.remember_search(picker, page_query)
        searched = Searched(index, picker.others(page_query.also))
        results.show_results(searched, page_query, bar)
    elif pane.is_open():
        pane.show_pane(Searched(index), page_query, Found([]), HighlightTerms(""))
    else:
        home.show_home(picker, index)
    status.show_activity(index, shown=index.index.generation if page_query.text else None)
    job_status.show_rest(index, picker.jobs)
    shortcuts.install_shortcuts()
    _focus_search_box()


def _show_controls(
    picker: CollectionPicker, index: SharedIndex
) -> tuple[PageQuery, DeltaGenerator]:
    """Show the choice of a collection, the search box, and the filters.

    Returns the query, and the place beside the filters for what is said of the whole list.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="ask-row"):
        show_picker(picker)
        search_box.show_search_box()
        suggestions.show_suggestions(index)
    page_query = controls.current_query()
    with st.container(horizontal=True, vertical_alignment="center", key="filters-row"):
        if page_query.text:
            filters.show_filters(index, page_query)
            steer.show_weights(index, page_query)
            history.show_save(picker, page_query)
            history.show_history(picker, controls.current_query())
        filters.show_help()
        bar = st.container(horizontal=True, vertical_alignment="center", gap="small", key="found")
    page_query = controls.current_query()
    if page_query.text:
        with st.container(horizontal=True, vertical_alignment="center", key="chips-row"):
            filters.show_chips(page_query)
            steer.show_changes(index, page_query)
        show_answering(picker)
    return page_query, bar


def _tab_title(query: str) -> str:
    """The name of the browser's tab, and of a bookmark.

    >>> _tab_title("How long?")
    'How long? · Search'
    """
    line = replace_unprintable(" ".join(query.split()))
    return f"{line if len(line) <= _TITLE else line[:_TITLE].rstrip() + '…'} · Search"


def _show_no_index(picker: CollectionPicker) -> None:
    if picker.several:
        st.info("Choose the collection to search:", icon=":material/folder_open:")
        show_choices(picker, "choose")
        return
    st.info(
        f"Nothing is indexed in {escape_markdown(str(picker.root))} so far. Make a collection on "
        "the page Collections, or name a folder with your documents, and this page will go on by "
        "itself:",
        icon=":material/folder_open:",
    )
    _show_command(picker.root)
    if isinstance(picker.root, Path):
        status.wait_for_index(picker.root)


def _show_empty(index: SharedIndex) -> None:
    if index.info()["progress"]:
        st.info("The first documents are being read; this page will go on by itself.")
    else:
        st.info(
            "This index is empty. Add documents on the page Collections, or a folder with this "
            "command, and this page will go on by itself:",
            icon=":material/folder_open:",
        )
        _show_command(index.path)
    status.show_activity(index, shown=None, waiting=True)


def _show_command(root: Place) -> None:
    folder = shlex.quote(replace_unprintable(str(root)))
    st.code(f"wva index FOLDER --index {folder}", language=None, wrap_lines=True)


def _focus_search_box() -> None:
    """Focus the search box, once per visit."""
    if "focused" not in st.session_state:
        st.session_state["focused"] = True
        st.html(FOCUS, unsafe_allow_javascript=True)


__all__ = ["show_search"]
