"""Is an explanation right? The passage is read again without the words it names.

If a passage's strongest words are what its score comes of, then without them it must lose more than
without as many words chosen at random. This is a different question from the one an explanation
answers (the words behind a deleted one are read otherwise, too), which is why it can check it.
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
"""So many words are deleted, and so often at random."""


@dataclass(frozen=True, slots=True)
class DeletionTest:
    """What a passage's cosine is without its strongest `words`, and without as many at random.

    `before` is the whole passage's, read in the same batch; `random` has one cosine a draw.
    """

    words: tuple[WordSpan, ...]
    before: float
    after: float
    random: tuple[float, ...]

    @property
    def lost(self) -> float:
        """What the cosine loses without the words."""
        return self.before - self.after

    @property
    def lost_at_random(self) -> float:
        """What it loses on average without as many other words."""
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
    """Read the passage without its `count` strongest words, and `draws` times without others.

    `query` is the query's raw vector (dim,); `embed` gives the raw vectors (n, dim) of passages
    with these texts. Raises UsageError for a passage with too few words, or without a dense side.
    """
    dense, text = explanation.dense, explanation.chunk.text
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
    """A text without these words, and without the space that one of them leaves doubled.

    >>> without_words("hot green tea", [WordSpan("green", 4, 9)])
    'hot tea'
    """
    for word in sorted(words, key=lambda word: -word.start):
        before, after = text[: word.start], text[word.end :]
        text = before + (after[1:] if before[-1:] in {" ", ""} and after[:1] == " " else after)
    return text


__all__ = ["DRAWS", "WORDS", "DeletionTest", "deletion_test", "without_words"]
