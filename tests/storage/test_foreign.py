"""Index folders that somebody else has prepared."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from retriever.index import Index
from retriever.interface.collections import count_documents
from retriever.storage.catalog import CATALOG_FILE, LOCK_FILE, foreign, schema
from retriever.types import Document, IndexStateError, Page, PageState
from tests.fakes import FakeEmbedder

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
