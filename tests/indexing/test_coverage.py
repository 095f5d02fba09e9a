"""The coverage report of an index: its numbers are counted again here, one by one."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retriever.indexing.coverage import CoverageReport, CoverageStatus, coverage_report, page_groups
from retriever.interface.terminal.reports import account_lines
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.records import NewChunk, UnreadFile
from retriever.types import DocumentRow, FileStatus, Page, PageState, Span, document_id
from tests.live import read


def put(backend: EmbeddedBackend, path: str, pages: list[Page]) -> None:
    kind = Path(path).suffix.lstrip(".")
    row = DocumentRow(document_id("docs", path), "docs", "/docs", path, kind)
    backend.save_vectors(["v"], np.ones((1, 4), np.float32))
    pieces = [NewChunk(at, Span(0, 2), "v") for at, page in enumerate(pages) if page.state.readable]
    states = Counter(page.state for page in pages)
    backend.upsert(
        replace(row, pages=len(pages), page_states=states, chunks=len(pieces)), pages, pieces
    )


SCAN = PageState.SCANNED


@pytest.fixture
def told(tmp_path: Path) -> CoverageReport:
    with EmbeddedBackend.open(tmp_path / "index", create=True) as backend:
        put(backend, "whole.pdf", [Page(1, "text"), Page(2, "", PageState.EMPTY, "nothing on it")])
        mixed = [
            Page(1, "text"),
            *(Page(number, "", SCAN, "an image") for number in (2, 3, 4)),
            Page(5, "text", PageState.OCR, "recognised"),
            Page(6, "", PageState.GARBLED, "glyph codes"),
        ]
        put(backend, "mixed.pdf", mixed)
        put(backend, "locked.pdf", [Page(1, "", PageState.ENCRYPTED, "password needed")])
        put(backend, "was.pdf", [Page(1, "text")])
        put(backend, "mail.eml", [Page(None, "text"), Page(None, "", PageState.SKIPPED, "a picture",
            label="attachment logo.png")])  # fmt: skip
        backend.set_unread(
            [
                UnreadFile("/docs", "was.pdf", FileStatus.FAILED, "broken: no trailer"),
                UnreadFile("/docs", "bad.pdf", FileStatus.FAILED, "zero bytes"),
                UnreadFile("/docs", "song.mp3", FileStatus.SKIPPED, "not a document"),
            ]
        )
        return read(backend, coverage_report, "indexes/x")


def test_every_file_has_one_status_and_every_page_one_state(told: CoverageReport) -> None:
    assert {file.path: file.status.value for file in told.files} == {
        "bad.pdf": "failed",
        "locked.pdf": "failed",
        "mail.eml": "complete",
        "mixed.pdf": "partial",
        "song.mp3": "skipped",
        "was.pdf": "outdated",
        "whole.pdf": "complete",
    }
    assert not told.complete
    totals = told.totals
    for what, names in (("files", CoverageStatus), ("pages", PageState)):
        counts = dict(totals[what])
        assert counts.pop("all") == sum(counts.values())
        assert list(counts) == [name.value for name in names]
    assert totals["files"]["all"] == 7
    assert totals["pages"] == {
        "all": 12,
        "text": 4,
        "ocr": 1,
        "empty": 1,
        "skipped": 1,
        "scanned": 3,
        "garbled": 1,
        "encrypted": 1,
        "too-long": 0,
        "failed": 0,
    }
    assert totals["chunks"] == 5


def test_the_json_holds_every_page_with_what_to_do(told: CoverageReport) -> None:
    values = json.loads(json.dumps(told.to_json()))
    assert values["totals"] == told.totals
    by_path = {file["path"]: file for file in values["files"]}
    assert sum(len(file["pages"]) for file in values["files"]) == 12
    assert [page["state"] for page in by_path["mixed.pdf"]["pages"]].count("scanned") == 3
    assert by_path["mixed.pdf"]["pages"][1]["advice"] == "run wva index again with --ocr"
    assert by_path["locked.pdf"]["reason"] == "password needed"
    assert by_path["locked.pdf"]["advice"] == "run wva index again with --password"
    assert by_path["was.pdf"]["reason"] == "broken: no trailer"
    assert by_path["was.pdf"]["advice"].startswith("open the file")
    assert by_path["bad.pdf"]["pages"] == []
    assert by_path["whole.pdf"]["reason"] == by_path["whole.pdf"]["advice"] == ""


def test_consecutive_pages_are_one_group(told: CoverageReport) -> None:
    (mixed,) = [file for file in told.files if file.path == "mixed.pdf"]
    assert [(group.place, group.state) for group in page_groups(mixed)] == [
        ("pages 2–4", SCAN),
        ("page 5", PageState.OCR),
        ("page 6", PageState.GARBLED),
    ]


def test_the_report_as_text(told: CoverageReport) -> None:
    text = "\n".join(account_lines(told))
    assert "partial  mixed.pdf: 4 of 6 pages not readable" in text
    assert "pages 2–4: scanned: an image; run wva index again with --ocr" in text
    assert "failed  locked.pdf: password needed; run wva index again with --password" in text
    assert "song.mp3" not in text
    assert "song.mp3: not a document" in "\n".join(account_lines(told, everything=True))
    assert "7 files: 2 complete, 1 partial, 1 outdated, 2 failed, 1 skipped" in text
    assert "12 pages: 4 text, 1 ocr, 1 empty, 1 skipped, 3 scanned, 1 garbled, 1 encrypted" in text


def test_ocr_is_advised_only_where_there_is_a_picture(tmp_path: Path) -> None:
    garbled = Page(None, "", PageState.GARBLED, "control codes")
    attached = replace(garbled, label="attachment plan.pdf, page 2")
    noted = replace(garbled, label="attachment notes.txt")
    with EmbeddedBackend.open(tmp_path / "index", create=True) as backend:
        put(backend, "a.pdf", [garbled])
        put(backend, "a.log", [garbled])
        put(backend, "a.eml", [noted, attached])
        told = read(backend, coverage_report)
    advice = {file.path: [group.advice for group in page_groups(file)] for file in told.files}
    ocr = "run wva index again with --ocr, which reads the picture of the page"
    text = "see in a text editor what it holds; if it is a text, save it there as UTF-8"
    assert advice == {"a.pdf": [ocr], "a.log": [text], "a.eml": [text, ocr]}
    assert told.files[1].advice == text


def test_one_is_singular(tmp_path: Path) -> None:
    with EmbeddedBackend.open(tmp_path / "index", create=True) as backend:
        put(backend, "a.pdf", [Page(None, "whale")])
        told = read(backend, coverage_report)
    lines = account_lines(told)
    assert lines[:2] == ["1 file: 1 complete", "1 page: 1 text"]
    assert lines[-1] == "1 passage"


def test_an_empty_index_has_a_report(tmp_path: Path) -> None:
    with EmbeddedBackend.open(tmp_path / "index", create=True) as backend:
        told = read(backend, coverage_report)
    assert told.complete
    assert account_lines(told) == ["0 files", "0 pages", "0 passages"]
