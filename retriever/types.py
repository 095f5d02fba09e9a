"""The values of the pipeline, and the errors with a message for the user.

`Document → Page → Chunk → Hit`: each is frozen and small. This module knows nothing about files,
models or databases.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal, Self

Scalar = str | int | float | bool
"""A metadata value: a type that JSON, SQL and search servers can compare."""


class RetrieverError(Exception):
    """Base class of all errors for the user; the message is a sentence that says what to do."""


class UsageError(RetrieverError):
    """An argument is wrong (unknown option, impossible value, empty path)."""


class ModelError(RetrieverError):
    """A model cannot be found, read or used as an embedder."""


class IndexStateError(RetrieverError):
    """An index is missing, damaged, locked, or was built with another model."""


class BusyError(RetrieverError):
    """Too much waits already; `seconds` is about the time until it is worth trying again."""

    def __init__(self, message: str, seconds: float = 1.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class ReadError(RetrieverError):
    """A file cannot be read; the message is the file's reason in the report."""


class PageState(StrEnum):
    """The state of a page after reading. Every page has exactly one."""

    TEXT = "text"
    OCR = "ocr"  # text recognised in a picture: can be found, has errors
    EMPTY = "empty"
    SKIPPED = "skipped"  # skipped on purpose, such as a picture attached to a mail
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
        """Whether a page in this state has content that could not be read."""
        return self not in (PageState.TEXT, PageState.OCR, PageState.EMPTY, PageState.SKIPPED)


class FileStatus(StrEnum):
    """What a sync did with a file. The totals of a report count these."""

    INDEXED = "indexed"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    RENAMED = "renamed"
    REMOVED = "removed"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"


class Strength(StrEnum):
    """How well a result matches, in a word: see `retriever.searching.strength`."""

    EXACT = "exact words"
    STRONG = "strong"
    LIKELY = "likely"
    WEAK = "weak"


