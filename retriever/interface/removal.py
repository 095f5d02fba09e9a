"""Removing files from a collection, and taking that back.

Uploaded files go to a bin in the index's folder, from where they can come back for a day. Files in
the user's own folders are never touched.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from retriever.files import BIN, make_folder
from retriever.index import Index
from retriever.storage.upkeep.uploads import BIN_SECONDS, RECEIPT, empty_bin, uploads_folder
from retriever.types import IndexStateError, UsageError


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed: the number of files of the index, and of uploads that can come back.

    `receipt` names the uploads in the bin for `restore_files`; it is empty without any.
    """

    count: int
    uploads: int = 0
    receipt: str = ""


def remove_files(index: Index, folder: Path, files: Iterable[tuple[str, str]]) -> Removed:
    """Remove files, named by root and path, from the index in `folder`.

    Uploaded files are moved to the bin. A file in the user's own folder stays there, and the next
    sync of that folder indexes it again.
    """
    wanted = list(files)
    count = index.discard(wanted)
    own = uploads_folder(folder)
    receipt = f"{int(time.time())}-{uuid.uuid4().hex[:8]}"
    uploads = 0
    for root, path in wanted:
        place = own / path
        if root == str(own) and place.resolve().is_relative_to(own):
            try:
                uploads += _bin(place, folder.resolve() / BIN / receipt / path)
                _remove_empty(place.parent, own)
            except OSError as error:
                raise IndexStateError(
                    f"{path!r} is out of the index, but its file {place} cannot be deleted "
                    f"({error.strerror or error}); the next sync would add it again"
                ) from error
    return Removed(count, uploads, receipt if uploads else "")


def restore_files(folder: Path, receipt: str) -> int:
    """Move the uploads of this receipt back; returns their number. They are not indexed yet.

    Raises UsageError when they are not kept any more. A file is never overwritten: one whose name
    is taken meanwhile gets a number.
    """
    bin_ = folder.resolve() / BIN / receipt
    if not RECEIPT.fullmatch(receipt) or not bin_.is_dir():
        raise UsageError("the removed files are not kept any more; upload them again")
    own = uploads_folder(folder)
    kept = [path for path in bin_.rglob("*") if path.is_file()]
    try:
        for path in kept:
            target = own / path.relative_to(bin_)
            make_folder(target.parent)
            path.rename(_free(target))
        shutil.rmtree(bin_, ignore_errors=True)
    except OSError as error:
        raise IndexStateError(
            f"the removed files cannot be moved back to {own} ({error.strerror or error}); they "
            f"are still in {bin_}"
        ) from error
    return len(kept)


def _bin(place: Path, target: Path) -> bool:
    """Move a file to the bin; False if there is none any more."""
    make_folder(target.parent)
    try:
        place.rename(target)
    except FileNotFoundError:
        return False
    return True


def _free(target: Path) -> Path:
    number, free = 1, target
    while free.exists():
        number += 1
        free = target.with_name(f"{target.stem} ({number}){target.suffix}")
    return free


def _remove_empty(folder: Path, own: Path) -> None:
    """Remove an archive's folder and the folders around it if they are empty."""
    while folder != own and own in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return  # there is something in it
        folder = folder.parent


__all__ = ["BIN_SECONDS", "Removed", "empty_bin", "remove_files", "restore_files"]
