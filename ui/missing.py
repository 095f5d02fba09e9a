"""Why not this document: where a named document stands, and what hid it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import streamlit as st

from retriever.explaining.why_not import WhyNot
from retriever.index import Index
from retriever.types import Hit, RetrieverError
from ui import document, why
from ui import status as state
from ui.cards import place
from ui.highlighting import escaped, markdown, unwrapped, visible
from ui.questions import Question
from ui.resources import Place, Served

_MAX_NAMES = 2_000
"""More names than this are not sent to the browser; any name can be typed."""


@st.fragment
def show_why_not(served: Served, asked: Question) -> None:
    """The panel below the results; nothing is looked up until it is opened."""
    panel = st.expander(
        "Why not another document?", key="why-not", icon=":material/quiz:", on_change="rerun"
    )
    if not panel.open:
        return
    with panel:
        names = sorted({file.path for file in served.account().files})[:_MAX_NAMES]
        path = st.selectbox(
            "Document",
            names,
            index=None,
            format_func=visible,
            key="missing",
            placeholder="Choose a document, or type its name",
            accept_new_options=True,
        )
        if not path:
            return
        try:
            with st.spinner("Looking for it among all passages …"):
                told = _told(*_key(served, asked), path, served.index)
            _answer(served, asked, told)
        except RetrieverError as error:
            state.error(error)


def _answer(served: Served, asked: Question, told: WhyNot) -> None:
    st.markdown(f"**{markdown(told.path)}**: {markdown(told.sentence)}.")
    plain = asked.plain()
    if plain != asked:
        st.caption("Told for the question as it stands, without weights and marked passages.")
    best = told.best
    if best is None:
        return
    text = escaped(unwrapped(best.chunk.text))
    st.html(
        f'<article class="wva-card wva-clicked"><header>{place(best.chunk)}</header>'
        f'<p class="wva-text" dir="auto">{text}</p></article>'
    )
    if st.button("Open it", key="missing-open", type="tertiary", icon=":material/open_in_full:"):
        document.open_hit(best)
        st.rerun()
    _why_below(served, plain, best, told.above)


def _why_below(served: Served, asked: Question, best: Hit, above: Sequence[Hit]) -> None:
    """Why a result is above it: the two explanations side by side."""
    if not above:
        return
    results = {hit.rank: hit for hit in above}
    chosen = st.selectbox(
        "Why is it below",
        list(results),
        index=None,
        format_func=lambda rank: why.called(results[rank]),
        key="missing-above",
        placeholder="Choose a result to compare with",
    )
    if chosen is not None:
        with st.spinner("Taking both apart …"):
            why.compared(served, asked, results[chosen], best)


def _key(served: Served, asked: Question) -> tuple[Place, int, str, int, str, str]:
    where = json.dumps(asked.where())
    return served.place, served.index.generation, asked.text, asked.k, asked.mode, where


@st.cache_resource(show_spinner=False, max_entries=64)
def _told(
    place: Place, generation: int, text: str, k: int, mode: str, where: str, path: str,
    _index: Index,
) -> WhyNot:  # fmt: skip
    given: dict[str, Any] | None = json.loads(where)
    return _index.why_not(text, path, k, mode=mode, where=given)


__all__ = ["show_why_not"]