@dataclass(frozen=True, slots=True)
class Span:
    """A span of a page's text: `page_text[start:end]`, in Python characters."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Scan:
    """The source of a page's recognised text, and how it was recognised.

    `file` is the SHA-256 of the file that the page belongs to: of the attachment if it is inside of
    another file. `number` is the page's number in that file, None for a picture. `picture` is the
    SHA-256 of the picture given to OCR, `languages` are those of the OCR; each is empty if unknown.
    `version` is that of the recognition (`reading.recognised.OCR_VERSION`).
    """

    file: str
    number: int | None
    picture: str = ""
    languages: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True)
class Page:
    """One page of text.

    - `number`: from 1, or None if the format has no pages (then the document is one page).
    - `text`: empty unless `state` is readable; `reason`: why a page is in another state.
    - `label`: the name of a part without a page number, such as "sheet Prices" or "attachment
      notes.txt"; unique within a document.
    - `body`: the span of the text that is chunked, None for all of it. Running headers and footers
      are before and after it.
    - `scan`: the source of recognised text; it does not count in comparisons of pages.
    - `printed`: the number that is printed on the page ("iv", "23"), if the file says so and it
      differs from `number`.
    """

    number: int | None
    text: str
    state: PageState = PageState.TEXT
    reason: str = ""
    label: str = ""
    body: Span | None = None
    scan: Scan | None = field(default=None, compare=False, repr=False)
    printed: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Text of a file that its reader leaves out on purpose, so that it is on no page.

    `kind` is what it is, in small letters, for the user ("navigation", "scripts", "hidden text");
    `text` is the text itself.
    """

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Account:
    """Where the words of a file are, by an independent count of its source.

    - `source`: the words of the source; `pages`: those of them that are on its pages, or in the
      document's title, author and metadata.
    - `left_out`: the words of the text that is left out on purpose, by kind.
    - `unexplained`: the number of words of the source that are in neither; `missing`: the first of
      them, in order.
    - `uncounted`: why the source is not counted; empty if it is.
    """

    source: int = 0
    pages: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    unexplained: int = 0
    missing: tuple[str, ...] = ()
    uncounted: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A document from a reader or a caller: pages of text and metadata.

    `date` is ISO 8601 ("2024-03-07" or longer), or empty. `title` is the document's own title. It
    is never derived from the file's name, because it is embedded. `read_as` are the formats of the
    file and of all files inside of it, sorted; empty for a caller's document. `left_out` is the
    text that is on no page on purpose, of the file and of all files inside of it. `account` is that
    of all these files together, None for a caller's document.
    """

    path: str
    format: str
    pages: tuple[Page, ...]
    title: str = ""
    author: str = ""
    date: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    read_as: tuple[str, ...] = field(default=(), compare=False, repr=False)
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False, repr=False)
    account: Account | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage that can be found, cited and embedded.

    `page_text[start:end] == text` holds exactly. `id` derives from content and position: the same
    text at the same position of the same document has the same id in every rebuilt index. `label`,
    `state` and `printed` are those of its page. `language` is that of the keyword analysis (ISO
    639-1), "" if unknown.
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
    printed: str = ""

    @property
    def place(self) -> str:
        """Its place in the document: "page 3", "sheet Prices", or empty for a single part.

        A page is named by the number printed on it, if that is known to be another one.

        >>> Chunk("", "", "a.pdf", "pdf", "", 3, 0, 1, "x").place
        'page 3'
        >>> Chunk("", "", "a.pdf", "pdf", "", 39, 0, 1, "x", printed="23").place
        'page 23 (PDF page 39)'
        """
        if self.label or self.page is None:
            return self.label
        return (
            f"page {self.printed} (PDF page {self.page})" if self.printed else f"page {self.page}"
        )


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document in the backend, without its text.

    `source` is the name of its root ("" for documents added by a caller), `root` the root's
    absolute path at the last sync. `sha256` is that of the file's bytes; a scan compares `mtime_ns`
    and `size` first. `pages` and `page_states` count pages.
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
    """An exact excerpt of one page: `page_text[start:end] == text`."""

    page: int | None
    label: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result. Scores: larger is better.

    - `score`: orders the results.
    - `dense`: the cosine of the calibrated vectors, in [-1, 1]; `keyword`: the BM25 score, 0 if no
      query word occurs. Each is None for a side that was not used.
    - `rerank`: the mean log-likelihood of the query's tokens after the passage, None if not judged.
    - `match`: the share of unanswerable questions whose best passage has a lower score, in [0, 1);
      None if the index has no match scale yet (see `retriever.searching.match`).
    - `exact`: whether every content word of the query stands in the result's passages, inflected or
      not; a corrected typing error does not. `strength`: that and the match in one word, None if
      neither is known.
    - `embedded`: whether the passage has a vector. While it has none, `dense` is the mean of all
      cosines, and the match is that of keyword search.
    - `chunk`: the best passage of the result.
    - `parts`: the joined passages, including `chunk`, in the order of the document; `passage`:
      their text, page by page. Both are empty if the result is a single passage.
    - `sentence`: the sentence of these passages that answers best (see
      `retriever.searching.sentences`); None if they have no text, or if the search was asked for
      none.
    - `also`: near-duplicates of the result's passages, best first.
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
    exact: bool = False
    strength: Strength | None = None
    sentence: Excerpt | None = None
    embedded: bool = True

    @property
    def also_in(self) -> list[str]:
        """The distinct places of its near-duplicates: "b.pdf, page 3"."""
        names = (", ".join(filter(None, [chunk.path, chunk.place])) for chunk in self.also)
        return list(dict.fromkeys(names))

    @property
    def text(self) -> str:
        """The text of the result: the joined passages, or else the chunk's text."""
        return "\n".join(excerpt.text for excerpt in self.passage) or self.chunk.text

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON values; every other JSON of a hit is a subset.

        - `rank`, `score`, `match`, `exact`, `strength`, `embedded`, and `scores`: `dense`,
          `keyword`, `rerank`.
        - From the best passage: `chunk_id`, `document_id`, `path`, `format`, `title`, `page`,
          `printed`, `label`, `state`, `start`, `end` and `metadata` (its document's). `text` is its
          text, `page_text[start:end]`.
        - `full_text`: the text of the whole result (`Hit.text`).
        - `passage`: the spans that `full_text` consists of, each with `page`, `label`, `start`,
          `end`, `text`; `parts`: the ids of the joined passages. Both are empty if the result is a
          single passage.
        - `sentence`: the best sentence, like those of `passage`, or null.
        - `also`: the near-duplicates, each with `chunk_id`, `path`, `page`, `label`.
        """
        chunk = self.chunk
        return {
            "rank": self.rank,
            "score": self.score,
            "match": self.match,
            "exact": self.exact,
            "strength": None if self.strength is None else self.strength.value,
            "embedded": self.embedded,
            "scores": {"dense": self.dense, "keyword": self.keyword, "rerank": self.rerank},
            "chunk_id": chunk.id,
            "document_id": chunk.document_id,
            "path": chunk.path,
            "format": chunk.format,
            "title": chunk.title,
            "page": chunk.page,
            "printed": chunk.printed,
            "label": chunk.label,
            "state": chunk.state.value,
            "start": chunk.start,
            "end": chunk.end,
            "metadata": {name: _finite(value) for name, value in chunk.metadata.items()},
            "text": chunk.text,
            "full_text": self.text,
            "parts": [part.id for part in self.parts],
            "passage": [asdict(excerpt) for excerpt in self.passage],
            "sentence": None if self.sentence is None else asdict(self.sentence),
            "also": [
                {"chunk_id": one.id, "path": one.path, "page": one.page, "label": one.label}
                for one in self.also
            ],
        }


class Phase(StrEnum):
    """What a sync is doing."""

    SCANNING = "scanning"  # the folders are looked through
    LOADING = "loading"  # the model is loaded
    READING = "reading"
    EMBEDDING = "embedding"  # passages that were read become vectors
    FITTING = "fitting"  # the search is fitted to the documents


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a sync, as the terminal and the page show it.

    A run has two waves: files become findable by their words, then their passages get vectors.
    `part` counts what was read of the file `current`: its pages or attachments. `files_read` is
    `files_done`. `vectors_done` of `vectors_total` passages that had none have got their vector,
    `waiting` are being embedded. `seconds_left` is the time left of the wave that runs: until all
    files are found by their words, or until the end of the run. `share` of the run's work is done,
    0 to 1; it never decreases within a run. `phase` is empty at the end of the run, and in what an
    earlier version stored.
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
    phase: Phase | Literal[""] = ""
    share: float = 0.0
    files_read: int = 0
    waiting: int = 0
    vectors_done: int = 0
    vectors_total: int = 0

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """The progress that `asdict` has made JSON of, also in an earlier or a later version."""
        names = {field.name for field in fields(cls)}
        known = {name: value for name, value in told.items() if name in names}
        phase = known.get("phase") or ""
        known["phase"] = Phase(phase) if phase in list(Phase) else ""
        if "share" not in known and known.get("files_total"):
            known["share"] = min(1.0, max(0.0, known["files_done"] / known["files_total"]))
        counts = ("files_done", "files_total", "chunks", "tokens", "seconds", "tokens_per_second")
        return cls(**{**dict.fromkeys(counts, 0), "seconds_left": None, **known})


def document_id(source: str, path: str) -> str:
    """A document's id: 16 hex digits of a hash of its source (the root's name) and relative path.

    >>> document_id("docs", "a.txt") == document_id("docs", "a.txt")
    True
    """
    return _digest(source, path)


def chunk_id(document: str, page: int | None, span: Span, text: str, label: str = "") -> str:
    """A chunk's id: 16 hex digits of a hash of its document, page, label, span and text."""
    return _digest(document, f"{page} {label}".rstrip(), str(span.start), str(span.end), text)


