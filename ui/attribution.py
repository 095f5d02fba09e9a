"""An explanation → HTML: words shaded by their attribution, shares, sums. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retriever.explaining.compare import Difference, TermDifference
from retriever.explaining.score import DenseScore, Explanation
from retriever.interface.terminal.explanations import term_formula
from retriever.storage.records import KeywordScore
from retriever.types import Chunk
from ui.document_text import shade_colour
from ui.highlighting import count_text, escape_html, unwrap_lines

CSS = """<style>
[class*="st-key-actions-"] .stPopover { margin-top: -.35rem; }
.wva-why .wva-text { margin: 0; }
.wva-why mark { color: inherit; padding: 0 .1em; border-radius: .2em; background: var(--weight); }
.wva-legend { font-size: .84rem; opacity: .85; margin: .35rem 0 0; }
.wva-legend mark { color: inherit; padding: 0 .35em; border-radius: .2em;
  background: var(--weight); }
.wva-sum { font-size: .9rem; overflow-x: auto; }
.wva-sum + .wva-sum { margin-top: 1rem; }
[class*="st-key-matrix-"] { overflow-x: auto; }
.wva-sum table { border-collapse: collapse; width: 100%; }
.wva-sum caption { text-align: start; font-weight: 600; padding: 0 0 .3rem; color: inherit; }
.wva-sum :is(td, th) { text-align: start; font-weight: 400; border: 0; vertical-align: top;
  padding: .22rem .9rem .22rem 0; overflow-wrap: anywhere; }
.wva-sum th { opacity: .68; font-size: .82rem; }
.wva-sum :is(td, th).wva-number { text-align: end; padding-right: 0; padding-left: .6rem;
  white-space: nowrap; font-variant-numeric: tabular-nums; }
.wva-sum tr.wva-total td { font-weight: 650;
  border-top: 1px solid color-mix(in srgb, currentColor 30%, transparent); }
.wva-sum small { opacity: .72; font-size: .82rem; font-variant-numeric: tabular-nums; }
.wva-bar { display: block; position: relative; height: .8rem; min-width: 5rem; margin-top: .25rem;
  background: linear-gradient(currentColor, currentColor) var(--zero) 0 / 1px 100% no-repeat; }
.wva-bar i { position: absolute; top: 0; bottom: 0; border-radius: 2px; }
.wva-bar .wva-for { background: rgb(240 173 0 / .85); }
.wva-bar .wva-against { background: rgb(66 133 244 / .85); }
</style>"""

MIN_SHARE = 0.08
"""A word with less than this share of the strongest word's value is not shaded."""

NAMES = {
    "dense": "meaning",
    "keyword": "keywords",
    "dense feedback": "meaning, feedback",
    "keyword feedback": "keywords, feedback",
    "contents": "table of contents",
    "rerank": "reranking",
}
"""The names of a score's terms on the page."""

_MAX_ADDED = 8
"""Words added by feedback that have a row of their own."""

_SHARES = {
    "word × word": "your words with its words",
    "word × prompt": "words with the prompt",
    "prompt × prompt": "prompt with prompt",
    "marks": "punctuation",
    "constants": "constants",
    "remainder": "remainder (rounding)",
}


@dataclass(frozen=True, slots=True)
class ShadedWord:
    """A word's offsets, its attribution, and that divided by the largest absolute one."""

    start: int
    end: int
    value: float
    weight: float


def shaded_words(dense: DenseScore, evidence: int | None = None) -> list[ShadedWord]:
    """The passage's words to shade, for the whole query or for its word number `evidence`.

    Offsets are in the passage's text; words of the title are left out.
    """
    count = len(dense.passage_words)
    values = dense.by_passage_word if evidence is None else dense.matrix[evidence, :count]
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    return [
        ShadedWord(word.start, word.end, value, value / largest)
        for word, value in zip(dense.passage_words, values.tolist(), strict=True)
        if not word.in_title and abs(value) >= MIN_SHARE * largest
    ]


def page_weights(found: Explanation) -> list[tuple[int, int, float]] | None:
    """The weights of a passage's words, with offsets in its page; None without a dense side."""
    if found.dense is None:
        return None
    at = found.chunk.start
    return [(at + word.start, at + word.end, word.weight) for word in shaded_words(found.dense)]


def shaded_passage(chunk: Chunk, words: Sequence[ShadedWord]) -> str:
    """The passage with these words shaded; each has its value as a tooltip."""
    text = unwrap_lines(chunk.text)
    parts, at = [], 0
    for word in sorted(words, key=lambda word: word.start):
        shown = escape_html(text[word.start : word.end])
        style = f"--weight: {shade_colour(word.weight)}"
        parts += [
            escape_html(text[at : word.start]),
            f'<mark style="{style}" title="{word.value:+.4f}">{shown}</mark>',
        ]
        at = word.end
    body = "".join([*parts, escape_html(text[at:])])
    return f'<div class="wva-why"><p class="wva-text" dir="auto">{body}</p></div>'


def legend(what: str = "the stronger, the more") -> str:
    """The legend of the shades' colours."""
    kinds = ((1.0, "speaks for it"), (-1.0, "speaks against"))
    shown = " ".join(
        f'<mark style="--weight: {shade_colour(weight)}">{name}</mark>' for weight, name in kinds
    )
    return f'<p class="wva-legend">{shown} {escape_html(what)}</p>'


