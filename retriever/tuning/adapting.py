"""`wva tune INDEX --adapter`: an index gets a map of its vectors, if it helps on what is held out.

From pairs: the queries are embedded, and the passages are looked up in the index, by the id of
their document or by their text. Without pairs: sentences are removed from passages of the index
and have to find the rest (see `retriever.indexing.cloze`). A part is held out, and searched for as
in any search, with and without the map. Only if dense or hybrid search is better there by more than
noise, and none is worse, the map is written; before, nothing is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np

from retriever.arrays import Vectors
from retriever.embedding.protocols import Embedder
from retriever.evaluation.metrics import ndcg_at
from retriever.index import Index
from retriever.indexing.cloze import cloze_questions
from retriever.indexing.dense_weight import (
    MAX_ITEMS,
    ClozeItem,
    cloze_items,
    fit_dense_weight,
    score_items,
)
from retriever.indexing.fitting import Fitter
from retriever.searching.hybrid import search
from retriever.significance import MIN_DIFFERENCES, PairedComparison, Verdict, compare
from retriever.storage.adapter import QUERY, SIDES, Adapter
from retriever.storage.backends import Snapshot
from retriever.tuning.adapter import Fitted, fit_map
from retriever.tuning.guard import objection
from retriever.tuning.leakage import chosen, hold_out, normalised
from retriever.tuning.pairs import Pair, PairData, Passage
from retriever.tuning.trial import trial, weighted
from retriever.tuning.vectors import Answer, Pool, Question, make_examples, stored_vectors
from retriever.types import IndexStateError, UsageError

HELD_OUT = 0.2
"""Share of the queries, or of the documents, that measures the map."""

VALIDATION = 0.15
"""Share of the rest that decides when training ends."""

MINUTES = 5.0
"""Time for embedding and training; half of it at most for embedding passages."""

LEAST = 20
"""Fewer held-out queries cannot tell whether a map helps."""

MAX_QUERIES = 4_096
"""Queries that are trained on, by a fixed random choice."""

MAX_MEASURED = 300
"""Held-out queries that are searched for."""

MAX_SENTENCES = 1_500
"""Sentences that are removed from passages, where there are no pairs."""

_BATCH = 32  # passages embedded between two looks at the clock
_EACH = 4  # answers of a query that are trained on
_FIRST = 10
_CANDIDATES = 100

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Figures:
    """A measure of one mode without and with the map, the difference and its 95 % interval."""

    before: float
    after: float
    difference: float
    low: float
    high: float
    verdict: str

    @classmethod
    def of(cls, before: Sequence[float], after: Sequence[float]) -> Figures:
        """The figures of one value per query."""
        found: PairedComparison = compare(after, before)
        ends = found.difference
        values = (float(np.mean(before)), float(np.mean(after)), ends.mean, ends.low, ends.high)
        one, other, difference, low, high = (round(value, 4) for value in values)
        return cls(one, other, difference, low, high, found.verdict.value)


@dataclass(frozen=True, slots=True)
class AdapterReport:
    """What became of an adapter, and why.

    `measure` is that of `dense` and `hybrid`, over `held_out` queries. `start` and `steps` tell
    where training began and how long it went on; `seconds` are those of training alone.
    """

    kept: bool
    sentence: str
    side: str
    data: str
    pairs: int
    held_out: int
    measure: str
    dense: Figures
    hybrid: Figures
    dense_weight: float
    start: str
    steps: int
    seconds: float
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Task:
    """What an adapter is fitted to and measured by.

    `values(now)` gives the measure of each held-out query in dense and in hybrid search;
    `cloze` are passages with a sentence removed, for the weight of the dense side, and the raw
    vectors of sentences and rests.
    """

    data: str
    training: Sequence[Question]
    validation: Sequence[Question]
    measure: str
    held_out: int
    values: Callable[[Snapshot], tuple[list[float], list[float]]]
    cloze: tuple[Sequence[ClozeItem], Vectors, Vectors]
    notes: tuple[str, ...] = ()


def tune_adapter(
    index: Index,
    pairs: PairData | None = None,
    *,
    side: str = QUERY,
    seed: int = 0,
    held_out: float = HELD_OUT,
    minutes: float = MINUTES,
    progress: Progress = lambda text: None,
) -> AdapterReport:
    """Fit a map to pairs, or to the index's own passages, and keep it if it helps.

    Raises UsageError for impossible options and for data that is too little, IndexStateError for an
    index that has an adapter already, or no vectors.
    """
    _check(side, held_out, minutes)
    until = time.monotonic() + 60 * minutes
    with index.snapshot() as now:
        _check_index(now, index.name)
        with_model = _Embedding(index.embedder, now, until - 30 * minutes)
        if pairs is None:
            task = _own_task(now, with_model, seed, held_out, progress)
        else:
            task = _pairs_task(now, with_model, pairs, seed, held_out, progress)
        adapter, fitted, seconds = _fit(now, task, side, seed, until, progress)
        progress(f"searching for {task.held_out} held-out queries, without and with the map …")
        before = task.values(now)
        mapped = trial(now, adapter)
        weight = fit_dense_weight(mapped, *task.cloze)
        weight["weighed_at"] = now.passages.count()
        after = task.values(weighted(mapped, weight))
        restored = {
            "facts": dict(now.catalog.calibration_facts() or {}),
            "scale": now.catalog.match_scale(),
        }
    report = _report(task, adapter, fitted, seconds, before, after, float(weight["dense_weight"]))
    if report.kept:
        progress("fitting the search to the map …")
        _keep(index, Adapter.of(side, adapter.matrix, _facts(report), restored), weight)
    return report


def remove_adapter(index: Index) -> bool:
    """Remove the adapter; the results are those before it. Returns whether there was one.

    What was fitted to the index before is restored, if the documents are the same; else it is
    fitted again.
    """
    with index.backend.reading() as catalog:
        adapter, facts = catalog.adapter(), catalog.calibration_facts() or {}
        means = catalog.means()
    if adapter is None:
        return False
    with _changing(index):
        index.backend.set_adapter(None)
        before = adapter.before.get("facts") or {}
        if before.get("corpus") == facts.get("corpus"):
            index.backend.calibrate(means.passage_mean, means.query_mean, before)
            index.backend.set_match_scale(adapter.before.get("scale"))
        else:
            fitter = Fitter(index.backend, index.embedder)
            with index.backend.snapshot() as now:
                cloze = _Embedding(index.embedder, now).cloze(cloze_items(now))
                weight = fit_dense_weight(now, *cloze)
                weight["weighed_at"] = now.passages.count()
            fitter.refit_scores(weight)
        _finish(index)
    return True


def _check(side: str, held_out: float, minutes: float) -> None:
    if side not in SIDES:
        raise UsageError(f"--side is {' or '.join(SIDES)}; it is {side!r}")
    if not 0 < held_out < 1:
        raise UsageError(f"the share that is held out must be between 0 and 1; it is {held_out}")
    if not 0 < minutes < 24 * 60:
        raise UsageError(
            f"the time must be more than 0 minutes and less than a day; it is {minutes}"
        )


def _check_index(now: Snapshot, name: str) -> None:
    if now.catalog.calibration_facts() is None or not now.passages.count_vectors():
        raise IndexStateError(f"{name} has no vectors that could be mapped: index documents first")
    known = now.catalog.adapter()
    if known is not None:
        raise IndexStateError(
            f"{name} has an adapter already, of {known.facts.get('at', 'an unknown date')}; remove "
            f"it before another one is made: wva tune {name} --adapter off"
        )


def _fit(
    now: Snapshot, task: Task, side: str, seed: int, until: float, progress: Progress
) -> tuple[Adapter, Fitted, float]:
    started = time.monotonic()
    progress(f"training on {len(task.training)} queries …")
    pool = Pool.of(now)
    examples, validation = (
        make_examples(some, pool, each=_EACH, seed=seed)
        for some in (task.training, task.validation)
    )
    left = max(1.0, until - time.monotonic())
    fitted = fit_map(examples, validation, side, seed=seed, seconds=left)
    return Adapter.of(side, fitted.matrix), fitted, time.monotonic() - started


def _report(
    task: Task,
    adapter: Adapter,
    fitted: Fitted,
    seconds: float,
    before: tuple[list[float], list[float]],
    after: tuple[list[float], list[float]],
    weight: float,
) -> AdapterReport:
    dense, hybrid = (Figures.of(*each) for each in zip(before, after, strict=True))
    kept, why = _decided(dense, hybrid, task.held_out, fitted)
    told = "; ".join(
        f"{name} {task.measure} {one.before:.3f} and {one.after:.3f} ({one.difference:+.3f}, 95 % "
        f"interval {one.low:+.3f} to {one.high:+.3f}: {one.verdict})"
        for name, one in (("dense", dense), ("hybrid", hybrid))
    )
    sentence = f"On {task.held_out} held-out queries, before and after: {told}. {why}"
    return AdapterReport(
        kept=kept,
        sentence=sentence,
        side=adapter.side,
        data=task.data,
        pairs=len(task.training),
        held_out=task.held_out,
        measure=task.measure,
        dense=dense,
        hybrid=hybrid,
        dense_weight=weight,
        start=fitted.start,
        steps=fitted.steps,
        seconds=round(seconds, 1),
        notes=task.notes,
    )


def _decided(dense: Figures, hybrid: Figures, count: int, fitted: Fitted) -> tuple[bool, str]:
    if count < max(LEAST, MIN_DIFFERENCES):
        return False, f"Fewer than {LEAST} cannot tell whether the map helps, so it is not kept."
    if fitted.start == "identity" and not fitted.steps:
        return False, "No map was better than none, so the index stays as it is."
    against = objection([Verdict(dense.verdict), Verdict(hybrid.verdict)])
    if against:
        return False, f"{against}, so the index stays as it is."
    return True, "The map is kept; wva tune INDEX --adapter off removes it."


def _facts(report: AdapterReport) -> dict[str, Any]:
    """What `wva info` tells."""
    told = report.to_json()
    for name in ("kept", "side", "notes"):
        told.pop(name)
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), **told}


def _keep(index: Index, adapter: Adapter, weight: Mapping[str, Any]) -> None:
    with _changing(index):
        index.backend.set_adapter(adapter)
        Fitter(index.backend, index.embedder).refit_scores(weight)
        _finish(index)


@contextmanager
def _changing(index: Index) -> Iterator[None]:
    """Exclusive writing; released even if the change fails."""
    index.backend.acquire()
    try:
        yield
    finally:
        index.backend.release()


def _finish(index: Index) -> None:
    """End a change with the report of the last run, which it is none of."""
    with index.backend.reading() as catalog:
        last = catalog.last_run()
    index.backend.finish(last or {})


class _Embedding:
    """Embeds queries and passages; nothing is written to the index."""

    def __init__(self, embedder: Embedder, now: Snapshot, until: float = float("inf")) -> None:
        self._embedder, self._now, self._until = embedder, now, until

    def queries(self, texts: Iterable[str]) -> dict[str, Vectors]:
        """Text → its raw vector as a query."""
        distinct = list(dict.fromkeys(texts))
        return dict(zip(distinct, self._embedder.embed_queries(distinct), strict=True))

    def passages(self, wanted: Sequence[tuple[str, str]]) -> Vectors:
        """Raw vectors of (title, text), as many of the first as there is time for: (m, dim)."""
        found: list[Vectors] = [np.zeros((0, self._embedder.settings.dimension), np.float32)]
        for start in range(0, len(wanted), _BATCH):
            if start and time.monotonic() > self._until:
                break
            some = wanted[start : start + _BATCH]
            inputs = [self._embedder.passage_input(text, title) for title, text in some]
            found.append(self._embedder.embed_inputs(inputs))
        return np.concatenate(found)

    def cloze(self, items: Sequence[ClozeItem]) -> tuple[Sequence[ClozeItem], Vectors, Vectors]:
        """Items with the raw vectors of their sentences and rests, as far as there is time."""
        rests = self.passages([(item.chunk.title, item.rest) for item in items])
        some = items[: len(rests)]
        asked = self.queries(item.sentence for item in some)
        sentences = [asked[item.sentence] for item in some]
        return some, np.array(sentences).reshape(rests.shape), rests

    def question(self, text: str, raw: Vectors, answers: tuple[Answer, ...]) -> Question:
        """A question of the index."""
        return Question(text, self._now.calibration.query(raw), answers)


# From the index's own passages


def _own_task(
    now: Snapshot, model: _Embedding, seed: int, held_out: float, progress: Progress
) -> Task:
    """Sentences that have to find the rest of their passages; documents are held out."""
    sampled = _items(now)
    progress(f"embedding {len(sampled)} passages without a sentence of theirs …")
    items, sentences, rests = model.cloze(sampled)
    held = _held_items(items, seed, held_out)
    others = [at for at in range(len(items)) if at not in held]
    valid = _held_items([items[at] for at in others], seed + 1, VALIDATION)
    validation = [others[at] for at in sorted(valid)]
    training = [at for at in others if at not in set(validation)]
    measured = sorted(held)[:MAX_MEASURED]
    if len(measured) < LEAST or len(validation) < LEAST // 2 or len(training) < LEAST:
        raise UsageError(
            f"the index has only {len(items)} passages that a sentence can be removed from; about "
            f"{int(1.5 * LEAST / min(held_out, 1 - held_out))} are needed"
        )
    calibrated = now.calibration.passage(rests)

    def questions(rows: Sequence[int]) -> list[Question]:
        return [
            model.question(
                items[at].sentence,
                sentences[at],
                (Answer(calibrated[[at]], frozenset([items[at].chunk.document_id])),),
            )
            for at in rows
        ]

    def values(searched: Snapshot) -> tuple[list[float], list[float]]:
        some = [items[at] for at in measured]
        scored = score_items(searched, some, sentences[measured], rests[measured])
        return (
            [one.reciprocal_rank(0.0, 1.0) for one in scored],
            [one.reciprocal_rank(1.0, searched.dense_weight) for one in scored],
        )

    weighed = validation[:MAX_ITEMS]
    return Task(
        *("the index's own passages", questions(training), questions(validation)),
        *("reciprocal rank", len(measured), values),
        ([items[at] for at in weighed], sentences[weighed], rests[weighed]),
    )


def _items(now: Snapshot) -> list[ClozeItem]:
    """A sentence of each of some passages, always the same ones."""
    found: dict[str, ClozeItem] = {}
    for chunk in now.catalog.sample_chunks(3 * MAX_SENTENCES, embedded=True):
        for sentence, rest in islice(cloze_questions(chunk.text), 1):
            found.setdefault(sentence, ClozeItem(chunk, sentence, rest))
        if len(found) == MAX_SENTENCES:
            break
    return list(found.values())


def _held_items(items: Sequence[ClozeItem], seed: int, share: float) -> set[int]:
    """The rows of the items of some documents; of some passages where there are few documents."""
    names = [item.chunk.document_id for item in items]
    if len(set(names)) < LEAST / share:
        names = [item.chunk.id for item in items]
    held = chosen({name: name.encode() for name in names}, share, seed)
    return {at for at, name in enumerate(names) if name in held}


# From pairs


def _pairs_task(
    now: Snapshot,
    model: _Embedding,
    data: PairData,
    seed: int,
    held_out: float,
    progress: Progress,
) -> Task:
    """Queries that have to find their passages; queries are held out."""
    if data.scored:
        raise UsageError(
            f"{data.name} has rated sentences; an adapter needs queries and passages that answer "
            "them"
        )
    rest, held = hold_out(data, held_out, seed)
    train, valid = hold_out(rest, VALIDATION, seed + 1)
    places = _Places(now, data)
    measured = {
        query: found
        for query, pairs in _by_query(held.pairs).items()
        if (found := frozenset().union(*(places.names(pair.positive) for pair in pairs)))
    }
    measured = dict(islice(measured.items(), MAX_MEASURED))
    if len(measured) < LEAST:
        raise UsageError(
            f"{len(measured)} held-out queries of {data.name} have a passage that is in the index, "
            f"and at least {LEAST} are needed: positives are found by the path of their document "
            'as their "id", or by their text'
        )
    training = dict(islice(_by_query(train.pairs).items(), MAX_QUERIES))
    validation = dict(islice(_by_query(valid.pairs).items(), MAX_MEASURED))
    progress(f"embedding {len(training) + len(validation) + len(measured)} queries …")
    asked = model.queries([*training, *validation, *measured])
    answers = places.answers(model, [*training.values(), *validation.values()], progress)

    def questions(some: Mapping[str, Sequence[Pair]]) -> list[Question]:
        made = (
            model.question(
                query,
                asked[query],
                tuple(answers[p.positive.id] for p in pairs if p.positive.id in answers),
            )
            for query, pairs in some.items()
        )
        return [question for question in made if question.answers]

    def values(searched: Snapshot) -> tuple[list[float], list[float]]:
        return tuple(  # type: ignore[return-value]  # of two modes
            [
                ndcg_at(_FIRST, places.ranking(searched, query, asked[query], mode), judged)
                for query, judged in (
                    (q, dict.fromkeys(names, 1.0)) for q, names in measured.items()
                )
            ]
            for mode in ("dense", "hybrid")
        )

    return Task(
        *(data.name, questions(training), questions(validation), "nDCG@10", len(measured), values),
        model.cloze(cloze_items(now)),
        rest.notes,
    )


def _by_query(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair.query, []).append(pair)
    return found


class _Places:
    """Where the passages of pairs are in an index: by their document's path, or by their text."""

    def __init__(self, now: Snapshot, data: PairData) -> None:
        self._now = now
        rows = {row.path: row.id for row in now.catalog.documents()}
        ids = {pair.positive.id for pair in data.pairs}
        self._documents = {name: rows[name] for name in ids if name in rows}
        self._by_document = len(self._documents) * 2 >= len(ids)
        self._chunks = {} if self._by_document else self._by_text(data)

    def _by_text(self, data: PairData) -> dict[str, str]:
        """The id of a positive → that of the passage with its text."""
        wanted = {normalised(pair.positive.text): pair.positive.id for pair in data.pairs}
        found: dict[str, str] = {}
        for row in self._now.catalog.documents():
            for chunk in self._now.catalog.chunks(row.id):
                name = wanted.get(normalised(chunk.text))
                if name is not None:
                    found[name] = chunk.id
        return found

    def names(self, passage: Passage) -> frozenset[str]:
        """What a ranking has of the passage: its document, or itself; empty if it is not there."""
        known = self._documents if self._by_document else self._chunks
        return frozenset([known[passage.id]] if passage.id in known else [])

    def ranking(self, now: Snapshot, query: str, raw: Vectors, mode: str) -> list[str]:
        """The ids of the first documents, or passages."""
        hits = search(now, query, lambda _: raw, k=_CANDIDATES, mode=mode)
        return [hit.chunk.document_id if self._by_document else hit.chunk.id for hit in hits]

    def answers(
        self, model: _Embedding, pairs: Sequence[Sequence[Pair]], progress: Progress
    ) -> dict[str, Answer]:
        """The id of a positive → its vectors: stored ones, or new ones while there is time."""
        passages = {p.positive.id: p.positive for some in pairs for p in some}
        found = dict(filter(None, map(self._stored, passages.values())))
        missing = [one for name, one in passages.items() if name not in found]
        if missing:
            progress(f"embedding {len(missing)} passages that the index does not have …")
            raw = model.passages([(one.title, one.text) for one in missing])
            vectors = self._now.calibration.passage(raw)
            for one, vector in zip(missing, vectors, strict=False):
                found[one.id] = Answer(vector[None], frozenset([f"pair {one.id}"]))
        return found

    def _stored(self, passage: Passage) -> tuple[str, Answer] | None:
        document = self._documents.get(passage.id)
        if document is not None and self._by_document:
            ids, owner = self._now.catalog.chunk_ids(document), document
        elif passage.id in self._chunks:
            ids = [self._chunks[passage.id]]
            owner = next(one.document_id for one in self._now.catalog.get(ids))
        else:
            return None
        vectors = stored_vectors(self._now, ids)
        if not vectors:
            return None
        return passage.id, Answer(np.stack(list(vectors.values())), frozenset([owner]))


__all__ = [
    "HELD_OUT",
    "MINUTES",
    "AdapterReport",
    "Figures",
    "remove_adapter",
    "tune_adapter",
]
