"""The check of an index folder: the catalog, its log, and the files that are made of it."""

from __future__ import annotations

import sqlite3
import struct
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from retriever.arrays import Keys
from retriever.storage.backends.search_state import calibrated, row_path
from retriever.storage.catalog import CATALOG_FILE, Catalog, Reader, VectorFile
from retriever.storage.catalog.checked import REMEDY
from retriever.storage.catalog.posting_file import PostingFile, read_documents, read_lengths
from retriever.storage.catalog.postings import posting_path
from retriever.storage.catalog.verifying import CatalogCheck, Finding, Findings, Told
from retriever.storage.vectors.faiss import read
from retriever.storage.vectors.rows import MomentsSoFar, RowFile
from retriever.storage.vectors.verified import hash_of
from retriever.types import IndexStateError

VECTOR_FILE = "vector file"
"""The part of a finding about a file that is made of the catalog."""

_WAL_HEADER = struct.Struct(">8I")
_FRAME_HEADER = struct.Struct(">6I")
_CLOSE = 1e-5
_REBUILT = f"it is not used, and written again by {REMEDY}"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a check of an index found.

    - `findings`: the damage; the first ones, if there are many. `damaged` is the number of all.
    - `documents`, `passages`, `vectors`: how many were checked.
    - `not_sealed`: rows without a hash, which an earlier version wrote. They were checked by what
      can be derived of them.
    """

    findings: tuple[Finding, ...] = ()
    damaged: int = 0
    documents: int = 0
    passages: int = 0
    vectors: int = 0
    not_sealed: int = 0
    seconds: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damaged

    @property
    def sentences(self) -> list[str]:
        """The findings, a sentence each."""
        return list(dict.fromkeys(finding.sentence for finding in self.findings))

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        found = [
            {"document": one.document, "what": one.what, "remedy": one.remedy}
            for one in self.findings
        ]
        facts = asdict(replace(self, findings=()))
        return {"whole": self.whole, **facts, "findings": found}


def verify(catalog: Catalog, told: Told = lambda what, done, total: None) -> VerifyReport:
    """Check everything in an index folder against seals, hashes, and what is derived again."""
    started = time.monotonic()
    findings = Findings()
    log = _damaged_log(catalog.folder)
    if log:
        findings.add(Finding(log, part="log", remedy="bring the index up to date with wva index"))
    with catalog.reading() as reader:
        check = CatalogCheck(reader, told)
        check.findings = findings
        check.run()
        _guarded(findings, "the vector files", lambda: _files(catalog.folder, reader, findings))
        counts = _counted(reader)
    return VerifyReport(
        *(tuple(findings.found), findings.count, *counts),
        not_sealed=check.not_sealed,
        seconds=time.monotonic() - started,
    )


def _counted(reader: Reader) -> tuple[int, int, int]:
    return _count(reader, "documents"), _count(reader, "chunks"), _count(reader, "vectors")


def _count(reader: Reader, table: str) -> int:
    """The rows of a table; 0 if it cannot be read, which was found before."""
    try:
        return int(reader.connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])
    except sqlite3.Error:
        return 0


def _guarded(findings: Findings, what: str, check: Callable[[], object]) -> None:
    try:
        check()
    except (sqlite3.Error, IndexStateError, LookupError, TypeError, ValueError) as error:
        findings.add(Finding(f"{what} cannot be checked ({error})", part=VECTOR_FILE))


def _files(folder: Path, reader: Reader, findings: Findings) -> None:
    row = reader.vector_file()
    if row is None:
        return

    def damaged(path: Path) -> None:
        findings.add(Finding(f"{path.name} is damaged", part=VECTOR_FILE, remedy=_REBUILT))

    path = folder / row.file
    try:
        whole = path.stat().st_size == row.bytes and hash_of(path) == row.sha256
        base = read(path, row.sha256, row.kind) if whole else None
    except (OSError, IndexStateError):
        base = None
    if base is None:
        damaged(path)
        return
    if not _covers(reader, base.ids, row):
        findings.add(Finding(f"{path.name} has other passages", part=VECTOR_FILE, remedy=_REBUILT))
    beside = row_path(path)
    if beside.exists() and not _are_rows(beside, row, reader, base.ids):
        damaged(beside)
    words = posting_path(path)
    if words.exists() and not _are_postings(words, row, reader):
        damaged(words)


def _covers(reader: Reader, ids: Keys, row: VectorFile) -> bool:
    """Whether the file's passages, and those noted since, are the passages with a vector."""
    removed, _ = reader.removed_after(0)
    attached, _ = reader.attached_after(0)
    rows = reader.connection.execute("SELECT key FROM chunks WHERE vector > 0 ORDER BY key")
    wanted = np.array([key for (key,) in rows], np.int64)
    later = wanted[wanted > row.last_key]
    known = np.union1d(np.union1d(ids, later), attached)
    known = np.setdiff1d(known, removed)
    return len(ids) == row.vectors and np.array_equal(known, wanted)


