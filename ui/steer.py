"""Steering a search: weights of words, and "more or less like this part of a passage".

Both belong to the query, so they are in the page's address, and "back" undoes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from retriever.searching.steering import Marked, Steering
from retriever.text.structure import sentences
from retriever.types import Chunk, Hit, RetrieverError, Span
from ui import status
from ui.highlighting import count_text, escape_markdown, replace_unprintable
from ui.page_query import HEAVIEST, LIGHTEST, PageQuery
from ui.resources import SharedIndex

MORE, LESS = 1.0, -0.5
"""The weights of marks, the query having 1: subtracting distorts more than adding."""

MAX_WORDS = 24
"""Words with a slider; longer queries are rarely meant word by word."""

_MAX_MARKS = 8
_LABEL = 60
_MARK = re.compile(r"(-?)([0-9a-f]{16}):(\d{1,9})-(\d{1,9})")
_STEP = 0.25


def make_steering(shared: SharedIndex, page_query: PageQuery) -> Steering | None:
    """The `Steering` of the query's weights and marks; None if it has none."""
    if page_query.mode == "keyword":
        return None
    marked = tuple(
        Marked(one.chunk.id, one.start, one.end, MORE if one.wanted else LESS)
        for one in _marks(shared, page_query.marks)
        if one.chunk is not None
    )
    made = Steering(word_weights(shared, page_query), marked)
    return None if made.changes_nothing else made


def word_weights(shared: SharedIndex, page_query: PageQuery) -> tuple[float, ...]:
    """The weights of the query's words; () if none is set, or their number differs.

    Raises UsageError or ModelError if the index's model cannot weigh words.
    """
    if not page_query.weights or page_query.mode == "keyword":
        return ()
    count = len(shared.index.query_words(page_query.text))
    return page_query.weights if len(page_query.weights) == count else ()


def show_weights(shared: SharedIndex, page_query: PageQuery) -> None:
    """Show the menu with a slider for each word of the query."""
    if page_query.mode == "keyword":
        return
    panel = st.popover(
        "Weigh the words",
        key="weigh",
        icon=":material/instant_mix:",
        type="tertiary",
        on_change="rerun",
    )
    if panel.open:
        with panel:
            try:
                _show_sliders(shared, page_query)
            except RetrieverError as error:
                status.show_error(error)


def show_changes(shared: SharedIndex, page_query: PageQuery) -> None:
    """Show the weighed words and the marked passages, in the current row; a click undoes one."""
    if page_query.mode == "keyword":
        return
    for at, (word, weight) in changed_words(shared, page_query).items():
        _show_chip(f"{word} ×{weight:g}", f"unweigh-{at}", _reset_weight, at)
    for at, one in enumerate(_marks(shared, page_query.marks)):
        _show_chip(one.label, f"unmark-{at}", _remove_mark, one.text)


def _show_chip(label: str, key: str, undo: Callable[..., None], what: object) -> None:
    st.button(
        escape_markdown(replace_unprintable(label)),
        key=key,
        help="Undo this change of the search",
        on_click=undo,
        args=(what,),
        icon=":material/close:",
        icon_position="right",
    )


def changed_words(shared: SharedIndex, page_query: PageQuery) -> dict[int, tuple[str, float]]:
    """The words of the query whose weight is not 1, by position; none until the model is loaded."""
    if not page_query.weights or not shared.index.ready:
        return {}
    try:
        weights = word_weights(shared, page_query)
        words = shared.index.query_words(page_query.text)
    except RetrieverError:  # said where the words are weighed
        return {}
    both = enumerate(zip(words, weights, strict=False))
    return {at: (word.word, weight) for at, (word, weight) in both if weight != 1}


def show_more_like_this(hit: Hit) -> None:
    """Show the menu that marks a part of this result as more or less wanted; inside a fragment."""
    chunk = hit.chunk
    panel = st.popover(
        "More or less like this",
        key=f"like-{chunk.id}",
        icon=":material/thumbs_up_down:",
        type="tertiary",
        on_change="rerun",
    )
    if not panel.open:
        return
    with panel:
        parts = _parts(chunk.text)
        chosen = st.selectbox(
            "Which part? Choose a sentence, or type some of its words as they stand there",
            list(parts),
            format_func=replace_unprintable,
            key=f"part-{chunk.id}",
            accept_new_options=True,
        )
        span = parts.get(chosen) or find_words(chosen, chunk.text)
        if span is None:
            st.caption("These words do not stand side by side in this passage.")
        with st.container(horizontal=True):
            for label, wanted in (("More like this", True), ("Less like this", False)):
                st.button(
                    label,
                    key=f"{label[:4].lower()}-{chunk.id}",
                    on_click=_add_mark,
                    args=(chunk.id, span),
                    kwargs={"wanted": wanted},
                    disabled=span is None,
                )


def mark_passage(chunk: Chunk, *, wanted: bool) -> None:
    """Mark a whole passage as more or less wanted; a callback."""
    _add_mark(chunk.id, Span(0, len(chunk.text)), wanted=wanted)


