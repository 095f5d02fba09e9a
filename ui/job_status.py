"""The indexing job of a collection: its progress, a button to stop it, and its result."""

from __future__ import annotations

import time

import streamlit as st

from retriever.interface.jobs import Job, Jobs
from ui import status
from ui.highlighting import count_text, escape_markdown
from ui.resources import SharedIndex

BUSY_REFRESH_SECONDS = 1.0
"""Seconds between refreshes while a job is running."""


@st.cache_resource(show_spinner=False)
def shared_jobs(command: tuple[str, ...]) -> Jobs:
    """The jobs of this server, started with `command` and shared by all sessions."""
    return Jobs(command)


def busy_reason(shared: SharedIndex, runs: Jobs) -> str:
    """A sentence that says why the index cannot be changed now; empty if it can."""
    job = runs.of(shared.path)
    if job is not None and job.running:
        return "Documents are being indexed: wait until that is done, or stop it."
    if shared.info()["progress"]:
        return "Another process is writing to this collection: wait until it has finished."
    return ""


def show_job(shared: SharedIndex, runs: Jobs, *, busy: str) -> None:
    """Show the job in a fragment that refreshes itself.

    `busy` is the `busy_reason` that the page is drawn with: when it is another one, the fragment
    lets the page be drawn again.
    """
    every = BUSY_REFRESH_SECONDS if busy else status.REFRESH_SECONDS
    st.fragment(_show_refreshed, run_every=every)(shared, runs, going_on=bool(busy))


@status.with_errors_shown
def _show_refreshed(shared: SharedIndex, runs: Jobs, *, going_on: bool) -> None:
    job = runs.of(shared.path)
    progress = shared.info()["progress"]
    if bool(busy_reason(shared, runs)) != going_on:
        st.rerun()  # buttons become enabled or disabled
    if job is not None and job.running:
        progress = job.progress(progress)
    if progress:
        status.show_progress(progress)
    elif job is not None and job.running:
        st.progress(0.0, text=f"Starting · {status.duration(time.time() - job.started)}")
    if job is not None:
        _show_end(shared, runs, job)


def show_rest(shared: SharedIndex, runs: Jobs) -> None:
    """Show which part has no vectors, and a button to go on, where no run makes them."""
    info = shared.info()
    pending, chunks = int(info["pending"]), int(info["chunks"])
    if not pending or busy_reason(shared, runs):
        return
    share = int(100 * (chunks - pending) / chunks)
    text = f"Meaning covers {share} % of the passages so far; the others are found by their words."
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="rest"):
        st.caption(text, width="content")
        if st.button("Go on", key="go-on", type="tertiary", icon=":material/play_arrow:"):
            runs.start(shared.path, (), ["--vectors-only"])
            st.rerun()


def _show_end(shared: SharedIndex, runs: Jobs, job: Job) -> None:
    if job.running:
        if st.button("Stop", key="stop", icon=":material/stop_circle:"):
            job.stop()
            st.rerun()
    elif job.problem:
        sentence = escape_markdown(job.problem[:1].upper() + job.problem[1:])
        st.warning(f"{sentence}.", icon=":material/error:")
        if "have vanished" in job.problem:
            st.caption("If the files are gone on purpose, say so:")
            if st.button("Remove what has vanished", key="force"):
                runs.start(shared.path, job.paths, ["--force"])
                st.rerun()
    else:
        report = shared.info()["last_run"] or {}
        if "totals" in report:  # else something else has happened since, such as a removal
            files = count_text(int(report["totals"]["files"]), "file")
            seconds = status.duration(float(report.get("seconds") or 0))
            st.html(f'<p class="wva-note" role="status">Done: {files}, {seconds}.</p>')


__all__ = ["busy_reason", "shared_jobs", "show_job", "show_rest"]
