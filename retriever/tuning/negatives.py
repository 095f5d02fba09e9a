"""Hard negatives, and a teacher's scores, by the hybrid search with feedback.

A hard negative is a passage that the search ranks high and that does not answer the query. Many of
the passages that it ranks high do answer it, though nobody has said so. So none is taken that

- is a known positive of the same query, or shares half of its shingles with one;
- has the query in its text, or as its title;
- has more than 95 % of the positive's score: the positive-aware filter "TopK-PercPos" of Moreira et
  al., "NV-Retriever: Improving text embedding models with effective hard-negative mining", 2024
  (arXiv 2407.15831). If the positive is a part of an indexed passage, which then has the question
  in it, of the best other score;
- makes the query more likely than the positive does, if a language model judges: log P(query |
  passage), as in `retriever.searching.rerank`.

The negatives are a random choice of the best that remain. Ties and choices are reproducible.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

import numpy as np

from retriever.arrays import DoubleScores, Vectors
from retriever.embedding.protocols import Judge, RetrievalEmbedder
from retriever.evaluation.retrieval import open_dataset
from retriever.index import Index
from retriever.indexing.cloze import hash_key
from retriever.searching.hybrid import hybrid_scores, search
from retriever.searching.near_duplicates import Fingerprint, fingerprint
from retriever.searching.query_syntax import plain
from retriever.searching.rerank import rescaled
from retriever.storage.backends import Snapshot
from retriever.tuning.guard import retrieval_dataset
from retriever.tuning.leakage import normalised
from retriever.tuning.pairs import Pair, PairData, Passage
from retriever.types import Chunk, UsageError, document_id

COUNT = 4
"""Negatives of a pair by default."""

DEPTH = 50
"""Number of results that negatives are taken from, by default."""

MARGIN = 0.95
"""A negative has at most this share of the positive's score."""

_ALIKE = 0.5  # shared shingles of the smaller text
_POOL = 4  # so many times the negatives wanted, of which they are a random choice
_QUERY_WORDS = 4  # a shorter query may be in a text that does not answer it
_BLOCK = 64  # queries embedded at once

Told = Callable[[int, int], None]
"""Is told the pairs that are done, and all of them; what it raises ends the work."""


def _ignore(done: int, total: int) -> None:
    return None


@contextmanager
def open_pairs(
    embedder: RetrievalEmbedder, data: PairData, *, progress: Callable[[str], None] = lambda _: None
) -> Iterator[Index]:
    """The index of the whole corpus of pairs, in the user's cache; a document for each passage."""
    whole = retrieval_dataset(data, len(data.corpus))
    with open_dataset(embedder, whole, data.name, progress=progress) as ready:
        yield ready.index


def mine(
    data: PairData,
    index: Index,
    *,
    count: int = COUNT,
    depth: int = DEPTH,
    seed: int = 0,
    teacher: Judge | None = None,
    told: Told = _ignore,
) -> list[Pair]:
    """The pairs, in their order, with up to `count` negatives each; those they have come first.

    `index` has the passages as its own (their ids are those of chunks), or each as a document (see
    `open_pairs`). A negative is a passage of the corpus, or else a chunk. Raises UsageError if a
    positive is not in the index, or the pairs are rated sentences.
    """
    _refuse_scored(data.pairs)
    if count < 1 or depth < 1:
        raise UsageError("at least one negative is taken from at least one result")
    miner = _Miner(data, index, count, depth, seed, teacher)
    known = _positives(data.pairs)
    found: list[Pair] = []
    for pair, vector in _with_vectors(data.pairs, index, told):
        found.append(miner.with_negatives(pair, vector, known[normalised(pair.query)]))
    return found


def teacher_scores(
    pairs: Sequence[Pair], index: Index, judge: Judge | None = None, *, told: Told = _ignore
) -> list[DoubleScores]:
    """A teacher's scores of each pair's positive and negatives, in this order: (1 + m,) each.

    They are those of the hybrid search with feedback: sums of z-scores over the index. With a judge
    they are averaged with log P(query | passage), both standardised over the pair's passages, and
    scaled back to their range. A positive that is only a part of an indexed passage has nan: the
    whole has the question in it. Raises UsageError if a passage is not in the index.
    """
    _refuse_scored(pairs)
    found: list[DoubleScores] = []
    for pair, vector in _with_vectors(pairs, index, told):
        passages = [pair.positive, *pair.negatives]
        with index.snapshot() as now:
            scores = _scores(now, index, pair.query, vector, passages)
            whole = _is_whole(now, pair.positive)
        if judge is not None and len(passages) > 1:
            scores = rescaled(scores, _likelihoods(judge, pair.query, passages))
        found.append(scores if whole else np.array([np.nan, *scores[1:]]))
    return found


class _Candidate:
    """A passage that may be a negative, with its score."""

    def __init__(self, passage: Passage, score: float) -> None:
        self.passage = passage
        self.score = score

    @cached_property
    def fingerprint(self) -> Fingerprint:
        return fingerprint(self.passage.text)

    def answers(self, query: str) -> bool:
        """Whether the passage has the query in its text, or as its title."""
        asked, title = normalised(query), normalised(self.passage.title)
        text = f" {title} {normalised(self.passage.text)} "
        return asked == title or (len(asked.split()) >= _QUERY_WORDS and f" {asked} " in text)

    def is_like(self, positives: Sequence[Passage]) -> bool:
        """Whether it is one of the positives, or shares half of the shingles of the smaller."""
        own = self.fingerprint
        for positive in positives:
            if normalised(positive.text) == normalised(self.passage.text):
                return True
            other = fingerprint(positive.text)
            least = min(len(own.shingles), len(other.shingles))
            if len(own.shingles & other.shingles) >= _ALIKE * least:
                return True
        return False


