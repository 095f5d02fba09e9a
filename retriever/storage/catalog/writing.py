"""`Writer`: the changes of one write transaction, which become visible together or not at all."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, cast

from retriever.arrays import Vectors
from retriever.storage.adapter import Adapter
from retriever.storage.binding import checked_vectors, wrong_dimension
from retriever.storage.calibration import Calibration
from retriever.storage.catalog import fulltext
from retriever.storage.catalog.analysis import analyse_chunks, check_chunks, distinct, text_of
from retriever.storage.catalog.reading import Reader, VectorFile
from retriever.storage.catalog.schema import (
    ADAPTER,
    add_accounts,
    add_attached,
    add_columns,
    blob,
    metadata_rows,
    unblob,
    vector_blob,
)
from retriever.storage.records import NewChunk, PassageTerms, UnreadFile
from retriever.types import Account, DocumentRow, LeftOut, Page, Span, UsageError, chunk_id

MAX_LEFT_OUT = 200_000
"""Characters of a document's left-out text that are stored."""

QUERY_PREFIX = "q:"
"""Prefix of the keys of vectors that are kept without a chunk: sentences embedded as queries."""

UNUSED = f"""NOT (key >= x'{QUERY_PREFIX.encode().hex()}' AND key < x'{b"q;".hex()}')
    AND NOT EXISTS (SELECT 1 FROM chunks c WHERE c.vector = vectors.number)"""  # ";" follows ":"
"""The condition of vectors without a chunk, except those of queries."""


def _compressed(parts: Sequence[Sequence[str]], *, cut: bool) -> bytes:
    return zlib.compress(json.dumps({"parts": parts, "cut": cut}).encode())


def _values(account: Account) -> dict[str, Any]:
    """As `asdict`, which takes long where there are many documents."""
    return {one.name: getattr(account, one.name) for one in fields(account)}


_NOTHING_LEFT_OUT = _compressed([], cut=False)


