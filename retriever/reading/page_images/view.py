"""Pictures of the pages of indexed PDFs, with the positions of their text, to show a hit.

A file is rendered only if its hash is that of the indexed file, in a separate process (see
`subprocess_reader`). Any problem becomes one sentence for the user; the stored text can still be
shown. Pictures and characters are cached under the file's hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from retriever.reading.page_images.alignment import Placement
from retriever.reading.page_images.render import parse_characters
from retriever.reading.subprocess_reader import MB, FileReader, Limits
from retriever.types import DocumentRow, Page, PageState, ReadError, RetrieverError

WIDTH = 1_200
"""Default width of a picture in pixels."""

CACHE_BYTES = 64 * MB
"""Maximum size of the cached pictures and characters in bytes."""

_LIMITS = Limits(
    seconds=20.0, seconds_per_mb=0.1, max_seconds=60.0, memory=1_500 * MB, output=100 * MB
)
_MOMENT = 0.7  # seconds
_SETTLED = 256  # number of files whose hash is cached
_RECOGNISED = "The words were recognised in a picture: where they stand on it is not known."


@dataclass(frozen=True, slots=True)
class PagePicture:
    """A page as a PNG; `placement` has the positions of its text, None if they are unknown.

    `note` is a sentence that says what is missing, empty if nothing is.
    """

    png: bytes
    placement: Placement | None
    note: str = ""


class PagePictures:
    """Renders pages of indexed PDFs. Thread-safe; call `close` at the end.

    `passwords` are tried on encrypted files. `cache_bytes` is the maximum size of the cache.
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
        self._wanted: list[tuple[DocumentRow, Page]] = []
        self._preparing: threading.Thread | None = None

    def show(self, row: DocumentRow, page: Page, width: int = WIDTH) -> PagePicture:
        """The picture of a document's page, `width` pixels wide.

        Raises ReadError with a sentence that names the file if it is not a PDF, missing, changed
        since it was indexed, encrypted or damaged, or if no process can be started for it.
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
            except RetrieverError as error:  # also: no process can be started
                raise ReadError(_fallback_note(row, error)) from None
            if page.state is PageState.OCR:
                return PagePicture(png, None, _RECOGNISED)
            try:
                body = self._ask(path, row, {"what": "characters", **_page_request(page)})
            except RetrieverError as error:
                return PagePicture(png, None, f"The passage cannot be marked: {error}.")
        return PagePicture(png, Placement(page.text, parse_characters(body)))

    def prepare(self, wanted: Sequence[tuple[DocumentRow, Page]]) -> None:
        """Draw these pages in the background, in order, so that `show` need not wait for them.

        It begins a moment later: what is being shown now goes first.

        They replace what an earlier call still waits for. A page that cannot be drawn is left to
        `show`, which says why.
        """
        self._wanted = [(row, page) for row, page in wanted if has_picture(row, page)]
        if self._wanted and (self._preparing is None or not self._preparing.is_alive()):
            self._preparing = threading.Thread(
                target=self._prepare, name="draw pages ahead", daemon=True
            )
            self._preparing.start()

    def _prepare(self) -> None:
        time.sleep(_MOMENT)
        while self._wanted:
            row, page = self._wanted[0]
            self._wanted = self._wanted[1:]
            with contextlib.suppress(ReadError):
                self.show(row, page)

    def add_password(self, password: str) -> None:
        """Try this password too on encrypted files from now on."""
        with self._busy:
            if password not in self._passwords:
                self._passwords.append(password)

    def start(self) -> None:
        """Start the process, so that the first picture need not wait for it.

        That it cannot be started is said by `show`.
        """
        with self._busy, contextlib.suppress(RetrieverError):
            self._reader.start()

    def close(self) -> None:
        """End the process."""
        with self._busy:
            self._reader.close()

    def _ask(self, path: Path, row: DocumentRow, request: dict[str, str | int]) -> bytes:
        def ask() -> bytes:
            return self._reader.look_at_page(path, {**request, "passwords": self._passwords})

        return self._cache.get((row.sha256, *request.values()), ask)

    def _check(self, path: Path, row: DocumentRow) -> None:
        """Raise ReadError if the file is not the one that was indexed."""
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
            reason = (error.strerror or str(error)).lower()
            raise ReadError(f"the file cannot be opened ({reason})") from None
        if self._hashes[key] != row.sha256:
            raise ReadError("the file has changed since it was indexed; index it again")


class _ByteCache:
    """A cache of the most recently used bytes, limited by their total size."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._bytes: OrderedDict[tuple[str | int, ...], bytes] = OrderedDict()

    def get(self, key: tuple[str | int, ...], make: Callable[[], bytes]) -> bytes:
        """The bytes of the key, from `make` if they are not cached."""
        if key in self._bytes:
            self._bytes.move_to_end(key)
        else:
            self._bytes[key] = make()
            while sum(map(len, self._bytes.values())) > self.most and len(self._bytes) > 1:
                self._bytes.popitem(last=False)
        return self._bytes[key]


def has_picture(row: DocumentRow, page: Page) -> bool:
    """Whether the page is one of a PDF file: not of an attachment, or of text without a file."""
    return bool(row.format == "pdf" and row.root and page.number is not None and not page.label)


def file_path(row: DocumentRow) -> Path:
    """The path of the document's file at the last sync; "." if the document has no file."""
    return Path(row.root) / row.path if row.root else Path()


def _page_request(page: Page) -> dict[str, str | int]:
    return {"number": page.number or 0}


def _fallback_note(row: DocumentRow, error: RetrieverError) -> str:
    return f"{row.path} is shown as text: {error}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


__all__ = ["CACHE_BYTES", "WIDTH", "PagePicture", "PagePictures", "file_path", "has_picture"]
