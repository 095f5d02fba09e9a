"""Opening an index by its place: a folder, or an address of Milvus.

    indexes/notes                       a folder: `EmbeddedBackend`
    milvus://host:19530/notes           a server: `MilvusBackend`, which is imported only then
    milvus+file:notes.db                Milvus Lite

What can be done with a folder alone asks for it by `folder_of`, which says what to do instead.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from retriever.storage.addresses import Address, is_address
from retriever.types import UsageError

if TYPE_CHECKING:
    from retriever.storage.backends.protocols import Documents

Place = Path | Address
"""Where an index is."""


def place_of(given: object) -> Place:
    """The place that a caller names. Raises UsageError for a wrong address, or no text.

    >>> place_of("indexes/notes").name, place_of("milvus://localhost/notes").name
    ('notes', 'notes')
    """
    if isinstance(given, Address):
        return given
    if not isinstance(given, str | os.PathLike):
        raise UsageError(
            "an index is opened by the path of its folder or an address of Milvus; this is none: "
            f"{given!r}"
        )
    text = os.fspath(given)
    return Address.parse(text) if isinstance(text, str) and is_address(text) else Path(text)


def lasting(place: Place) -> Place:
    """The same place, whatever becomes of the current folder."""
    return place.resolve() if isinstance(place, Path) else place.absolute()


def files_of(place: Place) -> list[Path]:
    """The folders that a place takes on this machine's disk: none, or one."""
    if isinstance(place, Path):
        return [place.resolve()]
    return [Path(place.uri).resolve()] if place.is_lite else []


def folder_of(place: Place, doing: str, instead: str) -> Path:
    """The folder of an index. Raises UsageError for an address: what cannot be done, and what can.

    >>> folder_of(place_of("notes"), "compact", "…").name
    'notes'
    """
    if isinstance(place, Path):
        return place
    raise UsageError(f"wva {doing} works on an index in a folder, not on {place}: {instead}")


def open_backend(
    place: Place, *, create: bool = False, store: str | None = None, durable: bool = True
) -> Documents:
    """Open an index; `create` makes one where there is none.

    `store` is the kind of its vector index: a FAISS factory string for a folder, a name such as
    HNSW for Milvus. `durable` is that of `EmbeddedBackend.open`. Raises IndexStateError where there
    is no index, UsageError without the library of Milvus.
    """
    if isinstance(place, Path):
        from retriever.storage.backends.embedded import EmbeddedBackend

        return EmbeddedBackend.open(place, create=create, factory=store, durable=durable)
    from retriever.storage.backends.milvus.backend import MilvusBackend

    kind = {"kind": store} if store else {}
    return MilvusBackend.open(place.text, create=create, **kind)


__all__ = ["Place", "files_of", "folder_of", "lasting", "open_backend", "place_of"]
