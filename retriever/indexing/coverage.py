"""An index → a coverage report: the status of every file and page, the reason, and advice.

No file is read: the report is of the files as the last runs found them. Every file has exactly one
status and every page one state, so the numbers add up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from retriever.storage.backends import CatalogReader
from retriever.storage.records import HELD, PageStatus, UnreadFile
from retriever.types import Account, DocumentRow, FileStatus, PageState


class CoverageStatus(StrEnum):
    """How much of a file can be found."""

    COMPLETE = "complete"
    PARTIAL = "partial"  # some of its pages cannot be read, or words of it are lost
    OUTDATED = "outdated"  # it cannot be read any more; its former text is still found
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def incomplete(self) -> bool:
        """Whether text that should be found cannot be found."""
        return self not in (CoverageStatus.COMPLETE, CoverageStatus.SKIPPED)


ADVICE = {
    PageState.SCANNED: "run wva index again with --ocr",
    PageState.GARBLED: "run wva index again with --ocr, which reads the picture of the page",
    PageState.ENCRYPTED: "run wva index again with --password",
    PageState.TOO_LONG: "split the file into smaller ones",
    PageState.FAILED: "open the file in the program it was made with and save it again",
}
"""What to do about a page in this state."""

LOST_ADVICE = "look for them in the file itself"
"""What to do about words that are lost in reading."""

NO_TEXT = frozenset(["scripts", "styles", "comments", "mail headers"])
"""Kinds of left-out text that are no words of the source, and do not add up to them."""

_SHOWN_WORDS = 8  # of the missing ones
_NOT_TEXT = "see in a text editor what it holds; if it is a text, save it there as UTF-8"
_HELD = "its file was gone in the last run; what was indexed of it is kept"
_HELD_ADVICE = "connect its disk, or run wva index again with --force to remove it"

# OCR reads pictures of pages, and only of these is there one.
_DRAWN = frozenset({"pdf", "image"})


@dataclass(frozen=True, slots=True)
class FileCoverage:
    """The coverage of one file; `reason` and `advice` are empty where all of it can be found.

    `document` is the id of its document, `account` says where its words are; empty and None for a
    file without a document, or one that was read before words were counted.
    """

    root: str
    path: str
    format: str
    status: CoverageStatus
    reason: str
    advice: str
    pages: tuple[PageStatus, ...]
    document: str = ""
    account: Account | None = None
    pending: int = 0  # of its passages, those without a vector

    @property
    def chunks(self) -> int:
        """The number of its passages in the index."""
        return sum(page.chunks for page in self.pages)


@dataclass(frozen=True, slots=True)
class PageGroup:
    """Consecutive pages with the same state and reason: "pages 3–7"."""

    place: str
    state: PageState
    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class CoverageReport:
    """The coverage of all files of an index."""

    index: str
    files: tuple[FileCoverage, ...]

    @property
    def complete(self) -> bool:
        """Whether all text of every file that should be found can be found."""
        return not any(file.status.incomplete for file in self.files)

    @property
    def totals(self) -> dict[str, Any]:
        """Counts of files by status, of pages by state, of words by place, and of chunks."""
        files = Counter(file.status.value for file in self.files)
        pages = Counter(page.state.value for file in self.files for page in file.pages)
        return {
            "files": {
                "all": files.total(),
                **{name.value: files[name.value] for name in CoverageStatus},
            },
            "pages": {
                "all": pages.total(),
                **{state.value: pages[state.value] for state in PageState},
            },
            "words": self._words(),
            "chunks": sum(file.chunks for file in self.files),
        }

    def _words(self) -> dict[str, Any]:
        """Words of the sources by place; `counted` and `uncounted` are files."""
        known = [file.account for file in self.files if file.account is not None]
        left_out: Counter[str] = Counter()
        for account in known:
            left_out.update(account.left_out)
        return {
            "source": sum(account.source for account in known),
            "pages": sum(account.pages for account in known),
            "left_out": dict(sorted(left_out.items())),
            "unexplained": sum(account.unexplained for account in known),
            "counted": sum(not account.uncounted for account in known),
            "uncounted": sum(bool(account.uncounted) for account in known),
        }

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, including every page."""
        return {
            "index": self.index,
            "totals": self.totals,
            "files": [_file_json(file) for file in self.files],
        }


def coverage_report(catalog: CatalogReader, index: str = "") -> CoverageReport:
    """The coverage report of an index named `index`, from one generation."""
    unread = {(file.root, file.path): file for file in catalog.unread()}
    pages = catalog.all_page_statuses()
    accounts = catalog.accounts()
    pending = catalog.pending_by_document()
    files = [
        _document_coverage(
            *(row, tuple(pages.get(row.id, ())), accounts.get(row.id)),
            unread.pop((row.root, row.path), None),
            pending.get(row.id, 0),
        )
        for row in catalog.documents()
    ]
    files += [_unread_coverage(file) for file in unread.values()]
    return CoverageReport(index, tuple(sorted(files, key=lambda file: (file.path, file.root))))


