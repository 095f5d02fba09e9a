"""Opens a PDF file: repairs a lost cross-reference table, tries passwords."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pypdf
from pypdf.errors import DependencyError, LimitReachedError, PyPdfError

from retriever.reading.pdf.damage import pages_with_gaps
from retriever.reading.pdf.repair import repair
from retriever.types import ReadError

MAX_PAGES = 20_000
"""Maximum number of pages of a file; a longer page tree is an attack or needs splitting."""

# Raised by pypdf for unknown encryption, or if a library for it is missing.
_UNSUPPORTED = (DependencyError, NotImplementedError)


class LockedError(Exception):
    """The file is encrypted and no password opened it; the message is for the user."""


@dataclass(frozen=True, slots=True)
class OpenPdf:
    """The pypdf reader, its pages (at most MAX_PAGES + 1), and the password that opened it.

    A page that the file has lost is None. `data` are the bytes that could be opened: repaired if
    the file's own could not.
    """

    reader: pypdf.PdfReader
    pages: list[Any]
    data: bytes
    password: str


def open_pdf(data: bytes, passwords: Sequence[str]) -> OpenPdf:
    """Open the file without a password, or with the first password that fits.

    Raises LockedError if no password fits, ReadError if the file is broken.
    """
    try:
        if data.rfind(b"startxref") < data.rfind(b" obj"):  # cut: half objects are misleading
            with suppress(Exception):
                return _pages(repair(data), passwords)
        return _pages(data, passwords)
    except LockedError:
        raise
    except _UNSUPPORTED as error:
        raise _unsupported(error) from None
    # pypdf's own words: "broken PDF files might cause other Exceptions".
    except Exception as first:  # noqa: BLE001 - see the line above
        return _open_repaired(data, passwords, first)


def _open_repaired(data: bytes, passwords: Sequence[str], first: Exception) -> OpenPdf:
    if isinstance(first, LimitReachedError) or _is_page_loop(first):
        raise ReadError(f"broken: {pdf_error_text(first)}") from None
    try:
        return _pages(repair(data), passwords)
    except LockedError:
        raise
    except _UNSUPPORTED as error:
        raise _unsupported(error) from None
    except Exception:  # noqa: BLE001 - the first error says what is wrong with the file
        raise ReadError(f"broken: {pdf_error_text(first)}") from None


def _is_page_loop(error: Exception) -> bool:
    return "cyclic" in str(error) or isinstance(error, RecursionError)


def _unsupported(error: Exception) -> LockedError:
    return LockedError(f"encrypted in a way that cannot be read here: {pdf_error_text(error)}")


def _pages(data: bytes, passwords: Sequence[str]) -> OpenPdf:
    reader = pypdf.PdfReader(io.BytesIO(data))
    password = _find_password(reader, passwords) if reader.is_encrypted else ""
    pages = [reader.pages[number] for number in range(min(len(reader.pages), MAX_PAGES + 1))]
    if not pages:
        raise PyPdfError("it has no pages")
    return OpenPdf(reader, pages_with_gaps(reader, pages)[: MAX_PAGES + 1], data, password)


def _find_password(reader: pypdf.PdfReader, passwords: Sequence[str]) -> str:
    """The user or owner password that opens the file; empty if none is needed."""
    for password in ("", *passwords):
        if any(reader.decrypt(written) for written in _encoded_passwords(password)):
            return password
    raise LockedError(_password_reason(len(passwords)))


def _encoded_passwords(password: str) -> Iterator[str | bytes]:
    """The encodings in which programs store a password; the standard's comes first."""
    yield password
    if not password.isascii():
        yield password.encode("utf-8", "replace")
        for encoding in ("latin-1", "cp1252", "mac-roman"):
            with suppress(UnicodeEncodeError):
                yield password.encode(encoding)


def _password_reason(count: int) -> str:
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
