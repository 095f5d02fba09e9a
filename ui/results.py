"""The results of a query, or one sentence that says why there are none."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from retriever.interface.terminal.reports import query_lines
from retriever.searching.grouping import with_context
from retriever.searching.match import verdict
from retriever.searching.query_syntax import parse
from retriever.types import Excerpt, Hit, ModelError, RetrieverError, UsageError
from ui import actions, controls, export_bar, status, steer, why, why_not
from ui.attribution import CSS
from ui.cards import card_html
from ui.highlighting import HighlightTerms, escape_html, escape_markdown
from ui.page_query import PageQuery
from ui.resources import SharedIndex

_CONTEXT = 2  # passages before and after a result that are shown on request

_MODES_HELP = (
    ("Hybrid", "finds by meaning and by words together, and is usually best."),
    ("Meaning", "finds passages that say the same in other words."),
    ("Keywords", "finds the words themselves, whatever their ending, without the model."),
)


def show_results(shared: SharedIndex, page_query: PageQuery) -> None:
    """Search and show the results."""
    if problem := page_query.problem():
        st.warning(problem, icon=":material/edit:")
        return
    try:
        hits, seconds = _search(shared, page_query)
    except ModelError as error:
        status.show_error(error)
        _button("Search by keywords instead", lambda: controls.set_mode("keyword"))
        return
    except UsageError as error:
        status.show_error(error)
        if page_query != page_query.plain():
            _button("Search without weights and marked passages", steer.clear_steering)
        return
    steer.show_steering(shared, page_query)
    if hits:
        _show_hits(shared, page_query, hits, seconds)
    else:
        _show_nothing_found(shared, page_query)
    why_not.show_why_not(shared, page_query)


def show_modes() -> None:
    """Show what the modes do, before the first query."""
    rows = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in _MODES_HELP)
    st.html(f'<dl class="wva-modes">{rows}</dl>')


def _search(shared: SharedIndex, page_query: PageQuery) -> tuple[list[Hit], float]:
    """The hits, and the seconds of the search without loading the model."""
    if page_query.mode != "keyword":
        with st.spinner("Loading the language model, once; the next search will be quick …"):
            shared.load_model()
    started = time.perf_counter()
    with st.spinner("Searching …"):
        hits = shared.index.search(
            page_query.text, options=page_query.options(steer.make_steering(shared, page_query))
        )
    return hits, time.perf_counter() - started


def _show_hits(
    shared: SharedIndex, page_query: PageQuery, hits: Sequence[Hit], seconds: float
) -> None:
    query = parse(page_query.text)
    instead = {} if page_query.mode == "dense" else shared.index.corrections(page_query.text)
    words = highlight_terms(shared, page_query)
    cards = [(hit, card_html(hit, words, page_query.mode, _context(shared, hit))) for hit in hits]
    what = ("file" if len(hits) == 1 else "files") if page_query.by_file else "passage"
    if what == "passage" and len(hits) != 1:
        what = "passages"
    only = (
        f" · only: {escape_html('; '.join(page_query.filters()))}" if page_query.filters() else ""
    )
    for line in query_lines(query.conditions(), instead, _notes(shared, page_query, hits)):
        only += f" · {escape_html(line)}"
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="found"):
        st.html(
            f'<section class="wva-results" aria-label="Results">{_verdict(hits)}'
            f'<p class="wva-note">{len(hits)} {what} '
            f"in {seconds:.2f} s{only}</p></section>"
        )
        export_bar.show_export_bar(shared, page_query, hits)
    st.html(CSS)
    places = [(hit, _show_card(hit, shown)) for hit, shown in cards]
    # All results can be read before the first of them is explained.
    for hit, place in sorted(places, key=lambda one: why.is_open(one[0])):
        with place:
            actions.show_actions(shared, page_query, hit, hits)


def _show_card(hit: Hit, shown: str) -> DeltaGenerator:
    """Show a card; returns its container, to which buttons are added."""
    place = st.container(gap=None, key=f"result-{hit.rank}")
    place.html(shown)
    return place


def _verdict(hits: Sequence[Hit]) -> str:
    """A sentence above the results if none of them really matches."""
    said = verdict(hits)
    if not said:
        return ""
    sentence = f"{said[0].upper()}{said[1:]}; these passages come nearest."
    return f'<p class="wva-verdict" role="status">{sentence}</p>'


def highlight_terms(shared: SharedIndex, page_query: PageQuery) -> HighlightTerms:
    """The words to mark in results and documents: the query's, and the index's terms for them."""
    text = parse(page_query.text).text
    if page_query.mode == "dense":
        return HighlightTerms(text)
    with shared.index.snapshot(dense=False) as now:
        return HighlightTerms(text, now.matched_terms(text))


def _context(shared: SharedIndex, hit: Hit) -> tuple[Excerpt, ...]:
    """The hit with the text around it; empty if it was removed since the search."""
    try:
        with shared.index.backend.reading() as catalog:
            return with_context(hit, _CONTEXT, catalog).passage
    except RetrieverError:
        return ()


def _notes(shared: SharedIndex, page_query: PageQuery, hits: Sequence[Hit]) -> list[str]:
    """What the results do not show: see `Index.search_notes`."""
    return shared.index.search_notes(page_query.text, hits, options=page_query.options())


def _show_nothing_found(shared: SharedIndex, page_query: PageQuery) -> None:
    """Say why nothing was found, and what to try."""
    if not any(character.isalnum() for character in page_query.text):
        st.info("There is no letter or digit in this question: write what you look for.")
        return
    with st.container(border=True):
        st.markdown("**Nothing found.**")
        if conditions := parse(page_query.text).conditions():
            st.caption(escape_markdown(f"Looked for only: {', '.join(conditions)}."))
        for note in _notes(shared, page_query, ()):
            st.caption(escape_markdown(f"{note[0].upper()}{note[1:]}."))
        if page_query.filters():
            st.caption("No passage that the filters let through answers this.")
            _button("Search without the filters", controls.clear_filters)
        if page_query.mode == "keyword":
            st.caption("None of these words occurs. Other words may say the same:")
            _button("Search by meaning too", lambda: controls.set_mode("hybrid"))
        if not page_query.filters() and page_query.mode != "keyword":
            st.caption("There is no passage in the index yet that could answer this.")


def _button(label: str, action: Callable[[], Any]) -> None:
    st.button(label, key=f"try-{label}", on_click=action)


__all__ = ["highlight_terms", "show_modes", "show_results"]
