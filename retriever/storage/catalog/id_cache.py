"""A cache of chunk ids by key, and keys by id, which a search needs many times.

The entries belong to one generation of one index; those of another are dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

MAX_ENTRIES = 100_000
"""The maximum number of entries of each kind (15 MB); a full cache is cleared."""

Asked = TypeVar("Asked", int, str)
Found = TypeVar("Found", int, str)


class LookupCache(Generic[Asked, Found]):
    """Results of lookups by key; a key without a result is not cached."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[Asked, Found] = {}

    def get(
        self, asked: Iterable[Asked], look_up: Callable[[list[Asked]], Mapping[Asked, Found]]
    ) -> dict[Asked, Found]:
        """The results for those of `asked` that have one; `look_up` gets those not cached."""
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
    """The caches of one index, shared by threads; a transaction uses those of its generation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generation: tuple[object, int] | None = None
        self._caches = (LookupCache[int, str](), LookupCache[str, int]())

    def at(
        self, identity: object, generation: int
    ) -> tuple[LookupCache[int, str], LookupCache[str, int]]:
        """The caches of this generation: ids by key, and keys by id."""
        with self._lock:
            if self._generation != (identity, generation):
                self._generation = (identity, generation)
                self._caches = (LookupCache(), LookupCache())
            return self._caches


__all__ = ["MAX_ENTRIES", "IdCaches", "LookupCache"]
