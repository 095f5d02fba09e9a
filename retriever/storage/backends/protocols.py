"""The contract of storage, in two halves: documents in and out, and a search for passages.

`Documents` are written and read; `Catalog` is what one generation of them holds, and its
`Vocabulary` the words in them. `PassageSearch` is what an engine has to give beside that: eight
methods over one generation, which know vectors and weighted terms. What is the same for every
engine (calibration of queries, spelling, compounds, expansion, the match scale, the ledger of
files) stands above both once: see `retriever.storage.backends.snapshot`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from retriever.arrays import DoubleScores, Scores, Vectors
from retriever.settings import ChunkSettings, EmbedderSettings
from retriever.storage.calibration import Calibration
from retriever.storage.filters import Filter
from retriever.storage.records import NewChunk, PageStatus, TermQuery, UnreadFile
from retriever.types import Chunk, DocumentRow, Page

if TYPE_CHECKING:
    from retriever.storage.backends.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class ScoredIds:
    """Chunk ids with scores, best first, and the side's score statistics over *all* chunks.

    `mean` and `std` are over every chunk of the index for this query (keyword: chunks without a
    query word count as 0), whatever the filter, so that z-normalised scores of different filters
    are comparable.
    """

    ids: tuple[str, ...]
    scores: Scores
    mean: float
    std: float

    def standardised(self, scores: NDArray[np.floating]) -> DoubleScores:
        """(score − mean) / deviation; a side that tells no chunk from another says nothing."""
        if self.std <= 0:
            return np.zeros(len(scores))
        found: DoubleScores = (scores.astype(np.float64) - self.mean) / self.std
        return found


class PassageSearch(Protocol):
    """One generation of an engine. Equal scores are ordered by chunk id; filters come first."""

    def dense(self, query: Vectors, k: int, where: Filter | None = None) -> ScoredIds:
        """The `k` chunks nearest to the calibrated query (dim,), by cosine of calibrated vectors.

        Raises UsageError for a query of another dimension, or with NaN.
        """

    def dense_scores(self, query: Vectors, chunk_ids: Sequence[str]) -> Scores:
        """The cosine of the calibrated query (dim,) with each chunk, 0 for a missing one: (n,)."""

    def keyword(self, query: TermQuery, k: int, where: Filter | None = None) -> ScoredIds:
        """The `k` chunks with the best score > 0: weighted BM25 (k1 1.2, b 0.75)."""

    def keyword_scores(self, query: TermQuery, chunk_ids: Sequence[str]) -> DoubleScores:
        """The score of each chunk, 0 without a term of the query, or for one that is gone: (n,)."""

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        """Calibrated vectors (n, dim) of chunks, in this order; zeros for one that is gone."""

    def terms(self, chunk_ids: Sequence[str]) -> list[list[str]]:
        """The terms that each chunk is found by, in order; none for one that is gone."""

    def document_frequencies(self, terms: Iterable[str]) -> Mapping[str, int]:
        """In how many chunks each of the terms (as `terms.index_terms` gives them) occurs."""

    def count(self) -> int:
        """How many chunks there are."""


class Vocabulary(Protocol):
    """The words of one generation, for what is decided about a query before an engine is asked."""

    def languages(self) -> list[str]:
        """The languages that some chunk is in."""

    def terms_beginning(self, letter: str) -> Iterable[tuple[str, int]]:
        """The terms that begin with a letter, each with the number of chunks that have it."""

    def longer_words(self, stem: str, language: str) -> list[str]:
        """The stems of seven letters or more that end with another one, in one language."""

    def first_with(self, term: str) -> Chunk | None:
        """The first chunk, in the order of writing, that has a term."""

    def lengths(self, chunk_id: str) -> tuple[int, float]:
        """How many terms a chunk has (0 for one that is gone), and how many one has on average."""


class CatalogReader(Vocabulary, Protocol):
    """What one generation of an index holds: documents out."""

    def generation(self) -> int:
        """Grows with every committed change: a cache keyed by it is never stale."""

    def dimension(self) -> int | None:
        """How many numbers a vector has; None while nothing says so."""

    def embedder_settings(self) -> EmbedderSettings | None:
        """What the vectors were made with; None until the first `bind_embedder`."""

    def chunk_settings(self) -> ChunkSettings | None:
        """What the chunks were made with; None until the first `bind_embedder`."""

    def means(self) -> Calibration:
        """The two means that dense search takes away; zeros before they are fitted."""

    def calibration_facts(self) -> Mapping[str, Any] | None:
        """What was said about the means when they were fitted."""

    def match_scale(self) -> Mapping[str, Any] | None:
        """What `set_match_scale` stored, None for nothing, or for another model."""

    def documents(self, where: Filter | None = None) -> list[DocumentRow]:
        """All documents, ordered by source and path."""

    def document(self, document_id: str) -> DocumentRow | None:
        """One document, or None."""

    def pages(self, document_id: str) -> list[Page]:
        """A document's pages in order."""

    def page_statuses(self, document_id: str) -> list[PageStatus]:
        """What became of a document's pages, in order, without their texts."""

    def all_page_statuses(self) -> Mapping[str, list[PageStatus]]:
        """`page_statuses` of every document that has pages, by its id."""

    def unread(self) -> list[UnreadFile]:
        """The files that gave no document, ordered by root and path."""

    def chunks(self, document_id: str) -> list[Chunk]:
        """A document's chunks in order."""

    def chunk_ids(self, document_id: str) -> list[str]:
        """The ids of a document's chunks in order."""

    def page_of(self, chunk_id: str) -> Page | None:
        """The page a chunk is from, None if the chunk is gone."""

    def get(self, chunk_ids: Sequence[str]) -> list[Chunk]:
        """The chunks with these ids, in this order; ids that are gone are left out."""

    def sample_chunks(self, limit: int) -> list[Chunk]:
        """A fixed pseudo-random sample, chosen by chunk id alone, so it is stable."""

    def sample_vectors(self, limit: int) -> Vectors:
        """The raw vectors (m, dim) of `sample_chunks`, in the same order."""

    def known_vectors(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` whose raw vector is stored."""

    def load_vectors(self, keys: Sequence[str]) -> Vectors:
        """Raw vectors (n, dim) in the order of `keys`. Raises KeyError naming a missing one."""


class Documents(Protocol):
    """Documents in, and the doors to what is there. Any number of threads may share one object.

    Every method raises IndexStateError when the index is unusable. Each change is one transaction.
    One process writes at a time; a second gets an IndexStateError. Readers never wait.
    """

    def reading(self) -> AbstractContextManager[CatalogReader]:
        """The catalog of the last committed generation, unchanging while it is open."""

    def snapshot(self, *, dense: bool = True) -> AbstractContextManager[Snapshot]:
        """That, and the search over it: all that one search or explanation may ask.

        `dense=False`: vectors will hardly be asked for, and are loaded only when they are.
        """

    @property
    def ocr_languages(self) -> str:
        """The languages in which pictures of pages are recognised, empty for none."""

    def set_ocr_languages(self, languages: str) -> None:
        """Replace `ocr_languages`."""

    def bind_embedder(self, embedder: EmbedderSettings, chunks: ChunkSettings) -> None:
        """Bind an empty index to an embedder, or check that it is the one already bound.

        Raises IndexStateError naming both models when the fingerprints differ.
        """

    def save_vectors(self, keys: Sequence[str], vectors: Vectors) -> None:
        """Store raw vectors (n, dim) durably; they survive a kill before the document's upsert."""

    def upsert(self, row: DocumentRow, pages: Sequence[Page], pieces: Sequence[NewChunk]) -> None:
        """Make the document visible as a whole, replacing what stood under `row.id`."""

    def touch(self, row: DocumentRow) -> None:
        """Record the file facts (root, sha256, size, mtime_ns) of an unchanged document."""

    def rename(self, document_id: str, row: DocumentRow) -> None:
        """Move a document to `row`'s id, source and path; its pages and vectors stay."""

    def delete(self, document_ids: Sequence[str]) -> int:
        """Remove documents with all that hangs on them; returns how many there were."""

    def calibrate(
        self, passage_mean: Vectors, query_mean: Vectors, facts: Mapping[str, Any]
    ) -> None:
        """Replace the two means (dim,) applied in dense search; `facts` are shown by `info`."""

    def set_match_scale(self, scale: Mapping[str, Any] | None) -> None:
        """Replace the match scale: JSON; see `retriever.searching.match`."""

    def set_unread(self, files: Sequence[UnreadFile]) -> None:
        """Replace the list of files that gave no document."""

    def set_progress(self, progress: Mapping[str, Any] | None) -> None:
        """Publish how far a running sync is, for other processes; None when it ended."""

    def finish(self, report: Mapping[str, Any]) -> None:
        """End of a sync: remember the report, drop unreferenced vectors, let others write."""

    def release(self) -> None:
        """Let other processes write, also when a sync was broken off; without effect otherwise."""

    def info(self) -> dict[str, Any]:
        """Counts, sizes in bytes, store kind, calibration facts, last report: JSON."""

    def close(self) -> None:
        """Release files; the object is unusable afterwards."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


__all__ = ["CatalogReader", "Documents", "PassageSearch", "ScoredIds", "Vocabulary"]
