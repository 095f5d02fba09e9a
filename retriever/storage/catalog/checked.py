"""Stored rows become documents, pages and passages: here each is checked, and nowhere else.

A row that disagrees with its seal, a passage that disagrees with its id, and a row that cannot be
decoded raise `DamagedRowError`. What reads rows leaves such a row out and notes it in `Damage`, so
that one damaged document closes nothing and is never shown.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import NoneType
from typing import Any, TypeVar

from retriever.storage.catalog import forms, seals
from retriever.storage.catalog.schema import unblob
from retriever.storage.records import PageStatus
from retriever.types import Chunk, DocumentRow, Page, PageState, Scan, Span, chunk_id, document_id

log = logging.getLogger(__name__)

REMEDY = "wva verify --repair"
"""The command that mends an index, as sentences name it."""

PAGE_GONE = f"damaged in the index: {REMEDY}"
"""The reason of a page whose row is damaged."""

_NAMED = 3  # damaged documents in one sentence
_DECODING = forms.UNDECODED
_OPTIONAL = (int, NoneType)

Row = Sequence[Any]
T = TypeVar("T")


class DamagedRowError(Exception):
    """A stored row is not what was written. `document` names it as far as that is known."""

    def __init__(self, what: str, document: str) -> None:
        super().__init__(f"{what} of {document} is damaged")
        self.what = what
        self.document = document


class Damage:
    """The damage that reads of one generation met, shared by threads."""

    def __init__(self, folder: str = "") -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._generation: object = None
        self._found: dict[tuple[str, str], None] = {}

    def note(self, generation: object, found: DamagedRowError) -> None:
        """Note a damaged row, and log its document once."""
        key = found.document, found.what
        with self._lock:
            if generation != self._generation:
                self._generation, self._found = generation, {}
            if key in self._found:
                return
            self._found[key] = None
        log.warning("%s in the index in %s; %s", found, self._folder, REMEDY)

    def sentences(self, generation: object) -> list[str]:
        """What is left out of the answers of a generation, in one sentence or none."""
        with self._lock:
            found = list(self._found) if generation == self._generation else []
        names = list(dict.fromkeys(document for document, _ in found))
        if not names:
            return []
        shown = ", ".join(names[:_NAMED])
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        what = "passages of a document are" if len(names) == 1 else "passages of documents are"
        where = f" --index {self._folder}" if self._folder else ""
        return [
            f"damaged {what} left out of the results: {shown}{more}; "
            f"mend the index with {REMEDY}{where}"
        ]


_D, _P, _C = len(seals.DOCUMENT.columns), len(seals.PAGE.columns), len(seals.CHUNK.columns)


class Checks:
    """What was checked already in one transaction, since passages share documents and pages."""

    def __init__(self) -> None:
        self._whole: set[tuple[object, ...]] = set()

    def check(self, kind: seals.Kind, row: Row, stored: object, document: str, what: str) -> None:
        """Raise DamagedRowError if the row disagrees with its seal."""
        if stored is None:
            return
        key = (kind.number, row[0], row[1], stored)
        if key in self._whole:
            return
        if seals.digest(row) != stored:
            raise DamagedRowError(what, document)
        self._whole.add(key)


def name_of(document: Row) -> str:
    """The path of a document's row if it can be trusted, else its number in the index."""
    if document[0] is None:  # of an outer join
        return "a document that is gone"
    try:
        path = unblob(document[4])
        if not document[2] or unblob(document[1]) == document_id(unblob(document[2]), path):
            return path
    except _DECODING:
        pass
    return f"document {document[0]}"


def decoded(function: Callable[[], T], what: str, document: str) -> T:
    """The function's value; DamagedRowError if the row has something that cannot be decoded."""
    try:
        return function()
    except _DECODING as error:
        raise DamagedRowError(what, document) from error


def document(row: Row) -> DocumentRow:
    """A document of the columns of `seals.DOCUMENT`, and its seal."""
    values = row[:_D]
    if not seals.is_whole(values, row[_D]):
        raise DamagedRowError("the row", name_of(values))
    return decoded(lambda: _document(values), "the row", name_of(values))


def _document(row: Row) -> DocumentRow:
    _, id_, source, root, path, format_, title, author, date, sha256, *numbers = row
    size, mtime_ns, settings, metadata, pages, states, chunks = numbers
    forms.check((row[0], size, mtime_ns, pages, chunks), *(int,) * 5)
    return DocumentRow(
        id=unblob(id_),
        source=unblob(source),
        root=unblob(root),
        path=unblob(path),
        format=unblob(format_),
        title=unblob(title),
        author=unblob(author),
        date=unblob(date),
        sha256=unblob(sha256),
        size=size,
        mtime_ns=mtime_ns,
        settings=unblob(settings),
        metadata=_metadata(metadata),
        pages=pages,
        page_states=dict(_page_states(states)),
        chunks=chunks,
    )


