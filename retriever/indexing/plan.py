"""The plan of a sync: files and known documents → files to read, documents to move or to remove.

Documents are compared with files by path, size, time and hash. Content that is found at another
path than before has moved, whatever its former path holds now: names may be swapped. Only documents
below the given paths are removed. This module changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from retriever.reading.formats import MAX_BYTES, format_of
from retriever.reading.regular import open_regular, read_blocks
from retriever.reading.scan import FoundFile, Target, covering, is_below, place
from retriever.types import DocumentRow, ReadError, document_id

RACY_SECONDS = 3.0
"""Seconds: a file changed so shortly before the scan may change again with the same timestamp."""

_BLOCK = 1 << 18  # bytes that are hashed at once


@dataclass(frozen=True, slots=True)
class Pending:
    """A file with new content; `row` is the document it replaces, None for none."""

    file: FoundFile
    source: str
    sha256: str  # empty if the file cannot be read: reading gives the reason
    row: DocumentRow | None


@dataclass(frozen=True, slots=True)
class Move:
    """A document that gets another id, path or source."""

    old: DocumentRow
    new: DocumentRow


@dataclass(slots=True)
class Plan:
    """What a run will do.

    `known` counts the documents below the given paths, `known_by_root` those of each root.
    `whole_roots` are the roots that the paths cover. `moved_roots` has the new places of roots that
    were moved, each with the former one.
    """

    known: int = 0
    known_by_root: Mapping[str, int] = field(default_factory=dict)
    whole_roots: frozenset[str] = frozenset()
    moved_roots: Mapping[str, str] = field(default_factory=dict)
    read: list[Pending] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    unchanged: list[DocumentRow] = field(default_factory=list)
    touch: list[DocumentRow] = field(default_factory=list)
    vanished: list[DocumentRow] = field(default_factory=list)
    replaced: list[DocumentRow] = field(default_factory=list)  # overwritten by a move
    kept: Sequence[DocumentRow] = ()  # of those vanished
    removed: Sequence[DocumentRow] = ()  # of those vanished


class Planner:
    """Makes the plan for the paths `targets`.

    `is_current` says whether a document was read and chunked as it would be now; `reads_again` says
    whether an unchanged document is read again nevertheless.
    """

    def __init__(
        self,
        known: Sequence[DocumentRow],
        is_current: Callable[[DocumentRow], bool],
        targets: Sequence[Target],
        reads_again: Callable[[DocumentRow], bool] = lambda row: False,
    ) -> None:
        self.is_current = is_current
        self.targets = targets
        self.reads_again = reads_again
        self.now = time.time()
        self.known = known
        self.sources = _SourceNames(known)
        self.moved_roots: dict[str, str] = {}

    def plan(self, found: Sequence[FoundFile]) -> Plan:
        """The plan for the files that a scan found, including those that are not read."""
        files = {file.place: file for file in reversed(found) if not file.reason}
        rows = self._relocated(files)
        is_covered = covering(self.targets)
        covered = [row for row in rows if is_covered(_place(row))]
        by_root = Counter(row.root for row in covered)
        whole = frozenset(filter(covering([t for t in self.targets if not t.single]), by_root))
        plan = Plan(len(covered), by_root, whole, self.moved_roots)
        here = _by_place(covered)
        pending = [
            waiting
            for location in sorted(files, key=_in_folder_order)
            if (waiting := self._compare(plan, files[location], here.get(location)))
        ]
        failed = [file.place for file in found if file.failed]
        lost = [row for row in covered if here[at := _place(row)] is not row or at not in files]
        lost = [row for row in lost if not any(is_below(_place(row), one) for one in failed)]
        self._match_moves(plan, pending, lost)
        return plan

    def _relocated(self, files: Mapping[str, FoundFile]) -> list[DocumentRow]:
        """The known documents, with the new root where a root was moved.

        A root that does not exist any more was moved to a given folder if at least half of its
        files are there.
        """
        by_root: dict[str, list[DocumentRow]] = {}
        for row in self.known:
            by_root.setdefault(row.root, []).append(row)
        now = {root: root for root in by_root}
        folders = [target.path for target in self.targets if not target.single]
        free = [folder for folder in folders if str(folder) not in by_root]
        for root in filter(_is_gone, sorted(by_root)):
            for folder in free:
                there = (files.get(place(str(folder), row.path)) for row in by_root[root])
                same = sum(map(_same_size, by_root[root], there))
                if 2 * same >= len(by_root[root]):
                    free.remove(folder)
                    now[root] = str(folder)
                    self.sources.move(root, str(folder))
                    break
        self.moved_roots = {new: old for old, new in now.items() if old != new}
        return [
            row if now[row.root] == row.root else replace(row, root=now[row.root])
            for row in self.known
        ]

    def _compare(self, plan: Plan, file: FoundFile, row: DocumentRow | None) -> Pending | None:
        """Add a file with unchanged content to the plan; a file to read is returned."""
        source = self.sources.of(file.root)
        if row is None:
            return Pending(file, source, _hash(file), None)
        same_facts = (file.size, file.changed_ns) == (row.size, row.mtime_ns)
        sha256 = row.sha256 if same_facts else _hash(file)
        if sha256 != row.sha256 or not self.is_current(row) or self.reads_again(row):
            return Pending(file, source, sha256, row)
        now = self._placed(row, file, source)
        if now.id != row.id:
            plan.moves.append(Move(row, now))
            return None
        plan.unchanged.append(now)
        if not same_facts or row.root in self.moved_roots:
            plan.touch.append(now)
        return None

    def _match_moves(
        self, plan: Plan, pending: Sequence[Pending], lost: Sequence[DocumentRow]
    ) -> None:
        """Match pending files with documents whose file is lost or changed, by content: moves."""
        changed = [p.row for p in pending if p.row and p.sha256 not in ("", p.row.sha256)]
        free: dict[str, list[DocumentRow]] = {}
        for row in [*lost, *changed]:
            if self.is_current(row):
                free.setdefault(row.sha256, []).append(row)
        taken = set()
        still: list[Pending] = []
        for waiting in pending:
            donor = _most_similar(
                waiting.file, free.get(waiting.sha256, []) if waiting.sha256 else []
            )
            if donor is None:
                still.append(waiting)
                continue
            free[waiting.sha256].remove(donor)
            taken.add(donor.id)
            plan.moves.append(Move(donor, self._placed(donor, waiting.file, waiting.source)))
        new_ids = {move.new.id for move in plan.moves}
        ended = {row.id for row in changed} - {p.row.id for p in still if p.row} - taken - new_ids
        plan.replaced = [row for row in changed if row.id in ended]
        plan.vanished = [row for row in lost if row.id not in taken | new_ids]
        # The document at the path of a file to read may have been moved away.
        plan.read = [replace(p, row=None) if p.row and p.row.id in taken else p for p in still]

    def _placed(self, row: DocumentRow, file: FoundFile, source: str) -> DocumentRow:
        where = (document_id(source, file.path), source, str(file.root), file.path)
        facts = (file.size, self.stamp(file))
        if (row.id, row.source, row.root, row.path, row.size, row.mtime_ns) == (*where, *facts):
            return row
        id_, source, root, path = where
        size, stamp = facts
        return replace(row, id=id_, source=source, root=root, path=path, size=size, mtime_ns=stamp)

    def stamp(self, file: FoundFile) -> int:
        """The timestamp by which a later scan knows the file as unchanged; 0 if it cannot."""
        settled = self.now - file.changed_ns / 1e9 > RACY_SECONDS
        return file.changed_ns if settled else 0


def order_moves(moves: Iterable[Move]) -> list[Move]:
    """The moves, each after its target id is free; a cycle goes through a temporary id.

    >>> a, b, c = (DocumentRow(name, "", "/", name, "txt") for name in "abc")
    >>> [(move.old.id, move.new.id) for move in order_moves([Move(a, b), Move(b, c)])]
    [('b', 'c'), ('a', 'b')]
    """
    waiting = {move.old.id: move for move in moves}
    done: list[Move] = []
    while waiting:
        ready = [move for move in waiting.values() if move.new.id not in waiting]
        same = [move for move in waiting.values() if move.new.id == move.old.id]
        for move in ready + same:
            del waiting[move.old.id]
            done.append(move)
        if waiting and not ready and not same:
            first = next(iter(waiting.values()))
            aside = replace(first.old, id=document_id(first.old.source, f"{first.old.path}\0"))
            done.append(Move(first.old, aside))
            del waiting[first.old.id]
            waiting[aside.id] = Move(aside, first.new)
    return done


class _SourceNames:
    """Names of roots: the folder's name, with a number where another root has the name."""

    def __init__(self, known: Sequence[DocumentRow]) -> None:
        self.names = {row.root: row.source for row in known}

    def of(self, root: Path) -> str:
        """The name of a root; a new root gets one."""
        text = str(root)
        if text not in self.names:
            base = name = root.name or "root"
            number = 1
            while name in self.names.values():
                number += 1
                name = f"{base}-{number}"
            self.names[text] = name
        return self.names[text]

    def move(self, old: str, new: str) -> None:
        """Move a root; it keeps its name."""
        self.names[new] = self.names.pop(old)


