"""Two explanations for one query side by side: which terms and words make the scores differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retriever.explaining.score import Explanation
from retriever.types import UsageError


@dataclass(frozen=True, slots=True)
class TermDifference:
    """One number of two explanations; 0 where one has none."""

    name: str
    first: float
    second: float

    @property
    def difference(self) -> float:
        """By how much the first is more."""
        return self.first - self.second


@dataclass(frozen=True, slots=True)
class Difference:
    """Two explanations for one query side by side; the `terms`' differences are the scores'.

    `words` are the query's words by what they bring on the dense side, `keywords` on BM25's.
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
    """What makes the first passage's score differ from the second's, largest difference first.

    Raises UsageError for explanations of different queries, or modes.
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
