"""A sentence taken out of its passage: a question whose answer is known without labels.

The passage, without it, must be found again by it. It is no question that people type, and it
shares words with its passage; but it needs nobody's judgement, and it is the same every time.
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
_REST_WORDS = 25  # so many words must stay in the passage
_SENTENCE_END = re.compile(r"[.!?]\s")


def cloze_questions(text: str) -> Iterator[tuple[str, str]]:
    """Sentences that can be asked, each with the text without it; in an order by chance."""
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
    """The text's sentences; without a capital letter in it, they end where a mark stands.

    `structure.sentences` waits for a capital, since a dot may stand behind an abbreviation. Here a
    sentence cut short does little harm.
    """
    if not text.islower():
        return sentences(text)
    starts = [0, *(found.end() for found in _SENTENCE_END.finditer(text))]
    spans = (trim(text, *pair) for pair in pairwise([*starts, len(text)]))
    return [span for span in spans if span.start < span.end]


def hash_key(name: str) -> str:
    """A key to sort by that has nothing to do with the name, and is always the same."""
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


__all__ = ["cloze_questions", "hash_key"]
