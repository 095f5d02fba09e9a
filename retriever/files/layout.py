"""What the folder of an index holds, by name; see `indexes/README.md`."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Literal

from retriever.types import IndexStateError

CATALOG_FILE = "catalog.sqlite"
NEW_CATALOG = f".{CATALOG_FILE}.new"
"""The catalog while it is made; it gets its name when it is complete."""

LOCK_FILE = "LOCK"
WATCH_FILE = "WATCH"
"""The lock of the one process that follows the index's folders."""

UPLOADS = "uploads"
BIN = "removed"
"""The folder of uploads that were removed, which can come back for a day."""

FACTS_FILE = "collection.json"
WANTED_FILE = "wanted"

VECTOR_FILE = re.compile(r"vectors-\d{8,}\.faiss")
"""The name of a vector file. Those of the files beside it begin with it."""


def is_part(name: str) -> bool:
    """Whether an entry of an index's folder belongs to the index.

    >>> [is_part(name) for name in ("catalog.sqlite-wal", "vectors-00000001.faiss.rows", "a.txt")]
    [True, True, False]
    """
    return (
        name.startswith((CATALOG_FILE, NEW_CATALOG))
        or name
        in (LOCK_FILE, WATCH_FILE, UPLOADS, BIN, FACTS_FILE, WANTED_FILE, f"{WANTED_FILE}.read")
        or ".faiss" in name
    )


def kind_of(path: Path) -> Literal["", "file", "folder"]:
    """What a path is; empty if there is nothing. Raises IndexStateError if that cannot be seen."""
    try:
        return "folder" if stat.S_ISDIR(path.stat().st_mode) else "file"
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        raise unreachable(path, error) from error


def unreachable(path: Path, error: OSError | ValueError) -> IndexStateError:
    """The error for a path that the system does not let us look at."""
    reason = error.strerror if isinstance(error, OSError) else error
    return IndexStateError(
        f"{path} cannot be looked at ({reason or error}); check the folder's permissions"
    )


__all__ = [
    "BIN",
    "CATALOG_FILE",
    "FACTS_FILE",
    "LOCK_FILE",
    "NEW_CATALOG",
    "UPLOADS",
    "VECTOR_FILE",
    "WANTED_FILE",
    "WATCH_FILE",
    "is_part",
    "kind_of",
    "unreachable",
]
