"""What keeps an index whole is killed: backups, restoring, compaction, repairs, following."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from benchmarks.killing.scenarios import (
    SCENARIOS,
    Changes,
    Scenario,
    World,
    key_word,
    replace_index,
    write_document,
)
from benchmarks.killing.states import damage, differences
from retriever.index import Index
from retriever.indexing.ledger import SyncReport
from retriever.indexing.verify import repair_index, verify_index
from retriever.interface import collections
from retriever.interface.remains import clear_collections, clear_remains
from retriever.interface.watch import Follower, Watched, WatchLock
from retriever.reading.changes import QUIET_SECONDS


class Backup(Scenario):
    """An index with uploads is backed up as a folder, and restored beside it.

    Afterwards both are there and whole, or not at all, and the next ones are.
    """

    name = "backup"
    files = 12
    ending = ""
    allowed: Sequence[str] = (
        *Scenario.allowed,
        "indexes/*",
        "indexes/*/uploads",
        "indexes/*/uploads/*",
        "saved",
        "saved/copy",
        "saved/next",
        "saved/*.zip",
        "saved/*/uploads",
        "saved/*/uploads/*",
        *(f"saved/*/{name}" for name in ("catalog.sqlite*", "collection.json", "LOCK")),
        *(f"saved/*/vectors-[0-9]*[0-9].faiss{end}" for end in ("", ".rows", ".words")),
    )

    def prepare(self, at: World) -> None:
        super().prepare(at)
        collections.create_collection(at.index.parent, at.index.name)
        for number in range(20, 23):
            path = write_document(at.work / "given", number)
            collections.store_upload(at.index, path.name, path.read_bytes())
        shutil.rmtree(at.work / "given")
        collections.describe_collection(at.index, "kept")
        gone = write_document(at.docs, 30)
        self.sync(at)
        gone.unlink()
        self.sync(at)

    def act(self, at: World) -> None:
        self.save(at, "copy")
        at.acknowledge("copy")
        self.bring_back(at, "copy", "again")
        at.acknowledge("again")

    def resume(self, at: World) -> None:
        clear_collections(at.index.parent)
        self.save(at, "next")
        self.bring_back(at, "next", "last")

    def fresh(self, at: World) -> None:
        """What is backed up stays as it is."""

    def check(self, at: World) -> list[str]:
        told = at.acknowledged()
        said = []
        for name in ("copy", "next"):
            saved = self.saved(at, name)
            if not saved.exists():
                said += [f"the backup {name} is lost"] if name == "next" or name in told else []
                continue
            self.bring_back(at, name, f"of-{name}")
            said += [f"backup {name}: {one}" for one in self.wrong(at, f"of-{name}")]
            shutil.rmtree(at.index.with_name(f"of-{name}"))
        for name in ("again", "last"):
            if at.index.with_name(name).exists():
                said += [f"restored as {name}: {one}" for one in self.wrong(at, name)]
            elif name == "last" or name in told:
                said.append(f"the restored index {name} is lost")
        return said

    def saved(self, at: World, name: str) -> Path:
        """The place of a backup."""
        return at.work / "saved" / f"{name}{self.ending}"

    def save(self, at: World, name: str) -> None:
        """Write a backup."""
        with Index.open(at.index, self.embedder()) as index:
            index.backup(self.saved(at, name))

    def bring_back(self, at: World, name: str, to: str) -> None:
        """Make an index from a backup."""
        Index.restore(self.saved(at, name), at.index.with_name(to))

    def wrong(self, at: World, name: str) -> list[str]:
        """What tells an index that was restored from the one that was saved."""
        folder = at.index.with_name(name)
        own = {path.name: path.read_bytes() for path in (at.index / "uploads").iterdir()}
        found = {path.name: path.read_bytes() for path in (folder / "uploads").iterdir()}
        return [
            *differences(self.state(replace_index(at, folder)), self.state(at)),
            *verify_index(folder).sentences,
            *damage(folder),
            *(["uploads differ"] if found != own else []),
            *(["the description differs"] if collections.description(folder) != "kept" else []),
        ]

    def sync(self, at: World) -> None:  # type: ignore[override]  # always of all files
        with Index.open_or_create(at.index, self.embedder()) as index:
            index.sync([at.docs, collections.uploads_folder(at.index)], jobs=1)


class ArchivedBackup(Backup):
    """As `Backup`, in a file."""

    name = "backup as a file"
    ending = ".zip"


class Compact(Scenario):
    """Space is given back, and the last traces of deleted documents are removed."""

    name = "compact"
    gone = (2, 3, 7, 9)

    def prepare(self, at: World) -> None:
        super().prepare(at)
        self.sync(at)
        for number in self.gone:
            for path in at.docs.glob(f"note-{number:02}*"):
                path.unlink()
        self.sync(at)

    def act(self, at: World) -> None:
        with Index.open(at.index, self.embedder()) as index:
            index.compact()

    def resume(self, at: World) -> None:
        clear_remains(at.index)
        self.act(at)

    def check(self, at: World) -> list[str]:
        words = [key_word(number).encode() for number in self.gone]
        said = [
            f"{path.name} still has a word of a deleted document"
            for path in sorted(at.index.iterdir())
            if any(word in path.read_bytes().lower() for word in words)
        ]
        return said + list(verify_index(at.index).sentences)


class Repair(Scenario):
    """Damaged rows and files are mended: after a kill and another repair as in one go."""

    name = "repair"
    reader = False  # what is damaged is refused
    damaged = True

    def prepare(self, at: World) -> None:
        super().prepare(at)
        self.sync(at)

    def change(self, at: World) -> None:
        """Damage it, as flipped bits do: no trigger runs."""
        for path in at.index.glob("vectors-*.faiss"):
            with path.open("r+b") as file:
                file.seek(path.stat().st_size // 2)
                file.write(b"damaged")
        with closing(
            sqlite3.connect(at.index / "catalog.sqlite", isolation_level=None)
        ) as connection:
            (version,) = connection.execute("PRAGMA schema_version").fetchone()
            triggers = connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
            ).fetchall()
            connection.execute("BEGIN")
            for name, _ in triggers:
                connection.execute(f"DROP TRIGGER {name}")
            for statement in self.damages:
                if connection.execute(statement).rowcount < 1:
                    raise ValueError(f"nothing was damaged by {statement}")
            for _, sql in triggers:
                connection.execute(sql)
            connection.execute("COMMIT")
            connection.execute(f"PRAGMA schema_version = {version}")

    damages = (
        "UPDATE documents SET title = CAST('Nope' AS BLOB) WHERE key = 2",
        "UPDATE chunks SET text = CAST(replace(CAST(text AS TEXT), 'first', 'worst') AS BLOB) "
        "WHERE document = 1",
        "UPDATE pages SET text = CAST(replace(CAST(text AS TEXT), 'first', 'worst') AS BLOB) "
        "WHERE document = 3",
        "UPDATE vectors SET value = zeroblob(length(value)) WHERE number IN (4, 5)",
        "UPDATE lengths SET terms = 900 WHERE chunk = 5",
        "UPDATE calibration SET query_mean = zeroblob(length(query_mean))",
    )

    def act(self, at: World) -> None:
        repair_index(at.index, lambda: Index.open(at.index, self.embedder()))

    def resume(self, at: World) -> None:
        clear_remains(at.index)
        self.act(at)

    def check(self, at: World) -> list[str]:
        return list(verify_index(at.index).sentences)


class TornRepair(Repair):
    """A page of the database cannot be read: what can be is copied into a new one."""

    name = "repair of a torn file"

    def change(self, at: World) -> None:
        path = at.index / "catalog.sqlite"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint (TRUNCATE)").fetchall()
            (size,) = connection.execute("PRAGMA page_size").fetchone()
            ((page,),) = connection.execute(
                "SELECT rootpage FROM sqlite_master WHERE name = 'chunks'"
            )
        with path.open("r+b") as file:
            file.seek((page - 1) * size)
            file.write(b"\xff" * 40)

    def resume(self, at: World) -> None:
        super().resume(at)
        super().sync(at)  # as the repair says of documents that are gone

    def check(self, at: World) -> list[str]:
        names = sorted(path.name for path in at.index.glob("catalog.sqlite.*"))
        wanted = ["catalog.sqlite.damaged-1"]
        return [*super().check(at), *([f"beside it lie {names}"] if names != wanted else [])]


class Watch(Changes):
    """A folder is followed while its files change, one document once."""

    name = "watch"
    files = 16
    allowed: Sequence[str] = (*Changes.allowed, "indexes/main/WATCH")

    def change(self, at: World) -> None:
        """The changes come while the folder is followed."""

    def act(self, at: World) -> None:
        self.follow(at, self.rounds)

    def follow(self, at: World, rounds: int) -> None:
        """Follow the folder while it changes in so many rounds."""
        lock = WatchLock(at.index)
        lock.acquire()
        with Index.open_or_create(at.index, self.embedder()) as index:

            def run(paths: Sequence[Path]) -> SyncReport:
                return index.sync(list(paths), jobs=1, quiet=QUIET_SECONDS)

            def batches(folders: Sequence[Path], *, poll: float) -> Iterator[frozenset[str]]:
                yield frozenset()
                for number in range(rounds):
                    changed = self.round(at, number)
                    time.sleep(QUIET_SECONDS + 0.05)
                    yield frozenset(map(str, changed))
                while follower.places or follower.everything:
                    time.sleep(0.05)
                    yield frozenset()

            follower = Follower(
                Watched(
                    (at.docs,),
                    run,
                    batches,
                    lambda _: None,
                    lambda _: None,
                    hide=(str(at.index.resolve()),),
                )
            )
            follower.follow()
        lock.release()

    rounds = 3

    def round(self, at: World, number: int) -> list[Path]:
        """Change some files, again after a kill; returns the places that changed."""
        count = self.count(at)
        if number == 0:
            return [write_document(at.docs, one, "second") for one in (1, 3)]
        if number == 1:
            old, new = at.docs / "note-00.txt", at.docs / "renamed.txt"
            with suppress(FileNotFoundError):
                old.rename(new)
            below = at.docs / "below"
            below.mkdir(exist_ok=True)
            return [old, new, below, write_document(below, count)]
        gone = at.docs / "note-04.txt"
        gone.unlink(missing_ok=True)
        return [gone, write_document(at.docs, 2, "second"), write_document(at.docs, count + 1)]

    def resume(self, at: World) -> None:
        clear_remains(at.index)
        for number in range(self.rounds):
            self.round(at, number)
        time.sleep(QUIET_SECONDS)
        self.follow(at, 0)

    def fresh(self, at: World) -> None:
        for number in range(self.rounds):
            self.round(at, number)
        super().fresh(at)


ALL: dict[str, Scenario] = {
    **SCENARIOS,
    **{
        one.name: one
        for one in (Backup(), ArchivedBackup(), Compact(), Repair(), TornRepair(), Watch())
    },
}
"""All scenarios by their names."""

__all__ = ["ALL"]
