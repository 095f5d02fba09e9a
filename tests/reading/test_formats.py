"""The entry point: how formats are detected, what is refused, and that only ReadError is raised."""

from __future__ import annotations

import contextlib
import io
import os
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from random import Random

import docx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retriever.reading.formats import (
    FORMATS,
    format_of,
    format_versions,
    outdated_formats,
    read_document,
    supported,
)
from retriever.types import PageState, ReadError
from tests.pdfs import pdf_file, text_page

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
PDF = SAMPLE / "government-pdf" / "USDA_10_tips_healthy_meals.pdf"
GIF = b"GIF89a" + bytes(40)


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def word_file(text: str = "Hello from Word") -> bytes:
    document = docx.Document()
    document.add_paragraph(text)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def zip_file(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_xml", ".xml"), text)
    return buffer.getvalue()


def test_formats_by_name():
    promised = {
        "a.pdf": "pdf",
        "a.PDF": "pdf",
        "a.txt": "txt",
        "a.text": "txt",
        "a.md": "markdown",
        "a.markdown": "markdown",
        "a.html": "html",
        "a.htm": "html",
        "a.xhtml": "html",
        "a.docx": "docx",
        "README": "txt",
        "LICENSE": "txt",
        "a.png": "image",
        "a.gif": None,
        "a.doc": "old",
        ".gitignore": None,
        "Makefile": "code",
    }
    assert {name: format_of(Path(name)) for name in promised} == promised
    assert [name for name in promised if not supported(Path(name))] == [
        name for name, found in promised.items() if found is None
    ]


def test_what_a_document_was_made_by_names_its_formats_and_their_versions(monkeypatch):
    made = format_versions(["pdf", "eml", "ocr", "pdf"])
    assert re.fullmatch(r"eml=\d+,ocr=\d+,pdf=\d+", made)
    assert outdated_formats(made, "eml") == set()
    subtitles = replace(FORMATS["subtitles"], version=99)
    monkeypatch.setattr("retriever.reading.formats.FORMATS", {**FORMATS, "subtitles": subtitles})
    assert outdated_formats(made, "eml") == set()
    monkeypatch.setattr("retriever.reading.formats.FORMATS", {**FORMATS, "pdf": subtitles})
    assert outdated_formats(made, "eml") == {"pdf"}
    assert outdated_formats("no version at all", "eml") == {"eml"}


def test_what_the_first_release_stored_is_version_one_of_every_format(monkeypatch):
    """0.1.0 stored one version for all readers together, and this is the one."""
    ones = {name: replace(format_, version=1) for name, format_ in FORMATS.items()}
    monkeypatch.setattr("retriever.reading.formats.FORMATS", ones)
    assert outdated_formats("55fa282f", "pdf") == set()
    monkeypatch.setattr(
        "retriever.reading.formats.FORMATS", {**ones, "pdf": replace(ones["pdf"], version=2)}
    )
    assert outdated_formats("55fa282f", "pdf") == {"pdf"}


def test_a_document_names_the_formats_of_the_files_inside_of_it(tmp_path):
    mail = b"From: a@b.c\nSubject: s\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nHello\n"
    part = b'--x\nContent-Type: text/html\nContent-Disposition: attachment; filename="%s"\n\n%s\n'
    mail += part % (b"a.html", b"<p>Inside</p>") + part % (b"b.srt", b"1") + b"--x--\n"
    assert read_document(write(tmp_path, "m.eml", mail), "m.eml").read_as == (
        "eml",
        "html",
        "subtitles",
    )
    assert read_document(write(tmp_path, "a.txt", b"Hello"), "a.txt").read_as == ("txt",)


def test_a_pdf_is_read_whatever_its_name(tmp_path):
    expected = read_document(PDF, "a.pdf")
    for name in ("a.txt", "a.docx", "a.html", "a.md"):
        found = read_document(write(tmp_path, name, PDF.read_bytes()), "sub/" + name)
        assert (found.path, found.format) == ("sub/" + name, "pdf")
        assert [page.text for page in found.pages] == [page.text for page in expected.pages]
        assert found.pages[0].reason.endswith("but it is a PDF: read as that")


def test_a_word_file_is_read_whatever_its_name(tmp_path):
    for name in ("a.pdf", "a.txt"):
        found = read_document(write(tmp_path, name, word_file()), name)
        assert (found.format, found.pages[0].text) == ("docx", "Hello from Word")


def test_junk_before_the_header(tmp_path):
    path = write(tmp_path, "a.pdf", b"HTTP/1.1 200 OK\r\n\r\n" * 20 + PDF.read_bytes())
    assert read_document(path, "a.pdf").pages == read_document(PDF, "a.pdf").pages


def test_an_old_name_with_something_newer_in_it(tmp_path):
    for data, kind in ((word_file(), "docx"), (b"{\\rtf1 Hello}", "rtf"), (b"Hello you", "txt")):
        found = read_document(write(tmp_path, "a.doc", data), "a.doc")
        assert found.format == kind
        assert found.pages[0].reason.startswith("named as an older Office file, but it is ")
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    with pytest.raises(ReadError, match=r"save it as \.docx or \.pdf"):
        read_document(write(tmp_path, "a.doc", old), "a.doc")


def test_text_and_web_pages_are_read_whatever_their_name(tmp_path):
    for name in ("a.txt", "a.pdf", "a.docx"):
        found = read_document(write(tmp_path, name, b"<!DOCTYPE html><p>Hello you</p>"), name)
        assert (found.format, found.pages[0].text) == ("html", "Hello you")
        assert "but it is an HTML page: read as that" in found.pages[0].reason
    for name in ("a.pdf", "a.docx"):
        found = read_document(write(tmp_path, name, b"Dear Sir, <p>"), name)
        assert (found.format, found.pages[0].text) == ("txt", "Dear Sir, <p>")
        assert "but it is plain text: read as that" in found.pages[0].reason


REFUSED = {
    "a.pdf": [
        (b"", "zero bytes"),
        (GIF, "not a PDF although its name says so; it begins like a GIF image"),
        (Random(1).randbytes(900), "it begins with unknown bytes"),
        (zip_file(a_xml="x"), "it begins like a ZIP archive"),
        (b"%PDF-1.7\nnothing behind it", "broken: "),
    ],
    "a.docx": [
        (b"", "zero bytes"),
        (zip_file(xl__workbook_xml="x"), "an Excel workbook"),
        (zip_file(ppt__presentation_xml="x"), "a PowerPoint presentation"),
        (b"PK\x03\x04 and no archive", "a damaged ZIP archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an older Office file"),
        (word_file()[:-300], "a damaged ZIP archive"),
    ],
    "a.txt": [
        (b"", "zero bytes"),
        (GIF, "not plain text although its name says so; it begins like a GIF image"),
        (bytes(range(256)) * 20, "its bytes are binary data"),
    ],
    "a.html": [(GIF, "not an HTML page although its name says so")],
    "a.md": [(b"\x7fELF" + bytes(90), "it begins like a program")],
}


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [(name, data, reason) for name, cases in REFUSED.items() for data, reason in cases],
)
def test_what_cannot_be_read_is_refused_with_the_true_reason(tmp_path, name, data, reason):
    with pytest.raises(ReadError) as caught:
        read_document(write(tmp_path, name, data), name)
    message = str(caught.value)
    assert reason in message
    assert "\n" not in message
    assert len(message) < 350


