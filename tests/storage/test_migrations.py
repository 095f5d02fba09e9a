"""Old indexes are brought up to date in one transaction, newer ones are refused with a sentence.

`data/index-0.1.0.tar.xz` was made by version 0.1.0; the formats before it are made of its tables.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from retriever import Index, __version__
from retriever.storage.backends.embedded import EmbeddedBackend
from retriever.storage.catalog import connections, schema
from retriever.text import analyzer
from retriever.types import IndexStateError

RELEASED = Path(__file__).parents[1] / "data" / "index-0.1.0.tar.xz"
QUERIES = ("lease", "walrus", "tenant")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("released")
    with tarfile.open(RELEASED) as archive:
        archive.extractall(home, filter="data")
    return home / "index"


@pytest.fixture
def released(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "index"))


def change(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "catalog.sqlite", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def to_format_2(folder: Path) -> None:
    change(
        folder,
        "DROP INDEX chunks_language",
        "ALTER TABLE chunks DROP COLUMN language",
        "DROP TABLE long_words",
        "DELETE FROM meta WHERE name = 'analyser'",
        "PRAGMA user_version = 2",
    )


def to_format_1(folder: Path) -> None:
    to_format_2(folder)
    change(
        folder,
        "ALTER TABLE pages DROP COLUMN label",
        "DROP TABLE unread",
        "PRAGMA user_version = 1",
    )


def as_released(folder: Path) -> None:
    """Format 3, with terms of another analyzer."""


def half_made(folder: Path) -> None:
    """Format 4, as a first wave leaves it, with terms of an older analyzer."""
    with EmbeddedBackend.open(folder) as backend:
        backend.set_progress(None)
    change(
        folder,
        "UPDATE chunks SET vector = 0 WHERE key = (SELECT MAX(key) FROM chunks)",
        f"PRAGMA user_version = {schema.HALF_MADE}",
        "UPDATE meta SET value = '1' WHERE name = 'analyser'",
    )


FORMATS = {"1": to_format_1, "2": to_format_2, "3 (0.1.0)": as_released, "4": half_made}


def answers(folder: Path) -> list[Any]:
    with Index.open(folder) as index:
        return [
            (hit.chunk.id, hit.text, hit.score)
            for query in QUERIES
            for hit in index.search(query, mode="keyword")
        ]


def state(folder: Path) -> dict[str, Any]:
    """What is in a catalog, read by SQLite alone."""
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as connection:
        tables = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql > ''"))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = {
            name: connection.execute(f"SELECT * FROM {name}").fetchall()
            for name in tables
            if tables[name].startswith(("CREATE TABLE", "CREATE VIRTUAL"))
        }
        return {"format": connection.execute("PRAGMA user_version").fetchone(), **tables, **rows}


@pytest.mark.parametrize("name", FORMATS)
def test_every_older_format_opens_and_answers_as_the_released_one(
    released: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = Path(shutil.copytree(released, tmp_path / "other"))
    FORMATS[name](other)
    caplog.clear()
    assert answers(other) == answers(released)
    told = [record.getMessage() for record in caplog.records]
    if name in "12":
        assert len(told) == 1
        assert f"is brought from format {name} to {schema.VERSION}, which earlier" in told[0]
    else:
        assert told == []
    before, after = state(released), state(other)
    assert after["fulltext_content"] == before["fulltext_content"]
    assert after["lengths"] == before["lengths"]
    assert before["format"] == (schema.VERSION,)
    assert after["format"] == (schema.HALF_MADE if name == "4" else schema.VERSION,)


@pytest.mark.skipif(os.name != "posix", reason="a process is killed by a fork that ends")
@pytest.mark.parametrize("name", ["1", "3 (0.1.0)"])
def test_killed_at_any_statement_it_is_the_old_index_or_the_new_one(
    released: Path, tmp_path: Path, name: str
) -> None:
    FORMATS[name](released)
    new = Path(shutil.copytree(released, tmp_path / "new"))
    old_state, expected, new_state = state(released), answers(new), state(new)
    old = number = 0
    while True:
        folder = Path(shutil.copytree(released, tmp_path / "killed"))
        child = os.fork()
        if not child:
            code = 1
            try:
                _open_and_die_at(folder, number)
                code = 0
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 9)
        found = state(folder)
        assert found in (old_state, new_state)
        old += found == old_state
        assert answers(folder) == expected
        shutil.rmtree(folder)
        if code == 0:
            break
        number += 1 if number < 12 else 25
    assert old >= 12


def _open_and_die_at(folder: Path, number: int) -> None:
    """Open an index, and end as if killed before the statement with this number."""
    seen = [0]

    def count(_: str) -> None:
        seen[0] += 1
        if seen[0] > number:
            os._exit(9)

    real: Callable[..., sqlite3.Connection] = connections._connection

    def connect(path: Path, mode: str) -> sqlite3.Connection:
        connection = real(path, mode)
        connection.set_trace_callback(count)
        return connection

    connections._connection = connect
    EmbeddedBackend.open(folder).close()


@pytest.mark.parametrize(
    ("program", "named"),
    [
        ('"9.1.0"', r"install wva-retriever 9\.1\.0 or newer"),
        (f'"{__version__}"', "install the newest wva-retriever"),
        (None, "install the newest wva-retriever"),
        ('"\\u001b[2J"', "install the newest wva-retriever"),
    ],
)
@pytest.mark.parametrize("what", ["format", "analyzer"])
def test_an_index_of_a_newer_program_is_refused_and_stays_as_it_is(
    released: Path, what: str, program: str | None, named: str
) -> None:
    number = 99 if what == "format" else analyzer.VERSION + 1
    if what == "format":
        change(released, f"PRAGMA user_version = {number}")
    else:
        change(released, f"UPDATE meta SET value = {number} WHERE name = 'analyser'")
    if program is not None:
        change(released, f"INSERT INTO meta VALUES ('program', '{program}')")
    before = state(released)
    said = rf"newer version of wva-retriever: it has .*{what} {number}.*: {named}, or build"
    for create in (False, True):
        with pytest.raises(IndexStateError, match=said):
            EmbeddedBackend.open(released, create=create)
    assert state(released) == before


def test_an_index_of_a_newer_format_without_our_tables_is_refused(released: Path) -> None:
    change(released, "ALTER TABLE meta RENAME TO facts", "PRAGMA user_version = 99")
    with pytest.raises(IndexStateError, match="has format 99"):
        EmbeddedBackend.open(released)


def test_an_index_names_the_program_that_numbered_its_format(released: Path) -> None:
    FORMATS["2"](released)
    EmbeddedBackend.open(released).close()
    assert ("program", json.dumps(__version__)) in state(released)["meta"]


def test_there_is_a_migration_from_every_format() -> None:
    assert sorted(schema.MIGRATIONS) == list(range(1, schema.VERSION))
