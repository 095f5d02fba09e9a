"""Detects the file type from the first bytes, not from the name."""

from __future__ import annotations

import io
import zipfile
import zlib

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"BM", "a BMP image"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"ID3", "an MP3 recording"),
    (b"OggS", "an Ogg recording"),
    (b"fLaC", "a FLAC recording"),
    (b"RIFF", "a recording"),
    (b"GGUF", "a GGUF model"),
    (b"wOFF", "a font"),
    (b"wOF2", "a font"),
    (b"{\\rtf", "rtf"),
    (b"%!PS", "a PostScript document"),
    (b"\x78\x9f\x3e\x22", "a container of Outlook (TNEF): ask for the mail in HTML or plain text"),
)
# Two letters are too little to call a file a program or an image when it reads as text.
_WEAK = (b"BM", b"MZ", b"ID3", b"BZh", b"GIF8", b"RIFF", b"GGUF", b"OggS")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_ZIPS = (
    ("xl/workbook.xml", "xlsx"),
    ("xl/workbook.bin", "a binary Excel workbook (.xlsb): save it as .xlsx"),
    ("ppt/presentation.xml", "pptx"),
    ("META-INF/container.xml", "epub"),
    ("content.xml", "odt"),
    ("META-INF/MANIFEST.MF", "a Java archive"),
)
_OPEN = {
    b"application/vnd.oasis.opendocument.text": "odt",
    b"application/vnd.oasis.opendocument.spreadsheet": "ods",
    b"application/vnd.oasis.opendocument.presentation": "odp",
}  # by what the package states of itself
_OFFICE = (("word", "docx"), ("ppt", "pptx"), ("xl", "xlsx"))  # by the folder of its parts
PICTURES = frozenset({"a PNG image", "a JPEG image", "a TIFF image", "a BMP image", "a WebP image"})
"""The image types that OCR can read."""

_PDF_REMAINS = (b"%PDF", b"endobj", b"startxref", b"trailer")
PDF_HEADER_WITHIN = 1024
"""PDF readers accept this many bytes before the header."""


def kind(data: bytes) -> str:
    """The type: "pdf", "docx", "ole", other types in words ("a PNG image"), "" for maybe text.

    >>> kind(b"%PDF-1.7 ..."), kind(b"GIF89a" + bytes(9)), kind(b"GIF89a was a format")
    ('pdf', 'a GIF image', '')
    """
    head = data[: PDF_HEADER_WITHIN + 8]
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"%PDF-"):
        return "pdf"
    if head.startswith(_OLE):
        return "ole"
    if head.startswith(_ZIP):
        return _zip_kind(data)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "a WebP image"
    if head[4:8] == b"ftyp":
        return "a video or image"
    for magic, name in _MAGIC:
        if head.startswith(magic) and (magic not in _WEAK or b"\x00" in head):
            return name
    return ""


def holds_pdf(data: bytes) -> bool:
    """Whether a PDF header is near the beginning, or other parts of a PDF are present."""
    return b"%PDF-" in data[: PDF_HEADER_WITHIN + 5] or any(mark in data for mark in _PDF_REMAINS)


def is_encrypted_office(data: bytes) -> bool:
    """Whether an OLE container holds an encrypted Office document."""
    return "EncryptedPackage".encode("utf-16-le") in data


def looks_like_html(data: bytes) -> bool:
    """Whether the bytes begin like an HTML page."""
    head = data[:512].replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").lower()
    return head.startswith((b"<!doctype html", b"<html")) or (
        head.startswith((b"<?xml", b"<!--")) and b"<html" in head
    )


def _stated_type(archive: zipfile.ZipFile) -> bytes:
    """The type that a package states; empty if that part is damaged."""
    try:
        with archive.open("mimetype") as part:
            return part.read(100).strip()
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, RuntimeError, EOFError):
        return b""


def _zip_kind(data: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            stated = _stated_type(archive) if "mimetype" in names else b""
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError):
        return "a damaged ZIP archive"
    # Office itself allows other names for the main part; its folder and the part list tell.
    folders = {name.partition("/")[0] for name in names}
    for folder, found in _OFFICE if "[Content_Types].xml" in names else ():
        if folder in folders and f"{folder}/workbook.bin" not in names:
            return found
    if stated in _OPEN:
        return _OPEN[stated]
    for member, name in _ZIPS:
        if member in names:
            return name
    return "a ZIP archive"
