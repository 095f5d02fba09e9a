"""The repair of an index: what is damaged is turned back, derived again, or read again.

In this order: rows that can be read of a torn database; single bits, by the rows' hashes; terms
and vector files from what is stored; passages from their pages; documents from their files; vectors
by the model. Each step is a transaction, so that a repair which is killed can be run again. What is
in none of these is gone, and is named.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from retriever.embedding.protocols import Embedder
from retriever.indexing.ingest import Ingest, limit_chunking
from retriever.settings import ChunkSettings
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.backends.verifying import VECTOR_FILE, VerifyReport, verify
from retriever.storage.catalog import CATALOG_FILE, Catalog, Reader, checked, fulltext, seals
from retriever.storage.catalog.mending import Mended, mend_rows
from retriever.storage.catalog.salvage import OLD, SUFFIX, Salvaged, finish, salvage
from retriever.storage.catalog.schema import ADAPTER
from retriever.storage.catalog.verifying import DERIVED, CatalogCheck, Told
from retriever.types import (
    Account,
    Document,
    DocumentRow,
    IndexStateError,
    LeftOut,
    Page,
    PageState,
    document_id,
)

Sync = Callable[[Sequence[str], bool], object]
"""Reads files again, or with True makes the vectors that are missing."""


_UNMISSED = frozenset({"documents", "indexed_keys", "meta"})
"""The tables whose rows no other table names."""


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair did.

    - `before`, `after`: what was found before and after it.
    - `mended`: what was done, in sentences; `gone`: what could not be brought back.
    - `aside`: the file that holds the old database, if it had to be copied; else empty.
    """

    before: VerifyReport
    after: VerifyReport
    mended: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    aside: str = ""

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        reports = {"before": self.before.to_json(), "after": self.after.to_json()}
        return {**asdict(self), **reports}


@dataclass(slots=True)
class Repair:
    """One repair. `embedder` is loaded only where passages are cut or vectors made."""

    catalog: Catalog
    backend: EmbeddedBackend
    embedder: Callable[[], Embedder]
    sync: Sync
    told: Told
    _mended: list[str] = field(default_factory=list)
    _gone: list[str] = field(default_factory=list)
    _changed: bool = False

    def run(self, before: VerifyReport, torn: Salvaged | None = None) -> RepairReport:
        """Mend what `before` found. `torn` is the database from which rows were copied before."""
        aside = "" if torn is None else torn.aside.name
        if torn is not None:
            self._mended.append(
                f"the rows that could be read were copied; the old file is {aside}, which "
                "wva compact removes"
            )
        # What is missing of other tables is missed by the documents.
        lost = () if torn is None else _UNMISSED.intersection(torn.incomplete)
        if lost:
            self._gone.append(
                f"what stood in the unreadable parts of the tables {', '.join(sorted(lost))}; "
                "index your folders again: documents that are missing are then there again"
            )
        self._rows(before)
        self._documents()
        self._rest(before)
        after = verify(self.catalog, self.told)
        return RepairReport(before, after, tuple(self._mended), tuple(self._gone), aside)

    # Rows

    def _rows(self, before: VerifyReport) -> None:
        parts = {finding.part for finding in before.findings}
        with self.catalog.writing() as writer:
            found = mend_rows(writer)
            if parts & {DERIVED, "lengths", "long_words"} or found.rows:
                fulltext.rebuild(writer.connection)
                self._changed = True
            if parts & {"metadata"}:
                _write_metadata(writer)
            writer.connection.execute("DELETE FROM seals WHERE kind = ?", (seals.SCHEMA,))
            if parts & {VECTOR_FILE, "snapshots", "removed", "attached"} or found.lost_vectors:
                writer.set_vector_file(None)
                self._changed = True
        while self.catalog.seal():
            pass
        self._tell(found)

    def _tell(self, found: Mended) -> None:
        if found.rows:
            self._mended.append(f"{found.rows} damaged row(s) restored exactly")
        if found.lost_vectors:
            self._mended.append(f"{found.lost_vectors} vector(s) dropped, to be made again")
        if found.lost_means:
            self._mended.append("the means of the vectors dropped, to be fitted again")
        self._gone += [
            "the adapter of the index; wva tune INDEX --adapter makes another one"
            if name == ADAPTER
            else f"the setting {name!r} of the index; restore a backup, or index the files again "
            "in another folder"
            for name in found.lost_settings
        ]

    # Documents

    def _damaged(self) -> set[int]:
        with self.catalog.reading() as reader:
            check = CatalogCheck(reader, self.told)
            check.run(derived=False)
            return {one.owner for one in check.findings.found if isinstance(one.owner, int)}

    def _documents(self) -> None:
        """Cut passages again from their pages, and read files again whose pages are damaged."""
        damaged = self._damaged()
        if not damaged:
            return
        self._changed = True
        left = {owner for owner in damaged if not self._rewritten(owner, whole=True)}
        if left:
            self._read_again(left)
            left &= self._damaged()
        for owner in left:
            if not self._rewritten(owner, whole=False):
                self._drop(owner)

    def _rewritten(self, owner: int, *, whole: bool) -> bool:
        """Write a document again from its row and pages; only if all pages are `whole`."""
        with self.catalog.reading() as reader:
            known = _stored(reader, owner)
            foreign = seals.is_foreign(reader.connection)
            chunking = reader.chunk_settings() or ChunkSettings()
        if known is None or foreign or not known.pages or (whole and known.lost):
            return False
        embedder = self.embedder()
        ingest = Ingest(self.backend, embedder, limit_chunking(chunking, embedder))
        ingest.add(known.row, known.document)
        ingest.write()
        if known.lost:
            # The next run reads the file if there is one, whatever its time says.
            self.backend.touch(replace(known.row, sha256="", mtime_ns=0))
            self._gone.append(f"{known.row.path}: {known.lost} page(s)")
        else:
            self._mended.append(f"{known.row.path}: its passages were cut again from its pages")
        return True

    def _read_again(self, owners: set[int]) -> None:
        """Read the files of documents again, those that are there."""
        with self.catalog.reading() as reader:
            rows = {owner: row for owner in owners if (row := _row(reader, owner))}
        files = {owner: file for owner, row in rows.items() if (file := _place(row))}
        if not files:
            return
        self.sync([str(file) for file in files.values()], False)
        self._mended += [f"{file}: read again" for file in files.values()]
        stale = self._damaged() & files.keys()
        with self.catalog.writing() as writer:
            for owner in stale:  # the new document has another key
                _delete(writer, owner)

    def _drop(self, owner: int) -> None:
        with self.catalog.writing() as writer:
            row = _row(writer, owner)
            name = checked.name_of(row) if row else f"document {owner}"
            _delete(writer, owner)
        self._gone.append(f"{name}: the whole document; wva index reads its file if there is one")

    # The rest

    def _rest(self, before: VerifyReport) -> None:
        with self.catalog.reading() as reader:
            pending = reader.count_pending()
            facts = reader.calibration_facts()
            # Means without a corpus are those that a run which was killed had begun with.
            fitted = (facts is not None and "corpus" in facts) or not reader.count_vectors()
            foreign = seals.is_foreign(reader.connection)
            report = reader.last_run() or {}
        if foreign and pending:
            self._gone.append(f"{pending} vector(s) that this program does not make: add the texts")
        elif pending or not fitted:
            self.sync([], True)
            self._mended.append("missing vectors were made, and the search fitted to them")
        if self._changed or not before.whole:
            self.backend.finish(report)


