"""Text that a terminal shows and does not obey, and counts in words."""

from __future__ import annotations

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """`text` without control characters, which a terminal would obey.

    >>> printable("a" + chr(27) + "[2Jb")
    'a�[2Jb'
    """
    return "".join(c if c.isprintable() or c in "\n\t" else _REPLACEMENT for c in text)


def one_line(text: str) -> str:
    r"""`text` as `printable`, on one line: a file's name may hold line breaks, too.

    >>> one_line("a\nb\tc.txt")
    'a�b�c.txt'
    """
    return "".join(c if c.isprintable() else _REPLACEMENT for c in text)


def count_text(count: int, thing: str) -> str:
    """A count with its noun, in the plural if needed.

    >>> count_text(1, "file"), count_text(1200, "file")
    ('1 file', '1,200 files')
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


__all__ = ["count_text", "one_line", "printable"]
