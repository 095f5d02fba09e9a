"""A page's stored text → HTML with marked passages and shaded words. Pure functions.

Headings, tables, code and paragraphs are formatted. All other markup in a document is shown as
text; of Markdown the targets of links and the marks of bold words are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from retriever.text.display import without_marks
from retriever.text.structure import Line, read_lines, trim
from retriever.types import Page, Span
from ui.highlighting import escape_html, unwrap_lines

Weights = Sequence[tuple[int, int, float]]
"""Words of a page's text: start, end, and a weight from -1 (against) to 1 (for)."""

MAX_CHARACTERS = 12_000
"""Characters shown at once; a longer page is shown in parts."""

_HASHES = re.compile(r"[ \t]{0,3}#{1,6}[ \t]+")
_CELL = re.compile(r"(?:\\.|[^|\t\\])+")
_FENCE = re.compile(r"\s*(?:`{3,}|~{3,})")


@dataclass(frozen=True, slots=True)
class Leaf:
    """The part of a page that is shown at once, `text[start:end]`, and its name.

    `page` is the page's position among the document's, from 0.
    """

    page: int
    start: int
    end: int
    name: str


def leaves(pages: Sequence[Page], whole: Iterable[int] = ()) -> list[Leaf]:
    """The leaves of a document; pages at the positions in `whole` are not cut.

    >>> [leaf.name for leaf in leaves([Page(1, "a"), Page(2, "b"), Page(None, "c", label="d.txt")])]
    ['page 1', 'page 2', 'd.txt']
    """
    uncut = frozenset(whole)
    made: list[Leaf] = []
    for position, page in enumerate(pages):
        place = page.label or ("" if page.number is None else f"page {page.number}")
        edges = [0, len(page.text)] if position in uncut else _cuts(page.text)
        for number, (start, end) in enumerate(pairwise(edges), 1):
            part = f"part {number} of {len(edges) - 1}" if len(edges) > 2 else ""
            made.append(Leaf(position, start, end, ", ".join(filter(None, [place, part]))))
    return made


def leaf_at(made: Sequence[Leaf], page: int, offset: int) -> int:
    """The number of the leaf that shows this offset, from 0; the page's first leaf if none does."""
    mine = [at for at, leaf in enumerate(made) if leaf.page == page]
    return next((at for at in mine if made[at].start <= offset < made[at].end), mine[0])


def _cuts(text: str) -> list[int]:
    """The offsets where leaves begin, and the end: at an empty line if possible."""
    edges = [0]
    while len(text) - edges[-1] > MAX_CHARACTERS:
        low, high = edges[-1] + MAX_CHARACTERS // 2, edges[-1] + MAX_CHARACTERS
        found = (text.rfind(gap, low, high) + len(gap) for gap in ("\n\n", "\n", " "))
        edges.append(next((at for at in found if at > low), high))
    return [*edges, len(text)]


def text_html(
    text: str,
    start: int,
    end: int,
    passages: Sequence[tuple[int, int]],
    weights: Weights,
    sentence: tuple[int, int] | None = None,
    *,
    markdown: bool = False,
) -> str:
    """`text[start:end]` as HTML; `passages` are marked, words shaded by their weights.

    The `sentence` is emphasised. Of `markdown` the targets of links and the marks of bold words are
    left out.
    """
    piece = _MarkedText(text, passages, weights, sentence)
    if markdown:
        piece.hidden = without_marks(text).hidden
    shown: list[str] = []
    lines = [
        line._replace(start=line.start + start, end=line.end + start)
        for line in read_lines(text[start:end])
    ]
    for kind, group in groupby(lines, key=_block):
        shown += _RENDERERS[kind](piece, list(group))
    return "".join(shown)


def _block(line: Line) -> str:
    return {"rule": "row", "item": "prose"}.get(line.kind, line.kind)