def clear_steering() -> None:
    """Remove weights and marks from the query; a callback."""
    st.session_state["weights"], st.session_state["marks"] = [], []


def find_words(words: str | None, text: str) -> Span | None:
    r"""The span of words that are side by side in a text, ignoring case; None if there is none.

    >>> find_words("is HOT", "Tea\nis\nhot.")
    Span(start=4, end=10)
    """
    if not words or not words.strip():
        return None
    pattern = r"\s+".join(map(re.escape, words.split()))
    found = re.search(pattern, text, re.IGNORECASE)
    return Span(*found.span()) if found else None


@dataclass(frozen=True, slots=True)
class _PassageMark:
    """A mark in the address with the passage that it marks; None if that is gone."""

    text: str
    chunk: Chunk | None
    start: int
    end: int
    wanted: bool

    @property
    def label(self) -> str:
        """The mark's label on the page."""
        what = "More" if self.wanted else "Less"
        if self.chunk is None:
            return f"{what} like a passage that is not here any more"
        return f"{what} like “{_shorten(self.chunk.text[self.start : self.end])}”"


def _marks(shared: SharedIndex, marks: Sequence[str]) -> list[_PassageMark]:
    """The marks with their passages; malformed ones are left out."""
    found = [match for mark in marks[:_MAX_MARKS] if (match := _MARK.fullmatch(mark))]
    with shared.index.backend.reading() as catalog:
        known = {chunk.id: chunk for chunk in catalog.get([one[2] for one in found])}
    return [
        _PassageMark(one[0], known.get(one[2]), int(one[3]), int(one[4]), not one[1])
        for one in found
    ]


def _add_mark(chunk: str, span: Span, *, wanted: bool) -> None:
    """Add a mark, in place of one on the same part; a callback."""
    place = f"{chunk}:{span.start}-{span.end}"
    others = [one for one in st.session_state.get("marks", []) if one.lstrip("-") != place]
    st.session_state["marks"] = [*others, place if wanted else f"-{place}"][-_MAX_MARKS:]
    st.session_state[f"like-{chunk}"] = False


def _remove_mark(mark: str) -> None:
    st.session_state["marks"] = [one for one in st.session_state["marks"] if one != mark]


def _show_sliders(shared: SharedIndex, page_query: PageQuery) -> None:
    """One for each word; the results follow without the model."""
    words = shared.index.query_words(page_query.text)
    if not words:
        st.caption("There is no word in this question that could be weighed.")
        return
    now = word_weights(shared, page_query) or (1.0,) * len(words)
    shown = words[:MAX_WORDS]
    with st.container(
        horizontal=True, gap="medium", vertical_alignment="center", key="weights-row"
    ):
        for at, word in enumerate(shown):
            if st.session_state.get(f"weight-{at}") != now[at]:
                # Set only if it differs: another slider may be moving during this run.
                st.session_state[f"weight-{at}"] = now[at]
            st.slider(
                escape_markdown(word.word),
                LIGHTEST,
                HEAVIEST,
                step=_STEP,
                key=f"weight-{at}",
                on_change=_set_weights,
                args=(page_query.text, len(words)),
                width=130,
            )
        st.button(
            "Reset",
            key="unweigh",
            on_click=_reset_weights,
            disabled=not page_query.weights,
            type="tertiary",
            icon=":material/restart_alt:",
        )
    more = count_text(len(words) - len(shown), "more word")
    rest = f" The {more} count as they stand." if len(words) > len(shown) else ""
    st.caption(
        "1 is as it stands; 0 leaves a word out, by meaning and as a keyword; −1 leads away from "
        f"it. The order follows without asking the model again.{rest}"
    )


def _set_weights(text: str, count: int) -> None:
    """Set the query's weights from the sliders; () if all are 1; a callback."""
    said = [float(st.session_state.get(f"weight-{at}", 1.0)) for at in range(count)]
    st.session_state["weights"] = [] if all(weight == 1 for weight in said) else said
    st.session_state["weighed"] = text


def _reset_weight(at: int) -> None:
    """Make the weight of a word 1 again; a callback."""
    weights = [1.0 if one == at else weight for one, weight in _numbered_weights()]
    st.session_state["weights"] = [] if all(weight == 1 for weight in weights) else weights


def _numbered_weights() -> list[tuple[int, float]]:
    return list(enumerate(st.session_state.get("weights") or []))


def _reset_weights() -> None:
    st.session_state["weights"] = []


def _parts(text: str) -> dict[str, Span]:
    """The parts of a passage to choose from, by label."""
    parts = {"The whole passage": Span(0, len(text))}
    for span in sentences(text):
        parts.setdefault(_shorten(text[span.start : span.end]), span)
    return parts


def _shorten(text: str) -> str:
    """The beginning of a text in one line."""
    line = " ".join(text.split())
    return line if len(line) <= _LABEL else f"{line[:_LABEL].rstrip()} …"


__all__ = [
    "changed_words",
    "clear_steering",
    "find_words",
    "make_steering",
    "mark_passage",
    "show_changes",
    "show_more_like_this",
    "show_weights",
    "word_weights",
]
