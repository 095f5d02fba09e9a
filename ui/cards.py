"""Hits → HTML: a card for each document, with snippets of its best passages. Pure functions."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from retriever.interface.export import citation
from retriever.interface.terminal.results import percent, shorten_list
from retriever.text.display import on_one_line
from retriever.types import Chunk, DocumentRow, Hit, PageState, Strength
from ui.highlighting import (
    HighlightTerms,
    count_text,
    escape_html,
    join_parts,
    marked_passage_html,
    passage_html,
    snippet_html,
    with_headings,
)

SHOWN = 2
"""Passages of a document that are shown at once; the others are folded away."""

_FILLED = 8
"""Passages shown at once of all documents together, where these are few."""

_SCORE_HELP = {
    "hybrid": "score by meaning and by words, in standard deviations above the mean passage",
    "dense": "score: the cosine of the question's and the passage's vectors",
    "keyword": "score of the words (BM25)",
}

_DOTS = {Strength.EXACT: 3, Strength.STRONG: 3, Strength.LIKELY: 2, Strength.WEAK: 1}

_RAW = frozenset({"code", "csv", "json", "jsonl"})
"""Formats in which a number sign does not start a heading."""

_OCR_HELP = "Recognised in a picture of the page: some letters may be wrong."

_WAITING_HELP = (
    "Found by its words. Its meaning is not compared yet: it still waits for its vector."
)

_COPY = (
    '<svg width="13" height="13" viewBox="0 0 16 16" fill="none" stroke="currentColor" '
    'stroke-width="1.5" aria-hidden="true"><rect x="5.5" y="5.5" width="8" height="9" rx="1.5"/>'
    '<path d="M10.5 3.5v-1a1 1 0 0 0-1-1h-6a1 1 0 0 0-1 1v8a1 1 0 0 0 1 1h1"/></svg>'
)

_TOOLS = (
    ("why", "Why", "?", "Why this passage"),
    ("more", "More like this", "+", "More like this passage"),
    ("less", "Less like this", "−", "Less like this passage"),
    ("copy", "Copy with its source", _COPY, "Copy this passage with its source"),
)
"""Act, tooltip, sign and name of the buttons of a passage."""


@dataclass(frozen=True, slots=True)
class ListView:
    """How a list of results is shown.

    - `words`: the words to mark.
    - `mode`: the mode of the search; `steerable`: whether "more like this" can be asked for.
    - `by_document`: a card for each document, or for each passage.
    - `best`: whether the first result's best sentence stands above its passages.
    - `documents`: the hits' documents by id, for citations.
    - `names`: the collection of a passage's id, if several were searched.
    - `unfolded`: the ids of the first passages of the cards that show all their passages.
    """

    words: HighlightTerms
    mode: str = "hybrid"
    steerable: bool = True
    by_document: bool = True
    best: bool = False
    documents: Mapping[str, DocumentRow] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    unfolded: frozenset[str] = frozenset()


def list_html(hits: Sequence[Hit], view: ListView) -> str:
    """The results as a list of cards."""
    groups = group_by_document(hits, view.names) if view.by_document else [[hit] for hit in hits]
    shown = shown_at_once(len(groups))
    cards = "".join(
        f"<li>{card_html(group, view, number, shown)}</li>"
        for number, group in enumerate(groups, 1)
    )
    return f'<ol class="wva-list">{cards}</ol>'


def shown_at_once(groups: int) -> int:
    """How many passages each of so many cards shows before it is unfolded.

    >>> shown_at_once(1), shown_at_once(2), shown_at_once(9)
    (8, 4, 2)
    """
    return max(SHOWN, _FILLED // max(1, groups))


def seen_at_once(group: Sequence[Hit], shown: int, unfolded: Container[str]) -> Sequence[Hit]:
    """The passages of a card that are shown: the first `shown`, or all of an unfolded one."""
    return group if group[0].chunk.id in unfolded else group[:shown]


def group_by_document(
    hits: Sequence[Hit], names: Mapping[str, str] | None = None
) -> list[list[Hit]]:
    """The hits of each document, in order; documents in the order of their best hit.

    `names` has the collection of a passage's id: each has its own documents.

    >>> one, two = (Chunk(n, n, n, "txt", "", None, 0, 1, "x") for n in "ab")
    >>> groups = group_by_document([Hit(1, 3.0, one), Hit(2, 2.0, two), Hit(3, 1.0, one)])
    >>> [[hit.rank for hit in group] for group in groups]
    [[1, 3], [2]]
    """
    groups: dict[tuple[str, str], list[Hit]] = {}
    for hit in hits:
        home = (names or {}).get(hit.chunk.id, "")
        groups.setdefault((home, hit.chunk.document_id), []).append(hit)
    return list(groups.values())


def card_html(group: Sequence[Hit], view: ListView, number: int = 1, shown: int = SHOWN) -> str:
    """A document's card: its head, and its first `shown` passages, or all if it is unfolded."""
    first, folded = group[0], group[shown:]
    seen = seen_at_once(group, shown, view.unfolded)
    passages = "".join(_passage_html(hit, view, best=view.best and hit.rank == 1) for hit in seen)
    more = ""
    if folded:
        label = f"{count_text(len(folded), 'more passage')} in this document"
        is_open = str(len(seen) > shown).lower()
        more = (
            '<button type="button" class="wva-others" data-act="others" '
            f'data-card="{escape_html(first.chunk.id)}" aria-expanded="{is_open}">{label}</button>'
        )
    name = f"wva-card-{number}"
    return (
        f'<article class="wva-card" data-rank="{first.rank}" aria-labelledby="{name}">'
        f"<header>{_head_html(first.chunk, name, view.names.get(first.chunk.id, ''))}"
        f"{_strength_html(first, view.mode)}</header>"
        f"{passages}{more}</article>"
    )


