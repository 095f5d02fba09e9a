"""What an index folder from elsewhere may hold: plain files, and no SQL that runs by itself.

A catalog is a database that somebody else may have made. Its triggers and views would run whenever
this program writes or reads, and a link or a pipe in its folder would lead to another place, or let
a reader wait for ever. Neither is needed, so neither is accepted. Tables and triggers of the
schema pass, and triggers of later versions that only delete what belongs to a row.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from retriever.files.layout import VECTOR_FILE, is_part
from retriever.storage.catalog import schema, seals
from retriever.types import IndexStateError

_OPEN = (
    "PRAGMA trusted_schema = OFF",  # no function with effects outside runs from the schema
    "PRAGMA cell_size_check = ON",  # damaged pages are found when they are loaded
)
_SELF_RUNNING = """SELECT type, name, sql FROM sqlite_master
    WHERE type IN ('trigger', 'view') OR sql LIKE 'CREATE VIRTUAL%'"""
_DELETION = re.compile(
    r"CREATE TRIGGER \w+ (?:BEFORE|AFTER) (?:DELETE|INSERT|UPDATE(?: OF \w+(?:, ?\w+)*)?) ON \w+ "
    r"(?:FOR EACH ROW )?BEGIN (?:DELETE FROM \w+ WHERE \w+ = (?:OLD|NEW)\.\w+; ?)+END",
    re.IGNORECASE,
)


def check_entries(folder: Path) -> None:
    """Raise IndexStateError if a part of the index is a link, a pipe or a device."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                kind = _special(entry) if is_part(entry.name) else ""
                if kind:
                    raise IndexStateError(
                        f"{entry.name!r} in {folder} is {kind}, which an index never holds: it may "
                        "lead out of the folder; delete it, or put the file itself there"
                    )
    except OSError:
        return  # the folder cannot be listed: opening its files says why


def harden(connection: sqlite3.Connection) -> None:
    """Let nothing in the schema have effects outside the database."""
    for statement in _OPEN:
        connection.execute(statement)


def check_schema(connection: sqlite3.Connection, folder: Path) -> None:
    """Raise IndexStateError if SQL would run by itself that is not this program's."""
    for kind, name, sql in connection.execute(_SELF_RUNNING):
        written = _normalised(sql or "")
        if written not in _known() and not (kind == "trigger" and _DELETION.fullmatch(written)):
            what = "virtual table" if kind == "table" else kind
            raise IndexStateError(
                f"the index in {folder} holds the {what} {str(name)!r}, which this program does "
                "not make: it would run by itself; build the index again from its files"
            )


def is_vector_file(name: object) -> bool:
    """Whether a name from the catalog is one of a vector file, and so of this folder.

    >>> is_vector_file("vectors-00000007.faiss"), is_vector_file("../vectors-00000007.faiss")
    (True, False)
    """
    return isinstance(name, str) and VECTOR_FILE.fullmatch(name) is not None


def _special(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "a link"
    plain = entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
    return "" if plain else "a pipe, a socket or a device"


@cache
def _known() -> frozenset[str]:
    """The statements of the schema and of its seals that create something."""
    triggers = map(seals.triggers, seals.KINDS)
    return frozenset(map(_normalised, _statements([*vars(schema).values(), *triggers])))


def _statements(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str) and value.startswith("CREATE "):
            yield value
        elif isinstance(value, tuple):
            yield from _statements(value)
        elif isinstance(value, dict):
            yield from _statements(value.values())


def _normalised(sql: str) -> str:
    return " ".join(sql.split()).replace(" IF NOT EXISTS", "").rstrip("; ")


__all__ = ["check_entries", "check_schema", "harden", "is_vector_file"]
