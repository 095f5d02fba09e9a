"""Why this passage: its words shaded by what they bring, word against word, and the arithmetic.

It is taken apart when somebody looks, and remembered as long as the index stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from retriever.explaining.compare import compare
from retriever.explaining.faithfulness import DeletionTest
from retriever.explaining.score import DenseScore, Explanation
from retriever.index import Index
from retriever.types import Chunk, Hit, RetrieverError
from ui import contributions, heatmap, steer
from ui import status as state
from ui.document_text import Weights
from ui.highlighting import joined, markdown, passage, visible
from ui.questions import Question
from ui.resources import Place, Served

MEANING = (
    "A word's value is what was read at it, in the light of the words before it. It is not what "
    "would happen without the word: then the words behind it would be read otherwise."
)

_SAME = 5e-4  # two scores that differ by less are shown alike
_MOST = 3  # panels open at once


def is_open(hit: Hit) -> bool:
    """Whether this result is to be explained."""
    return hit.chunk.id in st.session_state.get("explained", ())


def toggle(chunk: str) -> None:
    """Explain a result, or no longer; to be called as a button's callback."""
    before = st.session_state.get("explained", ())
    others = tuple(one for one in before if one != chunk)
    st.session_state["explained"] = others if chunk in before else (*others, chunk)[-_MOST:]


def show_explanation(served: Served, asked: Question, hit: Hit, hits: Sequence[Hit]) -> None:
    """The explanation of one of the `hits`, or the sentence that says why there is none."""
    with st.container(border=True, key=f"explained-{hit.rank}"):
        try:
            with st.spinner("Taking the score apart …"):
                found = explanation(served, asked, hit)
            _panel(served, asked, hit, found)
            _compared_with(served, asked, hit, hits, found)
        except RetrieverError as error:
            state.error(error)


def explanation(served: Served, asked: Question, hit: Hit) -> Explanation:
    """Why the hit has its score, without the passages that are marked.

    Raises UsageError or ModelError where it cannot be told.
    """
    weights = steer.weights(served, asked) if hit.dense is not None else ()
    return _taken_apart(served, asked, hit.chunk, _mode(hit), weights)


def shades(served: Served, asked: Question) -> Callable[[Chunk], Weights | None] | None:
    """What tells of a passage's words what they bring, on its page; None where nothing can.

    Nobody waits for the model to load here, and an opened document is to be seen in any case.
    """
    if asked.mode == "keyword" or not asked.text or not served.index.ready:
        return None

    def told(chunk: Chunk) -> Weights | None:
        try:
            weights = steer.weights(served, asked)
            found = _taken_apart(served, asked, chunk, asked.mode, weights)
        except RetrieverError:
            return None
        return contributions.page_weights(found)

    return told


def _taken_apart(
    served: Served, asked: Question, chunk: Chunk, mode: str, weights: tuple[float, ...]
) -> Explanation:
    return _explained(
        *(served.place, served.index.generation, asked.text, chunk.id, mode, weights),
        served.index,
        chunk,
    )


def compared(served: Served, asked: Question, first: Hit, second: Hit) -> None:
    """What makes one hit's score differ from another's."""
    with served.index.snapshot():
        told = compare(explanation(served, asked, first), explanation(served, asked, second))
    higher = "above" if told.first.score >= told.second.score else "below"
    by = abs(told.first.score - told.second.score)
    one, two = _short(first), _short(second)
    largest = next((row for row in told.terms if row.difference), None)
    most = "" if largest is None else (
        f" Most of it is {contributions.NAMES.get(largest.name, largest.name)} "
        f"({largest.difference:+.2f})."
    )  # fmt: skip
    st.caption(markdown(f"{one.capitalize()} stands {by:.2f} {higher} {two}.{most}"))
    st.html(contributions.difference_tables(told, one, two))


def called(hit: Hit) -> str:
    """A hit in a list to choose from."""
    name = hit.chunk.path.rpartition("/")[2]
    return visible(f"{hit.rank or '–'}. {', '.join(filter(None, [name, hit.chunk.place]))}")


def _short(hit: Hit) -> str:
    """A hit in the head of a column."""
    return f"result {hit.rank}" if hit.rank else "it"


def _panel(served: Served, asked: Question, hit: Hit, found: Explanation) -> None:
    dense = found.dense
    if asked.marks:
        st.caption(
            "Passages are marked as more or less wanted; what follows is the score without them."
        )
    elif abs(found.score - hit.score) > _SAME:
        st.caption("The index has changed since this search; what follows is the score of now.")
    if dense is None:
        st.html(f'<p class="wva-text" dir="auto">{passage(found.chunk.text, found.query)}</p>')
    else:
        _words(found, dense)
    st.html(contributions.sum_table(found))
    if found.keyword is not None:
        tables = contributions.keyword_table, contributions.added_table
        st.html("".join(table(found.keyword) for table in tables))
    if dense is not None:
        st.html(contributions.shares_table(dense))
        st.caption(MEANING)
        if all(weight == 1 for weight in steer.weights(served, asked)):
            _check(served, found)


def _words(found: Explanation, dense: DenseScore) -> None:
    """The passage shaded, by all words of the query or the one that is chosen; the matrix."""
    id_ = found.chunk.id
    values = dense.by_query_word
    evidence = st.pills(
        "Choose a word of yours to see what it met",
        range(len(dense.query_words)),
        format_func=lambda at: markdown(f"{dense.query_words[at].word} {values[at]:+.3f}"),
        key=f"evidence-{id_}",
    )
    words = contributions.shaded_words(dense, evidence)
    st.html(contributions.shaded_passage(found.chunk, words) + contributions.legend())
    heatmap.show_heatmap(dense, id_)


def _compared_with(
    served: Served, asked: Question, hit: Hit, hits: Sequence[Hit], found: Explanation
) -> None:
    others = {one.rank: one for one in hits if one.chunk.id != hit.chunk.id}
    if not others:
        return
    other = st.selectbox(
        "Compare with another result",
        list(others),
        index=None,
        format_func=lambda rank: called(others[rank]),
        key=f"compare-{found.chunk.id}",
        placeholder="Why is one above the other?",
    )
    if other is not None:
        with st.spinner("Taking both apart …"):
            compared(served, asked, hit, others[other])


def _check(served: Served, found: Explanation) -> None:
    """Read the passage again without its strongest words, on request: it takes seconds."""
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
            *(served.place, served.index.generation, found.query, found.chunk.id),
            served.index,
            found,
        )
    st.caption(check_sentence(told))


def check_sentence(told: DeletionTest) -> str:
    """What the check has shown (Markdown)."""
    words = markdown(joined((word.word for word in told.words), ", "))
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
    """How the hit was searched for: without a word to look for it is by meaning alone."""
    if hit.dense is None:
        return "keyword"
    return "dense" if hit.keyword is None else "hybrid"


@st.cache_resource(show_spinner=False, max_entries=64)
def _explained(
    place: Place,
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
    place: Place, generation: int, query: str, chunk: str, _index: Index, _found: Explanation
) -> DeletionTest:
    return _index.check_explanation(_found)


__all__ = ["MEANING", "called", "check_sentence", "compared", "explanation", "is_open", "shades",
           "show_explanation", "toggle"]  # fmt: skip
