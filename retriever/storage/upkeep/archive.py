"""A backup as one file: a ZIP archive with the files of an index.

An archive may come from elsewhere, so it is checked before anything is unpacked: only files that
an index has, no path that leads out, no link, and no more bytes than it can plausibly hold and the
disk can take. Python's zipfile never unpacks more of a file than its stated size.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from retriever.files import CATALOG_FILE, FACTS_FILE, UPLOADS, make_folder, open_private
from retriever.types import IndexStateError

ENDING = ".zip"
"""The ending of an archive's name; without it, a backup is a folder."""

MAX_RATIO = 200
"""Unpacked bytes per byte of the archive; texts take a fifth of their size, terms a tenth."""

_SMALL = 16 * 2**20  # unpacked bytes that an archive may have, whatever its ratio
_SPARE = 64 * 2**20  # bytes left free on the disk
_MAX_DIRECTORY = 200_000_000  # bytes of the archive's directory: a million files
_VECTORS = re.compile(r"vectors-\d+\.faiss(\.rows|\.words)?")
_STORED = re.compile(r"\.faiss(\.rows)?$|\.(zip|docx|pptx|xlsx|odt|epub|pdf|png|jpe?g)$", re.I)
_UNSAFE = re.compile(r'[\x00-\x1f\\]|^$|^\.\.?$|^[A-Za-z]:|[<>:"|?*]' if os.name == "nt" else
                     r"[\x00\\]|^$|^\.\.?$|^[A-Za-z]:")  # fmt: skip
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_END, _LOCATOR, _END_64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_END_SIZE, _LOCATOR_SIZE, _END_64_SIZE = 22, 20, 56
_MAX_COMMENT = 65_535

TAIL = _END_64_SIZE + _LOCATOR_SIZE + _END_SIZE + _MAX_COMMENT
"""The number of bytes at the end of an archive that `directory_bytes` looks at."""

DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, RuntimeError)
"""What zipfile raises for a damaged archive; NotImplementedError is a RuntimeError."""


def pack(folder: Path, path: Path) -> None:
    """Write the archive `path` of all files in a folder, and read it once to check it."""
    with open_private(path, new=True) as file, zipfile.ZipFile(file, "w") as archive:
        for current, _, names in os.walk(folder):
            for name in sorted(names):
                one = Path(current, name)
                how = zipfile.ZIP_STORED if _STORED.search(name) else zipfile.ZIP_DEFLATED
                try:
                    archive.write(one, one.relative_to(folder).as_posix(), how)
                except UnicodeEncodeError:
                    raise IndexStateError(
                        f"the upload {name!r} has a name that an archive cannot hold; rename it, "
                        "or make the backup as a folder"
                    ) from None
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise IndexStateError(f"{path} was not written correctly ({damaged}); check the disk")


def unpack(path: Path, folder: Path) -> None:
    """Unpack the archive `path` into an empty folder; IndexStateError if it is no backup."""
    try:
        with path.open("rb") as file:
            _check_directory(file, path)
            with zipfile.ZipFile(file) as archive:
                members = [info for info in archive.infolist() if not info.is_dir()]
                _check(members, path, folder)
                for info in members:
                    _write(archive, info, folder / info.filename)
    except FileExistsError as error:
        raise _no_backup(path, f"it holds {Path(error.filename).name!r} twice") from None
    except DAMAGED as error:
        raise _no_backup(path, f"it is damaged: {error or type(error).__name__}") from None


def _check_directory(file: BinaryIO, path: Path) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL))
    if directory_bytes(file.read()) > _MAX_DIRECTORY:
        raise _no_backup(path, "it lists too many files")


def directory_bytes(data: bytes) -> int:
    """The bytes of the central directory that zipfile would read; 0 if it would find none.

    `data` is the archive, or its `TAIL`. It is looked up where zipfile looks: a directory of
    millions of files would fill the memory.
    """
    at = len(data) - _END_SIZE
    if not (data[at:].startswith(_END) and data.endswith(b"\0\0")):
        at = data.rfind(_END, max(0, at - _MAX_COMMENT))
    if at < 0 or at + _END_SIZE > len(data):
        return 0
    length: int = struct.unpack_from("<L", data, at + 12)[0]
    locator, end = at - _LOCATOR_SIZE, at - _LOCATOR_SIZE - _END_64_SIZE
    if end >= 0 and data.startswith(_LOCATOR, locator) and data.startswith(_END_64, end):
        length = struct.unpack_from("<Q", data, end + 40)[0]
    return length


def _check(members: list[zipfile.ZipInfo], path: Path, folder: Path) -> None:
    """Raise IndexStateError unless these can be the files of an index, and there is room."""
    for info in members:
        if info.flag_bits & 0x1 or info.compress_type not in _METHODS:
            raise _no_backup(path, f"{info.filename!r} is packed in a way that no backup is")
        if stat.S_ISLNK(info.external_attr >> 16) or not _is_part(info.filename):
            raise _no_backup(path, f"{info.filename!r} is not part of an index")
    if CATALOG_FILE not in {info.filename for info in members}:
        raise _no_backup(path, f"it holds no {CATALOG_FILE}")
    total = sum(info.file_size for info in members)
    if total > MAX_RATIO * path.stat().st_size + _SMALL:
        raise _no_backup(path, f"it would unpack to {total:,} bytes, more than a backup ever does")
    check_room(folder, total)


def _is_part(name: str) -> bool:
    """Whether a file of an archive may be one of an index.

    >>> [_is_part(one) for one in ("catalog.sqlite", "uploads/a/b.pdf", "uploads/../b", "LOCK")]
    [True, True, False, False]
    """
    first, *rest = name.split("/")
    if not rest:
        return first in (CATALOG_FILE, FACTS_FILE) or bool(_VECTORS.fullmatch(first))
    return first == UPLOADS and not any(_UNSAFE.search(part) for part in rest)


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    make_folder(target.parent)
    with archive.open(info) as packed, open_private(target, new=True) as file:
        shutil.copyfileobj(cast(BinaryIO, packed), file, 1 << 20)


def check_room(folder: Path, needed: int) -> None:
    """Raise IndexStateError if the disk with `folder` has not so many bytes, and a few more."""
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE:
        raise IndexStateError(
            f"{(needed + _SPARE) / 1e6:,.0f} MB of free disk space are needed in {folder}, "
            f"and there are {free / 1e6:,.0f}; free some space"
        )


def _no_backup(path: Path, why: str) -> IndexStateError:
    return IndexStateError(f"{path} is not a backup of an index: {why}; nothing was restored")


__all__ = [
    "DAMAGED",
    "ENDING",
    "MAX_RATIO",
    "TAIL",
    "check_room",
    "directory_bytes",
    "pack",
    "unpack",
]
