"""Untrusted text → HTML or Markdown that shows it as text, with words marked.

No text of a document, file name or error message may act on the page: it is escaped first and
marked afterwards. All functions are pure, from strings to strings.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from retriever.interface.terminal.characters import count_text, without_controls
from retriever.searching.snippets import LENGTH, snippet
from retriever.text.analyzer import matching_words
from retriever.text.display import on_one_line
from retriever.types import Hit

Spans = list[tuple[int, int]]
"""Ranges of a text, [start, end) in Python characters, in order and not overlapping."""

_ITEM = re.compile(r"\s|[-*•‣▪◦·–—|>#+]|\(?\w{1,4}[.)]\s")
_HEADING = re.compile(r"^((?:<[^>]*>)*)[ \t]{0,3}#{1,6}[ \t]+(\S.*)$", re.MULTILINE)
_LONG_LINE = 45
_FULL_LINE = 0.7

# Characters that Markdown, or Streamlit's extensions of it, would interpret.
_MARKDOWN = re.compile(
    r"([\\`*\[\]<>$~&|!]|^\s*[#+\-=]|(?<![^\W_])_|_(?![^\W_])|:(?=[\w/+-]))", re.MULTILINE
)


def replace_unprintable(text: str) -> str:
    r"""The text with characters that must not reach the page replaced one by one.

    >>> replace_unprintable("a\x00b\udc80")
    'a\ufffdb\ufffd'
    """
    return without_controls(text)


def escape_html(text: str) -> str:
    """The text as HTML.

    >>> escape_html("<b> & 'x'")
    '&lt;b&gt; &amp; &#x27;x&#x27;'
    """
    return html.escape(replace_unprintable(text))


def escape_markdown(text: str) -> str:
    r"""The text as Markdown that Streamlit shows unchanged.

    >>> escape_markdown("a_b *c* <script>")
    'a_b \\*c\\* \\<script\\>'
    """
    return _MARKDOWN.sub(lambda match: _backslashed(match[0]), replace_unprintable(text))


@dataclass(frozen=True, slots=True)
class HighlightTerms:
    """The words to mark: those of a query, and the index's terms that match them.

    See `Snapshot.matched_terms`; `query` has no operators.
    """

    query: str
    terms: frozenset[str] = frozenset()


def word_spans(text: str, query: str | HighlightTerms, language: str | None = None) -> Spans:
    """The offsets of the query's words in the text, whose language is guessed unless it is given.

    >>> word_spans("All cats run.", "a running cat")
    [(4, 8), (9, 12)]
    """
    sought = HighlightTerms(query) if isinstance(query, str) else query
    found = matching_words(text, sought.query, sought.terms, language)
    return [(word.start, word.end) for word in found]


def mark_spans(text: str, spans: Spans) -> str:
    """The text as HTML with the spans marked.

    >>> mark_spans("a < b", [(0, 1)])
    '<mark>a</mark> &lt; b'
    """
    parts, at = [], 0
    for start, end in spans:
        parts += [escape_html(text[at:start]), "<mark>", escape_html(text[start:end]), "</mark>"]
        at = end
    return "".join([*parts, escape_html(text[at:])])


def passage_html(text: str, query: str | HighlightTerms, language: str | None = None) -> str:
    """A passage as HTML: the query's words marked, wrapped lines joined, no wide gaps."""
    return _without_gaps(mark_spans(unwrap_lines(text), word_spans(text, query, language)))


def context_html(
    text: str, found: Spans, query: str | HighlightTerms, language: str | None = None
) -> str:
    """A text as HTML: the spans `found` highlighted, and the query's words marked.

    >>> context_html("a b c", [(2, 3)], "c")
    'a <span class="wva-found">b</span> <mark>c</mark>'
    """
    shown = unwrap_lines(text)
    inner = [at for start, end in _merge(found) for at in (start, end)]
    parts = []
    for number, (low, high) in enumerate(pairwise([0, *inner, len(text)])):
        piece = mark_spans(shown[low:high], word_spans(text[low:high], query, language))
        parts.append(f'<span class="wva-found">{piece}</span>' if number % 2 else piece)
    return _without_gaps("".join(parts))


