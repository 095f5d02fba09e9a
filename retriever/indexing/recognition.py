"""What a run does about pictures of text: which languages, what text is known, what would be lost.

An index remembers the languages of the last run that named some. Text that was recognised stays
with the same bytes, whatever a file is read again for, and with the same picture in a changed file;
see `readers.recognised`. What cannot be kept is told, with the way to get it back.
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
"""States of pages whose pictures an OCR may read."""

_MAX_PLACES = 20
_GONE = "its text was recognised before the file changed, and is missing now"


@dataclass(frozen=True, slots=True)
class Before:
    """The recognised pages of the document that stood where a file is read, or had its bytes.

    `same` says whether these are the file's bytes now; `insist` as in `ReadOptions`.
    """

    pages: tuple[Page, ...] = ()
    same: bool = False
    insist: bool = False

    @property
    def languages(self) -> str:
        """Those most of the pages were recognised in; empty where none is known."""
        counts = Counter(page.scan.languages for page in self.pages if page.scan)
        return max(sorted(counts), key=lambda one: (bool(one), counts[one]), default="")

    def kept_in(self, document: Document) -> Document:
        """The document with text of pages that 0.1.0 recognised in files inside of the same file.

        It did not note which files these were; their labels name them.
        """
        parts = {page.label: page for page in self.pages if page.scan is None and page.label}
        if not parts or not self.same or self.insist:
            return document
        pages = [one for page in document.pages for one in _parts_of(page, parts)]
        return replace(document, pages=tuple(pages))


def _parts_of(page: Page, parts: dict[str, Page]) -> list[Page]:
    if page.state.readable or not page.label:
        return [page]
    if page.label in parts:
        return [parts[page.label]]
    several = [part for label, part in parts.items() if label.startswith(f"{page.label}, page ")]
    return several or [page]


@dataclass(frozen=True, slots=True)
class Loss:
    """Recognised pages of a file whose text is missing after reading it; `advice` tells what to do.

    `advice` is empty where nothing is missing.
    """

    pages: tuple[Page, ...] = ()
    advice: str = ""

    @property
    def told(self) -> str:
        """The loss as a part of a file's reason; empty if there is none."""
        if not self.pages:
            return ""
        places = [page.label or f"page {page.number or 1}" for page in self.pages]
        more = len(places) - _MAX_PLACES
        named = ", ".join(places[:_MAX_PLACES]) + (f" and {more} more" if more > 0 else "")
        return f"text recognised before on {named} is missing now: {self.advice}"

    def noted_in(self, document: Document) -> Document:
        """The document, whose pages say that their text is missing."""
        lost = {_place(page) for page in self.pages}
        pages = (
            replace(page, reason="; ".join(filter(None, [page.reason, _GONE])))
            if _place(page) in lost and not page.state.readable
            else page
            for page in document.pages
        )
        return replace(document, pages=tuple(pages)) if lost else document


class Recognition:
    """The OCR of one run. `asked` names languages, is empty for no OCR, or None for no word of it.

    `languages` are those that pages are read in, empty if they are not.
    """

    def __init__(self, backend: Documents, asked: str | None) -> None:
        self.backend = backend
        self.asked = asked
        self.remembered = backend.ocr_languages
        wished = self.remembered if asked is None else asked
        # Whoever asks for it is told by every page what is missing.
        self.missing = tesseract.unavailable_reason(wished) if wished and not asked else ""
        self.languages = "" if self.missing else wished
        self._moved: dict[str, tuple[Page, ...]] = {}  # by SHA-256 of the file

    def remember(self) -> None:
        """Keep what was asked for as what later runs do."""
        if self.asked is not None and self.asked != self.remembered:
            self.backend.set_ocr_languages(self.asked)

    def look_up(self, plan: Plan, known: Sequence[DocumentRow]) -> None:
        """Keep the recognised pages of documents that go while their bytes are read elsewhere."""
        new = {one.sha256 for one in plan.read if one.row is None or one.row.sha256 != one.sha256}
        for row in known:
            if row.sha256 and row.sha256 in new and PageState.OCR in row.page_states:
                self._moved[row.sha256] = self._recognised(row)

    def knows(self, one: Pending) -> bool:
        """Whether recognised text of these bytes is known from another document."""
        return one.sha256 in self._moved

    def could_help(self, states: Iterable[PageState], tried: str) -> bool:
        """Whether pages in these states may be read now; `tried` languages only when asked to."""
        wanted = bool(self.languages) and bool(PICTURES & set(states))
        return wanted and (bool(self.asked) or tried != self.languages)

    def is_wanted(self, wants: Iterable[str]) -> bool:
        """Whether what a file failed for, as `wants_of` tells it, is an OCR like this one."""
        asked = [want for want in wants if want.startswith("ocr:")]
        return bool(self.languages and asked) and f"ocr:{self.languages}" not in asked

    def before(self, one: Pending) -> Before:
        """What was recognised of a file that is to be read."""
        insist = bool(self.asked)
        if one.row is not None and one.row.sha256 == one.sha256:
            return Before(self._recognised(one.row), True, insist)
        if one.sha256 in self._moved:
            return Before(self._moved[one.sha256], True, insist)
        return Before(self._recognised(one.row) if one.row else (), False, insist)

    def reading(self, before: Before, run: ReadOptions) -> ReadOptions:
        """How the file is read: in the languages it was recognised in, unless told otherwise."""
        languages = self.languages
        if languages and not before.insist:
            languages = before.languages or languages
        known = known_pages(before.pages)
        return replace(run, ocr=languages, known=known, insist=before.insist)

    def tried(self, run: ReadOptions) -> str:
        """The run's languages, if a file read with `run` was given to Tesseract; else empty."""
        return "" if run.ocr and tesseract.unavailable_reason(run.ocr) else self.languages

    def loss(self, before: Before, document: Document) -> Loss:
        """The recognised pages whose text is missing while pictures of the file are not read.

        A page that was taken out of the file is no loss.
        """
        unread = [page for page in document.pages if _is_picture(page)]
        there = {page.text for page in document.pages}
        read = {_place(page) for page in document.pages if page.state.readable}
        pages = [page for page in before.pages if page.text and page.text not in there]
        stayed = [page for page in pages if _place(page) not in read] or pages
        if not unread or not stayed:
            return Loss()
        return Loss(tuple(stayed), self._advice(before.languages or self.remembered))

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


def wants_of(states: Iterable[PageState], languages: str) -> list[str]:
    """What a file whose pages are in these states failed for; `languages` were tried on it.

    >>> wants_of([PageState.SCANNED, PageState.ENCRYPTED], "eng")
    ['password', 'ocr:eng']
    """
    found = set(states)
    wants = ["password"] if PageState.ENCRYPTED in found else []
    return [*wants, f"ocr:{languages}"] if found & PICTURES else wants


def _with_scan(page: Page, row: DocumentRow) -> Page:
    """A recognised page of 0.1.0, which did not note its source, with what is known of that."""
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


__all__ = ["PICTURES", "Before", "Loss", "Recognition", "wants_of"]
