"""Storage: documents in and out, and a search for passages; see `retriever.backends.protocols`.

A backend holds documents, their pages and chunks, and the chunks' *raw* vectors (unit length, not
calibrated), and answers from one generation at a time: a `Snapshot`.

`embedded` = SQLite catalog + vector store + calibration, in one folder.
"""

from __future__ import annotations

from retriever.backends.protocols import (
    CatalogReader,
    Documents,
    PassageSearch,
    ScoredIds,
    Vocabulary,
)
from retriever.backends.snapshot import Snapshot
from retriever.types import DocumentRow, Piece

__all__ = [
    "CatalogReader",
    "DocumentRow",
    "Documents",
    "PassageSearch",
    "Piece",
    "ScoredIds",
    "Snapshot",
    "Vocabulary",
]
