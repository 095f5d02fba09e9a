"""The page: `streamlit run ui/app.py -- --index DIR`. A script, read from top to bottom.

`DIR` is an index, or a folder of indexes to choose from. All retrieval is imported.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from retriever.index import Index
from retriever.types import RetrieverError
from ui import controls, results, state
from ui.marks import escaped, markdown, visible
from ui.resources import Opener, Served, indexes_in, served
from ui.style import CSS, FOCUS, ICON


def main(argv: Sequence[str] | None = None, open_index: Opener = Index.open) -> None:
    """Draw the page. `open_index` opens an index's folder."""
    root = _root(sys.argv[1:] if argv is None else argv)
    st.set_page_config("Search your documents", ICON, layout="centered")
    st.html(CSS)
    st.html('<div class="wva-head"><h1>Search your documents</h1></div>')
    try:
        _page(root, open_index)
    except RetrieverError as error:
        state.error(error)


def _page(root: Path, open_index: Opener) -> None:
    arrived = controls.came_by_address()
    found = indexes_in(root)
    chosen = _chosen(root, found, arrived=arrived)
    if chosen is None:
        _no_index(root)
        return
    index = served(chosen, open_index)
    _side(index, named=len(found) < 2)
    if not index.info()["documents"]:
        _empty(index)
        return
    state.headline(index)
    controls.restore(arrived=arrived)
    asked = controls.show(index)
    several = len(found) > 1
    controls.link(asked, chosen.name if several else "", found[0].name if several else "")
    generation = index.index.generation
    state.activity(index, shown=generation if asked.text else None)
    if asked.text:
        results.show(index, asked)
    else:
        results.explain()
    _focus()


def _root(argv: Sequence[str]) -> Path:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--index", type=Path, default=Path("indexes/default"))
    root: Path = parser.parse_known_args(argv)[0].index
    return root


def _chosen(root: Path, found: Sequence[Path], *, arrived: bool) -> Path | None:
    """The index to show: the only one, or the one chosen at the side; None if there is none."""
    if not found and root.is_file():
        return root  # opening it says what is wrong
    if len(found) < 2:
        return found[0] if found else None
    names = {path.name: path for path in found}
    if arrived or st.session_state.get("index") not in names:
        wanted = st.query_params.get("index", "")
        st.session_state["index"] = wanted if wanted in names else found[0].name
    with st.sidebar:
        st.selectbox("Index", list(names), key="index", format_func=visible)
    return names[st.session_state["index"]]


def _side(index: Served, *, named: bool) -> None:
    with st.sidebar:
        if named:  # else the choice above says it
            st.html(f'<div class="wva-file"><bdi>{escaped(index.path.name)}</bdi></div>')
        state.facts(index)


def _no_index(root: Path) -> None:
    st.info(
        f"Nothing is indexed in {markdown(str(root))} so far. Name a folder with your documents, "
        "and this page will go on by itself:",
        icon=":material/folder_open:",
    )
    _command(root)
    state.until_there_is_one(root)


def _empty(index: Served) -> None:
    if index.info()["progress"]:
        st.info("The first documents are being read; this page will go on by itself.")
    else:
        st.info(
            "This index is empty. Add a folder with your documents, and this page will go on by "
            "itself:",
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


if __name__ == "__main__":
    main()
