"""Evaluation runs: similarity files, BEIR folders, questions to one's own index.

All go through the same code that serves users.

Nothing here sees a label before the ranking stands: means are fitted on the texts alone, each query
is searched alone. Vectors are kept in the user's cache, so that a second run takes seconds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, Unpack

import numpy as np

from retriever import __version__
from retriever.arrays import Vectors
from retriever.cache import cache_folder, remembered
from retriever.embedding.aligned_wva import AlignedWVA
from retriever.embedding.protocols import Embedder
from retriever.embedding.sentence_map import sentence_map
from retriever.evaluation.datasets import (
    LabelledQuestion,
    RelevantPlace,
    Retrieval,
    read_pairs,
    read_retrieval,
)
from retriever.evaluation.metrics import spearman
from retriever.evaluation.runs import Data, Run, digest, score_rankings
from retriever.index import Index
from retriever.searching.options import Mode, SearchChanges, SearchOptions, check_budget
from retriever.settings import ChunkSettings
from retriever.text.chunking import CHUNKS_VERSION
from retriever.types import Document, Hit, Page, UsageError

Tell = Callable[[str], None]
Embed = Callable[[Sequence[str]], Vectors]

MODES = (Mode.KEYWORD, Mode.DENSE, Mode.HYBRID)
"""In the order of the tables: BM25 first, it is what the others are compared with."""


DOCUMENTS = SearchOptions(k=100, by_file=True, syntax=False, fold=False, rerank_seconds=math.inf)
"""How a labelled set is searched: every document takes its own place, also one that repeats another
one, and reranking takes the time it needs."""

PASSAGES = SearchOptions(syntax=False, fold=False)
"""How questions of one's own are searched: folded and joined, passages would be more than ten."""


class RetrievalEmbedder(Embedder, Protocol):
    """What evaluating retrieval needs of an embedder: `AlignedWVA` is one."""

    @property
    def dtype(self) -> str:
        """The precision its vectors are computed in, which they depend on a little."""


def _silent(_: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class STSResult:
    """Spearman correlation times 100 between cosines and people's judgements."""

    path: str
    pooling: str
    pairs: int
    spearman: float  # calibrated on the file's sentences, without its scores
    spearman_raw: float


def evaluate_sts(embedder: AlignedWVA, path: Path) -> STSResult:
    """Sentence similarity on a file with the columns score, sentence1, sentence2."""
    pairs = read_pairs(path)
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.first, pair.second)))
    raw = _cached(embedder, "sentence", texts, embedder.embed_sentences)
    prior = embedder.general_mean(embedder.settings.prompts.sentence)
    calibrated = sentence_map(raw, prior).apply(raw)
    gold = [pair.score for pair in pairs]
    place = {text: number for number, text in enumerate(texts)}
    first = [place[pair.first] for pair in pairs]
    second = [place[pair.second] for pair in pairs]
    scores = [
        100 * spearman(gold, np.sum(vectors[first] * vectors[second], axis=1))
        for vectors in (calibrated, raw)
    ]
    return STSResult(
        path=str(path),
        pooling=embedder.settings.pooling,
        pairs=len(pairs),
        spearman=round(scores[0], 2),
        spearman_raw=round(scores[1], 2),
    )


def compare_poolings(
    embedder: AlignedWVA, paths: Sequence[Path], poolings: Sequence[str] = ()
) -> Iterator[STSResult]:
    """A result for every file and pooling (by default the embedder's own), side by side.

    The model is loaded once. Raises UsageError for an unknown pooling, ModelError for one that the
    model does not allow, before anything is embedded.
    """
    embedders = [embedder.with_pooling(pooling) for pooling in poolings] or [embedder]
    for path in paths:
        for each in embedders:
            yield evaluate_sts(each, path)


def evaluate_retrieval(
    embedder: RetrievalEmbedder,
    folder: Path,
    *,
    chunking: ChunkSettings | None = None,
    baseline: Run | None = None,
    rerank: int = 0,
    first: int | None = None,
    tell: Tell = _silent,
) -> Run:
    """Retrieval on a BEIR folder, by mode; documents are ranked by their best chunk.

    The dataset is indexed like any other documents, into the user's cache. With `rerank`, one more
    mode is hybrid search with so many results judged by the model, however long that takes; `first`
    is how many of the queries are asked, None for all. Raises UsageError, before anything is
    indexed, for an impossible number, or if the run could not be compared with `baseline`.
    """
    check_budget(rerank, math.inf)
    return evaluate_labelled(
        embedder,
        _first_queries(read_retrieval(folder), first),
        folder.resolve().name,
        chunking=chunking,
        baseline=baseline,
        rerank=rerank,
        tell=tell,
    )


