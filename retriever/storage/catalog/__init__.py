"""The truth on disk: one SQLite file with everything that was expensive or irreplaceable.

Documents, their pages and chunks, the raw vectors, the full-text index and the two means. One
transaction makes a document visible as a whole, and a committed transaction survives a kill.
Readers never wait for the writer (WAL): each reads the last committed state; writers exclude each
other with a lock file. `Catalog` hands out transactions: a `Reader` or a `Writer`.

The catalog knows nothing of vector search: the files beside it can be rebuilt from it.
"""

from __future__ import annotations

from retriever.storage.catalog.connections import CATALOG_FILE, LOCK_FILE, Catalog
from retriever.storage.catalog.reading import Matches, Reader, VectorFile
from retriever.storage.catalog.writing import Writer

__all__ = ["CATALOG_FILE", "LOCK_FILE", "Catalog", "Matches", "Reader", "VectorFile", "Writer"]
