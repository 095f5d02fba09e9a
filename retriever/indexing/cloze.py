"""Inverse cloze task: a sentence removed from its passage is a query whose answer is known.

The search should find the rest of the passage by the sentence. Such a query differs from those that
people type, and it shares words with its passage. But it needs no labels, and it is reproducible.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise

from retriever.text.analyzer import count_words
from retriever.text.structure import sentences, trim
from retriever.types import Span

_SENTENCE_WORDS = range(6, 41)
_REST_WORDS = 25  # at least, without the sentence
_SENTENCE_END = re.compile(r"[.!?]\s")


def cloze_questions(text: str) -> Iterator[tuple[str, str]]:
    """(sentence, the text without it) for all usable sentences, in a fixed random order."""
    spans = _sentences(text)
    random.Random(hash_key(text)).shuffle(spans)  # noqa: S311  (not a secret)
    for span in spans:
        sentence = " ".join(text[span.start : span.end].split())
        rest = f"{text[: span.start].rstrip()} {text[span.end :].lstrip()}".strip()
        asked = count_words(sentence, _SENTENCE_WORDS.stop) in _SENTENCE_WORDS
        again = sentence in " ".join(rest.split())
        if asked and not again and count_words(rest, _REST_WORDS) == _REST_WORDS:
            yield sentence, rest


def _sentences(text: str) -> list[Span]:
    """The text's sentences; in a text without capital letters, they end at punctuation.

    `structure.sentences` requires a capital letter, since a dot may end an abbreviation. Here a
    shortened sentence does little harm.
    """
    if not text.islower():
        return sentences(text)
    starts = [0, *(found.end() for found in _SENTENCE_END.finditer(text))]
    spans = (trim(text, *pair) for pair in pairwise([*starts, len(text)]))
    return [span for span in spans if span.start < span.end]


def hash_key(name: str) -> str:
    """A pseudo-random sort key: the SHA-256 of the name."""
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


__all__ = ["cloze_questions", "hash_key"]
