"""Moves of documents: to other ids and paths, with their texts, passages and vectors.

A passage's key depends on its document's id, so that all rows are written anew. The moves of a call
are a record until they are all done; it counts those that are, so that a kill in between is
completed by the next writer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from retriever.storage.backends.milvus import documents as docs
from retriever.storage.backends.milvus import rows as passages
from retriever.storage.backends.milvus.client import Row
from retriever.storage.backends.milvus.documents import StoredDocument
from retriever.storage.backends.milvus.records import Record
from retriever.storage.backends.milvus.schema import PASSAGE_FIELDS
from retriever.storage.backends.milvus.values import document_name, key_of, listed, loaded
from retriever.storage.backends.milvus.writing import MilvusWriter
from retriever.types import DocumentRow, Span, UsageError, chunk_id

MOVES = "moves"
"""The id of the record with moves that are not all done; its number is how many are."""

TOGETHER = 64
"""The most documents that are moved together."""

_ALL = tuple(name for name, _, _ in PASSAGE_FIELDS)
_ROWS = 500

Move = tuple[str, DocumentRow]


@dataclass(frozen=True, slots=True)
class Mover:
    """Moves documents by a writer."""

    writer: MilvusWriter

    def move(self, moves: Sequence[Move]) -> None:
        """Move documents in order. Raises UsageError if one is not there, and moves none then."""
        self._check(moves)
        values = [[old, docs.row_json(row)] for old, row in moves]
        self.writer.records.put([Record(MOVES, json.dumps(values))])
        self._go_on(moves, 0)

    def complete(self) -> bool:
        """Complete the moves of a writer that was killed; whether there were any."""
        known = self.writer.records.get([MOVES]).get(MOVES)
        if known is None:
            return False
        moves = [(old, DocumentRow(**row)) for old, row in json.loads(known.value)]
        self._go_on(moves, known.number)
        return True

    def _check(self, moves: Sequence[Move]) -> None:
        names = [document_name(old) for old, _ in moves]
        present = {one.row.id for one in self.writer.reader.stored_documents(names).values()}
        for old, row in moves:
            if old not in present:
                raise UsageError(f"no document {old!r} is in the index to become {row.path}")
            present = (present - {old}) | {row.id}

    def _go_on(self, moves: Sequence[Move], done: int) -> None:
        value = json.dumps([[old, docs.row_json(row)] for old, row in moves])
        for some in _apart(moves[done:]):
            self._move_some(some)
            done += len(some)
            if done < len(moves):
                self.writer.records.put([Record(MOVES, value, done)])
        self.writer.records.delete([MOVES])

    def _move_some(self, moves: Sequence[Move]) -> None:
        """Move documents of which none takes the place of another one that moves."""
        writer = self.writer
        known = writer.fresh_documents([id_ for old, row in moves for id_ in (old, row.id)])
        # A move that was done before the kill finds no document any more.
        pairs = [
            (known[document_name(old)], known[document_name(old)].renamed(row))
            for old, row in moves
            if document_name(old) in known
        ]
        if not pairs:
            return
        olds = {old.name: old for old, _ in pairs}
        replaced = {
            new.name: known[new.name]
            for _, new in pairs
            # After a kill the document that has the place may be the one that moved there.
            if new.name in known and known[new.name].edition != new.edition
        }
        self._copy_texts(pairs)
        before = writer.rows_of({**olds, **replaced})
        written = self._write_rows(olds, {old.name: new for old, new in pairs})
        writer.count(written, before)
        writer.commit([new.record() for _, new in pairs])
        news = {new.name for _, new in pairs}
        writer.records.delete(
            [docs.record_id(one.row.id) for one in olds.values() if one.name not in news]
        )
        gone = {**olds, **replaced}.values()
        writer.delete_rows([one.name for one in gone], [one.edition for one in gone])
        writer.loose.update(
            loaded(row["vector"]) for row in before if row["vector"] and row["document"] in replaced
        )

    def _copy_texts(self, pairs: Sequence[tuple[StoredDocument, StoredDocument]]) -> None:
        ids: dict[str, str] = {}
        for old, new in pairs:
            ids |= {docs.page_id(old, at): docs.page_id(new, at) for at in range(len(old.pages))}
            if old.left_out:
                ids[docs.left_out_id(old)] = docs.left_out_id(new)
        owners = {
            docs.part_prefix(new.name, new.edition): (new.name, docs.number_of(new.edition))
            for _, new in pairs
        }
        found = self.writer.records.get(ids)
        copied = []
        for id_, record in found.items():
            to = ids[id_]
            owner, number = owners[to[: to.rindex("/") + 1]]
            copied.append(replace(record, id=to, owner=owner, number=number))
        self.writer.records.put(copied)

    def _write_rows(
        self, olds: dict[str, StoredDocument], news: dict[str, StoredDocument]
    ) -> list[Row]:
        """Write the passages of documents under their new keys."""
        written: list[Row] = []
        if not self.writer.reader.has_passages():
            return written
        where = f"document in {listed(olds)}"
        for rows in self.writer.collections.scan(where, _ALL, _ROWS):
            own = [row for row in rows if row["edition"] == olds[row["document"]].edition]
            own = list(passages.lengthened(self.writer.records, own))
            moved = [_moved(row, news[row["document"]]) for row in own]
            self.writer.write_rows(moved)
            written += moved
        return written


def _moved(row: Row, document: StoredDocument) -> Row:
    page = document.pages[row["page_at"]]
    span = Span(row["start"], row["stop"])
    new = chunk_id(document.row.id, page.number, span, loaded(row["text"]), page.label)
    return {
        **row,
        "key": key_of(new),
        "document": document.name,
        "edition": document.edition,
        **passages.filter_fields(document),
    }


def _apart(moves: Sequence[Move]) -> Iterator[list[Move]]:
    """The moves in order, in parts in which no document is named twice."""
    some: list[Move] = []
    named: set[str] = set()
    for old, row in moves:
        if some and (len(some) == TOGETHER or named & {old, row.id}):
            yield some
            some, named = [], set()
        some.append((old, row))
        named |= {old, row.id}
    if some:
        yield some


__all__ = ["MOVES", "Mover"]
