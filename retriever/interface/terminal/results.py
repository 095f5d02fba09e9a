"""The terminal's lines for the results of a search."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from contextvars import ContextVar

from retriever.interface.terminal.characters import one_line, printable
from retriever.interface.terminal.printing import BOLD, DIM, RESET
from retriever.searching.snippets import Snippet, snippet
from retriever.text.analyzer import matching_words
from retriever.types import Hit

SNIPPET = 360  # characters

COLUMNS: ContextVar[int] = ContextVar("columns", default=0)
"""The width of the terminal that is written for; 0 for this process's own."""


def hit_lines(
    hit: Hit, query: str, *, colour: bool, whole: bool = False, index: str = ""
) -> list[str]:
    """A hit as text: its place and score, then its snippet with the query's words marked.

    The snippet begins with the best sentence; what stands around it is dim. With `whole` it is the
    whole text. `index` is the name of its index, if that is to be told.
    """
    chunk = hit.chunk
    part = ", ".join(filter(None, [chunk.place, "by OCR" if chunk.state == "ocr" else ""]))
    place = one_line(chunk.path) + (f", {one_line(part)}" if part else "")
    title = f"  {one_line(chunk.title)}" if chunk.title else ""
    bold, dim, reset = (BOLD, DIM, RESET) if colour else ("", "", "")
    strength = "" if hit.strength is None else f", {hit.strength}"
    waiting = "" if hit.embedded else ", by words so far"
    score = f"({hit.score:.2f}{strength}{waiting})" + (f"  in {one_line(index)}" if index else "")
    head = f"{hit.rank:>2}. {bold}{place}{reset}{dim}{title}  {score}{reset}"
    width = text_width()
    shown = Snippet(hit.text, 0, 0) if whole else snippet(hit, SNIPPET)
    if not shown.text:  # a search without sentences
        shown = Snippet(_best_part(hit.text, query, SNIPPET), 0, 0)
    lines = _snippet_lines(shown, query, width, colour=colour)
    also = f"also in: {one_line(shorten_list(hit.also_in))}"
    more = [f"{dim}{line}{reset}" for line in textwrap.wrap(also, width)] if hit.also else []
    return [head, *(f"    {line}" for line in [*lines, *more]), ""]


def text_width() -> int:
    """The width of indented text, which is readable in the narrowest terminal."""
    columns = COLUMNS.get() or shutil.get_terminal_size().columns
    return max(20, min(columns, 100) - 4)


def shorten_list(names: Sequence[str], most: int = 5) -> str:
    """The first `most` names, and the number of the others.

    >>> shorten_list(["a.txt", "b.pdf, page 3"]), shorten_list(["a", "b", "c"], 1)
    ('a.txt; b.pdf, page 3', 'a; and 2 more')
    """
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return "; ".join([*names[:most], *more])


def query_lines(
    conditions: Sequence[str], instead: Mapping[str, Sequence[str]], notes: Sequence[str] = ()
) -> list[str]:
    """How a query was read: conditions, words searched for in place of unknown ones, and notes.

    >>> query_lines(['not "draft"', "type:pdf"], {"polcy": ["policy", "police"]})
    ['only: not "draft", type:pdf', '"polcy" occurs nowhere; searched for policy, police instead']
    """
    lines = [f"only: {', '.join(conditions)}"] if conditions else []
    lines += [
        f'"{word}" occurs nowhere; searched for {", ".join(near)} instead'
        for word, near in instead.items()
    ]
    lines += notes
    return [printable(line) for line in lines]


def verdict_lines(verdict: str) -> list[str]:
    """The sentence of `Index.verdict` in lines of the terminal's width; none for an empty one."""
    return textwrap.wrap(printable(verdict), text_width())


def percent(match: float) -> str:
    """A match as a percentage, rounded down.

    >>> percent(0.9499), percent(0.95), percent(0.992)
    ('94 %', '95 %', '99 %')
    """
    return f"{math.floor(100 * match + 1e-9)} %"


def _snippet_lines(shown: Snippet, query: str, width: int, *, colour: bool) -> list[str]:
    """The lines of a snippet; with colour, what is not the best sentence is dim."""
    text = printable(shown.text)
    lines = textwrap.wrap(text, width) or [""]
    if not colour:
        return lines
    found: list[str] = []
    at = 0
    for line in lines:
        at = text.find(line, at) if line in text[at:] else at
        first, last = (min(max(edge - at, 0), len(line)) for edge in (shown.start, shown.end))
        parts = line[:first], line[first:last], line[last:]
        marked = [_highlight(part, query) for part in parts]
        if shown.start < shown.end:
            marked = [_dim(marked[0]), marked[1], _dim(marked[2])]
        found.append("".join(marked))
        at += len(line)
    return found


def _dim(text: str) -> str:
    """The text dim, also behind words that are bold."""
    return f"{DIM}{text.replace(RESET, RESET + DIM)}{RESET}" if text.strip() else text


def _best_part(text: str, query: str, size: int = SNIPPET) -> str:
    """The part of a passage with most of the query's words, about `size` characters in a line."""
    if len(text) <= size:
        return printable(" ".join(text.split()))
    starts = [word.start for word in matching_words(text, query)]
    best = max(
        range(0, max(1, len(text) - size // 2), size // 4),
        key=lambda at: (sum(at <= start < at + size for start in starts), -at),
    )
    begin = text.rfind(" ", 0, best) + 1 if best else 0
    end = text.find(" ", best + size) if best + size < len(text) else len(text)
    end = best + size if end < 0 or end > best + size + 40 else end
    before, after = "… " if begin else "", " …" if end < len(text) else ""
    return printable(before + " ".join(text[begin:end].split()) + after)


def _highlight(line: str, query: str) -> str:
    for word in reversed(list(matching_words(line, query))):
        line = f"{line[: word.start]}{BOLD}{line[word.start : word.end]}{RESET}{line[word.end :]}"
    return line
