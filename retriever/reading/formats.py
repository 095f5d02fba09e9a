"""The entry point to all readers: files in, pages of text out.

The bytes of a file decide its format; the name is only a hint. `read_document` raises ReadError if
the file gives no pages, and no other exception for any bytes. Otherwise each page is in exactly one
state, with a reason. This module does not detect languages and uses no model.

| format | files | pages |
|---|---|---|
| pdf | .pdf, and any file that begins as one | numbered from 1 |
| docx | .docx, and any file that is one | one, without a number |
| pptx | .pptx .pptm .ppsx, and any file that is one | "slide N", numbered from 1 |
| xlsx | .xlsx .xlsm, and any file that is one | "sheet NAME", by 500 rows, numbered by sheet |
| xls | .xls, and any file that is one | as xlsx |
| odt, ods, odp | .odt .ods .odp, and any file that is one | as docx, xlsx, pptx |
| csv | .csv .tsv .tab | "rows 1–500" and so on, without a number |
| jsonl | .jsonl .ndjson | "lines 1–200" and so on, without a number |
| json | .json | "items 1–200" and so on of a list of objects, else one |
| html | .html .htm .xhtml | one, without a number |
| markdown | .md .markdown .mdx .qmd .rmd | one, without a number |
| rst | .rst | one, without a number |
| epub | .epub, and any file that is one | numbered from 1, each with its chapter's title |
| eml | .eml .emlx | one, without a number; then "attachment NAME" |
| mbox | .mbox | "mail N: SUBJECT", numbered from 1; then "mail N: SUBJECT, attachment NAME" |
| calendar | .ics .vcs | one, without a number |
| contacts | .vcf .vcard | one, without a number |
| subtitles | .srt .vtt .sbv .ass .ssa | one, without a number |
| notebook | .ipynb | one, without a number |
| code | .py .js .c .java .sql .yaml …, Makefile and the like | one, without a number |
| rtf | .rtf, and any file that is one | one, without a number |
| old | .doc .dot .ppt .pps .msg: refused, but read if they are something else | |
| image | .png .jpg .tif .bmp .webp, and any file that is one | one; of a TIFF numbered |
| txt | .txt .text .log, README and the like without an ending | one, without a number |

Office files and Rich Text have the further parts "headers and footers" and "comments", if there are
any; those of a sheet are "sheet NAME, comments" and "sheet NAME, text boxes".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from retriever.reading import account, encodings, signatures
from retriever.reading.mail import eml
from retriever.reading.markup import epub, html, markdown, rst, rtf
from retriever.reading.office import docx, opendocument, passwords, pptx, xlsx
from retriever.reading.options import ReadOptions
from retriever.reading.pages import error_text
from retriever.reading.pdf import attached, headers_footers, reader
from retriever.reading.pictures import images, ocr
from retriever.reading.plain import code, notebook, subtitles, text, vobjects
from retriever.reading.recognised import OCR_VERSION
from retriever.reading.regular import open_regular, read_blocks
from retriever.reading.tables import delimited, jsonl
from retriever.types import Document, ReadError

_ATTEMPTS = 3  # to read a file that is written to meanwhile
MAX_BYTES = 500_000_000
"""Maximum size of a file in bytes: readers hold the file in memory."""

Reader = Callable[[bytes, str, ReadOptions], Document]


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: its name endings, a description for the user, and its reader.

    `binary` formats are recognised by their bytes alone (`signatures.kind` gives their name). The
    others are text, and only the name tells them apart. `version` is increased when the reader
    gives other pages for the same bytes: documents read by another version are then read again, and
    so are documents that contain a file of this format. A module shared by several readers has no
    version: a change in it increases the version of each format that uses it.
    """

    endings: tuple[str, ...]
    description: str
    read: Reader
    binary: bool = False
    version: int = 1


def _without_options(read: Callable[[bytes, str], Document]) -> Reader:
    """Wrap a reader that takes no options."""
    return lambda data, name, options: read(data, name)


