"""The progress of a sync: files, tokens per second, time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from retriever.indexing.ingest import Ingest
from retriever.reading.scan import FoundFile
from retriever.storage.backends import Documents
from retriever.types import Progress

PART_SECONDS = 2.0
"""Seconds between two reports about the parts of one file."""

# Approximate characters of text per byte of a file. The first two were measured on the sample
# documents: a PDF is mostly fonts and pictures, DOCX is compressed.
_TEXT_PER_BYTE = {
    ".pdf": 0.12,
    ".docx": 2.2,
    ".odt": 2.2,
    ".epub": 1.5,
    ".xlsx": 3.0,
    ".pptx": 0.05,
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"), 0.002),
}


class ProgressMeter:
    """Reports progress: to the caller at every file, to other processes after every batch."""

    def __init__(self, backend: Documents, report: Callable[[Progress], None]) -> None:
        self.backend = backend
        self.report = report
        self.started = self.embedding_since = time.monotonic()
        self.ingest: Ingest | None = None
        self.files_total = self.files_done = 0
        self.work_total = self.work_done = 0.0
        self.current = ""
        self.current_work = 0.0
        self.part = 0
        self.published_at = 0.0

    def add_files(self, files: Iterable[FoundFile]) -> None:
        """Add the files that will be read."""
        for file in files:
            self.files_total += 1
            self.work_total += _expected_characters(file.path, file.size)
        self.publish()

    def start_embedding(self, ingest: Ingest) -> None:
        """Start to measure speed: the model is loaded."""
        self.ingest = ingest
        self.embedding_since = time.monotonic()

    def start_file(self, file: FoundFile) -> None:
        """Report that reading `file` begins."""
        self.current, self.current_work, self.part = (
            file.path,
            _expected_characters(file.path, file.size),
            0,
        )
        self.report(self.progress())

    def report_part(self, part: int) -> None:
        """Report that `part` parts of the file are read, every few seconds."""
        self.part = part
        if time.monotonic() - self.published_at > PART_SECONDS:
            self.publish()

    def finish_file(self, path: str, size: int) -> None:
        """Count a file as done."""
        self.files_done += 1
        self.work_done += _expected_characters(path, size)
        if path == self.current:
            self.current_work = 0.0

    def finish(self) -> None:
        """Report that all files are done."""
        self.current, self.current_work, self.part = "", 0.0, 0
        self.report(self.progress())

    def publish(self) -> None:
        """Report to the caller and, through the backend, to other processes."""
        progress = self.progress()
        self.published_at = time.monotonic()
        self.report(progress)
        self.backend.set_progress(asdict(progress))

    def progress(self) -> Progress:
        """The current progress."""
        now = time.monotonic()
        working = now - self.embedding_since
        tokens = self.ingest.tokens if self.ingest else 0
        part = self.ingest.part if self.ingest else 0.0
        done = self.work_done + part * self.current_work
        left = None
        if not self.work_total or self.files_done == self.files_total:
            left = 0.0
        elif tokens and done > 0:
            left = max(0.0, working * (self.work_total - done) / done)
        return Progress(
            files_done=self.files_done,
            files_total=self.files_total,
            chunks=self.ingest.chunks if self.ingest else 0,
            tokens=tokens,
            seconds=now - self.started,
            tokens_per_second=tokens / working if working > 0 else 0.0,
            seconds_left=left,
            current=self.current,
            part=self.part,
        )


def _expected_characters(path: str, size: int) -> float:
    """Approximate characters of text in a file, from which the time left is estimated."""
    return size * _TEXT_PER_BYTE.get(Path(path).suffix.lower(), 1.0)
