"""Which extractor's text a page gets, and the state of pages that are mostly an image."""

from __future__ import annotations

import contextlib
import io
import time
from dataclasses import dataclass
from pathlib import Path

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf.errors import LimitReachedError

from benchmarks.pdf_text import by_pdfium, by_pypdf, choose_pages, ours, precision_recall
from retriever.reading.options import PAGE_SECONDS, ReadOptions
from retriever.reading.pages import MAX_CHARACTERS
from retriever.reading.pdf import pdfium, text_runs
from retriever.reading.pdf.limits import MAX_COST, cost
from retriever.reading.pdf.quality import flaws, is_better, is_doubtful
from retriever.reading.pdf.reader import read_pdf
from retriever.types import Page, PageState, ReadError
from tests.pdfs import FONT, full_image, pdf_file, placed, stream, text_page

SAMPLE = Path("data/sample")


def page_of(data: bytes, run: ReadOptions | None = None) -> Page:
    return read_pdf(data, "a.pdf", run).pages[0]


def test_words_of_the_sample_are_those_of_two_extractors():
    files = [path.read_bytes() for path in sorted(SAMPLE.rglob("*.pdf"))]
    picked = choose_pages([1] * len(files), 8)
    cut = []
    for file, _ in picked:
        writer = pypdf.PdfWriter()
        reader = pypdf.PdfReader(io.BytesIO(files[file]))
        writer.append(reader, pages=(0, len(reader.pages), max(1, len(reader.pages) // 2)))
        buffer = io.BytesIO()
        writer.write(buffer)
        cut.append(buffer.getvalue())
    found = [text for data in cut for text in ours(data)]
    assert len(found) > 15
    for other in (by_pdfium, by_pypdf):
        expected = [text for data in cut for text in other(data)]
        precision, recall = precision_recall(found, expected)
        assert precision >= 0.98
        assert recall >= 0.98


def show(content: bytes) -> bytes:
    return pdf_file([(content, b"/Font << /F1 3 0 R >>")])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"BT /F1 12 Tf 72 700 Td (Bold words) Tj 0.3 0 Td (Bold words) Tj ET", "Bold words"),
        (
            b"BT /F1 12 Tf 72 700 Td (Seen once) Tj ET "
            b"BT 3 Tr /F1 12 Tf 72 700 Td (Seen once) Tj ET",
            "Seen once",
        ),
        (b"BT /F1 12 Tf 6 Tc 72 700 Td (LETTER SPACED) Tj ET", "LETTER SPACED"),
        (
            b"BT /F1 12 Tf 72 700 Td [(h)-300(e)-300(l)-300(l)-300(o)-900(w)-300(o)-300(r)-300(l)"
            b"-300(d)] TJ ET",
            "hello world",
        ),
        (b"BT /F1 12 Tf 72 700 Td [(Zero)-250(trust)-250(is)] TJ ET", "Zero trust is"),
        (b"BT /F1 12 Tf 14 TL -1 0 0 -1 400 500 Tm (Upside) Tj T* (down) Tj ET", "Upside\ndown"),
        (b"BT /F1 12 Tf 14 TL 0 1 -1 0 200 100 Tm (It goes) Tj T* (up) Tj ET", "It goes\nup"),
        (b"BT /F1 12 Tf 14 TL 0 -1 1 0 200 500 Tm (It goes) Tj T* (down) Tj ET", "It goes\ndown"),
        (b"BT /F1 12 Tf 72 700 Td (E = mc) Tj 5 Ts /F1 7 Tf (2) Tj ET", "E = mc2"),
        (
            b"BT /F1 12 Tf 14 TL 72 700 Td (a hyphen-) Tj T* (ated word) Tj ET",
            "a hyphen-\nated word",
        ),
        (b"BT /F1 10 Tf 72 700 Td (a\tb) Tj ET", "a b"),
    ],
)
def test_text_as_it_is_seen(content, text):
    assert page_of(show(content)).text.replace("  ", " ") == text


def test_the_mark_of_a_note_is_no_part_of_the_word():
    content = b"BT /F1 12 Tf 72 700 Td (networks) Tj 5 Ts /F1 7 Tf (12) Tj ET"
    assert page_of(show(content)).text == "networks 12"


def test_hebrew_words_are_in_order_of_reading():
    # A font whose codes a to d are the first letters of the alphabet; drawn from left to right.
    cmap = stream(
        b"/CIDInit /ProcSet findresource begin begincmap 1 begincodespacerange <00> <FF> "
        b"endcodespacerange 1 beginbfrange <61> <64> <05D0> endbfrange endcmap end"
    )
    font = FONT.replace(b">>", b"/ToUnicode 6 0 R >>")
    data = pdf_file(
        [(b"BT /F1 12 Tf 72 700 Td (dcba ba) Tj ET", b"/Font << /F1 7 0 R >>")], more=[cmap, font]
    )
    assert sorted(page_of(data).text.split()) == ["אב", "אבגד"]