def snippet_html(hit: Hit, query: str | HighlightTerms) -> str:
    """Two or three lines of a hit as HTML, around its best sentence, which is emphasised."""
    if hit.sentence is None:
        text = on_one_line(hit.chunk.text).text[:LENGTH]
        return mark_spans(text, word_spans(text, query, hit.chunk.language))
    shown = snippet(hit)
    text, start, end = shown.text, shown.start, shown.end
    before, best, after = (
        mark_spans(piece, word_spans(piece, query, hit.chunk.language))
        for piece in (text[:start], text[start:end], text[end:])
    )
    return f'{before}<strong class="wva-sentence">{best}</strong>{after}' if best else after


def marked_passage_html(hit: Hit, query: str | HighlightTerms) -> str:
    """The text of a result made of several passages as HTML; its best one is highlighted."""
    chunk = hit.chunk
    pieces = []
    for excerpt in hit.passage:
        on_page = (excerpt.page, excerpt.label) == (chunk.page, chunk.label)
        inside = on_page and excerpt.start <= chunk.start and chunk.end <= excerpt.end
        found = [(chunk.start - excerpt.start, chunk.end - excerpt.start)] if inside else []
        pieces.append(context_html(excerpt.text, found, query, chunk.language))
    return "\n".join(pieces)


def with_headings(shown: str) -> str:
    r"""HTML of this module's functions, with headings in bold and without their number signs.

    >>> with_headings("# A <mark>b</mark>\nC# and #tags")
    '<strong>A <mark>b</mark></strong>\nC# and #tags'
    """
    return _HEADING.sub(r"\1<strong>\2</strong>", shown)


def _merge(spans: Spans) -> Spans:
    """Spans with those joined that touch or overlap.

    >>> _merge([(4, 6), (0, 3), (2, 4)])
    [(0, 6)]
    """
    merged: Spans = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            start, end = merged[-1][0], max(end, merged.pop()[1])
        merged.append((start, end))
    return merged


def unwrap_lines(text: str) -> str:
    r"""The text with spaces for line breaks that only wrap a paragraph; its length stays.

    Lines of a PDF or an e-mail end at the margin. A break is kept after a short line, and before
    an empty line or an item of a list.
    """
    lines = replace_unprintable(text).split("\n")
    parts = []
    for number, line in enumerate(lines):
        parts.append(line)
        if number + 1 < len(lines):
            width = max(len(near) for near in lines[max(0, number - 3) : number + 4])
            parts.append(" " if _wraps(line, lines[number + 1], width) else "\n")
    return "".join(parts)


def _wraps(line: str, following: str, width: int) -> bool:
    """Whether the break between two lines only wraps; `width` is the longest line around."""
    full = len(line) >= _LONG_LINE and len(line) >= _FULL_LINE * min(width, 120)
    return full and bool(following.strip()) and not _ITEM.match(following) and "|" not in line


def _without_gaps(text: str) -> str:
    """At most one empty line at a time; `text` has no line breaks within its tags."""
    return re.sub(r"\n[^\S\n]*(\n\s*)+\n", "\n\n", text.strip())


def _backslashed(found: str) -> str:
    """Backslash before the last character, after leading white space."""
    return f"{found[:-1]}\\{found[-1]}"


def join_parts(parts: Iterable[str], separator: str = " · ") -> str:
    """The parts that are not empty, with a separator.

    >>> join_parts(["a", "", "b"])
    'a · b'
    """
    return separator.join(part for part in parts if part)


__all__ = [
    "HighlightTerms",
    "Spans",
    "context_html",
    "count_text",
    "escape_html",
    "escape_markdown",
    "join_parts",
    "mark_spans",
    "marked_passage_html",
    "passage_html",
    "replace_unprintable",
    "snippet_html",
    "unwrap_lines",
    "with_headings",
    "word_spans",
]
