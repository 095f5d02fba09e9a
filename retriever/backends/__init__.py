"""What everything above storage needs, as one short protocol.

A backend holds documents, their pages and chunks, and the chunks' *raw* vectors (unit length, not
calibrated); it searches them by vector and by keyword, under a filter, and it answers only with
chunks that are there. The calibration is applied inside: callers hand over raw query vectors.

`embedded` = SQLite catalog + vector store + calibration, in one folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from retriever.calibration import Calibration
from retriever.filters import Filter
from retriever.settings import ChunkSettings, EmbedderSettings
from retriever.types import (
    Chunk,
    DocumentRow,
    Expansion,
    KeywordScore,
    Page,
    PageAccount,
    Piece,
    UnreadFile,
)

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ScoredIds:
    """Chunk ids with scores, best first, and the side's score statistics over *all* chunks.

    `mean` and `std` are over every chunk of the backend for this query (keyword: chunks without a
    query word count as 0), whatever the filter, so that z-normalised scores of different filters
    are comparable.
    """

    ids: tuple[str, ...]
    scores: NDArray[np.float32]
    mean: float
    std: float

    def standardised(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """(score − mean) / deviation; a side that tells no chunk from another says nothing."""
        if self.std <= 0:
            return np.zeros(len(scores))
        found: NDArray[np.float64] = (scores.astype(np.float64) - self.mean) / self.std
        return found


class Backend(Protocol):
    """See the module's docstring. Every method raises IndexStateError when the index is unusable.

    Reading methods may be called from any thread, also while another process writes, and see the
    last committed state. One process writes at a time; a second gets an IndexStateError.
    """

    # Identity

    @property
    def embedder_settings(self) -> EmbedderSettings | None:
        """What the vectors were made with; None until the first `claim`."""

    @property
    def chunk_settings(self) -> ChunkSettings | None:
        """What the chunks were made with; None until the first `claim`."""

    @property
    def generation(self) -> int:
        """Grows with every committed change: a cache keyed by it is never stale."""

    @property
    def calibration(self) -> Calibration | None:
        """The two means that dense search takes away, None before they are fitted."""

    @property
    def dense_weight(self) -> float:
        """What the dense side counts beside keywords in hybrid search (see `retriever.fusion`)."""

    @property
    def ocr_languages(self) -> str:
        """The languages in which pictures of pages are recognised, empty for none."""

    def set_ocr_languages(self, languages: str) -> None:
        """Replace what `ocr_languages` tells."""

    def claim(self, embedder: EmbedderSettings, chunks: ChunkSettings) -> None:
        """Bind an empty index to an embedder, or check that it is the one already bound.

        Raises IndexStateError naming both models when the fingerprints differ.
        """

    # Writing

    def known_vectors(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` whose raw vector is already stored."""

    def save_vectors(self, keys: Sequence[str], vectors: Vectors) -> None:
        """Store raw vectors (n, dim) durably; they survive a kill before the document's upsert."""

    def load_vectors(self, keys: Sequence[str]) -> Vectors:
        """Raw vectors (n, dim) in the order of `keys`. Raises KeyError naming a missing one."""

    def upsert(self, row: DocumentRow, pages: Sequence[Page], pieces: Sequence[Piece]) -> None:
        """Make the document visible as a whole, replacing what stood under `row.id`."""

    def touch(self, row: DocumentRow) -> None:
        """Record the file facts (root, sha256, size, mtime_ns) of an unchanged document."""

    def rename(self, document_id: str, row: DocumentRow) -> None:
        """Move a document to `row`'s id, source and path; its pages and vectors stay."""

    def delete(self, document_ids: Sequence[str]) -> int:
        """Remove documents with all that hangs on them; returns how many there were."""

    def sample_vectors(self, limit: int) -> Vectors:
        """Raw vectors (m, dim) of a fixed pseudo-random sample of chunks, m = min(limit, all)."""

    def sample_chunks(self, limit: int) -> list[Chunk]:
        """The same kind of sample, as chunks: chosen by chunk id alone, so it is stable."""

    def calibrate(
        self, passage_mean: Vectors, query_mean: Vectors, facts: Mapping[str, Any]
    ) -> None:
        """Replace the two means (dim,) applied in dense search; `facts` are shown by `info`."""

    def set_background(self, background: Mapping[str, Any] | None) -> None:
        """Replace what `background` tells: JSON; see `retriever.background`."""

    def set_unread(self, files: Sequence[UnreadFile]) -> None:
        """Replace what `unread` tells."""

    def set_progress(self, progress: Mapping[str, Any] | None) -> None:
        """Publish how far a running sync is, for other processes; None when it ended."""

    def finish(self, report: Mapping[str, Any]) -> None:
        """End of a sync: remember the report, drop unreferenced vectors, write a snapshot."""

    def release(self) -> None:
        """Let other processes write, also when a sync was broken off; without effect otherwise."""

    # Reading

    def background(self) -> Mapping[str, Any] | None:
        """What `set_background` stored, None for nothing, or for another model."""

    def documents(self, where: Filter | None = None) -> list[DocumentRow]:
        """All documents, ordered by source and path."""

    def document(self, document_id: str) -> DocumentRow | None:
        """One document, or None."""

    def pages(self, document_id: str) -> list[Page]:
        """A document's pages in order."""

    def account(self, document_id: str) -> list[PageAccount]:
        """What became of a document's pages, in order, without their texts."""

    def unread(self) -> list[UnreadFile]:
        """The files that gave no document, ordered by root and path."""

    def chunks(self, document_id: str) -> list[Chunk]:
        """A document's chunks in order."""

    def order(self, document_id: str) -> list[str]:
        """The ids of a document's chunks in order."""

    def page_of(self, chunk_id: str) -> Page | None:
        """The page a chunk is from, None if the chunk is gone."""

    def vectors(self, chunk_ids: Sequence[str]) -> Vectors:
        """Calibrated vectors (n, dim) of chunks, in this order; zeros for one that is gone."""

    def get(self, chunk_ids: Sequence[str]) -> list[Chunk]:
        """The chunks with these ids, in this order; ids that are gone are left out."""

    def dense(self, query: Vectors, k: int, where: Filter | None = None) -> ScoredIds:
        """The `k` chunks nearest to the raw query vector (dim,), by calibrated cosine."""

    def dense_scores(self, query: Vectors, chunk_ids: Sequence[str]) -> NDArray[np.float32]:
        """The calibrated cosine of the raw query (dim,) with each chunk: (n,)."""

    def keyword(
        self,
        query: str,
        k: int,
        where: Filter | None = None,
        *,
        tolerant: bool = False,
        expansion: Expansion | None = None,
    ) -> ScoredIds:
        """The `k` chunks with the best BM25 score > 0. Any text is legal; no word finds nothing.

        `tolerant`: a word that occurs nowhere is looked for by the nearest ones (see `corrections`)
        instead, of which the best match counts 0.6. With an `expansion` a chunk's score is
        `expansion.own` times its BM25 score, plus the weighted BM25 scores of the added terms.
        """

    def keyword_scores(
        self,
        query: str,
        chunk_ids: Sequence[str],
        *,
        tolerant: bool = False,
        expansion: Expansion | None = None,
    ) -> NDArray[np.float32]:
        """The BM25 score of each chunk, 0 without a query word: (n,); see `keyword`."""

    def keyword_most(self, query: str) -> float:
        """The BM25 score of a passage that has every word of the query as often as it counts.

        A word that occurs nowhere weighs most; the score is then out of reach.
        """

    def count_chunks(self) -> int:
        """How many chunks there are."""

    def term_counts(self, terms: Sequence[str]) -> Mapping[str, int]:
        """In how many chunks each of the terms (as `terms.index_terms` gives them) occurs."""

    def terms_of(self, chunk_ids: Sequence[str]) -> list[list[str]]:
        """The terms that each chunk is found by, in order; none for one that is gone."""

    def keyword_breakdown(
        self,
        query: str,
        chunk_id: str,
        *,
        tolerant: bool = False,
        expansion: Expansion | None = None,
    ) -> KeywordScore:
        """A chunk's BM25 score word by word; a chunk that is gone has none of them."""

    def corrections(self, query: str) -> Mapping[str, Sequence[str]]:
        """Words of the query that occur nowhere → one to three near ones that do, best first.

        One letter may be wrong in a word of 4 to 7 letters, two in a longer one, not the first.
        """

    def looked_for(self, query: str) -> frozenset[str]:
        """The terms (see `retriever.terms`) a tolerant keyword search for the query looks for.

        Compounds that have a word of it in them, a compound's parts, and the words looked for
        instead of what occurs nowhere are among them; a word in most passages need not be.
        """

    def info(self) -> dict[str, Any]:
        """Counts, sizes in bytes, store kind, calibration facts, last report: JSON."""

    def close(self) -> None:
        """Release files; the object is unusable afterwards."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


__all__ = ["Backend", "DocumentRow", "Piece", "ScoredIds"]
