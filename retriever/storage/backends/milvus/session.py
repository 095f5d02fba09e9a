"""`Session`: the writing of one process, from its first change to its end.

It holds the lease, the generation and the term dictionary. A mark is there from the first change to
the end: a session that finds one completes what another left, and makes the dictionary anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from retriever.storage.backends.milvus import refitting, statistics, sweeping, weights
from retriever.storage.backends.milvus.client import Row
from retriever.storage.backends.milvus.collections import Collections
from retriever.storage.backends.milvus.lease import PATIENCE, Lease, check_token
from retriever.storage.backends.milvus.reading import MilvusReader, means_to_json
from retriever.storage.backends.milvus.records import Record, Records
from retriever.storage.backends.milvus.rows import lengthened
from retriever.storage.backends.milvus.state import Generation, Settings, Shared
from retriever.storage.backends.milvus.vocabulary import TermDictionary
from retriever.storage.backends.milvus.writing import MilvusWriter
from retriever.storage.calibration import Calibration
from retriever.storage.catalog import fulltext
from retriever.types import IndexStateError, UsageError

ANALYSER = "analyser"
"""The setting with the version of the analyzer that made the terms."""

LOOSE = "loose"
"""The setting that some vectors may have no passage."""

_WORKED = "worked"  # the id of the record that workers wrote documents

_SHARE = 10
"""The dictionary is written again after so many times the time that it took."""


class SessionTerms:
    """The term dictionary, written now and then: it is as large as the vocabulary."""

    def __init__(self, dictionary: TermDictionary, clock: Callable[[], float]) -> None:
        self.dictionary = dictionary
        self._clock = clock
        self._due = 0.0
        self._changed = False

    def expect(self, rows: Sequence[Row]) -> None:
        """See `TermCounts.expect`."""
        self.dictionary.settle([int(row["length"]) for row in rows])

    def plus(self, rows: Sequence[Row]) -> None:
        """See `TermCounts.plus`."""
        self._changed = self._changed or bool(rows)
        self.dictionary.plus(rows)

    def minus(self, rows: Sequence[Row]) -> None:
        """See `TermCounts.minus`."""
        self._changed = self._changed or bool(rows)
        self.dictionary.minus(rows)

    def flush(self) -> None:
        """Write what was counted, if it is time."""
        if self._changed and (self.dictionary.is_due or self._clock() >= self._due):
            self.settle()

    def settle(self) -> bool:
        """Write what was counted; whether there was anything."""
        if not self._changed:
            return False
        started = self._clock()
        self.dictionary.flush()
        self._changed = False
        ended = self._clock()
        self._due = ended + _SHARE * (ended - started)
        return True


class _WorkerTerms:
    """A worker counts no terms, but notes that it wrote some: the dictionary is made anew then."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def expect(self, rows: Sequence[Row]) -> None: ...

    def plus(self, rows: Sequence[Row]) -> None: ...

    def minus(self, rows: Sequence[Row]) -> None: ...

    def flush(self) -> None:
        self._records.put([Record(_WORKED)])


