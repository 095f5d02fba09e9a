"""Comparison of two explanations for one query: which terms and words make the scores differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retriever.explaining.score import Explanation
from retriever.types import UsageError


@dataclass(frozen=True, slots=True)
class TermDifference:
    """A number by name in both explanations, 0 where it is missing."""

    name: str
    first: float
    second: float

    @property
    def difference(self) -> float:
        """The first minus the second."""
        return self.first - self.second


@dataclass(frozen=True, slots=True)
class Difference:
    """Two explanations for one query; the `terms`' differences add up to that of the scores.

    `words` are the query's words with their dense contributions, `keywords` with their BM25 scores.
    """

    first: Explanation
    second: Explanation
    terms: tuple[TermDifference, ...]
    words: tuple[TermDifference, ...]
    keywords: tuple[TermDifference, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without the explanations themselves."""
        return {
            "query": self.first.query,
            "first": {"chunk_id": self.first.chunk.id, "score": self.first.score},
            "second": {"chunk_id": self.second.chunk.id, "score": self.second.score},
            **{
                name: [{"name": row.name, "first": row.first, "second": row.second} for row in rows]
                for name, rows in (
                    ("terms", self.terms),
                    ("words", self.words),
                    ("keywords", self.keywords),
                )
            },
        }


def compare(first: Explanation, second: Explanation) -> Difference:
    """Compare two explanations, the largest difference first.

    Raises UsageError for explanations of different queries or modes.
    """
    if (first.query, first.mode) != (second.query, second.mode):
        raise UsageError("only two results of one query, in one mode, can be compared")
    one, two = first.dense, second.dense
    words: list[TermDifference] = []
    if one is not None and two is not None:
        values = zip(one.query_words, one.by_query_word, two.by_query_word, strict=True)
        words = [TermDifference(word.word, float(a), float(b)) for word, a, b in values]
    return Difference(
        first,
        second,
        _rows(*([(term.name, term.value) for term in each.terms] for each in (first, second))),
        tuple(sorted(words, key=_size)),
        _rows(
            *(
                [(word.word, word.score) for word in each.keyword.words] if each.keyword else []
                for each in (first, second)
            )
        ),
    )


def _rows(
    first: Sequence[tuple[str, float]], second: Sequence[tuple[str, float]]
) -> tuple[TermDifference, ...]:
    one, two = dict(first), dict(second)
    rows = [TermDifference(name, one.get(name, 0.0), two.get(name, 0.0)) for name in {**one, **two}]
    return tuple(sorted(rows, key=_size))


def _size(row: TermDifference) -> float:
    return -abs(row.difference)


__all__ = ["Difference", "TermDifference", "compare"]
