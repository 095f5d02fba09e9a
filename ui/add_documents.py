"""Adding documents to a collection: by upload, from a folder, and by reading folders again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from retriever.indexing.coverage import FileCoverage
from retriever.interface import folders
from retriever.interface.collections import (
    store_archive,
    store_upload,
    validate_folder,
)
from retriever.interface.jobs import Jobs
from retriever.interface.remains import clear_remains
from retriever.interface.upload_limits import SENTENCE
from retriever.interface.zip_uploads import is_archive
from retriever.reading.formats import MAX_BYTES
from retriever.reading.pictures import tesseract
from retriever.storage.opening import files_of
from retriever.types import RetrieverError
from ui import document, following, removal, status, upload_guard
from ui.highlighting import count_text, escape_html, escape_markdown, replace_unprintable
from ui.resources import SharedIndex
from ui.widget_keys import widget_key

_FOLDER_HELP = "It is read where it is; nothing is copied, nothing in it is changed."
_NO_UPLOADS = (
    "This collection is in Milvus, and has no folder that would keep uploaded files: name a folder "
    "that stays where it is."
)
_TAKEN, _REFUSED, _BROWSED = "files-taken", "refused", "folder-browsed"


def show_add_documents(shared: SharedIndex, runs: Jobs, *, busy: str) -> None:
    """Show what adds documents; `busy` says why nothing can be added now."""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="reading"):
        _show_ocr(shared)
        _show_passwords(shared, runs, busy)
    upload, folder = st.columns([3, 2], gap="large")
    with upload:
        if shared.folder is None:
            st.caption(_NO_UPLOADS)
        else:
            _show_uploader(shared, runs, busy)
    with folder:
        _show_folder(shared, runs, busy)
    _show_refusals(shared)


def _show_uploader(shared: SharedIndex, runs: Jobs, busy: str) -> None:
    """Show the uploader: what is dropped is stored and indexed at once.

    It is the same one as long as the page is open, and keeps the names of what was taken from it,
    which the style sheet hides: a file that is dropped while others are stored would be lost with
    an uploader that is replaced afterwards.
    """
    with st.container(key="uploads"):
        files = st.file_uploader(
            "Drop files anywhere on this page, or pick them",
            accept_multiple_files=True,
            key="files",
            max_upload_size=MAX_BYTES // 1_000_000,
            disabled=bool(busy),
            help="PDF, Office, web pages, books, mail, tables, code, text; several at once, or a "
            "ZIP archive of them. They are kept with the collection until they are removed here.",
        )
        st.html(f'<p class="wva-note">{escape_html(busy or SENTENCE)}</p>')
        upload_guard.install_upload_guard()
    taken = st.session_state.setdefault(_TAKEN, set())
    new = [file for file in files if file.file_id not in taken]
    if new and not busy:
        _store_uploads(shared, runs, new)


def _show_folder(shared: SharedIndex, runs: Jobs, busy: str) -> None:
    """Show the field for a folder of this computer, and the folders to choose from."""
    chosen = st.session_state.pop("folder-chosen", None)
    if chosen is not None:
        st.session_state["folder"] = chosen
    with st.form("folder-form", border=False):
        path = st.text_input(
            "Or a folder of this computer",
            key="folder",
            placeholder=str(folders.home_folder() / "Documents"),
            help=_FOLDER_HELP,
        )
        if st.form_submit_button("Add and index", disabled=bool(busy), help=busy or None):
            remember_refusals(shared, [])
            run_and_redraw(
                lambda: start_indexing(shared, runs, [validate_folder(path, files_of(shared.path))])
            )
    with st.popover("Browse folders", icon=":material/folder_open:", type="tertiary"):
        _show_browser()


def _show_browser() -> None:
    """Show the folders below the user's own one; a click opens one, a button takes it."""
    home = folders.home_folder()
    here = folders.inside(Path(st.session_state.get(_BROWSED, home)), home)
    st.html(f'<p class="wva-note"><bdi>{escape_html(str(here))}</bdi></p>')
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Use this folder", key="folder-use", type="primary", on_click=_use, args=(str(here),)
        )
        st.button(
            "Up",
            key="folder-up",
            icon=":material/arrow_upward:",
            disabled=here == home,
            on_click=_browse,
            args=(str(here.parent),),
        )
    below = folders.subfolders(here)
    if not below:
        st.caption("There is no folder in it.")
        return
    with st.container(height=min(320, 24 + 44 * len(below)), border=False, key="folders", gap=None):
        for path in below:
            st.button(
                escape_markdown(replace_unprintable(path.name)),
                key=widget_key("folder", str(path)),
                icon=":material/folder:",
                type="tertiary",
                on_click=_browse,
                args=(str(path),),
            )


