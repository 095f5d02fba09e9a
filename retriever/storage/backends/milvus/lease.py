"""The lease of the one writer: a record with its owner and the time at which it ends.

The owner renews it while it writes. A process that is killed leaves a lease that another one takes
over at once on the same machine, and elsewhere when it ends. Milvus has no locks: of two that take
it at the same moment the last one to write has it, and the other finds that out by reading again.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from retriever.storage.backends.milvus.client import Connection
from retriever.storage.backends.milvus.records import Record, Records
from retriever.storage.catalog.lock import writing_elsewhere
from retriever.types import IndexStateError

LEASE = "lease"
"""The id of the record."""

DURATION = 60.0
"""Seconds for which it holds."""
RENEWAL = 15.0
"""Seconds after which it is renewed."""
PATIENCE = 0.5
"""Seconds for which a writer waits for another one by default."""
_PAUSE = 0.1
_SETTLING = 0.2  # seconds in which another's write to a server arrives

_own: set[str] = set()  # the owners of leases that this process holds


@dataclass(frozen=True, slots=True)
class Claim:
    """What the record says; `ends` is in seconds since 1970."""

    owner: str
    host: str
    process: int
    ends: float

    def record(self) -> Record:
        """As it is stored."""
        return Record(LEASE, json.dumps([self.owner, self.host, self.process, self.ends]))


class Lease:
    """The lease of one index, for one writer; threads may share it."""

    def __init__(
        self,
        connection: Connection,
        records: Records,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection = connection
        self._records = records
        self._clock = clock
        self._sleep = sleep
        self.owner = uuid.uuid4().hex
        self._ends = 0.0  # 0 if it is not held
        self._lost = False  # to another process, which its owner does not know yet
        self._lock = threading.RLock()
        self._stop: threading.Event | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._ends > 0

    def acquire(self, patience: float = PATIENCE) -> bool:
        """Take it; whether it was not held before.

        Raises IndexStateError if another process has it for so many seconds, or has had it since
        this object took it.
        """
        with self._lock:
            if self._lost:
                self._lost = False
                raise writing_elsewhere(self._connection.address.text)
            if self.held:
                self._keep()
                return False
            until = self._clock() + patience
            while not self._taken():
                if self._clock() >= until:
                    raise writing_elsewhere(self._connection.address.text)
                self._sleep(_PAUSE)
            _own.add(self.owner)
            self._begin_renewing()
            return True

    def release(self) -> None:
        """Give it back, if it is held."""
        with self._lock:
            self._lost = False
            if not self.held:
                return
            self._end()
            found = self._found()
            if found is not None and found.owner == self.owner:
                self._records.delete([LEASE])

    def abandon(self) -> None:
        """As `release`, where the server may be away: the record may stay until it ends."""
        with suppress(IndexStateError):
            self.release()

    def held_by_anyone(self) -> bool:
        """Whether some process writes."""
        return self.held or self._is_alive(self._found())

    def _taken(self) -> bool:
        if self._is_alive(self._found()):
            return False
        ends = self._write()
        if not self._connection.address.is_lite:
            self._sleep(_SETTLING)
        found = self._found()
        if found is None or found.owner != self.owner:
            return False
        self._ends = ends
        return True

    def _write(self) -> float:
        ends = self._clock() + DURATION
        self._records.put([Claim(self.owner, socket.gethostname(), os.getpid(), ends).record()])
        return ends

    def _keep(self) -> None:
        """Renew it if it is about to end; IndexStateError if another process has taken it."""
        if self._clock() < self._ends - DURATION + RENEWAL:
            return
        found = self._found()
        if found is None or found.owner != self.owner:
            self._end()
            raise writing_elsewhere(self._connection.address.text)
        self._ends = self._write()

    def _found(self) -> Claim | None:
        value = self._records.value(LEASE)
        return None if value is None else Claim(*json.loads(value))

    def _is_alive(self, claim: Claim | None) -> bool:
        """Whether the owner of a lease may still write."""
        if claim is None or claim.owner == self.owner or claim.ends <= self._clock():
            return False
        if claim.process == os.getpid() and claim.host == socket.gethostname():
            return claim.owner in _own
        # One process has Milvus Lite at a time: it is this one.
        if self._connection.address.is_lite:
            return False
        return claim.host != socket.gethostname() or _runs(claim.process)

    def _end(self) -> None:
        self._ends = 0.0
        _own.discard(self.owner)
        if self._stop is not None:
            self._stop.set()
            self._stop = None

    def _begin_renewing(self) -> None:
        if self._connection.address.is_lite:
            return
        self._stop = threading.Event()
        threading.Thread(
            target=self._renew, args=(self._stop,), name="lease of an index", daemon=True
        ).start()

    def _renew(self, stop: threading.Event) -> None:
        while not stop.wait(RENEWAL):
            with self._lock:
                if stop.is_set():
                    return
                # What fails here fails again, and is told, at the next write.
                with suppress(IndexStateError):
                    self._keep()
                self._lost = not self.held


def check_token(records: Records, token: str, where: str) -> None:
    """Raise IndexStateError unless the lease belongs to the owner with this token."""
    value = records.value(LEASE)
    if value is None or Claim(*json.loads(value)).owner != token:
        raise IndexStateError(
            f"the run that this worker belongs to no longer writes to {where}; start it again"
        )


def _runs(process: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


__all__ = ["DURATION", "LEASE", "PATIENCE", "RENEWAL", "Claim", "Lease", "check_token"]
