"""Text of unknown origin → HTML or Markdown that shows it as text, with some of it marked.

Nothing of a document, a file name or an error message may act on the page: a text is escaped
first, and marked afterwards. Everything here is a pure function from strings to strings.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from retriever.terms import matching_words

Spans = list[tuple[int, int]]
"""Pieces of a text, [start, end) in Python characters, in order and not overlapping."""

# Lone surrogates cannot be sent to a browser; control characters and those that turn the writing
# direction around could make a name look like another one.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ITEM = re.compile(r"\s|[-*•‣▪◦·–—|>#+]|\(?\w{1,4}[.)]\s")
_LONG_LINE = 45
_FULL_LINE = 0.7

# What Markdown, or Streamlit's own additions to it, would not show as it is.
_MARKDOWN = re.compile(
    r"([\\`*\[\]<>$~&|!]|^\s*[#+\-=]|(?<!\w)_|_(?!\w)|:(?=[\w/+-]))", re.MULTILINE
)


def visible(text: str) -> str:
    r"""The text with what must not reach the page replaced, character by character.

    >>> visible("a\x00b\udc80")
    'a\ufffdb\ufffd'
    """
    return _UNSEEN.sub("\ufffd", text.replace("\r\n", " \n").replace("\r", "\n"))


def escaped(text: str) -> str:
    """The text as HTML.

    >>> escaped("<b> & 'x'")
    '&lt;b&gt; &amp; &#x27;x&#x27;'
    """
    return html.escape(visible(text))


def markdown(text: str) -> str:
    r"""The text as Markdown that Streamlit shows as it is.

    >>> markdown("a_b *c* <script>")
    'a_b \\*c\\* \\<script\\>'
    """
    return _MARKDOWN.sub(lambda match: _backslashed(match[0]), visible(text))


def word_spans(text: str, query: str) -> Spans:
    """Where the query's words stand in the text.

    >>> word_spans("All cats run.", "a running cat")
    [(4, 8), (9, 12)]
    """
    return [(word.start, word.end) for word in matching_words(text, query)]


def marked(text: str, spans: Spans) -> str:
    """The text as HTML with the spans marked.

    >>> marked("a < b", [(0, 1)])
    '<mark>a</mark> &lt; b'
    """
    parts, at = [], 0
    for start, end in spans:
        parts += [escaped(text[at:start]), "<mark>", escaped(text[start:end]), "</mark>"]
        at = end
    return "".join([*parts, escaped(text[at:])])


def passage(text: str, query: str) -> str:
    """A passage as HTML: the query's words marked, wrapped lines joined, no wide gaps."""
    return _without_gaps(marked(unwrapped(text), word_spans(text, query)))


def in_context(page: str, start: int, end: int, query: str, around: int = 1200) -> str:
    """The page's `[start, end)` highlighted amid about `around` characters on either side."""
    text = unwrapped(page)
    first, last = _left_edge(page, start, around), _right_edge(page, end, around)
    pieces = [(first, start), (start, end), (end, last)]
    before, found, after = (
        marked(text[low:high], word_spans(page[low:high], query)) for low, high in pieces
    )
    opening, closing = "… " if first > 0 else "", " …" if last < len(page) else ""
    found = f'<span class="wva-found">{found}</span>'
    return _without_gaps(f"{opening}{before}{found}{after}{closing}")


def unwrapped(text: str) -> str:
    r"""The text with spaces for the line breaks that only wrap a paragraph; its length stays.

    A PDF's or an e-mail's lines end where the paper did. A break is kept after a short line, and
    before an empty line or what looks like an item of a list.
    """
    lines = visible(text).split("\n")
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


def _left_edge(page: str, start: int, around: int) -> int:
    """Where to begin showing: the page's start, or a paragraph's or word's within reach."""
    limit = start - around
    if limit <= 0:
        return 0
    for gap in ("\n\n", "\n", " "):
        found = page.find(gap, limit, limit + around // 2)
        if found >= 0:
            return found + len(gap)
    return limit


def _right_edge(page: str, end: int, around: int) -> int:
    """Where to stop showing: the page's end, or a paragraph's or word's within reach."""
    limit = end + around
    if limit >= len(page):
        return len(page)
    for gap in ("\n\n", "\n", " "):
        found = page.rfind(gap, limit - around // 2, limit)
        if found >= 0:
            return found
    return limit


def _without_gaps(text: str) -> str:
    """At most one empty line at a time; `text` has no line breaks within its tags."""
    return re.sub(r"\n[^\S\n]*(\n\s*)+\n", "\n\n", text.strip())


def _backslashed(found: str) -> str:
    """Backslash before the last character: leading white space stays what it is."""
    return f"{found[:-1]}\\{found[-1]}"


def joined(parts: Iterable[str], separator: str = " · ") -> str:
    """The parts that say something, side by side.

    >>> joined(["a", "", "b"])
    'a · b'
    """
    return separator.join(part for part in parts if part)


def counted(count: int, thing: str) -> str:
    """A number of things.

    >>> counted(1, "file"), counted(1200, "file")
    ('1 file', '1,200 files')
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


__all__ = [
    "Spans",
    "counted",
    "escaped",
    "in_context",
    "joined",
    "markdown",
    "marked",
    "passage",
    "unwrapped",
    "visible",
    "word_spans",
]
