"""One search over several indexes: their results in one ranking.

Scores of different indexes have different scales. A word that is rare in one is frequent in
another, and the best passage of an index without an answer stands out among its own, too. So scores
are computed anew, as if all passages were in one index:

- **Keywords**: the document frequencies and the lengths of the passages of all indexes are added
  up, and each word's BM25 score is that with these sums. (Elasticsearch calls it "DFS query then
  fetch".) A score divided by the query's maximum in its index (`match.normalised_bm25`) would keep
  the idf of that index.
- **Dense**: cosines are comparable between indexes of one model. Their mean and standard deviation
  over the passages of all these indexes standardise them. Those of different models are not: there
  the origin is the mean of each index's match scale, the best cosines of questions that it does not
  answer, in place of the mean over its passages.
- **Hybrid**: the sum of both sides' z-scores, as in `retriever.searching.hybrid`, for the query
  without the feedback that found the results: each index expands it by other words.

Where a model has reranked the results, or they are diversified, an index keeps the order of its
own: its first result gets the best of their scores.

An index that fails is reported, and the others answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cache
from math import isclose, sqrt
from typing import Any, Protocol

import numpy as np

from retriever.arrays import Vectors
from retriever.searching.match import MatchScale
from retriever.searching.options import Mode, SearchOptions, as_mode
from retriever.searching.pipeline import parse_query
from retriever.searching.toc import demoted_score, looks_like_toc
from retriever.settings import EmbedderSettings
from retriever.storage.backends import Snapshot
from retriever.storage.catalog.postings import idf
from retriever.storage.records import KeywordScore, KeywordWord
from retriever.types import Hit, RetrieverError, UsageError

SPARE = 10
"""The results beyond twice `k` that each index gives to keywords, since their order may change."""


class Searchable(Protocol):
    """What is needed of an index: see `retriever.index.Index`."""

    @property
    def embedder_settings(self) -> EmbedderSettings | None:
        """The settings of its vectors; None for an index without a model yet."""

    def snapshot(self, *, dense: bool = True) -> AbstractContextManager[Snapshot]:
        """One generation of it."""

    def embed_query(self, query: str) -> Vectors:
        """A query's raw vector, (dim,)."""

    def search(
        self,
        query: str,
        *,
        options: SearchOptions | None = None,
        embed: Callable[[str], Vectors] | None = None,
    ) -> list[Hit]:
        """Its own results."""


class Judged(Protocol):
    """What is needed of an index for a verdict: see `retriever.index.Index`."""

    def verdict(
        self, query: str, hits: Sequence[Hit], *, options: SearchOptions | None = None
    ) -> str:
        """One sentence where none of the hits really matches; "" for none."""


@dataclass(frozen=True, slots=True)
class NamedHit:
    """A result, and the name of its index.

    `hit.rank` is the rank among all results, and `score` orders them. The other scores of `hit` are
    those of its index, so that it can be explained there.
    """

    name: str
    hit: Hit
    score: float

    def to_json(self) -> dict[str, Any]:
        """The hit as in `Hit.to_json`, with the name of its index, and the score among all."""
        return {"index": self.name, **self.hit.to_json(), "score": self.score}


Failed = Callable[[str, RetrieverError], None]
"""What is told of an index that fails: its name, and why."""


def search_all(
    indexes: Mapping[str, Searchable],
    query: str,
    options: SearchOptions | None = None,
    *,
    failed: Failed = lambda name, error: None,
) -> list[NamedHit]:
    """The `options.k` best results of all indexes, best first.

    Each index embeds the query by its own model, once for all indexes of one model. An index that
    raises an error is told to `failed` and left out; if all do, the first error is raised.
    """
    chosen = options or SearchOptions()
    if not indexes:
        raise UsageError("no index is given; name one at least")
    if len(indexes) == 1:
        ((name, index),) = indexes.items()
        return [NamedHit(name, hit, hit.score) for hit in index.search(query, options=chosen)]
    embed = _Embedding()
    answers: list[_Answer] = []
    errors: list[RetrieverError] = []
    for name, index in indexes.items():
        try:
            answers.append(_ask(name, index, query, chosen, embed))
        except RetrieverError as error:
            errors.append(error)
            failed(name, error)
    if not answers:
        raise errors[0]
    return _merged(answers, chosen)


def corrections_in_all(
    indexes: Iterable[Searchable], query: str, options: SearchOptions | None = None
) -> dict[str, list[str]]:
    """The query's words that occur in none of the indexes → the words searched for instead.

    See `retriever.index.Index.corrections`; a word that one index has is no typing error.
    """
    chosen = options or SearchOptions()
    if as_mode(chosen.mode) is Mode.DENSE or not chosen.tolerant:
        return {}
    text = parse_query(query, chosen).text
    found: dict[str, list[str]] = {}
    known: set[str] = set()
    for index in indexes:
        with index.snapshot(dense=False) as now:
            known |= {one.word for one in now.explain_bm25(text, "").words if one.documents}
            for word, near in now.corrections(text).items():
                found.setdefault(word, []).extend(near)
    return {word: list(dict.fromkeys(near)) for word, near in found.items() if word not in known}


