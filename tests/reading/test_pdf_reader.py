"""PDF pages and their states, on files written byte by byte."""

from __future__ import annotations

import io
import zlib

import pypdf
import pytest

from retriever.reading.pdf.reader import read_pdf
from retriever.reading.pdf.text import clean_lines, known_words, rejoin_hyphens
from retriever.types import PageState, ReadError
from tests.pdfs import assembled, image_page, pdf_file, stream, text_page

INLINE_IMAGE = b"q 9 0 0 9 0 0 cm BI /W 1 /H 1 /BPC 8 /CS /G ID \x80 EI Q"


def pages_of(data: bytes):
    return read_pdf(data, "a.pdf").pages


def encrypted(data: bytes, user: str, owner: str, algorithm: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(data))
    writer.encrypt(user, owner, algorithm=algorithm)
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def test_every_page_has_its_own_state():
    codes = "".join(chr(ord(letter) - 29) for letter in "Zero trust is a security model. " * 9)
    escaped = codes.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    pages = pages_of(
        pdf_file(
            [
                text_page("Hello world", "second line"),
                (b"", b""),
                image_page(),
                (INLINE_IMAGE, b""),
                (b"0 0 m 9 9 l S", b""),
                text_page(escaped),
                (stream(b"no zlib data", b"/Filter /FlateDecode"), b"/Font << /F1 3 0 R >>"),
                text_page("The last page"),
            ]
        )
    )
    assert [page.number for page in pages] == [1, 2, 3, 4, 5, 6, 7, 8]
    states = [page.state.value for page in pages]
    assert states[:6] == ["text", "empty", "scanned", "scanned", "empty", "garbled"]
    assert states[6] in ("failed", "empty")
    assert states[7] == "text"
    assert pages[0].text == "Hello world\nsecond line"
    assert pages[7].text == "The last page"
    assert all(bool(page.reason) == (page.state is not PageState.TEXT) for page in pages)
    assert "OCR" in pages[2].reason
    assert "nothing drawn" in pages[1].reason


def test_an_image_inside_of_a_form():
    form = stream(
        b"/I1 Do", b"/Type /XObject /Subtype /Form /Resources << /XObject << /I1 4 0 R >> >>"
    )
    page = pages_of(pdf_file([(b"/X Do", b"/XObject << /X 6 0 R >>")], more=[form]))[0]
    assert page.state is PageState.SCANNED


def test_image_with_text_is_text():
    content, resources = text_page("A caption")
    both = (content + b" q /I1 Do Q", resources + b" /XObject << /I1 4 0 R >>")
    assert pages_of(pdf_file([both]))[0].text == "A caption"


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256-R5", "AES-256"])
def test_encryption(algorithm):
    plain = pdf_file([text_page("Secret words"), text_page("more")])
    locked = pages_of(encrypted(plain, "user", "owner", algorithm))
    assert {(page.state, page.text) for page in locked} == {(PageState.ENCRYPTED, "")}
    assert "password needed" in locked[0].reason
    protected = pages_of(encrypted(plain, "", "owner", algorithm))
    assert [page.text for page in protected] == ["Secret words", "more"]


def test_an_unknown_encryption_is_said_to_be_one():
    data = pdf_file([text_page("x y")], more=[b"<< /Filter /Foreign /V 1 >>"])
    page = pages_of(data.replace(b"/Root 1 0 R", b"/Root 1 0 R /Encrypt 6 0 R"))[0]
    assert page.state is PageState.ENCRYPTED


def test_facts():
    info = (
        b"/Title (Zero Trust Architecture) /Author (Ada Lovelace) /Keywords (trust; networks)"
        b" /CreationDate (D:20200810114743-04'00')"
    )
    found = read_pdf(pdf_file([text_page("x")], info), "a.pdf")
    assert (found.title, found.author) == ("Zero Trust Architecture", "Ada Lovelace")
    assert found.date == "2020-08-10T11:47:43-04:00"
    assert found.metadata == {"keywords": "trust; networks"}
    for title in (b"Microsoft Word - x.doc", b"untitled", b"", b"a", b"\\777\\000"):
        assert read_pdf(pdf_file([text_page("x")], b"/Title (%s)" % title), "a.pdf").title == ""


def test_strange_facts_do_no_harm():
    for info in (
        b"/Title 7 /Author [1 2] /CreationDate (soon)",
        b"/Title 99 0 R",
        b"/Title <</A 1>>",
    ):
        found = read_pdf(pdf_file([text_page("x y")], info), "a.pdf")
        assert (found.title, found.author, found.date) == ("", "", "")
        assert found.pages[0].text == "x y"


