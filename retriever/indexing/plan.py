"""Files found and documents known → what a sync has to do: read, rename, remove, or nothing.

Documents are compared with files by place, size, time and hash. Content that is found at another
place than before has moved, whatever stands at its old place now: names may be swapped. Only
documents below the paths asked for are removed. Nothing is changed here.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from retriever.reading.formats import MAX_BYTES, format_of
from retriever.reading.scan import FoundFile, Target
from retriever.types import DocumentRow, document_id

RACY_SECONDS = 3.0
"""A file changed so shortly before it was looked at may change again within one tick."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A file whose content is new at its place; `row` is the document it replaces."""

    file: FoundFile
    source: str
    sha256: str  # empty if the file cannot be read: reading will say why
    row: DocumentRow | None


@dataclass(frozen=True, slots=True)
class Move:
    """A document that gets another id, place or source."""

    old: DocumentRow
    new: DocumentRow


@dataclass(slots=True)
class Plan:
    """What a run is going to do. `known` counts the documents below the given paths."""

    known: int = 0
    read: list[Pending] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    unchanged: list[DocumentRow] = field(default_factory=list)
    touch: list[DocumentRow] = field(default_factory=list)
    vanished: list[DocumentRow] = field(default_factory=list)
    replaced: list[DocumentRow] = field(default_factory=list)  # what was moved over


class Planner:
    """Makes the plan for the paths `asked`.

    `is_current` tells whether a document was read and cut as it would be now; `again` which
    unchanged ones are to be read again nevertheless.
    """

    def __init__(
        self,
        known: Sequence[DocumentRow],
        is_current: Callable[[DocumentRow], bool],
        asked: Sequence[Target],
        again: Callable[[DocumentRow], bool] = lambda row: False,
    ) -> None:
        self.is_current = is_current
        self.asked = asked
        self.again = again
        self.now = time.time()
        self.known = known
        self.sources = _Sources(known)
        self.moved_roots: set[str] = set()

    def plan(self, found: Sequence[FoundFile]) -> Plan:
        """`found` is what a scan gave, also what is not to be read."""
        files = {file.location: file for file in reversed(found) if not file.reason}
        rows = self._relocated(files)
        covered = [row for row in rows if any(target.covers(_place(row)) for target in self.asked)]
        plan = Plan(known=len(covered))
        here = _by_place(covered)
        pending = [
            waiting
            for location, file in sorted(files.items())
            if (waiting := self._compare(plan, file, here.get(location)))
        ]
        failed = [file.location for file in found if file.failed]
        lost = [row for row in covered if here[_place(row)] is not row or _place(row) not in files]
        lost = [row for row in lost if not _below_any(_place(row), failed)]
        self._match_moves(plan, pending, lost)
        return plan

    def _relocated(self, files: Mapping[Path, FoundFile]) -> list[DocumentRow]:
        """The known documents, those of a root that was moved below the folder it is now.

        A root that is gone has become a folder asked for if most of its files are there.
        """
        by_root: dict[str, list[DocumentRow]] = {}
        for row in self.known:
            by_root.setdefault(row.root, []).append(row)
        now = {root: root for root in by_root}
        free = [target.path for target in self.asked if str(target.path) not in by_root]
        for root in filter(_is_gone, sorted(by_root)):
            for folder in free:
                same = sum(_same_size(row, files.get(folder / row.path)) for row in by_root[root])
                if 2 * same >= len(by_root[root]):
                    free.remove(folder)
                    now[root] = str(folder)
                    self.sources.move(root, str(folder))
                    break
        self.moved_roots = {new for old, new in now.items() if old != new}
        return [replace(row, root=now[row.root]) for row in self.known]

    def _compare(self, plan: Plan, file: FoundFile, row: DocumentRow | None) -> Pending | None:
        """Sort a file into the plan if its content is where it was; else it is pending."""
        source = self.sources.of(file.root)
        if row is None:
            return Pending(file, source, _hash(file), None)
        same_facts = (file.size, file.changed_ns) == (row.size, row.mtime_ns)
        sha256 = row.sha256 if same_facts else _hash(file)
        if sha256 != row.sha256 or not self.is_current(row) or self.again(row):
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
        """A file with the content of a document that has lost its own is that one, moved."""
        changed = [p.row for p in pending if p.row and p.sha256 not in ("", p.row.sha256)]
        free: dict[str, list[DocumentRow]] = {}
        for row in [*lost, *changed]:
            if self.is_current(row):
                free.setdefault(row.sha256, []).append(row)
        taken = set()
        still: list[Pending] = []
        for waiting in pending:
            donor = _donor(waiting.file, free.get(waiting.sha256, []) if waiting.sha256 else [])
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
        # What was at the place of a file still to be read may have been moved away.
        plan.read = [replace(p, row=None) if p.row and p.row.id in taken else p for p in still]

    def _placed(self, row: DocumentRow, file: FoundFile, source: str) -> DocumentRow:
        return replace(
            row,
            id=document_id(source, file.path),
            source=source,
            root=str(file.root),
            path=file.path,
            size=file.size,
            mtime_ns=self.stamp(file),
        )

    def stamp(self, file: FoundFile) -> int:
        """What a later scan may trust to tell that the file is unchanged; 0: nothing."""
        settled = self.now - file.changed_ns / 1e9 > RACY_SECONDS
        return file.changed_ns if settled else 0


def in_order(moves: Iterable[Move]) -> list[Move]:
    """The moves, each when its place is free; a circle of them goes over a place of its own.

    >>> a, b, c = (DocumentRow(name, "", "/", name, "txt") for name in "abc")
    >>> [(move.old.id, move.new.id) for move in in_order([Move(a, b), Move(b, c)])]
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


class _Sources:
    """Names for roots: the folder's own name, with a number where another has it already."""

    def __init__(self, known: Sequence[DocumentRow]) -> None:
        self.names = {row.root: row.source for row in known}

    def of(self, root: Path) -> str:
        """The name of a root, given to it now if it has none."""
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
        """A root lies elsewhere now, and keeps its name."""
        self.names[new] = self.names.pop(old)


def _donor(file: FoundFile, rows: Sequence[DocumentRow]) -> DocumentRow | None:
    """The one of several documents of the same content that this file most likely was."""
    alike = [row for row in rows if format_of(Path(row.path)) == format_of(Path(file.path))]
    named = [row for row in alike if Path(row.path).name == Path(file.path).name]
    return next(iter([*named, *alike]), None)


def _by_place(rows: Iterable[DocumentRow]) -> dict[Path, DocumentRow]:
    """Documents by their place; of two there (a run was killed) the one whose id is the place's."""
    places: dict[Path, DocumentRow] = {}
    for row in rows:
        if _place(row) not in places or row.id == document_id(row.source, row.path):
            places[_place(row)] = row
    return places


def _place(row: DocumentRow) -> Path:
    return Path(row.root, row.path)


def _below_any(location: Path, folders: Sequence[Path]) -> bool:
    return any(location.is_relative_to(folder) for folder in folders)


def _is_gone(root: str) -> bool:
    try:
        return not Path(root).exists()
    except OSError:
        return False


def _same_size(row: DocumentRow, file: FoundFile | None) -> bool:
    return file is not None and file.size == row.size


def _hash(file: FoundFile) -> str:
    """SHA-256 of the file's bytes, or an empty text if it cannot be read (reading says why)."""
    if file.size > MAX_BYTES:
        return ""
    try:
        with file.location.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""
