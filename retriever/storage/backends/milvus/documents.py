"""Documents as records: the row, the facts of the pages, the account; texts are records apart.

The record names the `edition` of the document: what it was made of, as a hash. Passages and texts
carry the edition that they were written with, and count only if the record names it: writing the
record is the commit.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from retriever.storage.backends.milvus.records import Record
from retriever.storage.backends.milvus.values import document_name
from retriever.storage.catalog.writing import MAX_LEFT_OUT
from retriever.storage.records import LeftOutTexts, NewChunk, PageStatus
from retriever.types import Account, DocumentRow, LeftOut, Page, PageState, Scan, Span

DOCUMENT = "document/"
PART = "part/"
_LEFT_OUT = "left"
_DEFAULTS = {one.name: one.default for one in fields(DocumentRow)}
_COUNTED = ("metadata", "pages", "page_states", "chunks")


@dataclass(frozen=True, slots=True)
class PageFacts:
    """A page without its text; `chunks` of the document's passages are on it."""

    number: int | None = None
    state: PageState = PageState.TEXT
    reason: str = ""
    label: str = ""
    printed: str = ""
    body: Span | None = None
    chunks: int = 0

    @classmethod
    def of(cls, page: Page, chunks: int) -> PageFacts:
        """The facts of a page."""
        facts = (page.number, page.state, page.reason, page.label, page.printed, page.body)
        return cls(*facts, chunks)

    def to_json(self) -> list[Any]:
        """A short list: what is as usual at its end is left out."""
        body = None if self.body is None else [self.body.start, self.body.end]
        state = "" if self.state is PageState.TEXT else self.state.value
        values = [self.number, self.chunks, state, self.reason, self.label, self.printed, body]
        while len(values) > 1 and not values[-1]:
            values.pop()
        return values

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> PageFacts:
        """The inverse of `to_json`."""
        usual: list[Any] = [None, 0, "", "", "", "", None]
        number, chunks, state, reason, label, printed, body = [*values, *usual[len(values) :]]
        return cls(
            *(number, PageState(state) if state else PageState.TEXT, reason, label, printed),
            *(None if body is None else Span(*body), chunks),
        )

    def status(self) -> PageStatus:
        """The page's status."""
        return PageStatus(self.number, self.label, self.state, self.reason, self.chunks)


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document's record; `added` is when it was written first, in nanoseconds."""

    row: DocumentRow
    edition: str
    pages: tuple[PageFacts, ...] = ()
    account: Account | None = None
    left_out: bool = False
    added: int = 0

    @property
    def name(self) -> str:
        """The document's id as it stands in rows."""
        return document_name(self.row.id)

    def record(self) -> Record:
        """As it is stored."""
        value = {
            "row": row_json(self.row),
            "edition": self.edition,
            "pages": [page.to_json() for page in self.pages],
            "account": None if self.account is None else asdict(self.account),
            "left_out": self.left_out,
        }
        return Record(record_id(self.row.id), json.dumps(value), self.added)

    @classmethod
    def of(cls, record: Record) -> StoredDocument:
        """The inverse of `record`."""
        value = json.loads(record.value)
        pages = tuple(PageFacts.from_json(page) for page in value["pages"])
        account = value["account"]
        if account is not None:
            account = Account(**{**account, "missing": tuple(account["missing"])})
        row = replace(
            DocumentRow(**value["row"]),
            pages=len(pages),
            page_states=dict(Counter(page.state for page in pages)),
            chunks=sum(page.chunks for page in pages),
        )
        return cls(row, value["edition"], pages, account, value["left_out"], record.number)

    def renamed(self, row: DocumentRow) -> StoredDocument:
        """The same document at another place."""
        moved = replace(
            *(self.row,),
            id=row.id,
            source=row.source,
            root=row.root,
            path=row.path,
            sha256=row.sha256,
            size=row.size,
            mtime_ns=row.mtime_ns,
        )
        return replace(self, row=moved, edition=_hash(row.id, self.edition))


def record_id(document_id: str) -> str:
    """The id of a document's record."""
    return f"{DOCUMENT}{document_name(document_id)}"


