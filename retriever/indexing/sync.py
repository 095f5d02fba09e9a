"""Sync: bring an index in step with folders; changed files are read, vanished files removed.

A run plans first (see `plan`), then removes, renames and reads. Nothing outside the given paths
changes, neither other roots nor documents added by a caller. A bad file affects only that file. A
file that cannot be read any more keeps what was indexed before. A run may be interrupted anywhere:
the index is valid, and the next run continues. The report lists every file.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from retriever.embedding.protocols import Embedder
from retriever.indexing.coverage import lost_words
from retriever.indexing.cutting import Cut, preparing_for
from retriever.indexing.fitting import calibration_is_current
from retriever.indexing.given import Given
from retriever.indexing.hands import Hands, OwnHands
from retriever.indexing.ingest import Ingest, document_row, limit_chunking
from retriever.indexing.jobs import check_jobs, is_worth_processes
from retriever.indexing.ledger import (
    FileReport,
    Ledger,
    SyncReport,
    any_incomplete,
    any_readable,
    unreadable_pages,
)
from retriever.indexing.plan import Pending, Plan, Planner, order_moves
from retriever.indexing.progress import ProgressMeter
from retriever.indexing.recognition import PreviousOCR, Recognition
from retriever.indexing.vanished import HeldBack, mounts_of
from retriever.reading import object_storage
from retriever.reading.formats import ReadOptions, format_of
from retriever.reading.object_storage import Fetched, is_address
from retriever.reading.reader_pool import ReadTask
from retriever.reading.scan import (
    FoundFile,
    divide_reachable,
    idle_patterns,
    is_below,
    place,
    scan,
    targets,
)
from retriever.reading.subprocess_reader import FileReader, StartError, file_reader
from retriever.settings import ChunkSettings
from retriever.storage.backends import DocumentRow, Documents
from retriever.storage.records import HELD, UnreadFile
from retriever.types import (
    Document,
    FileStatus,
    IndexStateError,
    ModelError,
    PageState,
    Phase,
    Progress,
    ReadError,
    UsageError,
    document_id,
)

__all__ = ["PICTURE", "FileReport", "SyncOptions", "SyncReport", "sync"]

PICTURE = "a picture: read only with --ocr"


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How a folder is synchronised; see `sync`.

    `keywords_only` stops after the first wave: documents are findable by their words, and the next
    run without it makes the vectors. `vectors_only` does only that, and looks at no files.
    `passwords` are tried on encrypted files. `ocr` names Tesseract's languages, is empty for no
    OCR, or None for what the index remembers. `retry` reads files again that failed before and have
    not changed since, `reread` all files. `jobs` is the number of processes that read files, 0 for
    one for each processor. Files that changed within the last `quiet` seconds are left to a later
    run: they may still be written.
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
    quiet: float = 0.0

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
    hands: Hands | None = None,
) -> SyncReport:
    """Bring the backend in step with the files at `paths`; `name` names the index in the report.

    `embedder` is called at most once: when a file has to be read, or when the means have to be
    fitted because documents were removed. The backend is then bound to that embedder. `hide` names
    folders that are never scanned. `hands` read and embed, this machine by default.

    If more than half of the known files have vanished, or a disk seems to be missing (see
    `vanished`), their documents are not removed unless `force` is set. Everything else is done, and
    the report has a notice. The same holds for known folders among `paths` that cannot be reached.

    Raises UsageError for a path that does not exist, IndexStateError when the index belongs to
    another model, or when another process is writing to it.
    """
    run = _SyncRun(backend, embedder, options or SyncOptions(), chunking, progress, hide, hands)
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
        hands: Hands | None = None,
    ) -> None:
        self.hands = hands or OwnHands(options.jobs)
        self.backend = backend
        self.embedder = embedder
        self.options = options
        with backend.reading() as catalog:
            chunking = catalog.chunk_settings() or chunking or ChunkSettings()
        self.hide = [path.resolve() for path in hide]
        self.started = time.monotonic()
        self.meter = ProgressMeter(backend, progress, vectors=not options.keywords_only)
        self.replaces: dict[str, DocumentRow | None] = {}  # document id → the former document
        self.recognition = Recognition(backend, options.ocr)
        self.given = Given(
            backend, chunking, self.recognition, options.passwords, retry=options.retry
        )
        self.ledger = Ledger(backend)
        self.idle_patterns: list[str] = []
        self.growing: tuple[str, ...] = ()
        self.unreachable: list[str] = []  # known folders that cannot be reached now
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
            self.ledger.report_dry_run(plan)
            return self._result(name)
        with self._writing():
            self.ledger.load()
            plan, planner = self._plan(paths)
            self._hold_back_removals(plan)
            self.recognition.remember()
            self.recognition.look_up(plan, planner.known)
            self._apply_without_reading(plan)
            self._read_all(plan.read, planner)
            self.backend.set_unread(self.ledger.all_unread(planner.targets))
            self._remember_mounts(plan, planner)
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
        return SyncReport(
            index=name,
            seconds=time.monotonic() - self.started,
            files=self.ledger.files(),
            tokens=self.ingest.vectors.tokens if self.ingest else 0,
            incomplete=self.ledger.incomplete,
            dry_run=self.options.dry_run,
            made=self._made if self.options.vectors_only else None,
            idle_patterns=tuple(self.idle_patterns),
            notice=self.notice,
            growing=self.growing,
        )

    # Planning

    def _plan(self, paths: Sequence[str | Path]) -> tuple[Plan, Planner]:
        with self.backend.reading() as catalog:
            known = [row for row in catalog.documents() if row.root]
        roots = sorted({row.root for row in known})
        places = [place(row.root, row.path) for row in known]
        copies = [object_storage.fetch(str(path)) for path in paths if is_address(path)]
        here = [*(path for path in paths if not is_address(path)), *(one.folder for one in copies)]
        reached, self.unreachable = divide_reachable(here, places, self.hide)
        chosen = targets(reached, roots, self.hide)
        include, exclude = self.options.include, self.options.exclude
        found = [file for target in chosen for file in scan(target, include, exclude, self.hide)]
        for one in copies:
            found = _with_failed(found, one)
        self.idle_patterns = idle_patterns(found, include, exclude)
        if self.options.quiet:
            found = self._without_growing(found, known)
        if not self.recognition.languages and not any(_is_picture(row.path) for row in known):
            found = [_without_pictures(file) for file in found]
        for file in found:
            if file.failed:
                self.ledger.report_failed(file, file.reason)
            elif file.reason:
                self.ledger.report(file, FileStatus.SKIPPED, file.reason)
        planner = Planner(known, self.given.is_current, chosen, self._reads_again)
        return planner.plan(found), planner

    def _without_growing(
        self, found: Sequence[FoundFile], known: Sequence[DocumentRow]
    ) -> list[FoundFile]:
        """The files, those that may still be written as they were at the last run.

        A time in the future comes from another clock, and says nothing.
        """
        now = time.time()
        growing = {
            file.place
            for file in found
            if not file.reason and 0 <= now - file.changed_ns / 1e9 < self.options.quiet
        }
        self.growing = tuple(sorted(growing))
        if not growing:
            return list(found)
        rows = {at: row for row in known if (at := place(row.root, row.path)) in growing}
        return [
            _as_before(file, rows.get(file.place)) if file.place in growing else file
            for file in found
        ]

    def _hold_back_removals(self, plan: Plan) -> None:
        """Decide which documents of vanished files stay; the rest of the run goes on."""
        if not self.options.delete:
            plan.kept = plan.vanished
            self.ledger.kept_because = {row.id: "of --no-delete" for row in plan.vanished}
        elif not self.options.force:
            held = HeldBack(plan, self.backend.mounts, self.unreachable)
            plan.kept, plan.removed = held.rows, held.removed
            self.ledger.kept_because = held.reasons
            self.notice = held.notice
        else:
            plan.removed = plan.vanished

    def _remember_mounts(self, plan: Plan, planner: Planner) -> None:
        """Store which folders with documents are disks of their own; those missing now stay."""
        before = set(self.backend.mounts)
        known = [place(row.root, row.path) for row in planner.known]
        here = mounts_of([*known, *(one.file.place for one in plan.read)])
        kept = [place(row.root, row.path) for row in planner.known if row.mtime_ns == HELD]
        kept += [place(row.root, row.path) for row in plan.kept]
        missing = {mount for mount in before - here if any(is_below(at, mount) for at in kept)}
        if here | missing != before:
            self.backend.set_mounts(sorted(here | missing))

    def _reads_again(self, row: DocumentRow) -> bool:
        """Whether an unchanged document that is current is read again nevertheless."""
        return self.options.reread or self.given.reads_more(row)

    # Doing

    def _apply_without_reading(self, plan: Plan) -> None:
        """Remove, move and update documents; no file is read."""
        gone = [*plan.replaced, *plan.removed]
        if gone:
            self.backend.delete([row.id for row in gone])
        moved = {move.new.id: self.ledger.lost_words.get(move.old.id, "") for move in plan.moves}
        self.ledger.lost_words |= moved
        if plan.moves:
            moves = order_moves(plan.moves)
            self.backend.rename_many([(move.old.id, move.new) for move in moves])
        for row in [*plan.touch, *plan.kept]:
            self.backend.touch(row)
        self.ledger.report_plan(plan)

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
        """Let others read, cut and analyse files, and write their documents in order."""
        started: deque[tuple[Pending, PreviousOCR]] = deque()

        def tasks() -> Iterator[ReadTask]:
            for one in order:
                before, options = self._options(one)
                started.append((one, before))
                yield ReadTask(one.file.location, one.file.path, one.file.size, options)

        def wait(task: ReadTask) -> None:
            ingest.write_due()
            self.meter.wait_for(started[0][0].file, task.parts)

        with self.hands.readers(preparing_for(ingest.embedder, ingest.chunking)) as pool:
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
            embedder = self.hands.embedder(self.embedder())
            chunking = limit_chunking(self.given.chunking, embedder)
            self.given.chunking = chunking
            self.backend.bind_embedder(embedder.settings, chunking)
            self.ingest = Ingest(
                self.backend,
                embedder,
                chunking,
                on_document=self._document_written,
                on_batch=self.meter.finish_batch,
                on_phase=self.meter.enter,
                together=True,
                hands=self.hands,
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
            self.ledger.report(file, FileStatus.SKIPPED, PICTURE)
            return True
        before = self._same_failure(file)
        again = self.options.retry or self.options.reread
        if again or before is None or before.status is not FileStatus.FAILED:
            return False
        if self.given.could_succeed(before):
            return False
        self.ledger.report_failed(file, before.reason, one.row, before.mtime_ns, before.settings)
        return True

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
        states: Counter[PageState] = Counter()
        try:
            as_read = read()
            document = before.restore_in(as_read)
            states = Counter(page.state for page in document.pages)
            loss = self.recognition.lost_text(before, document)
            if row is not None and row.chunks and self._is_worse(one, document, states):
                raise ReadError(
                    "; ".join(filter(None, [unreadable_pages(document.pages), loss.advice]))
                )
        except ReadError as error:
            self.meter.drop_file(file.path, file.size)
            again = isinstance(error, StartError) or not one.sha256
            stamp = 0 if again else planner.stamp(file)
            settings = self.given.failure_settings(
                file.path, states, options, self._same_failure(file)
            )
            self.ledger.report_failed(file, str(error), row, stamp, settings)
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
            settings=self.given.settings(document, options, row if _is_same(one) else None),
        )
        self.replaces[new.id] = row
        self.ledger.lost_text[new.id] = loss.reason
        self.ledger.lost_words[new.id] = lost_words(document.account)
        writer.add(new, document, found if document == as_read else None)

    def _is_worse(self, one: Pending, document: Document, states: Iterable[PageState]) -> bool:
        """Whether the document that was indexed before is kept instead of this one."""
        if not any_readable(states) and any_incomplete(states):
            return True
        same = one.row if _is_same(one) else None
        return same is not None and self.given.lacks_more(same, document)

    def _same_failure(self, file: FoundFile) -> UnreadFile | None:
        """The failure of the same bytes in a former run, as far as size and time tell."""
        before = self.ledger.unread_before.get((str(file.root), file.path))
        same = before is not None and (file.size, file.changed_ns) == (before.size, before.mtime_ns)
        return before if same else None

    def _document_written(self, row: DocumentRow) -> None:
        """Report a written document, and delete a document it replaces under another id."""
        before = self.replaces.pop(row.id, None)
        if before is not None and before.id != row.id:
            self.backend.delete([before.id])
        self.meter.finish_file(row.path, row.size)
        status = FileStatus.UPDATED if before else FileStatus.INDEXED
        if any_incomplete(row.page_states):
            status = FileStatus.PARTIAL if any_readable(row.page_states) else FileStatus.FAILED
        loss = self.ledger.lost_text.pop(row.id, "")
        lost = self.ledger.lost_words.get(row.id, "")
        if (loss or lost) and not any_incomplete(row.page_states):
            status = FileStatus.PARTIAL
            self.ledger.incomplete += not lost  # lost words are counted with the row
        self.ledger.report_row(row, status, loss)


def _with_failed(found: Sequence[FoundFile], copy: Fetched) -> list[FoundFile]:
    """The files, with the objects that could not be fetched: an older copy is not read."""
    failed = [
        FoundFile(copy.folder, name, reason=reason, failed=True)
        for name, reason in copy.failed.items()
    ]
    places = {file.place for file in failed}
    return [*(file for file in found if file.place not in places), *failed]


def _as_before(file: FoundFile, row: DocumentRow | None) -> FoundFile:
    if row is None:
        return replace(file, reason="still being written")
    return replace(file, size=row.size, changed_ns=row.mtime_ns)


def _is_same(one: Pending) -> bool:
    """Whether the file has the bytes of its document."""
    return one.row is not None and one.row.sha256 == one.sha256


def _without_pictures(file: FoundFile) -> FoundFile:
    """The file, skipped if it is a picture: for an index where OCR was never used."""
    return replace(file, reason=PICTURE) if not file.reason and _is_picture(file.path) else file


def _is_picture(path: str) -> bool:
    return format_of(path) == "image"
