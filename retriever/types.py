"""The values that travel through the pipeline, and the errors every edge knows how to say.

`Document → Page → Chunk → Hit`: each is frozen and small. This module knows nothing about files,
models or databases.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

Scalar = str | int | float | bool
"""A metadata value: what JSON, SQL and a search server can all compare."""


class RetrieverError(Exception):
    """Base of every error meant for the user: its text is one sentence, says what to do."""


class UsageError(RetrieverError):
    """The caller asked for something that cannot be meant (wrong argument, empty path)."""


class ModelError(RetrieverError):
    """A model cannot be found, read, or used as an embedder."""


class IndexStateError(RetrieverError):
    """An index is missing, damaged, locked, or was built by another model."""


class ReadError(RetrieverError):
    """A file cannot be read; the message becomes the file's reason in the report."""


class PageState(StrEnum):
    """What became of one page. Every page ends in exactly one state."""

    TEXT = "text"
    OCR = "ocr"  # text recognised in a picture: to be found, but with mistakes
    EMPTY = "empty"
    SKIPPED = "skipped"  # left out on purpose, such as a picture attached to a mail
    SCANNED = "scanned"
    GARBLED = "garbled"
    ENCRYPTED = "encrypted"
    TOO_LONG = "too-long"
    FAILED = "failed"

    @property
    def readable(self) -> bool:
        """Whether a page in this state has text."""
        return self in (PageState.TEXT, PageState.OCR)

    @property
    def incomplete(self) -> bool:
        """Whether a page in this state had something to say that could not be read."""
        return self not in (PageState.TEXT, PageState.OCR, PageState.EMPTY, PageState.SKIPPED)


class FileStatus(StrEnum):
    """What a sync did with one file. The totals of a report count these."""

    INDEXED = "indexed"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    RENAMED = "renamed"
    REMOVED = "removed"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a page's text: `page_text[start:end]`, in Python characters."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Scan:
    """What a recognised page was read from, and how.

    `file` is the SHA-256 of the file whose page `number` it is (a picture's only one has none): of
    the attachment where that lies inside of another file. `picture` is the SHA-256 of the picture
    given to the OCR, empty where it is not known; `languages` those of the OCR, likewise;
    `version` that of the recognition (`readers.recognised.OCR_VERSION`).
    """

    file: str
    number: int | None
    picture: str = ""
    languages: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True)