def edition_of(row: DocumentRow, pages: Sequence[Page], chunks: Sequence[NewChunk]) -> str:
    """The edition of a document: equal for all that write the same, as a task that runs twice."""
    facts = json.dumps(row_json(row), sort_keys=True)
    texts = (part for page in pages for part in (str(PageFacts.of(page, 0).to_json()), page.text))
    places = (f"{chunk.page} {chunk.span.start} {chunk.span.end}" for chunk in chunks)
    return _hash(row.id, facts, *texts, *places)


def page_facts(pages: Sequence[Page], chunks: Iterable[NewChunk]) -> tuple[PageFacts, ...]:
    """The facts of a document's pages, with the numbers of its distinct chunks on them."""
    counts = Counter(chunk.page for chunk in chunks)
    return tuple(PageFacts.of(page, counts[at]) for at, page in enumerate(pages))


# Texts


def part_prefix(name: str, edition: str) -> str:
    """The beginning of the ids of the records with the texts of a document's edition."""
    return f"{PART}{name}/{edition}/"


def number_of(edition: str) -> int:
    """The `number` of the records of an edition, by which they are deleted."""
    return int(edition[:15], 16)


def parts(
    document: StoredDocument, pages: Sequence[Page], left_out: Sequence[LeftOut]
) -> list[Record]:
    """The records with a document's texts: one for each page, and one of what is left out."""
    prefix = part_prefix(document.name, document.edition)
    number = number_of(document.edition)
    found = [
        Record(f"{prefix}{at}", _page_value(page), number, document.name)
        for at, page in enumerate(pages)
        if page.text or page.scan
    ]
    if document.left_out:
        value = json.dumps(_cut(left_out))
        found.append(Record(f"{prefix}{_LEFT_OUT}", value, number, document.name))
    return found


def page_id(document: StoredDocument, at: int) -> str:
    """The id of the record with a page's text."""
    return f"{part_prefix(document.name, document.edition)}{at}"


def left_out_id(document: StoredDocument) -> str:
    """The id of the record with the text that a document leaves out."""
    return f"{part_prefix(document.name, document.edition)}{_LEFT_OUT}"


def page_of(facts: PageFacts, value: str | None) -> Page:
    """A page of its facts and the value of its record; without one it has no text."""
    scan, _, text = (value or "\n").partition("\n")
    return Page(
        *(facts.number, text, facts.state, facts.reason, facts.label, facts.body),
        *(Scan(**json.loads(scan)) if scan else None, facts.printed),
    )


def left_out_texts(value: str) -> LeftOutTexts:
    """The text that a document leaves out, of the value of its record."""
    found = json.loads(value)
    return LeftOutTexts(tuple(LeftOut(*part) for part in found["parts"]), found["cut"])


def _page_value(page: Page) -> str:
    scan = "" if page.scan is None else json.dumps(asdict(page.scan))
    return f"{scan}\n{page.text}"


def _cut(left_out: Sequence[LeftOut]) -> dict[str, Any]:
    parts, room = [], MAX_LEFT_OUT
    for part in left_out:
        if room > 0:
            parts.append([part.kind, part.text[:room]])
        room -= len(part.text)
    return {"parts": parts, "cut": room < 0}


def row_json(row: DocumentRow) -> Mapping[str, Any]:
    """The fields of a document's row without its counts, those that are not as usual."""
    values = {
        name: getattr(row, name)
        for name, default in _DEFAULTS.items()
        if name not in _COUNTED and getattr(row, name) != default
    }
    return values | ({"metadata": dict(row.metadata)} if row.metadata else {})


def _hash(*texts: str) -> str:
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(f"{len(data)} ".encode())
        digest.update(data)
    return digest.hexdigest()[:32]


__all__ = [
    "DOCUMENT",
    "PART",
    "PageFacts",
    "StoredDocument",
    "edition_of",
    "left_out_id",
    "left_out_texts",
    "number_of",
    "page_facts",
    "page_id",
    "page_of",
    "part_prefix",
    "parts",
    "record_id",
    "row_json",
]
