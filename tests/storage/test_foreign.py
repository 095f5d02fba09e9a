"""Index folders that somebody else has prepared."""

from __future__ import annotations

import os
import shutil
import sqlite3
import zlib
from contextlib import suppress
from pathlib import Path

import pytest

from retriever.index import Index
from retriever.indexing.coverage import coverage_report
from retriever.indexing.verify import repair_index, verify_index
from retriever.interface.collections import count_documents
from retriever.storage.catalog import (
    CATALOG_FILE,
    LOCK_FILE,
    foreign,
    posting_file,
    schema,
    seals,
)
from retriever.storage.vectors import rows, verified
from retriever.types import Document, IndexStateError, Page, PageState, RetrieverError
from tests.fakes import FakeEmbedder

MODES = ("keyword", "dense", "hybrid")
TEXT = "Otters swim in the river at night."


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign") / "index"
    with Index.open_or_create(folder, FakeEmbedder()) as index:
        index.add([Document("a.txt", "text", (Page(1, TEXT, PageState.TEXT),))])
    return folder


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "index")


def run_sql(folder: Path, *statements: str) -> None:
    with sqlite3.connect(folder / CATALOG_FILE) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def search(folder: Path) -> list[str]:
    with Index.open(folder, FakeEmbedder()) as opened:
        return [hit.text for hit in opened.search("otters")]


def add(folder: Path) -> None:
    with Index.open(folder, FakeEmbedder()) as opened:
        opened.add([Document("b.txt", "text", (Page(1, "Badgers dig.", PageState.TEXT),))])


ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
SELF_RUNNING = {
    "a trigger that changes texts": [
        "CREATE TRIGGER t AFTER INSERT ON chunks BEGIN UPDATE chunks SET text = x'41'; END"
    ],
    "a trigger that never ends": [
        f"CREATE TRIGGER t AFTER INSERT ON documents BEGIN INSERT INTO unread {ENDLESS}; END"
    ],
    "a trigger that only looks like a deletion": [
        "CREATE TRIGGER t AFTER DELETE ON chunks BEGIN DELETE FROM lengths WHERE chunk = OLD.key;"
        " DELETE FROM pages WHERE load_extension('x'); END"
    ],
    "a view in place of a table": [
        "ALTER TABLE documents RENAME TO hidden",
        f"CREATE VIEW documents AS {ENDLESS}",
    ],
    "another virtual table": ["CREATE VIRTUAL TABLE v USING fts5 (a, content = 'chunks')"],
}


@pytest.mark.parametrize("what", SELF_RUNNING)
def test_sql_of_another_hand_is_refused_before_it_runs(index: Path, what: str) -> None:
    run_sql(index, *SELF_RUNNING[what])
    for use in (search, add):
        with pytest.raises(IndexStateError, match="run by itself") as caught:
            use(index)
        assert str(index) in str(caught.value)
    assert count_documents(index) is None


def test_triggers_of_later_versions_that_delete_pass(index: Path) -> None:
    run_sql(
        index,
        "CREATE TABLE later (document INTEGER, more INTEGER)",
        "CREATE TRIGGER later_gone AFTER DELETE ON documents\n"
        "    BEGIN DELETE FROM later WHERE document = OLD.key; END",
        "CREATE TRIGGER later_changed AFTER UPDATE OF path, title ON documents BEGIN\n"
        "DELETE FROM later WHERE document = OLD.key; DELETE FROM later WHERE more = NEW.key; END",
    )
    assert search(index) == [TEXT]
    add(index)


def test_the_whole_schema_of_this_version_passes(index: Path) -> None:
    """Every trigger, view and virtual table that a real index has is known by its SQL."""
    connection = sqlite3.connect(index / CATALOG_FILE)
    running = connection.execute(foreign._SELF_RUNNING).fetchall()
    connection.close()
    assert len(running) >= 4
    assert {foreign._normalised(sql) for _, _, sql in running} <= foreign._known()
    assert all(foreign._normalised(one) in foreign._known() for one in schema.STATEMENTS)


