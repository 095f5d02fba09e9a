"""The user's cache folder: fetched models, converted models, computed arrays.

All of it may be deleted. NumPy is imported where it is needed: a command that asks a running page
does without.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
import uuid
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from retriever.files import file_mode, make_folder, open_private

if TYPE_CHECKING:
    from retriever.arrays import Vectors

_UNFINISHED = ".part"

SHIPPED = Path(__file__).with_name("embedding") / "shipped"
"""Arrays of the default model that come with the package, so that no user has to compute them."""


def cache_folder() -> Path:
    """The cache folder: the platform's, or the value of the environment variable WVA_CACHE."""
    chosen = os.environ.get("WVA_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("wva-retriever")


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file with `write`; it appears at `path` only when it is complete.

    What killed processes have left of this file is removed first. A process holds a lock on what it
    writes, so that it is not taken for such a remain.
    """
    from filelock import FileLock  # a command that writes nothing does without

    make_folder(path.parent)
    _remove_unfinished(path)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_UNFINISHED}")
    lock = FileLock(scratch, mode=file_mode(path.parent))
    try:
        # Windows neither removes nor renames what is open: there it needs no lock.
        with nullcontext() if os.name == "nt" else lock:
            with open_private(scratch) as file:
                write(file)
            scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def _remove_unfinished(path: Path) -> None:
    """Remove what killed processes have left of a file that `write_atomically` writes."""
    from filelock import FileLock, Timeout

    for scratch in path.parent.glob(f".{glob.escape(path.name)}.*{_UNFINISHED}"):
        free = nullcontext() if os.name == "nt" else FileLock(scratch, blocking=False)
        with suppress(Timeout, OSError), free:
            scratch.unlink(missing_ok=True)


def cached_array(name: str, shape: tuple[int, ...], compute: Callable[[], Vectors]) -> Vectors:
    """The cached array `name` of this `shape`; computed and cached if it is missing or damaged.

    `SHIPPED` is searched before the cache. The file has NumPy's format, followed by the array's
    SHA-256. Files without a hash were written by an earlier version.
    """
    path = cache_folder() / f"{name}.npy"
    for known in (SHIPPED / f"{name}.npy", path):
        array = _read_array(known, shape)
        if array is not None:
            return array
    array = compute()
    write_atomically(path, lambda file: file.write(array_bytes(array)))
    return array


def array_bytes(array: Vectors) -> bytes:
    """The bytes that `cached_array` reads: the array in NumPy's format, and their SHA-256."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest()


def _read_array(path: Path, shape: tuple[int, ...]) -> Vectors | None:
    """The array in a file; None if its shape or hash is wrong, or a value is not finite."""
    import numpy as np

    try:
        data = path.read_bytes()
        file = io.BytesIO(data)
        array: Vectors = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None  # missing or damaged
    end = file.tell()
    is_whole = len(data) == end or data[end:] == hashlib.sha256(data[:end]).digest()
    return array if is_whole and array.shape == shape and np.isfinite(array).all() else None
