"""What an upload may be: its format by its name, and the largest size that its reader takes.

The readers refuse a larger file, too, but only when it is stored and its turn has come.
"""

from __future__ import annotations

from pathlib import Path

from retriever.interface.zip_uploads import MAX_BYTES as MAX_ARCHIVE_BYTES
from retriever.interface.zip_uploads import is_archive
from retriever.reading.formats import BARE_NAMES, FORMATS, MAX_BYTES, format_of
from retriever.reading.pages import MAX_CHARACTERS
from retriever.reading.plain import code

# Of these the whole file is one page; a character takes at most four bytes.
_ONE_PAGE = frozenset(["txt", "code", "markdown", "rst", "subtitles", "calendar", "contacts"])
_BYTES = {
    **dict.fromkeys(_ONE_PAGE, 4 * MAX_CHARACTERS),
    **dict.fromkeys(["csv", "jsonl", "json"], 200_000_000),
    **dict.fromkeys(["rtf", "notebook"], 100_000_000),
    "eml": 120_000_000,
}
_PACKED = (".7z", ".rar", ".gz", ".tar", ".tgz", ".bz2", ".xz")

SENTENCE = (
    f"Up to {MAX_BYTES // 1_000_000} MB a file; plain text, code and Markdown up to "
    f"{MAX_CHARACTERS // 1_000_000} million characters, tables in text files 200 MB."
)
"""The limits in a sentence."""


def max_bytes(name: str) -> int:
    """The largest size of a file of this name in bytes; 0 if its format is not read.

    >>> max_bytes("a.md"), max_bytes("a.PDF"), max_bytes("a.mp4")
    (40000000, 500000000, 0)
    """
    if is_archive(name):
        return min(MAX_BYTES, MAX_ARCHIVE_BYTES)
    format_ = format_of(Path(name))
    return _BYTES.get(format_, MAX_BYTES) if format_ else 0


def endings() -> dict[str, int]:
    """The largest size in bytes by the ending of a file's name, in small letters."""
    known = {ending for format_ in FORMATS.values() for ending in format_.endings}
    return {ending: max_bytes(f"a{ending}") for ending in sorted({*known, ".zip"})}


def bare_names() -> list[str]:
    """Names without an ending, in small letters, of files that are read as text."""
    return sorted({*BARE_NAMES, *code.NAMES})


def refusal(name: str, size: int, data: bytes | None = None) -> str:
    """Why a file of this name, size and (if known) content is not kept; empty if it is.

    >>> refusal("film.mp4", 10)
    "'film.mp4' is of no format that is read; it was not kept"
    """
    most = max_bytes(name)
    if not most:
        packed = ": unpack it, and upload what is in it" if _is_packed(name) else ""
        return f"{name!r} is of no format that is read{packed}; it was not kept"
    if size > most:
        return f"{name!r} has {_mb(size)}, and {_mb(most)} is the most: split it. It was not kept"
    if data is not None and format_of(Path(name)) in _ONE_PAGE:
        count = _characters(data)
        if count > MAX_CHARACTERS:
            return (
                f"{name!r} has {count / 1e6:.1f} million characters, and "
                f"{MAX_CHARACTERS // 1_000_000} million is the most of such a file: split it. "
                "It was not kept"
            )
    return ""


def _is_packed(name: str) -> bool:
    return name.lower().endswith(_PACKED)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _characters(data: bytes) -> int:
    """The least number of characters of this text: of UTF-8, or half the bytes of UTF-16."""
    if len(data) <= MAX_CHARACTERS:
        return 0
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return len(data) // 2
    return len(data.decode("utf-8", "ignore"))


__all__ = ["SENTENCE", "bare_names", "endings", "max_bytes", "refusal"]
