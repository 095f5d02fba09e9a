"""`copy_index`: an index moves to another backend without the model.

Documents are written with their pages, passages, accounts and vectors, several at a time; then what
was fitted and remembered. A document that is there already and equal is left, so that a copy that
was killed goes on where it ended. At the end both sides are counted, and answer the same questions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from retriever.arrays import Vectors
from retriever.indexing.fitting import typical_sentence
from retriever.searching.hybrid import search
from retriever.storage.backends import CatalogReader, Documents, NewChunk, NewDocument, Snapshot
from retriever.storage.records import UnreadFile
from retriever.types import Chunk, DocumentRow, IndexStateError, LeftOut, Page, Span, UsageError

QUESTIONS = 20
"""Sentences of the index that both sides are asked at the end."""

TOP = 10
"""Results of a question that are compared."""

SAME = 0.95
"""The least share of equal results that counts as a good copy: see `CopyReport.agrees`."""

_CHARACTERS = 4_000_000  # of the documents that are written together
_PASSAGES = 2_000
_TOGETHER = 2  # parts of so many vectors that are in memory at once
_KEYS = 10_000

Told = Callable[[int, int], None]
"""Is told the documents that are done, and all of them."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What a copy did, and how the two sides compare.

    `copied` documents were written, `left` were there and equal, `others` are only there. `source`
    and `target` count documents, passages and vectors. `same` is the mean share of the first ten
    results that both sides have in common, over `questions`; None without a question.
    """

    copied: int
    left: int
    others: int
    source: Mapping[str, int]
    target: Mapping[str, int]
    questions: int
    same: float | None
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether the target has all that the source has."""
        return all(self.target[name] >= count for name, count in self.source.items())

    @property
    def agrees(self) -> bool:
        """Whether both sides answer alike; other documents there may come first by right."""
        return self.same is None or bool(self.others) or self.same >= SAME

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "complete": self.complete, "agrees": self.agrees}


def copy_index(
    source: Documents,
    target: Documents,
    *,
    questions: int = QUESTIONS,
    told: Told = lambda done, total: None,
) -> CopyReport:
    """Copy all of an index into another one, which is empty or has the same model.

    Raises IndexStateError where the target has vectors of another model, or other passages.
    """
    began = time.monotonic()
    try:
        with source.reading() as catalog:
            _bind(catalog, source, target)
            known = _known(target)
            rows = catalog.documents()
            copied = _Documents(catalog, target).copy(rows, known, told)
            others = len(known.keys() - {row.id for row in rows})
            _copy_rest(catalog, source, target, keep=bool(others))
            target.finish(catalog.last_run() or {"copied": copied})
    finally:
        target.release()
    with source.snapshot() as one, target.snapshot() as other:
        asked = _questions(one, questions)
        shares = [_same(one, other, *each) for each in asked]
        return CopyReport(
            copied,
            len(rows) - copied,
            others,
            _counts(one),
            _counts(other),
            len(shares),
            float(np.mean(shares)) if shares else None,
            round(time.monotonic() - began, 3),
        )


def _bind(catalog: CatalogReader, source: Documents, target: Documents) -> None:
    """Give the target the source's model, means, weight and adapter, before any passage."""
    embedder, chunking = catalog.embedder_settings(), catalog.chunk_settings()
    if embedder is None:
        if catalog.sample_chunks(1):
            raise UsageError(
                "the index has no model yet: let wva index make its vectors, then copy it"
            )
        target.prefer_model(source.preferred_model)
        return
    if chunking is None:
        raise IndexStateError("the index does not say how its passages were cut; index it again")
    with target.reading() as there:
        bound, some = there.embedder_settings(), bool(there.sample_chunks(1))
    if some and bound is not None and bound.fingerprint != embedder.fingerprint:
        raise IndexStateError(
            f"there are passages with vectors of {bound.model} ({bound.fingerprint}) already, and "
            f"those to be copied are of {embedder.model} ({embedder.fingerprint}): copy to a new "
            "folder or address"
        )
    target.bind_embedder(embedder, chunking)
    target.prefer_model(source.preferred_model)
    facts = catalog.calibration_facts()
    if facts is not None:
        means = catalog.means()
        target.calibrate(means.passage_mean, means.query_mean, facts)
        target.set_adapter(means.adapter)


