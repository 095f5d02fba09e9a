"""Records: named values of an index, in one collection, for all that is no passage and no vector.

A record's id is a path such as "document/ID" or "term/apple", and its value a text. Longer values
are written in segments under ids of their own; the record itself says how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from retriever.storage.backends.milvus import schema
from retriever.storage.backends.milvus.client import MAX_ROWS, Connection, Row
from retriever.storage.backends.milvus.values import listed, loaded, quoted, segments, stored

_SEGMENTS = "\ue001"  # begins the value of a record that has segments; no stored text has it
_SEGMENT = "\ue002"  # in the id of a segment
_FIELDS = ("id", "owner", "number", "value")
_NOTHING = [0.0, 0.0]


@dataclass(frozen=True, slots=True)
class Record:
    """A named value. `owner` is what it belongs to, as a document; `number` is for its own use."""

    id: str
    value: str = ""
    number: int = 0
    owner: str = ""


class Records:
    """The records of one index."""

    def __init__(self, connection: Connection, index: str) -> None:
        self._connection = connection
        self._collection = schema.records(index)

    @property
    def collection(self) -> str:
        """The name of their collection."""
        return self._collection

    def get(self, ids: Iterable[str]) -> dict[str, Record]:
        """The records with these ids, by id; unknown ones are left out."""
        rows = self._connection.get(self._collection, [stored(id_) for id_ in ids], _FIELDS)
        return {record.id: record for record in self._whole(rows)}

    def value(self, id_: str) -> str | None:
        """The value of one record, or None."""
        found = self.get([id_]).get(id_)
        return None if found is None else found.value

    def is_empty(self) -> bool:
        """Whether there is no record."""
        return not self._connection.query(self._collection, "", ("id",), 1)

    def beginning(self, prefix: str, where: str = "") -> Iterator[Record]:
        """The records whose ids begin with `prefix`, in any order; `where` is another condition."""
        condition = beginning(prefix)
        yield from self._found(f"{condition} and {where}" if where else condition)

    def ids_beginning(self, prefix: str) -> Iterator[str]:
        """The ids of `beginning`, as they are stored, and those of segments."""
        for rows in self._connection.scan(self._collection, beginning(prefix), ("id",)):
            yield from (row["id"] for row in rows)

    def of(self, owners: Sequence[str]) -> Iterator[Record]:
        """The records of some owners, in any order."""
        yield from self._found(f"owner in {listed(owners)}")

    def put(self, records: Iterable[Record]) -> None:
        """Write records, replacing those with the same ids."""
        rows: list[Row] = []
        for record in records:
            parts = segments(stored(record.value))
            id_ = stored(record.id)
            common = {"owner": stored(record.owner), "number": record.number, "nothing": _NOTHING}
            if len(parts) == 1:
                rows.append({"id": id_, "value": parts[0], **common})
                continue
            # The first comes last: without it the others do not count.
            rows += [
                {"id": _segment(id_, at), "value": part, **common}
                for at, part in enumerate(parts, 1)
            ]
            rows.append({"id": id_, "value": f"{_SEGMENTS}{len(parts)}", **common})
        self._connection.upsert(self._collection, rows)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete records; segments of a long value go with `delete_beginning` of its id."""
        self.delete_stored([stored(id_) for id_ in ids])

    def delete_stored(self, ids: Sequence[str]) -> None:
        """Delete records by ids as `ids_beginning` gives them."""
        self._connection.delete_keys(self._collection, ids)

    def delete_beginning(self, prefix: str) -> None:
        """Delete the records whose ids begin with `prefix`."""
        self._connection.delete(self._collection, beginning(prefix))

    def delete_of(self, owners: Sequence[str], where: str = "") -> None:
        """Delete the records of some owners; `where` is another condition."""
        for start in range(0, len(owners), MAX_ROWS):
            condition = f"owner in {listed(owners[start : start + MAX_ROWS])}"
            self._connection.delete(
                self._collection, f"{condition} and {where}" if where else condition
            )

    def _found(self, where: str) -> Iterator[Record]:
        for rows in self._connection.scan(self._collection, where, _FIELDS):
            yield from self._whole([row for row in rows if _SEGMENT not in row["id"]])

    def _whole(self, rows: Sequence[Row]) -> Iterator[Record]:
        long = [row for row in rows if row["value"].startswith(_SEGMENTS)]
        parts: Mapping[str, str] = {}
        if long:
            ids = [
                _segment(row["id"], at)
                for row in long
                for at in range(1, int(row["value"].removeprefix(_SEGMENTS)) + 1)
            ]
            found = self._connection.get(self._collection, ids, ("id", "value"))
            parts = {row["id"]: row["value"] for row in found}
        for row in rows:
            value = row["value"]
            if value.startswith(_SEGMENTS):
                count = int(value.removeprefix(_SEGMENTS))
                value = "".join(
                    parts.get(_segment(row["id"], at), "") for at in range(1, count + 1)
                )
            yield Record(loaded(row["id"]), loaded(value), int(row["number"]), loaded(row["owner"]))


def _segment(id_: str, at: int) -> str:
    return f"{id_}{_SEGMENT}{at}"


def beginning(prefix: str) -> str:
    """The condition of ids that begin with `prefix`, which ends with an ASCII character."""
    return f"id >= {quoted(prefix)} and id < {quoted(_after(prefix))}"


def _after(prefix: str) -> str:
    """The smallest text after all that begin with `prefix`, which ends with an ASCII character."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


__all__ = ["Record", "Records", "beginning"]
