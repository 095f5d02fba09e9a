"""The user's cache folder: fetched models, converted models, computed arrays.

All of it may be deleted. NumPy is imported where it is needed: a command that asks a running page
does without.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from retriever.files.durable import make_folder, replacing, sweep

if TYPE_CHECKING:
    from retriever.arrays import Vectors

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
    """Write a file with `write`; it appears at `path` only when it is complete."""
    make_folder(path.parent)
    sweep(path.parent)
    with replacing(path) as file:
        write(file)


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
