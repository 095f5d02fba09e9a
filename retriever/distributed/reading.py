"""Files are read, cut and analysed by tasks of a cluster; the documents come in order.

Each worker keeps a process that reads, with its limits, so a bad file costs only itself. Ray runs a
task again whose worker was lost. Files that a worker does not see are sent to it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from retriever.distributed.cluster import Cluster, Watchdog
from retriever.distributed.worker import FileRequest, FileResult, Pulse, read_files
from retriever.reading.reader_pool import MAX_AHEAD, MAX_BYTES_AHEAD, POLL_SECONDS, ReadTask
from retriever.reading.regular import open_regular, read_blocks
from retriever.reading.subprocess_reader import Preparing, StartError
from retriever.types import ReadError

GROUP_FILES, GROUP_BYTES = 8, 500_000
"""Files of one task, at most, and their size: a task costs milliseconds."""

GROUPS_AHEAD = 3
"""Tasks for each processor that run or wait, at most."""

RETRIES = 3
"""How often a task runs again whose worker was lost."""

_BLOCK = 1 << 18  # bytes


class RayReaders:
    """Reads files with the tasks of a cluster."""

    def __init__(self, cluster: Cluster, preparing: Preparing | None) -> None:
        self._cluster = cluster
        self._ray = ray = cluster.ray
        told = json.dumps(None if preparing is None else preparing.configuration, sort_keys=True)
        self._digest = hashlib.sha256(told.encode()).hexdigest()
        self._preparing = ray.put(preparing)
        self._name = f"wva-pulse-{os.urandom(8).hex()}"
        self._read = ray.remote(num_cpus=1, max_retries=RETRIES)(_read_here)
        self._waiting: deque[ReadTask] = deque()
        self._running: dict[Any, list[ReadTask]] = {}
        self._ahead = max(MAX_AHEAD, GROUP_FILES * GROUPS_AHEAD * cluster.processors())
        self._sends = False  # whether files are sent, since workers do not see them
        self._beats = 0
        self._dog = Watchdog(cluster, self._asked)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Give up what still runs."""
        for ref in self._running:
            with suppress(Exception):
                self._ray.cancel(ref, force=True)
        self._running.clear()
        with suppress(Exception):
            self._ray.kill(self._ray.get_actor(self._name))

    def read(
        self, tasks: Iterable[ReadTask], on_wait: Callable[[ReadTask], None] = lambda task: None
    ) -> Iterator[ReadTask]:
        """Each task when it is done, in the given order; see `ReaderPool.read`."""
        rest = _Ahead(tasks)
        while True:
            self._fill(rest)
            if not self._waiting:
                return
            first = self._waiting[0]
            self._dog.note()  # what is done with documents meanwhile is no fault of the cluster
            while not first.done.is_set():
                self._collect()
                self._fill(rest)
                on_wait(first)
            yield self._waiting.popleft()

    def _fill(self, rest: _Ahead) -> None:
        """Start tasks for the files that follow, as far as there is room."""
        most = GROUPS_AHEAD * self._cluster.processors()
        while rest.following is not None and len(self._running) < most:
            group: list[ReadTask] = []
            while rest.following is not None and self._fits(group, rest.following):
                group.append(rest.take())
            if not group:
                return
            self._waiting.extend(group)
            self._start(group)

    def _fits(self, group: list[ReadTask], task: ReadTask) -> bool:
        """Whether a file may go into a group, or begin one."""
        if not group:
            size = sum(one.size for one in self._waiting)
            ahead = len(self._waiting) < self._ahead and size + task.size <= MAX_BYTES_AHEAD
            return ahead or not self._waiting
        return len(group) < GROUP_FILES and sum(x.size for x in group) + task.size <= GROUP_BYTES

    def _start(self, group: list[ReadTask]) -> None:
        files = [_request(task, send=self._sends) for task in group]
        # In a list, what further work is told stays where it is until a worker needs it.
        ref = self._read.remote(files, self._digest, [self._preparing], self._name)
        self._running[ref] = group

    def _collect(self) -> None:
        """Take what is done; wait a moment for it."""
        done, _ = self._ray.wait([*self._running], num_returns=1, timeout=POLL_SECONDS)
        for ref in done:
            self._dog.note()
            self._finish(self._running.pop(ref), ref)
        if not done:
            self._listen()
            self._dog.check()

    def _finish(self, group: list[ReadTask], ref: Any) -> None:
        lost = (self._ray.exceptions.RayTaskError, self._ray.exceptions.RayError)
        try:
            results = self._ray.get(ref)
        except lost as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, BaseException):  # raised by our own code
                raise cause from None
            self._lose(group)
            return
        for task, result in zip(group, results, strict=True):
            self._settle(task, result)

    def _lose(self, group: list[ReadTask]) -> None:
        """Workers were lost with these files: read each alone; one that was alone has failed."""
        if len(group) > 1:
            for task in group:
                self._start([task])
            return
        (task,) = group
        task.error = StartError(f"{RETRIES + 1} workers that read it were lost")
        task.done.set()

    def _settle(self, task: ReadTask, result: FileResult) -> None:
        if result.document is None and result.error is None:
            self._sends = True  # no shared disk
            self._send(task)
            return
        task.document, task.error, task.prepared = result.document, result.error, result.prepared
        task.done.set()

    def _send(self, task: ReadTask) -> None:
        try:
            self._start([task])
        except (OSError, ReadError) as error:
            why = (getattr(error, "strerror", "") or str(error)).lower()
            task.error = error if isinstance(error, ReadError) else ReadError(why)
            task.done.set()

    def _listen(self) -> None:
        """Take signs of life of workers that have been reading one file for long."""
        try:
            pulse = self._ray.get_actor(self._name)
            count, parts = self._ray.get(pulse.state.remote(), timeout=POLL_SECONDS)
        except (ValueError, self._ray.exceptions.RayError):
            return  # no file took so long, or the sign is late
        if count != self._beats:
            self._beats = count
            self._dog.note()
        for task in self._waiting:
            task.parts = max(task.parts, parts.get(task.name, 0))

    def _asked(self) -> str:
        return f"{len(self._running)} tasks with 1 CPU each to read files"


class _Ahead:
    """Tasks with a look at the next one."""

    def __init__(self, tasks: Iterable[ReadTask]) -> None:
        self._rest = iter(tasks)
        self.following = next(self._rest, None)

    def take(self) -> ReadTask:
        """The next task."""
        assert self.following is not None  # noqa: S101 - the caller has looked
        taken, self.following = self.following, next(self._rest, None)
        return taken


def _read_here(
    files: list[FileRequest], digest: str, preparing: list[Any], pulse: str
) -> list[FileResult]:
    """The task: `read_files` in a worker of Ray."""
    import ray

    def beat(name: str, part: int) -> None:
        with suppress(Exception):  # a sign that is lost is followed by others
            make: Any = ray.remote(num_cpus=0)(Pulse)
            make.options(name=pulse, get_if_exists=True).remote().beat.remote(name, part)

    return read_files(files, digest, lambda: ray.get(preparing[0]), beat)


def _request(task: ReadTask, *, send: bool) -> FileRequest:
    """The file as a worker is told of it, with its bytes if it is sent."""
    size, changed, data = task.size, 0, None
    with suppress(OSError):
        facts = Path(task.location).stat()
        size, changed = facts.st_size, facts.st_mtime_ns
    if send:
        with open_regular(task.location) as stream:
            data = b"".join(read_blocks(stream, _BLOCK, size))
    return FileRequest(str(task.location), task.name, size, changed, task.options, data)


__all__ = ["RayReaders"]
