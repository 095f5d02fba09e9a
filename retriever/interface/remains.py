"""What a killed process left behind: completed where it was as good as done, or removed.

A deletion goes on. An archive whose files were all unpacked is stored; half an archive and half a
file go. What a living process writes is locked and stays, whatever the clock says.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from retriever.files import durable
from retriever.interface.collections import (
    finish_deletions,
    is_index,
    publish_unpacked,
    uploads_folder,
)
from retriever.storage.opening import Place
from retriever.types import RetrieverError

log = logging.getLogger(__name__)


def clear_remains(place: Place) -> None:
    """Complete or remove what killed processes left in an index's folder and beside it.

    This never fails: what cannot be done now is left for the next time.
    """
    if not isinstance(place, Path):  # no file of it lies here
        return
    folder = place
    finish_deletions(folder.absolute().parent)
    if not is_index(folder):
        return
    durable.sweep(folder)
    own = uploads_folder(folder)
    for entry in durable.abandoned(own):
        with suppress(OSError, RetrieverError):
            count = publish_unpacked(entry, own) if entry.is_dir() else 0
            if count:
                log.warning(
                    "an upload to %s was interrupted after it was unpacked: its %d files are "
                    "kept now",
                    folder.name,
                    count,
                )
            elif entry.is_dir():
                log.warning(
                    "an upload of an archive to %s was interrupted: nothing of it is kept, upload "
                    "it again",
                    folder.name,
                )
            durable.remove(entry)


def clear_collections(home: Place) -> None:
    """As `clear_remains`, for all indexes in `home`, which may be an index itself."""
    if not isinstance(home, Path) or is_index(home):
        clear_remains(home)
        return
    finish_deletions(home)
    with suppress(OSError):
        for entry in sorted(home.iterdir()):
            if is_index(entry):
                clear_remains(entry)


__all__ = ["clear_collections", "clear_remains"]
