"""What this process has open."""

import os
from contextlib import suppress
from pathlib import Path


def open_inodes(*, deleted: bool = False) -> set[int]:
    """The inodes of open files, also of those that were deleted; or of the latter alone.

    The number of a deleted file may be that of a new one soon, so it says little without that.
    """
    found = set()
    for handle in Path("/dev/fd").iterdir():
        with suppress(OSError):  # the folder's own is closed
            facts = os.fstat(int(handle.name))
            if not deleted or facts.st_nlink == 0:
                found.add(facts.st_ino)
    return found
