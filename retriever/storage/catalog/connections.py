"""`Catalog`: opens the SQLite file and its transactions, for any number of threads."""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
import threading
import time
import uuid
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self

from retriever.files.durable import make_folder, rename
from retriever.files.layout import (
    CATALOG_FILE,
    LOCK_FILE,
    NEW_CATALOG,
    is_part,
    kind_of,
    unreachable,
)
from retriever.files.private import open_private, tighten
from retriever.storage.catalog import filter_sql, foreign, forms, fulltext, schema, seals
from retriever.storage.catalog.adapter_cache import AdapterCache
from retriever.storage.catalog.checked import REMEDY, Damage
from retriever.storage.catalog.id_cache import IdCaches
from retriever.storage.catalog.lock import WriterLock
from retriever.storage.catalog.postings import OCCURRENCES, Postings
from retriever.storage.catalog.reading import Reader
from retriever.storage.catalog.writing import Writer
from retriever.text.globs import glob_matches
from retriever.types import IndexStateError, UsageError

log = logging.getLogger(__name__)

_PATIENCE = 30.0  # seconds for SQLite's own short locks: a checkpoint, the first opening
_CHECKPOINT_PATIENCE = 0.2
_MAKING_PATIENCE = 1.0  # for another process that is creating the index
_MAKING_PAUSE = 0.01
_UPGRADE_PATIENCE = 5.0  # for another process that is upgrading the index
_WAL_PAGES = 256  # 8 MiB: the size of the write-ahead log at which a checkpoint runs
_CACHE = 32  # MiB of page cache per connection: a query reads hundreds of scattered vectors

_TOO_LARGE = re.compile("parser stack overflow|Expression tree is too large")
_OTHER_TABLES = re.compile(r"no such (table|column)|has \d+ columns but|has no column")
"""SQLite's messages about tables of another schema."""

_SPOILT = (ArithmeticError, *forms.UNDECODED)
"""What the use of a damaged row raises."""

_FileIdentity = tuple[int, ...]
"""Device and inode, since another file under the same name is another index.

In a folder that this process cannot write to, it includes what a writer changes: see
`Catalog._file_identity`.
"""


