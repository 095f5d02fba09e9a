"""What needs the owner of a collection, from real files, and the folders to choose from."""

from __future__ import annotations

from pathlib import Path

import pytest

from retriever.index import Index
from retriever.indexing.coverage import coverage_report
from retriever.interface.attention import Need, needs_attention, plain_reason
from retriever.interface.folders import inside, subfolders
from tests.fakes import FakeEmbedder
from tests.pdfs import locked
from tests.scans import LINES, drawn, scan_file


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "good.md").write_text("# Figs\n\nA fig tree.")
    (docs / "blank.txt").write_text("  \n")
    (docs / "zero.txt").write_bytes(b"")
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (docs / "locked.pdf").write_bytes(locked("sesame"))
    (docs / "scan.pdf").write_bytes(scan_file(drawn(LINES)))
    drawn(LINES).save(docs / "scan.png")
    (docs / "long.txt").write_text("word " * 2_100_000)
    (docs / "film.mp4").write_bytes(b"x")
    return docs


def test_each_file_that_needs_its_owner_is_named_once_with_what_helps(
    docs: Path, tmp_path: Path
) -> None:
    with Index.open_or_create(tmp_path / "ix", FakeEmbedder()) as index:
        index.sync(docs)
        with index.backend.reading() as catalog:
            files = coverage_report(catalog).files
        told = [(one.file.path, one.need) for one in needs_attention(files)]
        assert told == [
            ("locked.pdf", Need.PASSWORD),
            ("scan.pdf", Need.OCR),
            ("scan.png", Need.OCR),
            ("long.txt", Need.SPLIT),
            ("broken.pdf", Need.CHECK),
            ("zero.txt", Need.NOTHING),
        ]
        said = " ".join(one.sentence for one in needs_attention(files))
        said += " ".join(map(plain_reason, files))
        assert "--" not in said
        assert "wva" not in said
        assert "10,500,000 characters" in said
        index.sync(docs, passwords=["wrong"])
        with index.backend.reading() as catalog:
            (first, *_) = needs_attention(coverage_report(catalog).files)
        assert first.sentence == "It is under a password; the one given does not open it."
        index.sync(docs, passwords=["sesame"])
        with index.backend.reading() as catalog:
            names = [one.file.path for one in needs_attention(coverage_report(catalog).files)]
        assert "locked.pdf" not in names


def test_only_folders_that_are_not_hidden_are_shown(tmp_path: Path) -> None:
    for name in ("b", "A", ".git"):
        (tmp_path / name).mkdir()
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "A")
    assert [path.name for path in subfolders(tmp_path)] == ["A", "b"]
    assert subfolders(tmp_path / "none") == []
    assert inside(tmp_path / "A", tmp_path) == tmp_path / "A"
    for outside in (tmp_path.parent, tmp_path / ".." / "..", tmp_path / "none"):
        assert inside(outside, tmp_path) == tmp_path
