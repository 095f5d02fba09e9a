"""The bar above the results: export to a file, and the searches of this visit."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from retriever.interface.export import FORMATS, SearchExport
from retriever.types import Hit
from ui import controls
from ui.collection_picker import CollectionPicker
from ui.highlighting import escape_markdown
from ui.page_query import MODES, PageQuery
from ui.resources import SharedIndex

_MAX_HISTORY = 15  # searches remembered


def show_export(shared: SharedIndex, page_query: PageQuery, hits: Sequence[Hit]) -> None:
    """Show the menu that exports the results."""
    found = SearchExport(
        query=page_query.text,
        index=shared.path.name,
        mode=page_query.mode,
        hits=hits,
        filters=page_query.filters(),
        documents=shared.documents(),
    )
    name = re.sub(r"[^\w-]+", "-", page_query.text)[:60].strip("-") or "results"
    with st.popover("Export", key="export", icon=":material/download:", type="tertiary"):
        for kind, (write, ending, media) in FORMATS.items():
            st.download_button(
                kind,
                partial(_bytes, write, found),  # made on the click
                f"{name}.{ending}",
                media,
                key=f"export-{ending}",
                on_click="ignore",
                type="tertiary",
                icon=":material/description:",
            )


def _bytes(write: Callable[[SearchExport], str], found: SearchExport) -> bytes:
    return write(found).encode("utf-8", "replace")


def show_export_bar(shared: SharedIndex, page_query: PageQuery, hits: Sequence[Hit]) -> None:
    """Show export and history in a row."""
    with st.container(horizontal=True, gap="small", width="content"):
        show_export(shared, page_query, hits)
        show_history()


def remember_search(picker: CollectionPicker, page_query: PageQuery) -> None:
    """Put the query first in this visit's history, which has each query once."""
    entry = (picker.link_name, page_query)
    before = st.session_state.get("history", ())
    st.session_state["history"] = (entry, *(one for one in before if one != entry))[:_MAX_HISTORY]


def show_history() -> None:
    """Show the searches of this visit, to repeat them."""
    entries = st.session_state.get("history", ())
    if not entries:
        return
    with st.popover("History", key="searches", icon=":material/history:", type="tertiary"):
        for at, (index, page_query) in enumerate(entries):
            more = [MODES[page_query.mode], *page_query.filters(), *([index] if index else [])]
            st.button(
                escape_markdown(page_query.text[:80]),
                key=f"history-{at}",
                help=escape_markdown(" · ".join(more)),
                type="tertiary",
                on_click=controls.repeat_search,
                args=(index, page_query),
            )


__all__ = ["remember_search", "show_export", "show_export_bar", "show_history"]
