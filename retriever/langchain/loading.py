"""Files as LangChain documents, read as an index reads them: page by page, in another process.

A document is a page, a slide, a sheet or another part, or the whole file if it has no parts. Pages
without text (scans without OCR, encrypted ones) give no document; they are listed in `unread`.
"""

from __future__ import annotations

import logging
import mimetypes
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.document_loaders import BaseBlobParser, BaseLoader
from langchain_core.documents import Document
from langchain_core.documents.base import Blob

from retriever.files import write_private
from retriever.storage.upkeep.scratch import scratch_folder
from retriever.types import Document as ReadDocument
from retriever.types import Page, ReadError, UsageError, check_text, check_texts

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unread:
    """A file, or a part of one, that gave no text, and the reason; `place` is empty for a file."""

    source: str
    place: str
    reason: str


class AlignedWVALoader(BaseLoader):
    """Loads files and folders: `AlignedWVALoader("notes").lazy_load()`.

    - `include`, `exclude`: globs of files, as for `Index.sync`.
    - `passwords`: tried on encrypted files; `ocr`: the languages ("eng+deu") in which pictures of
      pages are recognised, empty for no OCR.
    - `strict`: a file that cannot be read is an error. Otherwise it is noted in `unread`, with a
      warning in the log.

    `unread` is of the last complete run.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        passwords: Sequence[str] = (),
        ocr: str = "",
        strict: bool = False,
    ) -> None:
        several = [paths] if isinstance(paths, str | Path) else paths
        if not isinstance(several, Sequence):
            raise UsageError(f"paths must be a path or a list of paths; it is {paths!r:.80}")
        check_texts([str(one) if isinstance(one, Path) else one for one in several], "paths")
        for name, texts in (("include", include), ("exclude", exclude), ("passwords", passwords)):
            check_texts(texts, name)
        check_text(ocr, "ocr")
        self._paths = list(several)
        self._include, self._exclude = tuple(include), tuple(exclude)
        self._passwords, self._ocr = tuple(passwords), ocr
        self._strict = strict
        self.unread: list[Unread] = []

    def lazy_load(self) -> Iterator[Document]:
        """The pages of the files, in the order of their names.

        Raises UsageError for a path that does not exist; with `strict`, ReadError for a file that
        cannot be read.
        """
        from retriever.reading.options import ReadOptions
        from retriever.reading.scan import LEFT_OUT, scan, targets
        from retriever.reading.subprocess_reader import file_reader

        unread: list[Unread] = []
        found = targets(self._paths, [])
        with file_reader(ReadOptions(self._passwords, self._ocr)) as reader:
            for target in found:
                for file in scan(target, self._include, self._exclude, ()):
                    source = str(file.location)
                    if file.reason == LEFT_OUT:
                        continue  # as asked for
                    if file.reason:
                        self._note(unread, Unread(source, "", file.reason), failed=file.failed)
                        continue
                    try:
                        document = reader.read(file.location, file.path)
                    except ReadError as error:
                        self._note(unread, Unread(source, "", str(error)), failed=True)
                        continue
                    yield from as_pages(document, source)
                    unread += unread_pages(document, source)
        self.unread = unread

    def _note(self, unread: list[Unread], one: Unread, *, failed: bool) -> None:
        if failed and self._strict:
            raise ReadError(f"{one.source} cannot be read: {one.reason}")
        if failed:
            log.warning("%s cannot be read: %s", one.source, one.reason)
        unread.append(one)


class AlignedWVABlobParser(BaseBlobParser):
    """Parses a file given as a LangChain blob, in memory or by its path.

    The bytes say what format it is; a blob's name, or else its MIME type, is a hint. One process
    reads one blob after another. `close` ends it.
    """

    def __init__(self, *, passwords: Sequence[str] = (), ocr: str = "") -> None:
        check_texts(passwords, "passwords")
        check_text(ocr, "ocr")
        from retriever.reading.options import ReadOptions
        from retriever.reading.subprocess_reader import FileReader

        self._reader = FileReader(ReadOptions(tuple(passwords), ocr))
        self._one_at_a_time = threading.Lock()
        self._end = weakref.finalize(self, self._reader.close)

    def close(self) -> None:
        """End the process that reads."""
        with self._one_at_a_time:
            self._reader.close()

    def lazy_parse(self, blob: Blob) -> Iterator[Document]:
        """The pages of the file. Raises ReadError, naming it, if it cannot be read."""
        source = str(blob.source or "")
        name = _file_name(blob, source)
        try:
            if blob.data is None and blob.path is not None:
                document = self._read(Path(blob.path), name)
            else:
                with scratch_folder(Path(tempfile.gettempdir(), "wva-blob")) as folder:
                    copy = folder / "blob"
                    write_private(copy, blob.as_bytes())
                    document = self._read(copy, name)
        except ReadError as error:
            raise ReadError(f"{source or 'the blob'} cannot be read: {error}") from None
        for page in as_pages(document, source):
            page.metadata = {**blob.metadata, **page.metadata}
            yield page

    def _read(self, path: Path, name: str) -> ReadDocument:
        with self._one_at_a_time:
            return self._reader.read(path, name)


def _file_name(blob: Blob, source: str) -> str:
    """The name that tells a blob's format: its file's, or an address's, with its MIME type's end.

    An address may end in anything: what is no known ending is none.
    """
    where = str(blob.path or source)
    name = Path(where).name or "blob"
    ends = bool(mimetypes.guess_type(name)[0] if "://" in where else Path(name).suffix)
    return name if ends else name + (mimetypes.guess_extension(blob.mimetype or "") or "")


def as_pages(document: ReadDocument, source: str) -> Iterator[Document]:
    """The pages with text as LangChain documents; `source` is in their metadata.

    Their text is that of the page without running headers and footers.
    """
    for page in document.pages:
        text = page.text
        if page.body is not None:
            text = text[page.body.start : page.body.end]
        if page.state.readable and text.strip():
            yield Document(page_content=text, metadata=_metadata(document, page, source))


def unread_pages(document: ReadDocument, source: str) -> list[Unread]:
    """The parts whose text could not be read."""
    return [
        Unread(source, page.label or (f"page {page.number}" if page.number else ""), page.reason)
        for page in document.pages
        if page.state.incomplete
    ]


def _metadata(document: ReadDocument, page: Page, source: str) -> dict[str, Any]:
    """Plain values; those of the file itself cannot hide the others."""
    return {
        **document.metadata,
        "source": source,
        "path": document.path,
        "format": document.format,
        "title": document.title,
        "author": document.author,
        "date": document.date,
        "page": page.number,
        "label": page.label,
        "printed": page.printed,
        "state": page.state.value,
    }


__all__ = ["AlignedWVABlobParser", "AlignedWVALoader", "Unread", "as_pages"]
