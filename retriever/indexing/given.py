"""What a run was given: versions of readers, extras, chunk sizes, passwords and OCR.

It decides whether a document or a failure of a former run would come out in another way now. Only
then an unchanged file is read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from retriever.indexing.passwords import Passwords
from retriever.indexing.recognition import PICTURES, Recognition, failure_causes
from retriever.reading import extras
from retriever.reading.formats import OCR, ReadOptions, format_of, format_versions, outdated_formats
from retriever.settings import ChunkSettings
from retriever.storage.backends import DocumentRow, Documents
from retriever.storage.records import UnreadFile
from retriever.text.chunking import CHUNKS_VERSION
from retriever.types import Document, PageState

_LOCKED = "password"


class Given:
    """What one run was given. `chunking` may change until the first document is read."""

    def __init__(
        self,
        backend: Documents,
        chunking: ChunkSettings,
        recognition: Recognition,
        passwords: Sequence[str],
        *,
        retry: bool = False,
    ) -> None:
        self.backend = backend
        self.chunking = chunking
        self.recognition = recognition
        self.passwords = Passwords(backend, passwords)
        self.retry = retry

    def reads_more(self, row: DocumentRow) -> bool:
        """Whether this run was given what may read pages that could not be read before.

        What was tried on them is no reason to read them, unless the run tries everything again.
        """
        states = row.page_states
        tried = _Tried.of_row(row)
        if self.retry:
            tried = _Tried()
        if PageState.ENCRYPTED in states and self.passwords.any_new(tried.passwords):
            return True
        if self.recognition.could_help(states, tried.languages):
            return True
        return PageState.FAILED in states and self._has_new_extra(row)

    def _has_new_extra(self, row: DocumentRow) -> bool:
        """Whether a file in the document failed for want of an extra that is installed now."""
        with self.backend.reading() as catalog:
            return any(extras.is_mended(page.reason) for page in catalog.page_statuses(row.id))

    def lacks_more(self, row: DocumentRow, document: Document) -> bool:
        """Whether a password or an extra is missing now that was there when `row` was made.

        `row` and `document` are of the same bytes.
        """
        locked = sum(page.state is PageState.ENCRYPTED for page in document.pages)
        if locked > row.page_states.get(PageState.ENCRYPTED, 0):
            return True
        missing = sum(extras.is_missing(page.reason) for page in document.pages)
        if not missing:
            return False
        with self.backend.reading() as catalog:
            before = catalog.page_statuses(row.id)
        return missing > sum(extras.is_missing(page.reason) for page in before)

    def is_current(self, row: DocumentRow) -> bool:
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

    def could_succeed(self, before: UnreadFile) -> bool:
        """Whether this run reads a file that failed, and has not changed, in another way."""
        abilities, *causes = before.settings.split(";")
        made, _, available = abilities.partition("+")
        format_ = format_by_name(before.path)
        if format_ in outdated_formats(made, format_) or available != "+".join(
            extras.installed_extras()
        ):
            return True
        if "=" not in made:  # 0.1.0 did not store the causes of a failure
            causes = ["password", "ocr:"]
        marks = [cause.removeprefix(_LOCKED) for cause in causes if cause.startswith(_LOCKED)]
        locked = any(self.passwords.any_new(mark.removeprefix(":")) for mark in marks)
        return locked or self.recognition.could_repair(causes)

    def failure_settings(
        self,
        path: str,
        states: Iterable[PageState],
        run: ReadOptions,
        before: UnreadFile | None,
    ) -> str:
        """What decides whether a file with pages in these states fails again: see `could_succeed`.

        `before` is the former failure of the same bytes, whose passwords count as tried.
        """
        made = reader_versions(path)
        causes = failure_causes(states, self.recognition.tried_languages(run))
        if _LOCKED in causes:
            known, *tried = before.settings.split(";") if before else [""]
            marks = [cause.partition(":")[2] for cause in tried if cause.startswith(_LOCKED)]
            marks = marks if known == made else []
            told = self.passwords.marks("+".join(marks))
            causes[causes.index(_LOCKED)] = ":".join(filter(None, [_LOCKED, told]))
        return ";".join([made, *causes])

    def settings(self, document: Document, run: ReadOptions, before: DocumentRow | None) -> str:
        """What the document was made with: versions of formats and of chunking, what was tried.

        `before` is the former document of the same bytes, whose passwords count as tried.
        """
        states = {page.state for page in document.pages}
        used = {*(document.read_as or (document.format,))}
        tried = self.recognition.tried_languages(run) if states & PICTURES else ""
        if tried or PageState.OCR in states:
            used.add(OCR)
        made = format_versions(used)
        same = before is not None and before.settings.partition("-")[0] == made
        known = _Tried.of_row(before).passwords if before is not None and same else ""
        marks = self.passwords.marks(known) if PageState.ENCRYPTED in states else ""
        return "-".join([made, self._chunking_version(), tried, marks]).rstrip("-")

    def _chunking_version(self) -> str:
        return f"{CHUNKS_VERSION}-{self.chunking.size}-{self.chunking.overlap}"


def reader_versions(path: str) -> str:
    """The versions and extras that decide whether a file that failed would fail again."""
    return "+".join([format_versions([format_by_name(path)]), *extras.installed_extras()])


def format_by_name(path: str) -> str:
    """The format by the file's name; a scan finds only known ones."""
    return format_of(path) or "txt"


@dataclass(frozen=True, slots=True)
class _Tried:
    """What was tried in vain on pages of a document: OCR languages, and marks of passwords."""

    languages: str = ""
    passwords: str = ""

    @classmethod
    def of_row(cls, row: DocumentRow) -> _Tried:
        """What the settings of the document tell: versions, three of chunking, these two.

        >>> _Tried.of_row(DocumentRow("", "", "", "", "", settings="pdf=1-2-900-0-eng-ab+cd"))
        _Tried(languages='eng', passwords='ab+cd')
        """
        found = [*row.settings.split("-")[4:], "", ""]
        return cls(found[0], found[1])
