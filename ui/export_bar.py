"""What one takes along from a search: its results as a file, and the searches of this visit."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from retriever.interface.export import FORMATS, Found
from retriever.types import Hit
from ui import controls
from ui.collection_picker import CollectionPicker
from ui.highlighting import markdown
from ui.questions import MODES, Question
from ui.resources import Served

_MOST = 15  # searches remembered


def export(served: Served, asked: Question, hits: Sequence[Hit]) -> None:
    """Offer the results as files."""
    found = Found(
        query=asked.text,
        index=served.path.name,
        mode=asked.mode,
        hits=hits,
        filters=asked.filters(),
        documents=served.documents(),
    )
    name = re.sub(r"[^\w-]+", "-", asked.text)[:60].strip("-") or "results"
    with st.popover("Export", key="export", icon=":material/download:", type="tertiary"):
        for kind, (write, ending, media) in FORMATS.items():
            st.download_button(
                kind,
                partial(_bytes, write, found),  # made when it is asked for
                f"{name}.{ending}",
                media,
                key=f"export-{ending}",
                on_click="ignore",
                type="tertiary",
                icon=":material/description:",
            )


def _bytes(write: Callable[[Found], str], found: Found) -> bytes:
    return write(found).encode("utf-8", "replace")


def show_export_bar(served: Served, asked: Question, hits: Sequence[Hit]) -> None:
    """What there is to take along, in a row."""
    with st.container(horizontal=True, gap="small", width="content"):
        export(served, asked, hits)
        history()


def remember(shelf: CollectionPicker, asked: Question) -> None:
    """Keep the question among those of this visit, the last one first, each once."""
    entry = (shelf.link_name, asked)
    before = st.session_state.get("history", ())
    st.session_state["history"] = (entry, *(one for one in before if one != entry))[:_MOST]


def history() -> None:
    """The searches of this visit, to be asked again."""
    entries = st.session_state.get("history", ())
    if not entries:
        return
    with st.popover("History", key="searches", icon=":material/history:", type="tertiary"):
        for at, (index, asked) in enumerate(entries):
            more = [MODES[asked.mode], *asked.filters(), *([index] if index else [])]
            st.button(
                markdown(asked.text[:80]),
                key=f"history-{at}",
                help=markdown(" · ".join(more)),
                type="tertiary",
                on_click=controls.ask_again,
                args=(index, asked),
            )


__all__ = ["export", "history", "remember", "show_export_bar"]
