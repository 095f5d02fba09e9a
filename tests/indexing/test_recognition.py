"""Recognised text is never lost, whatever the reason to read a file again, and with any option."""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from retriever.index import Index
from retriever.indexing.sync import FileReport
from retriever.interface.cli import COMMANDS
from retriever.interface.commands.arguments import reading_arguments
from retriever.interface.options import make_parser
from retriever.reading import extras, formats
from retriever.reading.formats import read_document
from retriever.reading.pictures import ocr, tesseract
from retriever.reading.pictures.tesseract import OcrResult, Picture
from retriever.reading.subprocess_reader import FileReader
from retriever.storage.records import UnreadFile
from retriever.types import Document, FileStatus, Page, PageState
from tests.fakes import FakeEmbedder
from tests.older import without_seals
from tests.pdfs import pdf_file, text_page
from tests.scans import (
    LINES,
    drawn,
    image_object,
    needs_tesseract,
    scan_file,
    scanned_page,
    small,
)
from ui.resources import SharedIndex


class FakeOCR:
    """An OCR that says which picture it is given for the how manieth time, and counts."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.languages = ["deu", "eng"]
        self.there = True
        patch.setattr(tesseract, "_program", lambda: "tesseract" if self.there else "")
        patch.setattr(tesseract, "installed_languages", lambda: self.languages)
        patch.setattr(ocr, "recognise", self.recognise)
        patch.setattr(FileReader, "read", lambda *call: self.read(*call))
        self.read_names: list[str] = []

    def read(self, reader: FileReader, path: Path, name: str) -> Document:
        self.read_names.append(name)
        return read_document(path, name, reader.options)

    def recognise(self, picture: Picture, languages: str) -> OcrResult:
        self.calls.append(languages)
        return OcrResult(f"The walrus was seen near the river, look {len(self.calls)}.", 90)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeOCR:
    return FakeOCR(monkeypatch)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as opened:
        yield opened


SHEET = drawn(["a sheet"], dpi=50)
OTHER = drawn(["another sheet", "of lines"], dpi=50)


def mixed(*typed: str, sheet: Image.Image = SHEET) -> bytes:
    """A PDF with a typed page and a scanned one."""
    pages = [text_page(*(typed or ("Hello there",))), scanned_page(6)]
    return small(pdf_file(pages, more=[image_object(sheet)]))


def png(sheet: Image.Image = SHEET, note: str = "") -> bytes:
    from PIL.PngImagePlugin import PngInfo

    facts = PngInfo()
    facts.add_text("note", note)
    file = io.BytesIO()
    sheet.save(file, "PNG", pnginfo=facts)
    return file.getvalue()


def mail(*parts: tuple[str, str, bytes], text: str = "We need more soil.") -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"] = "Garden", "a@example.org"
    message.set_content(text)
    for name, kind, data in parts:
        major, minor = kind.split("/")
        message.add_attachment(data, maintype=major, subtype=minor, filename=name)
    return message.as_bytes()


FILES: dict[str, Callable[[], bytes]] = {
    "mixed.pdf": mixed,
    "picture.png": png,
    "scan.pdf": lambda: scan_file(SHEET, OTHER),
    "mail.eml": lambda: mail(
        ("in.pdf", "application/pdf", mixed()), ("in.png", "image/png", png(OTHER))
    ),
}


def recognised(index: Index, path: str) -> list[Page]:
    (row,) = [row for row in index.documents() if row.path == path]
    return [page for page in index.pages(row.id) if page.state is PageState.OCR]


def everything(index: Index) -> dict[str, list[Page]]:
    return {row.path: index.pages(row.id) for row in index.documents()}


def one_file(index: Index, docs: Path, path: str, **options) -> FileReport:
    (file,) = [file for file in index.sync(docs, **options).files if file.path == path]
    return file


def newer(patch: pytest.MonkeyPatch, *names: str) -> None:
    known = formats.FORMATS
    made = {name: replace(known[name], version=known[name].version + 1) for name in names}
    patch.setattr("retriever.reading.formats.FORMATS", {**known, **made})


def as_first_released(patch: pytest.MonkeyPatch) -> None:
    """Every format has the version of 0.1.0."""
    ones = {name: replace(format_, version=1) for name, format_ in formats.FORMATS.items()}
    patch.setattr("retriever.reading.formats.FORMATS", ones)


# The same bytes


def reread(docs: Path, path: str, patch: pytest.MonkeyPatch) -> dict:
    return {"reread": True}


def touched(docs: Path, path: str, patch: pytest.MonkeyPatch) -> dict:
    os.utime(docs / path, (1e9, 1e9))
    return {"reread": True}


def new_version(docs: Path, path: str, patch: pytest.MonkeyPatch) -> dict:
    newer(patch, "pdf", "image", "eml")
    return {}


def moved_and_new_version(docs: Path, path: str, patch: pytest.MonkeyPatch) -> dict:
    newer(patch, "pdf", "image", "eml")
    (docs / path).rename(docs / f"moved-{path}")
    return {"force": True}


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("why", [reread, touched, new_version, moved_and_new_version])
@pytest.mark.parametrize("how", ["remembered", "no OCR", "no Tesseract", "asked again"])
def test_the_same_bytes_keep_their_text_and_nothing_is_recognised_again(
    index, docs, fake, monkeypatch, path, why, how
) -> None:
    (docs / path).write_bytes(FILES[path]())
    index.sync(docs, ocr="eng")
    (before,) = everything(index).values()
    count = len(fake.calls)
    assert count == sum(page.state is PageState.OCR for page in before) > 0
    options = why(docs, path, monkeypatch)
    fake.there = how != "no Tesseract"
    options |= {"no OCR": {"ocr": ""}, "asked again": {"ocr": "eng"}}.get(how, {})
    fake.read_names.clear()
    report = index.sync(docs, **options)
    assert report.complete
    assert len(fake.read_names) == 1
    assert list(everything(index).values()) == [before]
    assert len(fake.calls) == count
    assert {file.status for file in report.files} <= {
        *(FileStatus.UPDATED, FileStatus.INDEXED, FileStatus.REMOVED)
    }


@pytest.mark.parametrize("path", FILES)
def test_a_touched_file_is_not_even_read(index, docs, fake, path) -> None:
    (docs / path).write_bytes(FILES[path]())
    index.sync(docs, ocr="eng")
    before = everything(index)
    os.utime(docs / path, (1e9, 1e9))
    fake.read_names.clear()
    assert one_file(index, docs, path).status is FileStatus.UNCHANGED
    assert (everything(index), fake.read_names) == (before, [])


def test_a_picture_without_words_is_remembered_too(index, docs, fake, monkeypatch) -> None:
    monkeypatch.setattr(ocr, "recognise", lambda picture, languages: OcrResult("", 0))
    (docs / "mixed.pdf").write_bytes(mixed())
    assert index.sync(docs, ocr="eng").complete
    assert index.sync(docs, ocr="", reread=True).complete


@pytest.mark.parametrize("path", FILES)
def test_other_languages_and_a_new_recognition_read_the_pictures_again(
    index, docs, fake, monkeypatch, path
) -> None:
    (docs / path).write_bytes(FILES[path]())
    index.sync(docs, ocr="eng")
    count = len(fake.calls)
    index.sync(docs, ocr="deu", reread=True)
    assert fake.calls == ["eng"] * count + ["deu"] * count
    index.sync(docs, reread=True)
    assert len(fake.calls) == 2 * count
    for module in ("retriever.reading.formats", "retriever.reading.recognised", ocr.__name__):
        monkeypatch.setattr(f"{module}.OCR_VERSION", 2)
    fake.there = False
    fake.read_names.clear()
    index.sync(docs)
    assert fake.read_names == []  # nothing could be recognised anew
    fake.there = True
    index.sync(docs)
    assert fake.calls[2 * count :] == ["deu"] * count
    index.sync(docs)
    assert len(fake.calls) == 3 * count


def test_what_cannot_be_recognised_again_stays(index, docs, fake, monkeypatch) -> None:
    for path, data in FILES.items():
        (docs / path).write_bytes(data())
    index.sync(docs, ocr="eng")
    before = everything(index)

    def fails(picture: Picture, languages: str) -> OcrResult:
        raise tesseract.ReadError("OCR made no words of it")

    monkeypatch.setattr(ocr, "recognise", fails)
    assert index.sync(docs, ocr="deu", reread=True).complete
    assert everything(index) == before


# Changed files


@pytest.mark.parametrize("ocr_", [None, ""])
def test_a_changed_file_keeps_the_text_of_pictures_that_stayed(index, docs, fake, ocr_) -> None:
    (docs / "mixed.pdf").write_bytes(mixed())
    (docs / "picture.png").write_bytes(png())
    (docs / "mail.eml").write_bytes(FILES["mail.eml"]())
    index.sync(docs, ocr="eng")
    before = {path: recognised(index, path) for path in everything(index)}
    count = len(fake.calls)
    (docs / "mixed.pdf").write_bytes(mixed("Other words", "altogether"))
    (docs / "picture.png").write_bytes(png(note="changed"))
    parts = [("in.pdf", "application/pdf", mixed()), ("in.png", "image/png", png(OTHER))]
    (docs / "mail.eml").write_bytes(mail(("a.txt", "text/plain", b"New"), *parts))
    fake.there = ocr_ is not None  # neither is a Tesseract needed
    report = index.sync(docs, ocr=ocr_)
    assert report.complete
    assert report.totals["updated"] == 3
    assert {path: recognised(index, path) for path in everything(index)} == before
    assert len(fake.calls) == count


@pytest.mark.parametrize("path", ["mixed.pdf", "picture.png", "scan.pdf"])
def test_a_changed_picture_is_recognised_as_before(index, docs, fake, path) -> None:
    (docs / path).write_bytes(FILES[path]())
    index.sync(docs, ocr="deu")
    (docs / "mixed.pdf").write_bytes(mixed("Other", sheet=OTHER))
    (docs / "picture.png").write_bytes(png(OTHER))
    (docs / "scan.pdf").write_bytes(scan_file(drawn(["third"], dpi=50), OTHER))
    before = len(fake.calls)
    assert one_file(index, docs, path).status is FileStatus.UPDATED
    assert set(fake.calls) == {"deu"}
    assert len(fake.calls) > before
    assert recognised(index, path)


@pytest.mark.parametrize(
    ("options", "there", "told"),
    [
        ({"ocr": ""}, True, "run wva index again with --ocr --ocr-languages deu"),
        ({}, False, "Tesseract is not installed"),
    ],
)
def test_lost_text_is_told_with_its_pages_and_how_to_get_it(
    index, docs, fake, options, there, told
) -> None:
    (docs / "mixed.pdf").write_bytes(mixed())
    index.sync(docs, ocr="deu")
    (docs / "mixed.pdf").write_bytes(mixed("Other", sheet=OTHER))
    fake.there = there
    file = one_file(index, docs, "mixed.pdf", **options)
    assert file.status is FileStatus.PARTIAL
    assert file.reason.startswith("text recognised before on page 2 is missing now: ")
    assert told in file.reason
    (row,) = index.documents()
    page = index.pages(row.id)[1]
    assert page.state is PageState.SCANNED
    assert "recognised before the file changed" in page.reason
    fake.there = True
    again = {"ocr": "deu"} if options else {}
    assert one_file(index, docs, "mixed.pdf", **again).status is FileStatus.UPDATED
    assert len(recognised(index, "mixed.pdf")) == 1


def test_lost_text_of_an_attachment_is_told(index, docs, fake) -> None:
    (docs / "mail.eml").write_bytes(mail(("in.png", "image/png", png())))
    index.sync(docs, ocr="eng")
    (docs / "mail.eml").write_bytes(mail(("in.png", "image/png", png(OTHER))))
    report = index.sync(docs, ocr="")
    (file,) = report.files
    assert not report.complete
    assert file.status is FileStatus.PARTIAL
    assert "recognised before on attachment in.png is missing now: run wva index" in file.reason


def test_a_page_taken_out_of_a_file_is_no_loss(index, docs, fake) -> None:
    (docs / "mixed.pdf").write_bytes(mixed())
    index.sync(docs, ocr="eng")
    (docs / "mixed.pdf").write_bytes(pdf_file([text_page("Typed alone")]))
    file = one_file(index, docs, "mixed.pdf", ocr="")
    assert (file.status, file.reason) == (FileStatus.UPDATED, "")


@pytest.mark.parametrize("path", FILES)
def test_a_recognised_page_names_its_source(index, docs, fake, path) -> None:
    (docs / path).write_bytes(FILES[path]())
    index.sync(docs, ocr="eng+deu")
    pages = recognised(index, path)
    inner = {"mail.eml": [mixed(), png(OTHER)]}.get(path, [FILES[path]()])
    hashes = {hashlib.sha256(data).hexdigest() for data in inner}
    assert {page.scan.file for page in pages if page.scan} == hashes
    assert {page.scan.languages for page in pages if page.scan} == {"eng+deu"}
    assert all(page.scan and len(page.scan.picture) == 64 for page in pages)
    numbers = {"mixed.pdf": [2], "picture.png": [None], "scan.pdf": [1, 2], "mail.eml": [2, None]}
    assert [page.scan.number for page in pages if page.scan] == numbers[path]
    (hit, *_) = index.search("walrus", 1, mode="keyword")
    with index.snapshot() as now:
        shown = now.catalog.page_of(hit.chunk.id)
    assert shown is not None
    assert shown.scan in [page.scan for page in pages]


# What the index remembers


def test_a_run_that_does_not_say_does_as_the_one_before(index, docs, fake) -> None:
    (docs / "a.png").write_bytes(png())
    assert index.backend.ocr_languages == ""
    assert one_file(index, docs, "a.png").status is FileStatus.SKIPPED
    index.sync(docs, ocr="deu", dry_run=True)
    assert index.backend.ocr_languages == ""
    index.sync(docs, ocr="deu")
    assert index.backend.ocr_languages == "deu"
    (docs / "b.png").write_bytes(png(OTHER))
    assert one_file(index, docs, "b.png").status is FileStatus.INDEXED
    index.sync(docs, ocr="")
    assert index.backend.ocr_languages == ""
    (docs / "c.png").write_bytes(png(drawn(["c"], dpi=50)))
    assert one_file(index, docs, "c.png").status is FileStatus.SKIPPED


def test_each_document_keeps_its_languages(index, docs, fake) -> None:
    (docs / "a.pdf").write_bytes(mixed())
    index.sync(docs, ocr="deu")
    (docs / "b.pdf").write_bytes(mixed("b", sheet=OTHER))
    index.sync(docs, ocr="eng")
    index.sync(docs, reread=True)
    assert fake.calls == ["deu", "eng"]
    (docs / "a.pdf").write_bytes(mixed("changed", sheet=drawn(["c"], dpi=50)))
    index.sync(docs)
    assert fake.calls == ["deu", "eng", "deu"]


def test_a_document_is_not_recognised_in_other_languages_than_before(index, docs, fake) -> None:
    (docs / "a.pdf").write_bytes(mixed())
    index.sync(docs, ocr="deu")
    (docs / "b.pdf").write_bytes(mixed("b", sheet=OTHER))
    index.sync(docs, ocr="eng")
    fake.languages = ["eng"]
    (docs / "a.pdf").write_bytes(mixed("changed", sheet=drawn(["c"], dpi=50)))
    file = one_file(index, docs, "a.pdf")
    assert file.status is FileStatus.PARTIAL
    assert "page 2 is missing now: Tesseract has no language 'deu', only eng" in file.reason
    fake.languages = ["deu", "eng"]
    assert one_file(index, docs, "a.pdf").status is FileStatus.UPDATED


# An option that could help


def unread(index: Index) -> list[UnreadFile]:
    with index.snapshot() as now:
        return now.catalog.unread()


def settled(index: Index, docs: Path) -> None:
    """The failures as if the run had been later: a file written just now may change again."""
    index.backend.set_unread(
        [
            replace(file, mtime_ns=max(facts.st_mtime_ns, facts.st_ctime_ns))
            for file in unread(index)
            if (facts := (docs / file.path).stat())
        ]
    )


def test_a_file_that_failed_for_want_of_an_ocr_is_read_when_there_is_one(index, docs, fake) -> None:
    (docs / "scan.pdf").write_bytes(FILES["scan.pdf"]())
    index.sync(docs, ocr="deu")
    (docs / "scan.pdf").write_bytes(scan_file(OTHER, SHEET, OTHER, drawn(["x"], dpi=50)))
    fake.languages = ["eng"]  # the remembered one is not there now
    (docs / "scan.pdf").write_bytes(scan_file(drawn(["x"], dpi=50)))
    file = one_file(index, docs, "scan.pdf")
    assert file.status is FileStatus.FAILED
    assert "what was indexed of it before is kept" in file.reason
    assert "no language 'deu'" in file.reason
    assert len(recognised(index, "scan.pdf")) == 2
    settled(index, docs)
    fake.read_names.clear()
    index.sync(docs)
    assert fake.read_names == []
    fake.languages = ["deu", "eng"]
    assert one_file(index, docs, "scan.pdf").status is FileStatus.UPDATED


def test_scanned_pages_are_read_when_the_remembered_ocr_is_there_again(index, docs, fake) -> None:
    (docs / "mixed.pdf").write_bytes(mixed())
    index.sync(docs)
    (docs / "other.pdf").write_bytes(mixed("other", sheet=OTHER))
    fake.there = False
    index.backend.set_ocr_languages("eng")
    index.sync(docs)
    assert not recognised(index, "other.pdf")
    fake.there = True
    index.sync(docs)
    assert recognised(index, "mixed.pdf")
    assert recognised(index, "other.pdf")


def test_what_an_ocr_could_not_read_is_not_tried_in_every_run(
    index, docs, fake, monkeypatch
) -> None:
    def fails(picture: Picture, languages: str) -> OcrResult:
        fake.calls.append(languages)
        raise tesseract.ReadError("OCR made no words of it")

    monkeypatch.setattr(ocr, "recognise", fails)
    (docs / "mixed.pdf").write_bytes(mixed())
    index.sync(docs, ocr="eng")
    index.sync(docs)
    assert fake.calls == ["eng"]
    index.sync(docs, ocr="deu")
    assert fake.calls == ["eng", "deu"]


def test_an_ocr_given_in_every_run_does_not_read_the_same_in_vain(
    index, docs, fake, monkeypatch
) -> None:
    def fails(picture: Picture, languages: str) -> OcrResult:
        fake.calls.append(languages)
        raise tesseract.ReadError("OCR made no words of it")

    monkeypatch.setattr(ocr, "recognise", fails)
    (docs / "mixed.pdf").write_bytes(mixed())
    for _ in range(3):
        index.sync(docs, ocr="eng")
    assert fake.calls == ["eng"]
    index.sync(docs, ocr="eng", retry=True)
    assert fake.calls == ["eng", "eng"]


@pytest.mark.parametrize("why", ["content", "reader"])
def test_a_run_without_an_ocr_hinders_no_later_one(index, docs, fake, monkeypatch, why) -> None:
    (docs / "scan.pdf").write_bytes(scan_file(SHEET))
    index.sync(docs, ocr="eng")
    if why == "content":
        (docs / "scan.pdf").write_bytes(scan_file(OTHER))
    else:
        newer(monkeypatch, "pdf")
    before = everything(index)
    file = one_file(index, docs, "scan.pdf", ocr="")
    assert everything(index) == before
    assert (file.status is FileStatus.FAILED) == (why == "content")
    settled(index, docs)
    index.sync(docs, ocr="eng")
    assert fake.calls == ["eng"] * (2 if why == "content" else 1)
    assert recognised(index, "scan.pdf")


def locked_pdf(*lines: str) -> bytes:
    import pypdf

    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf_file([text_page(*lines)])))
    writer.encrypt("secret", algorithm="AES-256")
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


@pytest.mark.parametrize("known", [True, False])
def test_only_a_new_password_is_tried(index, docs, fake, known) -> None:
    """Of a file that had text before, and of one that never had any."""
    if known:
        (docs / "a.pdf").write_bytes(pdf_file([text_page("The zebra sleeps")]))
        index.sync(docs)
    (docs / "a.pdf").write_bytes(locked_pdf("The heron sleeps"))
    index.sync(docs)

    def run(*passwords: str, **options) -> bool:
        settled(index, docs)
        fake.read_names.clear()
        index.sync(docs, passwords=passwords, **options)
        return bool(fake.read_names)

    assert not run()
    assert run("wrong")
    assert not run("wrong")
    assert run("wrong", "other")
    assert not run("other", "wrong")
    assert not run("wrong")
    assert run("wrong", retry=True)
    with closing(sqlite3.connect(docs.parent / "index/catalog.sqlite")) as catalog:
        assert "wrong" not in "".join(catalog.iterdump())
    assert run("secret")
    assert "heron" in str(everything(index))
    assert not run("secret")


def test_a_reader_update_does_not_lose_a_locked_file(index, docs, fake, monkeypatch) -> None:
    (docs / "a.pdf").write_bytes(locked_pdf("The heron sleeps"))
    index.sync(docs, passwords=["secret"])
    newer(monkeypatch, "pdf")
    assert one_file(index, docs, "a.pdf").status is FileStatus.FAILED
    assert "heron" in str(everything(index))
    settled(index, docs)
    assert one_file(index, docs, "a.pdf", passwords=["secret"]).status is FileStatus.UPDATED


@pytest.mark.parametrize("means", ["password", "extra"])
def test_what_was_read_of_an_attachment_stays_without_the_means(
    index, docs, fake, monkeypatch, means
) -> None:
    def missing(data: bytes, name: str, options: formats.ReadOptions) -> Document:
        return extras.load("no_such_module", "office", "PowerPoint files")

    part = ("in.pdf", "application/pdf", locked_pdf("The heron sleeps"))
    plain = ("in.json", "application/json", b'{"a": "heron"}')
    (docs / "m.eml").write_bytes(mail(part if means == "password" else plain))
    index.sync(docs, passwords=["secret"])
    before = everything(index)
    assert "heron" in str(before)
    known = formats.FORMATS
    with monkeypatch.context() as patch:
        newer(patch, "eml")
        if means == "extra":
            gone = {"json": replace(known["json"], read=missing)}
            patch.setattr("retriever.reading.formats.FORMATS", {**formats.FORMATS, **gone})
            patch.setattr(extras, "installed_extras", tuple)
        file = one_file(index, docs, "m.eml")
        assert file.status is FileStatus.FAILED
        assert "what was indexed of it before is kept" in file.reason
        assert everything(index) == before
        settled(index, docs)
        fake.read_names.clear()
        index.sync(docs)
        assert fake.read_names == []
        if means == "password":
            assert one_file(index, docs, "m.eml", passwords=["secret"]).status is FileStatus.UPDATED


def test_an_extra_that_was_installed_is_a_reason_to_read_again(
    index, docs, fake, monkeypatch
) -> None:
    def missing(data: bytes, name: str, options: formats.ReadOptions) -> Document:
        return extras.load("no_such_module", "office", "PowerPoint files")

    (docs / "m.eml").write_bytes(mail(("in.json", "application/json", b'{"a": "heron"}')))
    known = formats.FORMATS
    with monkeypatch.context() as patch:
        lacking = replace(known["json"], read=missing)
        patch.setattr("retriever.reading.formats.FORMATS", {**known, "json": lacking})
        patch.setattr(extras, "installed_extras", tuple)
        assert "pip install" in one_file(index, docs, "m.eml").reason
        fake.read_names.clear()
        index.sync(docs)
        assert fake.read_names == []
    assert one_file(index, docs, "m.eml").status is FileStatus.UPDATED
    assert "heron" in str(everything(index))


def test_a_file_that_failed_for_want_of_a_password_is_read_with_one(index, docs, fake) -> None:
    file = docs / "a.pdf"
    file.write_bytes(pdf_file([text_page("The zebra sleeps")]))
    index.sync(docs)
    file.write_bytes(locked_pdf("The heron sleeps"))
    assert one_file(index, docs, "a.pdf").status is FileStatus.FAILED
    settled(index, docs)
    fake.read_names.clear()
    assert one_file(index, docs, "a.pdf").status is FileStatus.FAILED
    assert fake.read_names == []
    assert one_file(index, docs, "a.pdf", passwords=["secret"]).status is FileStatus.UPDATED
    assert "secret" not in str(unread(index)) + str(index.documents())


# Versions of formats


def test_a_new_version_reads_its_own_format_and_what_holds_it_alone(
    index, docs, fake, monkeypatch
) -> None:
    (docs / "a.pdf").write_bytes(mixed())
    (docs / "a.srt").write_bytes(b"1\n00:00:01,000 --> 00:00:02,000\nHello\n")
    srt = ("a.srt", "application/octet-stream", (docs / "a.srt").read_bytes())
    (docs / "with.eml").write_bytes(mail(srt))
    (docs / "without.eml").write_bytes(mail(("a.html", "text/html", b"<p>Hello there</p>")))
    index.sync(docs)
    fake.read_names.clear()
    newer(monkeypatch, "subtitles")
    index.sync(docs)
    assert sorted(fake.read_names) == ["a.srt", "with.eml"]
    index.sync(docs)
    assert len(fake.read_names) == 2


# What 0.1.0 made


def as_made_by_the_first_release(folder: Path, cut: str) -> None:
    """Turn an index's catalog into one that 0.1.0 wrote: format 3, one version for all readers."""
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as connection, connection:
        without_seals(connection)
        connection.execute("ALTER TABLE pages DROP COLUMN scan")
        connection.execute("DELETE FROM meta WHERE name = 'ocr'")
        connection.execute("UPDATE documents SET settings = ?", (f"55fa282f-{cut}".encode(),))
        connection.execute("PRAGMA user_version = 3")