def _most_similar(file: FoundFile, rows: Sequence[DocumentRow]) -> DocumentRow | None:
    """The most likely former document of a file, among documents with the same content."""
    alike = [row for row in rows if format_of(row.path) == format_of(file.path)]
    named = [row for row in alike if Path(row.path).name == Path(file.path).name]
    return next(iter([*named, *alike]), None)


def _by_place(rows: Iterable[DocumentRow]) -> dict[str, DocumentRow]:
    """Documents by path; of two (after a killed run) the one whose id matches the path."""
    places: dict[str, DocumentRow] = {}
    for row in rows:
        at = _place(row)
        if at not in places or row.id == document_id(row.source, row.path):
            places[at] = row
    return places


def _place(row: DocumentRow) -> str:
    return place(row.root, row.path)


def _in_folder_order(location: str) -> str:
    return location.replace(os.sep, "\0")


def _is_gone(root: str) -> bool:
    try:
        return not Path(root).exists()
    except OSError:
        return False


def _same_size(row: DocumentRow, file: FoundFile | None) -> bool:
    return file is not None and file.size == row.size


def _hash(file: FoundFile) -> str:
    """SHA-256 of the file's bytes; empty if it cannot be read (reading gives the reason)."""
    if file.size > MAX_BYTES:
        return ""
    try:
        digest = hashlib.sha256()
        with open_regular(file.location) as stream:
            for block in read_blocks(stream, _BLOCK, MAX_BYTES + 1):
                digest.update(block)
        return digest.hexdigest()
    except (OSError, ReadError):
        return ""
