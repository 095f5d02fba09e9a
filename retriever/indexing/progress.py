"""The progress of a sync: its phase, files, tokens per second, the share done, time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from retriever.indexing.ingest import Ingest
from retriever.indexing.vectors import CHARACTERS_PER_TOKEN
from retriever.reading.scan import FoundFile
from retriever.storage.backends import Documents
from retriever.types import Phase, Progress

PART_SECONDS = 2.0
"""Seconds between two reports about the parts of one file."""

LEAST_READ = 0.005
"""Share of the work after which its speed is known; the first file, a small one, says nothing."""

READ_SHARE = 0.1
"""Approximate share of a file's work that is done when it is written, but not embedded yet."""

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

    def __init__(
        self, backend: Documents, report: Callable[[Progress], None], *, vectors: bool = True
    ) -> None:
        self.backend = backend
        self.report = report
        self.vectors = vectors  # whether a second wave follows
        self.started = self.reading_since = time.monotonic()
        self.ingest: Ingest | None = None
        self.files_total = self.files_done = 0
        self.work_total = self.work_done = 0.0
        self.current = ""
        self.current_work = 0.0
        self.part = 0
        self.published_at = 0.0
        self.phase: Phase | Literal[""] = Phase.SCANNING
        self.fitted = 0.0  # the share of the last fit that is done
        self.share = 0.0

    def add_files(self, files: Iterable[FoundFile]) -> None:
        """Add the files that will be read."""
        for file in files:
            self.files_total += 1
            self.work_total += _expected_characters(file.path, file.size)
        self.phase = Phase.READING
        self.reading_since = time.monotonic()
        self.publish()

    def enter(self, phase: Phase, part: float = 0.0) -> None:
        """Report that a phase begins, or that this share of it is done."""
        self.phase = phase
        if phase is Phase.FITTING and self.files_done == self.files_total:
            self.fitted = part
        self.publish()

    def finish_batch(self) -> None:
        """Report that a batch is embedded."""
        self.publish()

    def start_writing(self, ingest: Ingest, loading: float) -> None:
        """Documents are written from now on; loading the model took so many seconds."""
        self.ingest = ingest
        self.reading_since += loading
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

    def wait_for(self, file: FoundFile, part: int) -> None:
        """Report that `part` parts of `file`, which is read by another process, are read."""
        if self.current != file.path:
            self.start_file(file)
        self.report_part(part)

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

    def drop_file(self, path: str, size: int) -> None:
        """Count a file that is not read as done, and its work as none: it took no time."""
        self.files_done += 1
        self.work_total -= _expected_characters(path, size)
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
        wave = self.ingest.vectors if self.ingest else None
        self.share = max(self.share, self._share())
        return Progress(
            files_done=self.files_done,
            files_total=self.files_total,
            chunks=wave.chunks if wave else 0,
            tokens=wave.tokens if wave else 0,
            seconds=now - self.started,
            tokens_per_second=wave.tokens / wave.seconds if wave and wave.seconds > 0 else 0.0,
            seconds_left=self._seconds_left(now),
            current=self.current,
            part=self.part,
            phase=self.phase,
            share=self.share,
            files_read=self.files_done,
            waiting=wave.waiting if wave else 0,
            vectors_done=wave.done if wave else 0,
            vectors_total=wave.total if wave else 0,
        )

    def _seconds_left(self, now: float) -> float | None:
        """The time left of the wave that runs, with the last fit; None where it is not known."""
        if self.phase is Phase.FITTING:
            return None  # the waves say nothing about how long that takes
        if self.files_done < self.files_total:
            if self.work_done <= LEAST_READ * self.work_total or self.phase is Phase.LOADING:
                return None
            left = max(0.0, self.work_total - self.work_done)
            return max(0.0, now - self.reading_since) * left / self.work_done
        return self._vectors_left() if self.vectors and self.phase else 0.0

    def _vectors_left(self) -> float | None:
        """The time for the passages that wait and the last fit, by the tokens per second."""
        wave = self.ingest.vectors if self.ingest else None
        if wave is None or not wave.total:
            return 0.0
        left = wave.seconds_left
        if left is None or not wave.chunks:
            return left
        each = min(FIT_CHARACTERS / CHARACTERS_PER_TOKEN, wave.total * wave.tokens / wave.chunks)
        return left + each * wave.seconds / wave.tokens if wave.tokens else left

    def _share(self) -> float:
        """The share of the work of the whole run."""
        wave = self.ingest.vectors if self.ingest else None
        work = self.work_total or float(wave is not None and wave.total > 0)
        read = self.work_done / self.work_total if self.work_total > 0 else 1.0
        if not self.vectors:
            return min(1.0, read)
        if not work:
            return self.fitted
        fit = min(FIT_CHARACTERS, work)
        embedded = wave.done / wave.total if wave and wave.total else 0.0
        done = READ_SHARE * read + (1 - READ_SHARE) * embedded
        return min(1.0, (work * done + fit * self.fitted) / (work + fit))


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
            number = progress.files_done + 1
            total = progress.files_total
            return f"reading file {min(number, total):,} of {total:,}" if total else "reading"
        case Phase.EMBEDDING:
            if progress.vectors_total:
                done, total = progress.vectors_done, progress.vectors_total
                return f"making passages searchable by meaning: {done:,} of {total:,}"
            passages = "1 passage" if progress.waiting == 1 else f"{progress.waiting:,} passages"
            return f"making {passages} searchable by meaning"
        case Phase.FITTING:
            return "fitting the search to the documents"
    return ""


def _expected_characters(path: str, size: int) -> float:
    """Approximate characters of text in a file, from which the time left is estimated."""
    return size * _TEXT_PER_BYTE.get(Path(path).suffix.lower(), 1.0)