def _known(target: Documents) -> dict[str, DocumentRow]:
    with target.reading() as catalog:
        return {row.id: row for row in catalog.documents()}


class _Documents:
    """Copies documents, several in one transaction."""

    def __init__(self, catalog: CatalogReader, target: Documents) -> None:
        self._catalog, self._target = catalog, target
        self._accounts = catalog.accounts()

    def copy(
        self, rows: Sequence[DocumentRow], known: Mapping[str, DocumentRow], told: Told
    ) -> int:
        """Copy those that are not there yet, or are another version; returns their number."""
        waiting: list[NewDocument] = []
        copied = characters = passages = 0
        there = self._there([row for row in rows if known.get(row.id) == row])
        places = {row.id: at for at, row in enumerate(rows, 1)}
        for row, chunks in self._read([row for row in rows if row.id not in there]):
            document = self._document(row, chunks)
            waiting.append(document)
            copied += 1
            characters += sum(len(page.text) for page in document.pages)
            passages += len(document.chunks)
            if characters >= _CHARACTERS or passages >= _PASSAGES:
                self._write(waiting)
                waiting, characters, passages = [], 0, 0
                told(places[row.id], len(rows))
        self._write(waiting)
        told(len(rows), len(rows))
        return copied

    def _read(self, rows: Sequence[DocumentRow]) -> Iterator[tuple[DocumentRow, list[Chunk]]]:
        """Documents with their passages, which are read for several documents at once."""
        for some in _groups(rows):
            chunks = self._catalog.chunks_of([row.id for row in some])
            yield from ((row, chunks[row.id]) for row in some)

    def _there(self, rows: Sequence[DocumentRow]) -> set[str]:
        """Those of equal documents of which the target has the passages, with the same vectors.

        Equal documents have as many passages, so that none of the target's is another one.
        """
        found: set[str] = set()
        for some in _groups(rows):
            own = {row.id: [chunk.id for chunk in chunks] for row, chunks in self._read(some)}
            other = self._others([id_ for ids in own.values() for id_ in ids])
            found.update(name for name, ids in own.items() if other.isdisjoint(ids))
        return found

    def _others(self, chunk_ids: Sequence[str]) -> set[str]:
        """Those of the source's passages that the target lacks, or has with another vector."""
        found: set[str] = set()
        with self._target.reading() as there:
            for some in _parts(chunk_ids):
                known, keys = there.keys_of(some), there.vector_keys(some)
                own = self._catalog.vector_keys(some)
                same = {id_ for id_ in some if id_ in known and keys.get(id_) == own.get(id_)}
                found.update(set(some) - same)
        return found

    def _document(self, row: DocumentRow, chunks: Sequence[Chunk]) -> NewDocument:
        pages = self._catalog.pages(row.id)
        vectors: dict[str, str] = {}
        for some in _parts([chunk.id for chunk in chunks]):
            vectors |= self._catalog.vector_keys(some)
        place = _Places(row, pages)
        pieces = [
            NewChunk(place.of(chunk), Span(chunk.start, chunk.end), vectors.get(chunk.id, ""))
            for chunk in chunks
        ]
        left_out = self._catalog.left_out(row.id)
        parts = left_out.parts
        if left_out.cut:  # what is stored fills the room; one more part says that there was more
            parts = (*parts, LeftOut(parts[-1].kind if parts else "text", " "))
        return NewDocument(row, pages, pieces, self._accounts.get(row.id), parts)

    def _write(self, documents: Sequence[NewDocument]) -> None:
        """Write documents, their vectors before them."""
        if not documents:
            return
        keys = [chunk.vector for document in documents for chunk in document.chunks]
        parts = list(_parts(list(dict.fromkeys(filter(None, keys)))))
        vectors: dict[str, Vectors] = {}
        for some in parts:
            array = self._catalog.load_vectors(some)
            if len(parts) <= _TOGETHER:
                vectors.update(zip(some, array, strict=True))
            else:
                self._target.save_vectors(some, array)
        self._target.upsert_many(documents, vectors=vectors)


