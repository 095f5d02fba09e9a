"""The page Collections: the list, a new one, and everything about the chosen one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import streamlit as st

from retriever.embedding.models.presets import PRESETS
from retriever.interface import collections
from retriever.settings import DEFAULT_MODEL
from retriever.types import RetrieverError
from ui import add_documents, controls, file_table, job_status, status
from ui.collection_picker import CollectionPicker, choose, show_sidebar
from ui.highlighting import (
    count_text,
    escape_html,
    escape_markdown,
    join_parts,
    replace_unprintable,
)
from ui.resources import SharedIndex, close_index, shared_index


def show_collections(picker: CollectionPicker) -> None:
    """Show the page."""
    st.html('<div class="wva-head"><h1>Collections</h1></div>')
    controls.update_address_index(picker.link_name, picker.implied)
    controls.remember_visit(picker.page)
    for at, path in enumerate(picker.found):
        _show_row(picker, path, at)
    if not picker.found:
        st.info(
            f"There is no collection in {escape_markdown(str(picker.home))} yet.",
            icon=":material/folder_open:",
        )
    if st.session_state.pop("made", False):
        st.session_state["new-name"] = ""
    # The key changes with each new collection, which closes the popover.
    with st.popover("New collection", key=f"new-{len(picker.found)}", icon=":material/add:"):
        _show_new(picker)
    index = picker.shared_index()
    if index is not None:
        show_sidebar(index, named=True)
        _show_chosen(picker, index)


def _show_row(picker: CollectionPicker, path: Path, at: int) -> None:
    """Show a collection in a line: its name, its size, and a button to choose it."""
    here = path == picker.chosen
    mark = ' <span class="wva-page">chosen</span>' if here and picker.several else ""
    with st.container(horizontal=True, vertical_alignment="center", key=f"collection-{at}"):
        st.html(
            f'<div class="wva-file"><bdi>{escape_html(path.name)}</bdi>{mark}</div>'
            f'<p class="wva-note">{escape_html(_facts(picker, path))}</p>'
        )
        if not here:
            st.button("Choose", key=f"choose-{at}", on_click=choose, args=(path,))


def _facts(picker: CollectionPicker, path: Path) -> str:
    """The size and model of a collection, or the error of opening it."""
    try:
        info = shared_index(path, picker.open_index).info()
    except RetrieverError as error:
        return str(error)
    model = (info["model"] or {}).get("model") or info["wished_model"] or DEFAULT_MODEL
    size = info["bytes"]["total"] / 1e6
    many = count_text(info["documents"], "document"), count_text(info["chunks"], "passage")
    return join_parts([*many, model, f"{size:,.0f} MB"])


def _show_new(picker: CollectionPicker) -> None:
    with st.form("new-collection", border=False):
        name = st.text_input("Name", key="new-name", max_chars=collections.MAX_NAME)
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
            add_documents.run_and_redraw(lambda: _create(picker, name, str(model or "")))


def _model(name: str) -> str:
    preset = PRESETS.get(name)
    return f"{name} · {preset.what} ({preset.licence})" if preset else name


def _create(picker: CollectionPicker, name: str, model: str) -> None:
    made = collections.create_collection(picker.home, name, "" if model == DEFAULT_MODEL else model)
    # The widget of the choice is drawn already; it is set when the page is redrawn.
    st.session_state["choose"] = made.name
    st.session_state["made"] = True


def _show_chosen(picker: CollectionPicker, index: SharedIndex) -> None:
    """Show the chosen collection: its job, adding documents, its files, its deletion."""
    st.html(f'<h2 class="wva-title"><bdi>{escape_html(index.path.name)}</bdi></h2>')
    busy = job_status.busy_reason(index, picker.jobs)
    job_status.show_job(index, picker.jobs)
    st.html('<h3 class="wva-part">Add documents</h3>')
    add_documents.show_add_documents(index, picker.jobs, busy=busy)
    st.html('<h3 class="wva-part">Files</h3>')
    if busy:  # files appear when they are done; none can be removed meanwhile
        st.fragment(file_table.show_files, run_every=status.REFRESH_SECONDS)(index, busy=busy)
    else:
        file_table.show_files(index, busy=busy)
    add_documents.show_folders(
        index, picker.jobs, partial(file_table.confirm_removal, index), busy=busy
    )
    st.divider()
    if st.button("Delete this collection", key="delete", disabled=bool(busy), help=busy or None):
        _confirm_deletion(picker, index)


@st.dialog("Delete this collection?")
def _confirm_deletion(picker: CollectionPicker, index: SharedIndex) -> None:
    name = index.path.name
    st.write(
        f"{escape_markdown(name)} with all that is indexed in it will be deleted, and with it the "
        "files that were uploaded. Files in your own folders stay."
    )
    typed = st.text_input("Type its name to confirm", key="delete-name")
    if st.button("Delete for good", key="delete-yes", type="primary"):
        if typed.strip() == name:
            add_documents.run_and_redraw(lambda: _delete(picker, index))
        else:
            st.error(
                f"That is not its name: it is called {escape_markdown(replace_unprintable(name))}."
            )


def _delete(picker: CollectionPicker, index: SharedIndex) -> None:
    picker.jobs.forget(index.path)
    close_index(index, picker.open_index)
    collections.delete_collection(index.path)
    st.session_state["choose"] = None


__all__ = ["show_collections"]
