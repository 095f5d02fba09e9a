"""The check of a whole catalog: of every row, and of everything that is derived from rows.

It reads one consistent state, a block of rows or one document at a time. What can be derived is
derived again and compared: seals, the ids and slices of passages, counts, metadata, the terms and
lengths of passages, and the inverted index against the terms.
"""

from __future__ import annotations

import re
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.arrays import Keys
from retriever.storage.catalog import checked, forms, fulltext, schema, seals
from retriever.storage.catalog.margins import margin_texts
from retriever.storage.catalog.reading import BLOCK, Reader
from retriever.storage.catalog.schema import unblob
from retriever.types import IndexStateError, Page, Span, chunk_id

DATABASE = "database"
"""The part of a finding about the file itself, whose rows cannot all be read."""
ROWS = "rows"
"""The part of a finding about rows that cannot be decoded."""
DERIVED = "derived"
"""The part of a finding about terms, lengths and the inverted index."""
SCHEMA = "schema"

MOST = 1_000
"""Findings that are kept; the others are counted."""

_UNDECODED = (*forms.UNDECODED, zlib.error)
_MESSAGES = 20  # of SQLite's own check
_TOKEN = re.compile(r"[0-9A-Za-z\x80-\U0010ffff]+")
_LOWER = str.maketrans({chr(code): chr(code + 32) for code in range(ord("A"), ord("Z") + 1)})
_ODD = np.uint64(0x9E3779B97F4A7C15)

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Finding:
    """Damage: `what` of which `document` (empty if of the index itself), and how to mend it.

    `remedy` is empty if `what` says it. `part` is the table, or one of `DATABASE`, `ROWS`,
    `DERIVED`, `SCHEMA` and "vector file"; `key` is the key of the row's seal, and `owner` its
    document's key.
    """

    what: str
    document: str = ""
    remedy: str = checked.REMEDY
    part: str = DATABASE
    key: Any = None
    owner: int | None = None

    @property
    def sentence(self) -> str:
        """The finding for the user."""
        where = f"{self.document}: " if self.document else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{where}{self.what}{remedy}"


SECONDS = 10.0
"""Time for `is_damaged`, which is asked after an error that has no other reason."""


def is_damaged(connection: sqlite3.Connection) -> bool:
    """Whether a short look at an index finds damage: SQLite's own check, counts, settings."""
    deadline = time.monotonic() + SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
    try:
        counts = {
            connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
            for table in ("chunks", "lengths", "fulltext_content", "fulltext_docsize")
        }
        check = CatalogCheck(Reader(connection))
        if seals.has_seals(connection):
            for kind in (seals.META, seals.CALIBRATION, seals.SNAPSHOT):
                check._seals(kind)
        found = connection.execute("PRAGMA quick_check (1)").fetchone()[0]
        if len(counts) == 1 and not check.findings.count and found == "ok":
            check.run()
        return len(counts) > 1 or check.findings.count > 0 or found != "ok"
    except sqlite3.Error as error:
        return "interrupted" not in str(error)
    finally:
        connection.set_progress_handler(None, 0)


@dataclass(slots=True)
class Findings:
    """The first findings, and the number of all."""

    found: list[Finding] = field(default_factory=list)
    count: int = 0

    def add(self, finding: Finding) -> None:
        """Keep or count a finding."""
        self.count += 1
        if len(self.found) < MOST and finding not in self.found[-50:]:
            self.found.append(finding)


Told = Callable[[str, int, int], None]


