"""Paths → the files that could be indexed, each with its root, and why others were left out.

A root is a folder somebody asked to index; a file's path is told relative to it. Symbolic links
never lead out of a root. This module looks at names and sizes only; it opens nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from retriever.globs import glob_matches
from retriever.readers import supported
from retriever.types import UsageError


@dataclass(frozen=True, slots=True)
class Target:
    """One path asked for: everything below `root`, or the one file `only` in it."""

    root: Path
    only: str | None = None  # path relative to root

    def covers(self, root: str, path: str) -> bool:
        """Whether the file `path` of the root folder `root` is below this target."""
        whole = Path(root, path)
        if self.only is not None:
            return whole == self.root / self.only
        return whole.is_relative_to(self.root)


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of a scan; `reason` says why it is not to be read, or is empty."""

    root: Path
    path: str  # relative to root, with "/"
    size: int
    mtime_ns: int
    reason: str = ""

    @property
    def location(self) -> Path:
        """Where it lies."""
        return self.root / self.path


def targets(paths: Sequence[str | Path], known_roots: Sequence[str]) -> list[Target]:
    """What the user's paths mean. A path below a root that is known already belongs to that root.

    Raises UsageError for a path that does not exist or cannot be entered.
    """
    if not paths:
        raise UsageError("no path was given: name a folder or file to index")
    roots = [Path(root) for root in known_roots]
    return [_target(Path(path), roots) for path in paths]


def _target(path: Path, roots: Sequence[Path]) -> Target:
    try:
        real = path.expanduser().resolve(strict=True)
    except (OSError, RuntimeError):
        raise UsageError(f"there is no file or folder {str(path)!r}") from None
    if real.is_dir():
        if not os.access(real, os.R_OK | os.X_OK):
            raise UsageError(f"the folder {str(path)!r} may not be read")
        return Target(real)
    if not real.is_file():
        raise UsageError(f"{str(path)!r} is neither a file nor a folder")
    owner = next((root for root in roots if real.is_relative_to(root)), real.parent)
    return Target(owner, real.relative_to(owner).as_posix())


def scan(
    target: Target,
    roots: Sequence[str],
    include: Sequence[str],
    exclude: Sequence[str],
    hide: Sequence[Path],
) -> Iterator[FoundFile]:
    """The files of a target in order of their paths, hidden folders left out.

    A folder below a known root is told relative to that root. `include` and `exclude` are path
    globs; `hide` names folders that are never entered (the index itself).
    """
    owner = next((Path(root) for root in roots if target.root.is_relative_to(root)), target.root)
    if target.only is not None:
        yield _found(target.root, target.root / target.only)
        return
    for location in _walk(target.root, set(hide)):
        found = _found(owner, location)
        if not found.reason and not _wanted(found.path, include, exclude):
            found = FoundFile(owner, found.path, 0, 0, "left out by the patterns given")
        yield found


def _walk(folder: Path, hide: set[Path]) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, followlinks=False):
        here = Path(parent)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and here / name not in hide and name != "__pycache__"
        )
        links = [name for name in folders if (here / name).is_symlink()]
        for name in sorted([*files, *links]):
            yield here / name


def _found(root: Path, location: Path) -> FoundFile:
    path = location.relative_to(root).as_posix()
    reason = _reason(root, location)
    if reason:
        return FoundFile(root, path, 0, 0, reason)
    try:
        facts = location.stat()
    except OSError as error:
        return FoundFile(root, path, 0, 0, f"cannot be looked at: {error.strerror}")
    return FoundFile(root, path, facts.st_size, facts.st_mtime_ns)


def _reason(root: Path, location: Path) -> str:
    """Why this file is not read, or an empty text."""
    if location.name.startswith("."):
        return "hidden file"
    if location.is_symlink():
        try:
            real = location.resolve(strict=True)
        except (OSError, RuntimeError):
            return "symbolic link that leads nowhere"
        if not real.is_relative_to(root.resolve()):
            return "symbolic link that leads out of the folder"
        return "symbolic link; what it points to is indexed itself"
    if not location.is_file():
        return "not a regular file"
    if not supported(location):
        return f"format not supported ({location.suffix or 'no extension'})"
    return ""


def _wanted(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    if include and not any(glob_matches(pattern, path) for pattern in include):
        return False
    return not any(glob_matches(pattern, path) for pattern in exclude)