@pytest.mark.parametrize("name", [CATALOG_FILE, LOCK_FILE, "vectors-00000001.faiss", "wanted"])
def test_a_link_in_the_folder_is_refused_and_its_target_untouched(
    index: Path, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "elsewhere"
    source = index / name
    if source.exists():
        shutil.move(source, target)
    else:
        target.write_text("mine")
    before = target.read_bytes()
    source.symlink_to(target)
    for use in (search, add):
        with pytest.raises(IndexStateError, match="is a link"):
            use(index)
    assert target.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
@pytest.mark.parametrize("name", ["vectors-00000009.faiss", "vectors-00000009.faiss.words"])
def test_a_pipe_is_refused_and_nobody_waits_for_it(index: Path, name: str) -> None:
    os.mkfifo(index / name)
    with pytest.raises(IndexStateError, match="a pipe"):
        search(index)


def test_a_link_in_a_new_folder_makes_no_index_elsewhere(tmp_path: Path) -> None:
    folder, target = tmp_path / "new", tmp_path / "target.sqlite"
    folder.mkdir()
    (folder / CATALOG_FILE).symlink_to(target)
    with pytest.raises(IndexStateError, match="is a link"):
        Index.open_or_create(folder, FakeEmbedder())
    assert not target.exists()


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "vectors-1.faiss", ""])
def test_the_vector_file_is_one_of_the_folder(index: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("mine")
    run_sql(index, f"UPDATE snapshots SET file = '{name}'")
    with Index.open(index, FakeEmbedder()) as opened:
        assert opened.search("otters")[0].text == TEXT
        with opened.backend.reading() as reader:
            assert reader.vector_file() is None
    add(index)
    assert (tmp_path / "secret").read_text() == "mine"


def test_the_schema_cannot_call_functions_with_effects(index: Path) -> None:
    with Index.open(index, FakeEmbedder()) as opened, opened.backend.reading() as reader:
        rows = reader._connection.execute("PRAGMA trusted_schema").fetchone()
    assert rows == (0,)


# Values of another form

NESTED = "[" * 100_000
STRANGE_SETTINGS = (
    "null",
    "[]",
    '"x"',
    "{}",
    "-1",
    "1e999",
    "1.5",
    NESTED,
    '{"version": 2}',
    b"\xff",
)
STRANGE_VALUES: tuple[object, ...] = ("abc", "{}", '{"a": {}}', NESTED, -1, 2**62, 1.5, b"\xff")


def seal_again(folder: Path) -> None:
    """Give every row the seal that belongs to it, as its author can."""
    with sqlite3.connect(folder / CATALOG_FILE) as connection:
        by_number = {kind.number: kind for kind in seals.KINDS}
        for number, key in connection.execute("SELECT kind, key FROM seals").fetchall():
            row = (
                None if number == seals.SCHEMA else seals.row_of(connection, by_number[number], key)
            )
            if row is not None:
                connection.execute(
                    "UPDATE seals SET hash = ? WHERE kind = ? AND key = ?",
                    (seals.digest(row), number, key),
                )
    connection.close()


def names(folder: Path, sql: str) -> list[str]:
    connection = sqlite3.connect(folder / CATALOG_FILE)
    found = [name for (name,) in connection.execute(sql)]
    connection.close()
    return found


def add_again(opened: Index) -> None:
    opened.add([Document("b.txt", "text", (Page(1, "Badgers dig.", PageState.TEXT),))])


def report(opened: Index, folder: Path) -> None:
    with opened.backend.reading() as catalog:
        coverage_report(catalog, str(folder))


def use_all(folder: Path) -> None:
    """Nothing but a sentence may come of it."""
    with suppress(RetrieverError), Index.open(folder, FakeEmbedder()) as opened:
        for do in (
            *(lambda mode=mode: opened.search("otters", mode=mode) for mode in MODES),
            opened.info,
            opened.documents,
            lambda: report(opened, folder),
            lambda: add_again(opened),
        ):
            with suppress(RetrieverError):
                do()


def strange(folder: Path, table: str, column: str, value: object, where: str = "TRUE") -> None:
    with sqlite3.connect(folder / CATALOG_FILE) as connection, suppress(sqlite3.Error):
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value,))
    connection.close()
    seal_again(folder)


def test_a_setting_of_another_form_is_told(index: Path, tmp_path: Path) -> None:
    for number, name in enumerate(names(index, "SELECT name FROM meta")):
        for value in STRANGE_SETTINGS[number % 4 :: 4]:  # of each kind enough, over all settings
            folder = shutil.copytree(index, tmp_path / "copy")
            strange(folder, "meta", "value", value, f"name = '{name}'")
            if name in ("chunking", "dimension", "embedder", "generation"):
                assert not verify_index(folder).whole, (name, value)
            use_all(folder)
            shutil.rmtree(folder)


@pytest.mark.parametrize("table", ["documents", "pages", "chunks", "calibration", "snapshots"])
def test_a_value_of_another_type_is_told(index: Path, tmp_path: Path, table: str) -> None:
    columns = names(index, f"SELECT name FROM pragma_table_info ('{table}')")
    for number, column in enumerate(columns):
        folder = shutil.copytree(index, tmp_path / column)
        strange(folder, table, column, STRANGE_VALUES[number % len(STRANGE_VALUES)])
        use_all(folder)


def test_a_row_of_another_form_is_found_and_mended(index: Path) -> None:
    strange(index, "meta", "value", NESTED, "name = 'generation'")
    strange(index, "documents", "size", "big")
    found = {finding.part for finding in verify_index(index).findings}
    assert {"meta", "documents"} <= found
    report = repair_index(index, lambda: Index.open(index, FakeEmbedder()))
    assert not [one for one in report.after.findings if one.part == "meta"]


@pytest.mark.parametrize("facts", [NESTED, '{"count": "x"}', '{"rows": -1}', "[]"])
def test_a_file_beside_the_vectors_that_is_none_is_left_alone(tmp_path: Path, facts: str) -> None:
    path, data = tmp_path / "vectors-00000001.faiss.rows", facts.encode()
    trailer = rows._TRAILER.pack(len(data), zlib.crc32(data), len(data), rows._MAGIC)
    path.write_bytes(data + trailer)
    assert rows.RowFile.open(path, "x") is None
    trailer = posting_file._TRAILER.pack(0, len(data), zlib.crc32(data), posting_file._MAGIC)
    path.write_bytes(data + trailer)
    assert posting_file.PostingFile.open(path, (), "x") is None
    verified.verified_path(path).write_text(facts)
    assert not verified.is_remembered(path, "x")
