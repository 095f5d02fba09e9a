"""The keys that an indexing program has written, as `retriever.storage.catalog.indexed_keys`.

Each is a record, whose number is the time in microseconds; so times are compared by the server.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from hashlib import sha256

from retriever.storage.backends.milvus.records import Record, Records
from retriever.storage.catalog.indexed_keys import IndexedKey

_PREFIX = "key/"
_SECOND = 1_000_000


class Keys:
    """The indexed keys of one index."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def put(self, keys: Sequence[IndexedKey], *, keep_groups: bool = False) -> None:
        """Insert keys, or replace their times and groups; with `keep_groups`, the times alone."""
        groups: dict[str, str | None] = {}
        if keep_groups:
            found = self._records.get([_id(one.namespace, one.key) for one in keys])
            groups = {id_: json.loads(record.value)[2] for id_, record in found.items()}
        self._records.put(
            Record(id_, value, math.floor(one.seen * _SECOND), _owner(one.key))
            for one in keys
            for id_ in [_id(one.namespace, one.key)]
            for value in [
                json.dumps([one.namespace, one.key, groups.get(id_, one.group), one.seen])
            ]
        )

    def remove(self, keys: Sequence[str], namespace: str | None = None) -> None:
        """Remove keys from one namespace, or from all."""
        if namespace is None:
            self._records.delete_of([_owner(key) for key in keys])
        else:
            self._records.delete([_id(namespace, key) for key in keys])

    def known(self, namespace: str, keys: Sequence[str]) -> set[str]:
        """Those of the keys that are stored."""
        found = self._records.get([_id(namespace, key) for key in keys])
        return {json.loads(record.value)[1] for record in found.values()}

    def listed(
        self,
        namespace: str,
        *,
        before: float | None = None,
        after: float | None = None,
        groups: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """The keys seen before and after these times, of these groups, the oldest first."""
        wanted = None if groups is None else set(groups)
        conditions = []
        if before is not None:
            conditions.append(f"number <= {math.floor(before * _SECOND)}")
        if after is not None:
            conditions.append(f"number >= {math.floor(after * _SECOND)}")
        found = []
        for record in self._records.beginning(_namespace(namespace), " and ".join(conditions)):
            _, key, group, seen = json.loads(record.value)
            if (
                (before is None or seen < before)
                and (after is None or seen > after)
                and (wanted is None or group in wanted)
            ):
                found.append((seen, key.encode("utf-8", "surrogatepass"), key))
        return [key for *_, key in sorted(found)[:limit]]

    def every(self) -> list[IndexedKey]:
        """All keys, in any order."""
        found = (json.loads(record.value) for record in self._records.beginning(_PREFIX))
        return [IndexedKey(namespace, key, seen, group) for namespace, key, group, seen in found]

    def last_seen(self) -> float:
        """The newest time of any key; 0 without keys."""
        return max(
            (float(json.loads(record.value)[3]) for record in self._records.beginning(_PREFIX)),
            default=0.0,
        )


def _namespace(namespace: str) -> str:
    return f"{_PREFIX}{_hash(namespace)}/"


def _id(namespace: str, key: str) -> str:
    return f"{_namespace(namespace)}{_hash(key)}"


def _owner(key: str) -> str:
    return f"{_PREFIX}{_hash(key)}"


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


__all__ = ["Keys"]
