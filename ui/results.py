"""The results of a query beside the opened one, or one sentence that says why there are none."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from retriever.interface.terminal.results import query_lines
from retriever.searching.options import Mode, SearchOptions
from retriever.searching.query_syntax import parse
from retriever.types import DocumentRow, Hit, IndexStateError, ModelError, Strength, UsageError
from ui import controls, document, export_bar, pane, status, steer, why_not
from ui.cards import ListView, group_by_document, list_html, seen_at_once, shown_at_once
from ui.highlighting import HighlightTerms, count_text, escape_html, escape_markdown, join_parts
from ui.page_query import PageQuery
from ui.resources import SharedIndex
from ui.result_list import show_result_list
from ui.searched import Found, Searched, find, verdict

_PER_DOCUMENT = 3
"""Passages asked for each document of the list: most documents have more than one."""

_MOMENT = 0.15
"""Seconds that a new list has to be sent and painted before the document beside it is drawn."""

_STRONG = (Strength.EXACT, Strength.STRONG)

_LAYOUT_NAMES = {"documents": "a document", "passages": "a passage"}
_ORDER_NAMES = {"best": "best match first", "newest": "newest first"}


def show_results(searched: Searched, page_query: PageQuery, bar: DeltaGenerator) -> None:
    """Search and show the results; in `bar` their number, their arrangement and the export."""
    if problem := page_query.problem():
        st.warning(problem, icon=":material/edit:")
        return
    if not any(character.isalnum() for character in page_query.text):
        st.info("There is no letter or digit in this question: write what you look for.")
        return
    asked, waiting = _asked_now(searched, page_query)
    try:
        try:
            found, options = _search(searched, asked)
        except ModelError as error:
            status.show_error(error)
            st.html('<p class="wva-note">These are the results by words, without the model.</p>')
            asked = page_query.by_words()
            found, options = _search(searched, asked)
    except UsageError as error:
        status.show_error(error)
        if page_query != page_query.plain():
            _button("Search without weights and marked passages", steer.clear_steering)
        return
    if waiting:
        _wait_for_model(searched)
    words = searched.highlight_terms(asked, options)
    if found.hits:
        shown = replace(found, hits=_shown_hits(asked, found, searched.documents()))
        with bar:
            _show_bar(searched, asked, options, shown)
        _show_said(searched, asked, options, shown)
        if not shown.hits:
            _show_none_strong(len(found.hits))
        st.session_state["new-list"] = True
        _show_found(searched, asked, options, shown, words)
    else:
        _show_nothing_found(searched.main, asked)
        if pane.is_open():
            pane.show_pane(searched, asked, Found([]), words)
    why_not.show_why_not(searched.main, page_query)


def _asked_now(searched: Searched, page_query: PageQuery) -> tuple[PageQuery, bool]:
    """The query that can be answered at once, and whether it waits for the model.

    Until the model is loaded a hybrid search is one by words, which does not need it.
    """
    if page_query.mode != Mode.HYBRID or not searched.loading:
        return page_query, False
    return page_query.by_words(), True


@st.fragment(run_every=0.5)
def _wait_for_model(searched: Searched) -> None:
    """Say that results by meaning follow, and draw the page again when they can."""
    if not searched.loading:
        st.rerun()
    st.html(
        '<p class="wva-note wva-waiting" role="status">Found by words so far; results by meaning '
        "follow when the language model is loaded.</p>"
    )


def _search(searched: Searched, page_query: PageQuery) -> tuple[Found, SearchOptions]:
    """What was found, and the options of the query."""
    options = page_query.options(steer.make_steering(searched.main, page_query))
    documents = page_query.k if by_document(page_query) else 0
    asked = options.changed(_PER_DOCUMENT * documents) if documents else options
    asked = asked.changed(sentences=False)  # only those are chosen that are shown
    with st.spinner("Searching …", show_time=False):
        return find(searched, page_query, asked, documents), options


def by_document(page_query: PageQuery) -> bool:
    """Whether the list has a card for each document."""
    return page_query.layout == "documents" and not page_query.by_file


@st.fragment
@status.with_errors_shown
def _show_found(
    searched: Searched,
    page_query: PageQuery,
    options: SearchOptions,
    found: Found,
    words: HighlightTerms,
) -> None:
    """Show the list, and the opened hit beside it; a click draws only these again."""
    if controls.current_query().marks != page_query.marks:
        st.rerun()  # the whole page: a passage was marked
    search = json.dumps(page_query.to_params())
    unfolded = _unfolded(search)
    seen = _seen(page_query, found, unfolded) | {pane.current_id(found.hits)}
    found = searched.with_sentences(page_query.text, found, seen, options)
    with st.container(horizontal=True, gap="medium", key="split"):
        with st.container(key="list", gap="small"):
            show_result_list(
                _list_html(searched, page_query, found, words, unfolded),
                search=search,
                said=_count_text(page_query, found),
                current=pane.current_id(found.hits),
                on_act=partial(_acted, found.hits, search),
            )
        if st.session_state.pop("new-list", False):
            time.sleep(_MOMENT)
        with st.container(key="pane", gap="small"):
            try:
                pane.show_pane(searched, page_query, found, words)
            except IndexStateError as error:  # a click, when the index is gone
                status.show_error(error)
                return
    document.draw_ahead(searched.main, found.hits)


def _unfolded(search: str) -> frozenset[str]:
    """The cards of this search that were unfolded, by the ids of their first passages."""
    of, ids = st.session_state.get("unfolded", ("", frozenset()))
    return ids if of == search else frozenset()


def _seen(page_query: PageQuery, found: Found, unfolded: Container[str]) -> set[str]:
    """The ids of the passages that the list shows."""
    if not by_document(page_query):
        return {hit.chunk.id for hit in found.hits}
    groups = group_by_document(found.hits, found.names)
    most = shown_at_once(len(groups))
    return {hit.chunk.id for group in groups for hit in seen_at_once(group, most, unfolded)}


def _shown_hits(
    page_query: PageQuery, found: Found, documents: Mapping[str, DocumentRow]
) -> list[Hit]:
    """The hits of the first `k` documents, or the first `k` hits, in the order asked for."""
    shown = [hit for hit in found.hits if not page_query.strong or _is_strong(hit)]
    if page_query.order == "newest":

        def date(hit: Hit) -> str:
            row = documents.get(hit.chunk.document_id)
            return row.date if row else ""

        shown.sort(key=date, reverse=True)  # stable: the best first within a day
    if not by_document(page_query):
        return shown[: page_query.k]
    groups = group_by_document(shown, found.names)[: page_query.k]
    return [hit for group in groups for hit in group]


def _is_strong(hit: Hit) -> bool:
    return hit.strength in _STRONG


def _show_bar(
    searched: Searched, page_query: PageQuery, options: SearchOptions, found: Found
) -> None:
    st.html(f'<h2 class="wva-count">{_count_text(page_query, found)}</h2>', width="content")
    _show_arranging(searched.main)
    export_bar.show_export(searched, page_query, found, options)


def _show_arranging(shared: SharedIndex) -> None:
    """Show how the list is arranged; each widget's key is a field of `PageQuery`."""
    with st.popover("Arrange", key="arrange", icon=":material/sort:", type="tertiary"):
        for key, label, names in (
            ("layout", "A result is", _LAYOUT_NAMES),
            ("order", "Order", _ORDER_NAMES),
        ):
            if key == "order" and not shared.overview().first_date:
                continue
            st.segmented_control(
                label,
                list(names),
                **controls.field_widget(key),
                format_func=names.__getitem__,
                required=True,
            )
        st.toggle("Only strong matches", **controls.field_widget("strong"))


