"""One kill, in processes forked from a clean server: what acts, what searches, what checks.

Nothing of the product runs in the process that kills, so each start is a new one.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.killing.points import Point, Points
from benchmarks.killing.scenarios import World
from benchmarks.killing.searching import Searched, search_until_told
from benchmarks.killing.states import State, damage, differences, remains
from benchmarks.killing.upkeep import ALL

CONTEXT = multiprocessing.get_context("forkserver")

PATIENCE = 240.0
"""Seconds after which a process counts as hanging."""

WORKERS_PATIENCE = 10.0
"""Seconds after which no process that was started by the killed one may be left."""

_MARK = "WVA_KILLS_WORLD"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A scenario whose folders are there: what is before and afterwards, and where it may die."""

    name: str
    world: World
    before: State
    after: State
    passed: list[tuple[str, float]]

    @property
    def points(self) -> dict[str, int]:
        """The named points with how often each was passed."""
        counts: dict[str, int] = {}
        for name, _ in self.passed:
            counts[name] = counts.get(name, 0) + 1
        return counts

    def moment(self, chance: random.Random) -> float:
        """A random moment between the first write and the last one."""
        times = [at for _, at in self.passed] or [0.0]
        return chance.uniform(times[0], times[-1])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one kill showed; all lists are empty if everything held."""

    scenario: str
    where: str
    landed: bool
    searches: int = 0
    lost: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)
    remains: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def said(self) -> list[str]:
        """Everything that was wrong."""
        kinds = ("lost", "mixed", "unequal", "remains", "failed")
        return [f"{kind}: {one}" for kind in kinds for one in getattr(self, kind)]


def preload(names: Iterable[str]) -> None:
    """Import what these scenarios need in the server, before it forks the first process."""
    more = [module for name in names for module in ALL[name].preload]
    CONTEXT.set_forkserver_preload(["benchmarks.killing.trial", *more])


def prepare(name: str, folder: Path, *, small: bool) -> Prepared:
    """Make a scenario's folders, what must be there in the end, and run it once to its end."""
    shutil.rmtree(folder, ignore_errors=True)
    world = World(folder, small)
    world.work.mkdir(parents=True)
    before, after = _in_process(_prepare, name, world)
    _restore(world)
    passed = _Acting(name, world).to_the_end()
    found = _in_process(_finish, name, world, after)
    wrong = [*found["failed"], *found["check"], *differences(found["state"], after)]
    if wrong:
        raise SystemExit(f"{name}: wrong without any kill: {wrong}")
    return Prepared(name, world, before, after, passed)


def kill(prepared: Prepared, where: Point | float) -> Outcome:
    """Kill at a named point or after so many seconds, go on, and compare."""
    name, world = prepared.name, prepared.world
    scenario = ALL[name]
    _restore(world)
    reader = _Reader(prepared) if scenario.reader else None
    try:
        landed = _Acting(name, world, where if isinstance(where, Point) else None).until(
            None if isinstance(where, Point) else where
        )
        acknowledged = world.acknowledged()
        left = _workers(world)
        found = _in_process(_finish, name, world, prepared.after)
    finally:
        searched = reader.stop() if reader else Searched()
    state: State = found["state"]
    unequal = [*differences(state, prepared.after), *found["check"], *found["damage"]]
    lost = list(searched.lost)
    if unequal and scenario.either and not differences(state, prepared.before):
        done = landed and bool(acknowledged)
        lost += [f"acknowledged: {acknowledged}"] if done else []
        unequal = [*found["check"], *found["damage"]]
    else:
        gone = prepared.after.documents.keys() - state.documents.keys()
        lost += [f"{path} is lost" for path in sorted(gone)]
    return Outcome(
        name,
        f"{where.name} ({where.number})" if isinstance(where, Point) else f"after {where:.3f} s",
        landed,
        searched.count,
        lost,
        searched.mixed,
        unequal,
        [*found["remains"], *left],
        [*found["failed"], *searched.failed],
    )


def _prepare(name: str, world: World) -> tuple[State, State]:
    scenario = ALL[name]
    scenario.prepare(world)
    before = scenario.state(world)
    (world.folder / "prepared").touch()
    scenario.change(world)
    shutil.copytree(world.work, world.folder / "template")
    scenario.fresh(world)
    return before, scenario.state(world)


def _restore(world: World) -> None:
    """Make the work folder as it was before."""
    shutil.rmtree(world.work, ignore_errors=True)
    shutil.copytree(world.folder / "template", world.work)
    (world.folder / "acknowledged").unlink(missing_ok=True)


