"""The options of a read: passwords, OCR, time limits, and the callback for nested files.

Readers take `(data, name, options)`; readers that need no option take `(data, name)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from retriever.reading.recognised import KnownPages
from retriever.types import Account, Document, LeftOut, ReadError

MAX_DEPTH = 3
"""Maximum depth of nested files: a file in a mail in a mail."""

PAGE_SECONDS = 30.0
"""Time limit for one page, from the end of the page before it."""

OCR_SECONDS = 60.0
"""Time limit for the OCR of one page."""


def _no_deadline(seconds: float) -> None:
    return None


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read.

    - `passwords` are tried in order on encrypted files.
    - `ocr` names Tesseract's languages ("eng+deu"). If it is empty, scanned pages are reported but
      not recognised.
    - `allow_native` is False after compiled code crashed on the file: readers then use pure Python
      where they can.
    - `extend_deadline` is called before each part of a file with the seconds it may take.
    - `read_nested` reads a file inside another file, at nesting level `depth`.
    - `known` are pages with recognised text from an earlier run, which is reused. With `insist`,
      only text recognised in the languages of `ocr` is reused.
    - `read_as` collects the formats of the file and of the files nested in it, `left_out` what
      their readers leave out on purpose, `accounts` those of their words.
    - `nested` collects the documents of the files that lie directly in this one.
    """

    passwords: tuple[str, ...] = ()
    ocr: str = ""
    allow_native: bool = True
    extend_deadline: Callable[[float], None] = _no_deadline
    read_nested: Callable[[bytes, str, ReadOptions], Document] | None = None
    depth: int = 0
    known: KnownPages = field(default_factory=KnownPages)
    insist: bool = False
    read_as: set[str] = field(default_factory=set, compare=False)
    left_out: list[LeftOut] = field(default_factory=list, compare=False)
    accounts: list[Account] = field(default_factory=list, compare=False)
    nested: list[Document] = field(default_factory=list, compare=False)

    def inner(self, data: bytes, name: str) -> Document:
        """Read a file that is nested in the current one.

        Raises ReadError if the file cannot be read or is nested too deeply.
        """
        if self.read_nested is None or self.depth >= MAX_DEPTH:
            raise ReadError("it lies too deep: a file in a file in a file")
        return self.read_nested(data, name, replace(self, depth=self.depth + 1))