def shown(value: object, most: int = 200) -> str:
    """A wrong value as it is told in a sentence: its beginning, if it is long.

    >>> shown("a" * 9, 4)
    "'aaa…"
    """
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"


def check_text(value: object, what: str) -> None:
    """Raise UsageError if `value`, which is called `what`, is no text."""
    if not isinstance(value, str):
        raise UsageError(f"{what} must be a text; it is {_shown(value)}")


def check_texts(values: object, what: str) -> None:
    """Raise UsageError if `values`, which are called `what`, are no list of texts.

    A text is a list of letters in Python: it is refused, since a list of one text is meant.
    """
    if not isinstance(values, Collection) or isinstance(values, str | bytes | Mapping):
        raise UsageError(f"{what} must be a list of texts; it is {_shown(values)}")
    for number, value in enumerate(values, 1):
        if not isinstance(value, str):
            raise UsageError(f"{what}: number {number} must be a text; it is {_shown(value)}")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def _finite(value: Scalar) -> Scalar | None:
    """The value; None for a number that JSON cannot represent."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _digest(*parts: str) -> str:
    joined = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()[:16]


__all__ = [
    "Account",
    "BusyError",
    "Chunk",
    "Document",
    "DocumentRow",
    "Excerpt",
    "FileStatus",
    "Hit",
    "IndexStateError",
    "LeftOut",
    "ModelError",
    "Page",
    "PageState",
    "Phase",
    "Progress",
    "ReadError",
    "RetrieverError",
    "Scalar",
    "Span",
    "Strength",
    "UsageError",
    "check_text",
    "check_texts",
    "chunk_id",
    "document_id",
    "shown",
]
