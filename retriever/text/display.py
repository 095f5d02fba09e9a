"""Text of a document for display: without Markdown's marks, spans kept.

`without_marks` removes what a reader of plain text has no use for: the targets of links, the marks
before headings and around bold words, the outer borders of tables. What remains is the document's
own text, and a map of offsets leads from each of its characters to the page's. The module is pure,
for the page and the terminal alike.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from retriever.types import Span

# A target has a "#", "/" or "." in it or names a protocol: f[0](x) is no link.
_LINK = re.compile(
    r"!?\[(?P<label>(?:[^\[\]]|\[[^\[\]]{0,300}\]){0,300}+)\]"
    r"\((?:<[^<>\n]{0,2000}>|[^\s()]{0,2000}?[#/.:][^\s()]{0,2000}+)(?:[ \t]+\"[^\"\n]{0,300}\")?\)"
)
_BORDER = re.compile(r"[ \t]*+\|[| \t]*+")
_WORD = re.compile(r"\S+")
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(?=\S)", re.MULTILINE)
_BOLD = re.compile(r"(?<![\w*])\*\*(?=[^\s*])[^*\n]{1,300}(?<=\S)\*\*(?![\w*])")


@dataclass(frozen=True, slots=True)
class Shown:
    """A text for display. `text[i]` is the original's character `offsets[i]`.

    `offsets` is ascending and one longer than `text`: its last value is the original's length.
    """

    text: str
    offsets: tuple[int, ...]

    def span(self, start: int, end: int) -> Span:
        """The span of the shown text that shows the original's `[start, end)`.

        It is empty if nothing of it is shown.

        >>> without_marks("see [Policies](#p) now").span(4, 18)
        Span(start=4, end=12)
        """
        return Span(bisect_left(self.offsets, start), bisect_left(self.offsets, end))

    @property
    def hidden(self) -> list[Span]:
        """The spans of the original that are not shown, in order.

        >>> without_marks("see [Policies](#p) now").hidden
        [Span(start=4, end=5), Span(start=13, end=18)]
        """
        steps = zip((-1, *self.offsets), self.offsets, strict=False)
        return [Span(last + 1, at) for last, at in steps if at > last + 1]

    def original(self, start: int, end: int) -> Span:
        """The span of the original from the first to the last character of `text[start:end]`.

        >>> without_marks("see [Policies](#p) now").original(4, 12)
        Span(start=5, end=13)
        """
        if start >= end:
            return Span(self.offsets[start], self.offsets[start])
        return Span(self.offsets[start], self.offsets[end - 1] + 1)


def without_marks(text: str) -> Shown:
    """The text without link targets, marks of headings and bold words, and borders of tables.

    >>> without_marks("## [[Policies]](#policies), **now** in [Section 5.1](http://a.b/#c)").text
    'Policies, now in Section 5.1'
    >>> without_marks("f[0](x) ** 2").text, without_marks("| a | b |").text
    ('f[0](x) ** 2', 'a | b ')
    """
    hidden = sorted(_hidden(text))
    offsets: list[int] = []
    at = 0
    for start, end in hidden:
        offsets += range(at, start)
        at = max(at, end)
    offsets += range(at, len(text) + 1)
    return Shown("".join(map(text.__getitem__, offsets[:-1])) if hidden else text, tuple(offsets))


def on_one_line(text: str) -> Shown:
    r"""As `without_marks`, with one space in place of white space, none around the text.

    >>> on_one_line(" see\n[Policies](#p)  now ").text
    'see Policies now'
    """
    shown = without_marks(text)
    kept: list[int] = []
    for word in _WORD.finditer(shown.text):
        if kept:
            kept.append(kept[-1] + 1)
        kept += range(*word.span())
    offsets = [shown.offsets[at] for at in kept]
    letters = [shown.text[at] for at in kept]
    joined = "".join(" " if letter.isspace() else letter for letter in letters)
    return Shown(joined, (*offsets, len(text)))


def _hidden(text: str) -> Iterator[tuple[int, int]]:
    """The spans that are not shown; they may overlap."""
    if "](" in text:
        for link in _LINK.finditer(text):
            first, last = link.span("label")
            if text[first:last].startswith("[") and text.endswith("]", first, last):
                first, last = first + 1, last - 1
            yield link.start(), first
            yield last, link.end()
    if "#" in text:
        yield from (mark.span() for mark in _HEADING.finditer(text))
    if "|" in text:
        yield from _borders(text)
    if "**" in text:
        for bold in _BOLD.finditer(text):
            yield bold.start(), bold.start() + 2
            yield bold.end() - 2, bold.end()


def _borders(text: str) -> Iterator[tuple[int, int]]:
    """The bars at both ends of the lines that begin and end with one."""
    at = 0
    for line in text.splitlines(keepends=True):
        border, row = _BORDER.match(line), line.rstrip()
        if border and row.endswith("|") and border.end() < len(row):
            yield at, at + border.end()
            yield at + len(row) - 1, at + len(row)
        at += len(line)


__all__ = ["Shown", "on_one_line", "without_marks"]
