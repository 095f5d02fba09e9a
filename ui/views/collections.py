"""The page Collections: a card for each, a new one, and everything about the chosen one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from retriever.embedding.models.presets import PRESETS
from retriever.interface import collections
from retriever.interface.attention import needs_attention
from retriever.interface.removal import empty_bin
from retriever.settings import DEFAULT_MODEL
from retriever.storage.catalog import CATALOG_FILE
from retriever.storage.opening import Place
from retriever.types import RetrieverError, UsageError
from ui import add_documents, attention, controls, file_table, job_status, removal, status
from ui.collection_picker import CollectionPicker, choose
from ui.highlighting import (
    count_text,
    escape_html,
    escape_markdown,
    join_parts,
    replace_unprintable,
)
from ui.resources import SharedIndex, close_index, shared_index
from ui.widget_keys import widget_key

CSS = """<style>
.stMainBlockContainer { max-width: 78rem; padding-top: 4.4rem; }
[class*="st-key-collection-"] { padding: .8rem 1rem; }
[class*="st-key-collection-"] .wva-file { font-size: 1.06rem; padding: 0; margin: 0; }
[class*="st-key-collection-"]:has(.wva-chosen) { border-color: #4a86e8;
  box-shadow: 0 0 0 1px #4a86e8; }
.wva-warn { margin: .25rem 0 0; font-size: .92rem; font-weight: 600; }
.st-key-attention { border-color: color-mix(in srgb, #d99a00 65%, transparent); }
.wva-needy { margin: 0; overflow-wrap: anywhere; line-height: 1.4; }
.wva-needy span { display: block; font-size: .9rem; opacity: .8; }
[class*="st-key-choose-"] p, [class*="st-key-change-"] p { max-width: 8rem; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; }
.wva-refused p { margin: .3rem 0; padding: .5rem .8rem; border-radius: .5rem;
  background: color-mix(in srgb, #d99a00 16%, transparent); overflow-wrap: anywhere; }
.wva-dropping [data-testid="stFileUploaderDropzone"] { outline: 3px dashed #4a86e8; }
.wva-link { margin-right: .9rem; color: inherit; text-underline-offset: .2em; }
.st-key-folders button { justify-content: flex-start; width: 100%; }
</style>"""

_CARD = 296  # pixels
_RENAME, _DESCRIBE, _DELETE = "Rename", "Describe", "Delete"


def show_collections(picker: CollectionPicker) -> None:
    """Show the page."""
    st.html(CSS)
    controls.update_address_index(picker.link_name, picker.implied)
    controls.remember_visit(picker.page)
    if st.session_state.pop("made", False):
        st.session_state["new-name"] = ""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="left"):
        st.html('<div class="wva-head"><h1>Collections</h1></div>', width="content")
        # The key changes with each new collection, which closes the popover.
        if picker.has_folder:
            label = f"new-{len(picker.found)}"
            with st.popover("New collection", key=label, icon=":material/add:"):
                _show_new(picker)
    if not picker.found:
        st.info(
            f"There is no collection in {escape_markdown(str(picker.home))} yet.",
            icon=":material/folder_open:",
        )
    with st.container(horizontal=True, gap="small", key="cards"):
        for path in picker.found:
            _show_card(picker, path)
    index = picker.shared_index()
    if index is not None:
        if index.folder is not None:
            empty_bin(index.folder)
        _show_chosen(picker, index)


def _show_card(picker: CollectionPicker, path: Place) -> None:
    """Show a collection: its name, size and state, a button to choose it, and a menu."""
    here = path == picker.chosen
    name = escape_html(path.name)
    mark = ' <span class="wva-page wva-chosen">chosen</span>' if here and picker.several else ""
    with st.container(
        border=True, key=widget_key("collection", path.name), gap="small", width=_CARD
    ):
        st.html(f'<h2 class="wva-file"><bdi>{name}</bdi>{mark}</h2>{_facts(picker, path)}')
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            said = escape_markdown(replace_unprintable(path.name))
            if not here:
                st.button(
                    f"Choose {said}",
                    key=widget_key("choose", path.name),
                    on_click=choose,
                    args=(path,),
                )
            if not isinstance(path, Path):  # it is changed where the server is administered
                return
            asked = st.menu_button(
                f"Change {said}",
                [_RENAME, _DESCRIBE, _DELETE],
                key=widget_key("change", path.name),
                type="tertiary",
                icon=":material/more_horiz:",
            )
    if asked == _RENAME:
        _ask_name(picker, path)
    elif asked == _DESCRIBE:
        _ask_description(path)
    elif asked == _DELETE:
        _confirm_deletion(picker, path)


def _facts(picker: CollectionPicker, path: Place) -> str:
    """What a card says of its collection (HTML), or the error of opening it."""
    try:
        shared = shared_index(path, picker.open_index)
        info = shared.info()
        needy = len(needs_attention(shared.coverage_report().files))
    except RetrieverError as error:
        return f'<p class="wva-note">{escape_html(str(error))}</p>'
    said = collections.description(path) if isinstance(path, Path) else str(path)
    counts = [
        count_text(info["documents"], "document"),
        count_text(info["chunks"], "passage"),
        _megabytes(info["bytes"]["total"]),
    ]
    share = int(100 * (1 - info["pending"] / info["chunks"])) if info["pending"] else 100
    lines = [
        f'<p class="wva-note"><bdi>{escape_html(said)}</bdi></p>' if said else "",
        f'<p class="wva-note">{join_parts(counts)}</p>',
        f'<p class="wva-note">By meaning: {share} % so far</p>' if info["pending"] else "",
        f'<p class="wva-note">{_last_change(path, info)}</p>',
        f'<p class="wva-warn">⚠ {attention.attention_text(needy)}</p>' if needy else "",
    ]
    return "".join(lines)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3)):,} kB"


def _last_change(path: Place, info: Mapping[str, Any]) -> str:
    """When the last run was, or the last change where it was no run; empty if that is unknown."""
    ran = str((info["last_run"] or {}).get("at") or "")
    if ran:
        seconds = datetime.now(UTC) - datetime.fromisoformat(ran)
        return f"Synced {ago(seconds.total_seconds())}"
    if not isinstance(path, Path):
        return ""
    files = [path / f"{CATALOG_FILE}{end}" for end in ("", "-wal")]
    times = [file.stat().st_mtime for file in files if file.exists()]
    return f"Changed {ago(time.time() - max(times))}" if times else ""


def ago(seconds: float) -> str:
    """How long ago, rounded.

    >>> ago(20), ago(7300), ago(90_000), ago(400_000)
    ('just now', '2 hours ago', '1 day ago', '5 days ago')
    """
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return f"{count_text(round(seconds / length), unit)} ago"
    return "just now"


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
    """Show the chosen collection: its job, what needs attention, adding documents, its files."""
    st.html(f'<h2 class="wva-title"><bdi>{escape_html(index.path.name)}</bdi></h2>')
    busy = job_status.busy_reason(index, picker.jobs)
    job_status.show_job(index, picker.jobs, busy=busy)
    job_status.show_rest(index, picker.jobs)
    removal.show_removed(index, picker.jobs, busy=busy)
    attention.show_attention(index, picker.jobs, busy=busy)
    st.html('<h3 class="wva-part">Add documents</h3>')
    add_documents.show_add_documents(index, picker.jobs, busy=busy)
    st.html('<h3 class="wva-part">Files</h3>')
    if busy:  # files appear when they are done; none can be removed meanwhile
        table = status.with_errors_shown(file_table.show_files)
        st.fragment(table, run_every=status.REFRESH_SECONDS)(index, busy=busy)
    else:
        file_table.show_files(index, busy=busy)
    remove = partial(removal.confirm_removal, index)
    add_documents.show_folders(index, picker.jobs, remove, busy=busy)


# The menu of a collection


@st.dialog("Rename the collection")
def _ask_name(picker: CollectionPicker, path: Path) -> None:
    with st.form("rename", border=False):
        name = st.text_input(
            "Its new name", path.name, key=f"rename-{path.name}", max_chars=collections.MAX_NAME
        )
        st.caption(
            "Nothing is indexed again. Links and saved searches that name "
            f"{escape_markdown(replace_unprintable(path.name))} lead nowhere afterwards."
        )
        if st.form_submit_button("Rename", type="primary"):
            add_documents.run_and_redraw(lambda: _rename(picker, path, name))


def _rename(picker: CollectionPicker, path: Path, name: str) -> None:
    _check_idle(picker, path)
    _close(picker, path)
    followed = picker.jobs.stop_following(path)
    new = path
    try:
        new = collections.rename_collection(path, name)
        picker.jobs.rename(path, new)
    finally:
        if followed is not None:
            picker.jobs.follow(new, followed.paths)
    if path == picker.chosen:
        st.session_state["choose"] = new.name


@st.dialog("Describe the collection")
def _ask_description(path: Path) -> None:
    with st.form("describe", border=False):
        text = st.text_input(
            f"What is in {escape_markdown(replace_unprintable(path.name))}",
            collections.description(path),
            key=f"describe-{path.name}",
            max_chars=collections.MAX_DESCRIPTION,
        )
        if st.form_submit_button("Save", type="primary"):
            add_documents.run_and_redraw(lambda: collections.describe_collection(path, text))


@st.dialog("Delete this collection?")
def _confirm_deletion(picker: CollectionPicker, path: Path) -> None:
    name = escape_markdown(replace_unprintable(path.name))
    st.write(
        f"{name} with all that is indexed in it will be deleted, and with it the files that were "
        "uploaded; this cannot be undone. Files in your own folders stay."
    )
    with st.form("delete", border=False):
        typed = st.text_input("Type its name to confirm", key=f"delete-name-{path.name}")
        if st.form_submit_button("Delete for good", type="primary"):
            if typed.strip() == path.name:
                add_documents.run_and_redraw(lambda: _delete(picker, path))
            else:
                st.error(f"That is not its name: it is called {name}.")


def _delete(picker: CollectionPicker, path: Path) -> None:
    _check_idle(picker, path)
    picker.jobs.forget(path)
    _close(picker, path)
    collections.delete_collection(path)
    if path == picker.chosen:
        st.session_state["choose"] = None


def _check_idle(picker: CollectionPicker, path: Path) -> None:
    """Raise UsageError while documents are indexed here."""
    job = picker.jobs.of(path)
    if job is not None and job.running:
        raise UsageError(
            f"documents are being indexed into {path.name!r}: wait until that is done, or stop it"
        )


def _close(picker: CollectionPicker, path: Path) -> None:
    """Close an index that is open; a damaged one never is."""
    try:
        close_index(shared_index(path, picker.open_index), picker.open_index)
    except RetrieverError:
        return


__all__ = ["ago", "show_collections"]
