"""The page of the collections: what there is, a new one, and all that is done to the chosen one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import streamlit as st

from retriever.embedding.models.presets import PRESETS
from retriever.interface import collections as collection
from retriever.settings import DEFAULT_MODEL
from retriever.types import RetrieverError
from ui import adding, controls, ledger
from ui import job_status as running
from ui import status as state
from ui.collection_picker import CollectionPicker, choose, side
from ui.highlighting import counted, escaped, joined, markdown, visible
from ui.resources import Served, close, served


def show_collections(shelf: CollectionPicker) -> None:
    """Draw the page."""
    st.html('<div class="wva-head"><h1>Collections</h1></div>')
    controls.link_index(shelf.link_name, shelf.implied)
    controls.remember(shelf.page)
    for at, path in enumerate(shelf.found):
        _row(shelf, path, at)
    if not shelf.found:
        st.info(
            f"There is no collection in {markdown(str(shelf.home))} yet.",
            icon=":material/folder_open:",
        )
    if st.session_state.pop("made", False):
        st.session_state["new-name"] = ""
    # Another key with each new one: so it closes when one was made.
    with st.popover("New collection", key=f"new-{len(shelf.found)}", icon=":material/add:"):
        _new(shelf)
    index = shelf.served()
    if index is not None:
        side(index, named=not shelf.several)
        _chosen(shelf, index)


def _row(shelf: CollectionPicker, path: Path, at: int) -> None:
    """A collection in a line: its name, what is in it, and a button to choose it."""
    here = path == shelf.chosen
    mark = ' <span class="wva-page">chosen</span>' if here and shelf.several else ""
    with st.container(horizontal=True, vertical_alignment="center", key=f"collection-{at}"):
        st.html(
            f'<div class="wva-file"><bdi>{escaped(path.name)}</bdi>{mark}</div>'
            f'<p class="wva-note">{escaped(_facts(shelf, path))}</p>'
        )
        if not here:
            st.button("Choose", key=f"choose-{at}", on_click=choose, args=(path,))


def _facts(shelf: CollectionPicker, path: Path) -> str:
    """What is in it, or why that cannot be told."""
    try:
        info = served(path, shelf.open_index).info()
    except RetrieverError as error:
        return str(error)
    model = (info["model"] or {}).get("model") or info["wished_model"] or DEFAULT_MODEL
    size = info["bytes"]["total"] / 1e6
    many = counted(info["documents"], "document"), counted(info["chunks"], "passage")
    return joined([*many, model, f"{size:,.0f} MB"])


def _new(shelf: CollectionPicker) -> None:
    with st.form("new-collection", border=False):
        name = st.text_input("Name", key="new-name", max_chars=collection.MAX_NAME)
        model = st.selectbox(
            "Model",
            list(PRESETS),
            key="new-model",
            accept_new_options=True,
            format_func=_model,
            help="Or type a folder, a GGUF file, or a name on the model hub. It cannot be "
            "changed later: other models make other vectors.",
        )
        if st.form_submit_button("Create", type="primary"):
            adding.told(lambda: _create(shelf, name, str(model or "")))


def _model(name: str) -> str:
    preset = PRESETS.get(name)
    return f"{name} · {preset.what} ({preset.licence})" if preset else name


def _create(shelf: CollectionPicker, name: str, model: str) -> None:
    made = collection.create(shelf.home, name, "" if model == DEFAULT_MODEL else model)
    # The choice is a widget that is drawn already: it is set when the page is drawn next.
    st.session_state["choose"] = made.name
    st.session_state["made"] = True


def _chosen(shelf: CollectionPicker, index: Served) -> None:
    """All that can be done to the chosen collection."""
    st.html(f'<h2 class="wva-title"><bdi>{escaped(index.path.name)}</bdi></h2>')
    busy = running.busy(index, shelf.jobs)
    running.show_jobs(index, shelf.jobs)
    st.html('<h3 class="wva-part">Add documents</h3>')
    adding.show_adding(index, shelf.jobs, busy=busy)
    st.html('<h3 class="wva-part">Files</h3>')
    if busy:  # files appear as they are done; nothing can be removed meanwhile
        st.fragment(ledger.show_ledger, run_every=state.EVERY)(index, busy=busy)
    else:
        ledger.show_ledger(index, busy=busy)
    adding.folders(index, shelf.jobs, partial(ledger.confirm, index), busy=busy)
    st.divider()
    if st.button("Delete this collection", key="delete", disabled=bool(busy), help=busy or None):
        _confirm_deletion(shelf, index)


@st.dialog("Delete this collection?")
def _confirm_deletion(shelf: CollectionPicker, index: Served) -> None:
    name = index.path.name
    st.write(
        f"{markdown(name)} with all that is indexed in it will be deleted, and with it the files "
        "that were uploaded. Files in your own folders stay."
    )
    typed = st.text_input("Type its name to confirm", key="delete-name")
    if st.button("Delete for good", key="delete-yes", type="primary"):
        if typed.strip() == name:
            adding.told(lambda: _delete(shelf, index))
        else:
            st.error(f"That is not its name: it is called {markdown(visible(name))}.")


def _delete(shelf: CollectionPicker, index: Served) -> None:
    shelf.jobs.forget(index.path)
    close(index, shelf.open_index)
    collection.delete(index.path)
    st.session_state["choose"] = None


__all__ = ["show_collections"]
