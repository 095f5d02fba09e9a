"""An index in Milvus for tests: Lite in a file, or the server that MILVUS_URI names.

Creating collections takes a second, so that the tests of a module share them, each with no rows.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from retriever.storage.addresses import Address
from retriever.storage.backends.milvus import schema
from retriever.storage.backends.milvus.backend import MilvusBackend
from retriever.storage.backends.milvus.client import Connection, Row
from retriever.types import IndexStateError

SERVER = os.environ.get("MILVUS_URI", "")
"""The address of a server, milvus://host:port, whose collections the tests make and drop."""


@contextmanager
def shared_index(folder: Path) -> Iterator[str]:
    """The address of an index whose collections are dropped in the end."""
    pytest.importorskip("pymilvus", reason="NOT TESTED: an index in Milvus needs pymilvus")
    if not SERVER:
        pytest.importorskip("milvus_lite", reason="NOT TESTED: Milvus Lite is not installed")
    name = f"test_{uuid.uuid4().hex}"
    address = f"{SERVER.rstrip('/')}/{name}" if SERVER else f"milvus+file:{folder / name}.db"
    connection = Connection(Address.parse(address))  # it keeps Lite running
    try:
        yield address
    finally:
        index = connection.address.collection
        connection.change("drop", lambda client: schema.drop(client, index))
        connection.close()


def emptied(address: str) -> str:
    """The address of an index, of which all rows are deleted."""
    connection = Connection(Address.parse(address))
    try:
        name = connection.address.collection
        for collection, where in (
            (schema.records(name), 'id >= ""'),
            (schema.vectors(name), 'key >= ""'),
            (schema.passages(name), f"key >= {-(2**63)}"),
        ):
            with suppress(IndexStateError):  # it may not be there
                connection.delete(collection, where)
    finally:
        connection.close()
    return address


def rows_of(address: str) -> dict[str, list[Row]]:
    """All rows of an index, by collection."""
    connection = Connection(Address.parse(address))
    try:
        name = connection.address.collection
        return {
            collection: connection.all(collection, where, [field for field, *_ in fields])
            for collection, where, fields in (
                (schema.records(name), 'id >= ""', schema.RECORD_FIELDS),
                (schema.vectors(name), 'key >= ""', schema.VECTOR_FIELDS),
                (schema.passages(name), f"key >= {-(2**63)}", schema.PASSAGE_FIELDS),
            )
        }
    finally:
        connection.close()


def filled(address: str, rows: Mapping[str, list[Row]]) -> None:
    """Let an index have these rows and no others."""
    emptied(address)
    connection = Connection(Address.parse(address))
    try:
        for collection, some in rows.items():
            connection.upsert(collection, some)
    finally:
        connection.close()


def opened(address: str) -> MilvusBackend:
    """The index at an address, made if there is none."""
    return MilvusBackend.open(address, create=True)
