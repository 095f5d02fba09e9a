"""A PDF file opened: repaired where its table is lost, with a password where it needs one."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pypdf
from pypdf.errors import DependencyError, LimitReachedError, PyPdfError

from retriever.readers.pdf.repair import repaired
from retriever.types import ReadError

VERSION = 1

MAX_PAGES = 20_000
"""Pages read of one file; a page tree with more is an attack or needs splitting."""

# What pypdf raises for an encryption it does not know, or has no library for.
_FOREIGN = (DependencyError, NotImplementedError)


class LockedError(Exception):
    """The file is encrypted and was not opened; the message says why, for the user."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What reads the file, its pages (at most one more than MAX_PAGES), and what opened it.

    `data` are the bytes that opened, repaired ones where the file's own did not.
    """

    reader: pypdf.PdfReader
    pages: list[Any]
    data: bytes
    password: str


def opened(data: bytes, passwords: Sequence[str]) -> Opened:
    """The file with the first of the passwords that opens it, none at all tried before.

    Raises LockedError for an encryption that stays closed, ReadError for a broken file.
    """
    try:
        return _pages(data, passwords)
    except LockedError:
        raise
    except _FOREIGN as error:
        raise _foreign(error) from None
    # pypdf's own words: "broken PDF files might cause other Exceptions".
    except Exception as first:  # noqa: BLE001 - see the line above
        return _opened_repaired(data, passwords, first)


def _opened_repaired(data: bytes, passwords: Sequence[str], first: Exception) -> Opened:
    if isinstance(first, LimitReachedError) or _is_page_loop(first):
        raise ReadError(f"broken: {pdf_error_text(first)}") from None
    try:
        return _pages(repaired(data), passwords)
    except LockedError:
        raise
    except _FOREIGN as error:
        raise _foreign(error) from None
    except Exception:  # noqa: BLE001 - the first error says what is wrong with the file
        raise ReadError(f"broken: {pdf_error_text(first)}") from None


def _is_page_loop(error: Exception) -> bool:
    return "cyclic" in str(error) or isinstance(error, RecursionError)


def _foreign(error: Exception) -> LockedError:
    return LockedError(f"encrypted in a way that cannot be read here: {pdf_error_text(error)}")


def _pages(data: bytes, passwords: Sequence[str]) -> Opened:
    reader = pypdf.PdfReader(io.BytesIO(data))
    password = _unlocked(reader, passwords) if reader.is_encrypted else ""
    pages = [reader.pages[number] for number in range(min(len(reader.pages), MAX_PAGES + 1))]
    if not pages:
        raise PyPdfError("it has no pages")
    return Opened(reader, pages, data, password)


def _unlocked(reader: pypdf.PdfReader, passwords: Sequence[str]) -> str:
    """The password that opens it, as user or as owner; the empty one where none is needed."""
    for password in ("", *passwords):
        if any(reader.decrypt(written) for written in _written(password)):
            return password
    raise LockedError(_no_password(len(passwords)))


def _written(password: str) -> Iterator[str | bytes]:
    """The ways in which programs turn a password into bytes: the standard's one comes first."""
    yield password
    if not password.isascii():
        yield password.encode("utf-8", "replace")
        for encoding in ("latin-1", "cp1252", "mac-roman"):
            with suppress(UnicodeEncodeError):
                yield password.encode(encoding)


def _no_password(count: int) -> str:
    if not count:
        return "password needed: give it with --password"
    if count == 1:
        return "password needed: the one given does not open it"
    return f"password needed: none of the {count} passwords given opens it"


def pdf_error_text(error: Exception) -> str:
    """Pypdf's error message as the end of a sentence, without its references to objects."""
    if isinstance(error, RecursionError):
        return "its parts are nested without end"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    words = " ".join(str(error).split()).split(". ")[0][:200].rstrip(".!")
    words = re.sub(r"IndirectObject\((\d+), (\d+), \d+\)", r"object \1", words)
    return words or type(error).__name__
