"""A disk that loses its power: every state in which it could be found afterwards.

While a `Disk` records, it sees each sync, rename, link and removal in a folder. What a file system
with an ordered journal (ext4, XFS, Btrfs, APFS, NTFS) may show after a loss of power is then:

- of the names: any prefix of the changes, but at least those in a folder that was synced since;
- of each file's content: what was synced last (nothing, if it never was), or zeros instead, or all.

The catalog's files are taken as SQLite left them: with `synchronous = FULL` it syncs each commit
itself, which `test_power_loss` tries by cutting and garbling its log.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_CALLS = ("fsync", "replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir")

Names = dict[str, int | None]
"""Every path below the folder, with the number of its file, or None for a folder."""


@dataclass(slots=True)
class Disk:
    """Records what happens below `folder`; `acknowledged` grows as the test says."""

    folder: Path
    acknowledged: list[str] = field(default_factory=list)
    _history: list[Names] = field(default_factory=list)
    _durable: int = 0  # the first state of the names that may be found
    _synced: dict[int, bytes] = field(default_factory=dict)
    _content: dict[int, bytes] = field(default_factory=dict)
    _states: dict[tuple[Any, ...], tuple[dict[str, bytes | None], tuple[str, ...]]] = field(
        default_factory=dict
    )

    @contextmanager
    def recording(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Record in the `with` block; what was there before is on the disk."""
        self._history = [self._names()]
        self._synced = dict(self._content)
        with monkeypatch.context() as patched:
            for name in _CALLS:
                patched.setattr(os, name, self._watched(name, getattr(os, name)))
            yield
        self._look()

    def acknowledge(self, what: str) -> None:
        """From here on this must be there, wherever the power fails."""
        self.acknowledged.append(what)
        self._look()

    def states(self) -> list[tuple[dict[str, bytes | None], tuple[str, ...]]]:
        """Every state that may be found, with what was acknowledged then; folders are None."""
        return list(self._states.values())

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            self._look()
            result = real(*arguments, **more)
            if name == "fsync":
                self._sync(arguments[0])
            self._look()
            return result

        return call

    def _sync(self, handle: int) -> None:
        found = os.fstat(handle)
        if not stat.S_ISDIR(found.st_mode):
            self._names()  # reads the contents
            self._synced[found.st_ino] = self._content.get(found.st_ino, b"")
            return
        here = next(
            path
            for path in (self.folder, *self.folder.rglob("*"), *self.folder.parents)
            if path.stat().st_ino == found.st_ino
        )
        if not here.is_relative_to(self.folder):
            return
        below = "" if here == self.folder else here.relative_to(self.folder).as_posix()
        self._history.append(self._names())
        own = [
            {path: inode for path, inode in names.items() if path.rpartition("/")[0] == below}
            for names in self._history
        ]
        for at in range(len(own) - 1, self._durable, -1):
            if own[at] != own[at - 1]:
                self._durable = at
                break

    def _names(self) -> Names:
        names: Names = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_dir():
                names[name] = None
                continue
            inode = path.stat().st_ino
            names[name] = inode
            self._content[inode] = path.read_bytes()
        return names

    def _look(self) -> None:
        """Note the states in which the disk would be found if the power failed now."""
        now = self._names()
        if now != self._history[-1]:
            self._history.append(now)
        for names in self._history[self._durable :]:
            for how in ("lost", "zeros", "all"):
                state = {name: self._found(name, inode, how) for name, inode in names.items()}
                key = (tuple(sorted(state.items())), len(self.acknowledged))
                self._states.setdefault(key, (state, tuple(self.acknowledged)))

    def _found(self, name: str, inode: int | None, how: str) -> bytes | None:
        if inode is None:
            return None
        content = self._content[inode]
        synced = self._synced.get(inode, b"")
        if how == "all" or content == synced or "catalog.sqlite" in name:
            return content
        return synced if how == "lost" else b"\0" * len(content)


def write_state(state: dict[str, bytes | None], folder: Path) -> Path:
    """Write a state as files."""
    folder.mkdir(parents=True)
    for name, content in state.items():
        path = folder / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


__all__ = ["Disk", "write_state"]
