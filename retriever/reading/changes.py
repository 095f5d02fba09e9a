"""Changes below folders, as the operating system tells them, in batches.

A batch is complete when nothing has changed for a moment, or after a few seconds. An empty batch
says that nothing has changed for a second.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from retriever.reading.formats import supported
from retriever.reading.scan import is_below, is_scanned
from retriever.types import RetrieverError

QUIET_SECONDS = 0.4
"""Seconds without a change that end a batch."""

MAX_WAIT_SECONDS = 5.0
"""Seconds after which a batch ends although more changes."""

TICK_SECONDS = 1.0

_TEMPORARY = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".swp", ".swx")
_VIM_PROBE = "4913"  # the name that vim tries before it writes


class TooManyFoldersError(RetrieverError):
    """The operating system does not watch so many folders."""


def changes(
    folders: Sequence[Path], *, poll: float = 0.0, stop: threading.Event | None = None
) -> Iterator[frozenset[str]]:
    """Batches of the full paths that changed below `folders` and files, until `stop` is set.

    With `poll` the folders are looked at every so many seconds, for drives whose changes the system
    does not tell. Raises TooManyFoldersError, and KeyboardInterrupt at an interrupt.
    """
    ended = stop or threading.Event()
    if not folders:
        while not ended.wait(TICK_SECONDS):
            yield frozenset()
        return
    import watchfiles  # takes 50 ms

    try:
        yield from (
            frozenset(path for _, path in batch)
            for batch in watchfiles.watch(
                *folders,
                watch_filter=None,
                debounce=int(MAX_WAIT_SECONDS * 1000),
                step=int(QUIET_SECONDS * 1000),
                rust_timeout=int(TICK_SECONDS * 1000),
                yield_on_timeout=True,
                stop_event=ended,
                force_polling=poll > 0,
                poll_delay_ms=max(1, int(poll * 1000)),
                ignore_permission_denied=True,
            )
        )
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EMFILE) or "limit" in str(error):
            raise TooManyFoldersError(
                "there are more folders than the system watches at once; raise its limit (sudo "
                "sysctl fs.inotify.max_user_watches=1000000), or look every minute: --poll 60"
            ) from None
        raise


def is_noise(place: str, roots: Iterable[str], hide: Iterable[str]) -> bool:
    """Whether a change of this path concerns no document: no run is needed for it.

    `roots` are the folders that are followed, `hide` those of indexes.
    """
    name = place.rpartition(os.sep)[2]
    if name.startswith(("~$", ".")) or name.endswith(("~", *_TEMPORARY)) or name == _VIM_PROBE:
        return True
    if any(is_below(place, folder) for folder in hide):
        return True
    root = next((root for root in roots if is_below(place, root)), None)
    if root is None or not is_scanned(Path(root), Path(place)):
        return True
    return Path(place).is_file() and not supported(name)


__all__ = ["MAX_WAIT_SECONDS", "QUIET_SECONDS", "TooManyFoldersError", "changes", "is_noise"]
