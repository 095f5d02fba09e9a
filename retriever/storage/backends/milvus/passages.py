"""`MilvusPassages`: the search over one generation of an index in Milvus.

Milvus finds the nearest vectors, and the passages whose inner product of term weights bounds their
keyword scores (see `weights`). Both are scored again here, as in the embedded backend: from the
vectors in float64, and from the terms with today's document frequencies. What a search has read of
a passage is kept until its end, so that a hybrid search takes few calls, each for many passages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from retriever.arrays import DoubleScores, Keys, Scores, Vectors
from retriever.storage.backends.milvus import weights
from retriever.storage.backends.milvus.client import MAX_FOUND, Row
from retriever.storage.backends.milvus.filters import FilterExpressions
from retriever.storage.backends.milvus.rows import lengthened
from retriever.storage.backends.milvus.scoring import Collection, Passage
from retriever.storage.backends.milvus.statistics import DenseStatistics, Unseen, dense_statistics
from retriever.storage.backends.milvus.terms import PLACE, POOL, Reads, Terms
from retriever.storage.backends.milvus.values import id_of, key_of
from retriever.storage.backends.protocols import ScoredIds
from retriever.storage.backends.ties import top_k_ids, top_scores
from retriever.storage.filters import Filter
from retriever.storage.records import TermQuery
from retriever.storage.vectors.exact import MARGIN, check_query, exact_scores, top_k

WORDS = (*PLACE, "terms", "long", "length", "embedded")
"""What is read of a passage for keyword scores; its vector is read when it is needed."""

FIELDS = (*WORDS, "dense")
"""What is read of a passage among the nearest, for both sides of a search."""

MIN_CANDIDATES = 64
"""The least number of candidates of a keyword search."""

MAX_WHOLE = 1024
"""With more candidates, the fields of those that are new are read in parts.

