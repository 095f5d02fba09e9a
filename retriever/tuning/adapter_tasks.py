"""What an adapter is fitted to and measured by: an index's own passages, or pairs.

Of the index's own passages a sentence is removed, and has to find the rest (see
`retriever.indexing.cloze`); documents are held out. The queries of pairs are embedded, and their
passages are looked up in the index, by the id of their document or by their text; queries are held
out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from retriever.arrays import Vectors
from retriever.embedding.protocols import Embedder
from retriever.evaluation.metrics import ndcg_at
from retriever.indexing.cloze import cloze_questions, hash_key
from retriever.indexing.dense_weight import MAX_ITEMS, ClozeItem, cloze_items, score_items
from retriever.searching.hybrid import search
from retriever.storage.backends import Snapshot
from retriever.tuning.guard import MIN_QUERIES
from retriever.tuning.leakage import chosen, hold_out, normalised
from retriever.tuning.pairs import Pair, PairData, Passage
from retriever.tuning.vectors import Answer, Question, stored_vectors
from retriever.types import UsageError

VALIDATION = 0.15
"""Share of what is not held out that decides when training ends."""

MAX_QUERIES = 4_096
"""Queries that are trained on, by a fixed random choice."""

MAX_MEASURED = 300
"""Held-out queries that are searched for."""

MAX_SENTENCES = 1_500
"""Sentences that are removed from passages, where there are no pairs."""

_BATCH = 32  # passages embedded between two looks at the clock
_FIRST = 10
_CANDIDATES = 100

Progress = Callable[[str], None]


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


class Embedding:
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


def own_task(
    now: Snapshot, model: Embedding, seed: int, held_out: float, progress: Progress
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
    if (
        len(measured) < MIN_QUERIES
        or len(validation) < MIN_QUERIES // 2
        or len(training) < MIN_QUERIES
    ):
        if len(items) < len(sampled):
            raise UsageError(
                f"only {len(items)} of {len(sampled)} passages were embedded in the time there is, "
                "which is too few; give more --minutes"
            )
        raise UsageError(
            f"the index has only {len(items)} passages that a sentence can be removed from; about "
            f"{int(1.5 * MIN_QUERIES / min(held_out, 1 - held_out))} are needed"
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
    if len(set(names)) < MIN_QUERIES / share:
        names = [item.chunk.id for item in items]
    held = chosen({name: name.encode() for name in names}, share, seed)
    return {at for at, name in enumerate(names) if name in held}


# From pairs


def pairs_task(
    now: Snapshot,
    model: Embedding,
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
        for query, pairs in _by_query(held.pairs, seed).items()
        if (found := frozenset().union(*(places.names(pair.positive) for pair in pairs)))
    }
    measured = dict(islice(measured.items(), MAX_MEASURED))
    if len(measured) < MIN_QUERIES:
        raise UsageError(
            f"{len(measured)} held-out queries of {data.name} have a passage that is in the index, "
            f"and at least {MIN_QUERIES} are needed: positives are found by the path of their "
            'document as their "id", or by their text'
        )
    training = dict(islice(_by_query(train.pairs, seed).items(), MAX_QUERIES))
    validation = dict(islice(_by_query(valid.pairs, seed).items(), MAX_MEASURED))
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
        notes=rest.notes,
    )


def _by_query(pairs: Sequence[Pair], seed: int) -> dict[str, list[Pair]]:
    """Query → its pairs, in a random order: files may be sorted by topic."""
    found: dict[str, list[Pair]] = {}
    for pair in sorted(pairs, key=lambda pair: hash_key(f"{seed} {pair.query}")):
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
        self, model: Embedding, pairs: Sequence[Sequence[Pair]], progress: Progress
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


__all__ = ["Embedding", "Progress", "Task", "own_task", "pairs_task"]
