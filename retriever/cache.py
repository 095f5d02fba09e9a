"""The user's cache: what was fetched, converted or computed once. All of it may be deleted."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from platformdirs import user_cache_path

from retriever.arrays import Vectors


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


def remembered(name: str, shape: tuple[int, ...], compute: Callable[[], Vectors]) -> Vectors:
    """The array of this `shape` kept in the cache as `name`; computed if it is missing."""
    path = cache_folder() / f"{name}.npy"
    try:
        known: Vectors = np.load(path, allow_pickle=False)
        if known.shape == shape:
            return known
    except (OSError, ValueError):
        pass  # not there yet, or damaged: computed below
    array = compute()
    write_atomically(path, lambda file: np.save(file, array, allow_pickle=False))
    return array
