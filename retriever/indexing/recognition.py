"""OCR in a sync: which languages, which recognised text is reused, which text would be lost.

An index remembers the languages of the last run that named some. Recognised text is reused for the
same bytes, whatever the reason to read a file again, and for the same picture in a changed file;
see `reading.recognised`. Text that cannot be reused is reported, with the way to get it back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from retriever.indexing.plan import Pending, Plan
from retriever.reading import signatures
from retriever.reading.formats import ReadOptions
from retriever.reading.pictures import ocr, tesseract
from retriever.reading.recognised import known_pages
from retriever.storage.backends import DocumentRow, Documents
from retriever.types import Document, Page, PageState, Scan

PICTURES = frozenset([PageState.SCANNED, PageState.GARBLED])
"""States of pages whose pictures OCR can read."""

_MAX_PLACES = 20
_MISSING = "its text was recognised before the file changed, and is missing now"


@dataclass(frozen=True, slots=True)
class PreviousOCR:
    """The recognised pages of the document that had a file's path, or its bytes, before.

    `same` says whether that document had the file's current bytes; `insist` is as in `ReadOptions`.
    """

    pages: tuple[Page, ...] = ()
    same: bool = False
    insist: bool = False

    @property
    def languages(self) -> str:
        """The OCR languages of most of the pages; empty where none are known."""
        counts = Counter(page.scan.languages for page in self.pages if page.scan)
        return max(sorted(counts), key=lambda one: (bool(one), counts[one]), default="")

    def restore_in(self, document: Document) -> Document:
        """The document with the text of pages that 0.1.0 recognised in files inside of the file.

        0.1.0 did not store which files these were; their labels name them.
        """
        parts = {page.label: page for page in self.pages if page.scan is None and page.label}
        if not parts or not self.same or self.insist:
            return document
        pages = [one for page in document.pages for one in _known_parts(page, parts)]
        return replace(document, pages=tuple(pages))


def _known_parts(page: Page, parts: dict[str, Page]) -> list[Page]:
    if page.state.readable or not page.label:
        return [page]
    if page.label in parts:
        return [parts[page.label]]
    several = [part for label, part in parts.items() if label.startswith(f"{page.label}, page ")]
    return several or [page]


@dataclass(frozen=True, slots=True)
class LostText:
    """Recognised pages of a file whose text is missing after reading it, and what to do about it.

    `advice` is empty where nothing is missing.
    """

    pages: tuple[Page, ...] = ()
    advice: str = ""

    @property
    def reason(self) -> str:
        """The lost text as a part of a file's reason; empty if nothing is lost."""
        if not self.pages:
            return ""
        places = [page.label or f"page {page.number or 1}" for page in self.pages]
        more = len(places) - _MAX_PLACES
        named = ", ".join(places[:_MAX_PLACES]) + (f" and {more} more" if more > 0 else "")
        return f"text recognised before on {named} is missing now: {self.advice}"

    def mark_in(self, document: Document) -> Document:
        """The document; the reasons of pages without their former text say so."""
        lost = {_place(page) for page in self.pages}
        pages = (
            replace(page, reason="; ".join(filter(None, [page.reason, _MISSING])))
            if _place(page) in lost and not page.state.readable
            else page
            for page in document.pages
        )
        return replace(document, pages=tuple(pages)) if lost else document