def _are_rows(path: Path, row: VectorFile, reader: Reader, ids: Keys) -> bool:
    """Whether a row file holds the vectors of the catalog, and their moments."""
    rows = RowFile.open(path, row.sha256)
    if rows is None:
        return False
    seen, moments = 0, MomentsSoFar(reader.dimension() or 0)
    passages_gone = False
    for keys, vectors in calibrated(reader, 0, reader.means()):
        inside = np.isin(keys, ids)
        places = np.searchsorted(ids, keys[inside])
        for _ in moments.passing([(keys[inside], vectors[inside])]):
            seen += int(inside.sum())
        if rows.count:
            stored = rows.read(places) if len(places) else vectors[inside]
            if stored is None or not np.allclose(stored, vectors[inside], atol=_CLOSE):
                return False
    if rows.count:  # those of passages that are gone have their checksums
        for start in range(0, rows.count, 4096):
            if rows.read(np.arange(start, min(rows.count, start + 4096))) is None:
                return False
    passages_gone = seen != len(ids)
    ours, theirs = moments.moments, rows.moments
    return passages_gone or (
        theirs.count == seen
        and np.allclose(ours.total, theirs.total, atol=_CLOSE * max(1, seen))
        and np.allclose(ours.products, theirs.products, atol=_CLOSE * max(1, seen))
    )


def _are_postings(path: Path, row: VectorFile, reader: Reader) -> bool:
    """Whether every entry of a posting file is whole, and that of the passages is right."""
    index = tuple(str(_stored(reader, name)) for name in ("identity", "analyser"))
    file = PostingFile.open(path, index, row.sha256)
    if file is None:
        return False
    if any(file.postings(term) is None for term in file.entries):
        return False
    lengths = dict(zip(*map(np.ndarray.tolist, file.postings("") or ()), strict=True))
    now = dict(zip(*map(np.ndarray.tolist, read_lengths(reader.connection, 0)), strict=True))
    owners = dict(zip(*map(np.ndarray.tolist, file.postings(" ") or ()), strict=True))
    owned = dict(zip(*map(np.ndarray.tolist, read_documents(reader.connection, 0)), strict=True))
    same = all(lengths[key] == now[key] for key in lengths.keys() & now.keys())
    return same and all(owners[key] == owned[key] for key in owners.keys() & owned.keys())


def _stored(reader: Reader, name: str) -> Any:
    row = reader.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def _damaged_log(folder: Path) -> str:
    """What is wrong with the write-ahead log; empty if nothing is.

    SQLite ignores a log from the first frame on whose checksum or salts are wrong. Frames of the
    same log from there on that end a transaction were committed, and are lost. What an earlier log
    has left in the file has neither of this one's salts; a damaged frame has one of them at least.
    """
    try:
        data = (folder / f"{CATALOG_FILE}-wal").read_bytes()
    except OSError:
        return ""
    if not data:
        return ""
    if len(data) < _WAL_HEADER.size:
        return "the log of the last changes is cut off: these are lost"
    magic, _, page, _, *salts, one, two = _WAL_HEADER.unpack_from(data)
    order = "<" if magic == 0x377F0682 else ">"
    if magic not in (0x377F0682, 0x377F0683) or _sums(data[:24], order, 0, 0) != (one, two):
        return "the head of the log is damaged: the last changes are lost"
    size, at, broken = _FRAME_HEADER.size + page, _WAL_HEADER.size, False
    state = one, two
    while at + size <= len(data):
        _, committed, *rest = _FRAME_HEADER.unpack_from(data, at)
        if not broken:
            state = _sums(data[at : at + 8], order, *state)
            state = _sums(data[at + 24 : at + size], order, *state)
            broken = rest[:2] != salts or state != tuple(rest[2:])
        is_ours = rest[0] == salts[0] or rest[1] == salts[1]
        if broken and is_ours and committed:
            return "the log is damaged: changes that were committed are lost"
        at += size
    return ""


def _sums(data: bytes, order: str, one: int, two: int) -> tuple[int, int]:
    """The checksum of SQLite's log."""
    for first, second in struct.iter_unpack(f"{order}II", data):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two


__all__ = ["VECTOR_FILE", "VerifyReport", "verify"]
