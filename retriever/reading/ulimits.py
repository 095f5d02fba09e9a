"""The system's limits on one process (`ulimit`): lowers them, and reports those that are too low.

The limits on one file are `subprocess_reader.Limits`. On a system without process limits (Windows)
nothing is lowered or reported.
"""

from __future__ import annotations

import errno
import signal
from contextlib import suppress
from dataclasses import dataclass

from retriever.types import RetrieverError

try:
    import resource
except ImportError:  # pragma: no cover - Windows
    resource = None  # type: ignore[assignment]  # where there are no limits to read

KB, MB = 1_024, 1_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit: its name in the module `resource`, its option of `ulimit`, and what it limits.

    `step` is the unit of `ulimit` in bytes, 1 for limits that are not in bytes. `needed` is the
    smallest value with which files can be read.
    """

    name: str
    letter: str
    what: str
    step: int = 1
    needed: int = 0

    def describe(self, value: int) -> str:
        """The value in words, and as the option of `ulimit`.

        >>> MEMORY.describe(512_000_000)
        '512 MB of address space (ulimit -v 500000)'
        >>> CPU_TIME.describe(3)
        '3 seconds of processor time (ulimit -t 3)'
        """
        shown = f"{value:,} {self.what}" if self.step == 1 else f"{value // MB:,} MB {self.what}"
        return f"{shown} (ulimit -{self.letter} {value // self.step})"

    @property
    def advice(self) -> str:
        """The end of a sentence that says what to do."""
        return f"raise the limit, such as with ulimit -{self.letter} unlimited"

    @property
    def value(self) -> int | None:
        """The value for this process (the soft limit); None if there is no limit."""
        if resource is None or not hasattr(resource, self.name):  # pragma: no cover - Windows
            return None
        soft, _ = resource.getrlimit(getattr(resource, self.name))
        return None if soft == resource.RLIM_INFINITY else soft

    def lower(self, most: int) -> None:
        """Lower the soft and hard limits to `most`, permanently; a lower limit stays."""
        if resource is None or not hasattr(resource, self.name):  # pragma: no cover - Windows
            return
        value = min(most, most if self.value is None else self.value)
        with suppress(OSError, ValueError):  # only Linux allows all of them
            resource.setrlimit(getattr(resource, self.name), (value, value))


MEMORY = Limit("RLIMIT_AS", "v", "of address space", KB, needed=200 * MB)
FILE_SIZE = Limit("RLIMIT_FSIZE", "f", "in one written file", KB)
CORE = Limit("RLIMIT_CORE", "c", "of core dump", KB)
CPU_TIME = Limit("RLIMIT_CPU", "t", "seconds of processor time")
OPEN_FILES = Limit("RLIMIT_NOFILE", "n", "open files")
PROCESSES = Limit("RLIMIT_NPROC", "u", "processes")

_BY_ERROR = {errno.ENOMEM: MEMORY, errno.EMFILE: OPEN_FILES, errno.EAGAIN: PROCESSES}
_BY_SIGNAL = {
    **dict.fromkeys(("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGTRAP"), MEMORY),
    **dict.fromkeys(("SIGXCPU", "SIGKILL"), CPU_TIME),
    "SIGXFSZ": FILE_SIZE,
}


def check() -> None:
    """Raise RetrieverError if files cannot be read within the limits of this process.

    With too little address space, libraries fail in the middle and report good files as broken.
    """
    value = MEMORY.value
    if value is not None and value < MEMORY.needed:
        raise RetrieverError(
            f"no file can be read: a process may have only {MEMORY.describe(value)} here, and "
            f"{MEMORY.needed // MB} MB are needed; {MEMORY.advice}"
        )


def hint_for_error(error: OSError) -> str:
    """The limit that may have caused a system error: the end of a sentence, or empty."""
    return _hint(_BY_ERROR.get(error.errno or 0))


def hint_for_signal(ended: signal.Signals) -> str:
    """The limit that may have killed a process: the end of a sentence, or empty."""
    return _hint(_BY_SIGNAL.get(ended.name))


def hint_for_memory(allowed: int) -> str:
    """The limit on memory if it is lower than `allowed`: the end of a sentence, or empty."""
    value = MEMORY.value
    return _hint(MEMORY) if value is not None and value < allowed else ""


def warn_before_kill() -> None:
    """Get SIGXCPU one second before the system kills this process for its CPU time.

    SIGKILL would not tell the reason.
    """
    if resource is None:  # pragma: no cover - Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or soft >= hard > 1):
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CPU, (hard - 1, hard))


def _hint(limit: Limit | None) -> str:
    value = None if limit is None else limit.value
    if limit is None or value is None:
        return ""
    return f"; a process may have only {limit.describe(value)} here: {limit.advice}"
