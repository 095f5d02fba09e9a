"""Scanned pages: lines of text drawn by Pillow, as images in a PDF."""

from __future__ import annotations

import os
import zlib

import pytest
from PIL import Image, ImageDraw, ImageFont

from retriever.reading.pictures.tesseract import unavailable_reason
from tests.pdfs import pdf_file, stream, text_page

needs_tesseract = pytest.mark.skipif(
    bool(unavailable_reason()) and not os.environ.get("WVA_REQUIRE_OCR"),
    reason=unavailable_reason(),
)
LINES = [
    "A tenant may end the lease with three months of notice.",
    "The deposit is returned within thirty days, less the cost",
    "of repairs. Heating is included; electricity is not.",
    "",
    "Pets are allowed when the landlord agrees in writing.",
]


def drawn(lines: list[str], dpi: int = 150, size: tuple[float, float] = (6, 4)) -> Image.Image:
    """A sheet (size in inches) with lines of 11 points in Pillow's default font."""
    sheet = Image.new("L", (round(size[0] * dpi), round(size[1] * dpi)), 255)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11 * dpi / 72)
    for row, line in enumerate(lines):
        pen.text((dpi * 0.7, dpi * (0.7 + 0.22 * row)), line, 0, font)
    return sheet


def scanned_page(number: int) -> tuple[bytes, bytes]:
    """A page that shows the image in object `number`."""
    return b"q 432 0 0 288 0 0 cm /I1 Do Q", b"/XObject << /I1 %d 0 R >>" % number


def image_object(sheet: Image.Image) -> bytes:
    entries = b"/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray " % (
        sheet.size
    )
    packed = zlib.compress(sheet.tobytes())
    return stream(packed, entries + b"/BitsPerComponent 8 /Filter /FlateDecode")


def scan_file(*sheets: Image.Image) -> bytes:
    pages = [scanned_page(6 + at) for at in range(len(sheets))]
    return small(pdf_file(pages, more=[image_object(sheet) for sheet in sheets]))


def small(data: bytes) -> bytes:
    """A file with pages of six by four inches, which OCR reads in a quarter of the time."""
    return data.replace(b"[0 0 612 792]", b"[0 0 432 288]")


def mixed_file() -> bytes:
    """Pages of text, a scan, an empty page, and one with shifted letters."""
    codes = "".join(chr(ord(letter) - 29) for letter in "Zero trust is a security model. " * 9)
    escaped = codes.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    pages = [text_page("Hello there"), scanned_page(6), (b"", b""), text_page(escaped)]
    return small(pdf_file(pages, more=[image_object(drawn(LINES))]))
