"""Documents in and out, and a search for passages: see `retriever.storage.backends.protocols`.

A backend holds documents, their pages and chunks, and the chunks' *raw* vectors (unit length, not
calibrated), and answers from one generation at a time: a `Snapshot`.

`embedded` = SQLite catalog + vector store + calibration, in one folder.
"""

from __future__ import annotations

from retriever.storage.backends.protocols import (
    CatalogReader,
    Documents,
    PassageSearch,
    ScoredIds,
    Vocabulary,
)
from retriever.storage.backends.snapshot import Snapshot
from retriever.storage.records import NewChunk
from retriever.types import DocumentRow

__all__ = [
    "CatalogReader",
    "DocumentRow",
    "Documents",
    "NewChunk",
    "PassageSearch",
    "ScoredIds",
    "Snapshot",
    "Vocabulary",
]
