"""Small PDF files written byte by byte, so that their contents are known exactly."""

from __future__ import annotations

import io

from pypdf import PdfReader, PdfWriter

FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
IMAGE = (
    b"<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray "
    b"/BitsPerComponent 8 /Length 1 >>\nstream\n\x80\nendstream"
)


def stream(data: bytes, entries: bytes = b"") -> bytes:
    """A stream object."""
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), entries, data)


def drawn(*lines: str) -> bytes:
    """The content stream of a page with these lines of text, from top to bottom."""
    shown = b" T* ".join(b"(%s) Tj" % line.encode("latin-1") for line in lines)
    return b"BT /F1 12 Tf 14 TL 72 720 Td " + shown + b" ET"


def text_page(*lines: str) -> tuple[bytes, bytes]:
    """A page (content, resources) of text."""
    return drawn(*lines), b"/Font << /F1 3 0 R >>"


def image_page(content: bytes = b"q 100 0 0 100 0 0 cm /I1 Do Q") -> tuple[bytes, bytes]:
    """A page that shows one image."""
    return content, b"/XObject << /I1 4 0 R >>"


def pdf_file(
    pages: list[tuple[bytes, bytes]],
    info: bytes = b"",
    more: list[bytes] | None = None,
    catalog: bytes = b"",
) -> bytes:
    """A file with these pages; objects 3 and 4 are a font and an image, `more` begins at 6.

    `catalog` are further entries of the document's catalog.
    """
    objects = [b"", b"", FONT, IMAGE, b"<< %s >>" % info, *(more or [])]
    kids = []
    for content, resources in pages:
        objects.append(content if content.startswith(b"<<") else stream(content))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << %s >> >>" % (len(objects), resources)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R %s >>" % catalog
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    return assembled(objects)


def assembled(objects: list[bytes]) -> bytes:
    """The objects, numbered from 1, and their xref table; 1 is the catalog, 5 the properties."""
    data = b"%PDF-1.7\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    facts = b"/Info 5 0 R" if len(objects) > 4 else b""
    return data + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R %s >>\n"
        b"startxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table, len(objects) + 1, facts, len(data))
    )


def placed(*texts: tuple[float, float, str], size: int = 10) -> tuple[bytes, bytes]:
    """A page (content, resources) of texts at given positions, drawn in this order."""
    shown = b" ".join(
        b"1 0 0 1 %g %g Tm (%s) Tj" % (x, y, text.encode("latin-1")) for x, y, text in texts
    )
    return b"BT /F1 %d Tf %s ET" % (size, shown), b"/Font << /F1 3 0 R >>"


def full_image(scale: float = 1.0) -> bytes:
    """A content stream that draws the image over this share of the page's width and height."""
    return b"q %g 0 0 %g 0 0 cm /I1 Do Q " % (612 * scale, 792 * scale)


def locked(password: str) -> bytes:
    """A file of one page of text under a password."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf_file([text_page("Two figs.")]))))
    writer.encrypt(password, algorithm="AES-128")
    data = io.BytesIO()
    writer.write(data)
    return data.getvalue()
