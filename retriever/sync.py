"""Folder → backend: what changed is read, what vanished is removed, every file is accounted for.

A run first plans: it compares the files found with the documents known, by place, size, time and
hash. Then it removes, renames and reads. Nothing outside the given paths is touched, neither other
roots nor documents handed over by a caller. One bad file costs that file only, and a file that
cannot be read any more keeps what was indexed of it before.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from retriever.backends import Backend, DocumentRow
from retriever.chunks import CHUNKS_VERSION
from retriever.ingest import Embedder, Ingest, fitting, row_for
from retriever.readers import READERS_VERSION, read_document
from retriever.scan import FoundFile, Target, scan, targets
from retriever.settings import ChunkSettings
from retriever.types import (
    FileStatus,
    IndexStateError,
    PageState,
    Progress,
    ReadError,
    document_id,
)

INCOMPLETE = frozenset(
    {
        PageState.SCANNED,
        PageState.GARBLED,
        PageState.ENCRYPTED,
        PageState.TOO_LONG,
        PageState.FAILED,
    }
)
"""A page in one of these states had something to say that could not be read."""

RACY_SECONDS = 3.0
"""A file changed so shortly before it was read may change again within one tick of its clock."""


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
        """Counts by status, and pages, chunks and tokens (pages and chunks of what was read)."""
        counts = Counter(file.status for file in self.files)
        read = [file for file in self.files if file.status in READ]
        return {
            "files": len(self.files),
            **{status.value: counts[status] for status in FileStatus},
            "pages": sum(file.pages for file in read),
            "chunks": sum(file.chunks for file in read),
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


READ = frozenset({FileStatus.INDEXED, FileStatus.UPDATED, FileStatus.PARTIAL})


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How a folder is synchronised; see `sync`."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    delete: bool = True
    force: bool = False
    dry_run: bool = False


def sync(
    backend: Backend,
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

    `embedder` is called once, and only if something has to be embedded; it binds the backend to
    the embedder it returns. `hide` names folders that are never entered.

    Raises UsageError for a path that does not exist, IndexStateError when more than half of the
    known files have vanished (unless `force`), or when the index belongs to another model.
    """
    run = _Run(backend, embedder, options or SyncOptions(), chunking, progress, hide)
    return run.go(paths, name)


@dataclass(slots=True)
class _Plan:
    """What a run is going to do. Rows are what the backend knows now."""

    read: list[tuple[FoundFile, str, str, DocumentRow | None]] = field(default_factory=list)
    rename: list[tuple[FoundFile, DocumentRow, DocumentRow]] = field(default_factory=list)
    unchanged: list[DocumentRow] = field(default_factory=list)
    touch: list[DocumentRow] = field(default_factory=list)
    remove: list[DocumentRow] = field(default_factory=list)


