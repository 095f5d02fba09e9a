"""Backends: storage of documents, and passage search. The contract is in `protocols`.

A backend stores documents, their pages and chunks, and the chunks' *raw* vectors (unit length, not
calibrated). Each search reads one generation of the index, through a `Snapshot`.

`embedded` is an index in a folder: SQLite catalog, FAISS vectors, calibration. `milvus` is one on a
server. `retriever.storage.opening` opens either by where it is.
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
from retriever.storage.records import NewChunk, NewDocument
from retriever.types import DocumentRow

__all__ = [
    "CatalogReader",
    "DocumentRow",
    "Documents",
    "NewChunk",
    "NewDocument",
    "PassageSearch",
    "ScoredIds",
    "Snapshot",
    "Vocabulary",
]