def _metadata(stored: str) -> Mapping[str, Any]:
    return forms.scalars(stored) if stored != "{}" else {}


@lru_cache(maxsize=1024)  # most documents have one of a few
def _page_states(stored: str) -> tuple[tuple[PageState, int], ...]:
    return tuple((PageState(state), count) for state, count in forms.counts(stored).items())


def page(row: Row, name: str) -> Page:
    """A page of the columns of `seals.PAGE`, its text, and the seals of both."""
    facts, text, sealed, sealed_text = row[:_P], row[_P], row[_P + 1], row[_P + 2]
    if not seals.is_whole(facts, sealed) or not seals.is_whole((*facts[:2], text), sealed_text):
        raise DamagedRowError("a page", name)
    return decoded(lambda: _page(facts, text), "a page", name)


def lost_page(position: int) -> Page:
    """What stands for a page that is damaged: it has no text, and says why."""
    return Page(None, "", PageState.FAILED, PAGE_GONE, f"part {position + 1}")


def _page(facts: Row, text: bytes) -> Page:
    _, _, number, label, state, reason, scan, start, stop, printed = facts
    forms.check((number, start, stop), *(_OPTIONAL,) * 3)
    return Page(
        *(number, unblob(text), PageState(state), unblob(reason), unblob(label)),
        body=None if start is None else Span(start, stop),
        scan=Scan(**json.loads(scan)) if scan else None,
        printed=unblob(printed or b""),
    )


def page_status(row: Row, name: str) -> PageStatus:
    """The status of a page of the columns of `seals.PAGE`, its seal and its number of chunks."""
    facts, sealed, chunks = row[:_P], row[_P], row[_P + 1]
    if not seals.is_whole(facts, sealed):
        raise DamagedRowError("a page", name)
    return decoded(lambda: _page_status(facts, chunks), "a page", name)


def _page_status(facts: Row, chunks: int) -> PageStatus:
    forms.check(facts[2:3], _OPTIONAL)
    return PageStatus(
        facts[2], unblob(facts[3]), PageState(facts[4]), unblob(facts[5]), int(chunks)
    )


def lost_status(row: Row) -> PageStatus:
    """The status that stands for a damaged page."""
    gone = lost_page(row[1] if isinstance(row[1], int) else 0)
    return PageStatus(None, gone.label, gone.state, gone.reason, 0)


def chunk(row: Row, checks: Checks) -> Chunk:
    """A passage of the columns that `chunk_columns` names: a chunk, its page, its document."""
    own, at = row[:_C], _C
    text, sealed = row[at], row[at + 1]
    paper, page_sealed = row[at + 2 : at + 2 + _P], row[at + 2 + _P]
    owner, owner_sealed = row[-_D - 1 : -1], row[-1]
    name = name_of(owner)
    if owner[0] is None or paper[0] is None:  # a chunk of no document, or of no page
        raise DamagedRowError("a passage", name)
    checks.check(seals.DOCUMENT, owner, owner_sealed, name, "the row")
    checks.check(seals.PAGE, paper, page_sealed, name, "a page")
    if not seals.is_whole(own, sealed):
        raise DamagedRowError("a passage", name)
    return decoded(lambda: _chunk(own, text, paper, owner, name), "a passage", name)


def _chunk(own: Row, text: bytes, paper: Row, owner: Row, name: str) -> Chunk:
    _, id_, _, _, page_number, start, stop, _, language = own
    forms.check((page_number, start, stop, language), _OPTIONAL, int, int, str)
    found = Chunk(
        id=unblob(id_),
        document_id=unblob(owner[1]),
        path=unblob(owner[4]),
        format=unblob(owner[5]),
        title=unblob(owner[6]),
        page=page_number,
        start=start,
        end=stop,
        text=unblob(text),
        metadata=_metadata(owner[13]),
        label=unblob(paper[3]),
        state=PageState(paper[4]),
        language=language,
        printed=unblob(paper[9] or b""),
    )
    place = Span(start, stop)
    if chunk_id(found.document_id, page_number, place, found.text, found.label) != found.id:
        raise DamagedRowError("a passage", name)
    return found


__all__ = [
    "PAGE_GONE",
    "REMEDY",
    "Checks",
    "Damage",
    "DamagedRowError",
    "chunk",
    "decoded",
    "document",
    "lost_page",
    "lost_status",
    "name_of",
    "page",
    "page_status",
]
