"""The progress of a sync: its phase, files, tokens per second, the share done, time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from retriever.indexing.ingest import Ingest
from retriever.reading.scan import FoundFile
from retriever.storage.backends import Documents
from retriever.types import Phase, Progress

PART_SECONDS = 2.0
"""Seconds between two reports about the parts of one file."""

READ_SHARE = 0.1
"""Approximate share of a file's work that is done when it is read, but not embedded yet."""

FIT_CHARACTERS = 60_000.0
"""Approximate work of the last fit, in characters that take as long to embed; it is not counted as
more than the work of the files."""

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
    """Reports progress: to the caller at every file, to other processes after every batch.

    Both are told of each new phase, too.
    """

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
        self.phase: Phase | Literal[""] = Phase.SCANNING
        self.files_read = 0
        self.work_read = 0.0  # of the files that are read
        self.fitted = 0.0  # the share of the last fit that is done
        self.share = 0.0

    def add_files(self, files: Iterable[FoundFile]) -> None:
        """Add the files that will be read."""
        for file in files:
            self.files_total += 1
            self.work_total += _expected_characters(file.path, file.size)
        self.phase = Phase.READING
        self.publish()

    def enter(self, phase: Phase, part: float = 0.0) -> None:
        """Report that a phase begins, or that this share of it is done."""
        self.phase = phase
        if phase is Phase.FITTING and self.files_done == self.files_total:
            self.fitted = part
        self.publish()

    def finish_batch(self) -> None:
        """Report that a batch is embedded, and that reading goes on."""
        self.phase = Phase.READING
        self.publish()

    def start_embedding(self, ingest: Ingest) -> None:
        """Start to measure speed: the model is loaded."""
        self.ingest = ingest
        self.embedding_since = time.monotonic()
        self.phase = Phase.READING

    def start_file(self, file: FoundFile) -> None:
        """Report that reading `file` begins."""
        self.phase = Phase.READING
        self.current, self.current_work, self.part = (
            file.path,
            _expected_characters(file.path, file.size),
            0,
        )
        self._publish_at_times()

    def finish_reading(self) -> None:
        """Count the current file as read."""
        self.files_read += 1
        self.work_read += self.current_work

    def report_part(self, part: int) -> None:
        """Report that `part` parts of the file are read, every few seconds."""
        self.part = part
        if time.monotonic() - self.published_at > PART_SECONDS:
            self.publish()

    def _publish_at_times(self) -> None:
        """Report to the caller, and every few seconds to other processes, too."""
        if time.monotonic() - self.published_at > PART_SECONDS:
            self.publish()
        else:
            self.report(self.progress())

    def finish_file(self, path: str, size: int) -> None:
        """Count a file as done."""
        self.files_done += 1
        self.work_done += _expected_characters(path, size)
        if path == self.current:
            self.current_work = 0.0

    def finish(self) -> None:
        """Report that all files are done."""
        self.current, self.current_work, self.part = "", 0.0, 0
        self.phase, self.share = "", 1.0
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
        tokens = self.ingest.vectors.tokens if self.ingest else 0
        done = self.work_done
        left = None
        if self.phase is Phase.FITTING:
            left = None  # reading says nothing about how long that takes
        elif not self.work_total or self.files_done == self.files_total:
            left = 0.0
        elif tokens and done > 0:
            left = max(0.0, working * (self.work_total - done) / done)
        self.share = max(self.share, self._share(done))
        return Progress(
            files_done=self.files_done,
            files_total=self.files_total,
            chunks=self.ingest.vectors.chunks if self.ingest else 0,
            tokens=tokens,
            seconds=now - self.started,
            tokens_per_second=tokens / working if working > 0 else 0.0,
            seconds_left=left,
            current=self.current,
            part=self.part,
            phase=self.phase,
            share=self.share,
            files_read=max(self.files_read, self.files_done),
            waiting=self.ingest.vectors.waiting if self.ingest else 0,
        )

    def _share(self, done: float) -> float:
        """The share of the work of the whole run; `done` is that of the files."""
        fit = min(FIT_CHARACTERS, self.work_total)
        if not fit:
            return self.fitted
        read = READ_SHARE * max(0.0, self.work_read - done)
        return min(1.0, (done + read + self.fitted * fit) / (self.work_total + fit))


def phase_text(progress: Progress) -> str:
    """What the run is doing; empty at its end.

    >>> phase_text(Progress(3, 44, 120, 30000, 20.0, 1500.0, 62.0, phase=Phase.READING))
    'reading file 4 of 44'
    """
    match progress.phase:
        case Phase.SCANNING:
            return "looking through the folders"
        case Phase.LOADING:
            return "loading the language model"
        case Phase.READING:
            number = max(progress.files_done, progress.files_read) + 1
            total = progress.files_total
            return f"reading file {min(number, total):,} of {total:,}" if total else "reading"
        case Phase.EMBEDDING:
            passages = "1 passage" if progress.waiting == 1 else f"{progress.waiting:,} passages"
            return f"making {passages} searchable by meaning"
        case Phase.FITTING:
            return "fitting the search to the documents"
    return ""


def _expected_characters(path: str, size: int) -> float:
    """Approximate characters of text in a file, from which the time left is estimated."""
    return size * _TEXT_PER_BYTE.get(Path(path).suffix.lower(), 1.0)
