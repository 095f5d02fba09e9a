"""PDF files, page by page, with PDFium; with pypdf if PDFium's text is worse or missing.

Each page ends in one state, and a damaged page does not affect the others. `pdf/measure.py` decides
which text is better, `pdf/layout.py` puts it in reading order. A page without text is EMPTY if
nothing is drawn, and SCANNED if it is an image. It is SCANNED too if a header or stamp over such an
image is the only text.
"""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pypdf
from pypdf.errors import FileNotDecryptedError, LimitReachedError

from retriever.reading.facts import clean_author, clean_fact, clean_title, iso_date, scalars
from retriever.reading.options import PAGE_SECONDS, ReadOptions
from retriever.reading.pages import make_page, too_long_page
from retriever.reading.pdf import pdfium
from retriever.reading.pdf.damage import LOST_PAGE, LOST_PART, has_lost_part, lost_reason
from retriever.reading.pdf.fields import field_lines, needs_adobe
from retriever.reading.pdf.limits import MAX_COST, cost
from retriever.reading.pdf.notes import bookmarks_page, notes_page
from retriever.reading.pdf.open import MAX_PAGES, LockedError, OpenPdf, open_pdf, pdf_error_text
from retriever.reading.pdf.quality import is_better, is_doubtful
from retriever.reading.pdf.text import clean_lines, known_words, rejoin_hyphens
from retriever.types import Document, LeftOut, Page, PageState

_MAX_DOCUMENT = 100_000_000  # characters of all pages together
_MAX_ASKED = 200_000  # characters of a page: pypdf's time grows with their square
_MAX_BESIDE_IMAGE = 50  # characters beside an image that is the page
_MAX_LABEL = 40  # characters of a page's printed number
_MIN_IMAGE_SHARE = 0.8  # share of its area
_LIMITS = pypdf.Configuration(
    # Half of pypdf's own limit: no page has 30 MB of text content.
    zlib_maximum_output_length=30_000_000,
    lzw_maximum_output_length=30_000_000,
    run_length_maximum_output_length=30_000_000,
    array_based_stream_maximum_output_length=30_000_000,
    stream_decoding_work_maximum_length=100_000_000,
    xform_maximum_invocations_per_extraction=2_000,
)
_LOCKED_PAGE = "the page is encrypted in another way than the document"

# Limits of size; the others (nesting, loops, tables) are reached by damaged files only.
_TOO_MUCH = re.compile("decompress|tokens|stream|output length", re.IGNORECASE)

# pypdf warns about every irregularity; errors that matter become a page's reason.
logging.getLogger("pypdf").setLevel(logging.CRITICAL)


class _Extracted(NamedTuple):
    """The raw text of a page, or a page with the reason why there is none.

    `lines` are those of form fields that stand apart; `printed` is as in `Page`.
    """

    found: str | Page
    lines: list[str]
    printed: str


def read_pdf(data: bytes, name: str, options: ReadOptions | None = None) -> Document:
    """Read a PDF file; raises ReadError if no page can be reached."""
    options = options or ReadOptions()
    with _quiet(), pypdf.apply_configuration(_LIMITS):
        try:
            file = open_pdf(data, options.passwords)
        except LockedError as error:
            return _encrypted_document(name, str(error))
        return _document(file, name, options)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _encrypted_document(name: str, reason: str) -> Document:
    """One page for the whole file: its page count is encrypted as well."""
    return Document(name, "pdf", (Page(1, "", PageState.ENCRYPTED, reason),))


def _document(file: OpenPdf, name: str, options: ReadOptions) -> Document:
    extracted = list(_extract_pages(file, options))
    raw = [one.found for one in extracted]
    texts = [clean_lines(text) if isinstance(text, str) else "" for text in raw]
    words = known_words(texts)
    made: list[Page] = []
    total = 0
    for index, (page, found) in enumerate(zip(file.pages, raw, strict=False)):
        if isinstance(found, Page):
            made.append(Page(index + 1, "", found.state, found.reason))
            continue
        total += len(found)
        text = rejoin_hyphens(texts[index], words)
        made.append(_judge(index + 1, page, found, text, total))
    made = [replace(page, printed=one.printed) for page, one in zip(made, extracted, strict=True)]
    if len(file.pages) > MAX_PAGES:
        reason = f"only the first {MAX_PAGES:,} pages are read; split the document"
        made.append(Page(MAX_PAGES + 1, "", PageState.TOO_LONG, reason))
    if (
        len(made) == 1
        and made[0].state is PageState.TEXT
        and needs_adobe(file.reader, made[0].text)
    ):
        reason = "a form that only Adobe Reader can show (XFA); print it there into a PDF"
        made = [Page(1, "", PageState.FAILED, reason)]
    notes, left_out = _notes(file, [one.lines for one in extracted], made)
    return Document(
        path=name,
        format="pdf",
        pages=(*made, *notes),
        left_out=tuple(left_out),
        **_facts(file.reader, name),
    )