class Page:
    """One page of text.

    `number` counts from 1, or is None where the format has no pages (then the whole document is
    one page). `label` names a part that has a name rather than a page number: "sheet Prices",
    "attachment notes.txt"; labels differ within a document. `text` is empty unless `state` is
    readable; `reason` says why a page is in another state. `body` is the part of the text that
    makes chunks, None for all of it: running headers and footers stand before and after it. `scan`
    is the source of text that an OCR recognised; pages that differ in it alone are equal.
    """

    number: int | None
    text: str
    state: PageState = PageState.TEXT
    reason: str = ""
    label: str = ""
    body: Span | None = None
    scan: Scan | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Document:
    """A document as a reader, or a caller, hands it over: pages of text and what is known of it.

    `date` is ISO 8601 ("2024-03-07" or longer), or empty. `title` is the document's own title,
    never derived from the file's name, because it becomes part of what is embedded. `read_as` names
    the formats of the file and of all files inside of it, sorted; empty for a caller's document.
    """

    path: str
    format: str
    pages: tuple[Page, ...]
    title: str = ""
    author: str = ""
    date: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    read_as: tuple[str, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage that can be found, cited and embedded.

    `page_text[start:end] == text` holds exactly. `id` derives from content and place: the same
    text at the same place of the same document has the same id in every rebuilt index. `label`
    and `state` are its page's: where a page has a name, and whether its text was recognised in a
    picture. `language` is the one its words are found in (ISO 639-1), "" where nothing tells.
    """

    id: str
    document_id: str
    path: str
    format: str
    title: str
    page: int | None
    start: int
    end: int
    text: str
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    label: str = ""
    state: PageState = PageState.TEXT
    language: str = ""

    @property
    def place(self) -> str:
        """Where in its document: "page 3", "sheet Prices", or empty where there is one part only.

        >>> Chunk("", "", "a.pdf", "pdf", "", 3, 0, 1, "x").place
        'page 3'
        """
        return self.label or ("" if self.page is None else f"page {self.page}")


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """What the backend knows of one document, without its text.

    `source` is the name of the root it came from ("" for documents handed over by a caller);
    `root` that folder's absolute path at the last sync. `sha256` is of the file's bytes,
    `mtime_ns` and `size` are what a scan compares first. `pages` and `page_states` count pages.
    """

    id: str
    source: str
    root: str
    path: str
    format: str
    title: str = ""
    author: str = ""
    date: str = ""
    sha256: str = ""
    size: int = 0
    mtime_ns: int = 0
    settings: str = ""  # fingerprint of the chunk settings and reader version it was made with
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    pages: int = 0
    page_states: Mapping[PageState, int] = field(default_factory=dict)
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A piece of one page as it stands there: `page_text[start:end] == text`."""

    page: int | None
    label: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result. Scores: larger is better.

    `score` orders the results; `dense` is the cosine of the calibrated vectors in [-1, 1] and
    `keyword` the BM25 score (0 when no query word occurs), None for a side that was not asked.
    `rerank` is the mean log-likelihood of the query's tokens after the passage, None if not judged.
    `match` is the share of questions without an answer here whose best passage is worse, in [0, 1);
    None while the index has not asked any (see `retriever.searching.match`).

    `chunk` is the result's best passage. `parts` are the passages joined to it, itself included, in
    the order of the document, and `passage` what they say, page by page; both are empty where the
    result is one passage as it stands. `also` are near-duplicates of it, and of its parts, best
    first.
    """

    rank: int
    score: float
    chunk: Chunk
    dense: float | None = None
    keyword: float | None = None
    rerank: float | None = None
    match: float | None = None
    also: tuple[Chunk, ...] = ()
    parts: tuple[Chunk, ...] = ()
    passage: tuple[Excerpt, ...] = ()

    @property
    def also_in(self) -> list[str]:
        """Where its near-duplicates stand, each place once: "b.pdf, page 3"."""
        names = (", ".join(filter(None, [chunk.path, chunk.place])) for chunk in self.also)
        return list(dict.fromkeys(names))

    @property
    def text(self) -> str:
        """The result as it is read: what was joined, or else the chunk's text."""
        return "\n".join(excerpt.text for excerpt in self.passage) or self.chunk.text

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON values; every other JSON of a hit is a part of it.

        - `rank`, `score`, `match`, and `scores`: `dense`, `keyword`, `rerank`.
        - Of the best passage: `chunk_id`, `document_id`, `path`, `format`, `title`, `page`,
          `label`, `state`, `start`, `end` and `metadata` (its document's). `text` is its text,
          `page_text[start:end]`.
        - `full_text`: the text of the whole result, as it is read (`Hit.text`).
        - `passage`: the spans that `full_text` consists of, each with `page`, `label`, `start`,
          `end`, `text`; `parts`: the ids of the passages joined. Both are empty where the result is
          one passage as it stands.
        - `also`: the near-duplicates, each with `chunk_id`, `path`, `page`, `label`.
        """
        chunk = self.chunk
        return {
            "rank": self.rank,
            "score": self.score,
            "match": self.match,
            "scores": {"dense": self.dense, "keyword": self.keyword, "rerank": self.rerank},
            "chunk_id": chunk.id,
            "document_id": chunk.document_id,
            "path": chunk.path,
            "format": chunk.format,
            "title": chunk.title,
            "page": chunk.page,
            "label": chunk.label,
            "state": chunk.state.value,
            "start": chunk.start,
            "end": chunk.end,
            "metadata": {name: _finite(value) for name, value in chunk.metadata.items()},
            "text": chunk.text,
            "full_text": self.text,
            "parts": [part.id for part in self.parts],
            "passage": [asdict(excerpt) for excerpt in self.passage],
            "also": [
                {"chunk_id": one.id, "path": one.path, "page": one.page, "label": one.label}
                for one in self.also
            ],
        }


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sync is: what the terminal and the page show.

    `part` counts what was read of the file `current`: its pages, or what hangs on it.
    """

    files_done: int
    files_total: int
    chunks: int
    tokens: int
    seconds: float
    tokens_per_second: float
    seconds_left: float | None
    current: str = ""
    part: int = 0


def document_id(source: str, path: str) -> str:
    """A document's id: 16 hex digits from its source (the root's name) and relative path.

    >>> document_id("docs", "a.txt") == document_id("docs", "a.txt")
    True
    """
    return _digest(source, path)


def chunk_id(document: str, page: int | None, span: Span, text: str, label: str = "") -> str:
    """A chunk's id: 16 hex digits from its document, page, span and text."""
    return _digest(document, f"{page} {label}".rstrip(), str(span.start), str(span.end), text)


def _finite(value: Scalar) -> Scalar | None:
    """None for a number that JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _digest(*parts: str) -> str:
    joined = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()[:16]


__all__ = [
    "Chunk",
    "Document",
    "DocumentRow",
    "Excerpt",
    "FileStatus",
    "Hit",
    "IndexStateError",
    "ModelError",
    "Page",
    "PageState",
    "Progress",
    "ReadError",
    "RetrieverError",
    "Scalar",
    "Span",
    "UsageError",
    "chunk_id",
    "document_id",
]
