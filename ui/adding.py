"""How documents get into a collection: by upload, from a folder, and by reading folders again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from retriever.indexing.coverage import FileCoverage
from retriever.interface.collections import checked_folder, keep_archive, keep_upload, uploads_of
from retriever.interface.jobs import Jobs
from retriever.interface.zip_uploads import is_archive
from retriever.reading.pictures import tesseract
from retriever.types import RetrieverError
from ui import document
from ui import status as state
from ui.highlighting import counted, escaped, markdown
from ui.resources import Served

_FOLDER_HELP = "It is read where it is; nothing is copied, nothing in it is changed."


def show_adding(served: Served, runs: Jobs, *, busy: str) -> None:
    """Draw what adds documents; `busy` says why nothing can be added now."""
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
            _uploaded(served, runs, files)
    with folder, st.form("folder", border=False):
        path = st.text_input(
            "Folder or file", key="folder", placeholder="/home/me/Documents", help=_FOLDER_HELP
        )
        if st.form_submit_button("Add and index", disabled=bool(busy), help=busy or None):
            _refuse(served, [])
            told(lambda: start(served, runs, [checked_folder(path, served.path)]))
    _refused(served)


def folders(
    served: Served, runs: Jobs, remove: Callable[[Sequence[FileCoverage]], None], *, busy: str
) -> None:
    """The folders the collection is made of: to be synchronised again, or removed with `remove`."""
    roots = served.roots()
    if not roots:
        return
    files = served.account().files
    for at, root in enumerate(roots):
        own = [file for file in files if file.root == root]
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.html(
                f"<bdi>{escaped(name_of(root, served))}</bdi> "
                f'<span class="wva-note">{counted(len(own), "file")}</span>'
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
        _run(served, runs, "Sync", "Read what is new or has changed", roots, (), busy)
        again = "Read every file again, also those that failed; known text keeps its vectors"
        _run(served, runs, "Rebuild", again, roots, ("--reread",), busy)
        _passwords(served, runs, roots, busy)
        if not tesseract.unavailable_reason():
            st.toggle(
                "Read scanned pages",
                value=bool(served.index.backend.ocr_languages),
                key=_switch(served),
                help="With Tesseract; takes longer. Remembered for this collection; text that was "
                "read before stays.",
            )


def _passwords(served: Served, runs: Jobs, roots: Sequence[str], busy: str) -> None:
    """What opens encrypted files: known until the page's server ends, and written nowhere."""
    with (
        st.popover("Passwords", key="passwords", icon=":material/key:", type="tertiary"),
        st.form("password-form", clear_on_submit=True, border=False),
    ):
        known = runs.count_passwords(served.path)
        password = st.text_input(
            "Password of encrypted files",
            type="password",
            key="password",
            autocomplete="off",
            help="It is tried on every encrypted file of this collection. It is kept in memory "
            "until the page's server ends, and written nowhere.",
        )
        if known:
            st.caption(f"{counted(known, 'password')} known.")
        if st.form_submit_button("Try it", disabled=bool(busy), help=busy or None) and password:
            runs.learn(served.path, password)
            document.pictures().add_password(password)
            there = [root for root in roots if Path(root).exists()]
            told(lambda: start(served, runs, there, ["--retry"]))


def name_of(root: str, served: Served) -> str:
    """A folder as people know it.

    >>> from pathlib import Path
    >>> name_of("/docs", Served(Path("ix"), (0, 0), None))
    '/docs'
    """
    return "Uploaded files" if root == str(uploads_of(served.path)) else root


def start(
    served: Served, runs: Jobs, paths: Sequence[str | Path], options: Sequence[str] = ()
) -> None:
    """Index in the background, with the OCR this visitor switched on or off.

    A run that is told nothing does as the index remembers.
    """
    remembered = bool(served.index.backend.ocr_languages)
    wished = bool(st.session_state.get(_switch(served), remembered))
    more = [] if wished == remembered else ["--ocr" if wished else "--no-ocr"]
    runs.start(served.path, paths, [*options, *more])


def _switch(served: Served) -> str:
    """The key of the collection's switch: each remembers for itself."""
    return f"ocr-{served.path}"


def told(action: Callable[[], Any]) -> None:
    """Do it, or say in its own sentence why not; then draw the page anew."""
    try:
        action()
    except RetrieverError as error:
        state.error(error)
        return
    st.rerun()


def _run(
    served: Served,
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
        _refuse(served, [f"the folder {root!r} {kept}" for root in gone])
        if there:
            told(lambda: start(served, runs, there, options))
        else:
            st.rerun()


def _uploaded(served: Served, runs: Jobs, files: Sequence[Any]) -> None:
    """Keep the files and index them; those that are refused are told after the page was redrawn."""
    refused: list[str] = []
    kept = 0
    for file in files:
        try:
            if is_archive(file.name):
                found = keep_archive(served.path, file.name, file.getvalue())
                kept += found.count
                refused += found.refused
            else:
                keep_upload(served.path, file.name, file.getvalue())
                kept += 1
        except RetrieverError as error:
            refused.append(str(error))
    _refuse(served, refused if files else ["no file was chosen"])
    if kept:
        told(lambda: start(served, runs, [uploads_of(served.path)]))
    else:
        st.rerun()


def _refuse(served: Served, sentences: Sequence[str]) -> None:
    """Say this of the index until something else is added."""
    st.session_state["refused"] = (served.path, tuple(sentences))


def _refused(served: Served) -> None:
    path, sentences = st.session_state.get("refused", (served.path, ()))
    if sentences and path == served.path:
        lines = (markdown(f"{sentence[:1].upper()}{sentence[1:]}.") for sentence in sentences)
        st.warning("\n\n".join(lines), icon=":material/block:")


__all__ = ["folders", "name_of", "show_adding", "start", "told"]
