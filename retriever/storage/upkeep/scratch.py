"""Scratch folders: what is made appears under its name when it is complete.

A killed process leaves its scratch folder. The next one that makes something beside it removes it:
a lock on a file in it tells whether its process still runs.
"""

from __future__ import annotations

import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from retriever.files import sync_folder

_MARK = ".wva-unfinished-"
_LOCK = "LOCK"
_MAX_NAME = 60  # characters of the target's name in that of its scratch folder


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """A private folder beside `target`, removed at the end; first, those of killed processes."""
    remove_unfinished(target.parent)
    while True:
        name = f".{target.name[:_MAX_NAME]}{_MARK}{uuid.uuid4().hex[:8]}"
        folder = target.with_name(name)
        folder.mkdir(0o700)
        lock = FileLock(folder / _LOCK, mode=0o600, thread_local=False)
        try:
            lock.acquire(blocking=False)
            if (folder / _LOCK).exists():
                break
            lock.release()
        except (Timeout, FileNotFoundError):  # another process has taken it for an unfinished one
            pass
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release(force=True)
        shutil.rmtree(folder, ignore_errors=True)  # Windows keeps an open file


def remove_unfinished(parent: Path) -> None:
    """Remove the scratch folders in `parent` whose process has ended."""
    for folder in parent.glob(f".*{_MARK}{'[0-9a-f]' * 8}"):
        lock = FileLock(folder / _LOCK, mode=0o600, thread_local=False)
        with suppress(Timeout, OSError):
            if not _is_own(folder):
                continue
            lock.acquire(blocking=False)
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                lock.release(force=True)


def _is_own(folder: Path) -> bool:
    """Whether this is a folder, and this user's; others may make one in a folder that all share."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and (os.name != "posix" or status.st_uid == os.geteuid())


def publish_folder(made: Path, target: Path) -> None:
    """Give a complete folder its name, which an empty folder may have."""
    _sync_tree(made)
    if os.name == "nt" and target.exists():  # pragma: no cover - a rename replaces it elsewhere
        target.rmdir()
    made.rename(target)
    sync_folder(target.parent)


def publish_file(made: Path, target: Path) -> None:
    """Give a complete file its name; FileExistsError if another file has it."""
    _sync_file(made)
    try:
        os.link(made, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise FileExistsError(f"{target} exists") from None
        made.rename(target)
    sync_folder(target.parent)


def _sync_tree(folder: Path) -> None:
    for current, _, files in os.walk(folder, topdown=False):
        for name in files:
            _sync_file(Path(current, name))
        sync_folder(Path(current))


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


__all__ = ["publish_file", "publish_folder", "remove_unfinished", "scratch_folder"]
