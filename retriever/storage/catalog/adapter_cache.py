"""A cache of the adapter that the current calibration has: decoding one takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable

from retriever.storage.adapter import Adapter

_Key = tuple[str, int]


class AdapterCache:
    """The adapter of one calibration, by the identity of the index and its number; for threads."""

    def __init__(self) -> None:
        self._known: tuple[_Key, Adapter | None] | None = None

    def get(self, key: _Key, read: Callable[[], Adapter | None]) -> Adapter | None:
        """The adapter of this calibration; `read` is called where it is not known."""
        known = self._known  # one assignment replaces it
        if known is None or known[0] != key:
            known = (key, read())
            self._known = known
        return known[1]


__all__ = ["AdapterCache"]