class Writer(Reader):
    """Changes within one transaction, in addition to the queries of `Reader`."""

    _complete = False  # whether the tables have all that this version writes

    def set_meta(self, name: str, value: Any) -> None:
        """Store a JSON value by name; None removes it."""
        if value is None:
            self._connection.execute("DELETE FROM meta WHERE name = ?", (name,))
        else:
            row = (name, json.dumps(value))
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", row)

    def bump_generation(self) -> None:
        """Increment the generation."""
        self.set_meta("generation", self.generation() + 1)

    def save_vectors(self, keys: Sequence[str], vectors: Vectors) -> None:
        """Store raw vectors (n, dim) by key; an existing key keeps its vector."""
        array = checked_vectors(keys, vectors)
        if not len(array):
            return
        self._check_dimension(array.shape[1])
        self._connection.executemany(
            "INSERT INTO vectors (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING",
            ((blob(key), vector_blob(row)) for key, row in zip(keys, array, strict=True)),
        )

    def _check_dimension(self, dimension: int) -> None:
        known = self.dimension()
        if known is None:
            self.set_meta("dimension", dimension)
        elif known != dimension:
            raise wrong_dimension(known, self.embedder_settings(), dimension)

    def attach(self, chunks: Mapping[int, str]) -> int:
        """Give chunks (by key) without a vector the stored vector with this vector key.

        Returns how many got one; chunks that are gone, or have one, stay as they are.
        """
        add_attached(self._connection)
        wanted = {blob(key) for key in chunks.values()}
        rows = self._among("SELECT key, number FROM vectors WHERE key", wanted)
        numbers = {unblob(key): int(number) for key, number in rows}
        count = 0
        for chunk, key in chunks.items():
            if key not in numbers:
                raise UsageError(f"the vector {key!r} was not saved; save it before it is attached")
            changed = self._connection.execute(
                "UPDATE chunks SET vector = ? WHERE key = ? AND vector = 0", (numbers[key], chunk)
            ).rowcount
            if changed:
                self._connection.execute("INSERT INTO attached (chunk) VALUES (?)", (chunk,))
                count += 1
        return count

    def drop_unused_vectors(self) -> int:
        """Remove vectors without a chunk, except those of queries; returns their number.

        While a chunk has no vector, none is removed: it may be the one that the chunk needs.
        """
        if self.count_pending():
            return 0
        return self._connection.execute(f"DELETE FROM vectors WHERE {UNUSED}").rowcount

    def forget_vectors(self) -> None:
        """Remove all vectors and means, and the adapter, for a change of the model."""
        add_attached(self._connection)
        self.set_meta(ADAPTER, None)
        for table in ("vectors", "calibration", "snapshots", "attached"):
            self._connection.execute(f"DELETE FROM {table}")

    # Documents

    def upsert(
        self,
        row: DocumentRow,
        pages: Sequence[Page],
        new_chunks: Sequence[NewChunk],
        account: Account | None = None,
        left_out: Sequence[LeftOut] = (),
        terms: Sequence[PassageTerms] | None = None,
    ) -> None:
        """Write a document with its pages and chunks, replacing the one with the same id.

        `terms` are those of `analyse_chunks`, if another process has found them.
        """
        self._add_tables()
        vectors = self._vector_numbers(row, pages, new_chunks)
        found = analyse_chunks(row.title, pages, new_chunks) if terms is None else terms
        self.delete([row.id])
        metadata = metadata_rows(row.metadata)
        unique = distinct(row.id, pages, new_chunks)
        document = self._insert_document(row, pages, len(unique))
        self._connection.executemany(
            "INSERT INTO metadata VALUES (?, ?, ?, ?)", ((document, *entry) for entry in metadata)
        )
        self._insert_account(document, account, left_out)
        self._connection.executemany(
            """INSERT INTO pages
            (document, position, number, text, state, reason, label, scan, body_start, body_stop,
            printed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (_page_values(document, at, page) for at, page in enumerate(pages)),
        )
        for (id_, chunk), analysed in zip(unique.items(), found, strict=True):
            own = (blob(id_), document, chunk.page, pages[chunk.page].number)
            place = (chunk.span.start, chunk.span.end)
            values = (*own, *place, blob(text_of(pages, chunk)), vectors[chunk.vector])
            self._insert_chunk((*values, analysed.language), analysed)

    def _add_tables(self) -> None:
        """Add what an index of an earlier version lacks, once in a transaction."""
        if not self._complete:
            add_columns(self._connection)
            add_accounts(self._connection)
            self._complete = True

    def _insert_account(
        self, document: int, account: Account | None, left_out: Sequence[LeftOut]
    ) -> None:
        """Store where the words are, and the beginning of the left-out text."""
        if account is None and not left_out:
            return
        parts, room = [], MAX_LEFT_OUT
        for part in left_out:
            if room > 0:
                parts.append([part.kind, part.text[:room]])
            room -= len(part.text)
        values = json.dumps(None if account is None else _values(account))
        texts = _compressed(parts, cut=room < 0) if parts else _NOTHING_LEFT_OUT
        self._connection.execute(
            "INSERT OR REPLACE INTO accounts VALUES (?, ?, ?)", (document, values, texts)
        )

    def _vector_numbers(
        self, row: DocumentRow, pages: Sequence[Page], new_chunks: Sequence[NewChunk]
    ) -> dict[str, int]:
        """Vector key → row number of the new chunks' vectors; UsageError for an invalid chunk."""
        wanted = {blob(chunk.vector) for chunk in new_chunks if chunk.vector}
        rows = self._among("SELECT key, number FROM vectors WHERE key", wanted)
        numbers = {"": 0} | {unblob(key): int(number) for key, number in rows}
        check_chunks(row, pages, new_chunks, numbers)
        return numbers

    def _insert_document(self, row: DocumentRow, pages: Sequence[Page], chunks: int) -> int:
        states = Counter(page.state.value for page in pages)
        texts = (
            row.id,
            row.source,
            row.root,
            row.path,
            row.format,
            row.title,
            row.author,
            row.date,
            row.sha256,
        )
        cursor = self._connection.execute(
            f"INSERT INTO documents VALUES (NULL{', ?' * 16})",
            (
                *map(blob, texts),
                row.size,
                row.mtime_ns,
                blob(row.settings),
                json.dumps(dict(row.metadata)),
                len(pages),
                json.dumps(states),
                chunks,
            ),
        )
        return int(cursor.lastrowid or 0)

    def _insert_chunk(self, values: tuple[Any, ...], terms: PassageTerms) -> None:
        key = self._connection.execute(
            """INSERT INTO chunks
            (id, document, position, page, start, stop, text, vector, language)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            values,
        ).lastrowid
        fulltext.insert(self._connection, cast(int, key), terms)

    def touch(self, row: DocumentRow) -> bool:
        """Update the file facts of an unchanged document; returns whether it exists."""
        return bool(
            self._connection.execute(
                "UPDATE documents SET root = ?, sha256 = ?, size = ?, mtime_ns = ? WHERE id = ?",
                (blob(row.root), blob(row.sha256), row.size, row.mtime_ns, blob(row.id)),
            ).rowcount
        )

    def rename(self, document_id: str, row: DocumentRow) -> None:
        """Move a document to `row`'s id and path, replacing a document there."""
        old = self._one("SELECT key FROM documents WHERE id = ?", (blob(document_id),))
        if old is None:
            raise UsageError(f"no document {document_id!r} is in the index to become {row.path}")
        if row.id != document_id:
            self.delete([row.id])
        self._connection.execute(
            """UPDATE documents SET id = ?, source = ?, root = ?, path = ?, sha256 = ?, size = ?,
            mtime_ns = ? WHERE key = ?""",
            (
                *map(blob, (row.id, row.source, row.root, row.path, row.sha256)),
                row.size,
                row.mtime_ns,
                old[0],
            ),
        )
        chunks = self._rows(
            """SELECT c.page, start, stop, c.text, p.label, key FROM chunks c
            JOIN pages p ON p.document = c.document AND p.position = c.position
            WHERE c.document = ?""",
            old,
        ).fetchall()
        renamed = [
            (blob(chunk_id(row.id, page, Span(start, stop), unblob(text), unblob(label))), key)
            for page, start, stop, text, label, key in chunks
        ]
        self._connection.executemany("UPDATE chunks SET id = ? WHERE key = ?", renamed)

    def delete_by_key(self, key: int) -> None:
        """Remove a document by its key, whatever its row says."""
        chunks = "SELECT key FROM chunks WHERE document = ?"
        for statement in (
            f"INSERT INTO removed (chunk) {chunks}",
            f"DELETE FROM fulltext WHERE rowid IN ({chunks})",
            "DELETE FROM chunks WHERE document = ?",
            "DELETE FROM pages WHERE document = ?",
            "DELETE FROM metadata WHERE document = ?",
            "DELETE FROM documents WHERE key = ?",
        ):
            self._connection.execute(statement, (key,))

    def delete(self, document_ids: Sequence[str]) -> int:
        """Remove documents with their pages and chunks; returns how many existed."""
        ids = [blob(id_) for id_ in document_ids]
        keys = [key for (key,) in self._among("SELECT key FROM documents WHERE id", ids)]
        for key in keys:
            self.delete_by_key(key)
        return len(keys)

    def set_unread(self, files: Sequence[UnreadFile]) -> None:
        """Replace the list of files that gave no document."""
        self._connection.execute("DELETE FROM unread")
        self._connection.executemany(
            "INSERT INTO unread VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    *(blob(file.root), blob(file.path), file.status.value, blob(file.reason)),
                    *(file.size, file.mtime_ns, blob(file.settings)),
                )
                for file in files
            ),
        )

    # Calibration and vector file

    def set_calibration(self, means: Calibration, facts: Mapping[str, Any]) -> None:
        """Replace the means; equal means keep the number of the calibration."""
        values = (vector_blob(means.passage_mean), vector_blob(means.query_mean))
        known = self._one("SELECT passage_mean, query_mean FROM calibration")
        if known == values:
            self._connection.execute("UPDATE calibration SET facts = ?", (json.dumps(dict(facts)),))
            return
        self._connection.execute("DELETE FROM calibration")
        self._connection.execute(
            "INSERT INTO calibration (passage_mean, query_mean, facts) VALUES (?, ?, ?)",
            (*values, json.dumps(dict(facts))),
        )

    def set_adapter(self, adapter: Adapter | None) -> None:
        """Replace the adapter; the calibration gets a new number, as vectors are others now."""
        self.set_meta(ADAPTER, None if adapter is None else adapter.to_json())
        known = self._one("SELECT passage_mean, query_mean, facts FROM calibration")
        self._connection.execute("DELETE FROM calibration")
        self._connection.execute(
            "INSERT INTO calibration (passage_mean, query_mean, facts) VALUES (?, ?, ?)", known
        )

    def set_vector_file(self, row: VectorFile | None) -> None:
        """Set the current vector file, which covers all vectors; None if there is none."""
        self._connection.execute("DELETE FROM snapshots")
        self._connection.execute("DELETE FROM removed")
        add_attached(self._connection)
        self._connection.execute("DELETE FROM attached")
        if row is not None:
            self._connection.execute(
                "INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    row.generation,
                    row.file,
                    row.bytes,
                    row.sha256,
                    row.kind,
                    row.vectors,
                    row.last_key,
                ),
            )


def _page_values(document: int, position: int, page: Page) -> tuple[Any, ...]:
    return (
        *(document, position, page.number, blob(page.text)),
        *(page.state.value, blob(page.reason), blob(page.label)),
        "" if page.scan is None else json.dumps(asdict(page.scan)),
        *((None, None) if page.body is None else (page.body.start, page.body.end)),
        blob(page.printed),
    )


__all__ = ["MAX_LEFT_OUT", "QUERY_PREFIX", "UNUSED", "Writer"]