def test_stacked_letters_are_one_word():
    letters = [(72, 700 - 13 * at, letter) for at, letter in enumerate("VERTICAL")]
    assert page_of(pdf_file([placed(*letters, size=12)])).text == "VERTICAL"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Zero trust is a model.", 0.0),
        (
            "Donaudampfschifffahrt 零信任架构是一种安全模型它不假设任何信任关系的存在也不假设",
            0.0,
        ),
        ("a b c d", 0.0),
        ("thewordsofthislinehavelosttheirspacesaltogether", 1.0),
        ("h e l l o w o r l d", 1.0),
        ("BBoolldd", 1.0),
        ("(cid:12)(cid:7)", 1.0),
        ("\ufffd\ufffdab", 0.5),
        ("", 0.0),
    ],
)
def test_flaws(text, expected):
    assert flaws(text) == pytest.approx(expected)


def test_the_better_text_is_taken():
    good, cipher = "Zero trust is a model. " * 20, "=HUR WUXVW LV D PRGHO " * 20
    assert is_doubtful(cipher)
    assert is_doubtful("")
    assert not is_doubtful(good)
    assert is_better(good, cipher)
    assert is_better(good, "")
    assert not is_better(cipher, good)
    assert not is_better("", good)
    assert not is_better("Zero trust", "Zerotrustisamodelwithoutanyspaceinit and more")


def test_arabic_is_taken_from_pypdf():
    turned, right = "ابحرم ملاعلاب", "مرحبا بالعالم"
    assert is_doubtful(turned)
    assert is_better(right, turned)
    assert not is_better("مرحبا", turned)


def by_the_other(monkeypatch, text):
    found = None if text is None else pdfium.PageContents(text, None, False)
    monkeypatch.setattr(pdfium, "page_contents", lambda *_: found)
    return page_of(pdf_file([text_page("Written in words", "of a language alone")]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "Written in words\nof a language alone"),
        ("", "Written in words\nof a language alone"),
        ("\x01\x02\x03\x04\x05\x06\x07\x08", "Written in words\nof a language alone"),
        ("Writteninwordsofalanguagealonely", "Written in words\nof a language alone"),
        ("Other words", "Other words"),
    ],
)
def test_pypdf_is_asked_where_pdfium_fails(monkeypatch, text, expected):
    page = by_the_other(monkeypatch, text)
    assert (page.state, page.text) == (PageState.TEXT, expected)


@dataclass(frozen=True, slots=True)
class Careful(ReadOptions):
    allow_native: bool = False


def test_without_compiled_code(monkeypatch):
    monkeypatch.setattr(pdfium, "open_document", None)
    data = pdf_file([text_page("Read by pypdf"), text_page("alone")])
    assert [page.text for page in read_pdf(data, "a.pdf", Careful()).pages] == [
        *["Read by pypdf", "alone"]
    ]


def test_every_page_earns_time():
    extensions: list[float] = []
    read_pdf(
        pdf_file([text_page("x")] * 3), "a.pdf", ReadOptions(extend_deadline=extensions.append)
    )
    assert extensions == [PAGE_SECONDS] * 3


@pytest.mark.parametrize(
    ("scale", "texts", "state"),
    [
        (1.0, [(72, 760, "Page 3")], PageState.SCANNED),
        (0.95, [(72, 30, "ABC-000123")], PageState.SCANNED),
        (1.0, [(72, 400, "Thank you!")], PageState.TEXT),  # a slide over a picture
        (0.5, [(72, 760, "Page 3")], PageState.TEXT),
        (1.0, [(72, 760, "A header that says " + "a lot " * 9)], PageState.TEXT),
    ],
)
def test_a_header_over_an_image_is_not_the_page(scale, texts, state):
    content, resources = placed(*texts)
    both = (full_image(scale) + content, resources + b" /XObject << /I1 4 0 R >>")
    page = page_of(pdf_file([both]))
    assert page.state is state
    if state is PageState.SCANNED:
        assert texts[0][2] in page.reason
        assert "OCR" in page.reason


