"""Sync: bring an index in step with folders; changed files are read, vanished files removed.

A run plans first (see `plan`), then removes, renames and reads. Nothing outside the given paths
changes, neither other roots nor documents added by a caller. A bad file affects only that file. A
file that cannot be read any more keeps what was indexed before. A run may be interrupted anywhere:
the index is valid, and the next run continues. The report lists every file.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retriever.embedding.protocols import Embedder
from retriever.indexing.coverage import lost_words
from retriever.indexing.cutting import Cut, preparing_for
from retriever.indexing.fitting import calibration_is_current
from retriever.indexing.ingest import Ingest, document_row, limit_chunking
from retriever.indexing.jobs import check_jobs, default_jobs, is_worth_processes
from retriever.indexing.plan import Pending, Plan, Planner, order_moves
from retriever.indexing.progress import ProgressMeter
from retriever.indexing.recognition import PICTURES, PreviousOCR, Recognition, failure_causes
from retriever.reading import extras
from retriever.reading.formats import OCR, ReadOptions, format_of, format_versions, outdated_formats
from retriever.reading.reader_pool import ReaderPool, ReadTask
from retriever.reading.scan import FoundFile, idle_patterns, place, scan, targets
from retriever.reading.subprocess_reader import FileReader, StartError, file_reader
from retriever.settings import ChunkSettings
from retriever.storage.backends import DocumentRow, Documents
from retriever.storage.records import PageStatus, UnreadFile
from retriever.text.chunking import CHUNKS_VERSION
from retriever.types import (
    Document,
    FileStatus,
    IndexStateError,
    ModelError,
    Page,
    PageState,
    Phase,
    Progress,
    ReadError,
    UsageError,
    document_id,
)

_DONE = (FileStatus.INDEXED, FileStatus.UPDATED, FileStatus.UNCHANGED)
PICTURE = "a picture: read only with --ocr"


@dataclass(frozen=True, slots=True)
class FileReport:
    """What a run did with one file, with the reason, if there is one."""

    path: str
    status: FileStatus
    reason: str = ""
    pages: int = 0
    page_states: Mapping[str, int] = field(default_factory=dict)
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class SyncReport:
    """The report of a run: every file, and totals.

    `idle_patterns` are the patterns of `include` and `exclude` that selected no file.
    """

    index: str
    seconds: float
    files: tuple[FileReport, ...]
    tokens: int
    incomplete: int = 0  # files below the given paths with text that cannot be read
    dry_run: bool = False
    idle_patterns: tuple[str, ...] = ()
    made: int | None = None  # passages that got their vector, by a run that looked at no files
    notice: str = ""  # a sentence: vanished files that were not removed, and what to do

    @property
    def totals(self) -> dict[str, int]:
        """Counts of files by status, of pages and chunks, and of tokens embedded in this run."""
        counts = Counter(file.status for file in self.files)
        return {
            "files": len(self.files),
            **{status.value: counts[status] for status in FileStatus},
            "pages": sum(file.pages for file in self.files),
            "chunks": sum(file.chunks for file in self.files),
            "tokens": self.tokens,
        }

    @property
    def complete(self) -> bool:
        """Whether all text that should be searchable is, and no removal was held back."""
        return self.incomplete == 0 and not self.notice

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        files = [{**asdict(file), "status": file.status.value} for file in self.files]
        for file in files:
            file["page_states"] = dict(file["page_states"])
        facts = self.facts()
        idle = facts.pop("idle_patterns")
        return {**facts, "files": files, "idle_patterns": idle}

    def facts(self) -> dict[str, Any]:
        """Plain JSON values of the run, without those of each file."""
        return {
            "index": self.index,
            "seconds": round(self.seconds, 3),
            "dry_run": self.dry_run,
            "notice": self.notice,
            "totals": self.totals,
            "idle_patterns": list(self.idle_patterns),
        }


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How a folder is synchronised; see `sync`.

    `keywords_only` stops after the first wave: documents are findable by their words, and the next
    run without it makes the vectors. `vectors_only` does only that, and looks at no files.
    `passwords` are tried on encrypted files. `ocr` names Tesseract's languages, is empty for no
    OCR, or None for what the index remembers. `retry` reads files again that failed before and have
    not changed since, `reread` all files. `jobs` is the number of processes that read files, 0 for
    one for each processor.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    delete: bool = True
    force: bool = False
    dry_run: bool = False
    passwords: tuple[str, ...] = ()
    ocr: str | None = None
    retry: bool = False
    reread: bool = False
    keywords_only: bool = False
    vectors_only: bool = False
    jobs: int = 0

    def __post_init__(self) -> None:
        if self.keywords_only and self.vectors_only:
            raise UsageError(
                "a run makes keywords only or vectors only; leave both out to make everything"
            )
        check_jobs(self.jobs)


def sync(
    backend: Documents,
    embedder: Callable[[], Embedder],
    paths: Sequence[str | Path],
    options: SyncOptions | None = None,
    *,
    chunking: ChunkSettings | None = None,
    name: str = "",
    hide: Sequence[Path] = (),
    progress: Callable[[Progress], None] = lambda progress: None,
) -> SyncReport:
    """Bring the backend in step with the files at `paths`; `name` names the index in the report.

    `embedder` is called at most once: when a file has to be read, or when the means have to be
    fitted because documents were removed. The backend is then bound to that embedder. `hide` names
    folders that are never scanned.

    If more than half of the known files have vanished, none is removed (unless `force`): a disk may
    be missing. Everything else is done, and the report has a notice.

    Raises UsageError for a path that does not exist, IndexStateError when the index belongs to
    another model, or when another process is writing to it.
    """
    run = _SyncRun(backend, embedder, options or SyncOptions(), chunking, progress, hide)
    return run.execute(paths, name)


class _SyncRun:
    """One run of a sync."""

    def __init__(
        self,
        backend: Documents,
        embedder: Callable[[], Embedder],
        options: SyncOptions,
        chunking: ChunkSettings | None,
        progress: Callable[[Progress], None],
        hide: Sequence[Path],
    ) -> None:
        self.backend = backend
        self.embedder = embedder
        self.options = options
        with backend.reading() as catalog:
            self.chunking = catalog.chunk_settings() or chunking or ChunkSettings()
        self.hide = [path.resolve() for path in hide]
        self.started = time.monotonic()
        self.meter = ProgressMeter(backend, progress, vectors=not options.keywords_only)
        self.reports: dict[tuple[str, str], FileReport] = {}  # by root and path
        self.replaces: dict[str, DocumentRow | None] = {}  # document id → the former document
        self.unread: dict[tuple[str, str], UnreadFile] = {}
        self.unread_before: dict[tuple[str, str], UnreadFile] = {}
        self.recognition = Recognition(backend, self.options.ocr)
        self.lost_text: dict[str, str] = {}  # document id → reason for lost recognised text
        self.lost_words: dict[str, str] = {}  # document id → reason for words lost in reading
        self.incomplete = 0
        self.idle_patterns: list[str] = []
        self.removes = self.options.delete
        self.notice = ""
        self.ingest: Ingest | None = None

    def execute(self, paths: Sequence[str | Path], name: str) -> SyncReport:
        if self.options.vectors_only:
            if paths:
                raise UsageError("a run that makes vectors only looks at no files; name none")
            return self._complete(name)
        if self.options.dry_run:
            plan, _ = self._plan(paths)
            self._hold_back_removals(plan)
            self._report_dry_run(plan)
            return self._result(name)
        with self._writing():
            with self.backend.reading() as catalog:
                unread = catalog.unread()
                known = catalog.accounts(lost_only=True)
            self.lost_words = {id_: lost_words(account) for id_, account in known.items()}
            self.unread_before = {(file.root, file.path): file for file in unread}
            plan, planner = self._plan(paths)
            self._hold_back_removals(plan)
            self.recognition.remember()
            self.recognition.look_up(plan, planner.known)
            self._apply_without_reading(plan)
            self._read_all(plan.read, planner)
            self.backend.set_unread(self._all_unread(planner))
            report = self._result(name)
            at = datetime.now(UTC).isoformat(timespec="seconds")
            self.backend.finish({**report.facts(), "files": len(report.files), "at": at})
        return report

    def _complete(self, name: str) -> SyncReport:
        """Make the vectors that are missing; no file is looked at."""
        if self.options.dry_run:
            return self._result(name)
        with self._writing():
            self._make_vectors()
            self.meter.finish()
            report = self._result(name)
            with self.backend.reading() as catalog:
                before = catalog.last_run() or {}
            self.backend.finish(before)
        return report

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Exclude other writers from the plan to the end, even if the run fails."""
        self.meter.publish()
        try:
            yield
        except BaseException:
            with suppress(IndexStateError):  # the original error is raised, not this one
                self.backend.set_progress(None)
            raise
        finally:
            self.backend.release()

    @property
    def _made(self) -> int:
        """How many passages got their vector in this run."""
        return self.ingest.vectors.done if self.ingest else 0

    def _result(self, name: str) -> SyncReport:
        reports = sorted(self.reports.items(), key=lambda entry: (entry[1].path, entry[0]))
        return SyncReport(
            index=name,
            seconds=time.monotonic() - self.started,
            files=tuple(file for _, file in reports),
            tokens=self.ingest.vectors.tokens if self.ingest else 0,
            incomplete=self.incomplete,
            dry_run=self.options.dry_run,
            made=self._made if self.options.vectors_only else None,
            idle_patterns=tuple(self.idle_patterns),
            notice=self.notice,
        )

    # Planning

    def _plan(self, paths: Sequence[str | Path]) -> tuple[Plan, Planner]:
        with self.backend.reading() as catalog:
            known = [row for row in catalog.documents() if row.root]
        chosen = targets(paths, sorted({row.root for row in known}), self.hide)
        include, exclude = self.options.include, self.options.exclude
        found = [file for target in chosen for file in scan(target, include, exclude, self.hide)]
        self.idle_patterns = idle_patterns(found, include, exclude)
        if not self.recognition.languages and not any(_is_picture(row.path) for row in known):
            found = [_without_pictures(file) for file in found]
        for file in found:
            if file.failed:
                self._report_failed(file, file.reason)
            elif file.reason:
                self._report(file, FileStatus.SKIPPED, file.reason)
        planner = Planner(known, self._is_current, chosen, self._reads_more)
        return planner.plan(found), planner

    def _reads_more(self, row: DocumentRow) -> bool:
        """Whether this run's passwords or OCR may read pages that could not be read before."""
        if self.options.reread:
            return True
        states = row.page_states
        locked = PageState.ENCRYPTED in states and bool(self.options.passwords)
        return locked or self.recognition.could_help(states, _tried_languages(row))

    def _is_current(self, row: DocumentRow) -> bool:
        """Whether this version would read and chunk the document in the same way."""
        made, _, cut = row.settings.partition("-")
        if cut.split("-")[:3] != self._chunking_version().split("-"):
            return False
        changed = outdated_formats(made, row.format)
        if not self.recognition.languages:
            changed = changed - {OCR}  # nothing is recognised again
        if not changed or row.format in changed:
            return not changed
        if "=" in made:
            return False
        # Made by 0.1.0, which did not store the formats inside of a document.
        recognised = OCR in changed and PageState.OCR in row.page_states
        return not recognised and not self._has_attachments(row)

    def _has_attachments(self, row: DocumentRow) -> bool:
        with self.backend.reading() as catalog:
            return any("attachment " in page.label for page in catalog.page_statuses(row.id))

    def _all_unread(self, planner: Planner) -> list[UnreadFile]:
        """The files without a document: of this run, and of former runs at other paths."""
        elsewhere = [
            file
            for file in self.unread_before.values()
            if not any(
                target.covers_place(place(file.root, file.path)) for target in planner.targets
            )
        ]
        return [*elsewhere, *self.unread.values()]

    def _hold_back_removals(self, plan: Plan) -> None:
        """Remove nothing if most files have vanished; the rest of the run goes on."""
        count = len(plan.vanished)
        if self.options.delete and not self.options.force and 2 * count > plan.known:
            self.removes = False
            self.notice = (
                f"{count} of the {plan.known} files known here have vanished or are left out now; "
                "none of them was removed. If that is meant run again with --force, or keep them "
                "with --no-delete"
            )

    # Doing

    def _apply_without_reading(self, plan: Plan) -> None:
        """Remove, move and update documents; no file is read."""
        gone = [*plan.replaced, *(plan.vanished if self.removes else [])]
        if gone:
            self.backend.delete([row.id for row in gone])
        moved = {move.new.id: self.lost_words.get(move.old.id, "") for move in plan.moves}
        self.lost_words |= moved
        if plan.moves:
            moves = order_moves(plan.moves)
            self.backend.rename_many([(move.old.id, move.new) for move in moves])
        for row in [*plan.touch, *([] if self.removes else plan.vanished)]:
            self.backend.touch(row)
        self._report_plan(plan)

    def _read_all(self, pending: Sequence[Pending], planner: Planner) -> None:
        # Small files first, so that much can be found soon.
        order = sorted(pending, key=lambda one: (one.file.size, one.file.path, one.source))
        order = [one for one in order if not self._skip(one)]
        self.meter.add_files(one.file for one in order)
        rest = deque(order)
        with file_reader(ReadOptions(self.options.passwords)) as reader:
            reader.on_part = self.meter.report_part
            # The tokenizer that processes need is known with the first document.
            while rest and (self.ingest is None or not is_worth_processes(rest)):
                self._read(rest.popleft(), planner, reader)
        if rest and self.ingest is not None:
            self._read_in_processes(rest, planner, self.ingest)
        if self.ingest is not None:
            self.ingest.write()
        self._make_vectors()
        self.meter.finish()

    def _read_in_processes(
        self, order: Iterable[Pending], planner: Planner, ingest: Ingest
    ) -> None:
        """Read, cut and analyse files in several processes, and write their documents in order."""
        started: deque[tuple[Pending, PreviousOCR]] = deque()

        def tasks() -> Iterator[ReadTask]:
            for one in order:
                before, options = self._options(one)
                started.append((one, before))
                yield ReadTask(one.file.location, one.file.path, one.file.size, options)

        def wait(task: ReadTask) -> None:
            ingest.write_due()
            self.meter.wait_for(started[0][0].file, task.parts)

        count = self.options.jobs or default_jobs()
        with ReaderPool(count, preparing=preparing_for(ingest.embedder, ingest.chunking)) as pool:
            for task in pool.read(tasks(), wait):
                one, before = started.popleft()
                self.meter.start_file(one.file)
                found = Cut.from_json(task.prepared) if task.prepared else None
                self._take(one, planner, before, task.options, task.result, found)

    def _make_vectors(self) -> None:
        """The second wave: vectors for the passages that have none, then the fit."""
        if self.options.keywords_only:
            return
        with self.backend.reading() as catalog:
            missing = catalog.count_pending()
        if self.ingest or missing:
            self._open_ingest().close()
        else:
            self._refit()

    def _open_ingest(self) -> Ingest:
        """The ingest, made for the first document, since it loads the model."""
        if self.ingest is None:
            self.meter.enter(Phase.LOADING)
            started = time.monotonic()
            embedder = self.embedder()
            self.chunking = limit_chunking(self.chunking, embedder)
            self.backend.bind_embedder(embedder.settings, self.chunking)
            self.ingest = Ingest(
                self.backend,
                embedder,
                self.chunking,
                on_document=self._document_written,
                on_batch=self.meter.finish_batch,
                on_phase=self.meter.enter,
                together=True,
            )
            self.meter.start_writing(self.ingest, time.monotonic() - started)
        return self.ingest

    def _refit(self) -> None:
        """Fit the means to the current corpus, if removals or an interrupted run changed it."""
        with self.backend.reading() as catalog:
            due = not calibration_is_current(catalog) and any(
                row.chunks for row in catalog.documents()
            )
        if due:
            # A removal must not fail because the model cannot be loaded.
            with suppress(ModelError):
                self._open_ingest().vectors.fitter.fit()

    def _skip(self, one: Pending) -> bool:
        """Report a file that is not read: a picture without OCR, or an unchanged file that failed.

        The latter would fail again, perhaps after minutes.
        """
        file = one.file
        unread = one.row is None and not self.recognition.has_text_of(one)
        if unread and not self.recognition.languages and _is_picture(file.path):
            self._report(file, FileStatus.SKIPPED, PICTURE)
            return True
        before = self.unread_before.get((str(file.root), file.path))
        again = self.options.retry or self.options.reread
        if again or before is None or before.status is not FileStatus.FAILED:
            return False
        if (file.size, file.changed_ns) != (before.size, before.mtime_ns):
            return False
        if self._could_succeed(before):
            return False
        self._report_failed(file, before.reason, one.row, before.mtime_ns, before.settings)
        return True

    def _could_succeed(self, before: UnreadFile) -> bool:
        """Whether this run reads a file that failed, and has not changed, in another way."""
        abilities, *causes = before.settings.split(";")
        made, _, available = abilities.partition("+")
        format_ = _format_by_name(before.path)
        if format_ in outdated_formats(made, format_) or available != "+".join(
            extras.installed_extras()
        ):
            return True
        if "=" not in made:  # 0.1.0 did not store the causes of a failure
            causes = ["password", "ocr:"]
        locked = "password" in causes and bool(self.options.passwords)
        return locked or self.recognition.could_repair(causes)

    def _read(self, one: Pending, planner: Planner, reader: FileReader) -> None:
        self.meter.start_file(one.file)
        before, reader.options = self._options(one)

        def read() -> Document:
            return reader.read(one.file.location, one.file.path)

        self._take(one, planner, before, reader.options, read)

    def _options(self, one: Pending) -> tuple[PreviousOCR, ReadOptions]:
        """The recognised pages of the file's former document, and how the file is read."""
        before = self.recognition.previous(one)
        return before, self.recognition.read_options(before, ReadOptions(self.options.passwords))

    def _take(
        self,
        one: Pending,
        planner: Planner,
        before: PreviousOCR,
        options: ReadOptions,
        read: Callable[[], Document],
        found: Cut | None = None,
    ) -> None:
        """Add the document that `read` gives, or report why it gives none.

        `found` are the passages of the document as it was read.
        """
        file, row = one.file, one.row
        causes: list[str] = []
        try:
            as_read = read()
            document = before.restore_in(as_read)
            states = Counter(page.state for page in document.pages)
            loss = self.recognition.lost_text(before, document)
            if (
                row is not None
                and row.chunks
                and not _any_readable(states)
                and _any_incomplete(states)
            ):
                causes = failure_causes(states, self.recognition.tried_languages(options))
                raise ReadError("; ".join(filter(None, [_reason(document.pages), loss.advice])))
        except ReadError as error:
            self.meter.drop_file(file.path, file.size)
            again = isinstance(error, StartError) or not one.sha256
            stamp = 0 if again else planner.stamp(file)
            settings = ";".join([self._reader_versions(file.path), *causes])
            self._report_failed(file, str(error), row, stamp, settings)
            return
        document = loss.mark_in(document)
        writer = self._open_ingest()
        new = document_row(
            document,
            id=document_id(one.source, file.path),
            source=one.source,
            root=str(file.root),
            path=file.path,
            sha256=one.sha256,
            size=file.size,
            mtime_ns=planner.stamp(file) if one.sha256 else 0,
            settings=self._settings(document, options),
        )
        self.replaces[new.id] = row
        self.lost_text[new.id] = loss.reason
        self.lost_words[new.id] = lost_words(document.account)
        writer.add(new, document, found if document == as_read else None)

    def _document_written(self, row: DocumentRow) -> None:
        """Report a written document, and delete a document it replaces under another id."""
        before = self.replaces.pop(row.id, None)
        if before is not None and before.id != row.id:
            self.backend.delete([before.id])
        self.meter.finish_file(row.path, row.size)
        status = FileStatus.UPDATED if before else FileStatus.INDEXED
        if _any_incomplete(row.page_states):
            status = FileStatus.PARTIAL if _any_readable(row.page_states) else FileStatus.FAILED
        loss = self.lost_text.pop(row.id, "")
        lost = self.lost_words.get(row.id, "")
        if (loss or lost) and not _any_incomplete(row.page_states):
            status = FileStatus.PARTIAL
            self.incomplete += not lost  # lost words are counted with the row
        self._report_row(row, status, loss)

    def _settings(self, document: Document, run: ReadOptions) -> str:
        """What the document was made with: versions of formats and of chunking, OCR languages."""
        states = {page.state for page in document.pages}
        used = {*(document.read_as or (document.format,))}
        tried = self.recognition.tried_languages(run) if states & PICTURES else ""
        if tried or PageState.OCR in states:
            used.add(OCR)
        return "-".join(filter(None, [format_versions(used), self._chunking_version(), tried]))

    def _chunking_version(self) -> str:
        return f"{CHUNKS_VERSION}-{self.chunking.size}-{self.chunking.overlap}"

    def _reader_versions(self, path: str) -> str:
        """The versions and extras that decide whether a file that failed would fail again."""
        return "+".join([format_versions([_format_by_name(path)]), *extras.installed_extras()])

    # Reporting

    def _report_dry_run(self, plan: Plan) -> None:
        """Report what the plan would do, for a dry run."""
        self._report_plan(plan)
        for one in plan.read:
            self._report(one.file, FileStatus.UPDATED if one.row else FileStatus.INDEXED)

    def _report_plan(self, plan: Plan) -> None:
        for row in plan.vanished:
            self._report_vanished(row)
        for move in plan.moves:
            same = move.old.path == move.new.path
            was = str(Path(move.old.root, move.old.path)) if same else move.old.path
            self._report_row(move.new, FileStatus.RENAMED, f"was {was}")
        for row in plan.unchanged:
            self._report_row(row, FileStatus.UNCHANGED)

    def _report_vanished(self, row: DocumentRow) -> None:
        if not self.removes:
            why = "most files are" if self.notice else "of --no-delete"
            reason = f"its file is gone or left out now; kept because {why}"
            self._report_row(row, FileStatus.UNCHANGED, reason)
            return
        skipped = self.reports.get((row.root, row.path))
        reason = skipped.reason if skipped else ""
        self.reports[row.root, row.path] = FileReport(row.path, FileStatus.REMOVED, reason)

    def _report_row(self, row: DocumentRow, status: FileStatus, reason: str = "") -> None:
        lost = self.lost_words.get(row.id, "")
        if lost or _any_incomplete(row.page_states):
            self.incomplete += 1
            reason = "; ".join(filter(None, [reason, self._unreadable_pages(row), lost]))
        elif not row.chunks:
            with self.backend.reading() as catalog:
                said = [page.reason for page in catalog.page_statuses(row.id) if page.reason]
            reason = reason or next(iter(said), "no text in it")
            if set(row.page_states) == {PageState.SKIPPED} and status in _DONE:
                status = FileStatus.SKIPPED
        self.reports[row.root, row.path] = FileReport(
            row.path, status, reason, row.pages, _counts(row), row.chunks
        )

    def _unreadable_pages(self, row: DocumentRow) -> str:
        if not _any_incomplete(row.page_states):
            return ""
        with self.backend.reading() as catalog:
            return _reason(catalog.page_statuses(row.id))

    def _report_failed(
        self,
        file: FoundFile,
        reason: str,
        row: DocumentRow | None = None,
        stamp: int = 0,
        settings: str = "",
    ) -> None:
        """Report a file that could not be read; what was indexed before stays.

        `stamp` is its time of change, 0 if it is tried again in any case; `settings` are the
        versions it was read with, and the causes of the failure.
        """
        self.incomplete += 1
        self._keep_unread(file, FileStatus.FAILED, reason, stamp, settings)
        report = FileReport(file.path, FileStatus.FAILED, reason)
        if row:
            kept = "; what was indexed of it before is kept" if row.chunks else ""
            report = FileReport(
                file.path, FileStatus.FAILED, reason + kept, row.pages, _counts(row), row.chunks
            )
        self.reports[str(file.root), file.path] = report

    def _report(self, file: FoundFile, status: FileStatus, reason: str = "") -> None:
        if status is FileStatus.SKIPPED:
            self._keep_unread(file, status, reason)
        self.reports[str(file.root), file.path] = FileReport(file.path, status, reason)

    def _keep_unread(
        self, file: FoundFile, status: FileStatus, reason: str, stamp: int = 0, settings: str = ""
    ) -> None:
        root = str(file.root)
        self.unread[root, file.path] = UnreadFile(
            *(root, file.path, status, reason, file.size, stamp),
            settings or self._reader_versions(file.path),
        )


