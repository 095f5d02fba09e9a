"""The guard: a change is kept only if it helps on what was held out, by more than noise.

Held-out pairs are searched through the same code as any search, before and after. The comparison is
paired, per query, with a bootstrap (see `retriever.significance`).

Questions with answers show what people will see, so one mode that is better is enough. Sentences of
documents that look for the rest of their passages do not: they share words and style with it as no
question does, and a dense search that learns to find them can know less that keywords do not know.
(On MEDLINE dense search found them better, +0.126, and hybrid search the set's own questions worse,
-0.037.) So what was made of documents alone has to be better in hybrid search, the default, unless
its user says that only dense search counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from retriever.embedding.protocols import RetrievalEmbedder, SentenceEmbedder
from retriever.evaluation.datasets import RetrievalDataset, SentencePair
from retriever.evaluation.metrics import spearman
from retriever.evaluation.retrieval import evaluate_dataset
from retriever.evaluation.runs import Run, digest
from retriever.evaluation.sts import sentence_cosines
from retriever.indexing.cloze import hash_key
from retriever.searching.options import Mode
from retriever.significance import PairedComparison, Verdict, compare_correlations
from retriever.tuning.pairs import PairData
from retriever.types import UsageError

MIN_QUERIES = 20
"""Fewer held-out queries, or rated pairs, tell nothing."""

MEASURE = "ndcg@10"

PASSAGES = 2_000
"""At most so many passages are searched, if no more are judged: minutes for a small model."""


@dataclass(frozen=True, slots=True)
class RatedRun:
    """The calibrated cosines of rated pairs of sentences, and people's scores, in their order."""

    name: str
    pairs_digest: str
    gold: tuple[float, ...]
    cosines: tuple[float, ...]

    @property
    def spearman(self) -> float:
        """Spearman's rank correlation of both, times 100."""
        return 100 * spearman(self.gold, self.cosines)


