"""The state of the index: the progress of a running job, and what is new since a search.

These are fragments that refresh themselves; the search box and the results are not redrawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import streamlit as st

from retriever.indexing.progress import phase_text
from retriever.interface.collections import list_indexes
from retriever.types import Phase, Progress, RetrieverError
from ui.highlighting import escape_html, escape_markdown, join_parts
from ui.resources import SharedIndex

P = ParamSpec("P")

REFRESH_SECONDS = 3.0
"""Seconds between refreshes."""


@st.fragment(run_every=REFRESH_SECONDS)
def show_activity(shared: SharedIndex, *, shown: int | None, waiting: bool = False) -> None:
    """Show the progress of a run, and a button to search again once the index has changed.

    `shown` is the generation of the results on the page, None without results. A page that is
    `waiting` for the first documents is redrawn when they arrive.
    """
    try:
        info = shared.info()
        generation = shared.index.generation
    except RetrieverError:
        return
    if waiting and info["documents"]:
        st.rerun()
    if info["progress"]:
        show_progress(info["progress"])
    if shown is not None and shown != generation:
        _offer_new_search(growing=bool(info["progress"]))


def show_progress(told: Mapping[str, Any]) -> None:
    """Show the progress of a run, as `Documents.set_progress` has stored it."""
    progress = Progress.from_json(told)
    st.progress(min(1.0, max(0.0, progress.share)), text=progress_text(told))
    note = "The collection is still growing; what is in it already can be found."
    if progress.vectors_total and progress.files_done == progress.files_total:
        note = "All of it is found by its words; by meaning, as far as it is done."
    part = f", page or part {progress.part:,}" if progress.part > 1 else ""
    current = progress.current if progress.phase in (Phase.READING, "") else ""
    reading = f" Now reading <bdi>{escape_html(current)}</bdi>{part}." if current else ""
    st.html(f'<p class="wva-note">{note}{reading}</p>')


def progress_text(told: Mapping[str, Any]) -> str:
    """The progress of a run in one line (Markdown).

    >>> progress_text({"files_done": 3, "files_total": 44, "chunks": 1200, "tokens": 9000,
    ...                "tokens_per_second": 2120.4, "seconds_left": 130.0})
    'Indexing: 3 of 44 files · 1,200 passages · about 2 min left'
    >>> progress_text({"files_done": 44, "files_total": 44, "chunks": 9, "phase": "fitting"})
    'Fitting the search to the documents · 9 passages'
    >>> progress_text({"files_done": 3, "files_total": 44, "chunks": 0, "phase": "reading",
    ...                "seconds_left": 130.0})
    'Reading file 4 of 44 · all found by their words in about 2 min'
    """
    progress = Progress.from_json(told)
    doing = phase_text(progress)
    left = progress.seconds_left or None
    parts = [
        f"{doing[:1].upper()}{doing[1:]}"
        or f"Indexing: {progress.files_done:,} of {progress.files_total:,} files",
        f"{progress.chunks:,} passages" if progress.chunks and not progress.vectors_total else "",
        "" if left is None else _left_text(left, reading=progress.phase is Phase.READING),
    ]
    return join_parts(parts)


def _left_text(seconds: float, *, reading: bool) -> str:
    """The time left of a wave: until files are found by their words, or until the end."""
    about = f"about {duration(seconds)}"
    return f"all found by their words in {about}" if reading else f"{about} left"


def duration(seconds: float) -> str:
    """A duration, rounded.

    >>> duration(0.31), duration(75), duration(7500)
    ('1 s', '1 min', '2.1 h')
    """
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def _offer_new_search(*, growing: bool) -> None:
    """Show the button for newer results; until it is clicked the old ones stay."""
    text = "More has been indexed" if growing else "The collection has changed"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f"{text} since this search.", width="content")
        if st.button("Search again", key="again", type="tertiary", icon=":material/refresh:"):
            st.rerun()


@st.fragment(run_every=REFRESH_SECONDS)
def wait_for_index(root: Path) -> None:
    """Redraw the page as soon as there is an index."""
    if list_indexes(root):
        st.rerun()


def with_errors_shown(show: Callable[P, None]) -> Callable[P, None]:
    """The function, which shows a named error instead of raising it.

    For fragments: they are drawn again by themselves, after the index may have been deleted.
    """

    @wraps(show)
    def shown(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            show(*args, **kwargs)
        except RetrieverError as error:
            show_error(error)

    return shown


def show_error(problem: RetrieverError) -> None:
    """Show an error's sentence."""
    sentence = str(problem)
    st.error(escape_markdown(sentence[:1].upper() + sentence[1:]), icon=":material/error:")


__all__ = [
    "REFRESH_SECONDS",
    "duration",
    "progress_text",
    "show_activity",
    "show_error",
    "show_progress",
    "wait_for_index",
    "with_errors_shown",
]
