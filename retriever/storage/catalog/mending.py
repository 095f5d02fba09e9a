"""Mending of rows by their seals: a single bit that has flipped is found and turned back.

A row that has changed by one bit, in a value, in its key, or in its seal, is restored exactly: the
hash says so. What else is damaged is restored by other means, or is gone.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from retriever.storage.catalog import forms, fulltext, seals
from retriever.storage.catalog.schema import ADAPTER, blob, unblob
from retriever.storage.catalog.seals import CHUNK, KINDS, META, TEXT, Kind, digest
from retriever.storage.catalog.writing import Writer
from retriever.types import Span, chunk_id

MAX_BYTES = 16_384
"""Bytes of the longest value of which every bit is tried: about a second."""

_DERIVED = ("background", "last_run", "progress")  # settings that are made again


@dataclass(slots=True)
class Mended:
    """What was mended: the number of rows, owners (keys) of documents that still are damaged."""

    rows: int = 0
    owners: set[int] = field(default_factory=set)
    lost_vectors: int = 0
    lost_means: bool = False
    lost_settings: list[str] = field(default_factory=list)


def mend_rows(writer: Writer) -> Mended:
    """Mend the rows that disagree with their seals, as far as it goes; call it in a transaction."""
    return _Mending(writer).run()


class _Mending:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._connection = writer.connection
        self._mended = Mended()

    def run(self) -> Mended:
        known = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master")}
        for kind in KINDS:
            if kind.table in known:
                self._pair(kind)
                for key, stored in list(self._damaged(kind)):
                    self._mend(kind, key, stored)
        for name in forms.strange_settings(self._connection):
            self._setting(name)
        self._texts()
        self._unbound()
        return self._mended

    def _damaged(self, kind: Kind) -> Iterator[tuple[Any, Any]]:
        """Keys and seals of the rows that disagree with these."""
        rows = self._connection.execute(
            f"""SELECT {kind.key.format(row="t")}, s.hash, {kind.select("t")}
            FROM {kind.table} t {kind.join("t", "s")} WHERE s.hash IS NOT NULL"""
        )
        for key, stored, *row in rows:
            if digest(row) != stored:
                yield key, stored

    def _pair(self, kind: Kind) -> None:
        """Bring rows and seals together of which one has another key than it had."""
        here = kind.key.format(row="t")
        lost = self._connection.execute(
            f"""SELECT key, hash FROM seals WHERE kind = ? AND key NOT IN
            (SELECT {here} FROM {kind.table} t)""",
            (kind.number,),
        ).fetchall()
        rows = self._connection.execute(
            f"""SELECT {here}, {kind.select("t")} FROM {kind.table} t {kind.join("t", "s")}
            WHERE s.kind IS NULL"""
        ).fetchall()
        for key, *row in rows:
            for other, stored in lost:
                if digest(row) == stored:  # the seal had the wrong key
                    break
                changed = _with_key(kind, row, other)
                if changed is not None and digest(changed) == stored:
                    self._set(kind, key, changed)
                    break
            else:
                if kind.table == "documents":
                    self._mended.owners.add(key)
            self._note(kind, key)
        for key, _ in lost:
            self._connection.execute(
                "DELETE FROM seals WHERE kind = ? AND key = ? AND hash IS NOT NULL",
                (kind.number, key),
            )
            self._own(kind, key, None)

    def _note(self, kind: Kind, key: Any) -> None:
        """Let a row be sealed at the end of the transaction."""
        self._connection.execute(
            "INSERT OR IGNORE INTO seals VALUES (?, ?, NULL)", (kind.number, key)
        )

    def _mend(self, kind: Kind, key: Any, stored: Any) -> None:
        row = seals.row_of(self._connection, kind, key)
        if row is None:
            return
        if isinstance(stored, int) and (digest(row) ^ stored) & (2**64 - 1) in _BITS:
            self._unseal(kind, key)  # the seal was hit itself
            self._mended.rows += 1
            return
        found = self._sliced(row, stored) if kind is TEXT else None
        found = found or turned_back(row, stored)
        if found is None:
            self._give_up(kind, key, row)
        else:
            self._mended.rows += 1
            self._set(kind, key, found)

    def _unseal(self, kind: Kind, key: Any) -> None:
        self._connection.execute(
            "UPDATE seals SET hash = NULL WHERE kind = ? AND key = ?", (kind.number, key)
        )

    def _set(self, kind: Kind, key: Any, row: Sequence[Any]) -> None:
        names = ", ".join(f"{name} = ?" for name in kind.columns)
        self._connection.execute(
            f"UPDATE {kind.table} SET {names} WHERE {kind.where}", (*row, *seals.places(kind, key))
        )

    def _sliced(self, row: Sequence[Any], stored: Any) -> Sequence[Any] | None:
        """A page's text with those of its passages in their places, if that is what it was."""
        document, position, text = row
        if not isinstance(text, bytes):
            return None
        passages = self._connection.execute(
            """SELECT c.id, d.id, c.page, c.start, c.stop, c.text, p.label FROM chunks c
            JOIN documents d ON d.key = c.document
            JOIN pages p ON p.document = c.document AND p.position = c.position
            WHERE c.document = ? AND c.position = ?""",
            (document, position),
        ).fetchall()
        try:
            for letters in _decoded(text):
                for id_, owner, page, start, stop, passage, label in passages:
                    own = unblob(passage)
                    span = Span(start, stop)
                    if chunk_id(unblob(owner), page, span, own, unblob(label)) == unblob(id_):
                        letters = letters[:start] + own + letters[stop:]
                found = (document, position, blob(letters))
                if digest(found) == stored:
                    return found
        except (AttributeError, TypeError, ValueError):
            return None
        return None

    def _give_up(self, kind: Kind, key: Any, row: Sequence[Any]) -> None:
        """Remove what can be made again; note the document of what cannot."""
        remove = f"DELETE FROM {kind.table} WHERE {kind.where}"
        if kind is META:
            self._setting(str(key))
        elif kind is seals.VECTOR:
            self._connection.execute(remove, seals.places(kind, key))
            self._mended.lost_vectors += 1
        elif kind is seals.CALIBRATION:
            self._connection.execute(remove, seals.places(kind, key))
            self._mended.lost_means = True
        elif kind in (seals.SNAPSHOT, seals.UNREAD, seals.INDEXED, seals.ACCOUNT, seals.LONG_WORD):
            self._connection.execute(remove, seals.places(kind, key))
        else:
            self._own(kind, key, row)

    def _own(self, kind: Kind, key: Any, row: Sequence[Any] | None) -> None:
        if kind is seals.DOCUMENT or kind is seals.ACCOUNT:
            self._mended.owners.add(key)
        elif kind.table == "pages":
            self._mended.owners.add(key >> seals.POSITION_BITS)
        elif kind is CHUNK and row is not None and isinstance(row[2], int):
            self._mended.owners.add(row[2])

    def _setting(self, name: str) -> None:
        if name in _DERIVED:
            self._writer.set_meta(name, None)
        elif name == "identity":
            self._writer.set_meta(name, uuid.uuid4().hex)
        elif name == "generation":
            (newest,) = self._connection.execute(
                "SELECT IFNULL(MAX(generation), 0) FROM snapshots"
            ).fetchone()
            self._writer.set_meta(name, int(newest) + 1_000_000)
        elif name == "dimension" and (dimension := self._dimension()):
            self._writer.set_meta(name, dimension)
        elif name == ADAPTER:
            # The vector file was made with it, and what was fitted was fitted to it.
            self._writer.set_meta(name, None)
            self._writer.set_vector_file(None)
            self._connection.execute("DELETE FROM calibration")
            self._mended.lost_means = True
            self._mended.lost_settings.append(name)
        elif name == fulltext.ANALYSER:
            fulltext.rebuild(self._connection)
        elif name not in self._mended.lost_settings:
            self._mended.lost_settings.append(name)

    def _dimension(self) -> int:
        """The dimension of most vectors; 0 without vectors."""
        row = self._connection.execute(
            """SELECT LENGTH(value) / 4 FROM vectors WHERE TYPEOF(value) = 'blob'
            GROUP BY 1 ORDER BY COUNT(*) DESC LIMIT 1"""
        ).fetchone()
        return 0 if row is None else int(row[0])

    def _texts(self) -> None:
        """Take the text of a passage that disagrees with its id from its page."""
        rows = self._connection.execute(
            """SELECT c.key, c.document, c.id, c.page, c.start, c.stop, c.text, d.id, p.label,
            p.text FROM chunks c LEFT JOIN documents d ON d.key = c.document
            LEFT JOIN pages p ON p.document = c.document AND p.position = c.position"""
        )
        wrong: list[tuple[int, int, bytes | None]] = []
        for key, document, id_, page, start, stop, text, owner, label, whole in rows:
            try:
                span, parts = Span(start, stop), (unblob(owner), unblob(label))
                slice_ = unblob(whole)[start:stop]
                if unblob(id_) != chunk_id(parts[0], page, span, slice_, parts[1]):
                    wrong.append((key, document, None))
                elif blob(slice_) != text:
                    wrong.append((key, document, blob(slice_)))
            except (AttributeError, TypeError, ValueError):
                wrong.append((key, document, None))
        for key, document, own in wrong:
            if own is None:
                self._mended.owners.add(document)
            else:
                self._mended.rows += 1
                self._connection.execute("UPDATE chunks SET text = ? WHERE key = ?", (own, key))

    def _unbound(self) -> None:
        """Let passages whose vector is gone wait for another one."""
        missing = """vector <> 0 AND NOT EXISTS
            (SELECT 1 FROM vectors v WHERE v.number = chunks.vector)"""
        if self._connection.execute(f"SELECT 1 FROM chunks WHERE {missing} LIMIT 1").fetchone():
            self._connection.execute(f"UPDATE chunks SET vector = 0 WHERE {missing}")
            self._writer.set_vector_file(None)