@pytest.fixture
def old(
    tmp_path: Path, docs: Path, fake: FakeOCR, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Index, dict]]:
    """An index of 0.1.0 with recognised pages, and its pages; the readers are those of then."""
    as_first_released(monkeypatch)
    for path, data in FILES.items():
        (docs / path).write_bytes(data())
    (docs / "fax.eml").write_bytes(mail(("fax.tif", "image/tiff", fax())))
    with Index.open_or_create(tmp_path / "old", FakeEmbedder()) as made:
        made.sync(docs, ocr="eng")
        (cut,) = {row.settings.partition("-")[2] for row in made.documents()}
        before = everything(made)
    as_made_by_the_first_release(tmp_path / "old", cut)
    fake.calls.clear()
    fake.read_names.clear()
    with Index.open(tmp_path / "old", FakeEmbedder()) as opened:
        yield opened, before


def fax() -> bytes:
    file = io.BytesIO()
    first, second = SHEET.copy(), OTHER.copy()  # without what saving as PNG left on them
    first.save(file, "TIFF", save_all=True, append_images=[second])
    return file.getvalue()


def test_an_index_of_the_first_release_is_up_to_date(old, docs, fake) -> None:
    index, before = old
    report = index.sync(docs)
    assert {file.status for file in report.files} == {FileStatus.UNCHANGED}
    assert (fake.read_names, report.tokens) == ([], 0)
    assert everything(index) == before


