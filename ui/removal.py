"""Removing files from a collection: the question before, the words after, and taking it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from retriever.indexing.coverage import FileCoverage
from retriever.interface.jobs import Jobs
from retriever.interface.removal import remove_files, restore_files
from retriever.types import RetrieverError
from ui import status
from ui.highlighting import count_text, escape_html, escape_markdown, replace_unprintable
from ui.resources import CatalogId, SharedIndex

_NAMED = 20  # files of a removal that are named one by one
_NOTICE = "removed"


@dataclass(frozen=True, slots=True)
class _Notice:
    """What was removed from an index, for its undoing: a receipt, and paths to index again."""

    place: CatalogId
    text: str
    receipt: str
    paths: tuple[str, ...]


@st.dialog("Remove from the collection?")
def confirm_removal(shared: SharedIndex, chosen: Sequence[FileCoverage], folder: str = "") -> None:
    """Ask for confirmation, and remove these files: all those of `folder`, if it is given."""
    uploads = [file for file in chosen if _is_upload(shared, file.root)]
    names = [f"- {escape_markdown(replace_unprintable(file.path))}" for file in chosen[:_NAMED]]
    if len(chosen) > _NAMED:
        names.append(f"- and {len(chosen) - _NAMED:,} more")
    st.markdown("\n".join(names))
    if uploads:
        them = "it" if len(uploads) == 1 else "them"
        st.caption(
            f"{count_text(len(uploads), 'file').capitalize()} that you uploaded: you can take "
            f"{them} back for a day."
        )
    if len(uploads) < len(chosen):
        st.caption(_own_files_stay(folder))
    if st.button("Remove", key="remove-yes", type="primary"):
        try:
            _remove(shared, chosen, folder)
        except RetrieverError as error:
            status.show_error(error)
            return
        st.rerun()


def _is_upload(shared: SharedIndex, root: str) -> bool:
    return bool(root) and root == shared.uploads


def _own_files_stay(folder: str) -> str:
    if folder:
        return (
            "The folder and its files stay where they are; the collection forgets them until you "
            "add the folder again."
        )
    return (
        "Files in your own folders stay there; the next sync of a folder finds them again, unless "
        "they are moved out of it."
    )


def _remove(shared: SharedIndex, chosen: Sequence[FileCoverage], folder: str) -> None:
    places = [(file.root, file.path) for file in chosen]
    removed = remove_files(shared.index, shared.folder, places)
    own = [file for file in chosen if file.root and not _is_upload(shared, file.root)]
    again = [folder] if folder and own else [str(Path(file.root, file.path)) for file in own]
    text = f"{count_text(removed.count, 'file')} removed"
    st.session_state[_NOTICE] = _Notice(shared.place, text, removed.receipt, tuple(again))


def show_removed(shared: SharedIndex, jobs: Jobs, *, busy: str) -> None:
    """Say what was removed last, with a button that takes it back."""
    notice = st.session_state.get(_NOTICE)
    if not isinstance(notice, _Notice) or notice.place != shared.place:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="undone"):
        st.html(
            f'<p class="wva-note" role="status">{escape_html(notice.text)}.</p>', width="content"
        )
        if (notice.receipt or notice.paths) and st.button(
            "Undo", key="undo", icon=":material/undo:", disabled=bool(busy), help=busy or None
        ):
            try:
                _take_back(shared, jobs, notice)
            except RetrieverError as error:
                status.show_error(error)
                return
            st.rerun()


def forget_removed() -> None:
    """Say no more what was removed: something else has happened since."""
    st.session_state.pop(_NOTICE, None)


def _take_back(shared: SharedIndex, jobs: Jobs, notice: _Notice) -> None:
    paths = [path for path in notice.paths if Path(path).exists()]
    if notice.receipt and shared.folder is not None:
        restore_files(shared.folder, notice.receipt)
        paths.append(shared.uploads)
    forget_removed()
    jobs.start(shared.path, paths)


__all__ = ["confirm_removal", "forget_removed", "show_removed"]