class Catalog:
    """The database of one index folder. Safe to use from many threads.

    Readers use connections of a pool. The first write opens the writer's connection and acquires
    the writer lock; both are kept until `release` or `close`.
    """

    def __init__(self, folder: Path, *, read_only: bool = False, durable: bool = True) -> None:
        self.folder = folder
        self._synchronous = "FULL" if durable else "OFF"
        self.path = folder / CATALOG_FILE
        self.read_only = read_only
        self._lock = WriterLock(folder / LOCK_FILE)
        self._writing = threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._pool: deque[tuple[_FileIdentity, sqlite3.Connection]] = deque()
        self._postings = Postings(folder)
        self._ids = IdCaches()
        self._adapters = AdapterCache()
        self._damage = Damage(str(folder))
        self._closed = False

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        create: bool = False,
        read_only: bool = False,
        durable: bool = True,
    ) -> Self:
        """Open the catalog in `folder`; `create` makes one if the folder is missing or empty.

        What is not `durable` may be lost in a power failure, but not when the process is killed.
        Raises IndexStateError if the folder is not an index of this program.
        """
        _check_sqlite()
        if create and not read_only:
            _create(folder)
        _check_folder(folder)
        catalog = cls(folder.absolute(), read_only=read_only, durable=durable)
        try:
            with catalog._translated_errors():
                catalog._give_back(*catalog._take())
        except BaseException:
            catalog.close()
            raise
        return catalog

    @property
    def being_written(self) -> bool:
        """Whether this or another process holds the writer lock."""
        return self._lock.held_by_anyone()

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """A read transaction: a consistent state, whatever is committed meanwhile."""
        with self._translated_errors():
            identity, connection = self._take()
            try:
                connection.execute("BEGIN")
                yield Reader(*(connection, self._postings, self._ids, self._damage, self._adapters))
                if self._is_immutable(identity) and self._file_identity()[:-1] != identity[:-1]:
                    raise IndexStateError(
                        f"another process has written to the index in {self.folder} while it was "
                        "read; try again"
                    )
            except _SPOILT as error:
                # The work of the block failed: that is either a fault of it, or of the rows.
                if not self._is_damaged(connection):
                    raise
                raise IndexStateError(_error_message(self.folder, error)) from error
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._give_back(identity, connection)

    def _is_damaged(self, connection: sqlite3.Connection) -> bool:
        from retriever.storage.catalog.verifying import is_damaged

        return is_damaged(connection)

    @contextmanager
    def writing(self, *, visible: bool = True) -> Iterator[Writer]:
        """A write transaction, committed durably at the end, or rolled back after an error.

        `visible` increments the generation.
        """
        with self.exclusive(), self._translated_errors():
            connection = self._writer_connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                _add_seals(connection)
                writer = Writer(connection)
                yield writer
                if visible:
                    writer.bump_generation()
                seals.seal(connection)
                schema.number_format(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def seal(self) -> bool:
        """Seal some rows of an older index; returns whether there may be more."""
        with self.writing(visible=False) as writer:
            return seals.seal(writer.connection) >= seals.BACKLOG

    @contextmanager
    def maintaining(self) -> Iterator[sqlite3.Connection]:
        """The writer's connection without a transaction, under the writer lock."""
        with self.exclusive(), self._translated_errors():
            yield self._writer_connection()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the writer lock over several transactions."""
        if self.read_only:
            raise IndexStateError(f"the index in {self.folder} was opened for reading only")
        with self._writing:
            self._check_open()
            self._lock.acquire()
            yield

    def acquire(self, seconds: float) -> None:
        """Acquire the writer lock, which a change would do; wait for another process so long."""
        with self._writing:
            self._check_open()
            self._lock.acquire(seconds)

    def release(self, *, checkpoint: bool = True) -> None:
        """Release the writer lock, after a checkpoint of the write-ahead log if wanted."""
        with self._writing:
            if self._writer is not None and checkpoint:
                with suppress(sqlite3.Error):  # a reader may block it: the next checkpoint will do
                    self._writer.execute(f"PRAGMA busy_timeout = {int(_CHECKPOINT_PATIENCE * 1e3)}")
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self._lock.release()

    def close(self) -> None:
        """Close all connections; those in use are closed on their return to the pool."""
        with self._writing:
            self._closed = True
            self.release()
            while self._pool:
                self._pool.popleft()[1].close()

    # Connections

    def _check_open(self) -> None:
        if self._closed:
            raise IndexStateError(f"the index in {self.folder} was closed; open it again")

    def _file_identity(self) -> _FileIdentity:
        try:
            status = self.path.stat()
        except PermissionError as error:
            raise unreachable(self.path, error) from error
        except OSError as error:
            raise IndexStateError(
                f"the index in {self.folder} is gone: {error.strerror}; build it again"
            ) from error
        if self._unwritable:
            log = self.path.with_name(f"{CATALOG_FILE}-wal").exists()
            return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, log
        return status.st_dev, status.st_ino

    def _is_immutable(self, identity: _FileIdentity) -> bool:
        """Whether a connection to this identity was opened with `immutable=1`."""
        return self._unwritable and not identity[-1]

    @property
    def _unwritable(self) -> bool:
        """Whether the folder is not writable, so that SQLite cannot share memory with a writer."""
        return not os.access(self.folder, os.W_OK)

    def _take(self) -> tuple[_FileIdentity, sqlite3.Connection]:
        self._check_open()
        identity = self._file_identity()
        with suppress(IndexError):
            while True:
                pooled, connection = self._pool.pop()
                if pooled == identity:
                    return identity, connection
                connection.close()  # the index was built anew under the same name
        return identity, self._connect(writable=False)

    def _give_back(self, identity: _FileIdentity, connection: sqlite3.Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._pool.append((identity, connection))

    def _writer_connection(self) -> sqlite3.Connection:
        if self._writer is None:
            tighten(self.folder, is_part)
            _remove_unfinished(self.folder)
            self._writer = self._connect(writable=True)
        return self._writer

    def _connect(self, *, writable: bool) -> sqlite3.Connection:
        mode = "mode=rw"
        if not writable and self._unwritable:
            # Without a log there is no writer; a later one changes the file's identity.
            mode = (
                "mode=ro"
                if self.path.with_name(CATALOG_FILE + "-wal").exists()
                else ("mode=ro&immutable=1")
            )
        foreign.check_entries(self.folder)
        connection = _connection(self.path, mode)
        try:
            _check_ours(connection, self.folder)
            foreign.check_schema(connection, self.folder)
            self._upgrade(connection)
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
            connection.execute(f"PRAGMA cache_size = {-1024 * _CACHE}")  # negative: in KiB
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA secure_delete = ON")  # what is deleted becomes zeros
            connection.execute(OCCURRENCES)
            if not writable:
                connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _upgrade(self, connection: sqlite3.Connection) -> None:
        """Upgrade an index of an older format, or with terms of another analyzer version.

        This needs the writer lock: a writer of the older version would go on writing its format.
        """
        if _is_current(connection):
            return
        lock = WriterLock(self.folder / LOCK_FILE)
        try:
            if not self._lock.held:
                lock.acquire(_UPGRADE_PATIENCE)
            _upgrade(connection, self.folder)
        except IndexStateError as error:
            if not _is_current(connection):  # another process may have been faster
                raise IndexStateError(
                    "the index was made by an older version of wva-retriever and cannot be "
                    f"brought up to date: {error}"
                ) from error
        finally:
            lock.release()

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Turn SQLite's errors into IndexStateErrors with a sentence for the user.

        That a filter is too large for SQLite is no fault of the index: it is a UsageError.
        """
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError, json.JSONDecodeError, zlib.error) as error:
            if _TOO_LARGE.search(str(error)):
                raise UsageError(
                    "the filter has too many conditions or is nested too deep for SQLite; write it "
                    'shorter, for example with {"in": […]}'
                ) from error
            self._file_identity()  # that the index was deleted meanwhile says more
            raise IndexStateError(_error_message(self.folder, error)) from error


