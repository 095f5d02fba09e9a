"""The contract of storage, in two halves: document storage, and passage search.

- `Documents` is the index as a whole: all writes, and the opening of reads.
- `CatalogReader` reads one generation (Lucene: an IndexReader); `Vocabulary` is its term part.
- `PassageSearch` searches one generation (Lucene: an IndexSearcher). These eleven methods on
  vectors and boosted terms are all that a search engine has to implement.

Everything that is the same for all engines (calibration of queries, spelling, compounds, expansion)
is implemented once above them, in `retriever.storage.backends.snapshot`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from retriever.arrays import DoubleScores, Keys, Scores, Vectors
from retriever.settings import ChunkSettings, EmbedderSettings
from retriever.storage.adapter import Adapter
from retriever.storage.calibration import Calibration
from retriever.storage.catalog.lock import PATIENCE
from retriever.storage.filters import Filter
from retriever.storage.records import (
    LeftOutTexts,
    NewChunk,
    NewDocument,
    PageStatus,
    TermQuery,
    UnreadFile,
)
from retriever.types import Account, Chunk, DocumentRow, LeftOut, Page

if TYPE_CHECKING:
    from retriever.storage.backends.snapshot import Snapshot
    from retriever.storage.catalog.indexed_keys import IndexedKey
    from retriever.storage.upkeep.backup import Backup
    from retriever.storage.upkeep.compact import Compaction


@dataclass(frozen=True, slots=True)
class ScoredIds:
    """Chunk ids with scores, best first, and the query's score statistics over *all* chunks.

    `mean` and `std` are over every chunk of the index, whatever the filter, so that z-scores under
    different filters are comparable. In keyword search, chunks without a query word score 0; in
    dense search, chunks without a vector do not count.
    """

    ids: tuple[str, ...]
    scores: Scores
    mean: float
    std: float

    def standardised(self, scores: NDArray[np.floating]) -> DoubleScores:
        """The z-scores (score − mean) / std; zeros if all chunks have the same score."""
        if self.std <= 0:
            return np.zeros(len(scores))
        found: DoubleScores = (scores.astype(np.float64) - self.mean) / self.std
        return found


class PassageSearch(Protocol):
    """Search over one generation. Ties are ordered by chunk id; filters apply before the top k."""

    def dense(self, query: Vectors, k: int, where: Filter | None = None) -> ScoredIds:
        """The `k` chunks nearest to the calibrated query (dim,), by cosine with calibrated vectors.

        Raises UsageError for a query with another dimension or with NaN.
        """

    def begin_dense(self, query: Vectors, k: int, where: Filter | None = None) -> None:
        """Say that `dense` follows with these arguments: it may be computed meanwhile."""

    def dense_scores(self, query: Vectors, chunk_ids: Sequence[str]) -> Scores:
        """The cosine of the calibrated query (dim,) with each chunk: (n,).

        It is 0 for an unknown id. For a chunk without a vector it is the mean over all vectors
        (`ScoredIds.mean` of `dense`), so that its z-score is 0.
        """

    def keyword(self, query: TermQuery, k: int, where: Filter | None = None) -> ScoredIds:
        """The `k` chunks with the best BM25 score > 0 (k1 1.2, b 0.75); see `TermQuery`."""

    def keyword_scores(self, query: TermQuery, chunk_ids: Sequence[str]) -> DoubleScores:
        """The BM25 score of each chunk, 0 without a query term or for an unknown id: (n,)."""

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        """Calibrated vectors (n, dim) of chunks, in this order; zeros where there is none."""

    def terms(self, chunk_ids: Sequence[str]) -> list[list[str]]:
        """The indexed terms of each chunk, in order (a term vector); empty for an unknown id."""

    def document_frequencies(self, terms: Iterable[str]) -> Mapping[str, int]:
        """In how many chunks each term occurs; see `retriever.text.analyzer.index_terms`."""

    def count(self) -> int:
        """The number of chunks."""

    def count_vectors(self) -> int:
        """The number of chunks with a vector; the others are found by keywords alone."""

    def without_vector(self, chunk_ids: Sequence[str]) -> set[str]:
        """Those of the chunks that have no vector yet."""

    def lend(self, vectors: Mapping[str, Vectors]) -> None:
        """Give chunks without a vector calibrated ones (dim,), for this object's searches only.

        The statistics of a query do not change, unless no chunk has a vector of its own.
        """


class Vocabulary(Protocol):
    """The term dictionary of one generation, used to analyse a query before the search."""

    def languages(self) -> list[str]:
        """The languages that some chunk is in."""

    def language_counts(self) -> Mapping[str, int]:
        """The number of chunks in each language, "en" among them, and "" for unknown ones."""

    def terms_beginning(self, letter: str) -> Iterable[tuple[str, int]]:
        """The terms that begin with a letter, each with its document frequency."""

    def longer_words(self, stem: str, language: str) -> list[str]:
        """The longer stems (seven letters or more) of a language that end with `stem`."""

    def expect_compounds(
        self, stems: Sequence[tuple[str, str]], words: Sequence[tuple[str, str]]
    ) -> None:
        """Say that `longer_words` of stems, and splits of words, each with its language, follow.

        An engine that is far away looks up at once what these need; others do nothing.
        """

    def first_with(self, term: str) -> Chunk | None:
        """The chunk with the term that was written first, or None."""

    def terms_from(self, beginning: str, postings: int) -> tuple[dict[str, int], bool]:
        """The terms with this beginning → their document frequencies, and whether these are all.

        It stops after so many postings: the sum of the document frequencies.
        """

    def passages_with(self, term: str, limit: int) -> list[tuple[str, str, str]]:
        """The first chunks with the term: title, text and language."""

    def frequent_terms(self, passages: int) -> Mapping[str, int]:
        """The terms of a stable sample of so many chunks → estimated document frequencies."""

    def lengths(self, chunk_id: str) -> tuple[int, float]:
        """A chunk's number of terms (0 for an unknown id), and the mean over all chunks."""


