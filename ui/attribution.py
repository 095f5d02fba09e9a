"""An explanation → HTML: words shaded by their attribution, shares, sums. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from retriever.explaining.compare import Difference, TermDifference
from retriever.explaining.score import DenseScore, Explanation, Term
from retriever.explaining.summary import TERM_NAMES, Summary
from retriever.interface.terminal.explanations import term_formula
from retriever.storage.records import KeywordScore
from ui.document_text import shade_colour
from ui.highlighting import count_text, escape_html

CSS = """<style>
[class*="st-key-actions-"] .stPopover { margin-top: -.35rem; }
.wva-summary.wva-summary { margin: 0 0 .5rem; line-height: 1.6; overflow-wrap: anywhere; }
.wva-summary b { font-weight: 650; }
.wva-summary .wva-missing { font-weight: 400; text-decoration: line-through; }
.wva-summary .wva-added { font-weight: 400; font-style: italic; }
.wva-why .wva-text { margin: 0; }
.wva-why mark { color: inherit; padding: 0 .1em; margin: 0 -.1em; border-radius: .2em;
  background: var(--weight, rgb(255 193 7 / .34));
  transition: background .12s; }
.wva-why mark.wva-off { background: none; }
.wva-strong { box-shadow: inset 0 -2px 0 rgb(176 120 0); }
.wva-minus { text-decoration: underline dotted; text-underline-offset: .18em; }
.wva-legend { font-size: .84rem; margin: .6rem 0 0; display: flex; flex-wrap: wrap;
  gap: .3rem .6rem; }
.wva-legend mark { color: inherit; padding: 0 .35em; border-radius: .2em;
  background: var(--weight); }
.wva-evidence { position: relative; }
.wva-lines { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible;
  pointer-events: none; }
.wva-lines path { fill: none; stroke: rgb(199 137 0); stroke-linecap: round; opacity: .8; }
.wva-words { display: flex; flex-wrap: wrap; gap: .35rem; }
.wva-words button { font: inherit; font-size: .92rem; line-height: 1.3; color: inherit;
  background: none; cursor: pointer; padding: .18rem .65rem; border-radius: 1rem;
  border: 1px solid color-mix(in srgb, currentColor 35%, transparent); }
.wva-words button:is(.wva-on, [aria-pressed="true"]) { background: rgb(255 193 7 / .3);
  border-color: rgb(199 137 0); }
