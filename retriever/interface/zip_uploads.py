"""An archive (ZIP) that somebody uploaded → the files in it, each within bounds, one at a time.

Whatever an archive says of itself is doubted before it is believed: its list of files is measured
before it is read, and the sizes in the list are added up before anything is unpacked (Python's
zipfile never unpacks more of a file than is stated there). Nothing is written here.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from retriever.types import ReadError, UsageError

MAX_FILES = 5_000
"""Files of one archive."""

MAX_BYTES = 2_000_000_000
"""Bytes of all its files together, unpacked."""

_DIRECTORY_BYTES_PER_FILE = 1_000  # of one file in the list: its name and what goes with it
_END, _LOCATOR, _END_64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_END_SIZE, _LOCATOR_SIZE, _END_64_SIZE = 22, 20, 56
_MAX_COMMENT = 65_535
_ERRORS_OF_DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, RuntimeError)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A file in an archive: its path there, as it stands, and its size in bytes as stated."""

    path: str
    size: int
    _info: zipfile.ZipInfo
    _archive: zipfile.ZipFile

    def read(self) -> bytes:
        """What is in it. Raises ReadError with the reason, which follows a name: "is …"."""
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
    """Whether a file of this name is unpacked.

    >>> is_archive("Letters.ZIP"), is_archive("letters.docx")
    (True, False)
    """
    return name.lower().endswith(".zip")


def zip_members(name: str, data: bytes) -> Iterator[ZipMember]:
    """The files in the archive `data`, which is called `name`, in its order.

    Folders, links, and what is hidden (as `.DS_Store` is) are passed over. Raises UsageError for an
    archive that is damaged, or would be too much.
    """
    if _directory_bytes(data) > MAX_FILES * _DIRECTORY_BYTES_PER_FILE:
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


def _directory_bytes(data: bytes) -> int:
    """The bytes of the list of files that zipfile would read, 0 where it would find none.

    It is looked up where zipfile looks: a list of millions of files would fill the memory.
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


__all__ = ["MAX_BYTES", "MAX_FILES", "ZipMember", "is_archive", "zip_members"]
