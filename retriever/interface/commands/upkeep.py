"""`wva backup`, `restore` and `compact`: keep an index safe and small."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from retriever.interface.commands.output import DONE, print_json
from retriever.interface.terminal.characters import one_line
from retriever.interface.terminal.printing import out

if TYPE_CHECKING:
    from retriever.storage.upkeep.backup import Backup


def run_backup(options: argparse.Namespace) -> int:
    """Write a copy of an index."""
    from retriever.index import Index

    with Index.open(options.index) as index:
        made = index.backup(options.to)
    return _told(options, made, "backed up", made.path)


def run_restore(options: argparse.Namespace) -> int:
    """Make an index from a backup."""
    from retriever.index import Index

    made = Index.restore(options.backup, options.index)
    return _told(options, made, "restored", made.path)


def _told(options: argparse.Namespace, made: Backup, what: str, path: str) -> int:
    if options.json:
        print_json(asdict(made))
    else:
        uploads = f", {made.uploads:,} uploaded files" if made.uploads else ""
        counts = f"{made.documents:,} documents, {made.passages:,} passages{uploads}"
        out(f"{what}: {counts}, {_megabytes(made.bytes)} in {one_line(path)}")
    return DONE


def run_compact(options: argparse.Namespace) -> int:
    """Give disk space back."""
    from retriever.index import Index

    with Index.open(options.index) as index:
        done = index.compact(dry_run=options.dry_run)
    if options.json:
        print_json({**asdict(done), "dry_run": options.dry_run})
        return DONE
    about = "about " if options.dry_run else ""
    freed = max(0, done.before - done.after)
    rest = "would be given back" if options.dry_run else "were given back"
    out(
        f"{_megabytes(done.before)} before, {about}{_megabytes(done.after)} after: "
        f"{about}{_megabytes(freed)} {rest}"
    )
    if done.waiting:
        out(f"{_megabytes(done.waiting)} more when the programs that read the index have ended")
    return DONE


def _megabytes(size: int) -> str:
    """A size as people read it.

    >>> _megabytes(1_234_567), _megabytes(12_345)
    ('1.2 MB', '0.01 MB')
    """
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size / 1e6:.2f} MB"


__all__ = ["run_backup", "run_compact", "run_restore"]
