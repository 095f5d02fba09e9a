"""What a reader may know of the run it reads for: passwords, OCR, and how to read what is inside.

Readers take `(data, name, run)`; those that need nothing of a run take `(data, name)` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from retriever.types import Document, ReadError

VERSION = 1

MAX_DEPTH = 3
"""A file in a mail in a mail is read; what lies deeper is not."""

PAGE_SECONDS = 30.0
"""So long a page may take when the one before it is done."""

OCR_SECONDS = 60.0
"""So long the recognition of one page's picture may take."""


def _no_time_kept(seconds: float) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read in one run.

    `passwords` are tried on what is encrypted, in order; `ocr` names Tesseract's languages
    ("eng+deu") and is empty where scanned pages are only reported; `native` is False when compiled
    code that can do without is to be left alone, because it brought a process down; `earn` is told
    before every part of a file how many seconds it may take; `door` reads a file inside of a file.
    """

    passwords: tuple[str, ...] = ()
    ocr: str = ""
    native: bool = True
    earn: Callable[[float], None] = _no_time_kept
    door: Callable[[bytes, str, Reading], Document] | None = None
    depth: int = 0

    def inner(self, data: bytes, name: str) -> Document:
        """The document in a file that lies inside of the one being read.

        Raises ReadError when it cannot be read, or lies too deep.
        """
        if self.door is None or self.depth >= MAX_DEPTH:
            raise ReadError("it lies too deep: a file in a file in a file")
        return self.door(data, name, replace(self, depth=self.depth + 1))
