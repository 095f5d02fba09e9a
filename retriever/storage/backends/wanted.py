"""The file of wishes: passages without a vector that searches would have liked to compare.

Searches of any process append to it, and the process that makes vectors reads it between batches.
It is no data of the index: it may be lost, torn or unwritable, and a search never fails for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from retriever.files import WANTED_FILE, open_descriptor

FILE = WANTED_FILE
MAX_BYTES = 64 * 2**10
"""A longer file is not appended to until it is read."""

_ID = re.compile(rb"[0-9a-f]{16}")


def note(folder: Path, chunk_ids: Iterable[str]) -> None:
    """Append chunk ids, best first; silently not where that is impossible."""
    lines = "".join(f"{id_}\n" for id_ in chunk_ids).encode("ascii", "ignore")
    with suppress(OSError):
        file = open_descriptor(folder / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            if lines and os.fstat(file).st_size < MAX_BYTES:
                os.write(file, b"\n" + lines)  # a line that was torn before ends here
        finally:
            os.close(file)


def take(folder: Path) -> list[str]:
    """The chunk ids in the file, the last search's first; the file is then gone."""
    path, mine = folder / FILE, folder / f"{FILE}.read"
    try:
        path.replace(mine)
        with mine.open("rb") as file:
            lines = file.read(2 * MAX_BYTES).split(b"\n")
    except OSError:
        return []
    with suppress(OSError):
        mine.unlink()
    searches: list[list[str]] = [[]]
    for line in lines:
        if not line:
            searches.append([])
        elif _ID.fullmatch(line):
            searches[-1].append(line.decode())
    return list(dict.fromkeys(id_ for ids in reversed(searches) for id_ in ids))


__all__ = ["FILE", "MAX_BYTES", "note", "take"]
