"""Documents in object storage: what an address names is copied to a folder, and kept in step.

Only what has changed since the last time, by tag, size and time, is fetched. Addresses are those of
fsspec, such as s3://bucket/folder; for some a package is needed, which its message names. The
folder is in the user's cache, and can be read by its owner alone; without it all is fetched again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from retriever.cache import cache_folder
from retriever.files import durable, private
from retriever.reading.formats import MAX_BYTES, supported
from retriever.types import UsageError

AT_ONCE = 8
"""Objects that are fetched at the same time."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_FACTS = ".fetched.json"  # beside the files, hidden: a scan leaves it out


@dataclass(frozen=True, slots=True)
class Fetched:
    """The folder with the copies, and the objects without a present copy: name → reason."""

    folder: Path
    failed: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Object:
    name: str  # below the address
    place: str  # as its file system names it
    mark: tuple[str, ...]  # by which a change is known
    changed: float | None


def is_address(path: object) -> bool:
    """Whether a path is the address of object storage.

    >>> is_address("s3://bucket/reports"), is_address("reports"), is_address("C:/reports")
    (True, False, False)
    """
    return isinstance(path, str) and bool(_ADDRESS.match(path))


def fetch(address: str, home: Path | None = None) -> Fetched:
    """Bring the copy of what an address names up to date.

    `home` is the folder of all copies. Raises UsageError if the address cannot be listed.
    """
    system, root = _system(address)
    folder = (home or cache_folder() / "objects") / _folder_name(address)
    private.make_folder(folder)
    before = _known(folder)
    try:
        objects = list(_listed(system, root))
    except Exception as error:  # noqa: BLE001 - each file system has its own errors
        raise UsageError(f"{address!r} cannot be listed: {_reason(error)}") from None
    if not objects:
        raise UsageError(f"there is no file of a supported format at {address!r}")
    failed: dict[str, str] = {}
    now: dict[str, tuple[str, ...]] = {}

    def bring(one: _Object) -> None:
        target = folder / one.name
        if before.get(one.name) != one.mark or not target.is_file():
            try:
                _copy(system, one, target)
            except Exception as error:  # noqa: BLE001 - costs this object only
                failed[one.name] = f"it could not be fetched: {_reason(error)}"
                return
        now[one.name] = one.mark

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(bring, objects))
    _remove_others(folder, {one.name for one in objects})
    with durable.replacing(folder / _FACTS) as file:
        file.write(json.dumps(now).encode())
    return Fetched(folder, dict(sorted(failed.items())))


def _system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the place in it. Raises UsageError without one."""
    try:
        from fsspec.core import url_to_fs

        system, root = url_to_fs(address)
    except (ImportError, ValueError) as error:  # the message names the package
        raise UsageError(f"{address!r} cannot be opened: {_reason(error)}") from None
    return system, str(root).rstrip("/")


def _folder_name(address: str) -> str:
    """A name for the copy that tells people what it is of, and that no other address has."""
    readable = re.sub(r"[^\w.-]+", "-", address.partition("://")[2]).strip("-.")[-60:]
    return f"{readable or 'root'}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"


def _listed(system: Any, root: str) -> Iterator[_Object]:
    """The objects of a supported format, by name; one whose name leads elsewhere is left out."""
    found: Mapping[str, Mapping[str, Any]] = system.find(root, detail=True)
    for place, facts in sorted(found.items()):
        name = place[len(root) :].lstrip("/") if place != root else PurePosixPath(place).name
        if not supported(name) or not _is_plain(name) or facts.get("type") == "directory":
            continue
        if (facts.get("size") or 0) > MAX_BYTES:
            continue
        told = (facts.get(one) for one in ("ETag", "etag", "size", "LastModified", "mtime"))
        when = next(
            (facts[one] for one in ("LastModified", "mtime", "created") if facts.get(one)), None
        )
        changed = when.timestamp() if isinstance(when, datetime) else when
        yield _Object(name, place, tuple(map(str, told)), changed)


def _is_plain(name: str) -> bool:
    """Whether a name stays below the folder, and is none of ours."""
    parts = name.split("/")
    strange = {"", ".", ".."} & set(parts) or any("\\" in part or "\0" in part for part in parts)
    return not strange and not parts[0].startswith(".")


def _copy(system: Any, one: _Object, target: Path) -> None:
    """Fetch an object; the file is whole or not there."""
    private.make_folder(target.parent)
    with durable.replacing(target) as file, system.open(one.place, "rb") as source:
        while block := source.read(1 << 20):
            file.write(block)
    if one.changed is not None:
        os.utime(target, (one.changed, one.changed))


def _known(folder: Path) -> dict[str, tuple[str, ...]]:
    """What the copies were made of: name → mark."""
    try:
        found = json.loads((folder / _FACTS).read_text("utf-8"))
        return {str(name): tuple(map(str, mark)) for name, mark in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove the copies of objects that are gone."""
    for path in sorted(folder.rglob("*"), reverse=True):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif name not in names and name != _FACTS:
            path.unlink(missing_ok=True)


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")


__all__ = ["Fetched", "fetch", "is_address"]
