"""A connection to Milvus: retries while it is away, and errors as sentences."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar

from retriever.storage.addresses import Address
from retriever.types import IndexStateError, UsageError
from retriever.version import install_command

if TYPE_CHECKING:
    from pymilvus import MilvusClient

log = logging.getLogger(__name__)

TRIES = 6
"""How often a call is tried while the server is away."""
SEARCH_TRIES = 3
"""How often a call of a search is tried: somebody waits for its result."""
FIRST_WAIT = 0.25
"""Seconds before the second try; each later wait is twice as long."""
MAX_ROWS = 500
"""Rows of one upsert."""
MAX_SENT = 16 * 2**20
"""Bytes of one upsert, about, far below the limit of 64 MB."""
MAX_FOUND = 16_384
"""The most rows that Milvus returns from one search or query."""
MAX_LITE = 1_000_000
"""The same of Milvus Lite's queries, which have no such limit: each looks at all rows."""
_VECTORS = frozenset({"dense", "raw"})
_LITE_VECTORS = 4_000  # rows of a batch with vectors, which are lists of numbers for a while
_AWAY = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")

_lite: Counter[str] = Counter()  # the connections to files of Milvus Lite
_lock = threading.Lock()

_QUIET = {"grpc_options": {"grpc.keepalive_time_ms": 2**31 - 1}}
"""Milvus Lite's own server refuses the client's questions whether it is still there."""

T = TypeVar("T")
Row = dict[str, Any]