def test_an_image_in_a_form_is_as_large_as_it_is_drawn():
    form = stream(
        b"q 1 0 0 1 0 0 cm /I1 Do Q",
        b"/Type /XObject /Subtype /Form /BBox [0 0 1 1] /Resources << /XObject << /I1 4 0 R >> >>",
    )
    text, resources = placed((72, 760, "Page 3"))
    for size, state in ((612, PageState.SCANNED), (100, PageState.TEXT)):
        content = b"q %d 0 0 792 0 0 cm /X Do Q " % size + text
        data = pdf_file([(content, resources + b" /XObject << /X 6 0 R >>")], more=[form])
        assert page_of(data).state is state


def locked(password: str, algorithm: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf_file([text_page("Secret words")])))
    writer.encrypt(password, "owner", algorithm=algorithm)
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256-R5", "AES-256"])
@pytest.mark.parametrize("password", ["user", "pässwörd €"])
def test_passwords_open_it(algorithm, password):
    data = locked(password, algorithm)
    for given_ in ((password,), ("wrong", password), ("wrong", "owner")):
        assert page_of(data, ReadOptions(given_)).text == "Secret words"
    for given_, said in (
        ((), "give it with --password"),
        (("wrong",), "the one given"),
        (("wrong", "no"), "none of the 2"),
    ):
        page = page_of(data, ReadOptions(given_))
        assert page.state is PageState.ENCRYPTED
        assert said in page.reason


def test_a_form_for_one_program_alone():
    notice = "Please wait... If this message is not eventually replaced, use Adobe Reader."
    data = pdf_file([text_page(notice)], more=[b"<< /XFA [] /Fields [] >>"])
    form = data.replace(b"/Type /Catalog", b"/AcroForm 6 0 R /Type /Catalog")
    assert page_of(data).state is PageState.TEXT
    page = page_of(pdf_file([text_page(notice)]).replace(b"/Type /Catalog", b"/Type /Catalog"))
    assert page.state is PageState.TEXT
    page = page_of(form.replace(b"/XFA []", b"/XFA [(x) 4 0 R]"))
    assert page.state is PageState.FAILED
    assert "XFA" in page.reason


def test_a_page_of_too_many_characters(monkeypatch):
    assert MAX_CHARACTERS > 1_000_000
    monkeypatch.setattr(text_runs, "MAX_CHARACTERS", 10)
    states = [page.state for page in read_pdf(pdf_file([text_page("x" * 11)]), "a.pdf").pages]
    assert states == [PageState.TOO_LONG]


WHOLE = pdf_file(
    [text_page("First page of it"), placed((72, 700, "left"), (320, 700, "right"))],
    b"/Title (Damaged)",
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=20))
def test_damaged_bytes_end_in_a_page_or_a_reason(changes):
    data = bytearray(WHOLE)
    for place, value in changes:
        data[place] = value
    pages: tuple[Page, ...] = ()
    with contextlib.suppress(ReadError):  # and nothing else
        pages = read_pdf(bytes(data), "a.pdf").pages
    assert all(bool(page.text) == page.state.readable for page in pages)


def endless(content: bytes, more: list[bytes]) -> bool:
    data = pdf_file([(content, b"/XObject << /X 6 0 R >>")], more=more)
    return cost(pypdf.PdfReader(io.BytesIO(data)).pages[0]) > MAX_COST


def form(content: bytes, drawn: bytes = b"") -> bytes:
    resources = b"/Resources << /XObject << %s >> >>" % drawn
    return stream(content, b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] " + resources)


def test_what_pdfium_is_not_given():
    assert not endless(b"BT (Hello) Tj ET /X Do", [form(b"0 0 m")])
    assert endless(b"/X Do", [form(b"/X Do", b"/X 6 0 R")])
    assert endless(b"/X Do", [form(b"/Y Do", b"/Y 7 0 R"), form(b"/X Do", b"/X 6 0 R")])
    assert endless(b"/X Do " * 6_000, [form(b"")])
    doubling = [form(b"/X Do /X Do", b"/X %d 0 R" % (number + 1)) for number in range(6, 26)]
    assert endless(b"/X Do", [*doubling, form(b"")])
    with pytest.raises(LimitReachedError):
        endless(b"(" + b"a" * 2_100_000 + b") Tj", [])
    assert not endless(b"1 2 m 3 4 l " * 200_000, [])


def test_a_line_of_many_letters_takes_no_more_time_than_its_length():
    def seconds(words: int) -> float:
        shown = b"(aaaaaaaaaaaaaaaaaaaaaaaa) Tj " * words
        data = show(b"BT /F1 1 Tf " + shown + b" ET")
        start = time.process_time()
        page = page_of(data)
        taken = time.process_time() - start
        assert len(page.text) == 24 * words
        return taken

    seconds(100)  # the first page also pays for what is made once
    # Four times the letters take four times as long; if each looked at all others, 16 times.
    assert seconds(10_000) < 9 * min(seconds(2_500) for _ in range(3))
