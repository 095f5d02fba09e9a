"""A document opened at a passage: PDF pages as pictures, everything else as text.

Turning a page draws this view only. What a click waits for is drawn first: the page with its
passage and the query's words. Words are shaded by meaning on request, since that asks the model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from retriever.reading.page_images.view import PagePicture, PagePictures, has_picture
from retriever.types import Chunk, DocumentRow, Excerpt, Hit, Page, ReadError
from ui import status
from ui.attribution import CSS, legend
from ui.document_picture import picture_html
from ui.document_text import Leaf, Weights, leaf_at, leaves, text_html
from ui.highlighting import (
    HighlightTerms,
    escape_html,
    escape_markdown,
    word_spans,
)
from ui.resources import CatalogId, SharedIndex
from ui.style import scroll_to_passage, style_sheet

WordShades = Callable[[Chunk], Weights | None]
"""A function: a passage → its words' weights, offsets in its page; None if they are unknown."""

_MAX_PASSAGES = 10
_MAX_SHADED = 4
_AHEAD = 3  # hits whose pages are drawn ahead
_FINISHED = ".!?:;\"'»”’)]。！？"
"""Characters that may end a passage which does not go on."""


@dataclass(frozen=True, slots=True)
class _OpenDocument:
    """A document: its row, its pages, and the leaves that are shown one at a time."""

    row: DocumentRow
    pages: tuple[Page, ...]
    leaves: tuple[Leaf, ...]

    def where(self, chunk: Chunk | Excerpt) -> int:
        """The number of the leaf on which a passage or sentence begins, from 0."""
        return leaf_at(self.leaves, self._position(chunk), chunk.start)

    def passages(self, leaf: Leaf, chunks: Sequence[Chunk]) -> list[Chunk]:
        """The passages on a leaf's page."""
        return [chunk for chunk in chunks if self._position(chunk) == leaf.page]

    def ends_leaf(self, chunk: Chunk, leaf: int) -> bool:
        """Whether a passage ends where the text of the leaf's page ends."""
        return not self.pages[self.leaves[leaf].page].text[chunk.end :].strip()

    def _position(self, chunk: Chunk | Excerpt) -> int:
        place = (chunk.page, chunk.label)
        places = ((page.number, page.label) for page in self.pages)
        return next((at for at, one in enumerate(places) if one == place), 0)


def find_chunks(shared: SharedIndex, ids: Sequence[str]) -> list[Chunk]:
    """The passages of these ids that are in the index, in order, of one document."""
    with shared.index.backend.reading() as catalog:
        found = {chunk.id: chunk for chunk in catalog.get(list(ids[:_MAX_PASSAGES]))}
    chunks = [found[one] for one in ids if one in found]
    return [chunk for chunk in chunks if chunk.document_id == chunks[0].document_id]


def find_row(shared: SharedIndex, document: str) -> DocumentRow | None:
    """The document of this id; None if it was removed."""
    opened = _open_document(shared, document)
    return None if opened is None or not opened.leaves else opened.row


def show_document(
    shared: SharedIndex,
    row: DocumentRow,
    chunks: Sequence[Chunk],
    words: HighlightTerms,
    hit: Hit | None = None,
    others: Sequence[Chunk] = (),
    shades: WordShades | None = None,
    visit: str = "",
) -> None:
    """Show a document at its passages `chunks`, the first of which was opened.

    The words of the query are marked, the hit's best sentence, and the places of the `others`; on
    request words are shaded by `shades`. The page is scrolled to the passage once for each `visit`.
    """
    st.html(style_sheet("document"))
    sentence = None if hit is None else hit.sentence
    also = tuple(one for one in others if one not in chunks)
    _show_leaf(shared, row.id, tuple(chunks), words, sentence, also, shades, visit)


@st.fragment
@status.with_errors_shown
def _show_leaf(
    shared: SharedIndex,
    document: str,
    chunks: Sequence[Chunk],
    words: HighlightTerms,
    sentence: Excerpt | None,
    others: Sequence[Chunk],
    shades: WordShades | None,
    visit: str,
) -> None:
    """Show one leaf and the buttons that turn it. It can be read before its words are shaded."""
    opened = _open_document(shared, document)
    if opened is None:
        st.rerun()  # the whole page: the document is gone
    at = _show_turning(opened, chunks, sentence)
    sheet = _sheet(opened, at, chunks, sentence, others)
    marked: Weights = _query_weights(sheet.page, words, chunks[0].language)
    # Each has a place of its own: elements that move would leave the page before below this one.
    problem, place = st.empty(), st.empty()
    if isinstance(sheet.picture, str):
        problem.warning(escape_markdown(sheet.picture), icon=":material/image_not_supported:")
    sheet.draw(place, marked)
    if sheet.chunks:
        st.html(scroll_to_passage(at, chunks[0].id + visit), unsafe_allow_javascript=True)
    _show_continuation(opened, at, chunks)
    if sheet.chunks and shades is not None and _show_shading():
        marked = _passage_weights(sheet.chunks, shades) or marked
        sheet.draw(place, marked)
    if isinstance(sheet.picture, PagePicture):
        if sheet.picture.note:
            st.caption(escape_markdown(sheet.picture.note))
        with st.expander("The text of this page", icon=":material/notes:"):
            sheet.text(st.empty(), marked)


