"""A passage with its words shaded, and what each word of the question met in it.

The HTML is made by pure functions. Pointing at a word of the question, or choosing it by keyboard,
is answered in the browser (`scripts/evidence.js`): nothing is computed anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from retriever.explaining.score import DenseScore, Explanation
from retriever.text.display import without_marks
from retriever.types import Chunk, Excerpt, Hit
from ui.attribution import MIN_SHARE, ShadedWord, legend, shaded_words
from ui.document_text import shade_colour
from ui.highlighting import (
    HighlightTerms,
    escape_html,
    replace_unprintable,
    unwrap_lines,
    word_spans,
)

_SCRIPT = Path(__file__).with_name("scripts") / "evidence.js"

_HTML = (
    '<div class="wva-evidence"><div class="wva-shown"></div>'
    '<svg class="wva-lines" aria-hidden="true"></svg></div>'
)

STRONG = 0.5
"""A word with at least this weight is underlined, so that it can be told without its colour."""

RAW = frozenset({"code", "csv", "json", "jsonl"})
"""Formats in which a number sign does not start a heading, and brackets are no link."""

_TOLD = 6  # words that a chosen word of the question met, by name
_SAID = "Point at a word of yours, or choose it, to see what it met."
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(\S.*)$", re.MULTILINE)
Mark = tuple[int, int, str]
"""A place in a text, and the attributes of the `<mark>` around it."""


def show_evidence(found: Explanation, hit: Hit) -> None:
    """Show the passage; with a dense side, with the words of the question to point at."""
    html = evidence_html(found, hit)
    met = [] if found.dense is None else evidence_data(found.dense)
    _component()(key=f"evidence-{found.chunk.id}", data={"html": html, "met": met})


def _component() -> Callable[..., object]:
    # Registered in each run: a server's registry may be newer than this module.
    return st.components.v2.component(
        "wva_evidence", html=_HTML, js=_SCRIPT.read_text("utf-8"), isolate_styles=False
    )


def evidence_html(found: Explanation, hit: Hit) -> str:
    """The words of the question, the shaded passage in the text of its result, and a legend."""
    chunk, dense = found.chunk, found.dense
    before, after = surroundings(hit, chunk)
    around = [_rest("Text of this result before it", before, chunk)]
    if dense is None:
        words = () if found.keyword is None else found.keyword.words
        met = frozenset(term for word in words for term in word.terms)  # corrections, too
        spans = word_spans(chunk.text, HighlightTerms(found.query, met), chunk.language)
        body = marked_text(chunk, chunk.text, [(start, end, "") for start, end in spans])
        shown = _passage("", body)
    else:
        marks = {title: _marks(dense, in_title=title) for title in (False, True)}
        title = marked_text(chunk, chunk.title, marks[True]) if marks[True] else ""
        shown = _passage(title, marked_text(chunk, chunk.text, marks[False]))
    around += [shown, _rest("Text of this result after it", after, chunk)]
    if dense is None:
        return "".join(around)
    return _buttons(dense) + "".join(around) + legend()


def evidence_data(dense: DenseScore) -> list[dict[str, Any]]:
    """For each word of the question: the words it met with their shades, and a sentence."""
    told = []
    for number, word in enumerate(dense.query_words):
        shades = _weights(dense, number)
        best = sorted((at for at in shades if shades[at] > 0), key=lambda at: -shades[at])
        names = {_name(dense, at).casefold(): _name(dense, at) for at in reversed(best)}
        met = ", ".join(list(reversed(names.values()))[:_TOLD]) or "nothing in particular"
        told.append(
            {
                "shades": [[at, shade_colour(w), round(w, 3)] for at, w in shades.items()],
                "said": f"{replace_unprintable(word.word)} met: {met}",
            }
        )
    return told


def _weights(dense: DenseScore, number: int) -> dict[int, float]:
    """The passage's words that a word of the question met → their weights, the largest being 1."""
    row = dense.matrix[number, : len(dense.passage_words)]
    largest = float(np.abs(row).max(initial=0.0)) or 1.0
    weights = enumerate((row / largest).tolist())
    return {at: weight for at, weight in weights if abs(weight) >= MIN_SHARE}


def _name(dense: DenseScore, at: int) -> str:
    word = dense.passage_words[at]
    return replace_unprintable(word.word) + (" (in the title)" if word.in_title else "")


