"""The catalog: one SQLite file with all data that is expensive or irreplaceable.

It holds documents, their pages and chunks, the raw vectors, the full-text index and the two means.
One transaction writes a document as a whole, and a committed transaction survives a kill. Readers
never wait for the writer (WAL mode) and read the last committed state. A lock file admits one
writer at a time. `Catalog` opens transactions: a `Reader` or a `Writer`.

The catalog knows nothing of vector search; the vector files beside it can be rebuilt from it.
"""

from __future__ import annotations

from retriever.storage.catalog.connections import CATALOG_FILE, LOCK_FILE, Catalog
from retriever.storage.catalog.reading import Matches, Reader, VectorFile
from retriever.storage.catalog.writing import Writer

__all__ = [
    "CATALOG_FILE",
    "LOCK_FILE",
    "Catalog",
    "Matches",
    "Reader",
    "VectorFile",
    "Writer",
]
