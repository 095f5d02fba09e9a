"""An uploaded ZIP archive → its files, one at a time, within limits.

No statement of an archive is trusted: the size of its central directory is checked before the
directory is read, and the sizes in it are added up before anything is unpacked (Python's zipfile
never unpacks more of a file than is stated there). Nothing is written here.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from retriever.storage.upkeep.archive import directory_bytes
from retriever.types import ReadError, UsageError

MAX_FILES = 5_000
"""Files per archive."""

MAX_BYTES = 2_000_000_000
"""Bytes of all files of an archive together, unpacked."""

_DIRECTORY_BYTES_PER_FILE = 1_000  # an entry of the central directory: the name and other fields
_ERRORS_OF_DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, RuntimeError)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A file in an archive: its path and its size in bytes, both as stated there."""

    path: str
    size: int
    _info: zipfile.ZipInfo
    _archive: zipfile.ZipFile

    def read(self) -> bytes:
        """The file's bytes. Raises ReadError with a reason that follows the name: "is …"."""
        info = self._info
        if info.flag_bits & 0x1:
            raise ReadError("is encrypted: unpack the archive with its password, and upload that")
        if info.compress_type not in _METHODS:
            raise ReadError("is packed in a way that is not read: unpack it, and upload that")
        try:
            return self._archive.read(info)
        except _ERRORS_OF_DAMAGE as error:
            raise ReadError(f"is damaged ({error or type(error).__name__})") from None


def is_archive(name: str) -> bool:
    """Whether an upload of this name is unpacked.

    >>> is_archive("Letters.ZIP"), is_archive("letters.docx")
    (True, False)
    """
    return name.lower().endswith(".zip")


def zip_members(name: str, data: bytes) -> Iterator[ZipMember]:
    """The files in the archive `data`, which is called `name`, in its order.

    Folders, links and hidden files such as `.DS_Store` are skipped. Raises UsageError for an
    archive that is damaged or exceeds the limits.
    """
    if directory_bytes(data) > MAX_FILES * _DIRECTORY_BYTES_PER_FILE:
        raise UsageError(f"{name!r} lists more than {MAX_FILES:,} files; split it")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (*_ERRORS_OF_DAMAGE, struct.error):
        raise UsageError(f"{name!r} is not a ZIP archive, or damaged; it was not kept") from None
    with archive:
        inside = [info for info in archive.infolist() if _is_wanted(info)]
        if len(inside) > MAX_FILES:
            raise UsageError(f"{name!r} holds more than {MAX_FILES:,} files; split it")
        if sum(info.file_size for info in inside) > MAX_BYTES:
            most = f"{MAX_BYTES // 1_000_000:,} MB"
            raise UsageError(f"{name!r} holds more than {most} when it is unpacked; split it")
        for info in inside:
            yield ZipMember(info.filename, info.file_size, info, archive)


def _is_wanted(info: zipfile.ZipInfo) -> bool:
    if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
        return False
    parts = info.filename.replace("\\", "/").split("/")
    hidden = any(part.startswith(".") and part not in (".", "..") for part in parts)
    return not hidden and "__MACOSX" not in parts


__all__ = ["MAX_BYTES", "MAX_FILES", "ZipMember", "is_archive", "zip_members"]