def _buttons(dense: DenseScore) -> str:
    buttons = "".join(
        f'<button type="button" data-word="{at}" aria-pressed="false">'
        f"{escape_html(word.word)}</button>"
        for at, word in enumerate(dense.query_words)
    )
    return (
        f'<div class="wva-words" role="group" aria-label="Words of the question">{buttons}</div>'
        f'<p class="wva-met" role="status" data-said="{_SAID}">{_SAID}</p>'
    )


def _marks(dense: DenseScore, *, in_title: bool) -> list[Mark]:
    """The words that are shaded for the question or for one of its words, with what they weigh."""
    whole = {(word.start, word.end): word.weight for word in shaded_words(dense, in_title=in_title)}
    met = {at for number in range(len(dense.query_words)) for at in _weights(dense, number)}
    return [
        (word.start, word.end, f' data-at="{at}"{_shade(whole.get((word.start, word.end), 0.0))}')
        for at, word in enumerate(dense.passage_words)
        if word.in_title == in_title and (at in met or (word.start, word.end) in whole)
    ]


def _shade(weight: float) -> str:
    """The attributes of a mark that is shaded by its weight."""
    if not weight:
        return ' class="wva-off"'
    kind = "wva-minus" if weight < 0 else "wva-strong" if weight >= STRONG else ""
    colour = shade_colour(weight)
    return (
        f' class="{kind}" style="--weight: {colour}" data-colour="{colour}"'
        f' data-weight="{weight:.3f}"'
    )


def shaded_passage(chunk: Chunk, words: Sequence[ShadedWord]) -> str:
    """The passage with these words shaded."""
    marks = [(word.start, word.end, _shade(word.weight)) for word in words]
    return _passage("", marked_text(chunk, chunk.text, marks))


def _passage(title: str, body: str) -> str:
    above = f'<p class="wva-title-line">Read with its title: {title}</p>' if title else ""
    return f'<div class="wva-why">{above}<p class="wva-text" dir="auto">{body}</p></div>'


def _rest(name: str, text: str, chunk: Chunk) -> str:
    if not text.strip():
        return ""
    body = marked_text(chunk, text.strip(), ())
    return (
        f'<details class="wva-rest"><summary>{name}</summary>'
        f'<p class="wva-text" dir="auto">{body}</p></details>'
    )


def surroundings(hit: Hit, chunk: Chunk) -> tuple[str, str]:
    """The text of a result before and after one of its passages; empty for a single passage."""
    at = next((at for at, part in enumerate(hit.passage) if _contains(part, chunk)), None)
    if at is None:
        return "", ""
    part = hit.passage[at]
    before = [one.text for one in hit.passage[:at]] + [part.text[: chunk.start - part.start]]
    after = [part.text[chunk.end - part.start :]] + [one.text for one in hit.passage[at + 1 :]]
    return "\n".join(before), "\n".join(after)


def _contains(part: Excerpt, chunk: Chunk) -> bool:
    same = (part.page, part.label) == (chunk.page, chunk.label)
    return same and part.start <= chunk.start and chunk.end <= part.end


def marked_text(chunk: Chunk, text: str, marks: Iterable[Mark]) -> str:
    """A text of the passage as HTML: marks, bold headings, and links without their targets.

    Places in `text` stay what they are; what is left out is left out in the HTML only.
    """
    shown = unwrap_lines(text)
    markup = chunk.format not in RAW
    headings = [match.span(1) for match in _HEADING.finditer(text)] if markup else []
    hidden = without_marks(text).hidden if markup else []
    by_start = {start: (end, attributes) for start, end, attributes in marks}
    spans = [
        *((span.start, span.end) for span in hidden),
        *headings,
        *((start, end) for start, (end, _) in by_start.items()),
    ]
    cuts = sorted({0, len(text), *(at for span in spans for at in span)})
    parts = []
    for start, end in pairwise(cuts):
        if any(span.start <= start < span.end for span in hidden):
            continue
        piece = escape_html(shown[start:end])
        at = next((at for at, (past, _) in by_start.items() if at <= start < past), None)
        if at is not None:
            piece = f"<mark{by_start[at][1]}>{piece}</mark>"
        if any(low <= start < high for low, high in headings):
            piece = f"<strong>{piece}</strong>"
        parts.append(piece)
    return "".join(parts)


__all__ = [
    "RAW",
    "STRONG",
    "evidence_data",
    "evidence_html",
    "marked_text",
    "shaded_passage",
    "show_evidence",
    "surroundings",
]