class CatalogReader(Vocabulary, Protocol):
    """Reads of one generation: settings, documents, pages, chunks, raw vectors."""

    def generation(self) -> int:
        """The number of the last committed change: a cache keyed by it is never stale."""

    def dimension(self) -> int | None:
        """The dimension of the vectors; None while it is unknown."""

    def embedder_settings(self) -> EmbedderSettings | None:
        """The settings of the embedder; None before the first `bind_embedder`."""

    def chunk_settings(self) -> ChunkSettings | None:
        """The settings of chunking; None before the first `bind_embedder`."""

    def means(self) -> Calibration:
        """The calibration of dense search; zero means before it is fitted."""

    def adapter(self) -> Adapter | None:
        """The adapter in it; None without one."""

    def calibration_facts(self) -> Mapping[str, Any] | None:
        """The facts stored with the means; None before they are fitted."""

    def last_run(self) -> Mapping[str, Any] | None:
        """The report that `finish` stored last; None without one."""

    def match_scale(self) -> Mapping[str, Any] | None:
        """What `set_match_scale` stored; None without one, or after a change of the model."""

    def damage(self) -> list[str]:
        """What reads of this generation left out since it is damaged: a sentence, or none."""

    def documents(self, where: Filter | None = None) -> list[DocumentRow]:
        """All documents, ordered by source and path."""

    def document_names(self, limit: int) -> list[tuple[str, str, int]]:
        """The paths, titles and numbers of chunks of the first `limit` documents."""

    def document(self, document_id: str) -> DocumentRow | None:
        """One document, or None."""

    def pages(self, document_id: str) -> list[Page]:
        """A document's pages in order."""

    def page_statuses(self, document_id: str) -> list[PageStatus]:
        """The status of each of a document's pages, in order."""

    def all_page_statuses(self) -> Mapping[str, list[PageStatus]]:
        """`page_statuses` of all documents that have pages, by document id."""

    def accounts(self, *, lost_only: bool = False) -> Mapping[str, Account]:
        """The accounts of the words of documents, by document id; not every document has one.

        `lost_only` leaves out most of those without a lost word.
        """

    def left_out(self, document_id: str) -> LeftOutTexts:
        """The text that a document leaves out on purpose, in order; only the first of much."""

    def unread(self) -> list[UnreadFile]:
        """The files that gave no document, ordered by root and path."""

    def chunks(self, document_id: str) -> list[Chunk]:
        """A document's chunks in order."""

    def chunks_of(self, document_ids: Sequence[str]) -> Mapping[str, list[Chunk]]:
        """The `chunks` of several documents, by document id; none of an unknown one."""

    def chunk_ids(self, document_id: str) -> list[str]:
        """The ids of a document's chunks in order."""

    def page_of(self, chunk_id: str) -> Page | None:
        """The page of a chunk; None for an unknown id."""

    def get(self, chunk_ids: Sequence[str]) -> list[Chunk]:
        """The chunks with these ids, in this order; unknown ids are left out."""

    def sample_chunks(self, limit: int, *, embedded: bool = False) -> list[Chunk]:
        """A pseudo-random sample, chosen by chunk id alone, so that it is stable.

        It is of the chunks that have a vector with `embedded`, else of all.
        """

    def sample_vectors(self, limit: int) -> Vectors:
        """The raw vectors (m, dim) of `sample_chunks` with `embedded`, in the same order."""

    def pending_keys(self) -> Keys:
        """The keys of the chunks without a vector: new documents first, in their order (m,)."""

    def pending_texts(self, keys: Keys) -> list[tuple[int, str, str]]:
        """Key, text and document's title of those of the chunks that have no vector, in order."""

    def keys_of(self, chunk_ids: Sequence[str]) -> Mapping[str, int]:
        """Keys by chunk id; unknown ids are left out."""

    def count_vectors(self) -> int:
        """The number of chunks with a vector."""

    def count_pending(self) -> int:
        """The number of chunks without a vector."""

    def pending_by_document(self) -> Mapping[str, int]:
        """`count_pending` of each document that has such chunks, by its id."""

    def has_vectors(self) -> bool:
        """Whether any vector is stored."""

    def known_vectors(self, keys: Sequence[str]) -> set[str]:
        """The subset of `keys` whose raw vectors are stored."""

    def vector_keys(self, chunk_ids: Sequence[str]) -> Mapping[str, str]:
        """Chunk ids → the keys of their raw vectors; chunks without a vector are left out."""

    def load_vectors(self, keys: Sequence[str]) -> Vectors:
        """Raw vectors (n, dim) in the order of `keys`. Raises KeyError naming a missing one."""


