"""Folder → backend: what changed is read, what vanished is removed, every file is accounted for.

A run plans first (see `plan`), then removes, renames and reads. Nothing outside the given paths is
touched, neither other roots nor documents handed over by a caller. One bad file costs that file
only, and a file that cannot be read any more keeps what was indexed of it before. Wherever a run is
broken off the index is good, and the next run goes on from there.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from retriever.embedding.protocols import Embedder
from retriever.indexing.ingest import Ingest, fitting, is_fitted, row_for
from retriever.indexing.plan import Pending, Plan, Planner, in_order
from retriever.indexing.progress import Meter
from retriever.indexing.recognition import PICTURES, Recognition, wants_of
from retriever.reading import extras
from retriever.reading.formats import OCR, ReadOptions, format_of, format_versions, outdated_formats
from retriever.reading.scan import FoundFile, scan, targets
from retriever.reading.subprocess_reader import FileReader, file_reader
from retriever.settings import ChunkSettings
from retriever.storage.backends import DocumentRow, Documents
from retriever.storage.records import PageAccount, UnreadFile
from retriever.text.chunking import CHUNKS_VERSION
from retriever.types import (
    Document,
    FileStatus,
    IndexStateError,
    ModelError,
    Page,
    PageState,
    Progress,
    ReadError,
    document_id,
)

PICTURE = "a picture: read only with --ocr"


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file; `reason` is empty where nothing is to be said."""

    path: str
    status: FileStatus
    reason: str = ""
    pages: int = 0
    page_states: Mapping[str, int] = field(default_factory=dict)
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class SyncReport:
    """A run's account: every file, and totals that count them."""

    index: str
    seconds: float
    files: tuple[FileReport, ...]
    tokens: int
    incomplete: int = 0  # files below the given paths that are not, or not wholly, readable
    dry_run: bool = False

    @property
    def totals(self) -> dict[str, int]:
        """Counts by status; pages and chunks of all these files; tokens embedded in this run."""
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
        """Whether every file that should be searchable is, wholly."""
        return self.incomplete == 0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        files = [{**asdict(file), "status": file.status.value} for file in self.files]
        for file in files:
            file["page_states"] = dict(file["page_states"])
        return {
            "index": self.index,
            "seconds": round(self.seconds, 3),
            "dry_run": self.dry_run,
            "totals": self.totals,
            "files": files,
        }


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How a folder is synchronised; see `sync`.

    `passwords` are tried on what is encrypted; `ocr` names Tesseract's languages, is empty for no
    OCR, or None for what the index remembers;
    `retry` reads files again that failed before and have not changed since, `reread` all files.
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
    """Bring the backend in step with what lies at `paths`; `name` is the index's in the report.

    `embedder` is called at most once: when a file has to be read, or when the means have to be
    fitted because documents were removed. It binds the backend to the embedder it returns. `hide`
    names folders that are never entered.

    Raises UsageError for a path that does not exist, IndexStateError when more than half of the
    known files have vanished (unless `force`), when the index belongs to another model, or when
    another process is writing to it.
    """
    run = _Run(backend, embedder, options or SyncOptions(), chunking, progress, hide)
    return run.go(paths, name)