def _acted(hits: Sequence[Hit], search: str, act: str, chunk: str) -> None:
    """Do what a button of a result says; a callback."""
    if act == "open":
        pane.open_passage(chunk)
    elif act == "why":
        pane.open_passage(chunk, why=True)
    elif act == "others":
        st.session_state["unfolded"] = (search, _unfolded(search) ^ {chunk})
    elif act in ("more", "less"):
        for hit in hits:
            if hit.chunk.id == chunk:
                steer.mark_passage(hit.chunk, wanted=act == "more")


def _list_html(
    searched: Searched,
    page_query: PageQuery,
    found: Found,
    words: HighlightTerms,
    unfolded: frozenset[str],
) -> str:
    hits = found.hits
    view = ListView(
        words=words,
        mode=page_query.mode,
        steerable=page_query.mode != Mode.KEYWORD and not searched.others,
        by_document=by_document(page_query),
        best=bool(hits) and hits[0].rank == 1 and _is_strong(hits[0]),
        documents=searched.documents(),
        names=found.names,
        unfolded=unfolded,
    )
    return list_html(hits, view)


def _count_text(page_query: PageQuery, found: Found) -> str:
    """How many passages of how many documents are shown, and how many match.

    >>> _count_text(PageQuery(), Found([], matching=7))
    '0 passages · 7 match'
    """
    text = count_text(len(found.hits), "passage")
    if found.hits and not page_query.by_file:
        documents = {(found.names.get(h.chunk.id), h.chunk.document_id) for h in found.hits}
        text += f" in {count_text(len(documents), 'document')}"
    return text if found.matching is None else f"{text} · {found.matching:,} match"


