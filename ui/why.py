"""Why this passage: shaded words, the heat map of word pairs, and the terms of the score.

An explanation is computed on request and cached for one generation of the index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from retriever.explaining.compare import compare
from retriever.explaining.faithfulness import DeletionTest
from retriever.explaining.score import DenseScore, Explanation
from retriever.index import Index
from retriever.types import Chunk, Hit, RetrieverError
from ui import attribution, heatmap, status, steer
from ui.document_text import Weights
from ui.highlighting import escape_markdown, join_parts, passage_html, replace_unprintable
from ui.page_query import PageQuery
from ui.resources import CatalogId, SharedIndex

VALUE_CAPTION = (
    "A word's value is what the model read at its position, given the words before it. It is not "
    "the loss without the word: the words after it would then be read differently."
)

_SCORE_TOLERANCE = 5e-4  # scores that differ by less look the same
_MAX_OPEN = 3  # panels open at once


def is_open(hit: Hit) -> bool:
    """Whether the explanation of this result is open."""
    return hit.chunk.id in st.session_state.get("explained", ())


def toggle(chunk: str) -> None:
    """Open or close the explanation of a passage; a callback."""
    before = st.session_state.get("explained", ())
    others = tuple(one for one in before if one != chunk)
    st.session_state["explained"] = others if chunk in before else (*others, chunk)[-_MAX_OPEN:]


def show_explanation(
    shared: SharedIndex, page_query: PageQuery, hit: Hit, hits: Sequence[Hit]
) -> None:
    """Show the explanation of one of the `hits`, or a sentence that says why there is none."""
    with st.container(border=True, key=f"explained-{hit.rank}"):
        try:
            with st.spinner("Explaining the score …"):
                found = explain_hit(shared, page_query, hit)
            _show_panel(shared, page_query, hit, found)
            _show_compare_choice(shared, page_query, hit, hits, found)
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


def show_comparison(shared: SharedIndex, page_query: PageQuery, first: Hit, second: Hit) -> None:
    """Show why the scores of two hits differ."""
    with shared.index.snapshot():
        told = compare(
            explain_hit(shared, page_query, first), explain_hit(shared, page_query, second)
        )
    higher = "above" if told.first.score >= told.second.score else "below"
    by = abs(told.first.score - told.second.score)
    one, two = _column_label(first), _column_label(second)
    largest = next((row for row in told.terms if row.difference), None)
    most = "" if largest is None else (
        f" Most of it is {attribution.NAMES.get(largest.name, largest.name)} "
        f"({largest.difference:+.2f})."
    )  # fmt: skip
    st.caption(escape_markdown(f"{one.capitalize()} stands {by:.2f} {higher} {two}.{most}"))
    st.html(attribution.comparison_tables(told, one, two))


def hit_label(hit: Hit) -> str:
    """A hit's label in a list."""
    name = hit.chunk.path.rpartition("/")[2]
    return replace_unprintable(
        f"{hit.rank or '–'}. {', '.join(filter(None, [name, hit.chunk.place]))}"
    )


def _column_label(hit: Hit) -> str:
    """A hit's label in the head of a column."""
    return f"result {hit.rank}" if hit.rank else "it"


def _show_panel(shared: SharedIndex, page_query: PageQuery, hit: Hit, found: Explanation) -> None:
    dense = found.dense
    if page_query.marks:
        st.caption(
            "Passages are marked as more or less wanted; what follows is the score without them."
        )
    elif abs(found.score - hit.score) > _SCORE_TOLERANCE:
        st.caption("The index has changed since this search; what follows is the score of now.")
    if dense is None:
        st.html(f'<p class="wva-text" dir="auto">{passage_html(found.chunk.text, found.query)}</p>')
    else:
        _show_words(found, dense)
    st.html(attribution.sum_table(found))
    if found.keyword is not None:
        tables = attribution.keyword_table, attribution.added_table
        st.html("".join(table(found.keyword) for table in tables))
    if dense is not None:
        st.html(attribution.shares_table(dense))
        st.caption(VALUE_CAPTION)
        if all(weight == 1 for weight in steer.word_weights(shared, page_query)):
            _show_check(shared, found)


def _show_words(found: Explanation, dense: DenseScore) -> None:
    """Show the passage, shaded for all words of the query or a chosen one, and the heat map."""
    id_ = found.chunk.id
    values = dense.by_query_word
    evidence = st.pills(
        "Choose a word of the query to see its matches",
        range(len(dense.query_words)),
        format_func=lambda at: escape_markdown(f"{dense.query_words[at].word} {values[at]:+.3f}"),
        key=f"evidence-{id_}",
    )
    words = attribution.shaded_words(dense, evidence)
    st.html(attribution.shaded_passage(found.chunk, words) + attribution.legend())
    heatmap.show_heatmap(dense, id_)


def _show_compare_choice(
    shared: SharedIndex, page_query: PageQuery, hit: Hit, hits: Sequence[Hit], found: Explanation
) -> None:
    others = {one.rank: one for one in hits if one.chunk.id != hit.chunk.id}
    if not others:
        return
    other = st.selectbox(
        "Compare with another result",
        list(others),
        index=None,
        format_func=lambda rank: hit_label(others[rank]),
        key=f"compare-{found.chunk.id}",
        placeholder="Why is one above the other?",
    )
    if other is not None:
        with st.spinner("Explaining both …"):
            show_comparison(shared, page_query, hit, others[other])


def _show_check(shared: SharedIndex, found: Explanation) -> None:
    """Show the deletion test of the explanation, on request: it takes seconds."""
    wanted = st.toggle(
        "Check it",
        key=f"check-{found.chunk.id}",
        help="The passage is read again without the words that bring most, and, to compare with, "
        "without as many others. That takes some seconds.",
    )
    if not wanted:
        return
    with st.spinner("Reading the passage again without some words …"):
        told = _checked(
            *(shared.place, shared.index.generation, found.query, found.chunk.id),
            shared.index,
            found,
        )
    st.caption(check_sentence(told))


def check_sentence(told: DeletionTest) -> str:
    """The result of the deletion test (Markdown)."""
    words = escape_markdown(join_parts((word.word for word in told.words), ", "))
    count = len(told.words)
    verdict = (
        "The score hangs on the words that are shaded most."
        if told.lost > told.lost_at_random
        else "Here the words that are shaded most do not count more than others."
    )
    return (
        f"Without {words} the cosine falls by {told.lost:.3f}, without {count} words at random by "
        f"{told.lost_at_random:.3f} on average. {verdict}"
    )


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
    "is_open",
    "show_comparison",
    "show_explanation",
    "toggle",
    "word_shades",
]  # fmt: skip
