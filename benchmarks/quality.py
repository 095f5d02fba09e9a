"""The README's tables of quality and cost: `python -m benchmarks.quality FOLDER…` (BEIR folders).

nDCG@10 of our three modes, of BM25 over whole documents, and of a trained embedder, alone and fused
with that BM25. Every mean has its 95 % interval, and hybrid search has paired comparisons with all
others. Then the costs of each. `--rerank N` adds reranking, `--ablate` switches components off.

Indexes and vectors stay in the user's cache, so a second run takes minutes. Tables go to standard
output, progress to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress
from pathlib import Path
from statistics import median
from typing import Any, Self

import numpy as np

from benchmarks import trained
from benchmarks.tables import (
    MEASURE,
    Cost,
    compare_systems,
    comparison_table,
    cost_table,
    means,
    quality_table,
    variant_table,
)
from benchmarks.trained import Matrix, Trained
from retriever.arrays import DoubleScores
from retriever.cache import cached_array, write_atomically
from retriever.embedding.aligned_wva import AlignedWVA
from retriever.evaluation.datasets import RetrievalDataset, read_beir
from retriever.evaluation.retrieval import IndexedDataset, open_dataset
from retriever.evaluation.runs import MODES, Run, comparisons_json, digest, score_rankings
from retriever.index import Index
from retriever.searching.options import Mode
from retriever.settings import DEFAULT_MODEL, ChunkSettings
from retriever.types import RetrieverError
from tests.fakes import FakeEmbedder

WHOLE_BM25 = "BM25, whole documents"
TRAINED = trained.NAME
FUSED = f"{TRAINED} + BM25"
OURS = Mode.HYBRID.value

SYSTEMS = (*(mode.value for mode in MODES), WHOLE_BM25, TRAINED, FUSED)
"""In the order of the tables."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "without the dense side": {"mode": Mode.KEYWORD},
    "without the keyword side": {"mode": Mode.DENSE},
    "without feedback": {"feedback": False},
}
"""Ablations, one component each: name → arguments of `Index.search`."""

SINGLE_PROMPT = {
    "a query read once": Mode.HYBRID,
    "without the keyword side, a query read once": Mode.DENSE,
}
"""Ablations with queries in one prompt, which need an index of their own: name → mode."""

COST_QUERIES, COST_PASSAGES = 20, 48
"""The numbers of evenly chosen queries and passages of a set that are timed."""

Progress = Callable[[str], None]
Rankings = Mapping[str, Sequence[str]]


class CachingWVA(AlignedWVA):
    """Caches likelihoods, so that a second run of reranking is fast."""

    _known: Index | None = None

    def log_likelihoods(
        self, query: str, passages: Sequence[str], titles: Sequence[str] | None = None
    ) -> DoubleScores:
        """As `AlignedWVA`'s."""
        read = [*passages, *(titles or ())]
        name = digest(["likelihood", self.fingerprint, self.dtype, query, *read])
        judge = super().log_likelihoods
        return cached_array(
            f"eval/{name}",
            (len(passages),),
            lambda: judge(query, passages, titles).astype(np.float32),
        ).astype(np.float64)

    def with_single_prompt(self, known: Index) -> Self:
        """The same model with the first query prompt only.

        The passage prompt is the same, so the vectors of passages come from the index `known`.
        """
        prompts = self.settings.prompts
        once = self.with_prompts(replace(prompts, query=prompts.queries[0]))
        once._known = known
        return once

    def embed_inputs(self, inputs: Sequence[str]) -> Matrix:
        """As `AlignedWVA`'s."""
        if self._known is None:
            return super().embed_inputs(inputs)
        embedder, backend = self._known.embedder, self._known.backend
        keys = [embedder.key(each) for each in inputs]
        vectors = np.zeros((len(inputs), self.dimension), dtype=np.float32)
        with backend.reading() as catalog:
            stored = catalog.known_vectors(keys)
            there = [key in stored for key in keys]
            if any(there):
                vectors[there] = catalog.load_vectors(list(compress(keys, there)))
        new = [not each for each in there]
        vectors[new] = super().embed_inputs(list(compress(inputs, new)))
        return vectors


