"""The files of an index: their names, and how they are made for their owner alone.

What is written here holds the texts of documents. A group shares an index if its folder has the
setgid bit (`chmod g+rwxs FOLDER`): what is made there gets the rights that the group has in the
folder. Nobody else gets any, whatever the umask. Windows has no such modes: there a folder's own
rights apply. What the folder of an index holds is told in `indexes/README.md`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Literal

from retriever.types import IndexStateError

CATALOG_FILE = "catalog.sqlite"
NEW_CATALOG = f".{CATALOG_FILE}.new"
"""The catalog while it is made; it gets its name when it is complete."""

LOCK_FILE = "LOCK"
UPLOADS = "uploads"
BIN = "removed"
"""The folder of uploads that were removed, which can come back for a day."""

FACTS_FILE = "collection.json"
WANTED_FILE = "wanted"

VECTOR_FILE = re.compile(r"vectors-\d+\.faiss")
"""The name of a vector file. Those of the files beside it begin with it."""

_OWNER = 0o700
_GROUP = 0o070
_HAS_MODES = os.name == "posix"


def is_part(name: str) -> bool:
    """Whether an entry of an index's folder belongs to the index.

    >>> [is_part(name) for name in ("catalog.sqlite-wal", "vectors-00000001.faiss.rows", "a.txt")]
    [True, True, False]
    """
    return (
        name.startswith((CATALOG_FILE, NEW_CATALOG))
        or name in (LOCK_FILE, UPLOADS, BIN, FACTS_FILE, WANTED_FILE, f"{WANTED_FILE}.read")
        or ".faiss" in name
    )


def kind_of(path: Path) -> Literal["", "file", "folder"]:
    """What a path is; empty if there is nothing. Raises IndexStateError if that cannot be seen."""
    try:
        return "folder" if stat.S_ISDIR(path.stat().st_mode) else "file"
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        raise unreachable(path, error) from error


def unreachable(path: Path, error: OSError | ValueError) -> IndexStateError:
    """The error for a path that the system does not let us look at."""
    reason = error.strerror if isinstance(error, OSError) else error
    return IndexStateError(
        f"{path} cannot be looked at ({reason or error}); check the folder's permissions"
    )


def make_folder(folder: Path) -> None:
    """Make a folder, and those around it that are missing; an existing one stays as it is."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    try:
        folder.mkdir(_OWNER)
    except FileExistsError:  # another process may have been faster
        if not folder.is_dir():
            raise
        return
    _allow(folder, _OWNER | _group_rights(folder.parent))


def open_private(path: Path, *, new: bool = False) -> BinaryIO:
    """Open a file for writing from its beginning; FileExistsError if it must be `new` and is not.

    A link is never followed.
    """
    flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if new else os.O_TRUNC)
    return os.fdopen(open_descriptor(path, flags), "wb")


def open_descriptor(path: Path, flags: int) -> int:
    """Open a file with flags of `os.open`, `O_CREAT` among them; a link is never followed."""
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    mode = file_mode(path.parent)
    descriptor = os.open(path, flags, mode)
    with suppress(OSError):
        # It may have been there before, or the umask has cut the mode.
        if _HAS_MODES and os.fstat(descriptor).st_mode & 0o777 != mode:
            os.fchmod(descriptor, mode)
    return descriptor


def write_private(path: Path, data: bytes) -> None:
    """Write a whole file, in place."""
    with open_private(path) as file:
        file.write(data)


def file_mode(folder: Path) -> int:
    """The mode of a new file in a folder: its owner's, and the group's where it is shared."""
    return 0o600 | (_group_rights(folder) & 0o060)


def sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a loss of power (POSIX only)."""
    if _HAS_MODES:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def tighten(folder: Path, is_part: Callable[[str], bool]) -> None:
    """Take from others the rights in a folder and in those of its entries that are `is_part`.

    The group keeps its rights where the folder is shared. What belongs to another user, links, and
    what cannot be changed stay as they are.
    """
    if not _HAS_MODES:
        return
    with suppress(OSError):
        taken = 0o007 if _group_rights(folder) else 0o077
        for path in (folder, *(one for one in folder.iterdir() if is_part(one.name))):
            with suppress(OSError):
                _take(path, taken)


def _take(path: Path, taken: int) -> None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode) or status.st_uid != os.geteuid():
        return
    if status.st_mode & taken:
        path.chmod(stat.S_IMODE(status.st_mode) & ~taken)


def _group_rights(folder: Path) -> int:
    """The rights of the group in a folder that is shared with it on purpose; else none."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return 0
    return mode & _GROUP if _HAS_MODES and mode & stat.S_ISGID else 0


def _allow(path: Path, mode: int) -> None:
    """Give a path a mode that the umask may have cut; special bits such as setgid stay."""
    if not _HAS_MODES:
        return
    with suppress(OSError):
        known = path.stat().st_mode
        if known & 0o777 != mode:
            path.chmod(stat.S_IMODE(known) & ~0o777 | mode)


__all__ = [
    "BIN",
    "CATALOG_FILE",
    "FACTS_FILE",
    "LOCK_FILE",
    "NEW_CATALOG",
    "UPLOADS",
    "VECTOR_FILE",
    "WANTED_FILE",
    "file_mode",
    "is_part",
    "kind_of",
    "make_folder",
    "open_descriptor",
    "open_private",
    "sync_folder",
    "tighten",
    "unreachable",
    "write_private",
]
