"""`Snapshot`: one generation of an index, which a search, explanation or report reads from.

It is independent of the engine: it calibrates raw query vectors and analyses query texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from retriever.arrays import Scores, Vectors
from retriever.storage.backends.keyword_query import AnalysedQuery, KeywordQuery, max_word_bm25
from retriever.storage.backends.protocols import CatalogReader, PassageSearch, ScoredIds
from retriever.storage.calibration import Calibration
from retriever.storage.catalog.postings import idf
from retriever.storage.filters import Filter
from retriever.storage.records import (
    ContentWord,
    Expansion,
    KeywordScore,
    TermQuery,
    WeightedTerms,
)
from retriever.storage.vectors.exact import check_query


class Snapshot:
    """One generation: `catalog` reads documents, pages and chunks; `passages` searches the chunks.

    It belongs to one thread, and is valid within the `with` block that opened it.
    """

    def __init__(self, catalog: CatalogReader, passages: PassageSearch) -> None:
        self.catalog = catalog
        self.passages = passages
        self._queries: dict[str, KeywordQuery] = {}
        self._analysed: dict[tuple[str, bool], AnalysedQuery] = {}

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration of dense search; the identity before it is fitted."""
        return self.catalog.means()

    @cached_property
    def dense_weight(self) -> float:
        """The weight of dense scores relative to keyword scores in hybrid search; 1 by default."""
        return float((self.catalog.calibration_facts() or {}).get("dense_weight", 1.0))

    @cached_property
    def some_pending(self) -> bool:
        """Whether some passages have no vector yet."""
        return self.passages.count_vectors() < self.passages.count()

    def lend(self, vectors: Mapping[str, Vectors], means: Calibration | None = None) -> None:
        """Give passages without a vector raw ones (dim,) by id, for this snapshot only.

        `means` replace the calibration of an index in which none is fitted.
        """
        if means is not None:
            self.calibration = means
        calibrated = self.calibration.passage(np.stack(list(vectors.values())))
        self.passages.lend(dict(zip(vectors, calibrated, strict=True)))

    # Dense: raw query vectors

    def dense(self, query: Vectors, k: int, where: Filter | None = None) -> ScoredIds:
        """The `k` chunks nearest to the raw query vector (dim,), by calibrated cosine."""
        if not self.passages.count():
            return ScoredIds((), np.empty(0, np.float32), 0.0, 0.0)
        return self.passages.dense(self._query(query), k, where)

    def begin_dense(self, query: Vectors, k: int, where: Filter | None = None) -> None:
        """Say that `dense` follows with these arguments: it may be computed meanwhile."""
        if self.passages.count():
            self.passages.begin_dense(self._query(query), k, where)

    def dense_scores(self, query: Vectors, chunk_ids: Sequence[str]) -> Scores:
        """The calibrated cosine of the raw query (dim,) with each chunk: (n,)."""
        if not chunk_ids or not self.passages.count():
            return np.zeros(len(chunk_ids), np.float32)
        return self.passages.dense_scores(self._query(query), chunk_ids)

    def _query(self, raw: Vectors) -> Vectors:
        return self.calibration.query(check_query(raw, self.catalog.dimension() or 0))

    # Keywords: texts

    def keyword(
        self,
        query: str,
        k: int,
        where: Filter | None = None,
        *,
        tolerant: bool = False,
        expansion: Expansion | None = None,
    ) -> ScoredIds:
        """The `k` chunks with the best BM25 score > 0. Any text is valid; without words: none.

        `tolerant` replaces an unknown word by its `corrections`, of which the best match counts 0.6
        times. With an `expansion`, a chunk's score is `expansion.query_weight` times its BM25
        score, plus the weighted BM25 scores of the added terms.
        """
        return self.passages.keyword(self._term_query(query, tolerant, expansion), k, where)

    def keyword_scores(
        self,
        query: str,
        chunk_ids: Sequence[str],
        *,
        tolerant: bool = False,
        expansion: Expansion | None = None,
    ) -> Scores:
        """The BM25 score of each chunk, 0 without a query word: (n,). See `keyword`."""
        terms = self._term_query(query, tolerant, expansion)
        return self.passages.keyword_scores(terms, chunk_ids).astype(np.float32)

    def max_bm25(self, query: str) -> float:
        """The supremum of a passage's BM25 score: all words, at saturated term frequency.

        An unknown word has the highest idf, so that the score is then out of reach.
        """
        return self._keyword_query(query).max_bm25()

    def max_word_bm25(self) -> float:
        """The supremum of the BM25 score of one word that occurs nowhere."""
        return max_word_bm25(self.passages.count())

    def query_weight(self, query: str) -> float:
        """The number of words that keyword search looks for, a repeated one with its boost."""
        return self._keyword_query(query).weight()

    def explain_bm25(
        self,
        query: str,
        chunk_id: str,
        *,
        tolerant: bool = False,
        expansion: Expansion | None = None,
    ) -> KeywordScore:
        """A chunk's BM25 score word by word; all zero for an unknown id."""
        chunk = next(iter(self.catalog.get([chunk_id])), None)
        return self._keyword_query(query).explain_bm25(
            chunk, tolerant=tolerant, expansion=expansion
        )

    def corrections(self, query: str) -> Mapping[str, Sequence[str]]:
        """Unknown words of the query → one to three similar words of the index, best first.

        The edit distance is 1 in a word of 4 to 7 letters, up to 2 in a longer one. The first
        letter is assumed to be right. In a query of a language that hardly any passage has, only
        long words are corrected.
        """
        return self._analyse(query, tolerant=True).corrections

    def content_words(self, query: str, *, tolerant: bool = False) -> tuple[ContentWord, ...]:
        """The words that a passage must have to have all of the query, in order."""
        return self._keyword_query(query).content_words(tolerant=tolerant)

    def foreign_language(self, query: str) -> str:
        """The query's language (ISO 639-1) if hardly any passage has it; "" if not or in doubt."""
        return self._keyword_query(query).foreign

    def matched_terms(self, query: str) -> frozenset[str]:
        """The terms that a tolerant keyword search looks for; see `retriever.text.analyzer`.

        They include compounds that contain a query word, the parts of a compound, and corrections.
        Words that occur in most passages may be missing.
        """
        return self._analyse(query, tolerant=True).terms

    def word_values(
        self, query: str, *, tolerant: bool = False
    ) -> tuple[tuple[WeightedTerms, ...], ...]:
        """The words that a keyword search looks for, each by its alternatives: terms with values.

        A term's value is its boost times its inverse document frequency: what an occurrence adds to
        a score before the length of the text counts.
        """
        words = self._analyse(query, tolerant=tolerant).query.words
        counts = self.passages.document_frequencies(
            {term for ways in words for way in ways for term, _ in way}
        )
        total = self.passages.count()
        return tuple(
            tuple(
                tuple((term, boost * idf(total, counts[term])) for term, boost in way)
                for way in ways
            )
            for ways in words
        )

    def _term_query(self, query: str, tolerant: bool, expansion: Expansion | None) -> TermQuery:
        terms = self._analyse(query, tolerant=tolerant).query
        return terms if expansion is None else terms.expanded(expansion)

    def _analyse(self, query: str, *, tolerant: bool) -> AnalysedQuery:
        key = query, tolerant
        if key not in self._analysed:
            self._analysed[key] = self._keyword_query(query).analyse(tolerant=tolerant)
        return self._analysed[key]

    def _keyword_query(self, query: str) -> KeywordQuery:
        if query not in self._queries:
            self._queries[query] = KeywordQuery(query, self.passages, self.catalog)
        return self._queries[query]


__all__ = ["Snapshot"]
