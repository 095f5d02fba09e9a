"""Following folders: from batches of changes to runs of a sync, one at a time.

What changes while a run is going on waits, and goes into the next one. A run reads what changed;
where something vanished, where much changed, and at the start it compares all folders. An error is
told, and what was to be done is tried again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from filelock import FileLock, Timeout

from retriever.cache import cache_folder
from retriever.files.layout import WATCH_FILE
from retriever.files.private import file_mode
from retriever.reading.changes import QUIET_SECONDS, TooManyFoldersError, is_noise
from retriever.storage.addresses import Address
from retriever.storage.opening import Place, lasting
from retriever.types import IndexStateError, RetrieverError

if TYPE_CHECKING:
    from retriever.indexing.ledger import SyncReport

MAX_PLACES = 1_000
"""Changed places that are remembered; where there are more, all folders are compared."""

POLL_SECONDS = 60.0

_MAX_SCAN_PAUSE = 10.0  # seconds; the next comparison waits as long as the last one took
_MAX_PAUSE = 60.0  # seconds between two tries


class Changes(Protocol):
    """Gives batches of the paths that changed below folders: `reading.changes.changes`."""

    def __call__(self, folders: Sequence[Path], *, poll: float) -> Iterator[frozenset[str]]:
        """Batches of full paths; an empty one where nothing has changed for a while."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What a follower works with.

    `run` brings the index in step with some paths, `tell` takes its reports, `say` sentences.
    `hide` are folders that hold no documents: the index itself. `poll` is as in `changes`.
    """

    paths: tuple[Path, ...]
    run: Callable[[Sequence[Path]], SyncReport]
    changes: Changes
    say: Callable[[str], None]
    tell: Callable[[SyncReport], None]
    hide: tuple[str, ...] = ()
    poll: float = 0.0
    clock: Callable[[], float] = time.monotonic


class Follower:
    """Follows folders until the batches of changes end.

    A folder that is away is left alone, with its documents, until it is there again.
    """

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.places: set[str] = set()  # what changed and was not read yet
        self.everything = True  # compare all folders
        self.poll = watched.poll
        self._there: dict[Path, tuple[int, int]] = {}
        self._away: set[Path] = set()
        self._pause = 0.0
        self._next_try = self._next_scan = float("-inf")
        self._said = ""

    def follow(self) -> None:
        """Follow the folders; returns when a stream of changes ends by itself."""
        while self._follow_present():
            pass

    def _follow_present(self) -> bool:
        """Follow the folders that are there until others are; False at the end of the stream."""
        self._there = self._present()
        self._tell_away()
        self.everything = True
        folders = list(self._there)
        try:
            # The first comparison comes after the start of the stream, so that nothing is missed.
            for batch in self.watched.changes(folders, poll=self.poll):
                if self._present() != self._there:
                    return True
                self.take(batch)
        except TooManyFoldersError as error:
            if self.poll:
                raise
            self.watched.say(f"{error}; this is done now, every {POLL_SECONDS:.0f} seconds")
            self.poll = POLL_SECONDS
            return True
        return False

    def take(self, batch: frozenset[str]) -> None:
        """Remember the places of a batch, and do what is due."""
        self._remember(batch)
        now = self.watched.clock()
        due = self.everything and now >= self._next_scan
        if self._there and (due or self.places) and now >= self._next_try:
            self._run(everything=due)

    def _remember(self, batch: frozenset[str]) -> None:
        if len(batch) > 10 * MAX_PLACES:
            self._look_everywhere()
            return
        roots = [str(path) for path in self._there]
        for place in batch:
            if is_noise(place, roots, self.watched.hide):
                continue
            if Path(place).exists():
                self.places.add(place)
            else:
                self.everything = True  # its document may be removed, or may have moved
            if len(self.places) > MAX_PLACES:
                self._look_everywhere()
                return

    def _look_everywhere(self) -> None:
        self.everything = True
        self.places.clear()

    def _run(self, *, everything: bool) -> None:
        """One run; where it fails, the same is tried again later."""
        paths = list(self._there) if everything else self._still_there()
        if not paths:
            return
        before, self.places = self.places, set()
        self.everything = self.everything and not everything
        started = self.watched.clock()
        try:
            report = self.watched.run(paths)
        except (RetrieverError, OSError) as error:
            self.places = before
            self.everything = self.everything or everything
            self._pause = min(_MAX_PAUSE, 2 * self._pause or 1.0)
            self._next_try = self.watched.clock() + self._pause
            self._say_once(f"{error}; what changed is read after that")
            return
        ended = self.watched.clock()
        self._pause, self._said = 0.0, ""
        if everything:
            self._next_scan = ended + min(_MAX_SCAN_PAUSE, ended - started)
        self.places |= set(report.growing)
        self._next_try = ended + (QUIET_SECONDS if report.growing else 0.0)
        self.watched.tell(report)

    def _still_there(self) -> list[Path]:
        """The changed places; all folders are compared if one has vanished meanwhile."""
        places = sorted(map(Path, self.places))
        there = [place for place in places if place.exists()]
        self.everything = self.everything or len(there) < len(places)
        self.places = set(map(str, there))
        return there

    def _say_once(self, sentence: str) -> None:
        if sentence != self._said:
            self.watched.say(sentence)
        self._said = sentence

    def _present(self) -> dict[Path, tuple[int, int]]:
        """The folders that are there, with what tells them from others of the same name."""
        found = {}
        for path in self.watched.paths:
            try:
                facts = path.stat()
            except OSError:
                continue
            found[path] = (facts.st_dev, facts.st_ino)
        return found

    def _tell_away(self) -> None:
        for path in self.watched.paths:
            if path not in self._there and path not in self._away:
                self.watched.say(f"{str(path)!r} is not there now; its documents stay")
            elif path in self._there and path in self._away:
                self.watched.say(f"{str(path)!r} is there again")
        self._away = set(self.watched.paths) - set(self._there)


class WatchLock:
    """Held by the one process that follows the folders of an index.

    Of an index in Milvus, it is the one process of this machine.
    """

    def __init__(self, index: Place) -> None:
        self.index = index
        file = index / WATCH_FILE if isinstance(index, Path) else _lock_of(index)
        self._lock = FileLock(file, mode=file_mode(file.parent))

    def acquire(self) -> None:
        """Raises IndexStateError if another process follows this index."""
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise IndexStateError(
                f"another process follows the folders of the index in {self.index} already; leave "
                "it to that one, or stop it"
            ) from None
        except OSError as error:
            raise IndexStateError(
                f"the index in {self.index} cannot be written to: {error.strerror}; check the "
                "folder's permissions"
            ) from error

    def release(self) -> None:
        """Release the lock, if it is held."""
        self._lock.release(force=True)


def _lock_of(address: Address) -> Path:
    """The lock of an index whose files are not here: in the user's cache."""
    name = hashlib.sha256(str(lasting(address)).encode()).hexdigest()[:16]
    folder = cache_folder() / "watch"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{name}.lock"


__all__ = ["Changes", "Follower", "WatchLock", "Watched"]
