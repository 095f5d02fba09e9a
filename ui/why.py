"""Why this passage, in three steps: a sentence, the shaded passage, and all numbers on request.

An explanation is computed on request and cached for one generation of the index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from retriever.explaining.compare import compare
from retriever.explaining.faithfulness import DeletionTest
from retriever.explaining.score import Explanation
from retriever.explaining.summary import Summary, difference_summary, summary, word_summary
from retriever.index import Index
from retriever.types import Chunk, Hit, RetrieverError
from ui import attribution, evidence, heatmap, status, steer
from ui.document_text import Weights
from ui.highlighting import escape_html, escape_markdown, join_parts, replace_unprintable
from ui.page_query import PageQuery
from ui.resources import CatalogId, SharedIndex

VALUE_CAPTION = (
    "A word's value is what the model read at its position, given the words before it. It is not "
    "the loss without the word: the words after it would then be read differently."
)

_SCORE_TOLERANCE = 5e-4  # scores that differ by less look the same
_DRAWN = "explained-now"
_NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}


@st.fragment
@status.with_errors_shown
def show_explanation(
    shared: SharedIndex, page_query: PageQuery, hit: Hit, hits: Sequence[Hit]
) -> None:
    """Show the explanation of one of the `hits`, or a sentence that says why there is none.

    What the words found is told at once; the rest follows when the model has read the passage.
    """
    place = st.empty()
    if st.session_state.get(_DRAWN) != hit.chunk.id:
        place.html("<div></div>")  # nothing of another passage stays below this one's sentence
    st.session_state[_DRAWN] = hit.chunk.id
    with place.container(key=f"explained-{hit.rank}"):
        st.html(attribution.CSS)
        said = st.empty()
        try:
            if hit.keyword is not None:
                said.html(attribution.summary_html(_word_summary(shared, page_query, hit)))
            with st.spinner("Reading the passage for its meaning …"):
                found = explain_hit(shared, page_query, hit)
            more = _note(page_query, hit, found)
            said.html(attribution.summary_html(summary(found), more))
            evidence.show_evidence(found, hit)
            _show_neighbour(shared, page_query, hit, hits)
            _show_numbers(shared, page_query, hit, hits, found)
        except RetrieverError as error:
            status.show_error(error)


def explain_hit(shared: SharedIndex, page_query: PageQuery, hit: Hit) -> Explanation:
    """The explanation of the hit's score, marked passages left out.

    Raises UsageError or ModelError if the score cannot be explained.
    """
    weights = steer.word_weights(shared, page_query) if hit.dense is not None else ()
    return _explain_chunk(shared, page_query, hit.chunk, _mode(hit), weights)


def word_shades(
    shared: SharedIndex, page_query: PageQuery
) -> Callable[[Chunk], Weights | None] | None:
    """A function that weighs a passage's words by their attribution; None if nothing can be told.

    It does not wait for the model to load, and its errors do not hide an opened document.
    """
    if page_query.mode == "keyword" or not page_query.text or not shared.index.ready:
        return None

    def told(chunk: Chunk) -> Weights | None:
        try:
            weights = steer.word_weights(shared, page_query)
            found = _explain_chunk(shared, page_query, chunk, page_query.mode, weights)
        except RetrieverError:
            return None
        return attribution.page_weights(found)

    return told


def _explain_chunk(
    shared: SharedIndex, page_query: PageQuery, chunk: Chunk, mode: str, weights: tuple[float, ...]
) -> Explanation:
    return _explained(
        *(shared.place, shared.index.generation, page_query.text, chunk.id, mode, weights),
        shared.index,
        chunk,
    )


def show_comparison(
    shared: SharedIndex, page_query: PageQuery, first: Hit, second: Hit, name: str = ""
) -> None:
    """Show why the scores of two hits differ: in a sentence, and in tables, folded.

    `name` is that of the second one, if it is not among the results.
    """
    with shared.index.snapshot():
        told = compare(
            explain_hit(shared, page_query, first), explain_hit(shared, page_query, second)
        )
    one, two = f"result {first.rank}", name or f"result {second.rank}"
    tables = attribution.comparison_tables(told, one, two)
    st.html(
        attribution.summary_html(difference_summary(told, one, two))
        + attribution.folded("Both side by side", tables)
    )


def hit_label(hit: Hit) -> str:
    """A hit's label in a list."""
    name = hit.chunk.path.rpartition("/")[2]
    return replace_unprintable(
        f"{hit.rank or '–'}. {', '.join(filter(None, [name, hit.chunk.place]))}"
    )


def _word_summary(shared: SharedIndex, page_query: PageQuery, hit: Hit) -> Summary:
    """What the query's words found, without the model."""
    return word_summary(_explain_chunk(shared, page_query, hit.chunk, "keyword", ()))


def _note(page_query: PageQuery, hit: Hit, found: Explanation) -> str:
    """What the explanation leaves aside; empty if it is the score of the result."""
    if page_query.marks:
        return "Passages are marked as more or less wanted; this is the score without them."
    if abs(found.score - hit.score) > _SCORE_TOLERANCE:
        return "The collection has changed since this search; this is the score of now."
    return ""


