"""The searches made and saved, which outlast the visit; each can be repeated or removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from retriever.interface.searches import Search
from ui import controls
from ui.collection_picker import CollectionPicker
from ui.highlighting import escape_markdown, join_parts, replace_unprintable
from ui.page_query import PageQuery

_LABEL = 80
_LISTED = 20

CSS = """<style>
[class*="st-key-past-"] { flex-wrap: nowrap; gap: .2rem; }
[class*="st-key-past-"] > :first-child { flex: 0 1 auto; min-width: 0;
  max-width: calc(100% - 2rem); }
[class*="st-key-past-"] > :last-child { flex: none; }
[class*="st-key-past-"] :is(.stButton, button) { max-width: 100%; }
[class*="st-key-past-"] button { min-height: 1.8rem; padding: 0 .3rem; text-align: start; }
[class*="st-key-past-"] button :is(p, small) { overflow-wrap: anywhere; font-size: .92rem; }
[class*="st-key-past-"] button small { opacity: .75; font-size: .82rem; margin-left: .4rem; }
</style>"""


def remember_search(picker: CollectionPicker, page_query: PageQuery) -> None:
    """Put the query first in the history."""
    picker.searches.remember(search_of(picker, page_query))


def search_of(picker: CollectionPicker, page_query: PageQuery) -> Search:
    """The query of the chosen collection, as it is remembered."""
    return Search.of(picker.link_name, page_query.to_params())


def show_save(picker: CollectionPicker, page_query: PageQuery) -> None:
    """Show the star that saves the search, or that removes it from the saved ones."""
    search = search_of(picker, page_query)
    saved = search in picker.searches.saved()
    st.button(
        "Saved" if saved else "Save",
        key="save",
        icon=":material/star:" if saved else ":material/star_border:",
        type="tertiary",
        help="Remove this search from the saved ones" if saved else "Keep this search",
        on_click=picker.searches.unsave if saved else picker.searches.save,
        args=(search,),
    )


@st.fragment
def show_history(picker: CollectionPicker, page_query: PageQuery) -> None:
    """Show the menu of saved and recent searches; nothing without any.

    It is drawn when it is opened: it has more elements than all the rest of the page.
    """
    if "choose" in st.session_state or page_query != controls.current_query():
        st.rerun()  # the whole page: a search was chosen
    recent, saved = picker.searches.recent(), picker.searches.saved()
    if not recent and not saved:
        return
    panel = st.popover(
        "History", key="searches", icon=":material/history:", type="tertiary", on_change="rerun"
    )
    if not panel.open:
        return
    with panel:
        st.html(CSS)
        if saved:
            st.markdown("**Saved**")
            show_searches(picker, saved, "saved")
        if recent:
            st.markdown("**Recent**")
            show_searches(picker, recent[:_LISTED], "recent")
            st.button(
                "Clear the recent ones",
                key="forget-all",
                type="tertiary",
                icon=":material/delete:",
                on_click=picker.searches.forget_all,
            )


def show_searches(picker: CollectionPicker, searches: Sequence[Search], kind: str) -> None:
    """Show searches of one kind, "saved" or "recent", a line each."""
    remove = picker.searches.unsave if kind == "saved" else picker.searches.forget
    st.html(CSS)
    for at, search in enumerate(searches):
        _show_search(search, f"{kind}-{at}", remove)


def _show_search(search: Search, key: str, remove: Callable[[Search], None]) -> None:
    page_query = PageQuery.from_params(search.address())
    text = replace_unprintable(" ".join(page_query.text.split()))
    shown = text if len(text) <= _LABEL else f"{text[:_LABEL].rstrip()} …"
    with st.container(horizontal=True, vertical_alignment="center", key=f"past-{key}"):
        st.button(
            f"{escape_markdown(shown)} :small[— {escape_markdown(facts(search, page_query))}]",
            key=f"history-{key}",
            type="tertiary",
            on_click=controls.set_query,
            args=(page_query, search.index),
        )
        st.button(
            "",
            key=f"forget-{key}",
            type="tertiary",
            icon=":material/close:",
            help=f"Forget the search “{escape_markdown(shown[:40])}”",
            on_click=remove,
            args=(search,),
        )


def facts(search: Search, page_query: PageQuery) -> str:
    """The restrictions, the collection and the day of a search.

    >>> asked = PageQuery("pears", mode="keyword", formats=("pdf",))
    >>> facts(Search.of("notes", asked.to_params(), "2026-01-31"), asked)
    'Keywords only · pdf · notes · 2026-01-31'
    """
    changed = ["other weights of words"] * bool(page_query.weights)
    changed += ["more or less like passages"] * bool(page_query.marks)
    restricted = [label for label, _ in page_query.chips()]
    where = join_parts([search.index, *page_query.also], " + ")
    return replace_unprintable(join_parts([*restricted, *changed, where, search.day]))


__all__ = ["facts", "remember_search", "search_of", "show_history", "show_save", "show_searches"]
