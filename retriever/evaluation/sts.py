"""Semantic textual similarity (STS): Spearman correlation of cosines with people's judgements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retriever.arrays import Scores
from retriever.embedding.aligned_wva import AlignedWVA
from retriever.embedding.protocols import SentenceEmbedder
from retriever.embedding.sentence_map import sentence_map
from retriever.evaluation.datasets import SentencePair, read_sentence_pairs
from retriever.evaluation.metrics import spearman
from retriever.evaluation.vectors import cached_vectors


@dataclass(frozen=True, slots=True)
class STSResult:
    """Spearman correlation times 100 between cosines and people's judgements."""

    path: str
    pooling: str
    pairs: int
    spearman: float  # calibrated on the file's sentences, without its scores
    spearman_raw: float


def evaluate_sts(embedder: SentenceEmbedder, path: Path) -> STSResult:
    """STS on a file with the columns score, sentence1, sentence2."""
    pairs = read_sentence_pairs(path)
    gold = [pair.score for pair in pairs]
    scores = [100 * spearman(gold, found) for found in sentence_cosines(embedder, pairs)]
    return STSResult(
        path=str(path),
        pooling=embedder.settings.pooling,
        pairs=len(pairs),
        spearman=round(scores[0], 2),
        spearman_raw=round(scores[1], 2),
    )


def sentence_cosines(
    embedder: SentenceEmbedder, pairs: Sequence[SentencePair]
) -> tuple[Scores, Scores]:
    """The cosine of each pair's sentences: (n,) calibrated on all of them, and (n,) raw."""
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.first, pair.second)))
    raw = cached_vectors(embedder, "sentence", texts, embedder.embed_sentences)
    prior = embedder.general_mean(embedder.settings.prompts.sentence)
    calibrated = sentence_map(raw, prior).apply(raw)
    place = {text: number for number, text in enumerate(texts)}
    first = [place[pair.first] for pair in pairs]
    second = [place[pair.second] for pair in pairs]
    one, other = (np.sum(vectors[first] * vectors[second], axis=1) for vectors in (calibrated, raw))
    return one, other


def compare_poolings(
    embedder: AlignedWVA, paths: Sequence[Path], poolings: Sequence[str] = ()
) -> Iterator[STSResult]:
    """A result for every file and pooling (by default the embedder's own).

    The model is loaded once. Raises UsageError for an unknown pooling, ModelError for one that the
    model does not support, before anything is embedded.
    """
    embedders = [embedder.with_pooling(pooling) for pooling in poolings] or [embedder]
    for path in paths:
        for each in embedders:
            yield evaluate_sts(each, path)


__all__ = ["STSResult", "compare_poolings", "evaluate_sts", "sentence_cosines"]
