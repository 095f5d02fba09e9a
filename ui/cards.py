"""A hit → HTML: its passage, and the text around it, folded away. Pure functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from retriever.interface.terminal.reports import percent, shorten_list
from retriever.types import Chunk, Excerpt, Hit, PageState
from ui.highlighting import (
    HighlightTerms,
    context_html,
    escape_html,
    join_parts,
    passage_html,
    with_headings,
)

_SCORE_HELP = {
    "hybrid": (
        "How far this passage stands out from all passages, by meaning and by keywords added, in "
        "standard deviations. It orders the results; it is not a percentage."
    ),
    "dense": (
        "Closeness of meaning: the cosine of the question's and the passage's vectors, from -1 "
        "to 1. It orders the results; it is not a percentage."
    ),
    "keyword": (
        "How well the words match (BM25): rare words count more, and 0 means that none occurs. "
        "It orders the results; it is not a percentage."
    ),
}

_RAW = frozenset({"code", "csv", "json", "jsonl"})
"""Formats in which a number sign does not start a heading."""

_MATCH_HELP = (
    "So many of the questions on other subjects, asked for comparison, find nothing as good here. "
    "Below 95 % this may be chance."
)

_OCR_HELP = "Recognised in a picture of the page: some letters may be wrong."


def card_html(
    hit: Hit, query: str | HighlightTerms, mode: str, around: Sequence[Excerpt] = ()
) -> str:
    """A result as an article; `around` holds its text and the text around it, page by page."""
    chunk = hit.chunk
    return (
        f'<article class="wva-card" data-rank="{hit.rank}">'
        f"<header>{place_html(chunk)}{_score(hit, mode)}</header>"
        f'<p class="wva-text" dir="auto">'
        f"{_text_html(chunk, passage_html(hit.text, query, chunk.language))}</p>"
        f"{_also(hit)}{_surroundings(hit, query, around)}</article>"
    )


def _text_html(chunk: Chunk, shown: str) -> str:
    """Text as HTML; a number sign at a line's start makes a heading, except in `_RAW` formats."""
    return shown if chunk.format in _RAW else with_headings(shown)


def place_html(chunk: Chunk) -> str:
    """The source of a passage as HTML: file, page, folder, title."""
    folder, _, name = chunk.path.rpartition("/")
    page = f'<span class="wva-page">{escape_html(chunk.place)}</span>' if chunk.place else ""
    if chunk.state is PageState.OCR:
        page += f'<span class="wva-page" title="{_OCR_HELP}">OCR</span>'
    title = chunk.title.strip()
    where = join_parts(
        [
            f"<bdi>{escape_html(folder)}/</bdi>" if folder else "",
            f"<bdi>{escape_html(title)}</bdi>" if title and title != name else "",
        ],
        '<span aria-hidden="true"> · </span>',
    )
    below = f'<div class="wva-where">{where}</div>' if where else ""
    return (
        f'<div class="wva-place"><div class="wva-file"><bdi>{escape_html(name)}</bdi>{page}</div>'
        f"{below}</div>"
    )


def _also(hit: Hit) -> str:
    """The places of near-duplicates; empty without any."""
    if not hit.also:
        return ""
    return f'<p class="wva-where">Also in: <bdi>{escape_html(shorten_list(hit.also_in))}</bdi></p>'


def _score(hit: Hit, mode: str) -> str:
    """The score, in hybrid mode with the dense and the keyword score, and the match."""
    sides = join_parts(
        [
            "" if hit.dense is None else f"meaning {hit.dense:.2f}",
            "" if hit.keyword is None else f"keywords {hit.keyword:.1f}",
        ]
    )
    below = f'<div class="wva-sides">{sides}</div>' if mode == "hybrid" else ""
    if hit.match is not None:
        title = escape_html(_MATCH_HELP)
        below += f'<div class="wva-sides" title="{title}">match {percent(hit.match)}</div>'
    return (
        f'<div class="wva-score" title="{escape_html(_SCORE_HELP[mode])}">'
        f'<span class="wva-label">score</span> {hit.score:.2f}{below}</div>'
    )


def _surroundings(hit: Hit, query: str | HighlightTerms, around: Sequence[Excerpt]) -> str:
    """The text around the passages, which are highlighted in it, folded away; empty without any."""
    if sum(len(excerpt.text.strip()) for excerpt in around) <= len(hit.text.strip()):
        return ""
    found: dict[tuple[int | None, str], list[tuple[int, int]]] = defaultdict(list)
    for part in hit.parts or (hit.chunk,):
        found[part.page, part.label].append((part.start, part.end))
    pieces = []
    for excerpt in around:
        start, place = excerpt.start, (excerpt.page, excerpt.label)
        inside = [
            (low - start, high - start)
            for low, high in found[place]
            if start <= low and high <= excerpt.end
        ]
        if len({(one.page, one.label) for one in around}) > 1:
            name = excerpt.label or f"page {excerpt.page}"
            pieces.append(f'<div class="wva-where">{escape_html(name)}</div>')
        shown = context_html(excerpt.text, inside, query, hit.chunk.language)
        pieces.append(_text_html(hit.chunk, shown))
    return (
        '<details class="wva-more"><summary>Show more around it</summary>'
        f'<div class="wva-context" dir="auto">{"".join(pieces)}</div></details>'
    )


__all__ = ["card_html", "place_html"]
