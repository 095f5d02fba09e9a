"""The public `Index`: one backend and one embedder behind one small set of verbs.

An index knows which model it was built with, so it can be opened by its folder alone; the model is
loaded when it is first needed (a keyword search never needs it).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Self, Unpack

from retriever.arrays import Vectors
from retriever.embedding.attributed import AttributionCache
from retriever.embedding.protocols import Embedder
from retriever.embedding.word_attribution import WordSpan
from retriever.explaining.faithfulness import DRAWS, WORDS, DeletionTest, deletion_test
from retriever.explaining.score import Explanation, explain_chunk, explain_hit
from retriever.explaining.why_not import Difference, WhyNot, difference, why_not
from retriever.indexing.ingest import Ingest, fitting, row_for
from retriever.indexing.sync import SyncOptions, SyncReport, sync
from retriever.searching.grouping import group, neighbours, satisfying, with_context
from retriever.searching.hybrid import search
from retriever.searching.match import MatchScale, matching, with_match
from retriever.searching.mmr import POOL, diversify, mmr
from retriever.searching.options import (
    Mode,
    SearchChanges,
    SearchOptions,
    Steering,
    as_mode,
    check_diversity,
)
from retriever.searching.query_syntax import Query, parse, says_something
from retriever.searching.rerank import as_judge
from retriever.searching.rerank import rerank as reranked
from retriever.searching.steering import Steered, steer
from retriever.settings import DEFAULT_MODEL, ChunkSettings, EmbedderSettings
from retriever.storage.backends import CatalogReader, DocumentRow, Documents, Snapshot
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.catalog.lock import writing_elsewhere
from retriever.storage.filters import Filter
from retriever.storage.records import PageAccount
from retriever.types import (
    Chunk,
    Document,
    Hit,
    IndexStateError,
    Page,
    Progress,
    UsageError,
    document_id,
)

Where = Filter | Mapping[str, Any] | None


PATIENCE = 30.0
"""Seconds: so long a thread waits until another one has finished writing."""


class Index:
    """Documents that can be searched. Use it as a context manager, or `close` it.

    Safe to search from several threads, also while another process indexes into it.
    """

    def __init__(
        self,
        backend: Documents,
        embedder: Embedder | None = None,
        *,
        name: str = "",
        device: str | None = None,
        dtype: str | None = None,
        chunking: ChunkSettings | None = None,
        model: str = "",
    ) -> None:
        """Wrap an open backend. Raises IndexStateError when `embedder` is not the one it needs.

        `model` names what an index that is bound to none yet is built with, without `embedder`.
        """
        self.backend = backend
        self.name = name
        self._folder = Path(name).resolve() if name else None
        self._embedder = embedder
        self._device, self._dtype, self._model = device, dtype, model
        self._chunking = chunking or ChunkSettings()
        self._known_background: tuple[int, MatchScale | None] | None = None
        self._loading = threading.Lock()
        self._writing = threading.Lock()
        self._sides = AttributionCache(lambda: self.embedder)
        self._open_snapshot = threading.local()
        if embedder is not None:
            with backend.reading() as catalog:
                settings, chunks = catalog.embedder_settings(), catalog.chunk_settings()
            if settings is not None:
                backend.claim(embedder.settings, chunks or self._chunking)

    @classmethod
    def open(
        cls,
        path: str | Path,
        embedder: Embedder | None = None,
        *,
        device: str | None = None,
        dtype: str | None = None,
    ) -> Self:
        """Open an index that exists. Raises IndexStateError if there is none, or it is damaged.

        Without `embedder` the index's own model is loaded when it is needed, on `device` in
        `dtype` (chosen automatically when None).
        """
        backend = EmbeddedBackend.open(Path(path))
        try:
            return cls(
                *(backend, embedder),
                name=str(path),
                device=device,
                dtype=dtype,
                model=backend.wished_model,
            )
        except BaseException:
            backend.close()
            raise

    @classmethod
    def open_or_create(
        cls,
        path: str | Path,
        embedder: Embedder | None = None,
        *,
        chunking: ChunkSettings | None = None,
        store: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
    ) -> Self:
        """Open an index, or make an empty one in a new folder.

        `store` is a FAISS factory string ("Flat", "SQ8", "HNSW32,SQ8" …), by default chosen by
        size; `chunking` applies to a new index only.
        """
        backend = EmbeddedBackend.open(Path(path), create=True, factory=store)
        try:
            return cls(
                *(backend, embedder),
                name=str(path),
                device=device,
                dtype=dtype,
                chunking=chunking,
                model=backend.wished_model,
            )
        except BaseException:
            backend.close()
            raise

    # Writing

    def sync(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        delete: bool = True,
        force: bool = False,
        dry_run: bool = False,
        passwords: Sequence[str] = (),
        ocr: str | None = None,
        retry: bool = False,
        reread: bool = False,
        progress: Callable[[Progress], None] = lambda progress: None,
    ) -> SyncReport:
        """Bring the index in step with folders or files.

        `include` and `exclude` are globs; `delete=False` keeps what has vanished, `force` removes
        it even when that is most of the index; `dry_run` only tells. `passwords` are tried on
        encrypted files; `ocr` names the languages ("eng+deu") in which pictures of pages are read,
        empty for none; the index remembers it for runs that do not say. `retry` reads files again
        that failed before, `reread` all of them (what is embedded already is not embedded again).
        See `retriever.indexing.sync`.
        """
        chosen = [paths] if isinstance(paths, str | Path) else list(paths)
        with self._alone():
            return sync(
                self.backend,
                lambda: self.embedder,
                chosen,
                SyncOptions(
                    include=tuple(include),
                    exclude=tuple(exclude),
                    delete=delete,
                    force=force,
                    dry_run=dry_run,
                    passwords=tuple(passwords),
                    ocr=ocr,
                    retry=retry,
                    reread=reread,
                ),
                chunking=self._chunking,
                name=self.name,
                hide=[self._folder] if self._folder else [],
                progress=progress,
            )

    def add(self, documents: Iterable[Document]) -> int:
        """Add or replace documents handed over by the caller; returns how many.

        They are known by their `path` alone and are never touched by `sync`.
        """
        embedder = self.embedder
        with self._changing():
            with self.backend.reading() as catalog:
                chunking = fitting(catalog.chunk_settings() or self._chunking, embedder)
            self.backend.claim(embedder.settings, chunking)
            ingest = Ingest(self.backend, embedder, chunking)
            count = 0
            for document in documents:
                row = row_for(document, id=document_id("", document.path), sha256=_digest(document))
                ingest.add(row, document)
                count += 1
            ingest.close()
            self.backend.finish({"added": count})
        return count

    def remove(self, paths: Sequence[str], *, source: str | None = None) -> int:
        """Remove documents by path (of one source, or of all); returns how many there were."""
        wanted = {paths} if isinstance(paths, str) else set(paths)
        with self._changing():
            with self.backend.reading() as catalog:
                rows = catalog.documents()
            ids = [r.id for r in rows if r.path in wanted and source in (None, r.source)]
            count = self.backend.delete(ids) if ids else 0
            if count:
                self.backend.finish({"removed": count})
        return count

    def discard(self, files: Iterable[tuple[str, str]]) -> int:
        """Remove files, named by root and path, also those that could not be read.

        Returns how many of them were known here.
        """
        wanted = set(files)
        with self._changing():
            with self.backend.reading() as catalog:
                ids = [row.id for row in catalog.documents() if (row.root, row.path) in wanted]
                unread = catalog.unread()
            others = [file for file in unread if (file.root, file.path) not in wanted]
            if len(others) < len(unread):
                self.backend.set_unread(others)
            if ids:
                self.backend.delete(ids)
            count = len({*ids}) + len(unread) - len(others)
            if count:
                self.backend.finish({"removed": count})
        return count

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time; whatever becomes of it, other processes may write afterwards."""
        with self._alone():
            try:
                yield
            finally:
                self.backend.release()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The right to write among threads, one after the other.

        Who has waited for long, during a sync, hears what another process hears.
        """
        if not self._writing.acquire(timeout=PATIENCE):
            raise writing_elsewhere(self.name)
        try:
            yield
        finally:
            self._writing.release()

    # One generation

    @contextmanager
    def snapshot(self, *, dense: bool = True) -> Iterator[Snapshot]:
        """One generation of the index: within it, all that this thread asks comes from that one.

        Whatever is committed meanwhile, by this process or another, is seen when it ends. Inside
        another snapshot of the same thread it is that one. `dense=False` where no vector is
        going to be asked for: then they are not loaded.
        """
        known: Snapshot | None = getattr(self._open_snapshot, "now", None)
        if known is not None:
            yield known
            return
        with self.backend.snapshot(dense=dense) as now:
            self._open_snapshot.now = now
            try:
                yield now
            finally:
                self._open_snapshot.now = None

    @contextmanager
    def _reading(self) -> Iterator[CatalogReader]:
        """The catalog of this thread's snapshot, or else of the last generation."""
        known: Snapshot | None = getattr(self._open_snapshot, "now", None)
        if known is not None:
            yield known.catalog
            return
        with self.backend.reading() as catalog:
            yield catalog

    # Searching

    def search(
        self,
        query: str,
        k: int | None = None,
        *,
        options: SearchOptions | None = None,
        embed: Callable[[str], Vectors] | None = None,
        **changes: Unpack[SearchChanges],
    ) -> list[Hit]:
        """The `k` best results, 10 unless told otherwise, best first.

        `options` says how to search; keyword arguments are the same options one by one, and count
        where both are given: `search(query, 5, mode="dense", where={"format": "pdf"})`. See
        `retriever.searching.options.SearchOptions` for all of them, and their defaults.

        A result is a passage, or several that follow each other and are read as a whole
        (`Hit.parts`, `Hit.text`), and names the passages that say the same (`Hit.also`): see
        `retriever.searching.grouping`. `embed` gives the query's raw vector, (dim,), where the
        caller has it already. Raises UsageError for an impossible option, and IndexStateError for a
        least match in an index that does not know how good a match is.
        """
        how = (options or SearchOptions()).changed(k, **changes)
        with self.snapshot(dense=how.mode != Mode.KEYWORD) as now:
            return self._search(now, query, how, embed or self.embed_query)

    def _search(
        self, now: Snapshot, query: str, how: SearchOptions, embed: Callable[[str], Vectors]
    ) -> list[Hit]:
        k, rerank, mode = how.k, how.rerank, how.mode
        asked = parse(query) if how.syntax else Query(query)
        text, where = asked.text, asked.within(_parsed(how.where))
        steering = how.steering
        if steering is not None and steering.changes_nothing:
            steering = None
        if steering is not None and mode != Mode.KEYWORD:
            found = self._steered(now, text, steering)
            embed, text = lambda _: found.vector, found.text
            if not says_something(text):
                mode, text = Mode.DENSE, "vector"  # no word is left to look for
        vector_of = cache(embed)  # the ranking may be read further than at first
        ranking = partial(
            search,
            now,
            text,
            vector_of,
            mode=mode,
            where=where,
            by_file=how.by_file,
            tolerant=how.tolerant,
            feedback=how.feedback and steering is None,
        )

        def best(count: int) -> list[Hit]:
            if how.fold:
                hits = group(lambda number: ranking(k=number), count, now.catalog)
            else:
                hits = ranking(k=count)
            return self._with_match(now, asked.text, hits)

        def every(background: MatchScale) -> set[str]:
            return matching(
                *(now, background, how.min_match or 0.0),
                None if mode == Mode.KEYWORD else vector_of(text),
                None if mode == Mode.DENSE else text,
                most=now.max_bm25(asked.text),
                where=where,
                tolerant=how.tolerant,
            )

        count = max(k, rerank, POOL * k if how.diversity else 0)
        if how.min_match is None:
            hits = best(count)
        else:
            hits = self._matching(now, best, count, how, every)
        if rerank and hits:
            judge = as_judge(self.embedder)
            hits = reranked(asked.text, hits, judge, rerank, seconds=how.rerank_seconds)
        if how.diversity and hits:
            vectors = now.passages.vectors([hit.chunk.id for hit in hits])
            hits = diversify(hits, vectors, k, how.diversity)
        around = how.context
        return [with_context(hit, around, now.catalog) if around else hit for hit in hits[:k]]

    def query_words(self, query: str, *, syntax: bool = True) -> tuple[WordSpan, ...]:
        """The words of a query that can be weighed, with their places in its text.

        The text is the query without its operators (see `retriever.searching.query_syntax`).
        """
        return self._sides.query(parse(query).text if syntax else query).words

    def _steered(self, now: Snapshot, text: str, steering: Steering) -> Steered:
        return steer(
            *(self._sides, text, steering, now.calibration), lambda id_: _chunk(now.catalog, id_)
        )

    def search_by_vector(self, vector: Vectors, k: int = 10, *, where: Where = None) -> list[Hit]:
        """The passages nearest to a raw query vector (dim,), by calibrated cosine."""
        with self.snapshot() as now:
            found = search(now, "vector", lambda _: vector, k=k, mode="dense", where=_parsed(where))
            return with_match(found, self._background(now), 0.0)

    def _with_match(self, now: Snapshot, query: str, hits: list[Hit]) -> list[Hit]:
        """The hits of a query with their match, None without a background."""
        background = self._background(now) if hits else None
        if background is None:
            return hits
        return with_match(hits, background, now.max_bm25(query))

    def _matching(
        self,
        now: Snapshot,
        best: Callable[[int], list[Hit]],
        count: int,
        how: SearchOptions,
        every: Callable[[MatchScale], set[str]],
    ) -> list[Hit]:
        """The first `count` results with the least match.

        `best` gives results, `every` the ids of all passages with this match.
        """
        least = how.min_match or 0.0

        @cache
        def wanted() -> set[str]:
            background = self._background(now)
            ids = every(background) if background is not None else set[str]()
            if not how.by_file:
                return ids
            return {chunk.document_id for chunk in now.catalog.get(list(ids))}

        def remain(hits: Sequence[Hit]) -> bool:
            read = [one for hit in hits for one in (hit.chunk, *hit.parts, *hit.also)]
            return bool(wanted() - {one.document_id if how.by_file else one.id for one in read})

        return satisfying(best, count, lambda hit: self._match_of(hit) >= least, remain)

    def _match_of(self, hit: Hit) -> float:
        if hit.match is None:
            raise IndexStateError(
                f"the index{f' in {self.name}' if self.name else ''} does not know yet how good a "
                "match is: sync it once with wva index, or search without a least match"
            )
        return hit.match

    def _background(self, now: Snapshot) -> MatchScale | None:
        """The index's background, read anew when the index has changed."""
        generation = now.catalog.generation()
        known = self._known_background
        if known is None or known[0] != generation:
            known = generation, MatchScale.from_json(now.catalog.background())
            self._known_background = known
        return known[1]

    def diverse_by_vector(
        self,
        vector: Vectors,
        k: int = 4,
        *,
        candidates: int = 20,
        weight: float = 0.5,
        where: Where = None,
    ) -> list[Hit]:
        """`k` of the `candidates` passages nearest to a raw query vector (dim,), chosen by MMR.

        Relevance is the calibrated cosine, `weight` its λ: 1 for the nearest ones, 0 for those that
        differ most (see `retriever.searching.mmr`).
        """
        check_diversity(weight)
        with self.snapshot() as now:
            hits = self.search_by_vector(vector, candidates, where=where) if candidates > 0 else []
            vectors = now.passages.vectors([hit.chunk.id for hit in hits])
        chosen = mmr([hit.score for hit in hits], vectors, k, weight)
        return [replace(hits[at], rank=rank) for rank, at in enumerate(chosen, 1)]

    def corrections(self, query: str, *, syntax: bool = True) -> dict[str, list[str]]:
        """The query's words that occur nowhere → the near ones searched for instead, best first.

        Each word of the index stands there as the first passage that has it writes it. `syntax` is
        as in `search`.
        """
        with self.snapshot(dense=False) as now:
            found = now.corrections(parse(query).text if syntax else query)
        return {word: list(near) for word, near in found.items()}

    def embed_query(self, query: str) -> Vectors:
        """The query's raw vector: (dim,)."""
        vector: Vectors = self.embedder.embed_queries([query])[0]
        return vector

    # Explaining

    def explain(
        self,
        query: str,
        what: Hit | Chunk | str,
        *,
        options: SearchOptions | None = None,
        first: Sequence[Hit] = (),
        weights: Sequence[float] = (),
        **changes: Unpack[SearchChanges],
    ) -> Explanation:
        """Why a passage has the score it has: words against words, and the rest of the arithmetic.

        `what` is a hit of this query, a chunk, or a chunk's id. `options`, or keyword arguments,
        are those of the search; of them `mode` (with a hit, it is the hit's), `syntax`, `typos`,
        `feedback` and the weights of `steering` make a passage's score. `weights` are these weights
        by themselves. `first`: where the hit was reranked, all hits that were, so that its new
        score is computed from theirs. See `retriever.explaining.score`.

        Raises UsageError for a chunk that is not there, ModelError or UsageError where the index's
        vectors cannot be attributed to words.
        """
        how = (options or SearchOptions()).changed(**changes)
        asked = parse(query).text if how.syntax else query
        if not weights and how.steering is not None:
            weights = how.steering.weights
        feedback = how.feedback and all(weight == 1 for weight in weights)
        with self.snapshot() as now:
            if isinstance(what, Hit):
                return explain_hit(
                    *(now, self._sides, asked, what),
                    tolerant=how.tolerant,
                    weights=weights,
                    feedback=feedback,
                    first=first,
                )
            return explain_chunk(
                *(now, self._sides, asked, _chunk(now.catalog, what), as_mode(how.mode)),
                tolerant=how.tolerant,
                weights=weights,
                feedback=feedback,
            )

    def compare(
        self,
        query: str,
        one: Hit | Chunk | str,
        other: Hit | Chunk | str,
        *,
        options: SearchOptions | None = None,
        first: Sequence[Hit] = (),
        **changes: Unpack[SearchChanges],
    ) -> Difference:
        """What makes one passage's score for a query differ from another's, largest part first.

        The two are explained, and their terms, query words and keywords stand side by side; the
        terms' differences add up to the difference of the scores. Arguments are those of `explain`.
        Raises UsageError also for hits of different modes.
        """
        how = (options or SearchOptions()).changed(**changes)
        with self.snapshot():
            explanations = [
                self.explain(query, what, options=how, first=first) for what in (one, other)
            ]
        return difference(*explanations)

    def why_not(
        self,
        query: str,
        path: str,
        k: int | None = None,
        *,
        options: SearchOptions | None = None,
        **changes: Unpack[SearchChanges],
    ) -> WhyNot:
        """Why a document is not among the `k` results of a search, or where it stands among them.

        `path` is as results show it, or its end, such as the file's name. `options`, or keyword
        arguments, are those of the search; steering, reranking, diversity and context are left
        aside. See `retriever.explaining.why_not`; raises UsageError where several documents are
        meant.
        """
        how = (options or SearchOptions()).changed(k, **changes)
        how = how.changed(steering=None, rerank=0, diversity=0.0, context=0)
        asked = parse(query) if how.syntax else Query(query)
        given = _parsed(how.where)
        embed = cache(self.embed_query)
        conditions = {
            name: one
            for name, one in (
                (f"the query's {' and '.join(asked.conditions())}", asked.where),
                ("the filter", given),
            )
            if one is not None
        }

        with self.snapshot() as now:

            def ranking(count: int, within: Filter | None) -> list[Hit]:
                hits = search(
                    *(now, asked.text, embed),
                    k=count,
                    mode=how.mode,
                    where=within,
                    tolerant=how.tolerant,
                    feedback=how.feedback,
                )
                return self._with_match(now, asked.text, hits) if count == 1 else hits

            shown = self.search(query, options=how, embed=embed)
            return why_not(now.catalog, path, shown, ranking, conditions, how.min_match)

    def check(
        self, explanation: Explanation, *, count: int = WORDS, draws: int = DRAWS
    ) -> DeletionTest:
        """Read a passage again without the `count` words its explanation names first.

        And `draws` times without as many others, to compare with. See
        `retriever.explaining.faithfulness`.
        """
        embedder, title = self.embedder, explanation.chunk.title

        def embed(texts: Sequence[str]) -> Vectors:
            return embedder.embed_inputs([embedder.passage_input(text, title) for text in texts])

        with self._reading() as catalog:
            means = catalog.means()
        query = self.embed_query(explanation.query)
        return deletion_test(explanation, query, embed, means, count=count, draws=draws)

    # Looking

    def documents(self, where: Where = None) -> list[DocumentRow]:
        """What is in the index, ordered by source and path."""
        with self._reading() as catalog:
            return catalog.documents(_parsed(where))

    def pages(self, document_id: str) -> list[Page]:
        """A document's pages with their states and texts."""
        with self._reading() as catalog:
            return catalog.pages(document_id)

    def account(self, document_id: str) -> list[PageAccount]:
        """What became of a document's pages, without their texts."""
        with self._reading() as catalog:
            return catalog.account(document_id)

    def chunks(self, document_id: str) -> list[Chunk]:
        """A document's chunks in order."""
        with self._reading() as catalog:
            return catalog.chunks(document_id)

    def neighbours(self, chunk: Chunk, before: int = 1, after: int = 1) -> list[Chunk]:
        """The chunks around one in its document, in order, without itself."""
        with self._reading() as catalog:
            return neighbours(chunk, catalog, before=before, after=after)

    def info(self) -> dict[str, Any]:
        """Counts, model, calibration, store, sizes, last run, running progress: plain JSON."""
        return {**self.backend.info(), "path": self.name}

    @property
    def generation(self) -> int:
        """Grows with every change; key caches by it."""
        with self._reading() as catalog:
            return catalog.generation()

    @property
    def embedder_settings(self) -> EmbedderSettings | None:
        """What the vectors were made with; None for an index that is bound to no model yet."""
        with self._reading() as catalog:
            return catalog.embedder_settings()

    @property
    def ready(self) -> bool:
        """Whether the embedder is loaded, so that nobody has to wait for it."""
        return self._embedder is not None

    @property
    def embedder(self) -> Embedder:
        """The embedder, loaded now if it was not yet: the index's own, the default for a new one.

        Raises ModelError when it cannot be loaded.
        """
        with self._loading:
            if self._embedder is None:
                self._embedder = self._load()
            return self._embedder

    def _load(self) -> Embedder:
        from retriever.embedding.aligned_wva import AlignedWVA

        settings = self.embedder_settings
        if settings is None:
            name = self._model or DEFAULT_MODEL
            return AlignedWVA(model=name, device=self._device, dtype=self._dtype)
        return AlignedWVA.from_settings(settings, device=self._device, dtype=self._dtype)

    def close(self) -> None:
        """Release the index's files."""
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _chunk(catalog: CatalogReader, what: Chunk | str) -> Chunk:
    if isinstance(what, Chunk):
        return what
    found = catalog.get([what])
    if not found:
        raise UsageError(f"there is no passage {what!r} in this index; it may have changed")
    return found[0]


def _parsed(where: Where) -> Filter | None:
    return where if where is None or isinstance(where, Filter) else Filter.parse(where)


def _digest(document: Document) -> str:
    """What tells whether a document handed over has another content than before: SHA-256."""
    parts = [document.title, *(page.text for page in document.pages)]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
