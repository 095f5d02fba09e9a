"""The table of a collection's files with their states: to filter, and to remove files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from retriever.indexing.coverage import CoverageStatus, FileCoverage
from retriever.interface.attention import is_empty, plain_reason
from retriever.types import PageState
from ui import add_documents, left_out, removal
from ui.highlighting import count_text, escape_html, replace_unprintable
from ui.resources import SharedIndex

EMPTY = "empty"
WORDS: dict[str, str] = {
    CoverageStatus.COMPLETE: "complete",
    CoverageStatus.PARTIAL: "in part",
    CoverageStatus.OUTDATED: "outdated",
    CoverageStatus.FAILED: "failed",
    CoverageStatus.SKIPPED: "left out",
    EMPTY: "empty",
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
            "File": st.column_config.TextColumn(width=260),
            "Pages": st.column_config.NumberColumn(width=70),
            "Passages": st.column_config.NumberColumn(width=80),
            "State": st.column_config.TextColumn(width=90),
            "Why": st.column_config.TextColumn(width=420),
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
    counts = Counter(map(_state, files))
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        states = st.pills(
            "State",
            [state for state in WORDS if counts[state]],
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


def _state(file: FileCoverage) -> str:
    """The file's state, a key of `WORDS`; an empty file has not failed."""
    return EMPTY if is_empty(file) else file.status


def filter_files(
    files: Sequence[FileCoverage], states: Sequence[str], words: str
) -> list[FileCoverage]:
    """The files in one of `states` (or any) with all of `words` in path or reason, in any case."""
    wanted = words.casefold().split()
    return [
        file
        for file in files
        if (not states or _state(file) in states)
        and all(word in f"{file.root}/{file.path} {file.reason}".casefold() for word in wanted)
    ]


def _row(file: FileCoverage, shared: SharedIndex) -> dict[str, Any]:
    ocr = any(page.state is PageState.OCR for page in file.pages)
    said = [plain_reason(file), "read by OCR" if ocr else ""]
    return {
        "File": replace_unprintable(file.path),
        "Pages": len(file.pages) or None,
        "Passages": file.chunks,
        "State": WORDS[_state(file)],
        "Why": replace_unprintable("; ".join(filter(None, said))),
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
            removal.confirm_removal(shared, chosen)
        if len(chosen) == 1:
            _show_links(shared, chosen[0])
        st.caption(f"{many}{count_text(len(files), 'file')}", width="content")


def file_operator(path: str) -> str:
    """The operator of a query that searches in this file.

    Quotation marks cannot be written inside of the operator's own: the pattern has any character
    there.

    >>> file_operator("a/my notes.txt"), file_operator('a "b".txt')
    ('file:"a/my notes.txt"', 'file:"a ?b?.txt"')
    """
    return 'file:"{}"'.format(path.replace('"', "?"))


def _show_links(shared: SharedIndex, file: FileCoverage) -> None:
    """Show links that search in a file, and that open it at its beginning."""
    index = shared.path.name
    asked = {"q": file_operator(file.path), "index": index}
    links = [("Search in it", asked)]
    if file.document:
        with shared.index.backend.reading() as catalog:
            first = next(iter(catalog.chunks(file.document)), None)
        if first is not None:
            links.append(("Open it", {**asked, "open": first.id}))
    shown = (
        f'<a class="wva-link" href="/?{escape_html(urlencode(to))}" target="_self">{label}</a>'
        for label, to in links
    )
    st.html(" ".join(shown), width="content")


__all__ = ["WORDS", "filter_files", "show_files"]
