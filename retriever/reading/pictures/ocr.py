"""OCR of the pages of a PDF that are pictures: rendered by PDFium, read by Tesseract.

Pages are rendered one at a time. A page with recognised text is in state OCR, with Tesseract's
confidence as its reason. A page without text becomes EMPTY, so that no later run tries it again. A
page that cannot be recognised keeps its state, and its reason says why. `pdf/reader.py` decides
which pages need OCR.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from typing import Any

from retriever.reading.options import OCR_SECONDS, ReadOptions
from retriever.reading.pages import make_page
from retriever.reading.pdf.open import LockedError
from retriever.reading.pdf.pdfium import open_with_passwords
from retriever.reading.pdf.text import clean_lines, known_words, rejoin_hyphens
from retriever.reading.pictures.tesseract import MAX_SIDE, Picture, recognise, unavailable_reason
from retriever.reading.recognised import OCR_VERSION, digest, is_settled, with_known_text
from retriever.types import Page, PageState, ReadError, Scan

NOTHING_FOUND = "an image in which OCR found no text"

_DPI = 300  # at 150, 2 % more words are lost; above 300, OCR only takes longer
_MAX_PIXELS = 25_000_000  # an A3 sheet at 300 dpi is 17 million
_TO_READ = (PageState.SCANNED, PageState.GARBLED)


def recognise_pages(data: bytes, pages: Sequence[Page], options: ReadOptions) -> tuple[Page, ...]:
    """The pages of the PDF in `data`; those without usable text are recognised.

    Known text of a page or of its picture is reused. Without known text and without languages in
    `options.ocr`, the pages are unchanged. `options.extend_deadline` is called before each page.
    """
    tried = [page for page in pages if page.state in _TO_READ and page.number and not page.label]
    if not tried or not (options.ocr or options.known.pages):
        return tuple(pages)
    options = replace(options, known=options.known.for_file())
    file = digest(data)
    kept = {page.number: _known_page(page, file, options) for page in tried}
    rest = [page for page in tried if kept[page.number] is None]
    fresh = _look_at_pages(data, rest, file, options)
    made = [
        (kept.get(page.number) or fresh.get(page.number, page)) if page in tried else page
        for page in pages
    ]
    return tuple(_rejoin_words(made, {page.text for page in options.known.pages}))


def _known_page(page: Page, file: str, options: ReadOptions) -> Page | None:
    """The page with its known text; None if it must be recognised."""
    known = options.known.at(file, page.number)
    if known is None or not is_settled(known, options.ocr, insist=options.insist):
        return None
    return with_known_text(known, page, Scan(file, page.number))


def _look_at_pages(
    data: bytes, pages: Sequence[Page], file: str, options: ReadOptions
) -> dict[int | None, Page]:
    """The pages that must be rendered, after OCR or reuse of known text, by number."""
    reason = unavailable_reason(options.ocr) if options.ocr else ""
    if not pages or (not options.known.has_pictures and (reason or not options.ocr)):
        found = {page.number: _with_obstacle(page, reason) if reason else page for page in pages}
    else:
        found = _recognise_from_pdf(data, pages, file, options, reason)
    return {
        page.number: _or_known(found[page.number], options.known.at(file, page.number), file)
        for page in pages
    }


def _or_known(page: Page, known: Page | None, file: str) -> Page:
    """The page; with its known text if it was not recognised in this run."""
    if known is None or page.state not in _TO_READ:
        return page
    return with_known_text(known, page, Scan(file, page.number))


def picture_page(
    page: Page, picture: Picture, file: str, options: ReadOptions, reason: str = ""
) -> Page:
    """`page` of `file` with the text of its picture: in state OCR or EMPTY, or unchanged.

    Known text of the picture is reused. `reason` says why OCR is unavailable. Raises ReadError if
    OCR fails and no text is known.
    """
    scan = Scan(file, page.number, picture.digest, options.ocr, OCR_VERSION)
    known = options.known.of_picture(scan.picture)
    if known is not None and is_settled(
        known, "" if reason else options.ocr, insist=options.insist
    ):
        return with_known_text(known, page, scan)
    if reason:
        raise ReadError(reason)
    if not options.ocr:
        return page
    try:
        made = replace(_recognised(page.number, picture, options), scan=scan, printed=page.printed)
    except ReadError:
        if known is None:
            raise
        return with_known_text(known, page, scan)
    options.known.remember(made)
    return made


def _recognised(number: int | None, picture: Picture, options: ReadOptions) -> Page:
    """As `recognise_page`; a picture that failed before in this file fails at once."""
    before = options.known.failure(picture.digest)
    if before:
        raise ReadError(before)
    try:
        return recognise_page(number, picture, options.ocr)
    except ReadError as error:
        options.known.remember_failure(picture.digest, str(error))
        raise


def recognise_page(number: int | None, picture: Picture, languages: str) -> Page:
    """The page for a picture, in state OCR or EMPTY. Raises ReadError if OCR fails."""
    found = recognise(picture, languages)
    made = make_page(number, clean_lines(found.text), NOTHING_FOUND)
    if made.state is PageState.GARBLED:
        raise ReadError(f"OCR made no words of it; is it in another language than {languages}?")
    return replace(made, state=PageState.OCR, reason=found.reason) if made.text else made


def _recognise_from_pdf(
    data: bytes, pages: Sequence[Page], file: str, options: ReadOptions, reason: str
) -> dict[int | None, Page]:
    """The pages after OCR, by number."""
    try:
        with _open_document(data, options, max(page.number or 1 for page in pages)) as document:
            return {
                page.number: _recognise_one(document, page, file, options, reason) for page in pages
            }
    except ReadError as error:
        return {page.number: _unchanged(page, reason or str(error), options) for page in pages}


def _recognise_one(document: Any, page: Page, file: str, options: ReadOptions, reason: str) -> Page:
    options.extend_deadline(OCR_SECONDS)
    try:
        picture = _render(document, page.number or 1)
        made = picture_page(page, picture, file, options, reason)
    except ReadError as error:
        return _unchanged(page, str(error), options)
    if made.state is PageState.EMPTY and page.state is PageState.GARBLED:
        return _with_obstacle(page, "OCR found no text either")
    return made


def _unchanged(page: Page, reason: str, options: ReadOptions) -> Page:
    """The page in its old state; with the reason if OCR was requested."""
    return _with_obstacle(page, reason) if options.ocr else page


def _with_obstacle(page: Page, reason: str) -> Page:
    """The page in its old state, with `reason` added to its own."""
    before = "an image without text" if page.state is PageState.SCANNED else page.reason
    return replace(page, reason=f"{before}; {reason}" if before else reason)


def _rejoin_words(pages: Sequence[Page], kept: Container[str]) -> Iterator[Page]:
    """Join words hyphenated at line ends, using the words of the whole document.

    Pages with reused text, which is in `kept`, are unchanged.
    """
    words = known_words(page.text for page in pages)
    for page in pages:
        if page.state is PageState.OCR and page.text not in kept:
            yield replace(page, text=rejoin_hyphens(page.text, words))
        else:
            yield page


# PDFium


@contextlib.contextmanager
def _open_document(data: bytes, options: ReadOptions, count: int) -> Iterator[Any]:
    """PDFium's document of at least `count` pages; raises ReadError if it cannot be opened."""
    if not options.allow_native:
        raise ReadError("PDFium ended the process that read it, so it is not drawn")
    with contextlib.closing(_document(data, options.passwords)) as document:
        if len(document) < count:
            raise ReadError(f"PDFium finds only {len(document):,} pages in it")
        yield document


