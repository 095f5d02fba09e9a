"""What a model is tuned on: a question and the passage that answers it, or two sentences."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Passage:
    """A text with the title of its document; `id` is empty if the data names none."""

    text: str
    title: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A query, a passage that answers it, and passages that do not.

    With a `score` both texts are sentences, and the score is their similarity as rated by people.
    """

    query: str
    positive: Passage
    negatives: tuple[Passage, ...] = ()
    score: float | None = None
    id: str = ""


__all__ = ["Pair", "Passage"]