_BITS = frozenset(1 << bit for bit in range(64))


def turned_back(row: Sequence[Any], stored: object) -> Sequence[Any] | None:
    """The row with one bit turned that has this hash; None if no bit does it."""
    if not isinstance(stored, int):
        return None
    for at, value in enumerate(row):
        for other in _other_types(value):
            changed = (*row[:at], other, *row[at + 1 :])
            if digest(changed) == stored:
                return changed
        if isinstance(value, int):
            found = _turned_number(row, at, value, stored)
        elif isinstance(value, bytes | str):
            found = _turned_text(row, at, value, stored)
        else:
            found = None
        if found is not None:
            return found
    return None


def _other_types(value: object) -> Iterator[Any]:
    """The value as if its type had been another: that is one bit of a row's head."""
    if isinstance(value, bytes):
        yield value.decode("utf-8", "surrogateescape")
    elif isinstance(value, str):
        yield value.encode("utf-8", "surrogateescape")
    elif value in (0, 1):
        yield 1 - int(value)


def _turned_number(row: Sequence[Any], at: int, value: int, stored: int) -> Sequence[Any] | None:
    for bit in range(63):
        changed = (*row[:at], value ^ 1 << bit, *row[at + 1 :])
        if digest(changed) == stored:
            return changed
    return None