.wva-words button[aria-pressed="true"] { font-weight: 650; }
.wva-words button:focus-visible { outline: 2px solid #4a86e8; outline-offset: 2px; }
.wva-met { font-size: .86rem; margin: .4rem 0 .7rem; min-height: 1.4em; opacity: .8;
  overflow-wrap: anywhere; }
.wva-title-line { font-size: .86rem; margin: 0 0 .5rem; opacity: .85; overflow-wrap: anywhere; }
.wva-rest { font-size: .9rem; margin: .5rem 0; }
.wva-rest summary { cursor: pointer; width: fit-content; opacity: .8; border-radius: .3rem; }
.wva-rest .wva-text { opacity: .8; margin: .4rem 0 0; }
.wva-sum { font-size: .9rem; overflow-x: auto; }
.wva-sum + .wva-sum { margin-top: 1rem; }
[class*="st-key-matrix-"] { overflow-x: auto; }
.wva-sum table { border-collapse: collapse; width: 100%; }
.wva-sum caption { text-align: start; font-weight: 600; padding: 0 0 .3rem; color: inherit; }
.wva-sum :is(td, th) { text-align: start; font-weight: 400; border: 0; vertical-align: top;
  padding: .22rem .9rem .22rem 0; overflow-wrap: anywhere; }
.wva-sum th { opacity: .8; font-size: .82rem; }
.wva-sum :is(td, th).wva-number { text-align: end; padding-right: 0; padding-left: .6rem;
  white-space: nowrap; font-variant-numeric: tabular-nums; }
.wva-sum tr.wva-total td { font-weight: 650;
  border-top: 1px solid color-mix(in srgb, currentColor 30%, transparent); }
.wva-sum small { opacity: .8; font-size: .82rem; font-variant-numeric: tabular-nums; }
.wva-sum .wva-wide { width: 42%; }
.wva-named.wva-named { font-size: .9rem; font-weight: 600; margin: .6rem 0 0; }
.wva-small.wva-small { font-size: .86rem; line-height: 1.5; margin: .4rem 0 0; opacity: .8; }
.wva-folded { font-size: .9rem; }
.wva-folded summary { cursor: pointer; width: fit-content; border-radius: .3rem; opacity: .8; }
.wva-bar { display: block; position: relative; height: .8rem; min-width: 5rem; margin-top: .25rem;
  background: linear-gradient(currentColor, currentColor) var(--zero) 0 / 1px 100% no-repeat; }
.wva-bar i { position: absolute; top: 0; bottom: 0; border-radius: 2px; }
.wva-bar .wva-for { background: rgb(240 173 0 / .85); }
.wva-bar .wva-against { background: rgb(66 133 244 / .85); }
.wva-bar .wva-whole { background: color-mix(in srgb, currentColor 45%, transparent); }
</style>"""

MIN_SHARE = 0.08
"""A word with less than this share of the strongest word's value is not shaded."""

_MAX_ADDED = 8
"""Words added by feedback that have a row of their own."""

_SHARES = {
    "word × word": "your words with its words",
    "word × prompt": "words with the sentence around the other text",
    "prompt × prompt": "the sentences around both texts",
    "marks": "punctuation and spaces",
    "constants": "fixed parts of the model",
    "remainder": "rounding",
}

SHARES_CAPTION = (
    "The model reads every text inside a fixed sentence, such as: This passage: “…” means in one "
    "word. So a part of the closeness comes from that sentence."
)

_ORDER = ("dense", "keyword", "dense feedback", "keyword feedback")


@dataclass(frozen=True, slots=True)
class ShadedWord:
    """A word's offsets, its attribution, and that divided by the largest absolute one."""

    start: int
    end: int
    value: float
    weight: float


def shaded_words(
    dense: DenseScore, evidence: int | None = None, *, in_title: bool = False
) -> list[ShadedWord]:
    """The passage's words to shade, for the whole query or for its word number `evidence`.

    They are those of its text, with offsets in it, or those of its title.
    """
    count = len(dense.passage_words)
    values = dense.by_passage_word if evidence is None else dense.matrix[evidence, :count]
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    return [
        ShadedWord(word.start, word.end, value, value / largest)
        for word, value in zip(dense.passage_words, values.tolist(), strict=True)
        if word.in_title == in_title and abs(value) >= MIN_SHARE * largest
    ]


def page_weights(found: Explanation) -> list[tuple[int, int, float]] | None:
    """The weights of a passage's words, with offsets in its page; None without a dense side."""
    if found.dense is None:
        return None
    at = found.chunk.start
    return [(at + word.start, at + word.end, word.weight) for word in shaded_words(found.dense)]


def legend(what: str = "the stronger, the more") -> str:
    """The legend of the shades: colour, and what tells them without it."""
    kinds = (("wva-strong", 1.0, "speaks for it"), ("wva-minus", -1.0, "speaks against it"))
    shown = "".join(
        f'<mark class="{kind}" style="--weight: {shade_colour(weight)}">{name}</mark>'
        for kind, weight, name in kinds
    )
    return f'<p class="wva-legend">{shown}<span>{escape_html(what)}</span></p>'


def summary_html(said: Summary, more: str = "") -> str:
    """A summary as a paragraph, its words marked by their kinds; `more` is put behind it."""
    parts = [
        f'<b class="wva-{part.kind}">{escape_html(part.text)}</b>'
        if part.kind
        else escape_html(part.text)
        for part in said.parts
    ]
    return f'<p class="wva-summary">{"".join(parts)} {escape_html(more)}</p>'


def folded(name: str, html: str) -> str:
    """Something to read on demand."""
    return f'<details class="wva-folded"><summary>{escape_html(name)}</summary>{html}</details>'


def shares_table(dense: DenseScore) -> str:
    """The shares of the cosine by kinds of pairs, as bars; they add up to it."""
    shares = {name: value for name, value in dense.shares.items() if abs(value) >= 0.00005}
    low, high = min(0.0, *shares.values()), max(0.0, *shares.values(), 1e-9)
    rows = [
        _cells(escape_html(_SHARES[name]), _bar(value, low, high), f"{value:+.4f}")
        for name, value in shares.items()
    ]
    total = _cells("closeness (cosine)", "", f"{dense.cosine:.4f}", total=True)
    return _table("Where the closeness of meaning comes from", [*rows, total], wide=True)


def _bar(value: float, low: float, high: float, start: float = 0.0, kind: str = "") -> str:
    """A value as a bar from `start`, on a scale from `low` to `high`."""
    width = high - low
    left, size = (min(start, start + value) - low) / width, abs(value) / width
    zero = f"{-100 * low / width:.2f}%"
    kind = kind or ("wva-for" if value > 0 else "wva-against")
    style = f"left:{100 * left:.2f}%;width:{100 * size:.2f}%"
    return (
        f'<span class="wva-bar" style="--zero:{zero}"><i class="{kind}" style="{style}"></i></span>'
    )


def sum_table(found: Explanation) -> str:
    """The terms of the score as a waterfall: each begins where the one before ends."""
    terms = sorted(found.terms, key=_place)
    ends = list(accumulate((term.value for term in terms), initial=0.0))
    low, high = min(ends), max(*ends, min(ends) + 1e-9)
    rows = [
        _cells(
            escape_html(_capital(TERM_NAMES.get(term.name, term.name))),
            _bar(term.value, low, high, start),
            f"{term.value:+.3f}",
        )
        for term, start in zip(terms, ends, strict=False)
    ]
    whole = _bar(found.score, low, high, kind="wva-whole")
    total = _cells("score", whole, f"{found.score:.3f}", total=True)
    return _table("How the score adds up", [*rows, total], wide=True)


def formula_table(found: Explanation) -> str:
    """The terms of the score, each with its formula."""
    rows = [
        _cells(
            escape_html(_capital(TERM_NAMES.get(term.name, term.name))),
            f"<small>{escape_html(term_formula(term) or 'reranked')}</small>",
            f"{term.value:+.3f}",
        )
        for term in sorted(found.terms, key=_place)
    ]
    return _table("How each part is computed", rows)


def _place(term: Term) -> int:
    """What the query itself found comes first."""
    return _ORDER.index(term.name) if term.name in _ORDER else len(_ORDER)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


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
    total = _cells("what the first passages added", "", f"{added:.3f}", total=True)
    return _table("Words that the first passages added to yours", [*rows, total])


def comparison_tables(told: Difference, first: str, second: str) -> str:
    """Two explanations side by side; `first` and `second` are the passages' names."""
    total = TermDifference("score", told.first.score, told.second.score)
    terms = [
        TermDifference(_capital(TERM_NAMES.get(row.name, row.name)), row.first, row.second)
        for row in told.terms
    ]
    tables = [_comparison_table("How the scores add up", terms, first, second, total)]
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
    first = f"<td>{name}</td><td>{what}</td>" if what else f'<td colspan="2">{name}</td>'
    return f'<tr{kind}>{first}<td class="wva-number">{number}</td></tr>'


def _table(name: str, rows: Sequence[str], head: str = "", *, wide: bool = False) -> str:
    """A table; with `wide` its second column has the room that bars need."""
    body = "".join(rows)
    columns = '<colgroup><col><col class="wva-wide"><col></colgroup>' if wide else ""
    return (
        f'<div class="wva-sum"><table><caption>{escape_html(name)}</caption>{columns}{head}'
        f"<tbody>{body}</tbody></table></div>"
    )


__all__ = [
    "CSS",
    "MIN_SHARE",
    "SHARES_CAPTION",
    "ShadedWord",
    "added_table",
    "comparison_tables",
    "folded",
    "formula_table",
    "keyword_table",
    "legend",
    "page_weights",
    "shaded_words",
    "shares_table",
    "sum_table",
    "summary_html",
]