class _Run:
    """One synchronisation."""

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
        self.meter = Meter(backend, progress)
        self.reports: dict[tuple[str, str], FileReport] = {}  # by root and path
        self.replaces: dict[str, DocumentRow | None] = {}  # document id → what stood there before
        self.unread: dict[tuple[str, str], UnreadFile] = {}
        self.unread_before: dict[tuple[str, str], UnreadFile] = {}
        self.recognition = Recognition(backend, self.options.ocr)
        self.losses: dict[str, str] = {}  # document id → recognised text that is gone, in words
        self.incomplete = 0
        self.ingest: Ingest | None = None

    def go(self, paths: Sequence[str | Path], name: str) -> SyncReport:
        if self.options.dry_run:
            self._announce(self._plan(paths)[0])
            return self._result(name)
        with self._writing():
            with self.backend.reading() as catalog:
                unread = catalog.unread()
            self.unread_before = {(file.root, file.path): file for file in unread}
            plan, planner = self._plan(paths)
            self._check_vanished(plan)
            self.recognition.remember()
            self.recognition.look_up(plan, planner.known)
            self._settle(plan)
            self._read_all(plan.read, planner)
            self.backend.set_unread(self._all_unread(planner))
            report = self._result(name)
            self.backend.finish({**report.to_json(), "files": len(report.files)})
        return report

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Nobody else writes from the plan to the end; whatever happens, others may afterwards."""
        self.meter.publish()
        try:
            yield
        except BaseException:
            with suppress(IndexStateError):  # what went wrong is told, not this
                self.backend.set_progress(None)
            raise
        finally:
            self.backend.release()

    def _result(self, name: str) -> SyncReport:
        reports = sorted(self.reports.items(), key=lambda entry: (entry[1].path, entry[0]))
        return SyncReport(
            index=name,
            seconds=time.monotonic() - self.started,
            files=tuple(file for _, file in reports),
            tokens=self.ingest.tokens if self.ingest else 0,
            incomplete=self.incomplete,
            dry_run=self.options.dry_run,
        )

    # Planning

    def _plan(self, paths: Sequence[str | Path]) -> tuple[Plan, Planner]:
        with self.backend.reading() as catalog:
            known = [row for row in catalog.documents() if row.root]
        asked = targets(paths, sorted({row.root for row in known}), self.hide)
        include, exclude = self.options.include, self.options.exclude
        found = [file for target in asked for file in scan(target, include, exclude, self.hide)]
        if not self.recognition.languages and not any(_is_picture(row.path) for row in known):
            found = [_without_pictures(file) for file in found]
        for file in found:
            if file.failed:
                self._report_failed(file, file.reason)
            elif file.reason:
                self._report(file, FileStatus.SKIPPED, file.reason)
        planner = Planner(known, self._is_current, asked, self._reads_more)
        return planner.plan(found), planner

    def _reads_more(self, row: DocumentRow) -> bool:
        """Whether what this run was given could read pages that could not be read before."""
        if self.options.reread:
            return True
        states = row.page_states
        locked = PageState.ENCRYPTED in states and bool(self.options.passwords)
        return locked or self.recognition.could_help(states, _tried(row))

    def _is_current(self, row: DocumentRow) -> bool:
        """Whether the document would be the same, read and cut by this version."""
        made, _, cut = row.settings.partition("-")
        if cut.split("-")[:3] != self._cutting().split("-"):
            return False
        changed = outdated_formats(made, row.format)
        if not self.recognition.languages:
            changed = changed - {OCR}  # nothing can be recognised anew
        if not changed or row.format in changed:
            return not changed
        if "=" in made:
            return False
        # Made by 0.1.0, which did not note what lies inside of a document.
        recognised = OCR in changed and PageState.OCR in row.page_states
        return not recognised and not self._has_attachments(row)

    def _has_attachments(self, row: DocumentRow) -> bool:
        with self.backend.reading() as catalog:
            return any("attachment " in page.label for page in catalog.account(row.id))

    def _all_unread(self, planner: Planner) -> list[UnreadFile]:
        """The files that gave no document: those of this run, and of before elsewhere."""
        elsewhere = [
            file
            for file in self.unread_before.values()
            if not any(target.covers(Path(file.root, file.path)) for target in planner.asked)
        ]
        return [*elsewhere, *self.unread.values()]

    def _check_vanished(self, plan: Plan) -> None:
        count = len(plan.vanished)
        if self.options.delete and not self.options.force and 2 * count > plan.known:
            raise IndexStateError(
                f"{count} of the {plan.known} files known here have vanished or are left out now; "
                "nothing was changed. If that is meant run again with --force, or keep them with "
                "--no-delete"
            )

    # Doing

    def _settle(self, plan: Plan) -> None:
        """Everything that needs no reading."""
        gone = [*plan.replaced, *(plan.vanished if self.options.delete else [])]
        if gone:
            self.backend.delete([row.id for row in gone])
        for move in in_order(plan.moves):
            self.backend.rename(move.old.id, move.new)
        for row in [*plan.touch, *([] if self.options.delete else plan.vanished)]:
            self.backend.touch(row)
        self._report_plan(plan)

    def _read_all(self, pending: Sequence[Pending], planner: Planner) -> None:
        # Small files first, so that much can be found soon.
        order = sorted(pending, key=lambda one: (one.file.size, one.file.path, one.source))
        order = [one for one in order if not self._left_out(one)]
        self.meter.expect(one.file for one in order)
        with file_reader(ReadOptions(self.options.passwords)) as reader:
            reader.on_part = self.meter.at_part
            for one in order:
                self._read(one, planner, reader)
        if self.ingest:
            self.ingest.close()
        else:
            self._fit_again()
        self.meter.end()

    def _writer(self) -> Ingest:
        """The ingest, made when the first document needs it: that loads the model."""
        if self.ingest is None:
            embedder = self.embedder()
            self.chunking = fitting(self.chunking, embedder)
            self.backend.claim(embedder.settings, self.chunking)
            self.ingest = Ingest(
                self.backend, embedder, self.chunking, done=self._visible, tick=self.meter.publish
            )
            self.meter.begin(self.ingest)
        return self.ingest

    def _fit_again(self) -> None:
        """The means are those of the corpus as it is, also after removals or a broken-off run."""
        with self.backend.reading() as catalog:
            due = any(row.chunks for row in catalog.documents()) and not is_fitted(catalog)
        if due:
            # Means a little older than the corpus are no reason to fail a removal.
            with suppress(ModelError):
                self._writer().fit()

    def _left_out(self, one: Pending) -> bool:
        """Report a file that is not to be read: a picture without an OCR, or one that failed.

        As it is now it would fail again, perhaps after minutes.
        """
        file = one.file
        unread = one.row is None and not self.recognition.knows(one)
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
        """Whether a file that failed, and has not changed, would be read in another way now."""
        abilities, *wants = before.settings.split(";")
        made, _, available = abilities.partition("+")
        format_ = _promised(before.path)
        if format_ in outdated_formats(made, format_) or available != "+".join(
            extras.installed_extras()
        ):
            return True
        if "=" not in made:  # 0.1.0 did not note what a file had failed for
            wants = ["password", "ocr:"]
        locked = "password" in wants and bool(self.options.passwords)
        return locked or self.recognition.is_wanted(wants)

    def _read(self, one: Pending, planner: Planner, reader: FileReader) -> None:
        file, row = one.file, one.row
        self.meter.at(file)
        before = self.recognition.before(one)
        reader.options = self.recognition.reading(before, ReadOptions(self.options.passwords))
        wants: list[str] = []
        try:
            document = before.kept_in(reader.read(file.location, file.path))
            states = Counter(page.state for page in document.pages)
            loss = self.recognition.loss(before, document)
            if row is not None and row.chunks and not _readable(states) and _bad(states):
                wants = wants_of(states, self.recognition.tried(reader.options))
                raise ReadError("; ".join(filter(None, [_reason(document.pages), loss.advice])))
        except ReadError as error:
            self.meter.done(file.path, file.size)
            stamp = planner.stamp(file) if one.sha256 else 0
            settings = ";".join([self._abilities(file.path), *wants])
            self._report_failed(file, str(error), row, stamp, settings)
            return
        document = loss.noted_in(document)
        writer = self._writer()
        new = row_for(
            document,
            id=document_id(one.source, file.path),
            source=one.source,
            root=str(file.root),
            path=file.path,
            sha256=one.sha256,
            size=file.size,
            mtime_ns=planner.stamp(file) if one.sha256 else 0,
            settings=self._settings(document, reader.options),
        )
        self.replaces[new.id] = row
        self.losses[new.id] = loss.told
        writer.add(new, document)

    def _visible(self, row: DocumentRow) -> None:
        """A document was written: report it, and drop what it replaces under another id."""
        before = self.replaces.pop(row.id, None)
        if before is not None and before.id != row.id:
            self.backend.delete([before.id])
        self.meter.done(row.path, row.size)
        status = FileStatus.UPDATED if before else FileStatus.INDEXED
        if _bad(row.page_states):
            status = FileStatus.PARTIAL if _readable(row.page_states) else FileStatus.FAILED
        loss = self.losses.pop(row.id, "")
        if loss and not _bad(row.page_states):
            self.incomplete += 1
            status = FileStatus.PARTIAL
        self._report_row(row, status, loss)

    def _settings(self, document: Document, run: ReadOptions) -> str:
        """What the document was made with: its formats' versions, the cutting, the OCR tried."""
        states = {page.state for page in document.pages}
        used = {*(document.read_as or (document.format,))}
        tried = self.recognition.tried(run) if states & PICTURES else ""
        if tried or PageState.OCR in states:
            used.add(OCR)
        return "-".join(filter(None, [format_versions(used), self._cutting(), tried]))

    def _cutting(self) -> str:
        return f"{CHUNKS_VERSION}-{self.chunking.size}-{self.chunking.overlap}"

    def _abilities(self, path: str) -> str:
        """What decides whether a file that failed would fail again."""
        return "+".join([format_versions([_promised(path)]), *extras.installed_extras()])

    # Telling

    def _announce(self, plan: Plan) -> None:
        """A dry run: the report alone."""
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
        if not self.options.delete:
            reason = "its file is gone or left out now; kept because of --no-delete"
            self._report_row(row, FileStatus.UNCHANGED, reason)
            return
        skipped = self.reports.get((row.root, row.path))
        reason = skipped.reason if skipped else ""
        self.reports[row.root, row.path] = FileReport(row.path, FileStatus.REMOVED, reason)

    def _report_row(self, row: DocumentRow, status: FileStatus, reason: str = "") -> None:
        if _bad(row.page_states):
            self.incomplete += 1
            with self.backend.reading() as catalog:
                pages = catalog.account(row.id)
            reason = "; ".join(filter(None, [reason, _reason(pages)]))
        elif not row.chunks:
            reason = reason or "no text in it"
        self.reports[row.root, row.path] = FileReport(
            row.path, status, reason, row.pages, _counts(row), row.chunks
        )

    def _report_failed(
        self,
        file: FoundFile,
        reason: str,
        row: DocumentRow | None = None,
        stamp: int = 0,
        settings: str = "",
    ) -> None:
        """The file gave nothing; what was indexed of it before stays.

        `stamp` is when it changed last, 0 if it should be tried again in any case; `settings` what
        it was read with, and what it needs.
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
            settings or self._abilities(file.path),
        )


def _without_pictures(file: FoundFile) -> FoundFile:
    """Pictures are not even looked at where no OCR ever read one."""
    return replace(file, reason=file.reason or (PICTURE if _is_picture(file.path) else ""))


def _is_picture(path: str) -> bool:
    return format_of(Path(path)) == "image"


def _promised(path: str) -> str:
    """The format a file's name promises; a scan finds no others."""
    return format_of(Path(path)) or "txt"


def _tried(row: DocumentRow) -> str:
    """The languages in which pages of the document were not recognised; empty for none."""
    return row.settings.partition("-")[2].partition("-")[2].partition("-")[2].partition("-")[2]


def _bad(states: Iterable[PageState]) -> bool:
    return any(state.incomplete for state in states)


def _readable(states: Iterable[PageState]) -> bool:
    return any(state.readable for state in states)


def _counts(row: DocumentRow) -> dict[str, int]:
    return {str(state): count for state, count in row.page_states.items()}


def _reason(pages: Sequence[Page] | Sequence[PageAccount]) -> str:
    """What is missing, in words; of a state with several reasons the most frequent.

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
        f"{counts.total()} {state}" + (f" ({reason})" if (reason := _most(counts)) else "")
        for state, counts in sorted(reasons.items())
    ]
    return f"{len(bad)} of {len(pages)} pages not readable: {', '.join(words)}"


def _most(counts: Counter[str]) -> str:
    return min(counts, key=lambda reason: (-counts[reason], reason))
