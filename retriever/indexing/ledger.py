"""The ledger of a run: what it did with each file, and which files stay unread, with reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from retriever.indexing.coverage import lost_words
from retriever.indexing.given import reader_versions
from retriever.indexing.plan import Plan
from retriever.reading.scan import FoundFile, Target, covering, place
from retriever.storage.backends import DocumentRow, Documents
from retriever.storage.records import PageStatus, UnreadFile
from retriever.types import FileStatus, Page, PageState

_DONE = (FileStatus.INDEXED, FileStatus.UPDATED, FileStatus.UNCHANGED)


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
    growing: tuple[str, ...] = ()  # full paths of files that were left to a later run

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


class Ledger:
    """Takes down what a run does with each file."""

    def __init__(self, backend: Documents) -> None:
        self.backend = backend
        self.reports: dict[tuple[str, str], FileReport] = {}  # by root and path
        self.unread: dict[tuple[str, str], UnreadFile] = {}
        self.unread_before: dict[tuple[str, str], UnreadFile] = {}
        self.lost_text: dict[str, str] = {}  # document id → reason for lost recognised text
        self.lost_words: dict[str, str] = {}  # document id → reason for words lost in reading
        self.incomplete = 0
        self.kept_because: Mapping[str, str] = {}  # document id → why it stays without its file

    def load(self) -> None:
        """Load what former runs left unread, and what their documents lack."""
        with self.backend.reading() as catalog:
            unread = catalog.unread()
            known = catalog.accounts(lost_only=True)
        self.lost_words = {id_: lost_words(account) for id_, account in known.items()}
        self.unread_before = {(file.root, file.path): file for file in unread}

    def files(self) -> tuple[FileReport, ...]:
        """The reports in order of their paths."""
        reports = sorted(self.reports.items(), key=lambda entry: (entry[1].path, entry[0]))
        return tuple(file for _, file in reports)

    def all_unread(self, targets: Sequence[Target]) -> list[UnreadFile]:
        """The files without a document: of this run, and of former runs outside of `targets`."""
        is_covered = covering(targets)
        elsewhere = [
            file
            for file in self.unread_before.values()
            if not is_covered(place(file.root, file.path))
        ]
        return [*elsewhere, *self.unread.values()]

    def report_dry_run(self, plan: Plan) -> None:
        """Report what the plan would do, for a dry run."""
        self.report_plan(plan)
        for one in plan.read:
            self.report(one.file, FileStatus.UPDATED if one.row else FileStatus.INDEXED)

    def report_plan(self, plan: Plan) -> None:
        """Report the documents that need no reading."""
        for row in plan.vanished:
            self._report_vanished(row)
        for move in plan.moves:
            same = move.old.path == move.new.path
            was = str(Path(move.old.root, move.old.path)) if same else move.old.path
            self.report_row(move.new, FileStatus.RENAMED, f"was {was}")
        for row in plan.unchanged:
            self.report_row(row, FileStatus.UNCHANGED)

    def _report_vanished(self, row: DocumentRow) -> None:
        why = self.kept_because.get(row.id)
        if why:
            reason = f"its file is gone or left out now; kept because {why}"
            self.report_row(row, FileStatus.UNCHANGED, reason)
            return
        skipped = self.reports.get((row.root, row.path))
        reason = skipped.reason if skipped else ""
        self.reports[row.root, row.path] = FileReport(row.path, FileStatus.REMOVED, reason)

    def report_row(self, row: DocumentRow, status: FileStatus, reason: str = "") -> None:
        """Report a document, and what of it cannot be read."""
        lost = self.lost_words.get(row.id, "")
        if lost or any_incomplete(row.page_states):
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
        if not any_incomplete(row.page_states):
            return ""
        with self.backend.reading() as catalog:
            return unreadable_pages(catalog.page_statuses(row.id))

    def report_failed(
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

    def report(self, file: FoundFile, status: FileStatus, reason: str = "") -> None:
        """Report a file without a document."""
        if status is FileStatus.SKIPPED:
            self._keep_unread(file, status, reason)
        self.reports[str(file.root), file.path] = FileReport(file.path, status, reason)

    def _keep_unread(
        self, file: FoundFile, status: FileStatus, reason: str, stamp: int = 0, settings: str = ""
    ) -> None:
        root = str(file.root)
        self.unread[root, file.path] = UnreadFile(
            *(root, file.path, status, reason, file.size, stamp),
            settings or reader_versions(file.path),
        )


def any_incomplete(states: Iterable[PageState]) -> bool:
    """Whether text of a page in one of these states cannot be read."""
    return any(state.incomplete for state in states)


def any_readable(states: Iterable[PageState]) -> bool:
    """Whether a page in one of these states has text."""
    return any(state.readable for state in states)


def _counts(row: DocumentRow) -> dict[str, int]:
    return {str(state): count for state, count in row.page_states.items()}


def unreadable_pages(pages: Sequence[Page] | Sequence[PageStatus]) -> str:
    """The unreadable pages in words, with the most frequent reason of each state.

    >>> unreadable_pages([Page(1, "x"), Page(2, "", PageState.SCANNED, "an image")])
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