def _browse(path: str) -> None:
    st.session_state[_BROWSED] = path


def _use(path: str) -> None:
    st.session_state["folder-chosen"] = path


def show_folders(
    shared: SharedIndex,
    runs: Jobs,
    remove: Callable[[Sequence[FileCoverage], str], None],
    *,
    busy: str,
) -> None:
    """Show the collection's folders, with buttons to sync them and to `remove` their files."""
    roots = shared.roots()
    if not roots:
        return
    st.html('<h3 class="wva-part">Folders</h3>')
    files = shared.coverage_report().files
    for root in roots:
        own = [file for file in files if file.root == root]
        name = folder_label(root, shared)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.html(
                f"<bdi>{escape_html(name)}</bdi> "
                f'<span class="wva-note">{count_text(len(own), "file")}</span>',
                width="content",
            )
            if st.button(
                "Remove folder" if name == root else "Remove all uploads",
                key=widget_key("remove-root", root),
                help=busy or None,
                disabled=bool(busy),
                type="tertiary",
            ):
                remove(own, root if name == root else "")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _sync_button(shared, runs, "Sync", "Read what is new or has changed", roots, (), busy)
        again = "Read every file again, also those that failed; known text keeps its vectors"
        _sync_button(shared, runs, "Rebuild", again, roots, ("--reread",), busy)
        following.show_following(shared, runs, roots)


def _show_ocr(shared: SharedIndex) -> None:
    """Show the switch for OCR, or what to install for it."""
    missing = tesseract.unavailable_reason()
    if missing:
        st.caption(escape_markdown(f"Scans are not read: {missing}."))
        return
    st.toggle(
        "Read scans (OCR)",
        value=bool(shared.index.backend.ocr_languages),
        key=_ocr_key(shared),
        help="Text in pictures of pages is read with Tesseract; it takes longer. It counts for the "
        "next files, and is remembered for this collection; text that was read before stays.",
    )


def _show_passwords(shared: SharedIndex, runs: Jobs, busy: str) -> None:
    """Show the form for passwords: kept until the page's server ends, never written."""
    known = runs.count_passwords(shared.path)
    label = f"Passwords · {known:,}" if known else "Passwords"
    with (
        st.popover(label, key="passwords", icon=":material/key:", type="tertiary"),
        st.form("password-form", clear_on_submit=True, border=False),
    ):
        password = st.text_input(
            "Password of encrypted files",
            type="password",
            key="password",
            autocomplete="off",
            help="It is tried on every encrypted file of this collection, and on the next ones. It "
            "is kept in memory until the page's server ends, and written nowhere.",
        )
        if known:
            st.caption(f"{count_text(known, 'password')} known.")
        if st.form_submit_button("Try it", disabled=bool(busy), help=busy or None) and password:
            there = [root for root in shared.roots() if Path(root).exists()]
            run_and_redraw(lambda: try_password(shared, runs, password, there))


def try_password(
    shared: SharedIndex, runs: Jobs, password: str, paths: Sequence[str | Path]
) -> None:
    """Remember a password, and read what failed at these paths with it; none are only for later."""
    runs.learn(shared.path, password)
    document.page_pictures().add_password(password)
    if paths:
        start_indexing(shared, runs, paths, ["--retry"])


