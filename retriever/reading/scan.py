"""Paths → the files that could be indexed, each with its root, and why others were left out.

A root is a folder somebody asked to index; a file's path is told relative to it. Symbolic links
never lead out of a root. This module looks at names and sizes only; it opens nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from retriever.reading.formats import supported
from retriever.text.globs import glob_matches
from retriever.types import UsageError

TOOL_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages"})
"""Folders full of other people's code and of what programs make; hidden ones are left out too."""

LEFT_OUT = "left out by the patterns given"

UPLOADS = "uploads"
"""The one folder inside of an index that may hold documents: files that were uploaded to it."""


@dataclass(frozen=True, slots=True)
class Target:
    """One path asked for: everything below the folder `path`, or the one file it is (`single`).

    `root` is what paths are told relative to: `path` itself, or a folder above it. `hide` names
    folders below that are no part of it.
    """

    root: Path
    path: Path
    single: bool = False
    hide: tuple[Path, ...] = ()

    def covers(self, location: Path) -> bool:
        """Whether a file at `location` belongs to this target."""
        if self.single:
            return location == self.path
        hidden = any(location.is_relative_to(folder) for folder in self.hide)
        return location.is_relative_to(self.path) and not hidden


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of a scan; `reason` says why it is not to be read, or is empty.

    `changed_ns` is the later of the times its content and its status changed: the second also
    tells a change after which the first was set back. `failed` marks what should be read but
    cannot even be looked at; it may be a folder.
    """

    root: Path
    path: str  # relative to root, with "/"
    size: int = 0
    changed_ns: int = 0
    reason: str = ""
    failed: bool = False

    @property
    def location(self) -> Path:
        """Where it lies."""
        return self.root / self.path


def targets(
    paths: Sequence[str | Path], known_roots: Sequence[str], hide: Sequence[Path] = ()
) -> list[Target]:
    """What the user's paths mean. A path below a root that is known already belongs to that root.

    Raises UsageError for a path that does not exist, cannot be entered, or lies in a folder of
    `hide` (real paths of indexes), but for what was uploaded there: that is a root of its own.
    """
    if not paths:
        raise UsageError("no path was given: name a folder or file to index")
    real = dict.fromkeys(_real(path, hide) for path in paths)
    folders = [path for path in real if path.is_dir()]
    roots = sorted({*map(Path, known_roots), *folders}, key=lambda root: len(root.parts))
    found = []
    for path in real:
        above = [root for root in roots if not _is_cut_off(root, path, hide)]
        hidden = tuple(folder for folder in hide if not path.is_relative_to(folder))
        found.append(Target(_root_of(path, above), path, path not in folders, hidden))
    return found


def _is_cut_off(root: Path, path: Path, hide: Sequence[Path]) -> bool:
    """Whether a scan of `root` would not come to `path`, because an index lies between."""
    return any(
        path.is_relative_to(folder) and not root.is_relative_to(folder / UPLOADS) for folder in hide
    )


def _real(path: str | Path, hide: Sequence[Path]) -> Path:
    """The folder or file meant, links resolved."""
    text = str(path)
    if not text.strip():
        # To Path it would be the current folder, which nobody means by naming nothing.
        raise UsageError("an empty path was given: name a folder or file to index")
    try:
        real = Path(path).expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        raise UsageError(f"there is no file or folder {text!r}") from None
    inside = [folder for folder in hide if real.is_relative_to(folder)]
    if any(not real.is_relative_to(folder / UPLOADS) for folder in inside):
        raise UsageError(f"{text!r} is the index itself; name the folder with your documents")
    if not _is_printable(real):
        raise UsageError(f"{text!r} has a name that is not valid UTF-8; rename it")
    if real.is_dir():
        if not os.access(real, os.R_OK | os.X_OK):
            raise UsageError(f"the folder {text!r} may not be read; check its permissions")
    elif not real.is_file():
        raise UsageError(f"{text!r} is neither a file nor a folder")
    return real


def _root_of(path: Path, roots: Sequence[Path]) -> Path:
    """The outermost of the roots from which a scan comes to `path`; else the folder it is in."""
    for root in roots:
        if path.is_relative_to(root) and not _is_hidden(path.relative_to(root)):
            return root
    return path.parent


def scan(
    target: Target, include: Sequence[str], exclude: Sequence[str], hide: Sequence[Path]
) -> Iterator[FoundFile]:
    """The files of a target, folder by folder in order of their names, hidden folders left out.

    `include` and `exclude` are globs on paths; `hide` names folders that are never entered (the
    index itself).
    """
    found = (
        [_look_at(target.root, target.path)]
        if target.single
        else _walk(target.root, target.path, frozenset(hide))
    )
    for file in found:
        if file is None:
            continue
        if not file.reason and not _is_selected(file.path, include, exclude):
            yield FoundFile(file.root, file.path, reason=LEFT_OUT)
        else:
            yield file


def _walk(root: Path, folder: Path, hide: frozenset[Path]) -> Iterator[FoundFile | None]:
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            path = here.relative_to(root).as_posix()
            yield FoundFile(
                root, _printable(path), reason=_error_reason(error, "entered"), failed=True
            )
            continue
        folders = [Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False)]
        waiting += [path for path in reversed(folders) if _is_entered(path) and path not in hide]
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                yield _look_at(root, Path(entry))


def _is_entered(folder: Path) -> bool:
    """Whether somebody's own files may be in it: not what tools have put there."""
    if folder.name.startswith(".") or folder.name in TOOL_FOLDERS:
        return False
    return not os.path.lexists(folder / "pyvenv.cfg")  # a virtual environment of Python


