"""A queue before a model: the texts of concurrent callers are computed together.

A language model reads several short texts in nearly the time of one. `BatchQueue` collects what
callers in any number of threads ask for while the model is busy, and computes it as one batch:

- **Fair.** Batches take a few texts of each caller in turn, so a single text does not wait for
  another caller's thousand.
- **Bounded.** Where too much waits already, `submit` raises BusyError.
- **Cancellable.** A cancelled future's texts that are not computed yet never are.

Nothing waits for a batch to fill up: a single caller has no disadvantage. The queue works in a
thread of its own, which ends when nothing is left to do. In asyncio a future is awaited by
`asyncio.wrap_future(queue.submit(...))`; cancelling that cancels the work.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.arrays import Vectors
from retriever.embedding.protocols import Embedder, Judge
from retriever.types import BusyError, IndexStateError, UsageError

Rows = NDArray[Any]
"""What is computed of n texts: (n,) or (n, dim)."""

Compute = Callable[[Hashable, Sequence[str]], Rows]
"""Kind and texts → a row for each text. Texts of one kind may be computed together."""

PASSAGE, QUERY = "passage", "query"
"""The kinds of `embedding_queue`, beside `judged_by`."""

MAX_REQUESTS = 256
MAX_CHARACTERS = 4_000_000
"""What may wait in a queue, by default."""

SHORT_SHARE = 1000
"""A request of at most this part of the characters that may wait is a short one."""

SLICE = 8
"""A batch takes at most this many texts of a caller, then those of the next one."""

BATCH_SECONDS = 0.5
"""About the time of a batch, at the pace of the last ones: a new caller waits at most so long."""

FIRST_CHARACTERS = 8_192
"""Characters of a batch before the pace is known."""

FEWEST_CHARACTERS, MOST_CHARACTERS = 2_048, 2_000_000
"""Bounds of a batch later. The fewest are twenty questions: two cores have enough to do with them,
and 64 together take only a seventh less time each."""

PROMPT_CHARACTERS = 64
"""What a text's prompt counts for."""


@dataclass(slots=True)
class _Job:
    """A caller's texts; `done` are the rows of the first ones."""

    kind: Hashable
    texts: Sequence[str]
    future: Future[Any] = field(default_factory=Future)
    done: list[Rows] = field(default_factory=list)
    begun: int = 0
    finished: int = 0

    @property
    def characters(self) -> int:
        return _characters(self.texts)


