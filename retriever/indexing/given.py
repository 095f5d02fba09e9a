"""What a run was given: versions of readers, extras, chunk sizes, passwords and OCR.

It decides whether a document or a failure of a former run would come out in another way now. Only
then an unchanged file is read again.
"""

from __future__ import annotations

from retriever.indexing.recognition import PICTURES, Recognition
from retriever.reading import extras
from retriever.reading.formats import OCR, ReadOptions, format_of, format_versions, outdated_formats
from retriever.settings import ChunkSettings
from retriever.storage.backends import DocumentRow, Documents
from retriever.storage.records import UnreadFile
from retriever.text.chunking import CHUNKS_VERSION
from retriever.types import Document, PageState


class Given:
    """What one run was given. `chunking` may change until the first document is read."""

    def __init__(
        self,
        backend: Documents,
        chunking: ChunkSettings,
        recognition: Recognition,
        passwords: tuple[str, ...],
    ) -> None:
        self.backend = backend
        self.chunking = chunking
        self.recognition = recognition
        self.passwords = passwords

    def reads_more(self, row: DocumentRow) -> bool:
        """Whether this run's passwords or OCR may read pages that could not be read before."""
        states = row.page_states
        locked = PageState.ENCRYPTED in states and bool(self.passwords)
        return locked or self.recognition.could_help(states, tried_languages(row))

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
        locked = "password" in causes and bool(self.passwords)
        return locked or self.recognition.could_repair(causes)

    def settings(self, document: Document, run: ReadOptions) -> str:
        """What the document was made with: versions of formats and of chunking, OCR languages."""
        states = {page.state for page in document.pages}
        used = {*(document.read_as or (document.format,))}
        tried = self.recognition.tried_languages(run) if states & PICTURES else ""
        if tried or PageState.OCR in states:
            used.add(OCR)
        return "-".join(filter(None, [format_versions(used), self._chunking_version(), tried]))

    def _chunking_version(self) -> str:
        return f"{CHUNKS_VERSION}-{self.chunking.size}-{self.chunking.overlap}"


def reader_versions(path: str) -> str:
    """The versions and extras that decide whether a file that failed would fail again."""
    return "+".join([format_versions([format_by_name(path)]), *extras.installed_extras()])


def format_by_name(path: str) -> str:
    """The format by the file's name; a scan finds only known ones."""
    return format_of(path) or "txt"


def tried_languages(row: DocumentRow) -> str:
    """The languages in which OCR failed on pages of the document; empty for none."""
    return row.settings.partition("-")[2].partition("-")[2].partition("-")[2].partition("-")[2]