def _document(data: bytes, passwords: Sequence[str]) -> Any:
    """PDFium's document; raises ReadError if it cannot be opened."""
    import pypdfium2

    try:
        return open_with_passwords(data, passwords)
    except (pypdfium2.PdfiumError, LockedError, ValueError) as error:
        raise ReadError(f"PDFium cannot open it: {_pdfium_error_text(error)}") from None


def _render(document: Any, number: int) -> Picture:
    """The page as a picture at 300 dpi, or less if it would be too large."""
    try:
        with contextlib.closing(document[number - 1]) as page:
            scale = _scale(*page.get_size())
            with contextlib.closing(page.render(scale=scale, grayscale=True)) as bitmap:
                grey = bitmap.to_numpy().tobytes()  # (H, W) or (H, W, 1), uint8, without padding
                width, height = bitmap.width, bitmap.height
    # PDFium's own error is a RuntimeError.
    except (RuntimeError, IndexError, ValueError, OverflowError) as error:
        raise ReadError(f"PDFium cannot draw it: {_pdfium_error_text(error)}") from None
    return Picture(width, height, grey, max(70, round(scale * 72)))


def _scale(width: float, height: float) -> float:
    """Pixels per PDF unit (1/72 inch).

    >>> _scale(612, 792) * 72, round(_scale(7200, 7200) * 72)
    (300.0, 50)
    """
    if not (width > 0 and height > 0):
        raise ReadError("the page has no size")
    limit = min(math.sqrt(_MAX_PIXELS / (width * height)), MAX_SIDE / max(width, height))
    return min(_DPI / 72, limit)


def _pdfium_error_text(error: Exception) -> str:
    words = " ".join(str(error).split())[:150].rstrip(".")
    return words[:1].lower() + words[1:] if words else type(error).__name__


__all__ = [
    "NOTHING_FOUND",
    "picture_page",
    "recognise_page",
    "recognise_pages",
    "unavailable_reason",
]
