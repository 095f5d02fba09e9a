"""Words that belong to a page, but stand in none of its chunks: the full-text index knows them.

They are the words of running headers and footers, which are outside of `Page.body`, and a word that
the end of a page cuts in two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from retriever.text.page_numbers import page_number
from retriever.types import Page

_MAX_SIDE = 3_000  # characters on one side of the body
_MAX_EDGE = 500  # characters, and
_MAX_LINES = 3  # lines at the edges of two pages, searched for the parts of a word
_WORD = re.compile(r"\w+")
_CUT = re.compile(r"([^\W\d_]{2,40})[-‐\u00ad]\s*\Z")
_REST = re.compile(r"\s*([^\W\d_]{2,40})")


def margin_texts(
    pages: Mapping[int, Page], places: Sequence[tuple[int, int]]
) -> list[tuple[str, ...]]:
    """For each chunk, the texts whose terms it has in addition to its own.

    `pages` are a document's pages by position; `places` the chunks, as (position of its page,
    start). The first chunk of a page has the lines outside of the body with a word that is not in
    the body, without page numbers; the last one has the word cut by the page's end.
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for position, start in places:
        first[position] = min(start, first.get(position, start))
        last[position] = max(start, last.get(position, start))
    found = []
    for position, start in places:
        page = pages.get(position)
        texts: list[str] = []
        if page is not None and start == first[position]:
            texts += _margins(page)
        if page is not None and start == last[position]:
            texts += _cut_word(page, pages.get(position + 1))
        found.append(tuple(texts))
    return found


def _margins(page: Page) -> Iterator[str]:
    """Successive lines outside of the body that have words of their own."""
    if page.body is None:
        return
    known = set(_WORD.findall(_body(page).casefold()))

    def is_new(line: str) -> bool:
        number = page_number(line)
        if number is not None and number <= (page.number or 0):
            return False
        return not known.issuperset(_WORD.findall(line.casefold()))

    above = page.text[max(0, page.body.start - _MAX_SIDE) : page.body.start]
    below = page.text[page.body.end : page.body.end + _MAX_SIDE]
    for side in (above, below):
        for new, lines in groupby(side.split("\n"), is_new):
            if new:
                yield "\n".join(lines)


def _cut_word(page: Page, following: Page | None) -> Iterator[str]:
    """The word that begins at the end of a page and goes on in the next page."""
    if following is None or page.number is None or following.number != page.number + 1:
        return
    if page.label or following.label:  # sheets, slides and mails do not go on in the next one
        return
    begun = next(map(_CUT.search, _edge(_body(page)[-_MAX_EDGE:].split("\n")[::-1])), None)
    rest = (_REST.match(line) for line in _edge(_body(following)[:_MAX_EDGE].split("\n")))
    ended = next((found[1] for found in rest if found and found[1][0].islower()), "")
    if begun and ended:
        yield begun[1] + ended


def _edge(lines: Sequence[str]) -> list[str]:
    """The first lines that are neither blank nor page numbers."""
    text = (line for line in lines if line.strip() and page_number(line) is None)
    return [line for line, _ in zip(text, range(_MAX_LINES), strict=False)]


def _body(page: Page) -> str:
    return page.text if page.body is None else page.text[page.body.start : page.body.end]


__all__ = ["margin_texts"]