def _connection(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,  # one thread at a time uses it: see the pool
        timeout=_PATIENCE,
    )
    foreign.harden(connection)
    # A text that is no UTF-8 any more disagrees with its seal: that is found row by row.
    connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
    connection.create_function("path_glob", 2, _sql_glob, deterministic=True)
    connection.create_function(filter_sql.HOLDS, 2, filter_sql.holds, deterministic=True)
    return connection


def _sql_glob(pattern: bytes, path: bytes | None) -> bool:
    return path is not None and glob_matches(schema.unblob(pattern), schema.unblob(path))


def _create(folder: Path) -> None:
    """Create the folder and an empty catalog, unless they exist.

    The catalog gets its name when it is complete. The writer lock is held until then, so there is
    no other process that makes one.
    """
    if kind_of(folder) == "file":
        raise IndexStateError(f"{folder} is a file; an index is a folder, so name another one")
    if not kind_of(folder / CATALOG_FILE):
        _check_free(folder)
        try:
            make_folder(folder)
        except OSError as error:
            raise _unmade(folder, error) from error
        foreign.check_entries(folder)
        lock = WriterLock(folder / LOCK_FILE)
        try:
            _acquire_for_making(lock, folder)
            if not kind_of(folder / CATALOG_FILE):
                _make_catalog(folder)
        except OSError as error:
            raise _unmade(folder, error) from error
        except sqlite3.Error as error:
            raise IndexStateError(_error_message(folder, error)) from error
        finally:
            lock.release()
    _complete(folder)


def _unmade(folder: Path, error: OSError) -> IndexStateError:
    return IndexStateError(
        f"no index can be made in {folder} ({error.strerror or error}); check its permissions, or "
        "choose another folder"
    )


