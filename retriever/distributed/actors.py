"""A pool of actors that embed: as many as there is room for, replaced when they are lost.

Work is bound to no actor: what a lost one had goes to the next one that is free. An actor counts
once its model is loaded, so that a machine that is slow, or gone, keeps nobody waiting.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from retriever.distributed.cluster import Cluster, ClusterError, Watchdog, check_version
from retriever.distributed.shares import Shares
from retriever.distributed.worker import About, EmbeddingWorker
from retriever.embedding.protocols import Embedder
from retriever.types import ModelError

CALLS = 2
"""Calls of an actor at most: one runs, one waits, so that no time is lost between them."""

MOST_LOST = 5
"""Actors that are lost in a row, without any work done, after which the run ends."""

WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """A call of `EmbeddingWorker`; `tag` tells the caller which one."""

    tag: Any
    method: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """A job with its result; the caller waited so long for it."""

    job: Job
    result: Any
    waited: float


@dataclass(slots=True, eq=False)
class _Seat:
    """An actor: `ready` is its first answer until it came."""

    actor: Any
    ready: Any


@dataclass(frozen=True, slots=True)
class _Call:
    job: Job
    seat: _Seat
    started: float = field(default_factory=time.monotonic)


class Actors:
    """Actors of `EmbeddingWorker`, started with the first job; `close` ends them."""

    def __init__(
        self,
        cluster: Cluster,
        load: Callable[[], Embedder],
        fingerprint: str,
    ) -> None:
        self._cluster, self._fingerprint, self._load = cluster, fingerprint, load
        self._arguments: Any = None
        self._seats: list[_Seat] = []
        self._lost = 0
        self._why = ""

    def run(self, jobs: Iterator[Job]) -> Iterator[Done]:
        """Each job with its result as soon as it is done, in whatever order.

        The next one is taken when there is an actor for it. Raises ClusterError if there is no
        progress; errors of our own code are raised as they are.
        """
        again: deque[Job] = deque()
        calls: dict[Any, _Call] = {}  # of this run alone: another one may wait for its turn
        last, more = time.monotonic(), True
        dog = Watchdog(self._cluster, lambda: str(self._cluster.shares()))
        while True:
            self._keep_full()
            while (again or more) and (seat := self._free(calls)) is not None:
                job = again.popleft() if again else next(jobs, None)
                if job is None:
                    more = False
                    break
                calls[self._call(seat, job)] = _Call(job, seat)
            if not calls and not again and not more:
                return
            for ref in self._wait(calls):
                dog.note()
                if ref not in calls:
                    self._greet(ref)
                    continue
                call = calls.pop(ref)
                try:
                    result = self._get(ref)
                except _LostError:
                    again.append(call.job)
                    self._drop(call.seat)
                    continue
                self._lost = 0
                now = time.monotonic()
                yield Done(call.job, result, now - max(last, call.started))
                last = now
                dog.note()
            dog.check()

    def lose_one(self) -> None:
        """Kill the first actor; a run that goes on does without it."""
        if self._seats:
            self._cluster.ray.kill(self._seats[0].actor)

    def close(self) -> None:
        """End all actors."""
        for seat in self._seats:
            with suppress(Exception):
                self._cluster.ray.kill(seat.actor)
        self._seats.clear()

    # Actors

    def _keep_full(self) -> None:
        """Start actors for those that were lost, and for machines that have come."""
        wanted = self._cluster.shares()
        while len(self._seats) < wanted.actors:
            self._seats.append(self._seat(wanted))

    def _seat(self, wanted: Shares) -> _Seat:
        ray = self._cluster.ray
        if self._arguments is None:  # once for all: an embedder may be large
            self._arguments = ray.put(self._load)
        make = ray.remote(
            num_cpus=wanted.cpus, num_gpus=wanted.gpus, max_restarts=0, scheduling_strategy="SPREAD"
        )(_Actor)
        actor = make.remote([self._arguments], wanted.threads)
        return _Seat(actor, actor.about.remote())

    def _free(self, calls: Mapping[Any, _Call]) -> _Seat | None:
        """The actor with the fewest of these calls that has its model and room for one more."""
        busy = Counter(call.seat for call in calls.values())
        able = [seat for seat in self._seats if seat.ready is None and busy[seat] < CALLS]
        return min(able, key=lambda seat: busy[seat], default=None)

    def _greet(self, ref: Any) -> None:
        """An actor has loaded its model, or was lost meanwhile."""
        seat = next((seat for seat in self._seats if seat.ready == ref), None)
        if seat is None:
            return
        try:
            about: About = self._get(ref)
        except _LostError:
            self._drop(seat)
            return
        check_version(about.version, about.node)
        if about.fingerprint != self._fingerprint:
            raise ModelError(
                f"the worker on {about.node} has another model of this name: its vectors could not "
                "be compared with those of the index"
            )
        seat.ready = None

    def _drop(self, seat: _Seat) -> None:
        """Forget a lost actor; each of its calls tells that it is lost, too."""
        if seat not in self._seats:
            return
        self._lost += 1
        if self._lost >= MOST_LOST:
            raise ClusterError(
                f"{self._lost} workers that embed were lost one after the other ({self._why}); "
                "what was done so far is kept, and the same command goes on from there"
            )
        self._seats.remove(seat)
        with suppress(Exception):
            self._cluster.ray.kill(seat.actor)

    # Calls

    def _call(self, seat: _Seat, job: Job) -> Any:
        return getattr(seat.actor, job.method).remote(*job.arguments)

    def _wait(self, calls: Mapping[Any, _Call]) -> list[Any]:
        """The answers that are there; waits a moment for one."""
        starting = [seat.ready for seat in self._seats if seat.ready is not None]
        done: list[Any]
        done, _ = self._cluster.ray.wait([*calls, *starting], timeout=WAIT_SECONDS)
        return done

    def _get(self, ref: Any) -> Any:
        """An answer. Raises what our own code raised, or _LostError."""
        ray = self._cluster.ray
        try:
            return ray.get(ref)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, BaseException):
                raise cause from None
            raise
        except ray.exceptions.RayError as error:
            lines = (str(error).strip() or type(error).__name__).splitlines()
            # An error of the start ends with its reason, others begin with it.
            self._why = lines[-1 if "creation task" in lines[0] else 0].strip().rstrip(".")
            raise _LostError from None


class _LostError(Exception):
    """The actor was lost: its process or its machine ended."""


class _Actor(EmbeddingWorker):
    """`EmbeddingWorker` as Ray starts it: what is large comes from Ray's store."""

    def __init__(self, arguments: list[Any], threads: int) -> None:
        import ray

        super().__init__(ray.get(arguments[0]), threads)


__all__ = ["Actors", "Done", "Job"]