def shares_table(dense: DenseScore) -> str:
    """The shares of the cosine by kinds of pairs, as bars; they add up to it."""
    shares = {name: value for name, value in dense.shares.items() if abs(value) >= 0.00005}
    low, high = min(0.0, *shares.values()), max(0.0, *shares.values(), 1e-9)
    rows = [
        _cells(escape_html(_SHARES[name]), _bar(value, low, high), f"{value:+.4f}")
        for name, value in shares.items()
    ]
    total = _cells("cosine", "", f"{dense.cosine:.4f}", total=True)
    return _table("Where the closeness of meaning comes from", [*rows, total])


def _bar(value: float, low: float, high: float) -> str:
    """A value as a bar from zero, on a scale from `low` to `high`."""
    width = high - low
    left, size = (min(0.0, value) - low) / width, abs(value) / width
    zero = f"{-100 * low / width:.2f}%"
    kind = "wva-for" if value > 0 else "wva-against"
    style = f"left:{100 * left:.2f}%;width:{100 * size:.2f}%"
    return (
        f'<span class="wva-bar" style="--zero:{zero}"><i class="{kind}" style="{style}"></i></span>'
    )


def sum_table(found: Explanation) -> str:
    """The terms of the score, each with its formula, and their sum."""
    rows = [
        _cells(
            escape_html(NAMES.get(term.name, term.name)),
            f"<small>{escape_html(term_formula(term) or 'reranked')}</small>",
            f"{term.value:+.3f}",
        )
        for term in found.terms
    ]
    total = _cells("score", "", f"{found.score:.3f}", total=True)
    return _table("The terms of the score", [*rows, total])


def keyword_table(keyword: KeywordScore) -> str:
    """BM25 word by word; empty if no word of the query was searched for."""
    if not keyword.words:
        return ""
    rows = []
    for word in keyword.shown:
        times = count_text(word.times, "time") if word.times else "not here"
        passages = count_text(word.documents, "passage")
        of_all = f"{passages} of {keyword.passages:,}"
        said = f"{times}, in {of_all}, weight {word.idf:.2f}{word.factor}"
        rows.append(
            _cells(
                escape_html(word.label), f"<small>{escape_html(said)}</small>", f"{word.score:+.3f}"
            )
        )
    total = _cells("keywords (BM25)", "", f"{keyword.score:.3f}", total=True)
    return _table("The keywords, word by word; in the title they count twice", [*rows, total])


def added_table(keyword: KeywordScore) -> str:
    """The words added by feedback with their scores; empty if none occurs in the passage."""
    if not keyword.added:
        return ""
    shown, rest = keyword.added[:_MAX_ADDED], keyword.added[_MAX_ADDED:]
    rows = [
        _cells(
            escape_html(word.word),
            f"<small>{escape_html(count_text(word.times, 'time'))}, "
            f"in {escape_html(count_text(word.documents, 'passage'))}</small>",
            f"{word.score:+.3f}",
        )
        for word in shown
    ]
    if rest:
        names = ", ".join(word.word for word in rest)
        few = sum(word.score for word in rest)
        rows.append(
            _cells(f"{len(rest)} more", f"<small>{escape_html(names)}</small>", f"{few:+.3f}")
        )
    added = sum(word.score for word in keyword.added)
    total = _cells("what the first passages add", "", f"{added:.3f}", total=True)
    return _table("Words that the first passages added to yours", [*rows, total])


def comparison_tables(told: Difference, first: str, second: str) -> str:
    """Two explanations side by side; `first` and `second` are the passages' names."""
    total = TermDifference("score", told.first.score, told.second.score)
    terms = [
        TermDifference(NAMES.get(row.name, row.name), row.first, row.second) for row in told.terms
    ]
    tables = [_comparison_table("The terms of the score", terms, first, second, total)]
    if told.words:
        tables.append(_comparison_table("Your words, by meaning", told.words, first, second))
    if told.keywords:
        tables.append(_comparison_table("Your words, as keywords", told.keywords, first, second))
    return "".join(tables)


def _comparison_table(
    name: str,
    rows: Sequence[TermDifference],
    first: str,
    second: str,
    total: TermDifference | None = None,
) -> str:
    cells = [_row(row) for row in rows]
    if total is not None:
        cells.append(_row(total, total=True))
    head = "".join(
        f'<th class="wva-number">{escape_html(one)}</th>' for one in (first, second, "difference")
    )
    return _table(name, cells, f"<tr><th></th>{head}</tr>")


def _row(row: TermDifference, *, total: bool = False) -> str:
    numbers = f"{row.first:.3f}", f"{row.second:.3f}", f"{row.difference:+.3f}"
    cells = "".join(f'<td class="wva-number">{number}</td>' for number in numbers)
    kind = ' class="wva-total"' if total else ""
    return f"<tr{kind}><td>{escape_html(row.name)}</td>{cells}</tr>"


def _cells(name: str, what: str, number: str, *, total: bool = False) -> str:
    kind = ' class="wva-total"' if total else ""
    return f'<tr{kind}><td>{name}</td><td>{what}</td><td class="wva-number">{number}</td></tr>'


def _table(name: str, rows: Sequence[str], head: str = "") -> str:
    body = "".join(rows)
    return (
        f'<div class="wva-sum"><table><caption>{escape_html(name)}</caption>{head}'
        f"<tbody>{body}</tbody></table></div>"
    )


__all__ = [
    "CSS",
    "NAMES",
    "ShadedWord",
    "added_table",
    "comparison_tables",
    "keyword_table",
    "legend",
    "page_weights",
    "shaded_passage",
    "shaded_words",
    "shares_table",
    "sum_table",
]
