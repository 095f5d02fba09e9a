"""A query and a passage taken apart into words: what explanations and steering work with.

Taking a text apart costs one pass of the model, so what was looked at last is remembered, by the
exact model input: a word's part depends on nothing else.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from retriever.ingest import Embedder
from retriever.parts import Parts, Place, Rows, WordSpan, by_word
from retriever.types import Chunk, UsageError

Vectors = NDArray[np.float32]

REMEMBERED = 64
"""Texts; one of 250 words in 576 dimensions takes about 1 MB."""


@runtime_checkable
class TakesApart(Protocol):
    """What explanations need of an embedder; `embedder.AlignedWVA` has it."""

    def contributions(self, model_input: str) -> Parts:
        """What every token of an exact model input brings to its vector."""


@dataclass(frozen=True, slots=True)
class Side:
    """A text's words and their parts, in units of the length of their sum.

    `parts` (n + 3, dim): the n words, then `parts.OTHERS`; they add up to the raw unit vector, but
    for rounding. `raw` (dim,) is a query's raw vector as search uses it, None for a passage.
    """

    words: tuple[WordSpan, ...]
    parts: Rows
    raw: Vectors | None = None


class Sides:
    """Takes texts apart and remembers the last ones. Safe to use from several threads."""

    def __init__(self, embedder: Callable[[], Embedder]) -> None:
        self._embedder = embedder
        self._known: OrderedDict[tuple[bool, str], Side] = OrderedDict()
        self._lock = threading.Lock()

    def query(self, text: str) -> Side:
        """A query's side. Raises UsageError or ModelError where it cannot be taken apart."""
        embedder = self._embedder()
        model_input = embedder.query_input(text)
        places = _places(model_input, embedder.settings.prompts.query, text, "")
        return self._side(embedder, model_input, places, is_query=True)

    def passage(self, chunk: Chunk) -> Side:
        """A passage's side; words of its title are among its words."""
        embedder = self._embedder()
        model_input = embedder.passage_input(chunk.text, chunk.title)
        template = embedder.settings.prompts.passage
        places = _places(model_input, template, chunk.text, chunk.title)
        return self._side(embedder, model_input, places, is_query=False)

    def _side(
        self, embedder: Embedder, model_input: str, places: list[Place], *, is_query: bool
    ) -> Side:
        key = is_query, model_input
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        if not isinstance(embedder, TakesApart):
            raise UsageError("this embedder's vectors cannot be taken apart into words")
        found = by_word(embedder.contributions(model_input), places)
        length = float(np.linalg.norm(found.total))
        parts = found.vectors / length if length > 0 else found.vectors
        raw = embedder.embed_inputs([model_input])[0] if is_query else None
        side = Side(found.words, parts, raw)
        with self._lock:
            self._known[key] = side
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return side


def _places(model_input: str, template: str, text: str, title: str) -> list[Place]:
    """Where title and text stand in a model's input, whatever was put between them."""
    before, _, after = template.partition("{}")
    end = len(model_input) - len(after)
    at = end - len(text)
    if at <= len(before) or not title:
        return [Place(text, at)]
    # Of a title the beginning stands there, without the white space around it.
    skipped = len(title) - len(title.lstrip())
    shown = title[: skipped + at - len(before)].rstrip()
    return [Place(shown, len(before), in_title=True, skipped=skipped), Place(text, at)]


__all__ = ["REMEMBERED", "Side", "Sides", "TakesApart"]