def place_html(chunk: Chunk) -> str:
    """The source of a passage as HTML: file, page, folder, title."""
    page = f'<span class="wva-page">{escape_html(chunk.place)}</span>' if chunk.place else ""
    below = _where_html(chunk)
    return (
        f'<div class="wva-place"><div class="wva-file"><bdi>{escape_html(_name(chunk))}</bdi>'
        f"{page}{_ocr_html(chunk)}</div>{below}</div>"
    )


def numbers_text(hit: Hit, mode: str) -> str:
    """All numbers of a hit in a line.

    >>> chunk = Chunk("", "", "a.txt", "txt", "", None, 0, 1, "x")
    >>> numbers_text(Hit(1, 2.5, chunk, dense=0.25, keyword=1.75, match=0.99), "hybrid")
    'score 2.50 · meaning 0.25 · keywords 1.8 · match 99 %'
    >>> numbers_text(Hit(1, 2.5, chunk, dense=0.25, keyword=1.75, embedded=False), "hybrid")
    'score 2.50 · meaning not known yet · keywords 1.8'
    """
    meaning = f"meaning {hit.dense or 0:.2f}" if hit.embedded else "meaning not known yet"
    return join_parts(
        [
            f"score {hit.score:.2f}",
            "" if hit.dense is None or mode == "dense" else meaning,
            "" if hit.keyword is None or mode == "keyword" else f"keywords {hit.keyword:.1f}",
            "" if hit.match is None else f"match {percent(hit.match)}",
        ]
    )


def citation_text(hit: Hit, row: DocumentRow | None = None) -> str:
    """What is copied of a passage: its best sentence or its text, and its source."""
    text = on_one_line(hit.sentence.text if hit.sentence else hit.chunk.text).text
    return f"“{text}”\n{citation(hit, row)}"


def _head_html(chunk: Chunk, name: str, collection: str) -> str:
    home = f'<span class="wva-page"><bdi>{escape_html(collection)}</bdi></span>'
    return (
        f'<div class="wva-place"><h3 class="wva-file" id="{name}" '
        f'title="{escape_html(chunk.path)}">'
        f"<bdi>{escape_html(_name(chunk))}</bdi></h3>{home if collection else ''}"
        f"{_where_html(chunk)}</div>"
    )


def _name(chunk: Chunk) -> str:
    return chunk.path.rpartition("/")[2]


def _where_html(chunk: Chunk) -> str:
    """The folder and the title of a document; empty without either."""
    folder, title = chunk.path.rpartition("/")[0], chunk.title.strip()
    where = join_parts(
        [
            f"<bdi>{escape_html(folder)}/</bdi>" if folder else "",
            f"<bdi>{escape_html(title)}</bdi>" if title and title != _name(chunk) else "",
        ],
        '<span aria-hidden="true"> · </span>',
    )
    return f'<div class="wva-where">{where}</div>' if where else ""


def _ocr_html(chunk: Chunk) -> str:
    if chunk.state is not PageState.OCR:
        return ""
    return f'<span class="wva-page" title="{_OCR_HELP}">OCR</span>'


