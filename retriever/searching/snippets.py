"""A result in two or three lines: its best sentence and what stands around it.

The snippet begins with the best sentence, or with the sentence before it if that is short, so that
the best one is seen at once. It goes on with the sentences that follow. Headings, markup, lines of
identifiers and dot leaders are skipped; `SKIPPED` stands for them and for what is cut off.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from retriever.searching.sentences import passages
from retriever.text.display import on_one_line
from retriever.text.readability import readability
from retriever.text.sentences import Sentence, split_sentences
from retriever.types import Excerpt, Hit

LENGTH = 320
"""The length of a snippet in characters, about three lines of a page."""

BEFORE = 80
"""Characters of the sentence before the best one, at most."""

READABLE = 0.5
"""What is less readable is skipped; see `retriever.text.readability`."""

SKIPPED = "…"
"""Stands for text that is skipped or cut off, with a space to each side."""

_SKIPPED_KINDS = frozenset({"heading", "code"})
_CLEAR = 0.9  # the readability of a whole sentence; fragments are less
_WORTH_READING = 30  # characters of a sentence that is cut off; fewer are left out


@dataclass(frozen=True, slots=True)
class Snippet:
    """A text for display in which `text[start:end]` is the best sentence, or its beginning.

    `excerpts` are the exact excerpts that it shows, in order. The text has single spaces, no
    Markdown marks (see `retriever.text.display`), and `SKIPPED` where something is left out.
    """

    text: str
    start: int
    end: int
    excerpts: tuple[Excerpt, ...] = ()

    @property
    def sentence(self) -> str:
        """The best sentence as it is shown."""
        return self.text[self.start : self.end]


def snippet(hit: Hit, length: int = LENGTH) -> Snippet:
    """The snippet of a hit, of about `length` characters; empty if the hit has no sentence."""
    best = hit.sentence
    if best is None:
        return Snippet("", 0, 0)
    whole = _excerpt_with(hit, best)
    units = split_sentences(whole.text)
    first, last = best.start - whole.start, best.end - whole.start
    builder = _Builder(whole, length)
    if (before := _before(whole.text, units, first)) is not None:
        builder.add(before.start, before.end)
    elif first and not any(unit.start == first for unit in units):
        builder.skip()  # the sentence is a part of a longer one
    start, end = builder.add(first, last, least=length // 2)
    if not builder.is_full and last < len(whole.text) and not any(u.end == last for u in units):
        builder.skip()
    for unit in units[bisect_left([unit.start for unit in units], last) :]:
        if builder.is_full:
            break
        if _is_shown(whole.text, unit):
            builder.add(unit.start, unit.end)
        else:
            builder.skip()
    return builder.finished(start, end)


def _excerpt_with(hit: Hit, best: Excerpt) -> Excerpt:
    """The passage of the hit that has the sentence, or else the sentence alone."""
    for excerpt, _ in passages(hit):
        same = (excerpt.page, excerpt.label) == (best.page, best.label)
        if same and excerpt.start <= best.start and best.end <= excerpt.end:
            return excerpt
    return best


def _before(text: str, units: Sequence[Sentence], first: int) -> Sentence | None:
    """The sentence right before the best one, if it is short and readable."""
    at = bisect_left([unit.start for unit in units], first) - 1
    if at < 0 or units[at].end > first or units[at].end - units[at].start > BEFORE:
        return None
    unit = units[at]
    near = "\n\n" not in text[unit.end : first] and unit.kind not in _SKIPPED_KINDS
    return unit if near and _readability(text, unit) >= _CLEAR else None


def _is_shown(text: str, unit: Sentence) -> bool:
    if unit.kind in _SKIPPED_KINDS:
        return False
    return _readability(text, unit) >= READABLE


def _readability(text: str, unit: Sentence) -> float:
    return readability(on_one_line(text[unit.start : unit.end]).text)


class _Builder:
    """The text of a snippet, piece by piece."""

    def __init__(self, whole: Excerpt, length: int) -> None:
        self._whole = whole
        self._length = length
        self._text = ""
        self._excerpts: list[Excerpt] = []
        self.is_full = False

    def skip(self) -> None:
        """Note that something is left out here."""
        if not self._text.endswith(SKIPPED):
            self._text += f" {SKIPPED}" if self._text else SKIPPED

    def add(self, start: int, end: int, *, least: int = 0) -> tuple[int, int]:
        """Add `whole.text[start:end]` as far as it fits, and `least` characters of it in any case.

        The span of the snippet's text that shows it is returned.
        """
        shown = on_one_line(self._whole.text[start:end])
        room = max(least, self._length - len(self._text) - 1)
        size = len(shown.text) if len(shown.text) <= room else _cut(shown.text, room)
        blank = " " * self._is_apart(start)
        at = len(self._text) + len(blank)
        if size:
            self._text += blank + shown.text[:size]
            self._keep(start + shown.original(0, size).start, start + shown.original(0, size).end)
        if size < len(shown.text):
            self.is_full = True
            self.skip()
        return at, at + size

    def _is_apart(self, start: int) -> bool:
        """Whether a blank comes before what begins here; Chinese has none between sentences."""
        if not self._text or self._text.endswith(SKIPPED):
            return bool(self._text)
        last = self._excerpts[-1].end - self._whole.start if self._excerpts else 0
        return last != start

    def _keep(self, start: int, end: int) -> None:
        """Note an excerpt that is shown, as one with that before it if only blanks are between."""
        whole = self._whole
        if self._excerpts:
            last = self._excerpts[-1].end - whole.start
            if not whole.text[last:start].strip():
                start = self._excerpts.pop().start - whole.start
        self._excerpts.append(
            replace(
                whole, start=whole.start + start, end=whole.start + end, text=whole.text[start:end]
            )
        )

    def finished(self, start: int, end: int) -> Snippet:
        """The snippet, with the span of the best sentence."""
        return Snippet(self._text, start, end, tuple(self._excerpts))


def _cut(text: str, room: int) -> int:
    """The end of the last whole word of a text that fits; 0 if nothing worth reading does."""
    if room < _WORTH_READING:
        return 0
    blank = text.rfind(" ", 0, room + 1)
    return blank if blank > room // 2 else room


__all__ = ["BEFORE", "LENGTH", "READABLE", "SKIPPED", "Snippet", "snippet"]