def _show_said(
    searched: Searched, page_query: PageQuery, options: SearchOptions, found: Found
) -> None:
    """Say above the list how it is to be taken: the verdict, and what it does not show."""
    text = page_query.text
    said = verdict(searched, text, found, options)
    instead = searched.corrections(text, options)
    notes = searched.main.index.search_notes(text, found.hits, options=options)
    lines = query_lines(parse(text).conditions(), instead, [*notes, *found.failed])
    told = join_parts(map(escape_html, lines))
    shown = f'<b class="wva-verdict">{escape_html(said)}</b> ' if said else ""
    if shown or told:
        st.html(f'<p class="wva-note wva-said" role="status">{shown}{told}</p>')


def _show_none_strong(found: int) -> None:
    """Say that none of the passages found is shown, and offer them."""
    st.info(f"None of the {count_text(found, 'passage')} found is a strong match.")
    _button("Show them", _show_weak)


def _show_weak() -> None:
    controls.set_query(replace(controls.current_query(), strong=False))


def _show_nothing_found(shared: SharedIndex, page_query: PageQuery) -> None:
    """Say why nothing was found, and what to try."""
    with st.container(border=True):
        st.html('<h2 class="wva-file wva-nothing">Nothing found.</h2>')
        if conditions := parse(page_query.text).conditions():
            st.caption(escape_markdown(f"Looked for only: {', '.join(conditions)}."))
        for note in shared.index.search_notes(page_query.text, (), options=page_query.options()):
            first = note[0] if ":" in note.split()[0] else note[0].upper()  # an operator stays so
            st.caption(escape_markdown(f"{first}{note[1:]}."))
        if page_query.filters():
            st.caption("No passage that the filters let through answers this.")
            _button("Search without the filters", controls.clear_filters)
        if page_query.mode == "keyword":
            st.caption("None of these words occurs. Other words may say the same:")
            _button("Search by meaning too", lambda: controls.set_mode("hybrid"))
        if not page_query.filters() and page_query.mode != "keyword" and not conditions:
            st.caption("There is no passage in the index yet that could answer this.")


def _button(label: str, action: Callable[[], Any]) -> None:
    st.button(label, key=f"try-{label}", on_click=action)


__all__ = ["by_document", "show_results"]