def _check_free(folder: Path) -> None:
    """Raise IndexStateError if there is a folder that holds something else."""
    try:
        entries = [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreachable(folder, error) from error
    others = sorted(name for name in entries if not (name.startswith(".") or is_part(name)))
    if others:
        raise IndexStateError(
            f"{folder} holds other files ({others[0]}) and no index; choose an empty folder"
        )


def _acquire_for_making(lock: WriterLock, folder: Path) -> None:
    """Acquire the writer lock, or wait until the process that holds it has made the catalog."""
    deadline = time.monotonic() + _UPGRADE_PATIENCE
    while True:
        try:
            lock.acquire(_MAKING_PAUSE)
        except IndexStateError as error:
            if kind_of(folder / CATALOG_FILE):
                return
            if error.__cause__ is not None or time.monotonic() > deadline:
                raise
        else:
            return


def _make_catalog(folder: Path) -> None:
    """Make an empty catalog under another name first; the caller holds the writer lock."""
    scratch = folder / NEW_CATALOG
    _remove_unfinished(folder)
    open_private(scratch, new=True).close()  # SQLite gives the files beside it the same mode
    with closing(_connection(scratch, "mode=rw")) as connection:
        _write_schema(connection)
    rename(scratch, folder / CATALOG_FILE)


def _complete(folder: Path) -> None:
    """Write the tables into a catalog without any: a version that makes it in place was killed."""
    try:
        with closing(_connection(folder / CATALOG_FILE, "mode=rw")) as connection:
            _write_schema(connection)
    except sqlite3.Error as error:
        raise IndexStateError(_error_message(folder, error)) from error


def _remove_unfinished(folder: Path) -> None:
    """Remove what a killed process has not finished; the caller holds the writer lock."""
    for pattern in (f"{NEW_CATALOG}*", "vectors-*.faiss*.tmp", "etilqs_*"):  # the last: SQLite's
        for path in folder.glob(pattern):
            with suppress(OSError):
                path.unlink()


def _write_schema(connection: sqlite3.Connection) -> None:
    if _holds_tables(connection):
        return
    connection.execute(f"PRAGMA page_size = {schema.PAGE_SIZE}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _holds_tables(connection):  # another process may have been faster
            schema.create(connection, uuid.uuid4().hex)
            fulltext.record_version(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _add_seals(connection: sqlite3.Connection) -> None:
    """Add what the rows of an index of an earlier version need to be sealed."""
    if not seals.has_seals(connection):
        schema.add_columns(connection)
        schema.add_accounts(connection)
        seals.install(connection)


def _holds_tables(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0])


def _check_folder(folder: Path) -> None:
    """Raise IndexStateError if there is no catalog; one that is being made is waited for."""
    kind = kind_of(folder)
    if not kind:
        raise IndexStateError(
            f"there is no index in {folder}; make one with: wva index PATH --index {folder}"
        )
    if kind == "file":
        raise IndexStateError(f"{folder} is a file; an index is a folder")
    deadline = time.monotonic() + _MAKING_PATIENCE
    while kind_of(folder / CATALOG_FILE) != "file":
        # Looked at again: the process may have made it, and let the lock go, between both looks.
        if not _is_being_made(folder) and kind_of(folder / CATALOG_FILE) != "file":
            raise IndexStateError(
                f"{folder} is not an index: it has no {CATALOG_FILE}; make one in another folder "
                "with: wva index PATH --index DIR"
            )
        if time.monotonic() > deadline:
            raise IndexStateError(
                f"there is no index in {folder} yet: another process is making it; try again"
            )
        time.sleep(_MAKING_PAUSE)


def _is_being_made(folder: Path) -> bool:
    """Whether a process is making a catalog: it makes the folder, and then holds the lock."""
    try:
        entries = {entry.name for entry in folder.iterdir()}
    except OSError:
        return False
    return bool(entries) and WriterLock(folder / LOCK_FILE).held_by_anyone()


def _check_ours(connection: sqlite3.Connection, folder: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    deadline = time.monotonic() + _MAKING_PATIENCE
    while application != schema.APPLICATION_ID and not _holds_tables(connection):
        if time.monotonic() > deadline:
            raise IndexStateError(
                f"{folder / CATALOG_FILE} is empty, and not an index yet: try again if another "
                "process is making it now, or else choose another folder"
            )
        time.sleep(_MAKING_PAUSE)
        application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != schema.APPLICATION_ID:
        raise IndexStateError(
            f"{folder / CATALOG_FILE} is not an index of this program; choose another folder"
        )
    refused = schema.refusal(connection, fulltext.VERSION)
    if refused:
        raise IndexStateError(
            f"the index in {folder} was made by a newer version of wva-retriever: it {refused}, or "
            "build the index again in another folder"
        )


def _upgrade(connection: sqlite3.Connection, folder: Path) -> None:
    """Bring tables and terms to this version, in one transaction."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        if not _is_current(connection):  # another process may have been faster
            told = schema.told_before(connection.execute("PRAGMA user_version").fetchone()[0])
            if told:
                log.warning("the index in %s %s", folder, told)
            schema.upgrade(connection)
            if not fulltext.is_current(connection):
                fulltext.rebuild(connection)
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        raise IndexStateError(
            f"{folder} cannot be written ({error}); open it once where it can be"
        ) from error
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _is_current(connection: sqlite3.Connection) -> bool:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    known = version in (schema.VERSION, schema.HALF_MADE, schema.ADAPTED)
    return known and bool(fulltext.is_current(connection))


def _check_sqlite() -> None:
    if sqlite3.sqlite_version_info < (3, 35):  # pragma: no cover - UPSERT, RETURNING, maths
        raise IndexStateError(
            f"SQLite 3.35 or newer is needed; this Python has {sqlite3.sqlite_version}"
        )


def _error_message(folder: Path, error: Exception) -> str:
    text = str(error)
    if "locked" in text or "busy" in text:
        return f"another process is writing to the index in {folder}; try again when it is done"
    if "full" in text:
        return f"the disk with the index in {folder} is full; nothing was lost, free some space"
    if "readonly" in text or "unable to open" in text:
        return f"the index in {folder} cannot be opened: {text}; check the folder's permissions"
    if _OTHER_TABLES.search(text):
        return (
            f"another version of wva-retriever is using the index in {folder}; stop one of "
            "the two, and start this one again"
        )
    if "fts5" in text and "module" in text:
        return "this Python's SQLite lacks the full-text extension FTS5; use another build"
    return (
        f"the index in {folder} is damaged or not an index ({text}); mend it with: "
        f"{REMEDY} --index {folder}"
    )


__all__ = ["CATALOG_FILE", "LOCK_FILE", "Catalog"]
