"""Deletion test: an explanation is checked by embedding the passage without its strongest words.

If these words cause the passage's score, it falls more without them than without as many random
words. This differs from what an explanation computes, since the model also reads the words after a
deleted one differently. So the test is an independent check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from retriever.arrays import Vectors
from retriever.embedding.word_attribution import WordSpan
from retriever.explaining.score import Explanation
from retriever.storage.calibration import Calibration
from retriever.types import UsageError

WORDS, DRAWS = 5, 10
"""Number of words deleted, and number of random draws."""


@dataclass(frozen=True, slots=True)
class DeletionTest:
    """A passage's cosine without its strongest `words` (`after`), and without random words.

    `before` is the whole passage's cosine, embedded in the same batch; `random` has one cosine for
    each draw.
    """

    words: tuple[WordSpan, ...]
    before: float
    after: float
    random: tuple[float, ...]

    @property
    def lost(self) -> float:
        """The fall of the cosine without the strongest words."""
        return self.before - self.after

    @property
    def lost_at_random(self) -> float:
        """The mean fall of the cosine without as many random words."""
        return self.before - float(np.mean(self.random))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "words": [word.word for word in self.words],
            "before": self.before,
            "after": self.after,
            "random": list(self.random),
            "lost": self.lost,
            "lost_at_random": self.lost_at_random,
        }


def deletion_test(
    explanation: Explanation,
    query: Vectors,
    embed: Callable[[Sequence[str]], Vectors],
    means: Calibration,
    *,
    count: int = WORDS,
    draws: int = DRAWS,
    seed: int = 0,
) -> DeletionTest:
    """Embed the passage without its `count` strongest words, and `draws` times without random ones.

    `query` is the query's raw vector (dim,); `embed` gives the raw vectors (n, dim) of passages
    with these texts. Raises UsageError for a passage with too few words, or without a dense score.
    """
    dense, text = explanation.dense, explanation.chunk.text
    if explanation.waiting:
        raise UsageError(
            "there is nothing to check yet: the passage still waits for its vector; "
            "run wva index again, or wait until it is done"
        )
    if dense is None:
        raise UsageError("a keyword score needs no check: it is the sum of its words' scores")
    places = [at for at, word in enumerate(dense.passage_words) if not word.in_title]
    if not 0 < count <= len(places) // 2:
        raise UsageError(
            f"the check deletes {count} words; this passage has {len(places)}, and at least twice "
            "as many are needed"
        )
    values = dense.by_passage_word
    strongest = sorted(places, key=lambda at: -values[at])[:count]
    generator = np.random.default_rng(seed)
    chosen = [generator.choice(places, count, replace=False).tolist() for _ in range(draws)]
    words = dense.passage_words
    texts = [
        text,
        *(without_words(text, [words[at] for at in one]) for one in (strongest, *chosen)),
    ]
    vectors = means.passage(embed(texts))
    before, after, *random = (vectors @ means.query(query)).tolist()
    return DeletionTest(tuple(words[at] for at in strongest), before, after, tuple(random))


def without_words(text: str, words: Sequence[WordSpan]) -> str:
    """A text without these words; a doubled space that remains becomes one.

    >>> without_words("hot green tea", [WordSpan("green", 4, 9)])
    'hot tea'
    """
    for word in sorted(words, key=lambda word: -word.start):
        before, after = text[: word.start], text[word.end :]
        text = before + (after[1:] if before[-1:] in {" ", ""} and after[:1] == " " else after)
    return text


__all__ = ["DRAWS", "WORDS", "DeletionTest", "deletion_test", "without_words"]