def _waiting_html(hit: Hit) -> str:
    """A mark at a passage without a vector."""
    if hit.embedded:
        return ""
    return f'<span class="wva-page" title="{_WAITING_HELP}">words</span>'


def _strength_html(hit: Hit, mode: str) -> str:
    """One word for how good the match is, with dots; its tooltip has all numbers."""
    numbers = f"{numbers_text(hit, mode)}: {_SCORE_HELP[mode]}"
    if hit.strength is None:
        return f'<div class="wva-strength" title="{escape_html(numbers)}"></div>'
    dots = "●" * _DOTS[hit.strength] + "○" * (3 - _DOTS[hit.strength])
    return (
        f'<div class="wva-strength" data-strength="{hit.strength.name.lower()}" '
        f'title="{escape_html(numbers)}"><span aria-hidden="true">{dots}</span> '
        f"{hit.strength}</div>"
    )


def _passage_html(hit: Hit, view: ListView, *, best: bool) -> str:
    """A passage: where it is, its snippet, its buttons, and its whole text, folded away.

    Of the `best` one the whole sentence is shown instead, in a box.
    """
    chunk, at = hit.chunk, sentence_place(hit)
    name = escape_html(f"Open {at or 'the passage'} of {_name(chunk)}, result {hit.rank}")
    place = escape_html(at or "open")
    row = view.documents.get(chunk.document_id)
    tools = "".join(
        f'<button type="button" data-act="{act}" title="{tip}" '
        f'aria-label="{called}, result {hit.rank}">{sign}</button>'
        for act, tip, sign, called in _TOOLS
        if view.steerable or act not in ("more", "less")
    )
    short = _best_html(hit, view.words) if best else snippet_html(hit, view.words)
    whole, kind = _whole_html(hit, view), "wva-hit wva-best" if best else "wva-hit"
    longer = (
        '<button type="button" class="wva-longer" data-act="longer" aria-expanded="false" '
        f'aria-label="The whole passage, result {hit.rank}">more</button>'
    )
    return (
        f'<div class="{kind}" data-id="{escape_html(chunk.id)}" data-rank="{hit.rank}" '
        f'role="group" tabindex="-1" aria-label="Result {hit.rank}" '
        f'data-cite="{escape_html(citation_text(hit, row))}">'
        f'<a class="wva-open" data-act="open" href="#" aria-label="{name}">{place}</a>'
        f"{_ocr_html(chunk)}{_waiting_html(hit)}"
        f'<p class="wva-text" dir="auto">{short}</p>'
        f'<div class="wva-whole" dir="auto" hidden>{whole}</div>'
        f'<div class="wva-tools">{longer}{tools}</div>{_also_html(hit)}</div>'
    )


def _whole_html(hit: Hit, view: ListView) -> str:
    """The text of the whole result, with its best passage highlighted if it has several."""
    shown = (
        marked_passage_html(hit, view.words)
        if hit.parts
        else passage_html(hit.text, view.words, hit.chunk.language)
    )
    return shown if hit.chunk.format in _RAW else with_headings(shown)


def _also_html(hit: Hit) -> str:
    """The places of near-duplicates; empty without any."""
    if not hit.also:
        return ""
    return f'<p class="wva-where">Also in: <bdi>{escape_html(shorten_list(hit.also_in))}</bdi></p>'


def _best_html(hit: Hit, words: HighlightTerms) -> str:
    """The whole best sentence of a hit; its snippet without one."""
    if hit.sentence is None:
        return snippet_html(hit, words)
    return passage_html(on_one_line(hit.sentence.text).text, words, hit.chunk.language)


def sentence_place(hit: Hit) -> str:
    """The place of a hit's best sentence, or else of its best passage.

    >>> from retriever.types import Excerpt
    >>> first, last = (Chunk(f"{n}", "", "a.pdf", "pdf", "", n, 0, 4, "Tea.") for n in (1, 2))
    >>> hit = Hit(1, 1.0, first, parts=(first, last), sentence=Excerpt(2, "", 0, 4, "Tea."))
    >>> sentence_place(hit)
    'page 2'
    """
    best = hit.sentence
    if best is not None:
        for chunk in (hit.chunk, *hit.parts):
            if (chunk.page, chunk.label) == (best.page, best.label):
                return chunk.place
    return hit.chunk.place


__all__ = [
    "SHOWN",
    "ListView",
    "card_html",
    "citation_text",
    "group_by_document",
    "list_html",
    "numbers_text",
    "place_html",
    "seen_at_once",
    "sentence_place",
    "shown_at_once",
]
