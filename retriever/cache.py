"""The user's cache: what was fetched, converted or computed once. All of it may be deleted."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from platformdirs import user_cache_path

from retriever.arrays import Vectors

SHIPPED = Path(__file__).with_name("embedding") / "shipped"
"""What comes with the package, so that no user has to compute it: the default model's arrays."""


def cache_folder() -> Path:
    """Where it lies; the variable WVA_CACHE overrides the platform's place."""
    chosen = os.environ.get("WVA_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("wva-retriever")


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file that appears at `path` only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as scratch:
        write(scratch)  # type: ignore[arg-type]  # a wrapper with all of a binary file's methods
    Path(scratch.name).replace(path)


def cached_array(name: str, shape: tuple[int, ...], compute: Callable[[], Vectors]) -> Vectors:
    """The array of this `shape` kept as `name`; computed if it is missing, or damaged.

    Looked for in `SHIPPED`, then in the cache. The file is NumPy's, with its SHA-256 behind the
    array; one without was written by an earlier version.
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
    """What `cached_array` reads: the array as NumPy writes it, and the SHA-256 of that."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest()


def _read_array(path: Path, shape: tuple[int, ...]) -> Vectors | None:
    """The array in a file; None unless it has this shape, finite values and the hash it names."""
    try:
        data = path.read_bytes()
        file = io.BytesIO(data)
        array: Vectors = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None  # not there yet, or not what was written
    end = file.tell()
    is_whole = len(data) == end or data[end:] == hashlib.sha256(data[:end]).digest()
    return array if is_whole and array.shape == shape and np.isfinite(array).all() else None
