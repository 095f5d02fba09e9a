"""Lists the files below the user's paths: those that can be indexed, and why others are left out.

A root is a folder that the user asked to index; a file's path is relative to its root. Symbolic
links below a root are not followed. This module reads names and sizes only; it opens no file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from retriever.files import UPLOADS
from retriever.reading.formats import supported
from retriever.text.globs import selects
from retriever.types import UsageError

TOOL_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages"})
"""Folders of third-party code and generated files. They are left out, as hidden folders are."""

LEFT_OUT = "left out by the patterns given"


@dataclass(frozen=True, slots=True)
class Target:
    """A path to index: a folder with everything below it, or one file (`single`).

    File paths are relative to `root`, which is `path` or a folder above it. `hide` are folders
    below `path` that do not belong to the target.
    """

    root: Path
    path: Path
    single: bool = False
    hide: tuple[Path, ...] = ()

    def covers(self, location: Path) -> bool:
        """Whether a file at `location` belongs to this target."""
        return self.covers_place(str(location))

    def covers_place(self, location: str) -> bool:
        """Whether a file at the full path `location` belongs to this target."""
        if self.single:
            return location == str(self.path)
        return is_below(location, str(self.path)) and not any(
            is_below(location, str(folder)) for folder in self.hide
        )


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of a scan; `reason` says why it is not read, and is empty if it is.

    `changed_ns` is the later of the modification and the status-change time: the status also
    changes when a program sets the modification time back. `failed` marks files and folders that
    should be read but are not accessible.
    """

    root: Path
    path: str  # relative to root, with "/"
    size: int = 0
    changed_ns: int = 0
    reason: str = ""
    failed: bool = False

    @property
    def location(self) -> Path:
        """The full path."""
        return self.root / self.path

    @property
    def place(self) -> str:
        """The full path as text, which takes less time where there are many files."""
        return place(str(self.root), self.path)


def place(root: str, path: str) -> str:
    """The full path of a file below a root, as text."""
    below = path.replace("/", os.sep)
    return f"{root.rstrip(os.sep)}{os.sep}{below}" if below not in ("", ".") else root


def is_below(location: str, folder: str) -> bool:
    """Whether a full path is that of a folder or of something in it."""
    return location == folder or location.startswith(folder.rstrip(os.sep) + os.sep)


def targets(
    paths: Sequence[str | Path], known_roots: Sequence[str], hide: Sequence[Path] = ()
) -> list[Target]:
    """The targets for the user's paths. A path below a known root belongs to that root.

    Raises UsageError for a path that does not exist, is not accessible, or lies in a folder of
    `hide` (real paths of indexes). Uploads in an index are allowed, as a root of their own.
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
    """Whether a scan of `root` does not reach `path` because it is inside an index."""
    return any(
        path.is_relative_to(folder) and not root.is_relative_to(folder / UPLOADS) for folder in hide
    )


def _real(path: str | Path, hide: Sequence[Path]) -> Path:
    """The absolute path with links resolved; UsageError if it cannot be indexed."""
    text = str(path)
    if not text.strip():
        # Path("") is the current folder, which an empty argument does not mean.
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
    """The outermost root whose scan reaches `path`; else the folder that contains it."""
    for root in roots:
        if path.is_relative_to(root) and not _is_hidden(path.relative_to(root)):
            return root
    return path.parent


def scan(
    target: Target, include: Sequence[str], exclude: Sequence[str], hide: Sequence[Path]
) -> Iterator[FoundFile]:
    """The files of a target, folder by folder in order of their names, without hidden folders.

    `include` and `exclude` are patterns on paths, as in .gitignore. `hide` are folders that are
    never entered (the index itself).
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
                yield _look_at_entry(root, entry)


def _is_entered(folder: Path) -> bool:
    """Whether a folder is scanned: not if it is hidden or made by a tool."""
    if folder.name.startswith(".") or folder.name in TOOL_FOLDERS:
        return False
    return not os.path.lexists(folder / "pyvenv.cfg")  # a virtual environment of Python


def _look_at_entry(root: Path, entry: os.DirEntry[str]) -> FoundFile | None:
    """The file of an entry; the many ordinary ones without `Path`, which takes most of the time."""
    try:
        facts = os.lstat(entry.path)
    except OSError:
        return _look_at(root, Path(entry))
    path = entry.path[len(str(root).rstrip(os.sep)) + 1 :]
    plain = stat.S_ISREG(facts.st_mode) and is_below(entry.path, str(root))
    hidden = path.startswith(".") or "/." in path
    named = entry.name.lower() not in _CONTAINERS and supported(entry.name)
    if not (plain and named and not hidden and path.isascii()):
        return _look_at(root, Path(entry))
    return FoundFile(root, path, facts.st_size, max(facts.st_mtime_ns, facts.st_ctime_ns))


def _look_at(root: Path, location: Path) -> FoundFile | None:
    """The file at `location`; None if it no longer exists."""
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


_CONTAINERS = {
    "winmail.dat": "a container of Outlook (TNEF): ask for the mail in HTML or plain text",
}
"""Files that are known by their names, and why they are not read."""


def _reason(root: Path, location: Path, mode: int) -> str:
    """Why the file is not read; empty if it is."""
    if _is_hidden(location.relative_to(root)):
        return "hidden file"
    if stat.S_ISLNK(mode):
        return _link_reason(root, location)
    if not stat.S_ISREG(mode):
        return "not a regular file"
    if location.name.lower() in _CONTAINERS:
        return _CONTAINERS[location.name.lower()]
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
    """Whether a path is valid UTF-8: Python gives other bytes as lone surrogates."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(path: str) -> str:
    r"""The path in printable form, with invalid bytes as escapes.

    >>> _printable("a\udcff.txt")
    'a\\udcff.txt'
    """
    return path.encode("utf-8", "backslashreplace").decode()


def _is_selected(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    if include and not any(selects(pattern, path, within=False) for pattern in include):
        return False
    return not any(selects(pattern, path) for pattern in exclude)


def idle_patterns(
    found: Iterable[FoundFile], include: Sequence[str], exclude: Sequence[str]
) -> list[str]:
    """The patterns that select none of the files found.

    A pattern for hidden folders or those of tools is never idle: they are left out anyway.
    """
    paths = [file.path for file in found]
    idle = [each for each in include if not any(selects(each, p, within=False) for p in paths)]
    idle += [each for each in exclude if not any(selects(each, path) for path in paths)]
    return [each for each in idle if paths and not _is_for_hidden(each)]


def _is_for_hidden(pattern: str) -> bool:
    parts = [part for part in pattern.split("/") if part not in ("", ".", "**")]
    return any(part.startswith(".") or part in TOOL_FOLDERS for part in parts)
