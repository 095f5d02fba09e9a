"""The public `Index`: a backend and an embedder behind a small set of methods.

An index stores the name of its model, so its folder is enough to open it. The model is loaded when
it is first needed; a keyword search never needs it.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

import numpy as np

from retriever.arrays import Vectors
from retriever.embedding.attributed import AttributionCache
from retriever.embedding.models.own import load_own, own_text_side
from retriever.embedding.protocols import Embedder
from retriever.embedding.word_attribution import WordSpan
from retriever.explaining.compare import Difference, compare
from retriever.explaining.faithfulness import DRAWS, WORDS, DeletionTest, deletion_test
from retriever.explaining.score import Explanation, explain_chunk, explain_hit
from retriever.explaining.why_not import WhyNot, why_not
from retriever.searching.examples import make_examples
from retriever.searching.grouping import neighbours
from retriever.searching.hybrid import search
from retriever.searching.late import (
    LateVectors,
    general_calibration,
    lend_vectors,
    wanted_passages,
)
from retriever.searching.match import CHANCE_MATCH, MatchScale, bm25_unit, with_match
from retriever.searching.mmr import mmr
from retriever.searching.notes import search_notes
from retriever.searching.options import (
    Mode,
    SearchChanges,
    SearchOptions,
    as_mode,
    check_count,
    check_diversity,
)
from retriever.searching.pipeline import (
    SearchPipeline,
    SearchTools,
    find_chunk,
    parse_query,
    searched_text,
)
from retriever.searching.query_syntax import Query, parse, plain
from retriever.searching.rerank import as_judge
from retriever.searching.sentences import with_sentences
from retriever.searching.similar import similar
from retriever.searching.strength import MatchCount, count_matches, strength_of
from retriever.searching.suggestions import KnownNames, Suggestion, suggest
from retriever.searching.verdict import verdict
from retriever.settings import ChunkSettings, EmbedderSettings
from retriever.storage.backends import CatalogReader, DocumentRow, Documents, Snapshot
from retriever.storage.catalog.lock import writing_elsewhere
from retriever.storage.filters import Filter
from retriever.storage.opening import (
    Place,
    files_of,
    folder_of,
    lasting,
    open_backend,
    place_of,
)
from retriever.storage.records import PageStatus
from retriever.types import (
    Chunk,
    Document,
    Hit,
    Page,
    Progress,
    UsageError,
    check_text,
    check_texts,
    document_id,
)

if TYPE_CHECKING:
    from retriever.indexing.copying import CopyReport
    from retriever.indexing.hands import Hands
    from retriever.indexing.sync import SyncReport
    from retriever.storage.backends.verifying import VerifyReport
    from retriever.storage.upkeep.backup import Backup
    from retriever.storage.upkeep.compact import Compaction

Where = Filter | Mapping[str, Any] | None


WRITE_TIMEOUT = 30.0
"""Seconds that a thread waits for another one to finish writing."""

_BACKUP_IS_FILES = "a backup is a folder or a file"


class Index:
    """A searchable collection of documents. Use it as a context manager, or `close` it.

    Several threads may search it at the same time, also while another process writes to it.
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
        """Wrap an open backend. Raises IndexStateError if `embedder` is not the index's.

        `model` is the model of a new index, if no `embedder` is given.
        """
        self.backend = backend
        self.name = name
        self.place = lasting(place_of(name)) if name else None
        self._embedder = embedder
        self._device, self._dtype, self._model = device, dtype, model
        self._chunking = chunking or ChunkSettings()
        self._known_match_scale: tuple[int, MatchScale | None] | None = None
        self._known_names: KnownNames | None = None
        self._loading = threading.Lock()
        self._writing = threading.Lock()
        self._late = LateVectors()
        me = weakref.ref(self)  # no cycle: an index that nobody has any more is freed at once
        self._attributions = AttributionCache(lambda: cast(Index, me()).embedder)
        self._open_snapshot = threading.local()
        if embedder is not None:
            with backend.reading() as catalog:
                settings, chunks = catalog.embedder_settings(), catalog.chunk_settings()
            if settings is not None:
                backend.bind_embedder(embedder.settings, chunks or self._chunking)

    @classmethod
    def open(
        cls,
        path: str | Path | Place,
        embedder: Embedder | None = None,
        *,
        device: str | None = None,
        dtype: str | None = None,
    ) -> Self:
        """Open an existing index: its folder, or its address in Milvus (see docs/scaling.md).

        Raises IndexStateError if it is missing or damaged.

        Without `embedder` the index's own model is loaded when it is needed, on `device` in `dtype`
        (automatic if None).
        """
        place = place_of(path)
        backend = open_backend(place)
        try:
            return cls(
                *(backend, embedder),
                name=str(place),
                device=device,
                dtype=dtype,
                model=backend.preferred_model,
            )
        except BaseException:
            backend.close()
            raise

    @classmethod
    def open_or_create(
        cls,
        path: str | Path | Place,
        embedder: Embedder | None = None,
        *,
        chunking: ChunkSettings | None = None,
        store: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
    ) -> Self:
        """Open an index, or create an empty one in a new folder, or at an address of Milvus.

        `store` is a FAISS factory string ("Flat", "SQ8", "RaBitQ2" …), or an index kind of Milvus
        ("HNSW"); by default it depends on the size. `chunking` applies to a new index only.
        """
        place = place_of(path)
        backend = open_backend(place, create=True, store=store)
        try:
            return cls(
                *(backend, embedder),
                name=str(place),
                device=device,
                dtype=dtype,
                chunking=chunking,
                model=backend.preferred_model,
            )
        except BaseException:
            backend.close()
            raise

    # Writing

    def sync(
        self,
        paths: str | Path | Sequence[str | Path] = (),
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
        keywords_only: bool = False,
        vectors_only: bool = False,
        jobs: int = 0,
        quiet: float = 0.0,
        hands: Hands | None = None,
        progress: Callable[[Progress], None] = lambda progress: None,
    ) -> SyncReport:
        """Bring the index in step with folders or files.

        - `include`, `exclude`: globs of files.
        - `delete`: remove documents of vanished files; `force`: even if that is most of the index.
          Without it they are kept, and the report's `notice` says so.
        - `dry_run`: only report.
        - `passwords`: tried on encrypted files.
        - `ocr`: the languages ("eng+deu") in which pictures of pages are recognised, empty for no
          OCR, None for those of the last run that named some.
        - `retry`: read files again that failed before; `reread`: read all files again. Unchanged
          text is not embedded again.
        - `keywords_only`: make documents findable by their words, without vectors; `vectors_only`:
          make the vectors that are missing, without `paths`. Otherwise both, one after the other.
        - `jobs`: the number of processes that read files, 0 for one for each processor.
        - `quiet`: leave files that changed within so many seconds to a later run.
        - `hands`: other machines, as of `retriever.distributed.ray_hands`, read and embed.

        See `retriever.indexing.sync`.
        """
        chosen = [paths] if isinstance(paths, str | Path) else paths
        check_texts([str(p) if isinstance(p, Path) else p for p in _listed(chosen)], "paths")
        for name, several in (("include", include), ("exclude", exclude), ("passwords", passwords)):
            check_texts(several, name)
        # It imports the readers of all formats, which a search does not need.
        from retriever.indexing.sync import SyncOptions, sync

        with self._alone():
            return sync(
                self.backend,
                self._text_side if keywords_only or hands else lambda: self.embedder,
                list(chosen),
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
                    keywords_only=keywords_only,
                    vectors_only=vectors_only,
                    jobs=jobs,
                    quiet=quiet,
                ),
                chunking=self._chunking,
                name=self.name,
                hide=files_of(self.place) if self.place else [],
                progress=progress,
                hands=hands,
            )

    def add(self, documents: Iterable[Document]) -> int:
        """Add or replace documents of the caller; returns their number.

        They are identified by their `path` alone, and `sync` never changes them.
        """
        if isinstance(documents, Document) or not isinstance(documents, Iterable):
            raise UsageError(f"documents are given as a list; this is none: {documents!r:.80}")
        from retriever.indexing.callers import checked_document
        from retriever.indexing.ingest import Ingest, document_row, limit_chunking

        embedder = self.embedder
        with self.changing():
            with self.backend.reading() as catalog:
                chunking = limit_chunking(catalog.chunk_settings() or self._chunking, embedder)
            self.backend.bind_embedder(embedder.settings, chunking)
            ingest = Ingest(self.backend, embedder, chunking)
            count = 0
            for given in documents:
                document = checked_document(given)
                row = document_row(
                    document, id=document_id("", document.path), sha256=_content_digest(document)
                )
                ingest.add(row, document)
                count += 1
            ingest.close()
            self.backend.finish({"added": count})
        return count

    def remove(self, paths: Sequence[str], *, source: str | None = None) -> int:
        """Remove documents by path (of one source, or of all); returns their number."""
        several = [paths] if isinstance(paths, str) else paths
        check_texts(several, "paths")
        wanted = set(several)
        with self.changing():
            with self.backend.reading() as catalog:
                rows = catalog.documents()
            ids = [r.id for r in rows if r.path in wanted and source in (None, r.source)]
            count = self.backend.delete(ids) if ids else 0
            if count:
                self.backend.finish({"removed": count})
        return count

    def discard(self, files: Iterable[tuple[str, str]]) -> int:
        """Remove files by (root, path), including those that could not be read.

        Returns the number of files that the index had.
        """
        wanted = set(files)
        with self.changing():
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

    def backup(self, to: str | Path) -> Backup:
        """Write a consistent copy to a new folder, or to a new file that ends in `.zip`.

        Other processes may write meanwhile. The folder opens as an index; `restore` makes one of
        either.
        """
        return self.backend.back_up(folder_of(place_of(to), "backup", _BACKUP_IS_FILES))

    @staticmethod
    def restore(backup: str | Path, path: str | Path) -> Backup:
        """Make an index in the new folder `path` from a backup, a folder or a file."""
        from retriever.storage.upkeep.backup import restore

        return restore(
            folder_of(place_of(backup), "restore", _BACKUP_IS_FILES),
            folder_of(place_of(path), "restore", "restore to a folder, then wva copy it there"),
        )

    def copy_to(
        self,
        place: str | Path | Place,
        *,
        store: str | None = None,
        questions: int = 20,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> CopyReport:
        """Copy all of the index to a folder or an address of Milvus, without the model.

        What is there and equal is left; both answer `questions`. See `retriever.indexing.copying`.
        """
        from retriever.indexing.copying import copy_index

        where = place_of(place)
        if self.place is not None and lasting(where) == self.place:
            raise UsageError(f"{where} is the index itself: copy it to another place")
        with open_backend(where, create=True, store=store) as target:
            return copy_index(self.backend, target, questions=questions, told=progress)

    def compact(self, *, dry_run: bool = False) -> Compaction:
        """Give disk space back; then no file of the index has a byte of a deleted document.

        Uploads that were removed stay for a day. With `dry_run`, only say about how much.
        """
        with self._alone():
            return self.backend.compact(dry_run=dry_run)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Exclusive writing, also between processes; released even if the change fails.

        For a change of the `backend` in several steps, the last of which is its `finish`. Raises
        IndexStateError if something else goes on writing.
        """
        with self._alone():
            try:
                self.backend.acquire()
                yield
            finally:
                self.backend.release()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Exclusive writing between threads.

        Raises IndexStateError after `WRITE_TIMEOUT`, as for another process that writes.
        """
        if not self._writing.acquire(timeout=WRITE_TIMEOUT):
            raise writing_elsewhere(self.name)
        try:
            yield
        finally:
            self._writing.release()

    # One generation

    @contextmanager
    def snapshot(self, *, dense: bool = True) -> Iterator[Snapshot]:
        """One generation of the index: all reads of this thread within the block come from it.

        Changes committed meanwhile, by this process or another, are visible after the block. Inside
        another snapshot of the same thread it is that one. With `dense=False` no vectors are
        loaded.
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
        """The catalog of this thread's snapshot, or else of the latest generation."""
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
        """The `k` best results, best first; `k` is 10 by default.

        Keyword arguments are the fields of `options` and override them:
        `search(query, 5, mode="dense", where={"format": "pdf"})`. See
        `retriever.searching.options.SearchOptions` for all options and their defaults.

        A result is a passage, or several consecutive ones joined (`Hit.parts`, `Hit.text`), and
        lists its near-duplicates (`Hit.also`): see `retriever.searching.grouping`. `embed` replaces
        the index's embedder: it gives the query's raw vector, (dim,). Raises UsageError for an
        impossible option, and IndexStateError for `min_match` in an index without a match scale.
        """
        chosen = _options(options).changed(k, **changes)
        tools = SearchTools(
            embed=embed or self.embed_query,
            attributions=self._attributions,
            match_scale=self._match_scale,
            judge=lambda: as_judge(self.embedder),
            lend=lambda now, asked, how: self._ask_for_vectors(now, asked, how, own=embed is None),
            index=self.name,
        )
        with self.snapshot(dense=chosen.mode != Mode.KEYWORD) as now:
            return SearchPipeline(now, query, chosen, tools).run()

    def _ask_for_vectors(
        self, now: Snapshot, query: Query, chosen: SearchOptions, *, own: bool
    ) -> None:
        """Note the best passages without a vector, and embed the first few; see `late`.

        `own`: the query is embedded by this index's embedder, which is then loaded in any case.
        """
        wanted = self._wanted(now, query, chosen)
        if not wanted:
            return
        self.backend.note_wanted(wanted)
        if chosen.mode != Mode.KEYWORD and chosen.embed_ms and (own or self.ready):
            lend_vectors(now, wanted, self.embedder, self._late, chosen.embed_ms)

    def _lend(self, now: Snapshot, query: Query, chosen: SearchOptions) -> None:
        """Lend the snapshot the vectors that the search with these options had embedded."""
        if chosen.mode == Mode.KEYWORD or not self.ready or not chosen.embed_ms:
            return
        wanted = self._wanted(now, query, chosen)
        if wanted:
            lend_vectors(now, wanted, self.embedder, self._late)

    def _wanted(self, now: Snapshot, query: Query, chosen: SearchOptions) -> list[str]:
        where = query.within(chosen.filter)
        return wanted_passages(now, query.text, where, tolerant=chosen.tolerant)

    @property
    def vector_share(self) -> float:
        """The share of the passages that have a vector; 1 without passages."""
        with self._reading() as catalog:
            missing, count = catalog.count_pending(), catalog.count_vectors()
        return count / (count + missing) if missing else 1.0

    def query_words(self, query: str, *, syntax: bool = True) -> tuple[WordSpan, ...]:
        """The words of a query that can have weights, with their offsets in its text.

        The text is the query without operators (see `retriever.searching.query_syntax`).
        """
        check_text(query, "the query")
        return self._attributions.query((parse if syntax else plain)(query).text).words

    def search_by_vector(self, vector: Vectors, k: int = 10, *, where: Where = None) -> list[Hit]:
        """The passages nearest to a raw query vector (dim,), by calibrated cosine."""
        check_count(k)
        query = _vector(vector)
        with self.snapshot() as now:
            found = search(
                now, "vector", lambda _: query, k=k, mode="dense", where=_as_filter(where)
            )
            found = with_match(found, self._match_scale(now), 0.0)
            found = [replace(hit, strength=strength_of(hit.match)) for hit in found]
            return with_sentences(now, "", found)

    def similar(self, chunk_id: str, k: int = 10, *, where: Where = None) -> list[Hit]:
        """The passages nearest to a passage, without itself; no model is loaded for it.

        Raises UsageError for an unknown id, and for a passage that has no vector yet.
        """
        check_count(k)
        with self.snapshot() as now:
            return with_sentences(now, "", similar(now, chunk_id, k, _as_filter(where)))

    def _match_scale(self, now: Snapshot) -> MatchScale | None:
        """The index's scale of the match, read again when the index has changed."""
        generation = now.catalog.generation()
        known = self._known_match_scale
        if known is None or known[0] != generation:
            known = generation, MatchScale.from_json(now.catalog.match_scale())
            self._known_match_scale = known
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

        Relevance is the calibrated cosine. `weight` is λ: 1 for the nearest passages, 0 for the
        most diverse ones (see `retriever.searching.mmr`).
        """
        check_count(k)
        check_diversity(weight)
        with self.snapshot() as now:
            hits = self.search_by_vector(vector, candidates, where=where) if candidates > 0 else []
            vectors = now.passages.vectors([hit.chunk.id for hit in hits])
        chosen = mmr([hit.score for hit in hits], vectors, k, weight)
        return [replace(hits[at], rank=rank) for rank, at in enumerate(chosen, 1)]

    def corrections(self, query: str, *, syntax: bool = True) -> dict[str, list[str]]:
        """The query's words that occur nowhere → the words searched for instead, best first.

        A word of the index is spelled as in the first passage that contains it. `syntax` is as in
        `search`.
        """
        check_text(query, "the query")
        with self.snapshot(dense=False) as now:
            found = now.corrections((parse if syntax else plain)(query).text)
        return {word: list(near) for word, near in found.items()}

    def suggest(self, text: str, k: int = 8) -> list[Suggestion]:
        """Up to `k` words, titles and paths of the index that go on with a text that is typed.

        The last word is completed, the others stay; a path becomes the operator `file:"…"`. See
        `retriever.searching.suggestions`.
        """
        check_text(text, "the text")
        check_count(k)
        with self.snapshot(dense=False) as now:
            names = self._known_names
            if names is None or names.generation != now.catalog.generation():
                names = self._known_names = KnownNames.read(now.catalog)
            return suggest(now, names, text, k)

    def examples(self, k: int = 3) -> list[str]:
        """Up to `k` example searches, made of questions, definitions and headings of the index.

        The same for one generation; see `retriever.searching.examples`.
        """
        check_count(k)
        with self.snapshot(dense=False) as now:
            return make_examples(now, k)

    def searched_text(
        self,
        query: str,
        *,
        options: SearchOptions | None = None,
        **changes: Unpack[SearchChanges],
    ) -> str:
        """The text that a search looks for: without operators, and without words of weight 0.

        Its `Snapshot.matched_terms` are the terms to mark in results. The arguments are those of
        the search. Raises UsageError for a wrong number of weights.
        """
        chosen = _options(options).changed(**changes)
        return searched_text(parse_query(query, chosen), chosen, self._attributions)

    def choose_sentences(
        self,
        query: str,
        hits: Sequence[Hit],
        *,
        options: SearchOptions | None = None,
        **changes: Unpack[SearchChanges],
    ) -> list[Hit]:
        """The hits of a search that chose none (`sentences=False`), with their best sentences.

        The arguments are those of the search.
        """
        chosen = _options(options).changed(**changes)
        text = self.searched_text(query, options=chosen)
        with self.snapshot(dense=False) as now:
            return with_sentences(now, text, hits, tolerant=chosen.tolerant)

    def count_matches(
        self,
        query: str,
        hits: Sequence[Hit],
        *,
        options: SearchOptions | None = None,
        embed: Callable[[str], Vectors] | None = None,
        **changes: Unpack[SearchChanges],
    ) -> MatchCount | None:
        """How many passages match a query, of which `hits` are the first, in how many documents.

        Those with a match of at least 0.5 ("likely"), or `min_match` if it is larger. None without
        a match scale, for a steered search, and for a query without text. The arguments are those
        of the search.
        """
        chosen = _options(options).changed(**changes)
        asked, mode = parse_query(query, chosen), as_mode(chosen.mode)
        steered = chosen.steering is not None and not chosen.steering.changes_nothing
        with self.snapshot(dense=mode is not Mode.KEYWORD) as now:
            scale = self._match_scale(now)
            if scale is None or steered or not asked.text:
                return None
            self._lend(now, asked, chosen)
            vector = None if mode is Mode.KEYWORD else (embed or self.embed_query)(asked.text)
            return count_matches(
                *(now, hits, scale, asked.text, vector),
                mode=mode,
                where=asked.within(chosen.filter),
                tolerant=chosen.tolerant,
                min_match=max(CHANCE_MATCH, chosen.min_match or 0.0),
            )

    def verdict(
        self,
        query: str,
        hits: Sequence[Hit],
        *,
        options: SearchOptions | None = None,
        **changes: Unpack[SearchChanges],
    ) -> str:
        """One honest sentence where none of the hits of a search really matches; "" for none.

        It says that a word occurs nowhere, that the query is in another language than the
        documents, or how uncertain an answer is: see `retriever.searching.verdict`. The arguments
        are those of the search.
        """
        chosen = _options(options).changed(**changes)
        text = self.searched_text(query, options=chosen)
        with self.snapshot(dense=False) as now:
            return verdict(now, text, hits, tolerant=chosen.tolerant)

    def search_notes(
        self,
        query: str,
        hits: Sequence[Hit],
        *,
        options: SearchOptions | None = None,
        embed: Callable[[str], Vectors] | None = None,
        **changes: Unpack[SearchChanges],
    ) -> list[str]:
        """Sentences about a search that found `hits`, which these do not show.

        What was read as text although it resembles an operator, which passage an exclusion took
        away, a field that no document has, a filter that leaves nothing, and how many better
        passages it hides: see `retriever.searching.notes`. The arguments are those of the search.
        No model is loaded for it.
        """
        chosen = _options(options).changed(**changes)
        if embed is None and self._embedder is not None:
            embed = self.embed_query
        with self.snapshot(dense=False) as now:
            return search_notes(
                *(now, parse_query(query, chosen), chosen, hits),
                embed=embed,
                scale=self._match_scale(now),
            )

    def embed_query(self, query: str) -> Vectors:
        """The query's raw vector: (dim,)."""
        check_text(query, "the query")
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
        """Explain a passage's score: contributions of pairs of words, and of the other terms.

        `what` is a hit of this query, a chunk, or a chunk's id. `options`, or keyword arguments,
        are those of the search. Of them, `mode` (a hit has its own), `syntax`, `typos`, `feedback`
        and the weights of `steering` affect a passage's score. `weights` are these weights alone.
        `first`: all reranked hits, if the hit was reranked; its score depends on theirs. See
        `retriever.explaining.score`.

        Raises UsageError for an unknown chunk, ModelError or UsageError if the index's vectors
        cannot be attributed to words.
        """
        chosen = _options(options).changed(**changes)
        asked = parse_query(query, chosen)
        text = asked.text
        if not weights and chosen.steering is not None:
            weights = chosen.steering.weights
        feedback = chosen.feedback and all(weight == 1 for weight in weights)
        with self.snapshot() as now:
            self._lend(now, asked, chosen)
            if isinstance(what, Hit):
                return explain_hit(
                    *(now, self._attributions, text, what),
                    tolerant=chosen.tolerant,
                    weights=weights,
                    feedback=feedback,
                    first=first,
                )
            chunk = find_chunk(now.catalog, what)
            return explain_chunk(
                *(now, self._attributions, text, chunk, as_mode(chosen.mode)),
                tolerant=chosen.tolerant,
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
        """Compare the explanations of two passages for a query, the largest difference first.

        The terms, query words and keywords of both are compared; the terms' differences add up to
        the difference of the scores. Arguments are those of `explain`. Raises UsageError also for
        hits of different modes.
        """
        chosen = _options(options).changed(**changes)
        with self.snapshot():
            explanations = [
                self.explain(query, what, options=chosen, first=first) for what in (one, other)
            ]
        return compare(*explanations)

    def why_not(
        self,
        query: str,
        path: str,
        k: int | None = None,
        *,
        options: SearchOptions | None = None,
        **changes: Unpack[SearchChanges],
    ) -> WhyNot:
        """Why a document is not among the `k` results of a search, or its rank among them.

        `path` is as results show it, or its end, such as the file's name. `options`, or keyword
        arguments, are those of the search; steering, reranking, diversity and context are ignored.
        See `retriever.explaining.why_not`. Raises UsageError if several documents have this path.
        """
        check_text(path, "the path")
        chosen = _options(options).changed(k, **changes)
        chosen = chosen.changed(steering=None, rerank=0, diversity=0.0, context=0)
        parsed = parse_query(query, chosen)
        given = chosen.filter
        embed = cache(self.embed_query)
        conditions = {
            name: one
            for name, one in (
                (f"the query's {' and '.join(parsed.conditions())}", parsed.where),
                ("the filter", given),
            )
            if one is not None
        }

        with self.snapshot() as now:

            def ranking(count: int, within: Filter | None) -> list[Hit]:
                hits = search(
                    *(now, parsed.text, embed),
                    k=count,
                    mode=chosen.mode,
                    where=within,
                    tolerant=chosen.tolerant,
                    feedback=chosen.feedback,
                )
                if count > 1:
                    return hits
                return with_match(hits, self._match_scale(now), bm25_unit(now, parsed.text))

            shown = self.search(query, options=chosen, embed=embed)
            meaning = chosen.mode != Mode.KEYWORD and now.some_pending
            return why_not(
                *(now.catalog, path, shown, ranking, conditions, chosen.min_match),
                waiting=now.passages.without_vector if meaning else lambda ids: (),
                by_words=chosen.mode != Mode.DENSE,
            )

    def check_explanation(
        self, explanation: Explanation, *, count: int = WORDS, draws: int = DRAWS
    ) -> DeletionTest:
        """A deletion test: whether the cosine falls without the explanation's strongest words.

        The passage is read again without the `count` words that the explanation ranks first, and
        `draws` times without as many other words, for comparison. See
        `retriever.explaining.faithfulness`.
        """
        embedder, title = self.embedder, explanation.chunk.title

        def embed(texts: Sequence[str]) -> Vectors:
            return embedder.embed_inputs([embedder.passage_input(text, title) for text in texts])

        with self._reading() as catalog:
            means = general_calibration(catalog, embedder) or catalog.means()
        query = self.embed_query(explanation.query)
        return deletion_test(explanation, query, embed, means, count=count, draws=draws)

    def check(
        self, explanation: Explanation, *, count: int = WORDS, draws: int = DRAWS
    ) -> DeletionTest:
        """The former name of `check_explanation`, deprecated."""
        warnings.warn(
            "Index.check is deprecated: use Index.check_explanation",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.check_explanation(explanation, count=count, draws=draws)

    # Reading

    def documents(self, where: Where = None) -> list[DocumentRow]:
        """The documents of the index, ordered by source and path."""
        with self._reading() as catalog:
            return catalog.documents(_as_filter(where))

    def pages(self, document_id: str) -> list[Page]:
        """A document's pages with their states and texts."""
        check_text(document_id, "the document's id")
        with self._reading() as catalog:
            return catalog.pages(document_id)

    def page_statuses(self, document_id: str) -> list[PageStatus]:
        """The states and reasons of a document's pages, without their texts."""
        check_text(document_id, "the document's id")
        with self._reading() as catalog:
            return catalog.page_statuses(document_id)

    def account(self, document_id: str) -> list[PageStatus]:
        """Deprecated: the former name of `page_statuses`."""
        return self.page_statuses(document_id)

    def chunks(self, document_id: str) -> list[Chunk]:
        """A document's chunks in order."""
        check_text(document_id, "the document's id")
        with self._reading() as catalog:
            return catalog.chunks(document_id)

    def neighbours(self, chunk: Chunk, before: int = 1, after: int = 1) -> list[Chunk]:
        """The chunks before and after a chunk in its document, in order, without itself."""
        if not isinstance(chunk, Chunk):
            raise UsageError(f"neighbours are those of a Chunk; this is none: {chunk!r:.80}")
        with self._reading() as catalog:
            return neighbours(chunk, catalog, before=before, after=after)

    def verify(self, progress: Callable[[str, int, int], None] | None = None) -> VerifyReport:
        """Check every row and every derived file of the index, as `wva verify` does."""
        if self.place is None:
            raise UsageError("only an index in a folder can be verified")
        from retriever.indexing.verify import nothing, verify_index

        return verify_index(self.place, progress or nothing)

    def info(self) -> dict[str, Any]:
        """Counts, model, calibration, store, sizes, last run, running progress: plain JSON."""
        return {**self.backend.info(), "path": self.name}

    @property
    def generation(self) -> int:
        """A number that grows with every change; a key for caches."""
        with self._reading() as catalog:
            return catalog.generation()

    @property
    def embedder_settings(self) -> EmbedderSettings | None:
        """The settings of the vectors; None for an index without a model yet."""
        with self._reading() as catalog:
            return catalog.embedder_settings()

    @property
    def ready(self) -> bool:
        """Whether the embedder is loaded."""
        return self._embedder is not None

    @property
    def embedder(self) -> Embedder:
        """The embedder, loaded on first use: the index's own, or the default for a new index.

        Raises ModelError if it cannot be loaded.
        """
        with self._loading:
            if self._embedder is None:
                self._embedder = self._load()
            return self._embedder

    def _text_side(self) -> Embedder:
        """The embedder as far as no vector is wanted: its model is loaded only where it must be."""
        if self._embedder is not None:
            return self._embedder
        settings = self.embedder_settings
        return own_text_side(lambda: self.embedder, settings, wished=self._model, place=self.name)

    def _load(self) -> Embedder:
        return load_own(
            self.embedder_settings,
            wished=self._model,
            place=self.name,
            device=self._device,
            dtype=self._dtype,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickled index is its place, which is opened again, with the index's own model."""
        return _reopened, (type(self), self._place_name(), self._device, self._dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """The same place opened again; the embedder is shared."""
        return type(self).open(
            self._place_name(), self._embedder, device=self._device, dtype=self._dtype
        )

    def _place_name(self) -> str:
        if self.place is None:
            raise UsageError("only an index in a folder can be copied or pickled")
        return str(self.place)

    def close(self) -> None:
        """Release the index's files."""
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _reopened(kind: type[Index], folder: str, device: str | None, dtype: str | None) -> Index:
    return kind.open(folder, device=device, dtype=dtype)


def _listed(paths: object) -> Iterable[Any]:
    if not isinstance(paths, Iterable):
        raise UsageError(f"paths must be a path or a list of paths; it is {paths!r}")
    return paths


def _options(options: object) -> SearchOptions:
    """The options of a search: an object, its JSON, or the defaults for None."""
    if options is None:
        return SearchOptions()
    return (
        options
        if isinstance(options, SearchOptions)
        else SearchOptions.from_json(cast(Mapping[str, Any], options))
    )


def _vector(values: object) -> Vectors:
    try:
        vector = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        vector = np.empty((0, 0), np.float32)
    if vector.ndim != 1:
        raise UsageError(f"a query's vector is a list of numbers; this is not: {values!r:.80}")
    return vector


def _as_filter(where: Where) -> Filter | None:
    return where if where is None or isinstance(where, Filter) else Filter.parse(where)


def _content_digest(document: Document) -> str:
    """SHA-256 of a caller's document: title and texts, to detect changed content."""
    parts = [document.title, *(page.text for page in document.pages)]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