def evaluate_labelled(
    embedder: RetrievalEmbedder,
    data: Retrieval,
    name: str,
    *,
    chunking: ChunkSettings | None = None,
    baseline: Run | None = None,
    rerank: int = 0,
    tell: Tell = _silent,
) -> Run:
    """As `evaluate_retrieval`, of labelled data that are there already and called `name`."""
    started = time.monotonic()
    with prepare(embedder, data, name, chunking=chunking, baseline=baseline, tell=tell) as ready:
        rankings = {mode.value: ready.rankings(mode=mode) for mode in MODES}
        if rerank:
            tell(f"reranking {rerank} results of each …")
            rankings[f"hybrid, {rerank} reranked"] = ready.rankings(rerank=rerank)
        values, made_with = score_rankings(rankings, data.qrels), _made_with(ready.index)
    return Run(ready.data, values, made_with, time.monotonic() - started)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A labelled set ready to be searched: its index, and the queries that have an answer.

    `queries` is query id → text, `vectors` text → the query's raw vector (dim,).
    """

    data: Data
    index: Index
    queries: Mapping[str, str]
    vectors: Mapping[str, Vectors]

    def rankings(
        self, *, first: int | None = None, **changes: Unpack[SearchChanges]
    ) -> dict[str, list[str]]:
        """Query id → the ids of the 100 best documents, each query searched alone.

        Of the queries the `first` ones, None for all. `changes` are options of a search, where it
        differs from `DOCUMENTS`.
        """
        options, embed = DOCUMENTS.changed(**changes), self.vectors.__getitem__
        return {
            number: [
                hit.chunk.path for hit in self.index.search(text, options=options, embed=embed)
            ]
            for number, text in islice(self.queries.items(), first)
        }


@contextmanager
def prepare(
    embedder: RetrievalEmbedder,
    data: Retrieval,
    name: str,
    *,
    chunking: ChunkSettings | None = None,
    baseline: Run | None = None,
    tell: Tell = _silent,
) -> Iterator[Prepared]:
    """`data`, called `name`, indexed into the user's cache and its queries embedded.

    Raises UsageError, before anything is indexed, if a run on it could not be compared with
    `baseline`.
    """
    named = _data(name, data)
    if baseline is not None:
        baseline.check(named)
    asked = {
        number: text
        for number, text in data.queries.items()
        if any(gain > 0 for gain in data.qrels.get(number, {}).values())
    }
    with _dataset_index(embedder, data, chunking or ChunkSettings(), tell) as index:
        texts = list(asked.values())
        tell(f"{len(texts)} queries …")
        vectors = _cached(embedder, "query", texts, embedder.embed_queries)
        yield Prepared(named, index, asked, dict(zip(texts, vectors, strict=True)))


QUESTION_MEASURES = ("ndcg@10", "mrr@10", "recall@10")


def evaluate_questions(
    index: Index,
    questions: Sequence[LabelledQuestion],
    *,
    name: str = "",
    baseline: Run | None = None,
) -> Run:
    """Questions to one's own index, by mode; passages are ranked.

    A passage is right if it stands at one of the question's places. Every passage takes its rank;
    a second one of the same place gains nothing more. A place that the index does not have counts
    as not found (see `missing_places`). Raises UsageError if the run could not be compared with
    `baseline`.
    """
    started = time.monotonic()
    rows = sorted(f"{row.path}\0{row.sha256 or row.id}" for row in index.documents())
    asked = sorted(f"{each.id}\0{each.text}\0{each.places}" for each in questions)
    data = Data(name or index.name, len(rows), digest(rows), digest(asked))
    if baseline is not None:
        baseline.check(data)
    texts = list(dict.fromkeys(question.text for question in questions))
    by_text = dict(zip(texts, index.embedder.embed_queries(texts), strict=True))
    rankings = {
        mode.value: {
            question.id: _places_found(question, _plain(index, question.text, mode, by_text))
            for question in questions
        }
        for mode in MODES
    }
    right = {question.id: {str(place): 1.0 for place in question.places} for question in questions}
    values = score_rankings(rankings, right, QUESTION_MEASURES)
    return Run(data, values, _made_with(index), time.monotonic() - started)


def _plain(index: Index, text: str, mode: Mode, vectors: Mapping[str, Vectors]) -> list[Hit]:
    """The ten best passages, each by itself."""
    return index.search(text, options=PASSAGES, mode=mode, embed=vectors.__getitem__)


def _places_found(question: LabelledQuestion, hits: Sequence[Hit]) -> list[str]:
    """What stands at each rank: one of the question's places, or a passage that is not."""
    wanted = set(question.places)
    found: list[str] = []
    for hit in hits:
        chunk = hit.chunk
        here = (RelevantPlace(chunk.path, chunk.page), RelevantPlace(chunk.path))
        place = next((place for place in here if place in wanted), None)
        if place is None:
            found.append(f"passage {chunk.id}")
        else:
            wanted.discard(place)
            found.append(str(place))
    return found