def _turned_text(
    row: Sequence[Any], at: int, value: bytes | str, stored: int
) -> Sequence[Any] | None:
    """Turn each bit of a text or vector; the bytes before it are hashed once."""
    data = bytearray(
        value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
    )
    if len(data) > MAX_BYTES:
        return None
    sign = b"b" if isinstance(value, bytes) else b"s"
    before = hashlib.sha256(seals.packed(row[:at]) + sign + b"%d:" % len(data))
    after = seals.packed(row[at + 1 :])
    wanted = stored.to_bytes(8, "big", signed=True)
    for place in range(len(data)):
        for bit in range(8):
            data[place] ^= 1 << bit
            tried = before.copy()
            tried.update(data)
            tried.update(after)
            if tried.digest()[:8] == wanted:
                other = bytes(data)
                return (
                    *row[:at],
                    other if isinstance(value, bytes) else other.decode("utf-8", "surrogateescape"),
                    *row[at + 1 :],
                )
            data[place] ^= 1 << bit
    return None


def _with_key(kind: Kind, row: Sequence[Any], key: Any) -> Sequence[Any] | None:
    """The row with another key."""
    try:
        places = seals.places(kind, key)
    except (TypeError, ValueError):
        return None
    return (*places, *row[len(places) :])


def _decoded(text: bytes) -> Iterator[str]:
    """A damaged text, decoded so that the places of its letters are probably right."""
    try:
        yield unblob(text)
    except UnicodeDecodeError:
        yield text.decode("utf-8", "replace")


__all__ = ["MAX_BYTES", "Mended", "mend_rows", "turned_back"]