class _Run:
    """One synchronisation."""

    def __init__(
        self,
        backend: Backend,
        embedder: Callable[[], Embedder],
        options: SyncOptions,
        chunking: ChunkSettings | None,
        progress: Callable[[Progress], None],
        hide: Sequence[Path],
    ) -> None:
        self.backend = backend
        self.embedder = embedder
        self.options = options
        self.chunking = backend.chunk_settings or chunking or ChunkSettings()
        self.progress = progress
        self.hide = [path.resolve() for path in hide]
        self.started = time.monotonic()
        self.reports: dict[tuple[str, str], FileReport] = {}  # by root and path
        self.replaces: dict[str, DocumentRow | None] = {}  # document id → what stood there before
        self.incomplete = self.files_done = 0
        self.bytes_total = self.bytes_done = self.files_total = 0
        self.current = ""
        self.ingest: Ingest | None = None

    def go(self, paths: Sequence[str | Path], name: str) -> SyncReport:
        known = [row for row in self.backend.documents() if row.root]
        asked = targets(paths, _roots(known))
        sources = _Sources(known)
        here = [sources.relocated(row, asked) for row in known]
        found = self._scan(asked, _roots(here))
        plan = self._plan(found, [row for row in here if _covered(row, asked)], sources)
        if not self.options.dry_run:
            self._carry_out(plan)
        else:
            self._announce(plan)
        report = SyncReport(
            index=name,
            seconds=time.monotonic() - self.started,
            files=tuple(sorted(self.reports.values(), key=lambda file: file.path)),
            tokens=self.ingest.tokens if self.ingest else 0,
            incomplete=self.incomplete,
            dry_run=self.options.dry_run,
        )
        if not self.options.dry_run:
            self.backend.finish({**report.to_json(), "files": len(report.files)})
        return report

    # Planning

    def _scan(self, asked: Sequence[Target], roots: Sequence[str]) -> dict[Path, FoundFile]:
        """The readable files by location; the others are reported as skipped."""
        found: dict[Path, FoundFile] = {}
        for target in asked:
            for file in scan(target, roots, self.options.include, self.options.exclude, self.hide):
                if file.reason:
                    self._report(file, FileStatus.SKIPPED, file.reason)
                else:
                    found.setdefault(file.location, file)
        return found

    def _plan(
        self,
        found: Mapping[Path, FoundFile],
        covered: Sequence[DocumentRow],
        sources: _Sources,
    ) -> _Plan:
        plan = _Plan()
        by_location = {Path(row.root, row.path): row for row in covered}
        kept: set[str] = set()
        new: list[tuple[FoundFile, str, str]] = []
        for file in found.values():
            source = sources.of(file.root)
            row = by_location.get(file.location)
            if row is None:
                new.append((file, source, _hash(file)))
                continue
            kept.add(row.id)
            self._compare(plan, file, source, row, moved=row.id in sources.moved)
        vanished = [row for row in covered if row.id not in kept]
        self._match_renames(plan, new, vanished)
        self._check_vanished(plan, len(covered))
        return plan

    def _compare(
        self, plan: _Plan, file: FoundFile, source: str, row: DocumentRow, *, moved: bool
    ) -> None:
        """Sort a file into the plan whose place is known."""
        same_facts = (file.size, file.mtime_ns) == (row.size, row.mtime_ns)
        sha256 = row.sha256 if same_facts else _hash(file)
        if sha256 != row.sha256 or row.settings != self._settings():
            plan.read.append((file, source, sha256, row))
        elif (row.source, row.path) != (source, file.path):
            plan.rename.append((file, row, _moved(row, file, source)))
        else:
            plan.unchanged.append(row)
            if not same_facts or moved:
                plan.touch.append(_moved(row, file, source))

    def _match_renames(
        self,
        plan: _Plan,
        new: Sequence[tuple[FoundFile, str, str]],
        vanished: Sequence[DocumentRow],
    ) -> None:
        """A new file with a vanished one's content is that one under another name."""
        gone: dict[str, list[DocumentRow]] = {}
        for row in vanished:
            gone.setdefault(row.sha256, []).append(row)
        for file, source, sha256 in new:
            candidates = gone.get(sha256) if sha256 else None
            if candidates and candidates[0].settings == self._settings():
                row = candidates.pop(0)
                plan.rename.append((file, row, _moved(row, file, source)))
            else:
                plan.read.append((file, source, sha256, None))
        if self.options.delete:
            plan.remove.extend(row for rows in gone.values() for row in rows)

    def _check_vanished(self, plan: _Plan, known: int) -> None:
        if len(plan.remove) * 2 > known and not self.options.force:
            raise IndexStateError(
                f"{len(plan.remove)} of the {known} files known here have vanished; nothing was "
                "changed. If they were really deleted run again with --force, or keep them with "
                "--no-delete"
            )

    # Doing

    def _carry_out(self, plan: _Plan) -> None:
        self.files_total = len(plan.read)
        self.bytes_total = sum(file.size for file, *_ in plan.read)
        try:
            self._settle(plan)
            self._tick()
            # Small files first, so that much can be found soon.
            for file, source, sha256, row in sorted(
                plan.read, key=lambda entry: (entry[0].size, entry[0].path)
            ):
                self._read(file, source, sha256, row)
            if self.ingest:
                self.ingest.close()
            self._tick()
        finally:
            self.backend.set_progress(None)

    def _writer(self) -> Ingest:
        """The ingest, made when the first document needs it: that loads the model."""
        if self.ingest is None:
            embedder = self.embedder()
            chunking = fitting(self.chunking, embedder)
            self.backend.claim(embedder.settings, chunking)
            self.ingest = Ingest(
                self.backend, embedder, chunking, done=self._visible, tick=self._tick
            )
        return self.ingest

    def _settle(self, plan: _Plan) -> None:
        """Everything that needs no reading."""
        self.backend.delete([row.id for row in plan.remove])
        for row in plan.remove:
            self._report_row(row, FileStatus.REMOVED)
        for _, old, new in plan.rename:
            self.backend.rename(old.id, new)
            self._report_row(new, FileStatus.RENAMED, f"was {old.path}")
        for row in plan.touch:
            self.backend.touch(row)
        for row in plan.unchanged:
            self._report_row(row, FileStatus.UNCHANGED)

    def _announce(self, plan: _Plan) -> None:
        """A dry run: the report alone."""
        for row in plan.remove:
            self._report_row(row, FileStatus.REMOVED)
        for _, old, new in plan.rename:
            self._report_row(new, FileStatus.RENAMED, f"was {old.path}")
        for row in plan.unchanged:
            self._report_row(row, FileStatus.UNCHANGED)
        for file, _, _, known in plan.read:
            self._report(file, FileStatus.UPDATED if known else FileStatus.INDEXED)

    def _read(self, file: FoundFile, source: str, sha256: str, row: DocumentRow | None) -> None:
        self.current = file.path
        try:
            document = read_document(file.location, file.path)
            states = Counter(page.state for page in document.pages)
            if row is not None and row.chunks and not states[PageState.TEXT] and _bad(states):
                raise ReadError(_reason(states))
        except ReadError as error:
            self.bytes_done += file.size
            self._fail(file, str(error), row)
            return
        writer = self._writer()
        new = row_for(
            document,
            id=document_id(source, file.path),
            source=source,
            root=str(file.root),
            path=file.path,
            sha256=sha256 or _hash(file),
            size=file.size,
            mtime_ns=file.mtime_ns if _settled(file) else 0,
            settings=self._settings(),
        )
        self.replaces[new.id] = row
        writer.add(new, document)
        self.bytes_done += file.size

    def _fail(self, file: FoundFile, reason: str, row: DocumentRow | None) -> None:
        """The file gave nothing; what was indexed of it before stays."""
        if row and row.chunks:
            reason += "; what was indexed of it before is kept"
        self.incomplete += 1
        self.files_done += 1
        report = FileReport(file.path, FileStatus.FAILED, reason)
        if row:
            report = replace(report, pages=row.pages, page_states=_counts(row), chunks=row.chunks)
        self.reports[str(file.root), file.path] = report
        self._tick()

    def _visible(self, row: DocumentRow) -> None:
        """A document was written: report it, and drop what it replaces under another id."""
        before = self.replaces.pop(row.id, None)
        if before is not None and before.id != row.id:
            self.backend.delete([before.id])
        self.files_done += 1
        status = FileStatus.UPDATED if before else FileStatus.INDEXED
        if _bad(row.page_states):
            readable = row.page_states.get(PageState.TEXT)
            status = FileStatus.PARTIAL if readable else FileStatus.FAILED
        self._report_row(row, status)

    # Telling

    def _report_row(self, row: DocumentRow, status: FileStatus, reason: str = "") -> None:
        if status is not FileStatus.REMOVED and _bad(row.page_states):
            self.incomplete += 1
            reason = "; ".join(filter(None, [reason, _reason(row.page_states)]))
        elif status in READ and not row.chunks:
            reason = "no text in it"
        self.reports[row.root, row.path] = FileReport(
            row.path, status, reason, row.pages, _counts(row), row.chunks
        )

    def _report(self, file: FoundFile, status: FileStatus, reason: str = "") -> None:
        key = (str(file.root), file.path)
        self.reports.setdefault(key, FileReport(file.path, status, reason))

    def _tick(self) -> None:
        seconds = time.monotonic() - self.started
        chunks = self.ingest.chunks if self.ingest else 0
        tokens = self.ingest.tokens if self.ingest else 0
        share = self.bytes_done / self.bytes_total if self.bytes_total else 1.0
        now = Progress(
            files_done=self.files_done,
            files_total=self.files_total,
            chunks=chunks,
            tokens=tokens,
            seconds=seconds,
            tokens_per_second=tokens / seconds if seconds > 0 else 0.0,
            seconds_left=seconds * (1 - share) / share if tokens and share > 0 else None,
            current=self.current,
        )
        self.progress(now)
        self.backend.set_progress(asdict(now))

    def _settings(self) -> str:
        chunking = self.backend.chunk_settings or self.chunking
        return f"{READERS_VERSION}-{CHUNKS_VERSION}-{chunking.size}-{chunking.overlap}"


