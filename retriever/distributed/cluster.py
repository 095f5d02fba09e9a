"""The connection to a cluster: started or joined, asked what it offers, and left as it was.

A cluster that we start listens on this machine's own address alone, its files can be read by its
owner alone, and both are gone with it. Ray's token authentication stays as it is set.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from retriever.distributed.place import HERE, Place
from retriever.distributed.shares import Node, Shares, shares
from retriever.indexing.jobs import processors
from retriever.types import RetrieverError, UsageError
from retriever.version import __version__, install_command

STARTS = 3
"""Attempts to start a cluster: on a busy machine one of eight fails."""

STORE_BYTES = 1_000_000_000
"""Memory for what is on its way between processes of our own cluster; it is taken as needed."""

LOOK_SECONDS = 10.0
"""Seconds between two looks at which machines there are."""

_PREFIX = "wva-ray-"
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Settings of Ray, unless the user has chosen others."""


class ClusterError(RetrieverError):
    """The cluster cannot be reached or does not do the work. What was done so far is kept."""


def load_ray() -> Any:
    """The module `ray`. Raises UsageError if it is not installed, or does not start."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        if (error.name or "").split(".")[0] == "ray":
            raise UsageError(
                "--workers needs Ray, which is not installed: "
                f"{install_command('ray')} (there are wheels for Linux, macOS on ARM and Windows)"
            ) from None
        raise UsageError(
            f"--workers needs Ray, which does not start ({error}): {install_command('ray')}"
        ) from None
    return ray


class Cluster:
    """A cluster of Ray, connected with its first use; `close` leaves it."""

    def __init__(self, place: Place) -> None:
        """Raises UsageError without Ray, and ClusterError for another's cluster out of reach."""
        self.place = place
        self._ray = load_ray()
        self._connected = self._joined = False
        self._folder: Path | None = None
        self._looked_at = -LOOK_SECONDS
        self._nodes: list[Node] = []
        self._ended_by: Any = None  # what SIGTERM did before
        if not place.is_own:
            self._connect()

    @property
    def ray(self) -> Any:
        """The module `ray`, connected."""
        self._connect()
        return self._ray

    def _connect(self) -> None:
        if self._connected:
            return
        if self._ray.is_initialized():
            self._joined = True  # the caller's own connection stays when we are done
            self._connected = True
            return
        self._ended_by = _handler()
        try:
            if self.place.is_own:
                self._start()
            else:
                self._join()
        finally:  # Ray takes it for itself, and then goes on for half a minute
            _handle(_end if self._ended_by is signal.SIG_DFL else self._ended_by)
        self._connected = True

    def _start(self) -> None:
        """Start a cluster of this machine alone."""
        for left in reversed(range(STARTS)):
            self._folder = _scratch()
            try:
                self._ray.init(
                    address=HERE,
                    num_cpus=processors(),
                    include_dashboard=False,
                    object_store_memory=STORE_BYTES,
                    _temp_dir=str(self._folder),
                    _node_ip_address="127.0.0.1",
                    **_silent(),
                )
                return
            except Exception as error:  # noqa: BLE001 - Ray raises bare exceptions
                self._forget()
                if not left:
                    raise ClusterError(f"Ray could not be started: {_first_line(error)}") from None

    def _join(self) -> None:
        where = self.place.address
        try:
            self._ray.init(address=where, **_silent())
        except Exception as error:  # noqa: BLE001 - Ray raises bare exceptions
            raise ClusterError(
                f"the Ray cluster {where} cannot be reached ({_first_line(error)}); check the "
                "address, and that both sides have the same versions of Ray and Python, and the "
                "same token"
            ) from None

    def close(self) -> None:
        """End our own cluster with all its processes, or leave the other one."""
        if self._connected and not self._joined:
            self._forget()
            _handle(self._ended_by)
        self._connected = False

    def _forget(self) -> None:
        with suppress(Exception):
            self._ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    # What it offers

    def nodes(self) -> list[Node]:
        """The machines that are there now, looked at every few seconds."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = time.monotonic()
            self._nodes = [
                Node(one["Resources"].get("CPU", 0.0), one["Resources"].get("GPU", 0.0))
                for one in self.ray.nodes()
                if one["Alive"]
            ]
        return self._nodes

    def processors(self) -> int:
        """The number of processors of all machines, at least one."""
        return max(1, int(sum(node.cpus for node in self.nodes())))

    def shares(self) -> Shares:
        """What actors claim of the machines that are there now."""
        return shares(self.nodes(), self.place)

    def offer(self) -> str:
        """What the cluster has, and what of it is free, for a sentence."""
        nodes = self.nodes()
        free: dict[str, float] = {}
        with suppress(Exception):
            free = self.ray.available_resources()
        cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
        machines = f"{len(nodes)} machine{'s' * (len(nodes) != 1)}"
        return (
            f"{machines} with {cpus:g} CPU ({free.get('CPU', 0):g} free) and {gpus:g} GPU "
            f"({free.get('GPU', 0):g} free)"
        )


class Watchdog:
    """Ends a run that makes no progress: call `note` for any, and `check` while waiting."""

    def __init__(self, cluster: Cluster, asked: Callable[[], str]) -> None:
        """`asked` says what the cluster was asked for."""
        self._cluster, self._asked = cluster, asked
        self._last = time.monotonic()

    def note(self) -> None:
        """There is progress."""
        self._last = time.monotonic()

    def check(self) -> None:
        """Raise ClusterError if there was none for the place's patience."""
        patience = self._cluster.place.patience
        if time.monotonic() - self._last < patience:
            return
        raise ClusterError(
            f"the Ray cluster made no progress for {patience:g} seconds: it offers "
            f"{self._cluster.offer()}, and was asked for {self._asked()}; what was done so far is "
            "kept, and the same command goes on from there"
        )


def check_version(theirs: str, node: str) -> None:
    """Raise ClusterError if a worker has another version of this program."""
    if theirs != __version__:
        raise ClusterError(
            f"the worker on {node} has wva-retriever {theirs}, this machine {__version__}: install "
            "the same version everywhere"
        )


def _handler() -> Any:
    """What SIGTERM does; None in a thread, where that cannot be changed."""
    in_main = threading.current_thread() is threading.main_thread()
    return signal.getsignal(signal.SIGTERM) if in_main else None


def _handle(handler: Any) -> None:
    if handler is not None:
        signal.signal(signal.SIGTERM, handler)


def _end(number: int, frame: object) -> None:
    """End the run by an exception, so that nothing is left behind."""
    sys.exit(128 + number)


def _silent() -> dict[str, Any]:
    """Arguments of `ray.init` under which it prints nothing."""
    return {"log_to_driver": False, "logging_level": logging.ERROR}


def _scratch() -> Path:
    """A folder for the files of our own cluster, that others cannot read; old ones are removed.

    Its name has the process's number: a killed process leaves it behind.
    """
    base = Path(tempfile.gettempdir())
    if len(str(base)) > 24:  # paths of sockets have at most 107 characters
        base = Path("/tmp")  # noqa: S108 - made for its owner alone
    for left in base.glob(f"{_PREFIX}*"):
        number = left.name.removeprefix(_PREFIX).partition("-")[0]
        if number.isdigit() and not _is_running(int(number)):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))


def _is_running(number: int) -> bool:
    import psutil

    return psutil.pid_exists(number)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")


__all__ = ["Cluster", "ClusterError", "Watchdog", "check_version", "load_ray"]
