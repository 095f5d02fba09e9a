"""What a model is trained with: the recipe's numbers, and the rows of texts of a run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from retriever.embedding.inputs import with_title
from retriever.tuning.pairs import Pair, Passage
from retriever.types import UsageError

QUERY, POSITIVE, SCORE, TAUGHT = "query", "positive", "score", "label"
"""Columns of a row; negatives are `negative_1`, `negative_2` …; TAUGHT has a teacher's scores."""

ADAPT = ("upper", "all")
"""Which layers get adapters, of those up to the last pooled one."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The numbers of a training run.

    LoRA (arXiv 2106.09685) of this `rank`, scaled by `alpha` / `rank`, with a `dropout`, on the
    attention projections of the layers from the first pooled one on, but at least of the upper
    half, or of `all` (`adapt`); above the last pooled layer there is nothing to train.
    `batch` pairs are compared with each other, computed `part_tokens` tokens at a time, by default
    as many as memory allows. Cosines are multiplied by `scale`. An input longer than `max_tokens`
    is cut off. The run ends after `epochs`, or `minutes` if that is sooner. With
    `dimensions` the first so many numbers of a vector are trained to stand alone (Matryoshka,
    arXiv 2205.13147). Each pair has as many `negatives` beside those of its batch. With a `teacher`
    above 0, the loss has so many times the divergence of the model's ranking of a pair's passages
    from that of the hybrid search.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    adapt: str = "upper"
    learning_rate: float = 1e-3
    batch: int = 32
    part_tokens: int | None = None
    scale: float = 20.0
    max_tokens: int = 160
    epochs: float = 3.0
    minutes: float | None = None
    negatives: int = 1
    teacher: float = 0.0
    dimensions: tuple[int, ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        self._check_ranges()
        if self.adapt not in ADAPT:
            raise UsageError(f"adapt must be {' or '.join(ADAPT)}; it is {self.adapt!r}")
        if self.teacher and not self.negatives:
            raise UsageError("a teacher ranks negatives; ask for at least one of each pair")

    def _check_ranges(self) -> None:
        at_least = {"rank": 1, "batch": 2, "part_tokens": 1, "max_tokens": 16, "negatives": 0}
        for name, least in (*at_least.items(), ("teacher", 0)):
            if getattr(self, name) is not None and not least <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name} must be at least {least}; it is {getattr(self, name)}")
        for name in ("alpha", "learning_rate", "scale", "epochs", "minutes"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"{name} must be above 0; it is {value}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout must lie between 0 and 1; it is {self.dropout}")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed must lie between 0 and 2^32; it is {self.seed}")
        if any(each < 1 for each in self.dimensions):
            raise UsageError(f"dimensions must be at least 1; they are {self.dimensions}")


def filled(pairs: Sequence[Pair], corpus: Sequence[Passage], recipe: Recipe) -> list[Pair]:
    """The pairs with as many negatives as the recipe has: of those missing, passages by chance."""
    chosen = random.Random(recipe.seed)  # noqa: S311 - not for secrets
    corpus = [each for each in corpus if each.text.strip()]
    made = []
    for pair in pairs:
        negatives = list(pair.negatives[: recipe.negatives])
        known = {text_of(each) for each in (pair.positive, *pair.negatives)}
        for other in _by_chance(corpus, chosen) if len(negatives) < recipe.negatives else ():
            if len(negatives) == recipe.negatives:
                break
            if text_of(other) not in known:
                negatives.append(other)
                known.add(text_of(other))
        made.append(replace(pair, negatives=tuple(negatives)))
    return made


def rows(
    pairs: Sequence[Pair], taught: Sequence[Sequence[float]] | None = None
) -> list[dict[str, Any]]:
    """The texts of each pair, a row each, all with the same columns.

    `taught` are a teacher's scores of each pair's positive and negatives, in this order. Raises
    UsageError if there are too few pairs for one batch of two, or only some have a score.
    """
    if len(pairs) < 2:
        raise UsageError(f"training needs at least two pairs; there are {len(pairs)}")
    if all(pair.score is not None for pair in pairs):
        return [{QUERY: p.query, POSITIVE: text_of(p.positive), SCORE: p.score} for p in pairs]
    if any(pair.score is not None for pair in pairs):
        raise UsageError("some pairs have a score and some have none; tune on one kind at a time")
    count = min(len(pair.negatives) for pair in pairs)
    made = []
    for pair in pairs:
        row: dict[str, Any] = {QUERY: pair.query, POSITIVE: text_of(pair.positive)}
        for at, negative in enumerate(pair.negatives[:count], start=1):
            row[f"negative_{at}"] = text_of(negative)
        made.append(row)
    for row, scores in zip(made, taught or (), strict=taught is not None):
        row[TAUGHT] = [float(score) for score in scores[: 1 + count]]
    return made


def text_of(passage: Passage) -> str:
    """A passage as the model reads it: its title in front."""
    return with_title(passage.text, passage.title)


def _by_chance(others: Sequence[Passage], chosen: random.Random) -> Iterator[Passage]:
    """Passages by chance, at most a few dozen: a small corpus may have none that is new."""
    for _ in range(32 if others else 0):
        yield chosen.choice(others)


__all__ = ["POSITIVE", "QUERY", "SCORE", "TAUGHT", "Recipe", "filled", "rows", "text_of"]