class _Sources:
    """Names for roots: the folder's own name, with a number where another has it already."""

    def __init__(self, known: Sequence[DocumentRow]) -> None:
        self.names = {row.root: row.source for row in known}
        self.moved: set[str] = set()  # ids of documents whose root lies elsewhere now

    def of(self, root: Path) -> str:
        """The name of a root, given to it now if it has none."""
        text = str(root)
        if text not in self.names:
            base = name = root.name or "root"
            number = 1
            while name in self.names.values():
                number += 1
                name = f"{base}-{number}"
            self.names[text] = name
        return self.names[text]

    def relocated(self, row: DocumentRow, asked: Sequence[Target]) -> DocumentRow:
        """`row` below the folder its root was moved to, if that is one of the folders asked for.

        A root that is gone is the new folder of the same name.
        """
        if Path(row.root).is_dir():
            return row
        for target in asked:
            if target.only is not None or target.root.name != Path(row.root).name:
                continue
            if self.names.setdefault(str(target.root), row.source) == row.source:
                self.moved.add(row.id)
                return replace(row, root=str(target.root))
        return row


def _roots(rows: Sequence[DocumentRow]) -> list[str]:
    return sorted({row.root for row in rows}, key=len)


def _covered(row: DocumentRow, asked: Sequence[Target]) -> bool:
    return any(target.covers(row.root, row.path) for target in asked)