def verdict_in_all(
    indexes: Mapping[str, Judged],
    query: str,
    own: Mapping[str, Sequence[Hit]],
    options: SearchOptions | None = None,
) -> str:
    """The first verdict of the indexes on their `own` hits; "" if one of them is content.

    Only those that have hits are asked, or all where none has.
    """
    some = any(own.values())
    told = [
        index.verdict(query, own.get(name, ()), options=options)
        for name, index in indexes.items()
        if own.get(name) or not some
    ]
    return told[0] if told and all(told) else ""


class _Embedding:
    """The query's vector by each model, computed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Vectors] = {}

    def of(self, index: Searchable) -> Callable[[str], Vectors]:
        """The function that embeds a query for an index."""
        model = _model(index)

        def embed(query: str) -> Vectors:
            key = model, query
            if not model or key not in self._known:
                self._known[key] = index.embed_query(query)
            return self._known[key]

        return embed


def _model(index: Searchable) -> str:
    """A name for the model, with its prompts; empty for none."""
    settings = index.embedder_settings
    return "" if settings is None else settings.fingerprint


# What each index says


@dataclass(frozen=True, slots=True)
class _Spread:
    """The number, mean and standard deviation of scores."""

    count: int = 0
    mean: float = 0.0
    std: float = 0.0

    def standardised(self, score: float) -> float:
        """The z-score; 0 if all scores are the same."""
        return (score - self.mean) / self.std if self.std > 0 else 0.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """An index's results, and what their scores are compared by.

    `words` has the query's words without a passage, `scores` those of each hit; `corrected` are the
    words that this index does not have, and that it replaced by similar ones. `dense` and
    `keyword` are the scores of all passages. `noise` is the mean of the best cosines of the match
    scale, None without a scale.
    """

    name: str
    model: str
    hits: Sequence[Hit]
    passages: int
    dense: _Spread = field(default_factory=_Spread)
    keyword: _Spread = field(default_factory=_Spread)
    words: KeywordScore | None = None
    corrected: frozenset[str] = frozenset()
    scores: Sequence[KeywordScore] = ()
    noise: float | None = None
    dense_weight: float = 1.0


def _ask(
    name: str, index: Searchable, query: str, options: SearchOptions, embed: _Embedding
) -> _Answer:
    mode = as_mode(options.mode)
    text = parse_query(query, options).text
    vector = cache(embed.of(index))
    more = options.changed(2 * options.k + SPARE) if mode is Mode.KEYWORD else options
    with index.snapshot(dense=mode is not Mode.KEYWORD) as now:
        hits = index.search(query, options=more, embed=vector)
        answer = _Answer(name, _model(index), hits, now.passages.count())
        if not hits or not text:
            return answer
        if mode is not Mode.DENSE:
            answer = _with_keywords(answer, now, text, tolerant=options.tolerant)
        if mode is not Mode.KEYWORD:
            answer = _with_dense(answer, now, vector(text))
        return answer


def _with_keywords(answer: _Answer, now: Snapshot, text: str, *, tolerant: bool) -> _Answer:
    side = now.keyword(text, 1, tolerant=tolerant)
    ids = [hit.chunk.id for hit in answer.hits]
    return replace(
        answer,
        keyword=_Spread(answer.passages, side.mean, side.std),
        words=now.explain_bm25(text, "", tolerant=tolerant),
        corrected=frozenset(now.corrections(text) if tolerant else ()),
        scores=[now.explain_bm25(text, id_, tolerant=tolerant) for id_ in ids],
    )


def _with_dense(answer: _Answer, now: Snapshot, vector: Vectors) -> _Answer:
    side = now.dense(vector, 1)
    scale = MatchScale.from_json(now.catalog.match_scale())
    return replace(
        answer,
        dense=_Spread(now.passages.count_vectors(), side.mean, side.std),
        noise=float(np.mean(scale.dense)) if scale and scale.dense else None,
        dense_weight=now.dense_weight,
    )


# One ranking of all


def _merged(answers: Sequence[_Answer], options: SearchOptions) -> list[NamedHit]:
    """The `options.k` best results of all answers; ties in the order of the indexes."""
    scale = _Scale(answers, as_mode(options.mode))
    found: list[NamedHit] = []
    for answer in answers:
        scores = [scale.score(answer, at) for at in range(len(answer.hits))]
        if options.rerank or options.diversity:
            scores.sort(reverse=True)
        found += [NamedHit(answer.name, *each) for each in zip(answer.hits, scores, strict=True)]
    if as_mode(options.mode) is Mode.KEYWORD:  # nothing but a correction that does not count
        found = [one for one in found if one.score > 0 or one.hit.score == 0]
    found.sort(key=lambda one: -one.score)
    return [
        replace(one, hit=replace(one.hit, rank=rank))
        for rank, one in enumerate(found[: options.k], 1)
    ]


class _Scale:
    """The scale of all answers together."""

    def __init__(self, answers: Sequence[_Answer], mode: Mode) -> None:
        self._mode = mode
        self._bm25 = _CommonBM25(answers)
        self._keyword = _pooled(answer.keyword for answer in answers)
        self._dense = {
            model: _pooled(answer.dense for answer in answers if answer.model == model)
            for model in {answer.model for answer in answers if answer.dense.count}
        }
        weights = [(one.dense_weight, one.dense.count) for one in answers if one.dense.count]
        total = sum(count for _, count in weights)
        self._weight = sum(one * count for one, count in weights) / max(1, total)

    def score(self, answer: _Answer, at: int) -> float:
        """The score of an answer's hit with this number; contents and indexes are demoted."""
        score = self._score(answer, at)
        return demoted_score(score) if looks_like_toc(answer.hits[at].chunk.text) else score

    def _score(self, answer: _Answer, at: int) -> float:
        keyword = self._bm25.score(answer, answer.scores[at]) if answer.scores else 0.0
        if self._mode is Mode.KEYWORD:
            return keyword
        dense = self._cosine(answer, answer.hits[at].dense or 0.0)
        if self._mode is Mode.DENSE:
            return dense
        if not answer.hits[at].embedded:
            dense = 0.0
        return self._weight * dense + self._keyword.standardised(keyword)

    def _cosine(self, answer: _Answer, cosine: float) -> float:
        """The cosine on the scale of all passages of its model, or of its match scale."""
        if len(self._dense) <= 1:
            pooled = self._dense.get(answer.model, _Spread())
            return cosine if self._mode is Mode.DENSE else pooled.standardised(cosine)
        own = answer.dense if answer.noise is None else replace(answer.dense, mean=answer.noise)
        return own.standardised(cosine)