def test_form_fields_are_read():
    data = pdf_file(
        [text_page("Form")],
        more=[
            b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (Name) /V (Grace Hopper) >>",
            b"<< /Type /Annot /Subtype /Widget /FT /Tx /Ff 8192 /T (Pin) /V (1234) >>",
            b"<< /Type /Annot /Subtype /FreeText /Contents (Stamped on top) >>",
            b"<< /Type /Annot /Subtype /Widget /FT /Btn /T (Agreed) /V /Yes /AS /Yes >>",
            b"<< /Type /Annot /Subtype /Widget /FT /Btn /T (Paid) /V /Off /AS /Off >>",
            b"<< /Type /Annot /Subtype /Widget /FT /Btn /T (Class) /V /First /AS /First >>",
            b"<< /Type /Annot /Subtype /Widget /FT /Btn /Ff 65536 /T (Send) /V /Yes >>",
        ],
    )
    annotations = b" ".join(b"%d 0 R" % number for number in range(6, 13))
    data = data.replace(b"/MediaBox", b"/Annots [%s] /MediaBox" % annotations)
    assert pages_of(data)[0].text.split("\n") == [
        *["Form", "Name: Grace Hopper", "Stamped on top", "Agreed: yes", "Class: First"]
    ]


def test_a_lost_table_is_rebuilt():
    whole = pdf_file([text_page("First page"), text_page("Second page")])
    expected = [page.text for page in pages_of(whole)]
    assert expected == ["First page", "Second page"]
    without_table = whole[: whole.index(b"xref\n")]
    without_trailer = whole[: whole.index(b"trailer")]
    wrong_place = whole.replace(b"startxref\n", b"startxref\n99")
    for damaged in (without_table, without_trailer, wrong_place, b"junk\n" * 50 + whole):
        assert [page.text for page in pages_of(damaged)] == expected


