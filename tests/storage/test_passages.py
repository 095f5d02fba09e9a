"""A second engine: a search needs only the methods of `PassageSearch`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pytest

from retriever.explaining.score import explain_chunk
from retriever.searching.hybrid import Mode, search
from retriever.storage.backends import ScoredIds, Snapshot
from retriever.storage.catalog import Reader
from retriever.storage.catalog.postings import idf
from retriever.storage.filters import Filter, chunk_fields
from retriever.storage.records import TermQuery
from retriever.text.analyzer import content_terms, count_term, passage_terms
from tests.searching.test_hybrid import filled


class NaivePassages:
    """Brute force over all vectors and terms."""

    def __init__(self, catalog: Reader) -> None:
        rows = catalog.documents()
        self.all = {c.id: (row, c) for row in rows for c in catalog.chunks(row.id)}
        keys = np.array([catalog.keys_of([id_])[id_] for id_ in self.all])
        raw = catalog.chunk_vectors(keys)[1]
        self.units = dict(zip(self.all, catalog.means().passage(raw), strict=True))
        self.words = {
            id_: passage_terms(chunk.title, chunk.text, chunk.language)
            for id_, (_, chunk) in self.all.items()
        }

    def dense(self, query: np.ndarray, k: int, where: Filter | None = None) -> ScoredIds:
        return self._best(list(self.all), self.dense_scores(query, list(self.all)), k, where)

    def dense_scores(self, query: np.ndarray, chunk_ids: Sequence[str]) -> np.ndarray:
        units = [self.units.get(id_, np.zeros_like(query)) for id_ in chunk_ids]
        return np.array([np.dot(unit.astype(float), query) for unit in units], np.float32)

    def keyword(self, query: TermQuery, k: int, where: Filter | None = None) -> ScoredIds:
        scores = self.keyword_scores(query, list(self.all))
        found = self._best(list(self.all), scores, k, where)
        many = sum(score > 0 for score in found.scores)
        return ScoredIds(found.ids[:many], found.scores[:many], found.mean, found.std)

    def keyword_scores(self, query: TermQuery, chunk_ids: Sequence[str]) -> np.ndarray:
        return np.array(
            [
                sum(
                    max(sum(weight * self._bm25(term, id_) for term, weight in way) for way in word)
                    for word in query.words
                )
                for id_ in chunk_ids
            ],
            dtype=float,
        )

    def vectors(self, chunk_ids: Sequence[str]) -> np.ndarray:
        return np.array([self.units[id_] for id_ in chunk_ids], np.float32)

    def terms(self, chunk_ids: Sequence[str]) -> list[list[str]]:
        return [self.words.get(id_, []) for id_ in chunk_ids]

    def document_frequencies(self, terms: Iterable[str]) -> Mapping[str, int]:
        return {
            term: sum(count_term(words, term) > 0 for words in self.words.values())
            for term in terms
        }

    def count(self) -> int:
        return len(self.all)

    def begin_dense(self, query, k, where=None) -> None:
        pass

    def count_vectors(self) -> int:
        return len(self.all)

    def without_vector(self, chunk_ids: Sequence[str]) -> set[str]:
        return set()

    def lend(self, vectors: Mapping[str, np.ndarray]) -> None:
        raise AssertionError("every passage has a vector")

    def _bm25(self, term: str, id_: str) -> float:
        words = self.words.get(id_, [])
        lengths = {id_: len(content_terms(each)) for id_, each in self.words.items()}
        average = np.mean(list(lengths.values()))
        times = count_term(words, term)
        count = self.document_frequencies([term])[term]
        norm = 1.2 * (0.25 + 0.75 * lengths[id_] / average)
        return float(idf(self.count(), count) * times * 2.2 / (times + norm)) if times else 0.0

    def _best(self, ids: list[str], scores: np.ndarray, k: int, where: Filter | None) -> ScoredIds:
        # Rounded: in another order of adding, equal scores differ in the last digit.
        by_id = dict(zip(ids, np.asarray(scores, float).round(6).tolist(), strict=True))
        kept = [id_ for id_ in ids if where is None or where.matches(chunk_fields(*self.all[id_]))]
        best = sorted(kept, key=lambda id_: (-by_id[id_], id_))[:k]
        found = np.array([by_id[id_] for id_ in best], np.float32)
        return ScoredIds(tuple(best), found, float(np.mean(scores)), float(np.std(scores)))


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
@pytest.mark.parametrize("query", ["amber mesa", "bark karst ledge", "ambre fjord"])
def test_a_search_needs_no_more_of_an_engine(tmp_path, mode: str, query: str) -> None:
    """The same results, and the same explanation, from the embedded engine and from this one."""
    with filled(tmp_path / "i", 12) as index, index.snapshot() as now:
        other = Snapshot(now.catalog, NaivePassages(now.catalog))
        for where in (None, Filter.parse({"format": "pdf"})):
            how = {"k": 8, "mode": mode, "where": where, "tolerant": True}
            found = search(now, query, index.embed_query, **how)
            again = search(other, query, index.embed_query, **how)
            assert [hit.score for hit in again] == pytest.approx(
                [hit.score for hit in found], abs=1e-4
            )
            by_id = {hit.chunk.id: hit for hit in found}
            for hit in again[:-1]:  # the last one may have an equal that was left out
                assert hit.score == pytest.approx(by_id[hit.chunk.id].score, abs=1e-4)
        chunk = found[0].chunk
        one, two = (
            explain_chunk(each, index._attributions, query, chunk, Mode(mode), tolerant=True)
            for each in (now, other)
        )
        assert two.score == pytest.approx(one.score, abs=1e-4)
        assert other.matched_terms(query) == now.matched_terms(query)
        assert other.corrections(query) == now.corrections(query)
        assert other.max_bm25(query) == pytest.approx(now.max_bm25(query))