def test_an_index_of_the_first_release_reads_no_more_than_it_must(
    old, docs, fake, monkeypatch
) -> None:
    newer(monkeypatch, "subtitles")
    old[0].sync(docs)  # what lies in a mail was not noted then
    assert sorted(fake.read_names) == ["fax.eml", "mail.eml"]


@pytest.mark.parametrize("ocr_", [None, ""])
def test_text_recognised_by_the_first_release_is_kept(old, docs, fake, ocr_) -> None:
    index, before = old
    assert index.sync(docs, ocr=ocr_, reread=True).complete
    assert len(fake.read_names) == 5
    assert everything(index) == before
    assert index.sync(docs, ocr=ocr_, reread=True).complete
    assert everything(index) == before
    assert fake.calls == []


def test_a_failure_noted_by_the_first_release_is_read_with_an_ocr(old, docs, fake) -> None:
    index, _ = old
    (docs / "scan.pdf").write_bytes(scan_file(drawn(["x"], dpi=50)))
    index.sync(docs, ocr="")
    settled(index, docs)
    extras = "+".join(unread(index)[0].settings.split(";")[0].split("+")[1:])
    index.backend.set_unread(
        [replace(file, settings=f"55fa282f+{extras}") for file in unread(index)]
    )
    fake.read_names.clear()
    index.sync(docs, ocr="")
    assert fake.read_names == []
    assert one_file(index, docs, "scan.pdf", ocr="eng").status is FileStatus.UPDATED


