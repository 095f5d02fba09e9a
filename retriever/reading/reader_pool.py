"""Reads files in several processes at once; the documents come in the order of the files.

Each process belongs to one `FileReader` with its own limits, so a bad file costs only itself. The
files that are read ahead are bounded in number and size. The order makes what is written the same
whatever the number of processes.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from retriever.reading.options import ReadOptions
from retriever.reading.subprocess_reader import FileReader, Limits, Preparing
from retriever.types import Document

MAX_AHEAD = 256
"""Largest number of files that are read, or being read, ahead of the one that is taken next."""

MAX_BYTES_AHEAD = 32_000_000
"""Their largest size together, in bytes; each process may have one file in any case."""

POLL_SECONDS = 0.2
"""Seconds between two calls of `on_wait`."""


@dataclass(slots=True)
class ReadTask:
    """A file to be read; when `done` is set, its `document` or `error`, and what was `prepared`.

    `parts` is the number of its parts that have been started.
    """

    location: Path
    name: str
    size: int
    options: ReadOptions
    document: Document | None = None
    error: BaseException | None = None
    prepared: bytes = b""
    parts: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def result(self) -> Document:
        """The document. Raises ReadError if the file could not be read."""
        if self.error is not None:
            raise self.error
        assert self.document is not None  # noqa: S101 - set by the thread that read it
        return self.document


class ReaderPool:
    """Reads files with `count` processes, which are started as there are files for them."""

    def __init__(
        self, count: int, limits: Limits | None = None, preparing: Preparing | None = None
    ) -> None:
        self._readers = [FileReader(limits=limits, preparing=preparing) for _ in range(count)]
        self._threads: list[threading.Thread] = []
        self._tasks: queue.SimpleQueue[ReadTask | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def read(
        self, tasks: Iterable[ReadTask], on_wait: Callable[[ReadTask], None] = lambda task: None
    ) -> Iterator[ReadTask]:
        """Each task when it is done, in the given order.

        `on_wait` is called every moment while the next one is still being read.
        """
        waiting: deque[ReadTask] = deque()
        size, rest = 0, iter(tasks)
        following = next(rest, None)
        while waiting or following is not None:
            while following is not None and self._has_room(len(waiting), size + following.size):
                self._start_thread()
                self._tasks.put(following)
                waiting.append(following)
                size += following.size
                following = next(rest, None)
            task = waiting.popleft()
            while not task.done.wait(POLL_SECONDS):
                on_wait(task)
            size -= task.size
            yield task

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        for reader in self._readers:
            reader.stop()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
        for reader in self._readers:
            reader.close()

    def _has_room(self, count: int, size: int) -> bool:
        return count < len(self._readers) or (count < MAX_AHEAD and size <= MAX_BYTES_AHEAD)

    def _start_thread(self) -> None:
        if len(self._threads) < len(self._readers):
            reader = self._readers[len(self._threads)]
            thread = threading.Thread(target=self._work, args=(reader,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self, reader: FileReader) -> None:
        while (task := self._tasks.get()) is not None:
            _read(reader, task)


def _read(reader: FileReader, task: ReadTask) -> None:
    """Carry out a task."""

    def report(part: int) -> None:
        task.parts = part

    reader.options, reader.on_part = task.options, report
    try:
        task.document = reader.read(task.location, task.name)
        task.prepared = reader.prepared
    except BaseException as error:  # noqa: BLE001 - raised by the thread that takes the task
        task.error = error
    task.done.set()


__all__ = ["ReadTask", "ReaderPool"]
