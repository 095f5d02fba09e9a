"""Microsoft's OLE container: encrypted documents, and the formats before 2007.

Since 2007 encryption wraps a DOCX, PPTX or XLSX file in this container. Each password is tried in
turn, and the decrypted file is read by its own type.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from retriever.reading import extras
from retriever.reading.options import ReadOptions
from retriever.reading.pages import error_text
from retriever.reading.signatures import is_encrypted_office
from retriever.types import Document, Page, PageState, ReadError

_BUILT_IN = "VelvetSweatshop"
"""What Office itself encrypts with where only changes are protected; tried on everything."""

_MAX_TRIES = 100  # each takes a hundred thousand rounds of hashing
_STREAMS = (
    ("__properties_version1.0", "an Outlook message (.msg): save it as .eml"),
    ("WordDocument", "an old Word document (.doc): save it as .docx or .pdf"),
    ("PowerPoint Document", "an old PowerPoint presentation (.ppt): save it as .pptx or .pdf"),
    ("Workbook", "xls"),
    ("Book", "xls"),
    ("VisioDocument", "a Visio drawing (.vsd): save it as .pdf"),
    ("Quill", "a Publisher document (.pub): save it as .pdf"),
    ("Contents", "an older Works or Project file: save it as .pdf"),
)
_FORMATS = {".pptx": "pptx", ".ppsx": "pptx", ".pptm": "pptx", ".xlsx": "xlsx", ".xlsm": "xlsx"}


class LockedError(Exception):
    """No password opens the document; the message is the reason."""


def kind(data: bytes) -> str:
    """The format in the container: "locked" or "xls"; ReadError names unsupported formats."""
    if is_encrypted_office(data):
        return "locked"
    names = _names(data)
    for stream, found in _STREAMS:
        if stream in names:
            if found == "xls":
                return found
            raise ReadError(f"{found.partition(': ')[0]} is not read;{found.partition(':')[2]}")
    raise ReadError("an older Office file (.doc, .xls, .ppt or .msg); save it as .docx or .pdf")


def _names(data: bytes) -> set[str]:
    """The top-level streams; for a damaged container, stream names found anywhere in it."""
    with contextlib.suppress(Exception):
        olefile: Any = extras.load("olefile", "office", "older Office files")
        with olefile.OleFileIO(io.BytesIO(data)) as container:
            return {path[0] for path in container.listdir() if len(path) == 1}
    wanted = (stream for stream, _ in _STREAMS if len(stream) > len("Contents"))
    return {stream for stream in wanted if stream.encode("utf-16-le") in data}


def read_encrypted(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read the document inside if a password opens it; else one page with the reason."""
    try:
        opened = decrypt(data, options.passwords)
    except LockedError as reason:
        format_ = _FORMATS.get(PurePosixPath(name).suffix.lower(), "docx")
        return encrypted_document(name, format_, reason)
    return options.inner(opened, name)


def encrypted_document(name: str, format_: str, reason: LockedError) -> Document:
    """A document of one ENCRYPTED page."""
    return Document(name, format_, (Page(None, "", PageState.ENCRYPTED, str(reason)),))


def decrypt(data: bytes, passwords: Sequence[str]) -> bytes:
    """Decrypt the document; unchanged if not encrypted. Raises Locked if no password fits."""
    try:
        library: Any = extras.load("msoffcrypto", "office", "Office files under a password")
    except ReadError as missing:
        if is_encrypted_office(data):
            raise LockedError(f"password needed: {missing}") from None
        return data  # an old workbook, probably not encrypted: its reader decides
    tried = passwords[:_MAX_TRIES]
    try:
        file = library.OfficeFile(io.BytesIO(data))
        if not file.is_encrypted():
            return data
    # Damage and unknown encryption raise many types of exception.
    except Exception as error:  # noqa: BLE001 - see the line above
        if not is_encrypted_office(data):
            return data
        raise LockedError(_reason(tried, error)) from None
    failed: Exception | None = None
    for password in (_BUILT_IN, *tried):
        try:
            return _decrypt(library, file, password)
        except library.exceptions.InvalidKeyError:
            continue
        except Exception as error:  # noqa: BLE001 - as above; another password may yet fit
            failed = error
    raise LockedError(_reason(tried, failed))


def _decrypt(library: Any, file: Any, password: str) -> bytes:
    """Decrypt with one password; raises InvalidKeyError if it is wrong."""
    if file.format == "ooxml":
        file.load_key(password=password, verify_password=True)
    else:
        file.load_key(password=password)
    opened = io.BytesIO()
    file.decrypt(opened)
    found = opened.getvalue()
    if not found:
        raise library.exceptions.DecryptionError("nothing in it")
    return found


def _reason(tried: Sequence[str], error: Exception | None) -> str:
    """Why a document stays locked."""
    if not tried:
        return "password needed: the document is encrypted"
    if error is not None:
        words = error_text(error)
        return f"password needed: the document is encrypted, and cannot be opened ({words})"
    if len(tried) == 1:
        return "password needed: the one that was given does not fit"
    return f"password needed: none of the {len(tried)} that were given fits"
