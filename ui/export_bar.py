"""The menu that exports the results of a search to a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import streamlit as st

from retriever.interface.export import FORMATS, SearchExport
from retriever.searching.options import SearchOptions
from ui.page_query import PageQuery
from ui.searched import Found, Searched


def show_export(
    searched: Searched, page_query: PageQuery, found: Found, options: SearchOptions
) -> None:
    """Show the menu that exports the results."""

    def made() -> SearchExport:
        every = {hit.chunk.id for hit in found.hits}
        return SearchExport(
            query=page_query.text,
            index=", ".join(searched.every),
            mode=page_query.mode,
            hits=searched.with_sentences(page_query.text, found, every, options).hits,
            filters=page_query.filters(),
            documents=searched.documents(),
        )

    name = re.sub(r"[^\w-]+", "-", page_query.text)[:60].strip("-") or "results"
    with st.popover("Export", key="export", icon=":material/download:", type="tertiary"):
        for kind, (write, ending, media) in FORMATS.items():
            st.download_button(
                kind,
                partial(_bytes, write, made),  # made on the click
                f"{name}.{ending}",
                media,
                key=f"export-{ending}",
                on_click="ignore",
                type="tertiary",
                icon=":material/description:",
            )


def _bytes(write: Callable[[SearchExport], str], made: Callable[[], SearchExport]) -> bytes:
    return write(made()).encode("utf-8", "replace")


__all__ = ["show_export"]
