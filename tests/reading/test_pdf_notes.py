"""Comments, filled-in fields and bookmarks of PDF files."""

from __future__ import annotations

import pytest

from retriever.reading.formats import read_bytes
from retriever.reading.options import ReadOptions
from retriever.types import Document, LeftOut, Page, PageState
from tests.pdfs import full_image, image_page, pdf_file, text_page

NOTE = b"<< /Type /Annot /Subtype /Text /Contents (The walrus clause is void.) >>"


def read(
    *annotations: bytes, page: tuple[bytes, bytes] | None = None, root: bytes = b""
) -> Document:
    """A page with annotations, which are the objects 6, 7, …"""
    data = pdf_file([page or text_page("A contract")], more=list(annotations))
    numbers = b" ".join(b"%d 0 R" % (6 + at) for at in range(len(annotations)))
    data = data.replace(b"/MediaBox", b"/Annots [%s] /MediaBox" % numbers)
    return read_bytes(data.replace(b"/Catalog", b"/Catalog " + root), "a.pdf", ReadOptions())


def notes(*annotations: bytes) -> str:
    first, *rest = read(*annotations).pages
    assert first == Page(1, "A contract")
    assert [(page.number, page.label) for page in rest] == [(None, "notes on page 1")][: len(rest)]
    return rest[0].text if rest else ""


KINDS = ["Text", "Highlight", "Underline", "StrikeOut", "Squiggly", "Caret", "Stamp", "Ink", "Line"]


@pytest.mark.parametrize("kind", KINDS)
def test_comments_are_read_with_their_author(kind):
    annotation = b"<< /Subtype /%s /T (Ada) /Contents (Void.\rSee below) >>" % kind.encode()
    assert notes(annotation) == "Ada: Void.\nSee below"


def test_a_thread_is_read_in_order_and_once():
    reply = b"<< /Subtype /Text /T (Bob) /Contents (No.) /IRT 6 0 R >>"
    window = b"<< /Subtype /Popup /Parent 6 0 R /Contents (The walrus clause is void.) >>"
    assert notes(NOTE, window, reply) == "The walrus clause is void.\n\nBob: No."


def test_rich_text_is_read_where_there_is_no_plain_text():
    rich = b"<< /Subtype /Text /RC (<body><p>One &amp; <b>two</b></p><p>three</p></body>) >>"
    assert notes(rich) == "One & two\nthree"


def test_texts_of_unicode_are_decoded():
    assert notes(b"<< /Subtype /Text /Contents <FEFF00C4006C> >>") == "Äl"


def test_what_nobody_wrote_to_be_read_is_left_out():
    document = read(
        b"<< /Subtype /Text /F 2 /Contents (Hidden) >>",
        b"<< /Subtype /Text /StateModel (Review) /State (Accepted) /Contents (Accepted by Ada) >>",
        b"<< /Subtype /Link /Contents (Link to page 2) >>",
        b"<< /Subtype /Text /Contents () >>",
    )
    assert document.pages == (Page(1, "A contract"),)
    assert document.left_out == (
        LeftOut("hidden text", "Hidden"),
        LeftOut("review states", "Accepted by Ada"),
        LeftOut("link descriptions", "Link to page 2"),
    )


FIELD = b"<< /Subtype /Widget /FT /Tx /T (Name) /V (Grace Hopper) >>"


@pytest.mark.parametrize("annotation", [NOTE, FIELD])
def test_an_image_with_notes_or_fields_still_needs_an_ocr(annotation):
    content, resources = image_page(full_image())
    scan, written = read(annotation, page=(content, resources)).pages
    assert scan.state is PageState.SCANNED
    assert written.label == "notes on page 1"
    assert written.text in ("The walrus clause is void.", "Name: Grace Hopper")


def test_a_form_of_lines_alone_is_its_fields():
    (page,) = read(FIELD, page=(b"0 0 m 9 9 l S", b"")).pages
    assert page == Page(1, "Name: Grace Hopper")


def test_damaged_notes_take_nothing_with_them():
    assert notes(b"<< /Subtype /Text /Contents 5 >>", b"null", b"[1 2]", NOTE) == (
        "The walrus clause is void."
    )


OUTLINE = [
    b"<< /First 7 0 R /Last 8 0 R /Count 2 >>",
    b"<< /Title (1. A  Contract) /Parent 6 0 R /Next 8 0 R /First 9 0 R >>",
    b"<< /Title (Walruses) /Parent 6 0 R /Next 7 0 R >>",
    b"<< /Title (Herons) /Parent 7 0 R >>",
]


def test_bookmarks_are_read_where_no_page_has_their_words():
    lines = text_page("1 A contract", "of many")
    document = read_bytes(
        pdf_file([lines], more=OUTLINE).replace(b"/Catalog", b"/Catalog /Outlines 6 0 R"),
        "a.pdf",
        ReadOptions(),
    )
    assert document.pages[1:] == (Page(None, "Herons\nWalruses", label="bookmarks"),)
    assert document.left_out == (LeftOut("bookmarks", "1. A Contract"),)