def _show_continuation(opened: _OpenDocument, at: int, chunks: Sequence[Chunk]) -> None:
    """Show a button to the next leaf where a passage goes on there."""
    following = at + 1
    if following == len(opened.leaves):
        return
    here = opened.passages(opened.leaves[at], chunks)
    text = here[-1].text.rstrip() if here else ""
    unfinished = bool(here) and text[-1:] not in _FINISHED and opened.ends_leaf(here[-1], at)
    if here and (unfinished or opened.passages(opened.leaves[following], chunks)):
        name = opened.leaves[following].name or f"part {following + 1}"
        st.button(
            escape_markdown(f"It goes on: {name}"), key="goes-on", type="tertiary",
            icon=":material/keyboard_double_arrow_right:", on_click=_turn, args=(following + 1,),
        )  # fmt: skip


def _show_shading() -> bool:
    """Show the switch for shaded words; returns whether they are wanted."""
    wanted = st.toggle(
        "Shade the words by meaning",
        key="shade",
        help="Each word of the passage by what it brings to the closeness of meaning.",
    )
    if wanted:
        st.html(CSS + legend("in closeness of meaning"))
    return bool(wanted)


def _turn(to: int) -> None:
    st.session_state["leaf"] = to


@dataclass(frozen=True, slots=True)
class _Sheet:
    """What a leaf shows: its page, the passages on it, and its picture.

    `picture` is None for a page without one, or a sentence that says why it could not be drawn.
    `sentence` is the span of the best sentence, None if it is on another page; `others` are those
    of other hits.
    """

    name: str
    format: str
    leaf: Leaf
    page: Page
    chunks: tuple[Chunk, ...]
    picture: PagePicture | str | None
    sentence: tuple[int, int] | None = None
    others: tuple[tuple[int, int], ...] = ()

    @property
    def passages(self) -> list[tuple[int, int]]:
        """The passages' offsets in the page's text."""
        return [(chunk.start, chunk.end) for chunk in self.chunks]

    def draw(self, place: DeltaGenerator, weights: Weights) -> None:
        """Draw the leaf in `place`, over what was drawn there before."""
        if isinstance(self.picture, PagePicture):
            place.html(
                picture_html(
                    self.picture, self.name, self.passages, weights, self.sentence, self.others
                )
            )
        else:
            self.text(place, weights)

    def text(self, place: DeltaGenerator, weights: Weights) -> None:
        """Draw the leaf's text, extended to the whole of its passages."""
        if not self.page.text.strip():
            reason = f": {self.page.reason}" if self.page.reason else ""
            place.caption(
                escape_markdown(f"There is no text on this page ({self.page.state}{reason}).")
            )
            return
        start, end = self.leaf.start, self.leaf.end
        cut = [(low, high) for low, high in self.passages if low < end and high > start]
        start, end = min([start, *(low for low, _ in cut)]), max([end, *(high for _, high in cut)])
        shown = text_html(
            self.page.text,
            start,
            end,
            self.passages,
            weights,
            self.sentence,
            markdown=self.format == "markdown",
        )
        place.html(f'<article class="wva-text-page">{shown}</article>')


def _sheet(
    opened: _OpenDocument,
    at: int,
    chunks: Sequence[Chunk],
    sentence: Excerpt | None = None,
    others: Sequence[Chunk] = (),
) -> _Sheet:
    leaf = opened.leaves[at]
    page = opened.pages[leaf.page]
    picture = _picture(opened.row, page) if has_picture(opened.row, page) else None
    name = f"{leaf.name} of {opened.row.path}"
    shown = tuple(opened.passages(leaf, chunks))
    place = (page.number, page.label)
    here = sentence is not None and shown and (sentence.page, sentence.label) == place
    span = (sentence.start, sentence.end) if sentence is not None and here else None
    also = tuple((one.start, one.end) for one in opened.passages(leaf, others))
    return _Sheet(name, opened.row.format, leaf, page, shown, picture, span, also)


