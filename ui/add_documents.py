"""Adding documents to a collection: by upload, from a folder, and by reading folders again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from retriever.indexing.coverage import FileCoverage
from retriever.interface.collections import (
    store_archive,
    store_upload,
    uploads_folder,
    validate_folder,
)
from retriever.interface.jobs import Jobs
from retriever.interface.zip_uploads import is_archive
from retriever.reading.pictures import tesseract
from retriever.types import RetrieverError
from ui import document, status
from ui.highlighting import count_text, escape_html, escape_markdown
from ui.resources import SharedIndex

_FOLDER_HELP = "It is read where it is; nothing is copied, nothing in it is changed."


def show_add_documents(shared: SharedIndex, runs: Jobs, *, busy: str) -> None:
    """Show the forms that add documents; `busy` says why nothing can be added now."""
    upload, folder = st.tabs(["Upload files", "Add a folder of this computer"])
    with upload, st.form("upload", clear_on_submit=True, border=False):
        files = st.file_uploader(
            "Files",
            accept_multiple_files=True,
            key="files",
            help="PDF, Office, web pages, books, mail, tables, code, text: whatever `wva index` "
            "reads; several at once, or a ZIP archive of them. They are kept with the collection, "
            "until they are removed here.",
        )
        if st.form_submit_button("Upload and index", disabled=bool(busy), help=busy or None):
            _store_uploads(shared, runs, files)
    with folder, st.form("folder", border=False):
        path = st.text_input(
            "Folder or file", key="folder", placeholder="/home/me/Documents", help=_FOLDER_HELP
        )
        if st.form_submit_button("Add and index", disabled=bool(busy), help=busy or None):
            _remember_refusals(shared, [])
            run_and_redraw(
                lambda: start_indexing(shared, runs, [validate_folder(path, shared.path)])
            )
    _show_refusals(shared)


def show_folders(
    shared: SharedIndex, runs: Jobs, remove: Callable[[Sequence[FileCoverage]], None], *, busy: str
) -> None:
    """Show the collection's folders, with buttons to sync them and to `remove` their files."""
    roots = shared.roots()
    if not roots:
        return
    files = shared.coverage_report().files
    for at, root in enumerate(roots):
        own = [file for file in files if file.root == root]
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.html(
                f"<bdi>{escape_html(folder_label(root, shared))}</bdi> "
                f'<span class="wva-note">{count_text(len(own), "file")}</span>'
            )
            if st.button(
                "Remove folder",
                key=f"remove-root-{at}",
                help=busy or None,
                disabled=bool(busy),
                type="tertiary",
            ):
                remove(own)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _sync_button(shared, runs, "Sync", "Read what is new or has changed", roots, (), busy)
        again = "Read every file again, also those that failed; known text keeps its vectors"
        _sync_button(shared, runs, "Rebuild", again, roots, ("--reread",), busy)
        _show_passwords(shared, runs, roots, busy)
        if not tesseract.unavailable_reason():
            st.toggle(
                "Read scanned pages",
                value=bool(shared.index.backend.ocr_languages),
                key=_ocr_key(shared),
                help="With Tesseract; takes longer. Remembered for this collection; text that was "
                "read before stays.",
            )


def _show_passwords(shared: SharedIndex, runs: Jobs, roots: Sequence[str], busy: str) -> None:
    """Show the form for passwords: kept until the page's server ends, never written."""
    with (
        st.popover("Passwords", key="passwords", icon=":material/key:", type="tertiary"),
        st.form("password-form", clear_on_submit=True, border=False),
    ):
        known = runs.count_passwords(shared.path)
        password = st.text_input(
            "Password of encrypted files",
            type="password",
            key="password",
            autocomplete="off",
            help="It is tried on every encrypted file of this collection. It is kept in memory "
            "until the page's server ends, and written nowhere.",
        )
        if known:
            st.caption(f"{count_text(known, 'password')} known.")
        if st.form_submit_button("Try it", disabled=bool(busy), help=busy or None) and password:
            runs.learn(shared.path, password)
            document.page_pictures().add_password(password)
            there = [root for root in roots if Path(root).exists()]
            run_and_redraw(lambda: start_indexing(shared, runs, there, ["--retry"]))


def folder_label(root: str, shared: SharedIndex) -> str:
    """The name of a folder on the page.

    >>> from pathlib import Path
    >>> folder_label("/docs", SharedIndex(Path("ix"), (0, 0), None))
    '/docs'
    """
    return "Uploaded files" if root == str(uploads_folder(shared.path)) else root


def start_indexing(
    shared: SharedIndex, runs: Jobs, paths: Sequence[str | Path], options: Sequence[str] = ()
) -> None:
    """Index in the background, with or without OCR as this visitor has chosen.

    A run without an option for OCR does as the index remembers.
    """
    remembered = bool(shared.index.backend.ocr_languages)
    wished = bool(st.session_state.get(_ocr_key(shared), remembered))
    more = [] if wished == remembered else ["--ocr" if wished else "--no-ocr"]
    runs.start(shared.path, paths, [*options, *more])


def _ocr_key(shared: SharedIndex) -> str:
    """The key of the switch for OCR; each collection has its own."""
    return f"ocr-{shared.path}"


def run_and_redraw(action: Callable[[], Any]) -> None:
    """Run `action` and redraw the page, or show the error."""
    try:
        action()
    except RetrieverError as error:
        status.show_error(error)
        return
    st.rerun()


def _sync_button(
    shared: SharedIndex,
    runs: Jobs,
    label: str,
    help_: str,
    roots: Sequence[str],
    options: Sequence[str],
    busy: str,
) -> None:
    there = [root for root in roots if Path(root).exists()]
    if st.button(label, key=label.lower(), disabled=bool(busy), help=busy or help_):
        gone = [root for root in roots if root not in there]
        kept = "is not there now; what was indexed of it is kept"
        _remember_refusals(shared, [f"the folder {root!r} {kept}" for root in gone])
        if there:
            run_and_redraw(lambda: start_indexing(shared, runs, there, options))
        else:
            st.rerun()


def _store_uploads(shared: SharedIndex, runs: Jobs, files: Sequence[Any]) -> None:
    """Store the files and index them; refused ones are listed after the page is redrawn."""
    refused: list[str] = []
    kept = 0
    for file in files:
        try:
            if is_archive(file.name):
                found = store_archive(shared.path, file.name, file.getvalue())
                kept += found.count
                refused += found.refused
            else:
                store_upload(shared.path, file.name, file.getvalue())
                kept += 1
        except RetrieverError as error:
            refused.append(str(error))
    _remember_refusals(shared, refused if files else ["no file was chosen"])
    if kept:
        run_and_redraw(lambda: start_indexing(shared, runs, [uploads_folder(shared.path)]))
    else:
        st.rerun()


def _remember_refusals(shared: SharedIndex, sentences: Sequence[str]) -> None:
    """Remember sentences about the index, to show them until something else is added."""
    st.session_state["refused"] = (shared.path, tuple(sentences))


def _show_refusals(shared: SharedIndex) -> None:
    path, sentences = st.session_state.get("refused", (shared.path, ()))
    if sentences and path == shared.path:
        lines = (
            escape_markdown(f"{sentence[:1].upper()}{sentence[1:]}.") for sentence in sentences
        )
        st.warning("\n\n".join(lines), icon=":material/block:")


__all__ = ["folder_label", "run_and_redraw", "show_add_documents", "show_folders", "start_indexing"]
