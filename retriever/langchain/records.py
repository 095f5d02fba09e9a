"""`AlignedWVARecordManager`: what `langchain_core.indexing.index` has written to a store.

The keys are in the store's own SQLite file. A text that is added while it is indexed is noted in
the transaction that adds it, and a text that is deleted is forgotten in the one that deletes it. So
the store and its records agree, wherever a process is killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.indexing import RecordManager
from langchain_core.runnables import run_in_executor

from retriever.langchain.metadata import restored
from retriever.langchain.store import AlignedWVAVectorStore
from retriever.storage.catalog.indexed_keys import IndexedKey
from retriever.types import UsageError, check_text, check_texts

SourceKey = str | Callable[[Document], str] | None


class AlignedWVARecordManager(RecordManager):
    """The records of one `namespace` of a store: `index(docs, manager, store, cleanup="full")`.

    `source_id_key` is as given to `index`. It matters only where a process is killed between adding
    texts and noting their sources: they are then noted with the source that their metadata names.
    """

    def __init__(
        self,
        store: AlignedWVAVectorStore,
        namespace: str = "default",
        *,
        source_id_key: SourceKey = "source",
    ) -> None:
        if not isinstance(store, AlignedWVAVectorStore):
            raise UsageError(f"store must be an AlignedWVAVectorStore; it is {store!r:.80}")
        check_text(namespace, "the namespace")
        super().__init__(namespace)
        self._store = store
        self._source_id_key = source_id_key
        self._asked: dict[str, None] = {}  # keys that did not exist when asked for
        store.register(self)

    def create_schema(self) -> None:
        """Nothing: the first write makes the table."""

    async def acreate_schema(self) -> None:
        """As `create_schema`."""

    def get_time(self) -> float:
        """The time in seconds; it never falls behind a time that is stored."""
        return max(time.time(), self._store.backend.last_seen())

    async def aget_time(self) -> float:
        """As `get_time`."""
        return await run_in_executor(None, self.get_time)

    def update(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """Note that keys were seen now. Without `group_ids` they keep their groups.

        Raises UsageError if the clock is behind `time_at_least`.
        """
        check_texts(keys, "keys")
        if group_ids is not None and len(group_ids) != len(keys):
            raise UsageError(f"{len(keys)} keys need as many group_ids, not {len(group_ids)}")
        now = self.get_time()
        if time_at_least is not None and time_at_least > now:
            raise UsageError(
                f"the clock ({now}) is behind the time of the last run ({time_at_least}); set it"
            )
        groups = [None] * len(keys) if group_ids is None else group_ids
        noted = [
            IndexedKey(self.namespace, key, now, group)
            for key, group in zip(keys, groups, strict=True)
        ]
        if noted:
            with self._store.changing() as backend:
                backend.put_keys(noted, keep_groups=group_ids is None)
        for key in keys:
            self._asked.pop(key, None)

    async def aupdate(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """As `update`."""
        await run_in_executor(
            None,
            lambda: self.update(keys, group_ids=group_ids, time_at_least=time_at_least),
        )

    def exists(self, keys: Sequence[str]) -> list[bool]:
        """Whether each key is noted."""
        check_texts(keys, "keys")
        known = self._store.backend.known_keys(self.namespace, keys)
        self._asked |= dict.fromkeys(key for key in keys if key not in known)
        return [key in known for key in keys]

    async def aexists(self, keys: Sequence[str]) -> list[bool]:
        """As `exists`."""
        return await run_in_executor(None, self.exists, keys)

    def list_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """The keys seen before and after these times, of these groups."""
        return self._store.backend.list_keys(
            self.namespace, before=before, after=after, groups=group_ids, limit=limit
        )

    async def alist_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """As `list_keys`."""
        return await run_in_executor(
            None,
            lambda: self.list_keys(before=before, after=after, group_ids=group_ids, limit=limit),
        )

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Forget keys; the texts stay."""
        check_texts(keys, "keys")
        if keys:
            with self._store.changing() as backend:
                backend.remove_keys(self.namespace, keys)

    async def adelete_keys(self, keys: Sequence[str]) -> None:
        """As `delete_keys`."""
        await run_in_executor(None, self.delete_keys, keys)

    def noted(self, texts: Mapping[str, tuple[str, Mapping[str, Any]]]) -> list[IndexedKey]:
        """What to note of texts (id → text and stored metadata) in the transaction that adds them.

        Those that are being indexed: whose keys were asked for, and did not exist.
        """
        found = [id_ for id_ in texts if id_ in self._asked]
        if not found:
            return []
        now = self.get_time()
        return [IndexedKey(self.namespace, id_, now, self._source(*texts[id_])) for id_ in found]

    def _source(self, text: str, metadata: Mapping[str, Any]) -> str | None:
        """The source that a text names; None if it names none."""
        key, values = self._source_id_key, restored(metadata)
        if callable(key):
            return key(Document(page_content=text, metadata=values))
        source = None if key is None else values.get(key)
        return source if isinstance(source, str) else None


__all__ = ["AlignedWVARecordManager"]
