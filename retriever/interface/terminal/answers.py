"""The terminal's lines for answers: sentences with their places, written text with its sources."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from retriever.interface.terminal.characters import one_line, printable
from retriever.interface.terminal.printing import BOLD, DIM, RESET
from retriever.interface.terminal.results import text_width, verdict_lines
from retriever.searching.match import NOTHING_MATCHES
from retriever.settings import ANSWER_SENTENCES
from retriever.types import Excerpt

if TYPE_CHECKING:
    from retriever.answers import Answer, Citation, WrittenAnswer
    from retriever.types import Hit


def sentence_lines(answer: Answer, *, colour: bool) -> list[str]:
    """The sentences of an answer, word for word, each with its place; or that nothing matches."""
    if answer.abstained:
        return _abstained(answer.said, answer.hits)
    dim, reset = (DIM, RESET) if colour else ("", "")
    lines = [*verdict_lines(answer.said), ""] if answer.said else []
    for number, one in enumerate(answer.sentences, 1):
        text = textwrap.wrap(printable(one.text), text_width()) or [""]
        lines += [f"{number:>2}. {text[0]}", *(f"    {line}" for line in text[1:])]
        lines += [f"    {dim}{place(one.hit, one.excerpt)}{reset}", ""]
    return lines[:-1]


def written_lines(answer: WrittenAnswer, *, colour: bool) -> list[str]:
    """A written answer with the numbers of its citations, then what it cites, word for word."""
    if answer.abstained:
        return _abstained(answer.said, answer.hits)
    bold, dim, reset = (BOLD, DIM, RESET) if colour else ("", "", "")
    lines = [*verdict_lines(answer.said), ""] if answer.said else []
    lines += textwrap.wrap(printable(answer.text), text_width())
    cited: Mapping[tuple[object, ...], Citation] = {
        (one.number, one.verified, one.excerpt or one.quote): one
        for sentence in answer.sentences
        for one in sentence.citations
    }
    for one in sorted(cited.values(), key=lambda one: (not one.verified, one.number)):
        where = place(one.hit, one.excerpt) if one.hit else "no such passage"
        lines += ["", f"{bold}[{one.number}]{reset} {dim}{where}{reset}"]
        lines += [f"    {line}" for line in _quoted(one)]
    if any(not sentence.verified for sentence in answer.sentences):
        lines += ["", *verdict_lines(_UNVERIFIED)]
    return lines


_UNVERIFIED = (
    "[unverified] marks a sentence whose quotation does not stand in the documents, or that has "
    "none: the model may have invented it."
)


def _quoted(citation: Citation) -> Iterator[str]:
    if citation.excerpt is not None:
        yield from textwrap.wrap(f'"{printable(citation.excerpt.text)}"', text_width())
    elif citation.quote:
        said = f'"{printable(citation.quote)}" does not stand there'
        yield from textwrap.wrap(f"unverified: {said}", text_width())
    else:
        yield "unverified: nothing is quoted from it"


def place(hit: Hit, excerpt: Excerpt | None) -> str:
    """The file and page of an excerpt of a result."""
    chunk = hit.chunk
    where = chunk.place
    if excerpt and (excerpt.page, excerpt.label) != (chunk.page, chunk.label):
        where = excerpt.label or f"page {excerpt.page}"
    return ", ".join(filter(None, [one_line(chunk.path), one_line(where)]))


def _abstained(said: str, hits: Sequence[Hit]) -> list[str]:
    """That there is no answer, and the places that come nearest."""
    said = said or f"{NOTHING_MATCHES[0].upper()}{NOTHING_MATCHES[1:]}."
    places = list(dict.fromkeys(place(hit, None) for hit in hits))[:ANSWER_SENTENCES]
    if places and "come nearest" not in said:
        said = f"{said} These passages come nearest."
    return [*verdict_lines(said), *(f"    {one}" for one in places)]


__all__ = ["place", "sentence_lines", "written_lines"]