class Documents(Protocol):
    """An index: its writes, and the opening of reads. Threads may share one object.

    Every method raises IndexStateError if the index is unusable. Each change is one transaction.
    One process writes at a time; a second one gets an IndexStateError. Readers never wait.

    A server without transactions, such as Milvus, keeps less: what is open reads what is there at
    the moment, never a part of a document, but maybe some documents of a change before the others,
    and vectors of two calibrations while one is replaced. A change that was interrupted is
    completed, or undone, when the next writer begins.
    """

    def reading(self) -> AbstractContextManager[CatalogReader]:
        """A reader of the last committed generation, which stays the same while it is open.

        Without transactions it is of the moment: only its settings stay the same.
        """

    def snapshot(self, *, dense: bool = True) -> AbstractContextManager[Snapshot]:
        """A reader of the last committed generation, and the search over it.

        With `dense=False`, vectors are loaded only on first use.
        """

    @property
    def preferred_model(self) -> str:
        """The model chosen for a new index; empty for the default model."""

    def prefer_model(self, model: str) -> None:
        """Replace `preferred_model`; only `bind_embedder` binds it."""

    @property
    def ocr_languages(self) -> str:
        """The languages of OCR, empty for no OCR."""

    def set_ocr_languages(self, languages: str) -> None:
        """Replace `ocr_languages`."""

    @property
    def password_salt(self) -> bytes:
        """The salt of the marks of passwords that were tried; empty before there are any."""

    def set_password_salt(self, salt: bytes) -> None:
        """Replace `password_salt`."""

    @property
    def mounts(self) -> Sequence[str]:
        """The folders with documents that were disks or shares of their own in the last run."""

    def set_mounts(self, mounts: Sequence[str]) -> None:
        """Replace `mounts`."""

    def bind_embedder(self, embedder: EmbedderSettings, chunks: ChunkSettings) -> None:
        """Bind an empty index to an embedder; else check that it is the bound one.

        Raises IndexStateError with both models if the fingerprints differ.
        """

    def save_vectors(self, keys: Sequence[str], vectors: Vectors) -> None:
        """Store raw vectors (n, dim) durably."""

    def attach_vectors(
        self, keys: Sequence[str], vectors: Vectors, chunks: Mapping[int, str]
    ) -> int:
        """Store raw vectors (n, dim) by key, and give chunks theirs, in one transaction.

        `chunks` maps the key of each chunk to the key of its vector, stored now or before. Chunks
        that are gone or have a vector stay as they are. Returns how many got one.
        """

    def upsert(
        self,
        row: DocumentRow,
        pages: Sequence[Page],
        new_chunks: Sequence[NewChunk],
        account: Account | None = None,
        left_out: Sequence[LeftOut] = (),
    ) -> None:
        """Write a document in one transaction, replacing the one with the same id.

        A chunk's vector is stored before, or comes later, by `attach_vectors`.
        """

    def upsert_many(
        self,
        documents: Sequence[NewDocument],
        *,
        vectors: Mapping[str, Vectors] | None = None,
        keys: Sequence[IndexedKey] = (),
    ) -> None:
        """Write documents as `upsert` does, all in one transaction.

        The terms of a document may be given, as `analyse_chunks` finds them. Raw `vectors` (dim,)
        by key are stored, and `keys` noted, together with them.
        """

    def note_wanted(self, chunk_ids: Sequence[str]) -> None:
        """Ask for the vectors of chunks, best first; it never fails, and may be without effect."""

    def take_wanted(self) -> list[str]:
        """What `note_wanted` asked for since the last call, in any process, newest search first."""

    def touch(self, row: DocumentRow) -> None:
        """Record the file facts (root, sha256, size, mtime_ns) of an unchanged document."""

    def rename(self, document_id: str, row: DocumentRow) -> None:
        """Move a document to `row`'s id, source and path; its pages and vectors stay."""

    def rename_many(self, moves: Sequence[tuple[str, DocumentRow]]) -> None:
        """As `rename` for each, in order; a search sees all of them or none.

        In between two documents may have one place, or one of them a temporary id.
        """

    def delete(self, document_ids: Sequence[str]) -> int:
        """Remove documents with their pages and chunks; returns how many existed."""

    def calibrate(
        self, passage_mean: Vectors, query_mean: Vectors, facts: Mapping[str, Any]
    ) -> None:
        """Replace the two means (dim,) of dense search; `facts` are shown by `info`."""

    def set_adapter(self, adapter: Adapter | None) -> None:
        """Use this adapter (see `retriever.storage.adapter`) from now on, None for none.

        New means keep it; a change of the model removes it. Raises UsageError for an index without
        means, or for one of another dimension.
        """

    def set_match_scale(self, scale: Mapping[str, Any] | None) -> None:
        """Replace the match scale: JSON; see `retriever.searching.match`."""

    def set_unread(self, files: Sequence[UnreadFile]) -> None:
        """Replace the list of files that gave no document."""

    def indexed_keys(self) -> list[IndexedKey]:
        """The keys that indexing programs noted, see `retriever.storage.catalog.indexed_keys`."""

    def put_keys(self, keys: Sequence[IndexedKey], *, keep_groups: bool = False) -> None:
        """Note when keys were seen, and their groups unless those are kept."""

    def remove_keys(self, namespace: str, keys: Sequence[str]) -> None:
        """Forget keys of one namespace; the documents stay."""

    def known_keys(self, namespace: str, keys: Sequence[str]) -> set[str]:
        """Those of the keys that are noted in a namespace."""

    def list_keys(
        self,
        namespace: str,
        *,
        before: float | None = None,
        after: float | None = None,
        groups: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """The keys of a namespace seen before and after these times, of these groups."""

    def last_seen(self) -> float:
        """The newest time at which any key was seen; 0 without keys."""

    def set_progress(self, progress: Mapping[str, Any] | None) -> None:
        """Publish the progress of a running sync to other processes; None at its end."""

    def finish(self, report: Mapping[str, Any]) -> None:
        """End a sync: store the report, drop unreferenced vectors, release the writer lock."""

    def acquire(self, seconds: float = PATIENCE) -> None:
        """Take the writer lock before a change, and wait for another process for so long.

        What is read then stays true until the lock is released. Raises IndexStateError if another
        process still writes.
        """

    def release(self, *, checkpoint: bool = True) -> None:
        """Release the writer lock, if it is held, without ending a sync.

        Without a checkpoint of a folder's log it is faster.
        """

    def back_up(self, to: Path) -> Backup:
        """Write a consistent copy, also while another process writes."""

    def compact(self, *, dry_run: bool = False) -> Compaction:
        """Give disk space back, and let nothing of deleted documents stay in any file."""

    def info(self) -> dict[str, Any]:
        """Counts, sizes in bytes, kind of store, calibration facts, last report: JSON values."""

    def close(self) -> None:
        """Close all files; the object is unusable afterwards."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


__all__ = ["CatalogReader", "Documents", "PassageSearch", "ScoredIds", "Vocabulary"]
