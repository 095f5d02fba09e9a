"""The writer lock: a lock on a file, which the operating system releases if a process dies."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from retriever.files.private import file_mode
from retriever.types import IndexStateError

PATIENCE = 0.5  # seconds; `held_by_anyone` holds the lock for microseconds, a writer for long
_PAUSE = 0.01


class WriterLock:
    """The writer lock of one index, held by at most one object in all processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = _lock(path)

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._lock.is_locked

    def acquire(self, patience: float = PATIENCE) -> None:
        """Acquire the lock; IndexStateError if another writer holds it for `patience` seconds."""
        if self.held:
            return
        try:
            self._path.parent.stat()  # a missing folder is not created
            self._lock.acquire(timeout=patience, poll_interval=_PAUSE)
        except Timeout:
            raise writing_elsewhere(self._path.parent) from None
        except OSError as error:
            raise IndexStateError(
                f"the index in {self._path.parent} cannot be written to: {error.strerror}; "
                "check the folder's permissions"
            ) from error

    def release(self) -> None:
        """Release the lock, if it is held."""
        self._lock.release(force=True)

    def held_by_anyone(self) -> bool:
        """Whether some process holds the lock.

        The check acquires the lock for a moment; a writer waits longer than that.
        """
        if self.held:
            return True
        if not self._path.exists():
            return False
        trial = _lock(self._path)
        try:
            trial.acquire(blocking=False)
        except Timeout:
            return True
        except OSError:  # without write permission this cannot be determined
            return False
        trial.release()
        return False


def writing_elsewhere(index: Path | str) -> IndexStateError:
    """The error for the second of two writers."""
    return IndexStateError(
        f"another process is writing to the index in {index}; "
        "wait until it has finished, or stop it"
    )


def _lock(path: Path) -> FileLock:
    """A file lock that one thread may acquire and another release."""
    return FileLock(path, mode=file_mode(path.parent), thread_local=False)


__all__ = ["WriterLock", "writing_elsewhere"]
