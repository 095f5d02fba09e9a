"""What a process holds, sampled over a long run: whether any of it grows."""

from __future__ import annotations

import ctypes
import gc
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

WARM = 0.4
"""The share of a run that fills caches and is not compared."""

MIN_OPERATIONS = 200
"""A run of fewer is not judged: pools of threads and caches still fill until its end."""

MEGABYTE = 1_000_000
MAX_GROWTH = 12.0
"""MB by which the median of the last third after the warm-up may exceed that of the first."""

MAX_GROWTH_SHARE = 0.06
_COUNTS = ("handles", "threads", "children", "temporary")


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process holds after so many operations; `temporary` are entries of TMPDIR."""

    operations: int
    megabytes: float
    handles: int
    threads: int
    children: int
    temporary: int


def quiet(temporary: Path) -> dict[str, str]:
    """The environment of a process that is measured: TMPDIR, and less noise of the allocator's.

    By default glibc gives threads arenas of their own, up to eight for each processor, and keeps
    them: memory then grows in steps for hours without a leak.
    """
    return {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


def give_back() -> None:
    """Give free memory back to the system, so that what remains is in use.

    An allocator keeps it between what is in use, ever more of it for hours.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:  # glibc
        trim(0)


def sample(operations: int, pid: int | None = None, temporary: Path | None = None) -> Sample:
    """What this process holds now, or the one with `pid` whose TMPDIR is `temporary`."""
    if pid is None:
        give_back()
    process = psutil.Process(pid)
    return Sample(
        operations,
        process.memory_info().rss / MEGABYTE,
        process.num_fds() if hasattr(process, "num_fds") else 0,
        process.num_threads(),
        len(process.children(recursive=True)),
        len(list(Path(temporary or tempfile.gettempdir()).iterdir())),
    )


@dataclass(frozen=True, slots=True)
class Growth:
    """Medians of a quantity after the warm-up: in its first third, and in its last one."""

    what: str
    first: float
    last: float
    most: float

    @property
    def leaks(self) -> bool:
        """Whether it grew by more than noise."""
        if self.what == "megabytes":
            return self.last - self.first > max(MAX_GROWTH, MAX_GROWTH_SHARE * self.first)
        return self.last > self.first + 2

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "leaks": self.leaks}


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """How each quantity grew; nothing for a run too short to tell.

    >>> flat = [Sample(50 * at, 100.0, 9, 2, 0, 0) for at in range(12)]
    >>> any(one.leaks for one in growths(flat))
    False
    >>> more = [Sample(50 * at, 100.0 + 4 * at, 9 + at, 2, 0, 0) for at in range(12)]
    >>> [one.what for one in growths(more) if one.leaks]
    ['megabytes', 'handles']
    >>> growths(more[:4])
    []
    """
    if not samples or samples[-1].operations < MIN_OPERATIONS:
        return []
    warm = samples[int(len(samples) * WARM) :]
    third = max(1, len(warm) // 3)
    found = []
    for what in ("megabytes", *_COUNTS):
        values = [float(getattr(one, what)) for one in warm]
        if values:
            first, last = median(values[:third]), median(values[-third:])
            found.append(Growth(what, first, last, max(values)))
    return found


def processes_with(folder: Path) -> list[str]:
    """The command lines of processes, but this one, whose TMPDIR is `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("TMPDIR") == str(folder):
                found.append(" ".join(process.cmdline())[:200])
        except psutil.Error:
            continue
    return found


def remains(folder: Path, known: Iterable[str]) -> list[str]:
    """The entries of a folder whose names begin with none of the `known` ones."""
    begins = tuple(known)
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(begins))
