"""The keys that an indexing program has written, beside the documents themselves.

A program that copies a source into an index keeps, for each key (a document's id), when it saw it
last and which group of the source it belongs to. What it did not see again is deleted. The keys are
in the same file as the documents, so one transaction can change both.

The first write adds the table to an index without it; version 0.1.0 ignores it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from retriever.storage.catalog import seals
from retriever.storage.catalog.schema import blob, unblob

_TABLE = (
    """CREATE TABLE IF NOT EXISTS indexed_keys (
        namespace BLOB NOT NULL, key BLOB NOT NULL, grouping BLOB, seen REAL NOT NULL,
        PRIMARY KEY (namespace, key)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS indexed_keys_seen ON indexed_keys (namespace, seen)",
    "CREATE INDEX IF NOT EXISTS indexed_keys_group ON indexed_keys (namespace, grouping, seen)",
    "CREATE INDEX IF NOT EXISTS indexed_keys_key ON indexed_keys (key)",
)
_MANY = 500  # values in one statement: SQLite has a limit of parameters


@dataclass(frozen=True, slots=True)
class IndexedKey:
    """A key that was seen at a time (seconds since 1970), and its group; None for no group."""

    namespace: str
    key: str
    seen: float
    group: str | None = None


def add_table(connection: sqlite3.Connection) -> None:
    """Add the table to a catalog without it."""
    for statement in _TABLE:
        connection.execute(statement)


def put(
    connection: sqlite3.Connection, keys: Iterable[IndexedKey], *, keep_groups: bool = False
) -> None:
    """Insert keys, or replace their times and groups; with `keep_groups`, the times alone."""
    if not _exists(connection):
        add_table(connection)
        seals.install(connection)
    group = "" if keep_groups else ", grouping = excluded.grouping"
    connection.executemany(
        f"""INSERT INTO indexed_keys (namespace, key, grouping, seen) VALUES (?, ?, ?, ?)
        ON CONFLICT (namespace, key) DO UPDATE SET seen = excluded.seen{group}""",
        ((blob(one.namespace), blob(one.key), _optional(one.group), one.seen) for one in keys),
    )


def known(connection: sqlite3.Connection, namespace: str, keys: Sequence[str]) -> set[str]:
    """Those of the keys that are stored."""
    if not _exists(connection):
        return set()
    found: set[str] = set()
    for start in range(0, len(keys), _MANY):
        some = keys[start : start + _MANY]
        rows = connection.execute(
            f"SELECT key FROM indexed_keys WHERE namespace = ? AND key IN ({_marks(some)})",
            (blob(namespace), *map(blob, some)),
        )
        found |= {unblob(key) for (key,) in rows}
    return found


def every(connection: sqlite3.Connection) -> list[IndexedKey]:
    """All keys of all namespaces, in order."""
    if not _exists(connection):
        return []
    rows = connection.execute(
        "SELECT namespace, key, seen, grouping FROM indexed_keys ORDER BY namespace, key"
    )
    return [
        IndexedKey(unblob(namespace), unblob(key), seen, None if group is None else unblob(group))
        for namespace, key, seen, group in rows
    ]


def listed(
    connection: sqlite3.Connection,
    namespace: str,
    *,
    before: float | None = None,
    after: float | None = None,
    groups: Sequence[str] | None = None,
    limit: int | None = None,
) -> list[str]:
    """The keys seen before and after these times, of these groups, the oldest first."""
    if not _exists(connection):
        return []
    conditions = ["namespace = ?"]
    values: list[Any] = [blob(namespace)]
    for sign, time in (("<", before), (">", after)):
        if time is not None:
            conditions.append(f"seen {sign} ?")
            values.append(time)
    if groups is not None and len(groups) <= _MANY:
        conditions.append(f"grouping IN ({_marks(groups)})")
        values += map(blob, groups)
    elif groups is not None:
        conditions.append("hex(grouping) IN (SELECT value FROM json_each(?))")
        values.append(json.dumps([blob(group).hex().upper() for group in groups]))
    values.append(-1 if limit is None else limit)
    rows = connection.execute(
        f"""SELECT key FROM indexed_keys WHERE {" AND ".join(conditions)}
        ORDER BY seen, key LIMIT ?""",
        values,
    )
    return [unblob(key) for (key,) in rows]


def remove(
    connection: sqlite3.Connection, keys: Sequence[str], namespace: str | None = None
) -> None:
    """Remove keys from one namespace, or from all."""
    if not _exists(connection):
        return
    only = "" if namespace is None else " AND namespace = ?"
    more = () if namespace is None else (blob(namespace),)
    connection.executemany(
        f"DELETE FROM indexed_keys WHERE key = ?{only}", ((blob(key), *more) for key in keys)
    )


def last_seen(connection: sqlite3.Connection) -> float:
    """The newest time of any key; 0 without keys."""
    if not _exists(connection):
        return 0.0
    ((newest,),) = connection.execute("SELECT MAX(seen) FROM indexed_keys")
    return float(newest or 0.0)


def _exists(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA table_info (indexed_keys)").fetchone())


def _optional(text: str | None) -> bytes | None:
    return None if text is None else blob(text)


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


__all__ = ["IndexedKey", "add_table", "every", "known", "last_seen", "listed", "put", "remove"]
