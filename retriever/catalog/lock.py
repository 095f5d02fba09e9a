"""One writer at a time: a lock on a file, which the operating system drops when a process dies."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from retriever.types import IndexStateError

_PATIENCE = 0.5  # seconds: an observer holds the lock for microseconds, a writer for long
_PAUSE = 0.01


class WriterLock:
    """The right to write to one index, held by at most one object of all processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._handle is not None

    def acquire(self, patience: float = _PATIENCE) -> None:
        """Take the lock, or raise IndexStateError when another writer has it so many seconds."""
        if self._handle is not None:
            return
        handle = self._open()
        deadline = time.monotonic() + patience
        while not _locked(handle):
            if time.monotonic() > deadline:
                os.close(handle)
                raise IndexStateError(
                    f"another process is writing to the index in {self._path.parent}; "
                    "wait until it has finished, or stop it"
                )
            time.sleep(_PAUSE)
        self._handle = handle

    def release(self) -> None:
        """Give the lock back; without effect when it is not held."""
        if self._handle is not None:
            os.close(self._handle)  # closing is what unlocks
            self._handle = None

    def held_by_anyone(self) -> bool:
        """Whether some process is writing now."""
        if self._handle is not None:
            return True
        try:
            handle = os.open(self._path, os.O_RDWR)
        except OSError:
            return False
        try:
            return not _locked(handle)
        finally:
            os.close(handle)

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise IndexStateError(
                f"the index in {self._path.parent} cannot be written to: {error.strerror}; "
                "check the folder's permissions"
            ) from error


if sys.platform == "win32":  # pragma: no cover - the tests run on POSIX systems
    import msvcrt

    def _locked(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _locked(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


__all__ = ["WriterLock"]