def _look_at(root: Path, location: Path) -> FoundFile | None:
    """What is there; None if it has vanished meanwhile."""
    path = location.relative_to(root).as_posix()
    try:
        facts = location.lstat()
        reason = _reason(root, location, facts.st_mode)
    except FileNotFoundError:
        return None
    except OSError as error:
        return FoundFile(
            root, _printable(path), reason=_error_reason(error, "looked at"), failed=True
        )
    if reason:
        return FoundFile(root, _printable(path), reason=reason)
    if not _is_printable(path):
        reason = "its name, or its folder's, is not valid UTF-8; rename it"
        return FoundFile(root, _printable(path), reason=reason, failed=True)
    return FoundFile(root, path, facts.st_size, max(facts.st_mtime_ns, facts.st_ctime_ns))


def _reason(root: Path, location: Path, mode: int) -> str:
    """Why this file is not one to be read, or an empty text."""
    if _is_hidden(location.relative_to(root)):
        return "hidden file"
    if stat.S_ISLNK(mode):
        return _link_reason(root, location)
    if not stat.S_ISREG(mode):
        return "not a regular file"
    if not supported(location):
        return f"format not supported ({_printable(location.suffix) or 'no extension'})"
    return ""


def _link_reason(root: Path, location: Path) -> str:
    try:
        real = location.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a loop
        return "symbolic link that leads nowhere"
    if not real.is_relative_to(root):
        return "symbolic link that leads out of the folder"
    return f"symbolic link to {_printable(real.relative_to(root).as_posix())}"


def _error_reason(error: OSError, done: str) -> str:
    return f"cannot be {done}: {(error.strerror or str(error)).lower()}"


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _is_printable(path: Path | str) -> bool:
    """Whether a path can be written as UTF-8: bytes that are none come as lone surrogates."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(path: str) -> str:
    r"""A path that can be printed, whatever its bytes are.

    >>> _printable("a\udcff.txt")
    'a\\udcff.txt'
    """
    return path.encode("utf-8", "backslashreplace").decode()


def _is_selected(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    if include and not any(glob_matches(pattern, path) for pattern in include):
        return False
    return not any(glob_matches(pattern, path) for pattern in exclude)
