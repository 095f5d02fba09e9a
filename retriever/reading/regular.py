"""Opens regular files only: a pipe or a device may have no end, and to open one may block.

A file may become one between the scan and its turn.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from retriever.types import ReadError


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read its bytes, without waiting.

    Raises OSError if it cannot be opened, and ReadError if it is not a regular file.
    """
    try:
        stream = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - the caller closes it
    except IsADirectoryError:
        raise ReadError("not a regular file") from None
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise ReadError("not a regular file")
    return stream


def _without_waiting(path: str, flags: int) -> int:
    """Open a pipe nobody writes to at once; for regular files the flag means nothing."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_blocks(stream: BinaryIO, block: int, most: int) -> Iterator[bytes]:
    """The bytes in blocks, up to `most` in all: a file may grow as fast as it is read."""
    left = most
    while left > 0 and (found := stream.read(min(left, block))):
        yield found
        left -= len(found)


__all__ = ["open_regular", "read_blocks"]
