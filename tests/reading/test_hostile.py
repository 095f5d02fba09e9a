"""Files made to take all time or memory, or to lose their own text: small ones of each kind."""

from __future__ import annotations

import io
import os
import re
import socket
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pptx
import pytest

from retriever.index import Index
from retriever.reading.formats import read_bytes, read_document
from retriever.reading.markup.markdown import split_front_matter
from retriever.reading.options import ReadOptions
from retriever.reading.pages import unify_lines
from retriever.reading.regular import read_blocks
from retriever.types import ReadError
from tests.fakes import FakeEmbedder
from tests.pdfs import assembled, pdf_file, stream, text_page
from tests.reading.test_opendocument import saved


def texts(data: bytes, name: str) -> list[str]:
    """The texts of the readable pages."""
    return [page.text for page in read_bytes(data, name, ReadOptions()).pages if page.text]


def seconds(work: Callable[[], object]) -> float:
    """Processor time, which other processes do not change."""
    before = time.process_time()
    work()
    return time.process_time() - before


def test_a_page_of_returns_takes_linear_time() -> None:
    assert seconds(lambda: unify_lines("\r" * 500_000)) < 2
    assert unify_lines("\r" * 9) == "\n" * 9
    assert unify_lines("\r" * 9 + "\n") == "\n"


def test_one_long_word_of_restructured_text_is_taken_as_it_stands() -> None:
    word = "a-" * 50_000
    assert seconds(lambda: texts(word.encode(), "a.rst")) < 5
    (page,) = read_bytes(word.encode(), "a.rst", ReadOptions()).pages
    assert page.text == word
    assert "taken as they stand" in page.reason


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    "block",
    [
        f"{BOMB}title: *a29",
        f"{BOMB}*a29 : value",
        "a: &a {" + "".join(f"k{n}: {n}, " for n in range(9)) + "}\n"
        + "".join(f"a{n}: &a{n}\n  <<: [{'*a, ' * 9}]\n" for n in range(9)),
        "title: &a [*a, x]",
        "title: " + "[" * 1_000,
        "title: !!bool x",
        "title: !!int",
        "title: !!timestamp x",
        "title: !!float " + "9:" * 9_000,
        "? " * 10_000,
        "title: " + "&a " * 10_000,
        "title: !!python/object/apply:os.system [x]",
    ],
)  # fmt: skip
def test_front_matter_that_grows_is_read_in_little_time(block: str) -> None:
    document = f"---\n{block}\n---\nThe text.\n".encode()
    before = time.process_time()
    found = texts(document, "a.md")
    assert time.process_time() - before < 3
    assert "The text." in "".join(found)


def test_a_few_aliases_in_front_matter_are_read() -> None:
    facts, _ = split_front_matter("---\ntitle: &t A name\nsubtitle: *t\nb: &b {x: 1}\nc: *b\n---\n")
    assert facts == {"title": "A name", "subtitle": "A name", "b": {"x": 1}, "c": {"x": 1}}


DECLARED = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'


