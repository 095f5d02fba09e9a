"""The table of a collection's files with their states: to filter, and to remove files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from retriever.indexing.coverage import CoverageStatus, FileCoverage
from retriever.interface.removal import remove_files
from retriever.types import PageState
from ui import add_documents, left_out
from ui.highlighting import count_text, escape_markdown, replace_unprintable
from ui.resources import SharedIndex

WORDS = {
    CoverageStatus.COMPLETE: "complete",
    CoverageStatus.PARTIAL: "in part",
    CoverageStatus.OUTDATED: "outdated",
    CoverageStatus.FAILED: "failed",
    CoverageStatus.SKIPPED: "left out",
}
"""The names of the states on the page."""

_HEIGHT = 420
_SHOWN, _TICKED, _DRAWN = "ledger-shown", "ledger-ticked", "ledger-drawn"


def show_files(shared: SharedIndex, *, busy: str) -> None:
    """Show the table; `busy` says why nothing can be removed now."""
    files = shared.coverage_report().files
    if not files:
        st.caption("There is no file in this collection yet.")
        return
    shown = _show_filters(files)
    rows = [_row(file, shared) for file in shown]
    ticks = _ticks(shared, shown)
    event = st.dataframe(
        rows,
        key=ticks.key,
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": ticks.rows}},
        hide_index=True,
        width="stretch",
        height=min(_HEIGHT, 40 + 35 * max(1, len(rows))),
        column_config={
            "Pages": st.column_config.NumberColumn(width="small"),
            "Passages": st.column_config.NumberColumn(width="small"),
            "Why, and what to do": st.column_config.TextColumn(width="large"),
        },
        placeholder="",
    )
    chosen = [shown[at] for at in event["selection"]["rows"] if at < len(shown)]
    st.session_state[_TICKED] = frozenset(map(_place, chosen))
    _show_remove(shared, files, shown, chosen, busy)
    left_out.show_left_out(shared, shown)


@dataclass(frozen=True, slots=True)
class _Ticks:
    """The key of the table of these rows, and the rows that are ticked when it is first drawn."""

    key: str
    rows: list[int]


def _ticks(shared: SharedIndex, shown: Sequence[FileCoverage]) -> _Ticks:
    """The ticks of a table that shows these files: those the visitor gave to one of them.

    The widget remembers row numbers, which belong to other files as soon as the rows change.
    Therefore other rows are another table, under a key that was never used before. Ticks of files
    that are not shown are dropped.
    """
    places = [_place(file) for file in shown]
    before, number = st.session_state.get(_SHOWN, (None, 0))
    now = (shared.place, tuple(places))
    if now != before:
        number += 1
        st.session_state[_SHOWN] = (now, number)
        there = frozenset(places) if before and before[0] == shared.place else frozenset()
        st.session_state[_TICKED] = st.session_state.get(_TICKED, frozenset()) & there
    ticked = st.session_state.get(_TICKED, frozenset())
    drawn = [at for at, place in enumerate(places) if place in ticked] if now != before else None
    if drawn is not None:
        st.session_state[_DRAWN] = drawn
    return _Ticks(f"ledger-{number}", st.session_state.get(_DRAWN, []))


def _place(file: FileCoverage) -> tuple[str, str]:
    return file.root, file.path


def _show_filters(files: Sequence[FileCoverage]) -> list[FileCoverage]:
    """Show the filters; returns the files that pass them."""
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
    return filter_files(files, states or (), words or "")


def filter_files(
    files: Sequence[FileCoverage], states: Sequence[CoverageStatus], words: str
) -> list[FileCoverage]:
    """The files in one of `states` (or any) with all of `words` in path or reason, in any case."""
    wanted = words.casefold().split()
    return [
        file
        for file in files
        if (not states or file.status in states)
        and all(word in f"{file.root}/{file.path} {file.reason}".casefold() for word in wanted)
    ]


def _row(file: FileCoverage, shared: SharedIndex) -> dict[str, Any]:
    ocr = any(page.state is PageState.OCR for page in file.pages)
    locked = any(page.state is PageState.ENCRYPTED for page in file.pages)
    advice = "give it below, under Passwords" if locked else file.advice
    said = [file.reason, "read by OCR" if ocr else "", advice]
    return {
        "State": WORDS[file.status],
        "File": replace_unprintable(file.path),
        "Pages": len(file.pages) or None,
        "Passages": file.chunks,
        "Why, and what to do": replace_unprintable("; ".join(filter(None, said))),
        "Folder": replace_unprintable(add_documents.folder_label(file.root, shared))
        if file.root
        else "handed over",
    }


def _show_remove(
    shared: SharedIndex,
    files: Sequence[FileCoverage],
    shown: Sequence[FileCoverage],
    chosen: Sequence[FileCoverage],
    busy: str,
) -> None:
    many = "" if len(shown) == len(files) else f"{len(shown):,} of "
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        label = f"Remove {count_text(len(chosen), 'file')}" if chosen else "Remove"
        help_ = busy or (None if chosen else "Mark files in the list first.")
        if st.button(label, key="remove", disabled=bool(busy) or not chosen, help=help_):
            confirm_removal(shared, chosen)
        st.caption(f"{many}{count_text(len(files), 'file')}", width="content")


@st.dialog("Remove from the collection?")
def confirm_removal(shared: SharedIndex, chosen: Sequence[FileCoverage]) -> None:
    """Ask for confirmation, and remove these files."""
    uploads = [
        file for file in chosen if add_documents.folder_label(file.root, shared) != file.root
    ]
    names = ", ".join(file.path for file in chosen[:5])
    more = f" and {len(chosen) - 5} more" if len(chosen) > 5 else ""
    st.write(escape_markdown(f"{names}{more}"))
    if uploads:
        st.caption(
            f"{count_text(len(uploads), 'file').capitalize()} that you uploaded will be deleted."
        )
    if len(uploads) < len(chosen):
        st.caption(
            "Files in your own folders stay there; the next sync of a folder finds them again, "
            "unless they are moved out of it."
        )
    if st.button("Remove", key="remove-yes", type="primary"):
        places = [(file.root, file.path) for file in chosen]
        add_documents.run_and_redraw(lambda: remove_files(shared.index, shared.path, places))


__all__ = ["WORDS", "confirm_removal", "filter_files", "show_files"]