class _Miner:
    """Negatives for one pair after the other."""

    def __init__(
        self,
        data: PairData,
        index: Index,
        count: int,
        depth: int,
        seed: int,
        teacher: Judge | None,
    ) -> None:
        self.corpus, self.index = data.corpus, index
        self.count, self.depth, self.seed, self.teacher = count, depth, seed, teacher

    def with_negatives(self, pair: Pair, vector: Vectors, known: Sequence[Passage]) -> Pair:
        """The pair with as many negatives as are wanted, or can be found."""
        missing = self.count - len(pair.negatives)
        if missing <= 0:
            return pair
        others = [*known, *pair.negatives]
        taken = {each.id for each in others}
        pool: list[_Candidate] = []
        for candidate in self._candidates(pair, vector):
            fresh = candidate.passage.id not in taken and not candidate.answers(pair.query)
            if fresh and not candidate.is_like(others):
                pool.append(candidate)
            if len(pool) == _POOL * missing:
                break
        pool = self._judged(pair, pool)
        draw = random.Random(hash_key(f"{self.seed} {pair.query} {pair.positive.id}"))  # noqa: S311
        kept = sorted(draw.sample(range(len(pool)), min(missing, len(pool))))
        return replace(pair, negatives=(*pair.negatives, *(pool[at].passage for at in kept)))

    def _candidates(self, pair: Pair, vector: Vectors) -> Iterator[_Candidate]:
        """Passages that are not too near to the positive, best first."""
        with self.index.snapshot() as now:
            text = plain(pair.query).text
            hits = search(now, text, lambda _: vector, k=self.depth)
            best: dict[str, tuple[Passage, float]] = {}  # of a document its best passage counts
            for hit in hits:
                passage = self._passage(hit.chunk)
                best.setdefault(passage.id, (passage, hit.score))
            if _is_whole(now, pair.positive):
                reference = float(_scores(now, self.index, pair.query, vector, [pair.positive])[0])
            else:  # the passage there has the question in it, so its score says nothing
                others = (score for name, (_, score) in best.items() if name != pair.positive.id)
                reference = max(others, default=0.0)
        most = reference - (1 - MARGIN) * abs(reference)
        for passage, score in best.values():
            if score <= most:
                yield _Candidate(passage, score)

    def _passage(self, chunk: Chunk) -> Passage:
        """The corpus's passage that the chunk is a part of, or the chunk."""
        return self.corpus.get(chunk.path) or Passage(chunk.text, chunk.title, chunk.id)

    def _judged(self, pair: Pair, pool: list[_Candidate]) -> list[_Candidate]:
        """Those that make the query less likely than the positive does."""
        if self.teacher is None or not pool:
            return pool
        passages = [pair.positive, *(each.passage for each in pool)]
        likely = _likelihoods(self.teacher, pair.query, passages)
        return [each for each, one in zip(pool, likely[1:], strict=True) if one < likely[0]]


def _positives(pairs: Sequence[Pair]) -> dict[str, list[Passage]]:
    """Normalised query → its positives."""
    found: dict[str, dict[str, Passage]] = {}
    for pair in pairs:
        found.setdefault(normalised(pair.query), {})[pair.positive.id] = pair.positive
    return {query: list(known.values()) for query, known in found.items()}


def _with_vectors(
    pairs: Sequence[Pair], index: Index, told: Told
) -> Iterator[tuple[Pair, Vectors]]:
    """Each pair with its query's raw vector (dim,); queries are embedded several at once."""
    told(0, len(pairs))
    for start in range(0, len(pairs), _BLOCK):
        part = pairs[start : start + _BLOCK]
        texts = list(dict.fromkeys(plain(pair.query).text for pair in part))
        vectors = dict(zip(texts, index.embedder.embed_queries(texts), strict=True))
        for pair in part:
            yield pair, vectors[plain(pair.query).text]
        told(start + len(part), len(pairs))


def _scores(
    now: Snapshot, index: Index, query: str, vector: Vectors, passages: Sequence[Passage]
) -> DoubleScores:
    """The hybrid scores of passages, of a document the score of its best chunk: (n,)."""
    parts = [_chunk_ids(now, passage) for passage in passages]
    if not all(parts):
        missing = next(each for each, ids in zip(passages, parts, strict=True) if not ids)
        raise UsageError(
            f"the index {index.name} does not have the passage {missing.id!r} of the pairs"
        )
    every = list(dict.fromkeys(one for ids in parts for one in ids))
    scores = dict(zip(every, hybrid_scores(now, plain(query).text, vector, every), strict=True))
    return np.array([max(scores[one] for one in ids) for ids in parts], dtype=np.float64)


def _chunk_ids(now: Snapshot, passage: Passage) -> list[str]:
    """The chunks of a passage: the one with its id, or those of the document with its id."""
    if now.catalog.keys_of([passage.id]):
        return [passage.id]
    return now.catalog.chunk_ids(document_id("", passage.id))


def _is_whole(now: Snapshot, passage: Passage) -> bool:
    """Whether the index has the passage as it is, not one that it is a part of."""
    found = now.catalog.get([passage.id]) if now.catalog.keys_of([passage.id]) else []
    return not found or normalised(found[0].text) == normalised(passage.text)


def _likelihoods(judge: Judge, query: str, passages: Sequence[Passage]) -> DoubleScores:
    texts, titles = [each.text for each in passages], [each.title for each in passages]
    return judge.log_likelihoods(query, texts, titles)


def _refuse_scored(pairs: Sequence[Pair]) -> None:
    if any(pair.score is not None for pair in pairs):
        raise UsageError("rated sentences have no negatives: their scores say how alike they are")


__all__ = ["COUNT", "DEPTH", "MARGIN", "mine", "open_pairs", "teacher_scores"]
