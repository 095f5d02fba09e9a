"""`verify_index`: the check of an index for `Index.verify` and the command line, and its repair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from typing import Any

from retriever.indexing.repair import Repair, RepairReport, finish_salvage, salvaged
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.backends.verifying import VerifyReport, verify
from retriever.storage.catalog import CATALOG_FILE, Catalog
from retriever.storage.catalog.verifying import DATABASE, Finding, Told
from retriever.storage.opening import Place, folder_of
from retriever.types import IndexStateError

_ON_A_SERVER = (
    "Milvus checks what it stores; to compare or mend an index there, copy it with wva copy from "
    "or to a folder, and check that"
)


def nothing(what: str, done: int, total: int) -> None:
    """Tell nobody how far the check is."""


def verify_index(place: Place, told: Told = nothing) -> VerifyReport:
    """Check the index in a folder, also one that cannot be opened any more.

    Raises UsageError for an address.
    """
    folder = folder_of(place, "verify", _ON_A_SERVER)
    try:
        with closing(Catalog.open(folder)) as catalog:
            return verify(catalog, told)
    except IndexStateError as error:
        if not (folder / CATALOG_FILE).is_file():
            raise
        return VerifyReport((Finding(str(error), remedy=""),), 1)


def repair_index(
    place: Place,
    opened: Callable[[], AbstractContextManager[Any]],
    told: Told = nothing,
) -> RepairReport:
    """Check an index, and mend what is damaged. `opened` opens it, as an `Index`."""
    folder = folder_of(place, "verify --repair", _ON_A_SERVER)
    finish_salvage(folder)
    before = verify_index(folder, told)
    torn = any(one.part == DATABASE for one in before.findings)
    found = salvaged(folder) if torn else None
    with opened() as index:
        backend = index.backend
        if not isinstance(backend, EmbeddedBackend):
            raise IndexStateError("only an index in a folder can be repaired")

        def sync(files: Sequence[str], vectors: bool) -> Any:
            return index.sync(
                list(files), delete=False, reread=not vectors, vectors_only=vectors, jobs=1
            )

        repair = Repair(backend.catalog, backend, lambda: index.embedder, sync, told)
        try:
            return repair.run(before, found)
        finally:
            backend.release()


__all__ = ["nothing", "repair_index", "verify_index"]