class Connection:
    """One index's connection. Threads may share it; writes are made one after another."""

    def __init__(self, address: Address, sleep: Callable[[float], None] = time.sleep) -> None:
        """Connect. Raises UsageError without the library, IndexStateError without a server."""
        try:
            from pymilvus import MilvusClient
        except ModuleNotFoundError as error:
            if error.name != "pymilvus":
                raise
            raise UsageError(
                f"an index in Milvus needs pymilvus: {install_command('milvus')}"
            ) from None
        # Their own log lines repeat, with a traceback, what is raised anyway, or, of the server in
        # Milvus Lite, what the client does without.
        for name in ("pymilvus", "grpc._server"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.address = address
        self._sleep = sleep
        self._tries = TRIES
        self._writing = threading.RLock()
        self._closed = False
        options = {**address.sign_in(), **(_QUIET if address.is_lite else {})}
        self.client: MilvusClient = self._tried(
            lambda: MilvusClient(address.uri, timeout=60, **options), "connect"
        )
        if address.is_lite:
            with _lock:
                _lite[address.uri] += 1

    @property
    def name(self) -> str:
        """The address for display."""
        return self.address.text

    def close(self) -> None:
        """Close the connection; the last one of this process gives Milvus Lite's file free."""
        if self._closed:
            return
        self._closed = True
        self.client.close()
        if self.address.is_lite:
            _release(self.address.uri)

    def for_searches(self) -> Connection:
        """The same connection, which gives up sooner while the server is away."""
        found = copy(self)
        found._tries = SEARCH_TRIES
        return found

    # Reading

    def get(self, collection: str, keys: Sequence[Any], fields: Sequence[str]) -> list[Row]:
        """The rows with these primary keys, in any order; unknown keys are left out."""
        found: list[Row] = []
        for start in range(0, len(keys), MAX_ROWS):
            some = list(keys[start : start + MAX_ROWS])

            def read(some: list[Any] = some) -> list[Row]:
                return list(self.client.get(collection, ids=some, output_fields=list(fields)))

            found += self._tried(read, "read")
        return found

    def query(
        self, collection: str, where: str, fields: Sequence[str], limit: int = MAX_FOUND
    ) -> list[Row]:
        """The rows that match an expression, in any order: at most `limit`."""
        return self._tried(
            lambda: list(
                self.client.query(collection, filter=where, output_fields=list(fields), limit=limit)
            ),
            "read",
        )

    def all(self, collection: str, where: str, fields: Sequence[str]) -> list[Row]:
        """All rows that match an expression, in any order; for a few small fields."""
        most = MAX_LITE if self.address.is_lite else MAX_FOUND
        found = self.query(collection, where, fields, most)
        if len(found) < most:
            return found
        return [row for rows in self.scan(collection, where, fields, MAX_FOUND) for row in rows]

    def count(self, collection: str, where: str = "") -> int:
        """The number of rows that match an expression."""
        found = self._tried(
            lambda: self.client.query(collection, filter=where, output_fields=["count(*)"]),
            "count",
        )
        return int(found[0]["count(*)"])

    def scan(
        self, collection: str, where: str, fields: Sequence[str], batch: int = 1000
    ) -> Iterator[list[Row]]:
        """All rows that match an expression, in batches, in any order.

        A server gives the next `batch` from where it was. Milvus Lite looks at all rows for each,
        so that its batches are as large as they can be.
        """
        if self.address.is_lite:
            batch = MAX_FOUND if _VECTORS.isdisjoint(fields) else _LITE_VECTORS
        iterator = self._tried(
            lambda: self.client.query_iterator(
                collection, batch_size=batch, filter=where, output_fields=list(fields)
            ),
            "read",
        )
        try:
            while rows := self._tried(iterator.next, "read"):
                yield list(rows)
        finally:
            iterator.close()

    def search(
        self,
        collection: str,
        field: str,
        query: Any,
        limit: int,
        *,
        where: str = "",
        fields: Sequence[str] = ("key",),
        params: dict[str, Any] | None = None,
    ) -> list[Row]:
        """The rows nearest to a vector, best first: their `id`, `distance` and fields."""
        found = self._tried(
            lambda: self.client.search(
                collection,
                [query],
                anns_field=field,
                limit=limit,
                filter=where,
                output_fields=list(fields),
                search_params={"metric_type": "IP", "params": params or {}},
            ),
            "search",
        )
        return [_row_of(hit, fields) for hit in found[0]]

    # Writing

    def upsert(self, collection: str, rows: Sequence[Row], *, partial: bool = False) -> None:
        """Write rows, replacing those with the same primary keys.

        With `partial` the other fields of existing rows stay as they are. Milvus Lite's insertion
        replaces rows, too; its upsert reads each row first, and copies all deletions for each.
        """
        inserts = self.address.is_lite and not partial
        with self._writing:
            for some in _sendable(rows):

                def write(some: list[Row] = some) -> None:
                    if inserts:
                        self.client.insert(collection, some)
                    else:
                        self.client.upsert(collection, some, partial_update=partial)

                self._tried(write, "write")

    def delete(self, collection: str, where: str) -> None:
        """Delete the rows that match an expression."""
        with self._writing:
            self._tried(lambda: self.client.delete(collection, filter=where), "delete")

    def delete_keys(self, collection: str, keys: Sequence[Any]) -> None:
        """Delete the rows with these primary keys."""
        with self._writing:
            for start in range(0, len(keys), MAX_ROWS):
                some = list(keys[start : start + MAX_ROWS])

                def delete(some: list[Any] = some) -> None:
                    self.client.delete(collection, ids=some)

                self._tried(delete, "delete")

    def change(self, what: str, change: Callable[[MilvusClient], T]) -> T:
        """Make any other change, such as to collections, with the same retries."""
        with self._writing:
            return self._tried(lambda: change(self.client), what)

    def _tried(self, call: Callable[[], T], what: str) -> T:
        """The call's value. It must be repeatable: reads, upserts and deletes are."""
        from pymilvus.exceptions import MilvusException

        wait = FIRST_WAIT
        for left in reversed(range(self._tries)):
            try:
                return call()
            except MilvusException as error:
                if not left or not is_away(error):
                    raise self._state_error(what, error) from None
                log.info("Milvus at %s is away, trying again: %s", self.address.text, error)
            except (OSError, RuntimeError) as error:  # of Milvus Lite
                raise self._state_error(what, error) from None
            self._sleep(wait)
            wait *= 2
        raise AssertionError

    def _state_error(self, what: str, error: Exception) -> IndexStateError:
        told = str(getattr(error, "message", "") or error).splitlines()[0][:300]
        if is_away(error):
            return IndexStateError(
                f"Milvus at {self.address.text} cannot be reached ({told}); is it running? What "
                "was written so far is kept; run the same command again when it is"
            )
        return IndexStateError(f"Milvus at {self.address.text} could not {what}: {told}")


def _row_of(hit: Any, fields: Sequence[str]) -> Row:
    """A hit's fields; a server may leave out the primary key, which the hit itself has."""
    entity = hit.fields
    found = {field: entity[field] if field in entity else hit.get(field) for field in fields}
    return {"id": hit.id, "distance": hit.distance, **found}


def _release(path: str) -> None:
    """Let other processes open a file of Milvus Lite that no connection uses any more."""
    from milvus_lite.server_manager import server_manager_instance

    with _lock:
        _lite[path] -= 1
        if _lite[path] <= 0:
            del _lite[path]
            server_manager_instance.release_server(path)


def _sendable(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """The rows in parts of a size that a server takes."""
    some: list[Row] = []
    size = 0
    for row in rows:
        more = sum(_size(value) for value in row.values())
        if some and (len(some) == MAX_ROWS or size + more > MAX_SENT):
            yield some
            some, size = [], 0
        some.append(row)
        size += more
    if some:
        yield some


def _size(value: object) -> int:
    """The bytes of a value, about."""
    if isinstance(value, str):
        return len(value) * (1 if value.isascii() else 3)
    return int(getattr(value, "nbytes", 8))


def is_away(error: Exception) -> bool:
    """Whether a later try may succeed."""
    code = getattr(error, "code", None)
    name = getattr(code, "name", "")
    return name in _AWAY or any(word in str(error) for word in (*_AWAY, "Fail connecting"))


__all__ = [
    "FIRST_WAIT",
    "MAX_FOUND",
    "MAX_LITE",
    "MAX_ROWS",
    "MAX_SENT",
    "SEARCH_TRIES",
    "TRIES",
    "Connection",
    "Row",
    "is_away",
]