def with_entity(data: bytes, part: str) -> bytes:
    """The package with an entity and a comment inside the text "one two" of a part."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.startswith(part):
                content = re.sub(rb"^(<\?xml[^>]*\?>)?\s*", rb"\1" + DECLARED, content)
                assert b"one two" in content
                content = content.replace(b"one two", b"one &e;two<!-- c --> three")
            target.writestr(name, content)
    return changed.getvalue()


def packages() -> list[tuple[str, bytes, str]]:
    """(name, content, main part) of office files with the text "one two"."""
    text, show, book = docx.Document(), pptx.Presentation(), openpyxl.Workbook()
    text.add_paragraph("one two")
    show.slides.add_slide(show.slide_layouts[5]).shapes.title.text = "one two"
    book.active.append(["one two", "x"])
    found = []
    for made, name, part in (
        (text, "a.docx", "word/document"),
        (show, "a.pptx", "ppt/slides/slide1"),
        (book, "a.xlsx", "xl/worksheets/sheet1"),
    ):
        buffer = io.BytesIO()
        made.save(buffer)
        found.append((name, buffer.getvalue(), part))
    open_text = saved("text", "<text:p>one two</text:p>")
    return [*found, ("a.odt", open_text, "content")]


@pytest.mark.parametrize(("name", "data", "part"), packages(), ids=lambda one: str(one)[:9])
def test_the_text_beside_an_entity_stays(name: str, data: bytes, part: str) -> None:
    found = "\n".join(texts(with_entity(data, part), name))
    assert "one two three" in found
    assert "root:" not in found


@pytest.mark.parametrize(
    "code", [r"\u1114112 ?", r"\u-99999 ?", r"\u9999999999 ?", r"\uc ", r"\uc9999999999 "]
)
def test_a_code_of_no_character_costs_itself(code: str) -> None:
    source = rb"{\rtf1\ansi The first line.\par " + code.encode() + rb"\par The last line.}"
    (found,) = texts(source, "a.rtf")
    assert found.startswith("The first line.")
    assert code.startswith(r"\uc9") or found.endswith("The last line.")


def test_a_header_of_many_encoded_words_takes_little_time() -> None:
    mail = ("Subject: " + "=?utf-8?q?a?= " * 40_000 + "\nFrom: a@b\n\nThe text.\n").encode()
    assert seconds(lambda: texts(mail, "a.eml")) < 5
    (found,) = texts(mail, "a.eml")
    assert found.endswith("The text.")


def test_what_has_no_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")  # nobody writes to it: to open it would wait
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.txt"))
    for name in ("pipe.txt", "zero.txt"):
        with pytest.raises(ReadError, match=r"^not a regular file$"):
            read_document(tmp_path / name, name)
    with pytest.raises(ReadError, match="cannot be opened"):
        read_document(tmp_path / "s.txt", "s.txt")
    with (tmp_path / "sparse.txt").open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(ReadError, match=r"^too large: 1,099,511,627,776 bytes"):
        read_document(tmp_path / "sparse.txt", "sparse.txt")


class Growing(io.BytesIO):
    """A file that another program writes as fast as it is read."""

    def read(self, size: int | None = -1) -> bytes:
        assert (size or -1) > 0, "it has no end"
        return b"x" * (size or 0)


def test_a_file_that_grows_without_an_end_is_read_up_to_a_limit() -> None:
    assert sum(map(len, read_blocks(Growing(), 64, 1_000))) == 1_000


NAMES = (
    *(b"a" * 251 + b".txt", b"con.txt", b"a:b?.txt", b"\xff\xfe.txt", b"\xed\xa0\x80.txt"),
    *(b"line\nbreak.txt", b"\x1b]52;c;eA==\x07.txt", b"\x01\x7f.txt", b" .txt", b"'; DROP.txt"),
    *("\u202egnp.txt".encode(), "e\u0301.txt".encode(), b"-rf.txt", b"=1+1.txt", b"%s{0}.txt"),
)


def is_utf_8(name: bytes) -> bool:
    return name.decode("utf-8", "ignore").encode() == name


def test_files_of_any_name_are_indexed_and_found(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for number, name in enumerate(NAMES):
        (docs / os.fsdecode(name)).write_text(f"The word{number}word is only here.")
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as index:
        report = index.sync(docs)
        refused = [file.reason for file in report.files if file.reason]
        assert refused == ["its name, or its folder's, is not valid UTF-8; rename it"] * 2
        for number, name in enumerate(NAMES):
            if not is_utf_8(name):
                continue
            (hit, *_) = index.search(f"word{number}word", 1, mode="keyword")
            assert os.fsencode(hit.chunk.path) == name
        assert len(index.documents()) == len(NAMES) - 2


WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
FORM = b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] "
CELL = "<text:p>text</text:p></table:table-cell>"


def repacked(made: Any, part: str, content: str) -> bytes:
    """The office file with another part."""
    buffer, changed = io.BytesIO(), io.BytesIO()
    made.save(buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(changed, "w", 8) as target:
        for name in source.namelist():
            target.writestr(name, content if name == part else source.read(name))
    return changed.getvalue()


def word_file(body: str) -> bytes:
    body = f"<w:document {WORD}><w:body>{body}</w:body></w:document>"
    return repacked(docx.Document(), "word/document.xml", body)


def sheet_file(body: str) -> bytes:
    body = f'<worksheet xmlns="{SHEET}">{body}</worksheet>'
    return repacked(openpyxl.Workbook(), "xl/worksheets/sheet1.xml", body)


def sheet_cell(place: str) -> str:
    row = place.lstrip("XFDA")
    inner = f'<c r="{place}" t="inlineStr"><is><t>text</t></is></c>'
    return f'<sheetData><row r="{row}">{inner}</row></sheetData>'


def form(number: int, times: int) -> bytes:
    """A form of a PDF that draws form `number` so many times."""
    inside = b"/Resources << /XObject << /X %d 0 R >> >>" % number
    return stream(b"/X Do " * times, FORM + inside)


def drawing(*forms: bytes) -> bytes:
    return pdf_file([(b"/X Do", b"/XObject << /X 6 0 R >>")], more=list(forms))


def tiff(side: int) -> bytes:
    """A TIFF of so many pixels, one byte long."""
    tags = ((256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (278, side), (279, 1))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def mail(depth: int) -> bytes:
    head = b"Subject: a\nMIME-Version: 1.0\n"
    parts = (
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(depth)
    )
    return head + b"".join(parts) + b"Content-Type: text/plain\n\ntext\n"


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    # By name: the file, and its text or the beginning of its reason.
    "corner.xlsx": (lambda: sheet_file(sheet_cell("XFD1048576")), "text"),
    "far.xlsx": (lambda: sheet_file(sheet_cell("A99999999999")), "rows: more than is read"),
    "merged.xlsx": (
        lambda: sheet_file(
            sheet_cell("A1")
            + "<mergeCells>"
            + '<mergeCell ref="A1:XFD1048576"/>' * 500
            + "</mergeCells>"
        ),
        "text",
    ),
    "repeated.ods": (
        lambda: saved(
            "spreadsheet",
            '<table:table><table:table-row table:number-rows-repeated="1048576"><table:table-cell '
            f'table:number-columns-repeated="16384">{CELL}</table:table-row></table:table>',
        ),
        "text",
    ),
    "repeated.odt": (
        lambda: saved(
            "text",
            '<table:table><table:table-row table:number-rows-repeated="99999999"><table:table-cell '
            f'table:number-columns-repeated="99999999">{CELL}</table:table-row></table:table>',
        ),
        "text",
    ),
    "deep.odt": (
        lambda: saved("text", "<text:list>" * 5_000 + "</text:list>" * 5_000),
        "broken: its parts cannot be read as an OpenDocument file (Excessive depth",
    ),
    "deep.docx": (
        lambda: word_file("<w:sdt>" * 5_000 + "</w:sdt>" * 5_000),
        "broken: its parts cannot be read as a Word document (Excessive depth",
    ),
    "wide.docx": (
        lambda: word_file(
            '<w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val="999999999"/></w:tcPr>'
            "<w:p><w:r><w:t>text</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
        ),
        "text",
    ),
    "loop.pdf": (lambda: drawing(form(6, 2)), "drawings only"),
    "forms.pdf": (lambda: drawing(*(form(7 + n, 10) for n in range(25))), "drawings only"),
    "pages.pdf": (
        lambda: assembled(
            [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R] /Count 9 >>"]
        ),
        "broken: Detected cyclic page references",
    ),
    "outlines.pdf": (
        lambda: pdf_file(
            [text_page("text")],
            more=[b"<< /First 7 0 R >>", b"<< /Title (a) /Next 7 0 R /First 7 0 R >>"],
            catalog=b"/Outlines 6 0 R",
        ),
        "text",
    ),
    "bomb.tif": (lambda: tiff(60_000), "more pixels than any picture"),
    "deep.eml": (lambda: mail(1_000), "its parts are nested too deeply"),
    "deep.json": (lambda: b"[" * 50_000, "not JSON (nested too deeply)"),
    "deep.ipynb": (lambda: b'{"cells":' + b"[" * 50_000, "broken: not the JSON of a notebook"),
    "deep.rtf": (lambda: b"{\\rtf1 " + b"{\\b " * 20_000 + b"text" + b"}" * 20_000, "text"),
    "deep.html": (lambda: b"<table><tr><td>" * 3_000 + b"text", "text"),
    "deep.md": (lambda: b">" * 50_000 + b" text", ">>"),
    "deep.tex": (lambda: b"{" * 9_000 + b"text", "{{"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_small_hostile_file_costs_little_and_is_told(name: str) -> None:
    make, expected = HOSTILE[name]
    data = make()
    assert len(data) < 250_000
    before = time.process_time()
    try:
        first = read_bytes(data, name, ReadOptions(ocr="eng")).pages[0]
        told = (first.text, first.reason)
    except ReadError as error:
        told = ("", str(error))
    assert time.process_time() - before < 5
    assert any(one.startswith(expected) for one in told), told


def test_a_part_that_is_named_many_times_is_read_once() -> None:
    relation = (
        '<Relationship Id="{}" Type="http://schemas.openxmlformats.org/officeDocument/2006/'
        'relationships/{}" Target="document.xml"/>'
    )
    named = "".join(relation.format(f"r{n}", ("comments", "header")[n % 2]) for n in range(1000))
    made = docx.Document()
    made.add_paragraph("one two")
    part = "word/_rels/document.xml.rels"
    start = '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    data = repacked(made, part, f"{start}{named}</Relationships>")
    assert "one two" in texts(data, "a.docx")
    assert seconds(lambda: texts(data, "a.docx")) < 3
