"""The search box. Only Enter, the button and a chosen suggestion search, not leaving the box."""

from __future__ import annotations

import streamlit as st

CSS = """<style>
.st-key-ask-row { align-items: center; }
.st-key-ask-row > :has(.st-key-q) { flex: 1 1 18rem; }
.st-key-ask [data-testid="stForm"], .st-key-box { gap: .4rem; }
.st-key-box { flex-wrap: nowrap; }
.st-key-box > :has(.st-key-q) { flex: 1 1 auto; min-width: 0; }
.st-key-q [data-testid="InputInstructions"] { display: none; }
@media (max-width: 40rem) {
  .st-key-search p { position: absolute; overflow: hidden; width: 1px; height: 1px;
    clip-path: inset(50%); }
}
.st-key-suggestions, .st-key-ask-row > :has(.st-key-suggestions) { position: absolute; width: 0; }
.st-key-suggestions .stSkeleton { display: none; }
</style>"""


def show_search_box() -> None:
    """Show the search box with its button."""
    st.html(CSS)
    with (
        st.form("ask", border=False),
        st.container(horizontal=True, vertical_alignment="center", key="box"),
    ):
        st.text_input(
            "Search your documents",
            key="q",
            type="search",
            placeholder="Ask in your own words, then press Enter",
            label_visibility="collapsed",
            autocomplete="off",
        )
        st.form_submit_button("Search", key="search", icon=":material/search:")


__all__ = ["show_search_box"]
