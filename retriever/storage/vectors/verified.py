"""Remembered checks of large files: hashing a gigabyte takes longer than all else at the start.

Beside a large file lies a small one with its hash, size and time of change as they were when it was
hashed last. While these are unchanged the file is used at once, and hashed in the background soon
after: damage that changes no time of change is found then.
"""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import suppress
from pathlib import Path

from retriever.files.private import write_private

MIN_BYTES = 64 * 2**20
"""Smaller files are hashed each time."""

_MAX_BYTES = 4096  # of what is remembered of one file

DELAY = 5.0
"""Seconds until the check in the background begins, so that a single search does without it."""


def verified_path(path: Path) -> Path:
    """Where the check of a file is remembered."""
    return path.with_name(f"{path.name}.checked")


def remember(path: Path, sha256: str) -> None:
    """Remember that a file has this hash, if it is large and the folder can be written."""
    with suppress(OSError):
        if path.stat().st_size >= MIN_BYTES:
            write_private(verified_path(path), json.dumps(_facts(path, sha256)).encode())


def is_remembered(path: Path, sha256: str) -> bool:
    """Whether the file is as it was when it had this hash."""
    try:
        with verified_path(path).open("rb") as file:
            known = json.loads(file.read(_MAX_BYTES))
        return bool(known == _facts(path, sha256))
    except (OSError, RecursionError, ValueError):
        return False


def hash_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Recheck:
    """A check in the background: `failed` once the file turned out to be damaged."""

    def __init__(self, path: Path, sha256: str) -> None:
        self.failed = False
        self._path, self._sha256 = path, sha256
        self._timer = threading.Timer(DELAY, self.run)
        self._timer.daemon = True

    def start(self) -> None:
        """Check soon."""
        self._timer.start()

    def run(self) -> None:
        """Check now. A file that is gone was replaced, and is not damaged."""
        with suppress(OSError):
            if hash_of(self._path) != self._sha256:
                verified_path(self._path).unlink(missing_ok=True)
                self.failed = True


def _facts(path: Path, sha256: str) -> dict[str, object]:
    status = path.stat()
    return {"sha256": sha256, "size": status.st_size, "mtime_ns": status.st_mtime_ns}


__all__ = ["DELAY", "MIN_BYTES", "Recheck", "hash_of", "is_remembered", "remember", "verified_path"]