class _MarkedText:
    """A text with its passages and weights."""

    def __init__(
        self,
        text: str,
        passages: Sequence[tuple[int, int]],
        weights: Weights,
        sentence: tuple[int, int] | None,
    ) -> None:
        self.text = text
        self.sentence = sentence or (0, 0)
        self.passages = sorted(passages)
        self.weights = sorted(weights)
        self.hidden: list[Span] = []
        self.here = False
        """Whether the first passage has been rendered."""

    def html(self, start: int, end: int, shown: str | None = None) -> str:
        """`text[start:end]`, or `shown` of the same length in its place, with its marks."""
        plain = self.text[start:end] if shown is None else shown
        spans = [*self.passages, self.sentence, *((low, high) for low, high, _ in self.weights)]
        spans += [(span.start, span.end) for span in self.hidden]
        inner = sorted({at for span in spans for at in span if start < at < end})
        parts = pairwise([start, *inner, end])
        html = ""
        for found, group in groupby(parts, key=lambda part: self._is_found(part[0])):
            marked = "".join(
                self._marked(low, plain[low - start : high - start]) for low, high in group
            )
            if found and marked:
                here = "" if self.here else " wva-here"
                self.here = True
                marked = f'<span class="wva-found{here}">{marked}</span>'
            html += marked
        return html

    def _is_found(self, at: int) -> bool:
        return any(first <= at < past for first, past in self.passages)

    def _marked(self, at: int, plain: str) -> str:
        if any(span.start <= at < span.end for span in self.hidden):
            return ""
        weight = next((w for first, past, w in self.weights if first <= at < past), 0.0)
        shown = escape_html(plain)
        if weight and plain.strip():
            shown = f'<mark style="--weight: {shade_colour(weight)}">{shown}</mark>'
        if self.sentence[0] <= at < self.sentence[1]:
            shown = f'<span class="wva-sentence">{shown}</span>'
        return shown


def shade_colour(weight: float) -> str:
    """The colour of a weight: amber for, blue against. Text on the strongest is readable.

    >>> shade_colour(1.0), shade_colour(-0.5)
    ('rgb(255 193 7 / 0.42)', 'rgb(66 133 244 / 0.26)')
    """
    strength = 0.1 + 0.32 * min(abs(weight), 1.0)
    colour = "255 193 7" if weight > 0 else "66 133 244"
    return f"rgb({colour} / {strength:.2f})"


# Blocks


def _headings(piece: _MarkedText, lines: Sequence[Line]) -> Iterator[str]:
    for line in lines:
        marks = _HASHES.match(piece.text, line.start, line.end)
        start = marks.end() if marks else line.start
        span = trim(piece.text, start, line.end)
        depth = min(line.depth + 1, 6)
        yield f'<h{depth} dir="auto">{piece.html(span.start, span.end)}</h{depth}>'


def _skip(piece: _MarkedText, lines: Sequence[Line]) -> Iterator[str]:
    return iter(())


def _code(piece: _MarkedText, lines: Sequence[Line]) -> Iterator[str]:
    inner = [line for line in lines if not _FENCE.match(piece.text, line.start, line.end)]
    if inner:
        yield f"<pre>{piece.html(inner[0].start, inner[-1].end)}</pre>"


def _table(piece: _MarkedText, lines: Sequence[Line]) -> Iterator[str]:
    rows = []
    for line in lines:
        if line.kind == "row":
            row = trim(piece.text, line.start, line.end)
            cells = [
                trim(piece.text, *match.span())
                for match in _CELL.finditer(piece.text, row.start, row.end)
            ]
            inner = "".join(f"<td>{piece.html(cell.start, cell.end)}</td>" for cell in cells)
            rows.append(f"<tr>{inner}</tr>")
    if rows:
        body = "".join(rows)
        yield f'<div class="wva-table"><table dir="auto"><tbody>{body}</tbody></table></div>'


def _prose(piece: _MarkedText, lines: Sequence[Line]) -> Iterator[str]:
    span = trim(piece.text, lines[0].start, lines[-1].end)
    shown = unwrap_lines(piece.text[span.start : span.end])
    if len(shown) != span.end - span.start:  # a line's end of two characters became one
        shown = piece.text[span.start : span.end]
    yield f'<p dir="auto">{piece.html(span.start, span.end, shown)}</p>'


_RENDERERS = {
    "heading": _headings,
    "under": _skip,
    "blank": _skip,
    "fence": _code,
    "row": _table,
    "prose": _prose,
}

__all__ = ["MAX_CHARACTERS", "Leaf", "Weights", "leaf_at", "leaves", "shade_colour", "text_html"]
