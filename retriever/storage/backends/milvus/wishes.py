"""Passages without a vector that searches would have liked to compare, as records.

There are so many records at most, each of one search: what nobody takes is overwritten. It is no
data of the index: a search never fails for it.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress

from retriever.storage.backends.milvus.records import Record, Records
from retriever.types import IndexStateError

_PREFIX = "wanted/"
_MOST = 64


def note(records: Records, chunk_ids: Iterable[str]) -> None:
    """Ask for passages, best first; silently not where that is impossible."""
    with suppress(IndexStateError):
        id_ = f"{_PREFIX}{secrets.randbelow(_MOST)}"
        records.put([Record(id_, json.dumps(list(chunk_ids)), time.time_ns())])


def take(records: Records) -> list[str]:
    """The passages that were asked for since the last call, the newest search's first."""
    known = records.get(f"{_PREFIX}{at}" for at in range(_MOST))
    found = sorted(known.values(), key=lambda record: -record.number)
    records.delete([record.id for record in found])
    return list(dict.fromkeys(id_ for record in found for id_ in json.loads(record.value)))


__all__ = ["note", "take"]
