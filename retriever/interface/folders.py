"""The folders of this computer to choose from, below the user's own folder."""

from __future__ import annotations

import os
from pathlib import Path

MAX_FOLDERS = 200


def home_folder() -> Path:
    """The user's own folder; the root of the disk where there is none."""
    try:
        return Path.home().resolve()
    except (OSError, RuntimeError):
        return Path("/").resolve()


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder` by name, without hidden ones and links; empty if it is unreadable."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _is_shown(entry)]
    except OSError:
        return []
    return [folder / name for name in sorted(names, key=str.casefold)[:MAX_FOLDERS]]


def _is_shown(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def inside(path: Path, home: Path) -> Path:
    """`path` if it is a folder below `home`, else `home`."""
    try:
        real = path.resolve()
    except (OSError, RuntimeError):
        return home
    return real if real.is_relative_to(home) and real.is_dir() else home


__all__ = ["MAX_FOLDERS", "home_folder", "inside", "subfolders"]
