"""What is being done to an index right now: progress, a way to stop it, and how it ended."""

from __future__ import annotations

import time

import streamlit as st

from retriever.interface.jobs import Job, Jobs
from retriever.types import RetrieverError
from ui import status as state
from ui.highlighting import escaped, markdown
from ui.resources import Served

OFTEN = 1.0
"""Seconds between two looks while something is going on."""


@st.cache_resource(show_spinner=False)
def jobs(command: tuple[str, ...]) -> Jobs:
    """The runs of this server, started with `command`: all visitors see the same ones."""
    return Jobs(command)


def busy(served: Served, runs: Jobs) -> str:
    """Why the index cannot be changed now, in a sentence; empty if it can."""
    job = runs.of(served.path)
    if job is not None and job.running:
        return "Documents are being indexed: wait until that is done, or stop it."
    if served.info()["progress"]:
        return "Another process is writing to this collection: wait until it has finished."
    return ""


def show_jobs(served: Served, runs: Jobs) -> None:
    """Draw it, and look again by itself."""
    going_on = bool(busy(served, runs))
    every = OFTEN if going_on else state.EVERY
    st.fragment(_watched, run_every=every)(served, runs, going_on=going_on)


def _watched(served: Served, runs: Jobs, *, going_on: bool) -> None:
    job = runs.of(served.path)
    try:
        progress = served.info()["progress"]
        if bool(busy(served, runs)) != going_on:
            st.rerun()  # what was forbidden is allowed now, or the other way round
    except RetrieverError as error:
        state.error(error)
        return
    if progress:
        state.progress(progress)
    elif job is not None and job.running:
        st.progress(0.0, text=f"Getting ready · {state.duration(time.time() - job.started)}")
        st.html('<p class="wva-note">Folders are looked through, and the model is loaded.</p>')
    if job is not None:
        _job(served, runs, job)


def _job(served: Served, runs: Jobs, job: Job) -> None:
    if job.running:
        if st.button("Stop", key="stop", icon=":material/stop_circle:"):
            job.stop()
            st.rerun()
    elif job.problem:
        sentence = markdown(job.problem[:1].upper() + job.problem[1:])
        st.warning(f"{sentence}.", icon=":material/error:")
        if "have vanished" in job.problem:
            st.caption("If the files are gone on purpose, say so:")
            if st.button("Remove what has vanished", key="force"):
                runs.start(served.path, job.paths, ["--force"])
                st.rerun()
    else:
        last = state.last_run(served.info()["last_run"])
        st.html(f'<p class="wva-note" role="status">Done: {last or escaped("nothing to do")}.</p>')


__all__ = ["busy", "jobs", "show_jobs"]