HeldRun = Run | RatedRun


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a change is kept, the comparisons of after with before, and why, for the user.

    `dense` compares the measure of the dense search, or the rank correlation of rated pairs, of
    which there is no hybrid.
    """

    kept: bool
    dense: PairedComparison
    hybrid: PairedComparison | None
    sentence: str


def evaluate_held(
    embedder: RetrievalEmbedder,
    held: PairData,
    *,
    passages: int = PASSAGES,
    progress: Callable[[str], None] = lambda text: None,
) -> HeldRun:
    """The run of an embedder on held-out pairs; two of them are compared by `judge_change`.

    Of a larger corpus `passages` are searched: those of the pairs, and others by a fixed random
    choice. Raises UsageError for rated pairs if the embedder has no vectors of sentences.
    """
    if not held.scored:
        return evaluate_dataset(
            embedder, retrieval_dataset(held, passages), held.name, progress=progress
        )
    if not isinstance(embedder, SentenceEmbedder):
        raise UsageError("this embedder cannot compare sentences: it has no vectors for them")
    pairs = [
        SentencePair(pair.score, pair.query, pair.positive.text)
        for pair in held.pairs
        if pair.score is not None
    ]
    gold = tuple(pair.score for pair in pairs)
    cosines = tuple(sentence_cosines(embedder, pairs)[0].astype(float).tolist())
    named = digest([f"{pair.score}\0{pair.first}\0{pair.second}" for pair in pairs])
    return RatedRun(held.name, named, gold, cosines)


def retrieval_dataset(data: PairData, passages: int = PASSAGES) -> RetrievalDataset:
    """The pairs as a data set: every query once, its positives relevant, and what is searched."""
    queries: dict[str, str] = {}
    qrels: dict[str, dict[str, float]] = {}
    wanted: set[str] = set()
    for pair in data.pairs:
        name = digest([pair.query])
        queries[name] = pair.query
        qrels.setdefault(name, {})[pair.positive.id] = 1.0
        wanted.update(each.id for each in (pair.positive, *pair.negatives))
    others = [name for name in data.corpus if name not in wanted]
    if len(data.corpus) > passages:
        others = sorted(others, key=hash_key)[: max(0, passages - len(wanted))]
    searched = wanted.union(others)
    corpus = {
        name: (passage.title, passage.text)
        for name, passage in data.corpus.items()
        if name in searched
    }
    return RetrievalDataset(corpus, queries, qrels)


def judge_change(
    before: HeldRun, after: HeldRun, *, wanted: Mode | None = None, least: int = MIN_QUERIES
) -> Decision:
    """Whether a change is kept: one mode is better by more than noise, and none is worse.

    The modes are dense and hybrid search, by nDCG@10; of rated pairs the rank correlation alone.
    If one is `wanted`, that one has to be better.
    With fewer than `least` queries nothing is kept. Raises UsageError if the runs are not of the
    same data.
    """
    if isinstance(before, RatedRun) or isinstance(after, RatedRun):
        return _judge_rated(before, after, least)
    found = after.against(before)
    names = (Mode.DENSE.value, Mode.HYBRID.value)
    if not all(MEASURE in found.get(mode, {}) for mode in names):
        raise UsageError(f"runs are compared by {MEASURE} of dense and hybrid search; one lacks it")
    dense, hybrid = (found[mode][MEASURE] for mode in names)
    told = [
        _told(f"{mode} nDCG@10", _mean(before, mode), _mean(after, mode), found[mode][MEASURE])
        for mode in names
    ]
    against = objection(dense.verdict, hybrid.verdict, wanted)
    kept, sentence = _decide(against, told, dense.queries, "queries", least)
    return Decision(kept, dense, hybrid, sentence)


def _judge_rated(before: HeldRun, after: HeldRun, least: int) -> Decision:
    same = (
        isinstance(before, RatedRun)
        and isinstance(after, RatedRun)
        and before.pairs_digest == after.pairs_digest
    )
    if not same or not isinstance(before, RatedRun) or not isinstance(after, RatedRun):
        raise UsageError("runs on different data cannot be compared")
    found = compare_correlations(after.gold, after.cosines, before.cosines)
    told = _told("rank correlation", before.spearman / 100, after.spearman / 100, found)
    against = objection(found.verdict)
    kept, sentence = _decide(against, [told], found.queries, "rated pairs", least)
    return Decision(kept, found, None, sentence)


def _decide(against: str, told: list[str], count: int, what: str, least: int) -> tuple[bool, str]:
    """Whether to keep the change, and the sentences that say why."""
    if count < least:
        return False, (
            f"There are {count} held-out {what}; fewer than {least} cannot tell whether the change "
            "helps, so it is not kept."
        )
    figures = f"On {count} held-out {what}, before and after: {'; '.join(told)}."
    if against:
        return False, f"{figures} {against}, so it is not kept."
    return True, f"{figures} It is kept."


def objection(dense: Verdict, hybrid: Verdict | None = None, wanted: Mode | None = None) -> str:
    """Why a change with these verdicts is not kept; empty if it is. See `judge_change`."""
    verdicts = {Mode.DENSE: dense, Mode.HYBRID: hybrid}
    if Verdict.WORSE in verdicts.values():
        return "Something is worse by more than noise"
    if Verdict.BETTER not in verdicts.values():
        return "Nothing is better by more than noise"
    if wanted is None or verdicts[wanted] is Verdict.BETTER:
        return ""
    other = Mode.DENSE if wanted is Mode.HYBRID else Mode.HYBRID
    return (
        f"{wanted.value.capitalize()} search is not better by more than noise (--for {other.value} "
        f"asks for a better {other.value} search instead)"
    )


def _told(what: str, before: float, after: float, found: PairedComparison) -> str:
    change = found.difference
    return (
        f"{what} {before:.3f} and {after:.3f} ({change.mean:+.3f}, 95 % interval "
        f"{change.low:+.3f} to {change.high:+.3f}: {found.verdict.value})"
    )


def _mean(run: Run, mode: str) -> float:
    values = run.values[mode][MEASURE]
    return sum(values.values()) / max(1, len(values))


__all__ = [
    "MEASURE",
    "MIN_QUERIES",
    "PASSAGES",
    "Decision",
    "HeldRun",
    "RatedRun",
    "evaluate_held",
    "judge_change",
    "objection",
    "retrieval_dataset",
]