class Recognition:
    """The OCR of one run.

    `asked` names languages, is empty for no OCR, or None for what the index remembers. `languages`
    are those that pages are recognised in, empty for no OCR.
    """

    def __init__(self, backend: Documents, asked: str | None) -> None:
        self.backend = backend
        self.asked = asked
        self.remembered = backend.ocr_languages
        languages = self.remembered if asked is None else asked
        # If OCR is asked for explicitly, every page reports what is missing.
        self.missing = tesseract.unavailable_reason(languages) if languages and not asked else ""
        self.languages = "" if self.missing else languages
        self._moved: dict[str, tuple[Page, ...]] = {}  # SHA-256 of a file → pages

    def remember(self) -> None:
        """Store the languages asked for, as the default of later runs."""
        if self.asked is not None and self.asked != self.remembered:
            self.backend.set_ocr_languages(self.asked)

    def look_up(self, plan: Plan, known: Sequence[DocumentRow]) -> None:
        """Load the recognised pages of documents whose bytes are read at another path."""
        new = {one.sha256 for one in plan.read if one.row is None or one.row.sha256 != one.sha256}
        for row in known:
            if row.sha256 and row.sha256 in new and PageState.OCR in row.page_states:
                self._moved[row.sha256] = self._recognised(row)

    def has_text_of(self, one: Pending) -> bool:
        """Whether recognised text of these bytes is known from another document."""
        return one.sha256 in self._moved

    def could_help(self, states: Iterable[PageState], tried: str) -> bool:
        """Whether OCR may read pages in these states, on which `tried` languages were tried."""
        wanted = bool(self.languages) and bool(PICTURES & set(states))
        return wanted and tried != self.languages

    def could_repair(self, causes: Iterable[str]) -> bool:
        """Whether a file with these `failure_causes` may succeed with this run's OCR."""
        asked = [cause for cause in causes if cause.startswith("ocr:")]
        return bool(self.languages and asked) and f"ocr:{self.languages}" not in asked

    def previous(self, one: Pending) -> PreviousOCR:
        """The recognised pages of a pending file's former document."""
        insist = bool(self.asked)
        if one.row is not None and one.row.sha256 == one.sha256:
            return PreviousOCR(self._recognised(one.row), True, insist)
        if one.sha256 in self._moved:
            return PreviousOCR(self._moved[one.sha256], True, insist)
        return PreviousOCR(self._recognised(one.row) if one.row else (), False, insist)

    def read_options(self, before: PreviousOCR, run: ReadOptions) -> ReadOptions:
        """How the file is read: in its former OCR languages, unless the run names others."""
        languages = self.languages
        if languages and not before.insist:
            languages = before.languages or languages
        known = known_pages(before.pages)
        return replace(run, ocr=languages, known=known, insist=before.insist)

    def tried_languages(self, run: ReadOptions) -> str:
        """The run's languages; empty if Tesseract lacks a language of `run.ocr`."""
        return "" if run.ocr and tesseract.unavailable_reason(run.ocr) else self.languages

    def lost_text(self, before: PreviousOCR, document: Document) -> LostText:
        """The recognised pages whose text is missing, if the file still has unread pictures.

        A page that was removed from the file is not lost text.
        """
        unread = [page for page in document.pages if _is_picture(page)]
        there = {page.text for page in document.pages}
        read = {_place(page) for page in document.pages if page.state.readable}
        pages = [page for page in before.pages if page.text and page.text not in there]
        stayed = [page for page in pages if _place(page) not in read] or pages
        if not unread or not stayed:
            return LostText()
        return LostText(tuple(stayed), self._advice(before.languages or self.remembered))

    def _advice(self, languages: str) -> str:
        if self.missing:
            return f"{self.missing}; then run wva index again"
        if self.languages:
            reason = tesseract.unavailable_reason(languages or self.languages)
            return f"{reason}; then run wva index again" if reason else "the OCR could not read it"
        if not languages:
            return "run wva index again with --ocr, and --ocr-languages if it is not English"
        return f"run wva index again with --ocr --ocr-languages {languages}"

    def _recognised(self, row: DocumentRow) -> tuple[Page, ...]:
        if not {PageState.OCR, PageState.EMPTY} & set(row.page_states):
            return ()
        with self.backend.reading() as catalog:
            pages = [_with_scan(page, row) for page in catalog.pages(row.id)]
        return tuple(page for page in pages if page.scan or page.state is PageState.OCR)


def failure_causes(states: Iterable[PageState], languages: str) -> list[str]:
    """What a file with pages in these states lacks; `languages` were tried on it.

    >>> failure_causes([PageState.SCANNED, PageState.ENCRYPTED], "eng")
    ['password', 'ocr:eng']
    """
    found = set(states)
    causes = ["password"] if PageState.ENCRYPTED in found else []
    return [*causes, f"ocr:{languages}"] if found & PICTURES else causes


def _with_scan(page: Page, row: DocumentRow) -> Page:
    """The page with its scan; 0.1.0 did not store it for recognised pages."""
    recognised = page.state is PageState.OCR or page.reason == ocr.NOTHING_FOUND
    if page.scan is not None or page.label or not recognised:
        return page
    return replace(page, scan=Scan(row.sha256, page.number))


def _is_picture(page: Page) -> bool:
    named = ("a picture", *signatures.PICTURES)
    skipped = page.state is PageState.SKIPPED and any(name in page.reason for name in named)
    return page.state in PICTURES or skipped


def _place(page: Page) -> tuple[int | None, str]:
    return page.number, page.label


__all__ = ["PICTURES", "LostText", "PreviousOCR", "Recognition", "failure_causes"]
