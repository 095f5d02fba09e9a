"""The collections of an index in Milvus: their fields and indexes.

Milvus wants a vector in each collection, so that records have one without meaning. Vectors are
compared by inner products: calibrated vectors have unit length, and one of zeros means none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retriever.storage.backends.milvus.values import MAX_BYTES

if TYPE_CHECKING:
    from pymilvus import MilvusClient

FORMAT = 1
"""The number of this schema; an index of a larger one than `ADAPTED` is refused."""

ADAPTED = 2
"""The format's number while the index has an adapter, which an older program would not apply."""

FLAT = "FLAT"
"""The index kind that compares with all vectors: its results are exact."""

_ID, _NAME, _SHORT = 64, 512, 256


def passages(name: str) -> str:
    """The collection of passages."""
    return name


def vectors(name: str) -> str:
    """The collection of raw vectors."""
    return f"{name}_vectors"


def records(name: str) -> str:
    """The collection of documents, texts, terms and settings."""
    return f"{name}_records"


PASSAGE_FIELDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("key", "INT64", {"is_primary": True}),  # values.key_of(chunk id)
    ("document", "VARCHAR", {"max_length": _ID}),
    ("edition", "VARCHAR", {"max_length": _ID}),  # the version of the document it was written with
    ("position", "INT64", {}),  # among the document's passages
    ("page_at", "INT64", {}),  # 0-based, among the document's pages
    ("page", "INT64", {"nullable": True}),  # the page's number
    ("start", "INT64", {}),
    ("stop", "INT64", {}),
    ("text", "VARCHAR", {"max_length": MAX_BYTES}),  # empty if `long`
    ("terms", "VARCHAR", {"max_length": MAX_BYTES}),  # empty if `long`
    ("long", "BOOL", {}),  # whether text and terms are too long: they are in the records
    ("length", "INT64", {}),  # the terms that count
    ("language", "VARCHAR", {"max_length": 16}),
    ("long_words", "VARCHAR", {"max_length": MAX_BYTES}),  # reversed, separated by spaces
    ("vector", "VARCHAR", {"max_length": _NAME}),  # the key of the raw vector, empty for none
    ("embedded", "BOOL", {}),
    ("added", "INT64", {}),  # when it was written, in nanoseconds
    # Fields of the document that filters compare: see `filters`
    ("source", "VARCHAR", {"max_length": MAX_BYTES}),
    ("path", "VARCHAR", {"max_length": MAX_BYTES}),
    ("format", "VARCHAR", {"max_length": _SHORT}),
    ("title", "VARCHAR", {"max_length": MAX_BYTES}),
    ("author", "VARCHAR", {"max_length": MAX_BYTES}),
    ("date_from", "INT64", {"nullable": True}),
    ("date_to", "INT64", {"nullable": True}),
    ("metadata", "JSON", {"nullable": True}),
    ("sparse", "SPARSE_FLOAT_VECTOR", {}),  # BM25 weights by the hash of the term
    ("dense", "FLOAT_VECTOR", {}),  # calibrated; zeros without a vector
)

VECTOR_FIELDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("key", "VARCHAR", {"is_primary": True, "max_length": _NAME}),
    ("raw", "FLOAT_VECTOR", {}),
)

RECORD_FIELDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("id", "VARCHAR", {"is_primary": True, "max_length": _NAME}),  # "kind/name/…"
    ("owner", "VARCHAR", {"max_length": _ID}),  # the document it belongs to, or empty
    ("number", "INT64", {}),
    ("value", "VARCHAR", {"max_length": MAX_BYTES}),
    ("nothing", "FLOAT_VECTOR", {"dim": 2}),
)


def create(
    client: MilvusClient, name: str, dimension: int, kind: str = FLAT, *, wait: bool = True
) -> None:
    """Create the two collections with vectors of this dimension, those that are missing.

    `kind` is the index of calibrated vectors: FLAT, HNSW, IVF_FLAT, IVF_SQ8, AUTOINDEX, or any
    other that a server knows. Without `wait`, indexes are taken as made when they were asked for.
    """
    _create(
        *(client, passages(name), PASSAGE_FIELDS, dimension),
        {"dense": (kind, "IP"), "sparse": ("SPARSE_INVERTED_INDEX", "IP")},
        wait=wait,
    )
    _create(client, vectors(name), VECTOR_FIELDS, dimension, {"raw": (FLAT, "IP")}, wait=wait)


def create_records(client: MilvusClient, name: str, *, wait: bool = True) -> None:
    """Create the collection of records if it is missing."""
    _create(client, records(name), RECORD_FIELDS, 0, {"nothing": (FLAT, "IP")}, wait=wait)


def _create(
    client: MilvusClient,
    name: str,
    fields: tuple[tuple[str, str, dict[str, Any]], ...],
    dimension: int,
    indexes: dict[str, tuple[str, str]],
    *,
    wait: bool,
) -> None:
    from pymilvus import DataType

    if client.has_collection(name):
        return
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    for field, type_, options in fields:
        dim = {"dim": dimension} if type_ == "FLOAT_VECTOR" and "dim" not in options else {}
        schema.add_field(field, DataType[type_], **options, **dim)
    params = client.prepare_index_params()
    for field, (kind, metric) in indexes.items():
        params.add_index(field, index_type=kind, metric_type=metric)
    # Raw vectors and records are read by key, never compared: they need not be in memory.
    on_disk = {} if "sparse" in indexes else {"properties": {"mmap.enabled": "true"}}
    client.create_collection(name, schema=schema, consistency_level="Strong", **on_disk)
    client.create_index(name, params, sync=wait)
    client.load_collection(name)


def load(client: MilvusClient, name: str) -> None:
    """Load the collections of an index that are there."""
    for collection in _present(client, name):
        client.load_collection(collection)


def flush(client: MilvusClient, name: str) -> None:
    """Write the newest rows of an index."""
    for collection in _present(client, name):
        client.flush(collection)


def drop(client: MilvusClient, name: str) -> None:
    """Delete an index with all its collections."""
    for collection in _present(client, name):
        client.drop_collection(collection)


def _present(client: MilvusClient, name: str) -> list[str]:
    return list(filter(client.has_collection, (passages(name), vectors(name), records(name))))


__all__ = [
    "ADAPTED",
    "FLAT",
    "FORMAT",
    "PASSAGE_FIELDS",
    "RECORD_FIELDS",
    "VECTOR_FIELDS",
    "create",
    "create_records",
    "drop",
    "flush",
    "load",
    "passages",
    "records",
    "vectors",
]
