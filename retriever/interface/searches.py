"""What the page remembers of a folder of indexes: recent and saved searches, the last collection.

It is one small JSON file in that folder, readable for its owner only. Where it cannot be written,
the server remembers until it ends. A damaged file counts as empty.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from retriever.cache import write_atomically

FILE = ".wva-searches.json"
MAX_RECENT = 50
MAX_SAVED = 200
MAX_CHARACTERS = 4_000
"""Longer searches, such as a pasted text, are not remembered."""

_MAX_BYTES = 4_000_000

Params = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class Search:
    """A search: the name of its collection, and the parameters of its address.

    Two searches are equal whenever they were made: `day` (ISO 8601) does not count.
    """

    index: str
    params: tuple[tuple[str, tuple[str, ...]], ...]
    day: str = field(default="", compare=False)

    @classmethod
    def of(cls, index: str, params: Params, day: str = "") -> Search:
        """The search with these parameters, each a text or a list of texts.

        >>> Search.of("notes", {"q": "apple pie", "format": ["pdf"]}).params
        (('format', ('pdf',)), ('q', ('apple pie',)))
        """
        lists = {
            name: (value,) if isinstance(value, str) else tuple(value)
            for name, value in params.items()
        }
        return cls(index, tuple(sorted(lists.items())), day)

    def address(self) -> dict[str, list[str]]:
        """The parameters of the address, without the collection."""
        return {name: list(values) for name, values in self.params}

    @property
    def too_long(self) -> bool:
        """Whether the search is longer than what is remembered."""
        return sum(len(value) for _, values in self.params for value in values) > MAX_CHARACTERS


@dataclass(frozen=True, slots=True)
class _Memory:
    """The content of the file, the newest searches first."""

    recent: tuple[Search, ...] = ()
    saved: tuple[Search, ...] = ()
    collection: str = ""


class Searches:
    """The searches in a folder of indexes; several threads and processes may use it at once."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self._lock = threading.Lock()
        self._memory = _Memory()
        self._stamp: tuple[int, int] | None = None

    def recent(self) -> tuple[Search, ...]:
        """The searches made, the last one first; each once."""
        return self._read().recent

    def saved(self) -> tuple[Search, ...]:
        """The searches that were saved, the last one first."""
        return self._read().saved

    @property
    def collection(self) -> str:
        """The name of the collection used last; empty if it is not known."""
        return self._read().collection

    def remember(self, search: Search) -> None:
        """Put a search first among the recent ones."""
        dated = replace(search, day=search.day or date.today().isoformat())
        if not search.too_long and self.recent()[:1] != (dated,):
            self._change(lambda now: replace(now, recent=_first(dated, now.recent, MAX_RECENT)))

    def forget(self, search: Search) -> None:
        """Remove a search from the recent ones."""
        self._change(lambda now: replace(now, recent=_without(search, now.recent)))

    def forget_all(self) -> None:
        """Remove all recent searches; the saved ones stay."""
        self._change(lambda now: replace(now, recent=()))

    def save(self, search: Search) -> None:
        """Save a search, first among the saved ones."""
        dated = replace(search, day=search.day or date.today().isoformat())
        if not search.too_long:
            self._change(lambda now: replace(now, saved=_first(dated, now.saved, MAX_SAVED)))

    def unsave(self, search: Search) -> None:
        """Remove a search from the saved ones."""
        self._change(lambda now: replace(now, saved=_without(search, now.saved)))

    def remember_collection(self, name: str) -> None:
        """Remember the collection used last."""
        if name != self.collection:
            self._change(lambda now: replace(now, collection=name))

    def _read(self) -> _Memory:
        with self._lock:
            return self._refreshed()

    def _change(self, change: Callable[[_Memory], _Memory]) -> None:
        """Apply a change to what the file holds now, and write it if that is possible."""
        with self._lock:
            self._memory = change(self._refreshed())
            if not self._may_write():
                return
            data = json.dumps(_to_json(self._memory), ensure_ascii=False, indent=1)
            try:
                write_atomically(
                    self._path, lambda file: file.write(data.encode("utf-8", "replace"))
                )
                self._stamp = _stamp(self._path)
            except OSError:
                pass  # remembered until the server ends

    def _refreshed(self) -> _Memory:
        """What is remembered now; read again if another process has written the file."""
        stamp = _stamp(self._path)
        if stamp is not None and stamp != self._stamp:
            self._stamp = stamp
            self._memory = _read_file(self._path)
        return self._memory

    def _may_write(self) -> bool:
        """Whether the folder is there, and the file in it is ours, or there is none."""
        return self._path.parent.is_dir() and (
            _stamp(self._path) is not None or not os.path.lexists(self._path)
        )


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes with the file; None without a plain one of this user: a pipe never ends."""
    try:
        found = path.lstat()
    except OSError:
        return None
    own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    plain = stat.S_ISREG(found.st_mode)
    return (found.st_ino, found.st_mtime_ns) if own and plain else None


def _read_file(path: Path) -> _Memory:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        return _from_json(json.loads(data)) if len(data) <= _MAX_BYTES else _Memory()
    except (OSError, ValueError, RecursionError):
        return _Memory()


def _to_json(memory: _Memory) -> dict[str, Any]:
    def listed(searches: Iterable[Search]) -> list[dict[str, Any]]:
        return [{"index": s.index, "day": s.day, "params": s.address()} for s in searches]

    return {
        "collection": memory.collection,
        "recent": listed(memory.recent),
        "saved": listed(memory.saved),
    }


def _from_json(found: Any) -> _Memory:
    """What a file holds; everything that is not of its form is left out."""
    if not isinstance(found, dict):
        return _Memory()
    collection = found.get("collection")
    return _Memory(
        recent=tuple(_searches(found.get("recent")))[:MAX_RECENT],
        saved=tuple(_searches(found.get("saved")))[:MAX_SAVED],
        collection=collection if isinstance(collection, str) else "",
    )


def _searches(found: Any) -> Iterable[Search]:
    for one in found if isinstance(found, list) else ():
        index, params, day = (
            (one.get(name) for name in ("index", "params", "day"))
            if isinstance(one, dict)
            else (None, None, None)
        )
        if isinstance(index, str) and isinstance(params, dict) and isinstance(day, str):
            texts = {
                name: [value for value in values if isinstance(value, str)]
                for name, values in params.items()
                if isinstance(values, list)
            }
            yield Search.of(index, texts, day)


def _first(one: Search, others: Iterable[Search], most: int) -> tuple[Search, ...]:
    return (one, *_without(one, others))[:most]


def _without(one: Search, others: Iterable[Search]) -> tuple[Search, ...]:
    return tuple(other for other in others if other != one)


__all__ = ["FILE", "MAX_RECENT", "MAX_SAVED", "Search", "Searches"]