@dataclass(frozen=True, slots=True)
class _Slice:
    """Texts `[start:end]` of a job."""

    job: _Job
    start: int
    end: int

    @property
    def texts(self) -> Sequence[str]:
        return self.job.texts[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that was computed: what an observer is told."""

    texts: int
    characters: int
    callers: int
    seconds: float


class BatchQueue:
    """Computes the texts of concurrent callers together; safe with threads."""

    def __init__(
        self,
        compute: Compute,
        *,
        max_requests: int = MAX_REQUESTS,
        max_characters: int = MAX_CHARACTERS,
        observe: Callable[[Batch], None] = lambda batch: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`max_requests` and `max_characters` bound what waits; `observe` is told each batch."""
        self._compute = compute
        self._max_requests, self._max_characters = max_requests, max_characters
        self._observe, self._clock = observe, clock
        self._lock = threading.Lock()
        self._jobs: deque[_Job] = deque()
        self._characters = 0
        self._working = self._closed = False
        self._pace = 0.0  # characters a second, 0 while it is unknown

    @property
    def waiting(self) -> int:
        """The number of requests that are not finished."""
        return len(self._jobs)

    @property
    def waiting_characters(self) -> int:
        """The number of characters of these requests."""
        return self._characters

    def submit(self, texts: Sequence[str], kind: Hashable = PASSAGE) -> Future[Any]:
        """The rows of texts of one kind, in their order, as a future.

        Raises BusyError where too much waits, IndexStateError after `close`. A request that is
        too large by itself is accepted while nothing else waits; beside it short ones still are.
        """
        job = _Job(kind, list(texts))
        if not job.texts:
            job.future.set_result(self._compute(kind, []))
            return job.future
        characters = job.characters
        with self._lock:
            if self._closed:
                raise IndexStateError("the model's queue is closed: the program is ending")
            if self._is_full(characters):
                self._drop_finished()  # what was cancelled since the last batch
            if self._is_full(characters):
                count = len(self._jobs)
                told = "1 request waits" if count == 1 else f"{count} requests wait"
                raise BusyError(
                    f"{told} for the model already; try again later", seconds=self._seconds_left()
                )
            self._jobs.append(job)
            self._characters += characters
            if not self._working:
                self._working = True
                threading.Thread(target=self._work, name="compute batches").start()
        return job.future

    def rows(self, texts: Sequence[str], kind: Hashable = PASSAGE) -> Rows:
        """`submit`, waited for. An interrupt while it waits cancels the work."""
        future = self.submit(texts, kind)
        try:
            rows: Rows = future.result()
        except CancelledError:
            raise IndexStateError("the model's queue is closed: the program is ending") from None
        except BaseException:
            future.cancel()
            raise
        return rows

    def close(self) -> None:
        """Accept nothing more, and cancel what waits. The batch being computed is finished."""
        with self._lock:
            self._closed = True
            jobs = list(self._jobs)
        for job in jobs:
            job.future.cancel()

    def _is_full(self, characters: int) -> bool:
        """Whether a request of so many characters has to come again later.

        Short ones are bound by their number alone: somebody's book does not refuse a question.
        """
        if not self._jobs or len(self._jobs) >= self._max_requests:
            return bool(self._jobs)
        long = characters > self._max_characters // SHORT_SHARE
        return long and self._characters + characters > self._max_characters

    def _seconds_left(self) -> float:
        """About how long what waits will take, from 1 second to a minute."""
        return min(60.0, max(1.0, self._characters / self._pace if self._pace else 1.0))

    # In the queue's thread

    def _work(self) -> None:
        while batch := self._next_batch():
            self._run(batch)

    def _next_batch(self) -> list[_Slice]:
        """The next texts of each caller in turn, within the budget; empty when all is done."""
        budget: float = FIRST_CHARACTERS
        if self._pace:
            wanted = self._pace * BATCH_SECONDS
            budget = min(MOST_CHARACTERS, max(FEWEST_CHARACTERS, wanted))
        with self._lock:
            self._drop_finished()
            batch: list[_Slice] = []
            while self._jobs and (part := self._next_slice(budget, first=not batch)):
                batch.append(part)
                budget -= _characters(part.texts)
            self._working = bool(batch)
            return batch

    def _next_slice(self, budget: float, *, first: bool) -> _Slice | None:
        """Some texts of the next caller, one at least if it is the `first` of a batch."""
        for _ in range(len(self._jobs)):
            job = self._jobs[0]
            self._jobs.rotate(-1)
            if job.begun == len(job.texts):
                continue
            end = start = job.begun
            while end < len(job.texts) and end - start < SLICE:
                budget -= _characters(job.texts[end : end + 1])
                if budget < 0 and (end > start or not first):
                    break
                end += 1
            if end == start:
                self._jobs.rotate(1)  # it is the first one of the next batch
                return None
            job.begun = end
            return _Slice(job, start, end)
        return None

    def _drop_finished(self) -> None:
        """Forget the jobs that are finished or cancelled."""
        left = [job for job in self._jobs if not job.future.done()]
        if len(left) < len(self._jobs):
            self._jobs = deque(left)
            self._characters = sum(job.characters for job in left)

    def _run(self, batch: Sequence[_Slice]) -> None:
        kinds: dict[Hashable, list[_Slice]] = {}
        for part in batch:
            kinds.setdefault(part.job.kind, []).append(part)
        begin = self._clock()
        for kind, parts in kinds.items():
            self._run_kind(kind, parts)
        seconds = self._clock() - begin
        count = sum(len(part.texts) for part in batch)
        characters = sum(_characters(part.texts) for part in batch)
        if seconds > 0:
            pace = characters / seconds
            self._pace = (self._pace + pace) / 2 if self._pace else pace
        callers = len({id(part.job) for part in batch})
        self._observe(Batch(count, characters, callers, seconds))

    def _run_kind(self, kind: Hashable, parts: Sequence[_Slice]) -> None:
        """Compute the texts together; if that fails, by caller, so that one fails alone."""
        try:
            rows = self._compute(kind, [text for part in parts for text in part.texts])
        except BaseException as error:  # noqa: BLE001 - it is the callers'
            if len(parts) > 1:
                for part in parts:
                    self._run_kind(kind, [part])
            else:
                _fail(parts[0].job.future, error)
            return
        start = 0
        for part in parts:
            end = start + part.end - part.start
            _add(part, rows[start:end])
            start = end


def _characters(texts: Sequence[str]) -> int:
    return sum(map(len, texts)) + PROMPT_CHARACTERS * len(texts)


def _add(part: _Slice, rows: Rows) -> None:
    """Note the rows of a slice; the job's future gets its result after the last one."""
    job = part.job
    job.done.append(rows)  # in their order: the slices of a job are computed one after the other
    job.finished += len(rows)
    if job.finished == len(job.texts) and _can_end(job.future):
        job.future.set_result(np.concatenate(job.done))


def _fail(future: Future[Any], error: BaseException) -> None:
    if _can_end(future):
        future.set_exception(error)


def _can_end(future: Future[Any]) -> bool:
    """Whether the future has no result yet and is not cancelled; from now on it cannot be.

    It is not "running" before, since a running future cannot be cancelled.
    """
    return not future.done() and future.set_running_or_notify_cancel()


def judged_by(query: str) -> tuple[str, str]:
    """The kind of passages that are judged by how well they predict a query."""
    return "judge", query


def embedding_queue(embedder: Embedder, **options: Any) -> BatchQueue:
    """A queue before an embedder; `options` are those of `BatchQueue`.

    The rows of the kinds `PASSAGE` and `QUERY` are raw unit vectors, (n, dim) float32, zeros for an
    empty text; those of `judged_by(query)` are log-likelihoods, (n,).
    """
    embed: Mapping[Hashable, Callable[[Sequence[str]], Vectors]] = {
        PASSAGE: lambda texts: _passages(embedder, texts),
        QUERY: embedder.embed_queries,
    }

    def compute(kind: Hashable, texts: Sequence[str]) -> Rows:
        if kind in embed:
            return embed[kind](texts)
        if not isinstance(kind, tuple) or not isinstance(embedder, Judge):
            raise UsageError("this model cannot rerank: it is no language model to judge with")
        return embedder.log_likelihoods(kind[1], texts)

    return BatchQueue(compute, **options)


def _passages(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    vectors = np.zeros((len(texts), embedder.settings.dimension), dtype=np.float32)
    present = [at for at, text in enumerate(texts) if text.strip()]
    if present:
        inputs = [embedder.passage_input(texts[at]) for at in present]
        vectors[present] = embedder.embed_inputs(inputs)
    return vectors


__all__ = [
    "PASSAGE",
    "QUERY",
    "Batch",
    "BatchQueue",
    "embedding_queue",
    "judged_by",
]
