"""Word attribution: a text's vector as a sum of contributions, one for each token, then each word.

    e = Σ_t c_t + constant                                     (dim,), before normalisation

`AlignedWVA.token_attribution` computes the c_t. This module sums them into one row for each word
and `OTHERS` for the rest. It works on arrays only and knows no model.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from retriever.arrays import DoubleVectors
from retriever.text.unsegmented import UNSEGMENTED

Span = tuple[int, int]

MARKS, PROMPT, CONSTANT = "marks", "prompt", "constant"
OTHERS = (MARKS, PROMPT, CONSTANT)
"""The rows after the words: punctuation and space between the words; the prompt, with the tokens
that a tokenizer puts before it; and the constant term of every text (output biases)."""

_RUN = re.compile(r"[^\W_]+")
_INNER = "'\u2019\u02bc\u00ad\u200b\u200c\u200d"  # apostrophes, soft hyphen, zero width
_UNSEGMENTED = re.compile(f"[{UNSEGMENTED}]")
"""A character of a script without spaces between words: each is a word."""


@dataclass(frozen=True, slots=True)
class TokenAttribution:
    """The contribution of each token of an exact model input to its vector.

    `spans` are the tokens' character spans in `model_input`, empty for special tokens. `vectors`
    (T, dim) and `constant` (dim,) add up to the vector before normalisation.
    """

    model_input: str
    spans: tuple[Span, ...]
    vectors: DoubleVectors
    constant: DoubleVectors

    @property
    def total(self) -> DoubleVectors:
        """The vector before normalisation: (dim,)."""
        total: DoubleVectors = self.vectors.sum(axis=0) + self.constant
        return total


@dataclass(frozen=True, slots=True)
class WordSpan:
    """A word of a text: `text[start:end]`, where `text` is the title if `in_title`."""

    word: str
    start: int
    end: int
    in_title: bool = False


@dataclass(frozen=True, slots=True)
class WordPosition:
    """A text's position in a model's input: character `at`. The input lacks its first `skipped`."""

    text: str
    at: int
    in_title: bool = False
    skipped: int = 0

    @property
    def end(self) -> int:
        """The end of the text in the input."""
        return self.at + len(self.text) - self.skipped


@dataclass(frozen=True, slots=True)
class WordAttribution:
    """A text's words and the contribution of each to its vector.

    `vectors` (n + 3, dim): a row for each of the n words, then `OTHERS`. The rows add up to the
    vector before normalisation.
    """

    words: tuple[WordSpan, ...]
    vectors: DoubleVectors

    @property
    def total(self) -> DoubleVectors:
        """The vector before normalisation: (dim,)."""
        total: DoubleVectors = self.vectors.sum(axis=0)
        return total


def sum_by_word(tokens: TokenAttribution, positions: Sequence[WordPosition]) -> WordAttribution:
    """Sum token contributions over the words of the texts at `positions`, in input order.

    A token belongs to the word it shares characters with. A token outside all words belongs to
    `MARKS` if it lies between the beginning of the first text and the end of the last one, else to
    `PROMPT`. Words that share a token are merged, so that every token belongs to one row.
    """
    found = [
        (position.at - position.skipped + start, position.at - position.skipped + end, position)
        for position in positions
        for start, end in word_spans(position.text)
        if start >= position.skipped
    ]
    joined = list(_merged(found, tokens.spans))
    starts, ends = [start for start, _, _ in joined], [end for _, end, _ in joined]
    vectors = np.zeros((len(joined) + len(OTHERS), tokens.vectors.shape[1]))
    owners = []
    for start, end in tokens.spans:
        word = bisect_right(ends, start)
        if word < len(joined) and starts[word] < end:
            owners.append(word)
        else:
            inside = positions[0].at <= start < end <= max(positions[-1].end, positions[0].at)
            owners.append(len(joined) + OTHERS.index(MARKS if inside else PROMPT))
    np.add.at(vectors, owners, tokens.vectors)
    vectors[len(joined) + OTHERS.index(CONSTANT)] += tokens.constant
    return WordAttribution(tuple(_word(*each) for each in joined), vectors)


def sum_readings(text: str, readings: Sequence[WordAttribution]) -> WordAttribution:
    """The contributions of one text in several prompts, summed word by word.

    Words that are merged in one of `readings` are merged in all. `text` has no title before it.
    """
    # Every reading contains the end of the text's last word, so each word has an end in the set.
    ends = sorted(set.intersection(*({word.end for word in each.words} for each in readings)))
    groups = [[bisect_left(ends, word.end) for word in each.words] for each in readings]
    starts = [readings[0].words[groups[0].index(group)].start for group in range(len(ends))]
    vectors = np.zeros((len(ends) + len(OTHERS), readings[0].vectors.shape[1]))
    for each, group in zip(readings, groups, strict=True):
        np.add.at(vectors, [*group, *range(len(ends), len(vectors))], each.vectors)
    positions = zip(starts, ends, strict=True)
    return WordAttribution(
        tuple(WordSpan(text[start:end], start, end) for start, end in positions), vectors
    )


def _merged(
    words: Sequence[tuple[int, int, WordPosition]], tokens: Sequence[Span]
) -> Iterator[tuple[int, int, WordPosition]]:
    """The words in order; neighbours of one text that share a token are merged."""
    starts, ends = [start for start, _, _ in words], [end for _, end, _ in words]
    last_of = list(range(len(words)))
    for start, end in tokens:
        first, behind = bisect_right(ends, start), bisect_left(starts, end)
        for word in range(first, behind):
            last_of[word] = max(last_of[word], behind - 1)
    at = 0
    while at < len(words):
        position, last, look = words[at][2], at, at
        while look <= last:
            if words[last_of[look]][2] is position:
                last = max(last, last_of[look])
            look += 1
        yield words[at][0], words[last][1], position
        at = last + 1


def _word(start: int, end: int, position: WordPosition) -> WordSpan:
    shift = position.skipped - position.at
    start, end = start + shift, end + shift
    return WordSpan(position.text[start:end], start, end, position.in_title)


def word_spans(text: str) -> list[Span]:
    """Runs of letters and digits, in order; in scripts without spaces, single characters.

    Combining marks, and apostrophes within a word, are part of it; hyphens are not.

    >>> [(start, end) for start, end in word_spans("don't re-use 搜索")]
    [(0, 5), (6, 8), (9, 12), (13, 14), (14, 15)]
    """
    spans: list[Span] = []
    for match in _RUN.finditer(text):
        start, end = match.span()
        if spans and not _UNSEGMENTED.match(text, start) and _continues(text, spans[-1], start):
            start = spans.pop()[0]
        pieces = list(_UNSEGMENTED.finditer(text, start, end))
        spans += _cut(start, end, [piece.start() for piece in pieces]) if pieces else [(start, end)]
    return [(start, _with_marks(text, end)) for start, end in spans]


def _continues(text: str, before: Span, start: int) -> bool:
    """Whether only combining marks, or one apostrophe, separate a word from what follows."""
    gap = text[before[1] : start]
    return (
        bool(gap)
        and not _UNSEGMENTED.match(text, before[1] - 1)
        and (
            gap in _INNER or all(unicodedata.category(c)[0] == "M" or c in _INNER[3:] for c in gap)
        )
    )


def _cut(start: int, end: int, singles: Sequence[int]) -> Iterator[Span]:
    """The run [start, end), split so that each character at `singles` is a span of its own."""
    for single in singles:
        if start < single:
            yield start, single
        yield single, single + 1
        start = single + 1
    if start < end:
        yield start, end


def _with_marks(text: str, end: int) -> int:
    while end < len(text) and unicodedata.category(text[end])[0] == "M":
        end += 1
    return end


__all__ = [
    "CONSTANT",
    "MARKS",
    "OTHERS",
    "PROMPT",
    "TokenAttribution",
    "WordAttribution",
    "WordPosition",
    "WordSpan",
    "sum_by_word",
    "sum_readings",
    "word_spans",
]
