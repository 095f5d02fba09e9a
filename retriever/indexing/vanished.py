"""Which documents of vanished files are removed, and which are held back.

A file that is not there may be deleted, or its disk may be missing. A document is held back where
the latter is likely, and stays so, marked with the time `HELD`, until its file is back or a run is
told to remove it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from retriever.indexing.plan import Plan
from retriever.reading.scan import is_below, place
from retriever.storage.backends import DocumentRow
from retriever.storage.records import HELD

_CONFIRM = "if that is meant run again with --force, or keep them with --no-delete"
_MAX_NAMED = 3


class HeldBack:
    """The vanished documents of a plan that stay, each with the reason; `notice` tells of them.

    `mounts` are the folders with documents that were disks or shares of their own.
    """

    def __init__(self, plan: Plan, mounts: Iterable[str], unreachable: Sequence[str] = ()) -> None:
        self.plan = plan
        self.unreachable = unreachable
        self.reasons: dict[str, str] = {}  # document id → why it is kept
        self.unmounted = [mount for mount in mounts if not os.path.ismount(mount)]
        self._below = Counter(folder for row in plan.vanished for folder in _folders(row))
        self._empty: dict[str, bool] = {}
        self._links: dict[str, bool] = {}
        self._sentences: list[str] = []
        self._hold()

    @property
    def notice(self) -> str:
        """What was held back and how to confirm it; empty if nothing was."""
        away = [
            f"{path!r} cannot be reached now, and what was indexed of it is kept: connect it, or "
            "leave it out"
            for path in self.unreachable
        ]
        return "; ".join([*self._sentences, *away])

    @property
    def rows(self) -> list[DocumentRow]:
        """The documents that stay, marked as held back where the run looked at the whole root.

        A run over a part of it, where half is soon gone, decides nothing for later ones.
        """
        return [
            replace(row, mtime_ns=HELD) if row.root in self.plan.whole_roots else row
            for row in self.plan.vanished
            if row.id in self.reasons
        ]

    @property
    def removed(self) -> list[DocumentRow]:
        """The documents that are removed."""
        return [row for row in self.plan.vanished if row.id not in self.reasons]

    def _hold(self) -> None:
        vanished = self.plan.vanished
        if 2 * len(vanished) > self.plan.known:
            self._hold_most()
            return
        most = Counter(row.root for row in vanished)
        for row in vanished:
            why = self._reason(row, most)
            if why:
                self.reasons[row.id] = why
        self._tell_by_reason()

    def _hold_most(self) -> None:
        vanished = self.plan.vanished
        self.reasons = {row.id: "most files are" for row in vanished}
        self._sentences.append(
            f"{len(vanished)} of the {self.plan.known} files known here have vanished or are left "
            f"out now; none of them was removed. {_CONFIRM[0].upper()}{_CONFIRM[1:]}"
        )

    def _reason(self, row: DocumentRow, vanished: Mapping[str, int]) -> str:
        """Why the document stays; empty if it is removed."""
        at = place(row.root, row.path)
        former = place(self.plan.moved_roots.get(row.root, row.root), row.path)
        for mount in self.unmounted:
            if is_below(at, mount) or is_below(former, mount):
                return f"{mount!r} is not mounted now"
        if 2 * vanished[row.root] > self.plan.known_by_root.get(row.root, 0):
            return f"most files of {row.root!r} have vanished"
        folder = self._emptied_folder(row)
        if folder:
            return f"the folder {folder!r} is empty now"
        link = self._link(row, at)
        if link:
            return f"{link!r} is a link now"
        return "it was held back before" if row.mtime_ns == HELD else ""

    def _emptied_folder(self, row: DocumentRow) -> str:
        """The folder that is empty now and held several documents; empty text for none.

        The mount point of a disk that is not there is such a folder. One document alone is not
        enough: its folder is empty whenever it is deleted.
        """
        for folder in _folders(row):
            if folder not in self._empty:
                self._empty[folder] = self._below[folder] > 1 and _is_empty(folder)
            if self._empty[folder]:
                return folder
        return ""

    def _link(self, row: DocumentRow, at: str) -> str:
        """The symbolic link that is in the place of a folder, or leads from the file nowhere."""
        for folder in _folders(row)[:-1]:  # the root itself may be reached by one
            if folder not in self._links:
                self._links[folder] = Path(folder).is_symlink()
            if self._links[folder]:
                return folder
        return at if Path(at).is_symlink() and not Path(at).exists() else ""

    def _tell_by_reason(self) -> None:
        counts = Counter(self.reasons.values())
        for why, count in counts.most_common(_MAX_NAMED):
            files = "file was" if count == 1 else "files were"
            self._sentences.append(f"{count} vanished {files} not removed, because {why}")
        rest = sum(count for _, count in counts.most_common()[_MAX_NAMED:])
        if rest:
            self._sentences.append(f"{rest} more vanished files were not removed")
        if counts:
            self._sentences[-1] += f"; {_CONFIRM}"


def mounts_of(places: Iterable[str]) -> set[str]:
    """The innermost disk or share of each of these files, but not the root of the file system."""
    known = {"": ""}
    return {mount for at in places if (mount := _mount(at, known))}


def _mount(at: str, known: dict[str, str]) -> str:
    climbed = []
    folder = at.rpartition(os.sep)[0]
    while folder not in known:
        climbed.append(folder)
        if os.path.ismount(folder):
            known[folder] = folder
        else:
            folder = folder.rpartition(os.sep)[0]
    known |= dict.fromkeys(climbed, known[folder])
    return known[folder]


def _folders(row: DocumentRow) -> list[str]:
    """The folders above a document, from its own to the root."""
    parts = row.path.split("/")[:-1]
    return [place(row.root, "/".join(parts[:count])) for count in range(len(parts), -1, -1)]


def _is_empty(folder: str) -> bool:
    """Whether a folder is there and holds nothing, not even hidden files."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return False


__all__ = ["HeldBack", "mounts_of"]