def _without_pictures(file: FoundFile) -> FoundFile:
    """The file, skipped if it is a picture: for an index where OCR was never used."""
    return replace(file, reason=PICTURE) if not file.reason and _is_picture(file.path) else file


def _is_picture(path: str) -> bool:
    return format_of(path) == "image"


def _format_by_name(path: str) -> str:
    """The format by the file's name; a scan finds only known ones."""
    return format_of(path) or "txt"


def _tried_languages(row: DocumentRow) -> str:
    """The languages in which OCR failed on pages of the document; empty for none."""
    return row.settings.partition("-")[2].partition("-")[2].partition("-")[2].partition("-")[2]


def _any_incomplete(states: Iterable[PageState]) -> bool:
    return any(state.incomplete for state in states)


def _any_readable(states: Iterable[PageState]) -> bool:
    return any(state.readable for state in states)


def _counts(row: DocumentRow) -> dict[str, int]:
    return {str(state): count for state, count in row.page_states.items()}


def _reason(pages: Sequence[Page] | Sequence[PageStatus]) -> str:
    """The unreadable pages in words, with the most frequent reason of each state.

    >>> _reason([Page(1, "x"), Page(2, "", PageState.SCANNED, "an image")])
    '1 of 2 pages not readable: 1 scanned (an image)'
    """
    bad = [page for page in pages if page.state.incomplete]
    if len(pages) == 1 and bad[0].reason:
        return bad[0].reason
    reasons: dict[PageState, Counter[str]] = {}
    for page in bad:
        reasons.setdefault(page.state, Counter())[page.reason] += 1
    words = [
        f"{counts.total()} {state}" + (f" ({reason})" if (reason := _most_frequent(counts)) else "")
        for state, counts in sorted(reasons.items())
    ]
    return f"{len(bad)} of {len(pages)} pages not readable: {', '.join(words)}"


def _most_frequent(counts: Counter[str]) -> str:
    return min(counts, key=lambda reason: (-counts[reason], reason))
