"""PDF files, page by page, with pypdf.

Each page ends in one state: a damaged page does not take the others with it. A document under a
password is tried with the empty one, which opens those that are only protected against changes.
Pages without text are told apart: nothing drawn, or an image that only an OCR could read.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pypdf
from pypdf.errors import (
    DependencyError,
    FileNotDecryptedError,
    LimitReachedError,
    PyPdfError,
)

from retriever.readers.facts import clean_author, clean_title, iso_date, scalars
from retriever.readers.pages import make_page
from retriever.readers.pdf_fields import written_lines
from retriever.readers.pdf_repair import repaired
from retriever.readers.pdf_text import clean_lines, known_words, rejoin_hyphens
from retriever.types import Document, Page, PageState, ReadError

VERSION = 1

MAX_PAGES = 20_000
"""Pages read of one file; a page tree with more is an attack or needs splitting."""

_MAX_DOCUMENT = 100_000_000  # characters of all pages together
_LIMITS = pypdf.Configuration(
    # Half of pypdf's own: a page's content is text, and nobody wrote 30 MB of it on one page.
    zlib_maximum_output_length=30_000_000,
    lzw_maximum_output_length=30_000_000,
    run_length_maximum_output_length=30_000_000,
    array_based_stream_maximum_output_length=30_000_000,
    stream_decoding_work_maximum_length=100_000_000,
    xform_maximum_invocations_per_extraction=2_000,
)
_NO_PASSWORD = "password needed: the document is encrypted"  # noqa: S105 - a reason, no password

# Limits of size, among those of nesting, loops and tables that only damaged files reach.
_TOO_MUCH = re.compile("decompress|tokens|stream|output length", re.IGNORECASE)

# What pypdf raises for an encryption it does not know, or has no library for.
_FOREIGN = (DependencyError, NotImplementedError)

# pypdf comments on every oddity of a file; what matters becomes a page's reason.
logging.getLogger("pypdf").setLevel(logging.CRITICAL)


def read_pdf(data: bytes, name: str) -> Document:
    """The document of a PDF file; ReadError if not one page of it can be reached."""
    with _quiet(), pypdf.apply_configuration(_LIMITS):
        try:
            reader, pages = _open(data)
        except FileNotDecryptedError:
            return _encrypted(name, _NO_PASSWORD)
        except _FOREIGN as error:
            return _encrypted(name, f"encrypted in a way that cannot be read here: {_said(error)}")
        return _document(reader, pages, name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _encrypted(name: str, reason: str) -> Document:
    """One page stands for all of them: how many there are is encrypted, too."""
    return Document(name, "pdf", (Page(1, "", PageState.ENCRYPTED, reason),))


def _open(data: bytes) -> tuple[pypdf.PdfReader, list[Any]]:
    """The reader and its pages; a file that does not open is repaired once."""
    try:
        return _pages(data)
    except (FileNotDecryptedError, *_FOREIGN):
        raise
    # pypdf's own words: "broken PDF files might cause other Exceptions".
    except Exception as first:  # noqa: BLE001 - see the line above
        return _open_repaired(data, first)


def _open_repaired(data: bytes, first: Exception) -> tuple[pypdf.PdfReader, list[Any]]:
    if isinstance(first, LimitReachedError) or _is_page_loop(first):
        raise ReadError(f"broken: {_said(first)}") from None
    try:
        return _pages(repaired(data))
    except FileNotDecryptedError:
        raise
    except Exception:  # noqa: BLE001 - the first error says what is wrong with the file
        raise ReadError(f"broken: {_said(first)}") from None


def _is_page_loop(error: Exception) -> bool:
    return "cyclic" in str(error) or isinstance(error, RecursionError)


def _pages(data: bytes) -> tuple[pypdf.PdfReader, list[Any]]:
    reader = pypdf.PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise FileNotDecryptedError(_NO_PASSWORD)
    pages = [reader.pages[number] for number in range(min(len(reader.pages), MAX_PAGES + 1))]
    if not pages:
        raise PyPdfError("it has no pages")
    return reader, pages


def _document(reader: pypdf.PdfReader, pages: list[Any], name: str) -> Document:
    raw = [_extract(page) for page in pages[:MAX_PAGES]]
    texts = [clean_lines(text) if isinstance(text, str) else "" for text in raw]
    words = known_words(texts)
    made: list[Page] = []
    total = 0
    for index, (page, found) in enumerate(zip(pages, raw, strict=False)):
        if isinstance(found, Page):
            made.append(Page(index + 1, "", found.state, found.reason))
            continue
        total += len(found)
        text = rejoin_hyphens(texts[index], words)
        made.append(_judge(index + 1, page, found, text, total))
    if len(pages) > MAX_PAGES:
        reason = f"only the first {MAX_PAGES:,} pages are read; split the document"
        made.append(Page(MAX_PAGES + 1, "", PageState.TOO_LONG, reason))
    return Document(path=name, format="pdf", pages=tuple(made), **_facts(reader, name))


def _extract(page: Any) -> str | Page:
    """The page's raw text, or a page that says why there is none."""
    try:
        text = str(page.extract_text())
    except Exception as error:  # noqa: BLE001 - one damaged page must not end the others
        return _unreadable(None, error)
    return "\n".join([text, *_written(page)])


