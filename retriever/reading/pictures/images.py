"""Picture files (photographs of pages, faxes, screenshots): decoded by Pillow, read by Tesseract.

A TIFF file with several frames gives a page for each; of an animation only the first frame is read.
Without OCR the page of a picture is SCANNED, or SKIPPED if the picture is attached to another file,
such as the logo in a mail.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from retriever.reading.extras import load
from retriever.reading.facts import iso_date
from retriever.reading.options import OCR_SECONDS, ReadOptions
from retriever.reading.pages import error_text
from retriever.reading.pictures.ocr import picture_page
from retriever.reading.pictures.tesseract import MAX_SIDE, Picture, unavailable_reason
from retriever.reading.recognised import digest, is_settled, with_known_text
from retriever.types import Document, Page, PageState, ReadError, Scan

KINDS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
"""The supported formats, by Pillow's names."""

_MAX_PIXELS = 100_000_000  # three times a large scan; 400 MB in colour
_MAX_FRAMES = 1_000
_OCR_NEEDED = "a picture: index with --ocr to read it"
_NO_DPI = 72
_DEFAULT_DPI = 300
_LOW_DPI = 150
_SMALL = 2_000_000  # pixels: a screenshot, whose letters are ten pixels high
_DATES = (0x9003, 0x0132)  # EXIF tags: date taken, date changed

# The errors of Pillow's decoders on damaged files.
_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
)


def read_image(data: bytes, name: str, options: ReadOptions) -> Document:
    """Read a picture into a page for each frame; raises ReadError if it cannot be opened."""
    load("PIL", "ocr", "Pictures")
    from PIL import Image

    options = replace(options, known=options.known.for_file())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=KINDS) as image:
                made = _date(image)
                pages = tuple(_pages(image, digest(data), options))
        except Image.DecompressionBombError:
            return Document(name, "image", (_too_large(None, "more pixels than any picture"),))
        except _BROKEN as error:
            raise ReadError(
                f"broken: the picture cannot be opened ({_pillow_error_text(error)})"
            ) from None
    return Document(name, "image", pages, date=made)


def _pages(image: Any, file: str, options: ReadOptions) -> Iterator[Page]:
    """A page for each frame; the page of a single frame has no number."""
    state = PageState.SKIPPED if options.depth else PageState.SCANNED
    missing = unavailable_reason(options.ocr) if options.ocr else ""
    unread = Page(None, "", state, f"a picture; {missing}" if missing else _OCR_NEEDED)
    can_read = bool(options.ocr) and not missing
    several = image.format == "TIFF" and _seek(image, 1)
    if not several:
        _seek(image, 0)
        yield _page(image, unread, options, file, can_read=can_read)
        return
    for index in range(_MAX_FRAMES):
        if not _seek(image, index):
            return
        yield _page(image, replace(unread, number=index + 1), options, file, can_read=can_read)
    if _seek(image, _MAX_FRAMES):
        reason = f"only the first {_MAX_FRAMES:,} pages are read; split the picture"
        yield Page(_MAX_FRAMES + 1, "", PageState.TOO_LONG, reason)


def _seek(image: Any, index: int) -> bool:
    """Go to a frame; False if it does not exist or cannot be reached in a damaged file."""
    try:
        image.seek(index)
    except (EOFError, *_BROKEN):
        return False
    return True


def _page(image: Any, unread: Page, options: ReadOptions, file: str, *, can_read: bool) -> Page:
    """The page for a frame: reused or recognised; `unread` is the page without OCR."""
    width, height = image.size
    if width * height > _MAX_PIXELS:
        return _too_large(unread.number, f"{width:,} × {height:,} pixels")
    known = options.known.at(file, unread.number)
    languages = options.ocr if can_read else ""
    if known is not None and is_settled(known, languages, insist=options.insist):
        return with_known_text(known, unread, Scan(file, unread.number))
    page = _page_from_picture(image, unread, options, file, can_read=can_read)
    if known is not None and not page.state.readable:
        return with_known_text(known, unread, Scan(file, unread.number))
    return page


def _page_from_picture(
    image: Any, unread: Page, options: ReadOptions, file: str, *, can_read: bool
) -> Page:
    """The page from its picture: recognised, or reused from another file."""
    if not can_read and not options.known.has_pictures:
        return unread
    options.extend_deadline(OCR_SECONDS)
    number = unread.number
    try:
        effective = options if can_read else replace(options, ocr="")
        return picture_page(unread, _picture(image), file, effective)
    except ReadError as error:
        return Page(number, "", PageState.SCANNED, f"a picture; {error}")
    except _BROKEN as error:
        return Page(
            number, "", PageState.FAILED, f"the picture is damaged: {_pillow_error_text(error)}"
        )


def _too_large(number: int | None, measured: str) -> Page:
    reason = f"{measured}; the limit is {_MAX_PIXELS:,} pixels: make it smaller"
    return Page(number, "", PageState.TOO_LONG, reason)


def _picture(image: Any) -> Picture:
    """The frame turned upright, in grey on white; a small frame is enlarged twofold."""
    from PIL import ImageOps

    grey = ImageOps.exif_transpose(_grey(image))
    dpi = _dpi(image)
    if dpi < _LOW_DPI and grey.width * grey.height < _SMALL and max(grey.size) < MAX_SIDE // 2:
        grey, dpi = grey.resize((2 * grey.width, 2 * grey.height)), 2 * dpi
    if max(grey.size) > MAX_SIDE:
        grey.thumbnail((MAX_SIDE, MAX_SIDE))
    return Picture(grey.width, grey.height, grey.tobytes(), dpi)


def _grey(image: Any) -> Any:
    """Grey values from 0 to 255: transparency becomes white, and 16 bits become 8."""
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        paper = colours.copy()
        paper.paste((255, 255, 255, 255), (0, 0, *colours.size))
        paper.alpha_composite(colours)
        return paper.convert("L")
    if image.mode == "F" or image.mode.startswith("I"):
        low, high = image.getextrema()
        scale = 255 / ((high - low) or 1)
        return image.convert("F").point(lambda value: value * scale - low * scale).convert("L")
    return image.convert("L")


def _dpi(image: Any) -> int:
    """The resolution stated in the file, or a guess: cameras and programs write 72 as a default."""
    stated = image.info.get("dpi", (_NO_DPI, _NO_DPI))
    try:
        dpi = round(float(stated[0]))
    except (TypeError, ValueError, LookupError, ArithmeticError):
        dpi = _NO_DPI
    if _NO_DPI < dpi <= 2_400:
        return dpi
    return _LOW_DPI - 1 if image.width * image.height < _SMALL else _DEFAULT_DPI


def _date(image: Any) -> str:
    """The date taken by its EXIF data; empty if there is none."""
    try:
        exif = image.getexif()
        noted = [str(exif.get(tag) or exif.get_ifd(0x8769).get(tag) or "") for tag in _DATES]
    except _BROKEN:
        return ""
    found = next(filter(None, noted), "")
    return iso_date(found[:10].replace(":", "-") + found[10:19])


def _pillow_error_text(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "it is damaged near its beginning"
    return error_text(error, 150).rstrip(".")


__all__ = ["KINDS", "read_image"]
