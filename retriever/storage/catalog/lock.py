"""One writer at a time: a lock on a file, which the operating system drops when a process dies."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from retriever.types import IndexStateError

_PATIENCE = 0.5  # seconds: an observer holds the lock for microseconds, a writer for long
_PAUSE = 0.01


class WriterLock:
    """The right to write to one index, held by at most one object of all processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = _lock(path)

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._lock.is_locked

    def acquire(self, patience: float = _PATIENCE) -> None:
        """Take the lock, or raise IndexStateError when another writer has it so many seconds."""
        if self.held:
            return
        try:
            self._path.parent.stat()  # a folder that is gone is not made again
            self._lock.acquire(timeout=patience, poll_interval=_PAUSE)
        except Timeout:
            raise writing_elsewhere(self._path.parent) from None
        except OSError as error:
            raise IndexStateError(
                f"the index in {self._path.parent} cannot be written to: {error.strerror}; "
                "check the folder's permissions"
            ) from error

    def release(self) -> None:
        """Give the lock back; without effect when it is not held."""
        self._lock.release(force=True)

    def held_by_anyone(self) -> bool:
        """Whether some process is writing now.

        The lock is tried for a moment; a writer that comes at that moment waits it out.
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
        except OSError:  # who may not write to it cannot be told
            return False
        trial.release()
        return False


def writing_elsewhere(index: Path | str) -> IndexStateError:
    """What is said to the second of two writers."""
    return IndexStateError(
        f"another process is writing to the index in {index}; "
        "wait until it has finished, or stop it"
    )


def _lock(path: Path) -> FileLock:
    """The lock on a file, not of one thread: what one thread acquires another may release."""
    return FileLock(path, mode=0o666, thread_local=False)


__all__ = ["WriterLock", "writing_elsewhere"]
