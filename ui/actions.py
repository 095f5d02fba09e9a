"""The buttons below a result: open it, explain it, search for more like it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from retriever.types import Hit
from ui import document, steer, why
from ui.highlighting import escape_markdown
from ui.page_query import PageQuery
from ui.resources import SharedIndex


@st.fragment
def show_actions(shared: SharedIndex, page_query: PageQuery, hit: Hit, hits: Sequence[Hit]) -> None:
    """Show the buttons below one of the `hits`, and what they open, as a fragment."""
    where = f"Open {hit.chunk.place}" if hit.chunk.page is not None else "Open the document"
    explained = why.is_open(hit)
    with st.container(horizontal=True, gap="small", key=f"actions-{hit.rank}"):
        if st.button(
            escape_markdown(where), key=f"open-{hit.rank}", type="tertiary",
            icon=":material/open_in_full:",
        ):  # fmt: skip
            document.open_hit(hit)
            st.rerun()
        st.button(
            "Why this passage?",
            key=f"why-{hit.rank}",
            on_click=why.toggle,
            args=(hit.chunk.id,),
            type="tertiary",
            icon=f":material/{'expand_less' if explained else 'help_center'}:",
        )
        if page_query.mode != "keyword":
            steer.show_more_like_this(page_query, hit)
    if explained:
        why.show_explanation(shared, page_query, hit, hits)
    else:
        # Takes the panel's place: the end of another fragment's run may overtake this one, and
        # then an element that is merely left out is not removed.
        st.empty()


__all__ = ["show_actions"]
