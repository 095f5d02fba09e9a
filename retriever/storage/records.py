"""What a catalog hands out and takes in beside documents, pages and chunks."""

from __future__ import annotations

from dataclasses import dataclass

from retriever.types import FileStatus, PageState, Span

WeightedTerms = tuple[tuple[str, float], ...]
"""Terms of the index, each with the weight of its BM25 score."""


@dataclass(frozen=True, slots=True)
class UnreadFile:
    """A file that gave no document this time: it failed, or was left out; `reason` says why.

    What was indexed of it before may still be there. `size` and `mtime_ns` tell whether it has
    changed since, `settings` whether it would be read in another way now.
    """

    root: str
    path: str
    status: FileStatus
    reason: str
    size: int = 0
    mtime_ns: int = 0
    settings: str = ""


@dataclass(frozen=True, slots=True)
class PageStatus:
    """What became of one page: its state with the reason, and how many chunks it has."""

    number: int | None
    label: str
    state: PageState
    reason: str
    chunks: int

    @property
    def place(self) -> str:
        """As `Chunk.place`."""
        return self.label or ("" if self.number is None else f"page {self.number}")


@dataclass(frozen=True, slots=True)
class NewChunk:
    """One chunk on its way in: where it stands in its document, and its vector's key.

    `page` indexes the document's pages (0-based position, not the page's number); `vector` is the
    key under which `save_vectors` stored the raw vector of the exact model input.
    """

    page: int
    span: Span
    vector: str


@dataclass(frozen=True, slots=True)
class KeywordWord:
    """What a word of a query brings to one passage's BM25 score.

    `terms` are what it was found by, which occur in `documents` passages and `times` times in this
    one, those in its title counted twice; `idf` is its weight. A word in most passages is left
    aside: its `score` is 0.
    """

    word: str
    terms: tuple[str, ...]
    documents: int
    times: int
    idf: float
    score: float


@dataclass(frozen=True, slots=True)
class KeywordScore:
    """A passage's BM25 score word by word: `score` is the sum of the words' scores.

    For a word found by one term alone that is idf · times · 2.2 / (times + 0.3 + 0.9 · length /
    average), where `length` counts the passage's terms (see `terms.passage_terms`) and `average` is
    that of all `passages`.
    `added` are the words of an expansion that the passage has, best first; their scores are times
    their weights, and not in the sum.
    """

    words: tuple[KeywordWord, ...]
    length: int
    average: float
    passages: int
    added: tuple[KeywordWord, ...] = ()

    @property
    def score(self) -> float:
        """The sum of the words' scores."""
        return sum(word.score for word in self.words)


@dataclass(frozen=True, slots=True)
class Expansion:
    """What joins a query in keyword search: terms of the index, each with the weight of its BM25.

    `query_weight` is the weight of the query's own BM25 score.
    """

    query_weight: float
    terms: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class TermQuery:
    """A keyword query as a search engine gets it: analysed terms with weights, nothing else.

    A passage's score is the sum over `words` of the best of each word's alternatives; an
    alternative scores the weighted sum of its terms' BM25 scores. (Lucene: a BooleanQuery of
    DisjunctionMaxQueries of boosted terms.)
    """

    words: tuple[tuple[WeightedTerms, ...], ...] = ()

    def expanded(self, expansion: Expansion) -> TermQuery:
        """The query times `expansion.query_weight`, plus the terms of the expansion."""
        own = tuple(
            tuple(
                tuple((term, expansion.query_weight * weight) for term, weight in terms)
                for terms in word
            )
            for word in self.words
        )
        return TermQuery(own + tuple((((term, weight),),) for term, weight in expansion.terms))


__all__ = [
    "Expansion",
    "KeywordScore",
    "KeywordWord",
    "NewChunk",
    "PageStatus",
    "TermQuery",
    "UnreadFile",
]