class _CommonBM25:
    """BM25 with the document frequencies and lengths of all answers' indexes together.

    A word that one of them has is not corrected in the others.
    """

    def __init__(self, answers: Sequence[_Answer]) -> None:
        told = [(one, one.words) for one in answers if one.words is not None]
        self._total = sum(words.passages for _, words in told)
        self._average = sum(words.average * words.passages for _, words in told) / max(
            1, self._total
        )
        self._known = {
            word.word
            for answer, words in told
            for word in words.words
            if word.documents and word.word not in answer.corrected
        }
        self._documents: Counter[str] = Counter()
        for answer, words in told:
            self._documents.update(
                {word.word: word.documents for word in words.words if self._counts(word, answer)}
            )
        rare = [0 < 2 * count <= self._total for count in self._documents.values()]
        self._most = self._total / 2 if any(rare) else self._total

    def _counts(self, word: KeywordWord, answer: _Answer) -> bool:
        return word.word not in answer.corrected or word.word not in self._known

    def score(self, answer: _Answer, told: KeywordScore) -> float:
        """The score of a passage; as in one index, words in most passages do not count."""
        return sum(
            self._word_score(word, told)
            for word in told.words
            if self._counts(word, answer) and 0 < self._documents[word.word] <= self._most
        )

    def _word_score(self, word: KeywordWord, told: KeywordScore) -> float:
        weight = idf(self._total, self._documents[word.word])
        here = word.boost * word.idf * _saturated(word.times, told.length, told.average)
        if len(word.terms) == 1 and (not word.score or isclose(here, word.score, rel_tol=1e-4)):
            return word.boost * weight * _saturated(word.times, told.length, self._average)
        # Several terms with weights of their own: only the idf is exchanged.
        return word.score * weight / word.idf


def _saturated(times: int, length: int, average: float) -> float:
    """BM25's factor of a word that occurs so many times in a passage."""
    return times * 2.2 / (times + 0.3 + 0.9 * length / average) if times else 0.0


def _pooled(spreads: Iterable[_Spread]) -> _Spread:
    """The mean and standard deviation of several sets of scores together.

    >>> _pooled([_Spread(2, 1.0, 0.0), _Spread(2, 3.0, 0.0)])
    _Spread(count=4, mean=2.0, std=1.0)
    """
    known = [one for one in spreads if one.count]
    count = sum(one.count for one in known)
    if not count:
        return _Spread()
    mean = sum(one.count * one.mean for one in known) / count
    squares = sum(one.count * (one.std**2 + one.mean**2) for one in known) / count
    return _Spread(count, mean, sqrt(max(0.0, squares - mean**2)))


__all__ = ["NamedHit", "Searchable", "corrections_in_all", "search_all"]
