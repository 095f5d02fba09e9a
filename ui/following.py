"""The switch that keeps a collection in step with its folders, and what it does now."""

from __future__ import annotations

import time
from collections.abc import Sequence

import streamlit as st

from retriever.interface.jobs import Jobs
from ui.highlighting import escape_html
from ui.resources import SharedIndex
from ui.status import duration
from ui.widget_keys import widget_key

_HELP = (
    "A file that is saved, renamed or deleted in these folders is followed within seconds, as long "
    "as the server of this page runs. A folder that is away keeps its documents."
)


def show_following(shared: SharedIndex, runs: Jobs, roots: Sequence[str]) -> None:
    """Show the switch for the collection's own folders; uploads are indexed by the page."""
    own = [root for root in roots if root != shared.uploads]
    if not own:
        return
    job = runs.follower(shared.path)
    running = job is not None and job.running
    if running and job is not None and job.paths != tuple(own):
        job = runs.follow(shared.path, own)  # a folder was added or removed
    key = widget_key("follow", str(shared.path))
    st.session_state[key] = running
    st.toggle(
        "Keep up to date", key=key, help=_HELP, on_change=_switch, args=(shared, runs, own, running)
    )
    if job is not None:
        since = f"Followed for {duration(time.time() - job.started)}."
        said = since if running else f"Not followed any more: {job.problem or 'it ended'}."
        st.html(f'<p class="wva-note" role="status">{escape_html(said)}</p>', width="content")


def _switch(shared: SharedIndex, runs: Jobs, roots: Sequence[str], running: bool) -> None:
    """Start or stop following; a callback, which runs before the page is drawn."""
    if running:
        runs.stop_following(shared.path)
    else:
        runs.follow(shared.path, roots)


__all__ = ["show_following"]