class NoModel(FakeEmbedder):
    """An embedder for keyword-only indexes, with documents of any length as one chunk."""

    dtype = "none"

    def __init__(self) -> None:
        super().__init__(1, weights="none", max_tokens=1 << 20)

    def embed_inputs(self, inputs: Sequence[str]) -> Matrix:
        """The same vector for every text."""
        return np.ones((len(inputs), 1), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class SetResults:
    """The results of one set: all systems, ablations and reranking (None if not run), costs."""

    run: Run
    ablation: Run | None
    reranked: Run | None
    costs: Mapping[str, Cost]


# One set


class Bench:
    """A data set, indexed for us, for BM25 over whole documents, and for the trained model."""

    def __init__(
        self,
        data: RetrievalDataset,
        embedder: CachingWVA,
        ours: IndexedDataset,
        whole: IndexedDataset,
        trained_model: Trained,
        progress: Progress,
    ) -> None:
        self.data, self.ours, self.whole, self.trained_model = data, ours, whole, trained_model
        self.embedder = embedder
        self.ids = list(data.corpus)
        self._documents = [trained.document_text(*document) for document in data.corpus.values()]
        self._progress = progress
        place = {name: at for at, name in enumerate(self.ids)}
        rows = whole.index.documents()
        self._place = {
            chunk.id: place[row.path] for row in rows for chunk in whole.index.chunks(row.id)
        }

    def keyword_scores(self, text: str) -> Matrix:
        """BM25 of each whole document, 0 if it has no query term: (documents,)."""
        scores = np.zeros(len(self.ids), dtype=np.float32)
        with self.whole.index.snapshot(dense=False) as now:
            found = now.keyword(text, len(self._place))
        places = [self._place[chunk] for chunk in found.ids]
        np.maximum.at(scores, places, found.scores)
        return scores

    def rankings(self) -> dict[str, Rankings]:
        """System → query id → the best documents."""
        found: dict[str, Rankings] = {}
        for mode in MODES:
            self._progress(f"{mode} …")
            found[mode.value] = self.ours.rankings(mode=mode)
        queries = self.ours.queries
        self._progress(f"{WHOLE_BM25} …")
        keyword = np.stack([self.keyword_scores(text) for text in queries.values()])
        trained_model = self.trained_model
        cosine = (
            trained_model.vectors(list(queries.values())) @ trained_model.vectors(self._documents).T
        )
        scores = {WHOLE_BM25: keyword, TRAINED: cosine, FUSED: trained.z_sum(cosine, keyword)}
        for system, matrix in scores.items():
            found[system] = {
                query: trained.top_ids(row, self.ids)
                for query, row in zip(queries, matrix, strict=True)
            }
        return found

    def single_prompt_rankings(self) -> dict[str, Rankings]:
        """Our rankings with queries in one prompt."""
        index, name = self.ours.index, self.ours.data.name
        once = self.embedder.with_single_prompt(index)
        with open_dataset(once, self.data, name, progress=self._progress) as ready:
            return {name: ready.rankings(mode=mode) for name, mode in SINGLE_PROMPT.items()}

    def run(self, rankings: Mapping[str, Rankings]) -> Run:
        """The run of these rankings."""
        queries = {query for ranked in rankings.values() for query in ranked}
        judged = {query: self.data.qrels[query] for query in self.ours.queries if query in queries}
        return Run(self.ours.data, score_rankings(rankings, judged, (MEASURE,)))

    # Costs

    def costs(self) -> dict[str, Cost]:
        """Time per query and passage, and disk space per passage, measured without the cache.

        For the trained embedder, and for BM25 over whole documents, a passage is a document. The
        disk space of the trained embedder is its vector alone; that of BM25 includes the text.
        """
        self._progress("costs …")
        index, trained_model, documents = self.ours.index, self.trained_model, self._documents
        embedder, info = index.embedder, index.info()
        with index.backend.reading() as catalog:
            sample = catalog.sample_chunks(COST_PASSAGES)
        ours = self._indexing(
            [embedder.passage_input(chunk.text, chunk.title) for chunk in sample],
            embedder.embed_inputs,
        )
        theirs = self._indexing(evenly_chosen(documents, COST_PASSAGES), trained_model.encode)
        on_disk = info["bytes"]["total"] / max(1, info["chunks"])
        vector = np.float32().nbytes * trained.DIMENSION
        whole = self.whole.index.info()["bytes"]["total"] / len(documents)
        cosines = self._cosines(trained_model.vectors(documents))
        return {
            Mode.KEYWORD.value: Cost(self._searching(self.ours, Mode.KEYWORD)),
            Mode.DENSE.value: Cost(self._searching(self.ours, Mode.DENSE), ours, on_disk),
            Mode.HYBRID.value: Cost(self._searching(self.ours, Mode.HYBRID), ours, on_disk),
            WHOLE_BM25: Cost(self._searching(self.whole, Mode.KEYWORD), None, whole),
            TRAINED: Cost(self._asking(cosines), theirs, vector),
            FUSED: Cost(
                self._asking(lambda text: trained.z_sum(cosines(text), self.keyword_scores(text))),
                theirs,
                vector + whole,
            ),
        }

    def _cosines(self, vectors: Matrix) -> Callable[[str], Matrix]:
        """A function: query → its cosine with each document, with the query embedded anew."""
        return lambda text: vectors @ self.trained_model.encode([text])[0]

    def _searching(self, searched: IndexedDataset, mode: Mode) -> float:
        return self._timed(lambda text: searched.index.search(text, 10, mode=mode, syntax=False))

    def _asking(self, score: Callable[[str], Matrix]) -> float:
        return self._timed(lambda text: trained.top_ids(score(text), self.ids, 10))

    def _timed(self, ask: Callable[[str], object]) -> float:
        """The median time per query in ms, after a warm-up with the first one."""
        texts = evenly_chosen(list(self.ours.queries.values()), COST_QUERIES)
        times = [seconds(partial(ask, text)) for text in [texts[0], *texts]]
        return 1e3 * median(times[1:])

    def _indexing(self, texts: Sequence[str], embed: Callable[[Sequence[str]], Matrix]) -> float:
        """The model's seconds per 1,000 passages, after a warm-up with the first one."""
        embed(texts[:1])
        return 1e3 * seconds(partial(embed, texts)) / len(texts)


@contextmanager
def bench(
    name: str,
    data: RetrievalDataset,
    embedder: CachingWVA,
    trained_model: Trained,
    progress: Progress,
) -> Iterator[Bench]:
    """Index and embed a data set, or read it from the cache."""
    whole = RetrievalDataset(
        {
            number: ("", trained.document_text(*document))
            for number, document in data.corpus.items()
        },
        data.queries,
        data.qrels,
    )
    no_model = NoModel()
    # As small as possible: chunking takes time in proportion to the chunk size.
    longest = max(len(no_model.token_spans(text)) for _, text in whole.corpus.values())
    uncut = ChunkSettings(size=max(longest, 8))
    with (
        open_dataset(embedder, data, name, progress=progress) as ours,
        open_dataset(no_model, whole, name, chunking=uncut, progress=progress) as documents,
    ):
        yield Bench(data, embedder, ours, documents, trained_model, progress)


def measure(bench: Bench, options: argparse.Namespace, progress: Progress) -> SetResults:
    """All measurements of one set that the options ask for."""
    found = bench.rankings()
    ablation = reranked = None
    if options.ablate:
        progress("ablations …")
        without = {name: bench.ours.rankings(**how) for name, how in VARIANTS.items()}
        ablation = bench.run({OURS: found[OURS], **without, **bench.single_prompt_rankings()})
    if options.rerank:
        progress(f"reranking {options.rerank} results of the first {options.first} queries …")
        again = bench.ours.rankings(first=options.first, rerank=options.rerank)
        sample = {query: found[OURS][query] for query in again}
        reranked = bench.run({OURS: sample, f"{OURS}, {options.rerank} reranked": again})
    return SetResults(bench.run(found), ablation, reranked, bench.costs())


# The command


def set_names(folders: Sequence[Path]) -> list[str]:
    """A name for each set: its path relative to their common folder.

    >>> set_names([Path("/data/xquad/en"), Path("/data/medline")])
    ['xquad/en', 'medline']
    """
    resolved = [folder.resolve() for folder in folders]
    common = os.path.commonpath([folder.parent for folder in resolved])
    return [folder.relative_to(common).as_posix() for folder in resolved]


def evenly_chosen(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly chosen.

    >>> evenly_chosen("abcdef", 3)
    ['a', 'c', 'e']
    """
    take = min(count, len(items))
    return [items[at * len(items) // take] for at in range(take)]


def seconds(work: Callable[[], object]) -> float:
    """The seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def as_json(found: Mapping[str, SetResults], options: argparse.Namespace) -> dict[str, Any]:
    """All results as plain JSON values, with every query's values."""
    runs = {name: one.run for name, one in found.items()}

    def as_values(parts: Mapping[str, Run | None]) -> dict[str, Any]:
        known = {name: run for name, run in parts.items() if run is not None}
        return {name: run.to_json(per_query=True) for name, run in known.items()}

    others = [system for system in SYSTEMS if system != OURS]
    return {
        "model": options.model,
        "measure": MEASURE,
        "sets": as_values(runs),
        "means": {
            system: {
                name: [round(value, 4) for value in (one.mean, one.low, one.high)]
                for name, one in means(runs, system).items()
            }
            for system in SYSTEMS
        },
        f"{OURS}_against": comparisons_json({o: compare_systems(runs, OURS, o) for o in others}),
        "ablation": as_values({name: one.ablation for name, one in found.items()}),
        "reranked": as_values({name: one.reranked for name, one in found.items()}),
        "costs": {
            name: {
                system: {
                    "query_ms": cost.query_ms,
                    "indexing_s_per_1000": cost.indexing_s,
                    "bytes_per_passage": cost.bytes,
                }
                for system, cost in one.costs.items()
            }
            for name, one in found.items()
        },
    }


def tables(found: Mapping[str, SetResults]) -> Iterator[str]:
    """All tables, line by line."""
    runs = {name: one.run for name, one in found.items()}
    yield from quality_table(runs)
    yield ""
    yield from comparison_table(runs, OURS, f"{OURS} against")
    yield ""
    yield from cost_table([one.costs for one in found.values()])
    for part in ("ablation", "reranked"):
        tried = {name: getattr(one, part) for name, one in found.items()}
        if all(tried.values()):
            yield ""
            yield from variant_table(tried, OURS)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="BEIR folders")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="any model of ours")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all values, also by query")
    parser.add_argument("--ablate", action="store_true", help="also with each part switched off")
    parser.add_argument("--rerank", type=int, default=0, metavar="N", help="also N reranked")
    parser.add_argument("--first", type=int, default=40, metavar="Q", help="by Q queries of a set")
    return parser.parse_args(arguments)


def measure_sets(options: argparse.Namespace, progress: Progress) -> dict[str, SetResults]:
    """Measure all sets; all folders are read before a model is loaded."""
    sets = dict(zip(set_names(options.folders), map(read_beir, options.folders), strict=True))
    embedder = CachingWVA(options.model)
    trained_model = Trained(embedder.device, progress)
    found = {}
    for name, data in sets.items():

        def say(text: str, name: str = name) -> None:
            progress(f"{name}: {text}")

        with bench(name, data, embedder, trained_model, say) as ready:
            found[name] = measure(ready, options, say)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the tables."""
    options = parse_arguments(arguments)
    try:
        found = measure_sets(options, lambda text: print(text, file=sys.stderr, flush=True))
    except RetrieverError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(tables(found)))
    if options.json:
        text = json.dumps(as_json(found, options), indent=1, ensure_ascii=False) + "\n"
        write_atomically(options.json, lambda file: file.write(text.encode()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