def folder_label(root: str, shared: SharedIndex) -> str:
    """The name of a folder on the page.

    >>> from pathlib import Path
    >>> folder_label("/docs", SharedIndex(Path("ix"), (0, 0), None))
    '/docs'
    """
    return "Uploaded files" if root == shared.uploads else root


def start_indexing(
    shared: SharedIndex, runs: Jobs, paths: Sequence[str | Path], options: Sequence[str] = ()
) -> None:
    """Index in the background, with or without OCR as this visitor has chosen.

    A run without an option for OCR does as the index remembers.
    """
    remembered = bool(shared.index.backend.ocr_languages)
    wished = bool(st.session_state.get(_ocr_key(shared), remembered))
    more = [] if wished == remembered else ["--ocr" if wished else "--no-ocr"]
    removal.forget_removed()
    runs.start(shared.path, paths, [*options, *more])


def start_ocr(shared: SharedIndex, runs: Jobs, paths: Sequence[str | Path]) -> None:
    """Read the scans among these files; a callback, since it turns the switch for OCR on, too."""
    st.session_state[_ocr_key(shared)] = True
    try:
        start_indexing(shared, runs, paths, ["--retry"])
    except RetrieverError as error:
        remember_refusals(shared, [str(error)])


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
        remember_refusals(shared, [f"the folder {root!r} {kept}" for root in gone])
        if there:
            run_and_redraw(lambda: start_indexing(shared, runs, there, options))
        else:
            st.rerun()


def _store_uploads(shared: SharedIndex, runs: Jobs, files: Sequence[Any]) -> None:
    """Store the files and index them; what is to say of them is shown when the page is redrawn."""
    folder = shared.folder
    if folder is None:
        return
    clear_remains(folder)
    told: list[str] = []
    count = 0
    for file in files:
        try:
            kept, said = _store(folder, file.name, file.getvalue())
            count += kept
            told += said
        except RetrieverError as error:
            told.append(str(error))
        # At once: a click may end this run of the script before the next file.
        st.session_state[_TAKEN].add(file.file_id)
        _let_go(file)
    if count:
        try:
            start_indexing(shared, runs, [shared.uploads])
        except RetrieverError as error:
            told.append(f"{error}; what was uploaded is kept, and indexed with the next sync")
    remember_refusals(shared, told)
    st.rerun()


def _let_go(file: Any) -> None:
    """Free the memory of an upload: Streamlit keeps it until the tab has been closed."""
    context = get_script_run_ctx()
    if context is None:
        return
    manager = context.uploaded_file_mgr
    if isinstance(manager, MemoryUploadedFileManager):
        manager.remove_file(context.session_id, file.file_id)


def _store(folder: Path, name: str, data: bytes) -> tuple[int, list[str]]:
    """Store an upload, or the files of an archive; returns their number, and what is to say."""
    if is_archive(name):
        found = store_archive(folder, name, data)
        return found.count, [*found.refused, *found.renamed]
    kept = store_upload(folder, name, data)
    return 1, [] if kept == name else [f"{name!r} is kept as {kept!r}"]


def remember_refusals(shared: SharedIndex, sentences: Sequence[str]) -> None:
    """Remember sentences about the index, to show them until something else is added."""
    st.session_state[_REFUSED] = (shared.path, tuple(sentences))


def _show_refusals(shared: SharedIndex) -> None:
    path, sentences = st.session_state.get(_REFUSED, (shared.path, ()))
    if sentences and path == shared.path:
        lines = (
            escape_markdown(f"{sentence[:1].upper()}{sentence[1:]}.") for sentence in sentences
        )
        st.warning("\n\n".join(lines), icon=":material/info:")


__all__ = [
    "folder_label",
    "remember_refusals",
    "run_and_redraw",
    "show_add_documents",
    "show_folders",
    "start_indexing",
    "start_ocr",
    "try_password",
]