def _show_neighbour(
    shared: SharedIndex, page_query: PageQuery, hit: Hit, hits: Sequence[Hit]
) -> None:
    """Show, on request, why a result stands above the next one, or the last one below another."""
    order = [one.chunk.id for one in hits]
    if hit.chunk.id not in order or len(order) < 2:
        return
    at = order.index(hit.chunk.id)
    last = at == len(order) - 1
    label = "Why below the one before?" if last else "Why above the next one?"
    if _asked(label, f"above-{hit.chunk.id}", ":material/swap_vert:"):
        first, second = (hits[at - 1], hit) if last else (hit, hits[at + 1])
        with st.spinner("Explaining both …"):
            show_comparison(shared, page_query, first, second)


def _asked(label: str, key: str, icon: str, explained: str | None = None) -> bool:
    """Whether something was asked for, by a button that goes once it is."""
    asked = f"asked-{key}"
    place = st.empty()
    if not st.session_state.get(asked):
        clicked = place.button(label, key=key, icon=icon, type="tertiary", help=explained)
        if not clicked:
            return False
        st.session_state[asked] = True
        place.empty()
    return True


def _show_numbers(
    shared: SharedIndex, page_query: PageQuery, hit: Hit, hits: Sequence[Hit], found: Explanation
) -> None:
    """Show all numbers, folded; they are drawn when they are asked for."""
    panel = st.expander(
        "All numbers", key=f"numbers-{found.chunk.id}", icon=":material/functions:",
        on_change="rerun",
    )  # fmt: skip
    if not panel.open:
        return
    with panel:
        formulas = attribution.folded("How each is computed", attribution.formula_table(found))
        st.html(attribution.sum_table(found) + formulas)
        dense = found.dense
        if dense is not None:
            heatmap.show_heatmap(dense, found.chunk.id)
        if found.keyword is not None:
            tables = attribution.keyword_table, attribution.added_table
            st.html("".join(table(found.keyword) for table in tables))
        if dense is not None:
            notes = "".join(
                f'<p class="wva-small">{escape_html(note)}</p>'
                for note in (attribution.SHARES_CAPTION, VALUE_CAPTION)
            )
            st.html(attribution.shares_table(dense) + notes)
            if all(weight == 1 for weight in found.weights):
                _show_check(shared, found)
        _show_compare_choice(shared, page_query, hit, hits)


def _show_compare_choice(
    shared: SharedIndex, page_query: PageQuery, hit: Hit, hits: Sequence[Hit]
) -> None:
    others = {one.rank: one for one in hits if one.chunk.id != hit.chunk.id}
    if not others:
        return
    other = st.selectbox(
        "Compare with another result",
        list(others),
        index=None,
        format_func=lambda rank: hit_label(others[rank]),
        key=f"compare-{hit.chunk.id}",
        placeholder="Why is one above the other?",
    )
    if other is not None:
        with st.spinner("Explaining both …"):
            show_comparison(shared, page_query, hit, others[other])


def _show_check(shared: SharedIndex, found: Explanation) -> None:
    """Show the deletion test of the explanation, on request: it takes seconds."""
    explained = (
        "The passage is read again without the words that bring most, and, to compare with, "
        "without as many others. That takes some seconds."
    )
    if not _asked("Check it", f"check-{found.chunk.id}", ":material/fact_check:", explained):
        return
    try:
        with st.spinner("Reading the passage again without some words …"):
            told = _checked(
                *(shared.place, shared.index.generation, found.query, found.chunk.id),
                shared.index,
                found,
            )
    except RetrieverError as error:  # the passage is too short; the rest of the panel stays
        status.show_error(error)
        return
    st.markdown(check_sentence(told))


def check_sentence(told: DeletionTest) -> str:
    """The result of the deletion test (Markdown)."""
    count = len(told.words)
    number = _NUMBERS.get(count, f"{count:,}")
    plural = "word" if count == 1 else "words"
    these = "this" if count == 1 else f"these {number}"
    other = "another" if count == 1 else f"{number} others"
    words = escape_markdown(join_parts((word.word for word in told.words), ", "))
    verdict = "✓ Confirmed" if told.lost > told.lost_at_random else "✗ Not confirmed"
    return (
        f"**{verdict}**: without {these} {plural} ({words}) the closeness {_change(told.lost)}, "
        f"without {other} it {_change(told.lost_at_random)} on average."
    )


def _change(lost: float) -> str:
    return f"{'falls' if lost >= 0 else 'rises'} by {abs(lost):.3f}"


def _mode(hit: Hit) -> str:
    """The mode that found the hit: a query without keywords is searched by meaning alone."""
    if hit.dense is None:
        return "keyword"
    return "dense" if hit.keyword is None else "hybrid"


@st.cache_resource(show_spinner=False, max_entries=64)
def _explained(
    place: CatalogId,
    generation: int,
    query: str,
    chunk: str,
    mode: str,
    weights: tuple[float, ...],
    _index: Index,
    _chunk: Chunk,
) -> Explanation:
    return _index.explain(query, _chunk, mode=mode, weights=weights)


@st.cache_resource(show_spinner=False, max_entries=64)
def _checked(
    place: CatalogId, generation: int, query: str, chunk: str, _index: Index, _found: Explanation
) -> DeletionTest:
    return _index.check_explanation(_found)


__all__ = [
    "VALUE_CAPTION",
    "check_sentence",
    "explain_hit",
    "hit_label",
    "show_comparison",
    "show_explanation",
    "word_shades",
]  # fmt: skip
