"""What a model is tuned on: a question and the passage that answers it, or two sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retriever.evaluation.runs import digest


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


@dataclass(frozen=True, slots=True)
class PairData:
    """Pairs of one kind, scored or not, and the passages that a search can find, by id.

    Every passage of a pair has an id and is in `corpus`. Pairs of one query are several `pairs`
    with the same text. `notes` are sentences for the user: what was left out, and why.
    """

    pairs: Sequence[Pair]
    corpus: Mapping[str, Passage]
    name: str
    notes: tuple[str, ...] = ()

    @property
    def scored(self) -> bool:
        """Whether the pairs are sentences with a similarity rated by people."""
        return bool(self.pairs) and self.pairs[0].score is not None


def passage_id(text: str, title: str = "") -> str:
    """The id of a passage without one: 24 hex digits of a hash of its title and text."""
    return digest([title, text])


__all__ = ["Pair", "PairData", "Passage", "passage_id"]
