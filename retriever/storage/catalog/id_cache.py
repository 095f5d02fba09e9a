"""Chunks' ids by key and keys by id, remembered: a search asks for the same ones many times.

Both belong to one generation of one index; of another one nothing is remembered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

MAX_ENTRIES = 100_000
"""So many of each are kept, 15 MB; then it begins anew."""

Asked = TypeVar("Asked", int, str)
Found = TypeVar("Found", int, str)


class LookupCache(Generic[Asked, Found]):
    """What was found of what was asked; that something is not there is not remembered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[Asked, Found] = {}

    def get(
        self, asked: Iterable[Asked], look_up: Callable[[list[Asked]], Mapping[Asked, Found]]
    ) -> dict[Asked, Found]:
        """Those of `asked` that are there; `look_up` is given those not known yet."""
        wanted = list(asked)
        with self._lock:
            found = {one: self._found[one] for one in wanted if one in self._found}
        missing = [one for one in wanted if one not in found]
        if missing:
            new = look_up(missing)
            with self._lock:
                if len(self._found) + len(new) > MAX_ENTRIES:
                    self._found.clear()
                self._found.update(new)
            found |= new
        return found


class IdCaches:
    """The names of one index; threads share it, and each transaction asks for its generation's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generation: tuple[object, int] | None = None
        self._caches = (LookupCache[int, str](), LookupCache[str, int]())

    def at(
        self, identity: object, generation: int
    ) -> tuple[LookupCache[int, str], LookupCache[str, int]]:
        """Ids by key, and keys by id."""
        with self._lock:
            if self._generation != (identity, generation):
                self._generation = (identity, generation)
                self._caches = (LookupCache(), LookupCache())
            return self._caches


__all__ = ["MAX_ENTRIES", "IdCaches", "LookupCache"]