def test_what_is_no_file(tmp_path):
    with pytest.raises(ReadError, match="cannot be opened: no such file"):
        read_document(tmp_path / "missing.txt", "missing.txt")
    with pytest.raises(ReadError, match="not a regular file"):
        read_document(tmp_path, "folder.txt")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.txt")
        with pytest.raises(ReadError, match="not a regular file"):
            read_document(tmp_path / "pipe.txt", "pipe.txt")


def test_a_word_file_under_a_password_is_one_encrypted_page(tmp_path):
    container = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)
    data = container + "EncryptedPackage".encode("utf-16-le") + bytes(500)
    page = read_document(write(tmp_path, "a.docx", data), "a.docx").pages[0]
    assert (page.state, page.number) == (PageState.ENCRYPTED, None)
    assert "password needed" in page.reason


def test_every_sample_document_is_all_text():
    paths = sorted(path for path in SAMPLE.rglob("*") if path.suffix in (".md", ".html", ".txt"))
    assert len(paths) == 33
    for path in paths:
        found = read_document(path, path.name)
        assert [page.number for page in found.pages] == [None]
        assert {page.state for page in found.pages} == {PageState.TEXT}, path


# Each seed is a whole small file of one format; the fuzzer cuts, changes and repeats its bytes.
MARKDOWN = (
    b"---\ntitle: A\ntags: [x]\n---\n# T\n\n<table><tr><td>a</td></tr></table>\n```\nx\n```\n"
)
HTML = (
    b'<html><head><meta charset="cp1252"><title>T</title></head><body><nav><a href="/">n</a></nav>'
    b"<ul><li>a<li>b</ul><table><tr><td>1<td>2</table><p>x&amp;y</body>"
)
SEEDS = {
    "a.txt": "Grüße, Привет, 你好\n".encode(),
    "a.md": MARKDOWN,
    "a.html": HTML,
    "a.docx": word_file(),
    "a.pdf": pdf_file([text_page("First page"), text_page("Second page")]),
}


@pytest.mark.parametrize("name", sorted(SEEDS))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_bytes_raise_nothing_but_read_errors(tmp_path, name, data):
    changed = bytearray(SEEDS[name])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(0, len(changed) - 1)))
        length = data.draw(st.integers(0, 40))
        changed[at : at + length] = data.draw(st.binary(max_size=12)) or changed[:length]
    if data.draw(st.booleans()):
        del changed[data.draw(st.integers(0, len(changed))) :]
    try:
        found = read_document(write(tmp_path, name, bytes(changed)), name)
    except ReadError:
        return
    assert found.pages
    for page in found.pages:
        assert page.state.readable == bool(page.text.strip())
        assert page.state.readable or page.reason
        page.text.encode("utf-8")  # nothing that could not be stored


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    junk=st.binary(max_size=300),
    head=st.sampled_from([b"", b"%PDF-1.4\n", b"PK\x03\x04", b"<html>", b"---\n", b"\xff\xfe"]),
    name=st.sampled_from(sorted(SEEDS)),
)
def test_any_bytes_raise_nothing_but_read_errors(tmp_path, junk, head, name):
    with contextlib.suppress(ReadError):
        assert read_document(write(tmp_path, name, head + junk), name).pages