def _notes(
    file: OpenPdf, fields: list[list[str]], made: list[Page]
) -> tuple[list[Page], list[LeftOut]]:
    """The pages of notes and bookmarks, and what of them is left out."""
    pages: list[Page] = []
    left_out: list[LeftOut] = []
    for number, (page, lines) in enumerate(zip(file.pages, fields, strict=False), 1):
        with contextlib.suppress(Exception):  # a damaged note must not take the page with it
            found, dropped = notes_page(number, lines, page)
            pages += found
            left_out += dropped
    with contextlib.suppress(Exception):  # nor the bookmarks
        found, dropped = bookmarks_page(
            file.reader.root_object, (page.text for page in (*made, *pages))
        )
        pages += found
        left_out += dropped
    return pages, left_out


def _extract_pages(file: OpenPdf, options: ReadOptions) -> Iterator[_Extracted]:
    with contextlib.ExitStack() as stack:
        document = None
        if options.allow_native:  # False after compiled code brought a process down
            document = stack.enter_context(
                pdfium.open_document(file.data, file.password, _count(file))
            )
        for index, page in enumerate(file.pages[:MAX_PAGES]):
            printed = "" if document is None else _printed(document, index)
            if page is None:
                yield _Extracted(Page(None, "", PageState.FAILED, LOST_PAGE), [], printed)
                continue
            found, lines = _with_fields(page, _extract(page, document, index))
            yield _Extracted(found, lines, printed)
            options.extend_deadline(PAGE_SECONDS)


def _printed(document: Any, index: int) -> str:
    """The number printed on a page, if the file gives it one that is not its position."""
    label = clean_fact(pdfium.page_label(document, index))
    return label if label != str(index + 1) and len(label) <= _MAX_LABEL else ""


def _with_fields(page: Any, found: str | Page) -> tuple[str | Page, list[str]]:
    """The text with the lines of the filled-in fields; else these lines apart.

    They are apart if the page itself could not be read: a form filled in on a scan needs an OCR.
    """
    lines = _field_lines(page)
    if not lines or not isinstance(found, str):
        return found, lines
    if not found.strip() and _without_text(0, page).state is not PageState.EMPTY:
        return found, lines
    return "\n".join([found, *lines]), []


def _count(file: OpenPdf) -> int:
    """The number of pages, lost ones included."""
    return max(len(file.reader.pages), len(file.pages))


def _extract(page: Any, document: Any, index: int) -> str | Page:
    size = 0
    try:
        size = cost(page)
    except LimitReachedError as error:
        return _unreadable(None, error)
    except Exception:  # noqa: BLE001, S110 - what pypdf cannot parse, PDFium may still read
        pass
    try:
        endless = document is None or size > MAX_COST
        found = None if endless else pdfium.page_contents(document, index, _MAX_BESIDE_IMAGE)
    except pdfium.TooManyCharactersError as error:
        return too_long_page(None, f"{error.args[0]:,} characters")
    if found is not None and (size > _MAX_ASKED or not is_doubtful(found.text)):
        return _beside_image(found) or found.text
    other = _with_pypdf(page)
    if found is None or not isinstance(other, str):
        return other if found is None or not found.text else found.text
    return other if is_better(other, found.text) else found.text


def _beside_image(found: pdfium.PageContents) -> Page | None:
    """A SCANNED page if the text is only a header or stamp on an image of the page."""
    if found.image is None or found.image < _MIN_IMAGE_SHARE or not found.marginal:
        return None
    beside = " ".join(found.text.split())
    reason = f"an image with little text beside it (“{beside}”): it needs an OCR to be found"
    return Page(None, "", PageState.SCANNED, reason)


def _with_pypdf(page: Any) -> str | Page:
    try:
        return str(page.extract_text())
    except Exception as error:  # noqa: BLE001 - one damaged page must not end the others
        return _unreadable(None, error)


def _unreadable(number: int | None, error: Exception) -> Page:
    """The page for an error of the library."""
    if isinstance(error, FileNotDecryptedError):
        return Page(number, "", PageState.ENCRYPTED, _LOCKED_PAGE)
    if isinstance(error, LimitReachedError) and _TOO_MUCH.search(str(error)):
        reason = f"larger than any page of text: {pdf_error_text(error)}"
        return Page(number, "", PageState.TOO_LONG, reason)
    return Page(number, "", PageState.FAILED, f"the page cannot be read: {pdf_error_text(error)}")


def _field_lines(page: Any) -> list[str]:
    try:
        return [line for line in field_lines(page) if line]
    except Exception:  # noqa: BLE001 - a damaged form must not take the page's text with it
        return []


def _judge(number: int, page: Any, raw: str, text: str, total: int) -> Page:
    if total > _MAX_DOCUMENT:
        reason = f"the pages before it hold {_MAX_DOCUMENT:,} characters already"
        return Page(number, "", PageState.TOO_LONG, reason)
    made = make_page(number, raw)
    if made.state is PageState.TEXT:
        reason = LOST_PART if has_lost_part(page) else ""
        return replace(make_page(number, text), reason=reason)
    if made.state is not PageState.EMPTY:
        return made
    if raw.strip():
        reason = "its characters are control codes, not letters"
        return Page(number, "", PageState.GARBLED, reason)
    return _without_text(number, page)


def _without_text(number: int, page: Any) -> Page:
    """FAILED if its content is lost, SCANNED if an image is drawn, else EMPTY."""
    try:
        if lost := lost_reason(page):
            return Page(number, "", PageState.FAILED, lost)
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
    """The images in a page's resources, including those of its forms."""
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
    """Title, author, date and metadata; unreadable values count as missing."""
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
