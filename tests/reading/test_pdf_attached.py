"""Files inside PDFs: found wherever a PDF can list them, each once, also in endless lists."""

from __future__ import annotations

import io
import zlib

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.reading.formats import read_bytes
from retriever.reading.options import ReadOptions
from retriever.reading.pdf import attached
from retriever.reading.pdf.attached import attachments
from retriever.types import Page, PageState
from tests.pdfs import assembled, pdf_file, stream, text_page

RUN = ReadOptions(read_nested=read_bytes)
NOTES = b"The meeting was moved to Thursday."


def with_files(files: dict[str, bytes], password: str = "") -> bytes:
    """A page of text with files embedded by pypdf."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf_file([text_page("See the attachments")])))
    for name, content in files.items():
        writer.add_attachment(name, content)
    if password:
        writer.encrypt(password, algorithm="AES-256")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def by_hand(catalog: bytes, page: bytes, *more: bytes) -> bytes:
    """A file with entries of the catalog and of its one page; `more` are objects from 4 on."""
    return assembled(
        [
            b"<< /Type /Catalog /Pages 2 0 R %s >>" % catalog,
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] %s >>" % page,
            *more,
        ]
    )


def specification(name: bytes, number: int) -> bytes:
    return b"<< /Type /Filespec /F (%s) /EF << /F %d 0 R >> >>" % (name, number)


def summary(pages: tuple[Page, ...]) -> list[tuple[str, str, str]]:
    return [(page.label, page.state.value, page.text or page.reason) for page in pages]


def test_embedded_files():
    inner = pdf_file([text_page("Inner one"), text_page("Inner two")])
    data = with_files({"notes.txt": NOTES, "more.pdf": inner, "logo.bin": bytes(range(256)) * 9})
    found = attachments(data, RUN)
    assert sorted(summary(found)) == [
        ("attachment logo.bin", "skipped", "format not supported (.bin)"),
        ("attachment more.pdf, page 1", "text", "Inner one"),
        ("attachment more.pdf, page 2", "text", "Inner two"),
        ("attachment notes.txt", "text", NOTES.decode()),
    ]
    assert {page.number for page in found} == {None}


def test_most_files_have_none():
    assert attachments(pdf_file([text_page("Alone")]), RUN) == ()
    assert attachments(b"%PDF-1.7 and nothing else", RUN) == ()
    assert attachments(b"", RUN) == ()


def test_under_a_password():
    data = with_files({"notes.txt": NOTES}, "secret")
    assert attachments(data, RUN) == ()
    opened = attachments(data, ReadOptions(read_nested=read_bytes, passwords=("wrong", "secret")))
    assert summary(opened) == [("attachment notes.txt", "text", NOTES.decode())]


def test_pinned_to_a_page_and_associated_and_listed_is_read_once():
    data = by_hand(
        b"/AF [4 0 R] /Names << /EmbeddedFiles << /Names [(x) 4 0 R] >> >>",
        b"/Annots [<< /Subtype /FileAttachment /FS 4 0 R >> << /Subtype /FileAttachment /FS 6 0 R "
        b">> << /Subtype /Link >> 99 0 R]",
        specification(b"notes.txt", 5),
        stream(NOTES),
        specification(b"notes.txt", 7),
        stream(b"Another note of the same name"),
    )
    assert summary(attachments(data, RUN)) == [
        ("attachment notes.txt", "text", NOTES.decode()),
        ("attachment notes.txt (2)", "text", "Another note of the same name"),
    ]


def test_trees_of_lists_in_order_and_their_loops():
    data = by_hand(
        b"/Names << /EmbeddedFiles 4 0 R >>",
        b"",
        b"<< /Kids [5 0 R 6 0 R 4 0 R] >>",
        b"<< /Kids [6 0 R 4 0 R] >>",
        b"<< /Names [(a) 7 0 R (b) 9 0 R (c)] /Kids [5 0 R null 3] >>",
        specification(b"a.txt", 8),
        stream(b"First file"),
        b"<< /Type /Filespec /F (elsewhere.txt) >>",
    )
    assert summary(attachments(data, RUN)) == [("attachment a.txt", "text", "First file")]


def test_an_invoice_is_read_from_its_page_only():
    invoice = (
        b'<?xml version="1.0"?>\n<rsm:CrossIndustryInvoice xmlns:rsm="urn:un:unece:uncefact:data:'
        b'standard:CrossIndustryInvoice:100"><ID>471102</ID></rsm:CrossIndustryInvoice>'
    )
    [page] = attachments(with_files({"factur-x.xml": invoice}), RUN)
    assert (page.state, page.reason) == (
        PageState.SKIPPED,
        "not read: the invoice's copy for programs",
    )


def test_one_damaged_file_does_not_take_the_others_with_it(monkeypatch):
    monkeypatch.setattr(attached, "_LIMITS", pypdf.Configuration(zlib_maximum_output_length=999))
    data = by_hand(
        b"/Names << /EmbeddedFiles << /Names [(a) 4 0 R (b) 6 0 R (c) 8 0 R] >> >>",
        b"",
        specification(b"a.txt", 5),
        stream(b"no such data", b"/Filter /JBIG9Decode"),
        specification(b"b.txt", 7),
        stream(zlib.compress(bytes(100_000)), b"/Filter /FlateDecode"),
        specification(b"c.txt", 9),
        stream(NOTES),
    )
    found = summary(attachments(data, RUN))
    assert [(label, state) for label, state, _ in found] == [
        ("attachment a.txt", "failed"),
        ("attachment b.txt", "too-long"),
        ("attachment c.txt", "text"),
    ]
    assert found[0][2].startswith("cannot be unpacked: ")


def test_many_and_large_files_end(monkeypatch):
    monkeypatch.setattr(attached, "MAX_FILES", 3)
    data = with_files({f"{number}.txt": b"Note %d" % number for number in range(5)})
    found = summary(attachments(data, RUN))
    assert [state for _, state, _ in found] == ["text"] * 3 + ["too-long"]
    assert found[3][2] == "only the first 3 attached files are read"
    monkeypatch.setattr(attached, "_MAX_ALL", 5)
    assert len(attachments(data, RUN)) == 2


def test_files_in_files_in_files_end():
    """A PDF in a PDF, nine levels deep: one page says that the rest is too deep."""
    data = pdf_file([text_page("The innermost")])
    for _ in range(9):
        data = with_files({"inner.pdf": data})

    def read_nested(content: bytes, name: str, run: ReadOptions):
        document = read_bytes(content, name, run)
        pages = [page for page in document.pages if not page.label]
        pages += attachments(content, ReadOptions(read_nested=read_nested, depth=run.depth))
        return type(document)(name, "pdf", tuple(pages))

    found = attachments(data, ReadOptions(read_nested=read_nested))
    assert len(found) == 4
    assert found[-1].state is PageState.FAILED
    assert "too deep" in found[-1].reason


SEED = by_hand(
    b"/AF [4 0 R] /Names << /EmbeddedFiles << /Kids [6 0 R] >> >>",
    b"/Annots [<< /Subtype /FileAttachment /FS 4 0 R >>]",
    specification(b"notes.txt", 5),
    stream(zlib.compress(NOTES), b"/Filter /FlateDecode"),
    b"<< /Names [(a) 4 0 R] >>",
)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damaged_bytes_raise_nothing(data):
    changed = bytearray(SEED)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.integers(0, 12))] = data.draw(st.binary(max_size=8))
    for page in attachments(bytes(changed), RUN):
        assert page.label
        assert page.state.readable == bool(page.text)


@pytest.mark.parametrize("name", [b"", b"../../etc/passwd", b"a\nb.txt", b"x" * 999])
def test_names_are_shown_as_one_short_line(name):
    data = by_hand(
        b"/Names << /EmbeddedFiles << /Names [(x) 4 0 R] >> >>",
        b"",
        specification(name, 5),
        stream(NOTES),
    )
    [page] = attachments(data, RUN)
    assert len(page.label) < 200
    assert "\n" not in page.label
    assert "/" not in page.label