def _read_pdf(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read a PDF: its text, OCR of its scanned pages, headers and footers, embedded files."""
    document = reader.read_pdf(data, name, options)
    found = headers_footers.exclude_running_lines(
        ocr.recognise_pages(data, document.pages, options)
    )
    return replace(document, pages=(*found, *attached.attachments(data, options)))


FORMATS: dict[str, Format] = {
    "pdf": Format((".pdf",), "a PDF", _read_pdf, binary=True, version=3),
    "docx": Format((".docx", ".docm"), "a Word document", docx.read_docx, binary=True, version=2),
    "pptx": Format(
        (".pptx", ".pptm", ".ppsx"),
        "a PowerPoint presentation",
        pptx.read_pptx,
        binary=True,
        version=2,
    ),
    "xlsx": Format((".xlsx", ".xlsm"), "an Excel workbook", xlsx.read_xlsx, binary=True, version=2),
    "xls": Format((".xls",), "an old Excel workbook", xlsx.read_xls, binary=True, version=2),
    "csv": Format(
        (".csv", ".tsv", ".tab"), "a table in a text file", delimited.read_table, version=2
    ),
    "jsonl": Format((".jsonl", ".ndjson"), "JSON Lines", jsonl.read_jsonl, version=2),
    "json": Format((".json",), "JSON", jsonl.read_json, version=2),
    "odt": Format(
        (".odt",), "an OpenDocument text", opendocument.read_opendocument, binary=True, version=2
    ),
    "ods": Format(
        (".ods",), "an OpenDocument table", opendocument.read_opendocument, binary=True, version=2
    ),
    "odp": Format(
        (".odp",),
        "an OpenDocument presentation",
        opendocument.read_opendocument,
        binary=True,
        version=2,
    ),
    "image": Format(
        (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"),
        "a picture",
        images.read_image,
        binary=True,
    ),
    # Refused unless they are another format: many are Rich Text, HTML or newer than their names.
    "old": Format(
        (".doc", ".dot", ".ppt", ".pps", ".msg"),
        "an older Office file",
        passwords.read_encrypted,
        binary=True,
    ),
    "locked": Format((), "an Office file under a password", passwords.read_encrypted, binary=True),
    "html": Format(
        (".html", ".htm", ".xhtml"), "an HTML page", _without_options(html.read_html), version=2
    ),
    "markdown": Format(
        (".md", ".markdown", ".mdx", ".qmd", ".rmd"),
        "Markdown",
        _without_options(markdown.read_markdown),
        version=2,
    ),
    "rst": Format((".rst",), "reStructuredText", _without_options(rst.read_rst), version=2),
    "epub": Format((".epub",), "an EPUB book", epub.read_epub, binary=True, version=2),
    "eml": Format((".eml", ".emlx"), "an e-mail", eml.read_eml, version=2),
    "mbox": Format((".mbox",), "a mailbox", eml.read_mbox, version=2),
    "subtitles": Format(
        subtitles.ENDINGS, "subtitles", _without_options(subtitles.read_subtitles), version=2
    ),
    "notebook": Format(
        (".ipynb",), "a notebook", _without_options(notebook.read_notebook), version=2
    ),
    "calendar": Format((".ics", ".vcs"), "a calendar", _without_options(vobjects.read_calendar)),
    "contacts": Format(
        (".vcf", ".vcard"), "address cards", _without_options(vobjects.read_contacts)
    ),
    "rtf": Format(
        (".rtf",), "a Rich Text document", _without_options(rtf.read_rtf), binary=True, version=2
    ),
    "code": Format(code.ENDINGS, "source code", _without_options(code.read_code), version=2),
    "txt": Format(
        (".txt", ".text", ".log"), "plain text", _without_options(text.read_text), version=2
    ),
}
_BY_ENDING = {ending: name for name, format_ in FORMATS.items() for ending in format_.endings}
BARE_NAMES = frozenset(
    [
        *["readme", "license", "licence", "copying", "notice", "authors", "contributors", "todo"],
        *["changelog", "changes", "news", "history", "install", "credits", "thanks", "copyright"],
    ]
)
"""Names, in small letters, of text files that usually have no ending."""


OCR = "ocr"
"""The name of OCR in `format_versions`: it has a version, as formats do."""

_FIRST_RELEASE = "55fa282f"
"""The value that release 0.1.0 stored for all its readers together: version 1 of each."""


def format_versions(used: Iterable[str]) -> str:
    """The formats with their current versions.

    >>> format_versions(["image", "ocr"])
    'image=1,ocr=1'
    """
    return ",".join(f"{name}={_version(name)}" for name in sorted(set(used)))


def outdated_formats(stored: str, format_: str) -> set[str]:
    """The formats in `stored` whose version has changed, for a document of `format_`.

    `stored` is the output of `format_versions`. Release 0.1.0 did not store which files are nested
    in a document; for its value, the result is all formats whose version is not 1.

    >>> outdated_formats("image=1,ocr=0", "image")
    {'ocr'}
    >>> outdated_formats("elder", "pdf")
    {'pdf'}
    """
    if stored == _FIRST_RELEASE:
        return {name for name in (*FORMATS, OCR) if _version(name) != "1"}
    parts = [part.partition("=") for part in stored.split(",")]
    if not all(equals for _, equals, _ in parts):
        return {format_}
    return {name for name, _, version in parts if version != _version(name)}


def _version(name: str) -> str:
    if name == OCR:
        return str(OCR_VERSION)
    return str(FORMATS[name].version) if name in FORMATS else "0"


def format_of(path: Path | str) -> str | None:
    """The format expected from a file's name, or None if it is not supported.

    >>> format_of(Path("a/Report.PDF")), format_of("README"), format_of("a/b.mp3")
    ('pdf', 'txt', None)
    """
    # Not by `Path`, which takes most of the time where there are many files.
    name = (path if isinstance(path, str) else path.name).rpartition("/")[2].lower()
    dot = name.rfind(".")
    ending = name[dot:] if 0 < dot < len(name) - 1 else ""
    if not ending and name in BARE_NAMES:
        return "txt"
    if name in code.NAMES:
        return "code"
    return _BY_ENDING.get(ending)


def supported(path: Path | str) -> bool:
    """Whether a file's name is one of a supported format."""
    return format_of(path) is not None


def read_document(path: Path, name: str, options: ReadOptions | None = None) -> Document:
    """Read the file at `path`; `name`, its path below the root, becomes the document's path."""
    return read_bytes(_load(path), name, options or ReadOptions())


def read_bytes(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read the bytes of the file `name`; otherwise as `read_document`."""
    try:
        inside = replace(options, read_nested=read_bytes, nested=[])
        if not options.depth:
            inside = replace(inside, read_as=set(), left_out=[], accounts=[])
        document = _read(data, name, inside)
        inside.left_out.extend(document.left_out)
        inside.accounts.append(account.take_account(data, document, inside.nested))
        options.nested.append(document)
        return replace(
            document,
            read_as=tuple(sorted(inside.read_as)),
            left_out=tuple(inside.left_out),
            account=account.total(inside.accounts),
        )
    except ReadError:
        raise
    except MemoryError:
        raise ReadError("it needs more memory than a file may take; split it") from None
    # The libraries parse input from anybody; no file may stop a run.
    except Exception as error:  # noqa: BLE001 - see the line above
        raise ReadError(f"broken: {error_text(error)}") from None


def _unchanging(path: Path) -> bytes:
    """The file's bytes, of one moment: it is read again if it was written to meanwhile."""
    for _ in range(_ATTEMPTS):
        with open_regular(path) as stream:
            before = os.fstat(stream.fileno())
            if before.st_size > MAX_BYTES:
                raise ReadError(
                    f"too large: {before.st_size:,} bytes, the limit is {MAX_BYTES:,}; split it"
                )
            # One byte more than there is tells that it grows, and no more is read of it.
            data = b"".join(read_blocks(stream, before.st_size + 1, before.st_size + 1))
            after = os.fstat(stream.fileno())
        same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if same and len(data) == after.st_size:
            return data
    raise ReadError("it was written to while it was read; the next run reads it again")


def _load(path: Path) -> bytes:
    try:
        data = _unchanging(path)
    except OSError as error:
        raise ReadError(f"cannot be opened: {(error.strerror or str(error)).lower()}") from None
    if not data:
        raise ReadError("zero bytes")
    return data


def _read(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read the file by its actual format; if its name says otherwise, the first page notes it."""
    promised = format_of(Path(name)) or "txt"
    kind = _kind(data, promised)
    options.read_as.add(kind)
    document = FORMATS[kind].read(data, name, options)
    if kind in (promised, "locked") or not document.pages:
        return document
    called = FORMATS[document.format].description
    note = f"named as {FORMATS[promised].description}, but it is {called}: read as that"
    first, *rest = document.pages
    reason = f"{note}; {first.reason}" if first.reason else note
    return replace(document, pages=(replace(first, reason=reason), *rest))


def _kind(data: bytes, promised: str) -> str:
    """The format by the bytes; for text, by the name. Raises ReadError if it is not supported."""
    kind = signatures.kind(data)
    if kind in FORMATS:
        return kind
    if kind in signatures.PICTURES:
        return "image"
    if promised == "pdf" and signatures.holds_pdf(data):
        return "pdf"
    called = FORMATS[promised].description
    if kind == "ole":
        return passwords.kind(data)
    if kind:
        raise ReadError(f"not {called} although its name says so; it begins like {kind}")
    plain = promised == "txt" or FORMATS[promised].binary
    if plain and signatures.looks_like_html(data):
        return "html"
    if not FORMATS[promised].binary:
        return promised
    if encodings.decode(data[:10_000]) is not None:
        return "csv" if promised in ("xlsx", "xls") else "txt"  # programs name text tables so
    raise ReadError(f"not {called} although its name says so; it begins with unknown bytes")


__all__ = [
    "BARE_NAMES",
    "FORMATS",
    "MAX_BYTES",
    "OCR",
    "Format",
    "ReadOptions",
    "format_of",
    "format_versions",
    "outdated_formats",
    "read_bytes",
    "read_document",
    "supported",
]