def _document_coverage(
    row: DocumentRow,
    pages: tuple[PageStatus, ...],
    account: Account | None,
    failure: UnreadFile | None,
    pending: int,
) -> FileCoverage:
    if row.mtime_ns == HELD:
        status, reason, advice = CoverageStatus.OUTDATED, _HELD, _HELD_ADVICE
    elif failure is not None:
        status = CoverageStatus.OUTDATED if row.chunks else CoverageStatus.FAILED
        reason, advice = failure.reason, _advice(failure)
    else:
        status, reason, advice = _pages_coverage(row.format, pages, row.chunks)
        lost = lost_words(account)
        if lost:
            status = CoverageStatus.PARTIAL if status is CoverageStatus.COMPLETE else status
            reason = "; ".join(filter(None, [reason, lost]))
            advice = advice or LOST_ADVICE
    return FileCoverage(
        *(row.root, row.path, row.format, status, reason, advice, pages),
        *(row.id, account, pending),
    )


def lost_words(account: Account | None) -> str:
    """The words that are lost in reading, as a part of a file's reason; empty for none.

    >>> lost_words(Account(9, 7, unexplained=2, missing=("blue", "whale")))
    '2 words of the source are on no page and not named as left out: blue whale'
    """
    if account is None or not account.unexplained:
        return ""
    shown = " ".join(account.missing[:_SHOWN_WORDS])
    more = " …" if account.unexplained > len(account.missing[:_SHOWN_WORDS]) else ""
    many = account.unexplained
    said = f"{many:,} words of the source are" if many > 1 else "1 word of the source is"
    return f"{said} on no page and not named as left out: {shown}{more}"


def page_advice(format_: str, page: PageStatus) -> str:
    """What to do about a page of a document of this format; empty for nothing."""
    drawn = format_ in _DRAWN or Path(page.label.partition(", page ")[0]).suffix.lower() == ".pdf"
    if page.state is PageState.GARBLED and not drawn:
        return _NOT_TEXT
    return ADVICE.get(page.state, "")


def _pages_coverage(
    format_: str, pages: tuple[PageStatus, ...], chunks: int
) -> tuple[CoverageStatus, str, str]:
    """A file's status, reason and advice, from its pages."""
    bad = [page for page in pages if page.state.incomplete]
    if not bad:
        said = [page.reason for page in pages if page.state.readable or not chunks]
        said = [reason for reason in said if reason]
        if pages and all(page.state is PageState.SKIPPED for page in pages):
            return CoverageStatus.SKIPPED, next(iter(said), ""), ""
        return CoverageStatus.COMPLETE, next(iter(said), "" if chunks else "no text in it"), ""
    readable = any(page.state.readable for page in pages)
    status = CoverageStatus.PARTIAL if readable else CoverageStatus.FAILED
    many = f"{len(bad)} of {len(pages)} pages not readable"
    advice = page_advice(format_, bad[0])
    return status, many if len(pages) > 1 else bad[0].reason, advice


def _unread_coverage(file: UnreadFile) -> FileCoverage:
    status = CoverageStatus.FAILED if file.status is FileStatus.FAILED else CoverageStatus.SKIPPED
    return FileCoverage(file.root, file.path, "", status, file.reason, _advice(file), ())


def _advice(file: UnreadFile) -> str:
    """What to do about a file that failed; empty where the reason says it."""
    if file.status is FileStatus.FAILED and file.reason.startswith(("broken", "the reader")):
        return ADVICE[PageState.FAILED]
    return ""


def page_groups(file: FileCoverage) -> Iterator[PageGroup]:
    """The pages with a reason or without text; consecutive ones with the same are one group."""
    said = [page for page in file.pages if page.reason or page.state.incomplete]
    facts = [(page.state, page.reason, page_advice(file.format, page)) for page in said]
    for (state, reason, advice), group in groupby(zip(facts, said, strict=True), itemgetter(0)):
        yield PageGroup(_places([page for _, page in group]), state, reason, advice)


def _places(pages: list[PageStatus]) -> str:
    """The page numbers or labels of these pages.

    >>> page = lambda n: PageStatus(n, "", PageState.EMPTY, "", 0)
    >>> _places([page(1), page(2), page(3), page(7)])
    'pages 1–3, 7'
    """
    if any(page.label or page.number is None for page in pages):
        return ", ".join(filter(None, (page.place for page in pages)))
    runs: list[list[int]] = []
    for number in (page.number or 0 for page in pages):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    return f"page{'s' if len(pages) > 1 else ''} {words}"


def _file_json(file: FileCoverage) -> dict[str, Any]:
    return {
        "root": file.root,
        "path": file.path,
        "format": file.format,
        "status": file.status.value,
        "reason": file.reason,
        "advice": file.advice,
        "chunks": file.chunks,
        "pending": file.pending,
        "words": None if file.account is None else asdict(file.account),
        "pages": [
            {
                "number": page.number,
                "label": page.label,
                "state": page.state.value,
                "reason": page.reason,
                "advice": page_advice(file.format, page),
                "chunks": page.chunks,
            }
            for page in file.pages
        ],
    }