class CatalogCheck:
    """One check. `told` is called with what is being checked, and how much of it is done."""

    def __init__(self, reader: Reader, told: Told = lambda what, done, total: None) -> None:
        self._reader = reader
        self._connection = reader.connection
        self._told = told
        self.findings = Findings()
        self.not_sealed = 0

    def run(self, *, derived: bool = True) -> None:
        """Check everything, or rows alone."""
        self._guarded("the database", self._database)
        if seals.has_seals(self._connection):
            self._guarded("the schema", self._schema)
            for kind in seals.KINDS:
                if self._exists(kind.table):
                    self._guarded(f"the table {kind.table}", self._seals, kind)
        else:
            self._guarded("the rows", self._count_unsealed)
        self._guarded("the settings", self._settings)
        self._guarded("the vectors", self._vectors)
        self._guarded("the documents", self._documents, derived)
        if derived:
            self._guarded("the full-text index", self._inverted)

    def _guarded(self, what: str, check: Callable[..., None], *arguments: Any) -> None:
        try:
            check(*arguments)
        except sqlite3.Error as error:
            self._add(f"{what} cannot be read ({error})")
        except (*_UNDECODED, ArithmeticError, IndexStateError) as error:
            self._add(f"{what} cannot be checked ({error})", ROWS)

    def _add(self, what: str, part: str = DATABASE, key: Any = None, owner: Any = None) -> None:
        name = "" if owner is None else self._name(owner)
        self.findings.add(Finding(what, name, part=part, key=key, owner=owner))

    def _name(self, owner: Any) -> str:
        if not isinstance(owner, int):
            return ""
        try:
            row = self._one(
                f"SELECT {seals.DOCUMENT.select('d')} FROM documents d WHERE d.key = ?", (owner,)
            )
        except sqlite3.Error:
            row = None
        return f"document {owner}" if row is None else checked.name_of(row)

    def _exists(self, table: str) -> bool:
        return bool(self._connection.execute(f"PRAGMA table_info ({table})").fetchone())

    def _one(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        return self._connection.execute(sql, parameters).fetchone()

    # The file

    def _database(self) -> None:
        self._told("the database", 0, 1)
        for (message,) in self._connection.execute(f"PRAGMA integrity_check ({_MESSAGES})"):
            if message != "ok":
                self._add(f"SQLite says: {str(message).strip()}")
        for row in self._connection.execute("PRAGMA foreign_key_check").fetchall():
            self._add(f"a row of {row[0]} refers to none of {row[2]}")

    def _schema(self) -> None:
        _, stored, current = seals.schema_seal(self._connection)
        if stored is not None and stored != current:
            self._add("the schema of the database has changed by itself", SCHEMA)
        (version,) = self._one("PRAGMA user_version")
        wanted = schema.format_number(self._connection)
        if version != wanted:
            self._add(f"the number of the format is {version} and should be {wanted}", SCHEMA)

    # Seals

    def _count_unsealed(self) -> None:
        for kind in seals.KINDS:
            if self._exists(kind.table):
                self.not_sealed += self._one(f"SELECT COUNT(*) FROM {kind.table}")[0]

    def _seals(self, kind: seals.Kind) -> None:
        (total,) = self._one(f"SELECT COUNT(*) FROM {kind.table}")
        select = f"""SELECT {kind.key.format(row="t")}, s.kind, s.hash, {kind.select("t")}
            FROM {kind.table} t {kind.join("t", "s")}"""
        for done, (key, known, stored, *row) in enumerate(self._connection.execute(select)):
            if done % BLOCK == 0:
                self._told(f"the table {kind.table}", done, total)
            if stored is None and known is not None:
                self.not_sealed += 1
            elif stored is None:
                what = "a row has lost its seal, or is none that was written"
                self._add(what, *_at(kind, key, row))
            elif seals.digest(row) != stored:
                self._add(f"{_ROWS[kind.number]} is damaged", *_at(kind, key, row))
        self._lost(kind, total)

    def _lost(self, kind: seals.Kind, total: int) -> None:
        """The rows that are gone: their seals are left."""
        (sealed,) = self._one("SELECT COUNT(*) FROM seals WHERE kind = ?", (kind.number,))
        if sealed == total:
            return
        keys = f"SELECT {kind.key.format(row='t')} FROM {kind.table} t"
        rows = self._connection.execute(
            f"SELECT key FROM seals WHERE kind = ? AND key NOT IN ({keys}) LIMIT {MOST}",
            (kind.number,),
        )
        for (key,) in rows.fetchall():
            self._add(f"{_ROWS[kind.number]} is gone", *_at(kind, key))

    def _settings(self) -> None:
        for name in forms.strange_settings(self._connection):
            self._add(f"{_ROWS[seals.META.number]} has another form", *_at(seals.META, name))

    # Vectors

    def _vectors(self) -> None:
        connection, size = self._connection, 4 * (self._reader.dimension() or 0)
        foreign = seals.is_foreign(connection)
        rows = connection.execute("SELECT number, value FROM vectors")
        for number, value in rows:
            if type(value) is not bytes or len(value) != size:
                self._add("a vector has another dimension", "vectors", number)
            elif not seals.is_unit(value, foreign):
                self._add("a vector has not the length 1", "vectors", number)
        missing = connection.execute(
            """SELECT key, document FROM chunks WHERE vector <> 0
            AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.number = chunks.vector)"""
        )
        for key, document in missing.fetchall():
            self._add("the vector of a passage is gone", "chunks", key, document)

    # Documents

    def _documents(self, derived: bool) -> None:
        (total,) = self._one("SELECT COUNT(*) FROM documents")
        keys = [key for (key,) in self._connection.execute("SELECT key FROM documents")]
        for done, key in enumerate(keys):
            if done % 100 == 0:
                self._told("the documents", done, total)
            self._guarded(f"document {key}", self._document, key, derived)
        for table in ("pages", "chunks", "metadata"):
            rows = self._connection.execute(
                f"""SELECT DISTINCT document FROM {table}
                WHERE document NOT IN (SELECT key FROM documents) LIMIT {MOST}"""
            )
            for (key,) in rows.fetchall():
                self._add(f"rows of {table} belong to no document", table, None, key)

    def _document(self, key: int, derived: bool) -> None:
        row = self._one(
            f"SELECT {seals.DOCUMENT.select('d')} FROM documents d WHERE key = ?", (key,)
        )
        try:
            owner = checked.document((*row, None))
            pages = self._pages(key)
            chunks = self._connection.execute(
                """SELECT key, id, position, page, start, stop, text, language FROM chunks
                WHERE document = ? ORDER BY key""",
                (key,),
            ).fetchall()
            self._facts(key, owner, pages, len(chunks))
            whole = [self._passage(key, owner.id, pages, chunk) for chunk in chunks]
            if all(whole) and derived:
                self._terms(key, owner.title, pages, chunks)
        except (checked.DamagedRowError, *_UNDECODED) as error:
            self._add(f"a row cannot be decoded ({error})", "documents", key, key)

    def _pages(self, key: int) -> dict[int, Page]:
        rows = self._connection.execute(
            f"{self._reader._select_page()} WHERE p.document = ? ORDER BY p.position", (key,)
        )
        found = {}
        for *row, _, _ in rows:
            found[row[1]] = checked.page((*row, None, None), "")
        return found

    def _facts(self, key: int, owner: Any, pages: dict[int, Page], chunks: int) -> None:
        states = Counter(page.state for page in pages.values())
        if (len(pages), dict(states), chunks) != (owner.pages, owner.page_states, owner.chunks):
            self._add(
                "its pages or passages are not as many as were written", "documents", key, key
            )
        stored = self._connection.execute(
            "SELECT name, kind, value FROM metadata WHERE document = ? ORDER BY name", (key,)
        ).fetchall()
        wanted = sorted(schema.metadata_rows(owner.metadata))
        if _typed(stored) != _typed(wanted):
            self._add("its metadata for filters are damaged", "metadata", key, key)

    def _passage(self, key: int, owner: str, pages: dict[int, Page], chunk: Sequence[Any]) -> bool:
        number, id_, position, page_number, start, stop, text, _ = chunk
        page, written = pages.get(position), unblob(text)
        if page is None or page.text[start:stop] != written or page.number != page_number:
            self._add("a passage is not what stands in its page", "chunks", number, key)
        elif chunk_id(owner, page_number, Span(start, stop), written, page.label) != unblob(id_):
            self._add("a passage disagrees with its id", "chunks", number, key)
        else:
            return True
        return False

    def _terms(
        self, key: int, title: str, pages: dict[int, Page], chunks: Sequence[Sequence[Any]]
    ) -> None:
        """Compare the terms of passages with those of an analysis now."""
        texts = [unblob(chunk[6]) for chunk in chunks]
        margins = margin_texts(pages, [(chunk[2], chunk[4]) for chunk in chunks])
        languages = fulltext.detect_languages(texts)
        stored = self._connection.execute(
            """SELECT c.key, f.terms, l.terms FROM chunks c LEFT JOIN fulltext f ON f.rowid = c.key
            LEFT JOIN lengths l ON l.chunk = c.key WHERE c.document = ? ORDER BY c.key""",
            (key,),
        ).fetchall()
        for row, chunk, text, language, beside in zip(
            stored, chunks, texts, languages, margins, strict=True
        ):
            found = fulltext.analyse(title, text, language, beside)
            if (chunk[7], row[1], row[2]) != (language, found.terms, found.length):
                self._add("the terms of a passage are damaged", DERIVED, chunk[0], key)
            for word in found.long_words:
                known = "SELECT 1 FROM long_words WHERE language = ? AND reversed = ?"
                if self._one(known, (language, word)) is None:
                    self._add("a long word is gone", DERIVED, chunk[0], key)

    # The inverted index

    def _inverted(self) -> None:
        """Compare what FTS5 finds with the terms that it stores, passage by passage."""
        keys = np.array(
            [key for (key,) in self._connection.execute("SELECT key FROM chunks ORDER BY key")],
            np.int64,
        )
        sums = np.zeros(len(keys), np.uint64)
        tokens = self._stored_terms(keys, sums)
        self._found_terms(keys, sums)
        for at in np.flatnonzero(sums)[:MOST]:
            row = self._one("SELECT document FROM chunks WHERE key = ?", (int(keys[at]),))
            self._add("the full-text index misses a word", DERIVED, int(keys[at]), row[0])
        (rows,) = self._one("SELECT COUNT(*) FROM fulltext_content")
        (lengths,) = self._one("SELECT COUNT(*) FROM lengths")
        if rows != len(keys) or lengths != len(keys):
            self._add("the full-text index has other passages", DERIVED)
        for id_, size in self._connection.execute("SELECT id, sz FROM fulltext_docsize"):
            if tokens.pop(id_, None) != _varint(size):
                self._add("the full-text index has a wrong length", DERIVED, id_)
        if tokens:
            self._add("the full-text index misses a length", DERIVED)

    def _stored_terms(self, keys: Keys, sums: Hashes) -> dict[int, int]:
        """Subtract the hash of every stored term; returns the number of terms of each chunk."""
        counts: dict[int, int] = {}
        names: dict[str, int] = {}
        for key, terms in self._connection.execute("SELECT rowid, terms FROM fulltext"):
            found = _TOKEN.findall(terms.translate(_LOWER))
            counts[key] = len(found)
            if len(names) > 1_000_000:
                names.clear()
            hashes = np.array([_hash(term, names) for term in found], np.uint64)
            place = int(np.searchsorted(keys, key))
            if place < len(keys) and keys[place] == key:
                total = _mixed(hashes, np.arange(len(found), dtype=np.uint64)).sum(keepdims=True)
                sums[place : place + 1] -= total
        return counts

    def _found_terms(self, keys: Keys, sums: Hashes) -> None:
        """Add the hash of every occurrence that a search would find."""
        terms = self._connection.execute("SELECT term, doc FROM vocabulary").fetchall()
        for done, (term, documents) in enumerate(terms):
            if done % 5_000 == 0:
                self._told("the full-text index", done, len(terms))
            joined = self._one(
                """SELECT group_concat(doc, ' '), group_concat(offset, ' ')
                FROM temp.occurrences WHERE term = ?""",
                (term,),
            )
            if joined[0] is None:
                self._add("a word cannot be found", DERIVED)
                continue
            chunks = np.fromstring(joined[0], np.int64, sep=" ")
            offsets = np.fromstring(joined[1], np.uint64, sep=" ")
            places = np.minimum(np.searchsorted(keys, chunks), max(0, len(keys) - 1))
            if not len(keys) or (keys[places] != chunks).any():
                self._add("the full-text index has a passage that is none", DERIVED)
                continue
            if len(np.unique(chunks)) != documents:
                self._add("a word has another number of passages", DERIVED)
            np.add.at(sums, places, _mixed(np.uint64(_hash(term, {})), offsets))


_ROWS = {
    1: "the row of the document",
    2: "what is known of a page",
    3: "the text of a page",
    4: "the row of a passage",
    5: "a vector",
    6: "the account of words",
    7: "a setting of the index",
    8: "the row with the means",
    9: "the row about the vector file",
    10: "the row of a file that was not read",
    11: "a noted key",
    12: "a long word",
}


def _at(kind: seals.Kind, key: Any, row: Sequence[Any] = ()) -> tuple[str, Any, int | None]:
    """The part, key and document of a finding about a sealed row."""
    owner = None
    if kind in (seals.DOCUMENT, seals.ACCOUNT):
        owner = key
    elif kind is seals.CHUNK and row:
        owner = row[2] if isinstance(row[2], int) else None
    elif kind.table == "pages" and isinstance(key, int):
        owner = key >> seals.POSITION_BITS
    return kind.table, (kind.number, key), owner


def _typed(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return [(bytes(name), kind, type(value), value) for name, kind, value in rows]


def _hash(term: str, known: dict[str, int]) -> int:
    found = known.get(term)
    if found is None:
        name = term.encode("utf-8", "surrogatepass")
        found = known[term] = int.from_bytes(blake2b(name, digest_size=8).digest(), "big")
    return found


def _mixed(hashes: Hashes | np.uint64, offsets: Hashes) -> Hashes:
    """A hash for each term at its place, whose sum does not depend on the order."""
    with np.errstate(over="ignore"):
        mixed = (hashes ^ (offsets * _ODD)) * _ODD
        mixed ^= mixed >> np.uint64(29)
        found: Hashes = mixed * _ODD
    return found


def _varint(stored: bytes) -> int:
    """The number that SQLite wrote in seven bits a byte."""
    value = 0
    for at, byte in enumerate(stored):
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value if at == len(stored) - 1 else -1
    return -1


__all__ = [
    "DATABASE",
    "DERIVED",
    "MOST",
    "ROWS",
    "SCHEMA",
    "CatalogCheck",
    "Finding",
    "Findings",
    "is_damaged",
]
