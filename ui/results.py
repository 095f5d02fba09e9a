"""What is shown for a question: results to read, or in one sentence why there are none."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from retriever.interface.terminal.reports import understood_lines
from retriever.searching.grouping import with_context
from retriever.searching.match import verdict
from retriever.searching.query_syntax import parse
from retriever.types import Excerpt, Hit, ModelError, RetrieverError, UsageError
from ui import actions, controls, missing, steer, why
from ui import export_bar as taking
from ui import status as state
from ui.cards import card
from ui.contributions import CSS
from ui.highlighting import Sought, escaped, markdown
from ui.questions import Question
from ui.resources import Served

_AROUND = 2  # passages before a result and behind it that are shown on request

_MODES_HELP = (
    ("Hybrid", "finds by meaning and by words together, and is usually best."),
    ("Meaning", "finds passages that say the same in other words."),
    ("Keywords", "finds the words themselves, whatever their ending, without the model."),
)


def show_results(served: Served, asked: Question) -> None:
    """Search and show what was found."""
    if problem := asked.problem():
        st.warning(problem, icon=":material/edit:")
        return
    try:
        hits, seconds = _found(served, asked)
    except ModelError as error:
        state.error(error)
        _button("Search by keywords instead", lambda: controls.ask_by("keyword"))
        return
    except UsageError as error:
        state.error(error)
        if asked != asked.plain():
            _button("Search without weights and marked passages", steer.clear)
        return
    steer.show_steering(served, asked)
    if hits:
        _list(served, asked, hits, seconds)
    else:
        _nothing(asked)
    missing.show_why_not(served, asked)


def explain() -> None:
    """What is said before the first question."""
    rows = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in _MODES_HELP)
    st.html(f'<dl class="wva-modes">{rows}</dl>')


def _found(served: Served, asked: Question) -> tuple[list[Hit], float]:
    """The hits, and the seconds it took to find them, loading the model not counted."""
    if asked.mode != "keyword":
        with st.spinner("Loading the language model, once; the next search will be quick …"):
            served.load_model()
    started = time.perf_counter()
    with st.spinner("Searching …"):
        hits = served.index.search(asked.text, options=asked.options(steer.steering(served, asked)))
    return hits, time.perf_counter() - started


def _list(served: Served, asked: Question, hits: Sequence[Hit], seconds: float) -> None:
    query = parse(asked.text)
    instead = {} if asked.mode == "dense" else served.index.corrections(asked.text)
    words = sought(served, asked)
    cards = [(hit, card(hit, words, asked.mode, _around(served, hit))) for hit in hits]
    what = ("file" if len(hits) == 1 else "files") if asked.by_file else "passage"
    if what == "passage" and len(hits) != 1:
        what = "passages"
    only = f" · only: {escaped('; '.join(asked.filters()))}" if asked.filters() else ""
    for line in understood_lines(query.conditions(), instead):
        only += f" · {escaped(line)}"
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="found"):
        st.html(
            f'<section class="wva-results" aria-label="Results">{_verdict(hits)}'
            f'<p class="wva-note">{len(hits)} {what} '
            f"in {seconds:.2f} s{only}</p></section>"
        )
        taking.show_export_bar(served, asked, hits)
    st.html(CSS)
    places = [(hit, _result(hit, shown)) for hit, shown in cards]
    # All results can be read before the first of them is explained.
    for hit, place in sorted(places, key=lambda one: why.is_open(one[0])):
        with place:
            actions.below(served, asked, hit, hits)


def _result(hit: Hit, shown: str) -> DeltaGenerator:
    """A card, with room for what one can do with it."""
    place = st.container(gap=None, key=f"result-{hit.rank}")
    place.html(shown)
    return place


def _verdict(hits: Sequence[Hit]) -> str:
    """What is said above results of which none really matches."""
    said = verdict(hits)
    if not said:
        return ""
    sentence = f"{said[0].upper()}{said[1:]}; these passages come nearest."
    return f'<p class="wva-verdict" role="status">{sentence}</p>'


def sought(served: Served, asked: Question) -> Sought:
    """What is marked in results and documents: the words, and what else keywords look for."""
    text = parse(asked.text).text
    if asked.mode == "dense":
        return Sought(text)
    with served.index.snapshot(dense=False) as now:
        return Sought(text, now.matched_terms(text))


def _around(served: Served, hit: Hit) -> tuple[Excerpt, ...]:
    """What stands around the hit, with it; nothing if it was removed since it was found."""
    try:
        with served.index.backend.reading() as catalog:
            return with_context(hit, _AROUND, catalog).passage
    except RetrieverError:
        return ()


def _nothing(asked: Question) -> None:
    """Why nothing was found, and what to try."""
    if not any(character.isalnum() for character in asked.text):
        st.info("There is no letter or digit in this question: write what you look for.")
        return
    with st.container(border=True):
        st.markdown("**Nothing found.**")
        if conditions := parse(asked.text).conditions():
            st.caption(markdown(f"Looked for only: {', '.join(conditions)}."))
        if asked.filters():
            st.caption("No passage that the filters let through answers this.")
            _button("Search without the filters", controls.clear_filters)
        if asked.mode == "keyword":
            st.caption("None of these words occurs. Other words may say the same:")
            _button("Search by meaning too", lambda: controls.ask_by("hybrid"))
        if not asked.filters() and asked.mode != "keyword":
            st.caption("There is no passage in the index yet that could answer this.")


def _button(label: str, action: Callable[[], Any]) -> None:
    st.button(label, key=f"try-{label}", on_click=action)


__all__ = ["explain", "show_results", "sought"]
