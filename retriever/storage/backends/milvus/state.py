"""The state of an index: its settings, its generation, and what readers of one generation share."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from retriever.storage.backends.milvus.records import Record, Records

_PREFIX = "meta/"
_GENERATION = "generation"
VISIBLE = (
    *("embedder", "chunking", "dimension", "kind", "means", "calibration", "background"),
    *("last_run", "has_keys", "loose", "analyser"),
)
"""Settings of which a change begins a new generation, so that they are read once in each."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Generation:
    """The number of the last change, and that of the last one of documents."""

    number: int = 0
    documents: int = 0

    def next(self, *, documents: bool) -> Generation:
        """The generation after a change."""
        number = self.number + 1
        return Generation(number, number if documents else self.documents)

    def record(self) -> Record:
        """As it is stored."""
        return Record(f"{_PREFIX}{_GENERATION}", json.dumps(self.documents), self.number)


class Settings:
    """JSON values by name, kept as records."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def generation(self) -> Generation:
        """The newest generation."""
        found = self._records.get([f"{_PREFIX}{_GENERATION}"])
        for record in found.values():
            return Generation(record.number, int(json.loads(record.value)))
        return Generation()

    def get(self, names: Iterable[str]) -> dict[str, Any]:
        """The values of these names that are there, all in one call."""
        found = self._records.get([f"{_PREFIX}{name}" for name in names])
        return {
            id_.removeprefix(_PREFIX): json.loads(record.value)
            for id_, record in found.items()
            if record.value != "null"
        }

    def value(self, name: str) -> Any:
        """One value, or None."""
        return self.get([name]).get(name)

    def put(self, values: Mapping[str, Any], generation: Generation | None = None) -> None:
        """Store values, None for none, and the generation that begins with them."""
        records = [Record(f"{_PREFIX}{name}", json.dumps(value)) for name, value in values.items()]
        self._records.put([*records, *([generation.record()] if generation else [])])


class Shared:
    """What readers of one generation have found out, shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generation: Generation | None = None
        self._values: dict[str, Any] = {}

    def get(
        self,
        generation: Generation,
        name: str,
        make: Callable[[], T],
        keep: Callable[[T], bool] = lambda made: True,
    ) -> T:
        """What `make` gives, made once in a generation if it is to be kept."""
        with self._lock:
            if generation == self._generation and name in self._values:
                return cast(T, self._values[name])
        made = make()
        with self._lock:
            if not keep(made):
                return made
            if self._generation is None or generation.number >= self._generation.number:
                self._begin(generation)
                self._values[name] = made
        return made

    def _begin(self, generation: Generation) -> None:
        known = self._generation
        if generation == known:
            return
        same = known is not None and known.documents == generation.documents
        # Documents are much, and stay the same when vectors or settings change.
        self._values = {
            name: value
            for name, value in self._values.items()
            if same and name.startswith(DOCUMENTS)
        }
        self._generation = generation

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._generation, self._values = None, {}


DOCUMENTS = "documents"
"""The beginning of the names of shared values that depend on documents alone."""

__all__ = ["DOCUMENTS", "VISIBLE", "Generation", "Settings", "Shared"]