def _moved(row: DocumentRow, file: FoundFile, source: str) -> DocumentRow:
    return replace(
        row,
        id=document_id(source, file.path),
        source=source,
        root=str(file.root),
        path=file.path,
        size=file.size,
        mtime_ns=file.mtime_ns if _settled(file) else 0,
    )


def _settled(file: FoundFile) -> bool:
    return time.time() - file.mtime_ns / 1e9 > RACY_SECONDS


def _hash(file: FoundFile) -> str:
    """SHA-256 of the file's bytes, or an empty text if it cannot be read (reading says why)."""
    try:
        with file.location.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def _bad(states: Iterable[PageState]) -> bool:
    return any(state in INCOMPLETE for state in states)


def _counts(row: DocumentRow) -> dict[str, int]:
    return {str(state): count for state, count in row.page_states.items()}


def _reason(states: Mapping[PageState, int]) -> str:
    """What is missing, in words.

    >>> _reason({PageState.TEXT: 3, PageState.SCANNED: 1})
    '1 of 4 pages not readable: 1 scanned'
    """
    total = sum(states.values())
    bad = {state: count for state, count in states.items() if state in INCOMPLETE}
    words = ", ".join(f"{count} {state}" for state, count in sorted(bad.items()))
    return f"{sum(bad.values())} of {total} pages not readable: {words}"
