"""Queries and passages attributed to their words, for explanations and steering.

An attribution costs one forward pass, so the most recent ones are cached. The key is the exact
model input: a word's contribution depends on nothing else.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from retriever.arrays import DoubleVectors, Vectors
from retriever.embedding.protocols import AttributionEmbedder, Embedder
from retriever.embedding.word_attribution import (
    WordAttribution,
    WordPosition,
    WordSpan,
    sum_by_word,
    sum_readings,
)
from retriever.types import Chunk, UsageError

MAX_CACHED = 64
"""How many texts are cached; one of 250 words in 576 dimensions takes about 1 MB."""


@dataclass(frozen=True, slots=True)
class AttributedText:
    """A text's words and their contributions to its unit vector.

    `vectors` (n + 3, dim): a row for each of the n words, then `word_attribution.OTHERS`. The rows
    add up to the raw unit vector, up to rounding. With several prompts for a query they are summed
    over the prompts. `raw` (dim,) is a query's raw vector as search uses it, None for a passage.
    """

    words: tuple[WordSpan, ...]
    vectors: DoubleVectors
    raw: Vectors | None = None


class AttributionCache:
    """Attributes texts to words and caches the last ones. Safe to use from several threads."""

    def __init__(self, embedder: Callable[[], Embedder]) -> None:
        self._embedder = embedder
        self._cache: OrderedDict[tuple[str, ...], AttributedText] = OrderedDict()
        self._lock = threading.Lock()

    def query(self, text: str) -> AttributedText:
        """A query, attributed. Raises UsageError or ModelError if the model does not allow it."""
        embedder = self._embedder()
        inputs = embedder.query_inputs(text)

        def attribute() -> AttributedText:
            readings = [
                _word_attribution(embedder, each, _positions(each, template, text, ""))
                for each, template in zip(inputs, embedder.settings.prompts.queries, strict=True)
            ]
            found = _normalised(sum_readings(text, readings))
            return AttributedText(found.words, found.vectors, embedder.embed_queries([text])[0])

        return self._cached(("query", *inputs), attribute)

    def passage(self, chunk: Chunk) -> AttributedText:
        """A passage, attributed; the words of its title are included."""
        embedder = self._embedder()
        model_input = embedder.passage_input(chunk.text, chunk.title)
        template = embedder.settings.prompts.passage
        positions = _positions(model_input, template, chunk.text, chunk.title)

        def attribute() -> AttributedText:
            found = _word_attribution(embedder, model_input, positions)
            return AttributedText(found.words, found.vectors)

        return self._cached(("passage", model_input), attribute)

    def _cached(
        self, key: tuple[str, ...], attribute: Callable[[], AttributedText]
    ) -> AttributedText:
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        attributed = attribute()
        with self._lock:
            self._cache[key] = attributed
            while len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)
        return attributed


def _word_attribution(
    embedder: Embedder, model_input: str, positions: list[WordPosition]
) -> WordAttribution:
    """The words of one model input and their contributions to its unit vector."""
    if not isinstance(embedder, AttributionEmbedder):
        raise UsageError("this embedder's vectors cannot be attributed to words")
    return _normalised(sum_by_word(embedder.token_attribution(model_input), positions))


def _normalised(found: WordAttribution) -> WordAttribution:
    """The same vectors, scaled so that their sum has length one."""
    length = float(np.linalg.norm(found.total))
    return WordAttribution(found.words, found.vectors / length) if length > 0 else found


def _positions(model_input: str, template: str, text: str, title: str) -> list[WordPosition]:
    """The positions of title and text in a model's input, whatever stands between them."""
    before, _, after = template.partition("{}")
    end = len(model_input) - len(after)
    at = end - len(text)
    if at <= len(before) or not title:
        return [WordPosition(text, at)]
    # The input has the beginning of the title, without the white space around it.
    skipped = len(title) - len(title.lstrip())
    shown = title[: skipped + at - len(before)].rstrip()
    return [
        WordPosition(shown, len(before), in_title=True, skipped=skipped),
        WordPosition(text, at),
    ]


__all__ = ["MAX_CACHED", "AttributedText", "AttributionCache"]
