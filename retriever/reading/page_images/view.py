"""Pages of indexed PDFs as pictures, with the places of their text: what a page shows of a hit.

The file is looked at only where it is the one that was indexed, in a process of its own (see
`isolated`): whatever is wrong with it is one sentence, and the stored text is there all the same.
Pictures and places are kept for a while; both stay right as long as the file's hash does.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from retriever.reading.page_images.alignment import Placement
from retriever.reading.page_images.render import parse_characters
from retriever.reading.subprocess_reader import MB, FileReader, Limits
from retriever.types import DocumentRow, Page, PageState, ReadError

WIDTH = 1_200
"""Pixels of a picture's width unless somebody asks for another one."""

CACHE_BYTES = 64 * MB
"""So much of pictures and places is remembered."""

_LIMITS = Limits(
    seconds=20.0, seconds_per_mb=0.1, max_seconds=60.0, memory=1_500 * MB, output=100 * MB
)
_SETTLED = 256  # files whose hash is remembered
_RECOGNISED = "The words were recognised in a picture: where they stand on it is not known."


@dataclass(frozen=True, slots=True)
class PagePicture:
    """A page as a PNG; `placement` says where its text stands, None where that is not known.

    `note` is a sentence on what is missing, empty if nothing is.
    """

    png: bytes
    placement: Placement | None
    note: str = ""


class PagePictures:
    """Draws pages of indexed PDFs. For use from several threads; `close` it at the end.

    `passwords` are tried on encrypted files; `cache_bytes` bounds what is remembered, in bytes.
    """

    def __init__(
        self,
        passwords: Sequence[str] = (),
        *,
        limits: Limits = _LIMITS,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._passwords = list(passwords)
        self._reader = FileReader(limits=limits)
        self._cache = _ByteCache(cache_bytes)
        self._hashes: OrderedDict[tuple[Path, int, int], str] = OrderedDict()
        self._busy = threading.Lock()

    def show(self, row: DocumentRow, page: Page, width: int = WIDTH) -> PagePicture:
        """The picture of a document's page, `width` pixels wide.

        Raises ReadError with a sentence that names the file: it is no PDF, gone, changed since it
        was indexed, encrypted or damaged.
        """
        path = file_path(row)
        if not has_picture(row, page):
            raise ReadError(f"{row.path} has no pictures of its pages")
        with self._busy:
            try:
                self._check(path, row)
                png = self._ask(
                    path, row, {"what": "picture", **_page_request(page), "width": width}
                )
            except ReadError as error:
                raise ReadError(_fallback_note(row, error)) from None
            if page.state is PageState.OCR:
                return PagePicture(png, None, _RECOGNISED)
            try:
                body = self._ask(path, row, {"what": "characters", **_page_request(page)})
            except ReadError as error:
                return PagePicture(png, None, f"The passage cannot be marked: {error}.")
        return PagePicture(png, Placement(page.text, parse_characters(body)))

    def add_password(self, password: str) -> None:
        """Try this password, too, on encrypted files from now on."""
        with self._busy:
            if password not in self._passwords:
                self._passwords.append(password)

    def start(self) -> None:
        """Start what draws, so that the first picture need not wait for it."""
        with self._busy:
            self._reader.start()

    def close(self) -> None:
        """End what draws."""
        with self._busy:
            self._reader.close()

    def _ask(self, path: Path, row: DocumentRow, request: dict[str, str | int]) -> bytes:
        def ask() -> bytes:
            return self._reader.look_at_page(path, {**request, "passwords": self._passwords})

        return self._cache.get((row.sha256, *request.values()), ask)

    def _check(self, path: Path, row: DocumentRow) -> None:
        """Raises ReadError where the file is not the one that was indexed."""
        try:
            facts = path.stat()
            key = (path, facts.st_size, facts.st_mtime_ns)
            if key not in self._hashes:
                self._hashes[key] = _sha256(path)
                if len(self._hashes) > _SETTLED:
                    self._hashes.popitem(last=False)
        except FileNotFoundError:
            raise ReadError("the file is not there any more") from None
        except OSError as error:
            said = (error.strerror or str(error)).lower()
            raise ReadError(f"the file cannot be opened ({said})") from None
        if self._hashes[key] != row.sha256:
            raise ReadError("the file has changed since it was indexed; index it again")


class _ByteCache:
    """The bytes asked for last, up to a sum."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._bytes: OrderedDict[tuple[str | int, ...], bytes] = OrderedDict()

    def get(self, key: tuple[str | int, ...], make: Callable[[], bytes]) -> bytes:
        """What is kept under the key, made now if it is not."""
        if key in self._bytes:
            self._bytes.move_to_end(key)
        else:
            self._bytes[key] = make()
            while sum(map(len, self._bytes.values())) > self.most and len(self._bytes) > 1:
                self._bytes.popitem(last=False)
        return self._bytes[key]


def has_picture(row: DocumentRow, page: Page) -> bool:
    """Whether there is a page of paper to show: not of what is attached to it, or handed over."""
    return bool(row.format == "pdf" and row.root and page.number is not None and not page.label)


def file_path(row: DocumentRow) -> Path:
    """Where the document's file was at the last sync; "." for one that never was a file."""
    return Path(row.root) / row.path if row.root else Path()


def _page_request(page: Page) -> dict[str, str | int]:
    return {"number": page.number or 0}


def _fallback_note(row: DocumentRow, error: ReadError) -> str:
    return f"{row.path} is shown as text: {error}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


__all__ = ["CACHE_BYTES", "WIDTH", "PagePicture", "PagePictures", "file_path", "has_picture"]
