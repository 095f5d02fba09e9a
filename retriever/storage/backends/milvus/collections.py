"""`Collections`: an index's three collections, and the rows of passages in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from operator import methodcaller

from retriever.storage.backends.milvus import schema
from retriever.storage.backends.milvus.client import Connection, Row
from retriever.storage.backends.milvus.records import Records
from retriever.types import IndexStateError


class Collections:
    """The collections of one index. Those of passages and vectors may not be there yet."""

    def __init__(self, connection: Connection, index: str) -> None:
        self.connection = connection
        self.index = index
        self.records = Records(connection, index)
        self.passages = schema.passages(index)
        self.vectors = schema.vectors(index)

    def for_searches(self) -> Collections:
        """The same collections, over a connection that gives up sooner."""
        return Collections(self.connection.for_searches(), self.index)

    def exists(self) -> bool:
        """Whether there is an index."""
        name = schema.records(self.index)
        return self.connection.change("look", lambda client: bool(client.has_collection(name)))

    def load(self) -> None:
        """Have Milvus Lite load the collections, which it forgets; a server keeps them loaded."""
        if self.connection.address.is_lite:
            self.connection.change("open", lambda client: schema.load(client, self.index))

    def flush(self) -> None:
        """Have Milvus Lite write what is in memory, where it searches terms slowly.

        A server does that by itself.
        """
        if self.connection.address.is_lite:
            self.connection.change("write", lambda client: schema.flush(client, self.index))

    def create(self) -> None:
        """Create the collection of records."""
        self.connection.change(
            "create",
            lambda client: schema.create_records(client, self.index, wait=self._waits),
        )

    def create_vectors(self, dimension: int, kind: str) -> None:
        """Create the collections of passages and vectors."""
        self.connection.change(
            "create",
            lambda client: schema.create(client, self.index, dimension, kind, wait=self._waits),
        )

    @property
    def _waits(self) -> bool:
        """Whether an index may not be made yet when its call returns.

        The library waits half a second for each; Milvus Lite has made it by then.
        """
        return not self.connection.address.is_lite

    def drop_vectors(self) -> None:
        """Delete the collections of passages and vectors, for another dimension."""
        for name in (self.passages, self.vectors):
            self.connection.change("drop", methodcaller("drop_collection", name))

    def get(self, keys: Sequence[int], fields: Sequence[str]) -> list[Row]:
        """The passages with these keys, in any order; unknown keys are left out."""
        return self.connection.get(self.passages, keys, fields)

    def all(self, where: str, fields: Sequence[str]) -> list[Row]:
        """The passages that match an expression, in any order; for a few small fields."""
        return self.connection.all(self.passages, where, fields)

    def scan(self, where: str, fields: Sequence[str], batch: int = 1000) -> Iterator[list[Row]]:
        """The passages that match an expression, in batches, in any order."""
        return self.connection.scan(self.passages, where, fields, batch)

    def delete_passages(self, keys: Sequence[int]) -> None:
        """Delete the passages with these keys."""
        self.connection.delete_keys(self.passages, keys)

    def compact(self) -> None:
        """Ask Milvus to tidy its files; one that cannot leaves them as they are."""
        for name in (self.passages, self.vectors, schema.records(self.index)):
            with suppress(IndexStateError):
                self.connection.change("compact", methodcaller("compact", name))


__all__ = ["Collections"]
