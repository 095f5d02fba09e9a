"""How many processes read files, and for which files they are worth their start."""

from __future__ import annotations

import os
from collections.abc import Collection

from retriever.indexing.plan import Pending
from retriever.types import UsageError

MAX_JOBS = 256

MAX_DEFAULT_JOBS = 8
"""Largest number of processes that nobody asked for: each has a tokenizer in its memory."""

MIN_FILES, MIN_BYTES = 8, 500_000
"""So many files, or bytes, take longer to read than the start of processes."""


def check_jobs(jobs: int) -> None:
    """Raise UsageError if it is no number of processes; 0 leaves the choice to the program."""
    if isinstance(jobs, bool) or not isinstance(jobs, int) or not 0 <= jobs <= MAX_JOBS:
        raise UsageError(
            f"the number of jobs is a whole number from 1 to {MAX_JOBS}, or 0 for one for each "
            f"processor; it is {jobs!r}"
        )


def processors() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover - not Linux


def default_jobs() -> int:
    """The number of processors that this process may use, but not very many."""
    return min(processors(), MAX_DEFAULT_JOBS)


def is_worth_processes(files: Collection[Pending]) -> bool:
    """Whether several processes read these files faster than one that is running already."""
    return len(files) >= MIN_FILES or (
        len(files) > 1 and sum(one.file.size for one in files) >= MIN_BYTES
    )


__all__ = ["check_jobs", "default_jobs", "is_worth_processes", "processors"]