@dataclass(frozen=True, slots=True)
class _Stored:
    row: DocumentRow
    document: Document
    pages: int  # those that are whole
    lost: int


def _row(reader: Reader, owner: int) -> Sequence[Any] | None:
    return seals.row_of(reader.connection, seals.DOCUMENT, owner)


def _place(row: Sequence[Any]) -> Path | None:
    """Where a document's file is; None if it has none, or that is not known.

    The id of a document is a hash of its path: a file with this id is found by trying.
    """
    try:
        id_, source, root, path = (part.decode("utf-8", "surrogatepass") for part in row[1:5])
    except (AttributeError, ValueError):
        return None
    if not root:
        return None
    found = Path(root, path)
    with suppress(OSError, ValueError):
        if document_id(source, path) == id_:
            return found if found.is_file() else None
        for folder, _, names in os.walk(root):
            for name in names:
                file = Path(folder, name)
                if document_id(source, file.relative_to(root).as_posix()) == id_:
                    return file
        return found if found.is_file() else None
    return None


def _stored(reader: Reader, owner: int) -> _Stored | None:
    """A document as far as it is whole; None if its own row is not."""
    seal, join = reader._seal(seals.DOCUMENT, "d")
    row = reader.connection.execute(
        f"SELECT {seals.DOCUMENT.select('d')}, {seal} FROM documents d {join} WHERE d.key = ?",
        (owner,),
    ).fetchone()
    if row is None:
        return None
    try:
        known = checked.document(row)
    except checked.DamagedRowError:
        return None
    pages: list[Page] = reader.pages(known.id)
    lost = sum(
        page.state is PageState.FAILED and page.reason == checked.PAGE_GONE for page in pages
    )
    lost += max(0, known.pages - len(pages))
    account: Account | None = None
    left_out: tuple[LeftOut, ...] = ()
    with suppress(Exception):  # the account is not worth the document
        account = reader.accounts().get(known.id)
        left_out = reader.left_out(known.id).parts
    document = Document(
        *(known.path, known.format, tuple(pages), known.title, known.author, known.date),
        metadata=known.metadata,
        left_out=left_out,
        account=account,
    )
    return _Stored(known, document, len(pages) - lost, lost)


def _delete(writer: Any, owner: int) -> None:
    """Remove a document by its key, whatever its row says."""
    # A trigger deletes the account with the document's row, which may be lost.
    writer.connection.execute("DELETE FROM accounts WHERE document = ?", (owner,))
    writer.delete_by_key(owner)


def _write_metadata(writer: Any) -> None:
    """Write the values that filters compare again, from the documents' rows."""
    from retriever.storage.catalog.schema import metadata_rows

    connection = writer.connection
    connection.execute("DELETE FROM metadata")
    rows = connection.execute(f"SELECT {seals.DOCUMENT.select('d')} FROM documents d").fetchall()
    for row in rows:
        with suppress(checked.DamagedRowError):
            found = checked.document((*row, None))
            connection.executemany(
                "INSERT INTO metadata VALUES (?, ?, ?, ?)",
                ((row[0], *entry) for entry in metadata_rows(found.metadata)),
            )


def finish_salvage(folder: Path) -> None:
    """Complete or undo a `salvaged` that was killed."""
    path = folder.absolute() / CATALOG_FILE
    if any(path.with_name(f"{path.name}{ending}").exists() for ending in (SUFFIX, OLD)):
        with closing(Catalog(folder.absolute())) as catalog, catalog.exclusive():
            finish(path)


def salvaged(folder: Path) -> Salvaged:
    """Copy the rows of a database that is torn into a new file."""
    catalog = Catalog(folder.absolute())
    path = catalog.folder / CATALOG_FILE
    try:
        with catalog.exclusive():
            return salvage(path)
    except sqlite3.Error as error:
        raise IndexStateError(
            f"nothing can be read of {path} ({error}); build the index again in another folder"
        ) from error
    finally:
        catalog.close()


__all__ = ["Repair", "RepairReport", "finish_salvage", "salvaged"]
