"""Writing files so that they survive a kill and a loss of power: the one home of `fsync`.

The order is always the same: the content is written under a temporary name and synced, then the
file gets its name, then the folder is synced, since the name is the folder's. Whatever a crash
leaves is the old file or the new one, and perhaps a temporary file. A writer holds a lock on its
temporary file, which the system releases when the process dies: `sweep` removes what nobody
writes any more, whatever the clock says.

SQLite syncs the catalog itself: see `retriever.storage.catalog`.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from retriever.files import private

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows, where an open file cannot be removed
    fcntl = None  # type: ignore[assignment]  # stands for the missing module

_FOLDER = ".part-folder"
_TEMPORARY = re.compile(rf"\.[0-9a-f]{{32}}\.part({re.escape(_FOLDER[5:])})?")
_LOCK = ".lock"  # the file in a temporary folder that is locked


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed and removed in the folder survive a loss of power."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_tree(folder: Path) -> None:
    """Sync all files below the folder, then the folders that hold them, and the folder itself."""
    for path, _, files in os.walk(folder, topdown=False):
        for name in files:
            with (Path(path) / name).open("rb+") as file:
                os.fsync(file.fileno())
        sync_folder(Path(path))


def make_folder(folder: Path) -> None:
    """Make a folder, and those around it that are missing, so that they survive."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    private.make_folder(folder)
    for one in reversed(missing):
        sync_folder(one.parent)


def sync_file(file: IO[bytes]) -> None:
    """Make what was written to the file survive a loss of power."""
    file.flush()
    os.fsync(file.fileno())


def publish(file: IO[bytes], temporary: Path, path: Path) -> None:
    """Give a file that was written as `temporary` its name: content, name and folder survive."""
    sync_file(file)
    temporary.replace(path)
    sync_folder(path.parent)


def publish_new(made: Path, target: Path) -> None:
    """Give a complete file its name, unless another file has it: then FileExistsError."""
    with made.open("rb+") as file:
        sync_file(file)
    try:
        os.link(made, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise FileExistsError(f"{target} exists") from None
        made.rename(target)
    sync_folder(target.parent)


def publish_folder(made: Path, target: Path) -> None:
    """Give a complete folder its name, which an empty folder may have."""
    sync_tree(made)
    if os.name == "nt" and target.exists():  # pragma: no cover - a rename replaces it elsewhere
        target.rmdir()
    rename(made, target)


def rename(path: Path, target: Path) -> None:
    """Rename a file or a folder, so that the new name survives."""
    path.rename(target)
    sync_folder(target.parent)
    if path.parent != target.parent:
        sync_folder(path.parent)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` at the end of the block; none after an error."""
    with temporary_file(path.parent) as (file, temporary):
        yield file
        publish(file, temporary, path)


@contextmanager
def temporary_file(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A file under a hidden name that is locked, and removed if it still has that name at the end.

    Its rights are those of `retriever.files.private`.
    """
    path = folder / f".{uuid.uuid4().hex}.part"
    file = _open_locked(path)
    try:
        with file:
            yield file, path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder under a hidden name that is locked, and removed at the end."""
    while True:
        folder = parent / f".{uuid.uuid4().hex}{_FOLDER}"
        private.make_folder(folder)
        try:
            lock = _open_locked(folder / _LOCK)
            break
        except FileNotFoundError:  # swept before it was locked
            continue
    try:
        with lock:
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """As `temporary_folder`; first, what killed processes have left in `parent` is removed."""
    sweep(parent)
    with temporary_folder(parent) as folder:
        yield folder


def sweep(folder: Path) -> int:
    """Remove the temporary files and folders in the folder that nobody writes any more.

    Returns how many there were. What a living process writes is locked, and stays.
    """
    count = 0
    for entry in abandoned(folder):
        remove(entry)
        count += 1
    return count


def abandoned(folder: Path) -> Iterator[Path]:
    """The temporary files and folders in the folder that nobody writes any more.

    Each is locked while the caller has it, so that no other process takes it up.
    """
    try:
        entries = sorted(one for one in folder.iterdir() if _is_own(one))
    except OSError:
        return
    for entry in entries:
        is_folder = entry.is_dir()
        try:
            lock = (entry / _LOCK if is_folder else entry).open("rb+")
        except FileNotFoundError:
            # A folder that is just being made is empty; if it goes, its maker makes another one.
            if is_folder and _contents(entry):
                yield entry
            else:
                with suppress(OSError):
                    entry.rmdir()
            continue
        except OSError:
            continue
        with lock:
            # Meanwhile it may have been swept, and made again by the one who writes it.
            if _lock(lock, wait=False) and _is_at(lock, Path(lock.name)):
                yield entry


def _is_own(entry: Path) -> bool:
    """Whether this is a temporary file or folder of this user, who may share the folder."""
    if not is_temporary(entry.name):
        return False
    try:
        status = entry.lstat()
    except OSError:
        return False
    return not stat.S_ISLNK(status.st_mode) and (
        os.name != "posix" or status.st_uid == os.geteuid()
    )


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is one of `temporary_file` or `temporary_folder`."""
    return _TEMPORARY.fullmatch(name) is not None


def remove(entry: Path) -> None:
    """Remove a file, or a folder with all that is in it, as far as the system allows."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        with suppress(OSError):
            entry.unlink()


def _contents(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False


def _open_locked(path: Path) -> BinaryIO:
    """A new file, locked. It may be swept before it is locked: then it is made again."""
    while True:
        file = os.fdopen(private.open_descriptor(path, os.O_RDWR | os.O_CREAT), "wb+")
        _lock(file, wait=True)
        if _is_at(file, path):
            return file
        file.close()


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether the path still names the open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _lock(file: BinaryIO, *, wait: bool) -> bool:
    """Lock an open file; without `wait`, False if another one has it locked."""
    if fcntl is None:  # pragma: no cover - Windows
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return wait
    return True


__all__ = [
    "abandoned",
    "is_temporary",
    "make_folder",
    "publish",
    "publish_folder",
    "publish_new",
    "remove",
    "rename",
    "replacing",
    "scratch_folder",
    "sweep",
    "sync_file",
    "sync_folder",
    "sync_tree",
    "temporary_file",
    "temporary_folder",
]