# The real thing


@needs_tesseract
def test_recognised_pages_are_kept_by_the_process_that_reads(index, docs) -> None:
    (docs / "mixed.pdf").write_bytes(mixed(sheet=drawn(LINES)))
    (docs / "picture.png").write_bytes(png(drawn(LINES)))
    index.sync(docs, ocr="eng")
    before = everything(index)
    assert "electricity" in before["mixed.pdf"][1].text
    assert "electricity" in before["picture.png"][0].text
    assert index.sync(docs, ocr="", reread=True).complete
    assert everything(index) == before
    (docs / "mixed.pdf").write_bytes(mixed("Changed", sheet=drawn(LINES)))
    assert index.sync(docs, ocr="").complete
    assert everything(index)["mixed.pdf"][1] == before["mixed.pdf"][1]
    file = one_file(index, docs, "mixed.pdf")
    assert file.status is FileStatus.UNCHANGED


@pytest.mark.parametrize(
    ("options", "languages"),
    [
        ((), None),
        (("--ocr",), "eng"),
        (("--no-ocr",), ""),
        (("--ocr", "--ocr-languages=deu"), "deu"),
    ],
)
def test_the_command_line_says_yes_no_or_nothing(monkeypatch, options, languages) -> None:
    monkeypatch.setattr(ocr, "unavailable_reason", lambda languages="eng": "")
    parsed = make_parser(COMMANDS).parse_args(["index", "docs", *options])
    assert reading_arguments(parsed)["ocr"] == languages