def _unreadable(number: int | None, error: Exception) -> Page:
    """The page that an error of the library leaves."""
    if isinstance(error, FileNotDecryptedError):
        return Page(number, "", PageState.ENCRYPTED, _NO_PASSWORD)
    if isinstance(error, LimitReachedError) and _TOO_MUCH.search(str(error)):
        reason = f"larger than any page of text: {_said(error)}"
        return Page(number, "", PageState.TOO_LONG, reason)
    return Page(number, "", PageState.FAILED, f"the page cannot be read: {_said(error)}")


def _written(page: Any) -> list[str]:
    try:
        return [line for line in written_lines(page) if line]
    except Exception:  # noqa: BLE001 - a damaged form must not take the page's text with it
        return []


def _said(error: Exception) -> str:
    """A library's error as the end of a sentence."""
    if isinstance(error, RecursionError):
        return "its parts are nested without end"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    words = " ".join(str(error).split()).split(". ")[0][:200].rstrip(".!")
    words = re.sub(r"IndirectObject\((\d+), (\d+), \d+\)", r"object \1", words)
    return words or type(error).__name__


def _judge(number: int, page: Any, raw: str, text: str, total: int) -> Page:
    if total > _MAX_DOCUMENT:
        reason = f"the pages before it hold {_MAX_DOCUMENT:,} characters already"
        return Page(number, "", PageState.TOO_LONG, reason)
    made = make_page(number, raw)
    if made.state is PageState.TEXT:
        return make_page(number, text)
    if made.state is not PageState.EMPTY:
        return made
    if raw.strip():
        reason = "its characters are control codes, not letters"
        return Page(number, "", PageState.GARBLED, reason)
    return _without_text(number, page)


def _without_text(number: int, page: Any) -> Page:
    """SCANNED if an image is drawn, else EMPTY."""
    try:
        content = page.get_contents()
        drawn = content.get_data() if content is not None else b""
        images = _images(page.get("/Resources"), set(), 0)
    except Exception as error:  # noqa: BLE001 - as in _extract
        return _unreadable(number, error)
    if images or re.search(rb"(?:^|\s)BI\s.*?\sID\s", drawn, re.DOTALL):
        reason = "an image without text: it needs an OCR to be found"
        return Page(number, "", PageState.SCANNED, reason)
    if drawn.strip():
        return Page(number, "", PageState.EMPTY, "drawings only, no text")
    return Page(number, "", PageState.EMPTY, "nothing drawn on it")


def _images(resources: Any, seen: set[int], depth: int) -> int:
    """The images among a page's resources, those inside of its forms included."""
    resources = resources.get_object() if resources is not None else None
    objects = resources.get("/XObject") if hasattr(resources, "get") else None
    objects = objects.get_object() if objects is not None else None
    if objects is None or not hasattr(objects, "values") or depth > 10:
        return 0
    count = 0
    for value in objects.values():
        thing = value.get_object()
        if id(thing) in seen or not hasattr(thing, "get"):
            continue
        seen.add(id(thing))
        if thing.get("/Subtype") == "/Image":
            count += 1
        elif thing.get("/Subtype") == "/Form":
            count += _images(thing.get("/Resources"), seen, depth + 1)
    return count


def _facts(reader: pypdf.PdfReader, name: str) -> dict[str, Any]:
    """Title, author, date and metadata; what cannot be read counts as missing."""
    info = {key: _info(reader, key) for key in ("/Title", "/Author", "/Subject", "/Keywords")}
    made = iso_date(_info(reader, "/CreationDate")) or iso_date(_info(reader, "/ModDate"))
    return {
        "title": clean_title(info["/Title"] or _xmp(reader, "dc_title"), name),
        "author": clean_author(info["/Author"] or _xmp(reader, "dc_creator")),
        "date": made,
        "metadata": scalars({"subject": info["/Subject"], "keywords": info["/Keywords"]}),
    }


def _info(reader: pypdf.PdfReader, key: str) -> str:
    try:
        metadata: Any = reader.metadata or {}
        value = metadata.get(key)
        value = value.get_object() if value is not None else None
        return value if isinstance(value, str) else ""
    except Exception:  # noqa: BLE001 - metadata is optional; the text is what counts
        return ""


def _xmp(reader: pypdf.PdfReader, key: str) -> str:
    """A value of the XML metadata: a title in any language, or all creators."""
    try:
        value = getattr(reader.xmp_metadata, key, None)
    except Exception:  # noqa: BLE001 - as in _info
        return ""
    if isinstance(value, dict):
        return str(value.get("x-default") or next(iter(value.values()), ""))
    return ", ".join(map(str, value)) if isinstance(value, list) else ""
