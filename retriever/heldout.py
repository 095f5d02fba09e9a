"""A sentence taken out of its passage: a question whose answer is known without labels.

The passage, without it, must be found again by it. It is no question that people type, and it
shares words with its passage; but it needs nobody's judgement, and it is the same every time.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from hashlib import sha256

from retriever.structure import sentences

_SENTENCE_WORDS = range(6, 41)
_REST_WORDS = 25  # so many words must stay in the passage
_WORD = re.compile(r"\w+")


def taken_out(text: str) -> Iterator[tuple[str, str]]:
    """Sentences that can be asked, each with the text without it; in an order by chance."""
    spans = list(sentences(text))
    random.Random(by_chance(text)).shuffle(spans)  # noqa: S311  (not a secret)
    for span in spans:
        sentence = " ".join(text[span.start : span.end].split())
        rest = f"{text[: span.start].rstrip()} {text[span.end :].lstrip()}".strip()
        asked = len(_WORD.findall(sentence)) in _SENTENCE_WORDS
        again = sentence in " ".join(rest.split())
        if asked and not again and len(_WORD.findall(rest)) >= _REST_WORDS:
            yield sentence, rest


def by_chance(name: str) -> str:
    """A key to sort by that has nothing to do with the name, and is always the same."""
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


__all__ = ["by_chance", "taken_out"]
