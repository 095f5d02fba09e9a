"""What this program writes to a terminal: all of it passes through here.

Texts, names, titles and errors may hold what a terminal would obey: it could change its title, its
clipboard, or lines that stand there already. `shown` lets this program's own styles through, and
nothing else; `escape_json` does the same for JSON, whose values stay exact. That nothing else in
the package prints is tested.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import unicodedata
from typing import TextIO

from retriever.interface.terminal.characters import printable

BOLD, DIM, RESET = "\033[1m", "\033[2m", "\033[0m"
CLEAR_LINE = "\r\033[K"

_OWN = re.compile(f"({'|'.join(map(re.escape, (BOLD, DIM, RESET)))})")
_OUTSIDE = re.compile(r"[^\x20-\x7e\n]")
_INVISIBLE = ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")


def shown(text: str) -> str:
    """`text` as a terminal may get it: its own styles stay, other control characters do not.

    >>> shown(BOLD + "a" + RESET + chr(27) + "]0;b") == BOLD + "a" + RESET + "\ufffd]0;b"
    True
    """
    parts = _OWN.split(text)
    return "".join(part if at % 2 else printable(part) for at, part in enumerate(parts))


def escape_json(text: str) -> str:
    r"""JSON with the invisible characters of its values escaped; it says the same.

    >>> escape_json('"a\x9b\u202eb"')
    '"a\\u009b\\u202eb"'
    """
    return _OUTSIDE.sub(_escaped, text)


def out(text: str) -> None:
    """Print lines on standard output."""
    print(shown(text))


def tell(text: str, *, end: str = "\n") -> None:
    """Print lines on standard error, at once."""
    print(shown(text), end=end, file=sys.stderr, flush=True)


def rewrite_line(text: str, *, end: str = "") -> None:
    """Replace the last line on standard error, which is a terminal."""
    print(f"{CLEAR_LINE}{shown(text)}", end=end, file=sys.stderr, flush=True)


def out_json(text: str) -> None:
    """Print a JSON document on standard output."""
    print(escape_json(text))


class PlainFormatter(logging.Formatter):
    """Formats log records for a terminal: their messages may quote names and texts."""

    def format(self, record: logging.LogRecord) -> str:
        """The record without control characters."""
        return printable(super().format(record))


class PlainWriter(io.TextIOBase):
    """A stream for what other libraries print by themselves, without control characters."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # an attribute there, as in streams
        """The encoding of the stream below."""
        return self._stream.encoding

    def write(self, text: str) -> int:
        """Write `text` as `printable`."""
        self._stream.write(printable(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream below."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream below is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The file number of the stream below."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Always."""
        return True


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


__all__ = [
    "BOLD",
    "DIM",
    "RESET",
    "PlainFormatter",
    "PlainWriter",
    "escape_json",
    "out",
    "out_json",
    "rewrite_line",
    "shown",
    "tell",
]
