"""Folders of mixed files, indexed and searched with the real readers in their process."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pypdf
import pytest

from retriever.index import Index
from retriever.indexing.coverage import CoverageReport, CoverageStatus, coverage_report
from retriever.types import PageState
from tests.fakes import FakeEmbedder
from tests.live import read
from tests.pdfs import pdf_file, text_page
from tests.scans import LINES, mixed_file, needs_tesseract


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open_or_create(tmp_path / "index", FakeEmbedder()) as opened:
        yield opened


def coverage(index: Index) -> CoverageReport:
    return read(index, coverage_report)


def places(index: Index, query: str) -> list[tuple[str, str]]:
    hits = index.search(query, 3, mode="keyword")
    return [(hit.chunk.path, hit.chunk.place) for hit in hits]


def locked(data: bytes, password: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(data))
    writer.encrypt(password, algorithm="AES-256")
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


def test_a_mixed_pdf_reports_four_states(index: Index, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "mixed.pdf").write_bytes(mixed_file())
    report = index.sync(docs)
    assert not report.complete
    (file,) = coverage(index).files
    assert [page.state.value for page in file.pages] == ["text", "scanned", "empty", "garbled"]
    assert [bool(page.reason) for page in file.pages] == [False, True, True, True]
    assert [page.chunks for page in file.pages] == [1, 0, 0, 0]
    assert file.status is CoverageStatus.PARTIAL
    assert places(index, "electricity") == []


@needs_tesseract
def test_with_ocr_the_scan_is_found_and_marked(index: Index, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "mixed.pdf").write_bytes(mixed_file())
    index.sync(docs)
    index.sync(docs, ocr="eng")
    assert "electricity" in " ".join(LINES)
    (hit, *_) = index.search("electricity", mode="keyword")
    assert (hit.chunk.page, hit.chunk.state) == (2, PageState.OCR)
    (file,) = coverage(index).files
    assert file.pages[1].state is PageState.OCR
    assert index.info()["page_states"]["ocr"] >= 1
    assert {f.path: f.status.value for f in index.sync(docs).files} == {"mixed.pdf": "unchanged"}


def test_a_password_given_later_opens_what_was_locked(index: Index, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.pdf").write_bytes(locked(pdf_file([text_page("The zebra sleeps")]), "geheim ü"))
    index.sync(docs)
    (file,) = coverage(index).files
    assert file.status is CoverageStatus.FAILED
    assert "--password" in file.reason + file.advice
    assert not index.sync(docs, passwords=["wrong"]).complete
    assert index.sync(docs, passwords=["wrong", "geheim ü"]).complete
    assert places(index, "zebra") == [("a.pdf", "page 1")]
    assert index.sync(docs).complete  # what was opened once stays


def test_what_is_attached_is_found_under_its_name(index: Index, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf_file([text_page("The cover sheet")])))
    writer.add_attachment("notes.txt", b"The walrus sings at night.")
    with (docs / "a.pdf").open("wb") as file:
        writer.write(file)
    assert index.sync(docs).complete
    assert places(index, "walrus") == [("a.pdf", "attachment notes.txt")]
    assert places(index, "cover") == [("a.pdf", "page 1")]


def test_running_headers_are_in_the_text_but_in_no_passage(index: Index, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    animals = ["zebra", "heron", "walrus", "gecko", "otter", "raven"]
    pages = [
        text_page("Annual report of the zoo", f"The {animal} sleeps near the river.", f"Page {n}")
        for n, animal in enumerate(animals, 1)
    ]
    (docs / "a.pdf").write_bytes(pdf_file(pages))
    index.sync(docs)
    (row,) = index.documents()
    assert all("Annual report" in page.text for page in index.pages(row.id))
    chunks = index.chunks(row.id)
    assert [chunk.page for chunk in chunks] == [1, 2, 3, 4, 5, 6]
    assert sum("Annual report" in chunk.text for chunk in chunks) <= 1
    for chunk, page in zip(chunks, index.pages(row.id), strict=True):
        assert page.text[chunk.start : chunk.end] == chunk.text
