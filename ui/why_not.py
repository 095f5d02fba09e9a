"""Why not this document: the rank of a named document, and why it is not shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import streamlit as st

from retriever.explaining.why_not import WhyNot
from retriever.index import Index
from retriever.types import Hit, RetrieverError
from ui import status, why
from ui.cards import place_html
from ui.highlighting import escape_html, escape_markdown, replace_unprintable, unwrap_lines
from ui.page_query import PageQuery
from ui.resources import CatalogId, SharedIndex

_MAX_NAMES = 2_000
"""Names in the list that is sent to the browser; of more documents a name is typed."""


@st.fragment
def show_why_not(shared: SharedIndex, page_query: PageQuery) -> None:
    """Show the panel below the results; nothing is computed until it is opened."""
    panel = st.expander(
        "Why not another document?", key="why-not", icon=":material/quiz:", on_change="rerun"
    )
    if not panel.open:
        return
    with panel:
        path = _chosen(sorted({file.path for file in shared.coverage_report().files}))
        if not path:
            return
        try:
            with st.spinner("Looking for it among all passages …"):
                told = _cached_why_not(*_key(shared, page_query), path, shared.index)
            _show_answer(shared, page_query, told)
        except RetrieverError as error:
            status.show_error(error)


def _chosen(names: Sequence[str]) -> str | None:
    """The document that is asked about: chosen from a list, or a part of its name."""
    if len(names) > _MAX_NAMES:
        return st.text_input(
            "Document", key="missing-name", placeholder="Type its name, or a part of it"
        ).strip()
    return st.selectbox(
        "Document",
        names,
        index=None,
        format_func=replace_unprintable,
        key="missing",
        placeholder="Choose a document, or type a part of its name",
    )


def _show_answer(shared: SharedIndex, page_query: PageQuery, told: WhyNot) -> None:
    st.markdown(f"**{escape_markdown(told.path)}**: {escape_markdown(told.sentence)}.")
    plain = page_query.plain()
    if plain != page_query:
        st.caption("Told for the question as it stands, without weights and marked passages.")
    best = told.best
    if best is None:
        return
    text = escape_html(unwrap_lines(best.chunk.text))
    st.html(
        f'<article class="wva-card wva-clicked"><header>{place_html(best.chunk)}</header>'
        f'<p class="wva-text" dir="auto">{text}</p></article>'
    )
    if st.button("Open it", key="missing-open", type="tertiary", icon=":material/open_in_full:"):
        st.query_params["open"] = best.chunk.id
        st.rerun()
    _show_compare_choice(shared, plain, best, told.above)


def _show_compare_choice(
    shared: SharedIndex, page_query: PageQuery, best: Hit, above: Sequence[Hit]
) -> None:
    """Show the choice of a result above it, and both explanations side by side."""
    if not above:
        return
    results = {hit.rank: hit for hit in above}
    chosen = st.selectbox(
        "Why is it below",
        list(results),
        index=None,
        format_func=lambda rank: why.hit_label(results[rank]),
        key="missing-above",
        placeholder="Choose a result to compare with",
    )
    if chosen is not None:
        with st.spinner("Explaining both …"):
            why.show_comparison(shared, page_query, results[chosen], best, "it")


def _key(shared: SharedIndex, page_query: PageQuery) -> tuple[CatalogId, int, str, int, str, str]:
    where = json.dumps(page_query.where())
    return (
        shared.place,
        shared.index.generation,
        page_query.text,
        page_query.k,
        page_query.mode,
        where,
    )


@st.cache_resource(show_spinner=False, max_entries=64)
def _cached_why_not(
    place: CatalogId, generation: int, text: str, k: int, mode: str, where: str, path: str,
    _index: Index,
) -> WhyNot:  # fmt: skip
    given: dict[str, Any] | None = json.loads(where)
    return _index.why_not(text, path, k, mode=mode, where=given)


__all__ = ["show_why_not"]
