"""Explanation of a passage's score: an exact decomposition into words and named terms.

The dense score is a cosine of two calibrated vectors. Each is a sum over the words of its text, so
the cosine is a sum over pairs of words:

    x = (Σ_i a_i − μ) / |Σ_i a_i − μ|,  y alike with b_j and ν;   cos = Σ_ij m_ij + remainder

The groups i and j are the words, and the parts that belong to no word
(`word_attribution.OTHERS`). Each group has a share of its side's mean, as large as its share of the
vector's length: s_i = a_i · Σ a. The shares add up to 1, and

    m_ij = (a_i − s_i μ) · (b_j − s_j ν) / (|Σ a − μ| |Σ b − ν|)

An adapter M of a side (see `retriever.storage.adapter`) maps every group, since a linear map of a
sum is the sum of the mapped parts: M (a_i − s_i μ), over the length |M (Σ a − μ)|.

So the mean of all texts is subtracted from every word; otherwise it would be one large negative
number beside large positive ones. The matrix before this step is `plain`, with the mean as one more
group on each side. There, the value of a passage's word is exactly what the score loses if the
values at its tokens are set to zero while both lengths are kept.

The remainder is rounding: the index holds the vector of another run of the model, in the index's
precision.

The final score is a sum of named terms. Each is computed here from its components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from retriever.arrays import DoubleVectors
from retriever.embedding.attributed import AttributedText, AttributionCache
from retriever.embedding.word_attribution import MARKS, OTHERS, PROMPT, WordSpan
from retriever.searching.feedback import Feedback
from retriever.searching.hybrid import query_feedback
from retriever.searching.options import Mode
from retriever.searching.rerank import rescaled
from retriever.searching.steering import weight_words
from retriever.searching.toc import demoted_score, looks_like_toc
from retriever.storage.backends import Snapshot
from retriever.storage.calibration import Calibration
from retriever.storage.records import KeywordScore, KeywordWord
from retriever.text.analyzer import bare_stem
from retriever.types import Chunk, Hit

MEAN = "mean"
"""The group of a side's mean in `DenseScore.plain`."""

_OF_MEANING = ("dense", "dense feedback")

ROUNDING = 1e-6
"""Scores that differ by less are equal."""


@dataclass(frozen=True, slots=True)
class WordPair:
    """A word of the query, a word of the passage, and their contribution to the cosine."""

    query: WordSpan
    passage: WordSpan
    value: float


