"""The size of a ZIP archive's directory, told before anything of it is read."""

from __future__ import annotations

import struct

_END, _LOCATOR, _END_64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_END_SIZE, _LOCATOR_SIZE, _END_64_SIZE = 22, 20, 56
_MAX_COMMENT = 65_535

TAIL = _END_64_SIZE + _LOCATOR_SIZE + _END_SIZE + _MAX_COMMENT
"""The number of bytes at the end of an archive that `directory_bytes` looks at."""


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


__all__ = ["TAIL", "directory_bytes"]