def _passage_weights(chunks: Sequence[Chunk], shades: WordShades) -> Weights | None:
    """The weights of the words of a page's passages; None if all are unknown."""
    found = []
    pause = st.empty()
    for chunk in chunks[:_MAX_SHADED]:
        pause.empty()  # drawing ends this run if the visitor has turned the page meanwhile
        found.append(shades(chunk))
    known = [one for one in found if one is not None]
    return [word for one in known for word in one] if known else None


def _show_turning(opened: _OpenDocument, chunks: Sequence[Chunk], sentence: Excerpt | None) -> int:
    """Show the buttons that turn the leaves; returns the number of the leaf to show, from 0.

    The first one shown is that of the best sentence, or else of the opened passage.
    """
    came_for = chunks[0].id
    count, home = len(opened.leaves), opened.where(sentence or chunks[0])
    if st.session_state.get("leaf_of") != came_for or "leaf" not in st.session_state:
        st.session_state["leaf_of"], st.session_state["leaf"] = came_for, home + 1
    st.session_state["leaf"] = min(max(1, st.session_state["leaf"] or 1), count)
    now: int = st.session_state["leaf"]

    name = "Page" if opened.pages[0].number is not None else "Part"
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="leaves"):
        if count > 1:
            _show_leaf_buttons(name, now, count, home)
    leaf, place = opened.leaves[now - 1], st.empty()
    if leaf.name and leaf.name != f"page {now}":
        place.html(f'<p class="wva-note"><bdi>{escape_html(leaf.name)}</bdi></p>')
    return now - 1


def _show_leaf_buttons(name: str, now: int, count: int, home: int) -> None:
    """Show the buttons that turn the leaves; `now` counts from 1, `home` from 0."""
    st.button(
        "Previous", key="previous", on_click=_turn, args=(now - 1,), disabled=now == 1,
        icon=":material/chevron_left:", help=f"{name} before this one",
    )  # fmt: skip
    st.number_input(name, 1, count, key="leaf", label_visibility="collapsed", width=110)
    st.html(f'<span class="wva-note">of {count:,}</span>', width="content")
    st.button(
        "Next", key="next", on_click=_turn, args=(now + 1,), disabled=now == count,
        icon=":material/chevron_right:", help=f"{name} after this one",
    )  # fmt: skip
    if now != home + 1:
        st.button(
            "To the passage", key="home", on_click=_turn, args=(home + 1,), type="tertiary",
            icon=":material/my_location:",
        )  # fmt: skip


def _query_weights(
    page: Page, query: str | HighlightTerms, language: str
) -> list[tuple[int, int, float]]:
    return [(start, end, 1.0) for start, end in word_spans(page.text, query, language)]


# Shared by all sessions


def _open_document(shared: SharedIndex, document: str) -> _OpenDocument | None:
    """The document as the index has it now; None if it was removed."""
    return _cached_document(shared.place, shared.index.generation, document, shared)


@st.cache_resource(show_spinner=False, max_entries=16)
def _cached_document(
    place: CatalogId, generation: int, document: str, _served: SharedIndex
) -> _OpenDocument | None:
    index = _served.index
    row = next((row for row in index.documents() if row.id == document), None)
    if row is None:
        return None
    pages = tuple(index.pages(document))
    paper = [at for at, page in enumerate(pages) if has_picture(row, page)]
    return _OpenDocument(row, pages, tuple(leaves(pages, paper)))


def _picture(row: DocumentRow, page: Page) -> PagePicture | str:
    """The page's picture, or a sentence that says why there is none."""
    try:
        return page_pictures().show(row, page)
    except ReadError as error:
        return str(error)


@st.cache_resource(show_spinner=False, on_release=PagePictures.close)
def page_pictures() -> PagePictures:
    """The renderer of pages, for all sessions; it starts in the background."""
    made = PagePictures()
    threading.Thread(target=made.start, name="draw pages", daemon=True).start()
    return made


def draw_ahead(shared: SharedIndex, hits: Sequence[Hit]) -> None:
    """Draw the pages of the first hits in the background, since one of them is opened next."""
    wanted = []
    for hit in hits[:_AHEAD]:
        opened = _open_document(shared, hit.chunk.document_id)
        if hit.chunk.format == "pdf" and opened is not None and opened.leaves:
            leaf = opened.leaves[opened.where(hit.sentence or hit.chunk)]
            wanted.append((opened.row, opened.pages[leaf.page]))
    if wanted:
        page_pictures().prepare(wanted)


__all__ = [
    "WordShades",
    "draw_ahead",
    "find_chunks",
    "find_row",
    "page_pictures",
    "show_document",
]