class _Places:
    """The positions of a document's pages, by what a passage says of its page."""

    def __init__(self, row: DocumentRow, pages: Sequence[Page]) -> None:
        self._row, self._pages = row, pages
        self._at: dict[tuple[int | None, str], list[int]] = {}
        for at, page in enumerate(pages):
            self._at.setdefault((page.number, page.label), []).append(at)

    def of(self, chunk: Chunk) -> int:
        """The position of the page that has the passage."""
        for at in self._at.get((chunk.page, chunk.label), ()):
            if self._pages[at].text[chunk.start : chunk.end] == chunk.text:
                return at
        raise IndexStateError(
            f"a passage of {self._row.path} is not on its page: the index is damaged; wva verify "
            "--repair mends it"
        )


def _copy_rest(catalog: CatalogReader, source: Documents, target: Documents, *, keep: bool) -> None:
    """Copy what the index remembers beside its documents; `keep`: the target has files of its own.

    The keys of indexing programs come after the documents, with which they go.
    """
    unread = catalog.unread()
    if keep:
        with target.reading() as there:
            unread = _joined(unread, there.unread())
    target.set_unread(unread)
    target.set_match_scale(catalog.match_scale())
    target.set_ocr_languages(source.ocr_languages)
    target.set_mounts(source.mounts)
    if source.password_salt:
        target.set_password_salt(source.password_salt)
    keys = source.indexed_keys()
    for start in range(0, len(keys), _KEYS):
        target.put_keys(keys[start : start + _KEYS])


def _joined(files: Sequence[UnreadFile], others: Sequence[UnreadFile]) -> list[UnreadFile]:
    found = {(file.root, file.path): file for file in (*others, *files)}
    return list(found.values())


def _groups(rows: Sequence[DocumentRow]) -> Iterator[list[DocumentRow]]:
    """Documents in order, in groups of about `_PASSAGES` passages."""
    some: list[DocumentRow] = []
    passages = 0
    for row in rows:
        some.append(row)
        passages += row.chunks
        if passages >= _PASSAGES or len(some) >= _PASSAGES:
            yield some
            some, passages = [], 0
    if some:
        yield some


def _parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _PASSAGES):
        yield values[start : start + _PASSAGES]


# The comparison


def _counts(now: Snapshot) -> dict[str, int]:
    return {
        "documents": len(now.catalog.documents()),
        "passages": now.passages.count(),
        "vectors": now.passages.count_vectors(),
    }


def _questions(now: Snapshot, count: int) -> list[tuple[str, Vectors | None]]:
    """Sentences or titles of passages, with a raw vector: that of the passage, None without one."""
    found: list[tuple[str, Vectors | None]] = []
    chunks = now.catalog.sample_chunks(count)
    keys = now.catalog.vector_keys([chunk.id for chunk in chunks])
    for chunk in chunks:
        text = typical_sentence(chunk) or chunk.title
        if text:
            key = keys.get(chunk.id)
            found.append((text, now.catalog.load_vectors([key])[0] if key else None))
    return found


def _same(one: Snapshot, other: Snapshot, text: str, vector: Vectors | None) -> float:
    """The share of the first results of one side that are among those of the other."""
    here, there = (_first(now, text, vector) for now in (one, other))
    return len(here & there) / len(here) if here else 1.0


def _first(now: Snapshot, text: str, vector: Vectors | None) -> set[str]:
    if vector is None:
        hits = search(now, text, _no_vector, k=TOP, mode="keyword")
    else:
        hits = search(now, text, lambda _: vector, k=TOP)
    return {hit.chunk.id for hit in hits}


def _no_vector(text: str) -> Vectors:
    raise AssertionError(text)


__all__ = ["QUESTIONS", "SAME", "TOP", "CopyReport", "copy_index"]
