"""The vector files: when one is written, how it becomes current, and when old ones are removed.

A vector file is a FAISS index of the calibrated vectors. It is written completely under a new name
before the catalog refers to it, in the transaction that also replaces the means. A crash in between
leaves an unreferenced file, which is removed when the next one is written.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from retriever.arrays import Keys, Vectors
from retriever.storage.backends.search_state import SearchState, build_store, calibrated, row_path
from retriever.storage.calibration import Calibration
from retriever.storage.catalog import CATALOG_FILE, Catalog, Reader, VectorFile
from retriever.storage.catalog.postings import posting_path
from retriever.storage.vectors.faiss import factory_for
from retriever.storage.vectors.rows import RowWriter
from retriever.storage.vectors.verified import verified_path
from retriever.types import IndexStateError

log = logging.getLogger(__name__)

MAX_TAIL = 20_000
"""The maximum number of chunks outside the file (or a quarter of the file's, if that is more).

These are searched by brute force.
"""
MIN_LARGE = 20_000
"""From so many vectors on, a posting file and a row file lie beside the vector file."""

_SMALL = 50_000  # up to this many vectors any change causes a new file
_WORTH = 0.1  # beyond that, this share of the vectors must have changed


def tail_is_long(reader: Reader) -> bool:
    """Whether too many chunks' vectors are outside the vector file."""
    row = reader.vector_file()
    covered, size = (row.last_key, row.vectors) if row else (0, 0)
    most = max(MAX_TAIL, size // 4)
    # A cheap bound first: counting reads the rows.
    bound = reader.last_key() - covered + reader.count_attached()
    return bound > most and reader.count_outside(covered) > most


def is_due(reader: Reader, state: SearchState) -> bool:
    """Whether a new vector file should be written at the end of a run."""
    row, count = state.vector_file, len(state.store)
    if row is None:
        return count > 0
    if state.damaged or not _fits(row.kind, reader.meta("factory"), count):
        return True
    changes = len(state.store.tail) + len(state.store.removed)
    return changes > (0 if row.vectors < _SMALL else _WORTH * row.vectors)


def _fits(kind: str, factory: str | None, count: int) -> bool:
    """Whether a file of this kind can stay; without a factory, one of an older default can."""
    if factory is not None:
        return factory == kind
    return (kind == "Flat") == (factory_for(count) == "Flat")


def complete(catalog: Catalog, state: SearchState) -> None:
    """Write the files that belong beside the current vector file, as far as they are due."""
    with catalog.exclusive(), catalog.reading() as reader:
        row = reader.vector_file()
        _sweep(catalog.folder, row)
        if row is None or row.vectors < MIN_LARGE:
            return
        if reader.posting_file_due():
            _write_posting_file(catalog.folder, reader, row)
        is_same = state.vector_file == row and not state.damaged
        if is_same and (state.moments is None or (state.rows is not None and state.rows.damaged)):
            _write_rows(catalog.folder, reader, row, state)


def write(
    catalog: Catalog,
    means: Calibration | None = None,
    facts: Mapping[str, Any] | None = None,
    *,
    adapted: bool = False,
) -> None:
    """Write a vector file from the catalog, and make it, with new means if given, current.

    `adapted`: their adapter is a new one, or none.
    """
    with catalog.exclusive():
        with catalog.reading() as reader:
            old = reader.vector_file()
            row = _written(catalog.folder, reader, means)
        with catalog.writing() as writer:
            if means is not None:
                writer.set_calibration(means, facts or {})
                if adapted:
                    writer.set_adapter(means.adapter)
            writer.set_vector_file(row)
        _clean(catalog.folder, old, row)


def names_of(row: VectorFile | None) -> list[str]:
    """The names of a vector file and of the files that may lie beside it."""
    if row is None:
        return []
    paths = (posting_path, row_path, verified_path)
    return [row.file, *(path(Path(row.file)).name for path in paths)]


def old_files(folder: Path, row: VectorFile | None) -> list[Path]:
    """The vector files in a folder that are not, or not beside, the current one."""
    keep = {*names_of(row)}
    return [path for path in folder.glob("vectors-*.faiss*") if path.name not in keep]


def sizes(folder: Path, row: VectorFile | None) -> dict[str, int]:
    """Bytes on disk of the catalog with its log, of the vector file, and of both."""
    catalog = sum(_size(path) for path in folder.glob(f"{CATALOG_FILE}*"))
    file = _size(folder / row.file) if row else 0
    return {"catalog": catalog, "snapshot": file, "total": catalog + file}


def _written(folder: Path, reader: Reader, means: Calibration | None) -> VectorFile | None:
    """Write the file of all chunks' vectors; None without vectors."""
    count = reader.count_vectors()
    if not count:
        return None
    means = means or reader.means()
    generation = reader.generation() + 1
    file = f"vectors-{generation:08d}.faiss"
    factory = reader.meta("factory")
    rows = None
    try:
        if count >= MIN_LARGE:
            exact = (factory or factory_for(count)) == "Flat"
            path = row_path(folder / file)
            rows = RowWriter(path, reader.dimension() or 0, rows=not exact)
        store = build_store(reader, means, factory, count, rows)
        if not len(store):  # the catalog has lost them: see `wva verify`
            if rows is not None:
                rows.abandon()
            return None
        size, sha256 = store.write(folder / file)
        if rows is not None:
            rows.finish(sha256)
    except BaseException as error:
        if rows is not None:
            rows.abandon()
        if not isinstance(error, OSError | RuntimeError):
            raise
        raise IndexStateError(
            f"{file} cannot be written in {folder} ({error}); the index is unharmed"
        ) from error  # RuntimeError: FAISS, when the sink fails
    row = VectorFile(generation, file, size, sha256, store.kind, count, int(store.ids[-1]))
    if count >= MIN_LARGE:
        _write_posting_file(folder, reader, row)
    return row


def _write_rows(folder: Path, reader: Reader, row: VectorFile, state: SearchState) -> None:
    """Write the row file of an older vector file, unless some of its chunks are gone."""
    base = state.store.base
    if base is None or len(state.store.removed):
        return
    path = row_path(folder / row.file)
    try:
        writer = RowWriter(path, state.store.tail.dimension, rows=base.exact_vectors is None)
        seen = 0
        for keys, _ in writer.passing(_of_base(reader, state, base.ids)):
            seen += len(keys)
        if seen == len(base):
            writer.finish(row.sha256)
        else:
            writer.abandon()
    except OSError as error:
        log.warning("the row file cannot be written in %s: %s", folder, error)


def _of_base(reader: Reader, state: SearchState, ids: Keys) -> Iterator[tuple[Keys, Vectors]]:
    """The blocks of the calibrated vectors that are in the vector file."""
    for keys, vectors in calibrated(reader, 0, state.calibration):
        known = np.isin(keys, ids)
        yield keys[known], vectors[known]
        if len(keys) and keys[-1] >= ids[-1]:
            return


def _write_posting_file(folder: Path, reader: Reader, row: VectorFile) -> None:
    """Write the posting file beside a vector file. Search is only slower without it."""
    try:
        reader.write_posting_file(folder / row.file, row.sha256)
    except OSError as error:
        log.warning("the posting file cannot be written in %s: %s", folder, error)


def _clean(folder: Path, *rows: VectorFile | None) -> None:
    """Remove all vector files but those of `rows`, with what a killed or failed writer left.

    A reader may still be about to open the previous one.
    """
    keep = {name for row in rows for name in names_of(row)}
    for path in folder.glob("vectors-*.faiss*"):
        if path.name not in keep:
            with suppress(OSError):  # Windows: still mapped by a reader
                path.unlink()


def _sweep(folder: Path, row: VectorFile | None) -> None:
    """Remove what a killed or failed writer left: half files, and files newer than the current."""
    current = "" if row is None else row.file
    for path in folder.glob("vectors-*.faiss*"):
        if path.suffix == ".tmp" or path.name.partition(".")[0] > current.partition(".")[0]:
            with suppress(OSError):
                path.unlink()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


__all__ = ["complete", "is_due", "names_of", "old_files", "sizes", "tail_is_long", "write"]
