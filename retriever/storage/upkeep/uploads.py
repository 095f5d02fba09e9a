"""The uploaded files of an index: they lie in its folder, and move with it.

Those that were removed are kept in another folder there for a day.
"""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

from retriever.files import BIN, UPLOADS
from retriever.storage.catalog import Catalog

BIN_SECONDS = 86_400
"""Seconds that removed uploads are kept."""

RECEIPT = re.compile(r"(\d{1,12})-[0-9a-f]{8}")
"""The name of a folder of removed uploads: when they were removed, in seconds since 1970."""


def uploads_folder(folder: Path) -> Path:
    """The folder of the files uploaded to the index in `folder`, with all links resolved."""
    return folder.resolve() / UPLOADS


def move_uploads(catalog: Catalog, before: str, now: str) -> None:
    """Tell an index in one transaction where its uploads lie now."""
    with catalog.reading() as reader:
        rows = [row for row in reader.documents() if row.root == before]
        unread = reader.unread()
    moved = [replace(one, root=now) if one.root == before else one for one in unread]
    if not rows and moved == unread:
        return
    try:
        with catalog.writing() as writer:
            for row in rows:
                writer.touch(replace(row, root=now))
            if moved != unread:
                writer.set_unread(moved)
    finally:
        catalog.release()


def empty_bin(folder: Path, now: float | None = None) -> None:
    """Delete the uploads that were removed more than a day ago."""
    for entry in old_removals(folder, now):
        shutil.rmtree(entry, ignore_errors=True)


def old_removals(folder: Path, now: float | None = None) -> list[Path]:
    """The folders of uploads that were removed more than a day ago."""
    now = time.time() if now is None else now
    if (folder / BIN).is_symlink():
        return []
    try:
        entries = list((folder / BIN).iterdir())
    except OSError:
        return []
    found = ((entry, RECEIPT.fullmatch(entry.name)) for entry in entries)
    return [entry for entry, match in found if match and now - int(match[1]) > BIN_SECONDS]


__all__ = ["BIN_SECONDS", "RECEIPT", "empty_bin", "move_uploads", "old_removals", "uploads_folder"]
