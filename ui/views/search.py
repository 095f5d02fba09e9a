"""The page one searches on."""

from __future__ import annotations

import shlex
from pathlib import Path

import streamlit as st

from ui import controls, document, results, why
from ui import export_bar as taking
from ui import shortcuts as keys
from ui import status as state
from ui.collection_picker import CollectionPicker, side
from ui.highlighting import markdown, visible
from ui.resources import Served
from ui.style import FOCUS


def show_search(shelf: CollectionPicker) -> None:
    """Draw the page."""
    st.html('<div class="wva-head"><h1>Search your documents</h1></div>')
    index = shelf.served()
    if index is None:
        _no_index(shelf)
        return
    side(index, named=not shelf.several)
    if not index.info()["documents"]:
        _empty(index)
        return
    state.headline(index)
    controls.restore(arrived=shelf.arrived)
    asked = controls.show_controls(index)
    controls.link(asked, shelf.link_name, shelf.implied)
    controls.remember(shelf.page)
    generation = index.index.generation
    listed = asked.text and not document.is_open()
    state.activity(index, shown=generation if listed else None)
    if document.is_open():
        words = results.sought(index, asked)
        document.document_view(index, words, why.shades(index, asked))
    elif asked.text:
        taking.remember(shelf, asked)
        results.show_results(index, asked)
        document.get_ready(index)
    else:
        results.explain()
        taking.history()
    keys.listen()
    _focus()


def _no_index(shelf: CollectionPicker) -> None:
    if shelf.several:
        st.info("Choose a collection at the side.", icon=":material/folder_open:")
    st.info(
        f"Nothing is indexed in {markdown(str(shelf.root))} so far. Make a collection on the "
        "page Collections, or name a folder with your documents, and this page will go on by "
        "itself:",
        icon=":material/folder_open:",
    )
    _command(shelf.root)
    state.until_there_is_one(shelf.root)


def _empty(index: Served) -> None:
    if index.info()["progress"]:
        st.info("The first documents are being read; this page will go on by itself.")
    else:
        st.info(
            "This index is empty. Add documents on the page Collections, or a folder with this "
            "command, and this page will go on by itself:",
            icon=":material/folder_open:",
        )
        _command(index.path)
    state.activity(index, shown=None, waiting=True)


def _command(root: Path) -> None:
    folder = shlex.quote(visible(str(root)))
    st.code(f"wva index FOLDER --index {folder}", language=None, wrap_lines=True)


def _focus() -> None:
    """Put the cursor into the search box, once per visit."""
    if "focused" not in st.session_state:
        st.session_state["focused"] = True
        st.html(FOCUS, unsafe_allow_javascript=True)


__all__ = ["show_search"]
