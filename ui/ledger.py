"""Every file of a collection with what became of it: to look at, to search, to remove from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import streamlit as st

from retriever.indexing.coverage import CoverageStatus, FileCoverage
from retriever.interface.collections import remove_files
from retriever.types import PageState
from ui import adding
from ui.highlighting import counted, markdown, visible
from ui.resources import Served

WORDS = {
    CoverageStatus.COMPLETE: "complete",
    CoverageStatus.PARTIAL: "in part",
    CoverageStatus.OUTDATED: "outdated",
    CoverageStatus.FAILED: "failed",
    CoverageStatus.SKIPPED: "left out",
}
"""How a file's state is called here."""

_HEIGHT = 420


def show_ledger(served: Served, *, busy: str) -> None:
    """Draw the ledger; `busy` says why nothing can be removed now."""
    files = served.account().files
    if not files:
        st.caption("There is no file in this collection yet.")
        return
    shown = _filtered(files)
    rows = [_row(file, served) for file in shown]
    event = st.dataframe(
        rows,
        key="ledger",
        on_select="rerun",
        selection_mode="multi-row",
        hide_index=True,
        width="stretch",
        height=min(_HEIGHT, 40 + 35 * max(1, len(rows))),
        column_config={"Passages": st.column_config.NumberColumn(width="small")},
        placeholder="",
    )
    chosen = [shown[at] for at in event["selection"]["rows"] if at < len(shown)]
    _below(served, files, shown, chosen, busy)


def _filtered(files: Sequence[FileCoverage]) -> list[FileCoverage]:
    """The files in the states asked for whose name or reason has the words asked for."""
    counts = Counter(file.status for file in files)
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        states = st.pills(
            "State",
            [state for state in CoverageStatus if counts[state]],
            selection_mode="multi",
            key="ledger-states",
            format_func=lambda state: f"{WORDS[state]} · {counts[state]:,}",
            label_visibility="collapsed",
        )
    with right:
        words = st.text_input(
            "Search the files",
            key="ledger-words",
            placeholder="A part of a name or reason",
            label_visibility="collapsed",
        )
    return matching(files, states or (), words or "")


def matching(
    files: Sequence[FileCoverage], states: Sequence[CoverageStatus], words: str
) -> list[FileCoverage]:
    """The files in one of `states` (or any) that have every one of `words`, capitals or not."""
    wanted = words.casefold().split()
    return [
        file
        for file in files
        if (not states or file.status in states)
        and all(word in f"{file.root}/{file.path} {file.reason}".casefold() for word in wanted)
    ]


def _row(file: FileCoverage, served: Served) -> dict[str, Any]:
    ocr = any(page.state is PageState.OCR for page in file.pages)
    locked = any(page.state is PageState.ENCRYPTED for page in file.pages)
    advice = "give it below, under Passwords" if locked else file.advice
    said = [file.reason, "read by OCR" if ocr else "", advice]
    return {
        "State": WORDS[file.status],
        "File": visible(file.path),
        "Pages": len(file.pages) or None,
        "Passages": file.chunks,
        "Why, and what to do": visible("; ".join(filter(None, said))),
        "Folder": visible(adding.name_of(file.root, served)) if file.root else "handed over",
    }


def _below(
    served: Served,
    files: Sequence[FileCoverage],
    shown: Sequence[FileCoverage],
    chosen: Sequence[FileCoverage],
    busy: str,
) -> None:
    many = "" if len(shown) == len(files) else f"{len(shown):,} of "
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        label = f"Remove {counted(len(chosen), 'file')}" if chosen else "Remove"
        help_ = busy or (None if chosen else "Mark files in the list first.")
        if st.button(label, key="remove", disabled=bool(busy) or not chosen, help=help_):
            confirm(served, chosen)
        st.caption(f"{many}{counted(len(files), 'file')}", width="content")


@st.dialog("Remove from the collection?")
def confirm(served: Served, chosen: Sequence[FileCoverage]) -> None:
    """Ask whether these files are to be removed, and remove them."""
    uploads = [file for file in chosen if adding.name_of(file.root, served) != file.root]
    names = ", ".join(file.path for file in chosen[:5])
    more = f" and {len(chosen) - 5} more" if len(chosen) > 5 else ""
    st.write(markdown(f"{names}{more}"))
    if uploads:
        st.caption(
            f"{counted(len(uploads), 'file').capitalize()} that you uploaded will be deleted."
        )
    if len(uploads) < len(chosen):
        st.caption(
            "Files in your own folders stay there; the next sync of a folder finds them again, "
            "unless they are moved out of it."
        )
    if st.button("Remove", key="remove-yes", type="primary"):
        places = [(file.root, file.path) for file in chosen]
        adding.told(lambda: remove_files(served.index, served.path, places))


__all__ = ["WORDS", "confirm", "matching", "show_ledger"]