class Session:
    """The writing of one process to one index; threads may share it.

    `worker` is the token of another process's session, under whose lease this one writes documents
    and vectors, and nothing else.
    """

    def __init__(
        self,
        collections: Collections,
        worker: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.collections = collections
        self.lease = Lease(collections.connection, collections.records)
        self.lock = threading.RLock()
        self._worker = worker
        self._clock = clock
        self._settings = Settings(collections.records)
        self._shared = Shared()
        self._generation: Generation | None = None  # known while the lease is held
        self._terms = self._new_terms()
        self._loose: set[str] = set()  # keys of vectors that may have no passage
        self._whole = True  # no change failed half-way
        self._sweeping = False
        self._marked = False
        self._anew = False  # the dictionary is to be made anew
        self._lent = False  # workers write, too
        self._refitted = False  # while workers wrote with the former means

    @property
    def is_worker(self) -> bool:
        """Whether it writes under the lease of another process."""
        return bool(self._worker)

    def _new_terms(self) -> SessionTerms:
        dictionary = TermDictionary(self.collections.connection, self.collections.index)
        return SessionTerms(dictionary, self._clock)

    def reader(self, *, searches: bool = False) -> MilvusReader:
        """A reader of the newest generation; one that `searches` gives up sooner."""
        collections = self.collections.for_searches() if searches else self.collections
        at = self._generation or Settings(collections.records).generation()
        shared = None if self._worker or self._lent else self._shared
        return MilvusReader(collections, at, shared)

    # Changes

    @contextmanager
    def change(self) -> Iterator[MilvusWriter]:
        """One change of documents or vectors."""
        with self.lock:
            self.begin()
            self._mark()
            writer = self._writer()
            try:
                yield writer
            except UsageError:  # found before anything is written
                raise
            except BaseException:
                self._whole = False
                raise
            finally:
                if writer.generation is not None:
                    self._generation = writer.generation

    def _writer(self) -> MilvusWriter:
        terms = _WorkerTerms(self.collections.records) if self._worker else self._terms
        generation = None if self._worker else self._generation
        return MilvusWriter(
            *(self.reader(), generation, terms, self._terms.dictionary.weigh, self._loose)
        )

    def put(self, values: Mapping[str, Any], *, visible: bool = True) -> None:
        """Store settings; those of `state.VISIBLE` begin a new generation."""
        with self.lock:
            self.begin()
            following = None
            if (visible or self._lent) and self._generation is not None:
                following = self._generation.next(documents=self._lent)
            self._settings.put(values, following)
            self._generation = following or self._generation

    def begin(self, patience: float = PATIENCE) -> None:
        """Take the lease, or as a worker check that its run still has it.

        What a former writer left is completed then. Raises IndexStateError if another process still
        writes after so many seconds.
        """
        with self.lock:
            if self._worker:
                check_token(
                    self.collections.records, self._worker, self.collections.connection.name
                )
                return
            if self.lease.acquire(patience):
                self._start()
            if not self._whole and not self._sweeping:
                self._sweeping = True
                try:
                    self._sweep()
                finally:
                    self._sweeping = False

    def _start(self) -> None:
        self._shared.clear()
        self._generation = self._settings.generation()
        self._terms = self._new_terms()
        self._loose.clear()
        self._marked = sweeping.is_dirty(self.collections)
        self._whole = not self._marked

    def _sweep(self) -> None:
        """Complete what was left by a change that failed, in any process."""
        self._shared.clear()
        self._generation = self._settings.generation()
        self._mark()
        self._anew = True
        self._terms = self._new_terms()
        writer = self._writer()
        sweeping.sweep(writer)
        self._generation = writer.generation
        refit = refitting.pending(self.collections)
        if refit is not None:
            self._refit(*refit)
        self._whole = True
        self.put({LOOSE: True})

    def _mark(self) -> None:
        if not self._marked and not self._worker:
            sweeping.mark(self.collections)
            self._marked = True
            self._renew_terms()

    def _renew_terms(self) -> None:
        """Make all terms anew if another version of the analyzer made them."""
        if self.reader().setting(ANALYSER) == fulltext.VERSION:
            return
        sweeping.analyse_again(self._writer(), self._terms.dictionary.weigh)
        self.put({ANALYSER: fulltext.VERSION})
        self._anew = True

    def refit(self, means: Calibration, facts: Mapping[str, Any]) -> None:
        """Use new means for all vectors."""
        with self.lock:
            self.begin()
            self._mark()
            try:
                refitting.begin(self.collections, means, facts)
                self._refit(means, facts)
                self._refitted = self._lent
            except BaseException:
                self._whole = False
                raise

    def _refit(self, means: Calibration, facts: Mapping[str, Any]) -> None:
        if self.reader().has_passages():
            statistics.forget(self.collections.records)
            refitting.rewrite(self.collections, means)
        self.put({"means": means_to_json(means), "calibration": dict(facts)})
        refitting.end(self.collections)

    def lend(self) -> str:
        """The token under which workers write, until the end of this session."""
        with self.lock:
            self.begin()
            self._mark()
            self._lent = True
            self._shared.clear()
            return self.lease.owner

    # The end

    def settle_terms(self) -> None:
        """Write what was counted of terms, so that searches of now know it."""
        with self.lock:
            if self.lease.held and self._whole and not self._lent and self._terms.settle():
                self._announce()

    def _announce(self, *, documents: bool = False) -> None:
        """Begin a generation."""
        if self._generation is not None:
            self._generation = self._generation.next(documents=documents)
            self._settings.put({}, self._generation)

    def settle(self) -> None:
        """Bring all that is derived of the passages up to date."""
        with self.lock:
            self.begin()
            has_passages = self.reader().has_passages()
            if self._lent:
                self._take_back()
            if self._anew and has_passages:
                self._terms = self._new_terms()
                self._rebuild()
            self._terms.settle()
            if has_passages and self._reweigh():
                self._rebuild()
            self._anew = False

    def summarise(self) -> None:
        """Let Milvus write what it holds in memory, and make the statistics of all vectors.

        Milvus Lite reads slowly what it has not written yet.
        """
        with self.lock:
            self.collections.flush()
            reader = self.reader()
            if reader.has_passages():
                statistics.refresh(reader, reader.count_vectors())

    def _take_back(self) -> None:
        """Take account of what workers wrote."""
        self._lent = False
        self._shared.clear()
        self._announce(documents=True)
        if self._refitted:
            statistics.forget(self.collections.records)
            refitting.rewrite(self.collections, self.reader().means())
            self._refitted = False
        if self.collections.records.value(_WORKED) is not None:
            self._anew = True
            self.put({LOOSE: True})
            self.collections.records.delete([_WORKED])

    def _rebuild(self) -> None:
        self._terms.dictionary.rebuild(self._readable)

    def _readable(self, rows: list[Row]) -> Sequence[Row]:
        """The rows that count, the long ones with their terms."""
        counted = [row for row, _ in self.reader().of_documents(rows)]
        return lengthened(self.collections.records, counted)

    def _reweigh(self) -> bool:
        """Make all weights anew if the mean length has changed much; whether it has."""
        passages, terms = self._terms.dictionary.totals()
        today = terms / passages if passages else 0.0
        if not weights.has_drifted(self.collections.records, today):
            return False
        index = self.collections.index
        weights.rewrite(self.collections.connection, index, today, self._readable)
        return True

    def drop_unused_vectors(self) -> None:
        """Delete vectors that no passage has, unless one still waits for its vector."""
        reader = self.reader()
        if not reader.has_passages() or reader.count_pending():
            return
        everything = bool(reader.setting(LOOSE))
        if everything or self._loose:
            sweeping.drop_unused_vectors(self.collections, None if everything else self._loose)
        self._loose.clear()
        if everything:
            self.put({LOOSE: None})

    def end(self) -> None:
        """End the session. What failed half-way is left to the next one, in any process."""
        with self.lock:
            if not self.lease.held:
                return
            if not self._whole:
                self.abandon()
                return
            try:
                self._end()
            except BaseException:
                self.abandon()
                raise

    def _end(self) -> None:
        if self._marked:
            self.settle()
            if self._loose and not self.reader().setting(LOOSE):
                self.put({LOOSE: True})
            sweeping.unmark(self.collections)
            self._marked = False
        self._generation = None
        self.lease.release()

    def abandon(self) -> None:
        """End the session where nothing more can be written."""
        with self.lock:
            self._generation = None
            self.lease.abandon()

    def close(self) -> None:
        """End the session, whatever can still be written."""
        with suppress(IndexStateError):
            self.end()
        self.abandon()


__all__ = ["ANALYSER", "LOOSE", "Session", "SessionTerms"]