def test_a_lost_table_of_compressed_objects_is_rebuilt():
    buffer = io.BytesIO()
    catalog, tree = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
    )
    index = b"1 0 2 %d " % (len(catalog) + 1)
    packed = zlib.compress(index + catalog + b" " + tree)
    content, resources = text_page("Deep inside")
    for number, thing in (
        (3, b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << %s >> >>" % resources),
        (4, stream(content)),
        (5, b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"),
        (6, stream(packed, b"/Type /ObjStm /N 2 /First %d /Filter /FlateDecode" % len(index))),
    ):
        thing = thing.replace(b"/F1 3 0 R", b"/F1 5 0 R")
        buffer.write(b"%d 0 obj\n%s\nendobj\n" % (number, thing))
    assert pages_of(b"%PDF-1.5\n" + buffer.getvalue())[0].text == "Deep inside"


@pytest.mark.parametrize(
    "objects",
    [
        [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R] /Count 1 >>"],
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Pages /Kids [2 0 R] /Count 1 >>",
        ],
        [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>"],
        [b"<< /Type /Catalog >>"],
        [b"<< /Type /Catalog /Pages 1 0 R >>"],
        [b"null"],
    ],
)
def test_page_trees_without_pages_are_refused(objects):
    with pytest.raises(ReadError, match=r"^broken: [^\n]+$"):
        pages_of(assembled(objects))


def test_forms_that_draw_themselves_end():
    loop = stream(
        b"/X Do /X Do",
        b"/Type /XObject /Subtype /Form /Resources << /XObject << /X 6 0 R >> >>",
    )
    pages = pages_of(pdf_file([(b"/X Do", b"/XObject << /X 6 0 R >>")], more=[loop]))
    assert pages[0].state in (PageState.EMPTY, PageState.FAILED)


def test_a_decompression_bomb_is_too_long():
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(100)) + packer.flush()
    assert len(bomb) < 200_000
    content = stream(bomb, b"/Filter /FlateDecode")
    pages = pages_of(pdf_file([(content, b""), text_page("still read")]))
    assert [page.state for page in pages] == [PageState.TOO_LONG, PageState.TEXT]


def test_nothing_is_logged_or_printed(capfd, caplog):
    whole = pdf_file([text_page("x y")])
    pages_of(whole.replace(b"startxref\n", b"startxref\n99"))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_lines_as_a_search_needs_them():
    raw = (
        "The o\ufb03ce of \ufb01nance\xa0is \r\n closed.  \n\n\n\n"
        "Cafe\u0301 co\u00adop\n\uf0b7 item\n\ufee3\ufeae"
    )
    assert clean_lines(raw) == "The office of finance is\nclosed.\n\nCafé coop\n• item\nمر"
    spaced = "\n\n".join(f"line {number}" for number in range(20))
    assert clean_lines(spaced) == spaced.replace("\n\n", "\n")


def test_hyphens_are_joined_only_where_the_document_shows_how():
    texts = [
        "The infor-\nmation is well-\nknown to micro-\nperimeters.",
        "Information; well-known.",
    ]
    words = known_words(texts)
    assert rejoin_hyphens(texts[0], words) == (
        "The information\nis well-known\nto micro-\nperimeters."
    )
    assert rejoin_hyphens("a-\nb 1-\n2 x -\ny", words) == "a-\nb 1-\n2 x -\ny"
    assert rejoin_hyphens("infor-\nmation", words) == "information\n"


# Lost pages

MISSING = "the page is missing: the file is damaged or was cut"
LOST = "its content is missing: the file is damaged or was cut"
WORDS = ("eels", "herons", "otters", "newts")


def pages_about(*words: str) -> bytes:
    """Pages 7, 9, 11, … with the contents 6, 8, 10, …"""
    return pdf_file([text_page(f"A page about {word}") for word in words])


def lost(data: bytes) -> list[str]:
    """The reason of each page, "" for one that has all of its text."""
    pages = pages_of(data)
    for page, word in zip(pages, WORDS, strict=True):
        assert (page.state is PageState.TEXT) == (page.text == f"A page about {word}")
    return [page.reason for page in pages]


@pytest.mark.parametrize(
    "contents", [b"/Contents 98 0 R", b"/Contents [97 0 R 98 0 R]", b"/Contents 3 0 R"]
)
def test_a_page_whose_content_is_missing_is_not_a_blank_one(contents):
    data = pages_about(*WORDS).replace(b"/Contents 8 0 R", contents)
    assert lost(data) == ["", LOST, "", ""]


@pytest.mark.parametrize("contents", [b"", b"/Contents null", b"/Contents []"])
def test_a_page_without_content_is_blank(contents):
    data = pages_about(*WORDS).replace(b"/Contents 8 0 R", contents)
    assert pages_of(data)[1].state is PageState.EMPTY


def test_text_beside_a_missing_part_of_a_page_is_kept_with_a_reason():
    data = pages_about(*WORDS).replace(b"/Contents 8 0 R", b"/Contents [98 0 R 8 0 R]")
    assert lost(data) == [
        "",
        "a part of its content is missing: the file is damaged or was cut",
        "",
        "",
    ]


def test_content_that_cannot_be_unpacked_is_not_blank():
    packed = zlib.compress(b"BT /F1 12 Tf (Eels go up the river) Tj ET")
    broken = stream(b"??" + packed[2:], b"/Filter /FlateDecode")
    page = pages_of(pdf_file([(broken, text_page()[1])]))[0]
    assert page.state is PageState.FAILED
    blank = stream(zlib.compress(b""), b"/Filter /FlateDecode")
    assert pages_of(pdf_file([(blank, b"")]))[0].state is PageState.EMPTY


def test_a_missing_page_keeps_its_number():
    data = pages_about(*WORDS)
    assert lost(data.replace(b"9 0 R 11 0 R", b"99 0 R 11 0 R")) == ["", MISSING, "", ""]
    branch = data.replace(b"[7 0 R 9 0 R 11 0 R 13 0 R]", b"[7 0 R 99 0 R 13 0 R]")
    assert lost(branch) == ["", MISSING, MISSING, ""]
    assert len(pages_of(data.replace(b"/Count 4", b"/Count 9"))) == 4


@pytest.mark.parametrize("cut", range(640, 1600, 40))
def test_the_pages_behind_a_cut_are_failures(cut):
    data = pages_about(*WORDS)
    ends = [data.index(b"endobj", data.index(b"\n%d 0 obj" % number)) for number in (7, 9, 11, 13)]
    assert [not reason for reason in lost(data[:cut])] == [end + 6 <= cut for end in ends]


def labelled(labels: bytes, count: int = 5, data: bytes = b"") -> list[str]:
    """The printed numbers of the pages of a file with these page labels."""
    pages = [text_page(f"Page {at} of the book") for at in range(count)]
    file = pdf_file(pages, catalog=b"/PageLabels " + labels)
    return [page.printed for page in pages_of(file)]


def test_a_page_knows_the_number_that_is_printed_on_it() -> None:
    numbers = b"<< /Nums [0 << /S /r >> 2 << /S /D >> 4 << /S /D /P (A-) /St 7 >>] >>"
    assert labelled(numbers) == ["i", "ii", "1", "2", "A-7"]


def test_a_printed_number_that_is_the_position_says_nothing() -> None:
    assert labelled(b"<< /Nums [0 << /S /D >>] >>") == [""] * 5
    assert labelled(b"<< /Nums [0 << /S /D >> 3 << /S /D /St 9 >>] >>") == ["", "", "", "9", "10"]
    assert [page.printed for page in pages_of(pdf_file([text_page("One")]))] == [""]


@pytest.mark.parametrize(
    "labels",
    [
        b"null",
        b"(text)",
        b"<< /Nums [0] >>",
        b"<< /Nums 5 >>",
        b"<< /Nums [0 (x)] >>",
        b"<< /Nums [0 << /P (" + b"long " * 50 + b") >>] >>",
        b"<< /Nums [0 << /P (\x00\x01\n) >>] >>",
    ],
)
def test_damaged_page_labels_are_none(labels: bytes) -> None:
    assert labelled(labels) == [""] * 5


def test_a_label_is_one_line_of_text() -> None:
    assert labelled(b"<< /Nums [0 << /P (Front \n cover) >>] >>", 1) == ["Front cover"]
    assert labelled(b"<< /Nums [0 << /P <FEFFD800> >>] >>", 1) == [""]


def test_pages_without_text_and_notes_keep_their_numbers() -> None:
    note = b"<< /Type /Annot /Subtype /Text /Contents (Look here) /Rect [0 0 9 9] >>"
    file = pdf_file(
        [image_page(), text_page("Text")],
        more=[note],
        catalog=b"/PageLabels << /Nums [0 << /S /R /St 4 >>] >>",
    )
    assert [page.printed for page in pages_of(file)] == ["IV", "V"]
