"""Removing files from a collection, and taking that back.

Uploaded files go to a bin in the index's folder, from where they can come back for a day. Files in
the user's own folders are never touched.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from retriever.files import durable
from retriever.files.layout import BIN
from retriever.index import Index
from retriever.interface.collections import free_path
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


def remove_files(index: Index, folder: Path | None, files: Iterable[tuple[str, str]]) -> Removed:
    """Remove files, named by root and path, from the index in `folder`; None: it is in Milvus.

    Uploaded files are moved to the bin. A file in the user's own folder stays there, and the next
    sync of that folder indexes it again.
    """
    wanted = list(files)
    if folder is None:
        return Removed(index.discard(wanted))
    own = uploads_folder(folder)
    receipt = f"{int(time.time())}-{uuid.uuid4().hex[:8]}"
    bin_ = folder.resolve() / BIN / receipt
    uploads = _move_to_bin([path for root, path in wanted if root == str(own)], own, bin_)
    try:
        # After the files: the next sync goes on with a removal that is killed, and undoes none.
        count = index.discard(wanted)
    except BaseException:
        with suppress(IndexStateError, UsageError):
            restore_files(folder, receipt)
        raise
    return Removed(count, uploads, receipt if uploads else "")


def _move_to_bin(paths: Iterable[str], own: Path, bin_: Path) -> int:
    """Move uploads to a folder of the bin; returns how many there were. All are moved, or none."""
    count = 0
    try:
        for path in paths:
            place = own / path
            if place.resolve().is_relative_to(own):
                count += _bin(place, bin_ / path)
                _remove_empty(place.parent, own)
    except OSError as error:
        with suppress(IndexStateError, UsageError):
            restore_files(own.parent, bin_.name)
        raise IndexStateError(
            f"{path!r} cannot be removed: its file {place} cannot be moved "
            f"({error.strerror or error}); check the folder's permissions"
        ) from error
    return count


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
            durable.make_folder(target.parent)
            durable.rename(path, free_path(target))
        shutil.rmtree(bin_, ignore_errors=True)
    except OSError as error:
        raise IndexStateError(
            f"the removed files cannot be moved back to {own} ({error.strerror or error}); they "
            f"are still in {bin_}"
        ) from error
    return len(kept)


def _bin(place: Path, target: Path) -> bool:
    """Move a file to the bin; False if there is none any more."""
    durable.make_folder(target.parent)
    try:
        durable.rename(place, target)
    except FileNotFoundError:
        return False
    return True


def _remove_empty(folder: Path, own: Path) -> None:
    """Remove an archive's folder and the folders around it if they are empty."""
    while folder != own and own in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return  # there is something in it
        folder = folder.parent


__all__ = ["BIN_SECONDS", "Removed", "empty_bin", "remove_files", "restore_files"]
