"""Evaluation on labelled data sets (BEIR folders), through the same code as any search.

No label has an influence on the ranking: means are fitted on the texts alone, and each query is
searched alone. Index and vectors stay in the user's cache, so a second run takes seconds.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Unpack

from retriever import __version__
from retriever.arrays import Vectors
from retriever.cache import cache_folder
from retriever.embedding.protocols import RetrievalEmbedder
from retriever.evaluation.datasets import (
    RetrievalDataset,
    read_beir,
)
from retriever.evaluation.runs import MODES, Data, Run, digest, run_settings, score_rankings
from retriever.evaluation.vectors import cached_vectors
from retriever.index import Index
from retriever.indexing.fitting import Fitter
from retriever.searching.options import SearchChanges, SearchOptions, check_budget
from retriever.settings import ChunkSettings
from retriever.storage.adapter import Adapter
from retriever.text.chunking import CHUNKS_VERSION
from retriever.types import Document, Page, UsageError

Progress = Callable[[str], None]

DOCUMENTS = SearchOptions(
    k=100, by_file=True, syntax=False, fold=False, rerank_seconds=math.inf, sentences=False
)
"""The search options for data sets: every document is a result of its own, even a near-duplicate,
and reranking has no time limit."""


def _ignore(_: str) -> None:
    return None


def evaluate_retrieval(
    embedder: RetrievalEmbedder,
    folder: Path,
    *,
    chunking: ChunkSettings | None = None,
    baseline: Run | None = None,
    rerank: int = 0,
    first: int | None = None,
    progress: Progress = _ignore,
) -> Run:
    """A run on a BEIR folder, by mode; documents are ranked by their best chunk.

    The data set is indexed into the user's cache, like any other documents. `rerank` adds a mode:
    hybrid search with this many results reranked, without a time limit. `first` limits the number
    of queries; None means all. Raises UsageError, before anything is indexed, for an invalid
    number, or if the run is not comparable with `baseline`.
    """
    check_budget(rerank, math.inf)
    return evaluate_dataset(
        embedder,
        _first_queries(read_beir(folder), first),
        folder.resolve().name,
        chunking=chunking,
        baseline=baseline,
        rerank=rerank,
        progress=progress,
    )


def evaluate_dataset(
    embedder: RetrievalEmbedder,
    data: RetrievalDataset,
    name: str,
    *,
    chunking: ChunkSettings | None = None,
    baseline: Run | None = None,
    rerank: int = 0,
    adapter: Adapter | None = None,
    progress: Progress = _ignore,
) -> Run:
    """Like `evaluate_retrieval`, for a data set in memory with the name `name`.

    With an `adapter` the data set is searched as an index that has it.
    """
    started = time.monotonic()
    with ExitStack() as opened:
        ready = opened.enter_context(
            open_dataset(
                embedder, data, name, chunking=chunking, baseline=baseline, progress=progress
            )
        )
        if adapter is not None:
            ready = opened.enter_context(_mapped(ready, adapter))
        rankings = {mode.value: ready.rankings(mode=mode) for mode in MODES}
        if rerank:
            progress(f"reranking {rerank} results of each …")
            rankings[f"hybrid, {rerank} reranked"] = ready.rankings(rerank=rerank)
        values, made_with = score_rankings(rankings, data.qrels), run_settings(ready.index)
    return Run(ready.data, values, made_with, time.monotonic() - started)


@dataclass(frozen=True, slots=True)
class IndexedDataset:
    """A data set ready for searching: its index, and the queries with a relevant document.

    `queries` is query id → text, `vectors` text → the query's raw vector (dim,).
    """

    data: Data
    index: Index
    queries: Mapping[str, str]
    vectors: Mapping[str, Vectors]

    def rankings(
        self, *, first: int | None = None, **changes: Unpack[SearchChanges]
    ) -> dict[str, list[str]]:
        """Query id → the ids of the 100 best documents; each query is searched alone.

        `first` limits the number of queries; None means all. `changes` are search options that
        differ from `DOCUMENTS`.
        """
        options, embed = DOCUMENTS.changed(**changes), self.vectors.__getitem__
        return {
            number: [
                hit.chunk.path for hit in self.index.search(text, options=options, embed=embed)
            ]
            for number, text in islice(self.queries.items(), first)
        }


@contextmanager
def open_dataset(
    embedder: RetrievalEmbedder,
    data: RetrievalDataset,
    name: str,
    *,
    chunking: ChunkSettings | None = None,
    baseline: Run | None = None,
    progress: Progress = _ignore,
) -> Iterator[IndexedDataset]:
    """Index `data` into the user's cache and embed its queries. `name` is the data set's name.

    Raises UsageError, before anything is indexed, if a run on it is not comparable with `baseline`.
    """
    named = _data(name, data)
    if baseline is not None:
        baseline.check(named)
    asked = {
        number: text
        for number, text in data.queries.items()
        if any(gain > 0 for gain in data.qrels.get(number, {}).values())
    }
    with _open_index(embedder, data, chunking or ChunkSettings(), progress) as index:
        texts = list(asked.values())
        progress(f"{len(texts)} queries …")
        vectors = cached_vectors(embedder, "query", texts, embedder.embed_queries)
        yield IndexedDataset(named, index, asked, dict(zip(texts, vectors, strict=True)))


@contextmanager
def _mapped(ready: IndexedDataset, adapter: Adapter) -> Iterator[IndexedDataset]:
    """The data set with an adapter, which a copy of its index gets."""
    embedder = ready.index.embedder
    with tempfile.TemporaryDirectory(prefix="wva-adapter-") as place:
        copy = Path(place) / "index"
        ready.index.backup(copy)
        with Index.open(copy, embedder) as index:
            with index.changing():
                Fitter(index.backend, embedder).set_adapter(adapter)
                index.backend.finish({})
            yield replace(ready, index=index)


def _first_queries(data: RetrievalDataset, count: int | None) -> RetrievalDataset:
    """The data set with its first `count` queries that have a relevant document."""
    if count is None:
        return data
    if count < 1:
        raise UsageError(f"the number of queries must be at least 1; it is {count}")
    useful = (n for n in data.queries if any(gain > 0 for gain in data.qrels.get(n, {}).values()))
    kept = list(islice(useful, count))
    return RetrievalDataset(
        data.corpus, {n: data.queries[n] for n in kept}, {n: data.qrels[n] for n in kept}
    )


def _data(name: str, data: RetrievalDataset) -> Data:
    """The name and the digests of the data set's documents, queries and judgements."""
    documents = [f"{n}\0{title}\0{text}" for n, (title, text) in sorted(data.corpus.items())]
    judged = [
        f"{number}\0{text}\0{sorted(data.qrels[number].items())}"
        for number, text in sorted(data.queries.items())
    ]
    return Data(name, len(data.corpus), digest(documents), digest(judged))


@contextmanager
def _open_index(
    embedder: RetrievalEmbedder, data: RetrievalDataset, chunking: ChunkSettings, progress: Progress
) -> Iterator[Index]:
    """The data set's index in the cache; completes what an earlier, stopped run left out."""
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
            progress(f"indexing {len(missing)} of {len(data.corpus)} documents …")
        # Also without new documents: an index of an older version is fitted again.
        index.add(_document(number, *data.corpus[number]) for number in missing)
        yield index


def _document(number: str, title: str, text: str) -> Document:
    return Document(path=number, format="text", pages=(Page(None, text),), title=title)
