"""Value types of storage beside documents, pages and chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retriever.types import Account, DocumentRow, FileStatus, LeftOut, Page, PageState, Span

WeightedTerms = tuple[tuple[str, float], ...]
"""Terms of the index, each with the boost of its BM25 score."""


HELD = -1
"""The timestamp of a document that is kept although its file has vanished."""


@dataclass(frozen=True, slots=True)
class UnreadFile:
    """A file that gave no document in the last run: it failed or was skipped, for `reason`.

    An earlier version of it may still be indexed. `size` and `mtime_ns` show whether the file has
    changed since, `settings` whether it would now be read differently.
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
    """One page's state with the reason, and its number of chunks."""

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
class LeftOutTexts:
    """The text that a document leaves out on purpose; `cut` if only its beginning is stored."""

    parts: tuple[LeftOut, ...] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A chunk to be written: its place in the document, and the key of its vector.

    `page` is the 0-based position among the document's pages, not the page's number. `vector` is
    the key under which `save_vectors` stored the raw vector of the exact model input, or empty for
    a chunk that gets its vector later.
    """

    page: int
    span: Span
    vector: str


@dataclass(frozen=True, slots=True)
class PassageTerms:
    """What the full-text index stores of a passage, analysed in its `language`.

    `terms` are separated by spaces; `length` of them count as the passage's length. `long_words`
    may be compounds, and are reversed.
    """

    language: str
    terms: str
    length: int
    long_words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to be written. `terms` are those of its distinct chunks; None if not analysed."""

    row: DocumentRow
    pages: Sequence[Page]
    chunks: Sequence[NewChunk]
    account: Account | None = None
    left_out: Sequence[LeftOut] = ()
    terms: Sequence[PassageTerms] | None = None


@dataclass(frozen=True, slots=True)
class KeywordWord:
    """The contribution of one word of a query to one passage's BM25 score.

    `terms` are the terms searched for; they occur in `documents` passages, and `times` times in
    this one (occurrences in the title count twice). `idf` is the inverse document frequency. The
    query says the word `count` times, for which its `score` has the factor `boost`. A word that
    occurs in most passages is ignored: its `score` is 0. A word that occurs nowhere may be
    `corrected`: its terms are those of similar words, which count less; `written` is the one that
    this passage has.
    """

    word: str
    terms: tuple[str, ...]
    documents: int
    times: int
    idf: float
    score: float
    count: int = 1
    boost: float = 1.0
    corrected: bool = False
    written: str = ""

    @property
    def label(self) -> str:
        """The word for display, with the number of times that the query says it if several."""
        return f"{self.word} ×{self.count}" if self.count > 1 else self.word

    @property
    def factor(self) -> str:
        """The factor of its weight for display, empty without one.

        >>> KeywordWord("teas", ("tea",), 3, 2, 1.25, 2.25, count=2, boost=1.5).factor
        ' × 1.50 for the repetition'
        >>> KeywordWord("in person", ("inperson",), 3, 2, 1.25, 0.75, boost=0.5).factor
        ' × 0.50 as one word'
        """
        if self.boost == 1 and self.count == 1:
            return ""
        why = "for the repetition" if self.boost >= 1 else "as one word"
        return f" × {self.boost:.2f} {why}"


@dataclass(frozen=True, slots=True)
class KeywordScore:
    """A passage's BM25 score word by word: `score` is the sum of the words' scores.

    The score of a word with one term is boost · idf · times · 2.2 / (times + 0.3 + 0.9 · length /
    average), where `length` is the passage's number of terms without stop words (see
    `retriever.text.analyzer.passage_terms`) and `average` is the mean over all `passages`.
    `added` are the words of an expansion that the passage contains, best first. Their scores
    include their weights, and are not part of the sum.
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

    @property
    def shown(self) -> tuple[KeywordWord, ...]:
        """The words for display: without runs such as "password 16GB" that occur nowhere."""
        return tuple(word for word in self.words if word.documents or " " not in word.word)


@dataclass(frozen=True, slots=True)
class Expansion:
    """A query expansion (RM3): `terms` of the index with boosts, added to the query's terms.

    `query_weight` is the boost of the original query's BM25 score.
    """

    query_weight: float
    terms: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class TermQuery:
    """An analysed keyword query: boosted terms, as a search engine takes them.

    A passage's score is the sum over `words` of the maximum over each word's alternatives. An
    alternative's score is the boosted sum of its terms' BM25 scores. (Lucene: a BooleanQuery of
    DisjunctionMaxQueries of boosted terms.)
    """

    words: tuple[tuple[WeightedTerms, ...], ...] = ()

    def expanded(self, expansion: Expansion) -> TermQuery:
        """The query boosted by `expansion.query_weight`, plus the expansion's terms."""
        own = tuple(
            tuple(
                tuple((term, expansion.query_weight * weight) for term, weight in terms)
                for terms in word
            )
            for word in self.words
        )
        return TermQuery(own + tuple((((term, weight),),) for term, weight in expansion.terms))


@dataclass(frozen=True, slots=True)
class ContentWord:
    """A content word of a query, and what it is in the index.

    A passage has the word if it has one of `terms`; a term with spaces is several side by side.
    `documents` is the number of passages that keyword search finds by it, in compounds as well.
    `instead` are the terms of the words that replace it if it occurs nowhere, and is misspelt.
    """

    typed: str
    terms: tuple[str, ...]
    documents: int
    instead: tuple[str, ...] = ()


__all__ = [
    "ContentWord",
    "Expansion",
    "KeywordScore",
    "KeywordWord",
    "LeftOutTexts",
    "NewChunk",
    "PageStatus",
    "TermQuery",
    "UnreadFile",
]