def _finish(name: str, world: World, wanted: State) -> dict[str, Any]:
    """Go on after a kill, and look at what is there then."""
    scenario = ALL[name]
    found: dict[str, Any] = {
        "failed": [],
        "state": State(),
        "check": [],
        "damage": [],
        "remains": [],
    }
    if not scenario.damaged:
        found["damage"] = [f"after the kill: {one}" for one in damage(world.index)]
    try:
        scenario.resume(world)
        found["state"] = scenario.state(world)
        if differences(found["state"], wanted) and scenario.refitted(world):
            found["state"] = scenario.state(world)
        found["check"] = scenario.check(world)
    except Exception:  # noqa: BLE001 - it is told
        found["failed"] = [traceback.format_exc(limit=-4)]
    found["damage"] += damage(world.index)
    found["remains"] = remains(world.work, scenario.allowed)
    return found


class _Acting:
    """The process that is killed, the leader of a group."""

    def __init__(self, name: str, world: World, kill_at: Point | None = None) -> None:
        self._connection, other = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_act, args=(name, world, kill_at, other))
        self._process.start()
        other.close()
        self._pid = self._connection.recv()

    def to_the_end(self) -> list[tuple[str, float]]:
        """Wait for its end; returns the points it passed."""
        passed: list[tuple[str, float]] | str = self._receive()
        self._process.join()
        if isinstance(passed, str):
            raise SystemExit(passed)
        return passed

    def until(self, seconds: float | None) -> bool:
        """Kill it after so many seconds, if it does not kill itself; whether it was killed."""
        if seconds is not None and not self._connection.poll(seconds):
            with suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
        try:
            passed = self._receive()
        except EOFError:
            self._process.join()
            return True
        self._process.join()
        if isinstance(passed, str):
            raise SystemExit(passed)
        return False

    def _receive(self) -> Any:
        if not self._connection.poll(PATIENCE):
            with suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
            raise SystemExit("the process that should be killed hangs")
        return self._connection.recv()


def _act(name: str, world: World, kill_at: Point | None, connection: Connection) -> None:
    os.setsid()
    os.environ[_MARK] = str(world.folder)
    _silence()
    points = Points(world.work, kill_at)
    points.watch()
    connection.send(os.getpid())
    try:
        ALL[name].act(world)
    except BaseException:  # noqa: BLE001 - it is told
        connection.send(f"{name}: {traceback.format_exc()}")
    else:
        connection.send(points.passed)


class _Reader:
    """The process that searches beside it."""

    def __init__(self, prepared: Prepared) -> None:
        self._connection, other = CONTEXT.Pipe()
        texts = (prepared.before.texts(), prepared.after.texts())
        arguments = (prepared.name, prepared.world, *texts, other)
        self._process = CONTEXT.Process(target=_search, args=arguments, daemon=True)
        self._process.start()
        other.close()

    def stop(self) -> Searched:
        """What it has found."""
        try:
            self._connection.send("stop")
            if not self._connection.poll(PATIENCE):
                self._process.kill()
                return Searched(failed=["the searching process hangs"])
            found: Searched = self._connection.recv()
        except (EOFError, OSError):
            return Searched(failed=["the searching process has crashed"])
        self._process.join()
        return found


def _search(*arguments: Any) -> None:
    _silence()
    search_until_told(*arguments)


def _in_process(function: Any, *arguments: Any) -> Any:
    """The result of a function in a process of its own."""
    connection, other = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_call, args=(function, arguments, other))
    process.start()
    other.close()
    if not connection.poll(PATIENCE):
        process.kill()
        raise SystemExit(f"{function.__name__} {arguments[0]} hangs")
    try:
        good, result = connection.recv()
    except EOFError:
        raise SystemExit(f"{function.__name__} {arguments[0]} has crashed") from None
    process.join()
    if not good:
        raise SystemExit(f"{function.__name__} {arguments[0]}: {result}")
    return result


def _call(function: Any, arguments: Sequence[Any], connection: Connection) -> None:
    _silence()
    try:
        connection.send((True, function(*arguments)))
    except BaseException:  # noqa: BLE001 - it is told
        connection.send((False, traceback.format_exc()))


def _silence() -> None:
    """Nothing that is printed is of interest here."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())


def _workers(world: World) -> list[str]:
    """The processes that the killed one has started and that do not end."""
    mark = f"{_MARK}={world.folder}".encode()
    end = time.monotonic() + WORKERS_PATIENCE
    while True:
        left = [
            path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if _has(path, mark)
        ]
        if not left or time.monotonic() > end:
            return [f"process {pid}" for pid in left]
        time.sleep(0.05)


def _has(path: Path, mark: bytes) -> bool:
    try:
        return mark in path.read_bytes().split(b"\0")
    except OSError:
        return False


__all__ = ["Outcome", "Prepared", "kill", "preload", "prepare"]
