"""What can be done with an opened document's file, and with its passage."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import streamlit as st

from retriever.interface import desktop
from retriever.interface.export import citation
from retriever.reading.page_images.view import file_path
from retriever.storage.vectors.verified import hash_of
from retriever.types import DocumentRow, Hit, RetrieverError
from ui import status
from ui.highlighting import escape_html, replace_unprintable

_MAX_BYTES = 200_000_000  # of a file that can be downloaded


def show_tools(row: DocumentRow, hit: Hit) -> None:
    """Show what opens the file, and the menu: its folder, a download, text and citation to copy."""
    path = file_path(row)
    size = _size(row, path)
    same = size is not None and _is_indexed(row, path)
    if same and _may_open():
        help_ = "Open in its own program (o)"
        if st.button(
            "Open", key="open-viewer", help=help_, type="tertiary", icon=":material/open_in_new:"
        ):
            _run(partial(desktop.open_file, path, hit.chunk.page))
    with st.popover(
        "File and citation", key="file", icon=":material/more_horiz:", type="tertiary",
        width="content", help="Open the file, copy the passage or its citation",
    ):  # fmt: skip
        _show_copies(row, hit)
        if size is None:
            st.caption("The file itself is not there any more." if row.root else "")
            return
        if _may_open() and st.button(
            "Show in its folder", key="open-folder", type="tertiary", icon=":material/folder_open:"
        ):
            _run(partial(desktop.show_in_folder, path))
        if not same:
            st.caption("The file has changed since it was indexed: index it again to open it here.")
        elif size <= _MAX_BYTES:
            st.download_button(
                "Download",
                data=path.read_bytes,
                file_name=replace_unprintable(path.name),
                mime="application/octet-stream",
                key="download",
                on_click="ignore",
                type="tertiary",
                icon=":material/download:",
            )
        st.code(replace_unprintable(str(path)), language=None, wrap_lines=True)


def _size(row: DocumentRow, path: Path) -> int | None:
    """The size of the file in bytes; None if it is not there."""
    try:
        return path.stat().st_size if row.root and path.is_file() else None
    except OSError:
        return None


def _is_indexed(row: DocumentRow, path: Path) -> bool:
    """Whether the file is the one that was indexed: an index from elsewhere may name any file."""
    try:
        facts = path.stat()
        return _sha256(str(path), facts.st_size, facts.st_mtime_ns) == row.sha256
    except OSError:
        return False


@st.cache_data(show_spinner=False, max_entries=256)
def _sha256(path: str, size: int, changed: int) -> str:
    """The hash of a file, computed again when its size or time of change differ."""
    return hash_of(Path(path))


def _show_copies(row: DocumentRow, hit: Hit) -> None:
    """Show buttons that copy; `scripts/keys.js` does it, since Streamlit has none."""
    texts = (("Copy the text", hit.text), ("Copy the citation", citation(hit, row)))
    buttons = "".join(
        f'<button type="button" class="wva-copy" data-copy="{escape_html(text)}">{name}</button>'
        for name, text in texts
    )
    st.html(f'<div class="wva-copies">{buttons}</div>')


def _may_open() -> bool:
    """Whether the visitor sits at this machine, and it has a desktop."""
    return desktop.can_open(str(st.get_option("server.address") or ""))


def _run(action: Callable[[], None]) -> None:
    try:
        action()
    except RetrieverError as error:
        status.show_error(error)


__all__ = ["show_tools"]
