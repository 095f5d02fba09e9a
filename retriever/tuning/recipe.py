"""What a model is trained with: the recipe's numbers, and the rows of texts of a run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from retriever.embedding.inputs import with_title
from retriever.tuning.pairs import Pair, Passage
from retriever.types import UsageError

QUERY, POSITIVE, SCORE = "query", "positive", "score"
"""Columns of a row; negatives are `negative_1`, `negative_2` …"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The numbers of a training run.

    LoRA (arXiv 2106.09685) of this `rank`, scaled by `alpha` / `rank`, with a `dropout`, on all
    attention projections up to the last pooled layer. `batch` pairs are compared with each other,
    computed `part_tokens` tokens at a time. Cosines are multiplied by `scale`. An input longer than
    `max_tokens` is cut off. The run ends after `epochs`, or `minutes` if that is sooner. With
    `dimensions` the first so many numbers of a vector are trained to stand alone (Matryoshka,
    arXiv 2205.13147). Each pair has as many `negatives` beside those of its batch.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    learning_rate: float = 2e-4
    batch: int = 32
    part_tokens: int = 2048
    scale: float = 20.0
    max_tokens: int = 256
    epochs: float = 3.0
    minutes: float | None = None
    negatives: int = 1
    dimensions: tuple[int, ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        at_least = {"rank": 1, "batch": 2, "part_tokens": 1, "max_tokens": 16, "negatives": 0}
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}; it is {getattr(self, name)}")
        for name in ("alpha", "learning_rate", "scale", "epochs"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UsageError(f"{name} must be above 0; it is {getattr(self, name)}")
        if self.minutes is not None and not 0 < self.minutes < float("inf"):
            raise UsageError(f"minutes must be above 0; they are {self.minutes}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout must lie between 0 and 1; it is {self.dropout}")
        if any(each < 1 for each in self.dimensions):
            raise UsageError(f"dimensions must be at least 1; they are {self.dimensions}")


def rows(pairs: Sequence[Pair], corpus: Sequence[Passage], recipe: Recipe) -> list[dict[str, Any]]:
    """The texts of each pair, a row each, all with the same columns.

    A pair with fewer negatives than the recipe has gets passages by chance, from `corpus`. Raises
    UsageError if there are too few pairs for one batch of two, or only some have a score.
    """
    if len(pairs) < 2:
        raise UsageError(f"training needs at least two pairs; there are {len(pairs)}")
    if all(pair.score is not None for pair in pairs):
        return [{QUERY: p.query, POSITIVE: text_of(p.positive), SCORE: p.score} for p in pairs]
    if any(pair.score is not None for pair in pairs):
        raise UsageError("some pairs have a score and some have none; tune on one kind at a time")
    chosen = random.Random(recipe.seed)  # noqa: S311 - not for secrets
    others = list(corpus)
    made = []
    for pair in pairs:
        row: dict[str, Any] = {QUERY: pair.query, POSITIVE: text_of(pair.positive)}
        known = {text_of(each) for each in pair.negatives} | {row[POSITIVE]}
        negatives = [text_of(each) for each in pair.negatives[: recipe.negatives]]
        for other in _by_chance(others, chosen) if len(negatives) < recipe.negatives else ():
            if len(negatives) == recipe.negatives:
                break
            if text_of(other) not in known:
                negatives.append(text_of(other))
                known.add(text_of(other))
        row |= {f"negative_{at}": text for at, text in enumerate(negatives, start=1)}
        made.append(row)
    return _alike(made)


def text_of(passage: Passage) -> str:
    """A passage as the model reads it: its title in front."""
    return with_title(passage.text, passage.title)


def _by_chance(others: Sequence[Passage], chosen: random.Random) -> Iterator[Passage]:
    """Passages by chance, at most a few dozen: a small corpus may have none that is new."""
    for _ in range(32 if others else 0):
        yield chosen.choice(others)


def _alike(made: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the columns that all of them have."""
    columns = set.intersection(*(set(row) for row in made))
    return [{name: row[name] for name in row if name in columns} for row in made]


__all__ = ["POSITIVE", "QUERY", "SCORE", "Recipe", "rows", "text_of"]