A search's first candidates are all new. Later ones are mostly known: only those that are new are
read.
"""

_MORE = 8  # nearest passages beyond those asked for: rounding may have exchanged them
_SLACK = 1 + 1e-5  # weights are stored in float32

_Asked = tuple[TermQuery, str]


@dataclass(eq=False, slots=True)
class _Found:
    """The candidates of a keyword query: those with scores > 0, keys (m,) ascending, scores (m,).

    No other passage has a score of `bound` or more. `complete`: there are no other matches.
    """

    keys: Keys
    scores: DoubleScores
    bound: float
    limit: int
    complete: bool


@dataclass(eq=False, slots=True)
class _Cache:
    """Score statistics of the last queries of a generation."""

    keyword: dict[TermQuery, tuple[float, float]] = field(default_factory=dict)
    dense: dict[bytes, tuple[float, float]] = field(default_factory=dict)


class MilvusPassages:
    """The implementation of `PassageSearch`; it belongs to one thread, as its snapshot does.

    At most 16,384 passages are found at once: more than that Milvus does not return.
    """

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._collections = reads.collections
        self._connection = reads.collections.connection
        self._terms = Terms(reads)
        self._filters = FilterExpressions(reads, self._terms)
        self._cache = reads.remembered("score statistics", _Cache)
        self._known: dict[int, Passage | None] = {}  # None for one that is not there
        self._found: dict[_Asked, _Found] = {}
        self._lent: dict[int, Vectors] = {}  # key → calibrated vector
        self._begun: tuple[tuple[bytes, int, str], Future[list[Row]]] | None = None

    # Dense

    def begin_dense(self, query: Vectors, k: int, where: Filter | None = None) -> None:
        """See `PassageSearch.begin_dense`."""
        if not self.count() or k <= 0:
            return
        vector = check_query(query, self._dimension)
        count = k + 1 + _MORE
        expression = self._nearest_where(where)
        begun = POOL.submit(self._nearest_rows, vector, count, expression)
        self._begun = (vector.tobytes(), count, expression), begun

    def dense(self, query: Vectors, k: int, where: Filter | None = None) -> ScoredIds:
        """See `PassageSearch.dense`."""
        if not self.count() or not (self.count_vectors() or self._lent):
            return ScoredIds((), np.empty(0, np.float32), 0.0, 0.0)
        vector = check_query(query, self._dimension)
        expression = self._nearest_where(where)
        lent, lent_scores = self._lent_scores(vector, where)

        def nearest(count: int) -> tuple[Keys, Scores]:
            keys, scores = self._nearest(vector, count, expression)
            return top_k(np.append(keys, lent), np.append(scores, lent_scores), count)

        ids, scores = top_k_ids(nearest, k, _ids_of)
        return ScoredIds(ids, scores, *self._dense_statistics(vector))

    def _nearest_where(self, where: Filter | None) -> str:
        allowed = "" if where is None else f" and ({self._filters.expression(where)})"
        return f"embedded == true{allowed}"

    def _nearest(self, vector: Vectors, count: int, where: str) -> tuple[Keys, Scores]:
        """The `count` nearest passages: keys (m,) and cosines (m,), best first."""
        wanted = count + _MORE
        margin = MARGIN * float(np.linalg.norm(vector))
        while True:
            wanted = min(wanted, MAX_FOUND)
            rows = self._take_begun(vector, wanted, where)
            if rows is None:
                rows = self._nearest_rows(vector, wanted, where)
            keys = self._take(rows)
            self._load(keys, vectors=True)
            found = [self._known[key] for key in keys]
            there = [(one.key, one.vector) for one in found if one and one.vector is not None]
            own = np.array([key for key, _ in there], np.int64)
            vectors = np.array([value for _, value in there], np.float32)
            scores = exact_scores(vectors, vector, np.arange(len(own)))
            best = top_k(own, scores, count)
            if len(rows) < wanted or wanted == MAX_FOUND:
                return best
            if len(own) >= count and best[1][-1] > rows[-1]["distance"] + margin:
                return best
            wanted *= 4

    def _nearest_rows(self, vector: Vectors, count: int, where: str) -> list[Row]:
        return self._connection.search(
            *(self._collections.passages, "dense", vector.tolist(), count),
            where=where,
            fields=self._asked(FIELDS, count),
        )

    def _asked(self, fields: Sequence[str], count: int) -> Sequence[str]:
        """The fields that a search for so many candidates asks for."""
        return fields if count <= MAX_WHOLE and not self._known else PLACE

    def _take_begun(self, vector: Vectors, count: int, where: str) -> list[Row] | None:
        begun, self._begun = self._begun, None
        asked = vector.tobytes(), count, where
        return begun[1].result() if begun is not None and begun[0] == asked else None

    def _dense_statistics(self, vector: Vectors) -> tuple[float, float]:
        """The statistics of stored vectors, or of lent ones if none is stored."""
        if self._lent and not self._stored_vectors():
            scores = self._lent_scores(vector, None)[1].astype(np.float64)
            return float(scores.mean()), float(scores.std())
        name = vector.tobytes()
        known = self._cache.dense
        if name not in known:
            if len(known) > MAX_FOUND:
                known.clear()
            known[name] = self._reads.remembered("dense statistics", self._moments).statistics(
                vector
            )
        return known[name]

    def _moments(self) -> DenseStatistics:
        return dense_statistics(self._reads, self._stored_vectors())

    def dense_scores(self, query: Vectors, chunk_ids: Sequence[str]) -> Scores:
        """See `PassageSearch.dense_scores`."""
        scores = np.zeros(len(chunk_ids), dtype=np.float32)
        passages = self._passages(chunk_ids, vectors=True)
        if not any(passages):
            return scores
        vector = check_query(query, self._dimension)
        own = [self._vector_of(passage) for passage in passages]
        there = [at for at, value in enumerate(own) if value is not None]
        vectors = np.array([own[at] for at in there], np.float32)
        scores[there] = exact_scores(vectors, vector, np.arange(len(there)))
        missing = [at for at, one in enumerate(passages) if one is not None and own[at] is None]
        if missing:
            scores[missing] = self._dense_statistics(vector)[0]
        return scores

    def _vector_of(self, passage: Passage | None) -> Vectors | None:
        if passage is None:
            return None
        return passage.vector if passage.vector is not None else self._lent.get(passage.key)

    @property
    def _dimension(self) -> int:
        return self._reads.dimension() or 0

    # Keywords

    def keyword(self, query: TermQuery, k: int, where: Filter | None = None) -> ScoredIds:
        """See `PassageSearch.keyword`; the statistics may be approximate: see `statistics`."""
        if not self.count():
            return ScoredIds((), np.empty(0, np.float32), 0.0, 0.0)
        collection = self._collection(query)
        found = self._best(query, k, where, collection)
        scores = found.scores.astype(np.float32)

        def top(count: int) -> tuple[Keys, Scores]:
            return top_scores(found.keys, scores, count)

        statistics = self._keyword_statistics(query, collection)
        return ScoredIds(*top_k_ids(top, k, _ids_of), *statistics)

    def _collection(self, query: TermQuery) -> Collection:
        terms = {term for word in query.words for way in word for term, _ in way}
        counts = self._terms.document_frequencies(terms)
        totals = self._terms.totals
        return Collection(totals.passages, totals.average or 1.0, counts)

    def _best(
        self, query: TermQuery, k: int, where: Filter | None, collection: Collection
    ) -> _Found:
        """Candidates that have the `k` best passages, and all that tie with the last of them."""
        asked = query, repr(where)
        known = self._found.get(asked)
        if known is not None and (known.complete or _is_enough(known, k)):
            return known
        vector = weights.query_vector(weights.query_weights(query, collection.idf))
        factor = weights.bound_factor(self._terms.averages, collection.average) * _SLACK
        expression = "" if where is None else self._filters.expression(where)
        limit = max(MIN_CANDIDATES, 2 * k)
        while True:
            limit = min(limit, MAX_FOUND)
            found = self._candidates(query, vector, limit, expression, collection, factor)
            if found.complete or limit == MAX_FOUND or _is_enough(found, k):
                self._found[asked] = found
                return found
            limit *= 4

    def _candidates(
        self,
        query: TermQuery,
        vector: Mapping[int, float],
        limit: int,
        where: str,
        collection: Collection,
        factor: float,
    ) -> _Found:
        rows: list[Row] = []
        if vector:
            rows = self._connection.search(
                *(self._collections.passages, "sparse", dict(vector), limit),
                where=where,
                fields=self._asked(WORDS, limit),
            )
        keys = self._take(rows)
        passages = [one for key in sorted(keys) if (one := self._known[key])]
        scores = collection.scores(query, passages)
        match = scores > 0
        own = np.array([one.key for one in passages], np.int64)
        complete = len(rows) < limit
        bound = 0.0 if complete else factor * rows[-1]["distance"]
        return _Found(own[match], scores[match], bound, limit, complete)

    def _keyword_statistics(self, query: TermQuery, collection: Collection) -> tuple[float, float]:
        known = self._cache.keyword
        if query not in known:
            if len(known) > MAX_WHOLE:
                known.clear()
            known[query] = self._computed_statistics(query, collection)
        return known[query]

    def _computed_statistics(self, query: TermQuery, collection: Collection) -> tuple[float, float]:
        found = self._best(query, MIN_CANDIDATES, None, collection)
        if found.complete or not len(found.keys):
            total = float(found.scores.sum()) / collection.total
            square = float(np.square(found.scores).sum()) / collection.total
            return total, float(np.sqrt(max(0.0, square - total**2)))
        single = weights.query_weights(query, collection.idf, phrases=False)
        averages = self._terms.averages
        unseen = Unseen(
            collection.total,
            single,
            self._terms.facts(single),
            averages[-1] if averages else collection.average,
            collection.average,
        )
        seen = [one for key in found.keys.tolist() if (one := self._known[key])]
        return unseen.statistics(seen, found.scores)

    def keyword_scores(self, query: TermQuery, chunk_ids: Sequence[str]) -> DoubleScores:
        """See `PassageSearch.keyword_scores`."""
        passages = self._passages(chunk_ids)
        there = [at for at, passage in enumerate(passages) if passage is not None]
        scores = np.zeros(len(chunk_ids))
        if there:
            some = [passage for passage in passages if passage is not None]
            scores[there] = self._collection(query).scores(query, some)
        return scores

    # Passages

    def _passages(self, chunk_ids: Sequence[str], *, vectors: bool = False) -> list[Passage | None]:
        """The passages with these ids, in this order; None for an unknown id.

        With `vectors`, their vectors are read, too.
        """
        keys = [_key_of(id_) for id_ in chunk_ids]
        if not self.count():
            return [None] * len(keys)
        self._load([key for key in keys if key is not None], vectors=vectors)
        return [None if key is None else self._known[key] for key in keys]

    def _load(self, keys: Iterable[int], *, vectors: bool = False) -> None:
        """Read what is not known of passages."""
        wanted = list(dict.fromkeys(keys))
        missing = [key for key in wanted if key not in self._known]
        if missing:
            self._take(self._collections.get(missing, FIELDS if vectors else WORDS))
            for key in missing:
                self._known.setdefault(key, None)
        found = [self._known[key] for key in wanted] if vectors else []
        bare = {one.key: one for one in found if one and one.embedded and one.vector is None}
        if bare:
            rows = self._collections.get(list(bare), (*PLACE, "dense"))
            for row, _ in self._reads.of_documents(rows):
                bare[row["key"]].vector = np.asarray(row["dense"], np.float32)

    def _take(self, rows: Sequence[Row]) -> list[int]:
        """Keep what rows say of passages; the keys of those that count, in this order.

        What rows with the fields of `PLACE` alone do not say is read.
        """
        counting = [row for row, _ in self._reads.of_documents(rows)]
        keys = [int(row["key"]) for row in counting]
        new = [row for row in counting if row["key"] not in self._known and "terms" in row]
        for row in lengthened(self._collections.records, new):
            there = row["embedded"] and "dense" in row
            vector = np.asarray(row["dense"], np.float32) if there else None
            facts = int(row["length"]), bool(row["embedded"])
            self._known[int(row["key"])] = Passage(int(row["key"]), row["terms"], *facts, vector)
        self._load(keys)
        return [key for key in keys if self._known[key] is not None]

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        """See `PassageSearch.vectors`."""
        found = np.zeros((len(chunk_ids), self._dimension), dtype=np.float32)
        for at, passage in enumerate(self._passages(chunk_ids, vectors=True)):
            vector = self._vector_of(passage)
            if vector is not None:
                found[at] = vector
        return found

    def terms(self, chunk_ids: Sequence[str]) -> list[list[str]]:
        """See `PassageSearch.terms`."""
        found = [
            [] if passage is None else list(passage.terms) for passage in self._passages(chunk_ids)
        ]
        for terms in found:  # feedback counts them next
            self._terms.expect(terms)
        return found

    def document_frequencies(self, terms: Iterable[str]) -> Mapping[str, int]:
        """See `PassageSearch.document_frequencies`."""
        return self._terms.document_frequencies(terms)

    def count(self) -> int:
        """See `PassageSearch.count`."""
        return self._terms.totals.passages

    def count_vectors(self) -> int:
        """See `PassageSearch.count_vectors`."""
        return self._stored_vectors() + len(self._lent)

    def _stored_vectors(self) -> int:
        """The number of passages with a vector of their own."""
        return max(0, self.count() - self._reads.count_pending()) if self.count() else 0

    def without_vector(self, chunk_ids: Sequence[str]) -> set[str]:
        """See `PassageSearch.without_vector`."""
        passages = zip(chunk_ids, self._passages(chunk_ids), strict=True)
        return {
            id_
            for id_, passage in passages
            if passage is not None and not passage.embedded and passage.key not in self._lent
        }

    def lend(self, vectors: Mapping[str, Vectors]) -> None:
        """See `PassageSearch.lend`."""
        for id_, passage in zip(vectors, self._passages(list(vectors)), strict=True):
            if passage is not None and not passage.embedded:
                self._lent[passage.key] = vectors[id_].astype(np.float32)

    def _lent_scores(self, vector: Vectors, where: Filter | None) -> tuple[Keys, Scores]:
        """The keys (m,) of lent vectors that are allowed, and their cosines (m,)."""
        keys = np.array(list(self._lent), dtype=np.int64)
        if where is not None and len(keys):
            some = ", ".join(map(str, keys.tolist()))
            allowed = f"key in [{some}] and ({self._filters.expression(where)})"
            rows = self._connection.all(self._collections.passages, allowed, ("key",))
            keys = keys[np.isin(keys, [row["key"] for row in rows])]
        if not len(keys):
            return keys, np.empty(0, np.float32)
        vectors = np.array([self._lent[key] for key in keys.tolist()])
        return keys, exact_scores(vectors, vector, np.arange(len(keys)))


def _is_enough(found: _Found, k: int) -> bool:
    """Whether no passage that was not seen is among the `k` best, nor ties with the last."""
    if k <= 0:
        return True
    if len(found.keys) < k:
        return False
    kth = np.partition(found.scores, len(found.scores) - k)[len(found.scores) - k]
    return bool(np.float32(kth) > found.bound)


def _ids_of(keys: Keys) -> dict[int, str]:
    return {key: id_of(key) for key in keys.tolist()}


def _key_of(chunk_id: str) -> int | None:
    try:
        return key_of(chunk_id)
    except ValueError:
        return None


__all__ = ["FIELDS", "MIN_CANDIDATES", "WORDS", "MilvusPassages"]
