"""The opened result beside the list: its document, or why it was found.

The address has the passage's id (`open`) and the view (`view`), so that an opened result has a
link, and "back" leads to the one before. On a wide window the first result is shown until another
one is opened, or the pane is closed.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from retriever.types import Chunk, DocumentRow, Hit
from ui import document, steer, why
from ui.document_tools import show_tools
from ui.highlighting import HighlightTerms, escape_html, join_parts
from ui.page_query import PageQuery
from ui.searched import Found, Searched
from ui.style import scroll_to_top

OPEN = "open"
"""The parameter of the address with the opened passage."""

_VIEW = "view"
_CLOSED = "pane-closed"
_DRAWN = "pane-drawn"
_VIEWS = ("Document", "Why")


def open_passage(chunk: str, *, why: bool = False) -> None:
    """Open the document at a passage, or the explanation of it; a callback."""
    st.query_params[OPEN] = chunk
    _set_view("Why" if why else "Document")
    st.session_state[_CLOSED] = False


def close_pane() -> None:
    """Close the pane; a callback."""
    st.query_params.pop(OPEN, None)
    _set_view("Document")
    st.session_state[_CLOSED] = True


def is_open() -> bool:
    """Whether a passage was opened by the visitor or by the address."""
    return OPEN in st.query_params


def current_id(hits: Sequence[Hit]) -> str:
    """The id of the passage that the pane shows; empty for a closed pane."""
    if is_open():
        return st.query_params.get_all(OPEN)[0]
    if st.session_state.get(_CLOSED) or not hits:
        return ""
    return hits[0].chunk.id


def show_pane(
    searched: Searched, page_query: PageQuery, found: Found, words: HighlightTerms
) -> None:
    """Show the opened passage, which is mostly one of those `found`, or nothing."""
    hits = found.hits
    id_ = current_id(hits)
    shared = searched.every.get(found.names.get(id_, ""), searched.main)
    if not id_:
        # Takes the pane's place: the end of another fragment's run may overtake this one, and then
        # an element that is merely left out is not removed.
        st.empty()
        return
    kind = "" if is_open() else " wva-auto"
    st.html(f'<div class="wva-opened{kind}"></div>')
    hit = next((one for one in hits if one.chunk.id == id_), None)
    chunks = document.find_chunks(shared, _ids(id_, hit))
    row = document.find_row(shared, chunks[0].document_id) if chunks else None
    if row is None:
        _show_close()
        st.info("This passage is not in the index any more: its document was changed or removed.")
        return
    _show_head(row, chunks[0], hits, hit, steerable=not searched.others)
    view = "why" if hit is not None and st.query_params.get(_VIEW) == "why" else "document"
    with _cleared(view):
        if hit is not None and view == "why":
            st.html(scroll_to_top(id_), unsafe_allow_javascript=True)
            why.show_explanation(shared, page_query, hit, hits)
        else:
            shades = why.word_shades(shared, page_query)
            others = [one.chunk for one in hits if one.chunk.document_id == row.id]
            visit = "opened" if is_open() else "shown"
            document.show_document(shared, row, chunks, words, hit, others, shades, visit)


def _cleared(view: str) -> DeltaGenerator:
    """The place of a view; what another view has drawn there goes at once, not at the run's end."""
    place = st.empty()
    if st.session_state.get(_DRAWN) != view:
        place.html("<div></div>")
    st.session_state[_DRAWN] = view
    return place.container()


def _ids(id_: str, hit: Hit | None) -> list[str]:
    """The opened passage first, then those that were joined to it, also by an older link."""
    joined = [part.id for part in hit.parts] if hit else st.query_params.get_all(OPEN)
    return list(dict.fromkeys([id_, *joined]))


def _set_view(view: str) -> None:
    st.session_state["pane-view"] = view
    if view == "Why":
        st.query_params[_VIEW] = "why"
    else:
        st.query_params.pop(_VIEW, None)


def _show_close() -> None:
    st.button(
        "Close", key="close", on_click=close_pane, type="tertiary", icon=":material/close:",
        help="Back to the list (Esc)",
    )  # fmt: skip


def _show_head(
    row: DocumentRow, chunk: Chunk, hits: Sequence[Hit], hit: Hit | None, *, steerable: bool
) -> None:
    folder, _, name = row.path.rpartition("/")
    title = row.title.strip()
    below = join_parts(
        f"<bdi>{escape_html(part)}</bdi>"
        for part in (f"{folder}/" if folder else "", title if title != name else "")
        if part
    )
    top = st.container(gap="small", key="pane-top")
    with top.container(horizontal=True, vertical_alignment="center", gap="small", key="pane-head"):
        st.html(
            f'<h2 class="wva-file" tabindex="-1"><bdi>{escape_html(name)}</bdi></h2>'
            f'<div class="wva-where">{below}</div>',
            width="stretch",
        )
        show_tools(row, hit or Hit(0, 0.0, chunk))
        _show_close()
    with top.container(horizontal=True, vertical_alignment="center", gap="small", key="pane-bar"):
        if hit is not None:
            _show_views()
        _show_steps(chunk, hits)
        if hit is not None and steerable:
            steer.show_more_like_this(hit)


def _show_views() -> None:
    st.session_state["pane-view"] = "Why" if st.query_params.get(_VIEW) == "why" else "Document"
    st.segmented_control(
        "View",
        _VIEWS,
        key="pane-view",
        label_visibility="collapsed",
        required=True,
        on_change=lambda: _set_view(st.session_state["pane-view"] or "Document"),
    )


def _show_steps(chunk: Chunk, hits: Sequence[Hit]) -> None:
    """Show the number of this hit among those in its document, and the way to the others."""
    order = [hit.chunk.id for hit in hits if hit.chunk.document_id == chunk.document_id]
    if chunk.id not in order or len(order) < 2:
        return
    at = order.index(chunk.id)
    for label, key, icon, to in (
        ("Hit before in this document", "hit-before", "keyboard_arrow_up", at - 1),
        ("Next hit in this document", "hit-after", "keyboard_arrow_down", at + 1),
    ):
        st.button(
            label, key=key, help=label, icon=f":material/{icon}:", type="tertiary",
            disabled=not 0 <= to < len(order), on_click=open_passage,
            args=(order[max(0, to) % len(order)],),
        )  # fmt: skip
    st.html(f'<span class="wva-note">hit {at + 1} of {len(order)}</span>', width="content")


__all__ = ["OPEN", "close_pane", "current_id", "is_open", "open_passage", "show_pane"]
