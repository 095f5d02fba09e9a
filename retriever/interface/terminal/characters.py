"""Text that a terminal shows and does not obey, and counts in words."""

from __future__ import annotations

import re

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_SPACES = frozenset("\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))))
"""Spaces of other widths."""

# Control characters, those that reverse the direction of writing, line and paragraph separators,
# lone surrogates, and the invisible copies of ASCII ("tags").
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def without_controls(text: str) -> str:
    r"""`text` for a page or a file: what is invisible and acts on its neighbours is replaced.

    Each such character is replaced by one, but for the two of a line's end. Other invisible
    characters, such as those that join letters and emoji, stay.

    >>> without_controls("a\x1b[2Jb\r\nc\u202ed")
    'a\ufffd[2Jb \nc\ufffdd'
    """
    return _CONTROLS.sub(_REPLACEMENT, text.replace("\r\n", " \n").replace("\r", "\n"))


def printable(text: str) -> str:
    """`text` without control characters, which a terminal would obey.

    >>> printable("a" + chr(27) + "[2Jb")
    'a�[2Jb'
    """
    return "\n".join("\t".join(map(one_line, line.split("\t"))) for line in text.split("\n"))


def one_line(text: str) -> str:
    r"""`text` as `printable`, on one line: a file's name may hold line breaks, too.

    >>> one_line("a\nb\tc.txt")
    'a�b�c.txt'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c in _SPACES else _REPLACEMENT for c in text)


def count_text(count: int, thing: str) -> str:
    """A count with its noun, in the plural if needed.

    >>> count_text(1, "file"), count_text(1200, "file")
    ('1 file', '1,200 files')
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


__all__ = ["count_text", "one_line", "printable", "without_controls"]