# The page


class Started:
    """Runs that are only noted, by their options."""

    def __init__(self) -> None:
        self.options: list[list[str]] = []

    def start(self, folder: Path, paths: list[str], options: list[str]) -> None:
        self.options.append(options)

    def count_passwords(self, folder: Path) -> int:
        return 0

    def follower(self, folder: Path) -> None:
        """Nothing follows it."""


def draw_folders(served, runs) -> None:
    from ui import add_documents

    add_documents.show_add_documents(served, runs, busy="")
    add_documents.show_folders(served, runs, lambda files, folder: None, busy="")


def test_the_switch_starts_from_what_the_index_remembers_and_rebuild_uses_it(
    tmp_path, index, docs, fake
) -> None:
    (docs / "mixed.pdf").write_bytes(mixed())
    index.sync(docs)
    served, runs = SharedIndex(tmp_path / "index", (0, 0), index), Started()
    arguments = {"served": served, "runs": runs}

    def opened() -> AppTest:
        app = AppTest.from_function(draw_folders, kwargs=arguments, default_timeout=60).run()
        assert not app.exception
        return app

    app = opened()
    assert app.toggle[0].value is False
    app.button(key="rebuild").click().run()
    app.toggle[0].set_value(True).run()
    app.button(key="rebuild").click().run()
    assert runs.options == [["--reread"], ["--reread", "--ocr"]]
    index.sync(docs, ocr="deu")
    app = opened()
    assert app.toggle[0].value is True
    app.button(key="rebuild").click().run()
    app.toggle[0].set_value(False).run()
    app.button(key="rebuild").click().run()
    assert runs.options[2:] == [["--reread"], ["--reread", "--no-ocr"]]