def missing_places(index: Index, questions: Sequence[LabelledQuestion]) -> list[str]:
    """The questions' places that the index has no passage of, each said in a sentence.

    Raises UsageError when it has none of them: these are questions to other documents.
    """
    asked = dict.fromkeys(place for question in questions for place in question.places)
    paths = {place.path for place in asked}
    there: set[RelevantPlace] = set()
    for row in index.documents():
        if row.path in paths and row.chunks:
            pages = [page.number for page in index.page_statuses(row.id) if page.chunks]
            there |= {
                RelevantPlace(row.path),
                *(RelevantPlace(row.path, number) for number in pages),
            }
    if not there & set(asked):
        example = next(iter(asked))
        raise UsageError(
            f"none of the {len(asked)} places that the questions name is in the index, such as "
            f"{str(example)!r}; a path must read as wva search shows it"
        )
    return [
        f"{place} has no passage in the index; it counts as not found"
        for place in asked
        if place not in there
    ]


def _first_queries(data: Retrieval, count: int | None) -> Retrieval:
    """The dataset with the first `count` of the queries that have a relevant document."""
    if count is None:
        return data
    if count < 1:
        raise UsageError(f"the number of queries must be at least 1; it is {count}")
    useful = (n for n in data.queries if any(gain > 0 for gain in data.qrels.get(n, {}).values()))
    kept = list(islice(useful, count))
    return Retrieval(
        data.corpus, {n: data.queries[n] for n in kept}, {n: data.qrels[n] for n in kept}
    )


def _data(name: str, data: Retrieval) -> Data:
    """What tells whether two runs saw the same documents, queries and judgements."""
    documents = [f"{n}\0{title}\0{text}" for n, (title, text) in sorted(data.corpus.items())]
    judged = [
        f"{number}\0{text}\0{sorted(data.qrels[number].items())}"
        for number, text in sorted(data.queries.items())
    ]
    return Data(name, len(data.corpus), digest(documents), digest(judged))


def _made_with(index: Index) -> dict[str, Any]:
    """What a run was made with, to be told: model, layers, pooling, chunks."""
    with index.backend.reading() as catalog:
        settings, chunks = catalog.embedder_settings(), catalog.chunk_settings()
    made: dict[str, Any] = {"version": __version__}
    if settings is not None:
        made |= {"model": settings.model, "fingerprint": settings.fingerprint}
        made |= {"layers": list(settings.layers), "pooling": settings.pooling}
        made |= {"prompts": settings.prompts.to_json()}
    if chunks is not None:
        made["chunks"] = f"{chunks.size}/{chunks.overlap}"
    return made


@contextmanager
def _dataset_index(
    embedder: RetrievalEmbedder, data: Retrieval, chunking: ChunkSettings, tell: Tell
) -> Iterator[Index]:
    """The dataset as an index in the cache, completed if an earlier run was stopped."""
    parts = [f"{number}\0{title}\0{text}" for number, (title, text) in data.corpus.items()]
    made_by = [
        __version__,
        embedder.settings.fingerprint,
        embedder.dtype,
        str(chunking),
        CHUNKS_VERSION,
    ]
    name = digest([*made_by, *parts])
    folder = cache_folder() / "eval" / name
    with Index.open_or_create(folder, embedder, chunking=chunking) as index:
        there = {row.path for row in index.documents()}
        missing = [number for number in data.corpus if number not in there]
        if missing:
            tell(f"indexing {len(missing)} of {len(data.corpus)} documents …")
        # Without new ones it is fitted, should it have been made by an earlier way of fitting.
        index.add(_document(number, *data.corpus[number]) for number in missing)
        yield index


def _document(number: str, title: str, text: str) -> Document:
    return Document(path=number, format="text", pages=(Page(None, text),), title=title)


def _cached(embedder: RetrievalEmbedder, kind: str, texts: Sequence[str], embed: Embed) -> Vectors:
    """Raw vectors of texts, (n, dim), read from the cache if these were embedded before."""
    settings = embedder.settings
    name = digest([settings.fingerprint, embedder.dtype, kind, *texts])
    return remembered(f"eval/{name}", (len(texts), settings.dimension), lambda: embed(texts))