@dataclass(frozen=True, slots=True)
class DenseScore:
    """A cosine as a sum over pairs of groups.

    `matrix` (Q + 3, P + 3): rows are the query's words and then `word_attribution.OTHERS`, columns
    those of the passage. Its sum plus `remainder` is `cosine`. `plain` (Q + 4, P + 4) is the matrix
    before the means are shared, with `MEAN` as the last group of both sides; it has the same sum.
    """

    cosine: float
    query_words: tuple[WordSpan, ...]
    passage_words: tuple[WordSpan, ...]
    matrix: DoubleVectors
    plain: DoubleVectors

    @property
    def remainder(self) -> float:
        """The rounding error of the cosine."""
        return self.cosine - float(self.matrix.sum())

    @property
    def by_query_word(self) -> DoubleVectors:
        """The contribution of each query word with the whole passage: (Q,)."""
        margins: DoubleVectors = self.matrix.sum(axis=1)[: len(self.query_words)]
        return margins

    @property
    def by_passage_word(self) -> DoubleVectors:
        """The contribution of each passage word with the whole query: (P,)."""
        margins: DoubleVectors = self.matrix.sum(axis=0)[: len(self.passage_words)]
        return margins

    @property
    def effects(self) -> DoubleVectors:
        """The fall of the score if a passage word's values are zero and lengths stay: (P,)."""
        effects: DoubleVectors = self.plain.sum(axis=0)[: len(self.passage_words)]
        return effects

    @property
    def shares(self) -> dict[str, float]:
        """The cosine by kind of group; the values add up to it."""
        q, p = len(self.query_words), len(self.passage_words)
        marks, prompt = OTHERS.index(MARKS), OTHERS.index(PROMPT)
        across = self.matrix[q + marks].sum() + self.matrix[:, p + marks].sum()
        shares = {
            "word × word": float(self.matrix[:q, :p].sum()),
            "word × prompt": float(
                self.matrix[:q, p + prompt].sum() + self.matrix[q + prompt, :p].sum()
            ),
            "prompt × prompt": float(self.matrix[q + prompt, p + prompt]),
            "marks": float(across - self.matrix[q + marks, p + marks]),
        }
        rest = float(self.matrix.sum()) - sum(shares.values())
        return {**shares, "constants": rest, "remainder": self.remainder}

    def pairs(self, count: int) -> list[WordPair]:
        """The `count` pairs of words that contribute most, best first."""
        block = self.matrix[: len(self.query_words), : len(self.passage_words)]
        order = np.argsort(-block, axis=None, kind="stable")[:count]
        return [
            WordPair(self.query_words[i], self.passage_words[j], float(block[i, j]))
            for i, j in zip(*np.unravel_index(order, block.shape), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of the final score, and the numbers it is computed from, by name.

    `waiting`: it stands for a meaning that is not known yet, as the passage has no vector.
    """

    name: str
    value: float
    made_of: Mapping[str, float] = field(default_factory=dict)
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """One passage's score for one query: `score` is the sum of the `terms`.

    `query` is the text that was searched for, without operators. Offsets of query words refer to
    it, those of passage words to `chunk.text` or `chunk.title`. `dense` and `keyword` are None for
    a side that was not used; `dense` also for a passage that is `waiting` for its vector, which
    counts as an average one. `weights` are those of the query's words, empty if none was given.
    """

    query: str
    chunk: Chunk
    mode: str
    terms: tuple[Term, ...]
    dense: DenseScore | None = None
    keyword: KeywordScore | None = None
    weights: tuple[float, ...] = ()
    waiting: bool = False

    @property
    def score(self) -> float:
        """The final score."""
        return sum(term.value for term in self.terms)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; passage words also have offsets in the page's text."""
        chunk = self.chunk
        return {
            "query": self.query,
            "chunk_id": chunk.id,
            "path": chunk.path,
            "page": chunk.page,
            "label": chunk.label,
            "start": chunk.start,
            "end": chunk.end,
            "text": chunk.text,
            "title": chunk.title,
            "mode": self.mode,
            "score": self.score,
            "embedded": not self.waiting,
            "terms": [
                {"name": term.name, "value": term.value, "made_of": dict(term.made_of)}
                for term in self.terms
            ],
            "dense": None if self.dense is None else _dense_json(self.dense, chunk),
            "keyword": None if self.keyword is None else _keyword_json(self.keyword),
        }


@dataclass(frozen=True, slots=True)
class ScoreScale:
    """What standardises a query's scores: each side's mean and standard deviation over all chunks.

    None for a side that is not used; the scores of a single side are not standardised.
    `query_weights` are the weights of the query's own score on each side (dense, keyword), less
    than 1 if the query was expanded by feedback. `weights` are those of the two sides' standardised
    scores (see `dense_weight`).
    """

    dense: tuple[float, float] | None
    keyword: tuple[float, float] | None
    query_weights: tuple[float, float] = (1.0, 1.0)
    weights: tuple[float, float] = (1.0, 1.0)

    def terms(
        self,
        chunk: Chunk,
        dense: float | None,
        keyword: float | None,
        again: tuple[float, float] | None = None,
    ) -> tuple[Term, ...]:
        """The summands of a passage's score before reranking, from both sides' scores.

        `again`: both scores for the expanded query, None without feedback.
        """
        terms: list[Term] = []
        alone = self.dense is None or self.keyword is None
        sides = (("dense", dense, self.dense), ("keyword", keyword, self.keyword))
        for at, (name, score, scale) in enumerate(sides):
            if scale is None:
                continue
            if alone:
                terms.append(Term(name, score or 0.0, {"score": score or 0.0}))
                continue
            mean, std = scale
            per_unit = self.weights[at] / std if std > 0 else 0.0
            own = self.query_weights[at] * (score or 0.0)
            weight = {} if self.weights[at] == 1 else {"weight": self.weights[at]}
            made_of = {
                "score": score or 0.0,
                "own": self.query_weights[at],
                "mean": mean,
                "std": std,
            }
            made_of |= weight
            terms.append(Term(name, per_unit * (own - mean), made_of))
            if again is not None:
                added = again[at] - own
                made_of = {"added": added, "std": std, **weight}
                terms.append(Term(f"{name} feedback", per_unit * added, made_of))
        if looks_like_toc(chunk.text):
            total = sum(term.value for term in terms)
            terms.append(Term("contents", demoted_score(total) - total, {"score": total}))
        return tuple(terms)


def dense_score(
    cosine: float, query: AttributedText, passage: AttributedText, calibration: Calibration
) -> DenseScore:
    """The decomposition of a cosine; `calibration` holds the means and the adapter in it."""
    mu = calibration.query_mean.astype(np.float64)
    nu = calibration.passage_mean.astype(np.float64)
    (one, one_plain), (two, two_plain) = (
        _share_mean(query.vectors, mu, calibration.map_query),
        _share_mean(passage.vectors, nu, calibration.map_passage),
    )
    return DenseScore(cosine, query.words, passage.words, one @ two.T, one_plain @ two_plain.T)


def _share_mean(
    parts: DoubleVectors, mean: DoubleVectors, mapped: Callable[[DoubleVectors], DoubleVectors]
) -> tuple[DoubleVectors, DoubleVectors]:
    """Parts (n, dim) with the mean shared, and with it as one more row: sums of length 1.

    `mapped` is the side's linear map.
    """
    whole = parts.sum(axis=0)
    if not whole.any():  # no text, no direction: see arrays.centred
        mean = np.zeros_like(mean)
    length = float(np.linalg.norm(mapped(whole - mean))) or 1.0
    shared = parts - np.outer(parts @ whole, mean)
    return mapped(shared) / length, mapped(np.vstack([parts, -mean])) / length


def explain_chunk(
    snapshot: Snapshot,
    attributions: AttributionCache,
    query: str,
    chunk: Chunk,
    mode: Mode,
    *,
    tolerant: bool,
    weights: Sequence[float] = (),
    feedback: bool = True,
) -> Explanation:
    """A passage's score for a query, before reranking; `tolerant`, `feedback` as in `search`.

    `weights` are those of the query's words, as in `steering`.
    """
    asked = _prepare_query(
        *(snapshot, attributions, query, mode),
        tolerant=tolerant,
        weights=weights,
        feedback=feedback,
    )
    return asked.explain(attributions, chunk)


def explain_hit(
    snapshot: Snapshot,
    attributions: AttributionCache,
    query: str,
    hit: Hit,
    *,
    tolerant: bool,
    weights: Sequence[float] = (),
    feedback: bool = True,
    first: Sequence[Hit] = (),
) -> Explanation:
    """A hit's score, in its mode. `first`: all reranked hits, if it is among them."""
    asked = _prepare_query(
        *(snapshot, attributions, query, _mode_of(hit)),
        tolerant=tolerant,
        weights=weights,
        feedback=feedback,
    )
    found = asked.explain(attributions, hit.chunk)
    return replace(found, terms=(*found.terms, *_rerank_terms(asked, found.score, hit, first)))


@dataclass(frozen=True, slots=True)
class _ExplainedQuery:
    """A query, prepared for explanations; `attributed` is None in keyword mode.

    `again` is the expanded query, None without feedback.
    """

    snapshot: Snapshot
    query: str
    keywords: str
    mode: Mode
    attributed: AttributedText | None
    tolerant: bool
    again: Feedback | None
    scale: ScoreScale
    weights: tuple[float, ...] = ()

    def explain(self, attributions: AttributionCache, chunk: Chunk) -> Explanation:
        """A passage's score, before reranking."""
        dense, keyword, score, cosine, waiting = None, None, None, None, False
        if self.attributed is not None and self.attributed.raw is not None:
            cosine = float(self.snapshot.dense_scores(self.attributed.raw, [chunk.id])[0])
            means = self.snapshot.calibration
            pending = self.snapshot.some_pending
            waiting = pending and bool(self.snapshot.passages.without_vector([chunk.id]))
            if not waiting:
                dense = dense_score(cosine, self.attributed, attributions.passage(chunk), means)
        if self.scale.keyword is not None:
            scores = self.snapshot.keyword_scores(self.keywords, [chunk.id], tolerant=self.tolerant)
            score = float(scores[0])
            keyword = self.snapshot.explain_bm25(
                self.keywords,
                chunk.id,
                tolerant=self.tolerant,
                expansion=None if self.again is None else self.again.expansion,
            )
        terms = self.terms(chunk, cosine, score)
        if waiting:
            terms = _waiting(terms)
        mode, weights = str(self.mode), self.weights
        return Explanation(self.query, chunk, mode, terms, dense, keyword, weights, waiting)

    def terms(self, chunk: Chunk, dense: float | None, keyword: float | None) -> tuple[Term, ...]:
        """The summands of a passage's score, from both sides' scores."""
        if self.again is None:
            return self.scale.terms(chunk, dense, keyword)
        ids, added = [chunk.id], self.again.expansion
        scores = self.snapshot.keyword_scores(
            self.keywords, ids, tolerant=self.tolerant, expansion=added
        )
        both = float(self.snapshot.dense_scores(self.again.vector, ids)[0]), float(scores[0])
        return self.scale.terms(chunk, dense, keyword, both)


def _waiting(terms: Sequence[Term]) -> tuple[Term, ...]:
    """The terms with one in place of those for the meaning, of which nothing is known yet."""
    value = sum(term.value for term in terms if term.name in _OF_MEANING)
    others = (term for term in terms if term.name not in _OF_MEANING)
    return (Term("dense", value, waiting=True), *others)


def _prepare_query(
    snapshot: Snapshot,
    attributions: AttributionCache,
    query: str,
    mode: Mode,
    *,
    tolerant: bool,
    weights: Sequence[float],
    feedback: bool,
) -> _ExplainedQuery:
    attributed, keywords = None, query
    if mode is not Mode.KEYWORD:
        attributed, keywords = weight_words(query, attributions.query(query), weights)
    vector = None if attributed is None else attributed.raw
    again = None
    if feedback and mode is Mode.HYBRID and vector is not None:
        again = query_feedback(snapshot, keywords, vector, tolerant=tolerant)
    dense = keyword = None
    if vector is not None:
        found = snapshot.dense(vector if again is None else again.vector, 1)
        dense = found.mean, found.std
    if mode is not Mode.DENSE:
        added = None if again is None else again.expansion
        found = snapshot.keyword(keywords, 1, tolerant=tolerant, expansion=added)
        keyword = found.mean, found.std
    own = (1.0, 1.0) if again is None else (1 / again.length, again.expansion.query_weight)
    scale = ScoreScale(dense, keyword, own, (snapshot.dense_weight, 1.0))
    return _ExplainedQuery(
        *(snapshot, query, keywords, mode, attributed, tolerant, again, scale, tuple(weights))
    )


def _mode_of(hit: Hit) -> Mode:
    if hit.dense is None:
        return Mode.KEYWORD
    return Mode.DENSE if hit.keyword is None else Mode.HYBRID


def _rerank_terms(
    asked: _ExplainedQuery, before: float, hit: Hit, first: Sequence[Hit]
) -> list[Term]:
    """The term that reranking adds to a hit's score, as a list of none or one.

    Without the `first` hits it is the difference between the hit's score and its other terms.
    """
    made_of = {} if hit.rerank is None else {"log_likelihood": hit.rerank}
    if not first:
        rest = hit.score - before
        return [Term("rerank", rest, made_of)] if made_of or abs(rest) > ROUNDING else []
    ordered = sorted(first, key=lambda one: one.rerank is None)
    at = next((at for at, one in enumerate(ordered) if one.chunk.id == hit.chunk.id), None)
    if at is None:
        return []
    scores = [
        sum(term.value for term in asked.terms(one.chunk, one.dense, one.keyword))
        for one in ordered
    ]
    judged = [one.rerank for one in ordered if one.rerank is not None]
    after = float(rescaled(np.array(scores), np.array(judged))[at])
    return [Term("rerank", after - before, {**made_of, "score": before})]


def _keyword_json(keyword: KeywordScore) -> dict[str, Any]:
    return {
        **asdict(keyword),
        "words": list(map(_word_json, keyword.words)),
        "added": list(map(_word_json, keyword.added)),
        "score": keyword.score,
    }


def _word_json(word: KeywordWord) -> dict[str, Any]:
    """A word with its stems, without their language suffixes."""
    return {**asdict(word), "terms": list(dict.fromkeys(map(bare_stem, word.terms)))}


def _dense_json(dense: DenseScore, chunk: Chunk) -> dict[str, Any]:
    query = zip(dense.query_words, dense.by_query_word, strict=True)
    passage = zip(dense.passage_words, dense.by_passage_word, dense.effects, strict=True)
    return {
        "cosine": dense.cosine,
        "remainder": dense.remainder,
        "shares": dense.shares,
        "query_words": [
            {"word": word.word, "start": word.start, "end": word.end, "value": float(value)}
            for word, value in query
        ],
        "passage_words": [
            {
                "word": word.word,
                "start": word.start,
                "end": word.end,
                "in_title": word.in_title,
                "page_start": None if word.in_title else chunk.start + word.start,
                "page_end": None if word.in_title else chunk.start + word.end,
                "value": float(value),
                "effect": float(effect),
            }
            for word, value, effect in passage
        ],
        "others": list(OTHERS),
        "matrix": dense.matrix.round(7).tolist(),
    }


__all__ = [
    "MEAN",
    "DenseScore",
    "Explanation",
    "ScoreScale",
    "Term",
    "WordPair",
    "dense_score",
    "explain_chunk",
    "explain_hit",
]
