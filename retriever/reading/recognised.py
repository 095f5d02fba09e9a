"""Pages recognised by OCR in an earlier run, whose text is reused instead of recognised again.

A recognised page names its source (`types.Scan`): the file it is a page of, which may be nested in
another file, and the picture given to OCR. Text is reused for the same page of the same bytes, and
for the same picture in a changed file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from retriever.types import Page, Scan

OCR_VERSION = 1
"""Increased when recognition gives other text: a run with OCR then recognises all pages again."""


@dataclass(frozen=True, slots=True)
class KnownPages:
    """Recognised pages, by file and page number, and by picture.

    `pages` are in state OCR, or EMPTY if OCR found no text; each has a `scan`.
    """

    pages: tuple[Page, ...] = ()
    _by_place: dict[tuple[str, int | None], Page] = field(default_factory=dict, compare=False)
    _by_picture: dict[str, Page] = field(default_factory=dict, compare=False)
    _files: set[str] = field(default_factory=set, compare=False)
    _failed: dict[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for page in self.pages:
            if page.scan is None:
                continue
            self._by_place[page.scan.file, page.scan.number] = page
            self._files.add(page.scan.file)
            if page.scan.picture:
                self._by_picture[page.scan.picture] = page

    @property
    def has_pictures(self) -> bool:
        """Whether any page is known by its picture."""
        return bool(self._by_picture)

    def holds(self, file: str) -> bool:
        """Whether a page of the file with this SHA-256 is known."""
        return file in self._files

    def at(self, file: str, number: int | None) -> Page | None:
        """The known page with this number, of the file with this SHA-256."""
        return self._by_place.get((file, number))

    def of_picture(self, picture: str) -> Page | None:
        """The known page whose picture has this SHA-256."""
        return self._by_picture.get(picture)

    def for_file(self) -> KnownPages:
        """The same pages, to which those of the file being read are added."""
        return KnownPages(self.pages)

    def remember(self, page: Page) -> None:
        """Take a page that was recognised just now: its picture may come again in this file.

        A small file may show one picture on thousands of pages.
        """
        if page.scan is not None and page.scan.picture:
            self._by_picture[page.scan.picture] = page

    def remember_failure(self, picture: str, reason: str) -> None:
        """Note why the picture with this SHA-256 was not recognised."""
        self._failed[picture] = reason

    def failure(self, picture: str) -> str:
        """Why this picture was not recognised before in this file; empty if it was not tried."""
        return self._failed.get(picture, "")


def is_settled(known: Page | None, languages: str, *, insist: bool) -> bool:
    """Whether a known page is reused without OCR in a run with these languages.

    Without languages it always is: nothing can be recognised. With `insist`, only a page recognised
    in the same languages is.
    """
    if known is None or known.scan is None:
        return False
    if not languages:
        return True
    return known.scan.version == OCR_VERSION and (not insist or known.scan.languages == languages)


def with_known_text(known: Page, page: Page, scan: Scan) -> Page:
    """`page` with the text of the page `known`; `scan` is its source in this run."""
    source = replace(known.scan or scan, file=scan.file, number=scan.number)
    if scan.picture:
        source = replace(source, picture=scan.picture)
    return replace(page, text=known.text, state=known.state, reason=known.reason, scan=source)


def digest(data: bytes) -> str:
    """The SHA-256 of a file's bytes, as in `Scan.file`."""
    return hashlib.sha256(data).hexdigest()


def known_pages(pages: Iterable[Page]) -> KnownPages:
    """The pages that have a `scan`."""
    return KnownPages(tuple(page for page in pages if page.scan is not None))


__all__: Sequence[str] = [
    "OCR_VERSION",
    "KnownPages",
    "digest",
    "is_settled",
    "known_pages",
    "with_known_text",
]
